"""Memory stays flat: a fresh interpreter does a million operations, and its resident set is looked at on the way."""

import sys

import pytest

from support import fresh_python

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")

MEASURE = """
import asyncio, ctypes, gc, itertools, os, sys, sysconfig
import samovar, samovar._core

PR_SET_THP_DISABLE = 41  # else a few bytes may bring two megabytes, where the system gives every process huge pages
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)

# a free-threaded Python keeps pages for each size of objects, and takes its time to give them back
LIMIT = 5_000_000 if sysconfig.get_config_var("Py_GIL_DISABLED") else 1_500_000

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def flat(work, rounds=5):
    '''The first two rounds may grow: tables and free lists fill. After them, nothing may.'''
    sizes = []
    for _ in range(rounds):
        work()
        sizes.append(resident())
    grown = max(sizes[2:]) - sizes[1]
    print("flat" if grown < LIMIT else f"grown by {grown}: {sizes}")

number = itertools.count()
"""

WORK = {
    "misses": """
memo = samovar.lru_cache(1000)(lambda n: [n])
flat(lambda: [memo(next(number)) and None for _ in range(200_000)])
""",
    "misses of two": """
memo = samovar.memoize(lambda n, text: (n, text), maxsize=1000)
flat(lambda: [memo(next(number), "text") and None for _ in range(200_000)])
""",
    "misses by keyword": """
memo = samovar.memoize(lambda n, *, key: (n, key), maxsize=1000, typed=True)
flat(lambda: [memo(next(number), key=None) and None for _ in range(200_000)])
""",
    "hits": """
memo = samovar.lru_cache(1000)(lambda *args, **kwargs: [args])
flat(lambda: [memo(n % 500) and memo(n % 500, 1) and memo(n % 500, a=1) and None for n in range(70_000)])
""",
    "clears": """
memo = samovar.cache(lambda n: [n])
def work():
    for _ in range(20):
        for n in range(10_000):
            memo(next(number))
        memo.cache_clear()
flat(work)
""",
    "invalidations": """
memo = samovar.memoize(lambda n: [n], maxsize=None)
def work():
    for _ in range(20):
        keys = [next(number) for _ in range(5_000)]
        for key in keys:
            memo(key)
        for key in keys:
            memo.cache_invalidate(key)
flat(work)
""",
    "sets and refreshes": """
memo = samovar.memoize(lambda n: [n], maxsize=100)
def work():
    for _ in range(70_000):
        n = next(number) % 300
        memo.cache_set([n], n)
        memo.cache_refresh(n)
        memo.cache_refresh(n + 1)
flat(work)
""",
    "failures": """
memo = samovar.memoize(lambda n: 1 // 0, maxsize=100, cache_exceptions=KeyError)
def work():
    for _ in range(100_000):
        try:
            memo(next(number))
        except ZeroDivisionError:
            pass
flat(work)
""",
    "remembered failures": """
def fail(n):
    raise KeyError(n)
memo = samovar.memoize(fail, maxsize=100, cache_exceptions=KeyError)
def work():
    for _ in range(60_000):
        try:
            memo(next(number) % 200)
        except KeyError:
            pass
flat(work)
""",
    "unhashable": """
memo = samovar.memoize(lambda n: 1)
def work():
    for _ in range(6_000):
        try:
            memo([])
        except TypeError:
            pass
flat(work)
""",
    "memos": """
def work():
    for _ in range(6_000):
        memo = samovar.memoize(lambda n: [memo, n], maxsize=10)
        memo(1), memo(2)
flat(work)
""",
    "instances": """
class Plain:
    @samovar.cached_method
    def f(self, n):
        return [n]
class Slotted:
    __slots__ = ("__weakref__",)
    @samovar.cached_method
    def f(self, n):
        return [n]
def work():
    for _ in range(30_000):
        Plain().f(1)
        Slotted().f(1)
flat(work)
""",
    "async": """
@samovar.memoize(maxsize=100)
async def memo(n):
    await asyncio.sleep(0)
    return [n]
async def main():
    for _ in range(1_500):
        n = next(number)
        await asyncio.gather(memo(n), memo(n), memo(n + 1))
        task = asyncio.ensure_future(memo(-n))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
flat(lambda: asyncio.run(main()))
""",
    "async hits": """
@samovar.memoize(maxsize=100)
async def memo(n):
    return [n]
async def main():
    for n in range(60_000):
        await memo(n % 50)
flat(lambda: asyncio.run(main()))
""",
    "expiring": """
clock = samovar.ManualClock()
plain = samovar.memoize(lambda n: [n], maxsize=1000, ttl=100, clock=clock)
idle = samovar.memoize(lambda n: [n], maxsize=None, fresh=samovar.Freshness(tti=100, negative_ttl=5), clock=clock)
def work():
    for _ in range(60_000):
        n = next(number)
        plain(n), idle(n), idle(n - 50)
        clock.advance(0.25)
flat(work)
""",
    "steered": """
clock = samovar.ManualClock()
tagged = samovar.memoize(lambda n: [n], maxsize=100, tags=lambda n: [f"t{n}", "all"], clock=clock)
rescued = samovar.memoize(lambda n: 100 // (n % 3), maxsize=100, fresh=samovar.Freshness(ttl=10, stale_if_error=20),
                          clock=clock)
def work():
    for _ in range(7_000):
        n = next(number)
        tagged(n)
        tagged.cache_invalidate_tags(f"t{n}")
        try:
            rescued(n % 200)
        except ZeroDivisionError:
            pass
        if n % 100 == 0:
            tagged.cache_invalidate_tags("all", soft=True)
        clock.advance(0.25)
flat(work)
""",
    "hostile keys": """
class Key:
    def __init__(self, n):
        self.n = n
    def __hash__(self):
        return self.n % 50
    def __eq__(self, other):
        if self.n % 7 == 0:
            memo.cache_clear()
        if self.n % 11 == 0:
            raise ValueError
        return self.n == other.n
memo = samovar.memoize(lambda *keys: [keys], maxsize=20)
def work():
    for _ in range(25_000):
        try:
            memo(Key(next(number) % 300)), memo(Key(next(number) % 300), 1)
        except ValueError:
            pass
flat(work)
""",
    "threads": """
import threading
memo = samovar.memoize(lambda n: [n], maxsize=50)
def storm():
    for _ in range(10_000):
        memo(next(number) // 4)
def work():
    threads = [threading.Thread(target=storm) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
flat(work)
""",
}


