"""memoize with lifetimes: how long an answer is good, exact to the clock, for `def` and `async def` alike."""

import asyncio
import copy
import enum
import inspect
import pickle
from datetime import timedelta

import pytest

from samovar import Freshness, ManualClock, Stats, cache, lru_cache, memoize
from samovar._core import evictions
from support import check, run_async, until


class Origin:
    """Answers with a new object each time, or as the test says, and keeps what it was asked."""

    def __init__(self, *answers):
        self.asked, self.answers = [], list(answers)

    def __call__(self, *args, **kwargs):
        self.asked.append((args, kwargs))
        answer = self.answers.pop(0) if self.answers else [args, kwargs]
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Plain:
    """A memo of a `def`."""

    def __init__(self, origin, **options):
        self.origin = origin
        self.memo = memoize(lambda *args, **kwargs: origin(*args, **kwargs), **options)

    def __call__(self, *args, **kwargs):
        return self.memo(*args, **kwargs)

    def refresh(self, *args, **kwargs):
        return self.memo.cache_refresh(*args, **kwargs)


class Awaited:
    """A memo of an `async def`, asked from a loop of its own each time."""

    def __init__(self, origin, **options):
        self.origin = origin

        async def body(*args, **kwargs):
            await asyncio.sleep(0)
            return origin(*args, **kwargs)

        self.memo = memoize(body, **options)

    def __call__(self, *args, **kwargs):
        return run_async(self.answer(self.memo, args, kwargs))

    def refresh(self, *args, **kwargs):
        return run_async(self.answer(self.memo.cache_refresh, args, kwargs))

    async def answer(self, ask, args, kwargs):
        return await ask(*args, **kwargs)


@pytest.fixture
def clock():
    return ManualClock(100)


@pytest.fixture(params=[Plain, Awaited], ids=["def", "async def"])
def make(request, clock):
    return lambda *answers, **options: request.param(Origin(*answers), clock=clock, **options)


# ------------------------------------------------------------------ ttl

@pytest.mark.parametrize("ttl", [60, 60.0, "60", "1m", timedelta(minutes=1)])
def test_ttl_takes_seconds_timedelta_and_text(ttl, make, clock):
    for options in ({"ttl": ttl}, {"fresh": Freshness(ttl=ttl)}, {"ttl": ttl, "fresh": Freshness(ttl=7)}):
        asked = make(**options)
        first = asked(1)
        clock.advance(59.999999)
        assert asked(1) is first and asked.memo.cache_contains(1)
        clock.advance(0.000001)
        assert not asked.memo.cache_contains(1)
        second = asked(1)
        assert second is not first and asked(1) is second
        assert len(asked.origin.asked) == 2


OPTIONS = {
    "plain": {}, "unbounded": {"maxsize": None}, "one": {"maxsize": 2}, "typed": {"typed": True},
    "key": {"key": lambda *args, **kwargs: (len(args), str(args), str(kwargs))}, "alone": {"coalesce": False},
    "errors": {"cache_exceptions": KeyError}, **{rule: {"eviction": rule} for rule in evictions()},
    "unbounded sieve": {"maxsize": None, "eviction": "sieve"},
}
CALLS = {"one": ((1,), {}), "text": (("a",), {}), "none": ((), {}), "two": ((1, 2), {}), "keyword": ((1,), {"b": 2}),
         "tuple": (((1, 2),), {})}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_ttl_holds_for_every_option_and_kind_of_call(make, clock, options, call):
    args, kwargs = call
    asked = make(ttl=10, **options)
    first = asked(*args, **kwargs)
    clock.advance(9.5)
    assert asked(*args, **kwargs) is first and asked(*args, **kwargs) is first
    clock.advance(0.5)
    assert asked.memo.cache_info().currsize == 0
    second = asked(*args, **kwargs)
    assert second == first and second is not first
    clock.advance(9.999)
    assert asked(*args, **kwargs) is second
    stats = asked.memo.cache_stats()
    assert (stats.hits, stats.misses, stats.loads, stats.expired, stats.currsize) == (3, 2, 2, 1, 1)


