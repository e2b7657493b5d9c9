"""Code moves from `Cache` to `Cluster` by changing the constructor: the two faces side by side, and what is different in
them, which docs/cluster.md gives the reasons of."""

import asyncio
import inspect
import threading

import pytest

from samovar import AsyncCluster, Cache, Cluster, Freshness, HotKeys, LoadTimeout, LocalNode, ManualClock
from support import LIMIT, until
from test_cluster import Down, Origin, shop  # noqa: F401

# What `Cache` has and a cluster has not: a walk over everything that is stored, bounds of this process's memory, files.
ABSENT = {"__iter__", "__len__", "__reversed__", "keys", "values", "items", "popitem", "maxsize", "maxweight", "eviction",
          "resize", "miss_ratio_curve", "save", "load"}
BLOCKING_ONLY = {"__contains__", "__setitem__", "__delitem__"}  # what cannot be awaited
AWAITED = {"aget_or_set", "aget_or_load", "aget_or_set_many", "arefresh", "awarm"}  # AsyncCluster's
# Arguments that a verb of `Cache` takes and a cluster's does not.
LACKS = {verb: {"weight"} for verb in ("set", "add", "get_or_set", "get_or_set_many", "refresh", "warm",
                                       "aget_or_set", "aget_or_set_many", "arefresh", "awarm")}
LACKS["invalidate_tags"] = {"soft"}
# The constructor's.
LACKS["__init__"] = {"maxsize", "maxweight", "weigher", "eviction", "on_remove", "timed_hits"}
ADDED = {"__init__": {"nodes", "near", "bus", "hot", "namespace", "schema", "codec", "vnodes", "weights", "hash", "seed"}}
VERBS_ADDED = {"near", "ring", "node_of", "writing", "close", "aclose"}

MADE_BY = {kind: set(inspect.signature(kind.__init__).parameters) - {"self"} for kind in (Cache, Cluster, AsyncCluster)}


def verbs(kind):
    names = {name for name in dir(kind) if not name.startswith("_")}
    return names | {name for name in ("__iter__", "__len__", "__reversed__", "__contains__", "__getitem__", "__setitem__",
                                      "__delitem__") if hasattr(kind, name)}


def arguments(kind, verb):
    """The names of what a verb takes. Native ones are spelled out by the method that they hand over to."""
    if verb == "__init__":
        return MADE_BY[kind]
    below = getattr(kind, f"_{verb}", None) if verb in ("set", "get_or_set", "aget_or_set") else None
    parameters = dict(inspect.signature(below if below is not None else getattr(kind, verb)).parameters)
    parameters.pop("self", None)
    if "how" in parameters:
        del parameters["how"]
        if verb in ("get_or_load", "aget_or_load"):  # "the options are the same"
            parameters.update(dict.fromkeys(arguments(kind, "get_or_set") - {"factory", "key"}))
        elif "loader" in parameters or "factory" in parameters:
            parameters.update(dict.fromkeys(("ttl", "fresh", "tags")))
            if verb == "aget_or_set":
                parameters.update(dict.fromkeys(("soft_timeout", "hard_timeout")))
    return set(parameters)


def test_every_verb_of_cache_is_a_cluster_s_but_for_those_that_are_named():
    assert verbs(Cache) - verbs(Cluster) == ABSENT | AWAITED
    assert verbs(Cache) - verbs(AsyncCluster) == ABSENT | BLOCKING_ONLY
    assert verbs(Cluster) - verbs(Cache) == VERBS_ADDED - {"aclose"}
    assert verbs(AsyncCluster) - verbs(Cache) == VERBS_ADDED - {"close"}


@pytest.mark.parametrize("kind", [Cluster, AsyncCluster])
def test_every_argument_of_cache_is_a_cluster_s_but_for_those_that_are_named(kind):
    for verb in sorted((verbs(Cache) & verbs(kind)) | {"__init__"}):
        if isinstance(getattr(Cache, verb), property) or verb.startswith("__") and verb != "__init__":
            continue
        lacks = LACKS.get(verb, {"weight"} if verb in ("get_or_load", "aget_or_load") else set())
        ours, theirs = arguments(kind, verb), arguments(Cache, verb)
        assert theirs - ours == lacks, verb
        assert ours - theirs == ADDED.get(verb, set()), verb


def test_differences_are_told_with_their_reasons():
    from support import TESTS

    told = (TESTS.parent / "docs" / "cluster.md").read_text()
    for name in {*ABSENT, *LACKS["__init__"], "weight", "soft", *AWAITED} - {"__reversed__", "__iter__", "__len__"}:
        assert f"`{name}`" in told or f"`{name}=`" in told, name


# ------------------------------------------------------------------ what moves with the constructor

