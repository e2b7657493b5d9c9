"""A cluster whose nodes forget, or are too slow: how soon that is heard of, and how often anybody waits for it."""

import asyncio

import pytest

from samovar import ManualClock
from samovar.cluster import AsyncCluster, Cluster, LocalNode
from samovar.cluster.node import UNAVAILABLE, Fault
from samovar.cluster.tier import LOOK_S, STAND_IN_S
from support import run_async, until

KEYS = [f"key {number}" for number in range(30)]


class Moody(LocalNode):
    """Forgets everything when it is told to, and answers too late while it is slow; counts what it is asked."""

    is_slow = False

    def __init__(self, name, clock):
        super().__init__(name, clock=clock)
        self.asked = []
        self.mute = ""  # this verb is done once, and its answer comes too late
        self.mistakes = 0  # so often a probe raises what no node may

    def forget(self):
        self._cells.clear()
        self._counters.clear()

    def _say(self, verb, steps):
        self.asked.append(verb)
        if self.is_slow:
            return UNAVAILABLE, Fault("timeout")
        answer = yield from steps
        if verb != self.mute:
            return answer
        self.mute = ""
        return UNAVAILABLE, Fault("timeout")

    def read(self, keys):
        return self._say("read", super().read(keys))

    def lease_many(self, keys, ms):
        return self._say("lease", super().lease_many(keys, ms))

    def fill_many(self, items):
        return self._say("fill", super().fill_many(items))

    def release(self, key, token):
        return self._say("release", super().release(key, token))

    def delete(self, keys):
        return self._say("delete", super().delete(keys))

    def epoch(self, namespace, anew=False):
        return self._say("epoch", super().epoch(namespace, anew))

    def probe(self):
        if self.mistakes:
            self.mistakes -= 1
            raise AttributeError("a mistake of a client library's")
        return self._say("probe", super().probe())


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def nodes(clock):
    return [Moody(name, clock) for name in "abc"]


@pytest.fixture
def cluster(nodes, clock):
    with Cluster(nodes, clock=clock, seed=1) as made:
        made.set_many(dict.fromkeys(KEYS, "stored"))
        yield made


class Origin:
    def __init__(self):
        self.calls = []

    def load(self, key):
        def factory():
            self.calls.append(key)
            return "loaded"
        return factory


def recovered(cluster, node, clock):
    """It is fast again, and was taken in."""
    node.is_slow = False

    def is_up():
        clock.advance(0.1)
        cluster._prober.wake()
        return cluster.stats().nodes[node.name][0] == "up"

    until(is_up)


def owned(cluster, name):
    return [key for key in KEYS if cluster.node_of(key) == name]


def test_flushed_node_s_keys_are_loaded_once_each_but_for_the_first(cluster, nodes, clock):
    """The clock stands still: no poll is due. The first load has the node looked at."""
    origin, (first, *rest) = Origin(), owned(cluster, "a")
    before = cluster._tier.epoch("a")
    clock.advance(LOOK_S)
    nodes[0].forget()
    assert cluster.get_or_set(first, origin.load(first)) == "loaded"
    until(lambda: cluster._tier.epoch("a") != before)
    for _ in range(3):
        assert [cluster.get_or_set(key, origin.load(key)) for key in rest] == ["loaded"] * len(rest)
    assert sorted(origin.calls) == sorted([first, *rest])


def test_flushed_node_s_keys_are_loaded_once_each_in_batches(cluster, nodes, clock):
    first, *rest = owned(cluster, "a")
    before = cluster._tier.epoch("a")
    clock.advance(LOOK_S)
    nodes[0].forget()
    cluster.get_or_set_many([first], lambda keys: dict.fromkeys(keys, "loaded"))
    until(lambda: cluster._tier.epoch("a") != before)
    called = []
    for _ in range(2):
        cluster.get_or_set_many(rest, lambda keys: called.extend(keys) or dict.fromkeys(keys, "loaded"))
    assert called == rest


def test_node_is_looked_at_once_however_many_loads_begin(cluster, nodes, clock):
    clock.advance(LOOK_S)
    before = nodes[0].asked.count("epoch")
    for key in owned(cluster, "a"):
        cluster.delete(key)
        cluster.get_or_set(key, lambda: "loaded")
    until(lambda: nodes[0].asked.count("epoch") > before)
    cluster._prober.stop()
    cluster._prober._thread.join()
    assert nodes[0].asked.count("epoch") == before + 1


