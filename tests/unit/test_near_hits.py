"""Hits of the near cache, which the native face of a cluster answers: same answers, same errors, whatever is near."""

import asyncio
import gc
import inspect
import weakref

import pytest

from samovar import Cache, _core
from samovar.cluster import AsyncCluster, Cluster, LocalNode
from support import LIMIT, until


@pytest.fixture
def cluster(patient_bus):
    with Cluster([LocalNode()], near=Cache(100)) as made:
        made.get("x")
        until(lambda: made.stats().hears)
        yield made


def refuse():
    raise AssertionError("a hit calls no factory")


def test_near_hit_is_the_object_itself_and_counts_as_a_hit(cluster):
    value = ["steeped"]
    cluster.near["tea"] = value
    before = cluster.near.stats().hits
    assert cluster.get("tea") is cluster["tea"] is cluster.get_or_set("tea", refuse) is value
    assert cluster.get("tea", 7) is cluster.get("tea", default=7) is cluster.get(key="tea") is value
    assert cluster.near.stats().hits == before + 6
    assert cluster.stats().hits == 0


def test_near_miss_is_counted_once(cluster):
    before = cluster.near.stats().misses
    assert cluster.get("none") is None
    assert cluster.near.stats().misses == before + 1
    assert cluster.get_or_set("tea", lambda: 1) == 1
    assert cluster.near.stats().misses == before + 2


def test_cached_none_is_a_near_hit(cluster):
    cluster.near["tea"] = None
    assert cluster.get("tea", 7) is None and cluster["tea"] is None
    assert cluster.get_or_set("tea", refuse) is None


def test_miss_goes_to_the_shared_tier_with_all_arguments(cluster):
    assert cluster.get("none", 7) == cluster.get("none", default=7) == 7
    with pytest.raises(KeyError, match="none"):
        cluster["none"]
    assert cluster.get_or_set("tea", lambda: 1, ttl=60, tags=["t"]) == 1
    cluster.invalidate_tags("t")
    assert cluster.get("tea") is None


@pytest.mark.parametrize("call", [
    lambda cluster: cluster.get(), lambda cluster: cluster.get("a", 1, 2), lambda cluster: cluster.get("a", other=1),
    lambda cluster: cluster.get_or_set("a"), lambda cluster: cluster.get_or_set(), lambda cluster: cluster.get([]),
    lambda cluster: cluster[[]], lambda cluster: cluster.get_or_set([], refuse), lambda cluster: cluster.get_or_set("a", 7),
], ids=range(9))
def test_wrong_calls_raise_type_error(cluster, call):
    with pytest.raises(TypeError):
        call(cluster)


def test_without_near_cache_the_same_verbs_work():
    with Cluster([LocalNode()]) as plain:
        assert plain.get_or_set("tea", lambda: 1) == plain["tea"] == plain.get("tea") == 1


def test_awaited_near_hit_is_done_already():
    async def main():
        async with AsyncCluster([LocalNode()], near=Cache(100)) as made:
            made.near["tea"] = 1
            hit = made.get("tea")
            assert type(hit) is _core.Ready
            assert await hit == await made.get_or_set("tea", refuse) == await asyncio.create_task(made.get("tea")) == 1
            assert await made.get("none", 7) == 7
            assert await made.get_or_set("none", lambda: 3) == 3
            with pytest.raises(TypeError, match="has to be awaited"):
                made["tea"]

    asyncio.run(main())


def test_subclass_may_override_what_the_native_face_calls(cluster):
    class Loud(Cluster):
        def get(self, key, default=None):
            return ("loud", super().get(key, default))

    with Loud([LocalNode()], near=Cache(10)) as loud:
        loud.near["tea"] = 1
        assert loud.get("tea") == ("loud", 1) and loud["tea"] == 1


def test_face_tells_its_signature_and_its_words():
    assert list(inspect.signature(Cluster.get).parameters) == ["self", "key", "default"]
    assert list(inspect.signature(Cluster.get_or_set).parameters) == [
        "self", "key", "factory", "ttl", "fresh", "tags", "soft_timeout", "hard_timeout"]
    assert Cluster.get.__doc__ and AsyncCluster.get_or_set.__doc__


def test_near_cache_is_placed_once_and_is_a_cache(cluster):
    for wrong in ((cluster.near, False), ({}, False)):
        with pytest.raises(TypeError, match="_place_near"):
            cluster._place_near(*wrong)


def test_cluster_that_nobody_uses_goes_and_its_threads_with_it():
    made = Cluster([LocalNode()], near=Cache(10))
    made.get("x")
    until(lambda: made.stats().hears)
    threads, near, gone = list(made._bus._threads.values()), made.near, weakref.ref(made)
    near["tea"] = 1
    del made
    gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert len(near) == 0
