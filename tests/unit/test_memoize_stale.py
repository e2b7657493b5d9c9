"""memoize with stale service, early renewal and tags: what is served at once, who renews it, and what an invalidation
wins over."""

import asyncio
import copy
import gc
import threading
import traceback
import weakref
from contextvars import ContextVar

import pytest

from samovar import Freshness, ManualClock, memoize
from samovar.app.background import THREADS
from support import LIMIT, Crew, check, run_async, together, until, wait_for

WINDOW = Freshness(ttl=10, stale_while_revalidate=20)
RESCUE = Freshness(ttl=10, stale_if_error=20)


class Origin:
    """A function that the test can hold up (`go`) and make fail (`error`). Each answer is a new list."""

    def __init__(self):
        self.asked, self.error = [], None
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, *args):
        self.asked.append(args)
        self.entered.set()
        wait_for(self.go)
        if self.error is not None:
            raise self.error
        return [len(self.asked), *args]

    def hold(self):
        self.entered.clear()
        self.go.clear()

    async def later(self, *args):
        self.asked.append(args)
        self.entered.set()
        while not self.go.is_set():
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return [len(self.asked), *args]


@pytest.fixture
def clock():
    return ManualClock(100)


@pytest.fixture
def origin():
    return Origin()


def plain(origin, clock, **options):
    return memoize(lambda *args: origin(*args), clock=clock, **options)


def awaited(origin, clock, **options):
    @memoize(clock=clock, **options)
    async def memo(*args):
        return await origin.later(*args)

    return memo


async def ask(memo, *args):
    return await memo(*args)


async def crowd(memo, *args, size=50):
    """What so many tasks get that ask at once."""
    return await asyncio.gather(*(asyncio.ensure_future(ask(memo, *args)) for _ in range(size)))


async def turns(promise):
    """Give every other task its turn until the promise holds."""
    async with asyncio.timeout(LIMIT):
        while not promise():
            await asyncio.sleep(0)


# ------------------------------------------------------------------ stale while revalidate

def test_stale_answer_is_served_at_once_and_renewed_once_for_a_crowd_of_threads(origin, clock):
    memo = plain(origin, clock, fresh=WINDOW)
    old = memo(1)
    origin.hold()
    clock.advance(10)
    assert not memo.cache_contains(1)
    assert all(answer is old for answer in together(*[lambda: memo(1)] * 8))
    wait_for(origin.entered)
    assert memo(1) is old and len(origin.asked) == 2
    origin.go.set()
    until(lambda: memo.cache_contains(1))
    assert memo(1) == [2, 1] and len(origin.asked) == 2
    stats = memo.cache_stats()
    assert (stats.stale_hits, stats.hits, stats.misses, stats.loads) == (9, 1, 1, 2) and stats.hit_ratio == 10 / 11


def test_stale_answer_is_served_at_once_and_renewed_once_for_a_crowd_of_tasks(origin, clock):
    memo = awaited(origin, clock, fresh=WINDOW)

    async def main():
        old = await memo(1)
        origin.hold()
        clock.advance(10)
        assert all(answer is old for answer in await crowd(memo, 1))
        await turns(origin.entered.is_set)
        assert await memo(1) is old and len(origin.asked) == 2
        origin.go.set()
        await turns(lambda: memo.cache_contains(1))
        assert await memo(1) == [2, 1] and len(origin.asked) == 2
        assert memo.cache_stats().stale_hits == 51

    run_async(main())


def test_stale_window_is_exact_to_the_clock(origin, clock):
    memo = plain(origin, clock, fresh=WINDOW)
    old = memo(1)
    origin.hold()
    clock.advance(29.999)
    assert memo(1) is old  # somebody renews it now, and does not come to an end
    clock.advance(0.001)
    waiter = Crew(lambda: memo(1))
    until(lambda: memo.cache_stats().coalesced == 1)
    origin.go.set()
    assert waiter.join() == [[2, 1]] and len(origin.asked) == 2