@pytest.mark.parametrize("key", [(1,), ("text",), (1, 2), ()], ids=repr)
def test_ttl_ends_by_the_machines_clock_too(key):
    """Without a clock= the commonest hits go a quick way of their own."""
    calls = Origin()
    short, long = memoize(calls, ttl="20ms"), memoize(calls, ttl="1d")
    first, kept = short(*key), long(*key)
    until(lambda: short(*key) is not first)
    assert long(*key) is long(*key) is kept and short.cache_stats().expired >= 1
    with_idle = memoize(calls, fresh=Freshness(tti="20ms"))
    with_idle(*key)
    until(lambda: not with_idle.cache_contains(*key))


def test_ttl_of_infinity_is_for_ever(make, clock):
    asked = make(ttl=float("inf"))
    first = asked(1)
    clock.advance(10**8)
    assert asked(1) is first


def test_maxsize_zero_keeps_nothing_whatever_the_ttl(make, clock):
    asked = make(ttl=10, maxsize=0)
    asked(1), asked(1)
    asked.memo.cache_set([], 1)
    assert not asked.memo.cache_contains(1)
    assert asked.memo.cache_info() == (0, 2, 0, 0)


def test_copy_is_made_of_what_is_fresh_and_of_what_is_loaded_anew(make, clock):
    asked = make(ttl=10, copy=copy.deepcopy)
    first = asked(1)
    first.append("mine")
    assert asked(1) == [(1,), {}] == asked(1)
    clock.advance(10)
    assert asked(1) == [(1,), {}] and asked(1) is not asked(1)
    assert len(asked.origin.asked) == 2


def test_typed_arguments_expire_apart(make, clock):
    asked = make(ttl=10, typed=True)
    one = asked(1)
    clock.advance(5)
    real = asked(1.0)
    clock.advance(5)
    assert asked(1.0) is real and asked(1) is not one


def test_ttl_on_methods_ends_for_each_instance_apart(clock):
    class Shop:
        calls = 0

        @memoize(ttl=10, clock=clock)
        def price(self, x):
            self.calls += 1
            return [x]

        @classmethod
        @memoize(ttl=10, clock=clock)
        def of_all(cls, x):
            return [cls, x]

    a, b = Shop(), Shop()
    a.price(1)
    clock.advance(6)
    b.price(1)
    clock.advance(4)
    a.price(1), b.price(1)
    assert (a.calls, b.calls) == (2, 1)
    all_of = Shop.of_all(1)
    assert Shop.of_all(1) is all_of == [Shop, 1]
    clock.advance(10)
    assert Shop.of_all(1) is not all_of


def test_remembered_exceptions_expire_like_answers(make, clock):
    asked = make(KeyError("no"), ValueError("broken"), "there", ttl=10, cache_exceptions=(KeyError,))
    for _ in range(3):
        with pytest.raises(KeyError, match="no"):
            asked(1)
    assert asked.memo.cache_contains(1) and len(asked.origin.asked) == 1
    clock.advance(10)
    assert not asked.memo.cache_contains(1)
    with pytest.raises(ValueError, match="broken"):
        asked(1)
    assert asked(1) == "there" == asked(1)
    stats = asked.memo.cache_stats()
    assert (stats.loads, stats.failures, stats.expired) == (3, 2, 1)


def test_recursion_with_a_ttl_computes_and_expires(clock):
    @memoize(ttl=10, clock=clock)
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(30) == 832040 and fib.cache_stats().loads == 31
    clock.advance(10)
    assert fib.cache_info().currsize == 0 and fib(30) == 832040


