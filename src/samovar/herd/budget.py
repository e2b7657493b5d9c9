"""A bound on what the origin is asked at once, whoever asks: any number of caches, threads and event loops share it.

The model is a room with so many places and a queue before it. Who comes takes a place if one is free and nobody stands in
the queue; else he waits in order, for so long; a place that becomes free is handed to the first in the queue, and never
to somebody who just comes by. A load within a load goes on its parent's place, one at a time, for the parent waits
meanwhile. How many places there are now is decided by pure rules (herd/limits.py, herd/breaker.py).

The one rule: places, queue and rules change under the lock only; under it nobody waits and nothing is called back.
"""

import asyncio
import contextlib
import os
import random
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .._base.clock import stopwatch
from .._base.errors import OriginBusy
from .._base.flight import places, running_loop
from .._base.freshness import Duration, seconds
from ..app.options import whole
from . import breaker as breaking, limits
from .places import GONE, GRANTED, WAITS, Place, Slot, Waiter
from .standing import BudgetStats, latency

_T = TypeVar("_T")
_budgets: "weakref.WeakSet[OriginBudget]" = weakref.WeakSet()
_KEPT_TIMES = 512  # waiting times that are remembered for the percentiles


class OriginBudget:
    """How much an origin may be asked at once. Give one object to all that ask the same origin: `Cache(budget=)`,
    `memoize(budget=)`; or use it by itself: `with budget.slot():`, `async with budget.slot():`, `budget.run(fn)`.

    Over the budget a cache serves what is stale, where its `Freshness` lets it; else the load waits in order, up to
    queue_timeout; else OriginBusy is raised, whose `retry_after` says when another try makes sense. The bound is never
    exceeded: it holds over all threads and event loops of this process. (Each process has its own: divide.)

    max_concurrent: the most loads at once.
    max_queue: the most that wait; more are refused at once.
    queue_timeout: for how long one waits: seconds, a timedelta, or text such as "5s".
    rate: the most loads begun in a second; None: no bound.
    adaptive: True lets the limit move between `least` and max_concurrent, by how long loads take (the gradient rule) and
        whether they fail: see herd/limits.py.
    least: the smallest limit of the adaptive mode.
    ramp: a duration over which the limit grows from one to its full height after a cold start, after a pause of as long,
        and after `cool()`; None: it is there at once.
    failures: how many loads in a row may fail before a circuit breaker opens; None: no breaker. While it is open nobody
        asks the origin; then one load tries, and the others follow when it returns.
    open_for: for how long it opens at first; each time that the trying load fails, for twice as long, up to 32 times.
    clock: called for the time in seconds, for the rules (rate, ramp, breaker); a `ManualClock` in tests. Waiting itself
        is done by the machine's clock.
    seed: of the chance that jitters the breaker; None: the system's.

    Raises TypeError or ValueError that names the argument when one of these is not what it must be.

    >>> budget = OriginBudget(8)
    >>> with budget.slot():
    ...     "the origin is asked"
    'the origin is asked'
    >>> budget.stats().entered, budget.stats().running
    (1, 0)
    """

    def __init__(
        self,
        max_concurrent: int,
        max_queue: int = 1000,
        queue_timeout: Duration = 5.0,
        rate: float | None = None,
        *,
        adaptive: bool = False,
        least: int = 1,
        ramp: Duration | None = None,
        failures: int | None = None,
        open_for: Duration = 1.0,
        clock: Callable[[], float] | None = None,
        seed: int | None = None,
    ) -> None:
        self._most = whole("OriginBudget", "max_concurrent", max_concurrent, least=1)
        self._most_queued = whole("OriginBudget", "max_queue", max_queue, least=0)
        self._patience_s = min(seconds(queue_timeout, "OriginBudget: queue_timeout"), threading.TIMEOUT_MAX / 4)
        least = whole("OriginBudget", "least", least, least=1)
        if least > self._most:
            raise ValueError(f"OriginBudget: least must be at most max_concurrent, {self._most}, not {least!r}")
        if not isinstance(adaptive, bool):
            raise TypeError(f"OriginBudget: adaptive must be True or False, not {adaptive!r}")
        if clock is not None and not callable(clock):
            raise TypeError(f"OriginBudget: clock must be callable or None, not {clock!r}")
        self._clock = stopwatch if clock is None else clock
        self._adaptive = limits.Adaptive(least, self._most) if adaptive else None
        self._ramp = None if ramp is None else limits.Ramp(seconds(ramp, "OriginBudget: ramp", positive=True))
        self._pace = None if rate is None else limits.Pace(_rate(rate))
        chance = random.Random(seed).random
        self._breaker = None
        if failures is not None:
            open_s = seconds(open_for, "OriginBudget: open_for", positive=True)
            row = whole("OriginBudget", "failures", failures, least=1)
            self._breaker = breaking.Breaker(row, open_s, 32 * open_s, chance)
        self._mean_s = 0.0
        self._times: deque[float] = deque(maxlen=_KEPT_TIMES)
        self._counts = dict.fromkeys(("entered", "waited", "busy", "full", "late", "broken", "most"), 0)
        self._begin_anew()
        _budgets.add(self)

    def _begin_anew(self) -> None:
        """With all places free: new, or in the child of a fork."""
        self._lock = threading.RLock()  # re-entrant: a finalizer or a signal handler may come at any time
        self._running = 0
        self._queue: deque[Waiter] = deque()
        self._unclaimed: set[Waiter] = set()  # tasks that were given a place and did not run since
        self._generation = object()  # places of the parent of a fork are nobody's here

    # ---------------------------------------------------------------- entering

    def enter(self, *, waits: bool = True) -> Place:
        """A place, waited for in order; the caller must `leave` it. Blocks this thread.

        waits: False: OriginBusy at once when there is none free.
        Raises OriginBusy when the queue is full, queue_timeout is over, or the breaker is open.
        """
        got = self._ask(None, waits)
        if isinstance(got, Place):
            return _held(got)
        began = stopwatch()
        try:
            while (left := self._turn(got)) is not None:
                got.bell.acquire(timeout=left)
            return self._conclude(got, began)
        except BaseException:
            self._give_up(got)
            raise

    async def aenter(self, *, waits: bool = True) -> Place:
        """The same for a task; its loop goes on meanwhile. Who is cancelled in the queue leaves it."""
        got = self._ask(asyncio.get_running_loop(), waits)
        if isinstance(got, Place):
            return _held(got)
        began = stopwatch()
        try:
            while (left := self._turn(got)) is not None:
                await asyncio.wait((got.bell,), timeout=left)
            return self._conclude(got, began)
        except BaseException:
            self._give_up(got)
            raise

    def slot(self, *, waits: bool = True) -> Slot:
        """A context manager, for `with` and `async with`, around what asks the origin."""
        return Slot(self, waits)

    def run(self, fn: Callable[[], _T]) -> _T:
        """What fn() returns, called within the budget."""
        with self.slot():
            return fn()

    async def arun(self, fn: Callable[[], Awaitable[_T]]) -> _T:
        """What awaiting fn() gives, within the budget."""
        async with self.slot():
            return await fn()

    def cool(self) -> None:
        """Begin at the foot of the ramp again: the origin was restarted, a node with much of its answers was lost."""
        with self._lock:
            if self._ramp is not None:
                self._ramp.cool()

    # ---------------------------------------------------------------- the steps, each one under the lock

    def _ask(self, loop: asyncio.AbstractEventLoop | None, waits: bool) -> "Place | Waiter":
        rides = tuple(place for place in places.get() if place._budget is self)
        with self._lock:
            for parent in reversed(rides):
                if not parent._left and not parent._lent:
                    return self._lend_locked(parent)
            now = self._clock()
            if self._ramp is not None:
                self._ramp.begin(now)
            self._refuse_broken_locked(now)
            self._reclaim_locked()
            if not self._queue and self._may_start_locked(now) == 0.0:
                return self._seat_locked(now)
            if not waits:
                self._refuse_locked("busy", "all its places are taken, and what is stale can be served", waited=False)
            if len(self._queue) >= self._most_queued:
                self._refuse_locked("full", f"{len(self._queue)} loads wait already")
            waiter = Waiter(loop, stopwatch() + self._patience_s, rides)
            self._queue.append(waiter)
            return waiter

    def _limit_locked(self, now: float) -> int:
        limit = self._most if self._adaptive is None else self._adaptive.limit
        return limit if self._ramp is None else self._ramp.under(limit, now)

    def _may_start_locked(self, now: float) -> float | None:
        """0.0: one more may go. Seconds until time alone may change that; None: only somebody who leaves can."""
        limit = self._limit_locked(now)
        if self._running >= limit:
            full = self._most if self._adaptive is None else self._adaptive.limit
            return None if self._ramp is None else self._ramp.grows_in(full, now)
        if self._breaker is not None and (wait_s := self._breaker.wait_s(now)) > 0.0:
            return wait_s
        return 0.0 if self._pace is None else self._pace.wait_s(now)

    def _seat_locked(self, now: float) -> Place:
        tries = self._breaker is not None and self._breaker.begin(now)
        if self._pace is not None:
            self._pace.take(now)
        self._running += 1
        self._counts["entered"] += 1
        self._counts["most"] = max(self._counts["most"], self._running)
        return Place(self, None, tries)

    def _lend_locked(self, parent: Place) -> Place:
        parent._lent = True
        return Place(self, parent, False)

    def _hand_out_locked(self) -> None:
        """Give what is free to the first in the queue, and tell the next one to look when time will help."""
        here, now = running_loop(), self._clock()
        while self._queue:
            waiter = self._queue[0]
            if self._may_start_locked(now) != 0.0 and waiter.wake(here):
                return  # it looks again, and knows how long to sleep
            self._queue.popleft()
            self._grant_locked(waiter, self._seat_locked(now), here)

    def _grant_locked(self, waiter: Waiter, place: Place, here: asyncio.AbstractEventLoop | None) -> None:
        place.waited = True
        waiter.place, waiter.state = place, GRANTED
        if not waiter.wake(here):  # its loop is closed or stands still: nobody takes it
            waiter.state = GONE
            self._vacate_locked(place)
        elif waiter.loop is not None:
            self._unclaimed.add(waiter)

    def _reclaim_locked(self) -> None:
        """Take places back from tasks whose loop ended before they could take them."""
        for waiter in [one for one in self._unclaimed if one.loop is not None and not one.loop.is_running()]:
            self._unclaimed.discard(waiter)
            waiter.state = GONE
            assert waiter.place is not None
            self._vacate_locked(waiter.place)
            self._hand_out_locked()

    def _vacate_locked(self, place: Place) -> None:
        """A place that was handed out is empty again, and was of no use."""
        if place._left:
            return
        place._left = True
        if place._parent is not None:
            self._take_back_locked(place._parent)
            return
        self._running -= 1
        self._counts["entered"] -= 1
        if self._pace is not None:
            self._pace.give_back()
        if self._breaker is not None:
            self._breaker.end(self._clock(), failed=None, tries=place._tries)

    def _turn(self, waiter: Waiter) -> float | None:
        """How long to sleep until the next look; None: the waiting is over."""
        with self._lock:
            if waiter.state != WAITS:
                return None
            now = self._clock()
            self._reclaim_locked()
            if self._queue and self._queue[0] is waiter:
                if self._may_start_locked(now) == 0.0:
                    self._hand_out_locked()
                    if waiter.state != WAITS:
                        return None
                if self._breaker is not None and self._breaker.state(now) == breaking.OPEN:
                    self._drop_locked(waiter)
                    return None
            left = waiter.ends - stopwatch()
            if left <= 0.0:
                self._drop_locked(waiter)
                return None
            if waiter.loop is not None and waiter.bell.done() or waiter.loop is None and waiter.bell.acquire(blocking=False):
                waiter.arm()
            due = self._may_start_locked(now) if self._queue and self._queue[0] is waiter else None
            return left if due is None else max(0.0005, min(left, due))

    def _drop_locked(self, waiter: Waiter) -> None:
        waiter.state = GONE
        with contextlib.suppress(ValueError):
            self._queue.remove(waiter)
        self._hand_out_locked()

    def _give_up(self, waiter: Waiter) -> None:
        """Cancelled or interrupted: leave the queue, or hand on what was given just now."""
        with self._lock:
            self._unclaimed.discard(waiter)
            if waiter.state == GRANTED:
                waiter.state = GONE
                assert waiter.place is not None
                self._vacate_locked(waiter.place)
                self._hand_out_locked()
            elif waiter.state == WAITS:
                self._drop_locked(waiter)

    def _conclude(self, waiter: Waiter, began: float) -> Place:
        took_s = stopwatch() - began
        with self._lock:
            self._times.append(took_s)
            self._unclaimed.discard(waiter)
            if waiter.state == GRANTED:
                assert waiter.place is not None
                self._counts["waited"] += 1
                return _held(waiter.place)
            self._refuse_broken_locked(self._clock())
            self._refuse_locked("late", f"no place became free in {took_s:.3g} s")
        raise AssertionError  # never reached: _refuse_locked raises

    def _leave(self, place: Place, error: BaseException | None) -> None:
        took_s = stopwatch() - place._begun
        with self._lock:
            if place._left or place._generation is not self._generation:
                return
            place._left = True
            if place._parent is not None:
                self._take_back_locked(place._parent)
                return
            now = self._clock()
            self._learn_locked(place, took_s, error, now)
            if not place._lent:  # else who rides on it keeps it to his end
                self._running -= 1
            self._hand_out_locked()
            if self._breaker is not None and self._breaker.state(now) == breaking.OPEN:
                self._send_home_locked()

    def _learn_locked(self, place: Place, took_s: float, error: BaseException | None, now: float) -> None:
        """What a load tells of the origin: a cancellation, or another budget's refusal, nothing."""
        says_nothing = error is not None and (not isinstance(error, Exception) or isinstance(error, OriginBusy))
        failed = None if says_nothing else error is not None
        if self._breaker is not None:
            self._breaker.end(now, failed=failed, tries=place._tries)
        if failed is None:
            return
        self._mean_s += (took_s - self._mean_s) * (0.1 if self._mean_s else 1.0)
        if self._adaptive is not None and failed:
            self._adaptive.failed(took_s, now)
        elif self._adaptive is not None:
            self._adaptive.took(took_s, self._running, now)

    def _take_back_locked(self, parent: Place) -> None:
        """A nested load is over: the next one that may go on this place goes."""
        parent._lent = False
        if parent._left:  # the parent was cancelled, and is gone
            self._running -= 1
            self._hand_out_locked()
            return
        here = running_loop()
        for waiter in self._queue:
            if parent in waiter.rides:
                self._queue.remove(waiter)
                self._grant_locked(waiter, self._lend_locked(parent), here)
                return

    def _send_home_locked(self) -> None:
        """The breaker opened: who waits is told at once."""
        here = running_loop()
        waiters, self._queue = list(self._queue), deque()
        for waiter in waiters:
            waiter.state = GONE
            waiter.wake(here)

    # ---------------------------------------------------------------- refusing

    def _refuse_broken_locked(self, now: float) -> None:
        if self._breaker is not None and self._breaker.state(now) == breaking.OPEN:
            self._refuse_locked("broken", "it failed again and again, and is left alone for a while",
                                self._breaker.wait_s(now))

    def _refuse_locked(self, why: str, text: str, retry_s: float | None = None, *, waited: bool = True) -> None:
        self._counts[why] += 1
        if retry_s is None:  # until those before it are through
            ahead = len(self._queue) + 1
            retry_s = max(0.001, ahead * self._mean_s / max(1, self._limit_locked(self._clock())))
        raise OriginBusy(f"the origin is busy: {text}; try again in about {retry_s:.3g} s", retry_s, waited=waited)

    # ---------------------------------------------------------------- numbers

    @property
    def limit(self) -> int:
        """Places that there are now."""
        with self._lock:
            return self._limit_locked(self._clock())

    def stats(self) -> BudgetStats:
        """How it stands, and what it counted since it was made."""
        with self._lock:
            now, counts = self._clock(), self._counts
            return BudgetStats(
                limit=self._limit_locked(now), running=self._running, queued=len(self._queue),
                entered=counts["entered"], waited=counts["waited"], refused_busy=counts["busy"],
                refused_full=counts["full"], refused_late=counts["late"], refused_broken=counts["broken"],
                breaker=breaking.CLOSED if self._breaker is None else self._breaker.state(now),
                opened=0 if self._breaker is None else self._breaker.opened, most=counts["most"],
                queue_latency=latency(self._times),
            )

    def __repr__(self) -> str:
        stats = self.stats()
        return f"<samovar.OriginBudget: {stats.running} of {stats.limit} running, {stats.queued} queued>"


def _held(place: Place) -> Place:
    places.set((*places.get(), place))
    return place


def _rate(rate: float) -> float:
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        raise TypeError(f"OriginBudget: rate must be a number of loads a second, or None, not {rate!r}")
    if not 0 < rate < float("inf"):
        raise ValueError(f"OriginBudget: rate must be more than 0 and finite, not {rate!r}")
    return float(rate)


def _forked() -> None:
    for budget in list(_budgets):
        budget._begin_anew()
    places.set(())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
