"""Values on real engines that are larger than anything of ours: each is a miss, of which memory never holds more than the
head, and the connection is given up rather than waited for where nobody else needs it."""

import asyncio
import tracemalloc

import pytest

from engines import Proxy
from samovar import AsyncCluster, Cluster
from samovar.cluster import MemcachedNode, RedisNode
from support import LIMIT, until

HUGE = 24 << 20  # bytes; a node reads 8 MiB


def all_verbs(shop, key):
    """Ask in every way: each answers "right", or a miss."""
    assert shop.get_many([key, "other"]) in ({"other": "other"}, {key: "right", "other": "other"})
    assert shop.touch(key) in (True, False) and shop.expire(key) in (True, False)
    assert shop.get_or_set(key, lambda: "right") == "right"
    assert shop.get(key) == "right", "a load heals it"
    assert all(state == ("up", "", 0) for state in shop.stats().nodes.values())


def place_in_redis(server, wire):
    server.do("SET", wire, "V" * 17)
    server.do("SETRANGE", wire, HUGE - 1, "x")


def place_in_memcached(server, wire):
    body = b"x" * 900_000  # the engine's own limit is 1 MB: it is more than this program reads
    assert server.say(b"ms %b %d F1\r\n%b\r\n" % (wire.encode(), len(body), body), b"\r\n") == b"HD\r\n"


class Counting(Proxy):
    """Counts what the engine sends."""

    sent = 0

    def _pass(self, one, other):
        if one.getpeername()[1] != self.target:
            return super()._pass(one, other)
        try:
            while chunk := one.recv(1 << 16):
                self.sent += len(chunk)
                other.sendall(chunk)
        except OSError:
            pass


@pytest.fixture
def counting(redis_server):
    proxy = Counting(redis_server.port)
    yield proxy
    proxy.close()


def test_value_that_is_too_large_is_refused_with_bounded_memory_and_before_it_came(redis_server, counting):
    with Cluster([RedisNode(f"redis://127.0.0.1:{counting.port}", timeout=LIMIT, name="one")]) as shop:
        shop.set("other", "other")
        place_in_redis(redis_server, shop._tier.wire("tea"))
        tracemalloc.start()
        before = counting.sent
        try:
            assert shop.get("tea") is None and shop.peek("tea") is None
            assert counting.sent - before < HUGE // 2, "the connection was given up"
            all_verbs(shop, "tea")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 << 20
        for change in (lambda: shop.delete("tea"), lambda: shop.set("tea", "right")):
            place_in_redis(redis_server, shop._tier.wire("tea"))
            assert change()
            assert shop.get("tea", "right") == "right"


def test_large_value_among_many_is_passed_over(redis_server):
    with Cluster([RedisNode(redis_server.url, timeout=LIMIT)]) as shop:
        keys = [f"k{number}" for number in range(30)]
        shop.set_many({key: key for key in keys})
        place_in_redis(redis_server, shop._tier.wire("k7"))
        assert shop.get_many(keys) == {key: key for key in keys if key != "k7"}
        assert shop.get_or_set_many(keys, lambda left: dict.fromkeys(left, "new")) == {
            key: "new" if key == "k7" else key for key in keys}


def test_large_value_holds_up_nobody_else_in_asyncio(redis_server):
    async def main():
        async with AsyncCluster([RedisNode(redis_server.url, timeout=LIMIT, name="one")]) as shop:
            await shop.set("other", "other")
            place_in_redis(redis_server, shop._tier.wire("tea"))
            got = await asyncio.gather(*(shop.get(key) for key in ["other", "tea"] * 10))
            assert got == ["other", None] * 10
            assert await shop.get_or_set("tea", lambda: "right") == await shop.get("tea") == "right"
            assert shop.stats().nodes["one"] == ("up", "", 0)

    asyncio.run(main())


@pytest.mark.parametrize("counter", ["{}|epoch", "mark"])
def test_large_value_under_a_counter_begins_it_anew(redis_server, counter):
    with Cluster([RedisNode(redis_server.url, timeout=LIMIT, name="one")]) as shop:
        wire = counter.format(shop._tier.namespace) if "{}" in counter else shop._tier.own_wire(counter)
        shop.set("tea", 1, tags=["t"])
        place_in_redis(redis_server, wire)
        place_in_redis(redis_server, shop._tier.tag_wire("t"))
        assert shop.get("tea") is None
        until(lambda: shop.get_or_set("tea", lambda: 2, tags=["t"]) == shop.get("tea") == 2)  # once its epoch is known
        shop.invalidate_tags("t")
        assert shop.get("tea") is None


def test_large_item_of_memcached_is_refused_as_well(memcached_server):
    node = MemcachedNode(f"127.0.0.1:{memcached_server.port}", timeout=LIMIT, name="one")
    node._line.dialect._most = 100_000  # less than what is read at least, so that the engine takes a larger one
    with Cluster([node]) as shop:
        shop.set("other", "other")
        place_in_memcached(memcached_server, shop._tier.wire("tea"))
        assert shop.get("tea") is None
        all_verbs(shop, "tea")
        keys = [f"k{number}" for number in range(20)]
        shop.set_many({key: key for key in keys})
        place_in_memcached(memcached_server, shop._tier.wire("k7"))
        assert shop.get_many(keys) == {key: key for key in keys if key != "k7"}


def test_tag_that_is_called_as_the_cluster_s_own_counters_touches_none_of_them(redis_server):
    node = RedisNode(redis_server.url, timeout=LIMIT, name="one")
    with Cluster([node]) as shop:
        shop.set("tea", 1)
        for tag in ("@run", "run", "@mark", "mark", "@missed one", "missed one"):
            shop.set("milk", 2, tags=[tag])
            assert shop.get("milk") == 2
            shop.invalidate_tags(tag)
            assert shop.get("milk") is None
        with Cluster([RedisNode(redis_server.url, timeout=LIMIT, name="one")]) as other:  # it sees to the run, if nobody has
            assert other.get("tea") == 1
