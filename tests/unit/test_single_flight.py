"""SingleFlight: one works, those who come meanwhile wait, nothing is kept, and nobody is failed by another's end."""

import asyncio
import contextvars
import copy
import gc
import pickle
import signal
import threading
import traceback

import pytest

from samovar import FlightCounts, SingleFlight
from samovar._base.flight import is_inside
from samovar._base.missing import MISSING
from samovar._core import check
from support import LIMIT, Crew, run_async, together, until, wait_for


class Gate:
    """A function that counts its calls, says when it was entered, and returns when it may."""

    def __init__(self, result=None, error=None):
        self.entered, self.go, self.calls, self.error = threading.Event(), threading.Event(), 0, error
        self.result = object() if result is None else result

    def __call__(self):
        self.calls += 1
        self.entered.set()
        wait_for(self.go)
        if self.error is not None:
            raise self.error
        return self.result


class AsyncGate:
    """The same, `async def`; it also counts how often it was cancelled."""

    def __init__(self, error=None):
        self.entered, self.go = threading.Event(), threading.Event()
        self.calls, self.cancelled, self.error, self.result = 0, 0, error, object()

    async def __call__(self):
        self.calls += 1
        self.entered.set()
        try:
            for _ in range(int(LIMIT * 2000)):
                if self.go.is_set():
                    break
                await asyncio.sleep(0.0005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return self.result


async def comes_true(promise):
    for _ in range(int(LIMIT * 2000)):
        if promise():
            return
        await asyncio.sleep(0.0005)
    raise AssertionError(f"did not come true: {promise}")


@pytest.fixture
def once():
    made = SingleFlight()
    yield made
    assert check(made)
    assert len(made) == 0


def waiting(once, count):
    return lambda: once.stats().coalesced >= count


# ------------------------------------------------------------------ one caller

def test_do_returns_what_the_function_returns_and_keeps_nothing(once):
    answers = iter([1, None, "x"])
    assert [once.do("k", lambda: next(answers)) for _ in range(3)] == [1, None, "x"]
    assert once.stats() == FlightCounts(flights=3, coalesced=0, failures=0)


def test_do_async_returns_what_the_function_returns_be_it_async_or_not(once):
    async def work():
        return threading.get_ident()

    async def main():
        here = threading.get_ident()
        assert await once.do_async("k", work) == here
        assert await once.do_async("k", threading.get_ident) != here
        assert await once.do_async("k", lambda: work()) == here
        assert await once.do_async("k", lambda: None) is None

    run_async(main())
    assert once.stats() == FlightCounts(flights=4, coalesced=0, failures=0)


def test_do_raises_what_the_function_raises_and_the_next_call_tries_anew(once):
    def fails():
        raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            once.do("k", fails)
    assert once.do("k", lambda: 5) == 5
    assert once.stats() == FlightCounts(flights=4, coalesced=0, failures=3)


def test_do_takes_its_arguments_by_name(once):
    assert once.do(key="k", fn=lambda: 1) == 1
    assert run_async(once.do_async(key="k", fn=lambda: 1)) == 1
    assert once.forget(key="k") is False


def test_keys_are_those_of_a_dict(once):
    inner = once.do(1, lambda: once.do(1.0, lambda: once.do(True, lambda: "alike")))
    assert inner == "alike"
    assert once.stats().flights == 1
    assert once.do((1, 2), lambda: once.do((1, 3), lambda: "apart")) == "apart"
    assert once.stats().flights == 3


@pytest.mark.parametrize("fn", [None, 5, "text"])
def test_what_cannot_be_called_is_refused_by_name(once, fn):
    with pytest.raises(TypeError, match=r"do: fn must be callable, not "):
        once.do("k", fn)
    with pytest.raises(TypeError, match=r"do_async: fn must be callable, not "):
        run_async(once.do_async("k", fn))
    assert once.stats() == FlightCounts(0, 0, 0)


def test_an_async_function_is_refused_by_do_whoever_leads(once):
    async def work():
        return 1

    with pytest.raises(TypeError, match=r"do: fn must be a plain function, not the async .*; use do_async"):
        once.do("k", work)
    with pytest.raises(TypeError, match="use do_async"):
        once.do("k", lambda: work())
    gate = Gate()
    crew = Crew(lambda: once.do("k", gate))
    wait_for(gate.entered)
    with pytest.raises(TypeError, match="use do_async"):
        once.do("k", work)
    gate.go.set()
    crew.join()


def test_the_sentinel_for_no_value_is_refused_as_a_result(once):
    with pytest.raises(TypeError, match="do: fn must return a value, not MISSING"):
        once.do("k", lambda: MISSING)
    with pytest.raises(TypeError, match="do_async: fn must return a value, not MISSING"):
        run_async(once.do_async("k", lambda: MISSING))
    with pytest.raises(TypeError, match="unhashable"):
        once.do([], lambda: 1)


def test_a_single_flight_says_what_it_is_and_cannot_be_copied(once):
    once.do("k", lambda: 1)
    assert repr(once) == "<SingleFlight: 0 under way, flights=1, coalesced=0, failures=0>"
    assert once and len(once) == 0
    for take in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            take(once)


def test_flights_under_way_are_counted_by_len(once):
    assert once.do("a", lambda: once.do("b", lambda: len(once))) == 2


def test_the_body_runs_in_the_callers_context_and_leaves_it_as_it_was(once):
    word = contextvars.ContextVar("word", default="before")

    def work():
        assert is_inside()
        word.set("after")
        raise KeyError

    with pytest.raises(KeyError):
        once.do("k", work)
    assert word.get() == "after" and not is_inside()


# ------------------------------------------------------------------ a crowd of threads

def test_threads_share_one_call_and_its_result(once):
    gate = Gate()
    crew = Crew(*[lambda: once.do("k", gate)] * 20)
    until(waiting(once, 19))
    assert len(once) == 1
    gate.go.set()
    assert crew.join() == [gate.result] * 20
    assert once.stats() == FlightCounts(flights=1, coalesced=19, failures=0) and gate.calls == 1


def test_threads_share_one_failure_whose_traceback_does_not_grow(once):
    gate = Gate(error=ValueError("no"))
    lengths = []

    def ask():
        try:
            once.do("k", gate)
        except ValueError as error:
            lengths.append(len(traceback.extract_tb(error.__traceback__)))
            raise

    crew = Crew(*[ask] * 20)
    until(waiting(once, 19))
    gate.go.set()
    errors = crew.join(errors_too=True)
    assert {id(error) for error in errors} == {id(gate.error)}
    assert max(lengths) < 12 and gate.calls == 1
    assert once.stats() == FlightCounts(flights=1, coalesced=19, failures=1)
    assert once.do("k", lambda: "anew") == "anew"


def test_a_leader_that_is_interrupted_fails_nobody_else(once):
    entered, go, calls = threading.Event(), threading.Event(), []

    def work():
        calls.append(1)
        if len(calls) == 1:
            entered.set()
            wait_for(go)
            raise KeyboardInterrupt
        return "done"

    leader = Crew(lambda: once.do("k", work))
    wait_for(entered)
    crowd = Crew(*[lambda: once.do("k", work)] * 5)
    until(waiting(once, 5))
    go.set()
    assert isinstance(leader.join(errors_too=True)[0], KeyboardInterrupt)
    assert crowd.join() == ["done"] * 5
    assert once.stats().failures == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
def test_a_waiter_that_is_interrupted_leaves_the_others_waiting(once):
    class Alarm(BaseException):
        pass

    def ring(*_):
        raise Alarm

    gate = Gate()
    crew = Crew(lambda: once.do("k", gate), lambda: once.do("k", gate))
    until(waiting(once, 1))
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Alarm):
            once.do("k", gate)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    gate.go.set()
    assert crew.join() == [gate.result] * 2


