"""Loaders, readers, writers, invalidators, time and eviction in every order, over the real protocol.

First the promises, scenario by scenario; then protocols and cores that are broken on purpose, each of which must be
caught. A scenario is small on purpose: what two or three actors can do to each other, a thousand can.
"""

import functools

import pytest

from samovar._base.flight import Flight
from samovar._base.freshness import Freshness
from samovar._base.missing import MISSING
from samovar.app import protocol
from samovar.app.protocol import ALONE, AGAIN, ERROR, PASS, VALUE, Ask
from scheduler import Broken, Paired, Stored, World, explore
from twins.cache import FOLLOW, LEAD, CacheCore

pytestmark = pytest.mark.slow  # minutes of processor, and the same on every Python

STALE = Freshness(ttl=10, stale_while_revalidate=5)
ON_ERROR = Freshness(ttl=10, stale_if_error=5)
BOTH = pytest.mark.parametrize("inline", [False, True], ids=["tasks", "threads"])


def write(key):
    def act(world):
        world.versions[key] += 1
    return act


def call(verb, *args):
    return lambda world: getattr(world.core, verb)(*args)


def tick(seconds):
    def act(world):
        world.clock.now += seconds
    return act


def writer(world, key, *end, name="writer"):
    """Change the database, then make the cache's copy wrong."""
    return world.acts(name, write(key), call(*end))


def only_once(world):
    if world.loads != 1:
        raise Broken(f"{world.loads} loads")


def all_answered(world):
    wrong = {who: answer for who, answer in world.answers.items() if answer[0] not in (VALUE, ERROR)}
    if wrong:
        raise Broken(f"no answer: {wrong}")


def every(scenario, at_end=None, **words):
    """Try every order; more than a few states, or the scenario proves nothing."""
    states = explore(scenario, functools.partial(World, **words), at_end=at_end)
    assert states > 20
    return states


# ------------------------------------------------------------------ scenarios

def crowd(world):
    for number in range(3):
        world.asks(f"loader{number}", "a")


def pair(world):
    world.asks("first", "a")
    world.asks("second", "a")


def delete(world):
    world.asks("first", "a", times=2)
    world.asks("second", "a")
    writer(world, "a", "delete", "a")


def clear(world):
    world.asks("first", "a", times=2)
    world.asks("second", "a")
    writer(world, "a", "clear")


def tags(world):
    world.tags["a"] = ("t",)
    world.asks("first", "a", times=2)
    world.asks("second", "a")
    writer(world, "a", "_invalidate_tags", ("t",), False)


def tags_twice(world):
    world.tags["a"] = ("t",)
    world.asks("first", "a")
    world.asks("second", "a")
    world.acts("writer", write("a"), call("_invalidate_tags", ("t",), False), write("a"),
               call("_invalidate_tags", ("t",), False))


def put(world):
    world.asks("first", "a", times=2)
    world.asks("second", "a")
    world.acts("writer", write("a"), lambda world: world.put("a"))


def failing(world):
    world.failing.add("a")
    world.asks("first", "a")
    world.asks("second", "a")
    world.acts("repair", lambda world: world.failing.discard("a"), call("delete", "a"))


def refresh(world):
    stored(world, "a")
    world.asks("first", "a", how="anew")
    world.asks("second", "a")
    writer(world, "a", "delete", "a")


def soft(world):
    world.tags["a"] = ("t",)
    world.asks("first", "a")
    world.asks("second", "a", times=2)
    world.acts("writer", write("a"), call("_invalidate_tags", ("t",), True))


def expire(world):
    world.asks("first", "a", times=2)
    world.asks("second", "a")
    world.acts("writer", write("a"), call("expire", "a"))


def eviction(world):
    world.asks("first", "a", times=2)
    world.asks("second", "b")


def stored(world, *keys):
    """What is stored before the story begins."""
    world.add("before", iter(()))
    world.acting = world.actors[-1]
    for key in keys:
        world.put(key)
    world.step += 1


def stale(world):
    stored(world, "a")
    world.clock.now += 12
    world.asks("first", "a")
    world.asks("second", "a")
    writer(world, "a", "delete", "a")


def aging(world):
    stored(world, "a")
    world.clock.now += 8
    world.asks("first", "a", times=2)
    world.asks("second", "a")
    world.acts("time", tick(4), tick(4))