def test_set_default_and_update_mean_what_they_mean_for_a_dict(shop):  # noqa: F811
    cluster = shop.cluster()
    assert cluster.setdefault("tea", 1) == 1 and cluster.setdefault("tea", 2) == 1
    cluster.update({"coffee": 3}, milk=4)
    cluster.update([("cake", 5)])
    assert cluster.get_many(["tea", "coffee", "milk", "cake"]) == {"tea": 1, "coffee": 3, "milk": 4, "cake": 5}
    assert cluster.setdefault("none") is None and cluster.get("none", 7) is None


def test_loader_is_given_the_context_if_it_asks_for_one(shop):  # noqa: F811
    def load(key, context):
        context.ttl = 5
        return f"{key} {context.has_stale}"

    cluster = shop.cluster(loader=load)
    assert cluster.get_or_load("tea") == cluster.get("tea") == "tea False"
    shop.clock.advance(6)
    assert cluster.get("tea") is None
    assert cluster.refresh("tea") == "tea False"
    assert cluster.warm(["milk"]).loaded == 1


def test_awaited_verbs_have_their_names_of_cache_too():
    async def main():
        async with AsyncCluster([LocalNode()], loader=str.upper) as cluster:
            assert await cluster.aget_or_set("tea", lambda: 1, ttl=5) == 1
            assert await cluster.aget_or_load("milk") == "MILK"
            assert await cluster.aget_or_set_many(["a"], lambda keys: {"a": 2}) == {"a": 2}
            assert await cluster.arefresh("milk") == "MILK"
            assert (await cluster.awarm(["b"])).loaded == 1

    asyncio.run(main())


# ------------------------------------------------------------------ waiting no longer than one wants

class Gate:
    """An origin that answers when it is let."""

    def __init__(self):
        self.open, self.calls = threading.Event(), 0

    def __call__(self):
        self.calls += 1
        assert self.open.wait(LIMIT)
        return f"new {self.calls}"


@pytest.mark.parametrize("near", [False, True], ids=["shared", "near"])
def test_load_over_the_hard_limit_is_a_timeout_and_goes_on(shop, near):  # noqa: F811
    cluster, gate = shop.cluster(**({"near": Cache(10, ttl=60), "bus": False} if near else {})), Gate()
    with pytest.raises(LoadTimeout, match="'tea' took longer than 0.01 s"):
        cluster.get_or_set("tea", gate, hard_timeout=0.01)
    gate.open.set()
    assert cluster.get_or_set("tea", gate) == "new 1"  # joins it
    until(lambda: cluster.get("tea") == "new 1")
    assert gate.calls == 1


@pytest.mark.parametrize("near", [False, True], ids=["shared", "near"])
def test_load_over_the_soft_limit_serves_what_is_old_where_there_is_something(shop, near):  # noqa: F811
    fresh = Freshness(ttl=10, stale_if_error=60)
    cluster = shop.cluster(fresh=fresh, **({"near": Cache(10, ttl=60, clock=shop.clock), "bus": False} if near else {}))
    gate = Gate()
    with pytest.raises(LoadTimeout):
        cluster.get_or_set("none", gate, soft_timeout=0.001, hard_timeout=0.02)  # nothing old is there: it waits on
    gate.open.set()
    until(lambda: cluster.get("none") == "new 1")
    cluster.set("tea", "old")
    shop.clock.advance(11)
    gate.open.clear()
    assert cluster.get_or_set("tea", gate, soft_timeout=0.01) == "old"
    assert cluster.get_or_set("tea", gate, soft_timeout="10ms", hard_timeout=LIMIT) == "old"
    gate.open.set()
    until(lambda: cluster.get("tea") == "new 2")
    assert gate.calls == 2 and cluster.stats().stale_hits == 2


def test_timeout_of_the_factory_s_own_is_the_factory_s(shop):  # noqa: F811
    def factory():
        raise LoadTimeout("of something else")

    with pytest.raises(LoadTimeout, match="of something else"):
        shop.cluster().get_or_set("tea", factory, hard_timeout=5)
    with pytest.raises(ValueError, match="get_or_set: hard_timeout"):
        shop.cluster().get_or_set("tea", factory, hard_timeout=-1)


# ------------------------------------------------------------------ batches through the near cache

@pytest.fixture
def pair(shop, patient_bus):  # noqa: F811
    """Two clusters with near caches that hear each other at once: no thread is between them."""
    nodes, made = shop.nodes, []
    for _ in range(2):
        near = Cache(100, clock=shop.clock)
        cluster = shop.cluster(near=near, bus=nodes[0])
        made.append((cluster, near))
        cluster.get("x")
        until(lambda cluster=cluster: cluster.stats().hears)
    return made


