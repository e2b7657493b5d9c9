"""A hit of HTTPCacheMiddleware beside bare uvicorn that answers the same constant.

    python -m bench.edge [--rounds N] [--seconds S] [--size BYTES]

Each contestant is a process of its own: uvicorn with httptools and uvloop, one worker, without an access log. `wrk -c 50
-t 1` asks one URL of each in turn, in an order drawn anew each round. What counts is requests per second of processor time
that the server took (its own, from /proc, with the system's share of it), as a ratio to the bare one of the same round;
the median of the rounds. The bare one sends the fields that an application would send; the middleware sends what HTTP asks
of a cache besides (Age, Cache-Status). The bar of a hit is 0.8. Linux, with wrk installed.

Before that, without a server and without wrk, in this process: what a hit takes beyond an application that answers the
same, and what an answer takes that may not be kept; the least of some turns, in microseconds of processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from typing import Any

from bench.machine import described

TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


# ------------------------------------------------------------------ contestants

def constant(size: int, control: bytes = b"max-age=3600") -> Any:
    """An application that answers with `size` bytes, whatever is asked."""
    body = b"x" * size
    start = {"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"text/plain"), (b"content-length", str(size).encode()), (b"cache-control", control)]}
    end = {"type": "http.response.body", "body": body}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send(end)

    return app


def dictionary(size: int) -> Any:
    """A cache that looks nothing up but a path in a dict: what no cache in Python can be faster than."""
    answers: dict[bytes, Any] = {}
    inner = constant(size)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found = answers.get(scope["raw_path"])
        if found is None:
            found = answers[scope["raw_path"]] = []

            async def kept(message: Any) -> None:
                found.append(message)

            await inner(scope, receive, kept)
        for message in found:
            await send(message)

    return app


def middleware(size: int) -> Any:
    """Ours."""
    from samovar.edge import HTTPCacheMiddleware

    return HTTPCacheMiddleware(constant(size))


CONTESTANTS = {"bare uvicorn": constant, "dict in ASGI": dictionary, "HTTPCacheMiddleware": middleware}


def serve(name: str, size: int, port: int) -> None:
    """Be one of them, until killed."""
    import uvicorn

    uvicorn.run(CONTESTANTS[name](size), host="127.0.0.1", port=port, loop="uvloop", http="httptools", log_level="warning",
                access_log=False, lifespan="off")


# ------------------------------------------------------------------ measuring

def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def processor_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Server:
    """A contestant in its process."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.port = name, free_port()
        self.url = f"http://127.0.0.1:{self.port}/page?of=some"
        self.process = subprocess.Popen([sys.executable, "-m", "bench.edge", "--be", name, "--port", str(self.port),
                                         "--size", str(size)])
        for _ in range(200):
            try:
                self.answer = urllib.request.urlopen(self.url, timeout=5).read()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"{name} did not start")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def rate(self, seconds: int) -> tuple[float, float]:
        """(requests per second of its processor time, requests per second)."""
        before = processor_s(self.process.pid)
        done = subprocess.run(["wrk", "-c", "50", "-t", "1", "-d", f"{seconds}s", self.url], capture_output=True,
                              text=True, check=True)
        took = processor_s(self.process.pid) - before
        requests = int(re.search(r"(\d+) requests in", done.stdout)[1])  # type: ignore[index]
        if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            raise RuntimeError(f"{self.name}: {done.stdout}")
        return requests / took, requests / seconds


async def alone_us(app: Any, size: int, laps: int = 2_000, turns: int = 15) -> float:
    """Processor time of one request that nobody sends: the least of the turns."""
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/page", "raw_path": b"/page",
             "query_string": b"of=some", "headers": [(b"host", b"127.0.0.1")], "server": ("127.0.0.1", 80),
             "client": ("127.0.0.1", 9), "asgi": {"version": "3.0"}}
    sizes = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sizes.append(len(message.get("body", b"")))

    spent = []
    for _ in range(turns):
        sizes.clear()
        begun = time.process_time()
        for _ in range(laps):
            await app(dict(scope), receive, send)
        spent.append(time.process_time() - begun)
        assert sum(sizes) == laps * size
    return min(spent) / laps * 1e6


async def tell_alone(size: int) -> None:
    from samovar.edge import HTTPCacheMiddleware

    bare = await alone_us(constant(size), size)
    kept = await alone_us(HTTPCacheMiddleware(constant(size)), size)
    passed = await alone_us(HTTPCacheMiddleware(constant(size, b"no-store")), size, 200)
    print(f"without a server: a hit {kept - bare:.2f} µs, an answer that is not kept {passed - bare:.1f} µs, beyond the "
          f"application's {bare:.2f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.edge", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--be", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.be:
        serve(words.be, words.size, words.port)
        return
    print(*described().values(), sep="; ")
    asyncio.run(tell_alone(words.size))
    if shutil.which("wrk") is None:
        sys.exit("requests per second need wrk (Debian: apt-get install wrk)")
    servers: list[Server] = []
    try:
        for name in CONTESTANTS:
            servers.append(Server(name, words.size))
        assert len({server.answer for server in servers}) == 1, "they answer differently"
        seen: dict[str, list[float]] = {server.name: [] for server in servers}
        rates: dict[str, list[float]] = {server.name: [] for server in servers}
        for _ in range(words.rounds):
            turn = {}
            for server in random.sample(servers, len(servers)):
                turn[server.name], _ = server.rate(words.seconds)
            for name, rate in turn.items():
                rates[name].append(rate)
                seen[name].append(rate / turn["bare uvicorn"])
        for name in CONTESTANTS:
            low, high = min(seen[name]), max(seen[name])
            print(f"{name:22} {statistics.median(rates[name]):9,.0f} per CPU second   "
                  f"{statistics.median(seen[name]):.2f} of bare ({low:.2f} to {high:.2f})")
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main()