def test_time_that_passes_during_the_load_does_not_shorten_the_life(clock):
    @memoize(ttl=10, clock=clock)
    def slow(x):
        clock.advance(30)
        return [x]

    first = slow(1)
    clock.advance(9)
    assert slow(1) is first
    clock.advance(1)
    assert slow(1) is not first


def test_entry_that_expires_during_its_refresh_is_not_missed(clock):
    @memoize(ttl=10, clock=clock)
    def slow(x):
        if slow.cache_stats().loads == 2:
            clock.advance(10)
            assert not slow.cache_contains(x)
        return [x]

    first = slow(1)
    second = slow.cache_refresh(1)
    assert second is not first and slow(1) is second and check(slow)


# ------------------------------------------------------------------ the other words

def test_time_to_idle_begins_anew_with_each_hit(make, clock):
    asked = make(fresh=Freshness(tti=10))
    asked(1), asked(2)
    for _ in range(4):
        clock.advance(9)
        asked(1)
    assert asked.memo.cache_contains(1) and not asked.memo.cache_contains(2)
    for _ in range(2):
        clock.advance(5)
        asked.memo.cache_contains(1)  # looking is no use
    assert not asked.memo.cache_contains(1)
    assert len(asked.origin.asked) == 2 and asked.memo.cache_stats().expired == 2


def test_time_to_idle_never_outlives_the_ttl(make, clock):
    asked = make(fresh=Freshness(ttl=15, tti=10))
    asked(1)
    clock.advance(9)
    asked(1)
    clock.advance(5.9)
    assert asked.memo.cache_contains(1)
    clock.advance(0.1)
    assert not asked.memo.cache_contains(1)


def test_jitter_spreads_what_was_stored_together_within_its_share(clock):
    memo = memoize(lambda x: x, maxsize=None, fresh=Freshness(ttl=100, jitter=0.5), clock=clock)
    for number in range(1000):
        memo(number)
    clock.advance(49.9)
    assert memo.cache_info().currsize == 1000
    clock.advance(25)
    assert 350 < memo.cache_info().currsize < 650
    clock.advance(25.2)
    assert memo.cache_info().currsize == 0


@pytest.mark.parametrize("options", [{}, {"coalesce": False}, {"copy": copy.copy}, {"cache_exceptions": KeyError}])
def test_none_is_good_for_the_negative_ttl(make, clock, options):
    asked = make(None, [], None, fresh=Freshness(ttl=100, negative_ttl=5), **options)
    assert asked(1) is None and asked(2) == []
    asked.memo.cache_set(None, 3)
    clock.advance(4.9)
    assert asked(1) is None and len(asked.origin.asked) == 2
    clock.advance(0.1)
    assert [asked.memo.cache_contains(n) for n in (1, 2, 3)] == [False, True, False]
    assert asked.refresh(1) is None
    clock.advance(5)
    assert not asked.memo.cache_contains(1)


def test_negative_ttl_alone_lets_nothing_else_expire(make, clock):
    asked = make(None, [], fresh=Freshness(negative_ttl=5))
    asked(1), asked(2)
    clock.advance(10**6)
    assert not asked.memo.cache_contains(1) and asked.memo.cache_contains(2)


def test_error_that_is_remembered_is_no_none(make, clock):
    asked = make(KeyError(), fresh=Freshness(ttl=100, negative_ttl=5), cache_exceptions=KeyError)
    for _ in range(2):
        with pytest.raises(KeyError):
            asked(1)
        clock.advance(50)


# ------------------------------------------------------------------ counting, and the verbs

def test_expired_answers_are_not_counted(make, clock):
    asked = make(ttl=10)
    for number in range(50):
        asked(number)
    clock.advance(5)
    asked(50)
    clock.advance(5)
    assert asked.memo.cache_info() == (0, 51, 128, 1)
    assert asked.memo.cache_stats() == Stats(hits=0, misses=51, coalesced=0, loads=51, failures=0, evictions=0,
                                             currsize=1, maxsize=128, expired=50)


