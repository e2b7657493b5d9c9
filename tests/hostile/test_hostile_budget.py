"""Signals, forks and loops that stand still at an `OriginBudget`: no place is lost, and nobody who waits is forgotten."""

import asyncio
import contextvars
import gc
import linecache
import os
import sys
import threading
import traceback
from functools import partial

import pytest

from samovar import Cache, Freshness, ManualClock, OriginBudget
from samovar._base import flight
from samovar.app.background import THREADS
from support import run_async, wait_for


def by_slot(budget):
    with budget.slot():
        pass


def by_cache(budget):
    Cache(budget=budget).get_or_set("key", lambda: 1)


def by_nested_loads(budget):
    cache = Cache(budget=budget)
    cache.get_or_set("outer", lambda: cache.get_or_set("inner", lambda: 1))


class Interrupter:
    """Raises KeyboardInterrupt at the n-th line of samovar's own code as a signal would."""

    def __init__(self, n):
        self.n, self.count = n, 0

    def __call__(self, frame, event, arg):
        if f"{os.sep}samovar{os.sep}" not in frame.f_code.co_filename or frame.f_code.co_name == "__del__":
            return None
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
        if event == "call" or event == "line" and not text.startswith("with "):  # no signal comes as a block is left
            self.count += 1
            if self.count == self.n:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # generators are interrupted, too
@pytest.mark.parametrize("ask", [by_slot, by_cache, by_nested_loads])
def test_budget_loses_no_place_when_an_interrupt_comes_at_any_line(ask):
    budget, n = OriginBudget(1, queue_timeout=0), 0
    before, lost = sys.gettrace(), []
    while True:
        n += 1
        interrupter = Interrupter(n)
        sys.settrace(interrupter)
        try:
            ask(budget)
        except KeyboardInterrupt as error:
            *_, at, _ = traceback.extract_tb(error.__traceback__)  # the last is the interrupter
            where = f"{at.name}: {at.line}"
        finally:
            sys.settrace(before)
        if interrupter.count < n:
            break
        if budget.stats().running:
            gc.collect()  # of what the interrupted frames held
        stats = budget.stats()
        if stats.running or stats.queued or flight.held_places():
            lost.append(where)
            budget._begin_anew()
    assert n > 50
    assert not lost
    by_slot(budget)


def in_child(body):
    """What body() returns, as text, in the child of a fork."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(body())
        except BaseException as error:
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as text:
        return text.read()


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@forks
def test_breaker_lets_a_load_try_in_the_child_of_a_fork_though_the_parents_tries():
    clock = ManualClock()
    budget = OriginBudget(1, breaker=1, open_for=1, queue_timeout=0, clock=clock)
    with pytest.raises(ZeroDivisionError):
        budget.run(lambda: 1 / 0)
    clock.advance(2)
    assert budget.stats().breaker == "half open"
    assert budget.run(lambda: in_child(lambda: budget.run(lambda: "it tried"))) == "it tried"


@forks
def test_breakers_of_two_children_draw_apart():
    budget = OriginBudget(1, breaker=1)
    assert in_child(budget._rules.breaker._chance) != in_child(budget._rules.breaker._chance)


def test_who_waits_behind_a_task_whose_loop_stands_still_gets_its_place_when_time_allows():
    clock = ManualClock()
    budget = OriginBudget(5, queue_timeout=60, rate=1, clock=clock)
    by_slot(budget)  # the next one may go after a second
    loop = asyncio.new_event_loop()
    task = loop.create_task(budget.aenter())
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    assert budget.stats().queued == 1
    entered = threading.Event()

    def behind():
        with budget.slot():
            entered.set()

    thread = threading.Thread(target=behind)
    thread.start()
    try:
        clock.advance(2)
        with budget._lock:
            budget._hand_out_locked()
        wait_for(entered)
    finally:
        thread.join()
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    assert (budget.stats().queued, budget.stats().running) == (0, 0)


def test_load_that_may_serve_nothing_stale_queues_though_the_store_keeps_something_stale():
    """Not: is refused at once, asks again, is refused ..., for as long as the origin is busy."""
    clock = ManualClock()
    budget = OriginBudget(1)
    cache = Cache(fresh=Freshness(ttl=10, stale_while_revalidate=60), budget=budget, clock=clock)
    cache.get_or_set("key", lambda: "old")
    clock.advance(20)

    async def scene():
        async with budget.slot():
            asks = cache.aget_or_set("key", lambda: "new", fresh=Freshness(ttl=10), soft_timeout=60)
            asked = asyncio.get_running_loop().create_task(asks, context=contextvars.Context())
            for _ in range(50):
                await asyncio.sleep(0)
            assert (budget.stats().queued, budget.stats().refused) == (1, 0)
        return await asked

    assert run_async(scene()) == "new"
    assert cache.stats().refused == 0


def test_load_that_has_its_place_waits_for_no_thread_that_waits_for_that_place(monkeypatch):
    monkeypatch.setattr(THREADS, "limit", max(1, len(THREADS)))
    budget = OriginBudget(1, queue_timeout="1h")
    cache = Cache(budget=budget)
    answers, threads = [], []

    async def scene():
        loop = asyncio.get_running_loop()
        async with budget.slot():
            first = loop.create_task(cache.aget_or_set("first", lambda: 1), context=contextvars.Context())
            await reached(1)
            for number in range(THREADS.limit):
                ask = partial(cache.get_or_set, number, lambda: 2, hard_timeout="1h")
                threads.append(threading.Thread(target=lambda ask=ask: answers.append(ask())))
                threads[-1].start()
            await reached(1 + THREADS.limit)
        assert await first == 1

    async def reached(queued):
        while budget.stats().queued < queued:
            await asyncio.sleep(0)

    run_async(scene())
    for thread in threads:
        thread.join()
    assert answers == [2] * THREADS.limit
