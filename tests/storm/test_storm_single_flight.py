"""SingleFlight under crowds: one call for each flight, whoever comes, leaves, dies or forks meanwhile."""

import asyncio
import os
import random
import threading

import pytest

from samovar import FlightCounts, SingleFlight
from samovar._core import check
from support import LIMIT, Crew, fresh_python, run_async, together, until, wait_for

THREADS, TASKS, LOOPS = 1000, 10_000, 4


class Origin:
    """Counts its calls, and how many run at once for one key; returns when the gate is open."""

    def __init__(self, is_open=False):
        self.lock, self.calls, self.running, self.most = threading.Lock(), 0, 0, 0
        self.entered, self.gate = threading.Event(), threading.Event()
        if is_open:
            self.gate.set()

    def __call__(self):
        with self.lock:
            self.calls += 1
            self.running += 1
            self.most = max(self.most, self.running)
        self.entered.set()
        wait_for(self.gate)
        with self.lock:
            self.running -= 1
        return object()


def test_a_thousand_threads_on_one_key_make_one_call():
    once, origin = SingleFlight(), Origin()
    crew = Crew(*[lambda: once.do("k", origin)] * THREADS)
    until(lambda: once.stats().coalesced == THREADS - 1)
    origin.gate.set()
    assert len(set(map(id, crew.join()))) == 1
    assert origin.calls == 1 and once.stats() == FlightCounts(1, THREADS - 1, 0)
    assert check(once) and len(once) == 0