def test_stale_window_of_an_awaited_answer_is_exact_too(origin, clock):
    memo = awaited(origin, clock, fresh=WINDOW)

    async def main():
        old = await memo(1)
        clock.advance(29.999)
        assert await memo(1) is old
        await turns(lambda: memo.cache_contains(1))
        clock.advance(30)
        assert memo.cache_info().currsize == 0
        assert await memo(1) == [3, 1]

    run_async(main())


def test_stale_answer_stays_when_its_renewal_fails(origin, clock, caplog):
    memo = plain(origin, clock, fresh=WINDOW)
    old = memo(1)
    clock.advance(10)
    origin.error = OSError("the origin is down")
    assert memo(1) is old
    until(lambda: "the origin is down" in caplog.text)
    assert memo(1) is old  # and tries anew
    until(lambda: memo.cache_stats().failures == 2)
    origin.error = None
    assert memo(1) is old
    until(lambda: memo.cache_contains(1))
    assert memo(1) == [4, 1]
    clock.advance(30)
    origin.error = OSError("down again")
    with pytest.raises(OSError, match="down again"):
        memo(1)


def test_stale_answer_of_an_async_def_stays_when_its_renewal_fails(origin, clock, caplog):
    memo = awaited(origin, clock, fresh=WINDOW)

    async def main():
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        old = await memo(1)
        clock.advance(10)
        origin.error = OSError("the origin is down")
        assert await memo(1) is old
        await turns(lambda: "the origin is down" in caplog.text)
        assert await memo(1) is old and complaints == []
        await turns(lambda: memo.cache_stats().failures == 2)

    run_async(main())


def test_stale_answer_driven_by_hand_is_served_and_renewed_by_nobody(origin, clock):
    memo = awaited(origin, clock, fresh=WINDOW)
    old = run_async(ask(memo, 1))
    clock.advance(10)
    with pytest.raises(StopIteration) as stop:
        memo(1).send(None)
    assert stop.value.value is old and len(origin.asked) == 1 and check(memo)


def test_renewal_in_the_background_has_the_callers_context(clock):
    who, seen = ContextVar("who", default="nobody"), []

    @memoize(fresh=WINDOW, clock=clock)
    def memo(x):
        seen.append(who.get())
        return [x]

    memo(1)
    clock.advance(10)
    who.set("me")
    memo(1)
    until(lambda: memo.cache_contains(1))
    assert seen == ["nobody", "me"]


@pytest.mark.parametrize("verb", [lambda memo: memo.cache_set("set", 1), lambda memo: memo.cache_invalidate(1),
                                  lambda memo: memo.cache_clear()], ids=["set", "invalidate", "clear"])
def test_verbs_win_over_a_renewal_in_the_background(verb, origin, clock):
    memo = plain(origin, clock, fresh=WINDOW)
    memo(1)
    origin.hold()
    clock.advance(10)
    memo(1)
    wait_for(origin.entered)
    verb(memo)
    there = memo.cache_contains(1)
    origin.go.set()
    until(lambda: len(THREADS._idle) == len(THREADS))  # the renewal has come to its end
    assert memo.cache_contains(1) is there and memo(1) in ("set", [3, 1])
    assert check(memo)


def test_stale_answer_counts_as_stored_and_not_as_contained(origin, clock):
    memo = plain(origin, clock, fresh=WINDOW)
    memo(1)
    clock.advance(10)
    assert memo.cache_info().currsize == 1 and not memo.cache_contains(1)
    assert memo.cache_invalidate(1) is False and memo.cache_info().currsize == 0
    assert memo(1) == [2, 1]  # not what was stale


def test_refresh_of_a_stale_answer_waits_and_raises(origin, clock):
    memo = plain(origin, clock, fresh=Freshness(ttl=10, stale_while_revalidate=20, stale_if_error=20))
    old = memo(1)
    clock.advance(10)
    origin.error = OSError("down")
    with pytest.raises(OSError, match="down"):
        memo.cache_refresh(1)
    assert memo(1) is old
    until(lambda: memo.cache_stats().failures == 2)
    origin.error = None
    renewed = memo.cache_refresh(1)
    assert renewed is not old and memo(1) is renewed


