"""Every order of readers, writers, expiry, eviction, crashes and faults over the shared tier: what is promised holds in
each, and of the protocols that are wrong each is caught (cluster/cell.py; Nishtala et al., "Scaling Memcache at
Facebook", NSDI 2013, for leases)."""

from types import SimpleNamespace

import pytest

from samovar._base.freshness import Freshness
from samovar._base.missing import MISSING
from samovar.cluster import admission, batch, cell, changes, tags as tagging
from samovar.cluster.asked import Got
from samovar.cluster.envelope import Envelope, Sealer
from samovar.cluster.node import HIT, OK, YOURS
from samovar.cluster.quick import Quick
from samovar.cluster.requests import CALL, NODE, PAUSE
from samovar.cluster.tier import Tier
from tier_scheduler import LEASE_S, TTL_S, Broken, Maker, Process, World, explore

pytestmark = pytest.mark.slow  # minutes of processor, and the same on every Python

WATCHED = SimpleNamespace(is_cold=False)  # a prober that is there
ANN, BEN = b"a" * 16, b"b" * 16


def get(process):
    """As `Cluster.get` asks: the quick way, and the protocol for what that leaves."""
    def steps(actor):
        quick, told = Quick(process.store, WATCHED), None
        asking = quick.asks("k")
        if asking is not None:
            value, told = quick.told(asking, (yield NODE, (asking[1], "read", ((asking[0],),))))
            if value is not MISSING:
                return value
        return (yield from cell.get(process.store, process.asked("k"), told)).value
    return steps


def load(process, maker=None, **words):
    return lambda actor: cell.load(process.store, process.asked("k", maker or Maker("k"), **words))


def load_many(process):
    def steps(actor):
        maker = Maker("k")
        got = yield from batch.load_many(process.store, [process.asked("k", maker)])
        return got["k"].value
    return steps


def delete(process):
    return lambda version: changes.delete_many(process.store, [process.asked("k")])


def put(process, **words):
    return lambda version: changes.put_many(process.store, [(process.asked("k", **words), version)])


def invalidate(process, *tags):
    return lambda version: changes.invalidate_tags(process.store, tags)


def fence(process, owner, ends):
    return lambda version: changes.fence(process.store, [process.asked("k")], owner, 30_000, ends=ends)


def two(world):
    return Process(world, "p"), Process(world, "q")


# ------------------------------------------------------------------ what is right

def readers_and_a_writer(world):
    p, q = two(world)
    world.asks("reader", p, load(p))
    world.asks("other", q, load(q))
    world.changes_key("writer", q, "commit", delete(q))


def reader_and_two_writers(world):
    p, q = two(world)
    world.asks("reader", p, load(p), times=2)
    world.changes_key("writer", p, "commit", delete(p))
    world.changes_key("other", q, "commit", delete(q))


def readers_of_what_is_there(world):
    p, q = two(world)
    put_now(world, p)
    world.asks("getter", p, get(p), times=2)
    world.asks("loader", q, load(q))
    world.changes_key("writer", p, "commit", delete(p))


def batch_and_a_writer(world):
    p, q = two(world)
    world.asks("batch", p, load_many(p))
    world.asks("single", q, load(q))
    world.changes_key("writer", q, "commit", delete(q))


def value_that_expires(world):
    p, q = two(world)
    put_now(world, p)
    world.asks("reader", p, load(p))
    world.asks("other", q, get(q))
    world.changes_key("writer", q, "commit", delete(q))
    world.happens("time", lambda: passes(world, TTL_S + 1))


def lease_that_ends_before_its_load(world):
    p, q = two(world)
    world.asks("slow", p, load(p))
    world.asks("other", q, load(q))
    world.changes_key("writer", q, "commit", delete(q))
    world.happens("time", lambda: passes(world, LEASE_S + 1))


