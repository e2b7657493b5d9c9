"""The bus without an engine: when it counts as heard, what is said and read, and what the near cache does then."""

import threading
from collections import deque

import pytest

from samovar import Cache, ManualClock
from samovar.cluster import Cluster, LocalNode, MemcachedNode, RedisNode, notices
from samovar.cluster.bus import BUS, CLOSE, GET, MOST_OWED, OPEN, REST, SAY, Bus, listen
from samovar.cluster.drive import run
from samovar.cluster.hearing import AWAY, BEAT_S, LISTENING, SILENT_S, STANDS, Hearing
from samovar.cluster.near import Near
from samovar.cluster.node import UNAVAILABLE, Fault
from samovar.cluster.requests import ALL
from support import LIMIT, until, wait_for

ME, OTHER = b"m" * 16, b"o" * 16


# ------------------------------------------------------------------ hearing

def test_hearing_stands_once_its_canary_came_back():
    hearing = Hearing(lambda: 0.5)
    assert hearing.state == AWAY and hearing.beat(0.0) is None
    hearing.opened(1.0)
    canary = hearing.beat(1.0)
    assert hearing.state == LISTENING and canary is not None
    assert hearing.beat(1.0) is None  # one at a time
    assert hearing.heard(canary) and hearing.state == STANDS
    assert not hearing.heard(canary)  # heard twice says nothing new


def test_heartbeat_from_before_the_subscription_proves_nothing():
    hearing = Hearing(lambda: 0.5)
    hearing.opened(0.0)
    old = hearing.beat(0.0)
    hearing.fell()
    hearing.opened(1.0)
    assert not hearing.heard(old) and hearing.state == LISTENING
    assert hearing.heard(hearing.beat(1.0))


def test_hearing_is_silent_when_the_last_heartbeat_heard_was_said_too_long_ago():
    """The proof is as old as the heartbeat when it was said, not when it came."""
    hearing = Hearing(lambda: 0.5)
    hearing.opened(0.0)
    first = hearing.beat(0.0)
    hearing.heard(first)
    late = hearing.beat(BEAT_S)
    assert not hearing.is_silent(SILENT_S)
    assert hearing.is_silent(SILENT_S + 0.01)
    hearing.heard(late)
    assert not hearing.is_silent(SILENT_S + 0.01)
    assert hearing.is_silent(BEAT_S + SILENT_S + 0.01)


def test_hearing_waits_until_something_is_due():
    hearing = Hearing(lambda: 0.5)
    hearing.opened(0.0)
    assert hearing.wait_s(0.0) == 0.0
    hearing.heard(hearing.beat(0.0))
    assert hearing.wait_s(0.1) == pytest.approx(BEAT_S - 0.1)
    hearing.beat(0.25)
    hearing.beat(0.5)
    assert hearing.wait_s(0.7) == pytest.approx(SILENT_S - 0.7)
    assert hearing.wait_s(9.0) == 0.0


def test_rests_grow_until_the_bus_is_heard_again():
    hearing = Hearing(lambda: 0.5)
    rests = [hearing.fell() for _ in range(7)]
    assert rests == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    hearing.opened(0.0)
    hearing.fell()
    assert hearing.fell() == 1.0  # subscribed alone is not heard
    hearing.opened(0.0)
    hearing.heard(hearing.beat(0.0))
    assert hearing.fell() == 0.05


# ------------------------------------------------------------------ notices

def test_notices_are_read_as_they_were_written():
    keys = ["tea", 7, ("a", None), b"x", 1.5]
    assert [notices.read(each) for each in notices.written(ME, keys=keys, tags=["t"])] == [
        (ME, notices.KEYS, keys), (ME, notices.TAGS, ["t"])]
    assert [notices.read(each) for each in notices.written(ME, epochs={"n": (1 << 60, "run")})] == [
        (ME, notices.ALL, {"n": (1 << 60, "run")})]
    assert notices.read(notices.beat(ME, 77)) == (ME, notices.BEAT, 77)


def test_many_names_become_notices_of_some_hundred():
    payloads = list(notices.written(ME, keys=range(1000)))
    assert [len(notices.read(each).names) for each in payloads] == [256, 256, 256, 232]
    assert [name for each in payloads for name in notices.read(each).names] == list(range(1000))