def stale_on_error(world):
    stored(world, "a")
    world.clock.now += 12
    world.failing.add("a")
    world.asks("first", "a")
    world.asks("second", "a")
    world.acts("time", tick(4))


def early(world):
    stored(world)
    load = protocol.join(Ask(world.core), "a")
    value = Stored("a", 0, 0, 0)
    world.core._settle(load.number, load.flight, value, None, None, None, 1.0)  # it took a second
    load.flight.land(value)
    world.clock.now += 9
    world.asks("first", "a", gap=2.0)
    world.asks("second", "a", gap=2.0)
    writer(world, "a", "delete", "a")


def overlapping(world):
    world.asks("first", "a", "b", how="many")
    world.asks("second", "b", "a", how="many")


def batch_and_single(world):
    world.tags["b"] = ("t",)
    world.asks("first", "a", "b", how="many")
    world.asks("second", "b")
    world.acts("writer", call("_invalidate_tags", ("t",), False))


def circle(world):
    world.nested.update(a="b", b="a")
    world.asks("first", "a")
    world.asks("second", "b")


def impatient(world):
    world.asks("first", "a", hard_s=0.0)
    world.asks("second", "a")
    writer(world, "a", "delete", "a")


def impatient_for_stale(world):
    stored(world, "a")
    world.clock.now += 12
    world.asks("first", "a", soft_s=0.0)
    world.asks("second", "a", soft_s=0.0)
    world.acts("writer", call("delete", "a"))


# ------------------------------------------------------------------ promises

@BOTH
def test_crowd_is_served_by_one_load_in_every_order(inline):
    every(crowd, only_once, inline=inline)


@BOTH
@pytest.mark.parametrize("scenario", [delete, clear, tags, tags_twice, put, refresh, eviction],
                         ids=lambda scenario: scenario.__name__)
def test_what_was_read_before_it_became_wrong_is_neither_stored_nor_served_later(scenario, inline):
    every(scenario, all_answered, inline=inline, maxsize=1 if scenario is eviction else None)


@BOTH
def test_failure_ends_every_wait(inline):
    every(failing, all_answered, inline=inline)


@BOTH
@pytest.mark.parametrize("fresh", [STALE, ON_ERROR, Freshness(ttl=10)], ids=["stale", "on_error", "plain"])
@pytest.mark.parametrize("scenario", [soft, expire, stale, aging, stale_on_error, early],
                         ids=lambda scenario: scenario.__name__)
def test_stale_is_served_within_its_window_only(scenario, fresh, inline):
    every(scenario, all_answered, inline=inline, fresh=fresh)


@pytest.mark.parametrize("scenario", [stale, early], ids=["stale", "early"])
def test_renewal_that_is_refused_ends_its_load(scenario):
    every(scenario, all_answered, fresh=STALE, full=True)


def test_stale_serves_everybody_at_once_and_one_renews():
    def served(world):
        old = [answer for answer in world.answers.values() if answer[1].version == 0]
        if len(old) < 2 or world.loads > 1:
            raise Broken(f"{world.answers}")

    def scenario(world):
        stored(world, "a")
        world.clock.now += 12
        world.asks("first", "a")
        world.asks("second", "a")

    every(scenario, served, fresh=STALE)


@BOTH
@pytest.mark.parametrize("scenario", [overlapping, batch_and_single], ids=lambda scenario: scenario.__name__)
def test_batches_that_overlap_never_wait_for_each_other(scenario, inline):
    def complete(world):
        for answer in world.answers.values():
            if isinstance(answer[0], dict) and (answer[1] or MISSING in answer[0].values()):
                raise Broken(f"no answer: {answer}")

    every(scenario, complete, inline=inline)


@BOTH
def test_circle_is_broken_by_computing(inline):
    def computed(world):
        if not all(answer[0] in (VALUE, ALONE) for answer in world.answers.values()):
            raise Broken(f"{world.answers}")

    every(circle, computed, inline=inline)


@pytest.mark.parametrize("scenario", [impatient, impatient_for_stale], ids=["hard", "soft"])
def test_waiter_that_gives_up_leaves_the_load_to_the_others(scenario):
    gave_up = []

    class Patience(World):
        def ask(self, actor, *words):
            try:
                return (yield from super().ask(actor, *words))
            except protocol.LoadTimeout as error:
                gave_up.append(error)
                return AGAIN, None

    states = explore(scenario, functools.partial(Patience, fresh=ON_ERROR))
    assert states > 100
    assert bool(gave_up) is (scenario is impatient)


