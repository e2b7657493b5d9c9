"""The quick way to a hit (cluster/quick.py): one question where nothing is to be decided, and otherwise what the protocol
answers, without asking twice."""

import asyncio

import pytest

from samovar import Cluster, Freshness, HotKeys, ManualClock, MemcachedNode, RedisNode
from samovar.cluster import LocalNode
from samovar.cluster.codec import SignedPickle
from samovar.cluster.drive import run
from samovar.cluster.node import OWNER, UNAVAILABLE, Fault
from engines import free_port
from test_cluster import Asked, Awaited

TTL, LONG = 60, 60_000


class Watched(Asked):
    """Counts what it is asked about, and by whom; fails when it is told to."""

    fault = None

    def __init__(self, name, clock=None):
        super().__init__(name, clock=clock)
        self.reads = []

    def asks(self, key):
        return super().asks(key)

    def read(self, keys):
        self.reads += keys
        if self.fault is not None:
            return UNAVAILABLE, self.fault
        return (yield from super().read(keys))

    def probe(self):
        if self.fault is not None:
            return UNAVAILABLE, self.fault
        return (yield from super().probe())


class Pair:
    """Two clusters over the same cells: one whose nodes are asked by their verbs alone, and a quick one."""

    def __init__(self, runner, **words):
        self.clock, self.runner = ManualClock(), runner
        self.quick_nodes = [Watched(name, self.clock) for name in "abc"]
        self.slow_nodes = [LocalNode(name, clock=self.clock) for name in "abc"]
        for quick, slow in zip(self.quick_nodes, self.slow_nodes):
            slow._cells, slow._counters, slow._run, slow._tokens = quick._cells, quick._counters, quick._run, quick._tokens
        words = {"clock": self.clock, "seed": 1, "bus": False, **words}
        self.slow = self.made(self.slow_nodes, words)
        self.quick = self.made(self.quick_nodes, words)

    def made(self, nodes, words):
        return Cluster(nodes, **words) if self.runner is None else Awaited(self.runner, nodes, **words)

    def owner(self, key="k"):
        return next(node for node in self.quick_nodes if node.name == self.quick.node_of(key))

    def questions(self, act):
        """What an act answers, how often its key was asked about, and whether that was all in the quick way."""
        node = self.owner()
        node.asked, node.reads = [], []
        answer = act()
        return answer, len(node.reads), len(node.asked)

    def close(self):
        for one in (self.slow, self.quick):
            one.close() if self.runner is None else one.aclose()


@pytest.fixture(params=["blocking", "asyncio"])
def pairs(request):
    """Makes pairs."""
    made = []

    def pair(runner, **words):
        made.append(Pair(runner, **words))
        made[-1].quick.get("warm"), made[-1].slow.get("warm")
        return made[-1]

    if request.param == "blocking":
        yield lambda **words: pair(None, **words)
        for one in made:
            one.close()
    else:
        with asyncio.Runner() as runner:
            yield lambda **words: pair(runner, **words)
            for one in made:
                one.close()


def never():
    raise AssertionError("the factory was called")


def anew():
    """A factory, as both faces take one."""
    return "made anew"


def test_hit_is_one_question_in_the_quick_way_and_is_counted(pairs):
    pair = pairs(ttl=TTL)
    pair.slow.set("k", {"price": 3})
    assert pair.questions(lambda: pair.quick.get("k")) == ({"price": 3}, 1, 1)
    assert pair.questions(lambda: pair.quick.get_or_set("k", never)) == ({"price": 3}, 1, 1)
    assert pair.questions(lambda: pair.quick.get_or_set("k", never, ttl="5m", tags="t")) == ({"price": 3}, 1, 1)
    assert pair.quick.stats().hits == 3


def test_none_that_is_stored_is_a_hit(pairs):
    pair = pairs()
    pair.slow.set("k", None)
    assert pair.questions(lambda: pair.quick.get("k", "none")) == (None, 1, 1)


def nothing(pair):
    pass


def lease(pair):
    run(pair.owner().lease(pair.quick._tier.wire("k"), LONG))


def fence(pair):
    run(pair.owner().begin_write([pair.quick._tier.wire("k")], b"a" * OWNER, LONG))


def tagged(pair):
    pair.slow.set("k", 1, tags="t")


def tagged_and_invalidated(pair):
    pair.slow.set("k", 1, tags="t")
    pair.slow.invalidate_tags("t")


def stale_that_may_be_served(pair):
    pair.slow.set("k", 1, ttl=1)
    pair.clock.advance(5)


def past_every_window(pair):
    pair.slow.set("k", 1, ttl=1)
    pair.clock.advance(50)


def of_an_epoch_that_is_over(pair):
    pair.slow.set("k", 1)
    pair.slow.clear(), pair.quick.clear()


def damaged(pair):
    run(pair.owner().put(pair.quick._tier.wire("k"), b"\xc5\xa7\x01\x01\x00" + b"x" * 90, LONG))


def empty(pair):
    run(pair.owner().put(pair.quick._tier.wire("k"), b"", LONG))


@pytest.mark.parametrize("lies_there", [
    nothing, lease, fence, tagged, tagged_and_invalidated, stale_that_may_be_served, past_every_window,
    of_an_epoch_that_is_over, damaged, empty], ids=lambda one: one.__name__)
