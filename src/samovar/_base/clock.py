"""The only module that reads a clock. All others are handed the time, so that tests can move it.

Three clocks, never mixed: a cache's own (`cache._now()`, for deadlines), the wall's (for what outlives the process)
and the stopwatch (for what a load costs). `ManualClock` takes the place of a cache's own.
"""

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Protocol

from .freshness import Duration, seconds


def wall() -> float:
    """Seconds since 1970-01-01 UTC. It can jump when somebody sets the clock: only compare it across processes."""
    return time.time()


bare_wall = time.time  # `wall`, where a call in between is too much


def stopwatch() -> float:
    """Seconds from an arbitrary start, never backwards: the difference of two readings is what passed between."""
    return time.perf_counter()


bare_stopwatch = time.perf_counter  # likewise


def deadline(seconds: float) -> float:
    """The moment of the running event loop's own clock that is so many seconds away: for what asyncio takes as `when`."""
    return asyncio.get_running_loop().time() + seconds


def pause(seconds: float) -> None:
    """Let this thread sleep so long."""
    time.sleep(seconds)


_LONGEST_S, _UNKNOWN_S = 3600.0, 1.0  # nobody can say how fast somebody else's clock goes
_era: str | None = None


def era() -> str:
    """Which run of which machine the stopwatch counts in: only where this is equal may two processes compare theirs.
    Linux says it; elsewhere it is empty, and the wall clock must tell a restart."""
    global _era
    if _era is None:
        try:
            with open("/proc/sys/kernel/random/boot_id", "rb") as file:
                boot = file.read().strip().decode()
            _era = f"{boot} {os.readlink('/proc/self/ns/time')}"  # a time namespace has a stopwatch of its own
        except (OSError, ValueError):
            _era = ""
    return _era


class Listener(Protocol):
    """Somebody who waits for a moment of a clock."""

    def wake(self) -> None:
        """The clock was moved."""


class ManualClock:
    """A clock that stands still until it is told to move: for tests of code that waits for things to expire.

    Called, it says the time in float seconds, as every `clock=` of samovar must. It starts at `start` and never goes
    back. Safe in threads: `advance` in two of them moves it by both.

    start: seconds (or a timedelta, or text such as "5m") that it shows at first.

    >>> from samovar import Cache, ManualClock
    >>> clock = ManualClock()
    >>> cache = Cache(ttl="5m", clock=clock)
    >>> cache["tea"] = "hot"
    >>> clock.advance("4m"), "tea" in cache
    (240.0, True)
    >>> clock.advance(60), "tea" in cache
    (300.0, False)
    """

    __slots__ = ("__weakref__", "_listeners", "_lock", "_now")

    def __init__(self, start: Duration = 0.0) -> None:
        self._lock = threading.Lock()
        self._now = seconds(start, "ManualClock: start")
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()

    def __call__(self) -> float:
        return self._now

    def advance(self, by: Duration) -> float:
        """Let so much time pass, 0 or more, and return what the clock says then.

        by: seconds, a timedelta, or text such as "5m".
        Raises TypeError or ValueError for what is no duration, and for one that does not end; the clock then stands.
        """
        step = seconds(by, "ManualClock: by")
        if step == float("inf"):
            raise ValueError(f"ManualClock: by must be finite, not {by!r}")
        with self._lock:
            self._now += step
            now, listeners = self._now, list(self._listeners)
        for listener in listeners:
            listener.wake()
        return now

    def _tell(self, listener: Listener) -> None:
        """Wake this listener, as long as it lives, whenever the clock is moved."""
        with self._lock:
            self._listeners.add(listener)

    def __repr__(self) -> str:
        return f"ManualClock({self._now!r})"


def longest_wait(clock: "Callable[[], float] | None", listener: Listener) -> float | None:
    """For how many seconds at most who waits for a moment of this clock may sleep, until he looks at it again; None: until
    he is woken, which a ManualClock does. None for a clock is the machine's."""
    if isinstance(clock, ManualClock):
        clock._tell(listener)
        return None
    return _LONGEST_S if clock is None else _UNKNOWN_S
