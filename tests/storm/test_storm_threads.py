"""Threads from one barrier: one load per key, one outcome for the crowd, no deadlock, a sound structure afterwards."""

import _thread
import random
import signal
import sys
import threading

import pytest

from samovar import cache, cached_method, lru_cache, memoize
from support import LIMIT, Crew, check, fresh_python, together, until, wait_for


@pytest.fixture(autouse=True)
def switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Gate:
    """A function that stops inside until the test opens it: `entered` once it runs, `go` to let it end."""

    def __init__(self, answer=None):
        self.entered, self.go, self.calls = threading.Event(), threading.Event(), []
        self.answer = answer

    def __call__(self, *args):
        self.calls.append(args)
        self.entered.set()
        wait_for(self.go)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return [args] if self.answer is None else self.answer


def started(job):
    """The job in a thread of its own; returns the crew of one."""
    return Crew(job)


def waiting(memo, count):
    """Until so many callers wait for a flight of this memo."""
    until(lambda: memo.cache_stats().coalesced >= count)


# ------------------------------------------------------------------ one load for the crowd

def test_crowd_gets_one_load_and_one_value():
    gate = Gate()
    memo = memoize(gate)
    crew = Crew(*[lambda: memo(1)] * 12)
    wait_for(gate.entered)
    waiting(memo, 11)
    gate.go.set()
    values = crew.join()
    assert all(value is values[0] for value in values)
    assert gate.calls == [(1,)]
    stats = memo.cache_stats()
    assert (stats.loads, stats.coalesced, stats.currsize, stats.failures) == (1, 11, 1, 0)
    assert stats.hits + stats.misses == 12


def test_crowd_of_one_barrier_loads_each_key_once():
    calls, lock = [], threading.Lock()

    @memoize(maxsize=None)
    def f(x):
        with lock:
            calls.append(x)
        threading.Event().wait(0.0005)
        return [x]

    def ask():
        return [f(x) for x in range(60)]

    answers = together(*[ask] * 8)
    assert sorted(calls) == list(range(60))
    assert all(answer[x] is answers[0][x] for answer in answers for x in range(60))


def test_different_keys_do_not_wait_for_each_other():
    gate = Gate()
    memo = memoize(lambda x: gate(x) if x == 1 else [x])
    crew = started(lambda: memo(1))
    wait_for(gate.entered)
    assert memo(2) == [2]
    assert memo(2, ) == [2]
    gate.go.set()
    crew.join()


def test_crowd_does_not_wait_when_not_coalescing():
    barrier = threading.Barrier(4)

    @memoize(coalesce=False)
    def f(x):
        barrier.wait(LIMIT)  # all four are inside at once
        return [x]

    together(*[lambda: f(1)] * 4)
    assert f.cache_stats().loads == 4
    assert f.cache_stats().coalesced == 0
    assert f.cache_info().currsize == 1


def test_drop_ins_do_not_coalesce():
    for make in (lru_cache, cache):
        barrier = threading.Barrier(4)

        @make
        def f(x):
            barrier.wait(LIMIT)
            return [x]

        together(*[lambda: f(1)] * 4)
        assert f.cache_info()[:2] == (0, 4)


@pytest.mark.parametrize("options", [{"maxsize": None}, {"maxsize": 1}, {"typed": True}, {"key": lambda x: x},
                                     {"cache_exceptions": KeyError}], ids=lambda options: "-".join(options) or "plain")
def test_crowd_gets_one_load_with_any_option(options):
    gate = Gate()
    memo = memoize(gate, **options)
    crew = Crew(*[lambda: memo(1)] * 5)
    wait_for(gate.entered)
    waiting(memo, 4)
    gate.go.set()
    values = crew.join()
    assert all(value is values[0] for value in values)
    assert len(gate.calls) == 1


def test_crowd_gets_a_copy_each():
    gate = Gate()
    memo = memoize(gate, copy=list)
    crew = Crew(*[lambda: memo(1)] * 5)
    wait_for(gate.entered)
    waiting(memo, 4)
    gate.go.set()
    assert len({id(value) for value in crew.join()}) == 5


def test_crowd_of_a_method_gets_one_load_per_instance():
    gates = {}

    class C:
        @cached_method
        def f(self, x):
            return gates[self](x)

    a, b = C(), C()
    gates = {a: Gate(), b: Gate()}
    crew = Crew(*[lambda: a.f(1)] * 4, *[lambda: b.f(1)] * 4)
    for gate in gates.values():
        wait_for(gate.entered)
    waiting(a.f, 3)
    waiting(b.f, 3)
    for gate in gates.values():
        gate.go.set()
    values = crew.join()
    assert len({id(value) for value in values[:4]}) == len({id(value) for value in values[4:]}) == 1
    assert [len(gate.calls) for gate in gates.values()] == [1, 1]


