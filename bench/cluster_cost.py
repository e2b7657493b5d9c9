"""What one read of the shared tier costs the client: CPU of `Cluster.get` and `get_many` over a RedisNode, beside
redis-py's GET and MGET of the same bytes, in one interleaved run.

    python -m bench.cluster_cost [--rounds 9]

CPU (process_time) of this process only, in microseconds; the least of the rounds, and beside it the ratio. The server is
on the loopback of the same machine, and is not counted.
"""

import argparse
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import redis

from samovar import Cluster, RedisNode

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))
from engines import RedisServer

ONE, MANY, KEYS = 3_000, 60, 100
VALUE = "x" * 1_000


def lanes(server: Any) -> dict[str, tuple[Callable[[], object], int, int]]:
    """name -> (call, how often it is called, how many keys it reads)."""
    client = redis.Redis(port=server.port)
    alone = Cluster([RedisNode(server.url, timeout=1)])
    three = Cluster([RedisNode(f"{server.url[:-1]}{number}", timeout=1) for number in range(3)], namespace="three")
    keys = [f"key:{number}" for number in range(KEYS)]
    for key in keys:
        client.set(key, VALUE)
        alone.set(key, VALUE)
        three.set(key, VALUE)
    assert alone.get(keys[0]) == three.get(keys[0]) == VALUE
    factory = str
    return {
        "redis-py get": (lambda: client.get(keys[0]), ONE, 1),
        "Cluster.get": (lambda: alone.get(keys[0]), ONE, 1),
        "Cluster.get, three nodes": (lambda: three.get(keys[0]), ONE, 1),
        "Cluster.get_or_set": (lambda: alone.get_or_set(keys[0], factory), ONE, 1),
        "redis-py mget": (lambda: client.mget(keys), MANY, KEYS),
        "Cluster.get_many": (lambda: alone.get_many(keys), MANY, KEYS),
        "Cluster.get_many, three nodes": (lambda: three.get_many(keys), MANY, KEYS),
    }


def cpu_us(call: Callable[[], object], times: int) -> float:
    begun = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begun) / times * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    server = RedisServer()
    try:
        measured = lanes(server)
        least = dict.fromkeys(measured, float("inf"))
        for _ in range(rounds):
            for name, (call, times, keys) in measured.items():
                least[name] = min(least[name], cpu_us(call, times) / keys)
    finally:
        server.end()
    for name, us in least.items():
        base = "redis-py get" if measured[name][2] == 1 else "Cluster.get"
        print(f"{name:32} {us:8.2f} µs a key   {us / least[base]:5.2f} x {base}")


if __name__ == "__main__":
    main()
