"""A state machine walks the cache core and its twin side by side, and validates the native one after every step.

Six keys and few tags, so that everything meets everything, and so that what is due leaves within one verb: then even
the order in which things happen is the twin's. Exact LRU is compared to the last entry. Under the other rules who is
evicted is the rule's own business; what is still there must be what the twin has.
"""

import itertools
from collections import Counter

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from samovar import _core
from samovar._base.clock import ManualClock
from samovar._base.freshness import Freshness
from samovar._base.missing import MISSING
from support import Alike
from twins.cache import CacheCore as Twin

LEAD, FOLLOW = _core.LEAD, _core.FOLLOW
KEYS = ["tea", 7, Alike("a"), Alike("b"), ("pot", 1), -1]
TAGS = ["t", "u", "v"]
STEPS = st.sampled_from([0.25, 1.0, 3.0, 7.5, 20.0, 4000.0])
LIVES = [None, 1.0, 4.0, 30.0, 5000.0]
WINDOWS = [0.0, 2.0, 10.0]

keys = st.sampled_from(KEYS)
tags = st.one_of(st.none(), st.lists(st.sampled_from(TAGS), max_size=3).map(tuple))
plain_terms = st.builds(Freshness, ttl=st.sampled_from(LIVES), negative_ttl=st.sampled_from([None, 2.0]))
any_terms = st.builds(Freshness, ttl=st.sampled_from(LIVES), tti=st.sampled_from([None, 3.0]),
                      stale_while_revalidate=st.sampled_from(WINDOWS), stale_if_error=st.sampled_from(WINDOWS),
                      negative_ttl=st.sampled_from([None, 2.0]))
early_terms = st.builds(Freshness, ttl=st.sampled_from(LIVES), early=st.just(1.0),
                        stale_while_revalidate=st.sampled_from(WINDOWS))


def merged(events):
    """What ended by its time or by a tag at once is told with either cause."""
    return Counter((key, id(value), "ended" if cause in ("expired", "invalidated") else cause)
                   for key, value, cause in events)


def raised_or(act, *args):
    try:
        return act(*args)
    except KeyError as error:
        return "KeyError", error.args


