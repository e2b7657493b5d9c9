"""How many reads of a shared tier are older than what was known to be gone when they began, for the ways in which people
use one, and for ours.

    python -m bench.staleness [--reads 100000] [--way NAME ...]

Four processes read 20 keys; one read in twenty is preceded by a change: the new version is committed at the origin, and
the key deleted. From when that returned nobody who begins to read may get an older version. A load reads the origin's
version and then lets others run, as a query does. Figures are stale reads in a million; that they are 0 for ours is also
a test (tests/servers/test_cluster_processes.py), and why, is played in every order by tests/models.

    naive      GET; on a miss load and SET
    lock       the same, where a lock in Redis (SET NX PX) lets one process load at a time
    version    the same as naive, where a script refuses to replace a newer version by an older one
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from typing import Any

from bench.servers import MemcachedServer, RedisServer

SPAWN = multiprocessing.get_context("spawn")
KEYS, PROCESSES, CHANGES = 20, 4, 0.05
Load = Callable[[], int]
Read = Callable[[str, Load], int]
_NEWER = """local old = redis.call('GET', KEYS[1])
if old and tonumber(old) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1]) return 1"""
_UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


def by_redis(port: int, how: str) -> tuple[Read, Callable[[str], object]]:
    import redis

    client = redis.Redis(port=port)
    newer, unlock = client.register_script(_NEWER), client.register_script(_UNLOCK)

    def naive(key: str, load: Load) -> int:
        value = client.get(key)
        if value is None:
            value = load()
            client.set(key, value)
        return int(value)

    def version(key: str, load: Load) -> int:
        value = client.get(key)
        if value is None:
            value = load()
            newer([key], [value])
        return int(value)

    def lock(key: str, load: Load) -> int:
        mine = os.urandom(8).hex()
        while (value := client.get(key)) is None:
            if client.set(f"{key} lock", mine, nx=True, px=5_000):
                try:
                    value = client.get(key)
                    if value is None:
                        value = load()
                        client.set(key, value)
                    return int(value)
                finally:
                    unlock([f"{key} lock"], [mine])
            time.sleep(0.0005)
        return int(value)

    return {"naive": naive, "version": version, "lock": lock}[how], client.delete


def by_memcached(port: int) -> tuple[Read, Callable[[str], object]]:
    from pymemcache.client.base import Client

    client = Client(("127.0.0.1", port), no_delay=True, default_noreply=False)

    def naive(key: str, load: Load) -> int:
        value = client.get(key)
        if value is None:
            value = load()
            client.set(key, str(value))
        return int(value)

    return naive, client.delete


def by_samovar(port: int, engine: str) -> tuple[Read, Callable[[str], object]]:
    from samovar import Cluster, MemcachedNode, RedisNode

    node = RedisNode(f"redis://127.0.0.1:{port}/0", timeout=5) if engine == "Redis" else MemcachedNode(
        f"127.0.0.1:{port}", timeout=5)
    cluster = Cluster([node], bus=False)
    return cluster.get_or_set, cluster.delete


WAYS = {
    "naive, Redis": (RedisServer, lambda port: by_redis(port, "naive")),
    "lock, Redis": (RedisServer, lambda port: by_redis(port, "lock")),
    "version, Redis": (RedisServer, lambda port: by_redis(port, "version")),
    "naive, Memcached": (MemcachedServer, by_memcached),
    "samovar, Redis": (RedisServer, lambda port: by_samovar(port, "Redis")),
    "samovar, Memcached": (MemcachedServer, lambda port: by_samovar(port, "Memcached")),
}


def work(way: str, port: int, reads: int, seed: int, committed: Any, known: Any, lock: Any, told: Any) -> None:
    """Reads of what others change meanwhile: how many were stale."""
    (read, delete), chance, stale = WAYS[way][1](port), random.Random(seed), 0
    for _ in range(reads):
        number = chance.randrange(KEYS)
        key = f"key-{number}"
        if chance.random() < CHANGES:
            with lock:
                version = committed[number] = committed[number] + 1
            delete(key)
            with lock:
                known[number] = max(known[number], version)
        floor = known[number]

        def load(number: int = number) -> int:
            version = int(committed[number])
            os.sched_yield()
            return version

        stale += read(key, load) < floor
    told.put(stale)


def stale_in_a_million(way: str, reads: int) -> float:
    server = WAYS[way][0]()
    try:
        lock, told = SPAWN.Lock(), SPAWN.Queue()
        committed, known = (SPAWN.RawArray("Q", KEYS) for _ in range(2))
        crew = [SPAWN.Process(target=work, args=(way, server.port, reads // PROCESSES, seed, committed, known, lock, told))
                for seed in range(PROCESSES)]
        for process in crew:
            process.start()
        stale: int = sum(told.get(timeout=600) for _ in crew)
        for process in crew:
            process.join()
    finally:
        server.end()
    return stale / reads * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=100_000, help="of all processes together")
    parser.add_argument("--way", action="append", choices=list(WAYS))
    asked = parser.parse_args()
    print(f"stale reads in a million, of {asked.reads:,} reads by {PROCESSES} processes of {KEYS} keys")
    for way in asked.way or WAYS:
        print(f"{way:24}{stale_in_a_million(way, asked.reads):12,.0f}", flush=True)


if __name__ == "__main__":
    main()
