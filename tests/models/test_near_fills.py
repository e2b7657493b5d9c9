"""Every interleaving of a near fill in one process with a change in another, DEL and PUBLISH apart, over the real code:
two `Cluster`s on shared nodes, one thread for each actor, of which one runs at a time; a schedule says which.

A step is one request to a node, one call of the factory, or one notice that arrives. The variants that are known to be
wrong are played too, and must be caught: a checker that finds nothing in them proves nothing about the others.
"""

import queue
import threading
from functools import partial

import pytest

from samovar import Cache
from samovar.cluster import Cluster, LocalNode, changes, notices
from samovar.cluster.driving import Blocking
from samovar.cluster.requests import ALL, CALL, NODE
from support import LIMIT


class Stage:
    """Hands the turn to one actor at a time. choices: who steps, as numbers into those who can; then always the first."""

    def __init__(self, choices):
        self.choices, self.made = list(choices), []
        self.back = queue.SimpleQueue()
        self.turns, self.ready = {}, {}
        self.errors = []
        self.is_fine = False

    def actor(self, name, job, may_step=lambda: True):
        self.turns[name] = threading.Semaphore(0)
        self.ready[name] = may_step

        def life():
            self.here.name = name
            try:
                self.turns[name].acquire()
                job()
            except BaseException as error:
                self.errors.append(error)
            finally:
                del self.ready[name]
                self.back.put(name)

        threading.Thread(target=life, daemon=True).start()

    here = threading.local()

    def step(self):
        """The running actor has come to the end of a step."""
        name = getattr(self.here, "name", None)
        if name is not None:
            self.back.put(name)
            assert self.turns[name].acquire(timeout=LIMIT)

    def play(self):
        while self.ready:
            can = [name for name, may_step in self.ready.items() if may_step()]
            assert can, "nobody can step"
            at = self.choices[len(self.made)] if len(self.made) < len(self.choices) else 0
            self.made.append((at, len(can)))
            self.turns[can[at]].release()
            self.back.get(timeout=LIMIT)
        if self.errors:
            raise self.errors[0]


class Stepped(Blocking):
    """The blocking driver, with each request a step of its own."""

    stage = None

    def perform(self, request, about):
        if self.stage is not None and request == ALL:
            return [self.perform(NODE, one) for one in about]
        if self.stage is not None and request in (NODE, CALL):
            self.stage.step()
        answer = super().perform(request, about)
        if self.stage is not None and self.stage.is_fine and request == NODE and about[1] == "read":
            self.stage.step()  # the answer is there, and nothing was done with it yet
        return answer


class World:
    """Two processes: one reads through its near cache, one writes; the bus between them delivers when its turn comes."""

    def __init__(self, stage, kind, preset, tags, how):
        self.stage, self.tags, self.how = stage, tags, how
        nodes = [LocalNode("a")] if tags else [LocalNode("a"), LocalNode("b")]  # a tag is counted on each: many steps
        self.heard = nodes[0].subscribe(["samovar:1:bus"])
        self.database = 1
        self.reader = kind(nodes, near=Cache(100), vnodes=4, bus=nodes[0])
        self.writer = kind(nodes, near=Cache(100), vnodes=4, bus=nodes[0])
        for cluster in (self.reader, self.writer):
            cluster._bus.wake = lambda: None  # no threads that listen: the schedule says what happens
            cluster._prober._live = lambda *args: None
            cluster.get("warm")
            cluster._keeper.stands = True
            cluster._driver.__class__ = Stepped
        if preset == "near":
            self.reader.get_or_set("key", lambda: 1, tags=tags)
        elif preset == "shared":
            self.writer.get_or_set("key", lambda: 1, tags=tags)
            self.writer.near.clear()
        self.heard.open()
        for cluster in (self.reader, self.writer):
            cluster._driver.stage = stage
        stage.is_fine = how in ("get", "many")  # few steps otherwise

    def read(self):
        self.stage.step()
        READS[self.how](self)

    def change(self, verb):
        self.stage.step()
        self.database = 2
        if verb == "tags":
            self.writer.invalidate_tags("tag")
        elif verb == "set":
            self.writer.set("key", 2)
        else:
            self.writer.delete("key")

    def has_notice(self):
        return not self.heard._told.empty()

    def deliver(self):
        self.reader._keeper.take(notices.read(self.heard.get(0.001).payload))

    def check(self):
        """All is over and all was told: nobody may read what was before."""
        while self.has_notice():
            self.deliver()
        found = self.reader.near.peek("key")
        assert found in (None, 2), f"the near cache keeps {found}"
        self.reader._driver.stage = None
        found = self.reader.get("key")
        assert found in (None, 2), f"the shared tier keeps {found}"


