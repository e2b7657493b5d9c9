"""Memos with lifetimes, stale service and tags, from many threads and loops while time moves: never an answer that is
past its end, never one that was invalidated before it was asked for, a sound structure afterwards."""

import asyncio
import contextlib
import random
import sys
import threading

import pytest

from samovar import Freshness, ManualClock, cached_method, memoize
from samovar._core import evictions
from support import check, run_async, together


@pytest.fixture(autouse=True)
def switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class World:
    """An origin whose state has a version for each key: an answer says which version was read, and when."""

    def __init__(self, threads=0):
        self.clock = ManualClock(1000)
        self.versions = [0] * 12
        self.writing = threading.Lock()
        self.asking = [threading.Lock() for _ in range(threads)]

    def read(self, n):
        return n, self.versions[n], self.clock()

    def let_time_pass(self, by):
        """While no thread is between asking and its answer: so an answer is stored at the time when it was read."""
        with contextlib.ExitStack() as calm:
            for one in self.asking:
                calm.enter_context(one)
            self.clock.advance(by)


TERMS = {
    "ttl": {"ttl": 5}, "alone": {"ttl": 5, "coalesce": False}, "unbounded": {"ttl": 5, "maxsize": None},
    "idle": {"fresh": Freshness(ttl=5, tti=3)}, "jitter": {"fresh": Freshness(ttl=5, jitter=0.5)},
    "error": {"fresh": Freshness(ttl=5, stale_if_error=10)}, "tags": {"ttl": 5, "tags": "t"},
    **{rule: {"ttl": 5, "eviction": rule} for rule in evictions()},
}
RENEWED = {"stale": {"fresh": Freshness(ttl=5, stale_while_revalidate=10)}, "early": {"fresh": Freshness(ttl=5, early=1)}}


@pytest.mark.parametrize("options, calm", [*((options, True) for options in TERMS.values()),
                                           *((options, False) for options in (TERMS | RENEWED).values())],
                         ids=[*(f"{name}-calm" for name in TERMS), *TERMS, *RENEWED])
def test_storm_while_time_moves_answers_nothing_that_is_past_its_end(options, calm, seed=11):
    """Not calm: time moves in the middle of calls too, and what an answer's time is, nobody can say."""
    world = World(5 if calm else 0)
    memo = memoize(world.read, clock=world.clock, **{"maxsize": 6, **options})

    def asking(thread):
        return world.asking[thread] if calm else contextlib.nullcontext()

    def run(thread):
        chance = random.Random(seed * 1000 + thread)
        for _ in range(400):
            n = chance.randrange(12)
            match chance.randrange(24):
                case 0:
                    memo.cache_invalidate(n)
                case 1:
                    with asking(thread):
                        memo.cache_set((n, 0, world.clock()), n)
                case 2:
                    with asking(thread):
                        assert memo.cache_refresh(n)[0] == n
                case 3:
                    memo.cache_info(), memo.cache_stats(), memo.cache_contains(n)
                case 4:
                    assert check(memo)
                case 5 if thread == 0:
                    memo.cache_clear()
                case 6 | 7 | 8:
                    world.let_time_pass(chance.choice([0.25, 1, 2.5]))
                case _:
                    with asking(thread):
                        number, _, read = memo(n)
                        assert number == n and (not calm or read + 5 > world.clock())

    together(*[lambda thread=thread: run(thread) for thread in range(5)])
    assert check(memo) and (options.get("maxsize", 6) is None or memo.cache_info().currsize <= 6)


@pytest.mark.parametrize("fresh", [None, Freshness(ttl=5, stale_while_revalidate=10), Freshness(ttl=5, stale_if_error=10)],
                         ids=["tags", "stale", "error"])
def test_storm_of_writes_answers_nothing_that_was_invalidated_before(fresh, seed=12):
    world = World()
    memo = memoize(world.read, 8, tags=lambda n: (f"t{n}", "all"), fresh=fresh, clock=world.clock)

    @memoize(maxsize=8, tags=lambda n: f"t{n}", fresh=fresh, clock=world.clock)
    async def later(n):
        answer = world.read(n)
        await asyncio.sleep(0)
        return answer

    def write(n):
        with world.writing:
            world.versions[n] += 1
            memo.cache_invalidate_tags(f"t{n}")
            later.cache_invalidate_tags(f"t{n}")
            done[n] = world.versions[n]

    done = [0] * 12  # versions whose invalidation has returned

    def run(thread):
        chance = random.Random(seed * 1000 + thread)
        for _ in range(250):
            n = chance.randrange(12)
            match chance.randrange(12):
                case 0 | 1:
                    write(n)
                case 2:
                    world.clock.advance(chance.choice([0.25, 1]))
                case 3 if thread == 0:
                    memo.cache_invalidate_tags("all")
                    assert check(memo)
                case _:
                    least = done[n]
                    number, version, _ = memo(n)
                    assert number == n and version >= least

    async def ask(chance):
        for _ in range(60):
            n = chance.randrange(12)
            if chance.randrange(8) == 0:
                write(n)
            least = done[n]
            number, version, _ = await later(n)
            assert number == n and version >= least

    def loop(thread):
        async def main():
            await asyncio.gather(*(ask(random.Random(seed * 1000 + thread * 10 + task)) for task in range(5)))

        run_async(main())

    together(*[lambda thread=thread: run(thread) for thread in range(4)],
             *[lambda thread=thread: loop(thread) for thread in (7, 8)])
    assert check(memo) and check(later)


def test_storm_on_methods_while_time_moves_answers_nothing_that_is_past_its_end(seed=13):
    world = World(5)

    class Shop:
        @cached_method(maxsize=6, ttl=10, clock=world.clock)
        def read(self, n):
            return world.read(n)

    shops = [Shop() for _ in range(3)]

    def run(thread):
        chance = random.Random(seed * 1000 + thread)
        for _ in range(400):
            shop, n = chance.choice(shops), chance.randrange(12)
            match chance.randrange(20):
                case 0:
                    Shop.read.cache_clear()
                case 1:
                    shop.read.cache_invalidate(n)
                case 2 | 3:
                    world.let_time_pass(chance.choice([0.25, 1, 2.5]))
                case _:
                    with world.asking[thread]:
                        number, _, read = shop.read(n)
                        assert number == n and read + 10 > world.clock()

    together(*[lambda thread=thread: run(thread) for thread in range(5)])
    assert check(Shop.read)


def test_storm_by_the_machines_clock_leaves_the_memo_sound(seed=14):
    """The quick path of hits, and lifetimes that end all the time."""
    memo = memoize(lambda n: [n], maxsize=None, ttl="200us")

    def run(thread):
        chance = random.Random(seed * 1000 + thread)
        for _ in range(3000):
            n = chance.randrange(30)
            assert memo(n) == [n]
        assert check(memo)

    together(*[lambda thread=thread: run(thread) for thread in range(4)])
    stats = memo.cache_stats()
    assert stats.hits + stats.misses == 12_000 and stats.expired > 0 and check(memo)
