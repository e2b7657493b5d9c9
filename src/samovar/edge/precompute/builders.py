"""Who builds precomputed results: a few threads. builders_async.py is the same with tasks, to be read beside this.

Both ask the schedule (schedule.py) what to do, do it without a lock, and say what came of it; while there is nothing
to do they wait to be woken: by a touch, an ended build, a ManualClock that was moved, or the moment that the schedule
named.
"""

import math
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..._base.clock import stopwatch
from ..._base.errors import OriginBusy
from ..._base.flight import outside
from ..._base.freshness import Duration, seconds
from ..._base.missing import MISSING
from ...app import loading
from .results import Cell, Results, at_work
from .schedule import ROUND, WAIT, Job

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


def limit(who: str, timeout: Duration | None) -> float | None:
    return None if timeout is None else min(seconds(timeout, f"{who}: timeout"), threading.TIMEOUT_MAX / 4)


class _Threads:
    """The threads between one `start` and its `stop`. is_ending: what is ready is still built; is_over: nothing is."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.is_ending = self.is_over = False

    def wake(self) -> None:
        """They wait on the results' own condition."""


class Precomputed(Results[K], Generic[K, R]):
    """A function whose results are built ahead: what `precompute` makes of a `def`. Call it with a key to read its result.

    `start()` and `stop()`, or a `with` block, begin and end the building, in threads of this process. All of it may be
    called from any thread.
    """

    __wrapped__: Callable[[K], R]

    if TYPE_CHECKING:
        def __call__(self, key: K, /) -> R:
            """The stored result of a key: Ahead's, in the core."""

    def built(self, key: K) -> bool:
        """Whether a result of this key is stored and may be served."""
        return self.store.peek(self._place(key), MISSING) is not MISSING

    def delete(self, key: K) -> bool:
        """Forget the result of a key that must not be served any more, fence off a build of it that runs, and have it built
        again; whether there was one."""
        found = bool(self.store.delete(self._place(key)))
        self.touch(key)
        return found

    # ---------------------------------------------------------------- begin and end

    def start(self) -> None:
        """Begin to build, in `concurrency` daemon threads; it returns at once. Where it runs already it does nothing. The
        child of a fork has to start for itself."""
        with self._change:
            if self._crew is not None:
                return
            self._schedule.begin(self._now())
            self._crew = crew = _Threads()
            name = getattr(self, "__name__", "precompute")
            crew.threads += [threading.Thread(target=self._work, args=(crew,), name=f"samovar-build-{name}-{number}",
                                              daemon=True) for number in range(self._plan.concurrency)]
            try:
                for thread in crew.threads:
                    thread.start()
            except BaseException:  # the system has no more threads
                crew.is_over, self._crew = True, None
                raise

    def stop(self, *, drain: bool = True, timeout: Duration | None = None) -> bool:
        """End the building; whether all of it has ended. It may be started again.

        drain: what is due now, or touched until the end, is built before. Otherwise nothing new begins; what is being built
            goes on to its end, for a thread cannot be stopped, and is waited for.
        timeout: how long to wait; None: as long as it takes. What is still being built then ends in the background, and is
            stored as ever. A function that is being built waits for nothing: it is what would be waited for.
        """
        limit_s, began = limit("stop", timeout), stopwatch()
        with self._change:
            crew = self._crew
            if crew is None:
                return True
            self._schedule.drain(self._now())
            crew.is_ending, crew.is_over = True, not drain
            self._change.notify_all()
            if at_work.get() is crew:
                return False
        try:
            for thread in crew.threads:
                thread.join(None if limit_s is None else max(0.0, limit_s - (stopwatch() - began)))
        finally:
            with self._change:
                crew.is_over = True
                if self._crew is crew:
                    self._crew = None
                self._change.notify_all()
        return not any(thread.is_alive() for thread in crew.threads)

    def __enter__(self) -> "Precomputed[K, R]":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop(drain=error[0] is None)

    def wait(self, timeout: Duration | None = None) -> bool:
        """Wait until nothing is due and nothing is being built, as after `start` when all is built once; or until `timeout`
        is over, or nobody builds here. Whether it came to that. What failed and waits for its next try is not due."""
        limit_s = limit("wait", timeout)
        with self._change:
            self._change.wait_for(lambda: self._crew is None or self._schedule.is_idle(self._now()), limit_s)
            return self._schedule.is_idle(self._now())

    # ---------------------------------------------------------------- the work

    def _work(self, crew: _Threads) -> None:
        outside()  # of whatever `start` was called in: some Pythons hand the context down
        at_work.set(crew)
        while (step := self._next(crew)) is not None:
            if step[0] == ROUND:
                self._ask()
            else:
                self._build(step[1])
            del step

    def _next(self, crew: _Threads) -> tuple[int, Any] | None:
        """What this thread does next; None: it leaves."""
        with self._change:
            while not crew.is_over:
                kind, about = self._schedule.next(self._now())
                if kind != WAIT:
                    return kind, about
                if crew.is_ending and not self._schedule.is_at_work:
                    crew.is_over = True
                    if self._crew is crew:
                        self._crew = None
                    self._change.notify_all()
                    break
                self._change.wait(self._pause_s(about))
        return None

    def _ask(self) -> None:
        keys = self._plan.keys
        try:
            self._asked(keys() if callable(keys) else keys)
        except BaseException as error:  # the thread is not the function's
            self._not_asked(error)

    def _build(self, job: Job) -> None:
        since = stopwatch()
        try:
            cell = self._made(job)
            is_kept = self._is_kept(cell, self.store.peek(job.place, MISSING))
        except BaseException as error:  # the thread is not the function's
            self._missed(job, error)
        else:
            self._landed(job, cell, since, is_kept)

    def _made(self, job: Job) -> Cell:
        load, fresh = self._loading(job.key, job, []), self._kept
        if self._is_first(job):
            return self.store.get_or_set(job.place, load, fresh=fresh)  # type: ignore[no-any-return]
        if self._leasing is None:
            return self.store.refresh(job.place, load, fresh=fresh)  # type: ignore[no-any-return]
        turn = self._turn(job)
        try:
            since = -math.inf if job.forced else job.since
            return loading.refresh(self.store, job.place, load, fresh=fresh, since=since)  # type: ignore[no-any-return]
        finally:
            turn.end()

    def _load(self, key: Any) -> Any:
        """A reader finds nothing."""
        job = self._jobs.get(key)
        place = self._place(key) if job is None else job.place
        self._refuse(job)
        since, called = stopwatch(), []  # type: ignore[var-annotated]
        try:
            cell = self.store.get_or_set(place, self._loading(key, job, called), fresh=self._kept)
        except OriginBusy:
            raise
        except Exception as error:
            raise self._read_failed(key, job, error, bool(called)) from error
        return self._read(job, cell, since, bool(called))
