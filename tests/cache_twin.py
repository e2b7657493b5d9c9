"""The twin of the cache core, for threads: every verb under one lock; and factories that wait to be let go."""

import asyncio
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parent / "models"))

import pytest  # noqa: E402

from samovar import _core  # noqa: E402
from samovar._base.freshness import Freshness  # noqa: E402
from support import LIMIT, until, wait_for  # noqa: E402
from twins.cache import CacheCore  # noqa: E402

SWR = Freshness(ttl=10, stale_while_revalidate=5)
SIE = Freshness(ttl=10, stale_if_error=5)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Locked:
    """A core whose verbs are atomic, as the native one's are."""

    def __init__(self, core):
        self.core, self.lock = core, threading.RLock()

    def __getattr__(self, name):
        verb = getattr(self.core, name)

        def call(*args):
            with self.lock:
                return verb(*args)

        return call

    def __contains__(self, key):
        with self.lock:
            return key in self.core

    def __len__(self):
        with self.lock:
            return len(self.core)


def locked(clock, *, maxsize=None, weigher=None, fresh=None):
    """A core that threads may share."""
    return Locked(CacheCore(maxsize, 1000, weigher, "lru", fresh, clock, None, False))


@pytest.fixture
def clock():
    """The time of `core`."""
    return Clock()


def native(clock, *, maxsize=None, weigher=None, fresh=None):
    """The native core."""
    return _core.CacheCore(maxsize, 1000, weigher, "lru", fresh, clock, None, False)


@pytest.fixture(params=[locked, native])
def core(request, clock):
    """The twin and the native core; of the twin it is known that all loads have ended when the test is over."""
    made = request.param(clock)
    yield made
    if request.param is locked:
        until(lambda: not made.core.flying)
    else:
        assert _core.check(made)


def put(core, key, value, fresh=None):
    core._put(key, value, fresh, None, None, False)


class Gate:
    """A factory that stops inside until the test opens it."""

    def __init__(self, value="value"):
        self.entered, self.go, self.calls, self.value = threading.Event(), threading.Event(), 0, value

    def __call__(self):
        self.calls += 1
        self.entered.set()
        wait_for(self.go)
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class AsyncGate(Gate):
    cancelled = 0

    async def __call__(self):
        self.calls += 1
        self.entered.set()
        try:
            while not self.go.is_set():
                await asyncio.sleep(0.0005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


async def entered(gate):
    while not gate.entered.is_set():
        await asyncio.sleep(0.0005)


async def come_true(promise):
    async with asyncio.timeout(LIMIT):
        while not promise():
            await asyncio.sleep(0.0005)