def test_key_that_is_no_plain_data_is_refused():
    with pytest.raises(TypeError):
        list(notices.written(ME, keys=[object()]))


WHOLE = next(notices.written(ME, keys=["tea", "coffee"]))


@pytest.mark.parametrize("payload", [
    b"", b"\x01", WHOLE[:17], WHOLE[:18], WHOLE[:-1], WHOLE + b"x", b"\x02" + WHOLE[1:], WHOLE[:17] + b"Z" + WHOLE[18:],
    WHOLE[:17] + b"T", WHOLE[:17] + b"A" + WHOLE[18:], WHOLE[:17] + b"H1234567", notices.beat(ME, 1)[:-1],
    notices.beat(ME, 1) + b"x",
], ids=range(13))
def test_what_cannot_be_read_is_nothing(payload):
    assert notices.read(payload) is None


def test_tags_that_are_no_text_and_keys_without_hash_are_nothing():
    from samovar._base import codecs

    head = WHOLE[:17]
    assert notices.read(head + b"T" + codecs.encode([1])) is None
    assert notices.read(head + b"K" + codecs.encode([[1]])) is None
    assert notices.read(head + b"K" + codecs.encode("tea")) is None
    assert notices.read(head + b"A" + codecs.encode({"n": (1, 2)})) is None


# ------------------------------------------------------------------ listening, with a clock that is moved by hand

class World:
    """Plays the driver of `listen`: an engine that answers as it is told."""

    def __init__(self):
        self.clock, self.over = ManualClock(), False
        self.near = Near(Cache(100), stands=False)
        self.steps = listen(Hearing(lambda: 0.5), self.near, ME, self.clock, lambda: self.over)
        self.said = []
        self.request, self.about = next(self.steps)

    def tell(self, told=None):
        self.request, self.about = self.steps.send(told)
        while self.request == SAY:
            self.said.append(self.about)
            self.request, self.about = self.steps.send(None)
        return self.request

    def stand(self):
        """Subscribe, and let the canary come back."""
        assert self.request == OPEN
        self.tell(None)
        assert self.request == GET and not self.near.stands
        self.tell(notices.beat(ME, self.said[-1]))
        assert self.near.stands

    def fill(self):
        self.near.cache.update(tea=1, coffee=2)


def test_near_cache_keeps_nothing_before_the_canary_came_back():
    world = World()
    world.fill()
    world.stand()
    assert len(world.near.cache) == 0  # flushed when it stood up


def test_notices_of_others_are_obeyed_and_ones_own_are_not():
    world = World()
    world.stand()
    world.fill()
    for payload in notices.written(ME, keys=["coffee"]):
        world.tell(payload)
    for payload in notices.written(OTHER, keys=["tea"]):
        world.tell(payload)
    assert dict(world.near.cache) == {"coffee": 2}
    world.near.cache.set("milk", 3, tags=["white"])
    for payload in notices.written(OTHER, tags=["white"]):
        world.tell(payload)
    assert dict(world.near.cache) == {"coffee": 2}
    heard = []
    world.near.hear = lambda *epoch: heard.append((*epoch, len(world.near.cache)))
    for payload in notices.written(OTHER, epochs={"n": (5, "r")}):
        world.tell(payload)
    assert heard == [("n", 5, "r", 1)] and len(world.near.cache) == 0 and world.near.stands


def test_notice_that_cannot_be_read_flushes():
    world = World()
    world.stand()
    world.fill()
    world.tell(b"\x09 from a later release")
    assert len(world.near.cache) == 0 and world.near.stands


def test_names_that_a_cache_refuses_flush():
    near = Near(Cache(100), stands=True)
    for kind, names in ((notices.TAGS, [7]), (notices.KEYS, [["no hash"]])):
        near.cache["tea"] = 1
        near.take(notices.Notice(OTHER, kind, names))
        assert len(near.cache) == 0 and near.stands