def cell_that_is_evicted(world):
    p, q = two(world)
    world.asks("reader", p, load(p))
    world.asks("other", q, load(q))
    world.changes_key("writer", q, "commit", delete(q))
    world.happens("eviction", lambda: evict(world, "a"))


def holder_that_crashes(world):
    p, q = two(world)
    holder = world.asks("holder", p, load(p))
    world.asks("other", q, load(q))
    world.changes_key("writer", q, "commit", delete(q))
    world.happens("crash", lambda: world.crash(holder))


def stale_value_that_is_renewed(world):
    p, q = two(world)
    put_now(world, p)
    passes(world, TTL_S + 1)
    world.asks("reader", p, load(p))
    world.asks("other", q, load(q))
    world.changes_key("writer", q, "commit", delete(q))


def tag_that_is_invalidated(world):
    p, q = two(world)
    world.asks("reader", p, load(p, tags=("t",)))
    world.asks("other", q, get(q))
    world.changes_key("writer", q, "commit", invalidate(q, "t"))


def tag_that_the_factory_names(world):
    p, q = two(world)
    world.asks("reader", p, load(p, Maker("k", ("t",))))
    world.asks("getter", q, get(q))
    world.changes_key("writer", q, "commit", invalidate(q, "t"))


def clear_in_one_process(world):
    p = Process(world, "p")
    world.asks("reader", p, load(p))
    world.asks("getter", p, get(p))
    world.changes_key("writer", p, "commit", lambda version: changes.clear(p.store))


def value_that_is_touched(world):
    p, q = two(world)
    put_now(world, p)
    world.changes_key("toucher", p, lambda version: changes.touch(p.store, p.asked("k")), key="other")
    world.asks("getter", q, get(q), times=2)
    world.changes_key("writer", q, "commit", delete(q))


def writer_who_sets(world):
    p, q = two(world)
    world.asks("reader", p, load(p))
    world.asks("getter", q, get(q), times=2)
    world.changes_key("writer", q, "commit", put(q))


def fence_of_two_writers(world):
    p, q = two(world)
    world.asks("reader", p, load(p), times=2)
    world.changes_key("ann", p, fence(p, ANN, False), "commit", fence(p, ANN, True))
    world.changes_key("ben", q, fence(q, BEN, False), "commit", fence(q, BEN, True))


def fence_of_a_writer_that_crashes(world):
    """The change is known with its commit: whoever asks later must not be answered with what was there before."""
    p, q = two(world)
    put_now(world, p)

    def committed(version):
        world.changed.append(world.known("k", world.versions["k"], q))
        return iter(())

    world.asks("reader", p, load(p), times=2)
    writer = world.changes_key("writer", q, fence(q, ANN, False), "commit", committed, fence(q, ANN, True))
    world.happens("crash", lambda: world.crash(writer))


RIGHT = [readers_and_a_writer, reader_and_two_writers, readers_of_what_is_there, batch_and_a_writer, value_that_expires,
         lease_that_ends_before_its_load, cell_that_is_evicted, holder_that_crashes, stale_value_that_is_renewed,
         tag_that_is_invalidated, tag_that_the_factory_names, clear_in_one_process, value_that_is_touched,
         writer_who_sets, fence_of_two_writers, fence_of_a_writer_that_crashes]


def put_now(world, process):
    """A value lies there, from before anybody asks."""
    world.at_once(process, changes.put_many(process.store, [(process.asked("k"), 1)]))


def passes(world, seconds):
    world.now += seconds


def evict(world, node):
    world.nodes[node]._cells.entries.pop(world.wire("k"), None)


class One(World):
    """What is between one key and one node needs no others."""

    names = ("a",)


class Two(World):
    """An owner, and the next."""

    names = ("a", "b")


class Renewing(One):
    fresh = Freshness(ttl=TTL_S, stale_while_revalidate=TTL_S)


SMALL = [reader_and_two_writers, value_that_expires, lease_that_ends_before_its_load, cell_that_is_evicted,
         holder_that_crashes, fence_of_two_writers, fence_of_a_writer_that_crashes]


