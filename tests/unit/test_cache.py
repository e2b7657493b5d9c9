"""`Cache` as a mapping: what a dict does, it does, and what it is made of is checked first."""

import collections.abc
import copy
import pickle
import threading

import pytest

from samovar import Cache, Freshness, ManualClock
from samovar._base.errors import SnapshotError
from support import Alike, together


# ------------------------------------------------------------------ making one

def test_cache_keeps_ten_thousand_entries_by_default():
    cache = Cache()
    assert (cache.maxsize, cache.maxweight, cache.eviction, cache.fresh, cache.name) == (10_000, None, "adaptive", None, None)
    cache.set_many((number, number) for number in range(10_100))
    assert len(cache) == 10_000 == cache.stats().currsize


def test_cache_with_a_maxweight_bounds_no_number_of_entries_unless_told():
    assert Cache(maxweight=5).maxsize is None
    assert Cache(maxsize=None, maxweight=5).maxsize is None
    assert Cache(maxsize=3, maxweight=5).maxsize == 3
    both = Cache(maxsize=3, maxweight=100, eviction="lru")
    both.update(dict.fromkeys("abcd", 1))
    assert len(both) == 3


def test_cache_without_a_bound_keeps_everything():
    cache = Cache(maxsize=None)
    cache.set_many((number, number) for number in range(20_000))
    assert len(cache) == 20_000 and cache.maxsize is None


@pytest.mark.parametrize("rule", ["adaptive", "lru", "fifo", "sieve", "s3fifo", "tinylfu", "gdsf"])
def test_cache_of_any_rule_stays_within_its_bound(rule):
    cache = Cache(10, eviction=rule)
    for number in range(1000):
        cache.get(number % 17)
        cache[number % 31] = number
    assert len(cache) == 10 and cache.eviction == rule
    assert all(cache[key] % 31 == key for key in cache)


class Three:
    def __index__(self):
        return 3


def test_cache_takes_any_integer_for_a_bound():
    assert Cache(Three()).maxsize == 3
    assert Cache(maxweight=Three()).maxweight == 3


@pytest.mark.parametrize("options, error, said", [
    ({"maxsize": 0}, ValueError, "Cache: maxsize must be an integer of 1 or more, or None for no bound, not 0"),
    ({"maxsize": -1}, ValueError, "Cache: maxsize must be an integer of 1 or more"),
    ({"maxsize": 2**80}, ValueError, "Cache: maxsize must be at most"),
    ({"maxsize": "10"}, TypeError, "Cache: maxsize must be an integer of 1 or more, or None for no bound, not '10'"),
    ({"maxsize": 1.0}, TypeError, "Cache: maxsize must be an integer"),
    ({"maxsize": True}, TypeError, "Cache: maxsize must be an integer"),
    ({"maxweight": 0}, ValueError, "Cache: maxweight must be an integer of 1 or more"),
    ({"maxweight": 1.5}, TypeError, "Cache: maxweight must be an integer"),
    ({"maxweight": ...}, TypeError, "Cache: maxweight must be an integer"),
    ({"maxweight": 9, "weigher": 3}, TypeError, "Cache: weigher must be callable or None, not 3"),
    ({"weigher": len}, ValueError, "Cache: weigher needs a maxweight"),
    ({"ttl": 0}, ValueError, "Cache: ttl must be more than 0 seconds, not 0"),
    ({"ttl": "soon"}, ValueError, "Cache: ttl must be seconds, a timedelta, or text"),
    ({"ttl": []}, TypeError, "Cache: ttl must be seconds"),
    ({"fresh": 60}, TypeError, "Cache: fresh must be a Freshness or None, not 60; for a plain time to live give ttl="),
    ({"eviction": "mru"}, ValueError, "Cache: eviction must be one of 'adaptive', 'lru', .*, not 'mru'"),
    ({"eviction": None}, TypeError, "Cache: eviction must be one of .*, not None"),
    ({"loader": "SELECT"}, TypeError, "Cache: loader must be callable or None, not 'SELECT'"),
    ({"on_remove": 1}, TypeError, "Cache: on_remove must be callable or None, not 1"),
    ({"clock": 12.5}, TypeError, "Cache: clock must be callable or None, not 12.5"),
    ({"name": b"shop"}, TypeError, "Cache: name must be text or None, not b'shop'"),
    ({"timed_hits": 1}, TypeError, "Cache: timed_hits must be True or False, not 1"),
])
def test_cache_refuses_a_bad_argument_by_name(options, error, said):
    with pytest.raises(error, match=said):
        Cache(**options)


