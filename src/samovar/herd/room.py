"""The room before an origin: so many places, and a queue. Who comes, waits, is given a place, leaves or is sent home.

Each step here is one step for all threads and loops; whoever waits does so outside (herd/budget.py). A free place goes to
the first in the queue, and never to somebody who just comes by. A load within a load goes in its parent's place, one at
a time, for the parent waits meanwhile.

The one rule: places, queue and rules change under the lock only; under it nobody waits and nothing of others is called,
but the clock. The lock is re-entrant, for a finalizer may run a whole step in the middle of another: so whoever finds
room takes it before anything is called, and whoever finds somebody in the queue takes him out at once.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from .._base.clock import stopwatch
from .._base.errors import OriginBusy
from .._base.flight import places, running_loop
from .places import GONE, GRANTED, LOST, WAITS, Place, Waiter
from .rules import Rules

_KEPT_TIMES = 512  # waiting times that are remembered for the percentiles
_REFUSALS = {
    "busy": "no place is free now, and this load may not wait",
    "full": "{queued} loads wait already",
    "late": "no place became free in {patience_s:.3g} s",
    "broken": "it failed again and again, and is left alone for a while",
}


class Room:
    """rules: when one more may go. most_queued: how many may wait, and patience_s: for how long. clock: the rules'."""

    def __init__(self, rules: Rules, most_queued: int, patience_s: float, clock: Callable[[], float]) -> None:
        self._rules, self._most_queued, self._patience_s, self._clock = rules, most_queued, patience_s, clock
        self._times: deque[float] = deque(maxlen=_KEPT_TIMES)
        self._counts = dict.fromkeys(("entered", "waited", "busy", "full", "late", "broken", "most"), 0)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """With all places free: new, or in the child of a fork."""
        self._lock = threading.RLock()
        self._running = 0
        self._queue: deque[Waiter] = deque()
        self._unclaimed: set[Waiter] = set()  # tasks that were given a place and did not run since
        self._generation = object()  # places of the parent of a fork are nobody's here

    # ---------------------------------------------------------------- steps

    def _ask(self, loop: asyncio.AbstractEventLoop | None, waits: bool, ends: float) -> "Place | Waiter":
        held = places.get()
        rides = tuple(place for place in held if place.gate is self and not place.left) if held else ()
        with self._lock:
            for parent in reversed(rides):
                if parent.may_lend(self._generation) and not parent.lent:  # asked again: nothing comes in between now
                    parent.lent = True
                    return self._lend_locked(parent)
            now = self._clock()
            self._rules.asked(now)
            if self._rules.is_open(now):
                self._refuse_locked("broken")
            if self._unclaimed:
                self._reclaim_locked()
            if self._queue:
                self._hand_out_locked()
            if not self._queue and self._take_locked(now):
                return self._seat_locked(now)
            if not waits:
                self._refuse_locked("busy", waited=False)
            if len(self._queue) >= self._most_queued:
                self._bury_locked()
                if len(self._queue) >= self._most_queued:
                    self._refuse_locked("full")
            waiter = Waiter(loop, ends, rides)
            self._queue.append(waiter)
            return waiter

    def _take_locked(self, now: float) -> bool:
        """Take a free place, if the rules let one more go."""
        limit = self._rules.limit(now)
        if self._rules.due_s(now, self._running) == 0.0 and self._running < limit:
            self._running += 1
            return True
        return False

    def _seat_locked(self, now: float) -> Place:
        """The place that was taken."""
        try:
            place = Place(self, None, self._rules.begin(now))
        except BaseException:
            self._running -= 1
            raise
        self._counts["entered"] += 1
        if self._running > self._counts["most"]:
            self._counts["most"] = self._running
        return place

    def _lend_locked(self, parent: Place) -> Place:
        """A place within the one that was lent just now."""
        return Place(self, parent, False)

    def _hand_out_locked(self) -> None:
        """Give what is free to the first in the queue; tell the next one to look again, if time will help."""
        here, now = running_loop(), self._clock()
        while self._queue:
            if not self._take_locked(now):
                if self._rules.due_s(now, self._running) is not None and self._queue:
                    self._queue[0].wake(here)
                return
            if not self._queue:
                self._running -= 1
                return
            waiter = self._queue.popleft()
            place = self._seat_locked(now)
            if not self._grant_locked(waiter, place, here):
                self._undo_locked(place, now)

    def _grant_locked(self, waiter: Waiter, place: Place, here: asyncio.AbstractEventLoop | None) -> bool:
        place.waited = True
        waiter.place, waiter.state = place, GRANTED
        if not waiter.wake(here):  # its loop is closed, or stands still: it asks again if that ever goes on
            waiter.place, waiter.state = None, LOST
            return False
        if waiter.loop is not None:
            self._unclaimed.add(waiter)
        return True

    def _undo_locked(self, place: Place, now: float) -> None:
        """A place that was given is nobody's: as if it had never been."""
        place.left = True
        if place._parent is None:
            self._counts["entered"] -= 1
            self._rules.undo(now, place._tries)
        self._free_locked(place)

    def _free_locked(self, place: Place) -> None:
        """Nobody is in this place any more: nor, it may be, in the one that it was lent in."""
        while (parent := place._parent) is not None:
            parent.lent = False
            if not parent.left:
                self._pass_on_locked(parent)
                return
            place = parent
        self._running -= 1

    def _pass_on_locked(self, parent: Place) -> None:
        """The next load within this one may go, in its place."""
        here = running_loop()
        for waiter in list(self._queue):
            if parent not in waiter.rides or waiter.state != WAITS:
                continue
            if not parent.may_lend(self._generation) or parent.lent:
                return
            parent.lent = True
            self._queue.remove(waiter)
            if self._grant_locked(waiter, self._lend_locked(parent), here):
                return
            parent.lent = False

    def _reclaim_locked(self) -> None:
        """Take places back from tasks whose loop stands still since they got them."""
        for waiter in [one for one in self._unclaimed if one.loop is not None and not one.loop.is_running()]:
            if waiter.state == GRANTED and waiter.place is not None:
                place, waiter.place, waiter.state = waiter.place, None, LOST
                self._unclaimed.discard(waiter)
                self._undo_locked(place, self._clock())
                self._hand_out_locked()

    def _bury_locked(self) -> None:
        """Let those leave the queue whose loop is closed."""
        for waiter in [one for one in self._queue if one.is_dead()]:
            self._drop_locked(waiter)

    def _turn(self, waiter: Waiter) -> float | None:
        """How long to sleep until the next look; None: the waiting is over."""
        with self._lock:
            self._reclaim_locked()
            if self._queue and self._queue[0] is waiter:
                self._hand_out_locked()
            if waiter.state != WAITS:
                return None
            now, left = self._clock(), waiter.ends - stopwatch()
            if left <= 0.0:
                self._drop_locked(waiter)
                return None
            waiter.rearm()
            due = self._rules.due_s(now, self._running) if self._queue and self._queue[0] is waiter else None
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
            if waiter.state == GRANTED and waiter.place is not None:
                place, waiter.place, waiter.state = waiter.place, None, GONE
                if not place.left and place._generation is self._generation:
                    self._undo_locked(place, self._clock())
                    self._hand_out_locked()
            elif waiter.state == WAITS:
                self._drop_locked(waiter)

    def _conclude(self, waiter: Waiter, began: float) -> Place | None:
        """What the waiting came to: the place, OriginBusy, or None: ask again."""
        with self._lock:
            self._unclaimed.discard(waiter)
            if waiter.state == LOST:
                return None
            self._times.append(stopwatch() - began)
            if waiter.state == GRANTED:
                self._counts["waited"] += 1
                return waiter.place
            return self._refuse_locked(waiter.why)

    def _leave(self, place: Place, error: BaseException | None) -> None:
        took_s = stopwatch() - place._begun
        with self._lock:
            if place.left or place._generation is not self._generation:
                return
            place.left = True
            now = self._clock()
            if place._parent is None:
                self._rules.end(now, took_s, error, tries=place._tries, running=self._running)
            if not place.lent:  # else who runs in it keeps it to his end
                self._free_locked(place)
            if not self._queue:
                return
            if self._rules.is_open(now):
                self._send_home_locked()
            else:
                self._hand_out_locked()

    def _send_home_locked(self) -> None:
        """The breaker opened: who waits is told at once."""
        here = running_loop()
        while self._queue:
            waiter = self._queue.popleft()
            waiter.state, waiter.why = GONE, "broken"
            waiter.wake(here)

    def _refuse_locked(self, why: str, *, waited: bool = True) -> NoReturn:
        self._counts[why] += 1
        retry_s = self._rules.retry_s(self._clock(), len(self._queue))
        text = _REFUSALS[why].format(queued=len(self._queue), patience_s=self._patience_s)
        raise OriginBusy(f"the origin is busy: {text}; try again in about {retry_s:.3g} s", retry_s, waited=waited)