class Walk(RuleBasedStateMachine):
    weighed = False
    terms = plain_terms
    gaps = st.just(0.0)

    @initialize(data=st.data(), maxsize=st.sampled_from([None, 1, 2, 4, 5]))
    def begin(self, data, maxsize):
        self.clock, self.numbers = ManualClock(50.0), itertools.count()
        self.fresh = data.draw(st.one_of(st.none(), self.terms) if self.gaps is Walk.gaps else self.terms)
        self.told, self.expected = [], []
        maxweight = 12 if self.weighed else None
        options = maxsize, maxweight, (lambda key, value: 3) if self.weighed else None, "lru", self.fresh, self.clock
        self.core = _core.CacheCore(*options, lambda *one: self.told.append(one), False)
        self.twin = Twin(*options, lambda *one: self.expected.append(one), False)
        self.ordered = maxsize is not None or self.weighed
        self.loads = []  # (number there, number here, flight)
        self.softly = Counter()

    def value(self, data, key):
        """A new object; or None; or the very one that is stored."""
        kind = data.draw(st.sampled_from(["new", "new", "new", "none", "same"]))
        stored = self.twin.entries.get(key)
        if kind == "same" and stored is not None:
            return stored.value
        return None if kind == "none" else ["value", next(self.numbers)]

    def both(self, verb, *args):
        ours, theirs = raised_or(getattr(self.core, verb), *args), raised_or(getattr(self.twin, verb), *args)
        assert ours is theirs or ours == theirs, (verb, args, ours, theirs)
        return ours

    # ---------------------------------------------------------------- time, and what is seen without touching

    @rule(step=STEPS)
    def time_passes(self, step):
        self.clock.advance(step)

    @rule(key=keys)
    def look(self, key):
        self.both("peek", key, "nothing")
        self.both("__contains__", key)

    @rule()
    def look_at_all(self):
        self.agree()

    def agree(self):
        """What is past is let go of on both sides; then all that can be seen is the same."""
        self.both("__len__")
        ours, theirs = self.core._entries(), self.twin._entries()
        if not self.ordered:
            ours.sort(key=lambda one: KEYS.index(one[0]))
            theirs.sort(key=lambda one: KEYS.index(one[0]))
        assert [one[0] for one in ours] == [one[0] for one in theirs]
        for (_, value, left, names, cost, weight, keep), (_, expected, until, wanted, spent, heavy, window) in zip(
                ours, theirs, strict=True):
            assert value is expected and names == wanted and left == pytest.approx(until)
            assert cost == pytest.approx(spent) or self.gaps is Walk.gaps
            assert weight == (heavy if self.weighed else 1) and keep == pytest.approx(window)
        assert len(self.core) == len(self.core._snapshot(2)) == len(list(self.core))
        assert sorted(map(repr, self.core._snapshot(2))) == sorted(map(repr, self.twin._snapshot()))
        assert merged(self.told) == merged(self.expected)
        ours, theirs = self.core._counts(), self.twin._counts()
        for counts in (ours, theirs):
            counts["ended"] = counts.pop("expired") + counts.pop("invalidated")
            del counts["currsize"], counts["weight"]  # here of all that is kept, there of what is fresh
        assert ours == theirs
        self.softly.clear()

    # ---------------------------------------------------------------- one key

    @rule(key=keys)
    def get(self, key):
        self.both("get", key, "nothing")

    @rule(key=keys)
    def subscript(self, key):
        self.both("__getitem__", key)

    @rule(some=st.lists(keys, max_size=4))
    def get_many(self, some):
        self.both("get_many", list(dict.fromkeys(some)))

    @rule(data=st.data(), key=keys)
    def put_plainly(self, data, key):
        self.both("__setitem__", key, self.value(data, key))

    @rule(data=st.data(), key=keys, names=tags, only_absent=st.booleans())
    def put(self, data, key, names, only_absent):
        fresh = data.draw(st.one_of(st.none(), self.terms))
        weight = data.draw(st.sampled_from([None, 1, 4, 11, 12, 13])) if self.weighed else None
        self.both("_put", key, self.value(data, key), fresh, names, weight, only_absent)

    @rule(data=st.data(), some=st.lists(keys, max_size=3), names=tags)
    def put_many(self, data, some, names):
        pairs = [(key, self.value(data, key)) for key in some]
        self.both("_put_many", pairs, data.draw(st.one_of(st.none(), self.terms)), names)

    @rule(key=keys, verb=st.sampled_from(["delete", "__delitem__", "_pop", "expire"]))
    def let_go(self, key, verb):
        self.both(verb, key)

    @rule(data=st.data(), key=keys)
    def touch(self, data, key):
        self.both("_touch", key, data.draw(st.one_of(st.none(), self.terms)))

    @rule(some=st.lists(keys, max_size=3))
    def delete_many(self, some):
        self.both("_delete_many", some)

    # ---------------------------------------------------------------- all

    @rule(names=st.lists(st.sampled_from(TAGS), max_size=2, unique=True).map(tuple), soft=st.booleans())
    def invalidate(self, names, soft):
        self.softly.update(names if soft else ())
        if max(self.softly.values(), default=0) > 4:  # a tag knows its last four soft ones
            self.agree()
        self.both("_invalidate_tags", names, soft)
        self.both("__len__")

    @rule()
    def clear(self):
        self.agree()
        self.both("clear")

    @precondition(lambda self: self.ordered)
    @rule()
    def pop_item(self):
        self.both("_popitem")

    @rule(data=st.data())
    def resize(self, data):
        self.agree()  # what is past must not stand in the way of the others
        maxsize = data.draw(st.sampled_from([1, 2, 3, 6])) if self.twin.maxsize is not None else None
        self.both("_resize", maxsize, data.draw(st.sampled_from([3, 7, 12, 20])) if self.weighed else None)

    @rule(data=st.data(), some=st.lists(keys, max_size=4), names=tags)
    def restore(self, data, some, names):
        left = st.sampled_from([float("inf"), 5.0, 0.5, 0.0, -1.0, -5.0, -3000.0])
        keep = st.sampled_from([0.0, 2.0, 4000.0, float("inf")])
        self.both("_restore", [(key, self.value(data, key), data.draw(left), names or (), 0.7,
                                data.draw(st.sampled_from([1, 3, 13])), data.draw(keep)) for key in some])

    # ---------------------------------------------------------------- loads

    @rule(data=st.data(), key=keys, leader=st.sampled_from([1, 2]))
    def join(self, data, key, leader):
        fresh, gap, flight = data.draw(st.one_of(st.none(), self.terms)), data.draw(self.gaps), ["flight"]
        role, number, on, value, age, stamp = self.core._join(key, flight, leader, fresh, gap)
        expected = self.twin._join(key, flight, leader, fresh, gap)
        assert role == expected[0] and (stamp == expected[5] or role not in (LEAD, FOLLOW))
        assert value is expected[3] and (value is MISSING or age == pytest.approx(expected[4]))
        if role == LEAD:
            assert on is flight
            self.loads.append((number, expected[1], flight))
        elif role == FOLLOW:
            assert on is expected[2]

    @rule(key=keys, leader=st.sampled_from([1, 2]))
    def refresh(self, key, leader):
        flight = ["flight"]
        number, value, age, stamp = self.core._refresh_begin(key, flight, leader)
        expected = self.twin._refresh_begin(key, flight, leader)
        assert value is expected[1] and stamp == expected[3]
        assert value is MISSING or age == pytest.approx(expected[2])
        self.loads.append((number, expected[0], flight))

    def a_load(self, data):
        return data.draw(st.integers(0, len(self.loads) - 1))

    @precondition(lambda self: self.loads)
    @rule(data=st.data(), names=tags, cost=st.sampled_from([0.0, 0.7, 5.3]))
    def settle(self, data, names, cost):
        number, there, flight = self.loads.pop(self.a_load(data))
        value = self.value(data, self.twin.loads[there].key)
        fresh = data.draw(st.one_of(st.none(), self.terms))
        weight = data.draw(st.sampled_from([None, 1, 12, 13])) if self.weighed else None
        stored = self.core._settle(number, flight, value, fresh, names, weight, cost)
        assert stored == self.twin._settle(there, flight, value, fresh, names, weight, cost)

    @precondition(lambda self: self.loads)
    @rule(data=st.data(), failed=st.booleans())
    def drop(self, data, failed):
        number, there, flight = self.loads.pop(self.a_load(data))
        self.core._drop(number, flight, failed)
        self.twin._drop(there, flight, failed)

    @precondition(lambda self: self.loads)
    @rule(data=st.data())
    def abandon(self, data):
        number, there, flight = self.loads[self.a_load(data)]
        self.core._abandon(number, flight)
        self.twin._abandon(there, flight)

    @rule(number=st.integers(0, 9))
    def a_stranger_ends_nothing(self, number):
        assert not self.core._settle(number, ["stranger"], 1, None, None, None, 0.0)
        self.core._drop(number, ["stranger"], True)
        self.core._abandon(number, ["stranger"])

    @rule(names=tags, begun=st.integers(0, 12), joined=st.integers(0, 12))
    def recheck(self, names, begun, joined):
        assert self.core._recheck(names, begun, joined) >= self.twin._recheck(names, begun, joined)

    # ---------------------------------------------------------------- always

    @invariant()
    def sound(self):
        assert _core.check(self.core)

    def teardown(self):
        if hasattr(self, "core"):
            self.agree()
            for number, _, flight in self.loads:
                self.core._drop(number, flight, False)
            assert _core.check(self.core)