def test_cache_takes_only_its_size_by_position():
    assert Cache(5).maxsize == 5
    with pytest.raises(TypeError):
        Cache(5, 5)


def test_cache_can_be_subclassed_and_typed():
    class Prices(Cache[str, int]):
        pass

    prices = Prices(3, name="prices")
    prices["tea"] = 42
    assert isinstance(prices, Cache) and prices["tea"] == 42
    assert repr(prices) == "<samovar.Prices 'prices': 1 of 3 entries>"
    assert Cache[str, int](2).maxsize == 2


def test_cache_shows_what_it_is_and_not_what_it_holds():
    assert repr(Cache(maxsize=None)) == "<samovar.Cache: 0 entries>"
    cache = Cache(maxweight=10, weigher=lambda key, value: value)
    cache["secret"] = 7
    assert repr(cache) == "<samovar.Cache: 1 entries, weight 7 of 10>"


# ------------------------------------------------------------------ a mapping

def test_cache_is_a_mutable_mapping():
    assert isinstance(Cache(), collections.abc.MutableMapping)


def test_cache_stores_reads_and_deletes():
    cache = Cache()
    cache["tea"] = "hot"
    assert cache["tea"] == "hot" and "tea" in cache and len(cache) == 1 and bool(cache)
    cache["tea"] = "cold"
    assert cache["tea"] == "cold" and len(cache) == 1
    del cache["tea"]
    assert "tea" not in cache and len(cache) == 0 and not cache


@pytest.mark.parametrize("missing", ["tea", (1, 2), None, 0])
def test_cache_raises_key_error_with_the_key_that_is_missing(missing):
    cache = Cache()
    for ask in (lambda: cache[missing], lambda: cache.__delitem__(missing), lambda: cache.pop(missing)):
        with pytest.raises(KeyError) as raised:
            ask()
        assert raised.value.args == (missing,)


def test_cache_keeps_none_as_a_value():
    cache = Cache()
    cache["nothing"] = None
    assert "nothing" in cache and cache["nothing"] is None
    assert cache.get("nothing", 1) is None and cache.peek("nothing", 1) is None
    assert cache.setdefault("nothing", 1) is None and not cache.add("nothing", 1)
    assert cache.pop("nothing", 1) is None and "nothing" not in cache


def test_cache_get_and_peek_answer_the_default_for_what_is_missing():
    cache = Cache()
    assert cache.get("tea") is None and cache.get("tea", 3) == 3 and cache.get("tea", default=4) == 4
    assert cache.peek("tea") is None and cache.peek("tea", 3) == 3 and cache.peek("tea", default=4) == 4


def test_cache_finds_equal_keys_alike_and_tells_colliding_ones_apart():
    cache = Cache()
    cache[1] = "one"
    assert cache[1.0] == cache[True] == "one" and len(cache) == 1
    cache[Alike("a")], cache[Alike("b")] = 1, 2
    assert (cache[Alike("a")], cache[Alike("b")]) == (1, 2) and Alike("c") not in cache


@pytest.mark.parametrize("verb", [
    lambda c, k: c[k], lambda c, k: c.__setitem__(k, 1), lambda c, k: c.__delitem__(k), lambda c, k: k in c,
    lambda c, k: c.get(k), lambda c, k: c.peek(k), lambda c, k: c.set(k, 1), lambda c, k: c.set(k, 1, ttl=5),
    lambda c, k: c.add(k, 1), lambda c, k: c.touch(k), lambda c, k: c.delete(k), lambda c, k: c.expire(k),
    lambda c, k: c.pop(k, 1), lambda c, k: c.setdefault(k, 1), lambda c, k: c.get_many([k]),
    lambda c, k: c.set_many([(k, 1)]), lambda c, k: c.delete_many([k]), lambda c, k: c.get_or_set(k, dict),
])
def test_cache_refuses_a_key_without_a_hash_and_stays_as_it_was(verb):
    cache = Cache()
    cache["tea"] = 1
    with pytest.raises(TypeError, match="unhashable"):
        verb(cache, [1])
    assert dict(cache) == {"tea": 1}


def test_cache_pop_takes_out_and_falls_back():
    cache = Cache()
    cache["tea"] = 1
    assert cache.pop("tea") == 1 and cache.pop("tea", 2) == 2 and cache.pop("tea", None) is None
    assert cache.stats().deleted == 1


