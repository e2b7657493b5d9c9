"""Tasks, event loops in several threads, cancellation, loops that stop in mid-flight."""

import asyncio
import gc
import logging
import random
import sys
import threading

import pytest

from samovar import cached_method, memoize
from support import LIMIT, Crew, check, collect, run_async, together, until, wait_for


class Gate:
    """An `async def` that stops inside until the test opens it. It may be opened from any thread."""

    def __init__(self, answer=None):
        self.entered, self.go = threading.Event(), threading.Event()
        self.calls, self.cancelled, self.answer = 0, 0, answer

    async def __call__(self, x):
        self.calls += 1
        self.entered.set()
        try:
            while not self.go.is_set():
                await asyncio.sleep(0.0005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.answer, BaseException):
            raise self.answer
        return [x] if self.answer is None else self.answer


def gated(answer=None, **options):
    gate = Gate(answer)

    @memoize(**options)
    async def f(x):
        return await gate(x)

    return gate, f


async def entered(gate):
    while not gate.entered.is_set():
        await asyncio.sleep(0)


async def settle(rounds=10):
    """Give every other task a few turns."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def asked(memo, x):
    return await memo(x)


# ------------------------------------------------------------------ cancellation

def test_cancelled_waiter_harms_nobody():
    async def main():
        gate, f = gated()
        crowd = [asyncio.ensure_future(f(1)) for _ in range(5)]
        await entered(gate)
        await settle()
        crowd[2].cancel()
        crowd[4].cancel()
        await settle()
        gate.go.set()
        done = await asyncio.gather(*crowd, return_exceptions=True)
        assert [isinstance(d, asyncio.CancelledError) for d in done] == [False, False, True, False, True]
        assert done[0] is done[1] is done[3]
        assert (gate.calls, gate.cancelled) == (1, 0)
        assert check(f)
        assert await f(1) is done[0]

    run_async(main())


def test_cancelled_leader_harms_nobody():
    async def main():
        gate, f = gated()
        leader = asyncio.ensure_future(f(1))
        await entered(gate)
        crowd = [asyncio.ensure_future(f(1)) for _ in range(4)]
        await settle()
        leader.cancel()
        await settle()
        assert leader.cancelled()
        gate.go.set()
        done = await asyncio.gather(*crowd)
        assert all(value == [1] for value in done)
        assert check(f)
        assert f.cache_contains(1)

    run_async(main())


def test_work_is_cancelled_when_nobody_waits_any_more():
    async def main():
        gate, f = gated()
        crowd = [asyncio.ensure_future(f(1)) for _ in range(3)]
        await entered(gate)
        await settle()
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        for _ in range(100):
            if gate.cancelled:
                break
            await asyncio.sleep(0)
        assert gate.cancelled == 1
        assert not f.cache_contains(1)
        assert check(f)
        gate.go.set()
        assert await f(1) == [1]
        assert gate.calls == 2

    run_async(main())


def test_single_caller_that_is_cancelled_cancels_its_work():
    async def main():
        gate, f = gated()
        caller = asyncio.ensure_future(f(1))
        await entered(gate)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(caller, 0.01)
        await settle(100)
        assert gate.cancelled == 1
        assert check(f)
        gate.go.set()
        assert await f(1) == [1]

    run_async(main())


def test_newcomer_after_everybody_was_cancelled_is_served():
    async def main():
        gate, f = gated()
        first = asyncio.ensure_future(f(1))
        await entered(gate)
        first.cancel()
        second = asyncio.ensure_future(f(1))  # before the cancelled work had a chance to end
        await settle()
        gate.go.set()
        assert await second == [1]
        assert first.cancelled()
        assert check(f)

    run_async(main())


def test_function_that_swallows_its_cancellation_is_served():
    async def main():
        started = asyncio.Event()

        @memoize
        async def f(x):
            started.set()
            try:
                await asyncio.sleep(LIMIT)
            except asyncio.CancelledError:
                pass
            return [x]

        task = asyncio.ensure_future(f(1))
        await started.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await settle(50)
        assert check(f)

    run_async(main())


def test_function_that_raises_cancelled_error_itself_stops_only_its_flight():
    async def main():
        calls = []

        @memoize
        async def f(x):
            calls.append(x)
            await asyncio.sleep(0)
            if len(calls) == 1:
                raise asyncio.CancelledError
            return [x]

        done = await asyncio.gather(*(asked(f, 1) for _ in range(3)), return_exceptions=True)
        assert all(d == [1] or isinstance(d, asyncio.CancelledError) for d in done)
        assert await f(1) == [1]
        assert check(f)

    run_async(main())


def test_storm_of_cancellations_leaves_the_memo_sound(seed=8):
    async def main():
        chance = random.Random(seed)
        running = []

        @memoize(maxsize=4)
        async def f(x):
            running.append(x)
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                raise ValueError(x)
            return [x]

        tasks = []
        for _ in range(1500):
            tasks.append(asyncio.ensure_future(asked(f, chance.randrange(8))))
            if chance.random() < 0.3:
                chance.choice(tasks[-20:]).cancel()
            if chance.random() < 0.3:
                await asyncio.sleep(0)
            match chance.randrange(40):
                case 0:
                    f.cache_clear()
                case 1:
                    f.cache_invalidate(chance.randrange(8))
                case 2:
                    f.cache_set([3], 3)
                case 3:
                    assert check(f)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(d, (list, ValueError, asyncio.CancelledError)) for d in done)
        assert check(f)

    run_async(main())


# ------------------------------------------------------------------ failures

def test_failure_reaches_all_tasks_of_the_flight():
    async def main():
        gate, f = gated(ValueError("no"))
        crowd = [asyncio.ensure_future(f(1)) for _ in range(4)]
        await entered(gate)
        await settle()
        gate.go.set()
        done = await asyncio.gather(*crowd, return_exceptions=True)
        assert [str(error) for error in done] == ["no"] * 4
        assert gate.calls == 1
        gate.answer = None
        assert await f(1) == [1]

    run_async(main())


def test_failure_that_nobody_fetched_is_not_reported_as_lost():
    async def main():
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))

        @memoize
        async def f(x):
            await asyncio.sleep(0)
            raise ValueError("seen by its only caller")

        with pytest.raises(ValueError):
            await f(1)
        collect()
        await settle()
        assert complaints == []

    run_async(main())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_from_inside_a_load_is_reported_by_nobody_else(kind, caplog):
    """It leaves through the loop, as from any coroutine; the task that carried it has nothing to add."""
    @memoize
    async def f(x):
        await asyncio.sleep(0)
        raise kind("leave")

    with pytest.raises(kind, match="leave"):
        asyncio.run(asked(f, 1))
    collect()
    assert [text for record in caplog.records if "never retrieved" in (text := record.getMessage())] == []
    assert check(f)


# ------------------------------------------------------------------ many loops

def test_loops_in_threads_share_one_flight():
    gate, f = gated()

    def ask():
        async def main():
            return await asyncio.wait_for(asyncio.gather(*(f(1) for _ in range(3))), LIMIT)

        return asyncio.run(main())

    crew = Crew(*[ask] * 4)
    wait_for(gate.entered)
    until(lambda: f.cache_stats().coalesced >= 11)
    gate.go.set()
    values = [value for values in crew.join() for value in values]
    assert gate.calls == 1
    assert all(value is values[0] for value in values)
    assert check(f)


def test_failure_crosses_loops():
    gate, f = gated(ValueError("across"))

    def ask():
        with pytest.raises(ValueError, match="across"):
            run_async(asked(f, 1))

    crew = Crew(*[ask] * 4)
    wait_for(gate.entered)
    until(lambda: f.cache_stats().coalesced >= 3)
    gate.go.set()
    crew.join()
    assert gate.calls == 1


def test_loop_that_stops_in_mid_flight_leaves_the_others_served():
    """The leader's loop is closed while waiters elsewhere wait: one of them leads anew."""
    first, later = Gate(), Gate()
    later.go.set()
    gates = [first, later, later, later]

    @memoize
    async def f(x):
        return await gates.pop(0)(x)

    stop = threading.Event()

    def lead():
        loop = asyncio.new_event_loop()
        task = loop.create_task(asked(f, 1))

        async def until_stop():
            while not stop.is_set():
                await asyncio.sleep(0.0005)

        loop.run_until_complete(until_stop())
        loop.close()  # with the task unfinished
        del task
        collect()

    crew = Crew(lead)
    wait_for(first.entered)
    waiters = Crew(*[lambda: run_async(asked(f, 1))] * 3)
    until(lambda: f.cache_stats().coalesced >= 3)
    stop.set()
    crew.join()
    assert waiters.join() == [[1]] * 3
    assert check(f)