def test_expired_answers_leave_before_fresh_ones(clock):
    memo = memoize(lambda x: x, maxsize=2, ttl=10, clock=clock)
    memo("old")
    clock.advance(6)
    memo("young")
    memo("old")  # used, so that LRU would keep it
    clock.advance(4)
    memo("new")
    assert memo.cache_contains("young") and memo.cache_contains("new") and memo.cache_stats().evictions == 0


def test_set_begins_a_life(make, clock):
    asked = make(ttl=10)
    asked.memo.cache_set("set", 1)
    clock.advance(9)
    assert asked(1) == "set"
    asked.memo.cache_set("again", 1)
    clock.advance(9)
    assert asked(1) == "again"
    clock.advance(1)
    assert asked(1) == [(1,), {}]
    assert asked.memo.cache_stats().replaced == 1


def test_refresh_begins_a_life_and_a_failed_one_does_not(make, clock):
    asked = make("first", "second", OSError("down"), ttl=10)
    asked(1)
    clock.advance(9)
    assert asked.refresh(1) == "second"
    clock.advance(9)
    with pytest.raises(OSError, match="down"):
        asked.refresh(1)
    assert asked(1) == "second"
    clock.advance(1)
    assert not asked.memo.cache_contains(1)


def test_invalidate_says_whether_there_was_a_fresh_answer(make, clock):
    asked = make(ttl=10)
    asked(1), asked(2)
    assert asked.memo.cache_invalidate(1) is True and asked.memo.cache_invalidate(1) is False
    clock.advance(10)
    assert asked.memo.cache_invalidate(2) is False
    stats = asked.memo.cache_stats()
    assert (stats.deleted, stats.expired, stats.currsize) == (1, 1, 0)


def test_clear_forgets_answers_deadlines_and_counts(make, clock):
    asked = make(ttl=10)
    asked(1), asked(2)
    clock.advance(10)
    asked(1)
    asked.memo.cache_clear()
    assert asked.memo.cache_stats() == Stats(hits=0, misses=0, coalesced=0, loads=0, failures=0, evictions=0,
                                             currsize=0, maxsize=128)
    first = asked(1)
    clock.advance(9)
    assert asked(1) is first


def test_verbs_inside_the_function_win_over_the_load(clock):
    for act in (lambda: memo.cache_invalidate(1), lambda: memo.cache_clear(), lambda: memo.cache_set("set", 1)):
        @memoize(ttl=10, clock=clock)
        def memo(x, act=act):
            act()
            return "loaded"

        assert memo(1) == "loaded"
        assert memo.cache_contains(1) is (memo.cache_info().currsize == 1)
        if memo.cache_contains(1):
            assert memo(1) == "set"
        assert check(memo)


def test_call_that_asks_for_its_own_key_computes_and_keeps(make, clock):
    depth = []

    @memoize(ttl=10, clock=clock)
    def again(x):
        depth.append(x)
        return [len(depth)] if len(depth) > 3 else again(x)

    assert again(1) == [4] and again(1) == [4]
    clock.advance(10)
    assert again(1) == [5]


# ------------------------------------------------------------------ who leaves first

@pytest.mark.parametrize("rule", evictions())
@pytest.mark.parametrize("options", [{}, {"ttl": 50}, {"ttl": 50, "coalesce": False},
                                     {"fresh": Freshness(ttl=50, tti=20, stale_if_error=9)}, {"tags": "t"}],
                         ids=["plain", "ttl", "alone", "stale", "tags"])
def test_every_rule_keeps_the_bound_and_the_answers(rule, options, clock):
    memo = memoize(lambda x: [x], maxsize=10, eviction=rule, clock=clock, **options)
    for step in range(3000):
        number = step * step % 31 if step % 3 else step % 7
        assert memo(number) == [number]
        clock.advance(0.25)
        if step % 100 == 0:
            assert check(memo) and memo.cache_info().currsize <= 10
            memo.cache_invalidate(step % 31)
            memo.cache_set([step % 5], step % 5)
    stats = memo.cache_stats()
    assert stats.hits > 300 and stats.evictions > 300 and check(memo)
    memo.cache_clear()
    assert check(memo) and memo(3) == [3]


