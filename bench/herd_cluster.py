"""A cold key over processes that share a Redis: how often it is loaded, how long callers wait, what the engine is asked.

    python -m bench.herd_cluster [--processes 4] [--callers 50] [--load 1] [--lease 3] [--rounds 3] [--way NAME ...]

Some processes, each with a crowd of callers (threads, or tasks of one loop, as the library wants), ask for the same cold
key at the same moment. A load takes as long as --load says. Each row is a way to keep the crowd from the origin, the
libraries' own ways as their documentation has them; those that are not installed are left out.

*slowest* is the caller who waited longest. *killed* is a second run in which the process that loads is killed (SIGKILL)
halfway: *served* are those callers of the others who got an answer within lease + 5 s, and *slowest* is counted from
the kill. The bars, for ours: one load, within the load's time and a tenth; after a kill two loads at most, and the lease
+ 0.5 s until the second one begins.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bench.servers import RedisServer

SPAWN = multiprocessing.get_context("spawn")
WAYS = {  # name -> the package that it needs
    "naive get and set": "redis", "dogpile.cache, distributed lock": "dogpile", "dogpile.cache, lock with timeout": "dogpile",
    "cashews, lock=True": "cashews", "aiocache, RedLock": "aiocache", "samovar Cluster": "samovar",
    "samovar AsyncCluster": "samovar",
}
Ask = Callable[[], Any]
AAsk = Callable[[], Awaitable[Any]]
MORE_S = 5.0


def by_redis(port: int, load: Ask) -> Ask:
    import redis

    client = redis.Redis(port=port)

    def ask() -> Any:
        value = client.get("key")
        if value is None:
            value = load()
            client.set("key", value, ex=600)
        return value

    return ask


def by_dogpile(port: int, load: Ask, timeout_s: float | None) -> Ask:
    from dogpile.cache import make_region

    arguments = {"host": "127.0.0.1", "port": port, "distributed_lock": True, "thread_local_lock": False}
    if timeout_s is not None:
        arguments["lock_timeout"] = timeout_s
    region = make_region().configure("dogpile.cache.redis", expiration_time=600, arguments=arguments)
    return lambda: region.get_or_create("key", load)


def by_cashews(port: int, aload: AAsk) -> AAsk:
    from cashews import Cache

    cache = Cache()
    cache.setup(f"redis://127.0.0.1:{port}/0", max_connections=100)
    asked: AAsk = cache(ttl=600, key="key", lock=True)(aload)
    return asked


def by_aiocache(port: int, aload: AAsk, lease_s: float) -> AAsk:
    import aiocache
    from aiocache.lock import RedLock
    from aiocache.serializers import PickleSerializer

    cache = aiocache.RedisCache(endpoint="127.0.0.1", port=port, serializer=PickleSerializer())

    async def ask() -> Any:
        value = await cache.get("key")
        if value is None:
            async with RedLock(cache, "key", lease=lease_s):
                value = await cache.get("key")
                if value is None:
                    value = await aload()
                    await cache.set("key", value, ttl=600)
        return value

    return ask


def by_samovar(port: int, load: Any, lease_s: float, kind: str) -> Any:
    import samovar

    node = samovar.RedisNode(f"redis://127.0.0.1:{port}/0", timeout=2)
    cluster = getattr(samovar, kind)([node], lease=lease_s, ttl=600, bus=False)
    return lambda: cluster.get_or_set("key", load)


def asker(way: str, port: int, load: Ask, aload: AAsk, lease_s: float) -> tuple[Ask | None, AAsk | None]:
    """How one caller asks: blocking, or awaited."""
    if way == "naive get and set":
        return by_redis(port, load), None
    if way.startswith("dogpile"):
        return by_dogpile(port, load, lease_s if "timeout" in way else None), None
    if way.startswith("cashews"):
        return None, by_cashews(port, aload)
    if way.startswith("aiocache"):
        return None, by_aiocache(port, aload, lease_s)
    if way == "samovar Cluster":
        return by_samovar(port, load, lease_s, "Cluster"), None
    return None, by_samovar(port, aload, lease_s, "AsyncCluster")


def work(way: str, port: int, callers: int, load_s: float, lease_s: float, log: str, gate: Any, pipe: Any) -> None:
    """One process: a crowd that asks when the gate opens; sends when each caller had its answer, as they come."""
    number = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def load() -> bytes:
        os.write(number, f"{os.getpid()} {time.monotonic()}\n".encode())
        time.sleep(load_s)
        return b"made"

    async def aload() -> bytes:
        os.write(number, f"{os.getpid()} {time.monotonic()}\n".encode())
        await asyncio.sleep(load_s)
        return b"made"

    ask, aask = asker(way, port, load, aload, lease_s)
    lock = threading.Lock()

    def told(error: Exception | None) -> None:
        with lock:
            pipe.send((time.monotonic(), "" if error is None else repr(error)))

    def one() -> None:
        assert ask is not None
        error = None
        inner.wait()
        try:
            ask()
        except Exception as raised:
            error = raised
        told(error)

    async def aone() -> None:
        assert aask is not None
        error = None
        try:
            await aask()
        except Exception as raised:
            error = raised
        told(error)

    async def together() -> None:
        await asyncio.gather(*(aone() for _ in range(callers)))

    inner = threading.Barrier(callers + 1)
    threads = [threading.Thread(target=one, daemon=True) for _ in range(callers if aask is None else 0)]
    for thread in threads:
        thread.start()
    gate.wait()
    if aask is None:
        inner.wait()
        for thread in threads:
            thread.join()
    else:
        asyncio.run(together())


class Round:
    """One herd. loads: how often the origin was called; slowest_s; served: how many got an answer; commands: of the
    engine; errors."""

    def __init__(self, way: str, asked: Any, *, kills: bool) -> None:
        server = RedisServer()
        self.ends: list[tuple[float, str]] = []
        crew: list[Any] = []
        with tempfile.TemporaryDirectory() as home:
            log = os.path.join(home, "loads")
            try:
                gate = SPAWN.Barrier(asked.processes + 1)
                pipes = []
                for _ in range(asked.processes):
                    ours, theirs = SPAWN.Pipe(duplex=False)
                    crew.append(SPAWN.Process(target=work, daemon=True, args=(
                        way, server.port, asked.callers, asked.load, asked.lease, log, gate, theirs)))
                    crew[-1].start()
                    theirs.close()
                    pipes.append(ours)
                gate.wait()
                since_s = time.monotonic()
                if kills:
                    while not (said := lines(log)):
                        time.sleep(0.001)
                    time.sleep(asked.load / 2)
                    dead = int(said[0].split()[0])
                    os.kill(dead, signal.SIGKILL)
                    since_s = time.monotonic()
                    pipes = [pipe for pipe, process in zip(pipes, crew, strict=True) if process.pid != dead]
                self.wanted = len(pipes) * asked.callers
                self.hear(pipes, since_s + (asked.lease + asked.load + MORE_S if kills else 120))
                self.commands = sum(server.calls().values())
                self.loads = len(lines(log))
            finally:
                for process in crew:
                    process.kill()
                    process.join()
                server.end()
        self.served = sum(not error for _, error in self.ends)
        self.errors = [error for _, error in self.ends if error]
        self.slowest_s = max((at for at, _ in self.ends), default=since_s) - since_s

    def hear(self, pipes: list[Any], until_s: float) -> None:
        """Take what callers say, until all have said it or it is too late."""
        left = list(pipes)
        while left and len(self.ends) < self.wanted and time.monotonic() < until_s:
            for pipe in multiprocessing.connection.wait(left, max(0.0, until_s - time.monotonic())):
                try:
                    self.ends.append(pipe.recv())
                except EOFError:
                    left.remove(pipe)


def lines(log: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError), open(log, encoding="ascii") as file:
        return file.read().splitlines()
    return []


def said(rounds: list[Round]) -> str:
    """The worst of some rounds."""
    loads, slowest_s = max(one.loads for one in rounds), max(one.slowest_s for one in rounds)
    served = min(one.served for one in rounds)
    errors = sum(len(one.errors) for one in rounds)
    return (f"{loads:6}{f'{served}/{rounds[0].wanted}':>10}{slowest_s:9.2f} s{max(one.commands for one in rounds):10}"
            f"{errors:8}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--load", type=float, default=1.0, help="seconds that a load takes")
    parser.add_argument("--lease", type=float, default=3.0, help="seconds that a lease, or a lock with a timeout, lasts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", action="append", choices=list(WAYS))
    asked = parser.parse_args()
    print(f"{asked.processes} processes x {asked.callers} callers, one load takes {asked.load:g} s, a lease lasts "
          f"{asked.lease:g} s; the worst of {asked.rounds} rounds\n")
    head = f"{'loads':>6}{'served':>10}{'slowest':>11}{'commands':>10}{'errors':>8}"
    print(f"{'':34}{head}   | killed: {head[1:]}")
    for way in asked.way or WAYS:
        if importlib.util.find_spec(WAYS[way]) is None:
            print(f"{way:34}is not installed")
            continue
        whole = [Round(way, asked, kills=False) for _ in range(asked.rounds)]
        killed = [Round(way, asked, kills=True) for _ in range(asked.rounds)]
        print(f"{way:34}{said(whole)}   |        {said(killed)}", flush=True)
        for error in {error for one in (*whole, *killed) for error in one.errors}:
            print(f"    {error[:150]}")


if __name__ == "__main__":
    main()