def test_refresh_of_an_awaited_stale_answer_waits_and_raises(origin, clock):
    memo = awaited(origin, clock, fresh=RESCUE)

    async def main():
        old = await memo(1)
        clock.advance(10)
        origin.error = OSError("down")
        with pytest.raises(OSError, match="down"):
            await memo.cache_refresh(1)
        assert await memo(1) is old
        origin.error = None
        renewed = await memo.cache_refresh(1)
        assert renewed is not old and await memo(1) is renewed

    run_async(main())


# ------------------------------------------------------------------ stale if error

def test_old_answer_is_served_when_the_load_fails_until_that_is_over(origin, clock):
    memo = plain(origin, clock, fresh=RESCUE)
    old = memo(1)
    clock.advance(10)
    renewed = memo(1)
    assert renewed is not old and memo(1) is renewed  # no error, no old answer
    origin.error = OSError("the origin is down")
    clock.advance(29.999)
    assert memo(1) is renewed and memo.cache_stats().failures == 1
    clock.advance(0.001)
    for _ in range(2):
        with pytest.raises(OSError, match="the origin is down"):
            memo(1)
    assert memo.cache_info().currsize == 0


def test_old_answer_is_served_to_a_crowd_whose_load_fails(origin, clock):
    memo = plain(origin, clock, fresh=RESCUE)
    old = memo(1)
    clock.advance(15)
    origin.hold()
    origin.error = OSError("the origin is down")
    threads = Crew(*[lambda: memo(1)] * 5)
    until(lambda: memo.cache_stats().coalesced == 4)
    origin.go.set()
    assert all(answer is old for answer in threads.join())
    assert len(origin.asked) == 2


def test_old_answer_of_an_async_def_is_served_when_the_load_fails_until_that_is_over(origin, clock):
    memo = awaited(origin, clock, fresh=RESCUE)

    async def main():
        old = await memo(1)
        origin.error = OSError("the origin is down")
        clock.advance(29.999)
        assert all(answer is old for answer in await crowd(memo, 1))
        assert len(origin.asked) == 2
        clock.advance(0.001)
        with pytest.raises(OSError, match="the origin is down"):
            await memo(1)

    run_async(main())


def test_old_answer_is_no_rescue_from_an_exception_that_is_an_answer(origin, clock):
    memo = plain(origin, clock, fresh=RESCUE, cache_exceptions=LookupError)
    memo(1)
    clock.advance(10)
    origin.error = KeyError("gone")
    for _ in range(3):
        with pytest.raises(KeyError, match="gone"):
            memo(1)
    assert len(origin.asked) == 2 and memo.cache_contains(1)


# ------------------------------------------------------------------ early renewal

@pytest.fixture
def chance(monkeypatch, clock):
    """The chance of XFetch, and a stopwatch that shows what the clock shows: a load costs what it moves it by."""
    drawn = [0.0]
    monkeypatch.setattr("samovar._base.early.chance.random", lambda: drawn[0])
    monkeypatch.setattr("samovar.app.working.stopwatch", clock)
    return drawn


@pytest.mark.parametrize("luck, renewed", [(0.0, False), (1 - 2**-53, True)])
def test_early_renewal_is_left_to_chance_and_done_by_one(chance, luck, renewed, origin, clock):
    @memoize(fresh=Freshness(ttl=10, early=1.0), clock=clock)
    def memo(x):
        clock.advance(2)
        return origin(x)

    old = memo(1)
    origin.hold()
    clock.advance(5)
    chance[0] = luck
    assert all(answer is old for answer in together(*[lambda: memo(1)] * 8))
    if renewed:
        wait_for(origin.entered)
    chance[0] = 0.0
    origin.go.set()
    until(lambda: (memo(1) is old) is not renewed)
    stats = memo.cache_stats()
    assert (stats.loads, stats.stale_hits, stats.misses, len(origin.asked)) == (1 + renewed, 0, 1, 1 + renewed)