def world_of(scenario):
    return Renewing if scenario is stale_value_that_is_renewed else One if scenario in SMALL else World


@pytest.mark.parametrize("scenario", RIGHT, ids=lambda scenario: scenario.__name__)
def test_read_that_starts_after_a_change_never_yields_older_data(scenario):
    explore(scenario, world_of(scenario))


# ------------------------------------------------------------------ nodes that fail

def node_that_comes_back_with_what_it_had(world):
    p, q = two(world)
    put_now(world, p)
    node = world.nodes["a"]
    world.asks("reader", p, get(p), times=2)
    world.changes_key("writer", q, "commit", delete(q))
    world.happens("fault", lambda: setattr(node, "is_down", True), lambda: setattr(node, "is_down", False))
    world.looks_after(q)


def node_that_is_taken_in_by_who_knows_nothing(world):
    """The reader's own prober finds what the writer noted."""
    p, q = two(world)
    put_now(world, p)
    node = world.nodes["a"]
    node.is_down = True
    world.at_once(p, cell.get(p.store, p.asked("k")))
    world.asks("reader", p, get(p), times=2)
    world.changes_key("writer", q, "commit", delete(q))
    world.happens("heals", lambda: setattr(node, "is_down", False))
    world.looks_after(p)


def node_that_does_it_and_says_nothing(world):
    p, q = two(world)
    node, world.loses = world.nodes["a"], True
    world.asks("reader", p, load(p))
    world.changes_key("writer", q, "commit", delete(q))
    world.happens("fault", lambda: setattr(node, "is_deaf", True), lambda: setattr(node, "is_deaf", False))
    world.looks_after(q)


def tag_node_that_misses_an_invalidation(world):
    p, q = two(world)
    world.at_once(p, changes.put_many(p.store, [(p.asked("k", tags=("t",)), 1)]))
    node = world.nodes["b"]
    world.asks("reader", p, get(p), times=2)
    world.changes_key("writer", q, "commit", invalidate(q, "t"))
    node.is_down = True
    world.at_once(p, tagging.versions(p.tier, ("t",)))
    world.happens("heals", lambda: setattr(node, "is_down", False))
    world.looks_after(p)


def load_on_the_next_node(world):
    """The node heals while the load runs elsewhere, and the writer takes it in."""
    p, q = two(world)
    node, world.loses = world.nodes["a"], True
    node.is_down = True
    for process in (p, q):
        world.at_once(process, cell.get(process.store, process.asked("k")))
    world.asks("reader", p, load(p))
    world.changes_key("writer", q, "commit", delete(q))
    world.asks("late", q, get(q))
    world.happens("heals", lambda: setattr(node, "is_down", False))


def every_node_down(world):
    p, q = two(world)
    for node in world.nodes.values():
        node.is_down = True
    world.asks("reader", p, load(p))
    world.asks("other", q, get(q))
    world.changes_key("writer", q, "commit", delete(q))


FAULTS = [node_that_comes_back_with_what_it_had, node_that_is_taken_in_by_who_knows_nothing,
          node_that_does_it_and_says_nothing, tag_node_that_misses_an_invalidation,
          load_on_the_next_node, every_node_down]


@pytest.mark.parametrize("scenario", FAULTS, ids=lambda scenario: scenario.__name__)
def test_what_a_node_missed_is_never_read_from_it_once_it_was_taken_in(scenario):
    explore(scenario, Two)


# ------------------------------------------------------------------ one flight for the crowd of a process

class Ordered(One):
    """An answer says as of when it holds: it matters who had asked by then."""

    def mood(self):
        return tuple(min(actor.stepped, 2) for actor in self.actors)


