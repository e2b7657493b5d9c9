"""Single flight: concurrent calls for one key become one call, and nothing is kept afterwards.

The mechanism is the one that loads of caches and memoized functions have (_base/flight.py, app/protocol.py); here it
runs over a store that forgets each result when its flight ends. A call that nobody joins stays in C, as a `Lone`; whoever
wants to wait for it makes a whole flight of it (csrc/object/single.h).
"""

from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from inspect import iscoroutine
from typing import Any, NamedTuple, Never, TypeVar, overload

from .._base.flight import whole
from .._base.missing import MISSING
from .._core import Lone, SingleCore
from ..app.factory import Kept
from ..app.loading import Awaiting, Blocking, adrive, alone, ask_async, ask_blocking, drive
from ..app.protocol import ERROR, VALUE, one
from ..memo.options import is_async

T = TypeVar("T")


class FlightCounts(NamedTuple):
    """What happened in a SingleFlight so far.

    flights: calls of a function that others could join. coalesced: calls that found such a flight and waited for it.
    failures: flights whose function raised. Calls that computed for themselves, since waiting would have closed a
    circle, are counted as coalesced and are no flights.
    """

    flights: int
    coalesced: int
    failures: int


class SingleFlight(SingleCore):
    """Concurrent calls for one key become one: the first caller works, those who come meanwhile wait for its result.

    Threads, tasks of any number of event loops, and both together share one flight for each key. Nothing is kept when
    the flight ends: the next call works anew. Keys are compared as dict keys are.

    An exception goes to all who waited for that flight. A caller that is cancelled, or interrupted by a signal, fails
    nobody else: an async function is cancelled when nobody waits for it any more; one whose thread was interrupted is
    called again by one of those who waited. Waiting never deadlocks: a call from within its own flight, or one that
    would close a circle of flights that wait for each other, calls its function itself. In the child of a fork, flights
    of the parent are forgotten.

    >>> from samovar import SingleFlight
    >>> once = SingleFlight()
    >>> once.do("tea", lambda: "assam")
    'assam'
    >>> once.stats()
    FlightCounts(flights=1, coalesced=0, failures=0)
    """

    __slots__ = ("__weakref__",)

    def do(self, key: Hashable, fn: Callable[[], T]) -> T:
        """What `fn()` returns, called here or by whoever works on this key already.

        fn: a plain function without arguments. TypeError if it is async.
        """
        return self._do(key, fn)

    @overload
    def do_async(self, key: Hashable, fn: Callable[[], Awaitable[T]]) -> Coroutine[Never, object, T]: ...
    @overload
    def do_async(self, key: Hashable, fn: Callable[[], T]) -> Coroutine[Never, object, T]: ...
    async def do_async(self, key: Hashable, fn: Callable[[], Any]) -> Any:
        """The same, awaited: an `async def` runs in a task of this event loop, a plain function in a thread.

        What a plain function returns is awaited if it can be.
        """
        awaits = _check("do_async", fn)
        driver = Awaiting(ask_async(self, awaits), _Work("do_async", fn), awaits)
        kind, thing = await adrive(one(driver.ask, key), driver.perform)
        if kind == VALUE:
            return thing
        if kind == ERROR:
            try:
                return thing.outcome()
            finally:
                del thing  # the traceback holds this frame
        return await driver.call([alone(key)])

    def forget(self, key: Hashable) -> bool:
        """Let who comes now work anew; whether a flight was under way. It goes on, for those who wait for it already."""
        return self._forget(key)

    def stats(self) -> FlightCounts:
        """Counts of flights, of calls that waited for one, and of flights that failed. `len()` says how many are under
        way and may be joined."""
        return FlightCounts(*self._counts())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        flights, coalesced, failures = self._counts()
        return f"<{type(self).__name__}: {len(self)} under way, {flights=}, {coalesced=}, {failures=}>"

    # -------------------------------------------------------------- what the core and the load protocol ask for

    def _wait(self, key: Hashable, fn: Callable[[], T]) -> T:
        """`do` where somebody works on the key already."""
        if _check("do", fn):
            _refuse_async(fn)
        driver = Blocking(ask_blocking(self), _Work("do", fn, waits=False))
        kind, thing = drive(one(driver.ask, key), driver.perform)
        try:
            value: T = thing.outcome() if kind == ERROR else thing if kind == VALUE else driver.call([alone(key)])
            return value
        finally:
            del thing  # the traceback holds this frame

    def _refuse(self, fn: Callable[[], Any], value: Any) -> None:
        _refuse_result("do", fn, value)

    def _join(
        self, key: Hashable, flight: object, leader: int, fresh: Any, gap: float, /
    ) -> tuple[int, int, Any, Any, float, int]:
        while True:
            role, number, found, value, age, stamp = super()._join(key, flight, leader, fresh, gap)
            if type(found) is Lone:
                found = whole(found)
            if found is not None:
                return role, number, found, value, age, stamp

    def _settle(self, number: int, flight: object, *result: Any) -> bool:
        self._drop(number, flight, False)
        return False

    def _recheck(self, *when: Any) -> bool:
        return False


class _Work(Kept):
    """The Maker of app/factory.py for a function without arguments."""

    def __init__(self, who: str, fn: Callable[[], Any], waits: bool = True) -> None:
        self.who, self.factory, self.waits = who, fn, waits

    def begin(self, loads: Sequence[Any]) -> Any:
        result = self.factory()
        if not self.waits and iscoroutine(result):
            _refuse_result(self.who, self.factory, result)
        return result

    def values(self, loads: Sequence[Any], result: Any) -> list[Any]:
        if result is MISSING:
            _refuse_result(self.who, self.factory, result)
        return [result]


def _check(who: str, fn: Callable[[], Any]) -> bool:
    """Whether the function is async. TypeError when it cannot be called."""
    if not callable(fn):
        raise TypeError(f"{who}: fn must be callable, not {fn!r}")
    return is_async(fn)


def _refuse_async(fn: Callable[[], Any]) -> None:
    raise TypeError(f"do: fn must be a plain function, not the async {fn!r}; use do_async in a coroutine")


def _refuse_result(who: str, fn: Callable[[], Any], result: Any) -> None:
    if result is MISSING:
        raise TypeError(f"{who}: fn must return a value, not MISSING, which stands for none")
    result.close()
    _refuse_async(fn)
