"""`Cache` and time: what expires, what a call's own ttl says, what may be served stale, and when that is over."""

from datetime import timedelta

import pytest

from samovar import Cache, ManualClock
from samovar._base.freshness import Freshness


@pytest.fixture
def clock():
    return ManualClock(100)


# ------------------------------------------------------------------ ttl

@pytest.mark.parametrize("ttl", [60, 60.0, "60", "1m", timedelta(minutes=1)])
def test_cache_ttl_takes_seconds_timedelta_and_text(ttl, clock):
    for cache in (Cache(ttl=ttl, clock=clock), Cache(fresh=Freshness(ttl=ttl), clock=clock)):
        cache["tea"] = "hot"
        clock.advance(59.999)
        assert cache["tea"] == "hot"
        clock.advance(0.001)
        assert "tea" not in cache and cache.get("tea") is None


def test_cache_never_shows_what_is_expired(clock):
    cache = Cache(ttl=10, clock=clock)
    cache.update(a=1, b=2)
    clock.advance(10)
    with pytest.raises(KeyError):
        cache["a"]
    with pytest.raises(KeyError):
        del cache["a"]
    with pytest.raises(KeyError):
        cache.popitem()
    assert (len(cache), list(cache), cache.peek("a"), cache.get_many("ab"), cache.pop("b", 0)) == (0, [], None, {}, 0)
    assert not cache.delete("a") and not cache.expire("a") and not cache.touch("a") and cache == {}
    assert cache.add("a", 3) and cache["a"] == 3


def test_cache_does_not_count_what_is_expired(clock):
    cache = Cache(ttl=10, maxweight=100, weigher=lambda key, value: value, clock=clock)
    cache.update(a=30, b=40)
    cache.set("c", 5, ttl=100)
    clock.advance(10)
    stats = cache.stats()
    assert (stats.currsize, stats.weight, stats.expired) == (1, 5, 2)


def test_cache_forgets_what_is_expired_before_what_is_fresh(clock):
    cache = Cache(2, eviction="lru", clock=clock)
    cache["old"] = 1
    cache.set("short", 2, ttl=5)
    clock.advance(5)
    cache["new"] = 3
    assert sorted(cache) == ["new", "old"] and cache.stats().evictions == 0


@pytest.mark.parametrize("store", [
    lambda cache, **how: cache.set("tea", 1, **how),
    lambda cache, **how: cache.add("tea", 1, **how),
    lambda cache, **how: cache.set_many({"tea": 1}, **how),
    lambda cache, **how: cache.get_or_set("tea", lambda: 1, **how),
])
def test_cache_ttl_of_a_call_beats_that_of_the_cache(store, clock):
    for how, lasts in [({}, 100), ({"ttl": 5}, 5), ({"ttl": "300s"}, 300), ({"fresh": Freshness(ttl=7)}, 7),
                       ({"ttl": timedelta(seconds=6), "fresh": Freshness(ttl=7)}, 6)]:
        cache = Cache(ttl=100, clock=clock)
        store(cache, **how)
        clock.advance(lasts - 0.5)
        assert "tea" in cache, how
        clock.advance(0.5)
        assert "tea" not in cache, how


def test_cache_ttl_of_a_call_leaves_the_other_words_of_the_cache(clock):
    cache = Cache(fresh=Freshness(ttl=100, negative_ttl=2), clock=clock)
    cache.set("tea", None, ttl=50)
    clock.advance(2)
    assert "tea" not in cache
    cache.set("tea", None, fresh=Freshness(ttl=50))
    clock.advance(49)
    assert "tea" in cache


def test_cache_remembers_nothing_for_less_time_than_something(clock):
    cache = Cache(fresh=Freshness(ttl="1h", negative_ttl="10s"), clock=clock)
    cache.update(there=1, nothing=None)
    clock.advance(10)
    assert list(cache) == ["there"]


def test_cache_without_a_ttl_keeps_for_ever(clock):
    cache = Cache(clock=clock)
    cache["tea"] = 1
    cache.set("short", 2, ttl=1)
    clock.advance(10**8)
    assert dict(cache) == {"tea": 1}


