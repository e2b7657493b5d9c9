"""Threads from one barrier on all verbs of a cache at once, and forks in the middle of them."""

import itertools
import os
import random
import sys
import threading
from collections import Counter

import pytest

from samovar import _core
from samovar._base.freshness import Freshness
from support import FREE_THREADED, LIMIT, Alike, fresh_python, together, until

KEYS = [*range(20), *map(str, range(20)), *(Alike(n) for n in range(6)), ("a", 1)]
STALE = Freshness(ttl=0.002, stale_while_revalidate=0.002)
TERMS = [None, Freshness(ttl=0.001), STALE, Freshness(ttl=100, tti=0.001)]
TAGS = [None, ("t",), ("t", "u"), ("v",), ()]
RULES = ["lru", "fifo", "sieve", "s3fifo", "tinylfu", "gdsf", "adaptive"]


class Worker:
    """One thread's seeded choice of verbs; it checks what it can know by itself."""

    def __init__(self, cache, seed, rounds):
        self.cache, self.chance, self.rounds, self.seed = cache, random.Random(seed), rounds, seed
        self.numbers = itertools.count(seed * 10**9)
        self.loads = 0

    def __call__(self):
        verbs = [self.read, self.read, self.write, self.write, self.load, self.load, self.let_go, self.whole]
        for _ in range(self.rounds):
            self.chance.choice(verbs)(self.chance.choice(KEYS))

    def value(self, key):
        return (key, next(self.numbers))

    def read(self, key):
        cache = self.cache
        for value in (cache.get(key), cache.peek(key), cache.get_many([key]).get(key)):
            assert value is None or value[0] == key
        key in cache, cache._touch(key, self.chance.choice(TERMS))

    def write(self, key):
        cache, chance = self.cache, self.chance
        cache[key] = self.value(key)
        cache._put(key, self.value(key), chance.choice(TERMS), chance.choice(TAGS), chance.choice([1, 2, 7]),
                   chance.random() < 0.3)
        cache._put_many([(key, self.value(key))], None, chance.choice(TAGS))

    def load(self, key):
        cache, chance, flight = self.cache, self.chance, object()
        if chance.random() < 0.7:
            role, number, on, value, _, _ = cache._join(key, flight, self.seed + 1, None, chance.choice([0.0, 1.0]))
            assert value is _core.MISSING or value[0] == key
            assert role == _core.LEAD or on is not flight
        else:
            role, number = _core.LEAD, cache._refresh_begin(key, flight, self.seed + 1)[0]
        if role == _core.LEAD:
            if chance.random() < 0.2:
                cache._abandon(number, flight)
            if chance.random() < 0.2:
                cache._drop(number, flight, True)
            else:
                cache._settle(number, flight, self.value(key), chance.choice(TERMS), chance.choice(TAGS), None, 0.001)
            assert not cache._settle(number, flight, None, None, None, None, 0.0)

    def let_go(self, key):
        for verb in (self.cache.delete, self.cache.expire, self.cache._pop):
            verb(key)
        try:
            self.cache._popitem()
        except KeyError:
            pass

    def whole(self, key):
        cache, chance = self.cache, self.chance
        cache._invalidate_tags(chance.choice(TAGS[1:]), chance.random() < 0.5)
        assert all(one == value[0] for one, value in cache._snapshot(2))
        len(cache), list(cache), cache._counts(), cache._curve((5, 50)), cache._latency("loads", (50.0,))
        if chance.random() < 0.1:
            cache._resize(chance.choice([10, 30, 60]), chance.choice([20, 90]) if cache._counts()["maxweight"] else None)
            cache._restore(cache._entries())
        if chance.random() < 0.05:
            cache.clear()


