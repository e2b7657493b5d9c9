"""Who builds precomputed results: tasks of an event loop. To be read beside builders.py, which has threads."""

import asyncio
import contextlib
import contextvars
import math
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

from ..._base.clock import stopwatch
from ..._base.errors import OriginBusy
from ..._base.flight import outside
from ..._base.freshness import Duration
from ..._base.missing import MISSING
from ...app import Cache, LoadContext, loading
from ...app.background import THREADS
from ...memo.options import is_async
from .builders import limit
from .results import Cell, Plan, Results, at_work, listed
from .schedule import BUILD, WAIT, Job

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")
_LAST_S = 1.0  # for tasks that were cancelled to come to their end


def _is_cancelled() -> bool:
    """Whether the task that runs was cancelled; otherwise it is the function's own doing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Bell:
    """What wakes a task of a loop, from any thread."""

    def __init__(self) -> None:
        self.loop, self.bell = asyncio.get_running_loop(), asyncio.Event()

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # that loop is closed
            self.loop.call_soon_threadsafe(self.bell.set)


class _Tasks(_Bell):
    """The tasks between one `start` and its `stop`."""

    def __init__(self) -> None:
        super().__init__()
        self.main: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_ending = self.is_over = False


class AsyncPrecomputed(Results[K], Generic[K, R]):
    """The same for an `async def`, or over an AsyncCluster: what reads is awaited, and tasks of the event loop in which
    `start()` was awaited build. `touch`, `touch_tags` and `status` are as they are, from any thread."""

    __wrapped__: Callable[[K], Awaitable[R]]

    def __init__(self, fn: Callable[[Any], Any], plan: Plan) -> None:
        super().__init__(fn, plan)
        self._awaits, self._is_cache = is_async(fn), isinstance(plan.store, Cache)
        self._get_or_set = plan.store.aget_or_set if self._is_cache else plan.store.get_or_set
        self._refresh = plan.store.arefresh if self._is_cache else plan.store.refresh
        self._bells: set[_Bell] = set()  # of those who wait for rest

    async def __call__(self, key: K, /) -> R:
        """The stored result of a key. Where there is none yet it is loaded, once for all who ask.

        Raises NotBuilt when building it fails and the last good result is too old, and OriginBusy.
        """
        found = self._look(key)
        cell = found if self._is_cache else await found
        return cell[1] if cell is not None else await self._load(key)  # type: ignore[no-any-return]

    async def built(self, key: K) -> bool:
        """Whether a result of this key is stored and may be served."""
        return await self._peek(self._place(key)) is not MISSING

    async def _peek(self, place: Hashable) -> Any:
        found = self.store.peek(place, MISSING)
        return found if self._is_cache else await found

    async def delete(self, key: K) -> bool:
        """Forget the result of a key that must not be served any more, fence off a build of it that runs, and have it built
        again; whether there was one."""
        found = self.store.delete(self._place(key))
        found = found if self._is_cache else await found
        self.touch(key)
        return bool(found)

    # ---------------------------------------------------------------- begin and end

    @property
    def running(self) -> bool:
        crew = self._crew
        return crew is not None and not crew.loop.is_closed()

    async def start(self) -> None:
        """Begin to build, with at most `concurrency` tasks of this event loop at once; it returns at once. Where it runs
        already, in whatever loop, it does nothing. The child of a fork has to start for itself."""
        with self._change:
            if self.running:
                return
            if self._crew is not None:  # its loop was closed in the middle of its work
                self._schedule.forget()
            self._schedule.begin(self._now())
            self._crew = crew = _Tasks()
        context = contextvars.copy_context()
        context.run(outside)
        context.run(at_work.set, crew)
        crew.main = crew.loop.create_task(self._work(crew), context=context)
        crew.main.add_done_callback(lambda task: self._ended(crew))  # a task that is cancelled at once does nothing itself

    async def stop(self, *, drain: bool = True, timeout: Duration | None = None) -> bool:  # noqa: ASYNC109 - it cancels what
        """End the building; whether all of it has ended by itself, or was not to. It may be started again.

        drain: what is due now, or touched until the end, is built before. Otherwise, and when `timeout` is over, what is
            being built is cancelled; it is due again when somebody starts.
        Raises RuntimeError in an event loop other than that of `start`.
        """
        limit_s = limit("stop", timeout)
        with self._change:
            crew = self._crew
            if crew is None or crew.loop.is_closed():
                return True
            if crew.loop is not asyncio.get_running_loop():
                raise RuntimeError("stop: it was started in another event loop, and can be stopped there only")
            self._schedule.drain(self._now())
            crew.is_ending = True
        crew.bell.set()
        if at_work.get() is crew:  # it is what would be waited for
            return False
        assert crew.main is not None
        try:
            if drain:
                await asyncio.wait([crew.main], timeout=limit_s)
        finally:
            is_whole = crew.main.done()
            crew.is_over = True
            left = [task for task in (crew.main, *crew.tasks) if not task.done() and task is not asyncio.current_task()]
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=_LAST_S)
            if crew.main.done():
                self._ended(crew)
        return is_whole if drain else all(task.done() for task in left)

    async def __aenter__(self) -> "AsyncPrecomputed[K, R]":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop(drain=error[0] is None)

    async def wait(self, timeout: Duration | None = None) -> bool:  # noqa: ASYNC109 - it is told, and raises nothing
        """Wait until nothing is due and nothing is being built, as after `start` when all is built once; or until `timeout`
        is over, or nobody builds here. Whether it came to that. What failed and waits for its next try is not due."""
        limit_s, bell = limit("wait", timeout), _Bell()
        with self._change:
            self._bells.add(bell)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    while self.running and not self._rests():
                        await bell.bell.wait()
                        bell.bell.clear()
        finally:
            with self._change:
                self._bells.discard(bell)
        return self._rests()

    def wake(self) -> None:
        super().wake()
        with self._change:
            for bell in self._bells:
                bell.wake()

    def _rests(self) -> bool:
        with self._change:
            return self._schedule.is_idle(self._now())

    # ---------------------------------------------------------------- the work

    async def _work(self, crew: _Tasks) -> None:
        while not crew.is_over:
            crew.bell.clear()
            with self._change:
                kind, about = self._schedule.next(self._now())
            if kind != WAIT:
                self._hand_out(crew, about if kind == BUILD else None)
                continue
            if crew.is_ending and not crew.tasks:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s(about)):
                    await crew.bell.wait()

    def _ended(self, crew: _Tasks) -> None:
        with self._change:
            if self._crew is crew:
                self._crew = None
        self.wake()

    def _hand_out(self, crew: _Tasks, job: Job | None) -> None:
        """A task of its own for a build, or without a job for asking for the keys."""
        begun: list[bool] = []

        def ended(task: asyncio.Task[None]) -> None:
            crew.tasks.discard(task)
            if not begun:  # it was cancelled before its first step
                self._given_up(job)
            crew.bell.set()

        task = crew.loop.create_task(self._ask(begun) if job is None else self._build(job, begun))
        crew.tasks.add(task)
        task.add_done_callback(ended)

    def _given_up(self, job: Job | None) -> None:
        with self._change:
            if job is None:
                self._schedule.unasked()
            else:
                self._schedule.released(job, self._now())
        self.wake()

    async def _ask(self, begun: list[bool]) -> None:
        begun.append(True)
        keys = self._plan.keys
        try:
            if not callable(keys):
                found: Any = keys
            elif is_async(keys):
                found = await keys()
            else:
                found = await THREADS.call(lambda: listed(keys()))
            self._asked(found)
        except GeneratorExit:  # that loop is gone: who starts next finds it so
            raise
        except asyncio.CancelledError as error:
            if not _is_cancelled():
                self._not_asked(error)
                return
            self._given_up(None)
            raise
        except BaseException as error:
            self._not_asked(error)

    async def _build(self, job: Job, begun: list[bool]) -> None:
        begun.append(True)
        since = stopwatch()
        try:
            cell = await self._made(job)
            is_kept = self._is_kept(cell, await self._peek(job.place))
        except GeneratorExit:  # that loop is gone: who starts next finds it so
            raise
        except asyncio.CancelledError as error:
            if not _is_cancelled():
                self._missed(job, error)
                return
            self._given_up(job)
            raise
        except BaseException as error:
            self._missed(job, error)
            if not isinstance(error, Exception):
                raise
        else:
            self._landed(job, cell, since, is_kept)

    async def _made(self, job: Job) -> Cell:
        load, fresh = self._loading(job.key, job, []), self._kept
        if self._is_first(job):
            return await self._get_or_set(job.place, load, fresh=fresh)  # type: ignore[no-any-return]
        if self._leasing is None:
            return await self._refresh(job.place, load, fresh=fresh)  # type: ignore[no-any-return]
        turn = self._turn(job)
        try:
            since = -math.inf if job.forced else job.since
            return await loading.arefresh(self.store, job.place, load, fresh=fresh, since=since)  # type: ignore[no-any-return]
        finally:
            turn.end()

    def _loading(self, key: Hashable, job: Job | None, called: list[bool]) -> Callable[[LoadContext], Any]:
        """The load of a result, which notes in `called` that the function was."""
        if not self._awaits:
            return super()._loading(key, job, called)

        async def aload(context: LoadContext) -> Cell:
            began, stamp, cell = self._before(context, key, job)
            if cell is not MISSING:
                return cell  # type: ignore[no-any-return]
            called.append(True)
            return self._after(context, key, await self._fn(key), began, stamp)

        return aload

    async def _load(self, key: Any) -> Any:
        """A reader finds nothing."""
        job = self._jobs.get(key)
        place = self._place(key) if job is None else job.place
        self._refuse(job)
        since, called = stopwatch(), []  # type: ignore[var-annotated]
        try:
            cell = await self._get_or_set(place, self._loading(key, job, called), fresh=self._kept)
        except OriginBusy:
            raise
        except Exception as error:
            raise self._read_failed(key, job, error, bool(called)) from error
        return self._read(job, cell, since, bool(called))