def test_cache_storing_again_begins_a_new_life(clock):
    cache = Cache(ttl=10, clock=clock)
    cache["tea"] = 1
    clock.advance(9)
    cache["tea"] = 2
    clock.advance(9)
    assert cache["tea"] == 2


def test_cache_touch_lets_time_begin_anew(clock):
    cache = Cache(ttl=10, clock=clock)
    cache.update(a=1, b=2, c=3)
    clock.advance(9)
    assert cache.touch("a") and cache.touch("b", ttl=20) and not cache.touch("x")
    clock.advance(9)
    assert dict(cache) == {"a": 1, "b": 2}
    clock.advance(9)
    assert dict(cache) == {"b": 2}
    with pytest.raises(ValueError, match="touch: ttl must be more than 0"):
        cache.touch("b", ttl=0)


def test_cache_expire_ends_a_life_at_once(clock):
    cache = Cache(ttl=10, clock=clock)
    cache["tea"] = 1
    assert cache.expire("tea") is True and cache.expire("tea") is False
    assert "tea" not in cache and cache.stats().expired == 1


def test_cache_time_to_idle_ends_what_nobody_asks_for(clock):
    cache = Cache(fresh=Freshness(tti=10), clock=clock)
    cache.update(asked=1, idle=2, seen=3)
    for _ in range(3):
        clock.advance(6)
        cache.get("asked")
        cache.peek("seen")
    assert dict(cache.items()) == {"asked": 1}
    clock.advance(10)
    assert not cache


def test_cache_jitter_spreads_what_was_stored_together(clock):
    cache = Cache(fresh=Freshness(ttl=100, jitter=0.5), clock=clock)
    cache.update((number, number) for number in range(1000))
    clock.advance(49.9)
    assert len(cache) == 1000
    clock.advance(25)
    assert 350 < len(cache) < 650
    clock.advance(25.2)
    assert len(cache) == 0


# ------------------------------------------------------------------ stale

def test_cache_does_not_show_stale_entries_as_fresh(clock):
    cache = Cache(fresh=Freshness(ttl=10, stale_if_error=90), clock=clock)
    cache["tea"] = 1
    clock.advance(10)
    assert "tea" not in cache and cache.get("tea") is None and list(cache) == []
    assert cache.add("tea", 2) and cache["tea"] == 2


def test_cache_serves_stale_when_the_origin_fails_until_that_is_over(clock):
    cache = Cache(fresh=Freshness(ttl=10, stale_if_error=90), clock=clock)
    cache["tea"] = "old"
    clock.advance(99)

    def fail():
        raise OSError("the origin is down")

    assert cache.get_or_set("tea", fail) == "old"
    assert cache.stats().failures == 1
    clock.advance(1)
    with pytest.raises(OSError, match="the origin is down"):
        cache.get_or_set("tea", fail)


def test_cache_expire_leaves_a_stale_value_where_one_may_be_served(clock):
    cache = Cache(fresh=Freshness(ttl=1000, stale_if_error=90), clock=clock)
    cache["tea"] = "old"
    assert cache.expire("tea") and "tea" not in cache

    def fail():
        raise OSError

    assert cache.get_or_set("tea", fail) == "old"
    clock.advance(90)
    with pytest.raises(OSError):
        cache.get_or_set("tea", fail)


# ------------------------------------------------------------------ the clock

def test_cache_uses_any_clock_that_it_is_given():
    now = [5.0]
    cache = Cache(ttl=1, clock=lambda: now[0])
    cache["tea"] = 1
    now[0] = 5.5
    assert "tea" in cache
    now[0] = 6.0
    assert "tea" not in cache


def test_cache_stays_as_it_was_when_the_clock_fails(clock):
    broken = []

    def tell():
        if broken:
            raise OSError("no time")
        return clock()

    cache = Cache(ttl=10, clock=tell)
    cache["tea"] = 1
    broken.append(True)
    with pytest.raises(OSError, match="no time"):
        cache["coffee"] = 2
    broken.clear()
    assert dict(cache) == {"tea": 1}
