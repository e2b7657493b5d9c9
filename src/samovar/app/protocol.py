"""The load protocol: who loads, who waits, who is served what is stale. Decided once, driven twice.

The generators here decide. They call the store's atomic verbs themselves, and yield whatever takes time: a request, and
what it is about. They are told what came of it. `app/loading.py` drives them, once for threads and once for tasks; the
tests drive them step by step, in every order. Here are those who ask; who works is in `app/working.py`.

    request   about            told
    PASS      None             nothing: here another may step between two atomic verbs
    BEGIN     loads            whether the loads run, or ran: their `work` is driven by somebody
    SPAWN     loads            whether their `work` is driven in the background
    TAKE      loads            their turn at the lease (_base/turn.py), which others may have before
    ENTER     loads, whether   a place at the origin (_base/contracts.py, Gate), or it raises OriginBusy
              they may wait
    CALL      loads            the values, one for each load, MISSING for what the factory left out; or it raises
    WAIT      flight, seconds  ENDED, TIMED_OUT, CIRCLE or LOST (_base/flight.py)
"""

import math
from collections.abc import Generator, Hashable, Iterable
from typing import Any

from .._base.clock import stopwatch
from .._base.contracts import Gate
from .._base.errors import LoadTimeout, OriginBusy
from .._base.flight import ABANDONED, CIRCLE, ENDED, FAILED, FLYING, LOST, TIMED_OUT, Flight
from .._base.freshness import Freshness
from .._base.missing import MISSING
from .._base.turn import Leasing
from .context import LoadContext

HIT, LEAD, FOLLOW, REENTER = range(4)  # what the store's _join says
PASS, BEGIN, SPAWN, CALL, WAIT, TAKE, ENTER = range(7)
VALUE, ERROR, AGAIN, ALONE, LEFT_OUT = range(5)  # verdicts

Request = tuple[int, Any]
Steps = Generator[Request, Any, Any]
Verdict = tuple[int, Any]  # VALUE with the value, ERROR with the flight that failed, the others with None


class Ask:
    """One call: what it asks for, and who asks.

    fresh: the freshness in force for this call. soft_s, hard_s: seconds, None for none. with_stale: whether what is stale
    may be served.
    loop, thread: where its loads would run (see Flight).
    gap: XFetch's, see _base/early.py. queues: whether its factory may have to wait for a thread.
    leasing: the store's lease, or None. since: another process's load must have begun after this to be as good as one's
    own. gate: the origin's budget, or None.
    """

    __slots__ = ("core", "fresh", "gap", "gate", "hard_s", "leasing", "loop", "queues", "serving", "sie", "since", "soft_s",
                 "started", "swr", "tags", "thread", "weight")

    def __init__(self, core: Any, *, loop: Any = None, thread: int | None = None,
                 fresh: Freshness | None = None, tags: tuple[str, ...] | None = None, weight: int | None = None,
                 soft_s: float | None = None, hard_s: float | None = None, gap: float = 0.0,
                 queues: bool = False, with_stale: bool = True) -> None:
        self.core = core
        self.loop, self.thread, self.queues = loop, thread, queues
        self.fresh, self.tags, self.weight, self.gap = fresh, tags, weight, gap
        self.leasing: Leasing | None = getattr(core, "_leasing", None)
        self.gate: Gate | None = getattr(core, "_gate", None)
        self.since = -math.inf
        self.soft_s, self.hard_s = soft_s, hard_s
        self.started = 0.0 if soft_s is None and hard_s is None else stopwatch()
        if fresh is not None and not with_stale and fresh.keep:
            fresh = fresh.replace(stale_while_revalidate=0, stale_if_error=0)
        self.serving = fresh  # by which the store counts what it serves
        self.swr = 0.0 if fresh is None else fresh.stale_while_revalidate
        self.sie = 0.0 if fresh is None else fresh.stale_if_error

    def flight(self) -> Flight:
        flight = Flight(self.core, self.loop, self.thread)
        flight.queued = self.queues
        flight.gate = self.gate
        return flight

    def is_over(self, limit_s: float | None) -> bool:
        return limit_s is not None and stopwatch() - self.started >= limit_s