def test_silence_flushes_and_the_near_cache_keeps_nothing_until_the_bus_is_heard_again():
    world = World()
    world.stand()
    world.fill()
    for _ in range(3):
        world.clock.advance(BEAT_S)
        assert world.tell(None) == GET
    assert dict(world.near.cache) and len(world.said) == 4
    world.clock.advance(0.01)
    assert world.tell(None) == CLOSE
    assert len(world.near.cache) == 0 and not world.near.stands
    assert world.tell(None) == REST and world.about == 0.05
    assert world.tell(None) == OPEN
    world.stand()


def test_foreign_chatter_is_no_proof_of_hearing():
    """Others are heard, and what this process says does not come back: nobody knows what else is lost."""
    world = World()
    world.stand()
    for _ in range(3):
        world.clock.advance(BEAT_S)
        for payload in notices.written(OTHER, keys=["x"]):
            assert world.tell(payload) == GET
    world.clock.advance(0.01)
    for payload in notices.written(OTHER, keys=["x"]):
        assert world.tell(payload) == CLOSE


@pytest.mark.parametrize("told", [Fault("reset"), Fault("timeout")], ids=["reset", "timeout"])
def test_lost_connection_flushes_at_once(told):
    world = World()
    world.stand()
    world.fill()
    assert world.tell(told) == CLOSE
    assert len(world.near.cache) == 0 and not world.near.stands


def test_subscription_that_fails_is_tried_again_after_a_rest():
    world = World()
    assert world.tell(Fault("refused")) == REST and world.about == 0.05
    assert world.tell(None) == OPEN
    assert world.tell(Fault("refused")) == REST and world.about == 0.1
    assert world.tell(None) == OPEN
    world.stand()


def test_process_that_was_stopped_finds_its_near_cache_flushed():
    """Stopped for a minute; what came meanwhile is read late."""
    world = World()
    world.stand()
    world.fill()
    world.clock.advance(60)
    assert world.tell(notices.beat(ME, 1)) == CLOSE
    assert len(world.near.cache) == 0


def test_listening_ends_when_it_is_over():
    world = World()
    world.stand()
    world.over = True
    assert world.tell(None) == CLOSE
    assert world.tell(None) == REST
    with pytest.raises(StopIteration):
        world.steps.send(None)


def test_near_load_under_way_is_fenced_by_flush_and_notice():
    near = Near(Cache(100), stands=True)
    for overtaken in (near.fall, near.stand, lambda: near.take(notices.Notice(OTHER, notices.KEYS, ["tea"])),
                      lambda: near.take(None)):
        def load(overtaken=overtaken):
            overtaken()
            return "old"

        assert near.cache.get_or_set("tea", load) == "old"
        assert "tea" not in near.cache


# ------------------------------------------------------------------ telling what could not be told

class Deaf(LocalNode):
    """Publishes nothing for a while."""

    is_deaf = True

    def publish(self, channel, payload):
        if self.is_deaf:
            return iter_answer((UNAVAILABLE, Fault("refused")))
        return super().publish(channel, payload)


def iter_answer(answer):
    return answer
    yield


def drain(bus, steps):
    """Take steps that ask nobody."""
    try:
        request, about = next(steps)
        while True:
            assert (request, about) == (ALL, [])
            request, about = steps.send([])
    except StopIteration:
        pass


def test_what_cannot_be_told_is_told_later():
    node = Deaf()
    bus = Bus([(node, "local", True)], "c", None)
    heard = node.subscribe(["c"])
    heard.open()
    drain(bus, bus.tell(lambda name: False, keys=["tea"]))
    until(lambda: bus.untold == 1)
    node.is_deaf = False
    assert notices.read(heard.get(LIMIT).payload) == (bus.sender, notices.KEYS, ["tea"])
    bus.stop()


def test_too_much_that_cannot_be_told_becomes_everything():
    node = Deaf()
    bus = Bus([(node, "local", True)], "c", None)
    heard = node.subscribe(["c"])
    heard.open()
    for key in range(MOST_OWED + 1):
        drain(bus, bus.tell(lambda name: False, keys=[key]))
    node.is_deaf = False
    until(lambda: notices.read(heard.get(LIMIT).payload).kind == notices.ALL)
    bus.stop()


