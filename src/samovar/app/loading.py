"""Loads through the store: `get_or_set` and its kin, for threads and for tasks.

Two drivers of one protocol (app/protocol.py), to be read side by side: whatever takes time is asked of them. The first
argument of every function is the store: a Cache, or whatever has its load verbs.
"""

import contextvars
import inspect
import math
import threading
from collections.abc import Awaitable, Callable, Hashable, Iterable
from functools import partial
from typing import Any

from .._base import early
from .._base.contracts import Permit
from .._base.errors import OriginBusy
from .._base.flight import CIRCLE, ENDED, FLYING, SOME_THREAD, bodies, is_inside, outside, running_loop
from .._base.freshness import Duration, Freshness, seconds
from .._base.missing import MISSING
from .background import TASKS, THREADS, tell
from .factory import Batch, Factory, Maker, Single, check_factory, refuse_async
from .protocol import (
    ALONE,
    BEGIN,
    CALL,
    ENTER,
    ERROR,
    FOLLOW,
    PASS,
    SPAWN,
    TAKE,
    VALUE,
    WAIT,
    Ask,
    Load,
    Steps,
    anew,
    many,
    one,
)
from .tenure import Tenure
from .working import compute, work


def limits(who: str, soft: Duration | None, hard: Duration | None) -> dict[str, float | None]:
    return {"soft_s": _limit(soft, f"{who}: soft_timeout"), "hard_s": _limit(hard, f"{who}: hard_timeout")}


def _limit(value: Duration | None, name: str) -> float | None:
    """Seconds, or None for none; what no lock can be told to wait is no limit."""
    limit_s = math.inf if value is None else seconds(value, name)
    return limit_s if limit_s < threading.TIMEOUT_MAX else None


def gap_of(fresh: Freshness | None) -> float:
    return early.draw(fresh.early) if fresh is not None and fresh.early else 0.0


# ------------------------------------------------------------------ the blocking driver

def drive(steps: Steps, perform: Callable[[int, Any], Any]) -> Any:
    """Run a protocol to its end: do what it asks for, and tell it what came of it."""
    try:
        request = next(steps)
        while True:
            try:
                told = None if request[0] == PASS else perform(*request)
            except BaseException as error:  # the protocol decides what it means
                request = steps.throw(error)
            else:
                request = steps.send(told)
    except StopIteration as stop:
        return stop.value


class Blocking:
    def __init__(self, ask: Ask, maker: Maker) -> None:
        self.ask, self.maker = ask, maker

    def perform(self, request: int, about: Any) -> Any:
        if request == WAIT:
            flight, limit_s = about
            return ENDED if flight.state != FLYING else flight.wait(limit_s)
        if request == CALL:
            return self.maker.values(about, self.call(about))
        if request == TAKE:
            assert self.ask.leasing is not None
            return self.ask.leasing.take(self.maker, about)
        if request == ENTER:
            assert self.ask.gate is not None
            return self.ask.gate.enter(waits=about[1])
        if request == SPAWN:
            return self.hand_over(about, 0.0, watched=False)
        assert request == BEGIN
        if (limit_s := about[0].limit(self.ask)) is None:
            self.work(about)
            return True
        return self.hand_over(about, limit_s, watched=True)

    def call(self, loads: list[Load]) -> Any:
        result = self.maker.begin(loads)
        if inspect.iscoroutine(result):
            result.close()
            refuse_async(self.maker.who, self.maker.factory)
        return result

    def work(self, loads: list[Load]) -> None:
        with bodies(tuple(load.flight for load in loads)):
            drive(work(self.ask, loads), self.perform)

    def hand_over(self, loads: list[Load], within_s: float | None, *, watched: bool) -> bool:
        """Have a thread of the bench do the work."""
        for load in loads:
            load.flight.thread = SOME_THREAD
        context = contextvars.copy_context()
        if not watched:
            context.run(outside)

        def job() -> None:
            try:
                context.run(self.work, loads)
            except BaseException as error:  # no caller is here
                if not watched:
                    tell(error)
            else:
                if not watched:
                    _tell_failure(loads)

        try:
            return THREADS.start(job, force=is_inside() and watched, within_s=within_s)
        except RuntimeError:  # the system has no more threads, or the interpreter shuts down
            if watched:
                self.work(loads)
            return watched


def _tell_failure(loads: list[Load]) -> None:
    error = loads[0].flight.error
    if error is not None and not isinstance(error, OriginBusy):  # a renewal that gave way is counted, and is no failure
        tell(error)


def ask_blocking(core: Any, **words: Any) -> Ask:
    return Ask(core, thread=threading.get_ident(), **words)


def get_or_set(core: Any, key: Hashable, factory: Factory, *, fresh: Freshness | None = None,
               tags: tuple[str, ...] | None = None, weight: int | None = None,
               soft_timeout: Duration | None = None, hard_timeout: Duration | None = None,
               with_stale: bool = True) -> Any:
    """What is stored under the key, or what the factory returns; one caller calls it, the others wait.

    core: the store. fresh: the freshness in force for this call. with_stale: whether an answer may be stale. The rest as
    Cache.get_or_set says.
    """
    check_factory("get_or_set", factory, awaits=False)
    maker = Single("get_or_set", factory)
    ask = ask_blocking(core, fresh=fresh, tags=tags, weight=weight, gap=gap_of(fresh), with_stale=with_stale,
                       **limits("get_or_set", soft_timeout, hard_timeout))
    driver = Blocking(ask, maker)
    return _conclude(driver, key, drive(one(ask, key), driver.perform))