class Load:
    """A key that was asked for, and what the store said about it."""

    __slots__ = ("_carried", "_context", "age", "at", "flight", "key", "left_out", "number", "role", "stamp", "tenure",
                 "value")

    def __init__(self, key: Hashable, role: int, number: int, flight: Flight, value: Any, age: float, stamp: Any,
                 at: float) -> None:
        self.key, self.role, self.number, self.flight = key, role, number, flight
        self.value, self.age, self.stamp, self.at = value, age, stamp, at
        self._context: LoadContext | None = None
        self._carried: tuple[tuple[str, ...], int] | None = None  # tags and weight of the old value
        self.left_out = False
        self.tenure: Any = None  # the place at the origin, where the thread that calls the factory may outlast the load

    @property
    def context(self) -> LoadContext:
        """What the factory sees of this load; made when it is asked for."""
        if self._context is None:
            self._context = LoadContext(self.key, self.value)
            if self.value is not MISSING:
                entry = self.flight.store._entry(self.key)
                if entry is not None and entry[1] is self.value:  # it may have left since it was joined
                    self._carried = entry[3], entry[5]
        return self._context

    def said(self, ask: Ask, value: Any) -> tuple[bool, Freshness | None, tuple[str, ...] | None, int | None]:
        """Whether the result is stored, its freshness, tags and weight: the factory's word over the caller's. What is not
        modified is not stored where nobody knows any more what it carried: a tag that it lost would invalidate
        nothing."""
        context = self._context
        if context is None:
            return True, ask.fresh, ask.tags, ask.weight
        tags, weight, is_stored = ask.tags, ask.weight, context.is_stored()
        if context.is_renewed(value):
            tags, weight = self._carried or (None, None)
            is_stored = is_stored and self._carried is not None
        return (is_stored, context.freshness(ask.fresh), tags if context.tags is None else context.tags,
                weight if context.weight is None else context.weight)

    def limit(self, ask: Ask) -> float | None:
        """Seconds that the caller would wait from now on, or None."""
        soft_s = ask.soft_s if self.value is not MISSING and self.age < max(ask.swr, ask.sie) else None
        limits = [ask.hard_s, soft_s]
        given = [limit for limit in limits if limit is not None]
        return max(0.0, min(given) - (stopwatch() - ask.started)) if given else None

    def serves(self, window_s: float, now: float) -> bool:
        """Whether the old value may still be served, `window_s` after it stopped being fresh."""
        return self.value is not MISSING and self.age + (now - self.at) < window_s

    def drop(self, ask: Ask) -> None:
        """End a load that did not run."""
        ask.core._drop(self.number, self.flight, False)
        self.flight.abandon()


# ------------------------------------------------------------------ the store's atomic steps
# A flight is its own leader here: it knows who runs it, which may be none of those who asked, and finds re-entry as
# the shortest of circles. The store therefore never says REENTER, and would be answered as if it had said FOLLOW.

def join(ask: Ask, key: Hashable) -> Load:
    """A hit, somebody's load, or a load to lead."""
    flight = ask.flight()
    try:
        now = ask.core._now() if ask.swr or ask.sie or ask.soft_s is not None else 0.0
        role, number, found, value, age, stamp = ask.core._join(key, flight, id(flight), ask.serving, ask.gap)
        if role == LEAD:
            flight.number, flight.stamp = number, stamp
        return Load(key, role, number, found, value, age, stamp, now)
    except BaseException:
        flight.abandon()  # interrupted: whoever finds this flight makes the store forget it
        raise


def lead(ask: Ask, key: Hashable) -> Load:
    """A load to lead, whatever is stored."""
    flight = ask.flight()
    try:
        number, value, age, stamp = ask.core._refresh_begin(key, flight, id(flight))
        flight.number, flight.stamp = number, stamp
        return Load(key, LEAD, number, flight, value, age, stamp, 0.0)
    except BaseException:
        flight.abandon()
        raise


# ------------------------------------------------------------------ one who asks

def one(ask: Ask, key: Hashable) -> Generator[Request, Any, Verdict]:
    """A call for one key: VALUE, ERROR, or ALONE: compute it, and store nothing."""
    while True:
        load = join(ask, key)
        if load.role == HIT:
            return VALUE, load.value
        if _is_served_stale(ask, load):
            if load.role == LEAD and (yield from _try(SPAWN, ask, [load])) and load.age < 0:
                ask.core._tally("early", 1)
            return VALUE, load.value
        verdict = yield from _wait(ask, load)
        if verdict[0] != AGAIN:
            return verdict
        yield PASS, None


def anew(ask: Ask, key: Hashable) -> Generator[Request, Any, Verdict]:
    """A refresh: load whatever is stored."""
    if ask.leasing is not None and ask.since == -math.inf:
        ask.since = stopwatch()
    while True:
        load = lead(ask, key)
        verdict = yield from _wait(ask, load)
        if verdict[0] != AGAIN:
            return verdict
        yield PASS, None