@pytest.mark.parametrize("work", WORK)
def test_memory_stays_flat(work):
    assert fresh_python(MEASURE + WORK[work]).strip() == "flat"


def test_cleared_memo_gives_its_memory_back():
    assert fresh_python(MEASURE + """
memo = samovar.lru_cache(None)(lambda n: None)
empty = samovar._core.memory(memo)
for n in range(300_000):
    memo(n)
full = samovar._core.memory(memo)
memo.cache_clear()
print("given back" if samovar._core.memory(memo) <= empty + 4096 < full else (empty, full, samovar._core.memory(memo)))
""").strip() == "given back"


@pytest.mark.skipif(not hasattr(sys, "gettotalrefcount"), reason="only a debug Python counts all references")
def test_total_of_references_stays_flat():
    assert fresh_python("""
import asyncio, gc, sys
import samovar

class C:
    @samovar.cached_method
    def f(self, n):
        return [n]

def work():
    for make in (samovar.lru_cache(20), samovar.cache, samovar.memoize(maxsize=20), samovar.memoize(typed=True)):
        memo = make(lambda *args, **kwargs: [args, kwargs])
        for n in range(200):
            memo(n), memo(n, n), memo(n, key=n), memo(str(n))
            try:
                memo([])
            except TypeError:
                pass
        memo.cache_clear()
        C().f(1)

counts = []
for _ in range(6):
    work()
    gc.collect()
    counts.append(sys.gettotalrefcount())
growth = counts[-1] - counts[2]
print("flat" if growth < 30 else counts)
""").strip() == "flat"