READS = {
    "one": lambda world: world.reader.get_or_set("key", lambda: world.database, tags=world.tags),
    "get": lambda world: world.reader.get("key"),
    "many": lambda world: world.reader.get_many(["key"]),
    "load many": lambda world: world.reader.get_or_set_many(
        ["key"], lambda keys: dict.fromkeys(keys, world.database), tags=world.tags),
}


def explore(kind, verb, preset="none", readers=1, how="one"):
    """Play every schedule; how many there were."""
    choices, played = [], 0
    while True:
        stage = Stage(choices)
        world = World(stage, kind, preset, ["tag"] if verb == "tags" else [], how)
        for number in range(readers):
            stage.actor(f"reader {number}", world.read)
        stage.actor("writer", partial(world.change, verb))
        stage.actor("bus", world.deliver, world.has_notice)
        stage.play()
        try:
            world.check()
        except AssertionError as error:
            raise AssertionError(f"{error}: schedule {[at for at, _ in stage.made]}") from None
        finally:
            world.reader._silence.detach()
            world.writer._silence.detach()
        played += 1
        made = stage.made
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return played
        choices = [at for at, _ in made[:-1]] + [made[-1][0] + 1]


class WithoutPlaceholder(Cluster):
    """Wrong: reads the shared tier, then writes into the near cache whatever happened meanwhile."""

    def get_or_set(self, key, factory, **how):
        value = self._near.get(key)
        if value is None:
            near, self._flights = self._near, Cache(1)
            try:
                value = super().get_or_set(key, factory, **how)
            finally:
                self._flights = near
            near.set(key, value, tags=how.get("tags", ()))
        return value


class TellsFirst(Cluster):
    """Wrong: tells the bus before the shared tier is changed."""

    def _changed(self, asks, change):
        keys = [asked.key for asked in asks]
        self._flights.delete_many(keys)
        self._told(keys=keys)
        try:
            return self._run(change)
        finally:
            self._flights.delete_many(keys)

    def invalidate_tags(self, *tags):
        self._told(tags=tags)
        self._run(changes.invalidate_tags(self._store, tags))


class TellsNobody(Cluster):
    """Wrong: no bus."""

    def _told(self, **what):
        self._driver.run(self._bus.tell(lambda name: True, keys=["other"]))


@pytest.mark.parametrize("preset", ["none", "shared", "near"])
@pytest.mark.parametrize("verb", ["delete", "set", "tags"])
def test_near_cache_keeps_nothing_old_in_any_interleaving(verb, preset):
    assert explore(Cluster, verb, preset) >= 10


@pytest.mark.parametrize("how, verb", [("get", "delete"), ("many", "delete"), ("many", "tags"), pytest.param(
    "load many", "delete", marks=pytest.mark.slow), pytest.param("load many", "tags", marks=pytest.mark.slow)])
def test_near_cache_keeps_nothing_old_of_other_reads(how, verb):
    assert explore(Cluster, verb, "shared" if how != "load many" else "none", how=how) >= 10


class WithoutFlight(Cluster):
    """Wrong: what many keys brought is written into the near cache, whatever happened meanwhile."""

    def _read_many(self, keys):
        near, self._near = self._near, None
        try:
            found = super()._read_many(keys)
        finally:
            self._near = near
        near.update(found)
        return found


@pytest.mark.parametrize("verb", ["delete", "set", "tags"])
def test_batch_that_fills_without_a_flight_is_caught(verb):
    with pytest.raises(AssertionError, match="near cache keeps 1"):
        explore(WithoutFlight, verb, "shared", how="many")


@pytest.mark.parametrize("kind", [WithoutPlaceholder, TellsFirst, TellsNobody], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("verb", ["delete", "set", "tags"])
def test_wrong_order_or_missing_placeholder_is_caught(kind, verb):
    with pytest.raises(AssertionError, match="near cache keeps 1"):
        for preset in ("near", "shared", "none"):
            explore(kind, verb, preset)
