"""fork in mid-flight: the child neither hangs nor crashes, and computes what it asks for."""

import os
import sys

import pytest

from support import LIMIT, fresh_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

START = """
import asyncio, faulthandler, gc, os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
import samovar, samovar._core
from support import Crew, together, until, wait_for
check = samovar._core.check
faulthandler.register(signal.SIGALRM, chain=True)  # a child that hangs says where, and ends

def in_child(act):
    '''Fork; the child runs `act` under an alarm and exits 0 when it held.'''
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

class Gate:
    def __init__(self):
        self.entered, self.go, self.calls = threading.Event(), threading.Event(), []
    def __call__(self, x):
        self.calls.append(x)
        if os.getpid() == parent and threading.current_thread() is not threading.main_thread():
            self.entered.set()
            wait_for(self.go)
        return [x]

parent = os.getpid()
gate = Gate()
"""


def run(code):
    fresh_python(START + code, limit=2 * LIMIT)


@pytest.mark.parametrize("options", ["", "maxsize=None", "maxsize=1", "typed=True", "key=lambda x: x",
                                     "cache_exceptions=KeyError", "coalesce=False", "ttl=60", "tags='t'",
                                     "fresh=samovar.Freshness(ttl=60, stale_while_revalidate=60)"])
def test_child_computes_what_a_thread_of_the_parent_was_loading(options):
    run(f"""
memo = samovar.memoize(gate, {options})
""" + """
leader = Crew(lambda: memo(1))
wait_for(gate.entered)

def child():
    assert memo(1) == [1]
    assert memo(1) is memo(1)
    assert memo(2) == [2]
    assert check(memo)
    memo.cache_clear()
    assert check(memo)
    gc.collect()

assert in_child(child) == 0
gate.go.set()
assert leader.join() == [[1]]
assert memo(1) == [1]
assert check(memo)
""")


def test_child_computes_what_a_crowd_of_the_parent_waits_for():
    run("""
memo = samovar.memoize(gate)
crew = Crew(*[lambda: memo(1)] * 5)
wait_for(gate.entered)
until(lambda: memo.cache_stats().coalesced >= 4)

def child():
    assert memo(1) == [1]
    assert together(*[lambda: memo(1)] * 4) == [[1]] * 4
    assert check(memo)
    del memo.__wrapped__

assert in_child(child) == 0
gate.go.set()
assert len({id(value) for value in crew.join()}) == 1
""")


@pytest.mark.parametrize("verb", ["cache_invalidate(1)", "cache_set([9], 1)", "cache_refresh(1)", "cache_clear()",
                                  "cache_contains(1)"])
def test_child_may_use_every_verb_on_a_key_in_flight(verb):
    run("""
memo = samovar.memoize(gate)
crew = Crew(*[lambda: memo(1)] * 3)
wait_for(gate.entered)
until(lambda: memo.cache_stats().coalesced >= 2)

def child():
    memo.%s
    assert check(memo)
    assert memo(1) in ([1], [9])
    assert check(memo)

assert in_child(child) == 0
gate.go.set()
crew.join()
assert check(memo)
""" % verb)


def test_leader_that_forks_itself_ends_its_load_on_both_sides():
    run("""
memo = None

@samovar.memoize
def memo(x):
    if x == 1:
        entered.set()
        until(lambda: memo.cache_stats().coalesced >= 3)
        pids.append(os.fork())
        if pids[-1] == 0:
            signal.alarm(150)
            # the waiters' stacks are gone here: new threads take their place in memory
            for _ in range(4):
                together(*[lambda: [memo(n) for n in range(100, 130)]] * 6)
    return [x]

entered, pids = threading.Event(), []

def follow():
    wait_for(entered)
    return memo(1)

crowd = Crew(follow, follow, follow)
value = memo(1)
if pids[-1] == 0:
    code = 1
    try:
        assert value == [1]
        assert memo(1) is value
        assert check(memo)
        code = 0
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(code)
assert os.waitstatus_to_exitcode(os.waitpid(pids[-1], 0)[1]) == 0
assert all(one is value for one in crowd.join())
""")


def test_child_of_a_waiter_computes():
    run("""
memo = samovar.memoize(lambda x: gate(x) if x == 1 else [x])

class Forking:
    '''Its equality forks, in the middle of a lookup.'''
    codes = []
    def __hash__(self): return 1
    def __eq__(self, other):
        if not self.codes and os.getpid() == parent:
            def child():
                assert memo(1) == [1]
                assert memo(self) == [self]
                assert check(memo)
            self.codes.append(in_child(child))
        return self is other

leader = Crew(lambda: memo(1))
wait_for(gate.entered)
forking = Forking()
assert memo(forking) == [forking]
assert Forking.codes == [0]
gate.go.set()
leader.join()
assert check(memo)
""")


def test_grandchild_computes_too():
    run("""
memo = samovar.memoize(gate)
leader = Crew(lambda: memo(1))
wait_for(gate.entered)

def child():
    inner = threading.Event()
    entered = threading.Event()

    @samovar.memoize
    def other(x):
        if os.getpid() == me and threading.current_thread() is not threading.main_thread():
            entered.set()
            inner.wait(10)
        return [x]

    me = os.getpid()
    crew = Crew(lambda: other(1))
    wait_for(entered)

    def grandchild():
        assert other(1) == [1]
        assert memo(1) == [1]
        assert check(other) and check(memo)

    assert in_child(grandchild) == 0
    assert memo(1) == [1]
    inner.set()
    assert crew.join() == [[1]]

assert in_child(child) == 0
gate.go.set()
leader.join()
""")


def test_child_computes_what_a_loop_of_the_parent_was_loading():
    run("""
entered, go = threading.Event(), threading.Event()

@samovar.memoize
async def memo(x):
    if os.getpid() == parent:
        entered.set()
        while not go.is_set():
            await asyncio.sleep(0)
    return [x]

async def ask():
    return await asyncio.wait_for(memo(1), 120)

leader = Crew(lambda: asyncio.run(ask()))
wait_for(entered)

def child():
    assert asyncio.run(ask()) == [1]
    assert asyncio.run(ask()) == [1]
    assert check(memo)

assert in_child(child) == 0
go.set()
assert leader.join() == [[1]]
assert check(memo)
""")


@pytest.mark.skipif(sys.platform == "darwin", reason="fork with threads and frameworks is not safe there")
def test_many_forks_during_a_storm_leave_children_able_to_compute():
    run("""
stop = threading.Event()

@samovar.memoize(maxsize=20)
def memo(x):
    return [x]

def storm():
    n = 0
    while not stop.is_set():
        n += 1
        assert memo(n % 50) == [n % 50]
        if n % 97 == 0:
            memo.cache_clear()

def child():
    for n in range(100):
        assert memo(n) == [n]
    assert check(memo)

crew = Crew(storm, storm, storm)
try:
    codes = [in_child(child) for _ in range(15)]
finally:
    stop.set()
crew.join()
assert codes == [0] * 15, codes
""")