def test_what_is_no_plain_hit_is_answered_as_by_the_protocol_and_asked_about_once(pairs, lies_there):
    pair = pairs(fresh=Freshness(ttl=TTL, stale_while_revalidate=20))
    lies_there(pair)
    expected = pair.slow.get("k", "none")
    assert pair.questions(lambda: pair.quick.get("k", "none")) == (expected, 1, 1)
    stats = pair.quick.stats()
    assert (stats.hits + stats.stale_hits, stats.misses) == ((0, 2) if expected == "none" else (1, 1))  # "warm" was one


def test_compressed_and_signed_values_are_hits_in_the_quick_way_too(pairs):
    for words, value in (({}, "x" * 9000), ({"codec": SignedPickle(keys={"a": b"s" * 16}, current="a")}, {1, 2})):
        pair = pairs(**words)
        pair.slow.set("k", value)
        assert pair.questions(lambda: pair.quick.get("k")) == (value, 1, 1)
        assert pair.quick.stats().hits == 1


def test_miss_of_get_or_set_is_loaded_after_one_look(pairs):
    pair = pairs(ttl=TTL)
    if pair.runner is None:
        assert pair.questions(lambda: pair.quick.get_or_set("k", anew)) == ("made anew", 1, 1)
    else:
        async def made():
            return anew()

        assert pair.questions(lambda: pair.quick.get_or_set("k", made)) == ("made anew", 1, 1)
    assert pair.slow.get("k") == "made anew"


def test_wrong_words_are_refused_where_there_is_a_hit_too(pairs):
    pair = pairs()
    pair.slow.set("k", 1)
    for words in ({"ttl": -1}, {"soft_timeout": "soon"}, {"fresh": 7}, {"tags": 7}):
        with pytest.raises((TypeError, ValueError)):
            pair.quick.get_or_set("k", never, **words)


def test_value_that_is_due_early_is_renewed_all_the_same(pairs):
    pair = pairs(fresh=Freshness(ttl=TTL, early=1e9))
    pair.slow.set("k", "old")
    assert pair.questions(lambda: pair.quick.get_or_set("k", never)) == ("old", 1, 0)


@pytest.mark.parametrize("fault", [Fault("timeout"), Fault("refused"), Fault("protocol")], ids=lambda one: one.reason)
def test_fault_is_told_to_the_breaker_and_the_next_node_answers(pairs, fault):
    pair = pairs(ttl=TTL)
    pair.slow.set("k", 1)
    owner = pair.owner()
    owner.fault = fault
    answer, reads, quick = pair.questions(lambda: pair.quick.get("k", "none"))
    assert (answer, reads, quick) == ("none", 1, 1)
    assert pair.questions(lambda: pair.quick.get("k", "none"))[2] == 0  # a node in trouble: the protocol decides
    assert pair.quick.stats().nodes[owner.name][0] == "down"


def test_hot_keys_are_counted_by_their_own_look(pairs):
    pair = pairs(hot=HotKeys(replicas=2))
    pair.slow.set("k", 1)
    assert pair.questions(lambda: pair.quick.get("k")) == (1, 1, 0)


class Traced(Asked):
    """Wraps the verb, to note it, and knows nothing of a quick way."""

    def read(self, keys):
        self.noted = [*keys]
        return (yield from super().read(keys))


class Noting:
    """The same for any node."""

    def read(self, keys):
        self.noted = [*keys]
        return (yield from super().read(keys))


class Mixed(Noting, Asked):
    pass


class Further(Traced):
    def body_in(self, answer):
        return super().body_in(answer)


class Both(Traced):
    def asks(self, key):
        self.noted = [key]
        return super().asks(key)


def patched(name):
    node = Asked(name)

    def read(keys):
        node.noted = [*keys]
        return (yield from Asked.read(node, keys))

    node.read = read
    return node


@pytest.mark.parametrize(("make", "quick"), [(Traced, 0), (Mixed, 0), (Further, 0), (patched, 0), (Both, 1), (Asked, 1)])
def test_read_that_a_subclass_wraps_is_not_passed_by(make, quick):
    node = make("one")
    with Cluster([node], bus=False) as cluster:
        cluster["k"] = 1
        for ask in (lambda: cluster.get("k"), lambda: cluster.get_or_set("k", never)):
            node.asked, node.noted = [], None
            assert ask() == 1
            assert len(node.asked) == quick
            assert make is Asked or node.noted == [cluster._tier.wire("k")]
        assert cluster.stats().hits == 2


@pytest.mark.parametrize("node", [lambda port: RedisNode(f"redis://127.0.0.1:{port}/0"),
                                  lambda port: MemcachedNode(f"127.0.0.1:{port}")], ids=["redis", "memcached"])
def test_question_to_nobody_is_answered_with_a_fault(node):
    made = node(free_port())
    replies = made.perform(made.asks("k"))
    assert made.body_in(replies) is None
    status, fault = made.said(replies)
    assert status is UNAVAILABLE and fault.reason == "refused"
    assert run(made.read(["k"]))[0] is UNAVAILABLE

