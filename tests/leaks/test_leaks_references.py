"""What a memo lets go of is gone: counted by references and by weak references, in cycles too."""

import asyncio
import functools
import gc
import sys
import weakref

import pytest

from samovar import Freshness, ManualClock, cache, cached_method, lru_cache, memoize
from samovar.app.background import THREADS
from support import classes_can_go, collect, run_async, together, until


class Thing:
    """Something that can be weakly referenced, hashable by identity."""


KINDS = {
    "lru_cache": lru_cache(3), "cache": cache, "lru_cache-typed": lru_cache(3, typed=True),
    "memoize": memoize(maxsize=3), "memoize-unbounded": memoize(maxsize=None),
    "memoize-alone": memoize(maxsize=3, coalesce=False), "memoize-typed": memoize(maxsize=3, typed=True),
    "memoize-copy": memoize(maxsize=3, copy=lambda value: value),
    "memoize-key": memoize(maxsize=3, key=lambda *args, **kwargs: (args, tuple(kwargs.items()))),
    "memoize-errors": memoize(maxsize=3, cache_exceptions=KeyError), "uncached": memoize(maxsize=0),
    "memoize-ttl": memoize(maxsize=3, ttl="1d"), "memoize-idle": memoize(maxsize=3, fresh=Freshness(ttl=9e6, tti=9e6)),
    "memoize-stale": memoize(maxsize=3, fresh=Freshness(ttl=9e6, stale_while_revalidate=9e6)),
    "memoize-tags": memoize(maxsize=3, tags="t"), "memoize-fifo": memoize(maxsize=3, eviction="fifo"),
}
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
CALLS = {"one": lambda memo, thing: memo(thing), "two": lambda memo, thing: memo(thing, 1),
         "keyword": lambda memo, thing: memo(1, key=thing)}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def references(*objects):
    collect()
    return [sys.getrefcount(thing) for thing in objects]


# ------------------------------------------------------------------ exact counts

@kinds
@calls
def test_hits_keep_no_reference(make, call):
    value, thing, other = Thing(), Thing(), Thing()
    memo = make(lambda *args, **kwargs: value)
    call(memo, thing)
    before = references(value, thing, other)
    for _ in range(50):
        call(memo, thing)
    assert references(value, thing, other) == before


@kinds
@calls
def test_everything_comes_back_when_the_memo_is_cleared(make, call):
    value, thing = Thing(), Thing()
    memo = make(lambda *args, **kwargs: value)
    before = references(value, thing, memo)
    for _ in range(3):
        call(memo, thing)
    memo.cache_clear()
    assert references(value, thing, memo) == before


@kinds
@calls
def test_everything_comes_back_when_the_memo_goes(make, call):
    value, thing = Thing(), Thing()

    def fn(*args, **kwargs):
        return value

    before = references(value, thing, fn)
    memo = make(fn)
    call(memo, thing)
    del memo
    assert references(value, thing, fn) == before


@kinds
@calls
def test_evicted_entries_are_let_go(make, call):
    memo = make(lambda *args, **kwargs: Thing())
    bounded = memo.cache_info().maxsize is not None
    refs = []
    for _ in range(10):
        thing = Thing()
        refs += [(weakref.ref(thing), weakref.ref(call(memo, thing)))]
    del thing
    collect()
    alive = [n for n, (thing, value) in enumerate(refs) if thing() is not None or value() is not None]
    assert alive == ([] if memo.cache_info().maxsize == 0 else [7, 8, 9] if bounded else list(range(10)))


@calls
@pytest.mark.parametrize("options", [{"ttl": 10}, {"fresh": Freshness(tti=10)}, {"ttl": 10, "tags": "t"},
                                     {"fresh": Freshness(ttl=5, stale_if_error=5)}], ids=str)
def test_expired_and_invalidated_entries_are_let_go(call, options):
    clock = ManualClock()
    memo = memoize(lambda *args, **kwargs: Thing(), clock=clock, **options)
    refs = []
    for _ in range(40):
        thing = Thing()
        refs += [weakref.ref(thing), weakref.ref(call(memo, thing))]
    del thing
    clock.advance(10)
    memo.cache_info()
    collect()
    alive = [ref for ref in refs if ref() is not None]
    assert alive == []
    if "tags" in options:
        thing = Thing()
        value = weakref.ref(call(memo, thing))
        memo.cache_invalidate_tags("t")
        memo.cache_info()
        collect()
        assert value() is None and sys.getrefcount(thing) == 2


