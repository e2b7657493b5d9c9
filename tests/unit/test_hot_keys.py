"""Hot keys: found, spread over nodes, cooled; and never older than what was invalidated."""

import itertools
import random

import pytest

from samovar import Freshness
from samovar.cluster import AsyncCluster, Cluster, HotKeys, LocalNode
from samovar.cluster.hot import Heat
from support import LIMIT


class Counting(LocalNode):
    """Counts the keys that it is asked to read."""

    def __init__(self, name):
        super().__init__(name)
        self.reads = 0

    def read(self, keys):
        self.reads += len(keys)
        return super().read(keys)


def many(count):
    return [Counting(f"node {number}") for number in range(count)]


def loads(nodes):
    """The largest node's reads against the mean, and counting begins anew."""
    reads = [node.reads for node in nodes]
    for node in nodes:
        node.reads = 0
    return max(reads) * len(reads) / sum(reads)


def zipf(seed, keys=2000, share=0.3):
    """Keys as users ask for them: one takes `share`, the others are as Zipf says."""
    chance = random.Random(seed)
    weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(keys)))
    while True:
        if chance.random() < share:
            yield "hot"
        else:
            yield f"key {chance.choices(range(keys), cum_weights=weights)[0]}"


def heated(cluster, key="hot", times=3000):
    """Make a key hot, with some others read beside it."""
    for number in range(times):
        cluster.get(key if number % 2 else f"other {number % 50}")


# ------------------------------------------------------------------ finding

def test_key_above_the_share_is_hot_and_others_are_not():
    heat = Heat(HotKeys(share=0.1, window=1000))
    asked = zipf(1, share=0.2)
    for _ in range(5000):
        heat.read(next(asked))
    assert heat.keys == {"hot"}


def test_hot_key_is_found_within_a_window():
    heat = Heat(HotKeys(share=0.02, window=2000))
    asked = zipf(2)
    assert any(heat.read(key) for key in itertools.islice(asked, 500))


def test_few_reads_make_nothing_hot():
    heat = Heat(HotKeys(share=0.02, window=2000))
    assert not any(heat.read("a") for _ in range(15))


def test_key_that_is_read_no_more_cools():
    heat = Heat(HotKeys(share=0.05, window=1000))
    for key in itertools.islice(zipf(3), 3000):
        heat.read(key)
    assert "hot" in heat.keys
    for key in itertools.islice(zipf(4, share=0.0), 6000):
        heat.read(key)
    assert "hot" not in heat.keys


def test_key_cools_at_half_the_share_that_made_it_hot():
    heat = Heat(HotKeys(share=0.1, window=1000))
    for share, is_hot in ((0.2, True), (0.07, True), (0.02, False)):
        for key in itertools.islice(zipf(5, share=share), 8000):
            heat.read(key)
        assert ("hot" in heat.keys) is is_hot


def test_what_is_counted_is_bounded():
    heat = Heat(HotKeys(share=0.001, window=100_000, tracked=8))
    for number in range(50_000):
        heat.read(f"key {number % 1000}")
        assert len(heat._counts) <= 8 and len(heat.keys) <= 8
    assert heat.keys <= heat._counts.keys()


@pytest.mark.parametrize("words, error", [
    ({"replicas": 1}, ValueError), ({"replicas": "3"}, TypeError), ({"share": 0}, ValueError), ({"share": 1.5}, ValueError),
    ({"share": "a"}, TypeError), ({"window": 10}, ValueError), ({"tracked": 0}, ValueError), ({"copy": 0}, ValueError),
    ({"copy": float("inf")}, ValueError),
], ids=range(9))
def test_hot_keys_says_what_is_wrong(words, error):
    with pytest.raises(error, match=next(iter(words))):
        HotKeys(**words)


def test_hot_must_be_hot_keys():
    with pytest.raises(TypeError, match="hot must be a HotKeys, True or None"):
        Cluster([LocalNode()], hot=3)


# ------------------------------------------------------------------ spreading

def test_largest_node_falls_to_near_the_mean_when_the_hot_key_is_spread():
    """One key of 30 % on six nodes: its owner has 2.5 times the mean; with as many copies as nodes, hardly more than it."""
    figures = {}
    for replicas in (None, 3, 6):
        nodes = many(6)
        with Cluster(nodes, hot=None if replicas is None else HotKeys(replicas=replicas), bus=False, seed=1) as cluster:
            asked = zipf(7)
            for key in itertools.islice(asked, 5000):
                cluster.get_or_set(key, lambda: 1)
            loads(nodes)
            for key in itertools.islice(asked, 20_000):
                cluster.get_or_set(key, lambda: 1)
            figures[replicas] = loads(nodes)
    assert figures[None] > 2.2
    assert figures[3] < 1.7
    assert figures[6] < 1.25, figures


def test_copies_bring_no_load_of_their_own():
    made = []
    with Cluster(many(4), hot=HotKeys(replicas=4), bus=False, seed=1) as cluster:
        for _ in range(4000):
            cluster.get_or_set("hot", lambda: made.append(1))
        assert made == [1] and cluster.stats().spread > 2000 and cluster.stats().hot == 1


@pytest.fixture
def pair():
    """Two processes, as it were, on the same nodes; `hot` is hot and copied everywhere in the first."""
    nodes = many(3)
    with Cluster(nodes, hot=True, bus=False, seed=1) as one, Cluster(nodes, hot=True, bus=False, seed=2) as other:
        other.set("hot", 1, tags=["tag"])
        heated(one)
        assert one.stats().spread > 100
        yield one, other


