"""An OriginBudget keeps nothing of a load that is over: no function, no result, no error, no task, and not itself."""

import asyncio
import weakref

import pytest

from samovar import Cache, OriginBudget, OriginBusy
from support import collect, fresh_python, run_async, together, until
from test_leaks_memory import MEASURE


class Thing:
    """What can be weakly referred to."""


class Failure(Exception):
    pass


def gone(*things):
    alive = [weakref.ref(thing) for thing in things]
    return lambda: [one() for one in alive] == [None] * len(alive)


def test_function_result_and_error_are_gone_when_the_load_is_over():
    budget, value, error = OriginBudget(1), Thing(), Failure()

    def fail():
        raise error

    budget.run(lambda: value)
    with pytest.raises(Failure):
        budget.run(fail)
    promise = gone(value, error)
    del value, error, fail
    collect()
    assert promise()


def test_error_and_value_are_gone_after_a_plain_function_ran_in_a_thread_for_a_task():
    budget, error = OriginBudget(1), Failure()
    cache, promise = Cache(budget=budget), gone(error)

    def fail():
        raise error

    async def ask():
        with pytest.raises(Failure):
            await cache.aget_or_set("tea", fail)

    run_async(ask())
    del error, fail, ask
    until(lambda: collect() or promise())  # the thread that ran it may need a moment to let go


def test_who_was_refused_or_cancelled_in_the_queue_is_gone():
    budget = OriginBudget(1, queue_timeout=0.01)
    place, things = together(budget.enter)[0], []

    async def ask(thing):
        await budget.aenter()

    async def main():
        tasks = []
        for number in range(10):
            thing = Thing()
            things.append(weakref.ref(thing))
            tasks.append(asyncio.ensure_future(ask(thing)))
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} == {OriginBusy, asyncio.CancelledError}

    run_async(main())
    collect()
    assert [thing() for thing in things] == [None] * 10
    place.leave()


def test_budget_is_gone_when_nobody_has_it():
    budget = OriginBudget(1)
    cache = Cache(budget=budget)
    cache.get_or_set("tea", int)
    promise = gone(budget)
    del budget, cache
    collect()
    assert promise()


def test_memory_stays_flat_whatever_the_budget_sees():
    assert fresh_python(MEASURE + """
budget = samovar.OriginBudget(2, max_queue=3, queue_timeout=0)
cache = samovar.Cache(10, budget=budget)

def fail():
    raise KeyError

async def tasks():
    for n in range(150):
        await asyncio.gather(*(cache.aget_or_set((n, part), list) for part in range(8)), return_exceptions=True)

def work():
    for n in itertools.islice(number, 2_000):
        cache.get_or_set((n, "key"), lambda: cache.get_or_set(n, list))
        try:
            cache.get_or_set((n, "fails"), fail)
        except KeyError:
            pass
    asyncio.run(tasks())

flat(work)
""").strip() == "flat"