def test_keys_fly_apart(once):
    gates = [Gate(result=number) for number in range(8)]
    crew = Crew(*[lambda number=number: once.do(number, gates[number]) for number in range(8)])
    until(lambda: len(once) == 8)
    for gate in gates:
        gate.go.set()
    assert crew.join() == list(range(8))


# ------------------------------------------------------------------ threads, tasks and loops together

def test_a_thread_joins_the_flight_of_a_task(once):
    gate = AsyncGate()
    leader = Crew(lambda: run_async(once.do_async("k", gate)))
    wait_for(gate.entered)
    crowd = Crew(*[lambda: once.do("k", lambda: "not called")] * 5)
    until(waiting(once, 5))
    gate.go.set()
    assert crowd.join() + leader.join() == [gate.result] * 6


def test_tasks_of_several_loops_join_the_flight_of_a_thread(once):
    gate = Gate()
    leader = Crew(lambda: once.do("k", gate))
    wait_for(gate.entered)

    async def crowd():
        return await asyncio.gather(*(once.do_async("k", lambda: "not called") for _ in range(10)))

    loops = Crew(*[lambda: run_async(crowd())] * 3)
    until(waiting(once, 30))
    gate.go.set()
    assert leader.join() == [gate.result]
    assert loops.join() == [[gate.result] * 10] * 3


