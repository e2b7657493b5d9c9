"""The work of a load: its turn with other processes, its place at the origin, the factory, and the end. Decided here,
driven by app/loading.py like all of the protocol (app/protocol.py).

The one rule: whoever led a load ends it, with _settle or _drop, and then ends its flight; in this order, so that who is
woken finds what was stored, and on every way out.
"""

from collections.abc import Generator
from typing import Any

from .._base.clock import stopwatch
from .._base.contracts import Permit
from .._base.errors import OriginBusy
from .._base.flight import FLYING
from .._base.missing import MISSING
from .._base.turn import Kept, Turn
from .protocol import CALL, ENTER, PASS, TAKE, Ask, Load, Request


def work(ask: Ask, loads: list[Load]) -> Generator[Request, Any, None]:
    """Call the factory and end the loads, whatever happens. With a lease: in turn with other processes, and only for
    what none of them handed over."""
    core, turn, left = ask.core, None, loads
    permit: Permit | None = None
    try:
        try:
            if ask.leasing is not None:
                turn = yield TAKE, loads
                left = yield from _take_over(ask, turn, loads)
            begun = stopwatch()
            if left and ask.gate is not None:
                permit = yield from _enter(ask, _must_wait(ask, left))
                for load in left:
                    load.flight.gate = None  # whoever waits for it now waits for the origin
                begun = stopwatch()
            values = (yield CALL, left) if left else []
        except Exception as error:
            _leave(permit, error)
            for load in left:
                core._drop(load.number, load.flight, not isinstance(error, OriginBusy))
                yield PASS, None
                load.flight.fail(error)
        except BaseException as error:  # cancelled, interrupted: that is not about the work
            _leave(permit, error)
            for load in left:
                core._drop(load.number, load.flight, False)
                load.flight.abandon(error)
            raise
        else:
            cost_s = (stopwatch() - begun) / max(1, len(left))
            _leave(permit, None)
            for load, value in zip(left, values, strict=True):
                kept = yield from _settle(ask, load, value, cost_s)
                if turn is not None and kept is not None:
                    turn.offer(load, value, kept, begun, cost_s)
    finally:
        for load in loads:
            if load.flight.state == FLYING:
                load.drop(ask)
        _leave(permit, None)
        if turn is not None:
            turn.end()


def _leave(permit: Permit | None, error: BaseException | None) -> None:
    """Leave the origin."""
    if permit is not None:
        permit.leave(error)


def _enter(ask: Ask, waits: bool) -> Generator[Request, Any, Permit]:
    """A place at the origin."""
    permit: Permit
    try:
        permit = yield ENTER, waits
    except OriginBusy:
        ask.core._tally("refused", 1)
        raise
    if permit.waited:
        ask.core._tally("queued", 1)
    return permit


def _must_wait(ask: Ask, loads: list[Load]) -> bool:
    """Whether somebody has nothing else to be served: where all have an old value that may be, nobody waits."""
    now, window_s = ask.core._now(), max(ask.swr, ask.sie)
    return not all(load.serves(window_s, now) for load in loads)


def compute(ask: Ask, loads: list[Load]) -> Generator[Request, Any, list[Any]]:
    """The values of loads that are nobody else's affair, and are not stored."""
    permit = None if ask.gate is None else (yield from _enter(ask, True))
    try:
        values: list[Any] = yield CALL, loads
    except BaseException as error:
        _leave(permit, error)
        raise
    _leave(permit, None)
    return values


def _take_over(ask: Ask, turn: Turn, loads: list[Load]) -> Generator[Request, Any, list[Load]]:
    """End those loads whose result another process handed over, and say which are left.

    What invalidates while a load is led is seen by the store, as ever; what did before, here."""
    left = []
    for load in loads:
        offer = turn.look(load, ask.since)
        if offer is None or offer.begun <= ask.core._fenced_at(load.key, offer.tags):
            left.append(load)
        else:
            ask.core._tally("shared", 1)
            kept = True, offer.fresh, offer.tags, offer.weight
            yield from _keep(ask, load, offer.value, kept, offer.cost_s)
    return left


def _settle(ask: Ask, load: Load, value: Any, cost_s: float) -> Generator[Request, Any, Kept | None]:
    """How the result is stored; None when it is not."""
    if value is MISSING:
        load.left_out = True
        load.drop(ask)
        return None
    try:
        kept = load.said(ask, value)
    except Exception as error:
        yield from _fail(ask, load, error)
        return None
    return (yield from _keep(ask, load, value, kept, cost_s))


def _keep(ask: Ask, load: Load, value: Any, kept: Kept, cost_s: float) -> Generator[Request, Any, Kept | None]:
    is_stored, fresh, tags, weight = kept
    try:
        if is_stored:
            is_stored = ask.core._settle(load.number, load.flight, value, fresh, tags, weight, cost_s)
        else:
            ask.core._drop(load.number, load.flight, False)
    except Exception as error:  # a weigher's, or what the store refuses: the load is not over yet
        yield from _fail(ask, load, error)
        return None
    yield PASS, None
    load.flight.land(value, tags or ())
    return kept if is_stored else None


def _fail(ask: Ask, load: Load, error: Exception) -> Generator[Request, Any, None]:
    ask.core._drop(load.number, load.flight, True)
    yield PASS, None
    load.flight.fail(error)
