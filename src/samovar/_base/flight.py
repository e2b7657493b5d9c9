"""One flight: a load that runs, and the crowd that waits for it, be they threads or tasks of any number of event loops.

Who works and who waits is decided by the store, which keeps the flight while the load runs (`store._abandon(number,
flight)` makes it forget one that nobody may join any more). Here is only the waiting: waking, timeouts, circles, work
that is cancelled when nobody waits for it, and leaders that never come back.

The one rule: a flight's state, who waits for it and what it waits for change only under `_tower`, and nothing is
awaited or called back under it.

Circles. An edge leads from a flight to each flight that its body waits for, and to each for which its thread is
blocked. Whoever is about to wait looks, and draws its edge, in one step; if the target leads back to a flight whose
body the caller is in, or that the blocked thread would have to run, the caller must compute instead. A body in a child
task counts as inside its parent's flight. A thread pool's thread that a body talks to by other ways is not seen.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from .._core import Lone, inside as _inside
from .clock import stopwatch

FLYING, LANDED, FAILED, ABANDONED = range(4)  # a flight's states
ENDED, TIMED_OUT, CIRCLE, LOST = range(4)  # what waiting came to
SOME_THREAD = 0  # a flight that a thread will run; which, it says when it starts
_LOOK_AGAIN_S = 0.5  # how often a waiter elsewhere looks whether the leading loop still lives

_tower = threading.RLock()  # re-entrant: a finalizer or a signal handler may come at any time, and ask for a key
_blocked: "dict[int, dict[Waiter, Flight]]" = {}  # what each thread sleeps for
_forks = 0


def _forked() -> None:
    global _forks, _tower
    _forks += 1
    _tower = threading.RLock()
    _blocked.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The asyncio loop that runs this code, or None: a plain thread, another event loop, a coroutine driven by hand."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def outside() -> None:
    """Make this context one that is in no body: for work that starts here and that nobody here waits for."""
    _inside.set(())
    places.set(())


# The places at origins that this context holds (herd/budget.py), each as a weak reference: a place that its load lets go
# of, however that comes, is given back. A load within a load goes on its parent's, and never waits for one who waits for
# that.
places: "ContextVar[tuple[Callable[[], Any], ...]]" = ContextVar("samovar_places", default=())


def held_places() -> list[Any]:
    """The places that this context holds, those of loads around this one first."""
    return [place for one in places.get() if (place := one()) is not None and not place.left]


def is_inside() -> bool:
    """Whether this code runs in the body of some flight."""
    return any(flight.state == FLYING for flight in _inside.get())


def whole(lone: Lone) -> "Flight | None":
    """The flight of a load that nobody waited for until now; None: it has ended."""
    return lone.become(Flight(None, None, lone.thread))


def _around() -> "tuple[Flight, ...]":
    """The flights whose bodies this code is in, each fit to draw an edge from."""
    inside = _inside.get()
    for one in inside:
        if type(one) is Lone:
            flights = [whole(each) if type(each) is Lone else each for each in inside]
            return tuple(flight for flight in flights if flight is not None)
    return inside


class Waiter:
    """One who waits: in the bodies of which flights, which thread it blocks (None: none), and how it is woken."""

    __slots__ = ("edge", "gates", "inside", "thread")

    def __init__(self, inside: "tuple[Flight, ...]", thread: int | None) -> None:
        self.inside = inside
        self.gates = {place.gate for place in held_places()} if places.get() else ()
        self.thread = thread
        self.edge: Flight | None = None  # the flight whose body waits

    def wake(self, here: asyncio.AbstractEventLoop | None) -> None:
        """The flight has ended. Called once at most, by anybody; `here` is the caller's loop."""
        raise NotImplementedError


class _Sleeper(Waiter):
    """A thread."""

    __slots__ = ("bell",)

    def __init__(self) -> None:
        super().__init__(_around(), threading.get_ident())
        self.bell = threading.Lock()
        self.bell.acquire()

    def wake(self, here: asyncio.AbstractEventLoop | None) -> None:
        self.bell.release()