def joins(process, name, obeys):
    """What `Cluster._fly` does, over a flight that others of the process join. obeys: whether a joiner looks at how new
    the answer is."""
    def steps(actor):
        started = process.store.stopwatch()
        while True:
            flight = process.flights.get("k")
            if flight is None:
                flight = process.flights["k"] = []
                try:
                    got = yield from cell.load(process.store, process.asked("k", Maker("k")), cell.Seen(cell.NOTHING))
                finally:
                    del process.flights["k"]
                flight.append(got)
                process.world.changes += 1
                return got
            while not flight:
                yield PAUSE, 0.01
            if flight[0].as_of >= started or not obeys:
                return flight[0]
    return steps


def crowd(obeys):
    def scenario(world):
        p, q = two(world)
        world.asks("leader", p, joins(p, "leader", obeys))
        world.asks("joiner", p, joins(p, "joiner", obeys))
        world.changes_key("writer", q, "commit", lambda version: (yield from only(q, "delete", "a")))
    return scenario


def only(process, verb, node):
    yield NODE, (node, verb, ([process.tier.wire("k")],))


def test_crowd_of_a_process_takes_nothing_that_another_process_invalidated():
    explore(crowd(True), Ordered)


def test_crowd_that_does_not_ask_how_new_an_answer_is_is_caught():
    with pytest.raises(Broken, match="joiner asked"):
        explore(crowd(False), Ordered)


# ------------------------------------------------------------------ what is wrong, and must be caught

def read(process, node="a"):
    answer = yield NODE, (node, "read", ([process.tier.wire("k")],))
    found = answer[1][0]
    return process.store.unseal(node, process.asked("k"), found.body) if found.kind is HIT else None


def store(process, version, verb="put", token=None, ttl=60_000, node="a"):
    asked = process.asked("k")
    words = process.store.lifetime(None, version, ())
    body, _ = process.store.seal(node, asked, version, words, (), 0.0, process.tier.epoch(node))
    rest = (body, ttl) if token is None else (token, body, ttl)
    return (yield NODE, (node, verb, (asked.wire, *rest)))


def make(process):
    made = [type("Load", (), {"context": None})()]
    return (yield CALL, (Maker("k"), made))[0]


def naive(process):
    """Read; on a miss load and set."""
    def steps(actor):
        entry = yield from read(process)
        if entry is not None:
            return entry.value
        version = yield from make(process)
        yield from store(process, version)
        return version
    return steps


def naive_and(process, *order):
    def scenario(world):
        p, q = two(world)
        world.asks("reader", p, naive(p))
        world.asks("late", q, naive(q))
        world.changes_key("writer", q, *[one if one == "commit" else delete(q) for one in order])
    return scenario


def naive_set_after_read(world):
    naive_and(None, "commit", "delete")(world)


def delete_before_the_commit(world):
    p, q = two(world)
    world.asks("reader", p, load(p), times=2)
    world.changes_key("writer", q, delete(q), "commit")


def double_delete(world):
    naive_and(None, "delete", "commit", "delete")(world)


def unconditional_write_through(world):
    p, q = two(world)
    world.asks("reader", p, get(p))
    world.changes_key("writer", p, "commit", put(p))
    world.changes_key("other", q, "commit", put(q))


def lock_without_a_fence(world):
    """Who has the lock loads and sets; the lock is a key of its own, which no invalidation touches."""
    def locked(process):
        def steps(actor):
            entry = yield from read(process)
            if entry is not None:
                return entry.value
            answer = yield NODE, ("a", "lease", ("n:1:slock", 60_000))
            version = yield from make(process)
            if answer[0] is YOURS:
                yield from store(process, version)
                yield NODE, ("a", "release", ("n:1:slock", answer[1]))
            return version
        return steps
    p, q = two(world)
    world.asks("reader", p, locked(p))
    world.asks("late", q, locked(q))
    world.changes_key("writer", q, "commit", delete(q))