@pytest.mark.parametrize("luck, renewed", [(0.0, False), (1 - 2**-53, True)])
def test_early_renewal_of_an_async_def_is_done_by_one(chance, luck, renewed, origin, clock):
    @memoize(fresh=Freshness(ttl=10, early=1.0), clock=clock)
    async def memo(x):
        clock.advance(2)
        return await origin.later(x)

    async def main():
        old = await memo(1)
        origin.hold()
        clock.advance(5)
        chance[0] = luck
        assert all(answer is old for answer in await crowd(memo, 1))
        chance[0] = 0.0
        origin.go.set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert (await memo(1) is old) is not renewed and len(origin.asked) == 1 + renewed

    run_async(main())


def test_early_renewal_asks_no_chance_long_before_the_end(chance, clock):
    @memoize(fresh=Freshness(ttl=1000, early=1.0), clock=clock)
    def memo(x):
        clock.advance(1)
        return [x]

    memo(1)
    chance[0] = 1 - 2**-53  # as unlikely as it can be: 36.7 times the cost before the end
    clock.advance(900)
    memo(1)
    assert memo.cache_stats().loads == 1
    clock.advance(64)
    memo(1)
    until(lambda: memo.cache_stats().loads == 2)


# ------------------------------------------------------------------ tags

def test_tags_are_invalidated_together_and_no_others(origin, clock):
    memo = plain(origin, clock, tags=lambda x, kind: (kind, f"article:{x}"))
    teas, coffee = [memo(x, "tea") for x in (1, 2)], memo(3, "coffee")
    memo.cache_invalidate_tags("article:2", "nothing")
    assert memo(1, "tea") is teas[0] and memo(2, "tea") is not teas[1]
    memo.cache_invalidate_tags("tea")
    assert memo.cache_info().currsize == 1 and memo(3, "coffee") is coffee
    assert memo(1, "tea") is not teas[0]
    assert memo.cache_stats().invalidated == 3 and memo.cache_stats().expired == 0
    memo.cache_invalidate_tags()
    assert memo.cache_contains(1, "tea")


@pytest.mark.parametrize("tags", ["all", ["all"], ("all", "more"), {"all"}, lambda *args: "all"],
                         ids=["text", "list", "tuple", "set", "function"])
def test_tags_are_a_text_or_texts_or_a_function_that_returns_them(tags, origin, clock):
    for memo in (plain(origin, clock, tags=tags), plain(origin, clock, tags=tags, ttl=10, typed=True)):
        old = memo(1)
        memo.cache_invalidate_tags("a", "l")
        assert memo(1) is old
        memo.cache_invalidate_tags("all")
        assert not memo.cache_contains(1) and memo(1) is not old


def test_tags_of_an_async_def_are_invalidated_too(origin, clock):
    memo = awaited(origin, clock, tags=lambda x: [f"t{x % 2}"])

    async def main():
        one, two = await memo(1), await memo(2)
        memo.cache_invalidate_tags("t1")
        assert await memo(2) is two and await memo(1) is not one

    run_async(main())


def test_tags_stay_with_what_is_set_and_refreshed(origin, clock):
    memo = plain(origin, clock, tags=lambda x: f"t{x}")
    memo.cache_set("set", 1)
    memo(2)
    memo.cache_refresh(2)
    memo.cache_set("set over", 3)
    memo.cache_set("set over again", 3)
    memo.cache_invalidate_tags("t1")
    assert [memo.cache_contains(x) for x in (1, 2, 3)] == [False, True, True]
    memo.cache_invalidate_tags("t2", "t3")
    assert memo.cache_info().currsize == 0 and check(memo)