def test_asyncio_run_that_ends_in_mid_flight_leaves_the_others_served():
    """asyncio.run cancels what is left; a waiter on another loop does not take that as its own cancellation."""
    first, later = Gate(), Gate()
    later.go.set()
    gates = [first, later, later]

    @memoize
    async def f(x):
        return await gates.pop(0)(x)

    stop = threading.Event()

    def lead():
        async def main():
            task = asyncio.ensure_future(asked(f, 1))
            while not stop.is_set():
                await asyncio.sleep(0.0005)
            return task

        asyncio.run(main())

    crew = Crew(lead)
    wait_for(first.entered)
    waiters = Crew(*[lambda: run_async(asked(f, 1))] * 2)
    until(lambda: f.cache_stats().coalesced >= 2)
    stop.set()
    crew.join()
    assert waiters.join() == [[1]] * 2
    assert check(f)


def test_waiter_whose_loop_is_closed_harms_nobody():
    gate, f = gated()
    stop = threading.Event()

    def lead():
        return run_async(asked(f, 1))

    def wait_and_die():
        loop = asyncio.new_event_loop()
        task = loop.create_task(asked(f, 1))

        async def until_stop():
            while not stop.is_set():
                await asyncio.sleep(0.0005)

        loop.run_until_complete(until_stop())
        loop.close()
        return task

    leader = Crew(lead)
    wait_for(gate.entered)
    waiter = Crew(wait_and_die)
    until(lambda: f.cache_stats().coalesced >= 1)
    stop.set()
    waiter.join()
    gate.go.set()
    assert leader.join() == [[1]]
    assert check(f)


