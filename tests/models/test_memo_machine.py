"""A state machine walks the native memo and its twin side by side, and validates the native one after every step."""

import copy

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import samovar
from support import Alike, check
from twins.memo import Memo as Twin, TimedMemo as TimedTwin

NAN = float("nan")


class Word(str):
    """A str that is not an exact str."""


class Number(int):
    """An int that is not an exact int."""


class Refused(Exception):
    """The error that some memos remember."""


values = st.one_of(
    st.integers(-3, 12),
    st.sampled_from([True, False, 1.0, 0.0, -1, -2, -2.0, 2**61 - 1, 2 * (2**61 - 1), 2**64, -(2**63), 1 + 0j, NAN]),
    st.sampled_from(["", "a", "b", "ab", "\N{SNOWMAN}", Word("a"), Number(1), b"a", None, (), (1,), (1.0,), ((),)]),
    st.sampled_from([frozenset({1}), int, str, Ellipsis]),
    st.builds(Alike, st.integers(0, 5)),
    st.integers(0, 40).map(lambda n: n * (2**61 - 1)),  # ints that all hash to 0
)
positional = st.lists(values, max_size=3).map(tuple)
named = st.lists(st.tuples(st.sampled_from(["a", "b", "key", "maxsize"]), values), max_size=3, unique_by=lambda x: x[0])
calls = st.one_of(values.map(lambda value: ((value,), {})), st.tuples(positional, named.map(dict)))
sizes = st.sampled_from([None, 0, 1, 2, 3, 5, 8, 13, 40])


def outcome(act, *args, **kwargs):
    """What a call did, comparable: an answer by identity, an error by identity."""
    try:
        return "answered", act(*args, **kwargs)
    except (Refused, ValueError) as error:
        return "raised", error


def same(ours, theirs):
    assert ours[0] == theirs[0]
    assert ours[1] is theirs[1] or ours[1] == theirs[1]


class Walk(RuleBasedStateMachine):
    """The rules that every kind of memo obeys. A function's answer is decided per step, before both are asked, so
    that both receive the very same object or the very same error."""

    def open(self, memo, twin):
        self.memo, self.twin = memo, twin
        self.calls_ours = self.calls_twins = 0

    def fn_ours(self, *args, **kwargs):
        self.calls_ours += 1
        return self.decide()

    def fn_twins(self, *args, **kwargs):
        self.calls_twins += 1
        return self.decide()

    def decide(self):
        if isinstance(self.plan, Exception):
            raise self.plan
        return self.plan

    plans = st.one_of(st.builds(list), st.none(), st.integers(),
                      st.builds(Refused, st.integers()), st.builds(ValueError, st.integers()))

    @rule(call=calls, plan=plans)
    def call(self, call, plan):
        self.plan = plan
        same(outcome(self.memo, *call[0], **call[1]), outcome(self.twin, *call[0], **call[1]))

    @rule(numbers=st.lists(st.integers(0, 60), min_size=1, max_size=40))
    def burst(self, numbers):
        for number in numbers:
            self.plan = [number]
            same(outcome(self.memo, number), outcome(self.twin, number))

    @rule()
    def clear(self):
        self.memo.cache_clear()
        self.twin.clear()

    @invariant()
    def both_agree(self):
        if not hasattr(self, "memo"):
            return
        assert check(self.memo)
        info = self.memo.cache_info()
        assert (info.hits, info.misses, info.maxsize, info.currsize) == self.twin.info()
        assert self.calls_ours == self.calls_twins


class DropInWalk(Walk):
    """samovar.lru_cache against the twin that keys as functools does."""

    @initialize(maxsize=sizes, typed=st.booleans())
    def begin(self, maxsize, typed):
        self.open(samovar.lru_cache(maxsize, typed)(self.fn_ours), Twin(self.fn_twins, maxsize, typed, plain=True))


