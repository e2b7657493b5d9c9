"""`Cluster` and `AsyncCluster` on nodes in this process: each verb, each word of freshness, one promise at a time."""

import asyncio
import threading
from datetime import timedelta

import pytest

from samovar import Cache, Freshness, ManualClock, OriginBudget, OriginBusy
from samovar.cluster import AsyncCluster, Cluster, HashRing, LocalNode
from samovar.cluster.codec import SignedPickle
from samovar.cluster.drive import run
from samovar.cluster.node import HIT, OK, UNAVAILABLE, Fault
from support import LIMIT, until


class Awaited:
    """An AsyncCluster whose verbs are run by one event loop: the same tests for both faces."""

    def __init__(self, runner, *args, **words):
        self.cluster, self.runner = AsyncCluster(*args, **words), runner

    def __getattr__(self, name):
        thing = getattr(self.cluster, name)
        if not asyncio.iscoroutinefunction(thing) and name not in ("get", "get_or_set"):  # these two are native
            return thing

        async def awaited(*args, **words):
            return await thing(*args, **words)

        def call(*args, **words):
            return self.runner.run(awaited(*args, **words))

        return call


class Asked(LocalNode):
    """A node that tells what it is asked about one key, as those do that are servers: most hits take the quick way."""

    def __init__(self, name, clock=None):
        super().__init__(name, clock=clock)
        self.asked = []

    def asks(self, key):
        return key

    def perform(self, key):
        self.asked.append(key)
        return run(self.read([key]))

    async def aperform(self, key):
        return self.perform(key)

    def body_in(self, answer):
        return answer[1][0].body if answer[0] is OK and answer[1][0].kind is HIT else None

    def said(self, answer):
        return answer


class Shop:
    """Nodes with one clock, and clusters over them."""

    def __init__(self, runner, kind=LocalNode):
        self.runner, self.clock, self.made = runner, ManualClock(), []
        self.nodes = [kind(name, clock=self.clock) for name in "abc"]

    def cluster(self, **words):
        words = {"clock": self.clock, "seed": 1, **words}
        made = Cluster(self.nodes, **words) if self.runner is None else Awaited(self.runner, self.nodes, **words)
        self.made.append(made)
        return made

    def close(self):
        for made in self.made:
            made.close() if self.runner is None else made.aclose()


@pytest.fixture(params=["blocking", "asyncio", "blocking, quick", "asyncio, quick"])
def shop(request):
    kind = Asked if "quick" in request.param else LocalNode
    if "blocking" in request.param:
        made = Shop(None, kind)
        yield made
        made.close()
    else:
        with asyncio.Runner() as runner:
            made = Shop(runner, kind)
            yield made
            made.close()


class Origin:
    """Counts its calls and returns their number, or raises."""

    def __init__(self):
        self.calls, self.error = 0, None

    def __call__(self):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.calls


class Down(Exception):
    pass


# ------------------------------------------------------------------ verbs

def test_get_or_set_loads_once_for_every_cluster_on_the_nodes(shop):
    origin, here, there = Origin(), shop.cluster(), shop.cluster()
    assert [here.get_or_set("k", origin), there.get_or_set("k", origin), here.get("k"), there.get("k")] == [1] * 4
    assert here.stats().loads == 1 and there.stats().loads == 0 and there.stats().hits == 2


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": [1, 2.5, "x", b"y", None, True]}, "x" * 100_000, 2**63 - 1],
                         ids=["none", "zero", "text", "list", "nested", "large", "number"])
def test_value_comes_back_as_it_was(shop, value):
    here, there = shop.cluster(), shop.cluster()
    assert here.set("k", value) is True
    assert there.get("k", "missing") == value
    assert there.get_or_set("k", Origin()) == value


def test_keys_of_different_types_are_different(shop):
    cluster = shop.cluster()
    keys = [1, "1", b"1", 1.0, True, (1,), None, "x" * 500, "ключ", "a b|c\r\n", 2**80]
    assert all(cluster.set(key, str(at)) for at, key in enumerate(keys))
    assert [cluster.get(key) for key in keys] == [str(at) for at in range(len(keys))]


