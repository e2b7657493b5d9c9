"""OriginBudget by itself: places, the queue, refusals, rides, rate, ramp, breaker, numbers."""

import asyncio
import contextvars
import copy
import gc
import pickle
import threading

import pytest

from samovar import BudgetStats, ManualClock, OriginBudget, OriginBusy
from support import LIMIT, Crew, run_async, together, until


def whole(budget):
    """Nothing is held, and nobody waits."""
    stats = budget.stats()
    return (stats.running, stats.queued) == (0, 0)


def waiting(budget, count):
    until(lambda: budget.stats().queued == count)


class Failure(Exception):
    pass


def fail(budget, times=1):
    for _ in range(times):
        with pytest.raises(Failure), budget.slot():
            raise Failure


# ------------------------------------------------------------------ arguments

@pytest.mark.parametrize("name, value, error", [
    ("max_concurrent", 0, ValueError), ("max_concurrent", "8", TypeError), ("max_concurrent", True, TypeError),
    ("max_queue", -1, ValueError), ("max_queue", 1.5, TypeError),
    ("queue_timeout", -1, ValueError), ("queue_timeout", "soon", ValueError),
    ("rate", 0, ValueError), ("rate", float("inf"), ValueError), ("rate", "5", TypeError), ("rate", True, TypeError),
    ("adaptive", 1, TypeError), ("least", 0, ValueError), ("least", 9, ValueError),
    ("ramp", 0, ValueError), ("ramp", [], TypeError),
    ("breaker", 0, ValueError), ("breaker", True, TypeError), ("open_for", 0, ValueError),
    ("clock", 5, TypeError),
])
def test_bad_argument_is_named(name, value, error):
    with pytest.raises(error, match=f"OriginBudget: {name} must be .*{value!r}|OriginBudget: {name} .*{value!r}"):
        OriginBudget(**{"max_concurrent": 8, name: value})


def test_run_and_arun_refuse_what_they_cannot_call():
    budget = OriginBudget(1)

    async def fetch():
        return 1

    with pytest.raises(TypeError, match="run: fn must be a plain function, not the async"):
        budget.run(fetch)
    with pytest.raises(TypeError, match="run: fn must be callable, not 5"):
        budget.run(5)
    with pytest.raises(TypeError, match="arun: fn must be callable, not 5"):
        run_async(budget.arun(5))
    assert budget.stats().entered == 0 and run_async(budget.arun(fetch)) == 1 and budget.run(lambda: 2) == 2


# ------------------------------------------------------------------ places

def test_place_is_given_back_on_every_way_out():
    budget = OriginBudget(1)
    with budget.slot() as place:
        assert budget.stats().running == 1 and not place.waited
    fail(budget)
    with pytest.raises(KeyboardInterrupt), budget.slot():
        raise KeyboardInterrupt
    place = budget.enter()
    place.leave()
    place.leave()  # a second time does nothing
    assert whole(budget) and budget.stats().entered == 4


def test_slot_is_for_one_block_at_a_time():
    budget = OriginBudget(2)
    slot = budget.slot()
    with slot:
        with pytest.raises(RuntimeError, match="in use"), slot:
            pass
    with slot:
        assert budget.stats().running == 1
    assert whole(budget)


def test_places_are_handed_on_in_the_order_of_asking_over_threads_and_tasks():
    budget, order = OriginBudget(1, queue_timeout=60), []
    first = budget.enter()
    crews = []

    def thread(number):
        with budget.slot():
            order.append(number)

    async def task(number):
        async with budget.slot():
            order.append(number)

    for number in range(12):
        job = (lambda number=number: thread(number)) if number % 2 else (lambda number=number: run_async(task(number)))
        crews.append(Crew(job))
        waiting(budget, number + 1)
    first.leave()
    for crew in crews:
        crew.join()
    assert order == list(range(12)) and whole(budget)
    assert budget.stats().most == 1 and budget.stats().waited == 12


def test_nobody_barges_in_while_somebody_waits():
    budget = OriginBudget(1, queue_timeout=60)
    first, got = budget.enter(), threading.Event()
    crew = Crew(lambda: (budget.enter(), got.set()))
    waiting(budget, 1)
    first.leave()  # the place is the waiter's from this moment, whether or not it has woken
    with pytest.raises(OriginBusy):
        budget.enter(waits=False)
    held = crew.join()
    assert got.is_set() and held and budget.stats().running == 1


