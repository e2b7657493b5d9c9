"""A TCP proxy in a process of its own, between the crowd and one node, which does what it is told by lines on its
standard input:

    pass        pass bytes on
    deaf        pass on nothing: what comes is dropped, and connections are accepted and stay silent
    slow 0.1    pass answers on so many seconds later
    reset       break every connection with an RST, those that come from now on too
    refuse      break every connection, and listen no more

The first line of its standard output is its port. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import struct
import subprocess
import sys
from typing import Any

_ROOT = pathlib.Path(__file__).parents[2]
_HARD = struct.pack("ii", 1, 0)


class Proxy:
    """The process, from outside."""

    def __init__(self, target: int) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "bench.faults.proxy", str(target)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True, cwd=_ROOT)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def tell(self, words: str) -> None:
        """Do so, and return when it is done."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def end(self) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=5)
        self._process.kill()
        self._process.wait()


class _Door:
    """The process, from inside."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, 0
        self.mode, self.delay_s = "pass", 0.0
        self.server: asyncio.Server | None = None
        self.plugs: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self.server = await asyncio.start_server(self.meet, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.plugs.add(writer)
        try:
            if self.mode == "reset":
                return
            there, theirs = await asyncio.open_connection("127.0.0.1", self.target)
            self.plugs.add(theirs)
            try:
                await asyncio.gather(self.carry(reader, theirs, late=False), self.carry(there, writer, late=True))
            finally:
                self.cut(theirs)
        except OSError:
            pass
        finally:
            self.cut(writer)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, late: bool) -> None:
        loop = asyncio.get_running_loop()
        while chunk := await reader.read(1 << 16):
            if self.mode == "deaf":
                continue
            if late and self.mode == "slow":
                loop.call_later(self.delay_s, self.hand, writer, chunk)
            else:
                writer.write(chunk)
        self.cut(writer)

    @staticmethod
    def hand(writer: asyncio.StreamWriter, chunk: bytes) -> None:
        if not writer.transport.is_closing():
            writer.write(chunk)

    def cut(self, writer: asyncio.StreamWriter) -> None:
        """End a connection, by an RST."""
        self.plugs.discard(writer)
        plug: Any = writer.get_extra_info("socket")
        if plug is not None and plug.fileno() >= 0:
            with contextlib.suppress(OSError):
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HARD)
        writer.transport.abort()

    async def obey(self, words: list[str]) -> None:
        self.mode = words[0]
        self.delay_s = float(words[1]) if words[1:] else 0.0
        if self.mode == "refuse":
            assert self.server is not None
            self.server.close()
            self.server = None
        elif self.server is None:
            await self.open()
        if self.mode in ("reset", "refuse"):
            for writer in list(self.plugs):
                self.cut(writer)


async def _main(target: int) -> None:
    door = _Door(target)
    await door.open()
    print(door.port, flush=True)
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    while line := await told.readline():
        await door.obey(line.decode().split())
        print("done", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(int(sys.argv[1])))
