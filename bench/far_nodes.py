"""How long does a batch over several nodes take that are far away: as long as the slowest, or as all of them together?

    python -m bench.far_nodes [--nodes 3] [--delay 0.02] [--rounds 9]

Each node is an engine on this machine behind a proxy that lets every byte wait, half of --delay in each direction. A row
is a verb of `Cluster` with 100 keys, blocking and awaited (but over blocking clients of redis-py's): over nodes of which
one is far, and over nodes that all are. `set_many` takes two round trips: other nodes that may hold a key forget it
afterwards. The last row is a read while all nodes but one hang, with a timeout of five delays, beside that timeout. Wall
clock, the median of the rounds, in milliseconds; the bar is 1.25 times the first.
"""

import argparse
import asyncio
import pathlib
import queue
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
import redis.backoff
import redis.retry

from samovar import AsyncCluster, Cluster, MemcachedNode, RedisNode
from samovar.cluster.drive import run_all

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))
from engines import MemcachedServer, RedisServer

KEYS = [f"key:{number}" for number in range(100)]
ENTRIES = dict.fromkeys(KEYS, "x" * 1_000)
TAGS = [f"tag:{number}" for number in range(10)]
BAR = 1.25


class Far:
    """A port in front of an engine's, some time away; while `hangs`, it swallows what comes."""

    def __init__(self, target: int, delay_s: float) -> None:
        self.target, self.one_way_s, self.hangs = target, delay_s / 2, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            here, _ = self.listener.accept()
            there = socket.create_connection(("127.0.0.1", self.target))
            for plug in (here, there):
                plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for one, other in ((here, there), (there, here)):
                box: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                threading.Thread(target=self._take, args=(one, box), daemon=True).start()
                threading.Thread(target=self._give, args=(other, box), daemon=True).start()

    def _take(self, plug: socket.socket, box: "queue.SimpleQueue[tuple[float, bytes]]") -> None:
        while chunk := plug.recv(1 << 18):
            if not self.hangs:
                box.put((time.perf_counter() + self.one_way_s, chunk))

    def _give(self, plug: socket.socket, box: "queue.SimpleQueue[tuple[float, bytes]]") -> None:
        while True:
            due, chunk = box.get()
            time.sleep(max(0.0, due - time.perf_counter()))
            plug.sendall(chunk)


def verbs(cluster: Any) -> dict[str, Callable[[], Any]]:
    return {
        "get_many": lambda: cluster.get_many(KEYS),
        "get_or_set_many, hits": lambda: cluster.get_or_set_many(KEYS, dict.fromkeys),
        "set_many": lambda: cluster.set_many(ENTRIES),
        "delete_many": lambda: cluster.delete_many(KEYS),
        "invalidate_tags of 10": lambda: cluster.invalidate_tags(*TAGS),
    }


def median_ms(call: Callable[[], Any], again: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        again()
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds of a round trip")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    limit_s = 5 * asked.delay
    print(f"{'':38}{'one far':>12}{'all far':>12}{'x':>8}{'bar':>8}")

    def row(name: str, one: float, many: float) -> None:
        verdict = "met" if many <= BAR * one else "missed"
        print(f"{name:38}{one:9.1f} ms{many:9.1f} ms{many / one:8.2f}{verdict:>8}", flush=True)

    def over_client(port: int, name: str) -> RedisNode:
        never = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        return RedisNode(redis.Redis(port=port, socket_timeout=limit_s, retry=never), name=name)

    for called, kind, make in (
            ("Redis", RedisServer, lambda port, name: RedisNode(f"redis://127.0.0.1:{port}", timeout=limit_s, name=name)),
            ("redis-py", RedisServer, over_client),
            ("Memcached", MemcachedServer, lambda port, name: MemcachedNode(f"127.0.0.1:{port}", timeout=limit_s, name=name)),
    ):
        engines: list[Any] = [kind() for _ in range(asked.nodes)]
        far = [Far(engine.port, asked.delay) for engine in engines]
        one_far = [far[0], *(Far(engine.port, 0.0) for engine in engines[1:])]
        try:
            def nodes(doors: list[Far], make: Any = make) -> list[Any]:
                return [make(one.port, f"node-{at}") for at, one in enumerate(doors)]

            def measure(cluster: Any, kept: Callable[[Any], Any]) -> dict[str, float]:
                kept(cluster.set_many(ENTRIES))
                return {name: median_ms(lambda verb=verb: kept(verb()),  # type: ignore[misc]
                                        lambda: kept(cluster.set_many(ENTRIES)), asked.rounds)
                        for name, verb in verbs(cluster).items()}

            blocking = [measure(Cluster(nodes(doors), bus=False), lambda told: told) for doors in (one_far, far)]
            tasks: list[dict[str, float]] = [{}, {}]
            with asyncio.Runner() as runner:
                async def awaited(told: Any) -> Any:
                    return await told

                if called != "redis-py":  # whose clients are blocking here
                    tasks = [measure(AsyncCluster(nodes(doors), bus=False), lambda told: runner.run(awaited(told)))
                             for doors in (one_far, far)]
            for how, (one, many) in (("", blocking), (", awaited", tasks)):
                for name, ms in one.items():
                    row(f"{called}: {name}{how}", ms, many[name])
            asking = nodes(far)
            run_all([node.read(["key"]) for node in asking])
            for door in far[1:]:
                door.hangs = True
            row(f"{called}: a read, all but one hang", limit_s * 1e3,
                median_ms(lambda asking=asking: run_all([node.read(["key"]) for node in asking]),  # type: ignore[misc]
                          lambda: None, 1))
        finally:
            for engine in engines:
                engine.end()


if __name__ == "__main__":
    main()