class _Dreamer(Waiter):
    """A task."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(_around(), None)
        self.loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def wake(self, here: asyncio.AbstractEventLoop | None) -> None:
        if self.loop is here:
            self._set()
        else:
            with contextlib.suppress(RuntimeError):  # that loop is closed: nobody waits there any more
                self.loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Flight:
    """A load that runs: where, its outcome, who waits for it, and what its body waits for.

    store: what keeps it; its `_abandon(number, flight)` is called when nobody may join any more. None for one that only
        its thread ends.
    loop: the event loop whose task runs the load; None when a thread does.
    thread: the thread that runs the load or its loop; SOME_THREAD, or None when nobody knows who drives it.
    """

    __slots__ = ("error", "forks", "gate", "held", "loop", "number", "queued", "stamp", "state", "store", "tags", "task",
                 "thread", "traceback", "value", "waiters", "waits_for")

    def __init__(self, store: Any, loop: asyncio.AbstractEventLoop | None, thread: int | None) -> None:
        self.store = store
        self.loop = loop
        self.thread = thread
        self.forks = _forks
        self.state = FLYING
        self.number: Any = None
        self.stamp: Any = None  # the store's tag clock when the load began
        self.value: Any = None
        self.tags: tuple[str, ...] = ()
        self.error: BaseException | None = None
        self.traceback: Any = None
        self.task: asyncio.Task[Any] | None = None
        self.held = False  # the work goes on though nobody waits
        self.queued = False  # the work waits for a thread
        self.gate: Any = None  # the work waits for a place there
        self.waiters: dict[Waiter, None] = {}
        self.waits_for: dict[Waiter, Flight] = {}

    # ---------------------------------------------------------------- ends: the first one counts

    def land(self, value: Any, tags: tuple[str, ...] = ()) -> None:
        """The load returned; tags: those of the value, for who must look whether they were invalidated meanwhile."""
        self._end(LANDED, value=value, tags=tags)

    def fail(self, error: BaseException) -> None:
        """The load raised; all who wait get the error."""
        self._end(FAILED, error=error)

    def abandon(self, error: BaseException | None = None) -> None:
        """The load comes to nothing that is about the work: who waits asks again. error: for the leader alone."""
        self._end(ABANDONED, error=error)

    def _end(self, state: int, value: Any = None, error: BaseException | None = None,
             tags: tuple[str, ...] = ()) -> None:
        with _tower:
            if self.state != FLYING:
                return
            self.value, self.error, self.tags = value, error, tags
            self.traceback = None if error is None else error.__traceback__
            self.state = state
            waiters, self.waiters = self.waiters, {}
            if self.forks != _forks:
                return  # who waited stayed behind in the parent
        here = running_loop()
        for waiter in waiters:
            waiter.wake(here)

    def outcome(self) -> Any:
        """The value, or raise the error: always with the leader's traceback, so that it grows with no waiter."""
        if self.error is None:
            return self.value
        try:
            raise self.error.with_traceback(self.traceback)
        finally:
            self = None  # type: ignore[assignment]  # the traceback holds this frame

    # ---------------------------------------------------------------- waiting

    def runs_in(self, task: "asyncio.Task[Any]", *, held: bool) -> None:
        """A task does the work. held: it goes on though nobody waits."""
        with _tower:
            self.task = task
            self.held |= held

    def is_lost(self, here: asyncio.AbstractEventLoop | None) -> bool:
        """Whether the leader never ends this flight: its loop was closed or stopped, a fork left it behind, or it is a
        coroutine that somebody drives by hand, or not. here: the caller's loop."""
        if self.forks != _forks:
            return True
        if self.loop is None:
            return self.thread is None
        return self.loop is not here and (self.loop.is_closed() or not self.loop.is_running())

    def wait(self, timeout_s: float | None = None) -> int:
        """Block this thread until the end: ENDED, TIMED_OUT (the work goes on), CIRCLE or LOST. Signals interrupt."""
        if self.state == FLYING and self.is_lost(running_loop()):
            return LOST
        waiter = _Sleeper()
        if (told := self.enlist(waiter)) is not None:
            return told
        left = _Left(timeout_s, None if self.loop is None else _LOOK_AGAIN_S)
        hold = False
        try:
            while not waiter.bell.acquire(timeout=left.turn()):
                if left.is_over():
                    hold = True
                    return TIMED_OUT
                if self.is_lost(None):
                    return LOST
        finally:
            self.leave(waiter, hold=hold)
        return ENDED

    async def wait_async(self, timeout_s: float | None = None) -> int:
        """The same for the running task. When the last waiter is cancelled, so is the work."""
        loop = asyncio.get_running_loop()
        if self.state == FLYING and self.is_lost(loop):
            return LOST
        waiter = _Dreamer(loop)
        if (told := self.enlist(waiter)) is not None:
            return told
        hold = False
        try:
            left = _Left(timeout_s, None if self.loop is loop or self.loop is None else _LOOK_AGAIN_S)
            if left.turn() < 0:
                await waiter.future
            while not waiter.future.done():
                await asyncio.wait((waiter.future,), timeout=left.turn())
                if waiter.future.done():
                    break
                if left.is_over():
                    hold = True
                    return TIMED_OUT
                if self.is_lost(loop):
                    return LOST
        finally:
            self.leave(waiter, hold=hold)
        return ENDED

    def enlist(self, waiter: Waiter) -> int | None:
        """One step: None when the waiter waits from now on, ENDED or CIRCLE when it need not or must not."""
        with _tower:
            if self.state != FLYING:
                return ENDED
            if self._closes_circle_locked(waiter):
                return CIRCLE
            self.waiters[waiter] = None
            waiter.edge = next((flight for flight in reversed(waiter.inside) if flight.state == FLYING), None)
            if waiter.edge is not None:
                waiter.edge.waits_for[waiter] = self
            if waiter.thread is not None:
                _blocked.setdefault(waiter.thread, {})[waiter] = self
        return None

    def leave(self, waiter: Waiter, *, hold: bool = False) -> None:
        """Wait no longer. The last to leave cancels the work, unless it runs in a thread or is held.

        hold: let the work go on, now and later, though nobody waits.
        """
        with _tower:
            if waiter.edge is not None:
                waiter.edge.waits_for.pop(waiter, None)
            if waiter.thread is not None and (sleeps := _blocked.get(waiter.thread)) is not None:
                sleeps.pop(waiter, None)
                if not sleeps:
                    _blocked.pop(waiter.thread, None)
            self.waiters.pop(waiter, None)
            self.held |= hold
            if self.state != FLYING or self.waiters or self.held or self.task is None:
                return
            self.state = ABANDONED  # who comes now leads anew
        self.store._abandon(self.number, self)
        if self.loop is running_loop():
            self.task.cancel()
        elif self.loop is not None and not self.is_lost(None):
            with contextlib.suppress(RuntimeError):  # closed just now
                self.loop.call_soon_threadsafe(self.task.cancel)

    def _closes_circle_locked(self, waiter: Waiter) -> bool:
        if not waiter.inside and waiter.thread is None and not waiter.gates:
            return False
        inside = [flight for flight in waiter.inside if flight.state == FLYING]
        seen: set[Flight] = set()
        ahead: list[Flight] = [self]
        while ahead:
            flight = ahead.pop()
            if flight.state != FLYING or flight in seen:
                continue
            if flight in inside or (flight.thread is not None and flight.thread == waiter.thread):
                return True
            if flight.queued and inside:  # the thread it waits for may be one that waits for us
                return True
            if flight.gate is not None and flight.gate in waiter.gates:  # and so may the place
                return True
            seen.add(flight)
            ahead.extend(flight.waits_for.values())
            ahead.extend(_blocked.get(flight.thread or 0, {}).values())
        return False