# ------------------------------------------------------------------ a leader that fails

def test_failure_reaches_everyone_who_waited_and_nobody_else():
    error = ValueError("the leader failed")
    gate = Gate(error)
    memo = memoize(gate)
    crew = Crew(*[lambda: memo(1)] * 6)
    wait_for(gate.entered)
    waiting(memo, 5)
    gate.go.set()
    errors = crew.join(errors_too=True)
    assert all(isinstance(raised, ValueError) and raised.args == error.args for raised in errors)
    assert len(gate.calls) == 1
    gate.answer = ["anew"]
    assert memo(1) == ["anew"]
    assert memo.cache_stats().failures == 1


def test_remembered_failure_reaches_the_crowd_and_those_who_come_later():
    gate = Gate(KeyError("remembered"))
    memo = memoize(gate, cache_exceptions=KeyError)
    crew = Crew(*[lambda: memo(1)] * 4)
    wait_for(gate.entered)
    waiting(memo, 3)
    gate.go.set()
    assert [type(raised) for raised in crew.join(errors_too=True)] == [KeyError] * 4
    with pytest.raises(KeyError):
        memo(1)
    assert len(gate.calls) == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_leader_that_is_stopped_does_not_stop_the_crowd(kind):
    """Such an exception is about the leader's thread, not about the work: another one leads."""
    first = Gate(kind())
    answers = [first, lambda x: ["second"]]
    memo = memoize(lambda x: answers.pop(0)(x))
    leader = started(lambda: memo(1))
    wait_for(first.entered)
    crowd = Crew(*[lambda: memo(1)] * 4)
    waiting(memo, 4)
    first.go.set()
    assert isinstance(leader.join(errors_too=True)[0], kind)
    assert crowd.join() == [["second"]] * 4


def test_thread_that_ends_while_leading_leaves_the_others_served():
    first = Gate()
    answers = [lambda x: first(x) and _thread.exit(), lambda x: ["second"]]
    memo = memoize(lambda x: answers.pop(0)(x))
    leader = started(lambda: memo(1))
    wait_for(first.entered)
    crowd = Crew(*[lambda: memo(1)] * 3)
    waiting(memo, 3)
    first.go.set()
    leader.join(errors_too=True)
    assert crowd.join() == [["second"]] * 3


# ------------------------------------------------------------------ circles

def circle(length, memos=1):
    """Thread n asks for key n, whose function asks for key n + 1 (mod length): all at once, a circle of waits."""
    barrier = threading.Barrier(length)
    local = threading.local()

    def f(n):
        if not getattr(local, "inside", False):
            local.inside = True
            barrier.wait(LIMIT)  # each thread leads one key before any asks for the next
            try:
                return [n, *all_memos[(n + 1) % length % memos]((n + 1) % length)]
            finally:
                local.inside = False
        return [n]

    all_memos = [memoize(f, maxsize=None) for _ in range(memos)]
    return all_memos, lambda n: all_memos[n % length % memos](n)


@pytest.mark.parametrize("length", [2, 3, 5])
@pytest.mark.parametrize("memos", [1, 2])
def test_circle_of_threads_is_broken_by_computing(length, memos):
    all_memos, ask = circle(length, memos)
    answers = together(*[lambda n=n: ask(n) for n in range(length)])
    for n, answer in enumerate(answers):
        assert answer[0] == n
        assert len(answer) >= 2
    for memo in all_memos:
        assert check(memo)


def test_circles_from_every_side_never_deadlock(seed=99):
    """Random recursion over a small ring of keys, with every thread entering elsewhere."""
    @memoize(maxsize=8)
    def f(n, depth):
        return [n] if depth == 0 else [n, *f((n + 1) % 5, depth - 1), *f((n + 3) % 5, depth - 1)]

    def ask(thread):
        chance = random.Random(seed + thread)
        for _ in range(60):
            n, depth = chance.randrange(5), chance.randrange(5)
            assert f(n, depth)[0] == n
            if chance.random() < 0.1:
                f.cache_clear()

    together(*[lambda thread=thread: ask(thread) for thread in range(6)])
    assert check(f)