@pytest.fixture(autouse=True)
def threads_change_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("options", ["plain", "told", "weighed", "stale"])
def test_threads_on_all_verbs_leave_a_sound_cache(rule, options):
    strange = []

    def on_remove(key, value, cause):
        if value[0] != key:
            strange.append((key, value, cause))

    cache = _core.CacheCore(40, 60 if options == "weighed" else None, (lambda key, value: 1 + value[1] % 3) if
                            options == "weighed" else None, rule, STALE if options == "stale" else None, None,
                            None if options == "plain" else on_remove, options == "told")
    workers = [Worker(cache, seed, 150) for seed in range(5)]
    together(*workers, lambda: [_core.check(cache) for _ in range(150)])
    cache.clear()
    until(lambda: len(cache) == 0)
    assert _core.check(cache)
    assert strange == []


def test_everything_that_left_was_told_once_and_nothing_else():
    told = []
    cache = _core.CacheCore(50, None, None, "lru", Freshness(ttl=0.001), None, lambda *one: told.append(one[1]), False)

    def work(seed):
        values = [[seed, n] for n in range(3000)]
        for n, value in enumerate(values):
            cache._put(n % 80, value, None, ("t",) if n % 3 else None, None, False)
            if n % 100 == 0:
                cache._invalidate_tags(("t",), False)
        return values

    stored = [value for values in together(*(lambda seed=seed: work(seed) for seed in range(4))) for value in values]
    cache.clear()
    assert sorted(map(id, told)) == sorted(map(id, stored))
    assert _core.check(cache)


def test_a_slow_on_remove_does_not_keep_one_thread_for_ever():
    """Whoever makes entries leave helps to see them off: what waits to be told stays about as long as the threads are
    many."""
    told, pause = [], threading.Event()
    cache = _core.CacheCore(10, None, None, "lru", None, None,
                            lambda *one: (told.append(threading.get_ident()), pause.wait(0.0001)), False)

    def work(seed):
        for n in range(300):
            cache[seed, n] = n

    together(*(lambda seed=seed: work(seed) for seed in range(4)))
    share = Counter(told)
    assert len(told) == 1190 and len(share) == 4
    assert min(share.values()) > 30, share


def test_threads_join_one_load():
    for attempt in range(50):
        cache = _core.CacheCore(None, None, None, "lru", None, None, None, False)
        roles = together(*(lambda n=n: cache._join("a", f"flight {n}", n + 1, None, 0.0) for n in range(6)))
        leaders = [one for one in roles if one[0] == _core.LEAD]
        assert len(leaders) == 1
        assert {one[2] for one in roles} == {leaders[0][2]}
        settled = together(*(lambda: cache._settle(leaders[0][1], leaders[0][2], attempt, None, None, None, 0.0),) * 4)
        assert sorted(settled) == [False, False, False, True] and cache["a"] == attempt
        assert cache._counts()["coalesced"] == 5 and _core.check(cache)


# ------------------------------------------------------------------ fork

FORK = """
import faulthandler, os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
import samovar
from samovar import _core
from samovar._base.freshness import Freshness
from support import Crew, wait_for
faulthandler.register(signal.SIGALRM, chain=True)

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

entered, go, told = threading.Event(), threading.Event(), []
parent = os.getpid()

def gate(*one):
    told.append(one)
    if os.getpid() == parent and threading.current_thread() is not threading.main_thread():
        entered.set()
        wait_for(go)
"""


def run(code):
    fresh_python(FORK + code, limit=2 * LIMIT)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
def test_child_sees_off_what_a_thread_of_the_parent_was_seeing_off():
    run("""
cache = _core.CacheCore(10, None, None, "lru", None, None, gate, False)
for n in range(10):
    cache[n] = n
crew = Crew(lambda: cache._resize(3, None))
wait_for(entered)

def child():
    assert len(told) == 1 and _core.check(cache)
    cache[50] = 50
    assert len(told) == 8 and len(cache) == 3, told   # the six that were on their way, and the one that had to go
    assert _core.check(cache)
    cache.clear()
    assert _core.check(cache)

assert in_child(child) == 0
go.set()
crew.join()
assert len(told) == 7 and _core.check(cache)
""")