def test_thread_that_tells_outlives_that_what_it_was_about_to_tell_is_cleared_away(monkeypatch):
    """1 it sees that something is owed, 2 somebody who owes too much clears that away, 3 it takes what is owed first."""
    looked, cleared, written = threading.Event(), threading.Event(), notices.written

    class Owed(deque):
        def __len__(self):
            count = super().__len__()
            if count and threading.current_thread() is not threading.main_thread():
                looked.set()
                cleared.wait(0.2)  # which does not come, where the other has to wait for this one
            return count

    def slowly(*args, **what):
        if "epochs" in what:
            cleared.set()
            bus._threads["tell local"].join(0.2)
        return written(*args, **what)

    node = Deaf()
    bus = Bus([(node, "local", True)], "c", None)
    bus.carriers[0].owed = Owed()
    heard = node.subscribe(["c"])
    heard.open()
    drain(bus, bus.tell(lambda name: False, keys=["tea"]))
    wait_for(looked)
    monkeypatch.setattr("samovar.cluster.bus.MOST_OWED", 1)
    monkeypatch.setattr(notices, "written", slowly)
    drain(bus, bus.tell(lambda name: False, keys=["milk"]))
    node.is_deaf = False
    assert bus._threads["tell local"].is_alive()
    until(lambda: notices.read(heard.get(LIMIT).payload).kind == notices.ALL)
    bus.stop()


# ------------------------------------------------------------------ which bus

def test_near_cache_without_a_bus_needs_a_ttl():
    nodes = [MemcachedNode("127.0.0.1:1")]
    with pytest.raises(ValueError, match="near must have a ttl"):
        Cluster(nodes, near=Cache(100))
    with pytest.raises(ValueError, match="near must have a ttl"):
        Cluster([LocalNode()], near=Cache(100), bus=False)
    with Cluster(nodes, near=Cache(100, ttl=1)) as cluster:
        assert cluster.stats().hears


def test_bus_must_be_a_node_that_can_push():
    with pytest.raises(ValueError, match="bus must be a node that can push"):
        Cluster([LocalNode()], bus=MemcachedNode("127.0.0.1:1"))
    with pytest.raises(TypeError, match="bus must be a node that can push"):
        Cluster([LocalNode()], bus="redis://localhost")


def carriers(cluster):
    return [carrier.name for carrier in cluster._bus.carriers]


def test_bus_is_the_first_two_nodes_that_can_push_or_those_that_are_given():
    nodes = {"c": LocalNode("c"), "b": RedisNode("redis://127.0.0.1:1"), "a": MemcachedNode("127.0.0.1:1"),
             "d": LocalNode("d")}
    assert carriers(Cluster(nodes)) == ["b", "c"]
    assert carriers(Cluster(nodes, bus=nodes["c"])) == ["c"]
    assert carriers(Cluster(nodes, bus=[nodes["d"], nodes["b"]])) == ["d", "b"]
    assert carriers(Cluster(nodes, bus=LocalNode())) == [f"{BUS} 0"]
    assert carriers(Cluster(nodes, bus=[nodes["b"], LocalNode()])) == ["b", f"{BUS} 1"]
    assert Cluster(nodes, bus=False)._bus is None


# ------------------------------------------------------------------ a bus of two nodes

class Hung(LocalNode):
    """Passes nothing on, for a while, and lets nobody listen."""

    is_hung = False

    def publish(self, channel, payload):
        if self.is_hung:
            return iter_answer((UNAVAILABLE, Fault("timeout")))
        return super().publish(channel, payload)

    def subscribe(self, channels):
        heard = super().subscribe(channels)
        opened, get = heard.open, heard.get
        heard.open = lambda: Fault("timeout") if self.is_hung else opened()
        heard.get = lambda timeout_s: get(timeout_s) if not self.is_hung else Fault("reset")
        return heard


def heard_on(cluster):
    """The node on which a cluster listens, once it does: on a busy machine it may leave one that is well."""
    on = []
    until(lambda: (carrier := cluster._bus._on) is not None and not on.append(carrier.node))
    return on[0]