def test_mutual_recursion_across_memos_never_deadlocks():
    @memoize(maxsize=4)
    def even(n):
        return True if n == 0 else odd(n - 1)

    @memoize(maxsize=4)
    def odd(n):
        return False if n == 0 else even(n - 1)

    def ask(start):
        for n in range(start, start + 30):
            assert even(n % 17) is (n % 17 % 2 == 0)
            assert odd(n % 17) is (n % 17 % 2 == 1)

    together(*[lambda start=start: ask(start) for start in range(6)])


def test_waiter_of_a_thread_that_waits_elsewhere_still_waits():
    """A chain is no circle: C waits for B, B waits for A, and one load each is all that happens."""
    gate = Gate()
    calls = []

    @memoize
    def f(name):
        calls.append(name)
        if name == "a":
            return gate(name)
        return [name, *f({"b": "a", "c": "b"}[name])]

    a = started(lambda: f("a"))
    wait_for(gate.entered)
    b = started(lambda: f("b"))
    waiting(f, 1)
    c = started(lambda: f("c"))
    waiting(f, 2)
    gate.go.set()
    a.join(), b.join()
    assert c.join()[0][:2] == ["c", "b"]
    assert sorted(calls) == ["a", "b", "c"]


def test_leader_that_asks_again_inside_computes_while_the_crowd_waits():
    gate = Gate()
    depth = []

    @memoize
    def f(x):
        depth.append(1)
        if len(depth) == 1:
            gate(x)
            return ["outer", *f(x)]
        return ["inner"]

    leader = started(lambda: f(1))
    wait_for(gate.entered)
    crowd = Crew(*[lambda: f(1)] * 3)
    waiting(f, 3)
    gate.go.set()
    assert leader.join() == [["outer", "inner"]]
    assert all(value in (["outer", "inner"], ["inner"]) for value in crowd.join())
    assert check(f)


# ------------------------------------------------------------------ fences

@pytest.mark.parametrize("act", ["invalidate", "clear", "set"])
def test_change_during_a_load_fences_it(act):
    gate = Gate(["old"])
    memo = memoize(gate)
    crew = Crew(*[lambda: memo(1)] * 4)
    wait_for(gate.entered)
    waiting(memo, 3)
    if act == "invalidate":
        memo.cache_invalidate(1)
    elif act == "clear":
        memo.cache_clear()
    else:
        memo.cache_set(["set"], 1)
    assert check(memo)
    gate.go.set()
    assert crew.join() == [["old"]] * 4  # those who waited are served
    assert memo.cache_contains(1) is (act == "set")
    gate.answer = ["new"]
    assert memo(1) == (["set"] if act == "set" else ["new"])


@pytest.mark.parametrize("coalesce", [True, False])
@pytest.mark.parametrize("act", ["invalidate", "clear"])
def test_who_asks_after_an_invalidation_never_gets_the_older_value(act, coalesce):
    old = Gate(["old"])
    answers = [old, lambda x: ["new"]]
    memo = memoize(lambda x: answers.pop(0)(x), coalesce=coalesce)
    early = started(lambda: memo(1))
    wait_for(old.entered)
    memo.cache_invalidate(1) if act == "invalidate" else memo.cache_clear()
    assert memo(1) == ["new"]  # led by this thread while the old load still runs
    old.go.set()
    assert early.join() == [["old"]]
    assert memo(1) == ["new"]
    assert check(memo)


def test_refresh_during_a_load_takes_its_place():
    old = Gate(["old"])
    answers = [old, lambda x: ["new"]]
    memo = memoize(lambda x: answers.pop(0)(x))
    early = started(lambda: memo(1))
    wait_for(old.entered)
    assert memo.cache_refresh(1) == ["new"]
    assert memo(1) == ["new"]
    old.go.set()
    early.join()
    assert memo(1) == ["new"]
    assert check(memo)


def test_later_refresh_wins_over_an_earlier_one_that_ends_after_it():
    slow = Gate(["slow"])
    answers = [lambda x: ["first"], slow, lambda x: ["quick"]]
    memo = memoize(lambda x: answers.pop(0)(x))
    memo(1)
    early = started(lambda: memo.cache_refresh(1))
    wait_for(slow.entered)
    assert memo(1) == ["first"]
    assert memo.cache_refresh(1) == ["quick"]
    slow.go.set()
    assert early.join() == [["slow"]]
    assert memo(1) == ["quick"]
    assert check(memo)


# ------------------------------------------------------------------ signals

