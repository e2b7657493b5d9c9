"""Loads of a memoized `async def`: one task works, the crowd waits.

The native core answers hits and keeps the loading state in the entry; this room drives a load. The body runs in a task
of its own, in the event loop of the caller that led, so that no caller's cancellation is the others' failure. How the
crowd waits, is woken, goes away or runs in circles is the flight's affair (_base/flight.py).
"""

import asyncio
import threading

from .._base.flight import ABANDONED, CIRCLE, ENDED, Flight, bodies, running_loop
from .._core import HIT, LEAD, MISSING


async def _run(flight, fn, args, kwargs):
    """The load itself."""
    memo, number = flight.store, flight.number
    with bodies((flight,)):
        try:
            value = await fn(*args, **kwargs)
        except Exception as error:
            _settle(memo, number, flight, memo._form(error, True))
            flight.fail(error)
        except BaseException as error:  # cancelled, interrupted, or the loop goes down: that is not about the work
            memo._drop(number, flight, True)
            flight.abandon(error)
            raise
        else:
            _settle(memo, number, flight, memo._form(value, False))
            flight.land(value)


def _settle(memo, number, flight, stored):
    if stored is MISSING:
        memo._drop(number, flight, False)
    else:
        memo._settle(number, flight, stored, None, None, None, 0.0)


def _outcome(flight):
    value = flight.outcome()
    copy = flight.store._copy
    return value if copy is None else copy(value)


async def _alone(memo, fn, key, args, kwargs):
    """Load without being joined by anybody."""
    fences = memo._alone()
    try:
        value = await fn(*args, **kwargs)
    except Exception as error:
        memo._keep(key, error, True, fences)
        raise
    memo._keep(key, value, False, fences)
    return value if memo._copy is None else memo._copy(value)


async def load(memo, fn, key, args, kwargs):
    """What a call of a memoized `async def` returns when it is no hit."""
    loop = running_loop()
    if loop is None or not memo._coalesce:
        return await _alone(memo, fn, key, args, kwargs)
    while True:
        mine = Flight(memo, loop, threading.get_ident())
        role, number, flight, stored, _, _ = memo._join(key, mine, id(mine), None, 0.0)
        if role == HIT:
            return memo._answer(stored)
        if role == LEAD:
            return await _lead(flight, number, loop, fn, args, kwargs)
        told = await flight.wait_async()
        if told == CIRCLE:
            return await _alone(memo, fn, key, args, kwargs)
        if told == ENDED and flight.state != ABANDONED:
            return _outcome(flight)
        flight.abandon()
        memo._abandon(flight.number, flight)


async def refresh(memo, fn, key, args, kwargs):
    """What `cache_refresh` of a memoized `async def` returns."""
    loop = running_loop()
    flight = Flight(memo, loop, None if loop is None else threading.get_ident())
    number, _, _, _ = memo._refresh_begin(key, flight, id(flight))
    if loop is not None:
        return await _lead(flight, number, loop, fn, args, kwargs)
    flight.number = number
    await _run(flight, fn, args, kwargs)
    return _outcome(flight)


def _fetch(task):
    """Look at what ended a load's task, so that asyncio does not report what the callers are told anyway."""
    if not task.cancelled():
        task.exception()


async def _lead(flight, number, loop, fn, args, kwargs):
    """Run the load in a task of its own, and wait for it like everybody else."""
    flight.number = number
    try:
        flight.task = loop.create_task(_run(flight, fn, args, kwargs))
        flight.task.add_done_callback(_fetch)
    except BaseException:
        flight.store._abandon(number, flight)
        flight.abandon()
        raise
    if await flight.wait_async() == ENDED and flight.state != ABANDONED:
        return _outcome(flight)
    await flight.task  # abandoned: raises what ended it
    raise asyncio.CancelledError