def test_cache_popitem_takes_the_next_to_leave():
    cache = Cache(10, eviction="lru")
    cache.update(a=1, b=2, c=3)
    cache["a"]
    assert [cache.popitem() for _ in range(3)] == [("b", 2), ("c", 3), ("a", 1)]
    with pytest.raises(KeyError):
        cache.popitem()


def test_cache_setdefault_stores_once_for_all_threads():
    cache = Cache()
    answers = together(*[lambda mine=object(): cache.setdefault("tea", mine) for _ in range(8)])
    assert len(set(map(id, answers))) == 1 and cache["tea"] is answers[0]
    assert cache.setdefault("none") is None and "none" in cache


def test_cache_setdefault_answers_what_is_too_heavy_to_store():
    cache = Cache(maxweight=3, weigher=lambda key, value: value)
    assert cache.setdefault("whale", 4) == 4 and "whale" not in cache


def test_cache_update_takes_what_dict_takes():
    cache = Cache()
    cache.update({"a": 1}, b=2)
    cache.update([("c", 3), ["d", 4]], entries=5)
    cache.update(type("Keyed", (), {"keys": lambda self: ["e"], "__getitem__": lambda self, key: key * 2})())
    cache.update()
    cache.update(cache)
    assert dict(cache) == {"a": 1, "b": 2, "c": 3, "d": 4, "entries": 5, "e": "ee"}


@pytest.mark.parametrize("entries, said", [
    (3, "must be a mapping or .key, value. pairs, not 3"),
    ([("a", 1), 3], "entry 1 must be a .key, value. pair, not 3"),
    ([("a", 1), ("b",)], "entry 1 must be a .key, value. pair"),
    (["ab", "xyz"], "entry 1 must be a .key, value. pair, not 'xyz'"),
])
@pytest.mark.parametrize("verb", ["update", "set_many"])
def test_cache_stores_nothing_of_what_is_not_all_pairs(verb, entries, said):
    cache = Cache()
    with pytest.raises(TypeError, match=f"{verb}: .*{said}"):
        getattr(cache, verb)(entries)
    assert not cache


def test_cache_equals_a_mapping_of_the_same():
    cache, other = Cache(), Cache(maxsize=5, ttl=3)
    cache.update(a=1, b=2)
    other.update(b=2, a=1)
    assert cache == other == {"a": 1, "b": 2} and cache != {"a": 1} and cache != [("a", 1), ("b", 2)]
    with pytest.raises(TypeError, match="unhashable"):
        hash(cache)


def test_cache_clear_leaves_nothing_but_the_counts():
    cache = Cache()
    cache.update(a=1, b=2)
    cache["a"]
    cache.clear()
    stats = cache.stats()
    assert not cache and (stats.cleared, stats.hits, stats.currsize) == (2, 1, 0)


# ------------------------------------------------------------------ verbs of its own

def test_cache_set_stores_and_says_nothing():
    cache = Cache()
    assert cache.set("tea", 1) is None and cache.set("tea", 2, ttl=60) is None
    assert cache["tea"] == 2


def test_cache_add_stores_only_what_is_absent():
    cache = Cache()
    assert cache.add("tea", 1) and not cache.add("tea", 2) and cache["tea"] == 1


def test_cache_delete_says_whether_there_was_something():
    cache = Cache()
    cache["tea"] = 1
    assert cache.delete("tea") is True and cache.delete("tea") is False


def test_cache_works_on_many_keys_at_once():
    cache = Cache()
    cache.set_many({"a": 1, "b": 2})
    cache.set_many([("c", 3)])
    assert cache.get_many(["a", "x", "c"]) == {"a": 1, "c": 3}
    assert list(cache.get_many(iter("cba"))) == ["c", "b", "a"]
    assert cache.delete_many(["a", "x", "b"]) == 2
    assert dict(cache) == {"c": 3}
    assert cache.get_many([]) == {} and cache.delete_many([]) == 0


