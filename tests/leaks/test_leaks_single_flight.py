"""A SingleFlight keeps nothing: no key, no result, no error, no function, and not itself."""

import contextvars
import gc
import sys
import weakref

import pytest

from samovar import SingleFlight
from support import Crew, collect, fresh_python, run_async, together, until
from test_leaks_memory import MEASURE


class Thing:
    """What can be weakly referred to."""


class Failure(Exception):
    pass


def gone(*things):
    alive = [weakref.ref(thing) for thing in things]
    return lambda: [one() for one in alive] == [None] * len(alive)


def test_key_function_and_result_are_gone_when_the_flight_has_ended():
    once, key, value = SingleFlight(), Thing(), Thing()
    fn = lambda: value  # noqa: E731
    gc.disable()
    try:
        once.do(key, fn)
        promise = gone(key, value, fn)
        del key, value, fn
        assert promise()
    finally:
        gc.enable()


def test_an_error_is_gone_when_its_callers_have_handled_it():
    once, error = SingleFlight(), Failure()

    def fail():
        raise error

    def ask():
        try:
            once.do("k", fail)
        except Failure:
            pass

    promise = gone(error)
    together(*[ask] * 10)
    ask()
    run_async(_ask_async(once, fail))
    del error, fail
    until(lambda: collect() or promise())  # the thread that ran it may need a moment to let go


async def _ask_async(once, fail):
    with pytest.raises(Failure):
        await once.do_async("k", fail)


def test_what_a_crowd_shared_is_gone_when_it_has_left():
    once, key, value = SingleFlight(), Thing(), Thing()
    promise = gone(key, value)

    def lead():
        until(lambda: once.stats().coalesced == 5)
        return value

    crew = Crew(*[lambda: once.do(key, lead) and None] * 6)
    crew.join()
    del crew, lead, key, value
    collect()
    assert promise()


def test_a_context_that_outlives_the_flight_keeps_neither_result_nor_crowd():
    once, value, contexts = SingleFlight(), Thing(), []

    def work():
        contexts.append(contextvars.copy_context())
        return value

    once.do("k", work)
    promise = gone(value, once)
    del value, once, work
    collect()
    assert promise() and contexts


def test_a_single_flight_in_its_own_circle_is_collected():
    once, thing = SingleFlight(), Thing()
    promise = gone(once, thing)

    once._join((once, thing), (once, thing), 1, None, 0.0)  # a flight that nobody ends
    assert len(once) == 1
    del once, thing
    collect()
    assert promise()


def test_references_stay_as_many_over_ten_thousand_flights():
    once, fn = SingleFlight(), Thing
    before = sys.getrefcount(Thing), sys.getrefcount(once)
    for number in range(10_000):
        once.do(number, fn)
    collect()
    assert (sys.getrefcount(Thing), sys.getrefcount(once)) == before


def test_memory_stays_flat_whatever_flies():
    assert fresh_python(MEASURE + """
once = samovar.SingleFlight()

def fail():
    raise KeyError

async def answer():
    return 1

async def tasks():
    for n in range(2_000):
        await asyncio.gather(*(once.do_async(n, answer) for _ in range(3)))

def work():
    for n in itertools.islice(number, 60_000):
        once.do((n, "key"), lambda: once.do(n, list))
        once.do(n, lambda: once.do(n, list))  # a circle
        try:
            once.do(n, fail)
        except KeyError:
            pass
    asyncio.run(tasks())

flat(work)
""").strip() == "flat"
