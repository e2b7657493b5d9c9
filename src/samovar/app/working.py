"""The load protocol, continued: who works. It calls the factory, in turn with other processes where there is a lease and
within the origin's budget where there is one, and ends its loads.

The order is lease, budget, factory: who waits for another process holds no place meanwhile. The requests that are
yielded, and the one rule, are those of `app/protocol.py`.
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
                permit = yield from _enter(ask, left)
                begun = stopwatch()
            values = (yield CALL, left) if left else []
        except Exception as error:
            _left(permit, error)
            for load in left:
                core._drop(load.number, load.flight, not isinstance(error, OriginBusy))
                yield PASS, None
                load.flight.fail(error)
        except BaseException as error:  # cancelled, interrupted: that is not about the work
            _left(permit, error)
            for load in left:
                core._drop(load.number, load.flight, False)
                load.flight.abandon(error)
            raise
        else:
            cost_s = (stopwatch() - begun) / max(1, len(left))
            _left(permit, None)
            for load, value in zip(left, values, strict=True):
                kept = yield from _settle(ask, load, value, cost_s)
                if turn is not None and kept is not None:
                    turn.offer(load, value, kept, begun, cost_s)
    finally:
        for load in loads:
            if load.flight.state == FLYING:
                load.drop(ask)
        _left(permit, None)
        if turn is not None:
            turn.end()


def _left(permit: Permit | None, error: BaseException | None) -> None:
    """Leave the origin."""
    if permit is not None:
        permit.leave(error)


def _enter(ask: Ask, loads: list[Load]) -> Generator[Request, Any, Permit]:
    """A place at the origin. Where everything that is asked for has an old value that may be served, nobody waits."""
    window = max(ask.swr, ask.sie)
    now = ask.core._now() if window else 0.0
    waits = not all((window and load.serves(window, now)) or _is_early(ask, load) for load in loads)
    permit = yield from _counted(ask, loads, waits)
    for load in loads:
        load.flight.gate = None
    return permit


def _is_early(ask: Ask, load: Load) -> bool:
    """Whether the load renews what is still fresh, and nobody asked for that. (A refresh has no gap.)"""
    return ask.gap > 0.0 and load.value is not MISSING and load.age < 0.0


def _counted(ask: Ask, loads: list[Load], waits: bool) -> Generator[Request, Any, Permit]:
    try:
        permit: Permit = yield ENTER, (loads, waits)
    except OriginBusy:
        ask.core._tally("refused", len(loads))
        raise
    if permit.waited:
        ask.core._tally("queued", len(loads))
    return permit


def compute(ask: Ask, loads: list[Load]) -> Generator[Request, Any, list[Any]]:
    """The values of loads that are nobody else's affair, and are not stored."""
    permit: Permit | None = None
    if ask.gate is not None:
        permit = yield from _counted(ask, loads, True)
    try:
        values: list[Any] = yield CALL, loads
    except BaseException as error:
        _left(permit, error)
        raise
    _left(permit, None)
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