@kinds
def test_failing_calls_keep_nothing(make):
    thing, error = Thing(), ValueError("no")

    def fail(*args):
        raise error

    memo = make(fail)

    def attempt():
        try:
            memo(thing, 1)
        except ValueError:
            pass
        error.__traceback__ = None

    attempt()
    before = references(thing, error)
    for _ in range(20):
        attempt()
    assert references(thing, error) == before


@kinds
def test_refused_calls_keep_nothing(make):
    thing, unhashable = Thing(), []
    memo = make(lambda *args, **kwargs: 1)

    def attempt():
        for args, kwargs in (((thing, unhashable), {}), ((unhashable,), {}), ((thing,), {"a": unhashable})):
            try:
                memo(*args, **kwargs)
            except TypeError:
                pass

    attempt()
    before = references(thing, unhashable)
    for _ in range(20):
        attempt()
    assert references(thing, unhashable) == before


class Angry(Thing):
    """Equality raises, or clears, as the test says."""

    act = None

    def __hash__(self):
        return 7

    def __eq__(self, other):
        if Angry.act is not None:
            Angry.act()
        return self is other


@kinds
def test_lookups_that_raise_or_change_the_memo_keep_nothing(make):
    memo = make(lambda *args: 1)
    things = [Angry() for _ in range(3)]

    def attempt():
        for act in (None, memo.cache_clear, lambda: 1 / 0):
            Angry.act = act
            for thing in things:
                for args in ((thing,), (thing, 1)):
                    try:
                        memo(*args)
                    except ZeroDivisionError:
                        pass
        Angry.act = None
        memo.cache_clear()

    attempt()
    before = references(*things)
    for _ in range(10):
        attempt()
    assert references(*things) == before


@pytest.mark.parametrize("options", [{}, {"typed": True}, {"maxsize": 2}, {"key": lambda *a, **k: (a, *k.values())},
                                     {"ttl": 9e6}, {"tags": lambda *a, **k: ["t", "u"], "ttl": 9e6}],
                         ids=["plain", "typed", "bounded", "key", "ttl", "tags"])
def test_verbs_keep_no_reference(options):
    value, thing, other = Thing(), Thing(), Thing()
    memo = memoize(lambda *args, **kwargs: value, **options)

    def round_trip():
        memo(thing, key=other)
        memo.cache_set(value, other)
        memo.cache_set(value, other)
        memo.cache_contains(thing, key=other)
        memo.cache_key(thing, key=other)
        memo.cache_refresh(thing, key=other)
        memo.cache_refresh(other, thing)
        memo.cache_invalidate(thing, key=other)
        memo.cache_invalidate(other)
        memo.cache_invalidate(value)
        memo.cache_invalidate_tags("t", "v")
        memo.cache_stats(), memo.cache_info(), memo.cache_parameters()
        memo.cache_clear()

    round_trip()
    before = references(value, thing, other, memo)
    for _ in range(20):
        round_trip()
    assert references(value, thing, other, memo) == before


@kinds
def test_result_given_back_by_several_paths_is_counted_right(make):
    value = Thing()
    memo = make(lambda *args, **kwargs: value)
    results = [memo(1), memo(1), memo(1, 2), memo(a=1), memo(a=1)]
    before = references(value)[0]
    del results
    assert references(value)[0] == before - 5


def test_bound_memos_keep_their_instance_only_while_they_live():
    class C:
        @memoize
        def f(self):
            return 1

    thing = C()
    before = references(thing)
    bound = [thing.f for _ in range(5)]
    assert references(thing)[0] == before[0] + 5
    del bound
    assert references(thing) == before


# ------------------------------------------------------------------ cycles

@kinds
def test_memo_that_remembers_itself_is_collected(make):
    memo = make(lambda *args: args)
    memo(memo), memo(memo, memo)
    ref = weakref.ref(memo)
    del memo
    collect()
    assert ref() is None