def test_fifo_and_lru_differ_in_who_leaves():
    kept = {}
    for rule in ("lru", "fifo"):
        memo = memoize(lambda x: x, maxsize=2, eviction=rule)
        memo(1), memo(2), memo(1), memo(3)
        kept[rule] = [number for number in (1, 2, 3) if memo.cache_contains(number)]
    assert kept == {"lru": [1, 3], "fifo": [2, 3]}


# ------------------------------------------------------------------ what a memo is, it stays

@memoize(ttl=10)
def at_the_top(width: int, height: int = 1, *, unit: str = "m") -> int:
    """An area."""
    return width * height


@memoize(tags="t", fresh=Freshness(ttl=10, stale_if_error=10))
async def at_the_top_too(width: int) -> int:
    return width


@pytest.mark.parametrize("memo", [at_the_top, at_the_top_too])
def test_fresh_memo_pickles_copies_and_is_inspected_like_its_function(memo):
    assert pickle.loads(pickle.dumps(memo)) is copy.copy(memo) is copy.deepcopy(memo) is memo
    assert inspect.signature(memo) == inspect.signature(memo.__wrapped__)
    assert inspect.iscoroutinefunction(memo) is inspect.iscoroutinefunction(memo.__wrapped__)
    assert memo.__doc__ == memo.__wrapped__.__doc__ and memo.__name__ == memo.__wrapped__.__name__
    assert memo.cache_parameters() == {"maxsize": 128, "typed": False}


def test_memo_of_a_memo_has_its_own_lifetime(clock):
    inner = memoize(lambda x: [x], ttl=100, maxsize=3, clock=clock)
    outer = memoize(inner, ttl=10, maxsize=5, clock=clock)
    first = outer(1)
    clock.advance(10)
    assert not outer.cache_contains(1) and outer(1) is first
    assert (outer.cache_parameters()["maxsize"], inner.cache_parameters()["maxsize"]) == (5, 3)
    clock.advance(90)
    assert outer(1) is not first
    for make in (lru_cache, cache):
        assert make(inner)(1) == [1]


# ------------------------------------------------------------------ the clock

def test_clock_that_fails_reaches_the_caller_and_changes_nothing(clock):
    broken = []

    def tell():
        if broken:
            raise OSError("no time")
        return clock()

    memo = memoize(lambda x: [x], ttl=10, clock=tell)
    first = memo(1)
    broken.append(True)
    for act in (memo, memo.cache_contains, memo.cache_invalidate, memo.cache_refresh):
        with pytest.raises(OSError, match="no time"):
            act(1)
    with pytest.raises(OSError, match="no time"):
        memo.cache_info()
    broken.clear()
    assert memo(1) is first and check(memo)


def test_clock_that_fails_after_the_load_costs_the_answer_nothing_but_its_life(clock, monkeypatch):
    said = []
    monkeypatch.setattr("sys.unraisablehook", lambda told: said.append(told.exc_value))
    readings = [100.0, 100.0]

    def tell():
        if not readings:
            raise OSError("no time")
        return readings.pop()

    memo = memoize(lambda x: readings.clear() or [x], ttl=10, clock=tell)
    assert memo(1) == [1]
    readings.extend([100.0] * 9)
    assert [type(error) for error in said] == [OSError] and not memo.cache_contains(1)


@pytest.mark.parametrize("reading", ["now", None, float("nan"), 1e300])
def test_clock_that_says_no_time_is_an_error(reading):
    with pytest.raises((TypeError, ValueError)):
        memoize(len, ttl=10, clock=lambda: reading)("a")


# ------------------------------------------------------------------ bad arguments

class Tag(enum.StrEnum):
    GREEN = "green"


