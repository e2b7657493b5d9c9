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


# ------------------------------------------------------------------ a crowd that comes to a cold key

class Counted(LocalNode):
    """A node that counts how often it is read."""

    reads = 0

    def read(self, keys):
        self.reads += 1
        return (yield from super().read(keys))


class Cold:
    """A cluster with a load of "tea" under way, and a crowd of threads that ask for it."""

    def __init__(self):
        self.node, self.clock, self.may_end, self.begun = Counted("one"), ManualClock(), threading.Event(), threading.Event()
        self.cluster, self.told, self.threads = Cluster([self.node], bus=False), [], []
        self.cluster._store.stopwatch = self.clock
        self.ask()
        assert self.begun.wait(LIMIT)
        self.read_before = self.node.reads

    def slow(self):
        self.begun.set()
        assert self.may_end.wait(LIMIT)
        return "hot"

    def ask(self):
        """One caller more."""
        self.threads.append(threading.Thread(target=lambda: self.told.append(self.cluster.get_or_set("tea", self.slow))))
        self.threads[-1].start()

    def join(self, count):
        """So many callers, until they wait for the load."""
        for _ in range(count):
            self.ask()
        until(lambda: self.cluster._flights.stats().coalesced == count)

    @property
    def reads(self):
        return self.node.reads - self.read_before

    def end(self):
        self.may_end.set()
        for thread in self.threads:
            thread.join(LIMIT)
        return self.told


@pytest.fixture
def cold():
    made = Cold()
    yield made
    made.end()
    made.cluster.close()


def test_crowd_that_comes_just_after_the_first_one_does_not_read_each_for_himself(cold):
    cold.join(20)
    assert cold.reads == 0
    assert cold.end() == ["hot"] * 21
    assert cold.reads == 0


def test_who_comes_later_reads_first(cold):
    cold.clock.advance(0.06)
    cold.join(3)
    assert cold.reads == 3
    assert cold.end() == ["hot"] * 4


def test_value_that_somebody_else_stores_is_served_to_who_comes_later_and_to_the_crowd_in_the_end(cold):
    """The load is fenced off by it."""
    cold.clock.advance(0.01)
    cold.join(2)
    assert cold.reads == 0
    with Cluster([cold.node], bus=False) as other:
        assert other.set("tea", "set")
    cold.clock.advance(0.06)
    assert cold.cluster.get_or_set("tea", cold.slow) == "set"
    assert sorted(cold.end()) == ["hot", "set", "set"]  # the first one's own, and what is newer


def test_value_that_is_there_is_served_while_it_is_loaded_anew():
    begun, may_end = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert may_end.wait(LIMIT)
        return "new"

    with Cluster([LocalNode("one")], bus=False) as cluster:
        cluster._store.stopwatch = ManualClock()
        cluster["tea"] = "old"
        renews = threading.Thread(target=cluster.refresh, args=("tea", slow))
        renews.start()
        assert begun.wait(LIMIT)
        assert cluster.get_or_set("tea", lambda: "mine") == "old"
        may_end.set()
        renews.join(LIMIT)
        assert cluster["tea"] == "new"


def test_task_that_comes_just_after_the_first_one_does_not_read_for_itself():
    async def main():
        node, may_end, begun = Counted("one"), asyncio.Event(), asyncio.Event()

        async def slow():
            begun.set()
            await may_end.wait()
            return "hot"

        async with AsyncCluster([node], bus=False) as cluster:
            cluster._store.stopwatch = ManualClock()
            first = asyncio.ensure_future(cluster.get_or_set("tea", slow))
            await asyncio.wait_for(begun.wait(), LIMIT)
            before = node.reads
            others = [asyncio.ensure_future(cluster.get_or_set("tea", slow)) for _ in range(20)]
            await asyncio.sleep(0)
            may_end.set()
            async with asyncio.timeout(LIMIT):
                assert await asyncio.gather(first, *others) == ["hot"] * 21
            assert node.reads == before

    asyncio.run(main())