def test_namespaces_and_schemas_see_nothing_of_each_other(shop):
    one, other = shop.cluster(namespace="one"), shop.cluster(namespace="other")
    later = shop.cluster(namespace="one", schema=2)
    one.set("k", 1)
    assert other.get("k") is None and later.get("k") is None
    other.clear()
    assert one.get("k") == 1


def test_many_are_read_and_written_and_deleted_at_once(shop):
    cluster = shop.cluster()
    entries = {f"k{number}": number for number in range(200)}
    assert cluster.set_many(entries) == 200
    assert cluster.get_many([*entries, "no", "k3"]) == entries
    assert list(cluster.get_many(["k7", "no", "k3"])) == ["k7", "k3"]
    assert cluster.delete_many(list(entries)[:50]) == 50
    assert len(cluster.get_many(entries)) == 150


def test_get_or_set_many_calls_the_factory_once_with_what_is_missing(shop):
    cluster, calls = shop.cluster(), []

    def factory(keys):
        calls.append(keys)
        return {key: key * 2 for key in keys if key != "none"}

    cluster.set("b", "there")
    assert cluster.get_or_set_many(["a", "b", "c", "a"], factory) == {"a": "aa", "b": "there", "c": "cc"}
    assert calls == [["a", "c"]]
    assert cluster.get_many(["a", "b", "c"]) == {"a": "aa", "b": "there", "c": "cc"}
    assert cluster.get_or_set_many(["a", "none"], factory, default=0) == {"a": "aa", "none": 0}
    assert cluster.get("none") is None
    with pytest.raises(KeyError, match="none"):
        cluster.get_or_set_many(["none"], factory)
    with pytest.raises(TypeError, match="must return a mapping"):
        cluster.get_or_set_many(["x"], lambda keys: 5)
    assert cluster.get_or_set_many(["x"], factory) == {"x": "xx"}  # no right was left behind


def test_add_touch_expire_pop(shop):
    cluster = shop.cluster(ttl=10)
    assert cluster.add("k", 1) is True and cluster.add("k", 2) is False and cluster.get("k") == 1
    shop.clock.advance(6)
    assert cluster.touch("k") is True and cluster.touch("none") is False
    shop.clock.advance(6)
    assert cluster.get("k") == 1
    assert cluster.expire("k") is True and cluster.get("k") is None and cluster.expire("k") is False
    cluster.set("k", 3)
    assert cluster.pop("k") == 3 and cluster.pop("k", 4) == 4
    with pytest.raises(KeyError):
        cluster.pop("k")
    assert cluster.delete("k") is False


def test_clear_forgets_the_namespace_here_at_once_and_elsewhere_soon(shop):
    here, there = shop.cluster(), shop.cluster()
    here.set_many({"a": 1, "b": 2})
    assert there.get_many(["a", "b"]) == {"a": 1, "b": 2}
    here.clear()
    assert here.get_many(["a", "b"]) == {}
    until(lambda: shop.clock.advance(1) and there.get_many(["a", "b"]) == {})


def test_refresh_loads_whatever_is_there(shop):
    cluster, origin = shop.cluster(loader=lambda key: key * 2), Origin()
    assert cluster.get_or_set("k", origin) == 1
    assert cluster.refresh("k", origin) == 2 and cluster.get("k") == 2
    assert cluster.refresh("k") == "kk" and cluster.get_or_load("j") == "jj"
    origin.error = Down()
    with pytest.raises(Down):
        cluster.refresh("k", origin)
    assert cluster.get("k") == "kk"


def test_warm_loads_what_is_missing(shop):
    cluster = shop.cluster(loader=str.upper)
    cluster.set("a", "there")
    warmed = cluster.warm(["a", "b", "c"])
    assert (warmed.loaded, warmed.present) == (2, 1)
    assert cluster.get_many("abc") == {"a": "there", "b": "B", "c": "C"}