def test_tags_softly_invalidated_are_stale_under_the_rules_of_stale_service(origin, clock):
    memo = plain(origin, clock, tags="t", fresh=Freshness(stale_while_revalidate=20))
    old = memo(1)
    clock.advance(10**6)
    memo.cache_invalidate_tags("t", soft=True)
    origin.hold()
    assert memo(1) is old and not memo.cache_contains(1)
    origin.go.set()
    until(lambda: memo.cache_contains(1))
    assert memo(1) == [2, 1]
    memo.cache_invalidate_tags("t", soft=True)
    clock.advance(20)
    assert memo(1) == [3, 1]


def test_tags_softly_invalidated_are_gone_where_nothing_may_be_stale(origin, clock):
    memo = plain(origin, clock, tags="t", ttl=100)
    old = memo(1)
    memo.cache_invalidate_tags("t", soft=True)
    assert not memo.cache_contains(1) and memo(1) is not old


def test_tags_softly_invalidated_rescue_from_errors(origin, clock):
    memo = plain(origin, clock, tags="t", fresh=RESCUE)
    old = memo(1)
    memo.cache_invalidate_tags("t", soft=True)
    origin.error = OSError
    assert memo(1) is old
    memo.cache_invalidate_tags("t")
    with pytest.raises(OSError):
        memo(1)


def test_tags_do_nothing_on_a_memo_without_them(origin, clock):
    for options in ({}, {"ttl": 10}, {"fresh": WINDOW}):
        memo = plain(origin, clock, **options)
        old = memo(1)
        memo.cache_invalidate_tags("t")
        assert memo(1) is old


def test_tags_invalidated_during_a_load_win_over_it(origin, clock):
    memo = plain(origin, clock, tags="t")
    origin.hold()
    before = Crew(*[lambda: memo(1)] * 3)
    wait_for(origin.entered)
    until(lambda: memo.cache_stats().coalesced == 2)
    memo.cache_invalidate_tags("t")
    after = Crew(lambda: memo(1))  # who asks now must not get what was read before
    until(lambda: memo.cache_stats().coalesced == 3)
    origin.go.set()
    assert before.join() == [[1, 1]] * 3
    assert after.join() == [[2, 1]] and memo(1) == [2, 1]


def test_tags_invalidated_during_an_awaited_load_win_over_it(origin, clock):
    memo = awaited(origin, clock, tags=lambda x: "t")

    async def main():
        origin.hold()
        before = asyncio.ensure_future(crowd(memo, 1, size=5))
        await turns(lambda: memo.cache_stats().coalesced == 4)
        memo.cache_invalidate_tags("t")
        after = asyncio.ensure_future(ask(memo, 1))
        await turns(lambda: memo.cache_stats().coalesced == 5)
        origin.go.set()
        assert await before == [[1, 1]] * 5
        assert await after == [2, 1] == await memo(1)

    run_async(main())


def test_other_tags_invalidated_during_a_load_leave_it_alone(origin, clock):
    memo = plain(origin, clock, tags=lambda x: f"t{x}")
    origin.hold()
    leader = Crew(lambda: memo(1))
    wait_for(origin.entered)
    memo.cache_invalidate_tags("t2")
    origin.go.set()
    assert memo(1) is leader.join()[0]


def test_function_of_tags_that_fails_reaches_the_caller_and_stores_nothing(origin, clock):
    wrong = [LookupError("no tags")]

    def tags(x):
        if wrong and isinstance(wrong[0], Exception):
            raise wrong[0]
        return wrong[0] if wrong else "t"

    memo = plain(origin, clock, tags=tags)
    for act in (memo, memo.cache_refresh, lambda x: memo.cache_set([], x)):
        with pytest.raises(LookupError, match="no tags"):
            act(1)
    for wrong[:], said in [([[5]], "what tags returned must be texts, and 5 is none"),
                           ([5], "what tags returned must be a text, or texts in a tuple, list or set, not 5")]:
        for act in (memo, memo.cache_refresh, lambda x: memo.cache_set([], x)):
            with pytest.raises(TypeError, match=f"memoize: {said}"):
                act(1)
    assert origin.asked == [] and memo.cache_info().currsize == 0
    wrong.clear()
    assert memo(1) == [1, 1] and memo(1) == [1, 1]


