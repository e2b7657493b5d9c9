"""Loads of a memoized `async def`: one task works, the crowd waits.

The native core answers hits and keeps the loading state in the entry; this room drives a load. The body runs in a task
of its own, in the event loop of the caller that led, so that no caller's cancellation is the others' failure. Callers
wait on futures of their own loops. When the last of them goes away, the task is cancelled and the load abandoned;
when the leading loop dies, so is the load, and a caller elsewhere leads anew.

The one rule: a flight's `state` and everything that waits on it change only under `_tower`, and nothing is awaited or
called back under it.

Deadlock between tasks: each flight lists the flights that its body waits for. A caller inside the body of flight B who
would wait for A, while A waits (through any number of others) for B, computes instead.
"""

import asyncio
import contextlib
import os
import threading
from contextvars import ContextVar

_FLYING, _LANDED, _FAILED, _ABANDONED = range(4)
_LOOK_AGAIN_S = 0.5  # how often a waiter in another loop looks whether the leading loop still lives

_tower = threading.Lock()
_inside: ContextVar["tuple[Flight, ...]"] = ContextVar("samovar_inside", default=())
_forks = 0


def _forked():
    global _forks, _tower
    _forks += 1
    _tower = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _running_loop():
    """The asyncio loop that runs this code, or None: another event loop, or a coroutine driven by hand."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _wake(future):
    if not future.done():
        future.set_result(None)


class Flight:
    """A load that runs: its task, its outcome, who waits for it, and what its body waits for."""

    __slots__ = ("error", "forks", "futures", "loop", "memo", "number", "state", "task", "traceback", "value",
                 "waiting", "waits_for")

    def __init__(self, memo, loop):
        self.memo = memo
        self.loop = loop
        self.forks = _forks
        self.number = None
        self.state = _FLYING
        self.value = self.error = self.traceback = self.task = None
        self.waiting = 0
        self.futures = []
        self.waits_for = []

    def is_lost(self, loop):
        """Whether the leading loop will never end this flight: closed, stopped, or left behind by a fork."""
        if self.loop is loop:
            return False
        return self.loop is None or self.forks != _forks or self.loop.is_closed() or not self.loop.is_running()

    def abandon(self):
        """Let the next caller lead anew, and those who wait ask again."""
        self.memo._abandon(self.number, self)
        self._end(_ABANDONED)

    async def run(self, fn, args, kwargs):
        """The load itself."""
        inside = _inside.get()
        token = _inside.set((*inside, self))
        try:
            value = await fn(*args, **kwargs)
        except Exception as error:
            self.memo._settle(self.number, self, error, True)
            self._end(_FAILED, error=error)
        except BaseException:  # cancelled, interrupted, or the loop goes down: that is not about the work
            self.memo._fail(self.number, self)
            self._end(_ABANDONED)
            raise
        else:
            self.memo._settle(self.number, self, value, False)
            self._end(_LANDED, value=value)
        finally:
            with contextlib.suppress(ValueError):  # thrown away with its loop, in whatever context that happens
                _inside.reset(token)

    def _end(self, state, value=None, error=None):
        with _tower:
            if self.state != _FLYING:
                return
            self.state, self.value, self.error = state, value, error
            self.traceback = None if error is None else error.__traceback__
            futures, self.futures = self.futures, []
        here = _running_loop()
        for loop, future in futures:
            if loop is here:
                _wake(future)
            else:
                try:
                    loop.call_soon_threadsafe(_wake, future)
                except RuntimeError:  # that loop is closed: nobody waits there any more
                    pass

    def outcome(self):
        if self.state == _FAILED:
            raise self.error.with_traceback(self.traceback)
        copy = self.memo._copy
        return self.value if copy is None else copy(self.value)

    async def wait(self, loop):
        """Wait for the end; True when there is an outcome, False when the caller must ask again."""
        future = loop.create_future()
        mine = _innermost()
        with _tower:
            if self.state != _FLYING:
                return self.state != _ABANDONED
            self.waiting += 1
            self.futures.append((loop, future))
            if mine is not None:
                mine.waits_for.append(self)
        try:
            if loop is self.loop:
                await future
            else:
                while not future.done() and not self.is_lost(loop):
                    await asyncio.wait((future,), timeout=_LOOK_AGAIN_S)
        finally:
            self._leave(loop, future, mine)
        if self.state == _FLYING:
            self.abandon()
        return self.state != _ABANDONED

    def _leave(self, loop, future, mine):
        with _tower:
            self.waiting -= 1
            if mine is not None:
                mine.waits_for.remove(self)
            if self.state != _FLYING:
                return
            self.futures.remove((loop, future))
            if self.waiting or self.task is None:
                return
            self.state = _ABANDONED  # nobody waits any more; who comes now leads anew
        self.memo._abandon(self.number, self)
        if loop is self.loop:
            self.task.cancel()
        elif not self.is_lost(loop):
            self.loop.call_soon_threadsafe(self.task.cancel)


def _innermost():
    """The flight in whose body this code runs, if that still runs."""
    inside = _inside.get()
    return inside[-1] if inside and inside[-1].state == _FLYING else None


def _closes_circle(target):
    """Whether `target` waits, at any distance, for the flight in whose body this code runs."""
    mine = _innermost()
    if mine is None:
        return False
    with _tower:
        seen, ahead = set(), [target]
        while ahead:
            flight = ahead.pop()
            if flight is mine or flight in _inside.get():
                return True
            if flight not in seen:
                seen.add(flight)
                ahead.extend(flight.waits_for)
    return False


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
    loop = _running_loop()
    if loop is None or not memo._coalesce:
        return await _alone(memo, fn, key, args, kwargs)
    while True:
        number, flight = memo._join(key, Flight(memo, loop))
        if number == -2:
            return await flight
        if number >= 0:
            return await _lead(flight, number, loop, fn, args, kwargs)
        if flight.is_lost(loop):
            flight.abandon()
        elif _closes_circle(flight):
            return await _alone(memo, fn, key, args, kwargs)
        elif await flight.wait(loop):
            return flight.outcome()
        elif flight.state == _ABANDONED:
            memo._abandon(flight.number, flight)


async def refresh(memo, fn, key, args, kwargs):
    """What `cache_refresh` of a memoized `async def` returns."""
    loop = _running_loop()
    flight = Flight(memo, loop)
    number = memo._again(key, flight)
    if loop is not None:
        return await _lead(flight, number, loop, fn, args, kwargs)
    flight.number = number
    await flight.run(fn, args, kwargs)
    return flight.outcome()


def _fetch(task):
    """Look at what ended a load's task, so that asyncio does not report what the callers are told anyway."""
    if not task.cancelled():
        task.exception()


async def _lead(flight, number, loop, fn, args, kwargs):
    """Run the load in a task of its own, and wait for it like everybody else."""
    flight.number = number
    try:
        flight.task = loop.create_task(flight.run(fn, args, kwargs))
        flight.task.add_done_callback(_fetch)
    except BaseException:
        flight.abandon()
        raise
    if await flight.wait(loop):
        return flight.outcome()
    await flight.task  # abandoned: raises what ended it
    raise asyncio.CancelledError
