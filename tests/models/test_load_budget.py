"""Loads within an origin's budget, in every order, over the real protocol: nobody calls without a place, no place is
lost, nobody waits for one who waits for him, and what is stale is served before anybody queues.
"""

import functools

import pytest

from samovar._base.errors import OriginBusy
from samovar._base.freshness import Freshness
from samovar.app import protocol, working
from samovar.app.protocol import ERROR, VALUE
from scheduler import Broken, Room, World, explore

pytestmark = pytest.mark.slow  # the same on every Python

BOTH = pytest.mark.parametrize("inline", [False, True], ids=["tasks", "threads"])
STALE = Freshness(ttl=10, stale_while_revalidate=5)
ON_ERROR = Freshness(ttl=10, stale_if_error=5)
PLAIN = Freshness(ttl=10)


def room(places=1, patient=True):
    return functools.partial(Room, places, patient)


def every(scenario, at_end=None, **words):
    states = explore(scenario, functools.partial(World, **words), at_end=at_end)
    assert states > 20
    return states


def values_only(world):
    wrong = {who: answer for who, answer in world.answers.items() if answer[0] != VALUE}
    if wrong:
        raise Broken(f"no value: {wrong}")


def values_or_busy(world):
    for who, (kind, thing) in world.answers.items():
        if kind != VALUE and not (kind == ERROR and isinstance(thing.error, OriginBusy)):
            raise Broken(f"{who} got {kind}, {thing}")


def two_keys(world):
    world.asks("first", "a")
    world.asks("second", "b")


def crowd(world):
    world.asks("first", "a")
    world.asks("second", "b")
    world.asks("third", "a")


def batch(world):
    world.asks("first", "a", "b", how="many")
    world.asks("second", "b")


def failing(world):
    world.failing.add("a")
    world.asks("first", "a")
    world.asks("second", "b")


def stored_and_aged(world, by):
    world.add("before", iter(()))
    world.acting = world.actors[-1]
    world.put("a")
    world.step += 1
    world.clock.now += by


def held(world):
    """Somebody else has the place for a while."""
    def steps(actor):
        place = yield from world.enter(actor, False)
        yield
        place.leave()
    world.advance(world.add("holder", steps))


def stale(world):
    """The place is taken; a is stale."""
    stored_and_aged(world, 12)
    held(world)
    world.asks("first", "a")
    world.asks("second", "a")


def stale_for_some(world):
    """One of two may not be served what is stale."""
    stored_and_aged(world, 12)
    held(world)
    world.asks("first", "a")
    world.asks("strict", "a", with_stale=False)


def nested(world):
    """The load of a asks for b, which another loads at this moment, or waits to load."""
    world.nested["a"] = "b"
    world.asks("outer", "a")
    world.asks("other", "b")


def crossed(world):
    world.nested["a"], world.nested["b"] = "b", "a"
    world.asks("first", "a")
    world.asks("second", "b")


@BOTH
@pytest.mark.parametrize("places", [1, 2])
@pytest.mark.parametrize("scenario", [two_keys, batch, failing, nested, crossed], ids=lambda scenario: scenario.__name__)
def test_loads_keep_within_the_places_and_give_them_back(scenario, places, inline):
    every(scenario, inline=inline, gate=room(places), fresh=PLAIN)


def test_crowd_keeps_within_the_places_and_gives_them_back():
    every(crowd, inline=True, gate=room(1), fresh=PLAIN)


@BOTH
@pytest.mark.parametrize("scenario", [two_keys, nested], ids=lambda scenario: scenario.__name__)
def test_who_gets_no_place_in_time_is_told_so_and_nothing_is_lost(scenario, inline):
    every(scenario, values_or_busy, inline=inline, gate=room(1, patient=False), fresh=PLAIN)


@BOTH
@pytest.mark.parametrize("fresh", [STALE, ON_ERROR], ids=["while_revalidate", "if_error"])
def test_stale_is_served_before_anybody_queues(fresh, inline):
    every(stale, values_only, inline=inline, gate=room(1), fresh=fresh)


@BOTH
@pytest.mark.parametrize("fresh", [STALE, ON_ERROR], ids=["while_revalidate", "if_error"])
def test_who_may_not_be_served_stale_asks_again_and_queues(fresh, inline):
    every(stale_for_some, values_only, inline=inline, gate=room(1), fresh=fresh)


def test_load_that_stays_in_its_place_is_caught(monkeypatch):
    monkeypatch.setattr(working, "_left", lambda permit, error: None)
    with pytest.raises(Broken, match="nobody wakes|places are free"):
        every(two_keys, gate=room(1), fresh=PLAIN, inline=True)


def test_load_without_a_place_is_caught(monkeypatch):
    class Blind(protocol.Ask):
        __slots__ = ()
        gate = property(lambda self: None, lambda self, gate: None)

    with pytest.raises(Broken, match="without a place"):
        every(two_keys, gate=room(1), fresh=PLAIN, inline=True, ask=Blind)


def test_nested_load_that_queues_behind_its_parent_is_caught(monkeypatch):
    """A gate that knows nothing of rides: the parent waits for a place that it holds itself."""
    monkeypatch.setattr(World, "seat", lambda self, actor, place: place)
    monkeypatch.setattr(World, "check_room", lambda self, actor: None)
    with pytest.raises(Broken, match="nobody wakes"):
        every(nested, gate=room(1), fresh=PLAIN, inline=True)