# ------------------------------------------------------------------ with the other options

STEERED = {"tags": {"tags": "t"}, "while": {"fresh": WINDOW}, "error": {"fresh": RESCUE},
           "early": {"fresh": Freshness(ttl=10, early=1)}}
steered = pytest.mark.parametrize("options", STEERED.values(), ids=STEERED)


@steered
@pytest.mark.parametrize("more", [{"maxsize": None}, {"maxsize": 2}, {"typed": True}, {"key": lambda *args: args},
                                  {"eviction": "s3fifo"}, {"cache_exceptions": KeyError}], ids="-".join)
def test_steered_memo_hits_and_expires_as_others_do(options, more, origin, clock):
    for make in (plain, awaited):
        memo = make(origin, clock, **options, **more)

        def get(*args, memo=memo, make=make):
            return memo(*args) if make is plain else run_async(ask(memo, *args))

        for args in ((1,), (1, "two"), ()):
            first = get(*args)
            assert get(*args) is first
            memo.cache_invalidate(*args)
            assert get(*args) is not first
        if memo.cache_stats().evictions == 0 and "fresh" in options:
            clock.advance(31)
            assert memo.cache_info().currsize == 0


@steered
def test_steered_memo_gives_each_caller_his_own_copy(options, origin, clock):
    memo = plain(origin, clock, copy=copy.copy, **options)
    first = memo(1)
    first.append("mine")
    assert memo(1) == [1, 1] and memo(1) is not memo(1) and memo.cache_refresh(1) == [2, 1]
    later = awaited(origin, clock, copy=copy.copy, **options)

    async def main():
        mine = await later(1)
        mine.append("mine")
        crowded = await crowd(later, 1)
        assert all(one == [3, 1] for one in crowded) and len({id(one) for one in crowded}) == len(crowded)
        origin.hold()
        task = asyncio.ensure_future(crowd(later, 2))
        await turns(lambda: later.cache_stats().coalesced == 49)
        origin.go.set()
        assert len({id(one) for one in await task}) == 50

    run_async(main())


def test_steered_memo_remembers_exceptions(origin, clock):
    origin.error = KeyError("no")
    later = awaited(origin, clock, tags="t", cache_exceptions=KeyError)
    for memo, get in ((plain(origin, clock, tags="t", cache_exceptions=KeyError), lambda memo: memo(1)),
                      (later, lambda memo: run_async(ask(memo, 1)))):
        origin.asked.clear()
        for _ in range(3):
            with pytest.raises(KeyError, match="no"):
                get(memo)
        assert len(origin.asked) == 1 and memo.cache_contains(1)
        stats = memo.cache_stats()
        assert (stats.hits, stats.misses, stats.failures) == (2, 1, 1)
        memo.cache_invalidate_tags("t")
        with pytest.raises(KeyError, match="no"):
            get(memo)
        assert len(origin.asked) == 2


def test_steered_memo_shows_its_leader_where_an_exception_was_raised_and_keeps_no_frame(clock):
    class Local:
        pass

    seen = []

    def deep(x):
        local = Local()
        seen.append(weakref.ref(local))
        raise KeyError(x)

    @memoize(tags="t", cache_exceptions=KeyError, clock=clock)
    async def later(x):
        deep(x)

    memo = memoize(deep, tags="t", cache_exceptions=KeyError, clock=clock)
    gc.collect()
    gc.disable()
    try:
        for get in (lambda: memo(1), lambda: run_async(ask(later, 1))):
            depths = []
            for _ in range(4):
                try:
                    get()
                except KeyError as error:
                    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
                    depths.append((len(frames), "deep" in frames))
            assert depths[0][1] and not depths[1][1] and depths[1] == depths[2] == depths[3]
        assert seen[0]() is None  # the leader's traceback went with the error that it caught
    finally:
        gc.enable()
    gc.collect()
    assert [one() for one in seen] == [None, None]


