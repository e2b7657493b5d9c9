"""A cache lets go of what it lets go of, and of itself; and its memory stays flat, whatever comes and goes."""

import gc
import sys
import weakref

import pytest

from samovar import _core
from samovar._base.clock import ManualClock
from samovar._base.freshness import Freshness
from support import collect, fresh_python
from test_leaks_memory import MEASURE

TTL = Freshness(ttl=10)


class Thing:
    """What can be weakly referred to."""


def core(maxsize=None, maxweight=None, weigher=None, fresh=None, clock=None, on_remove=None):
    return _core.CacheCore(maxsize, maxweight, weigher, "lru", fresh, clock, on_remove, False)


WAYS_OUT = {
    "delete": lambda cache, clock: cache.delete("a"), "pop": lambda cache, clock: cache._pop("a") and None,
    "popitem": lambda cache, clock: cache._popitem() and None, "clear": lambda cache, clock: cache.clear(),
    "replace": lambda cache, clock: cache.__setitem__("a", 1), "evict": lambda cache, clock: cache.__setitem__("b", 1),
    "expire": lambda cache, clock: cache.expire("a"), "tags": lambda cache, clock: cache._invalidate_tags(("t",), False),
    "time": lambda cache, clock: clock.advance(11) and cache.get("a"), "resize": lambda cache, clock: cache._resize(1, 1),
    "too heavy": lambda cache, clock: cache._put("a", 1, None, None, 100, False),
    "load": lambda cache, clock: cache._settle(cache._refresh_begin("a", "f", 1)[0], "f", 1, None, None, None, 0.0),
    "death": lambda cache, clock: None,
}


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_value_is_gone_when_it_left(way, told):
    clock, value, seen = ManualClock(), Thing(), []
    cache = core(1, 2, None, TTL, clock, (lambda key, value, cause: seen.append(cause)) if told else None)
    cache._put("a", value, None, ("t",), 2, False)
    alive = weakref.ref(value)
    del value
    gc.disable()
    try:
        WAYS_OUT[way](cache, clock)
        if way == "death":
            del cache
        assert alive() is None
    finally:
        gc.enable()
    assert len(seen) == (told and way != "death")


def test_keys_tags_and_flights_are_gone_when_they_left():
    key, flight, cache = Thing(), Thing(), core()
    alive = [weakref.ref(key), weakref.ref(flight)]
    number = cache._join(key, flight, 1, None, 0.0)[1]
    assert cache._join(key, flight, 2, None, 0.0)[2] is flight
    assert cache._settle(number, flight, 1, None, ("t",), None, 0.0)
    cache.delete(key)
    cache._drop(cache._join(key, flight, 1, None, 0.0)[1], flight, True)
    abandoned = cache._join(key, flight, 1, None, 0.0)[1]
    cache._abandon(abandoned, flight)
    cache._drop(abandoned, flight, False)
    del key, flight
    assert [one() for one in alive] == [None, None]


CYCLES = {
    "value": lambda cache, thing: cache.__setitem__("a", [cache, thing]),
    "key": lambda cache, thing: cache.__setitem__((cache, thing), 1),
    "itself": lambda cache, thing: (cache.__setitem__(cache, cache), cache.__setitem__("a", thing)),
    "flight": lambda cache, thing: cache._join("a", (cache, thing), 1, None, 0.0),
    "renewal": lambda cache, thing: (cache.__setitem__("a", 1), cache._refresh_begin("a", (cache, thing), 1)),
}


@pytest.mark.parametrize("way", CYCLES)
def test_a_circle_through_a_cache_is_collected(way):
    cache, thing = core(5, fresh=TTL), Thing()
    CYCLES[way](cache, thing)
    alive = weakref.ref(cache), weakref.ref(thing)
    del cache, thing
    collect()
    assert [one() for one in alive] == [None, None]


@pytest.mark.parametrize("place", ["weigher", "clock", "on_remove"])
def test_a_circle_through_what_a_cache_calls_is_collected(place):
    class Called(tuple):  # a tuple has no way to break a circle by itself
        def __call__(self, *args):
            return 1

    thing, box = Thing(), []
    cache = core(5, 5, **{place: Called((box, thing))})
    box = Called((cache,))
    alive = weakref.ref(cache), weakref.ref(thing)
    thing.cache, thing.box = cache, box
    cache["a"] = box
    del cache, thing, box
    collect()
    assert [one() for one in alive] == [None, None]


def test_garbage_is_not_told_to_on_remove():
    told = []
    cache = core(on_remove=lambda *one: told.append(one))
    cache["a"] = [cache]
    del cache
    collect()
    assert told == []