@kinds
def test_memo_whose_value_refers_to_it_is_collected(make):
    value = Thing()
    memo = make(lambda *args: value)
    value.memo = memo
    memo(1), memo(1, 2)
    refs = [weakref.ref(memo), weakref.ref(value)]
    del memo, value
    collect()
    assert [ref() for ref in refs] == [None, None]


@kinds
def test_memo_whose_keys_refer_to_it_is_collected(make):
    memo = make(lambda *args, **kwargs: 1)
    refs = [weakref.ref(memo)]
    for call in CALLS.values():
        thing = Thing()
        thing.memo = memo
        call(memo, thing)
        refs.append(weakref.ref(thing))
    del memo, thing
    collect()
    assert [ref() for ref in refs] == [None] * 4


@kinds
def test_memo_in_a_cycle_through_its_attributes_is_collected(make):
    memo = make(lambda: 1)
    memo.me = memo
    ref = weakref.ref(memo)
    del memo
    collect()
    assert ref() is None


@kinds
def test_recursive_function_and_its_memo_are_collected(make):
    def scope():
        @make
        def f(n):
            return [f, n and f(n - 1)]

        f(5)
        return weakref.ref(f), weakref.ref(f.__wrapped__)

    refs = scope()
    collect()
    assert [ref() for ref in refs] == [None, None]


@classes_can_go
@kinds
def test_class_with_memoized_method_is_collected(make):
    class C:
        @make
        def f(self):
            return self

    thing = C()
    thing.f()
    refs = [weakref.ref(C), weakref.ref(thing), weakref.ref(C.f)]
    del C, thing
    collect()
    assert [ref() for ref in refs] == [None] * 3


@classes_can_go
def test_options_in_a_cycle_with_the_memo_are_collected():
    def scope():
        def key(*args):
            return memo and args

        def copier(value):
            return memo and value

        class Error(Exception):
            pass

        def clock():
            return memo and 1.0

        def tags(*args):
            return memo and "t"

        memo = memoize(lambda x: [x], key=key, copy=copier, cache_exceptions=Error, clock=clock, tags=tags, ttl=10)
        Error.memo = memo
        memo(1)
        return [weakref.ref(thing) for thing in (memo, key, copier, Error, clock, tags)]

    refs = scope()
    collect()
    assert [ref() for ref in refs] == [None] * 6


def test_remembered_exception_in_a_cycle_is_collected():
    def scope():
        class Refused(Exception):  # unlike KeyError, it can be weakly referenced
            pass

        error = Refused()

        @memoize(cache_exceptions=Refused)
        def f(x):
            raise error

        error.memo = f
        for _ in range(3):
            try:
                f(1)
            except Refused:
                pass
        return weakref.ref(f), weakref.ref(error)

    refs = scope()
    collect()
    assert [ref() for ref in refs] == [None, None]


def test_collector_sees_what_a_memo_holds():
    value, thing, name = Thing(), Thing(), Thing()
    memo = memoize(lambda *args, **kwargs: value, maxsize=5)
    memo(thing), memo(thing, 1), memo(a=name)
    seen, ahead = set(), [memo]
    for _ in range(2):  # the memo holds the keys, and the keys hold the arguments
        ahead = gc.get_referents(*ahead)
        seen.update(map(id, ahead))
    assert {id(value), id(thing), id(name), id(memo.__wrapped__)} <= seen
    assert memo in gc.get_referrers(value)


def test_keys_of_plain_values_are_not_tracked_by_the_collector():
    memo = lru_cache(None)(lambda *args: 1)
    before = len(gc.get_objects())
    for n in range(2000):
        memo(n, "x")
    gc.collect()
    assert len(gc.get_objects()) - before < 500


# ------------------------------------------------------------------ methods

@pytest.mark.parametrize("slots", [False, True], ids=["dict", "slots"])
def test_instances_of_a_cached_method_come_and_go_without_a_trace(slots):
    class C(type("Base", (), {"__slots__": ("__weakref__",)} if slots else {})):
        if slots:
            __slots__ = ()

        @cached_method
        def f(self, x):
            return Thing()

        @cached_method
        def g(self, x):
            return Thing()

    def use():
        thing = C()
        thing.f(1), thing.f(1), thing.g(2), thing.f.cache_info()
        return weakref.ref(thing), weakref.ref(thing.f(1))

    use()
    f, g = C.f, C.g
    before = references(C, f, g)
    refs = [use() for _ in range(50)]
    assert references(C, f, g) == before
    assert all(thing() is None and value() is None for thing, value in refs)