def refresh(core: Any, key: Hashable, factory: Factory, *, fresh: Freshness | None = None,
            tags: tuple[str, ...] | None = None, weight: int | None = None, since: float = -math.inf) -> Any:
    """Load whatever is stored, and return the new value; when the factory raises, what is stored stays.

    since: where the store has a lease, what another process began to load after this moment of the stopwatch is as good;
    left out, what it begins from now on.
    """
    check_factory("refresh", factory, awaits=False)
    maker = Single("refresh", factory)
    ask = ask_blocking(core, fresh=fresh, tags=tags, weight=weight, with_stale=False)
    ask.since = since
    driver = Blocking(ask, maker)
    return _conclude(driver, key, drive(anew(ask, key), driver.perform))


def _conclude(driver: Blocking, key: Hashable, verdict: tuple[int, Any]) -> Any:
    kind, thing = verdict
    if kind == VALUE:
        return thing
    if kind == ERROR:
        return thing.outcome()
    return drive(compute(driver.ask, [alone(key)]), driver.perform)[0]


def alone(key: Hashable) -> Load:
    """A load that no store knows of."""
    return Load(key, FOLLOW, 0, None, MISSING, 0.0, 0, 0.0)  # type: ignore[arg-type]


def get_or_set_many(core: Any, keys: Iterable[Hashable], factory: Factory, *, fresh: Freshness | None = None,
                    tags: tuple[str, ...] | None = None, weight: int | None = None,
                    default: Any = MISSING) -> dict[Any, Any]:
    """The values of all keys, in their order. The factory is called once with the list of those keys that this caller
    leads, and returns a mapping; those that others load are waited for.

    default: for keys that the mapping lacks; it is not stored. Without one, KeyError. When the factory raises, so does
    this, unless every key has an old value within stale_if_error.
    """
    check_factory("get_or_set_many", factory, awaits=False)
    ask = ask_blocking(core, fresh=fresh, tags=tags, weight=weight, gap=gap_of(fresh))
    return make_many(ask, keys, Batch("get_or_set_many", factory), default)


def make_many(ask: Ask, keys: Iterable[Hashable], maker: Maker, default: Any) -> dict[Any, Any]:
    """The values of all keys, those that nobody has by this maker."""
    driver = Blocking(ask, maker)
    answers, verdict = drive(many(ask, keys), driver.perform)
    if verdict is not None and verdict[0] == ALONE:
        _fill(answers, verdict[1], drive(compute(ask, verdict[1]), driver.perform))
    return _complete(answers, verdict, default)


def _fill(answers: dict[Hashable, Any], loads: list[Load], values: list[Any]) -> None:
    answers.update((load.key, value) for load, value in zip(loads, values, strict=True))


def _complete(answers: dict[Hashable, Any], verdict: tuple[int, Any] | None, default: Any) -> dict[Hashable, Any]:
    if verdict is not None and verdict[0] == ERROR:
        verdict[1].outcome()
    for key, value in answers.items():
        if value is MISSING:
            if default is MISSING:
                raise KeyError(key)
            answers[key] = default
    return answers


# ------------------------------------------------------------------ the asyncio driver

async def adrive(steps: Steps, perform: Callable[[int, Any], Awaitable[Any]]) -> Any:
    """`drive`, for a coroutine."""
    try:
        request = next(steps)
        while True:
            try:
                told = None if request[0] == PASS else await perform(*request)
            except BaseException as error:  # the protocol decides what it means
                request = steps.throw(error)
            else:
                request = steps.send(told)
    except StopIteration as stop:
        return stop.value


