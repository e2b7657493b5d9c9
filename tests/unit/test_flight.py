"""Flight: who waits is woken, gives up, or is told to compute; work that nobody wants is cancelled."""

import asyncio
import threading
import traceback

import pytest

from samovar._base.flight import (
    ABANDONED, CIRCLE, ENDED, FAILED, FLYING, LANDED, LOST, TIMED_OUT, Flight, bodies, is_inside, outside, running_loop,
)
from support import LIMIT, Crew, fresh_python, run_async, together, until, wait_for


class Store:
    def __init__(self):
        self.abandoned = []

    def _abandon(self, number, flight):
        self.abandoned.append(number)


def flight(*, loop=None, thread=..., number=1):
    made = Flight(Store(), loop, threading.get_ident() if thread is ... else thread)
    made.number = number
    return made


def of_another_thread():
    return flight(thread=-1)


# ------------------------------------------------------------------ threads

def test_flight_wakes_every_thread_with_its_value():
    load = of_another_thread()
    crew = Crew(*[lambda: (load.wait(), load.outcome())] * 20)
    until(lambda: len(load.waiters) == 20)
    load.land("value", ("tag",))
    assert crew.join() == [(ENDED, "value")] * 20
    assert (load.state, load.tags, load.waiters, load.waits_for) == (LANDED, ("tag",), {}, {})


def test_flight_that_failed_raises_the_same_error_for_all_and_its_traceback_does_not_grow():
    load = of_another_thread()
    error = ValueError("no")
    try:
        raise error
    except ValueError:
        load.fail(error)
    lengths = set()
    for _ in range(50):
        with pytest.raises(ValueError) as caught:
            load.outcome()
        assert caught.value is error
        lengths.add(len(traceback.extract_tb(error.__traceback__)))
    assert len(lengths) == 1
    assert load.state == FAILED


def test_flight_ends_once():
    load = of_another_thread()
    load.land(1)
    load.fail(ValueError())
    load.abandon()
    load.land(2)
    assert (load.state, load.outcome(), load.wait()) == (LANDED, 1, ENDED)


def test_flight_that_is_abandoned_wakes_who_waits():
    load = of_another_thread()
    crew = Crew(load.wait, load.wait)
    until(lambda: len(load.waiters) == 2)
    load.abandon()
    assert crew.join() == [ENDED, ENDED]
    assert load.state == ABANDONED


@pytest.mark.parametrize("limit", [0.0, 0.01])
def test_thread_gives_up_after_its_time_and_is_forgotten(limit):
    load = of_another_thread()
    assert load.wait(limit) == TIMED_OUT
    assert not load.waiters
    assert load.held
    assert load.state == FLYING


def test_flight_of_a_coroutine_that_nobody_is_known_to_drive_is_lost():
    assert flight(thread=None).wait() == LOST


def test_flight_whose_loop_is_closed_is_lost():
    loop = asyncio.new_event_loop()
    load = flight(loop=loop, thread=-1)
    loop.close()
    assert load.wait() == LOST
    assert run_async(load.wait_async()) == LOST


def test_thread_notices_that_the_loop_of_its_flight_was_closed():
    ready, stop, loads = threading.Event(), threading.Event(), []

    def lead():
        async def main():
            loads.append(flight(loop=asyncio.get_running_loop()))
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.0005)

        asyncio.run(main())

    leader = Crew(lead)
    wait_for(ready)
    waiter = Crew(lambda: loads[0].wait())
    until(lambda: loads[0].waiters)
    stop.set()
    leader.join()
    assert waiter.join() == [LOST]


# ------------------------------------------------------------------ circles

def test_thread_does_not_wait_for_its_own_body():
    assert flight().wait() == CIRCLE


def test_body_does_not_wait_for_a_flight_that_waits_for_it():
    first, second = of_another_thread(), of_another_thread()
    barrier = threading.Barrier(2)

    def run(mine, other):
        with bodies((mine,)):
            barrier.wait(LIMIT)
            told = other.wait()
            mine.land(told)
            return told

    told = together(lambda: run(first, second), lambda: run(second, first))
    assert sorted(told) == [ENDED, CIRCLE]


def test_circle_of_many_threads_is_found_once():
    loads = [of_another_thread() for _ in range(8)]
    barrier = threading.Barrier(8)

    def run(number):
        with bodies((loads[number],)):
            barrier.wait(LIMIT)
            told = loads[(number + 1) % 8].wait()
            loads[number].land(told)
            return told

    told = together(*[lambda number=number: run(number) for number in range(8)])
    assert told.count(CIRCLE) == 1


def test_thread_that_runs_a_loop_does_not_block_for_a_task_of_it():
    async def main():
        load = flight(loop=asyncio.get_running_loop())
        return load.wait()

    assert run_async(main()) == CIRCLE