def test_coroutine_dropped_in_mid_flight_leaves_others_served():
    """Driven by hand, then forgotten: its leader never comes back."""
    async def pause():
        await asyncio.sleep(0)

    calls = []

    @memoize
    async def f(x):
        calls.append(x)
        if len(calls) == 1:
            await Forever()
        return [x]

    class Forever:
        def __await__(self):
            while True:
                yield

    call = f(1).__await__()
    next(call)
    assert check(f)
    call.close() if hasattr(call, "close") else None
    del call
    collect()
    assert run_async(asked(f, 1)) == [1]
    assert check(f)


def test_leader_that_is_dropped_in_mid_flight_leaves_its_waiters_served():
    async def main():
        gate, f = gated()
        leader = f(1).__await__()
        next(leader)
        waiter = asyncio.ensure_future(asked(f, 1))
        await entered(gate)
        await settle()
        del leader
        gc.collect()
        gate.go.set()
        assert await waiter == [1]
        assert gate.calls == 1
        assert check(f)

    run_async(main())


@pytest.mark.parametrize("verb", ["call", "refresh"])
def test_load_that_dies_with_its_loop_says_nothing(verb, monkeypatch):
    """A closed loop drops its tasks; what their coroutines do at the end must not fail, for nobody could catch it."""
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)  # "Task was destroyed but it is pending!"
    gate, f = gated()
    loop = asyncio.new_event_loop()
    task = loop.create_task(asked(f if verb == "call" else f.cache_refresh, 1))
    while not gate.entered.is_set():
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del task, loop
    collect()
    gate.go.set()
    assert run_async(asked(f, 1)) == [1]
    collect()
    assert [complaint.exc_value for complaint in complaints] == []
    assert check(f)