@pytest.mark.parametrize("verb", ["set", "add"])
@pytest.mark.parametrize("options, error, said", [
    ({"ttl": -1}, ValueError, "ttl must be more than 0 seconds, not -1"),
    ({"ttl": True}, TypeError, "ttl must be seconds"),
    ({"ttl": [5]}, TypeError, "ttl must be seconds"),
    ({"fresh": "5m"}, TypeError, "fresh must be a Freshness or None, not '5m'"),
    ({"tags": 5}, TypeError, "tags must be a text, or texts in a tuple, list or set, not 5"),
    ({"tags": ["a", 5]}, TypeError, "tags must be texts, and 5 is none"),
    ({"tags": [["a"]]}, TypeError, "tags must be"),
    ({"weight": 0}, ValueError, "weight must be an integer of 1 or more, not 0"),
    ({"weight": 2**32}, ValueError, "weight must be at most 4294967295"),
    ({"weight": 1.0}, TypeError, "weight must be an integer of 1 or more, not 1.0"),
])
def test_cache_refuses_a_bad_option_by_name_and_stores_nothing(verb, options, error, said):
    cache = Cache(maxweight=10)
    with pytest.raises(error, match=f"{verb}: {said}"):
        getattr(cache, verb)("tea", 1, **options)
    assert not cache


@pytest.mark.parametrize("call", [
    lambda c: c.set("k", 1, tll=5), lambda c: c.set("k"), lambda c: c.set(), lambda c: c.add("k"), lambda c: c.get(),
    lambda c: c.get("k", 1, 2), lambda c: c.get("k", other=1), lambda c: c.touch("k", 5), lambda c: c.pop(),
])
def test_cache_refuses_arguments_that_a_verb_does_not_take(call):
    with pytest.raises(TypeError):
        call(Cache())


# ------------------------------------------------------------------ looking at all of it

def test_cache_is_iterated_the_last_to_leave_first():
    cache = Cache(10, eviction="lru")
    cache.update(a=1, b=2, c=3)
    cache["a"]
    assert list(cache) == list(cache.keys()) == ["a", "c", "b"]
    assert list(cache.values()) == [1, 3, 2] and list(cache.items()) == [("a", 1), ("c", 3), ("b", 2)]
    assert list(reversed(cache)) == list(reversed(cache.keys())) == ["b", "c", "a"]
    assert list(reversed(cache.values())) == [2, 3, 1]
    assert list(reversed(cache.items())) == [("b", 2), ("c", 3), ("a", 1)]


def test_cache_views_follow_the_cache():
    cache = Cache(eviction="lru")
    keys, values, items = cache.keys(), cache.values(), cache.items()
    cache["a"] = 1
    assert len(keys) == len(values) == len(items) == 1
    assert "a" in keys and 1 in values and ("a", 1) in items and ("a", 2) not in items and "a" not in items
    assert ("b", 1) not in items and ("a",) not in items and 2 not in values and "b" not in keys
    assert repr(keys) == "Keys(['a'])" and repr(values) == "Values([1])" and repr(items) == "Items([('a', 1)])"
    cache.clear()
    assert not keys and not list(values) and not list(items)


def test_cache_views_are_sets_where_those_of_a_dict_are():
    cache = Cache()
    cache.update(a=1, b=2)
    assert cache.keys() & {"a", "x"} == {"a"} and cache.keys() | {"c"} == {"a", "b", "c"}
    assert cache.keys() == {"a", "b"} and cache.keys() - {"a"} == {"b"} and cache.keys().isdisjoint({"z"})
    assert cache.items() == {("a", 1), ("b", 2)} and cache.items() ^ {("a", 1)} == {("b", 2)}


def test_cache_views_find_what_is_not_equal_to_itself():
    cache = Cache()
    nan = float("nan")
    cache["nan"] = nan
    assert nan in cache.values() and ("nan", nan) in cache.items()


def test_cache_counts_and_moves_nothing_when_looked_at():
    cache = Cache(3, eviction="lru")
    cache.update(a=1, b=2, c=3)
    for look in (list, len, repr, lambda c: dict(c.items()), lambda c: "a" in c, lambda c: c.peek("a"),
                 lambda c: ("a", 1) in c.items(), lambda c: 1 in c.values(), lambda c: c == {}, lambda c: c.report()):
        look(cache)
    assert (cache.stats().hits, cache.stats().misses) == (0, 0)
    cache["d"] = 4
    assert "a" not in cache


def test_cache_can_be_changed_while_it_is_iterated():
    cache = Cache()
    cache.update((number, number) for number in range(100))
    for number in cache:
        del cache[number]
        cache[number + 1000] = number
    assert sorted(cache) == list(range(1000, 1100))
    for key, value in cache.items():
        cache.clear()
        cache[key] = value
    assert len(cache) == 1