@needs_fork
@pytest.mark.parametrize("moment", ["clock", "weigher", "compare"])
def test_child_goes_on_when_a_thread_of_the_parent_was_in_the_middle_of_a_verb(moment):
    run(f"""
class Key:
    def __hash__(self): return 7
    def __eq__(self, other):
        if moment == "compare": gate()
        return self is other
moment, key, other = {moment!r}, Key(), Key()
def clock():
    if moment == "clock" and ready: gate()
    return 5.0
ready = False
cache = _core.CacheCore(10, 100, (lambda key, value: moment == "weigher" and value == 2 and gate() or 1), "lru",
                        Freshness(ttl=50), clock, None, False)
cache[key] = 1
ready = True
crew = Crew(lambda: cache._put(other, 2, None, ("t",), None, False))
wait_for(entered)

def child():
    assert cache[key] == 1 and _core.check(cache)
    cache[other] = 3
    cache._put("c", 4, None, ("t",), None, False)
    cache._invalidate_tags(("t",), False)
    assert cache.get("c") is None and cache[other] == 3 and _core.check(cache)
    cache.clear()
    assert _core.check(cache)

assert in_child(child) == 0
go.set()
crew.join()
assert cache[other] == 2 and _core.check(cache)
""")


@needs_fork
def test_child_takes_over_the_loads_whose_leaders_are_gone():
    run("""
cache = _core.CacheCore(10, None, None, "lru", Freshness(ttl=1000, stale_while_revalidate=10), None, None, False)
cache["old"] = 1
flights = {key: [key] for key in ("a", "b", "old")}
led = {key: cache._join(key, flights[key], 5, None, 0.0)[1] for key in ("a", "b")}
led["old"] = cache._refresh_begin("old", flights["old"], 5)[0]

def child():
    for key in led:
        if key == "old":
            assert cache[key] == 1
            cache.expire(key)
        role, number, flight, *_ = cache._join(key, "mine", 5, None, 0.0)
        assert (role, flight) == (_core.LEAD, "mine"), (key, role)
        assert cache._join(key, "other", 6, None, 0.0)[0] == _core.FOLLOW
        assert not cache._settle(led[key], flights[key], 2, None, None, None, 0.0)
        assert cache._settle(number, "mine", 3, None, None, None, 0.0) and cache[key] == 3
    assert _core.check(cache)

assert in_child(child) == 0
for key, number in led.items():
    assert cache._join(key, "late", 6, None, 0.0)[0] == (_core.HIT if key == "old" else _core.FOLLOW)
    assert cache._settle(number, flights[key], 2, None, None, None, 0.0) and cache[key] == 2
assert _core.check(cache)
""")


@pytest.mark.skipif(FREE_THREADED, reason="a lock that was just handed to a thread of the parent stays locked in the child")
@needs_fork
def test_forks_in_the_middle_of_a_storm():
    run("""
import random
cache = _core.CacheCore(50, None, None, "lru", Freshness(ttl=0.001), None, lambda *one: None, False)
stop = threading.Event()

def storm(seed):
    chance = random.Random(seed)
    while not stop.is_set():
        n = chance.randrange(90)
        cache._put(n, n, None, ("t",), None, False)
        cache.get(n + 1), cache.delete(n + 2), len(cache)
        if n == 7:
            cache._invalidate_tags(("t",), False), cache.clear()

def child():
    for n in range(2000):
        cache._put(n % 90, n, None, ("t",), None, False)
        cache.get(n % 90)
        cache._invalidate_tags(("t",), n % 2 == 0)
    assert _core.check(cache)

crew = Crew(*(lambda seed=seed: storm(seed) for seed in range(3)))
try:
    assert [in_child(child) for _ in range(25)] == [0] * 25
finally:
    stop.set()
crew.join()
assert _core.check(cache)
""")
