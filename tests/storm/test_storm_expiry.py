"""One key that expires again and again under a thousand threads and ten thousand tasks at full speed: one load for each
lifetime, and, with stale service or early renewal, nobody who waits: while each load is held, everybody is answered."""

import asyncio
import threading

import pytest

from samovar import Cache, Freshness, ManualClock, memoize
from samovar._base import early
from support import check, run_async, together, until, wait_for

THREADS, TASKS, LIFETIMES, ASKS = 1000, 10_000, 3, 5
STALE = Freshness(ttl=10, stale_while_revalidate=1000)
EARLY = Freshness(ttl=10, early=1.0)
PLAIN = Freshness(ttl=10)


class World:
    """A key and its origin, which counts its calls and holds each until its gate is open."""

    def __init__(self, fresh, is_memo=False):
        self.clock, self.lock, self.calls, self.most, self.inside = ManualClock(), threading.Lock(), 0, 0, 0
        self.gates = [threading.Event() for _ in range(LIFETIMES + 1)]
        self.gates[0].set()
        if is_memo:
            self.store = memo = memoize(self.load, fresh=fresh, clock=self.clock)
            self.ask, self.stats = memo, memo.cache_stats
        else:
            self.store = cache = Cache(fresh=fresh, clock=self.clock)
            self.ask, self.stats = (lambda: cache.get_or_set("k", self.load)), cache.stats
        assert self.ask() == 0

    def load(self):
        with self.lock:
            number = self.calls
            self.calls += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        wait_for(self.gates[number])
        with self.lock:
            self.inside -= 1
        return number

    def asks(self):
        return {self.ask() for _ in range(ASKS)}

    def held(self, number, crowd):
        """The crowd asks while load `number` is held: all of it is answered with the value before, and one load runs."""
        try:
            assert all(seen == {number - 1} for seen in crowd())
            until(lambda: self.calls == number + 1)
            assert not self.gates[number].is_set() and self.stats().loads == number + 1
        finally:
            self.gates[number].set()
        until(lambda: self.inside == 0 and self.ask() == number)

    def is_sound(self):
        return (self.calls, self.most) == (LIFETIMES + 1, 1) and check(self.store)


def threads(world):
    return together(*[world.asks] * THREADS)


@pytest.mark.parametrize("is_memo", [False, True], ids=["cache", "memo"])
def test_storm_of_threads_on_a_stale_key_waits_for_nothing_and_loads_once_in_each_lifetime(is_memo):
    world = World(STALE, is_memo)
    for number in range(1, LIFETIMES + 1):
        world.clock.advance(11)
        world.held(number, lambda: threads(world))
    assert world.is_sound()


@pytest.mark.parametrize("is_memo", [False, True], ids=["cache", "memo"])
def test_storm_of_threads_on_a_key_near_its_end_waits_for_nothing_and_loads_once(is_memo, monkeypatch):
    """Chance says yes to every caller: the first begins a load, and the others find that one runs."""
    world = World(EARLY, is_memo)
    for number in range(1, LIFETIMES + 1):
        world.clock.advance(10 * (1 - 1e-7))
        monkeypatch.setattr(early, "gap", lambda beta, u: 1e9)
        try:
            assert all(seen == {number - 1} for seen in threads(world))
            until(lambda: world.calls == number + 1)
        finally:
            monkeypatch.setattr(early, "gap", lambda beta, u: 0.0)
            world.gates[number].set()
        until(lambda: world.inside == 0 and world.ask() == number)
    assert world.is_sound() and world.stats().misses == 1, "nobody but the very first met it expired"


@pytest.mark.parametrize("is_memo", [False, True], ids=["cache", "memo"])
def test_storm_of_threads_on_a_key_that_expires_makes_one_load_for_each_lifetime(is_memo):
    """Without stale service the crowd waits: for one load, each time."""
    world = World(PLAIN, is_memo)
    for gate in world.gates:
        gate.set()
    for number in range(1, LIFETIMES + 1):
        world.clock.advance(11)
        assert all(seen == {number} for seen in threads(world))
    assert world.is_sound() and world.stats().loads == LIFETIMES + 1


def test_storm_of_ten_thousand_tasks_on_a_stale_key_waits_for_nothing_and_loads_once_in_each_lifetime():
    world = World(STALE)

    async def main():
        async def ask():
            seen = set()
            for _ in range(ASKS):
                seen.add(await world.store.aget_or_set("k", world.load))
                await asyncio.sleep(0)
            return seen

        for number in range(1, LIFETIMES + 1):
            world.clock.advance(11)
            answers = await asyncio.gather(*(ask() for _ in range(TASKS)))
            assert all(seen == {number - 1} for seen in answers)
            while world.calls <= number:  # the load is in a thread, and held there
                await asyncio.sleep(0)
            assert world.calls == number + 1 and not world.gates[number].is_set()
            world.gates[number].set()
            while await world.store.aget_or_set("k", world.load) != number:
                await asyncio.sleep(0)

    run_async(main())
    assert world.is_sound() and world.stats().loads == LIFETIMES + 1


def test_storm_of_threads_and_tasks_together_on_a_stale_key_waits_for_nothing():
    world = World(STALE)

    def crowd():
        async def ask():
            return {await world.store.aget_or_set("k", world.load) for _ in range(ASKS)}

        async def main():
            answers = await asyncio.gather(*(ask() for _ in range(TASKS)))
            while world.calls <= number:
                await asyncio.sleep(0)
            wait_for(answered)  # this loop's load, if it leads, is not cancelled while the others ask
            return set().union(*answers)

        answered = threading.Event()
        left = [THREADS]

        def asks():
            try:
                return world.asks()
            finally:
                with world.lock:
                    left[0] -= 1
                    if not left[0]:
                        answered.set()

        def loop():
            async def held():
                seen = await main()
                world.gates[number].set()  # whoever leads: the load ends before its loop does
                while world.inside:
                    await asyncio.sleep(0)
                return seen

            return run_async(held())

        return together(loop, *[asks] * THREADS)

    for number in range(1, LIFETIMES + 1):
        world.clock.advance(11)
        assert all(seen == {number - 1} for seen in crowd())
        assert world.calls == number + 1
        until(lambda: world.ask() == number)
    assert world.is_sound()