def test_a_failure_of_a_thread_reaches_the_tasks_that_wait_for_it(once):
    gate = Gate(error=ValueError("no"))
    leader = Crew(lambda: once.do("k", gate))
    wait_for(gate.entered)

    async def crowd():
        return await asyncio.gather(*(once.do_async("k", gate) for _ in range(3)), return_exceptions=True)

    loop = Crew(lambda: run_async(crowd()))
    until(waiting(once, 3))
    gate.go.set()
    assert leader.join(errors_too=True) == [gate.error] and loop.join() == [[gate.error] * 3]


# ------------------------------------------------------------------ cancellation is counted

def test_a_cancelled_leader_or_waiter_fails_nobody_else(once):
    async def main():
        gate = AsyncGate()
        tasks = [asyncio.ensure_future(once.do_async("k", gate)) for _ in range(6)]
        await comes_true(waiting(once, 5))
        tasks[0].cancel()
        tasks[3].cancel()
        await asyncio.wait(tasks[:1] + tasks[3:4])
        gate.go.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in answers] == [True, False, False, True, False, False]
        assert (gate.calls, gate.cancelled) == (1, 0)

    run_async(main())
    assert once.stats() == FlightCounts(flights=1, coalesced=5, failures=0)


def test_the_work_is_cancelled_when_nobody_waits_any_more(once):
    async def main():
        gate = AsyncGate()
        tasks = [asyncio.ensure_future(once.do_async("k", gate)) for _ in range(4)]
        await comes_true(waiting(once, 3))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await comes_true(lambda: gate.cancelled == 1)
        assert await once.do_async("k", lambda: "anew") == "anew"

    run_async(main())
    assert once.stats().failures == 0


def test_a_thread_that_waits_keeps_the_work_of_a_cancelled_task_alive(once):
    gate = AsyncGate()

    async def main():
        leader = asyncio.ensure_future(once.do_async("k", gate))
        await comes_true(gate.entered.is_set)
        thread = Crew(lambda: once.do("k", lambda: "not called"))
        await comes_true(waiting(once, 1))
        leader.cancel()
        await asyncio.wait([leader])
        assert leader.cancelled()
        gate.go.set()
        return await asyncio.to_thread(thread.join)

    assert run_async(main()) == [gate.result]
    assert gate.cancelled == 0


# ------------------------------------------------------------------ circles

def test_a_call_from_within_its_own_flight_computes(once):
    assert once.do("k", lambda: once.do("k", lambda: once.do("k", lambda: "inner"))) == "inner"
    assert once.stats().flights == 1


def test_a_loop_that_the_body_runs_is_within_its_flight(once):
    async def work():
        return "inner"

    assert once.do("k", lambda: run_async(once.do_async("k", work))) == "inner"


