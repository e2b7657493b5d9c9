"""Fill a store before it is asked: `warm` with threads, `awarm` with tasks, a few keys at a time.

Every key goes the way of get_or_set: what is fresh stays, what somebody else loads is waited for, what fails does not
stop the others.
"""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sized
from functools import partial
from typing import Any, NamedTuple

from .._base.freshness import Freshness
from .._base.missing import MISSING
from . import loading, options
from .factory import check_factory

Progress = Callable[[int, int | None], object]


class Warmed(NamedTuple):
    """What warming came to.

    loaded: keys that were loaded, or waited for. present: keys that were fresh already. failed: keys whose load raised.
    """

    loaded: int
    present: int
    failed: int


LOADED, PRESENT, FAILED = range(3)  # a key's fate: its place in Warmed


def _check(who: str, loader: Any, concurrency: int, progress: Any) -> int:
    if not callable(loader):
        raise TypeError(f"{who}: loader must be callable, not {loader!r}")
    concurrency = options.whole(who, "concurrency", concurrency, least=1)
    if progress is not None and not callable(progress):
        raise TypeError(f"{who}: progress must be callable or None, not {progress!r}; it is given (done, total or None)")
    return concurrency


def _total(keys: Iterable[Hashable]) -> int | None:
    return len(keys) if isinstance(keys, Sized) else None


class _Source:
    """The keys, handed out one by one to whoever asks, until it is closed."""

    def __init__(self, keys: Iterable[Hashable]) -> None:
        self.lock = threading.Lock()
        self.keys: Iterator[Hashable] = iter(keys)
        self.is_closed = False

    def __iter__(self) -> "_Source":
        return self

    def __next__(self) -> Hashable:
        with self.lock:
            if self.is_closed:
                raise StopIteration
            try:
                return next(self.keys)
            except BaseException:
                self.is_closed = True
                raise


def warm(core: Any, keys: Iterable[Hashable], loader: Callable[..., Any], *, concurrency: int = 8,
         progress: Progress | None = None, fresh: Freshness | None = None, tags: tuple[str, ...] | None = None,
         weight: int | None = None) -> Warmed:
    """Load those of the keys that are not fresh, with `concurrency` threads; what each came to, counted.

    keys: any iterable, read as it goes, by one thread at a time. loader: loader(key), or loader(key, context).
    progress: called with the number of keys done and of all (None when the iterable has no length), in this thread.
    An error of the iterable or of `progress` ends the warming and is raised; an exception of the loader counts as
    failed.
    """
    concurrency = _check("warm", loader, concurrency, progress)
    total, source = _total(keys), _Source(keys)
    news: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()

    def one(key: Hashable) -> int:
        if core.peek(key, MISSING) is not MISSING:
            return PRESENT
        try:
            loading.get_or_set(core, key, partial(loader, key), fresh=fresh, tags=tags, weight=weight, with_stale=False)
        except Exception:
            return FAILED
        return LOADED

    def crew() -> None:
        try:
            for key in source:
                news.put(one(key))
        except BaseException as error:  # raised below, in the caller's thread
            news.put(error)
        finally:
            news.put(None)

    check_factory("warm", partial(loader, None), awaits=False)
    wanted = concurrency if total is None else min(concurrency, max(1, total))
    threads = [  # each in a copy of this context: where a load warms, its own key is found to be a circle
        threading.Thread(target=contextvars.copy_context().run, args=(crew,), name=f"samovar-warm-{number}")
        for number in range(wanted)
    ]
    started = []
    counts = [0, 0, 0]
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
        running = len(started)
        while running:
            told = news.get()
            if told is None:
                running -= 1
            elif isinstance(told, BaseException):
                raise told
            else:
                counts[told] += 1
                if progress is not None:
                    progress(sum(counts), total)
    finally:
        source.is_closed = True
        for thread in started:
            thread.join()
    return Warmed(*counts)


async def awarm(core: Any, keys: Iterable[Hashable], loader: Callable[..., Any], *, concurrency: int = 8,
                progress: Progress | None = None, fresh: Freshness | None = None, tags: tuple[str, ...] | None = None,
                weight: int | None = None) -> Warmed:
    """warm for a coroutine, with tasks: the loader may be `async def`; `progress` is called in the loop."""
    concurrency = _check("awarm", loader, concurrency, progress)
    total, source = _total(keys), iter(keys)
    counts = [0, 0, 0]

    async def one(key: Hashable) -> int:
        if core.peek(key, MISSING) is not MISSING:
            return PRESENT
        try:
            await loading.aget_or_set(
                core, key, partial(loader, key), fresh=fresh, tags=tags, weight=weight, with_stale=False
            )
        except Exception:
            return FAILED
        return LOADED

    async def crew() -> None:
        for key in source:
            counts[await one(key)] += 1
            if progress is not None:
                progress(sum(counts), total)

    tasks = [asyncio.ensure_future(crew()) for _ in range(concurrency if total is None else min(concurrency, total))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Warmed(*counts)