def test_who_waited_too_long_leaves_the_queue_and_is_told():
    budget = OriginBudget(1, queue_timeout=0.01)
    with budget.slot():
        for ask in (lambda: together(budget.enter), lambda: run_async(outside(budget))):
            with pytest.raises(OriginBusy, match="no place became free in 0.01 s") as caught:
                ask()
            assert caught.value.waited and caught.value.retry_after > 0
        assert budget.stats().queued == 0 and budget.stats().running == 1
    assert whole(budget) and budget.stats().refused_late == 2 and budget.stats().refused == 2


async def outside(budget, waits=True):
    """Enter in a context that holds no place, as a request of its own would."""
    return await asyncio.get_running_loop().create_task(budget.aenter(waits=waits), context=contextvars.Context())


def test_full_queue_refuses_at_once():
    budget = OriginBudget(1, max_queue=0)
    with budget.slot():
        with pytest.raises(OriginBusy, match="0 loads wait already") as caught:
            together(budget.enter)
    assert caught.value.waited and budget.stats().refused_full == 1 and whole(budget)


def test_who_may_not_wait_is_refused_at_once():
    budget = OriginBudget(1)
    with budget.slot():
        with pytest.raises(OriginBusy, match="may not wait") as caught:
            together(lambda: budget.enter(waits=False))
    assert not caught.value.waited and budget.stats().refused_busy == 1


def test_busy_says_when_to_come_again_by_what_loads_take():
    budget = OriginBudget(2, max_queue=3, queue_timeout=60)
    budget._rules.mean_s = 4.0  # as if loads had taken so long
    places = together(budget.enter, budget.enter)
    Crew(*[budget.enter] * 3)
    waiting(budget, 3)
    with pytest.raises(OriginBusy) as caught:
        together(budget.enter)
    assert caught.value.retry_after == pytest.approx(8.0)  # four loads, two at a time, 4 s each
    for place in places:
        place.leave()
    waiting(budget, 1)
    budget.cool()  # without a ramp it changes nothing
    assert budget.limit == 2 and budget.stats().queued == 1


def test_busy_says_when_to_come_again_by_the_rate():
    budget = OriginBudget(100, rate=2, max_queue=0, clock=ManualClock())
    budget._rules.mean_s = 0.001
    budget.run(int)
    with pytest.raises(OriginBusy) as caught:
        budget.run(int)
    assert caught.value.retry_after == pytest.approx(0.5)


def test_busy_survives_pickling_and_copying():
    error = OriginBusy("the origin is busy", 2.5, waited=False)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(twin), twin.retry_after, twin.waited) == ("the origin is busy", 2.5, False)


# ------------------------------------------------------------------ loads within loads

def test_load_within_a_load_goes_in_its_place():
    budget = OriginBudget(1, max_queue=0)
    with budget.slot():
        with budget.slot():
            with budget.slot():
                assert budget.stats().running == 1
    assert whole(budget) and budget.stats().entered == 1


def test_loads_within_a_load_go_one_at_a_time():
    budget, order = OriginBudget(1, queue_timeout=60), []

    async def child(number):
        async with budget.slot():
            order.append(("in", number))
            await asyncio.sleep(0)
            order.append(("out", number))

    async def parent():
        async with budget.slot():
            await asyncio.gather(*map(child, range(5)))

    run_async(parent())
    assert order == [(what, number) for number in range(5) for what in ("in", "out")]
    assert whole(budget) and budget.stats().most == 1


def test_child_that_outlives_its_parent_keeps_the_place():
    budget = OriginBudget(1, queue_timeout=60)

    async def main():
        go, entered = asyncio.Event(), asyncio.Event()

        async def child():
            async with budget.slot():
                entered.set()
                await go.wait()

        async with budget.slot():
            task = asyncio.ensure_future(child())
            await entered.wait()
        with pytest.raises(OriginBusy):
            await outside(budget, waits=False)
        go.set()
        await task
        (await outside(budget, waits=False)).leave()

    run_async(main())
    assert whole(budget) and budget.stats().most == 1


def test_grandchild_that_outlives_all_keeps_the_place_and_gives_back_one():
    """Once, each of them gave a place back, and more ran than may."""
    budget = OriginBudget(1, queue_timeout=60)

    async def main():
        go, deep = asyncio.Event(), asyncio.Event()

        async def grandchild():
            async with budget.slot():
                deep.set()
                await go.wait()

        async def child(tasks):
            async with budget.slot():
                tasks.append(asyncio.ensure_future(grandchild()))
                await deep.wait()

        tasks = []
        async with budget.slot():
            await asyncio.ensure_future(child(tasks))
            with pytest.raises(OriginBusy):  # a sibling's turn comes when the grandchild is through
                await asyncio.ensure_future(budget.aenter(waits=False))
        assert budget.stats().running == 1
        go.set()
        await tasks[0]
        assert whole(budget)
        place = await outside(budget)
        with pytest.raises(OriginBusy):
            await outside(budget, waits=False)
        place.leave()

    run_async(main())
    assert whole(budget) and budget.stats().most == 1


