"""Everybody at once at an origin with a budget: it never sees one load more, whatever is cancelled, late, or forked."""

import asyncio
import os
import random
import threading

import pytest

from samovar import Cache, Freshness, LoadTimeout, OriginBudget, OriginBusy, memoize
from support import Crew, LIMIT, fresh_python, together, until

LIMIT_OF_LOADS = 7


class Origin:
    """It counts who asks at the same time."""

    def __init__(self):
        self.lock, self.running, self.most, self.calls = threading.Lock(), 0, 0, 0

    def __enter__(self):
        with self.lock:
            self.running += 1
            self.calls += 1
            self.most = max(self.most, self.running)

    def __exit__(self, *error):
        with self.lock:
            self.running -= 1

    def ask(self, key):
        with self:
            sum(range(2000))
            return key

    async def aask(self, key):
        with self:
            await asyncio.sleep(0)
            return key


def shops(budget, origin):
    """Two caches and two memos; how a thread and how a task asks each of them."""
    fresh = Freshness(ttl=60, stale_if_error=60)
    caches = [Cache(maxsize=None, budget=budget), Cache(maxsize=None, fresh=fresh, budget=budget)]
    memo, awaited = memoize(origin.ask, maxsize=None, budget=budget), memoize(origin.aask, maxsize=None, budget=budget)
    threads = [memo, *[lambda key, one=one: one.get_or_set(key, lambda: origin.ask(key)) for one in caches]]
    tasks = [awaited, *[lambda key, one=one: one.aget_or_set(key, lambda: origin.aask(key)) for one in caches],
             lambda key: caches[0].aget_or_set(key, lambda: origin.ask(key))]
    return threads, tasks


def crowd_of_tasks(jobs):
    """All of them as tasks of a loop of this thread; what each came to."""
    async def main():
        return await asyncio.wait_for(asyncio.gather(*[job() for job in jobs], return_exceptions=True), LIMIT)
    return asyncio.run(main())


def is_whole(budget, origin):
    until(lambda: (budget.stats().running, budget.stats().queued, origin.running) == (0, 0, 0))
    assert origin.most <= LIMIT_OF_LOADS and budget.stats().most <= LIMIT_OF_LOADS
    places = together(*[lambda: budget.enter(waits=False)] * LIMIT_OF_LOADS)  # none was lost
    with pytest.raises(OriginBusy):
        together(lambda: budget.enter(waits=False))
    for place in places:
        place.leave()


def test_thousand_threads_and_loops_full_of_tasks_all_cold_keep_within_the_budget():
    budget, origin = OriginBudget(LIMIT_OF_LOADS, max_queue=100_000, queue_timeout=60), Origin()
    threads, tasks = shops(budget, origin)
    jobs = [lambda ask=threads[number % 3], key=number: ask(key) for number in range(1000)]
    loops = [lambda first=first: crowd_of_tasks(
        [lambda ask=tasks[key % 4], key=key: ask(key) for key in range(first, first + 600)]) for first in (1000, 2000, 3000)]
    answers = together(*jobs, *loops)
    assert answers == [*range(1000), *[list(range(first, first + 600)) for first in (1000, 2000, 3000)]]
    assert origin.calls == budget.stats().entered == 2800
    is_whole(budget, origin)


def test_who_finds_the_queue_full_or_slow_is_told_and_all_others_are_answered():
    budget, origin = OriginBudget(LIMIT_OF_LOADS, max_queue=40, queue_timeout=0.02), Origin()
    threads, tasks = shops(budget, origin)
    answers = together(*[lambda ask=threads[key % 3], key=key: ask(key) for key in range(300)], errors_too=True)
    answers += crowd_of_tasks([lambda ask=tasks[key % 4], key=key: ask(key) for key in range(1000, 1800)])
    refused = [one for one in answers if isinstance(one, OriginBusy)]
    assert [one for one in answers if not isinstance(one, OriginBusy | int)] == []
    assert len(refused) == budget.stats().refused > 0 and origin.calls == len(answers) - len(refused)
    is_whole(budget, origin)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cancellations_failures_and_timeouts_at_random_leave_the_budget_whole(seed):
    chance = random.Random(seed)
    print("seed", seed)
    budget = OriginBudget(LIMIT_OF_LOADS, max_queue=200, queue_timeout=0.1, rate=chance.choice([None, 20_000]))
    origin, cache = Origin(), Cache(maxsize=50, fresh=Freshness(ttl=0.001, stale_while_revalidate=0.001), budget=budget)
    plans = [[(chance.random(), chance.randrange(200)) for _ in range(250)] for _ in range(8)]

    def fail(key):
        with origin:
            raise KeyError(key)

    async def nested(key):
        with origin:
            pass
        return await asyncio.gather(*[cache.aget_or_set((key, part), lambda: origin.aask(part)) for part in range(2)])

    def in_thread(plan):
        for dice, key in plan:
            try:
                if dice < 0.2:
                    cache.get_or_set(key, lambda key=key: fail(key))
                elif dice < 0.5:
                    cache.get_or_set(key, lambda key=key: origin.ask(key), hard_timeout=chance.choice([0.0001, 0.01]))
                elif dice < 0.7:
                    cache.get_or_set(key, lambda key=key: cache.get_or_set((key, 0), lambda: origin.ask(key)))
                else:
                    cache.get_or_set(key, lambda key=key: origin.ask(key))
            except (KeyError, OriginBusy, LoadTimeout):
                pass

    def in_loop(plan):
        async def main():
            tasks = []
            for dice, key in plan:
                factory = (lambda key=key: nested(key)) if dice < 0.2 else (lambda key=key: origin.ask(key)) if dice < 0.5 \
                    else (lambda key=key: origin.aask(key))
                tasks.append(asyncio.ensure_future(cache.aget_or_set(key, factory)))
                await asyncio.sleep(0)
                if dice > 0.4:
                    chance.choice(tasks).cancel()
            for end in await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), LIMIT):
                assert not isinstance(end, BaseException) or isinstance(end, OriginBusy | KeyError | asyncio.CancelledError)
        asyncio.run(main())

    Crew(*[lambda plan=plan: in_thread(plan) for plan in plans[:5]],
         *[lambda plan=plan: in_loop(plan) for plan in plans[5:]]).join()
    is_whole(budget, origin)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_child_of_a_fork_begins_with_free_places():
    fresh_python("""
import os, threading, warnings
warnings.simplefilter("ignore")
from samovar import Cache, OriginBudget
from support import Crew, until
budget = OriginBudget(2, queue_timeout=60)
cache = Cache(budget=budget)
mine = budget.enter()
crew = Crew(*[budget.enter] * 3)
until(lambda: budget.stats().queued == 2)
pid = os.fork()
if pid == 0:
    stats = budget.stats()
    good = (stats.running, stats.queued) == (0, 0) and cache.get_or_set("tea", int) == 0
    mine.leave()  # the parent's: it frees nothing here
    good = good and budget.stats().running == 0 and Crew(*[lambda: budget.enter(waits=False)] * 2).join()
    os._exit(0 if good else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
mine.leave()
until(lambda: budget.stats().queued == 1)
""")
