"""What a hit in a shared tier costs the client: CPU of samovar's ways beside those of the libraries that people use, each
reading the same text of 1 kB from the same engines, in one interleaved run.

    python -m bench.cluster_peers [--rounds 9] [--calls 1000]

CPU (process_time) of this process only, in microseconds a read; the least of the rounds, and beside it the ratio to a
bare socket that sends the command and reads until the answer is whole: what nobody can go below in Python. The engines
are on the loopback of the same machine, and are not counted. Awaited lanes read one key after another; those with
"x 50" have fifty tasks read at once.

They do not all promise the same: redis-py, redis.asyncio and pymemcache return bytes; dogpile.cache, cashews and aiocache
unpickle; samovar checks an envelope (checksum, lifetime, epoch) and decodes msgpack.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import socket
import time
from collections.abc import Awaitable, Callable, Iterator

from samovar import AsyncCluster, Cluster, MemcachedNode, RedisNode

from bench.servers import MemcachedServer, RedisServer

VALUE, KEY = "x" * 1_000, "a-key"
TASKS = 50
Lane = tuple[str, "Callable[[], object] | None", "Callable[[], Awaitable[object]] | None", int]


def bare(port: int, question: bytes, length: int) -> Callable[[], object]:
    """A socket that asks, and reads an answer of a known length."""
    plug = socket.create_connection(("127.0.0.1", port))
    plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read() -> bytes:
        plug.sendall(question)
        got = plug.recv(65536)
        while len(got) < length:
            got += plug.recv(65536)
        return got

    return read


def at_once(call: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    async def many() -> None:
        await asyncio.gather(*(call() for _ in range(TASKS)))

    return many


def blocking(redis_port: int, memcached_port: int) -> Iterator[Lane]:
    import redis

    client = redis.Redis(port=redis_port)
    client.set(KEY, VALUE)
    yield "bare socket, Redis", bare(redis_port, b"*2\r\n$3\r\nGET\r\n$5\r\na-key\r\n", 1009), None, 1
    yield "redis-py get", lambda: client.get(KEY), None, 1
    if importlib.util.find_spec("dogpile"):
        from dogpile.cache import make_region

        region = make_region().configure("dogpile.cache.redis", expiration_time=600,
                                         arguments={"host": "127.0.0.1", "port": redis_port})
        region.set("dogpile", VALUE)
        yield "dogpile.cache get", lambda: region.get("dogpile"), None, 1
        yield "dogpile.cache get_or_create", lambda: region.get_or_create("dogpile", str), None, 1
    cluster = Cluster([RedisNode(f"redis://127.0.0.1:{redis_port}/0", timeout=2)], bus=False, ttl=600)
    cluster.set(KEY, VALUE)
    yield "samovar Cluster.get", lambda: cluster.get(KEY), None, 1
    yield "samovar Cluster.get_or_set", lambda: cluster.get_or_set(KEY, str), None, 1
    length = len("VALUE raw 0 1000\r\n\r\nEND\r\n") + len(VALUE)
    yield "bare socket, Memcached", bare(memcached_port, b"get raw\r\n", length), None, 1
    with socket.create_connection(("127.0.0.1", memcached_port)) as plug:
        plug.sendall(b"set raw 0 0 1000\r\n" + VALUE.encode() + b"\r\n")
        assert plug.recv(100) == b"STORED\r\n"
    if importlib.util.find_spec("pymemcache"):
        from pymemcache.client.base import Client

        other = Client(("127.0.0.1", memcached_port))
        yield "pymemcache get", lambda: other.get("raw"), None, 1
    tier = Cluster([MemcachedNode(f"127.0.0.1:{memcached_port}", timeout=2)], bus=False, ttl=600)
    tier.set(KEY, VALUE)
    yield "samovar Cluster.get, Memcached", lambda: tier.get(KEY), None, 1


async def awaited(redis_port: int) -> list[Lane]:
    import redis.asyncio

    client = redis.asyncio.Redis(port=redis_port, max_connections=100)
    cluster = AsyncCluster([RedisNode(f"redis://127.0.0.1:{redis_port}/0", timeout=2)], bus=False, ttl=600)
    await cluster.set(KEY, VALUE)

    def theirs() -> Awaitable[object]:
        return client.get(KEY)

    async def ours() -> object:
        return await cluster.get(KEY)

    lanes: list[Lane] = [("redis.asyncio get", None, theirs, 1), ("redis.asyncio get, x 50", None, at_once(theirs), TASKS)]
    if importlib.util.find_spec("cashews"):
        from cashews import Cache

        cashews = Cache()
        cashews.setup(f"redis://127.0.0.1:{redis_port}/0", max_connections=100)
        await cashews.set("cashews", VALUE, expire=600)
        lanes.append(("cashews get", None, lambda: cashews.get("cashews"), 1))
    if importlib.util.find_spec("aiocache"):
        import aiocache
        from aiocache.serializers import PickleSerializer

        aio = aiocache.RedisCache(endpoint="127.0.0.1", port=redis_port, serializer=PickleSerializer())
        await aio.set("aiocache", VALUE, ttl=600)
        lanes.append(("aiocache get", None, lambda: aio.get("aiocache"), 1))
    lanes.append(("samovar AsyncCluster.get", None, ours, 1))
    return [*lanes, ("samovar AsyncCluster.get, x 50", None, at_once(ours), TASKS)]


def cpu_us(lane: Lane, calls: int, runner: asyncio.Runner) -> float:
    """CPU of one read."""
    _, call, acall, reads = lane
    times = max(1, calls // reads)

    async def loop() -> float:
        assert acall is not None
        begun = time.process_time()
        for _ in range(times):
            await acall()
        return time.process_time() - begun

    if call is None:
        return runner.run(loop()) / (times * reads) * 1e6
    begun = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begun) / times * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=1_000)
    asked = parser.parse_args()
    servers = [RedisServer(), MemcachedServer()]
    try:
        with asyncio.Runner() as runner:
            lanes = [*blocking(*(server.port for server in servers)), *runner.run(awaited(servers[0].port))]
            least = {lane[0]: float("inf") for lane in lanes}
            for _ in range(asked.rounds):
                for lane in lanes:
                    least[lane[0]] = min(least[lane[0]], cpu_us(lane, asked.calls, runner))
    finally:
        for server in servers:
            server.end()
    for name, us in least.items():
        base = "bare socket, Memcached" if "emcache" in name else "bare socket, Redis"
        print(f"{name:32} {us:8.1f} µs   {us / least[base]:5.1f} x")


if __name__ == "__main__":
    main()