# ------------------------------------------------------------------ tasks and loops that go away

def test_cancelled_in_the_queue_leaves_it():
    budget = OriginBudget(1, queue_timeout=60)

    async def main():
        place = await outside(budget)
        tasks = [asyncio.ensure_future(outside(budget)) for _ in range(5)]
        await asyncio.sleep(0)
        while budget.stats().queued < 5:
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks[::2], return_exceptions=True)
        while budget.stats().queued > 2:
            await asyncio.sleep(0)
        place.leave()
        for task in tasks[1::2]:
            (await task).leave()

    run_async(main())
    assert whole(budget)


def test_cancelled_when_it_was_just_given_a_place_hands_it_on():
    budget = OriginBudget(1, queue_timeout=60)

    async def main():
        place = await outside(budget)
        first, second = (asyncio.get_running_loop().create_task(budget.aenter()) for _ in range(2))
        while budget.stats().queued < 2:
            await asyncio.sleep(0)
        place.leave()  # the place is first's
        first.cancel()
        (await second).leave()
        with pytest.raises(asyncio.CancelledError):
            await first

    run_async(main())
    assert whole(budget)


@pytest.mark.parametrize("when", ["waiting", "given a place"])
def test_loop_that_is_closed_takes_nothing_with_it(when):
    budget = OriginBudget(1, max_queue=1, queue_timeout=60)
    place, loop = budget.enter(), asyncio.new_event_loop()

    async def ask():
        task = asyncio.ensure_future(outside(budget))
        while not budget.stats().queued:
            await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(ask())
    if when == "waiting":
        loop.close()
        place.leave()
    else:
        place.leave()  # its loop stands still: it is not given the place, or it is taken back
        loop.close()
    (together(lambda: budget.enter(waits=False))[0]).leave()
    assert whole(budget)
    del task
    gc.collect()
    assert whole(budget)


def test_task_whose_loop_stood_still_on_its_turn_asks_again():
    budget = OriginBudget(1, queue_timeout=60)
    place, loop = budget.enter(), asyncio.new_event_loop()

    async def ask():
        task = asyncio.ensure_future(outside(budget))
        while not budget.stats().queued:
            await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(ask())
    place.leave()
    assert whole(budget)  # another could have it now

    async def go_on():
        while not task.done():
            budget.stats()
            await asyncio.sleep(0)
        return task.result()

    crew = Crew(budget.enter)
    other = crew.join()[0]
    other.leave()
    task.get_loop().call_soon(lambda: None)
    try:
        loop.run_until_complete(asyncio.wait_for(go_on(), LIMIT)).leave()
    finally:
        loop.close()
    assert whole(budget)


# ------------------------------------------------------------------ rate, ramp, breaker

def test_rate_paces_loads_by_the_clock():
    clock = ManualClock()
    budget = OriginBudget(100, rate=2, clock=clock)
    begun = []
    for _ in range(8):
        try:
            budget.enter(waits=False).leave()
            begun.append(clock())
        except OriginBusy:
            pass
        clock.advance(0.25)
    assert begun == [0.0, 0.5, 1.0, 1.5]


def test_paced_loads_wait_in_order_for_their_time():
    """The first of the queue looks again when its time has come, and tells the next: no load that ends wakes them."""
    budget = OriginBudget(100, rate=500, queue_timeout=60)
    together(*[lambda: budget.run(int)] * 80)
    stats = budget.stats()
    assert stats.entered == 80 and stats.waited > 0 and whole(budget)


def test_ramp_begins_low_and_rises_and_begins_anew_after_a_pause():
    clock = ManualClock()
    budget = OriginBudget(16, ramp="4s", clock=clock)
    budget.run(int)
    heights = []
    for _ in range(5):
        heights.append(budget.limit)
        clock.advance(1)
    assert heights == [1, 2, 4, 8, 16]
    budget.cool()
    budget.run(int)
    assert budget.limit == 1
    clock.advance(4)
    budget.run(int)
    assert budget.limit == 16
    clock.advance(5)
    budget.run(int)
    assert budget.limit == 1


