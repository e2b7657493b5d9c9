"""A cold key and several processes of one host: how often it is loaded, and how long its callers wait.

    python -m bench.herd_processes [--processes N] [--callers N] [--load SECONDS] [--rounds N] [--lease SECONDS] [--only WAY]

Some processes, each with a crowd of callers (threads, or tasks of one loop), ask for the same key at the same moment.
A load takes as long as --load says. Each row is a way to keep the crowd from the origin:

    nothing          every caller loads
    a cache          samovar.Cache: one load in each process
    lease            Cache(lease=FileLease(...)): one process loads at a time, and each loads
    lease, shared    the same, and the result is handed over
    Redis, Memcached Cluster over one such node: the lease is in the cell of the key
    ..., killed      the process that loads is killed (SIGKILL) in the middle of its load
    diskcache        diskcache.Cache with its Lock around the load, where that is installed

*longest wait* is that of the caller who waited longest; *over* is by how much that is longer than one load, counted
from the kill where there was one, and for a Cluster from the end of the lease that the killed process held (--lease): the
price of waiting. *commands* are what the engine was sent. The bars: one load, two after a kill; 0.5 s over, and a tenth of
the load for a Cluster without a kill.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import samovar

WAYS = ["nothing", "a cache", "lease", "lease, shared", "lease, shared, killed", "Redis", "Redis, killed", "Memcached",
        "Memcached, killed", "diskcache"]
CROWDS = ["threads", "tasks"]
BAR_S = 0.5


class Place(NamedTuple):
    """Where processes meet: a folder, and for a Cluster an engine's address and the seconds of a lease."""

    home: str
    where: str = ""
    lease_s: float = 0.0


def asker(way: str, place: Place, load: Callable[[], object]) -> tuple[Callable[[], object], Callable[[], Any] | None]:
    """How one caller asks: blocking, and awaited."""
    async def aload() -> object:
        return await asyncio.to_thread(load)

    home = place.home
    if way == "nothing":
        return load, aload
    if place.where:
        node = samovar.RedisNode if "Redis" in way else samovar.MemcachedNode
        cluster = samovar.Cluster([node(place.where, timeout=1)], lease=place.lease_s, bus=False)
        tasks = samovar.AsyncCluster([node(place.where, timeout=1)], lease=place.lease_s, bus=False)
        cluster.get("another")  # connected, and the engine known
        is_known = False

        async def ask_cluster() -> object:
            nonlocal is_known
            if not is_known:
                is_known = True
                return await tasks.get("another")
            return await tasks.get_or_set("key", aload)

        return lambda: cluster.get_or_set("key", load), ask_cluster
    if way == "diskcache":
        import diskcache

        shared = diskcache.Cache(os.path.join(home, "diskcache"))
        lock = diskcache.Lock(shared, "lock of the key", expire=60)

        def ask() -> object:
            value = shared.get("key")
            if value is None:
                with lock:
                    value = shared.get("key")
                    if value is None:
                        value = load()
                        shared.set("key", value)
            return value

        return ask, None
    options: dict[str, Any] = {}
    if way != "a cache":
        options["lease"] = samovar.FileLease(os.path.join(home, "leases"), shared="shared" in way)
    cache: samovar.Cache[str, object] = samovar.Cache(name="bench", **options)
    return lambda: cache.get_or_set("key", load), lambda: cache.aget_or_set("key", aload)