def test_a_task_of_a_body_that_asks_for_its_own_key_computes(once):
    async def inner():
        return "inner"

    async def outer():
        return await asyncio.gather(once.do_async("k", inner), asyncio.create_task(once.do_async("k", inner)))

    assert run_async(once.do_async("k", outer)) == ["inner", "inner"]


def test_a_sync_call_in_the_loop_that_leads_computes(once):
    async def main():
        gate = AsyncGate()
        leader = asyncio.ensure_future(once.do_async("k", gate))
        await comes_true(gate.entered.is_set)
        assert once.do("k", lambda: "computed") == "computed"
        gate.go.set()
        return await leader

    run_async(main())


@pytest.mark.parametrize("count", [2, 3, 7])
def test_threads_whose_flights_wait_for_each_other_in_a_circle_all_end(once, count):
    met = threading.Barrier(count)

    def lead(number):
        def work():
            met.wait(LIMIT)
            return once.do((number + 1) % count, lambda: "computed")

        return once.do(number, work)

    assert together(*[lambda number=number: lead(number) for number in range(count)]) == ["computed"] * count


def test_a_thread_and_a_task_that_wait_for_each_other_both_end(once):
    met = threading.Barrier(2)

    def sync_work():
        met.wait(LIMIT)
        return once.do("b", lambda: "computed")

    async def async_work():
        await asyncio.to_thread(met.wait, LIMIT)
        return await once.do_async("a", lambda: "computed")

    answers = together(lambda: once.do("a", sync_work), lambda: run_async(once.do_async("b", async_work)))
    assert answers == ["computed", "computed"]


def test_a_circle_through_two_single_flights_is_found():
    one, other, met = SingleFlight(), SingleFlight(), threading.Barrier(2)

    def work(far):
        met.wait(LIMIT)
        return far.do("k", lambda: "computed")

    assert together(lambda: one.do("k", lambda: work(other)), lambda: other.do("k", lambda: work(one))) \
        == ["computed"] * 2
    assert check(one) and check(other)


# ------------------------------------------------------------------ forget

def test_who_comes_after_forget_leads_anew_and_the_old_flight_goes_on(once):
    first, second = Gate(), Gate()
    old = Crew(*[lambda: once.do("k", first)] * 3)
    until(waiting(once, 2))
    assert once.forget("k") is True
    assert once.forget("k") is False and len(once) == 0
    new = Crew(*[lambda: once.do("k", second)] * 3)
    until(waiting(once, 4))
    second.go.set()
    assert new.join() == [second.result] * 3
    first.go.set()
    assert old.join() == [first.result] * 3
    assert once.stats() == FlightCounts(flights=2, coalesced=4, failures=0)


def test_forget_from_within_the_body_lets_the_same_call_lead_anew(once):
    def work():
        assert once.forget("k")
        return once.do("k", lambda: "anew")

    assert once.do("k", work) == "anew"
    assert once.stats().flights == 2


def test_forget_of_an_async_flight_keeps_its_cancellation_counted(once):
    async def main():
        old, new = AsyncGate(), AsyncGate()
        first = asyncio.ensure_future(once.do_async("k", old))
        await comes_true(old.entered.is_set)
        assert once.forget("k")
        second = asyncio.ensure_future(once.do_async("k", new))
        await comes_true(new.entered.is_set)
        first.cancel()
        await comes_true(lambda: old.cancelled == 1)
        new.go.set()
        assert await second is new.result

    run_async(main())


# ------------------------------------------------------------------ leaders that never come back

def test_who_waits_for_a_loop_that_stopped_leads_anew(once):
    gate = AsyncGate()
    loop = asyncio.new_event_loop()
    task = loop.create_task(once.do_async("k", gate))
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    assert gate.entered.is_set() and not loop.is_running()
    assert together(*[lambda: once.do("k", lambda: "anew")] * 3) == ["anew"] * 3
    assert run_async(once.do_async("k", lambda: "anew")) == "anew"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_coroutine_driven_by_hand_works_alone(once):
    async def work():
        return 5

    with pytest.raises(StopIteration) as stop:
        once.do_async("k", work).send(None)
    assert stop.value.value == 5
    gc.collect()
