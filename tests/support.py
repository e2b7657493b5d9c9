"""What the kinds of proof share: a barrier for threads, a fresh interpreter, limits instead of sleeps, and the check
of every memo and every cache that a test made.

The one rule: nothing here waits without a limit. A thread that does not come back within LIMIT is a failure with every
stack written out, never a suite that hangs.
"""

import asyncio
import contextlib
import faulthandler
import gc
import os
import pathlib
import subprocess
import sys
import sysconfig
import threading
import weakref

import pytest

import samovar
from samovar import _core

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
classes_can_go = pytest.mark.skipif(FREE_THREADED and sys.version_info < (3, 14),
                                    reason="this Python never forgets a class or function once a thread was started")
# Seconds that anything may take before it counts as stuck: far more than it takes on a machine that is busy.
LIMIT = 360.0 if "SAMOVAR_SANITIZED" in os.environ else 180.0
TESTS = pathlib.Path(__file__).parent
MEMO_MAKERS = ("lru_cache", "cache", "memoize", "cached_method")


def check(memo):
    """Validate the whole native structure behind a memoized function; of a cached method, that of every instance."""
    if isinstance(memo, _core.MethodMemo):
        return all(_core.check(one) for one in gc.get_referrers(memo) if isinstance(one, _core.Memo))
    return _core.check(memo)


# ------------------------------------------------------------------ every memo is checked after its test

def tracked(make, made):
    """`make`, a decorator of ours, noting in the WeakSet `made` every memo that it returns."""

    def note(result):
        if hasattr(result, "__wrapped__"):
            with contextlib.suppress(TypeError):  # what takes no weak reference is not followed
                made.add(result)
            return result
        if callable(result):  # the decorator that @memoize(maxsize=...) returns
            return lambda fn: note(result(fn))
        return result

    return lambda *args, **kwargs: note(make(*args, **kwargs))


@pytest.fixture(autouse=True)
def every_memo_is_sound_afterwards(request, monkeypatch):
    """Memos made through the names that the test module imported, and all caches, are validated, whole, when the test is
    over."""
    made, caches = weakref.WeakSet(), []  # a cache has no hash
    begin = samovar.Cache.__init__

    def note(cache, *args, **kwargs):
        begin(cache, *args, **kwargs)
        caches.append(weakref.ref(cache))

    monkeypatch.setattr(samovar.Cache, "__init__", note)
    for name in MEMO_MAKERS:
        ours = getattr(samovar, name)
        if getattr(request.module, name, None) is ours:
            monkeypatch.setattr(request.module, name, tracked(ours, made))
    yield
    for each in [*made, *(cache() for cache in caches)]:
        assert each is None or check(each)


# ------------------------------------------------------------------ threads

class Crew:
    """Threads that start from one barrier; `join` collects results, raises what they raised, and never waits for
    ever."""

    def __init__(self, *jobs):
        self.barrier = threading.Barrier(len(jobs))
        self.results = [None] * len(jobs)
        self.errors = [None] * len(jobs)
        self.threads = [threading.Thread(target=self.run, args=(number, job), daemon=True)
                        for number, job in enumerate(jobs)]
        for thread in self.threads:
            thread.start()

    def run(self, number, job):
        try:
            self.barrier.wait(LIMIT)
            self.results[number] = job()
        except BaseException as error:  # noqa: BLE001 - whatever it was, the test shall see it
            self.errors[number] = error

    def join(self, *, errors_too=False):
        for thread in self.threads:
            thread.join(LIMIT)
            if thread.is_alive():
                faulthandler.dump_traceback(all_threads=True)
                pytest.fail(f"a thread did not come back within {LIMIT:g} s; every stack is on stderr")
        if errors_too:
            return [error if error is not None else result for error, result in zip(self.errors, self.results)]
        for error in self.errors:
            if error is not None:
                raise error
        return self.results


def together(*jobs, errors_too=False):
    """Run the jobs at once, each in its thread; their results in order."""
    return Crew(*jobs).join(errors_too=errors_too)


def wait_for(event):
    """Wait for an event, with the limit."""
    assert event.wait(LIMIT), "the event did not come in time"


def until(promise):
    """Give the processor away until the promise holds, with the limit: for what no event announces, such as another
    thread having gone to sleep in a lock."""
    pause = threading.Event()
    for _ in range(int(LIMIT * 1000)):
        if promise():
            return
        pause.wait(0.001)
    pytest.fail(f"did not come true within {LIMIT:g} s: {promise}")


def run_async(coroutine):
    """asyncio.run with the limit."""
    async def limited():
        return await asyncio.wait_for(coroutine, LIMIT)

    return asyncio.run(limited())


# ------------------------------------------------------------------ fresh interpreters

def fresh_python(code, *args, flags=(), limit=3 * LIMIT, env=None, expect=0):
    """Run `code` in an interpreter of its own and return what it printed. A crash, an exception or the limit fails."""
    full = dict(os.environ, PYTHONPATH=os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]),
                **(env or {}))
    done = subprocess.run([sys.executable, "-X", "faulthandler", *flags, "-c", code, *map(str, args)],
                          capture_output=True, text=True, timeout=limit, env=full)
    assert done.returncode == expect, f"exit {done.returncode}\n--- out\n{done.stdout}\n--- err\n{done.stderr}"
    return done.stdout


def collect():
    """A full collection, twice: what finalizers let go of goes too."""
    gc.collect()
    gc.collect()


# ------------------------------------------------------------------ keys

class Alike:
    """Hash chosen by the test, equality by name: for collisions on purpose."""

    __slots__ = ("hash", "name")

    def __init__(self, name, hash=7):
        self.name, self.hash = name, hash

    def __hash__(self):
        return self.hash

    def __eq__(self, other):
        return isinstance(other, Alike) and self.name == other.name

    def __repr__(self):
        return f"Alike({self.name!r}, {self.hash})"


def sum_of(*args, **kwargs):
    """A function for memos whose answer says what it was asked."""
    return args, tuple(kwargs.items())


def attempt(n, act, row=0):
    """Run `act` with the n-th allocation failing, and `row - 1` after it, or all with row=0. Whether it failed. Where the
    collector runs is not left to chance."""
    import _testcapi  # not every Python was installed with it

    gc.disable()
    failed = False
    _testcapi.set_nomemory(n, n + row if row else 0)
    try:
        act()
    except MemoryError:
        failed = True
    finally:
        _testcapi.remove_mem_hooks()
        gc.enable()
    return failed
