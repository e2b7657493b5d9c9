"""The two drivers of the protocols of this level, one blocking and one asyncio, to be read side by side."""

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from .._base.contracts import Gate
from .._base.flight import is_inside, outside
from ..app.background import TASKS, THREADS
from ..app.factory import refuse_async
from . import drive
from .asked import Load, making
from .requests import ALL, CALL, ENTER, NODE, PAUSE, SPAWN, Request

_log = logging.getLogger("samovar")


@contextmanager
def _making(loads: Sequence[Load]) -> Iterator[None]:
    """While a factory runs: it may ask for what it is making itself."""
    before = making.get()
    making.set(before | {load.wire for load in loads})
    try:
        yield
    finally:
        making.set(before)


def _tell(error: BaseException) -> None:
    _log.warning("a renewal in the background failed: %r", error, exc_info=error)


def _tell_failure(task: "asyncio.Task[Any]") -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _tell(error)


class Blocking:
    """nodes: {name: node}. gate: the origin's budget, or None."""

    def __init__(self, nodes: Mapping[str, Any], gate: Gate | None) -> None:
        self.nodes, self.gate = nodes, gate
        self._never = threading.Event()

    def run(self, steps: Generator[Request, Any, Any]) -> Any:
        """What the steps return, each request performed by this thread."""
        try:
            request, about = next(steps)
            while True:
                try:
                    told = self.perform(request, about)
                except BaseException as error:  # the protocol decides what it means
                    request, about = steps.throw(error)
                else:
                    request, about = steps.send(told)
        except StopIteration as stop:
            return stop.value

    def perform(self, request: int, about: Any) -> Any:
        if request == NODE:
            return drive.run(getattr(self.nodes[about[0]], about[1])(*about[2]))
        if request == ALL:
            if len(about) == 1:
                return [self.perform(NODE, about[0])]
            return drive.run_all([getattr(self.nodes[node], verb)(*words) for node, verb, words in about])
        if request == PAUSE:
            self._never.wait(about)
            return None
        if request == ENTER:
            assert self.gate is not None
            return self.gate.enter(waits=about)
        if request == CALL:
            maker, loads = about
            with _making(loads):
                result = maker.begin(loads)
            if inspect.iscoroutine(result):
                result.close()
                refuse_async(maker.who, maker.factory)
            return maker.values(loads, result)
        assert request == SPAWN
        return self._spawn(about)

    def _spawn(self, steps: Generator[Request, Any, Any]) -> bool:
        context = contextvars.copy_context()
        context.run(outside)
        context.run(making.set, frozenset())  # it makes nothing yet, whatever its caller makes

        def job() -> None:
            try:
                context.run(self.run, steps)
            except BaseException as error:  # no caller is here
                _tell(error)

        try:
            return THREADS.start(job)
        except RuntimeError:  # the system has no more threads, or the interpreter shuts down
            return False


class Awaiting:
    """The same for tasks; plain factories run in a thread."""

    def __init__(self, nodes: Mapping[str, Any], gate: Gate | None) -> None:
        self.nodes, self.gate = nodes, gate

    async def run(self, steps: Generator[Request, Any, Any]) -> Any:
        """What the steps return, each request awaited by this task."""
        try:
            request, about = next(steps)
            while True:
                try:
                    told = await self.perform(request, about)
                except BaseException as error:  # the protocol decides what it means
                    request, about = steps.throw(error)
                else:
                    request, about = steps.send(told)
        except StopIteration as stop:
            return stop.value

    async def perform(self, request: int, about: Any) -> Any:
        if request == NODE:
            return await drive.arun(getattr(self.nodes[about[0]], about[1])(*about[2]))
        if request == ALL:
            if len(about) == 1:
                return [await self.perform(NODE, about[0])]
            return await asyncio.gather(*(self.perform(NODE, one) for one in about))
        if request == PAUSE:
            await asyncio.sleep(about)
            return None
        if request == ENTER:
            assert self.gate is not None
            return await self.gate.aenter(waits=about)
        if request == CALL:
            maker, loads = about
            with _making(loads):
                result = await self._call(maker, loads)
            return maker.values(loads, result)
        assert request == SPAWN
        return self._spawn(about)

    async def _call(self, maker: Any, loads: Any) -> Any:
        if maker.awaits:
            result = maker.begin(loads)
        else:
            result = await THREADS.call(partial(maker.begin, loads), force=is_inside())
        return await result if inspect.isawaitable(result) else result

    def _spawn(self, steps: Generator[Request, Any, Any]) -> bool:
        if not TASKS.has_room():
            return False
        context = contextvars.copy_context()
        context.run(outside)
        context.run(making.set, frozenset())  # it makes nothing yet, whatever its caller makes
        job = self.run(steps)
        try:
            task = TASKS.start(asyncio.get_running_loop(), job, unwatched=True, context=context)
        except BaseException:
            job.close()
            raise
        task.add_done_callback(_tell_failure)
        return True