# ------------------------------------------------------------------ circles and re-entry

def test_circle_of_tasks_computes():
    async def main():
        @memoize
        async def f(n, depth=2):
            await asyncio.sleep(0)
            return [n] if depth == 0 else [n, *await f((n + 1) % 3, depth - 1)]

        @memoize
        async def g(n):
            visits.append(n)
            await settle(3)
            return [n] if len(visits) > 6 else [n, *await g((n + 1) % 3)]

        visits = []
        done = await asyncio.gather(*(f(n) for n in range(3)))
        assert [value[0] for value in done] == [0, 1, 2]
        done = await asyncio.gather(*(g(n) for n in range(3)))
        assert [value[0] for value in done] == [0, 1, 2]
        assert check(f) and check(g)

    run_async(main())


def test_circle_across_loops_computes():
    barrier = threading.Barrier(2)
    inside = threading.local()

    @memoize
    async def f(n):
        if not getattr(inside, "now", False):
            inside.now = True
            barrier.wait(LIMIT)
            return [n, *await f(1 - n)]
        return [n]

    values = together(lambda: run_async(asked(f, 0)), lambda: run_async(asked(f, 1)))
    assert [value[0] for value in values] == [0, 1]
    assert check(f)


def test_child_task_that_asks_for_the_key_of_its_parent_computes():
    """The parent waits for a child that waits for the parent: waiting would never end."""
    async def main():
        depth = []

        @memoize
        async def f(x):
            depth.append(x)
            await asyncio.sleep(0)
            if len(depth) == 1:
                return ["outer", *await asyncio.create_task(asked(f, x))]
            return ["inner"]

        assert await f(1) == ["outer", "inner"]
        assert check(f)

    run_async(main())


def test_group_inside_a_load_may_ask_for_other_keys():
    async def main():
        @memoize
        async def f(n):
            if n == 0:
                return [0]
            parts = await asyncio.gather(*(f(k) for k in range(n)))
            return [n, *parts]

        value = await asyncio.gather(f(5), f(4), f(3))
        assert value[0][0] == 5
        assert f.cache_stats().loads == 6

    run_async(main())


# ------------------------------------------------------------------ everything at once

def test_storm_of_tasks_and_loops_leaves_the_memo_sound(seed=3):
    @memoize(maxsize=6)
    async def f(x):
        for _ in range(x % 3):
            await asyncio.sleep(0)
        if x == 7:
            raise ValueError(x)
        return [x]

    def run(thread):
        chance = random.Random(seed * 100 + thread)

        async def one(x):
            try:
                assert await f(x) == [x]
            except ValueError as error:
                assert error.args == (x,) == (7,)

        async def main():
            for _ in range(60):
                await asyncio.gather(*(one(chance.randrange(9)) for _ in range(6)))
                match chance.randrange(8):
                    case 0:
                        f.cache_clear()
                    case 1:
                        f.cache_invalidate(chance.randrange(9))
                    case 2:
                        f.cache_set([5], 5)
                    case 3:
                        assert await f.cache_refresh(4) == [4]
                assert check(f)

        run_async(main())

    together(*[lambda thread=thread: run(thread) for thread in range(4)])
    assert check(f)


def test_async_method_shares_one_flight_per_instance():
    class C:
        def __init__(self):
            self.calls = 0

        @cached_method
        async def f(self, x):
            self.calls += 1
            await settle(3)
            return [x]

    async def main():
        things = [C() for _ in range(4)]
        await asyncio.gather(*(thing.f(1) for thing in things for _ in range(5)))
        assert [thing.calls for thing in things] == [1] * 4

    run_async(main())
    assert check(C.f)


def test_tasks_created_eagerly_share_one_flight():
    if not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("eager tasks came with Python 3.12")

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        gate, f = gated()
        crowd = [asyncio.ensure_future(f(1)) for _ in range(4)]
        await settle()
        gate.go.set()
        values = await asyncio.gather(*crowd)
        assert all(value is values[0] for value in values)
        assert gate.calls == 1
        assert await asyncio.create_task(f(1)) is values[0]

    run_async(main())