def test_question_waits_once_for_a_node_that_is_too_slow(cluster, nodes):
    """Its reading was too late: its lease is asked of the next node."""
    origin, key = Origin(), owned(cluster, "a")[0]
    cluster.delete(key)
    nodes[0].is_slow = True
    del nodes[0].asked[:]
    assert cluster.get_or_set(key, origin.load(key)) == "loaded"
    assert nodes[0].asked == ["read"]
    assert cluster.stats().nodes["a"][0] == "up"  # once is no hanging


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_lease_whose_answer_was_lost_holds_nobody_up(cluster, nodes, clock, many):
    """It lies there, and nobody knows that it is his: it is swept away, long before it ends."""
    origin, key = Origin(), owned(cluster, "a")[0]
    cluster.delete(key)
    nodes[0].mute = "lease"
    if many:
        assert cluster.get_or_set_many([key], lambda keys: dict.fromkeys(keys, "loaded")) == {key: "loaded"}
    else:
        assert cluster.get_or_set(key, origin.load(key)) == "loaded"
    until(lambda: not nodes[0]._cells.peek(cluster._tier.wire(key)) or many)
    assert cluster.get_or_set(key, origin.load(key)) == "loaded"
    assert len(origin.calls) <= 1 + (not many)  # one lies on the next node, which is not asked while this one is up
    assert cluster.stats().nodes["a"][:2] == ("up", "")


def test_lease_that_could_not_be_given_back_holds_nobody_up(cluster, nodes, clock):
    key = owned(cluster, "a")[0]
    cluster.delete(key)

    def fails():
        nodes[0].is_slow = True
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cluster.get_or_set(key, fails)
    assert nodes[0]._cells.peek(cluster._tier.wire(key))
    recovered(cluster, nodes[0], clock)
    until(lambda: not nodes[0]._cells.peek(cluster._tier.wire(key)))


def test_lease_on_a_node_that_went_down_is_swept_away_before_it_is_taken_in(cluster, nodes, clock):
    key, other = owned(cluster, "a")[:2]
    cluster.delete(key)
    nodes[0].mute = "lease"
    cluster.get_or_set(key, lambda: "loaded")
    nodes[0].is_slow = True
    for _ in range(2):
        cluster.get(other)
    until(lambda: cluster.stats().nodes["a"][0] == "down")
    recovered(cluster, nodes[0], clock)
    assert not nodes[0]._cells.peek(cluster._tier.wire(key))


def test_value_on_a_node_that_stands_in_is_gone_ten_seconds_after_the_other_is_back(cluster, nodes, clock):
    """Eight for itself, two for whole seconds and for taking the other in."""
    assert STAND_IN_S + 2 <= 10
    key = owned(cluster, "a")[0]
    nodes[0].is_slow = True
    for _ in range(2):
        cluster.get(key)
    until(lambda: cluster.stats().nodes["a"][0] == "down")
    assert cluster.set(key, "stands in") and cluster.get(key) == "stands in"
    clock.advance(STAND_IN_S)
    assert cluster.get(key) is None


def test_node_that_raises_while_it_is_looked_after_is_looked_after_again(cluster, nodes, clock, caplog):
    (key, *_), node = owned(cluster, "a"), nodes[0]
    node.is_slow, node.mistakes = True, 2
    while cluster.stats().nodes["a"][0] == "up":
        cluster.get(key)
    recovered(cluster, node, clock)
    assert node.mistakes == 0 and cluster[key] == "stored"
    assert sum("a mistake of a client library's" in record.getMessage() for record in caplog.records) == 2


class Awaited(Moody):
    """Can be asked in asyncio alone, so that a task looks after it."""

    blocks = False


def test_task_that_looks_after_nodes_goes_on_when_one_of_them_raised(clock, caplog):
    async def test():
        nodes = [Awaited(name, clock) for name in "abc"]
        node = nodes[0]
        async with AsyncCluster(nodes, clock=clock, seed=1) as cluster:
            await cluster.set_many(dict.fromkeys(KEYS, "stored"))
            key, *_ = owned(cluster, "a")
            node.is_slow, node.mistakes = True, 2
            while cluster.stats().nodes["a"][0] == "up":
                await cluster.get(key)
            node.is_slow = False
            while cluster.stats().nodes["a"][0] != "up":
                clock.advance(0.1)
                cluster._prober.wake()
                await asyncio.sleep(0.0009)
            assert cluster._prober._thread is None and node.mistakes == 0 and await cluster.get(key) == "stored"

    run_async(test())
    assert sum("a mistake of a client library's" in record.getMessage() for record in caplog.records) == 2