def test_bus_moves_to_its_other_node_and_everything_told_meanwhile_is_heard():
    nodes = [Hung("a"), Hung("b"), LocalNode("c")]
    with Cluster(nodes, near=Cache(100)) as one, Cluster(nodes, near=Cache(100)) as other:
        one.get("x"), other.get("x")
        until(lambda: one.stats().hears and other.stats().hears)
        assert other._bus.carriers[0].node is nodes[0] and other._bus.carriers[1].node is nodes[1]
        for _ in range(3):
            one.set("tea", 1)
            until(lambda: other.get("tea") == 1 and "tea" in other.near)
            flushes, node = other._keeper.flushes, heard_on(other)
            assert node in nodes[:2]
            node.is_hung = True
            until(lambda node=node: heard_on(other) is not node and other.stats().hears)
            assert "tea" not in other.near and other._keeper.flushes >= flushes + 2  # it fell, and it stands
            until(lambda: other.get("tea") == 1 and "tea" in other.near)
            one.set("tea", 2)
            until(lambda: other.get("tea") == 2 and "tea" in other.near)
            node.is_hung = False
            until(lambda: not any(carrier.owed for carrier in one._bus.carriers))


def test_process_that_hears_the_other_node_is_told_too(patient_bus):
    """One cannot listen on the first node, which is well: it misses nothing on the second."""
    first, second = Hung("a"), LocalNode("b")
    alias = Hung("a")
    alias.is_hung = True  # the first node, as the process that is cut off from it sees it
    with Cluster([first, second], near=Cache(100)) as one, (
            Cluster({"a": alias, "b": second}, near=Cache(100), bus=[alias, second])) as cut_off:
        one.get("x"), cut_off.get("x")
        until(lambda: one.stats().hears and cut_off.stats().hears)
        assert one._bus._on.name == "a" and cut_off._bus._on.name == "b"
        cut_off.near.set("tea", 1)
        one.delete("tea")
        until(lambda: "tea" not in cut_off.near)


# ------------------------------------------------------------------ two clusters, one local node

@pytest.fixture
def pair(patient_bus):
    node = LocalNode()
    with Cluster([node], near=Cache(100)) as one, Cluster([node], near=Cache(100)) as other:
        one.get("x"), other.get("x")
        until(lambda: one.stats().hears and other.stats().hears)
        yield one, other


def test_change_elsewhere_leaves_the_near_cache(pair):
    one, other = pair
    one.set("tea", 1, tags=["hot"])
    for change in (lambda: one.delete("tea"), lambda: one.set("tea", 2), lambda: one.invalidate_tags("hot"), one.clear,
                   lambda: one.delete_many(range(600)) or one.delete("tea"), lambda: one.refresh("tea", lambda: 3)):
        one.set("tea", 1, tags=["hot"])
        until(lambda: other.get("tea") == 1 and "tea" in other.near)
        change()
        until(lambda: "tea" not in other.near)


def test_near_hit_asks_no_node(pair):
    one, other = pair
    one.set("tea", 1)
    until(lambda: other.get("tea") == 1 and "tea" in other.near)
    hits = other.stats().hits
    assert other.get("tea") == other["tea"] == other.get_or_set("tea", lambda: 2) == 1
    assert other.stats().hits == hits


def test_get_that_finds_nothing_shares_no_flight_with_a_load(pair):
    one, _ = pair
    assert one.get("none") is None and one.get("none", 7) == 7
    assert one.get_or_set("none", lambda: 3) == 3
    with pytest.raises(KeyError):
        one["nothing"]


def test_clear_is_heard_with_the_epochs(pair):
    """Who hears of it reads nothing of before, at once."""
    one, other = pair
    one.set("tea", 1)
    until(lambda: other.get("tea") == 1)
    one.clear()
    until(lambda: other._tier.epochs() == one._tier.epochs())
    assert other.get("tea") is None


def test_cluster_that_ends_leaves_no_thread_and_no_near_entries(pair):
    one, _ = pair
    threads = list(one._bus._threads.values())
    one.set("tea", 1)
    one.get("tea")
    one.close()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert len(one.near) == 0 and not one.stats().hears


def test_run_of_publish_says_how_many_heard():
    node = LocalNode()
    heard = node.subscribe(["a", "b"])
    assert run(node.publish("a", b"1"))[1] == 0
    assert heard.open() is None
    assert run(node.publish("a", b"1"))[1] == 1
    assert heard.get(1).payload == b"1"
    assert run(node.publish("z", b"1"))[1] == 0
    heard.close()
    assert isinstance(heard.get(0.001), Fault)