class MemoizeWalk(Walk):
    """samovar.memoize with every verb it has, against the twin."""

    @initialize(maxsize=sizes, typed=st.booleans(), coalesce=st.booleans(),
                cache_exceptions=st.sampled_from([(), Refused, (KeyError, Refused)]),
                key=st.sampled_from([None, None, lambda *args, **kwargs: (len(args), *map(str, kwargs))]),
                copier=st.sampled_from([None, None, copy.copy]))
    def begin(self, coalesce, copier, **options):
        maxsize, typed = options.pop("maxsize"), options.pop("typed")
        self.open(samovar.memoize(self.fn_ours, maxsize, typed, coalesce=coalesce, copy=copier, **options),
                  Twin(self.fn_twins, maxsize, typed, copy=copier, **options))

    @rule(call=calls, value=st.one_of(st.none(), st.builds(list)))
    def set(self, call, value):
        assert self.memo.cache_set(value, *call[0], **call[1]) is None
        self.twin.set(value, *call[0], **call[1])

    @rule(call=calls)
    def contains(self, call):
        assert self.memo.cache_contains(*call[0], **call[1]) is self.twin.contains(*call[0], **call[1])

    @rule(call=calls)
    def invalidate(self, call):
        known = self.twin.contains(*call[0], **call[1])
        self.twin.invalidate(*call[0], **call[1])
        assert self.memo.cache_invalidate(*call[0], **call[1]) is known

    @rule(call=calls, plan=Walk.plans)
    def refresh(self, call, plan):
        self.plan = plan
        same(outcome(self.memo.cache_refresh, *call[0], **call[1]), outcome(self.twin.refresh, *call[0], **call[1]))

    @precondition(lambda self: self.twin.entries)
    @rule(place=st.integers(0, 100))
    def invalidate_one_that_is_there(self, place):
        keys = [key for key in self.twin.entries if key[0] == "call"]
        if keys:
            _, args, kwargs, _ = keys[place % len(keys)]
            assert self.memo.cache_invalidate(*args, **dict(kwargs)) is self.twin.contains(*args, **dict(kwargs))
            self.twin.invalidate(*args, **dict(kwargs))

    @rule(a=calls, b=calls)
    def keys_are_alike_when_the_twins_are(self, a, b):
        ours = self.memo.cache_key(*a[0], **a[1]) == self.memo.cache_key(*b[0], **b[1])
        assert ours == (self.twin.key(*a) == self.twin.key(*b))

    @invariant()
    def statistics_agree(self):
        if hasattr(self, "memo"):
            stats = self.memo.cache_stats()
            assert (stats.loads, stats.failures, stats.evictions) == (
                self.twin.loads, self.twin.failures, self.twin.evictions)
            assert stats.coalesced == 0


class TimedWalk(MemoizeWalk):
    """samovar.memoize with lifetimes, over a clock that moves between the steps, against the twin that expires. Counting
    lets all go that is past, so it is a step of its own here."""

    spans = st.one_of(st.none(), st.sampled_from([0.25, 1.0, 2.5, 10.0]))

    @initialize(maxsize=sizes.filter(lambda size: size is None or size < 10), typed=st.booleans(),
                coalesce=st.booleans(), ttl=spans, tti=spans, negative_ttl=spans,
                cache_exceptions=st.sampled_from([(), Refused]), copier=st.sampled_from([None, None, copy.copy]),
                key=st.sampled_from([None, None, lambda *args, **kwargs: (len(args), *map(str, kwargs))]))
    def begin(self, maxsize, typed, coalesce, copier, ttl, tti, negative_ttl, **options):
        self.clock = samovar.ManualClock()
        fresh = samovar.Freshness(ttl=ttl, tti=tti, negative_ttl=negative_ttl)
        self.open(samovar.memoize(self.fn_ours, maxsize, typed, coalesce=coalesce, fresh=fresh, clock=self.clock,
                                  copy=copier, **options),
                  TimedTwin(self.fn_twins, maxsize, typed, clock=self.clock, ttl=ttl, tti=tti,
                            negative_ttl=negative_ttl, copy=copier, **options))

    steps = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.5, 7.5, 10.0])

    @rule(by=steps)
    def let_time_pass(self, by):
        self.clock.advance(by)
        self.twin.time_moved()

    @rule(turns=st.lists(st.tuples(st.integers(0, 2), steps), min_size=1, max_size=15), plan=Walk.plans)
    def ask_now_and_then(self, turns, plan):
        self.plan = plan
        for number, by in turns:
            assert self.memo.cache_contains(number) is self.twin.contains(number)
            same(outcome(self.memo, number), outcome(self.twin, number))
            self.let_time_pass(by)

    @rule()
    def count(self):
        super().both_agree()
        super().statistics_agree()
        assert self.memo.cache_stats().expired == self.twin.expired

    @invariant()
    def both_agree(self):
        if hasattr(self, "memo"):
            assert check(self.memo) and self.calls_ours == self.calls_twins

    @invariant()
    def statistics_agree(self):
        pass


