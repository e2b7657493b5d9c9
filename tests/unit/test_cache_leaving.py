"""How entries leave a `Cache`: by rule, by weight, by tag, by hand; and what `on_remove` is told."""

import enum
import gc
import sys
import weakref

import pytest

from samovar import Cache, ManualClock
from samovar._base.freshness import Freshness


class Told(list):
    """An `on_remove` that keeps what it was told."""

    def __call__(self, key, value, cause):
        self.append((key, value, cause))


def by_value(key, value):
    return value


# ------------------------------------------------------------------ room

def test_cache_evicts_the_least_recently_used_when_told_lru():
    cache = Cache(3, eviction="lru")
    cache.update(a=1, b=2, c=3)
    cache["a"]
    cache["d"] = 4
    assert sorted(cache) == ["a", "c", "d"] and cache.stats().evictions == 1


def test_cache_evicts_the_oldest_when_told_fifo():
    cache = Cache(3, eviction="fifo")
    cache.update(a=1, b=2, c=3)
    cache["a"]
    cache["d"] = 4
    assert sorted(cache) == ["b", "c", "d"]


def test_cache_keeps_what_is_asked_for_again_through_a_scan():
    cache = Cache(100)
    for _ in range(5):
        for number in range(50):
            if ("hot", number) not in cache:
                cache["hot", number] = number
            cache["hot", number]
    cache.update((number, number) for number in range(1000))
    assert sum(("hot", number) in cache for number in range(50)) >= 45


def test_cache_resize_lets_the_next_to_leave_go():
    cache = Cache(10, eviction="lru")
    cache.update(dict.fromkeys("abcdefgh", 0))
    cache.resize(3)
    assert sorted(cache) == ["f", "g", "h"] and cache.maxsize == 3 and cache.stats().evictions == 5
    cache.resize(4)
    cache.update(i=0, j=0)
    assert sorted(cache) == ["g", "h", "i", "j"]
    cache.resize(None)
    cache.update(dict.fromkeys(range(100), 0))
    assert len(cache) == 104 and cache.maxsize is None


def test_cache_resize_changes_only_what_it_is_told():
    cache = Cache(10, maxweight=100)
    cache.resize(maxweight=50)
    assert (cache.maxsize, cache.maxweight) == (10, 50)
    cache.resize(5)
    assert (cache.maxsize, cache.maxweight) == (5, 50)
    cache.resize()
    assert (cache.maxsize, cache.maxweight) == (5, 50)


@pytest.mark.parametrize("sizes, error, said", [
    ((0,), ValueError, "resize: maxsize must be an integer of 1 or more, or None for no bound, not 0"),
    (("5",), TypeError, "resize: maxsize must be an integer"),
])
def test_cache_resize_refuses_a_bad_size_by_name(sizes, error, said):
    cache = Cache(7)
    with pytest.raises(error, match=said):
        cache.resize(*sizes)
    assert cache.maxsize == 7


def test_cache_resize_gives_no_weight_to_what_was_made_without():
    with pytest.raises(ValueError, match="resize: maxweight cannot be changed: this cache was made without one"):
        Cache(7).resize(maxweight=5)
    with pytest.raises(TypeError, match="resize: maxweight must be an integer of 1 or more, not None"):
        Cache(maxweight=7).resize(maxweight=None)


# ------------------------------------------------------------------ weight

def test_cache_stays_within_its_weight():
    cache = Cache(maxweight=10, weigher=by_value, eviction="lru")
    cache.update(a=4, b=4, c=2)
    assert cache.stats().weight == 10
    cache["d"] = 5
    assert dict(cache.items()) == {"c": 2, "d": 5} and cache.stats().weight == 7 and cache.stats().evictions == 2


def test_cache_weight_of_a_call_beats_the_weigher():
    cache = Cache(maxweight=10, weigher=by_value)
    cache.set("tea", 9, weight=2)
    cache.add("coffee", 9, weight=3)
    assert cache.stats().weight == 5


def test_cache_without_a_weigher_weighs_each_entry_one():
    cache = Cache(maxweight=3)
    cache.update(a=1, b=2)
    cache.set("c", 3, weight=1)
    assert cache.stats().weight == 3


