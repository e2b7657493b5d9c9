"""Who waits for a load in a cluster, and who does not: readers never, and a factory never for itself."""

import asyncio
import threading

import pytest

from samovar import Cache, Freshness, ManualClock
from samovar.cluster import AsyncCluster, Cluster, LocalNode
from support import LIMIT, until


def test_reader_does_not_wait_for_a_load_behind_a_near_cache():
    begun, may_end = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert may_end.wait(LIMIT)
        return "hot"

    with Cluster([LocalNode("one")], near=Cache(10), ttl=60) as cluster:
        cluster.get("milk")
        until(lambda: cluster.stats().hears)
        loads = threading.Thread(target=cluster.get_or_set, args=("tea", slow))
        loads.start()
        try:
            assert begun.wait(LIMIT)
            told = []
            reads = threading.Thread(target=lambda: told.extend([cluster.get("tea", "none"),
                                                                 cluster.get_many(["tea", "milk"])]))
            reads.start()
            reads.join(LIMIT)
            assert told == ["none", {}]
        finally:
            may_end.set()
            loads.join(LIMIT)
        assert cluster.get("tea") == "hot"
        until(lambda: cluster.get("tea") == "hot" and "tea" in cluster.near)


def test_task_that_reads_does_not_wait_for_a_load_behind_a_near_cache():
    async def main():
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def slow(keys):
            begun.set()
            await may_end.wait()
            return dict.fromkeys(keys, "hot")

        async with AsyncCluster([LocalNode("one")], near=Cache(10), ttl=60) as cluster:
            loads = asyncio.ensure_future(cluster.get_or_set_many(["tea"], slow))
            await asyncio.wait_for(begun.wait(), LIMIT)
            async with asyncio.timeout(LIMIT):
                assert await cluster.get("tea", "none") == "none"
                assert await cluster.get_many(["tea", "milk"]) == {}
            may_end.set()
            assert await loads == {"tea": "hot"}

    asyncio.run(main())


def _one(cluster):
    return {"tea": cluster.get_or_set("tea", lambda: "hot", hard_timeout=LIMIT)}


def _many(cluster):
    return cluster.get_or_set_many(["tea"], lambda keys: dict.fromkeys(keys, "hot"))


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize(("outer", "inner"), [(_one, _many), (_many, _one), (_many, _many), (_one, _one)])
def test_factory_that_asks_for_what_it_makes_makes_it(outer, inner, near):
    calls = []

    class Within:
        """The cluster, whose factories ask for the same by `inner` first."""

        def get_or_set(self, key, factory, **words):
            return cluster.get_or_set(key, lambda: (calls.append(inner(cluster)), factory())[1])

        def get_or_set_many(self, keys, factory):
            return cluster.get_or_set_many(keys, lambda keys: (calls.append(inner(cluster)), factory(keys))[1])

    with Cluster([LocalNode("one")], near=Cache(10) if near else None, ttl=60, lease=3600) as cluster:
        told = []
        asks = threading.Thread(target=lambda: told.append(outer(Within())), daemon=True)
        asks.start()
        asks.join(LIMIT)
        assert told == [{"tea": "hot"}] and calls == [{"tea": "hot"}]
        assert cluster.get("tea") == "hot"


def test_keys_of_a_batch_that_others_load_count_as_waited_for_once():
    begun, may_end = threading.Event(), threading.Event()

    def slow(keys):
        begun.set()
        assert may_end.wait(LIMIT)
        return dict.fromkeys(keys, "hot")

    nodes = [LocalNode("one"), LocalNode("two")]
    with Cluster(nodes, ttl=60) as first, Cluster(nodes, ttl=60) as second:
        loads = threading.Thread(target=first.get_or_set_many, args=(["tea", "milk"], slow))
        waits = threading.Thread(target=second.get_or_set_many, args=(["tea", "milk", "cake"], _made))
        loads.start()
        try:
            assert begun.wait(LIMIT)
            waits.start()
            until(lambda: second.stats().waited == 2)
        finally:
            may_end.set()
            loads.join(LIMIT)
            waits.join(LIMIT)
        stats = second.stats()
        assert (stats.waited, stats.loads, stats.hits) == (2, 1, 2)


def _made(keys):
    return dict.fromkeys(keys, "made")


def test_renewal_in_the_background_waits_for_what_the_caller_makes_meanwhile():
    clock, alone, renewed = ManualClock(), [], threading.Event()

    def renew():
        told = cluster.get_or_set("tea", lambda: alone.append("tea") or "cold")
        renewed.set()
        return told

    def make(keys):
        assert cluster.get_or_set("milk", renew) == "old"  # stale: its renewal begins
        until(lambda: cluster.stats().waited or renewed.is_set())
        return dict.fromkeys(keys, "hot")

    fresh = Freshness(ttl=10, stale_while_revalidate=100)
    with Cluster([LocalNode("one", clock=clock)], fresh=fresh, clock=clock) as cluster:
        cluster.set("milk", "old")
        clock.advance(20)
        cluster.get("tea")
        asks = threading.Thread(target=cluster.get_or_set_many, args=(["tea"], make))
        asks.start()
        asks.join(LIMIT)
        assert renewed.wait(LIMIT) and not alone
        until(lambda: cluster.get("milk") == "hot")


def test_task_s_factory_that_asks_for_what_it_makes_makes_it():
    async def main():
        async with AsyncCluster([LocalNode("one")], ttl=60, lease=3600) as cluster:
            async def within(keys):
                return await cluster.get_or_set_many(keys, plain)

            async def plain(keys):
                return dict.fromkeys(keys, "hot")

            async with asyncio.timeout(LIMIT):
                assert await cluster.get_or_set_many(["tea", "milk"], within) == {"tea": "hot", "milk": "hot"}

    asyncio.run(main())