def test_writing_keeps_everything_out_until_it_ends():
    shop = Shop(None)
    here, there, origin = shop.cluster(), shop.cluster(), Origin()
    here.set("k", 0)
    with here.writing("k", "j"):
        assert there.get("k") is None
        assert there.get_or_set("k", origin) == 1 and there.get_or_set("k", origin) == 2
        assert there.set("k", 5) is False and there.add("j", 5) is False
        assert there.get("k") is None
    assert there.get_or_set("k", origin) == 3 and here.get("k") == 3
    with pytest.raises(Down), here.writing("k", hold="1m"):
        raise Down
    assert here.get_or_set("k", origin) == 4


def test_writer_that_dies_holds_the_key_for_its_hold_only():
    shop = Shop(None)
    cluster, origin = shop.cluster(), Origin()
    fence = cluster.writing("k", hold=30)
    fence.__enter__()
    assert cluster.set("k", 1) is False
    shop.clock.advance(31)
    assert cluster.get_or_set("k", origin) == 1 and cluster.get("k") == 1


# ------------------------------------------------------------------ lifetimes

@pytest.mark.parametrize("ttl", [10, "10s", timedelta(seconds=10), 10.0])
def test_nothing_is_served_past_its_ttl(shop, ttl):
    cluster, origin = shop.cluster(), Origin()
    cluster.get_or_set("loaded", origin, ttl=ttl)
    cluster.set("set", 5, ttl=ttl)
    shop.clock.advance(9.99)
    assert cluster.get_many(["loaded", "set"]) == {"loaded": 1, "set": 5}
    shop.clock.advance(0.02)
    assert cluster.get_many(["loaded", "set"]) == {} and cluster.get("set") is None
    assert cluster.get_or_set("loaded", origin) == 2


def test_stale_value_is_served_while_one_renews_it(shop):
    fresh, origin = Freshness(ttl=10, stale_while_revalidate=20), Origin()
    cluster = shop.cluster(fresh=fresh)
    assert cluster.get_or_set("k", origin) == 1
    shop.clock.advance(15)
    assert cluster.get("k") == 1 and cluster.get_or_set("k", origin) == 1
    until(lambda: cluster.peek("k") == 2)
    assert origin.calls == 2 and cluster.stats().stale_hits == 2
    shop.clock.advance(31)
    assert cluster.get("k") is None


def test_stale_value_is_served_when_the_origin_fails(shop):
    cluster, origin = shop.cluster(fresh=Freshness(ttl=10, stale_if_error=20)), Origin()
    cluster.get_or_set("k", origin)
    shop.clock.advance(15)
    assert cluster.get("k") is None
    origin.error = Down()
    assert cluster.get_or_set("k", origin) == 1
    shop.clock.advance(16)
    with pytest.raises(Down):
        cluster.get_or_set("k", origin)
    origin.error = None
    assert cluster.get_or_set("k", origin) == 4


def test_none_lives_for_its_own_time(shop):
    cluster = shop.cluster(fresh=Freshness(ttl=100, negative_ttl=5))
    cluster.get_or_set("none", lambda: None)
    cluster.set("some", 1)
    assert cluster.get("none", "missing") is None
    shop.clock.advance(6)
    assert cluster.get("none", "missing") == "missing" and cluster.get("some") == 1


def test_jitter_shortens_lifetimes_by_at_most_its_share(shop):
    cluster = shop.cluster(fresh=Freshness(ttl=100, jitter=0.5))
    cluster.set_many(dict.fromkeys(range(200), 1))
    shop.clock.advance(49.9)
    assert len(cluster.get_many(range(200))) == 200
    shop.clock.advance(25)
    assert 60 < len(cluster.get_many(range(200))) < 140
    shop.clock.advance(25.2)
    assert cluster.get_many(range(200)) == {}


def test_early_renewal_is_one_caller_s_and_nobody_waits(shop):
    cluster, origin = shop.cluster(fresh=Freshness(ttl=10, early=1e9)), Origin()
    cluster.get_or_set("k", origin)
    shop.clock.advance(5)
    assert cluster.get_or_set("k", origin) == 1
    until(lambda: cluster.get("k") == 2)
    assert cluster.stats().early == 1