def work(way: str, crowd: str, callers: int, load_s: float, place: Place, gate: Any, pipe: Any) -> None:
    """One process: a crowd that asks when the gate opens; sends when each caller had its answer."""
    log = os.open(os.path.join(place.home, "loads"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    begins, ends = [0.0] * callers, [0.0] * callers

    def load() -> object:
        os.write(log, f"{os.getpid()} {time.perf_counter()}\n".encode())
        time.sleep(load_s)
        return {"made by": os.getpid()}

    ask, aask = asker(way, place, load)

    def blocking(number: int) -> None:
        inner.wait()
        begins[number] = time.perf_counter()
        ask()
        ends[number] = time.perf_counter()

    async def awaited() -> None:
        async def one(number: int) -> None:
            begins[number] = time.perf_counter()
            await aask()
            ends[number] = time.perf_counter()

        if place.where:
            await aask()  # the loop's own connection
        gate.wait()
        await asyncio.gather(*map(one, range(callers)))

    inner = threading.Barrier(callers + 1)
    threads = [threading.Thread(target=blocking, args=(number,), daemon=True) for number in range(callers)]
    if crowd == "threads":
        for thread in threads:
            thread.start()
    if crowd == "threads":
        gate.wait()
        inner.wait()
        for thread in threads:
            thread.join()
    else:
        asyncio.run(awaited())
    pipe.send((max(end - begun for begun, end in zip(begins, ends, strict=True)), max(ends)))


@contextlib.contextmanager
def engine(way: str) -> Iterator[tuple[str, Callable[[], int]]]:
    """The address of the engine that a way needs, empty, and how many commands it was sent; "" for none."""
    if not way.startswith(("Redis", "Memcached")):
        yield "", lambda: 0
        return
    from bench.servers import MemcachedServer, RedisServer

    server: Any = RedisServer() if "Redis" in way else MemcachedServer()
    try:
        if "Redis" in way:
            yield server.url, lambda: sum(server.calls().values())
        else:
            yield f"127.0.0.1:{server.port}", lambda: sum(int(server.stats()[name]) for name in ("cmd_get", "cmd_set"))
    finally:
        server.end()


def one_round(way: str, crowd: str, processes: int, callers: int, load_s: float,
              lease_s: float) -> tuple[int, float, float, int]:
    """Loads, the longest wait, by how much it is longer than it must be, and commands."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as home, engine(way) as (where, commands):
        place = Place(home, where, lease_s)
        gate = context.Barrier(processes + 1)
        pipes, crew = [], []
        for _ in range(processes):
            ours, theirs = context.Pipe(duplex=False)
            crew.append(context.Process(target=work, args=(way, crowd, callers, load_s, place, gate, theirs)))
            crew[-1].start()
            theirs.close()
            pipes.append(ours)
        gate.wait()
        counted_from = None
        if "killed" in way:
            while not (said := _loads(home)):
                time.sleep(0.001)
            time.sleep(load_s / 2)
            os.kill(int(said[0].split()[0]), signal.SIGKILL)
            counted_from = float(said[0].split()[1]) + lease_s if where else time.perf_counter()
        came = []
        for pipe in pipes:
            with contextlib.suppress(EOFError):  # the one that was killed
                came.append(pipe.recv())
        for process in crew:
            process.join()
        longest = max(waited for waited, _ in came)
        over = (longest if counted_from is None else max(end for _, end in came) - counted_from) - load_s
        return len(_loads(home)), longest, over, commands()


def _loads(home: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError), open(os.path.join(home, "loads"), encoding="ascii") as file:
        return file.read().splitlines()
    return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--load", type=float, default=0.5, help="seconds that a load takes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lease", type=float, default=3.0, help="seconds of a Cluster's lease")
    parser.add_argument("--only", default="", help="only ways that begin so")
    asked = parser.parse_args()
    print(f"{asked.processes} processes x {asked.callers} callers, one load takes {asked.load:g} s, {asked.rounds} rounds\n")
    print(f"{'':36}{'loads':>8}{'longest wait':>14}{'over':>10}{'bar':>8}{'commands':>10}")
    for way in [way for way in WAYS if way.startswith(asked.only)]:
        for crowd in CROWDS:
            if way == "diskcache":
                try:
                    import diskcache  # noqa: F401
                except ImportError:
                    break
                if crowd == "tasks":
                    continue
            how = way, crowd, asked.processes, asked.callers, asked.load, asked.lease
            rounds = [one_round(*how) for _ in range(asked.rounds)]
            most, longest, over, commands = (max(figures) for figures in zip(*rounds, strict=True))
            bar = ""
            if "shared" in way or way.startswith(("Redis", "Memcached")):
                most_s = BAR_S if "shared" in way or "killed" in way else asked.load / 10
                bar = "met" if most <= (2 if "killed" in way else 1) and over <= most_s else "missed"
            print(f"{way + ', ' + crowd:36}{most:8}{longest:12.3f} s{over:8.3f} s{bar:>8}{commands or '':>10}", flush=True)


if __name__ == "__main__":
    main()
