"""Where loads run that no caller carries himself: a few threads, made when needed and gone when idle, and tasks.

The model is a bench of workers without a waiting list: a load is taken at once by a worker, or refused, and then the
caller serves what is stale. Only plain functions called from a coroutine may queue, for there a task waits. Threads
that run a body in which somebody asks for another load are not counted as free hands: such a load gets a thread
whatever the limit says, so that a full bench never waits for itself.

The threads are daemons: an interpreter that shuts down waits for no refresh.
"""

import asyncio
import contextvars
import inspect
import logging
import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

Job = Callable[[], object]
_log = logging.getLogger("samovar")
_benches: "weakref.WeakSet[Threads]" = weakref.WeakSet()


class Threads:
    """At most `limit` threads that run jobs; each leaves after `idle_s` seconds without one."""

    def __init__(self, limit: int = 32, *, name: str = "samovar", idle_s: float = 10.0) -> None:
        self.limit, self.name, self.idle_s = limit, name, idle_s
        self.forget()
        _benches.add(self)

    def forget(self) -> None:
        """Begin without threads: new, or in the child of a fork."""
        self._change = threading.Condition()
        self._idle: list[queue.SimpleQueue[Job]] = []  # one box for each thread that sleeps
        self._backlog: deque[Job] = deque()
        self._count = self._made = 0

    def __len__(self) -> int:
        """Threads that there are now."""
        return self._count

    def _is_free(self) -> bool:
        return bool(self._idle) or self._count < self.limit

    def start(self, job: Job, *, force: bool = False, queued: bool = False, within_s: float | None = 0.0) -> bool:
        """Run the job in a thread now; False when none is free.

        force: make a thread over the limit. queued: let the job wait for a thread. within_s: wait so long for one,
        None for ever. Raises RuntimeError when the system has no more threads, or the interpreter shuts down.
        """
        with self._change:
            if not force and not self._is_free():
                if queued:
                    self._backlog.append(job)
                    return True
                if within_s == 0.0 or not self._change.wait_for(self._is_free, within_s):
                    return False
            if self._idle:
                self._idle.pop().put(job)
                return True
            self._count += 1
            self._made += 1
            name = f"{self.name}-{self._made}"
        try:
            threading.Thread(target=self._run, args=(job,), name=name, daemon=True).start()
        except BaseException:
            with self._change:
                self._count -= 1
                self._change.notify()
            raise
        return True

    def _run(self, job: Job | None) -> None:
        box: queue.SimpleQueue[Job] = queue.SimpleQueue()
        while job is not None:
            try:
                job()
            except BaseException as error:  # the thread is not the job's
                tell(error)
            job = None  # let go of it while idle
            job = self._next(box)

    def _next(self, box: "queue.SimpleQueue[Job]") -> Job | None:
        """The next job, or None when the thread shall leave."""
        with self._change:
            if self._backlog and self._count <= self.limit:
                return self._backlog.popleft()
            if self._count > self.limit:  # one that was forced
                self._count -= 1
                return None
            self._idle.append(box)
            self._change.notify()
        try:
            return box.get(timeout=self.idle_s)
        except queue.Empty:
            with self._change:
                if box in self._idle:
                    self._idle.remove(box)
                    self._count -= 1
                    return None
            return box.get()  # given just now

    async def call(self, fn: Callable[[], Any], *, force: bool = False) -> Any:
        """What fn() returns or raises, in a thread, in a copy of this context."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        context = contextvars.copy_context()
        over = False

        def deliver(result: Any, error: BaseException | None) -> None:
            if not future.done():
                future.set_result((result, error))
            else:
                _unwanted(result)

        def job() -> None:
            if over:  # not the future itself: it is its loop's alone
                return
            result, error = None, None
            try:
                result = context.run(fn)
            except BaseException as raised:  # it is the caller's
                error = raised
            try:
                loop.call_soon_threadsafe(deliver, result, error)
            except RuntimeError:  # that loop is closed: nobody waits there any more
                _unwanted(result)

        self.start(job, force=force, queued=True)
        try:
            result, error = await future
        except BaseException:
            if future.done() and not future.cancelled():  # it came, and so did the end of who waited for it
                _unwanted(future.result()[0])
            raise
        finally:
            over = True
        if error is not None:
            raise error
        return result


class Tasks:
    """Tasks that are kept until they end, at most `limit` of those that nobody waits for."""

    def __init__(self, limit: int = 1_000) -> None:
        self.limit = limit
        self.forget()

    def forget(self) -> None:
        """Begin without tasks: new, or in the child of a fork."""
        self._lock = threading.RLock()  # re-entrant: a finalizer may come at any time
        self._kept: dict[asyncio.AbstractEventLoop, set[asyncio.Task[Any]]] = {}
        self._unwatched: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """Tasks that run now."""
        return sum(map(len, list(self._kept.values())))

    def has_room(self) -> bool:
        """Whether one more may run that nobody waits for."""
        with self._lock:
            self._let_go_locked()
            return len(self._unwatched) < self.limit

    def start(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], *, unwatched: bool = False,
              context: contextvars.Context | None = None) -> asyncio.Task[Any]:
        """Run a coroutine as a task of this, the running loop."""
        task = loop.create_task(work, context=context)
        with self._lock:
            self._let_go_locked()
            self._kept.setdefault(loop, set()).add(task)
            if unwatched:
                self._unwatched.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        with self._lock:
            self._unwatched.discard(task)
            tasks = self._kept.get(loop := task.get_loop(), set())
            tasks.discard(task)
            if not tasks:
                self._kept.pop(loop, None)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report what the waiters are told

    def _let_go_locked(self) -> None:
        """Tasks of a loop that was closed never end."""
        for loop in [loop for loop in self._kept if loop.is_closed()]:
            self._unwatched -= self._kept.pop(loop)


def _unwanted(result: Any) -> None:
    """Nobody takes what a function returned: a coroutine is closed, or Python would say that it was never awaited."""
    if inspect.iscoroutine(result):
        result.close()


def tell(error: BaseException) -> None:
    """A load that no caller waited for has failed: counted by the cache, and said here."""
    _log.warning("a load in the background failed: %r", error, exc_info=error)


THREADS = Threads()  # shared by the caches of a process: an origin that hangs holds so many threads and no more
TASKS = Tasks()


def _forked() -> None:
    TASKS.forget()
    for bench in _benches:
        bench.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
