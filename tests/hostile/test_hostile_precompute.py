"""Functions, keys and tags that raise, hang, call back and lie: what is built ahead goes on, and says what is wrong."""

import asyncio
import weakref

import pytest

from ahead import KINDS as KINDS_OF, Work, ahead
from samovar import ManualClock, NotBuilt, precompute
from samovar._core import Ahead, AheadJob
from support import LIMIT, run_async, until, wait_for

KINDS = pytest.mark.parametrize("kind", ["threads", "tasks"])


@pytest.fixture
def clock():
    return ManualClock()


@KINDS
@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(1), RecursionError(), MemoryError(), NotBuilt("no"),
                                   asyncio.CancelledError(), TimeoutError()], ids=repr)
def test_function_that_raises_anything_stops_no_other(kind, error, clock):
    work = Work()
    work.errors["bad"] = error
    with ahead(kind, work, keys=["bad", "good"], every="1m", concurrency=1, clock=clock) as page:
        page.rest()
        assert page("good") == "good 1" and page.status().keys["bad"].failures == 1
        clock.advance(60)
        page.rest()
        assert page("good") == "good 2" and page.status().keys["bad"].failures == 2
        with pytest.raises(NotBuilt):
            page("bad")
        work.errors.clear()
        clock.advance(60)
        page.rest()
        assert page("bad").startswith("bad ")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_function_that_ends_its_thread_ends_nothing(error, clock):
    work = Work()
    work.errors["bad"] = error
    with ahead("threads", work, keys=["bad", "good"], every="1m", concurrency=1, clock=clock) as page:
        page.rest()
        clock.advance(60)
        page.rest()
        assert page("good") == "good 2" and page.status().keys["bad"].failures == 2


@KINDS
def test_function_that_hangs_holds_up_no_other_key_and_no_reader(kind, clock):
    work = Work()
    with ahead(kind, work, keys=["slow", "quick"], every="1m", concurrency=2, clock=clock) as page:
        page.rest()
        entered, go = work.gate("slow")
        clock.advance(60)
        wait_for(entered)
        for number in range(2, 8):
            until(lambda: page("quick") == f"quick {number}")
            clock.advance(60)
        assert page("slow") == "slow 1"
        assert page.status().keys["slow"].building and page.status().keys["slow"].age == 420
        assert page.stop(drain=True, timeout=0.01) is False
        go.set()


@KINDS
@pytest.mark.parametrize("keys", [None, 5, "tea", [[]], [{}], len], ids=repr)
def test_keys_that_are_none_are_said_and_asked_for_again(kind, keys, clock):
    answers = [keys, ["tea"]]
    work = Work()
    with ahead(kind, work, keys=lambda: answers[0], every="1m", clock=clock) as page:
        page.rest()
        assert isinstance(page.status().keys_error, TypeError) and not page.status().keys
        del answers[0]
        clock.advance(60)
        page.rest()
        assert page("tea") == "tea 1" and page.status().keys_error is None


@KINDS
def test_keys_that_fail_in_the_middle_change_nothing(kind, clock):
    rounds = []

    def keys():
        rounds.append(1)
        yield "film"
        if len(rounds) > 1:
            raise ConnectionError
        yield "tea"

    with ahead(kind, Work(), keys=keys, every="1m", clock=clock) as page:
        page.rest()
        clock.advance(60)
        page.rest()
        assert set(page.status().keys) == {"film", "tea"} and page("tea") == "tea 2"


@KINDS
def test_tags_that_raise_are_a_failure_of_their_key(kind, clock):
    def tags(key):
        return 5 if key == "odd" else 1 / 0 if key == "bad" else ["pages"]

    with ahead(kind, Work(), keys=["odd", "bad", "good"], tags=tags, clock=clock) as page:
        page.rest()
        status = page.status()
        assert [type(status.keys[key].error) for key in ("odd", "bad", "good")] == [TypeError, ZeroDivisionError, type(None)]
        assert page("good") == "good 1" and page.touch_tags("pages") == 1


def test_function_that_stops_its_own_builder_does_not_wait_for_itself(clock):
    @precompute(keys=["tea"], clock=clock)
    def page(key):
        return page.stop()

    page.start()
    until(lambda: not page.running)
    assert page("tea") is False

    @precompute(keys=["tea"], clock=clock)
    async def apage(key):
        return await apage.stop()

    async def main():
        await apage.start()
        while apage.running:
            await asyncio.sleep(0)
        return await apage("tea")

    assert run_async(main()) is False


@KINDS
def test_function_that_reads_and_touches_other_results_gets_them(kind, clock):
    class Nested(Work):
        def call(self, key):
            self.calls.append(key)
            if key == "sum" and len(self.calls) < 5:
                self.page.touch("b")
            return 1 if key != "sum" else self.page.page("a") + self.page.page("b")

        async def acall(self, key):
            self.calls.append(key)
            if key == "sum" and len(self.calls) < 5:
                self.page.touch("b")
            return 1 if key != "sum" else await self.page.page("a") + await self.page.page("b")

    work = Nested()
    page = work.page = KINDS_OF[kind](work, keys=["sum", "a", "b"], concurrency=1, clock=clock)
    try:
        page.start()
        page.rest()
        assert page("sum") == 2 and work.calls.count("b") >= 2
    finally:
        page.close()


def test_function_that_reads_its_own_result_gets_the_last_one(clock):
    @precompute(keys=["tea"], clock=clock)
    def page(key):
        return page(key) + 1 if page.built(key) else 1

    with page:
        assert page.wait(LIMIT)
        for _ in range(3):
            page.touch("tea")
            assert page.wait(LIMIT)
    assert page("tea") == 4


@KINDS
def test_build_that_takes_longer_than_its_result_is_good_is_a_failure_that_says_so(kind, clock):
    work = Work()
    with ahead(kind, work, keys=["tea"], every="1s", clock=clock) as page:
        page.rest()
        entered, go = work.gate("tea")
        clock.advance(1)
        wait_for(entered)
        clock.advance(60)
        go.set()
        page.rest()
        error = page.status().keys["tea"].error
        assert isinstance(error, NotBuilt) and "longer than its result may be served" in str(error)


@KINDS
def test_caller_that_gives_what_cannot_be_a_key_is_told(kind, clock):
    with ahead(kind, Work(), keys=["tea"], clock=clock) as page:
        page.rest()
        with pytest.raises(TypeError, match="unhashable"):
            page([])
        with pytest.raises(TypeError, match="unhashable"):
            page.touch([])


@KINDS
@pytest.mark.parametrize("value", [(), ("only",), [], 5], ids=repr)
def test_strange_value_in_a_shared_store_is_an_error_for_who_reads_it(kind, value, clock):
    with ahead(kind, Work(), keys=["tea"], clock=clock) as page:
        page.rest()
        (place,) = page.store  # the only one that is there
        page.store[place] = value
        with pytest.raises((IndexError, TypeError)):
            page("tea")


def test_place_of_a_result_lives_for_as_long_as_the_store_looks_at_it():
    class Place:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            lives.append(weakref.ref(other)() is other)
            job.place = None
            return len(lives) > 1

    job, lives = AheadJob(Place()), []

    class Reader(Ahead):
        def __init__(self):
            self._jobs, self._get, self._name = {"tea": job}, {Place(): (0, "one"), Place(): (0, "two")}.get, None

    stored, job.place = Reader(), Place()
    lives.clear()
    assert stored("tea") == "two" and lives == [True, True]