class bodies:
    """`with bodies(flights)`: the code in this block is the body of these flights."""

    __slots__ = ("flights", "token")

    def __init__(self, flights: tuple[Flight, ...]) -> None:
        self.flights = flights

    def __enter__(self) -> None:
        for flight in self.flights:
            if flight.loop is None and flight.thread is not None:
                flight.thread = threading.get_ident()
        self.token = _inside.set((*_inside.get(), *self.flights))

    def __exit__(self, *error: object) -> None:
        try:
            _inside.reset(self.token)
        except ValueError:  # thrown away with its loop, in whatever context that happens
            pass


class _Left:
    """How long to sleep until the next look: at most a turn, and what is left of the time."""

    __slots__ = ("ends", "look_again_s")

    def __init__(self, timeout_s: float | None, look_again_s: float | None) -> None:
        self.look_again_s = look_again_s
        self.ends = None if timeout_s is None or timeout_s > threading.TIMEOUT_MAX / 2 else stopwatch() + timeout_s

    def turn(self) -> float:
        """Seconds; -1 for ever."""
        if self.ends is None:
            return -1 if self.look_again_s is None else self.look_again_s
        left = max(0.0, self.ends - stopwatch())
        return left if self.look_again_s is None else min(left, self.look_again_s)

    def is_over(self) -> bool:
        return self.ends is not None and stopwatch() >= self.ends