PACE = settings(max_examples=150, stateful_step_count=40, deadline=None, print_blob=True,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])

TestDropInWalk = DropInWalk.TestCase
TestDropInWalk.settings = PACE
TestMemoizeWalk = MemoizeWalk.TestCase
TestMemoizeWalk.settings = PACE
TestTimedWalk = TimedWalk.TestCase
TestTimedWalk.settings = PACE


# ------------------------------------------------------------------ long walks that a machine would not find

def walk(memo, twin, numbers, every=997):
    for step, number in enumerate(numbers):
        assert memo(number) == twin(number)
        if step % every == 0:
            assert check(memo)
            info = memo.cache_info()
            assert (info.hits, info.misses, info.maxsize, info.currsize) == twin.info()
    assert check(memo)


@pytest.mark.parametrize("maxsize", [1, 2, 11, 12, 13, 64, 1000, None])
@pytest.mark.parametrize("spread", [1, 3, 2**20, 2**40, 2**61 - 2], ids=lambda n: f"stride{n}")
def test_memo_agrees_with_twin_when_keys_stride(maxsize, spread):
    numbers = [n * spread for n in range(1500)]
    order = numbers + numbers[::-1] + numbers[::2] + numbers[700:900] * 3
    walk(samovar.lru_cache(maxsize)(lambda n: -n), Twin(lambda n: -n, maxsize, plain=True), order)


def test_memo_agrees_with_twin_when_filled_and_emptied_again_and_again():
    memo, twin = samovar.memoize(lambda n: -n, maxsize=None), Twin(lambda n: -n, None)
    for size in (1, 16, 17, 200, 3000, 20_000, 5, 3000):
        walk(memo, twin, range(size), every=4999)
        for number in range(0, size, 3):  # holes
            assert memo.cache_invalidate(number) is twin.contains(number)
            twin.invalidate(number)
        assert check(memo)
        walk(memo, twin, range(size), every=4999)  # holes filled again
        if size % 2:
            for number in range(size):
                assert memo.cache_invalidate(number)
                twin.invalidate(number)
        else:
            memo.cache_clear()
            twin.clear()
        assert check(memo)
        assert memo.cache_info().currsize == 0


def test_memo_agrees_with_twin_when_large():
    size = 200_000
    memo = samovar.lru_cache(size)(lambda n: -n)
    assert all(memo(number) == -number for number in range(size + size // 2))
    assert memo.cache_info() == (0, size + size // 2, size, size)
    assert all(memo(number) == -number for number in range(size // 2, size + size // 2))
    assert memo.cache_info().hits == size
    assert check(memo)
    memo.cache_clear()
    assert check(memo)
    assert memo.cache_info() == (0, 0, size, 0)


@pytest.mark.parametrize("maxsize", [3, 50, None])
def test_memo_agrees_with_twin_when_hashes_collide(maxsize, seed=20240229):
    import random

    chance = random.Random(seed)
    keys = [Alike(name) for name in range(40)] + [Alike(name, name % 4) for name in range(100, 160)]
    memo, twin = samovar.memoize(lambda key: key.name, maxsize=maxsize), Twin(lambda key: key.name, maxsize)
    for _ in range(4000):
        key = chance.choice(keys)
        match chance.randrange(10):
            case 0:
                expected = twin.contains(key)
                assert memo.cache_invalidate(key) is expected
                twin.invalidate(key)
            case 1:
                memo.cache_set(key.name, key)
                twin.set(key.name, key)
            case _:
                assert memo(key) == twin(key)
        assert tuple(memo.cache_info()) == twin.info()
    assert check(memo)
