"""Many keys at once, what is loaded though it is there, what is loaded before it is asked; and where that runs."""

import asyncio
import contextvars
import inspect
import itertools
import threading

import pytest

from samovar.app import loading, warming
from samovar.app.background import THREADS, Threads
from support import LIMIT, Crew, fresh_python, run_async, together, until, wait_for

from cache_twin import SIE, SWR, Gate, clock, core, put  # noqa: F401 - fixtures among them


# ------------------------------------------------------------------ batches, refresh, warm

def test_batch_calls_once_for_what_is_missing(core):
    put(core, "b", "stored")
    asked = []

    def load(keys):
        asked.append(keys)
        return {key: key.upper() for key in keys}

    assert loading.get_or_set_many(core, ["a", "b", "c", "a"], load) == {"a": "A", "b": "stored", "c": "C"}
    assert asked == [["a", "c"]]
    assert run_async(loading.aget_or_set_many(core, ["d", "a"], load)) == {"d": "D", "a": "A"}
    assert asked == [["a", "c"], ["d"]]


def test_batch_tells_which_key_its_factory_left_out(core):
    with pytest.raises(KeyError, match="'b'"):
        loading.get_or_set_many(core, ["a", "b"], lambda keys: {"a": 1})
    assert core.peek("a") == 1
    assert loading.get_or_set_many(core, ["a", "b"], lambda keys: {}, default=None) == {"a": 1, "b": None}
    assert "b" not in core


def test_batches_that_overlap_load_each_key_once(core):
    barrier = threading.Barrier(4)
    asked = []

    def run(keys):
        barrier.wait(LIMIT)
        return loading.get_or_set_many(core, keys, lambda led: asked.extend(led) or {key: key for key in led})

    keys = list(range(20))
    for answer in together(*[lambda turn=turn: run(keys[turn:] + keys[:turn]) for turn in (0, 5, 10, 15)]):
        assert answer == dict.fromkeys(keys) | {key: key for key in keys}
    assert sorted(asked) == keys


def test_batch_that_fails_fails_those_who_wait_and_ends_every_load(core):
    gate = Gate(ValueError("no"))
    leader = Crew(lambda: loading.get_or_set_many(core, ["a", "b"], lambda keys: gate()))
    wait_for(gate.entered)
    follower = Crew(lambda: loading.get_or_set(core, "b", lambda: 1))
    until(lambda: core._counts()["coalesced"] == 1)
    gate.go.set()
    assert leader.join(errors_too=True) == follower.join(errors_too=True) == [gate.value]


def test_batch_with_a_key_that_cannot_be_hashed_leaves_no_load(core):
    with pytest.raises(TypeError):
        loading.get_or_set_many(core, ["a", []], lambda keys: {})
    with pytest.raises(TypeError, match="must return a mapping"):
        loading.get_or_set_many(core, ["a"], lambda keys: [1])


