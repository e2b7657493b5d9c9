"""A running proxy between raw sockets: an origin that sends any bytes that a test wants, and a client that does too.

    async with Running(origin) as proxy:
        client = await proxy.connect()
        await client.send(b"GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n")
        status, fields, body = await client.response()

The proxy is the real one (proxy.Edge, front.Front, uvicorn's ServerState) on a real socket, in the test's own event
loop so that a test can look into it. Nothing waits without a limit.
"""

import asyncio
import contextlib
import socket
import struct
import sys

import pytest
from uvicorn.server import ServerState

from samovar.edge.proxy.proxy import Edge, configured, listen
from samovar.edge.proxy.settings import Settings
from support import LIMIT

try:
    import uvloop
except ImportError:  # where there is none, or no proxy runs on it
    uvloop = None


LOOPS = ["asyncio"] if uvloop is None else ["uvloop", "asyncio"]
LOOP = LOOPS[0]  # what a proxy runs on; tests that are about connections run on both
FRESH = "Cache-Control: max-age=60"


@pytest.fixture(autouse=True, params=LOOPS)
def every_loop(request, monkeypatch):
    """Each test of a module that imports this runs on each event loop."""
    monkeypatch.setattr(sys.modules[__name__], "LOOP", request.param)


def run(coroutine):
    """Run to the end, with the limit."""
    async def limited():
        return await within(coroutine)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if LOOP == "uvloop" else None) as runner:
        return runner.run(limited())


def within(awaitable, limit=LIMIT):
    """Await with the limit."""
    return asyncio.wait_for(awaitable, limit)


class Origin:
    """A raw origin. `script`: an async function (reader, writer, number, head) for each connection's next
    request, called until it returns True or the client leaves; or bytes, sent for each."""

    def __init__(self, script):
        self.script, self.heads, self.connections = script, [], 0
        self.writers, self._server = [], None
        self.changed = asyncio.Event()

    async def start(self):
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _talk(self, reader, writer):
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                self.changed.set()
                if isinstance(self.script, bytes):
                    writer.write(self.script)
                elif await self.script(reader, writer, len(self.heads) - 1, head):
                    break
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def stop(self):
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()

    def targets(self):
        return [head.split(b" ")[1] for head in self.heads]


def reset(writer):
    """Cut a connection with RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def answer(body=b"", *lines, status="200 OK"):
    """The bytes of a response with Content-Length."""
    return b"\r\n".join([b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body),
                         *(line.encode("latin-1") for line in lines), b"", body])


def get(target="/", *lines, host="h", method="GET"):
    """The bytes of a request without a body."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode("latin-1")


class Client:
    """A raw client."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, data):
        self.writer.write(data)
        await within(self.writer.drain())

    async def head(self):
        """Status and fields of the next head, names in lower case; repeated fields joined."""
        block = (await within(self.reader.readuntil(b"\r\n\r\n"))).decode("latin-1")
        start, *lines = block.split("\r\n")[:-2]
        fields = {}
        for line in lines:
            name, _, value = line.partition(": ")
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return int(start.split(" ")[1]), fields

    async def response(self, method="GET"):
        """The next response: status, fields, body."""
        status, fields = await self.head()
        return status, fields, await self.body(status, fields, method)

    async def body(self, status, fields, method="GET"):
        if method == "HEAD" or status in (204, 304) or status < 200:
            return b""
        if "content-length" in fields:
            return await within(self.reader.readexactly(int(fields["content-length"])))
        if fields.get("transfer-encoding") != "chunked":
            return await within(self.reader.read())
        out = b""
        while size := int(await within(self.reader.readuntil(b"\r\n")), 16):
            out += await within(self.reader.readexactly(size))
            assert await within(self.reader.readexactly(2)) == b"\r\n"
        assert await within(self.reader.readexactly(2)) == b"\r\n"
        return out

    async def ask(self, data, method="GET"):
        await self.send(data)
        return await self.response(method)

    async def closed(self):
        """What still comes until the proxy closes the connection."""
        try:
            return await within(self.reader.read())
        except ConnectionResetError:
            return b""

    def close(self):
        self.writer.transport.abort()


class Running:
    """A proxy in front of `origin` (an Origin, or what makes one), as long as it is entered."""

    def __init__(self, origin, edge=Edge, **settings):
        self.origin = origin if isinstance(origin, Origin) else Origin(origin)
        self.kind, self.words = edge, settings
        self.clients = []

    async def __aenter__(self):
        port = await self.origin.start()
        self.edge = self.kind(Settings(origin=f"http://127.0.0.1:{port}", **self.words))
        self.config = configured(self.edge)
        self.config.load()
        self.state = ServerState()
        await self.edge.start()
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: self.config.http_protocol_class(self.config, self.state, {}),
                                               sock=listen("127.0.0.1:0"))
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def connect(self, *, buffer=None):
        end = socket.socket()
        if buffer is not None:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        end.setblocking(False)
        await within(asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", self.port)))
        client = Client(*await asyncio.open_connection(sock=end, limit=2 ** 16 if buffer is None else 1_024))
        self.clients.append(client)
        return client

    async def ask(self, data, method="GET"):
        """One request on a connection of its own."""
        client = await self.connect()
        try:
            return await client.ask(data, method)
        finally:
            client.close()

    async def quiet(self):
        """Wait until no request is under way."""
        while self.state.tasks:
            await within(asyncio.wait(set(self.state.tasks)))

    async def __aexit__(self, *exc):
        self.server.close()
        for client in self.clients:
            client.close()
        for connection in list(self.state.connections):
            connection.transport.abort()
        with contextlib.suppress(TimeoutError):
            await within(self.quiet())
        await self.edge.stop()
        await self.origin.stop()


def proxied(test, origin=None, **settings):
    """Run `test(proxy)` with a proxy in front of an origin; without one, of what answers the same each time, to be kept."""
    async def running():
        async with Running(origin if origin is not None else answer(b"body", FRESH), **settings) as proxy:
            await test(proxy)

    run(running())