def test_cache_iterations_see_whole_pairs_while_others_write():
    cache, over = Cache(50), threading.Event()

    def write():
        number = 0
        while not over.is_set():
            cache[number % 80] = str(number % 80)
            number += 1

    def read():
        try:
            for _ in range(200):
                assert all(value == str(key) for key, value in cache.items())
        finally:
            over.set()

    together(write, read)


# ------------------------------------------------------------------ copies and restarts

@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_cache_refuses_to_be_copied_and_says_what_to_do_instead(duplicate):
    with pytest.raises(TypeError, match=r"a Cache cannot be pickled or copied: .* save\(path\) .* load\(path\)"):
        duplicate(Cache())


def test_cache_saves_and_loads_its_entries_the_hottest_first(tmp_path):
    cache = Cache(10, eviction="lru")
    cache.update(a=1, b=[2], c=None)
    cache["a"]
    assert cache.save(tmp_path / "shop") == 3
    small = Cache(2, eviction="lru")
    assert small.load(tmp_path / "shop") == 3
    assert list(small.items()) == [("a", 1), ("c", None)]


def test_cache_keeps_deadlines_and_tags_over_a_restart(tmp_path):
    clock, later = ManualClock(), ManualClock(1000)
    cache = Cache(clock=clock)
    cache.set("short", 1, ttl=5)
    cache.set("long", 2, ttl=5000, tags="tea")
    cache["ever"] = 3
    cache.save(tmp_path / "shop")
    again = Cache(clock=later)
    again.load(tmp_path / "shop")
    assert dict(again) == {"short": 1, "long": 2, "ever": 3}
    later.advance(4000)
    assert dict(again) == {"long": 2, "ever": 3}
    again.invalidate_tags("tea")
    assert dict(again) == {"ever": 3}
    later.advance(10_000)
    assert dict(again) == {"ever": 3}


def test_cache_keeps_weights_and_stale_terms_over_a_restart(tmp_path):
    clock = ManualClock()
    cache = Cache(maxweight=1000, clock=clock)
    cache.set("heavy", 1, weight=600)
    cache.set("light", 2, weight=3)
    cache.set("stale", 3, fresh=Freshness(ttl=5, stale_if_error=50), tags="tea")
    clock.advance(10)
    cache.save(tmp_path / "shop")
    again = Cache(maxweight=1000, clock=clock)
    assert again.load(tmp_path / "shop") == 3 and again.stats().weight == 604

    def down():
        raise ConnectionError

    assert again.get_or_set("stale", down, fresh=Freshness(stale_if_error=50)) == 3
    clock.advance(45)
    with pytest.raises(ConnectionError):
        again.get_or_set("stale", down, fresh=Freshness(stale_if_error=50))
    small = Cache(maxweight=10, weigher=lambda key, value: value, clock=clock)
    assert small.load(tmp_path / "shop") == 3 and small.stats().weight == 6  # weighed anew
    assert Cache(maxweight=10, clock=clock).load(tmp_path / "shop") == 2  # but for the heavy one


def test_cache_keeps_what_is_newer_than_a_file(tmp_path):
    cache = Cache()
    cache.update(a=1, b=2)
    cache.save(tmp_path / "shop")
    cache["a"] = 3
    del cache["b"]
    assert cache.load(tmp_path / "shop") == 1 and dict(cache) == {"a": 3, "b": 2}


def test_cache_loads_nothing_of_a_damaged_file(tmp_path):
    cache = Cache()
    cache.update(a=1)
    cache.save(tmp_path / "shop")
    whole = (tmp_path / "shop").read_bytes()
    (tmp_path / "shop").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    other = Cache()
    other["b"] = 2
    with pytest.raises(SnapshotError, match="damaged"):
        other.load(tmp_path / "shop")
    assert dict(other) == {"b": 2}


def test_cache_saves_only_plain_data_and_names_what_is_not(tmp_path):
    cache = Cache()
    cache.update({"plain": 1, "odd": object()})
    with pytest.raises(SnapshotError, match="the value of key 'odd'"):
        cache.save(tmp_path / "shop")
    assert cache.save(tmp_path / "shop", skip_unsupported=True) == 1
    with pytest.raises(TypeError, match="save: skip_unsupported must be True or False"):
        cache.save(tmp_path / "shop", skip_unsupported="yes")
    with pytest.raises(TypeError, match="load: path must be a str"):
        cache.load(5)