def test_refresh_loads_whatever_is_stored_and_a_failure_leaves_it(core):
    put(core, "a", "old")
    with pytest.raises(ZeroDivisionError):
        loading.refresh(core, "a", lambda: 1 // 0, fresh=SIE)
    assert core.peek("a") == "old"
    assert loading.refresh(core, "a", lambda context: [context.stale]) == ["old"]
    assert run_async(loading.arefresh(core, "a", lambda: "new")) == core.peek("a") == "new"


@pytest.mark.parametrize("concurrency", [1, 4])
def test_warm_loads_what_is_not_fresh_and_counts(core, concurrency):
    put(core, 3, "stored")
    told = []
    warmed = warming.warm(core, range(10), lambda key: 1 // (key - 5), concurrency=concurrency,
                          progress=lambda *news: told.append(news))
    assert warmed == (8, 1, 1, 0)
    assert told == [(done, 10) for done in range(1, 11)]
    assert core.peek(3) == "stored"


def test_awarm_loads_with_tasks_and_reads_its_keys_as_it_goes(core):
    async def load(key, context):
        assert context.key == key
        await asyncio.sleep(0)
        return key

    told = []
    warmed = run_async(warming.awarm(core, iter(range(10)), load, concurrency=3, progress=lambda *n: told.append(n)))
    assert warmed == (10, 0, 0, 0)
    assert told[-1] == (10, None)


def test_warm_ends_when_progress_or_the_keys_raise(core):
    def keys():
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        warming.warm(core, keys(), lambda key: key)
    with pytest.raises(ZeroDivisionError):
        warming.warm(core, itertools.count(2), lambda key: key, progress=lambda *news: 1 // 0)


def test_warm_loads_what_is_stale(core, clock):
    put(core, "a", "old", SWR)
    clock.now += 12
    assert warming.warm(core, ["a"], lambda key: "new", fresh=SWR) == (1, 0, 0, 0) and core.peek("a") == "new"
    clock.now += 12
    assert run_async(warming.awarm(core, ["a"], lambda key: "newer", fresh=SWR)) == (1, 0, 0, 0) and core.peek("a") == "newer"
    assert core._counts()["stale_hits"] == 0


def test_warm_counts_what_is_stale_and_fails_as_failed(core, clock):
    def down(key):
        raise ConnectionError

    put(core, "a", "old", SIE)
    clock.now += 12
    assert warming.warm(core, ["a"], down, fresh=SIE) == (0, 0, 1, 0)
    assert run_async(warming.awarm(core, ["a"], down, fresh=SIE)) == (0, 0, 1, 0)


def test_warm_inside_a_load_of_one_of_its_keys_ends(core):
    def load():
        assert warming.warm(core, ["a", "b"], lambda key: "warmed", concurrency=2) == (2, 0, 0, 0)
        return "loaded"

    [value] = Crew(lambda: loading.get_or_set(core, "a", load)).join()
    assert value == "loaded" and (core.peek("a"), core.peek("b")) == ("loaded", "warmed")


def test_warm_runs_loaders_in_the_context_of_its_caller(core):
    word = contextvars.ContextVar("word", default="none")
    word.set("said")
    assert warming.warm(core, ["a", "b"], lambda key: word.get(), concurrency=2) == (2, 0, 0, 0)
    assert (core.peek("a"), core.peek("b")) == ("said", "said")


@pytest.mark.parametrize("words, kind, match", [
    ({"concurrency": 0}, ValueError, "concurrency"), ({"concurrency": True}, TypeError, "concurrency"),
    ({"progress": 1}, TypeError, "progress")])
def test_warm_refuses_what_cannot_be(core, words, kind, match):
    with pytest.raises(kind, match=f"warm: {match}"):
        warming.warm(core, [1], lambda key: key, **words)


# ------------------------------------------------------------------ the bench

def test_threads_are_made_when_needed_and_used_again():
    bench = Threads(3)
    names = []
    for _ in range(5):
        done = threading.Event()
        assert bench.start(lambda: names.append(threading.current_thread().name) or done.set())
        wait_for(done)
        until(lambda: len(bench._idle) == len(bench))
    assert names == ["samovar-1"] * 5


def test_threads_leave_when_idle_and_survive_what_a_job_raises(caplog):
    bench = Threads(1, idle_s=0.01)
    assert bench.start(lambda: 1 // 0)
    until(lambda: len(bench) == 0)
    assert "ZeroDivisionError" in caplog.text
    assert len(THREADS) <= THREADS.limit


@pytest.mark.parametrize("moment", ["while it runs", "as it comes", "for ever"])
def test_coroutine_that_a_factory_made_in_a_thread_for_who_has_left_is_closed(core, monkeypatch, moment):
    """Python would say of it that it was never awaited, and nobody but us could have."""
    bench, gate, made = Threads(1, idle_s=0.01), Gate(), []
    monkeypatch.setattr(loading, "THREADS", bench)

    async def load():
        pytest.fail("somebody began it")

    def factory():
        gate.entered.set()
        wait_for(gate.go)
        made.append(load())
        return made[0]

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(loading.aget_or_set(core, "a", lambda: factory()))
        await asyncio.to_thread(wait_for, gate.entered)
        if moment == "as it comes":  # it is set and the task is woken, and cancelled before it runs
            tell = loop.call_soon_threadsafe
            loop.call_soon_threadsafe = lambda deliver, *what: tell(lambda: (deliver(*what), task.cancel()))
        else:
            task.cancel()
        if moment == "for ever":  # nor does its loop live that long
            return
        gate.go.set()
        await asyncio.wait([task])
        assert task.cancelled()
        while not is_closed():  # by this loop
            await asyncio.sleep(0.0005)

    def is_closed():
        return made and inspect.getcoroutinestate(made[0]) == inspect.CORO_CLOSED

    run_async(main())
    gate.go.set()
    until(is_closed)


def test_load_in_the_background_holds_up_no_exit():
    """Neither a hang nor a word on stderr."""
    fresh_python("""
import subprocess, sys
code = '''
import sys, threading
sys.path[:0] = sys.argv[1].split(":")
from cache_twin import Clock, locked
from samovar._base.freshness import Freshness
from samovar.app import loading
clock, fresh = Clock(), Freshness(ttl=1, stale_while_revalidate=9)
core = locked(clock)
core._put("a", "old", fresh, None, None, False)
clock.now += 2
entered = threading.Event()
def load():
    entered.set()
    threading.Event().wait()
assert loading.get_or_set(core, "a", load, fresh=fresh) == "old"
assert entered.wait(60)
'''
done = subprocess.run([sys.executable, "-c", code, ":".join(sys.path)], capture_output=True, text=True, timeout=120)
assert (done.returncode, done.stderr) == (0, ""), done
""")


def test_child_of_a_fork_loads_what_the_parent_was_loading():
    fresh_python("""
import os, threading, warnings
warnings.simplefilter("ignore")
if hasattr(os, "fork"):
    from cache_twin import Clock, locked
    from samovar.app import loading
    from support import Crew, wait_for
    core = locked(Clock())
    entered, go = threading.Event(), threading.Event()
    def load():
        entered.set()
        wait_for(go)
        return "parent"
    crew = Crew(lambda: loading.get_or_set(core, "a", load, hard_timeout=60))
    wait_for(entered)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert loading.get_or_set(core, "a", lambda: "child", hard_timeout=60) == "child"
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    go.set()
    assert crew.join() == ["parent"]
""")