def versions_compared(process, tombstone):
    """Set only what is newer than what is there, in one step; a delete leaves a tombstone, or nothing."""
    node = process.world.nodes["a"]

    def newer(key, version, is_dead=False):
        there = node._notes.peek("version")
        if there is None or version > there[0]:
            node._notes.set("version", (version, is_dead), 1e6)
        return OK, None
        yield

    node.newer = newer

    def steps(actor):
        there = node._notes.peek("version")
        yield NODE, ("a", "read", (["n:1:sx"],))
        there = node._notes.peek("version")
        actor.hear(there)
        if there is not None and not there[1]:
            return there[0]
        version = yield from make(process)
        yield NODE, ("a", "newer", ("k", version))
        return version

    def remove(version):
        if tombstone:
            yield NODE, ("a", "newer", ("k", version, True))
        else:
            node.remove = lambda: drop()
            yield NODE, ("a", "remove", ())

    def drop():
        node._notes.delete("version")
        return OK, None
        yield

    return steps, remove


def version_compared_without_a_tombstone(world):
    p, q = two(world)
    steps, remove = versions_compared(p, False)
    world.asks("reader", p, steps)
    world.asks("late", q, steps)
    world.changes_key("writer", q, "commit", remove)


def tombstone_that_is_evicted(world):
    p, q = two(world)
    steps, remove = versions_compared(p, True)
    world.asks("reader", p, steps)
    world.asks("late", q, steps)
    world.changes_key("writer", q, "commit", remove)
    world.happens("eviction", lambda: world.nodes["a"]._notes.entries.pop("version", None))


def near_cache(process, near, placeholder):
    """A dict in front; what is read from the shared tier goes into it: with a placeholder, only if that is there yet."""
    def steps(actor):
        yield NODE, ("a", "probe", ())
        actor.hear(near.get("k"))
        if type(near.get("k")) is int:
            return near["k"]
        mine = near["k"] = (actor.name,) if placeholder else None
        got = yield from cell.load(process.store, process.asked("k", Maker("k")), cell.Seen(cell.NOTHING))
        if not placeholder or near.get("k") is mine:
            near["k"] = got.value
        process.world.changes += 1
        return got.value
    return steps


def near_and(order, placeholder):
    """The bus is heard in the step in which it is published."""
    def scenario(world):
        p, q = two(world)
        near = world.near
        if order[0] == "publish":
            put_now(world, p)

        def publish(version):
            world.nodes["a"].publish = lambda: hear()
            yield NODE, ("a", "publish", ())

        def hear():
            near.pop("k", None)
            return OK, None
            yield

        world.asks("reader", p, near_cache(p, near, placeholder))
        world.asks("late", p, near_cache(p, near, placeholder))
        world.changes_key("writer", q, "commit", *[publish if one == "publish" else delete(q) for one in order])
    return scenario


def near_fill_without_a_placeholder(world):
    near_and(("delete", "publish"), False)(world)


def publish_before_delete(world):
    near_and(("publish", "delete"), True)(world)


def fence_without_owners(world):
    """Ann's end takes Ben's fence away too; Ben dies between his commit and his end."""
    p, q = two(world)

    def committed(version):
        world.changed.append(world.known("k", version or world.versions["k"], q))
        return iter(())

    world.asks("reader", p, load(p), times=2)
    world.changes_key("ann", p, fence(p, ANN, False), "commit", fence(p, ANN, True))
    ben = world.changes_key("ben", q, fence(q, ANN, False), "commit", committed, fence(q, ANN, True))
    world.happens("crash", lambda: world.crash(ben))


WRONG = [naive_set_after_read, delete_before_the_commit, double_delete, unconditional_write_through, lock_without_a_fence,
         version_compared_without_a_tombstone, tombstone_that_is_evicted, near_fill_without_a_placeholder,
         publish_before_delete, fence_without_owners]


@pytest.mark.parametrize("scenario", WRONG, ids=lambda scenario: scenario.__name__)
def test_protocol_that_is_wrong_is_caught(scenario):
    with pytest.raises(Broken, match="asked after version"):
        explore(scenario, One)


