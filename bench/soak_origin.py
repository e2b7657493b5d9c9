"""An origin that misbehaves on purpose, for `soak`: what it does to a request is settled by the request's number and the
seed, so that whoever asked can say afterwards what had to happen.

    python bench/soak_origin.py PORT SEED

    /warm/N     small, good for a second, may be served stale for an hour
    /own/N      small, never stored: each request comes here
    /shared/N   small, good for a second, tagged t0 to t9
    /large/N    2 MB, good for ten seconds                          /huge/N   24 MB, good for ten seconds, without a length
"""

import asyncio
import hashlib
import random
import socket
import struct
import sys

SIZES = {"warm": 8_192, "own": 4_096, "shared": 12_000, "large": 2_000_000, "huge": 24_000_000}
FIELDS = {
    "warm": "Cache-Control: max-age=1, stale-while-revalidate=3600, stale-if-error=3600\r\n",
    "own": "Cache-Control: no-store\r\n",
    "shared": "Cache-Control: max-age=1\r\n",
    "large": "Cache-Control: max-age=10\r\n",
    "huge": "Cache-Control: max-age=10\r\n",
}
FAULTS = ("slow", "drip", "reset", "short", "silent", "garbage", "error")  # one of them strikes one request in ten
PIECE = 65_536
FAULT_RATE = 0.1


def fault_of(seed: int, number: str) -> str:
    """What this request meets; "" is an honest answer."""
    chance = random.Random(f"{seed}/{number}")
    return chance.choice(FAULTS) if chance.random() < FAULT_RATE else ""


def block_of(path: str) -> bytes:
    """64 bytes; the body of this path is these, again and again."""
    return hashlib.sha256(path.encode()).hexdigest().encode()


def body_of(path: str) -> bytes:
    """The whole body of a path."""
    size = SIZES[path.split("/")[1]]
    return (block_of(path) * (size // 64 + 1))[:size]


async def answer(path: str, number: str, seed: int, writer: asyncio.StreamWriter) -> bool:
    """Answer one request; whether the connection goes on."""
    kind, fault = path.split("/")[1], fault_of(seed, number)
    body = body_of(path)
    fields = FIELDS[kind] + f'ETag: "{block_of(path)[:16].decode()}"\r\n'
    if kind == "shared":
        fields += f"Surrogate-Key: t{int(path.rpartition('/')[2]) % 10}\r\n"
    if fault == "silent":
        return False
    if fault == "garbage":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")
        return False
    if fault == "error":
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n")
        return True
    if fault == "slow":
        await asyncio.sleep(0.4)
    chunked = kind == "huge"
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    writer.write(f"HTTP/1.1 200 OK\r\n{fields}{framing}\r\n\r\n".encode())
    end = len(body) // 2 if fault in ("reset", "short") else len(body)
    for at in range(0, end, PIECE):
        piece = body[at:min(at + PIECE, end)]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
        if fault == "drip":
            await asyncio.sleep(0.05)
    if fault == "reset":
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    if fault == "short":
        return False
    if chunked:
        writer.write(b"0\r\n\r\n")
    return True


async def serve(port: int, seed: int) -> None:
    """Serve until killed."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            going = True
            while going:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                number = next((line.partition(":")[2].strip() for line in head.split("\r\n")
                               if line.lower().startswith("x-number:")), "0")
                going = await answer(head.split(" ")[1], number, seed, writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port, backlog=1_024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
