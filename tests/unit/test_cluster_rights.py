"""The right to load is given back on every way out, and what nobody knows to be filled is kept nowhere."""

import asyncio

import pytest

from samovar import Cache
from samovar.cluster import AsyncCluster, Cluster, LocalNode
from samovar.cluster.node import UNAVAILABLE, Fault
from support import LIMIT, until


class Late(LocalNode):
    """It gives rights at once, and never says so to a task that asks while `is_late`."""

    is_late = False

    def lease_many(self, keys, ms):
        answer = yield from super().lease_many(keys, ms)
        if self.is_late:
            yield self, None
        return answer

    def claim(self, key, token, ms):
        answer = yield from super().claim(key, token, ms)
        if self.is_late:
            yield self, None
        return answer

    async def aperform(self, request):
        self.asked.set()
        await asyncio.Event().wait()


async def _load(cluster, keys):
    async def made():
        return 1

    return await cluster.get_or_set(keys[0], made)


async def _load_many(cluster, keys):
    async def made(keys):
        return dict.fromkeys(keys, 1)

    return await cluster.get_or_set_many(keys, made)


async def _refresh(cluster, keys):
    async def made():
        return 1

    return await cluster.refresh(keys[0], made)


async def _add(cluster, keys):
    return await cluster.add(keys[0], 1)


@pytest.mark.parametrize(("verb", "is_there", "after"), [
    (_load, False, _load), (_load_many, False, _load_many), (_add, False, _load), (_refresh, True, _refresh)])
def test_right_of_a_caller_that_is_cancelled_before_he_hears_of_it_is_taken_back(verb, is_there, after):
    async def main():
        node = Late("one")
        async with AsyncCluster([node], lease=3600) as cluster:
            await cluster.get("milk")  # the node is taken in
            if is_there:
                await cluster.set("tea", 0)
            node.asked, node.is_late = asyncio.Event(), True
            task = asyncio.ensure_future(verb(cluster, ["tea", "milk"]))
            await asyncio.wait_for(node.asked.wait(), LIMIT)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            node.is_late = False
            await asyncio.wait_for(after(cluster, ["tea", "milk"]), LIMIT)  # not when the lease ends

    asyncio.run(main())


def test_right_to_add_is_given_back_where_the_value_cannot_be_carried():
    with Cluster([LocalNode("one")], lease=3600) as cluster:
        with pytest.raises(TypeError):
            cluster.add("tea", object())
        assert cluster.get_or_set("tea", lambda: "hot", hard_timeout=LIMIT) == "hot"


class Mute(LocalNode):
    """It fills, and nobody hears whether it did."""

    def fill_many(self, items):
        yield from super().fill_many(items)
        return UNAVAILABLE, Fault("timeout")


@pytest.mark.parametrize("load", [
    lambda cluster: cluster.get_or_set("tea", lambda: 1),
    lambda cluster: cluster.get_or_set_many(["tea"], lambda keys: {"tea": 1}),
], ids=["one", "many"])
def test_near_cache_keeps_nothing_that_may_not_have_been_filled(load):
    with Cluster([Mute("one")], near=Cache(10), bus=LocalNode("bus"), ttl=60) as cluster:
        assert cluster.get("milk") is None
        until(lambda: cluster.stats().hears)
        load(cluster)
        assert "tea" not in cluster.near


@pytest.mark.parametrize("tags", ["x" * 255, [str(number) for number in range(501)]], ids=["long", "many"])
def test_tags_that_cannot_be_carried_are_refused_before_anything_is_loaded(tags):
    calls = []
    with Cluster([LocalNode("one")]) as cluster:
        with pytest.raises(ValueError, match="tag"):
            cluster.get_or_set("tea", lambda: calls.append(1), tags=tags)
        with pytest.raises(ValueError, match="tag"):
            cluster.set("tea", 1, tags=tags)
        assert cluster.set("tea", 1, tags=["x" * 254, *map(str, range(499))]) and cluster.get("tea") == 1 and not calls