def test_cached_method_hits_keep_no_reference():
    value, thing = Thing(), Thing()

    class C:
        @cached_method
        def f(self, *args):
            return value

    instance = C()
    instance.f(thing), instance.f(thing, 1)
    f = C.f
    before = references(value, thing, instance, f)
    for _ in range(50):
        instance.f(thing), instance.f(thing, 1)
        C.f(instance, thing)
        instance.f.cache_contains(thing)
    assert references(value, thing, instance, f) == before


# ------------------------------------------------------------------ async and flights

def test_async_calls_keep_no_reference():
    value, thing = Thing(), Thing()

    @memoize(maxsize=2)
    async def f(*args):
        await asyncio.sleep(0)
        return value

    async def main():
        await asyncio.gather(*(f(thing, n % 3) for n in range(9)))
        await f(thing), await f(thing)
        await f.cache_refresh(thing)
        task = asyncio.ensure_future(f(thing, "cancelled"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)
        f.cache_clear()

    run_async(main())
    before = references(value, thing, f)
    for _ in range(5):
        run_async(main())
    assert references(value, thing, f) == before


def test_async_failures_keep_no_reference():
    thing = Thing()

    @memoize
    async def f(x):
        await asyncio.sleep(0)
        raise ValueError

    async def main():
        await asyncio.gather(*(f(thing) for _ in range(4)), return_exceptions=True)

    run_async(main())
    before = references(thing, f)
    for _ in range(5):
        run_async(main())
    assert references(thing, f) == before


def test_async_memo_in_a_cycle_is_collected():
    def scope():
        @memoize
        async def f(x):
            return [f, x]

        run_async(f(1))
        return weakref.ref(f), weakref.ref(f.__wrapped__)

    refs = scope()
    collect()
    assert [ref() for ref in refs] == [None, None]


def test_crowds_keep_no_reference():
    value, thing = Thing(), Thing()
    memo = memoize(lambda *args: value, maxsize=1)

    def storm():
        together(*[lambda: [memo(thing, n % 3) for n in range(100)]] * 4)
        memo.cache_clear()

    storm()
    before = references(value, thing, memo)
    for _ in range(3):
        storm()
    assert references(value, thing, memo) == before


@pytest.mark.parametrize("options", [{"tags": "t"}, {"fresh": Freshness(ttl=10, stale_while_revalidate=5)},
                                     {"fresh": Freshness(ttl=10, stale_if_error=5), "cache_exceptions": KeyError}], ids=str)
def test_steered_loads_keep_no_reference(options):
    value, thing, clock = Thing(), Thing(), ManualClock()
    memo = memoize(lambda *args: value, clock=clock, **options)

    @memoize(clock=clock, **options)
    async def later(*args):
        await asyncio.sleep(0)
        return value

    async def ask():
        await asyncio.gather(*(later(thing, n % 2) for n in range(6)))
        for _ in range(5):
            await asyncio.sleep(0)

    def walk():
        for _ in range(2):
            together(*[lambda: memo(thing)] * 3)
            run_async(ask())
            clock.advance(11)
        memo.cache_refresh(thing)
        memo.cache_set(value, thing)
        until(lambda: len(THREADS._idle) == len(THREADS))
        memo.cache_clear(), later.cache_clear()

    walk()
    before = references(value, thing, memo, later)
    for _ in range(3):
        walk()
    assert references(value, thing, memo, later) == before


def test_decorators_keep_nothing():
    def fn():
        pass

    before = references(fn)
    for _ in range(20):
        for make in KINDS.values():
            make(fn)
        functools.wraps(fn)(memoize(fn))
        for bad in ({"maxsize": -1}, {"maxsize": "x"}, {"key": 1}):
            with pytest.raises((TypeError, ValueError)):
                memoize(fn, **bad)
    assert references(fn) == before