def interrupts_the_main_thread(memo, gate, ask):
    """The main thread waits in `ask`; a signal raises there."""
    waiter = threading.get_ident()

    def interrupt():
        waiting(memo, 1)
        signal.pthread_kill(waiter, signal.SIGUSR1)

    class Interrupted(BaseException):
        pass

    def raise_it(*_):
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, raise_it)
    try:
        crew = Crew(interrupt)
        with pytest.raises(Interrupted):
            ask()
        crew.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


needs_main_thread = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system cannot signal a thread")


@needs_main_thread
def test_waiting_is_interrupted_by_a_signal_and_the_flight_goes_on():
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled in the main thread only")
    gate = Gate()
    memo = memoize(gate)
    leader = started(lambda: memo(1))
    wait_for(gate.entered)
    interrupts_the_main_thread(memo, gate, lambda: memo(1))
    assert check(memo)
    crowd = started(lambda: memo(1))
    waiting(memo, 2)
    gate.go.set()
    assert leader.join()[0] is crowd.join()[0] is memo(1)
    assert len(gate.calls) == 1


@needs_main_thread
def test_signal_whose_handler_returns_leaves_the_waiter_waiting():
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled in the main thread only")
    gate = Gate()
    memo = memoize(gate)
    leader = started(lambda: memo(1))
    wait_for(gate.entered)
    me, handled = threading.get_ident(), []

    def poke():
        waiting(memo, 1)
        for n in range(5):
            signal.pthread_kill(me, signal.SIGUSR1)
            until(lambda: len(handled) > n)
        gate.go.set()

    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(memo.cache_info()))
    try:
        crew = Crew(poke)
        assert memo(1) is leader.join()[0]
        crew.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(handled) == 5


@needs_main_thread
def test_signal_handler_that_asks_for_the_awaited_key_does_not_deadlock():
    fresh_python("""
import signal, sys, threading
import samovar, samovar._core
from support import until, wait_for
go, entered, handled = threading.Event(), threading.Event(), []

@samovar.memoize
def f(x):
    if x == 1:
        entered.set()
        wait_for(go)
    return [x]

def poke():
    until(lambda: f.cache_stats().coalesced == 1)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    until(lambda: handled)
    go.set()

signal.signal(signal.SIGUSR1, lambda *_: handled.append(f(2)))
threads = [threading.Thread(target=f, args=(1,), daemon=True), threading.Thread(target=poke, daemon=True)]
threads[0].start()
wait_for(entered)
threads[1].start()
assert f(1) == [1]
assert handled == [[2]]
assert samovar._core.check(f)
""", limit=LIMIT)


@needs_main_thread
def test_circle_through_a_wait_that_a_signal_handler_interrupted_is_broken():
    """1. Main leads z and waits for x, which T1 leads. 2. A signal's handler, in main, waits for y. 3. T1 asks for z:
    main waits twice, and the older wait is the one that closes the circle. 4. y ends, the handler returns."""
    fresh_python("""
import signal, threading
import samovar, samovar._core
from support import until, wait_for
entered = {key: threading.Event() for key in "xy"}
go = {key: threading.Event() for key in "xy"}
main = threading.main_thread()

@samovar.memoize
def f(key):
    if threading.current_thread() is main:
        return [key, *f("x")] if key == "z" else [key]
    if key == "z":
        return [key]
    entered[key].set()
    wait_for(go[key])
    if key == "x":
        asks_for_z.set()
        return [key, *f("z")]
    return [key]

asks_for_z = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: f("y"))
for key in "xy":
    threading.Thread(target=f, args=(key,), daemon=True).start()
    wait_for(entered[key])

def conduct():
    until(lambda: f.cache_stats().coalesced == 1)
    signal.pthread_kill(main.ident, signal.SIGUSR1)
    until(lambda: f.cache_stats().coalesced == 2)
    go["x"].set()
    wait_for(asks_for_z)
    until(lambda: f.cache_stats().misses == 6 or f.cache_stats().coalesced == 3 or f.cache_stats().loads > 3)
    go["y"].set()

threading.Thread(target=conduct, daemon=True).start()
assert f("z")[:2] == ["z", "x"]
assert samovar._core.check(f)
print("broken")
""", limit=LIMIT)