def test_steered_memo_computes_what_asks_for_itself(origin, clock):
    @memoize(tags="t", clock=clock)
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    @memoize(tags="t", clock=clock)
    async def later(n):
        return n if n < 2 else await later(n - 1) + await later(n - 2)

    depth = []

    @memoize(tags="t", clock=clock)
    def again(x):
        depth.append(x)
        return "bottom" if len(depth) > 3 else again(x)

    assert fib(20) == run_async(ask(later, 20)) == 6765
    assert fib.cache_stats().loads == later.cache_stats().loads == 21
    assert again(1) == "bottom" == again(1) and check(again)


def test_steered_memo_of_a_memo_has_its_own_tags(clock):
    inner = memoize(lambda x: [x], tags="inner", clock=clock)
    outer = memoize(inner, tags="outer", clock=clock)
    first = outer(1)
    outer.cache_invalidate_tags("inner")
    assert outer.cache_contains(1)
    outer.cache_invalidate_tags("outer")
    assert not outer.cache_contains(1) and outer(1) is first
    plain_outer = memoize(inner)
    assert plain_outer(1) is first


def test_steered_method_knows_its_instance(clock):
    class Shop:
        def __init__(self, name):
            self.name = name

        @memoize(tags=lambda self, x: self.name, clock=clock)
        def price(self, x):
            return [self.name, x]

    a, b = Shop("a"), Shop("b")
    one, other = a.price(1), b.price(1)
    Shop.price.cache_invalidate_tags("a")
    assert a.price(1) is not one and b.price(1) is other


# ------------------------------------------------------------------ crowds on a cold key

@steered
def test_steered_memo_loads_once_for_threads(options, origin, clock):
    memo = plain(origin, clock, **options)
    origin.hold()
    threads = Crew(*[lambda: memo(1)] * 8)
    until(lambda: memo.cache_stats().coalesced == 7)
    origin.go.set()
    answers = threads.join()
    assert all(answer is answers[0] for answer in answers) and len(origin.asked) == 1


@steered
def test_steered_memo_loads_once_for_tasks_of_many_loops(options, origin, clock):
    memo = awaited(origin, clock, **options)
    origin.hold()
    loops = Crew(*[lambda: run_async(crowd(memo, 1, size=20))] * 4)
    until(lambda: memo.cache_stats().coalesced == 79)
    origin.go.set()
    answers = sum(loops.join(), [])
    assert all(answer is answers[0] for answer in answers) and len(origin.asked) == 1


@steered
def test_steered_memo_hands_a_failure_to_all_and_stores_nothing(options, origin, clock):
    memo = plain(origin, clock, **options)
    origin.hold()
    origin.error = ValueError("no")
    threads = Crew(*[lambda: memo(1)] * 4)
    until(lambda: memo.cache_stats().coalesced == 3)
    origin.go.set()
    assert [str(error) for error in threads.join(errors_too=True)] == ["no"] * 4
    origin.error = None
    assert memo(1) == [2, 1]


@steered
def test_steered_memo_lets_a_cancelled_caller_go_alone(options, origin, clock):
    memo = awaited(origin, clock, **options)

    async def main():
        origin.hold()
        tasks = [asyncio.ensure_future(ask(memo, 1)) for _ in range(3)]
        await turns(lambda: memo.cache_stats().coalesced == 2)
        tasks[0].cancel()
        await turns(tasks[0].done)
        origin.go.set()
        assert await tasks[1] is await tasks[2] and tasks[0].cancelled() and len(origin.asked) == 1
        origin.hold()
        alone = asyncio.ensure_future(ask(memo, 2))
        await turns(origin.entered.is_set)
        alone.cancel()
        await turns(lambda: alone.done())
        for _ in range(10):
            await asyncio.sleep(0)
        origin.go.set()
        assert not memo.cache_contains(2) and check(memo)

    run_async(main())
