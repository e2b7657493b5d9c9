"""A running `samovar edge` and a great many clients, over real sockets: what a crowd, a dead origin, a body of a gigabyte
and everybody's slowness may not do."""

import asyncio
import contextlib
import socket
import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("http_sf")

from commanded import SECRET, running
from raw import Client, Origin, answer, get, within

resource = pytest.importorskip("resource")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, opens many files")]
CROWD = 10_000
WHOLE = 600.0  # seconds that a gigabyte, or ten thousand, may take on a machine with other things to do
PATIENT = [word for limit in ("keep-alive", "wait", "first-byte-timeout", "head-timeout", "client-timeout")
           for word in (f"--{limit}", "600s")]


def many_files(wanted):
    """Allow this process, and its children, to open so many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{wanted} open files are not allowed here, only {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), hard))


def most_memory(edge):
    """The most bytes that the edge's process ever had in memory."""
    lines = Path(f"/proc/{edge.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


class World:
    """A raw origin in this loop, and the edge in a process before it."""

    def __init__(self, script, *words):
        self.origin, self.words = Origin(script), words

    async def __aenter__(self):
        self.stack = contextlib.ExitStack()
        port = await self.origin.start()
        self.edge = await asyncio.to_thread(self.stack.enter_context, running(port, *self.words))
        return self

    async def __aexit__(self, *error):
        await self.origin.stop()
        await asyncio.to_thread(self.stack.close)

    async def connect(self, *, buffer=None):
        end = socket.socket()
        if buffer is not None:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", self.edge.port))
        return Client(*await asyncio.open_connection(sock=end, limit=2**16))

    async def ask(self, *words):
        client = await self.connect()
        try:
            return await client.ask(get(*words))
        finally:
            client.close()

    async def purge_softly(self):
        status, *_ = await asyncio.to_thread(self.edge.ask, "/.samovar/purge", method="POST", token=SECRET,
                                             body=b'{"all": true, "soft": true}', Content_Type="application/json")
        assert status == 200


class Waiting(asyncio.Protocol):
    """One of a crowd: it asks, and counts the bytes of its answer."""

    def __init__(self, world):
        self.world, self.got = world, bytearray()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(get("/cold"))

    def data_received(self, data):
        self.got += data
        if self.got.endswith(b"the end"):
            self.world.served(bytes(self.got))
            self.transport.abort()


def test_crowd_of_ten_thousand_on_one_cold_url_is_one_request_to_the_origin():
    many_files(CROWD + 500)

    async def inside():
        loop, may_go, done, answers = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event(), []

        async def script(reader, writer, number, head):
            await may_go.wait()
            writer.write(answer(b"x" * 2_000 + b"the end", "Cache-Control: max-age=600"))

        class Crowd:
            def served(self, got):
                answers.append(got)
                if len(answers) == CROWD:
                    done.set()

        async with World(script, *PATIENT) as world:
            crowd, gate = Crowd(), asyncio.Semaphore(500)

            async def arrive():
                async with gate:
                    await loop.create_connection(lambda: Waiting(crowd), "127.0.0.1", world.edge.port)

            await within(asyncio.gather(*(arrive() for _ in range(CROWD))), WHOLE)
            while True:  # until all of them wait
                _, _, body = await asyncio.to_thread(world.edge.ask, "/.samovar/stats", token=SECRET)
                if b'"waiting": %d' % (CROWD - 1) in body:
                    break
                assert not answers
            may_go.set()
            await within(done.wait(), WHOLE)
            assert len(world.origin.heads) == 1
            assert all(got.startswith(b"HTTP/1.1 200 ") and got.count(b"x" * 2_000) == 1 for got in answers)

    asyncio.run(asyncio.wait_for(inside(), WHOLE))


@pytest.mark.parametrize("allowed", ["stale-if-error=3600", "stale-while-revalidate=3600, stale-if-error=3600"])
def test_origin_that_is_killed_under_load_is_noticed_by_nobody_while_grace_lasts(allowed):
    page = answer(b"page", f"Cache-Control: max-age=600, {allowed}", 'ETag: "a"')

    async def inside():
        async with World(page) as world:
            for name in range(10):
                await world.ask(f"/{name}")
            await world.purge_softly()
            served, half = [], asyncio.Event()

            async def reader(number):
                client = await world.connect()
                for turn in range(40):
                    status, _, body = await client.ask(get(f"/{(number + turn) % 10}"))
                    served.append((status, body))
                    if len(served) == 400:
                        half.set()
                client.close()

            async def killer():
                await within(half.wait())
                await world.purge_softly()
                await world.origin.stop()

            await asyncio.gather(killer(), *(reader(number) for number in range(25)))
            assert len(served) == 1_000 and set(served) == {(200, b"page")}
            assert (await world.ask("/never"))[0] in (502, 504)

    asyncio.run(asyncio.wait_for(inside(), WHOLE))


@pytest.mark.parametrize("framing, size", [("length", 2**30), ("chunked", 2**27)])
def test_body_of_a_gigabyte_goes_through_in_little_memory(framing, size):
    piece = b"samovar!" * 32_768
    count, whole = size // len(piece), size

    async def script(reader, writer, number, head):
        if b"GET /small" in head:
            writer.write(answer(b"small"))
            return
        said = b"Content-Length: %d" % whole if framing == "length" else b"Transfer-Encoding: chunked"
        writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n" + said + b"\r\n\r\n")
        for _ in range(count):
            writer.write(piece if framing == "length" else b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        if framing == "chunked":
            writer.write(b"0\r\n\r\n")

    async def inside():
        async with World(script) as world:
            await world.ask("/small")
            before, client = most_memory(world.edge), await world.connect()
            await client.send(get("/large"))
            status, fields = await client.head()
            got = 0
            if framing == "length":
                assert int(fields["content-length"]) == whole
                while got < whole and (part := await within(client.reader.read(2**20))):
                    got += len(part)
            else:
                while size := int(await within(client.reader.readuntil(b"\r\n")), 16):
                    await within(client.reader.readexactly(size + 2))
                    got += size
            assert (status, got) == (200, whole)
            assert most_memory(world.edge) - before < 48_000_000
            client.close()

    asyncio.run(asyncio.wait_for(inside(), WHOLE))


def test_slow_clients_and_a_slow_origin_hold_up_nobody_else():
    large = answer(b"y" * 3_000_000, "Cache-Control: max-age=600")
    page = answer(b"page", "Cache-Control: max-age=600")

    async def inside():
        may_go = asyncio.Event()

        async def script(reader, writer, number, head):
            if b" /hangs" in head:
                await may_go.wait()
            if b" /drips" in head:
                for at in range(0, len(page) - 8, 8):
                    writer.write(page[at:at + 8])
                    await writer.drain()
                    await asyncio.sleep(0)
                await may_go.wait()  # the last of it: a connection whose answer is whole is asked for the next
                writer.write(page[-(len(page) % 8 or 8):])
                return
            writer.write(large if b" /large" in head else page)

        async with World(script, *PATIENT) as world:
            held = [await world.connect(buffer=65_536) for _ in range(24)]
            for number, client in enumerate(held):
                kind = ("/large", "/hangs", f"/hangs/{number}", f"/large/{number % 7}", "/drips?", "/half")[number % 6]
                data = get(kind)
                await client.send(data[:-4] if kind == "/half" else data)  # the last one never ends its head
            for _ in range(3):
                others = await asyncio.gather(*(world.ask(f"/page/{number % 20}") for number in range(100)),
                                              *(world.ask("/large") for _ in range(3)))
                assert {status for status, *_ in others} == {200}
                assert {len(body) for _, _, body in others} == {4, 3_000_000}
            assert world.origin.targets().count(b"/large") == 1 and world.origin.targets().count(b"/hangs") == 1
            may_go.set()
            for number, client in enumerate(held):
                if number % 6 in (0, 1, 2, 3):  # they were only slow: each gets what it asked for
                    status, _, body = await client.response()
                    assert status == 200 and len(body) in (4, 3_000_000)
                client.close()

    asyncio.run(asyncio.wait_for(inside(), WHOLE))