@pytest.mark.parametrize("option, bad, error, said", [
    ("ttl", 0, ValueError, "memoize: ttl must be more than 0 seconds, not 0"),
    ("ttl", -1, ValueError, "memoize: ttl must be more than 0 seconds, not -1"),
    ("ttl", float("nan"), ValueError, "memoize: ttl must be more than 0 seconds, not nan"),
    ("ttl", True, TypeError, "memoize: ttl must be seconds, a timedelta, or text"),
    ("ttl", "soon", ValueError, "memoize: ttl must be seconds, a timedelta, or text such as .* not 'soon'"),
    ("ttl", Freshness(ttl=3), TypeError, "memoize: ttl must be seconds"),
    ("fresh", 60, TypeError, "memoize: fresh must be a Freshness or None, not 60; for a plain time to live give ttl="),
    ("fresh", {"ttl": 3}, TypeError, "memoize: fresh must be a Freshness"),
    ("eviction", "lfu", ValueError, "memoize: eviction must be one of .*'lru'.* not 'lfu'"),
    ("eviction", None, TypeError, "memoize: eviction must be one of .* not None"),
    ("eviction", [], TypeError, "memoize: eviction must be one of"),
    ("tags", 5, TypeError, "memoize: tags must be a text, or texts in a tuple, list or set, not 5"),
    ("tags", [5], TypeError, "memoize: tags must be texts, and 5 is none"),
    ("tags", [[]], TypeError, "memoize: tags must be texts, and \\[\\] is none"),
    ("tags", b"a", TypeError, "memoize: tags must be texts, and 97 is none"),
    ("clock", 5, TypeError, "memoize: clock must be callable or None, not 5; it is called for the time in seconds"),
])
def test_bad_option_of_time_is_refused_by_name_value_and_remedy(option, bad, error, said):
    for decorate in (lambda: memoize(len, **{option: bad}), lambda: memoize(**{option: bad})):
        with pytest.raises(error, match=said):
            decorate()


@pytest.mark.parametrize("options", [{"tags": "t"}, {"fresh": Freshness(ttl=1, early=1)},
                                     {"fresh": Freshness(stale_if_error=1)},
                                     {"fresh": Freshness(stale_while_revalidate=1)}])
def test_coalesce_is_needed_where_one_renews_for_all(options):
    with pytest.raises(ValueError, match="memoize: coalesce must be True with tags, early, stale_while_revalidate"):
        memoize(len, coalesce=False, **options)


def test_options_of_time_are_given_by_name():
    with pytest.raises(TypeError):
        memoize(len, 128, False, 60)
    with pytest.raises(TypeError, match="tll"):
        memoize(tll=60)


@pytest.mark.parametrize("tags, soft, said", [
    ((5,), False, "cache_invalidate_tags: tags must be texts, and 5 is none"),
    ((("a", "b"),), False, "cache_invalidate_tags: tags must be texts, and \\('a', 'b'\\) is none"),
    (("a",), 1, "cache_invalidate_tags: soft must be True or False, not 1"),
])
def test_bad_tags_are_refused_by_value(tags, soft, said):
    memo = memoize(len, tags="a")
    memo("x")
    with pytest.raises(TypeError, match=said):
        memo.cache_invalidate_tags(*tags, soft=soft)
    with pytest.raises(TypeError, match=r"cache_invalidate_tags\(\) takes tags and soft=, not hard="):
        memo.cache_invalidate_tags("a", soft=True, hard=True)
    assert memo.cache_contains("x")


def test_member_of_an_enumeration_is_the_tag_that_it_stands_for():
    for tags in (Tag.GREEN, [Tag.GREEN], lambda x: (Tag.GREEN, "green"), "green"):
        for named in (Tag.GREEN, "green"):
            memo = memoize(len, tags=tags)
            memo("x")
            memo.cache_invalidate_tags(named)
            assert not memo.cache_contains("x")