def test_cache_weighs_a_new_value_anew():
    cache = Cache(maxweight=10, weigher=by_value)
    cache["tea"] = 9
    cache["tea"] = 3
    assert cache.stats().weight == 3
    del cache["tea"]
    assert cache.stats().weight == 0


def test_cache_does_not_store_what_alone_is_too_heavy():
    told = Told()
    cache = Cache(maxweight=10, weigher=by_value, on_remove=told)
    cache.update(a=3, b=4)
    cache["a"] = 11
    cache.set("c", 12)
    assert not cache.add("d", 13)
    assert dict(cache.items()) == {"b": 4} and told == [("a", 3, "replaced")]
    assert cache.get_or_set("e", lambda: 14) == 14 and "e" not in cache


@pytest.mark.parametrize("weight, error", [(0, ValueError), (-1, ValueError), (2**40, ValueError), (1.5, TypeError),
                                           ("1", TypeError), (None, TypeError), (True, TypeError)])
def test_cache_stays_as_it_was_when_the_weigher_answers_nonsense(weight, error):
    cache = Cache(maxweight=10, weigher=lambda key, value: weight if key == "bad" else 1)
    cache["tea"] = 1
    with pytest.raises(error, match="weight"):
        cache["bad"] = 1
    assert dict(cache) == {"tea": 1} and cache.stats().weight == 1


def test_cache_stays_as_it_was_when_the_weigher_fails():
    def weigh(key, value):
        if value is None:
            raise LookupError("no scales")
        return 1

    cache = Cache(maxweight=10, weigher=weigh)
    cache["tea"] = 1
    with pytest.raises(LookupError, match="no scales"):
        cache["tea"] = None
    assert cache["tea"] == 1 and cache.stats().replaced == 0


# ------------------------------------------------------------------ tags

def test_cache_invalidates_all_that_carry_a_tag():
    told = Told()
    cache = Cache(on_remove=told)
    cache.set("a", 1, tags=["tea", "green"])
    cache.set("b", 2, tags=("tea",))
    cache.set("c", 3, tags="coffee")
    cache.add("d", 4, tags={"green"})
    cache.set_many({"e": 5}, tags=["coffee", "coffee"])
    cache["f"] = 6
    assert cache.invalidate_tags("green") is None
    assert sorted(cache) == ["b", "c", "e", "f"]
    cache.invalidate_tags("tea", "coffee", "unknown")
    assert sorted(cache) == ["f"] and cache.stats().invalidated == 5
    assert sorted(told) == [(key, number, "invalidated") for number, key in enumerate("abcde", 1)]


def test_cache_takes_one_text_for_one_tag():
    cache = Cache()
    cache.set("a", 1, tags="tea")
    cache.invalidate_tags("t", "e", "a")
    assert "a" in cache


class Tag(str, enum.Enum):
    TEA = "tea"
    GREEN = "green"


def test_cache_takes_members_of_an_enum_of_texts_for_their_text():
    cache = Cache()
    cache.set("a", 1, tags=Tag.TEA)
    cache.set("b", 2, tags=[Tag.GREEN])
    cache.get_or_set("c", lambda: 3, tags=Tag.GREEN)
    cache.invalidate_tags("tea", Tag.GREEN)
    assert not list(cache)


def test_cache_tags_hold_for_what_was_stored_before():
    cache = Cache()
    cache.set("a", 1, tags="tea")
    cache.invalidate_tags("tea")
    cache.set("a", 2, tags="tea")
    assert cache["a"] == 2
    cache["a"] = 3  # without tags now
    cache.invalidate_tags("tea")
    assert cache["a"] == 3


def test_cache_fences_off_a_load_whose_tag_is_invalidated_meanwhile():
    cache = Cache()

    def load():
        cache.invalidate_tags("tea")
        return "read before"

    assert cache.get_or_set("a", load, tags="tea") == "read before" and "a" not in cache
    assert cache.get_or_set("a", lambda: "read after", tags="tea") == "read after" and cache["a"] == "read after"


