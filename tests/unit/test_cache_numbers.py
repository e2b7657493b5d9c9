"""What a `Cache` counts, what it estimates, and what it says about itself in sentences."""

import random

from concurrent.futures import ThreadPoolExecutor

import pytest

from samovar import Cache, Freshness, ManualClock, OriginBudget
from samovar._base.counters import Latency, Stats
from samovar._base.freshness import Freshness
from samovar.app.report import Stored, report, span


# ------------------------------------------------------------------ stats

def test_cache_stats_count_hits_and_misses_of_every_question():
    cache = Cache()
    cache["tea"] = 1
    cache["tea"], cache.get("tea"), cache.get("coffee")
    with pytest.raises(KeyError):
        cache["coffee"]
    cache.get_many(["tea", "coffee", "water"])
    cache.get_or_set("tea", list)
    stats = cache.stats()
    assert isinstance(stats, Stats)
    assert (stats.hits, stats.misses, stats.stale_hits, stats.asked) == (4, 4, 0, 8) and stats.hit_ratio == 0.5


def test_cache_stats_count_loads_and_failures():
    cache = Cache()
    cache.get_or_set("tea", list)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_set("coffee", lambda: 1 // 0)
    stats = cache.stats()
    assert (stats.loads, stats.failures, stats.misses, stats.coalesced, stats.hits) == (2, 1, 2, 0, 0)


def test_cache_stats_measure_how_long_loads_take():
    cache = Cache()
    assert cache.stats().load_latency == Latency()
    cache.get_or_set("tea", lambda: sum(range(1000)))
    took = cache.stats().load_latency
    assert took.count == 1 and 0 < took.mean < 20 and 0 < took.p50 <= took.p90 <= took.p99 < 20


def test_cache_stats_measure_how_long_hits_take_when_asked_to():
    cache, timed = Cache(), Cache(timed_hits=True)
    for each in (cache, timed):
        each["tea"] = 1
        for _ in range(3):
            each["tea"]
        each.get("coffee")
    assert cache.stats().hit_latency is None
    took = timed.stats().hit_latency
    assert took.count == 3 and 0 < took.p50 <= took.p99 < 20


def test_cache_stats_are_those_of_their_moment():
    cache = Cache()
    before = cache.stats()
    cache["tea"] = 1
    assert before.currsize == 0 and cache.stats().currsize == 1


# ------------------------------------------------------------------ other sizes

def ask_with_skew(cache, keys, times, seed=7):
    chance = random.Random(seed)
    for key in chance.choices(range(keys), [1 / (1 + rank) for rank in range(keys)], k=times):
        cache.get_or_set(key, lambda: key)


def test_cache_curve_falls_with_size_and_is_near_the_truth():
    cache = Cache(100, eviction="lru")
    ask_with_skew(cache, 1000, 30_000)
    curve = cache.miss_ratio_curve()
    assert list(curve) == [25, 50, 100, 200, 400]
    assert sorted(curve.values(), reverse=True) == list(curve.values())
    twice = Cache(200, eviction="lru")
    ask_with_skew(twice, 1000, 30_000)
    assert curve[100] == pytest.approx(1 - cache.stats().hit_ratio, abs=0.01)
    assert curve[200] == pytest.approx(1 - twice.stats().hit_ratio, abs=0.03)


def test_cache_curve_answers_the_sizes_that_it_is_asked_for():
    cache = Cache(100)
    ask_with_skew(cache, 300, 3000)
    assert list(cache.miss_ratio_curve([300, 10, 300])) == [300, 10]
    assert cache.miss_ratio_curve([]) == {}


def test_cache_curve_is_empty_while_nobody_asked_or_nothing_bounds_it():
    assert Cache(100).miss_ratio_curve() == {} and Cache(100).miss_ratio_curve([5]) == {}
    free = Cache(maxsize=None)
    ask_with_skew(free, 10, 100)
    assert free.miss_ratio_curve() == {}


def test_cache_curve_of_a_weighted_cache_is_in_entries():
    cache = Cache(100, maxweight=1000, weigher=lambda key, value: 20)
    ask_with_skew(cache, 500, 5000)
    assert list(cache.miss_ratio_curve()) == [25, 50, 100, 200, 400]


@pytest.mark.parametrize("sizes, error, said", [
    (5, TypeError, "sizes must be integers in a list or tuple, not 5"),
    ([0], ValueError, "sizes must be an integer of 1 or more, not 0"),
    (["5"], TypeError, "sizes must be an integer of 1 or more, not '5'"),
    (range(1, 17), ValueError, "sizes must be 15 at most, not 16"),
])
def test_cache_curve_refuses_bad_sizes_by_name(sizes, error, said):
    with pytest.raises(error, match=f"miss_ratio_curve: {said}"):
        Cache(100).miss_ratio_curve(sizes)


# ------------------------------------------------------------------ report

@pytest.mark.parametrize("seconds, said", [
    (0, "0 us"), (2e-7, "0.2 us"), (0.00042, "420 us"), (0.0123, "12.3 ms"), (0.9996, "1,000 ms"), (1, "1 s"),
    (90, "90 s"), (150, "2.5 min"), (5400, "90 min"), (7200, "2 h"), (86_400 * 3, "3 days"), (1e9, "11,574 days"),
])
def test_report_says_time_as_people_do(seconds, said):
    assert span(seconds) == said


FULL = Stats(hits=700, stale_hits=100, misses=200, coalesced=50, loads=160, failures=3, evictions=40, currsize=80,
             maxsize=100, expired=7, weight=80, load_latency=Latency(157, 0.2, 0.15, 0.3, 0.9))


def test_report_answers_every_question_with_the_numbers():
    stored = Stored([("a", 1, 5.0, (), 0.5), ("b", 2, -3.0, (), 1.5), ("c", 3, -1.0, (), 0.0)])
    fresh = Freshness(ttl=300, stale_while_revalidate=30, stale_if_error=3600)
    said = report("shop", "lru", fresh, FULL, stored, {50: 0.35, 200: 0.15}).splitlines()
    assert said == [
        "The cache 'shop' holds 80 entries, of 100 at most; eviction is 'lru'. Left so far: 40 evicted to make room, 7 "
        "expired.",
        "Hit ratio: 80.0 % of 1,000 questions were answered from it (100 of them with a stale value); 200 were not, and "
        "50 of these waited for a load that another caller had begun. The origin was asked 160 times, 3 of them in vain. "
        "A load takes 200 ms on average (half of them up to 150 ms, 99 % up to 900 ms): hits and shared loads have saved "
        "about 2.83 min of it.",
        "Staleness: unless its entry says otherwise, a value is served for at most 5 min, 5.5 min while it is renewed, "
        "65 min while the origin fails; of what is stored now, 2 are stale, the worst for 3 s.",
        "Cold start: without it, the next question for each of 3 entries would go to the origin, which took 2 s to load "
        "them, one after another; until it is warm again, up to 5 times as many loads as now. save(path) and load(path) "
        "carry them over a restart.",
        "Other sizes: the hit ratio would be about 65.0 % at 50, 85.0 % at 200 entries.",
    ]


def test_report_of_a_new_cache_promises_nothing():
    said = Cache().report()
    assert "This cache holds 0 entries, of 10,000 at most; eviction is 'adaptive'. Nothing has left it yet." in said
    assert "nobody has asked it anything yet" in said and "never expire" in said and "a restart would lose nothing" in said
    assert "Other sizes" not in said


def test_report_of_a_cache_that_loads_nothing_does_not_guess():
    cache = Cache()
    cache["tea"] = 1
    cache["tea"]
    assert "It has loaded nothing itself, so what a hit saves is not known." in cache.report()


def test_report_speaks_of_a_living_cache():
    clock = ManualClock()
    cache = Cache(400, maxweight=500, weigher=lambda key, value: 2, name="shop", clock=clock,
                  fresh=Freshness(ttl="5m", stale_if_error="1h"))
    ask_with_skew(cache, 300, 3000)
    clock.advance("6m")
    said = cache.report()
    assert "The cache 'shop' holds" in said and "of 400 at most, weighing 500 of 500;" in said
    assert "are stale, the worst for 60 s" in said
    assert "Other sizes: the hit ratio would be about" in said


def test_stats_count_a_stale_value_that_is_served_because_its_load_failed_or_was_refused():
    clock, budget = ManualClock(), OriginBudget(1)
    cache = Cache(fresh=Freshness(ttl=10, stale_if_error=60), clock=clock, budget=budget)
    cache.set("tea", "cold")
    clock.advance(20)

    def fails():
        raise OSError("the origin is away")

    assert cache.get_or_set("tea", fails) == "cold"
    assert (cache.stats().rescued, cache.stats().misses, cache.stats().failures) == (1, 1, 1)
    place = budget.enter()
    with ThreadPoolExecutor(1) as elsewhere:  # where the place is not held
        assert elsewhere.submit(cache.get_or_set, "tea", fails).result() == "cold"
    place.leave()
    assert (cache.stats().rescued, cache.stats().refused, cache.stats().failures) == (2, 1, 1)