def reads(cluster):
    return {cluster.get("hot") for _ in range(60)}


def lying(cluster):
    """On how many nodes the key has a value."""
    wire = cluster._tier.wire("hot")
    return sum(node._cells.peek(wire) is not None for node in cluster._tier.nodes.values())


@pytest.mark.parametrize("change, left", [
    (lambda cluster: cluster.delete("hot"), {None}),
    (lambda cluster: cluster.set("hot", 2), {2}),
    (lambda cluster: cluster.set_many({"hot": 2}), {2}),
    (lambda cluster: cluster.invalidate_tags("tag"), {None}),
    (lambda cluster: cluster.expire("hot"), {None}),
    (lambda cluster: cluster.refresh("hot", lambda: 2), {2}),
    (lambda cluster: cluster.pop("hot", None), {None}),
], ids=["delete", "set", "set_many", "tags", "expire", "refresh", "pop"])
def test_change_reaches_all_copies_whoever_makes_it(pair, change, left):
    one, other = pair
    assert reads(one) == {1} and lying(one) == 3
    change(other)
    assert reads(one) == left
    change(one)
    assert reads(one) == reads(other) == left


def test_clear_forgets_all_copies(pair):
    one, _ = pair
    one.clear()
    assert reads(one) == {None}


def test_fence_of_a_writer_stands_on_all_copies(pair):
    one, other = pair
    with other.writing("hot"):
        assert reads(one) == {None}
        assert one.get_or_set("hot", lambda: 1) == 1
        assert reads(one) == {None}
    other.set("hot", 2)
    assert reads(one) == {2}


def test_copy_has_the_age_and_the_end_of_its_entry():
    nodes = many(3)
    with Cluster(nodes, hot=HotKeys(copy=5), bus=False, seed=1) as cluster:
        wall = [1000.0]
        cluster._tier.wall = lambda: wall[0]
        cluster.set("hot", 1, fresh=Freshness(ttl=8))
        wall[0] += 4
        heated(cluster)
        assert cluster.stats().spread > 100
        wall[0] += 3.9
        assert reads(cluster) == {1}
        wall[0] += 0.2
        assert reads(cluster) == {None}


def test_copy_on_a_node_that_is_down_is_not_missed(pair):
    one, _ = pair
    spread = one.stats().spread
    name = one._tier.owners(one._tier.wire("hot"))[1]
    one._prober.stop()  # which takes it in again at once
    one._prober._thread.join(LIMIT)
    one._tier.missed(name)
    assert not one._tier.is_up(name)
    assert reads(one) == {1}
    assert one.stats().spread < spread + 60


def test_cooled_key_is_read_from_its_owner_again(pair):
    one, _ = pair
    for number in range(20_000):
        one.get(f"other {number % 500}")
    assert one.stats().hot == 0
    spread = one.stats().spread
    assert reads(one) == {1} and one.stats().spread == spread


# ------------------------------------------------------------------ a copy that is being made when its entry changes

class Interrupted(LocalNode):
    """Does something before it reads, or after."""

    before = after = None

    def read(self, keys):
        answer = None
        if self.before is not None:
            act, self.before = self.before, None
            act()
        answer = yield from super().read(keys)
        if self.after is not None:
            act, self.after = self.after, None
            act()
        return answer

    def epoch(self, namespace, *rest):
        answer = yield from super().epoch(namespace, *rest)
        if self.at_epoch is not None:
            act, self.at_epoch = self.at_epoch, None
            act()
        return answer

    at_epoch = None


@pytest.mark.parametrize("change", ["delete", "set", "clear", "tags"])
@pytest.mark.parametrize("moment", ["before", "after", "at_epoch"])
@pytest.mark.parametrize("where", ["owner", "copy"])
def test_copy_under_way_when_the_key_changes_is_not_kept(change, moment, where):
    nodes = [Interrupted(f"node {number}") for number in range(2)]
    how = HotKeys(replicas=2)
    with Cluster(nodes, hot=how, bus=False, seed=1) as one, Cluster(nodes, hot=how, bus=False, seed=2) as other:
        other.set("hot", 1, tags=["tag"])
        one.get("x")
        one._spread.heat.read = lambda wire: True
        one._tier.chance = lambda: 0.9  # the second node
        owners = one._tier.owners(one._tier.wire("hot"))
        at = one._tier.nodes[owners[0 if where == "owner" else 1]]
        acts = {"delete": lambda: other.delete("hot"), "set": lambda: other.set("hot", 2), "clear": other.clear,
                "tags": lambda: other.invalidate_tags("tag")}
        setattr(at, moment, acts[change])
        one.get("hot")
        assert getattr(at, moment) is None, "the moment did not come"
        for name, (epoch, run) in other._tier.epochs().items():
            one._tier.hear(name, epoch, run)
        assert one.get("hot") == one.get("hot") == (2 if change == "set" else None)


def test_asyncio_face_spreads_too():
    import asyncio

    async def main():
        nodes = many(3)
        async with AsyncCluster(nodes, hot=True, bus=False, seed=1) as cluster:
            for _ in range(4000):
                assert await cluster.get_or_set("hot", lambda: 1) == 1
            assert cluster.stats().spread > 1000
            assert loads(nodes) < 1.6
            await cluster.delete("hot")
            assert {await cluster.get("hot") for _ in range(60)} == {None}

    asyncio.run(main())
