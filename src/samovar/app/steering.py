"""Loads of memoized functions that `memo` does not decide by itself: stale answers, early renewals, tags.

The native core asks for these functions by name (`_core._teach`) when a call is no plain hit. A memo has the verbs of
the load protocol like a `Cache`, so the protocol and its drivers are the same; what is stored of an answer is the memo's
own affair (`_form`: of a coroutine function an awaitable that is done, of a remembered exception something that raises
it), and so is what a caller gets for it (`_answer`).
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from .._base.errors import OriginBusy
from .._base.missing import MISSING
from .loading import Awaiting, Blocking, adrive, alone, ask_async, ask_blocking, drive, gap_of
from .protocol import ERROR, VALUE, Load, Verdict, anew, one
from .working import compute


class _Call:
    """One call of a memoized function, as a maker of what is stored of its answer."""

    __slots__ = ("args", "fn", "kwargs", "made", "memo", "raised")
    who = "memoize"

    def __init__(self, memo: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.memo, self.fn, self.args, self.kwargs = memo, fn, args, kwargs
        self.made: Any = MISSING  # what the function returned
        self.raised: tuple[Any, BaseException, Any] | None = None  # this very call: what is stored, the error, where from

    @property
    def factory(self) -> Callable[..., Any]:
        return self.fn

    def begin(self, loads: Sequence[Load]) -> list[Any]:
        try:
            self.made = self.fn(*self.args, **self.kwargs)
        except OriginBusy:  # of a load within: not an answer
            raise
        except self.memo._exceptions as error:
            return [self.remember(error)]
        return [self.memo._form(self.made, False)]

    def remember(self, error: BaseException) -> Any:
        where = error.__traceback__
        error.__traceback__ = None  # what is stored holds no frames
        stored = self.memo._form(error, True)
        self.raised = stored, error, where and where.tb_next
        return stored

    def answer(self, stored: Any) -> Any:
        """What the caller gets: his own exception with the traceback that says where it came from."""
        raised, self.raised = self.raised, None
        if raised is None or stored is not raised[0]:
            return self.memo._answer(stored)
        try:
            raise raised[1].with_traceback(raised[2])
        finally:
            del raised, stored  # the traceback holds this frame

    def values(self, loads: Sequence[Load], result: list[Any]) -> list[Any]:
        return result

    def named(self, key: Hashable) -> Hashable:
        """The arguments, keywords and their values, or what key= made of them; which type they are of, the names of
        leases tell by themselves."""
        return tuple(self.memo.cache_key(*self.args, **self.kwargs)[:3])

    def plain(self, stored: Any) -> Any:
        """The answer as the function gave it; what it raised is remembered in this process alone."""
        return MISSING if self.raised is not None else self.made

    def adopted(self, value: Any) -> Any:
        return self.memo._form(value, False)


class _AwaitedCall(_Call):
    __slots__ = ()

    async def begin(self, loads: Sequence[Load]) -> list[Any]:  # type: ignore[override]
        try:
            self.made = await self.fn(*self.args, **self.kwargs)
        except OriginBusy:
            raise
        except self.memo._exceptions as error:
            return [self.remember(error)]
        return [self.memo._form(self.made, False)]


def tags_of(memo: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...] | None:
    """The tags that the answer of this call carries."""
    tags: tuple[str, ...] | None = memo._steering.tags_of(args, kwargs)
    return tags


def _words(call: _Call) -> dict[str, Any]:
    fresh = call.memo._steering.fresh
    return {"fresh": fresh, "tags": tags_of(call.memo, call.args, call.kwargs), "gap": gap_of(fresh)}


def steer(memo: Any, fn: Callable[..., Any], key: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a call returns that is no plain hit: the answer, or a coroutine of it."""
    if memo._steering.is_async:
        return _asteer(memo, _AwaitedCall(memo, fn, args, kwargs), key, one)
    return _steer(memo, _Call(memo, fn, args, kwargs), key, one)


def renew(memo: Any, fn: Callable[..., Any], key: Hashable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `cache_refresh` returns."""
    if memo._steering.is_async:
        return _asteer(memo, _AwaitedCall(memo, fn, args, kwargs), key, anew)
    return _steer(memo, _Call(memo, fn, args, kwargs), key, anew)


def _steer(memo: Any, call: _Call, key: Hashable, steps: Callable[..., Any]) -> Any:
    driver = Blocking(ask_blocking(memo, **_words(call)), call)
    if steps is anew:
        driver.ask.swr = driver.ask.sie = driver.ask.gap = 0.0
    kind, thing = _judged(drive(steps(driver.ask, key), driver.perform))
    return call.answer(thing if kind == VALUE else drive(compute(driver.ask, [alone(key)]), driver.perform)[0])


async def _asteer(memo: Any, call: _AwaitedCall, key: Hashable, steps: Callable[..., Any]) -> Any:
    driver = Awaiting(ask_async(memo, True, **_words(call)), call, True)
    if steps is anew:
        driver.ask.swr = driver.ask.sie = driver.ask.gap = 0.0
    kind, thing = _judged(await adrive(steps(driver.ask, key), driver.perform))
    if kind != VALUE:
        thing = (await adrive(compute(driver.ask, [alone(key)]), driver.perform))[0]
    return call.answer(thing)


def _judged(verdict: Verdict) -> Verdict:
    kind, thing = verdict
    if kind == ERROR:
        thing.outcome()
    return verdict