def test_batches_fill_the_near_cache_and_are_answered_from_it(pair, shop):  # noqa: F811
    (one, _), (other, near) = pair
    one.set_many({"tea": 1, "coffee": None}, ttl=10)
    one.set("cake", 3, ttl=5, tags=["sweet"])
    until(lambda: other._keeper.taken == 2)  # it was told of both
    assert other.get_many(["tea", "coffee", "cake", "none"]) == {"tea": 1, "coffee": None, "cake": 3}
    assert sorted(near) == ["cake", "coffee", "tea"]
    asked = other.stats().asked
    assert other.get_many(["tea", "coffee", "cake"]) == {"tea": 1, "coffee": None, "cake": 3}
    assert other.stats().asked == asked
    one.invalidate_tags("sweet")
    until(lambda: "cake" not in near)
    one.delete("tea")
    until(lambda: "tea" not in near)
    assert other.get_many(["tea", "cake"]) == {}
    shop.clock.advance(11)
    assert list(near) == []  # each for as long as it is good


def test_loaded_batches_fill_the_near_cache(pair):
    (one, _), (other, near) = pair
    got = other.get_or_set_many(["a", "b", "c"], lambda keys: {key: key * 2 for key in keys if key != "c"}, ttl=10,
                                tags=["t"], default="none")
    assert got == {"a": "aa", "b": "bb", "c": "none"} and sorted(near) == ["a", "b"]
    asked = other.stats().asked
    assert other.get_or_set_many(["a", "b"], dict.fromkeys) == {"a": "aa", "b": "bb"} and other.stats().asked == asked
    one.invalidate_tags("t")
    until(lambda: not near)
    with pytest.raises(KeyError, match="c"):
        other.get_or_set_many(["a", "c"], lambda keys: {"a": 1})


def test_reads_that_joined_a_load_of_the_near_cache_s_own_survive_its_failure():
    clock, gate = ManualClock(), threading.Event()
    with Cluster([LocalNode(clock=clock)], near=Cache(10, ttl=60), bus=False) as cluster:
        cluster.set("there", 1)

        def fails():
            begun.set()
            assert gate.wait(LIMIT)
            raise Down

        begun, errors = threading.Event(), []

        def load():
            try:
                cluster.near.get_or_set("tea", fails)
            except Down as error:
                errors.append(error)

        threads = [threading.Thread(target=load)]
        threads[0].start()
        assert begun.wait(LIMIT)
        found = []
        threads += [threading.Thread(target=lambda: found.append(cluster.get_many(["tea", "there"]))),
                    threading.Thread(target=lambda: found.append(cluster.get("tea", "none")))]
        for thread in threads[1:]:
            thread.start()
        until(lambda: cluster.near.stats().coalesced >= 2)
        gate.set()
        for thread in threads:
            thread.join(LIMIT)
        assert len(errors) == 1 and sorted(map(str, found)) == ["none", "{'there': 1}"]


def test_factory_of_a_batch_that_asks_for_its_own_keys_is_answered():
    with Cluster([LocalNode()], near=Cache(10, ttl=60), bus=False) as cluster:
        def load(keys):
            return {key: cluster.get_or_set_many([key], lambda own: dict.fromkeys(own, "own"))[key] for key in keys}

        assert cluster.get_or_set_many(["a", "b"], load) == {"a": "own", "b": "own"}


def test_hot_keys_are_spread_in_batches(shop):  # noqa: F811
    cluster = shop.cluster(hot=HotKeys(replicas=3, share=0.05, window=100))
    cluster.set("hot", 1)
    reads = []
    for node in shop.nodes:
        read = node.read
        node.read = lambda keys, node=node, read=read: reads.append((node.name, len(keys))) or read(keys)
    for number in range(200):
        assert cluster.get_many(["hot", f"cold {number}"]) == {"hot": 1}
    stats = cluster.stats()
    assert stats.hot == 1 and stats.spread > 50
    assert {name for name, _ in reads} == {"a", "b", "c"}
    assert cluster.get_or_set_many(["hot"], dict.fromkeys) == {"hot": 1}
    cluster.delete("hot")
    for _ in range(20):
        assert cluster.get_many(["hot"]) == {}


# ------------------------------------------------------------------ what it says

def test_report_answers_its_owner_s_questions(shop):  # noqa: F811
    cluster, origin = shop.cluster(name="shop", ttl="5m"), Origin()
    said = cluster.report()
    assert "'shop' keeps its entries on 3 nodes" in said and "has not asked" in said
    for _ in range(3):
        cluster.get_or_set("tea", origin)
    said = cluster.report()
    assert "'a' is up" in said and "at most 5 min" in said and "The origin was asked 1 times" in said
    assert "66.7 % of 3 questions" in said and "Lost node: without" in said
    assert cluster.stats().hit_ratio == pytest.approx(2 / 3) and cluster.stats().asked == 3
