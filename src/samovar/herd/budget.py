"""A bound on what the origin is asked at once, whoever asks: any number of caches, threads and event loops share it.

This room reads arguments and waits, once for threads and once for tasks, to be read side by side. Who gets a place is
decided in herd/room.py; how many places there are, by pure rules (herd/rules.py, limits.py, breaker.py).
"""

import asyncio
import os
import random
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from .._base import early
from .._base.clock import stopwatch
from .._base.flight import places
from .._base.freshness import Duration, seconds
from ..app.options import whole
from ..memo.options import is_async
from . import limits
from .breaker import Breaker
from .places import Place, Slot, Waiter
from .room import Room
from .rules import Rules
from .standing import BudgetStats, latency

_T = TypeVar("_T")
_budgets: "weakref.WeakSet[OriginBudget]" = weakref.WeakSet()
_LONGER = 32  # times its first time a breaker is open, at most


class OriginBudget(Room):
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
    breaker: how many loads in a row may fail before a circuit breaker opens; None: there is none. While it is open nobody
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
        breaker: int | None = None,
        open_for: Duration = 1.0,
        clock: Callable[[], float] | None = None,
        seed: int | None = None,
    ) -> None:
        most = whole("OriginBudget", "max_concurrent", max_concurrent, least=1)
        most_queued = whole("OriginBudget", "max_queue", max_queue, least=0)
        patience_s = min(seconds(queue_timeout, "OriginBudget: queue_timeout"), threading.TIMEOUT_MAX / 4)
        least = whole("OriginBudget", "least", least, least=1)
        if least > most:
            raise ValueError(f"OriginBudget: least must be at most max_concurrent, {most}, not {least!r}")
        if not isinstance(adaptive, bool):
            raise TypeError(f"OriginBudget: adaptive must be True or False, not {adaptive!r}")
        if clock is not None and not callable(clock):
            raise TypeError(f"OriginBudget: clock must be callable or None, not {clock!r}")
        rules = Rules(
            most,
            limits.Adaptive(least, most) if adaptive else None,
            None if ramp is None else limits.Ramp(seconds(ramp, "OriginBudget: ramp", positive=True)),
            None if rate is None else limits.Pace(_rate(rate)),
            _breaker(breaker, seconds(open_for, "OriginBudget: open_for", positive=True), seed),
        )
        super().__init__(rules, most_queued, patience_s, stopwatch if clock is None else clock)
        _budgets.add(self)

    # ---------------------------------------------------------------- entering

    def enter(self, *, waits: bool = True) -> Place:
        """A place, waited for in order; the caller must `leave` it. Blocks this thread.

        waits: False: OriginBusy at once when there is none free.
        Raises OriginBusy when the queue is full, queue_timeout is over, or the breaker is open.
        """
        began = stopwatch()
        waiter = Waiter(None, began + self._patience_s)
        try:
            place = self._ask(waiter, waits)
            if place is None:
                while (left := self._turn(waiter)) is not None:
                    waiter.bell.acquire(timeout=left)
                place = self._conclude(waiter, began)
            assert place is not None  # only tasks are lost
            return _held(place)
        except BaseException:
            self._give_up(waiter)
            raise

    async def aenter(self, *, waits: bool = True) -> Place:
        """The same for a task; its loop goes on meanwhile. Who is cancelled in the queue leaves it."""
        loop, began = asyncio.get_running_loop(), stopwatch()
        while True:
            waiter = Waiter(loop, began + self._patience_s)
            try:
                place = self._ask(waiter, waits)
                if place is None:
                    while (left := self._turn(waiter)) is not None:
                        await asyncio.wait((waiter.bell,), timeout=left)
                    place = self._conclude(waiter, began)
                if place is not None:
                    return _held(place)
            except BaseException:
                self._give_up(waiter)
                raise

    def slot(self, *, waits: bool = True) -> Slot:
        """A context manager, for `with` and `async with`, around what asks the origin."""
        return Slot(self, waits)

    def run(self, fn: Callable[[], _T]) -> _T:
        """What fn() returns, called within the budget. TypeError for what is `async def`: that is for `arun`."""
        _want_callable("run", fn)
        if is_async(fn):
            raise TypeError(f"run: fn must be a plain function, not the async {fn!r}; that is for arun")
        with self.slot():
            return fn()

    async def arun(self, fn: Callable[[], Awaitable[_T]]) -> _T:
        """What awaiting fn() gives, within the budget."""
        _want_callable("arun", fn)
        async with self.slot():
            return await fn()

    def cool(self) -> None:
        """Begin at the foot of the ramp again: the origin was restarted, a node with much of its answers was lost."""
        with self._lock:
            if self._rules.ramp is not None:
                self._rules.ramp.cool()

    # ---------------------------------------------------------------- numbers

    @property
    def limit(self) -> int:
        """Places that there are now."""
        with self._lock:
            return self._rules.limit(self._clock())

    def stats(self) -> BudgetStats:
        """How it stands, and what it counted since it was made."""
        with self._lock:
            self._reclaim_locked()
            self._bury_locked()
            now, counts, breaker = self._clock(), self._counts, self._rules.breaker
            return BudgetStats(
                limit=self._rules.limit(now), running=self._running, queued=len(self._queue),
                entered=counts["entered"], waited=counts["waited"], refused_busy=counts["busy"],
                refused_full=counts["full"], refused_late=counts["late"], refused_broken=counts["broken"],
                breaker=self._rules.state(now), opened=0 if breaker is None else breaker.opened, most=counts["most"],
                queue_latency=latency(self._times),
            )

    def __repr__(self) -> str:
        stats = self.stats()
        return f"<samovar.OriginBudget: {stats.running} of {stats.limit} running, {stats.queued} queued>"


def _held(place: Place) -> Place:
    places.set((*[one for one in places.get() if one() is not None], weakref.ref(place)))
    return place


def _want_callable(who: str, fn: Any) -> None:
    if not callable(fn):
        raise TypeError(f"{who}: fn must be callable, not {fn!r}")


def _rate(rate: float) -> float:
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        raise TypeError(f"OriginBudget: rate must be a number of loads a second, or None, not {rate!r}")
    if not 0 < rate < float("inf"):
        raise ValueError(f"OriginBudget: rate must be more than 0 and finite, not {rate!r}")
    return float(rate)


def _breaker(row: int | None, open_s: float, seed: int | None) -> Breaker | None:
    if row is None:
        return None
    most_s = _LONGER * open_s
    chance = early.chance if seed is None else random.Random(seed)  # the first draws anew in the child of a fork
    return Breaker(whole("OriginBudget", "breaker", row, least=1), open_s, most_s, chance.random)


def _forked() -> None:
    for budget in list(_budgets):
        budget._begin_anew()
    places.set(())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