def many(ask: Ask, keys: Iterable[Hashable]) -> Generator[Request, Any, tuple[dict[Hashable, Any], Verdict | None]]:
    """A call for several keys: the values, and what is in the way of the others: None, ERROR with the flight, ALONE
    with the loads that the caller must compute for itself. LEFT_OUT stands for what the factory did not give.

    Loads are run before anything is waited for, so that two callers never wait for each other's keys.
    """
    answers: dict[Hashable, Any] = dict.fromkeys(keys, MISSING)
    left = list(answers)
    alone: list[Load] = []
    while left:
        waiting: list[Load] = []
        led: list[Load] = []
        try:
            for key in left:
                load = join(ask, key)
                if load.role == LEAD:
                    led.append(load)
                if load.role == HIT or _is_served_stale(ask, load):
                    answers[key] = load.value
                else:
                    waiting.append(load)
                yield PASS, None
        except BaseException:  # a key that cannot be looked for: the loads that were led do not run
            for load in led:
                load.drop(ask)
            raise
        renewed = [load for load in led if load not in waiting]
        if renewed and (yield from _try(SPAWN, ask, renewed)):
            ask.core._tally("early", sum(load.age < 0 for load in renewed))
        begun = [load for load in led if load in waiting]
        if begun:
            yield from _try(BEGIN, ask, begun)
        left = []
        for load in waiting:
            kind, thing = yield from _end(ask, load)
            if kind == ERROR:
                return answers, (kind, thing)
            if kind == VALUE:
                answers[load.key] = thing
            elif kind == AGAIN:
                left.append(load.key)
            elif kind == ALONE:
                alone.append(load)
        yield PASS, None
    return answers, (ALONE, alone) if alone else None


def _is_served_stale(ask: Ask, load: Load) -> bool:
    return load.value is not MISSING and (load.age < 0 or load.age < ask.swr)


def _try(request: int, ask: Ask, loads: list[Load]) -> Generator[Request, Any, bool]:
    """Have the work of these loads driven; what is refused ends, and is no failure."""
    taken: bool = False
    try:
        taken = yield request, loads
    finally:
        if not taken:
            for load in loads:
                if load.flight.state == FLYING:
                    load.drop(ask)
    return taken


def _wait(ask: Ask, load: Load) -> Generator[Request, Any, Verdict]:
    if load.role == LEAD and not (yield from _try(BEGIN, ask, [load])):
        return (yield from _timed_out(ask, load))
    return (yield from _end(ask, load))


def _end(ask: Ask, load: Load) -> Generator[Request, Any, Verdict]:
    """Wait for the end of a load, one's own or another's, and judge what came of it."""
    flight = load.flight
    told = yield WAIT, (flight, load.limit(ask))
    if told == TIMED_OUT:
        return (yield from _timed_out(ask, load))
    if told == CIRCLE:
        return ALONE, None
    if told == LOST or flight.state == ABANDONED:
        if load.left_out:
            return LEFT_OUT, None
        if load.role == LEAD and flight.error is not None:
            return ERROR, flight  # an interrupt or a cancellation: the leader's own
        ask.core._abandon(load.number, flight)
        yield PASS, None
        flight.abandon()
        return AGAIN, None
    assert told == ENDED
    if flight.state == FAILED:
        is_busy = isinstance(flight.error, OriginBusy)
        window = max(ask.swr, ask.sie) if is_busy else ask.sie
        if window and load.serves(window, ask.core._now()):
            ask.core._tally("rescued", 1)
            return VALUE, load.value
        if is_busy and load.role != LEAD and flight.gate is not None and not flight.error.waited:  # type: ignore[union-attr]
            yield PASS, None  # it did not wait for a place, because there was something to serve: not to this caller
            return AGAIN, None
        return ERROR, flight
    if load.role != LEAD:
        yield PASS, None
        if ask.core._recheck(flight.tags, flight.stamp, load.stamp):
            return AGAIN, None
    return VALUE, flight.value


def _timed_out(ask: Ask, load: Load) -> Generator[Request, Any, Verdict]:
    """Too slow: the old value if it may still be served, or LoadTimeout; or only the soft limit is over: wait on."""
    yield PASS, None
    if load.serves(max(ask.swr, ask.sie), ask.core._now()):
        ask.core._tally("rescued", 1)
        return VALUE, load.value
    if ask.is_over(ask.hard_s):
        raise LoadTimeout(f"the load of {load.key!r} took longer than {ask.hard_s:g} s; it goes on in the background")
    load.age = math.inf  # too old from now on, for this caller
    if load.flight.state == ABANDONED:  # it was refused, not slow
        return AGAIN, None
    return (yield from _end(ask, load))