@pytest.mark.parametrize("invalidate", [
    lambda cache: cache.delete("a"), lambda cache: cache.clear(), lambda cache: cache.expire("a"),
    lambda cache: cache.set("a", "set"), lambda cache: cache.pop("a", None), lambda cache: cache.delete_many(["a"]),
])
def test_cache_fences_off_a_load_whose_key_is_changed_meanwhile(invalidate):
    cache = Cache()

    def load():
        invalidate(cache)
        return "loaded"

    assert cache.get_or_set("a", load) == "loaded"
    assert cache.get("a") in (None, "set")


def test_cache_soft_invalidation_leaves_what_may_be_served_stale():
    clock = ManualClock()
    cache = Cache(fresh=Freshness(ttl=1000, stale_if_error=60), clock=clock)
    cache.set("a", "old", tags="tea")
    cache.invalidate_tags("tea", soft=True)
    assert "a" not in cache

    def fail():
        raise OSError

    assert cache.get_or_set("a", fail) == "old"
    cache.invalidate_tags("tea")
    with pytest.raises(OSError):
        cache.get_or_set("a", fail)


def test_cache_refuses_tags_that_are_none():
    cache = Cache()
    with pytest.raises(TypeError, match="invalidate_tags: tags must be texts, and 5 is none"):
        cache.invalidate_tags("tea", 5)
    with pytest.raises(TypeError, match="invalidate_tags: soft must be True or False, not 1"):
        cache.invalidate_tags("tea", soft=1)
    assert cache.invalidate_tags() is None


# ------------------------------------------------------------------ on_remove

def test_cache_tells_on_remove_every_cause():
    clock, told = ManualClock(), Told()
    cache = Cache(2, eviction="lru", clock=clock, on_remove=told)
    cache.update(a=1, b=2)
    cache["c"] = 3
    cache["b"] = 4
    del cache["b"]
    cache.set("d", 5, ttl=10)
    clock.advance(10)
    assert cache.get("d") is None
    cache.set("e", 6, tags="tea")
    cache.invalidate_tags("tea")
    assert cache.get("e") is None
    cache.clear()
    assert told == [("a", 1, "evicted"), ("b", 2, "replaced"), ("b", 4, "deleted"), ("d", 5, "expired"),
                    ("e", 6, "invalidated"), ("c", 3, "cleared")]
    stats = cache.stats()
    assert (stats.evictions, stats.replaced, stats.deleted, stats.expired, stats.invalidated, stats.cleared) == (1,) * 6


def test_cache_tells_on_remove_what_pop_and_popitem_take():
    told = Told()
    cache = Cache(on_remove=told)
    cache.update(a=1, b=2)
    cache.pop("a")
    cache.popitem()
    assert told == [("a", 1, "deleted"), ("b", 2, "deleted")]


def test_cache_on_remove_may_use_the_cache():
    def move(key, value, cause):
        if cause == "evicted":
            below[key] = value
            assert key not in cache and len(cache) <= 2

    below = Cache()
    cache = Cache(2, eviction="lru", on_remove=move)
    cache.update(dict.fromkeys(range(10), "x"))
    assert sorted(cache) == [8, 9] and sorted(below) == list(range(8))


def test_cache_on_remove_may_store_again():
    def again(key, value, cause):
        if cause == "deleted" and value:
            cache[key] = value - 1

    cache = Cache(on_remove=again)
    cache["tea"] = 2
    assert cache.delete("tea") and cache["tea"] == 1


def test_cache_reports_what_on_remove_raises_and_goes_on(monkeypatch):
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: heard.append(str(problem.exc_value)))

    def fail(key, value, cause):
        raise OSError(f"no room for {key}")

    cache = Cache(1, on_remove=fail)
    cache["a"] = 1
    cache["b"] = 2
    assert cache.delete("b") is True
    assert heard == ["no room for a", "no room for b"] and not cache


def test_cache_lets_go_of_what_left():
    class Value:
        pass

    alive = []
    cache = Cache(2)
    for number in range(5):
        value = Value()
        alive.append(weakref.ref(value))
        cache[number] = value
    del value
    cache.clear()
    gc.collect()
    assert not any(ref() for ref in alive)