def test_expire_leaves_a_value_for_stale_service(shop):
    cluster, origin = shop.cluster(fresh=Freshness(ttl=10, stale_if_error=20)), Origin()
    cluster.get_or_set("k", origin)
    assert cluster.expire("k") is True and cluster.get("k") is None
    origin.error = Down()
    assert cluster.get_or_set("k", origin) == 1


# ------------------------------------------------------------------ what a factory says

def test_factory_sets_ttl_and_tags_of_its_result(shop):
    here, there = shop.cluster(ttl=100), shop.cluster()

    def factory(context):
        context.ttl, context.tags = 5, ["tea", "hot"]
        return f"value of {context.key}"

    assert here.get_or_set("k", factory) == "value of k" and here.get_or_set("j", factory)
    there.invalidate_tags("hot")
    assert here.get("k") is None
    assert here.get_or_set("k", factory) and there.get("k") == "value of k"
    shop.clock.advance(6)
    assert there.get("k") is None


def test_factory_renews_what_is_not_modified_and_its_tags_stay(shop):
    cluster = shop.cluster(fresh=Freshness(ttl=10, stale_if_error=100))
    cluster.get_or_set("k", lambda: [1, 2], tags="tea")
    shop.clock.advance(15)
    assert cluster.get_or_set("k", lambda context: context.not_modified()) == [1, 2]
    shop.clock.advance(5)
    assert cluster.get("k") == [1, 2]
    cluster.invalidate_tags("tea")
    assert cluster.get("k") is None


def test_factory_says_do_not_store(shop):
    cluster, origin = shop.cluster(), Origin()

    def factory(context):
        context.do_not_store()
        return origin()

    assert [cluster.get_or_set("k", factory) for _ in range(3)] == [1, 2, 3]
    assert cluster.get("k") is None and cluster.stats().unstored == 3


def test_factory_that_raises_stores_nothing_and_leaves_no_lease(shop):
    cluster, origin = shop.cluster(), Origin()
    origin.error = Down("no")
    with pytest.raises(Down, match="no"):
        cluster.get_or_set("k", origin)
    origin.error = None
    assert cluster.get_or_set("k", origin) == 2 and cluster.stats().failures == 1


def test_factory_that_asks_for_its_own_key_is_answered(shop):
    cluster = shop.cluster()
    if shop.runner is None:
        assert cluster.get_or_set("k", lambda: cluster.get_or_set("k", lambda: 5) + 1) == 6
    else:
        async def outer():
            return await cluster.cluster.get_or_set("k", lambda: 5) + 1
        assert cluster.get_or_set("k", outer) == 6
    assert cluster.get("k") == 6


def test_value_that_cannot_be_carried_is_a_type_error_and_leaves_no_lease(shop):
    cluster = shop.cluster()
    with pytest.raises(TypeError):
        cluster.get_or_set("k", object)
    with pytest.raises(TypeError):
        cluster.set("k", object())
    assert cluster.get_or_set("k", lambda: 1) == 1


def test_signed_pickle_carries_objects_and_others_see_misses(shop):
    codec = SignedPickle(keys={"one": b"x" * 32}, current="one")
    signed, plain = shop.cluster(codec=codec), shop.cluster()
    assert signed.set("k", {1, 2, (3, 4)}) and signed.get("k") == {1, 2, (3, 4)}
    assert plain.get("k") is None and plain.stats().damaged == 1
    plain.set("k", "forged")
    assert signed.get("k") is None and signed.stats().damaged == 1


# ------------------------------------------------------------------ tags

def test_tags_are_forgotten_with_one_step_for_each(shop):
    here, there = shop.cluster(), shop.cluster()
    for number in range(30):
        here.set(number, number, tags=["all", f"mod {number % 3}"])
    here.set("plain", 1)
    there.invalidate_tags("mod 1")
    assert set(here.get_many(range(30))) == {number for number in range(30) if number % 3 != 1}
    there.invalidate_tags("all", "none")
    assert here.get_many([*range(30), "plain"]) == {"plain": 1}
    here.set(4, 5, tags="all")
    assert there.get(4) == 5


