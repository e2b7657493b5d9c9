"""What stands in the queue before an origin, and what one gets there: waiters, places, and the blocks that hold one.

Everything here is changed by the budget, under its lock (herd/budget.py).
"""

import asyncio
import contextlib
import threading
from typing import Any

from .._base.clock import stopwatch
from .._base.flight import places

WAITS, GRANTED, GONE, LOST = range(4)  # what a waiter is; LOST: it was its turn while its loop stood still


class Waiter:
    """One who asks: a thread or a task. `rides`: places of this budget that its context holds already. `why`: it is
    GONE (a cause of BudgetStats). Its bell is made when it is to sleep."""

    __slots__ = ("bell", "ends", "loop", "place", "rides", "state", "why")

    def __init__(self, loop: asyncio.AbstractEventLoop | None, ends: float) -> None:
        self.loop, self.ends = loop, ends
        self.rides: tuple[Place, ...] = ()
        self.state = WAITS
        self.place: Place | None = None
        self.why = "late"
        self.bell: Any = None

    def is_dead(self) -> bool:
        """Whether nobody will ever take what it is given."""
        return self.loop is not None and self.loop.is_closed()

    def arm(self) -> None:
        """Be ready to be woken (again)."""
        if self.loop is None:
            self.bell = threading.Lock()
            self.bell.acquire()
        else:
            self.bell = self.loop.create_future()

    def rearm(self) -> None:
        """The same, after it rang."""
        if self.bell.acquire(blocking=False) if self.loop is None else self.bell.done():
            self.arm()

    def wake(self, here: asyncio.AbstractEventLoop | None) -> bool:
        """Ring; False when nobody can hear it."""
        if self.loop is None:
            with contextlib.suppress(RuntimeError):  # it rang already
                self.bell.release()
            return True
        bell = self.bell
        if self.loop is here:
            _ring(bell)
            return True
        try:
            self.loop.call_soon_threadsafe(_ring, bell)
        except RuntimeError:  # that loop is closed
            return False
        return self.loop.is_running()


def _ring(bell: "asyncio.Future[None]") -> None:
    if not bell.done():
        bell.set_result(None)


class Place:
    """A place at the origin: `leave` gives it back, and so does its end, where a signal cuts everything else short. Also a
    context manager, which says whether the block raised.

    seated: it is counted, at the origin or within another place. left: given back by who got it. lent: a load within its
    load runs in it, and keeps it until that is over. waited: whether it was queued for.
    """

    __slots__ = ("__weakref__", "_begun", "_generation", "_parent", "_tries", "gate", "left", "lent", "seated", "waited")

    def __init__(self, budget: Any, parent: "Place | None") -> None:
        self.gate, self._parent, self._tries = budget, parent, False
        self._generation = budget._generation
        self.seated = self.lent = self.left = self.waited = False
        self._begun = stopwatch()

    def leave(self, error: BaseException | None = None) -> None:
        """Give the place back; a second time does nothing. error: what the load raised, for breaker and adaptation: an
        Exception counts against the origin, what is none (a cancellation) and an OriginBusy of another do not."""
        if held := places.get():
            places.set(tuple([one for one in held if one() is not self and one() is not None]))
        self.gate._leave(self, error)

    def __del__(self) -> None:
        if getattr(self, "seated", False):  # an interrupted __init__ set nothing
            self.gate._lose(self)

    def may_lend(self, generation: object) -> bool:
        """Whether a load within its load may run in it now."""
        return not self.left and not self.lent and self._generation is generation

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.leave(error)


class Slot:
    """`with budget.slot():` or `async with budget.slot():`."""

    __slots__ = ("_budget", "_place", "_waits")

    def __init__(self, budget: Any, waits: bool) -> None:
        self._budget, self._waits = budget, waits
        self._place: Place | None = None

    def _check(self) -> None:
        if self._place is not None:
            raise RuntimeError("this slot() is in use; each block takes one of its own, as in `with budget.slot():`")

    def __enter__(self) -> Place:
        self._check()
        self._place = self._budget.enter(waits=self._waits)
        return self._place

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.leave(error)

    async def __aenter__(self) -> Place:
        self._check()
        self._place = await self._budget.aenter(waits=self._waits)
        return self._place

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)