class Weighed(Walk):
    weighed = True
    terms = any_terms


class Stale(Walk):
    terms = any_terms


class Early(Walk):
    terms = early_terms
    gaps = st.sampled_from([0.0, 1.3, 30.0])


class Ruled(RuleBasedStateMachine):
    """Under a rule of its own: what is there is what the twin, which evicts nobody, has; and the bounds hold."""

    @initialize(data=st.data(), name=st.sampled_from(["fifo", "sieve", "s3fifo", "tinylfu", "gdsf", "adaptive", "lru"]),
                maxsize=st.sampled_from([1, 2, 3, 5]), weighed=st.booleans())
    def begin(self, data, name, maxsize, weighed):
        self.clock, self.numbers, self.told = ManualClock(50.0), itertools.count(), []
        fresh = data.draw(st.one_of(st.none(), any_terms))
        self.maxsize, self.maxweight = maxsize, 9 if weighed else None
        self.core = _core.CacheCore(maxsize, self.maxweight, None, name, fresh, self.clock,
                                    lambda *one: self.told.append(one), True)
        self.twin = Twin(None, None, None, "lru", fresh, self.clock, None, False)
        self.stored = 0

    @rule(step=STEPS)
    def time_passes(self, step):
        self.clock.advance(step)

    @rule(key=keys, verb=st.sampled_from(["get", "peek", "_pop"]))
    def read(self, key, verb):
        ours, theirs = getattr(self.core, verb)(key), getattr(self.twin, verb)(key)
        assert ours is theirs or ours in (None, MISSING)

    @rule(key=keys, weight=st.sampled_from([1, 2, 5, 9, 10]), names=tags, fresh=st.one_of(st.none(), any_terms),
          only_absent=st.booleans())
    def put(self, key, weight, names, fresh, only_absent):
        value = ["value", next(self.numbers)]
        there = key in self.core
        stored = self.core._put(key, value, fresh, names, weight, only_absent)
        assert stored == ((self.maxweight is None or weight <= self.maxweight) and not (there and only_absent))
        if stored:
            self.stored += 1
            self.twin._put(key, value, fresh, names, None, False)
        elif not there or not only_absent:
            self.twin.delete(key)

    @rule(key=keys, verb=st.sampled_from(["delete", "expire"]))
    def let_go(self, key, verb):
        assert getattr(self.core, verb)(key) <= getattr(self.twin, verb)(key)

    @rule(key=keys, fresh=st.one_of(st.none(), any_terms))
    def touch(self, key, fresh):
        if self.core._touch(key, fresh):
            assert self.twin._touch(key, fresh)

    @rule(names=st.lists(st.sampled_from(TAGS), max_size=2, unique=True).map(tuple), soft=st.booleans())
    def invalidate(self, names, soft):
        for key in KEYS:
            self.read(key, "peek")
        self.core._invalidate_tags(names, soft)
        self.twin._invalidate_tags(names, soft)

    @rule(maxsize=st.sampled_from([1, 2, 4, 6]), maxweight=st.sampled_from([2, 9, 20]))
    def resize(self, maxsize, maxweight):
        self.maxsize, self.maxweight = maxsize, maxweight if self.maxweight is not None else None
        self.core._resize(self.maxsize, self.maxweight)

    @rule()
    def clear(self):
        self.core.clear()
        self.twin.clear()

    @rule()
    def pop_item(self):
        before = dict(self.core._snapshot(2))
        if before:
            key, value = self.core._popitem()
            assert before[key] is value and key not in self.core
        else:
            with pytest.raises(KeyError, match="empty"):
                self.core._popitem()

    @invariant()
    def sound(self):
        assert _core.check(self.core)
        counts = self.core._counts()
        assert counts["currsize"] <= self.maxsize
        assert self.maxweight is None or counts["weight"] <= self.maxweight
        assert self.stored == counts["currsize"] + len(self.told)
        for key, value in self.core._snapshot(2):
            assert self.twin.peek(key) is value


TestExactLru = Walk.TestCase
TestWeighed = Weighed.TestCase
TestStale = Stale.TestCase
TestEarly = Early.TestCase
TestOtherRules = Ruled.TestCase
for case in (TestExactLru, TestWeighed, TestStale, TestEarly, TestOtherRules):
    case.settings = settings(max_examples=80, stateful_step_count=50)