def test_tag_that_is_invalidated_during_a_load_keeps_its_value_out():
    shop = Shop(None)
    here, there = shop.cluster(), shop.cluster()

    def factory():
        there.invalidate_tags("tea")
        return 1

    def named(context):
        context.tags = "tea"
        return factory()

    assert here.get_or_set("k", factory, tags="tea") == 1 and here.get("k") is None
    assert here.get_or_set("j", named) == 1 and here.get("j") is None


@pytest.mark.parametrize("change", ["delete", "set", "clear"])
def test_change_during_a_load_wins_over_it(change):
    shop = Shop(None)
    here = shop.cluster()
    there = here if change == "clear" else shop.cluster()

    def factory():
        {"delete": lambda: there.delete("k"), "set": lambda: there.set("k", "set"), "clear": there.clear}[change]()
        return "loaded"

    assert here.get_or_set("k", factory) == "loaded"
    assert here.get("k") == ("set" if change == "set" else None)


# ------------------------------------------------------------------ crowds and budgets

def test_crowd_of_threads_and_clusters_loads_once():
    shop = Shop(None)
    clusters, origin, gate = [shop.cluster(), shop.cluster()], Origin(), threading.Event()
    answers = []

    def factory():
        gate.wait(LIMIT)
        return origin()

    def ask(number):
        answers.append(clusters[number % 2].get_or_set("k", factory))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    until(lambda: sum(cluster.stats().waited for cluster in clusters) == 1)
    gate.set()
    for thread in threads:
        thread.join(LIMIT)
    assert answers == [1] * 16


def test_budget_refuses_with_a_clear_error_and_leaves_no_lease():
    shop = Shop(None)
    budget = OriginBudget(1, max_queue=0)
    cluster, held, gate = shop.cluster(budget=budget), threading.Event(), threading.Event()

    def slow():
        held.set()
        gate.wait(LIMIT)
        return 1

    thread = threading.Thread(target=cluster.get_or_set, args=("slow", slow))
    thread.start()
    assert held.wait(LIMIT)
    with pytest.raises(OriginBusy):
        cluster.get_or_set("k", lambda: 2)
    gate.set()
    thread.join(LIMIT)
    assert cluster.get_or_set("k", lambda: 2) == 2 and cluster.stats().refused == 1


def test_cancelled_load_gives_its_lease_back():
    async def main():
        nodes = [LocalNode(name) for name in "abc"]
        async with AsyncCluster(nodes) as cluster:
            begun = asyncio.Event()

            async def slow():
                begun.set()
                await asyncio.Event().wait()

            task = asyncio.create_task(cluster.get_or_set("k", slow))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(LIMIT):
                assert await cluster.get_or_set("k", lambda: 1) == 1
            assert cluster.stats().loads == 2

    asyncio.run(main())


def test_cluster_without_nodes_that_answer_computes():
    class Gone(LocalNode):
        def __getattribute__(self, name):
            if name in ("epoch", "read", "lease_many", "probe", "put_many", "delete", "bump"):
                return lambda *args: iter(_unavailable())
            return super().__getattribute__(name)

    def _unavailable():
        return UNAVAILABLE, Fault("refused")
        yield

    with Cluster([Gone("a"), Gone("b")]) as cluster:
        assert cluster.get_or_set("k", lambda: 5) == 5 and cluster.get("k", 1) == 1
        assert cluster.set("k", 1) is False and cluster.delete("k") is False
        assert cluster.get_or_set_many(["k", "j"], lambda keys: dict.fromkeys(keys, 1)) == {"k": 1, "j": 1}
        cluster.invalidate_tags("t")
        cluster.clear()
        assert {state for state, _, _ in cluster.stats().nodes.values()} == {"down"}


# ------------------------------------------------------------------ near, names, arguments

def test_near_cache_answers_without_asking_and_forgets_what_this_process_changes(shop):
    near = Cache(100, ttl=60)
    cluster, other, origin = shop.cluster(near=near, bus=False), shop.cluster(), Origin()
    assert cluster.get_or_set("k", origin) == 1 and near.get("k") == 1
    other.delete("k")
    assert cluster.get("k") == 1
    cluster.delete("k")
    assert cluster.get("k", "none") == "none" and near.get("k") is None
    assert cluster.get_or_set("k", origin, tags="t") == 2
    cluster.invalidate_tags("t")
    assert cluster.get("k") is None
    cluster.set("k", 3)
    assert cluster.get("k") == 3 and near.get("k") == 3 and cluster.near is near