def test_near_cache_with_a_placeholder_that_is_told_after_the_delete_is_right():
    explore(near_and(("delete", "publish"), True), One)


# ------------------------------------------------------------------ our own protocol, with one part taken out

def fills_whatever_is_there(patch):
    def fill(self, key, token, body, ttl_ms):
        return self._put(key, body, ttl_ms)
    patch.setattr("samovar.cluster.local.LocalNode._fill", fill)


def epoch_is_asked_when_the_load_is_over(patch):
    seal = cell.Store.seal
    patch.setattr(cell.Store, "seal", lambda self, node, asked, value, words, pairs, cost_s, epoch:
                  seal(self, node, asked, value, words, pairs, cost_s, self.tier.epoch(node)))


def tags_are_counted_when_the_load_is_over(patch):
    def pairs_of(tier, tags, before, marked):
        now = yield from tagging.versions(tier, tags)
        return [pair for tag in tags for pair in now[tag]]
    patch.setattr(cell.tagging, "pairs_of", pairs_of)


def quick_way_takes_any_epoch(patch):
    patch.setattr(Sealer, "plain", lambda self, name, payload, epoch, wall: opened(self, name, payload, wall))


def quick_way_takes_any_tag(patch):
    patch.setattr(Sealer, "plain", lambda self, name, payload, epoch, wall: opened(self, name, payload, wall, epoch))


def opened(sealer, name, payload, wall, epoch=None):
    """A value that is fresh, whatever else there is to say about it."""
    one = sealer.open(name, payload)
    is_fresh = type(one) is Envelope and wall - one.created < one.soft_s
    return one.value if is_fresh and (not one.tags if epoch is None else one.epoch == epoch) else MISSING


def node_is_taken_in_without_being_told(patch):
    def tell(tier, node, missed):
        return True
        yield
    patch.setattr(admission, "_tell", tell)


def nobody_notes_what_a_node_missed(patch):
    def noted(tier, node):
        return admission.Missed()
        yield
    patch.setattr(admission, "_noted", noted)


def only_the_owner_is_told(patch):
    patch.setattr(Tier, "targets", lambda self, owners: list(owners[:1]))


def right_is_kept_when_the_factory_fails(patch):
    def let_go(store, asked, right):
        return False
        yield
    patch.setattr(cell, "let_go", let_go)


class Fails(Maker):
    pass


def factory_that_fails(world):
    p, q = two(world)

    def steps(actor):
        try:
            return (yield from cell.load(p.store, p.asked("k", Fails("k"))))
        except ZeroDivisionError:
            return Got(MISSING)

    world.failing = Fails
    world.asks("unlucky", p, steps)


PARTS = [(fills_whatever_is_there, readers_and_a_writer), (epoch_is_asked_when_the_load_is_over, clear_in_one_process),
         (quick_way_takes_any_epoch, clear_in_one_process), (quick_way_takes_any_tag, tag_that_is_invalidated),
         (tags_are_counted_when_the_load_is_over, tag_that_is_invalidated),
         (tags_are_counted_when_the_load_is_over, tag_that_the_factory_names),
         (node_is_taken_in_without_being_told, node_that_comes_back_with_what_it_had),
         (nobody_notes_what_a_node_missed, node_that_is_taken_in_by_who_knows_nothing),
         (nobody_notes_what_a_node_missed, tag_node_that_misses_an_invalidation),
         (right_is_kept_when_the_factory_fails, factory_that_fails)]


@pytest.mark.parametrize("without, scenario", PARTS, ids=lambda one: one.__name__)
def test_protocol_without_one_of_its_parts_is_caught(monkeypatch, without, scenario):
    without(monkeypatch)
    with pytest.raises(Broken):
        explore(scenario, Two)


def test_factory_that_fails_leaves_no_right_behind():
    explore(factory_that_fails)

