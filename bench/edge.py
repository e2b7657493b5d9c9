"""A hit of HTTPCacheMiddleware beside bare uvicorn that answers the same constant.

    python -m bench.edge [--rounds N] [--seconds S] [--size BYTES]

Each contestant is a process of its own: uvicorn with httptools and uvloop, one worker, without an access log. `wrk -c 50
-t 1` asks one URL of each in turn, in an order drawn anew each round. What counts is requests per second of processor time
that the server took (its own, from /proc, with the system's share of it), as a ratio to the bare one of the same round;
the median of the rounds. The bare one sends the fields that an application would send; the middleware sends what HTTP asks
of a cache besides (Age, Cache-Status). The bar of a hit is 0.8. Linux, with wrk installed.
"""

from __future__ import annotations

import argparse
import os
import random
import re
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

def constant(size: int) -> Any:
    """An application that answers with `size` bytes, whatever is asked."""
    body = b"x" * size
    start = {"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"text/plain"), (b"content-length", str(size).encode()), (b"cache-control", b"max-age=3600")]}
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