def test_what_verbs_return_is_counted_right():
    """Each verb a thousand times on the same few objects: their counts of references come back to where they were."""
    key, value, flight, tags = ("key", 1), Thing(), Thing(), ("tag 1", "tag 2")
    cache = core(3, 9, lambda key, value: 2, Freshness(ttl=50, stale_while_revalidate=50), ManualClock())

    def everything():
        cache._put(key, value, None, tags, None, False)
        cache._put(key, value, TTL, tags, 1, True)
        cache[key], cache.get(key), cache.peek(key), key in cache, cache.get_many([key])
        cache._touch(key, TTL), cache._put_many([(key, value)], TTL, tags)
        cache._snapshot(0), cache._snapshot(1), cache._snapshot(2), cache._restore(cache._entries()), list(cache)
        number = cache._refresh_begin(key, flight, 1)[0]
        cache._join(key, flight, 2, None, 0.0), cache.expire(key), cache._join(key, flight, 2, None, 0.0)
        cache._settle(number, flight, value, None, tags, None, 0.1)
        cache._invalidate_tags(tags, True), cache._join(key, flight, 2, None, 0.0), cache._invalidate_tags(tags, False)
        cache[key] = value
        cache._popitem()
        cache[key] = value
        cache._pop(key), cache._counts(), cache._latency("loads", (50.0,)), cache._curve((1, 2))
        cache._recheck(tags, 0, 1)
        for number in range(10):
            cache._drop(number, flight, False)
        cache.clear()

    def counts():
        return [sys.getrefcount(one) for one in (key, value, flight, tags, tags[0], cache, TTL, None.__class__)]

    everything()
    before = counts()
    for _ in range(1000):
        everything()
    assert counts() == before


WORK = {
    "expiring": """
clock = ManualClock()
cache = core(None, None, None, "lru", Freshness(ttl=10), clock, None, False)
def work():
    for n in range(200_000):
        cache[next(number)] = n
        if n % 100 == 0:
            clock.advance(1)
flat(work)
assert len(cache) < 2000
""",
    "expiring by its own clock": """
cache = core(None, None, None, "lru", Freshness(ttl=0.01), None, None, False)
def work():
    for n in range(200_000):
        cache[next(number)] = n
        cache.get(n)
    while len(cache):
        pass
before = resident()
sizes = [work() or resident() - before for _ in range(5)]
print("flat" if max(sizes) < 30_000_000 else sizes)  # how many live at once is the machine's; all would be 150 MB
""",
    "tags": """
cache = core(1000, None, None, "lru", None, None, None, False)
def work():
    for n in range(100_000):
        cache._put(n, n, None, (f"tag {next(number)}", "shared"), None, False)
        if n % 10 == 0:
            cache._invalidate_tags((f"unknown {next(number)}", f"tag {n}"), n % 20 == 0)
        if n % 1000 == 0:
            cache._invalidate_tags(("shared",), False)
flat(work)
""",
    "tags while a load runs for ever": """
cache = core(1000, None, None, "lru", None, None, None, False)
cache._join("for ever", "flight", 1, None, 0.0)
def work():
    for n in range(200_000):
        cache._invalidate_tags((f"tag {next(number)}",), False)
before = resident()
sizes = [work() or resident() - before for _ in range(5)]
print("flat" if max(sizes) < 20_000_000 else sizes)  # some ten thousand tags are remembered for that load
""",
    "on_remove": """
told = itertools.count()
cache = core(1000, 1500, lambda key, value: 1 + key % 3, "gdsf", Freshness(ttl=1e9), None, lambda *one: next(told), False)
def work():
    for n in range(100_000):
        cache[next(number)] = [n]
        cache[n % 50] = [n]
flat(work)
assert next(told) > 500_000
""",
    "loads": """
clock = ManualClock()
cache = core(500, None, None, "tinylfu", Freshness(ttl=5, stale_while_revalidate=5), clock, lambda *one: None, True)
def work():
    for n in range(60_000):
        key, flight = next(number) % 700, [n]
        role, load, *_ = cache._join(key, flight, 1, None, 0.0)
        if role == 1:
            if n % 7 == 0:
                cache._drop(load, flight, True)
            else:
                cache._settle(load, flight, [n], None, ("t", str(n % 100)), None, 0.01)
        if n % 50 == 0:
            clock.advance(1)
            cache._invalidate_tags((str(n % 100),), n % 100 == 0)
flat(work)
""",
    "clears and snapshots": """
cache = core(None, None, None, "lru", Freshness(ttl=1e9, stale_if_error=5), None, lambda *one: None, False)
def work():
    for _ in range(10):
        for n in range(10_000):
            cache._put(n, [n], None, ("t",), None, False)
        cache._entries(), cache._snapshot(2)
        cache.clear()
flat(work)
""",
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
@pytest.mark.parametrize("kind", WORK)
def test_memory_stays_flat_over_a_million_operations(kind):
    start = MEASURE + "from samovar._base.clock import ManualClock\nfrom samovar._base.freshness import Freshness\n" \
        "core = samovar._core.CacheCore\n"
    end = "\nassert samovar._core.check(cache)\n"
    assert fresh_python(start + WORK[kind] + end).split() == ["flat"]
