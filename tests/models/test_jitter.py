"""Jitter at the public face: what is stored together does not expire together, whichever verb stored it, and no call
pays for the crowd that expires."""

import collections
import os

import pytest

from samovar import Cache, Freshness, ManualClock, cached, memoize
from support import run_async

pytestmark = pytest.mark.slow  # the same on every Python

TTL, MANY = 1000.0, 1_000_000


def ends(cache):
    """Seconds left of each entry's freshness."""
    return [entry[2] for entry in cache._entries()]


def largest_share(left):
    """Of all entries, the share in the fullest of the hundredths of the ttl."""
    bins = collections.Counter(int(one / TTL * 100 - 1e-9) for one in left)
    return max(bins.values()) / len(left)


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.5, 1.0])
def test_jitter_spreads_a_million_entries_that_were_set_together(jitter):
    clock = ManualClock()
    cache = Cache(maxsize=None, fresh=Freshness(ttl=TTL, jitter=jitter), clock=clock)
    cache.set_many((number, None) for number in range(MANY))
    step, gone, worst, before = TTL / 100, 0, 0, MANY
    for _ in range(100):
        clock.advance(step)
        now = len(cache)
        worst, gone, before = max(worst, before - now), gone + before - now, now
    assert gone == MANY and len(cache) == 0
    if jitter == 0:
        assert worst == MANY
    else:
        assert worst / MANY == pytest.approx(0.01 / jitter, rel=0.06)


def test_jitter_leaves_each_call_a_bounded_part_of_what_expires():
    clock, gone = ManualClock(), []
    cache = Cache(maxsize=None, fresh=Freshness(ttl=TTL, jitter=0.5), clock=clock,
                  on_remove=lambda key, value, cause: gone.append(cause))
    cache.set_many((number, None) for number in range(20_000))
    clock.advance(TTL)
    calls = most = 0
    while len(gone) < 20_000:
        before = len(gone)
        cache.set(-1, None) if calls % 2 else cache.get(calls)
        most, calls = max(most, len(gone) - before), calls + 1
        assert calls < 20_000, "what is past its time leaves"
    assert 0 < most <= 64 and set(gone) <= {"expired", "replaced"}


def store_with(verb, cache, key):
    if verb == "set":
        cache.set(key, 1)
    elif verb == "set ttl":
        cache.set(key, 1, ttl=TTL)
    elif verb == "setitem":
        cache[key] = 1
    elif verb == "update":
        cache.update({key: 1})
    elif verb == "set_many":
        cache.set_many({key: 1}, ttl=TTL)
    elif verb == "add":
        cache.add(key, 1)
    elif verb == "setdefault":
        cache.setdefault(key, 1)
    elif verb == "touch":
        cache.set(key, 1)
        cache.touch(key)
    elif verb == "get_or_set":
        cache.get_or_set(key, lambda: 1)
    elif verb == "get_or_set ttl":
        cache.get_or_set(key, lambda: 1, ttl=TTL)
    elif verb == "context":
        cache.get_or_set(key, lambda context: setattr(context, "ttl", TTL))
    elif verb == "aget_or_set":
        run_async(cache.aget_or_set(key, lambda: 1))
    elif verb == "get_or_set_many":
        cache.get_or_set_many([key], lambda keys: dict.fromkeys(keys, 1))
    elif verb == "refresh":
        cache.refresh(key, lambda: 1)
    elif verb == "warm":
        cache.warm([key], lambda key: 1, concurrency=1)
    elif verb == "cached":
        cached(cache, key=lambda key: key)(lambda key: 1)(key)
    else:
        raise AssertionError(verb)


VERBS = ["set", "set ttl", "setitem", "update", "set_many", "add", "setdefault", "touch", "get_or_set", "get_or_set ttl",
         "context", "aget_or_set", "get_or_set_many", "refresh", "warm", "cached"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("fresh", [Freshness(ttl=TTL, jitter=0.5),
                                   Freshness(ttl=TTL, jitter=0.5, tti=2 * TTL, early=1.0, stale_while_revalidate=TTL)],
                         ids=["plain", "full"])
def test_jitter_holds_for_every_verb_that_stores(verb, fresh):
    cache = Cache(fresh=fresh, clock=ManualClock())
    for key in range(150):
        store_with(verb, cache, key)
    left = ends(cache)
    assert len(left) == 150 and 0.5 * TTL < min(left) and max(left) <= TTL
    assert max(left) - min(left) > 0.4 * TTL and len(set(left)) > 140 and largest_share(left) < 0.12


@pytest.mark.parametrize("fresh", [Freshness(ttl=TTL, jitter=0.5), Freshness(ttl=TTL, jitter=0.5, stale_if_error=1)],
                         ids=["plain", "steered"])
def test_jitter_spreads_what_a_memo_remembers(fresh):
    clock, calls = ManualClock(), []
    memo = memoize(lambda number: calls.append(number), fresh=fresh, clock=clock, maxsize=None)
    for number in range(2000):
        memo(number)
    shares = []
    for _ in range(100):
        clock.advance(TTL / 100)
        before = sum(memo.cache_contains(number) for number in range(2000))
        shares.append(before)
    fallen = [earlier - later for earlier, later in zip([2000, *shares], shares)]
    assert max(fallen) / 2000 < 0.045 and sum(fallen[:49]) == 0 and shares[-1] == 0


def test_jitter_of_negative_results_holds_too():
    cache = Cache(fresh=Freshness(ttl=TTL, jitter=0.5, negative_ttl=10), clock=ManualClock())
    for key in range(200):
        cache.get_or_set(key, lambda: None)
    assert 5 < min(ends(cache)) and max(ends(cache)) <= 10 and len(set(ends(cache))) > 190


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_jitter_differs_in_the_children_of_a_process():
    cache = Cache(fresh=Freshness(ttl=TTL, jitter=1.0), clock=ManualClock())
    told = []
    for _ in range(3):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                cache["k"] = 1
                os.write(write, repr(ends(cache)[0]).encode())
            finally:
                os._exit(0)
        os.close(write)
        with open(read) as news:
            told.append(float(news.read()))
        os.waitpid(child, 0)
    assert len(set(told)) == 3