def test_breaker_opens_refuses_at_once_lets_one_try_and_closes():
    clock = ManualClock()
    budget = OriginBudget(8, breaker=3, open_for=10, clock=clock, seed=1)
    fail(budget, 3)
    with pytest.raises(OriginBusy, match="failed again and again") as caught:
        budget.run(int)
    assert 8.0 <= caught.value.retry_after <= 10.0 and budget.stats().breaker == "open"
    clock.advance(caught.value.retry_after)
    assert budget.stats().breaker == "half open"
    with budget.slot():
        with pytest.raises(OriginBusy):
            together(lambda: budget.enter(waits=False))  # one tries
    assert budget.stats().breaker == "closed" and budget.run(int) == 0
    assert (budget.stats().opened, budget.stats().refused_broken) == (1, 1)


def test_breaker_is_open_for_longer_each_time_that_the_try_fails():
    clock = ManualClock()
    budget = OriginBudget(8, breaker=1, open_for=1, clock=clock, seed=1)
    waits = []
    for _ in range(8):
        fail(budget)
        with pytest.raises(OriginBusy) as caught:
            budget.run(int)
        waits.append(caught.value.retry_after)
        clock.advance(waits[-1])
    assert all(0.8 * most <= wait <= most for wait, most in zip(waits, [1, 2, 4, 8, 16, 32, 32, 32], strict=True))


def test_cancelled_try_lets_the_next_one_try():
    clock = ManualClock()
    budget = OriginBudget(8, breaker=1, open_for=1, clock=clock)
    fail(budget)
    clock.advance(1)
    with pytest.raises(KeyboardInterrupt), budget.slot():
        raise KeyboardInterrupt
    assert budget.stats().breaker == "half open" and budget.run(int) == 0 and budget.stats().breaker == "closed"


def test_breaker_that_opens_sends_those_home_who_wait():
    budget = OriginBudget(1, breaker=1, open_for=60, queue_timeout=60)
    place = budget.enter()

    async def ask():
        await budget.aenter()

    crew = Crew(budget.enter, lambda: run_async(ask()), budget.enter)
    waiting(budget, 3)
    place.leave(Failure())
    errors = crew.join(errors_too=True)
    assert all(isinstance(error, OriginBusy) and "again and again" in str(error) for error in errors)
    assert whole(budget) and budget.stats().refused_broken == 3


def test_refusal_of_another_budget_is_no_failure_of_the_origin():
    budget = OriginBudget(1, breaker=1)
    with pytest.raises(OriginBusy), budget.slot():
        raise OriginBusy("another")
    assert budget.stats().breaker == "closed"


# ------------------------------------------------------------------ numbers

def test_stats_say_how_it_stands():
    budget = OriginBudget(2)
    assert isinstance(budget.stats(), BudgetStats) and repr(budget) == "<samovar.OriginBudget: 0 of 2 running, 0 queued>"
    with budget.slot():
        crew = Crew(budget.enter, budget.enter)
        waiting(budget, 1)
        stats = budget.stats()
        assert (stats.limit, stats.running, stats.queued, stats.entered, stats.breaker) == (2, 2, 1, 2, "closed")
    crew.join()
    stats = budget.stats()
    assert (stats.running, stats.waited, stats.queue_latency.count, stats.most) == (2, 1, 1, 2)
    assert 0.0 < stats.queue_latency.p50 <= stats.queue_latency.p99
    with pytest.raises(AttributeError):
        stats.running = 5


def test_interrupted_waiter_leaves_the_queue(monkeypatch):
    budget = OriginBudget(1, queue_timeout=60)
    with budget.slot():
        def interrupted(waiter):
            raise KeyboardInterrupt
        with monkeypatch.context() as patch:
            patch.setattr(budget, "_turn", interrupted)
            with pytest.raises(KeyboardInterrupt):
                together(budget.enter)
        assert budget.stats().queued == 0
    assert whole(budget)


def test_finalizer_that_leaves_and_asks_in_the_middle_of_a_step_breaks_nothing():
    """A finalizer may run wherever something is called. Here it does, in every place where the rules are asked."""
    budget, busy = OriginBudget(1, queue_timeout=0), []
    due_s = budget._rules.due_s

    def asked(*words):
        due = due_s(*words)
        if not busy:
            busy.append(True)
            try:
                held.append(contextvars.Context().run(budget.enter, waits=False))
            except OriginBusy:
                pass
            busy.pop()
        return due

    class Rules:
        due_s = staticmethod(asked)

        def __getattr__(self, name):
            return getattr(due_s.__self__, name)

    held, budget._rules = [], Rules()
    with pytest.raises(OriginBusy):
        budget.enter()
    assert budget.stats().running == len(held) == 1
    held[0].leave()
    assert budget.stats().most == 1