@pytest.mark.parametrize("fresh", [None, STALE, ON_ERROR], ids=["plain", "stale", "on_error"])
@pytest.mark.parametrize("scenario", [pair, delete, clear, put, refresh, failing, soft, expire, stale, aging, early,
                                      stale_on_error, eviction, overlapping], ids=lambda scenario: scenario.__name__)
def test_native_core_keeps_the_promises_and_agrees_with_its_twin(scenario, fresh):
    if fresh is None and scenario in (stale, aging, early, stale_on_error):
        fresh = Freshness(ttl=10, early=1.0)
    every(scenario, fresh=fresh, inline=True, make_core=Paired, maxsize=1 if scenario is eviction else None)


@pytest.mark.parametrize("scenario", [tags, tags_twice, batch_and_single], ids=lambda scenario: scenario.__name__)
def test_native_core_fences_tags_off(scenario):
    every(scenario, make_core=Paired)


# ------------------------------------------------------------------ what is broken must be caught

def caught(scenario, words, match, at_end=None):
    with pytest.raises(Broken, match=match):
        every(scenario, at_end, **words)


class NoFence(CacheCore):
    def end(self, number):
        load = self.loads.pop(number, None)
        if load is not None and self.flying.get(load.key) is load:
            del self.flying[load.key]
        return load, load is not None


class NoRecheck(CacheCore):
    def _recheck(self, tags, begun, joined):
        return False


class TagsAtTheEnd(CacheCore):
    """The version of the tags is taken when the load ends, not when it begins."""

    def _settle(self, number, *rest):
        if number in self.loads:
            self.loads[number].stamp = self.tag_clock
        return super()._settle(number, *rest)


class TagsAtTheJoin(CacheCore):
    """A follower is told the stamp of the load instead of now."""

    def _join(self, *args):
        told = super()._join(*args)
        if told[0] == FOLLOW:
            told = *told[:5], next(load.stamp for load in self.loads.values() if load.number == told[1])
        return told


class ForgetsFences(CacheCore):
    """A deleted key's load is still joined."""

    def _pop(self, key):
        load = self.flying.get(key)
        value = super()._pop(key)
        if load is not None:
            self.flying[key] = load
        return value


class ClearForgetsLoads(CacheCore):
    def clear(self):
        flying = dict(self.flying)
        super().clear()
        self.flying.update(flying)


class ServesForEver(CacheCore):
    """What has expired is fresh until somebody sweeps."""

    def ends(self, entry):
        return super().ends(entry) + 3


class DeafFlight(Flight):
    """Ends without waking anybody."""

    __slots__ = ()

    def fail(self, error):
        self.waiters.clear()
        super().fail(error)


class OneWakes(Flight):
    """Wakes one of those who wait."""

    __slots__ = ()

    def land(self, value, tags=()):
        while len(self.waiters) > 1:
            self.waiters.popitem()
        super().land(value, tags)


def flies(kind):
    class Asking(Ask):
        __slots__ = ()

        def flight(self):
            return kind(self.core, self.loop, self.thread)

    return Asking


class NoWindow(Ask):
    """Serves the old value however old it is."""

    __slots__ = ()

    def __init__(self, *args, **words):
        super().__init__(*args, **words)
        self.swr = float("inf")


class NoErrorWindow(Ask):
    __slots__ = ()

    def __init__(self, *args, **words):
        super().__init__(*args, **words)
        self.sie = float("inf")


def look_then_lead(ask, key):
    """A join in two steps: look, and then act on what was seen."""
    if ask.core.peek(key, MISSING) is MISSING:
        yield PASS, None
        verdict = yield from protocol._wait(ask, protocol.lead(ask, key))
        return verdict
    yield PASS, None
    return (yield from protocol.one(ask, key))


def believes_the_first_join(ask, key):
    """A follower that takes whatever lands, and a waiter of an abandoned flight that takes None."""
    load = protocol.join(ask, key)
    if load.role == protocol.HIT:
        return VALUE, load.value
    if load.role == LEAD:
        yield from protocol._try(protocol.BEGIN, ask, [load])
    yield protocol.WAIT, (load.flight, None)
    return VALUE, load.flight.value


