"""What one read of the shared tier costs the client: CPU of `Cluster.get` and `get_many` over a RedisNode, beside
redis-py's GET and MGET of the same bytes, and over a MemcachedNode beside pymemcache's, in one interleaved run.

    python -m bench.cluster_cost [--rounds 60]

CPU (process_time) of this process only, in microseconds; the least of the rounds. Beside it two ratios: to the client
library's read of one key, which a read here may cost 1.3 times (bar); and, for batches, to our own read of one key, which
says what going together saves. The servers are on the loopback of the same machine, and are not counted.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import pymemcache
import redis

from samovar import Cluster, MemcachedNode, RedisNode
from samovar.cluster.codec import KeyMaker
from samovar.cluster.drive import run
from samovar.cluster.node import Node

from bench.servers import MemcachedServer, RedisServer

ONE, MANY, KEYS = 400, 8, 100  # a round is short: the least of many finds moments when nobody else runs
VALUE = "x" * 1_000


Lane = tuple[Callable[[], object], int, str, str]  # call, how many keys it reads, and the two lanes it is measured by


def filled(nodes: list[Node], keys: list[str], namespace: str) -> Cluster:
    cluster = Cluster(nodes, namespace=namespace)
    for key in keys:
        cluster.set(key, VALUE)
    assert cluster.get(keys[0]) == VALUE and len(cluster.get_many(keys)) == KEYS
    return cluster


def redis_lanes(server: RedisServer, keys: list[str]) -> dict[str, Lane]:
    client = redis.Redis(port=server.port)
    client.mset(dict.fromkeys(keys, VALUE))
    alone = filled([RedisNode(server.url, timeout=1)], keys, "one")
    three = filled([RedisNode(f"{server.url[:-1]}{number}", timeout=1) for number in range(3)], keys, "three")
    node, wires = RedisNode(server.url, timeout=1), [KeyMaker("one")(key) for key in keys]
    theirs, ours = "redis-py get", "Cluster.get, Redis"
    return {
        theirs: (lambda: client.get(keys[0]), 1, theirs, ""),
        ours: (lambda: alone.get(keys[0]), 1, theirs, ""),
        "Cluster.get, three nodes": (lambda: three.get(keys[0]), 1, theirs, ""),
        "Cluster.get_or_set, a hit": (lambda: alone.get_or_set(keys[0], str), 1, theirs, ""),
        "RedisNode.read": (lambda: run(node.read(wires[:1])), 1, theirs, ""),
        "redis-py mget": (lambda: client.mget(keys), KEYS, theirs, ""),
        "RedisNode.read of 100": (lambda: run(node.read(wires)), KEYS, theirs, "RedisNode.read"),
        "Cluster.get_many, Redis": (lambda: alone.get_many(keys), KEYS, theirs, ours),
        "Cluster.get_many, three nodes": (lambda: three.get_many(keys), KEYS, theirs, "Cluster.get, three nodes"),
    }


def memcached_lanes(servers: list[MemcachedServer], keys: list[str]) -> dict[str, Lane]:
    places = [f"127.0.0.1:{server.port}" for server in servers]
    client = pymemcache.Client(places[0])
    client.set_many(dict.fromkeys(keys, VALUE))
    alone = filled([MemcachedNode(places[0], timeout=1)], keys, "one")
    three = filled([MemcachedNode(place, timeout=1) for place in places], keys, "three")
    node, wires = MemcachedNode(places[0], timeout=1), [KeyMaker("one")(key) for key in keys]
    theirs, ours, spread = "pymemcache get", "Cluster.get, Memcached", "Cluster.get, three Memcacheds"
    return {
        theirs: (lambda: client.get(keys[0]), 1, theirs, ""),
        ours: (lambda: alone.get(keys[0]), 1, theirs, ""),
        spread: (lambda: three.get(keys[0]), 1, theirs, ""),
        "MemcachedNode.read": (lambda: run(node.read(wires[:1])), 1, theirs, ""),
        "MemcachedNode.read of 100": (lambda: run(node.read(wires)), KEYS, theirs, "MemcachedNode.read"),
        "pymemcache get_many": (lambda: client.get_many(keys), KEYS, theirs, ""),
        "Cluster.get_many, Memcached": (lambda: alone.get_many(keys), KEYS, theirs, ours),
        "Cluster.get_many, three Memcacheds": (lambda: three.get_many(keys), KEYS, theirs, spread),
    }


def cpu_us(call: Callable[[], object], times: int) -> float:
    begun = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begun) / times * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    keys = [f"key:{number}" for number in range(KEYS)]
    engines: list[Any] = [RedisServer(), *(MemcachedServer() for _ in range(3))]
    try:
        lanes = {**redis_lanes(engines[0], keys), **memcached_lanes(engines[1:], keys)}
        least = dict.fromkeys(lanes, float("inf"))
        for _ in range(rounds):
            for name, (call, many, _, _) in lanes.items():
                least[name] = min(least[name], cpu_us(call, ONE if many == 1 else MANY) / many)
    finally:
        for engine in engines:
            engine.end()
    for name, us in least.items():
        _, _, theirs, ours = lanes[name]
        share = f"{us / least[ours]:5.2f} x {ours}" if ours else ""
        print(f"{name:36} {us:8.2f} µs a key   {us / least[theirs]:5.2f} x {theirs:16} {share}")


if __name__ == "__main__":
    main()