def test_cluster_says_what_it_is(shop):
    cluster = shop.cluster(name="tea", ttl=5)
    assert cluster.name == "tea" and cluster.fresh == Freshness(ttl=5)
    assert cluster.ring == HashRing(["a", "b", "c"]) and cluster.node_of("k") in "abc"
    cluster.get("k")
    assert "'tea': 3 of 3 nodes up" in repr(getattr(cluster, "cluster", cluster))
    assert {state for state, _, _ in cluster.stats().nodes.values()} == {"up"}


@pytest.mark.parametrize("words, error, about", [
    ({"nodes": []}, ValueError, "nodes must be one or more"),
    ({"nodes": LocalNode()}, TypeError, "nodes must be several"),
    ({"nodes": ["redis://x"]}, TypeError, "nodes must be RedisNode, MemcachedNode or LocalNode objects"),
    ({"nodes": [LocalNode("a"), LocalNode("a")]}, ValueError, "nodes must have different names"),
    ({"ttl": -1}, ValueError, "ttl"), ({"ttl": "soon"}, ValueError, "ttl"),
    ({"fresh": Freshness(tti=5)}, ValueError, "fresh must be without tti"),
    ({"near": {}}, TypeError, "near must be a Cache or None"),
    ({"lease": 0}, ValueError, "lease"), ({"lease": 4000}, ValueError, "lease must be at most an hour"),
    ({"loader": 5}, TypeError, "loader must be callable"), ({"clock": 5}, TypeError, "clock must be callable"),
    ({"namespace": ""}, TypeError, "namespace"), ({"namespace": "x" * 200}, ValueError, "namespace"),
    ({"budget": 5}, TypeError, "budget must be an OriginBudget"), ({"name": 5}, TypeError, "name must be text"),
    ({"weights": {"zz": 1}}, ValueError, "weights"), ({"vnodes": 0}, ValueError, "vnodes"),
], ids=range(18))
@pytest.mark.parametrize("face", [Cluster, AsyncCluster])
def test_argument_that_is_wrong_is_named(face, words, error, about):
    with pytest.raises(error, match=about):
        face(**{"nodes": [LocalNode()], **words})


def test_argument_of_a_verb_that_is_wrong_is_named_and_changes_nothing(shop):
    cluster = shop.cluster()
    for verb, args, words, error, about in [
        ("set", ("k", 1), {"ttl": "never"}, ValueError, "set: ttl"),
        ("set", ("k", 1), {"tags": 5}, TypeError, "set: tags"),
        ("get_or_set", ("k", 5), {}, TypeError, "get_or_set: factory must be callable"),
        ("get_or_set", ("k", lambda a, b: 1), {}, TypeError, "get_or_set: factory must take no argument"),
        ("get_or_set", ("k", Origin()), {"fresh": 5}, TypeError, "get_or_set: fresh"),
        ("get_or_set_many", (["k"], None), {}, TypeError, "get_or_set_many: factory must be callable"),
        ("get_or_load", ("k",), {}, TypeError, "has no loader"), ("refresh", ("k",), {}, TypeError, "has no loader"),
        ("warm", (["k"],), {}, TypeError, "has no loader"), ("set_many", (5,), {}, TypeError, "entries must be a mapping"),
        ("invalidate_tags", (5,), {}, TypeError, "tags"), ("get", (object(),), {}, TypeError, "object"),
    ]:
        with pytest.raises(error, match=about):
            getattr(cluster, verb)(*args, **words)
    assert cluster.get("k") is None


def test_coroutine_is_refused_by_the_blocking_face():
    async def factory():
        return 1

    with Cluster([LocalNode()]) as cluster, pytest.raises(TypeError, match="factory must be a plain function"):
        cluster.get_or_set("k", factory)