def test_ten_thousand_tasks_of_several_loops_and_threads_make_one_call():
    once, origin, threads = SingleFlight(), Origin(), 50

    async def crowd():
        return await asyncio.gather(*(once.do_async("k", origin) for _ in range(TASKS // LOOPS)))

    crew = Crew(*[lambda: run_async(crowd())] * LOOPS, *[lambda: [once.do("k", origin)]] * threads)
    until(lambda: once.stats().coalesced == TASKS + threads - 1)
    origin.gate.set()
    answers = [answer for part in crew.join() for answer in part]
    assert len(answers) == TASKS + threads and len(set(map(id, answers))) == 1
    assert origin.calls == 1 and check(once)


def test_calls_of_one_key_never_overlap_however_fast_flights_follow_each_other():
    once, origin = SingleFlight(), Origin(is_open=True)

    def ask():
        for _ in range(200):
            once.do("k", origin)

    async def ask_async():
        for _ in range(100):
            await once.do_async("k", origin)

    together(*[ask] * 16, *[lambda: run_async(ask_async())] * 3)
    stats = once.stats()
    assert origin.most == 1 and stats.flights == origin.calls
    assert check(once) and len(once) == 0


@pytest.mark.parametrize("seed", range(3))
def test_nested_calls_over_few_keys_always_end_whatever_circles_they_close(seed):
    once = SingleFlight()

    def asker(number):
        chance = random.Random(f"{seed} {number}")

        def work(depth):
            if depth == 0:
                return 1
            return once.do(chance.randrange(4), lambda: work(depth - 1))

        return lambda: [work(chance.randrange(1, 6)) for _ in range(60)]

    def async_asker(number):
        chance = random.Random(f"{seed} async {number}")

        async def work(depth):
            if depth == 0:
                return 1
            await asyncio.sleep(0)
            return await once.do_async(chance.randrange(4), lambda: work(depth - 1))

        async def main():
            jobs = [asyncio.ensure_future(work(chance.randrange(1, 6))) for _ in range(60)]
            for job in chance.sample(jobs, 10):
                await asyncio.sleep(0)
                job.cancel()
            done = await asyncio.gather(*jobs, return_exceptions=True)
            assert all(one == 1 or isinstance(one, asyncio.CancelledError) for one in done)

        return lambda: run_async(main())

    answers = together(*(asker(number) for number in range(12)), *(async_asker(number) for number in range(3)))
    assert all(part == [1] * 60 for part in answers[:12])
    assert check(once) and len(once) == 0


def test_forgetting_all_the_time_breaks_nothing():
    once, origin, over = SingleFlight(), Origin(is_open=True), threading.Event()

    def ask():
        try:
            return [once.do(number % 3, origin) for number in range(500)]
        finally:
            over.set()

    def forget():
        while not over.is_set():
            for key in range(3):
                once.forget(key)

    together(*[ask] * 8, forget)
    assert check(once) and len(once) == 0 and once.stats().flights == origin.calls


def test_a_loop_closed_in_mid_flight_leaves_no_waiter_hanging():
    once, entered = SingleFlight(), threading.Event()

    async def for_ever():
        entered.set()
        await asyncio.sleep(LIMIT)

    loop, stopped = asyncio.new_event_loop(), threading.Event()

    def lead():
        held = loop.create_task(once.do_async("k", for_ever))
        loop.run_forever()
        stopped.set()
        return held

    leader = Crew(lead)
    wait_for(entered)

    async def crowd():
        return await asyncio.gather(*(once.do_async("k", lambda: "anew") for _ in range(20)))

    crew = Crew(*[lambda: [once.do("k", lambda: "anew")]] * 20, lambda: run_async(crowd()))
    until(lambda: once.stats().coalesced >= 40)
    loop.call_soon_threadsafe(loop.stop)
    wait_for(stopped)
    answers = crew.join()
    assert {answer for part in answers for answer in part} == {"anew"}
    leader.join()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.wait(left, timeout=LIMIT))
    loop.close()
    assert check(once)


FORKED = """
import asyncio, os, signal, threading, warnings
warnings.simplefilter("ignore")
from samovar import SingleFlight
from samovar._core import check
from support import Crew, together, until, wait_for

def in_child(act):
    pid = os.fork()
    if pid == 0:
        signal.alarm(150)
        code = 1
        try:
            act()
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

once, entered, go = SingleFlight(), threading.Event(), threading.Event()

def gate():
    entered.set()
    wait_for(go)
    return "parent"

async def agate():
    entered.set()
    while not go.is_set():
        await asyncio.sleep(0.0005)
    return "parent"

def child():
    assert len(once) == 0 and not once.forget("other")
    assert once.do("k", lambda: "child") == "child"
    assert together(*[lambda: once.do("k", lambda: "child")] * 4) == ["child"] * 4
    assert asyncio.run(once.do_async("k", lambda: "child")) == "child"
    assert check(once)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("lead", ["once.do('k', gate)", "asyncio.run(once.do_async('k', agate))"], ids=["thread", "task"])
@pytest.mark.parametrize("waiters", [0, 3])
def test_a_child_of_a_fork_in_mid_flight_leads_anew(lead, waiters):
    fresh_python(FORKED + f"""
crew = Crew(lambda: {lead})
wait_for(entered)
crowd = Crew(lambda: "parent", *[lambda: once.do('k', gate)] * {waiters})
until(lambda: once.stats().coalesced == {waiters})
assert in_child(child) == 0
go.set()
assert crew.join() == ["parent"] and crowd.join() == ["parent"] * {waiters + 1}
assert check(once) and len(once) == 0
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("waiters", [0, 3])
def test_a_body_that_forks_ends_in_both_processes(waiters):
    fresh_python(FORKED + f"""
def body():
    entered.set()
    until(lambda: once.stats().coalesced == {waiters})
    status = in_child(lambda: (child(), check(once)))
    pid = os.fork()  # and one that returns through the flight
    return status if pid else "in the child"

crowd = Crew(lambda: 0, *[lambda: (wait_for(entered), once.do('k', gate))[1]] * {waiters})
answer = once.do('k', body)
if answer == "in the child":
    ok = check(once) and len(once) == 0 and once.do('k', lambda: 1) == 1
    os._exit(0 if ok else 1)
assert answer == 0 and crowd.join() == [0] * {waiters + 1}
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
""")


@pytest.mark.parametrize("lead", ["once.do('k', gate)", "asyncio.run(once.do_async('k', agate))"], ids=["thread", "task"])
def test_interpreter_shutdown_in_mid_flight_hangs_nobody(lead):
    fresh_python(FORKED + f"""
for act in [lambda: {lead}, *[lambda: once.do('k', gate)] * 3]:
    threading.Thread(target=act, daemon=True).start()
wait_for(entered)
until(lambda: once.stats().coalesced == 3)
""")
