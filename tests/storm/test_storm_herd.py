"""Herds: a thousand threads or ten thousand tasks on one cold key make one load; ten thousand cold keys under a hundred
threads, where loads fail, are cancelled or take too long, end: nobody waits for ever, and every answer is right."""

import asyncio
import random
import threading

import pytest

from samovar import Cache, Freshness, LoadTimeout, ManualClock, memoize
from support import Crew, check, run_async, together, until, wait_for

THREADS, TASKS, KEYS, WORKERS = 1000, 10_000, 10_000, 100


class Origin:
    """What a factory asks: it lets nobody go before the gate is open, and counts who came."""

    def __init__(self, is_open=False):
        self.lock, self.calls, self.gate = threading.Lock(), 0, threading.Event()
        if is_open:
            self.gate.set()

    def __call__(self):
        with self.lock:
            self.calls += 1
        wait_for(self.gate)
        return object()


# ------------------------------------------------------------------ one cold key

def ask_cache(origin):
    cache = Cache()
    return cache, lambda: cache.get_or_set("cold", origin), cache.stats


def ask_memo(origin):
    memo = memoize(lambda: origin(), ttl="1h")
    return memo, memo, memo.cache_stats


def ask_steered_memo(origin):
    memo = memoize(lambda: origin(), fresh=Freshness(ttl="1h", stale_while_revalidate="1h"), tags="herd")
    return memo, memo, memo.cache_stats


@pytest.mark.parametrize("make", [ask_cache, ask_memo, ask_steered_memo])
def test_herd_of_a_thousand_threads_makes_one_load(make):
    origin = Origin()
    made, ask, stats = make(origin)
    crew = Crew(*[ask] * THREADS)
    until(lambda: stats().coalesced == THREADS - 1)
    origin.gate.set()
    answers = crew.join()
    assert len(set(map(id, answers))) == 1 and len(answers) == THREADS
    assert (origin.calls, stats().loads, stats().misses) == (1, 1, THREADS)
    assert ask() is answers[0] and check(made)


def test_herd_of_a_thousand_threads_shares_one_failure_and_the_next_load_succeeds():
    cache, origin = Cache(), Origin()

    def fail():
        origin()
        raise ConnectionError("the origin is away")

    crew = Crew(*[lambda: cache.get_or_set("cold", fail)] * THREADS)
    until(lambda: cache.stats().coalesced == THREADS - 1)
    origin.gate.set()
    errors = crew.join(errors_too=True)
    assert len(set(map(id, errors))) == 1 and isinstance(errors[0], ConnectionError)
    assert (origin.calls, cache.stats().failures) == (1, 1)
    assert cache.get_or_set("cold", lambda: "warm") == "warm" and check(cache)


def test_herd_on_a_stale_key_is_served_at_once_and_renews_it_once():
    clock, origin = ManualClock(), Origin()
    cache = Cache(fresh=Freshness(ttl=10, stale_while_revalidate=100), clock=clock)
    cache["warm"] = "old"
    clock.advance(50)
    assert together(*[lambda: cache.get_or_set("warm", origin)] * 200) == ["old"] * 200  # the load stands at its gate
    origin.gate.set()
    until(lambda: cache.peek("warm", "old") != "old")
    assert origin.calls == 1 and cache.stats().stale_hits == 200 and check(cache)


@pytest.mark.parametrize("plain", [False, True])
def test_herd_of_ten_thousand_tasks_makes_one_load(plain):
    cache, origin = Cache(), Origin()

    async def load():
        with origin.lock:
            origin.calls += 1
        while not origin.gate.is_set():
            await asyncio.sleep(0)
        return object()

    async def main():
        herd = [asyncio.ensure_future(cache.aget_or_set("cold", origin if plain else load)) for _ in range(TASKS)]
        while cache.stats().coalesced < TASKS - 1:
            await asyncio.sleep(0)
        origin.gate.set()
        return await asyncio.gather(*herd)

    answers = run_async(main())
    assert len(set(map(id, answers))) == 1 and len(answers) == TASKS
    assert (origin.calls, cache.stats().loads, cache.stats().misses) == (1, 1, TASKS) and check(cache)