@needs_main_thread
def test_keyboard_interrupt_of_the_leader_leaves_the_crowd_served():
    fresh_python("""
import signal, sys, threading
import samovar, samovar._core
from support import Crew, until, wait_for
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
calls = []
never = threading.Event()

@samovar.memoize
def f(x):
    calls.append(x)
    if len(calls) == 1:
        never.wait(120)
    return [x]

def follow():
    return f(1)

def interrupt():
    until(lambda: f.cache_stats().coalesced >= 3)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

def begin():
    until(lambda: calls)
    return Crew(follow, follow, follow, interrupt)

crew = []
starter = threading.Thread(target=lambda: crew.append(begin()))
starter.start()
try:
    f(1)
except KeyboardInterrupt:
    starter.join()
    assert crew[0].join()[:3] == [[1]] * 3
    assert len(calls) == 2
    assert samovar._core.check(f)
    print("interrupted")
""", limit=LIMIT)


# ------------------------------------------------------------------ everything at once

@pytest.mark.parametrize("maxsize", [1, 3, 30, None])
@pytest.mark.parametrize("make", [lru_cache, memoize, lambda **options: memoize(coalesce=False, **options),
                                  lambda **options: memoize(typed=True, **options)],
                         ids=["lru_cache", "memoize", "memoize-alone", "memoize-typed"])
def test_storm_of_hits_misses_evictions_and_clears_leaves_the_memo_sound(make, maxsize, seed=4):
    memo = make(maxsize=maxsize)(lambda *args: list(args))

    def run(thread):
        chance = random.Random(seed * 1000 + thread)
        for step in range(500):
            n = chance.randrange(60)
            args = (n,) if n % 2 else (n, str(n))
            match chance.randrange(20):
                case 0:
                    memo.cache_clear()
                case 1 | 2 if hasattr(memo, "cache_invalidate"):
                    memo.cache_invalidate(*args)
                case 3 | 4 if hasattr(memo, "cache_set"):
                    memo.cache_set(list(args), *args)
                case 5 if hasattr(memo, "cache_refresh"):
                    assert memo.cache_refresh(*args) == list(args)
                case 6 if hasattr(memo, "cache_contains"):
                    memo.cache_contains(*args)
                    memo.cache_stats()
                case 7:
                    memo.cache_info()
                    assert check(memo)
                case _:
                    assert memo(*args) == list(args)

    together(*[lambda thread=thread: run(thread) for thread in range(6)])
    assert check(memo)
    assert maxsize is None or memo.cache_info().currsize <= maxsize


def test_storm_of_failures_leaves_the_memo_sound(seed=5):
    @memoize(maxsize=8, cache_exceptions=KeyError)
    def f(n, luck):
        if luck == 0:
            raise ValueError(n)
        if luck == 1:
            raise KeyError(n)
        return [n]

    def run(thread):
        chance = random.Random(seed * 1000 + thread)
        for _ in range(400):
            n, luck = chance.randrange(10), chance.randrange(4)
            try:
                assert f(n, luck) == [n] and luck > 1
            except (ValueError, KeyError) as error:
                assert error.args == (n,)
                assert luck == (0 if isinstance(error, ValueError) else 1)

    together(*[lambda thread=thread: run(thread) for thread in range(6)])
    assert check(f)


def test_storm_of_new_and_dying_instances_leaves_the_method_sound(seed=6):
    class C:
        def __init__(self, n):
            self.n = n

        @cached_method(maxsize=4)
        def f(self, x):
            return [self.n, x]

    shared = [C(n) for n in range(5)]

    def run(thread):
        chance = random.Random(seed * 1000 + thread)
        for _ in range(300):
            thing = chance.choice(shared) if chance.random() < 0.5 else C(100)
            x = chance.randrange(8)
            assert thing.f(x) == [thing.n, x]
            match chance.randrange(20):
                case 0:
                    C.f.cache_clear()
                case 1:
                    thing.f.cache_clear()
                case 2:
                    thing.f.cache_invalidate(x)

    together(*[lambda thread=thread: run(thread) for thread in range(6)])
    assert check(C.f)


def test_decorating_from_many_threads_is_safe():
    def run():
        for n in range(60):
            memo = memoize(lambda x: [x], maxsize=n % 5)
            assert memo(n) == [n]
            lru_cache(2)(len)("a")

    together(*[run] * 6)


def test_waiters_of_memos_that_die_are_served():
    """The last name of the memo goes while a crowd waits inside it."""
    gate = Gate()
    holder = [memoize(gate)]
    memo = holder[0]
    crew = Crew(*[lambda memo=memo: memo(1)] * 4)
    wait_for(gate.entered)
    waiting(memo, 3)
    del memo
    holder.clear()
    gate.go.set()
    values = crew.join()
    assert all(value is values[0] for value in values)