def test_thread_does_not_wait_for_a_task_whose_loop_waits_for_its_body():
    """The loop's thread is blocked by a body in another thread, which asks for what a task of that loop loads."""
    threaded, inside, told = of_another_thread(), threading.Event(), []

    async def main():
        task_led = flight(loop=asyncio.get_running_loop())

        def body():
            with bodies((threaded,)):
                inside.set()
                until(lambda: threaded.waiters)
                told.append(task_led.wait())
                threaded.land(None)

        crew = Crew(body)
        wait_for(inside)
        told.append(threaded.wait())  # blocks the loop
        crew.join()

    run_async(main())
    assert sorted(told) == [ENDED, CIRCLE]


def test_body_does_not_wait_for_work_that_waits_for_a_thread():
    queued, mine = of_another_thread(), of_another_thread()
    queued.queued = True
    with bodies((mine,)):
        assert is_inside()
        assert queued.wait() == CIRCLE
    assert queued.wait(0.0) == TIMED_OUT  # who is in no body may wait


def test_work_outside_waits_for_what_it_came_from():
    mine = of_another_thread()

    async def main():
        with bodies((mine,)):
            mine.thread = -1
            assert await mine.wait_async() == CIRCLE

            async def background():
                outside()
                assert not is_inside()
                return await mine.wait_async()

            task = asyncio.create_task(background())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            mine.land(1)
            assert await task == ENDED

    run_async(main())


# ------------------------------------------------------------------ tasks

def test_flight_wakes_tasks_of_many_loops_and_threads():
    load = of_another_thread()

    def loop():
        async def main():
            return await asyncio.gather(*(load.wait_async() for _ in range(10)))

        return run_async(main())

    crew = Crew(loop, loop, load.wait, load.wait)
    until(lambda: len(load.waiters) == 22)
    load.land(3)
    assert crew.join() == [[ENDED] * 10, [ENDED] * 10, ENDED, ENDED]


async def carried(load):
    """A flight with a task that ends when it is cancelled."""
    cancelled = asyncio.Event()

    async def work():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    load.task = asyncio.create_task(work())
    await asyncio.sleep(0)
    return cancelled


def test_work_is_cancelled_by_the_last_who_leaves():
    async def main():
        load = flight(loop=asyncio.get_running_loop(), number=7)
        cancelled = await carried(load)
        crowd = [asyncio.create_task(load.wait_async()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in crowd[:2]:
            task.cancel()
        await asyncio.wait(crowd[:2])
        assert (load.state, load.store.abandoned) == (FLYING, [])
        crowd[2].cancel()
        await cancelled.wait()
        assert (load.state, load.store.abandoned) == (ABANDONED, [7])

    run_async(main())


@pytest.mark.parametrize("limit", [0.0, 0.01])
def test_work_goes_on_after_a_timeout(limit):
    async def main():
        load = flight(loop=asyncio.get_running_loop())
        await carried(load)
        assert await load.wait_async(limit) == TIMED_OUT
        waiter = asyncio.create_task(load.wait_async())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
        assert load.state == FLYING
        assert not load.task.cancelled() and not load.task.cancelling()
        load.task.cancel()

    run_async(main())


def test_thread_that_leaves_last_cancels_work_in_a_loop():
    """Interrupted, say: its wait raises."""
    async def main():
        load = flight(loop=asyncio.get_running_loop(), number=5)
        cancelled = await carried(load)

        def interrupted():
            from samovar._base import flight as room
            waiter = room._Sleeper()
            assert load.enlist(waiter) is None
            load.leave(waiter)

        await asyncio.to_thread(interrupted)
        await cancelled.wait()
        assert load.store.abandoned == [5]

    run_async(main())


def test_wait_for_ever_by_a_large_timeout_ends_with_the_flight():
    async def main():
        load = of_another_thread()
        waiter = asyncio.create_task(load.wait_async(float("inf")))
        await asyncio.sleep(0)
        load.land(1)
        assert await waiter == ENDED

    run_async(main())
    assert running_loop() is None


# ------------------------------------------------------------------ fork, signals

def test_flight_left_behind_by_a_fork_is_lost_in_the_child():
    fresh_python("""
import os, threading, warnings
warnings.simplefilter("ignore")
if hasattr(os, "fork"):
    from samovar._base import flight as room
    from support import Crew, until
    load = room.Flight(None, None, -1)
    crew = Crew(load.wait, load.wait)
    until(lambda: len(load.waiters) == 2)
    room._tower.acquire()
    pid = os.fork()
    if pid == 0:
        try:
            assert load.wait() == room.LOST
            load.land(1)
            mine = room.Flight(None, None, -1)
            assert mine.wait(0.0) == room.TIMED_OUT
            os._exit(0)
        except BaseException:
            os._exit(1)
    room._tower.release()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    load.land(2)
    assert crew.join() == [room.ENDED, room.ENDED]
""")


def test_signal_interrupts_a_thread_that_waits():
    fresh_python("""
import signal, threading
if hasattr(signal, "setitimer"):
    from samovar._base.flight import Flight, TIMED_OUT
    class Alarm(Exception): pass
    def handler(*args):
        inner = Flight(None, None, -1)
        assert inner.wait(0.0) == TIMED_OUT  # a handler may itself wait
        raise Alarm
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    load = Flight(None, None, -1)
    try:
        load.wait()
    except Alarm:
        assert not load.waiters
    else:
        raise SystemExit("not interrupted")
""")