def test_herd_of_ten_thousand_tasks_of_which_most_are_cancelled_makes_one_load():
    cache, calls = Cache(), []

    async def main():
        gate = asyncio.Event()

        async def load():
            calls.append(1)
            await gate.wait()
            return "warm"

        herd = [asyncio.ensure_future(cache.aget_or_set("cold", load)) for _ in range(TASKS)]
        while cache.stats().coalesced < TASKS - 1:
            await asyncio.sleep(0)
        for number, task in enumerate(herd):
            if number % 10:
                task.cancel()
        herd[0].cancel()  # the leader too
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*herd, return_exceptions=True)

    answers = run_async(main())
    assert answers[10::10] == ["warm"] * (TASKS // 10 - 1)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in [answers[0], *answers[1:10], *answers[11:20]])
    assert len(calls) == 1 and cache["cold"] == "warm" and check(cache)


def test_herd_of_threads_and_loops_together_makes_one_load():
    cache, origin, each = Cache(), Origin(), 1000

    def loop():
        async def main():
            return await asyncio.gather(*(cache.aget_or_set("cold", origin) for _ in range(each)))

        return run_async(main())

    crew = Crew(loop, loop, loop, *[lambda: [cache.get_or_set("cold", origin)]] * 100)
    until(lambda: cache.stats().coalesced == 3 * each + 99)
    origin.gate.set()
    answers = [answer for some in crew.join() for answer in some]
    assert len(set(map(id, answers))) == 1 and len(answers) == 3 * each + 100
    assert origin.calls == 1 and check(cache)


# ------------------------------------------------------------------ ten thousand cold keys

class Unlucky(Exception):
    """What a load of the storm raises."""


def shuffled(seed):
    """Every worker asks for a tenth of all keys in an order of its own: each key is asked for by ten, on average."""
    chance = random.Random(seed)
    return chance.sample(range(KEYS), KEYS // 10)


def test_storm_of_ten_thousand_cold_keys_loads_each_once(seed=41):
    cache, loads, lock = Cache(maxsize=None), [0] * KEYS, threading.Lock()

    def ask(key):
        def load():
            with lock:
                loads[key] += 1
            return key

        return cache.get_or_set(key, load)

    def work(number):
        keys = shuffled(seed + number)
        assert [ask(key) for key in keys] == keys

    together(*[lambda number=number: work(number) for number in range(WORKERS)])
    stats = cache.stats()
    assert set(loads) <= {0, 1} and sum(loads) == stats.loads == len(cache)
    assert stats.hits + stats.misses == WORKERS * KEYS // 10 and stats.misses == stats.loads + stats.coalesced
    assert check(cache)


@pytest.mark.parametrize("limits", [{}, {"hard_timeout": "1h"}, {"hard_timeout": 0}, {"hard_timeout": "1ms"}])
def test_storm_of_failures_and_time_limits_ends_with_the_right_answers(limits, seed=42):
    cache, late = Cache(maxsize=500), []
    patient = limits.get("hard_timeout") in (None, "1h")

    def ask(key):
        def load():
            if key % 7 == 0:
                raise Unlucky(key)
            return key

        try:
            assert cache.get_or_set(key, load, **limits) == key
        except Unlucky as unlucky:
            assert key % 7 == 0 and unlucky.args == (key,)
        except LoadTimeout:
            assert not patient
            late.append(key)
        else:
            assert key % 7

    def work(number):
        for key in shuffled(seed + number)[:150]:
            ask(key)

    together(*[lambda number=number: work(number) for number in range(WORKERS)])
    limits = {}
    for key in range(0, KEYS, 97):  # what went on in the background has ended, or is waited for
        ask(key)
    assert check(cache)


def test_storm_of_batches_that_overlap_ends(seed=43):
    cache, loads, lock = Cache(maxsize=None), [0] * KEYS, threading.Lock()

    def load(keys):
        with lock:
            for key in keys:
                loads[key] += 1
        return {key: -key for key in keys}

    def work(number):
        keys = shuffled(seed + number)
        for begin in range(0, len(keys), 50):
            some = keys[begin:begin + 50]
            assert cache.get_or_set_many(some, load) == {key: -key for key in some}

    together(*[lambda number=number: work(number) for number in range(40)])
    assert set(loads) <= {0, 1} and check(cache)


def test_storm_of_tasks_that_are_cancelled_and_fail_in_several_loops_ends(seed=44):
    cache = Cache(maxsize=300)

    def loop(number):
        chance = random.Random(seed + number)

        async def ask(key):
            async def load():
                for _ in range(key % 3):
                    await asyncio.sleep(0)
                if key % 7 == 0:
                    raise Unlucky(key)
                return key

            return await cache.aget_or_set(key, load)

        async def main():
            herd = [(key, asyncio.ensure_future(ask(key))) for key in (chance.randrange(1000) for _ in range(2500))]
            await asyncio.sleep(0)
            for _, task in chance.sample(herd, 500):
                task.cancel()
            answers = await asyncio.gather(*(task for _, task in herd), return_exceptions=True)
            for (key, task), answer in zip(herd, answers):
                assert answer == key or isinstance(answer, Unlucky) and key % 7 == 0 or task.cancelled()
            assert sum(task.cancelled() for _, task in herd) <= 500

        return run_async(main())

    def thread():
        chance = random.Random(seed)
        for key in (chance.randrange(1000) for _ in range(2000)):
            try:
                assert cache.get_or_set(key, lambda key=key: key) == key
            except Unlucky:
                assert key % 7 == 0

    together(*[lambda number=number: loop(number) for number in range(4)], thread, thread)
    assert check(cache)


def test_storm_of_invalidations_never_shows_what_was_read_before_one(seed=45):
    """An origin with versions: who asks after an invalidation returned gets a version from after it."""
    cache, version, stop = Cache(maxsize=64), [0] * 40, threading.Event()
    changed = threading.Lock()

    def change():
        chance = random.Random(seed)
        for _ in range(3000):
            key = chance.randrange(40)
            with changed:
                version[key] += 1
                wanted = version[key]
            chance.choice((lambda: cache.delete(key), lambda: cache.invalidate_tags(f"key:{key}"), cache.clear,
                           lambda: cache.expire(key)))()
            assert ask(key) >= wanted
        stop.set()

    def ask(key):
        def load(context):
            context.tags = f"key:{key}"
            return version[key]

        return cache.get_or_set(key, load)

    def read(number):
        chance = random.Random(seed + number)
        while not stop.is_set():
            key = chance.randrange(40)
            assert ask(key) <= version[key]

    together(change, *[lambda number=number: read(number) for number in range(1, 8)])
    for key in range(40):
        assert ask(key) == version[key]
    assert check(cache)
