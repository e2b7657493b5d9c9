"""A wire of some thousand miles, for the demonstration of the edge: what goes in comes out later, at both ends.

Each connection through it pays what one over that distance would: a round trip to be opened, and half of one for each
piece on its way. Nothing is lost and nothing is slower than that, however much is on the way at once. Run as a program;
it ends when its standard input does, and so with its parent.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable

from .._base.clock import stopwatch

_PIECE = 65_536


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, one_way_s: float,
                 not_before_s: float) -> None:
    """Move one direction: each piece leaves `one_way_s` after it came, in order."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

    async def arrive() -> None:
        while True:
            due_s, piece = await under_way.get()
            await asyncio.sleep(max(0.0, due_s - stopwatch()))
            if not piece:
                writer.close()
                return
            writer.write(piece)
            await writer.drain()

    arriving = asyncio.create_task(arrive())
    try:
        piece = b"?"
        while piece:
            piece = await reader.read(_PIECE)
            await under_way.put((max(not_before_s, stopwatch()) + one_way_s, piece))
        await arriving
    except ConnectionError:
        writer.close()
    finally:
        arriving.cancel()


def wire(port: int, one_way_s: float) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """What is to be done with each connection: carry it to this port, and what comes from there back."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened_s = stopwatch()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()  # nobody is there
            return
        await asyncio.gather(_carry(reader, far_writer, one_way_s, opened_s + 2 * one_way_s),
                             _carry(far_reader, writer, one_way_s, 0.0), return_exceptions=True)

    return connected


async def _main(port: int, one_way_s: float) -> None:
    server = await asyncio.start_server(wire(port, one_way_s), "127.0.0.1", 0, backlog=1_024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    _options = json.loads(sys.argv[1])
    asyncio.run(_main(_options["port"], _options["one_way_s"]))