class Awaiting:
    """Without a loop (another event loop, a coroutine driven by hand) it loads, but is joined by nobody and waits for
    nobody."""

    def __init__(self, ask: Ask, maker: Maker, awaits: bool) -> None:
        self.ask, self.maker, self.awaits = ask, maker, awaits
        self.nested = is_inside()

    async def perform(self, request: int, about: Any) -> Any:
        loop = self.ask.loop
        if request == WAIT:
            flight, limit_s = about
            if flight.state != FLYING:
                return ENDED
            return CIRCLE if loop is None else await flight.wait_async(limit_s)
        if request == CALL:
            return self.maker.values(about, await self.call(about))
        if request == TAKE:
            assert self.ask.leasing is not None
            if loop is None:
                return self.ask.leasing.take(self.maker, about, waits=False)
            return await self.ask.leasing.atake(self.maker, about)
        if request == ENTER:
            return await self.enter(*about)
        if request == SPAWN:
            return loop is not None and self.hand_over(about, watched=False)
        assert request == BEGIN
        if loop is None:
            await self.work(about)
            return True
        return self.hand_over(about, watched=True)

    async def enter(self, loads: list[Load], waits: bool) -> Permit:
        assert self.ask.gate is not None
        if self.ask.loop is None:
            return self.ask.gate.enter(waits=False)  # driven by hand: nobody could wake it
        permit = await self.ask.gate.aenter(waits=waits)
        if not self.awaits:
            loads[0].tenure = permit = Tenure(permit)
        return permit

    async def call(self, loads: list[Load]) -> Any:
        if self.awaits or self.ask.loop is None:
            result = self.maker.begin(loads)
        else:
            begin, is_placed = partial(self.begin, loads), loads[0].tenure is not None
            if is_placed:  # so it waits for no thread: all of them may wait for its place
                begin = partial(loads[0].tenure.carry, begin)
            result = await THREADS.call(begin, force=self.nested or is_placed)
        return await result if inspect.isawaitable(result) else result

    def begin(self, loads: list[Load]) -> Any:
        for load in loads:
            if load.flight is not None:
                load.flight.queued = False
        return self.maker.begin(loads)

    async def work(self, loads: list[Load]) -> None:
        with bodies(tuple(load.flight for load in loads)):
            await adrive(work(self.ask, loads), self.perform)

    def hand_over(self, loads: list[Load], *, watched: bool) -> bool:
        """Have a task of this loop do the work."""
        if not watched and not TASKS.has_room():
            return False
        context = contextvars.copy_context()
        if not watched:
            context.run(outside)
        job = self.work(loads)
        try:
            task = TASKS.start(self.ask.loop, job, unwatched=not watched, context=context)
        except BaseException:
            job.close()
            raise
        if not watched:
            task.add_done_callback(lambda task: None if task.cancelled() else _tell_failure(loads))
        for load in loads:
            load.flight.runs_in(task, held=not watched or len(loads) > 1)  # a batch serves more than one key's crowd
        return True


def ask_async(core: Any, awaits: bool, **words: Any) -> Ask:
    loop = running_loop()
    if loop is None:
        return Ask(core, **words)
    return Ask(core, loop=loop, thread=threading.get_ident(), queues=not awaits and not is_inside(), **words)


async def aget_or_set(core: Any, key: Hashable, factory: Factory, *, fresh: Freshness | None = None,
                      tags: tuple[str, ...] | None = None, weight: int | None = None,
                      soft_timeout: Duration | None = None, hard_timeout: Duration | None = None,
                      with_stale: bool = True) -> Any:
    """get_or_set for a coroutine; a factory that is `async def` runs in the loop, a plain one in a thread, and what
    that returns is awaited if it can be."""
    awaits = check_factory("aget_or_set", factory, awaits=True)
    maker = Single("aget_or_set", factory)
    ask = ask_async(core, awaits, fresh=fresh, tags=tags, weight=weight, gap=gap_of(fresh), with_stale=with_stale,
                    **limits("aget_or_set", soft_timeout, hard_timeout))
    driver = Awaiting(ask, maker, awaits)
    return await _aconclude(driver, key, await adrive(one(ask, key), driver.perform))


async def arefresh(core: Any, key: Hashable, factory: Factory, *, fresh: Freshness | None = None,
                   tags: tuple[str, ...] | None = None, weight: int | None = None, since: float = -math.inf) -> Any:
    """refresh for a coroutine."""
    awaits = check_factory("arefresh", factory, awaits=True)
    maker = Single("arefresh", factory)
    ask = ask_async(core, awaits, fresh=fresh, tags=tags, weight=weight, with_stale=False)
    ask.since = since
    driver = Awaiting(ask, maker, awaits)
    return await _aconclude(driver, key, await adrive(anew(ask, key), driver.perform))


async def _aconclude(driver: Awaiting, key: Hashable, verdict: tuple[int, Any]) -> Any:
    kind, thing = verdict
    if kind == VALUE:
        return thing
    if kind == ERROR:
        return thing.outcome()
    return (await adrive(compute(driver.ask, [alone(key)]), driver.perform))[0]


async def aget_or_set_many(core: Any, keys: Iterable[Hashable], factory: Factory, *, fresh: Freshness | None = None,
                           tags: tuple[str, ...] | None = None, weight: int | None = None,
                           default: Any = MISSING) -> dict[Any, Any]:
    """get_or_set_many for a coroutine. Its load goes on when its caller is cancelled, for it serves many keys."""
    awaits = check_factory("aget_or_set_many", factory, awaits=True)
    ask = ask_async(core, awaits, fresh=fresh, tags=tags, weight=weight, gap=gap_of(fresh))
    return await amake_many(ask, keys, Batch("aget_or_set_many", factory), default, awaits)


async def amake_many(ask: Ask, keys: Iterable[Hashable], maker: Maker, default: Any, awaits: bool) -> dict[Any, Any]:
    """make_many for a coroutine."""
    driver = Awaiting(ask, maker, awaits)
    answers, verdict = await adrive(many(ask, keys), driver.perform)
    if verdict is not None and verdict[0] == ALONE:
        _fill(answers, verdict[1], await adrive(compute(ask, verdict[1]), driver.perform))
    return _complete(answers, verdict, default)