LONG = Freshness(ttl=10, stale_while_revalidate=100)  # what the store keeps
SHORT = Freshness(ttl=10, stale_while_revalidate=5)  # what the call allows


def short_window(world):
    """A call whose window is shorter than that for which the store keeps the old value."""
    stored(world, "a")
    world.clock.now += 12
    world.asks("first", "a", fresh=SHORT)
    world.acts("time", tick(4))


def short_error_window(world):
    stored(world, "a")
    world.clock.now += 12
    world.failing.add("a")
    world.asks("first", "a", fresh=ON_ERROR)
    world.acts("time", tick(4))


def elsewhere(*act, how="one", tagged=False, before=False):
    """One process asks, invalidates, and is offered what another has loaded."""
    def scenario(world):
        if tagged:
            world.tags["a"] = ("t",)
        if before:
            stored(world, "a")
            world.clock.now += 12
        world.asks("first", "a", how=how)
        world.asks("second", "a")
        world.acts("writer", write("a"), *act)
        world.loads_elsewhere("elsewhere", "a")
    return scenario


ELSEWHERE = {
    "delete": elsewhere(call("delete", "a")),
    "clear": elsewhere(call("clear")),
    "put": elsewhere(lambda world: world.put("a"), lambda world: world.put("b")),  # for which it is pushed out
    "tags": elsewhere(call("_invalidate_tags", ("t",), False), tagged=True),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_result_of_another_process_is_served_only_where_nothing_made_it_wrong(name):
    every(ELSEWHERE[name], all_answered, inline=True, lease=True, maxsize=1)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_hand_over_without_fences_is_caught(name):
    with pytest.raises(Broken, match="asked after|stored as it was before"):
        explore(ELSEWHERE[name], functools.partial(World, inline=True, lease=True, maxsize=1, fences=False))


def test_result_of_another_process_is_taken_in_some_order():
    """Else the promises above would be about nothing."""
    taken = []
    every(ELSEWHERE["delete"], lambda world: taken.append(world.loads == 0 and bool(world.answers)), inline=True, lease=True)
    assert any(taken)


@pytest.mark.parametrize("inline", [False, True], ids=["tasks", "threads"])
@pytest.mark.parametrize("scenario, words, match", [
    (delete, {"make_core": NoFence}, "stored as it was before|asked after|load was never"),
    (put, {"make_core": NoFence}, "stored as it was before|asked after"),
    (tags_twice, {"make_core": NoRecheck}, "asked after"),
    (tags, {"make_core": TagsAtTheEnd}, "asked after|stored as"),
    (tags, {"make_core": TagsAtTheJoin}, "asked after"),
    (delete, {"make_core": ForgetsFences}, "asked after|stored as"),
    (clear, {"make_core": ClearForgetsLoads}, "asked after|stored as"),
    (aging, {"make_core": ServesForEver, "fresh": Freshness(ttl=10)}, "s old"),
    (failing, {"ask": flies(DeafFlight)}, "nobody wakes"),
    (crowd, {"ask": flies(OneWakes)}, "nobody wakes"),
    (short_window, {"ask": NoWindow, "fresh": LONG}, "s old"),
    (short_error_window, {"ask": NoErrorWindow, "fresh": LONG}, "s old"),
    (pair, {"one": look_then_lead}, "2 loads"),
    (tags, {"one": believes_the_first_join}, "asked after"),
], ids=["no_fence_delete", "no_fence_put", "no_recheck", "tags_at_the_end", "tags_at_the_join", "joined_after_delete",
        "joined_after_clear", "served_after_expiry", "drop_forgets_waiters", "wakes_only_one", "window_ignored",
        "error_window_ignored", "join_in_two_steps", "follower_without_recheck"])
def test_broken_variant_is_caught(scenario, words, match, inline):
    caught(scenario, words | {"inline": inline}, match, only_once if scenario is pair else None)


def test_same_scenarios_hold_without_the_break():
    """What catches the broken must let the right one pass."""
    for scenario, words in [(short_window, {"fresh": LONG}), (short_error_window, {"fresh": LONG})]:
        explore(scenario, functools.partial(World, **words))
