"""The room before an origin: so many places, and a queue. Who comes, waits, is given a place, leaves or is sent home.

Each step here is one step for all threads and loops; whoever waits does so outside (herd/budget.py). A free place goes to
the first in the queue, and never to somebody who just comes by. A load within a load goes in its parent's place, one at
a time, for the parent waits meanwhile.

The one rule: places, queue and rules change under the lock only; under it nobody waits and nothing of others is called,
but the clock. The lock is re-entrant, for a finalizer may run a whole step in the middle of another: so whoever finds
room takes it before anything is called, and whoever finds somebody in the queue takes him out at once.

A signal may raise wherever something is called. So a place is counted and says so (`seated`) in one statement that calls
nothing; one that is let go of while it is seated is given back by its end (`_lose`).
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from .._base.clock import stopwatch
from .._base.errors import OriginBusy
from .._base.flight import held_places, places, running_loop
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
        self._rules.forked()

    # ---------------------------------------------------------------- steps

    def _ask(self, waiter: Waiter, waits: bool) -> Place | None:
        """A place; None: the waiter stands in the queue."""
        rides = tuple(place for place in held_places() if place.gate is self) if places.get() else ()
        with self._lock:
            for parent in reversed(rides):
                waiter.place = place = Place(self, parent)
                if self._lend_locked(parent, place):
                    return place
            now = self._clock()
            self._rules.asked(now)
            if self._rules.is_open(now):
                self._refuse_locked("broken")
            if self._unclaimed:
                self._reclaim_locked()
            if self._queue:
                self._hand_out_locked()
            waiter.place = place = Place(self, None)
            if not self._queue and self._take_locked(now, place):
                return self._begin_locked(now, place)
            waiter.place = None
            if not waits:
                self._refuse_locked("busy", waited=False)
            if len(self._queue) >= self._most_queued:
                self._bury_locked()
                if len(self._queue) >= self._most_queued:
                    self._refuse_locked("full")
            waiter.rides = rides
            waiter.arm()
            self._queue.append(waiter)
            return None

    def _take_locked(self, now: float, place: Place) -> bool:
        """Make this a place that is counted, if the rules let one more go."""
        due, limit = self._rules.due_s(now, self._running), self._rules.limit(now)
        if due == 0.0 and self._running < limit:
            self._running, place.seated = self._running + 1, True
            return True
        return False

    def _begin_locked(self, now: float, place: Place) -> Place:
        """The load of this place goes."""
        place._tries = self._rules.begin(now)
        self._counts["entered"] += 1
        if self._running > self._counts["most"]:
            self._counts["most"] = self._running
        return place

    def _lend_locked(self, parent: Place, place: Place) -> bool:
        """Make this a place within its parent, if that can be lent now."""
        if parent.may_lend(self._generation) and not parent.lent:  # asked again: nothing comes in between now
            parent.lent = place.seated = True
            return True
        return False

    def _hand_out_locked(self) -> None:
        """Give what is free to the first in the queue; tell the next one to look again, if time will help."""
        here, now = running_loop(), self._clock()
        while self._queue:
            place = Place(self, None)
            if not self._take_locked(now, place):
                if self._rules.due_s(now, self._running) is None or not self._queue or self._queue[0].wake(here):
                    return
                if self._queue:  # its loop is closed, or stands still: the one behind it must look
                    self._queue.popleft().state = LOST
                continue
            if not self._queue:
                self._free_locked(place)
                return
            waiter = self._queue.popleft()
            self._begin_locked(now, place)
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
        while place.seated:
            parent = place._parent
            if parent is None:
                self._running, place.seated = self._running - 1, False
                return
            parent.lent = place.seated = False
            if not parent.left:
                self._pass_on_locked(parent)
                return
            place = parent

    def _pass_on_locked(self, parent: Place) -> None:
        """The next load within this one may go, in its place."""
        here = running_loop()
        for waiter in list(self._queue):
            if parent not in waiter.rides or waiter.state != WAITS:
                continue
            if not self._lend_locked(parent, place := Place(self, parent)):
                return
            self._queue.remove(waiter)
            if self._grant_locked(waiter, place, here):
                return
            parent.lent = place.seated = False

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
            place, waiter.place = waiter.place, None
            if waiter.state == WAITS:
                self._drop_locked(waiter)
            waiter.state = GONE
            if place is not None and place.seated and not place.left and place._generation is self._generation:
                self._undo_locked(place, self._clock())
                self._hand_out_locked()

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
            try:
                if place._parent is None:
                    self._rules.end(now, took_s, error, tries=place._tries, running=self._running)
            finally:
                if not place.lent:  # else who runs in it keeps it to his end
                    self._free_locked(place)
            if not self._queue:
                return
            if self._rules.is_open(now):
                self._send_home_locked()
            else:
                self._hand_out_locked()

    def _lose(self, place: Place) -> None:
        """Nobody has this place any more, and it was not given back, or not to the end: a signal came in between."""
        with self._lock:
            if not place.seated or place._generation is not self._generation:
                return
            now = self._clock()
            if not place.left and place._parent is None:
                self._rules.lost(now, tries=place._tries)
            place.left = True
            self._free_locked(place)
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
