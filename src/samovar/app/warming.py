"""Fill a store before it is asked: `warm` with threads, `awarm` with tasks, a few keys at a time.

Every key goes the way of get_or_set: what is fresh stays, what somebody else loads is waited for, what fails does not
stop the others. An origin that says it is busy is no failure: the key waits for its turn and is tried again.

What is decided (`Pace`, `pause_s`) is told the time; the two drivers, `drive` and `adrive`, wait. How a key is loaded
is handed in: of a cache of this process by its load protocol, of other stores by their public verbs.
"""

import asyncio
import contextvars
import inspect
import math
import queue
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sized
from functools import partial
from typing import Any, NamedTuple, Protocol

from .._base.clock import stopwatch
from .._base.errors import OriginBusy
from .._base.freshness import Freshness
from .._base.missing import MISSING
from . import loading, options
from .factory import check_factory

Progress = Callable[[int, int | None], object]


class Warmed(NamedTuple):
    """What warming came to.

    loaded: keys that were loaded, or waited for. present: keys that were fresh already. failed: keys whose load raised.
    skipped: keys that the journal of an interrupted warming names as done.
    """

    loaded: int
    present: int
    failed: int
    skipped: int = 0


LOADED, PRESENT, FAILED, SKIPPED = range(4)  # a key's fate: its place in Warmed
TRIES = 20  # of a key whose origin is busy; the waits between them double up to LONGEST_S
SHORTEST_S, LONGEST_S = 0.05, 10.0


# ------------------------------------------------------------------ what is decided

class Pace:
    """Moments at which loads may begin: at most `rate` a second, at even distances, with none saved up for later."""

    def __init__(self, rate: float | None) -> None:
        self.step_s = 0.0 if rate is None else 1.0 / rate
        self.next = -math.inf
        self.lock = threading.Lock()

    def wait_s(self, now: float) -> float:
        """Take the next moment, and say how long to wait for it."""
        if not self.step_s:
            return 0.0
        with self.lock:
            moment = max(now, self.next)
            self.next = moment + self.step_s
        return moment - now


def pause_s(error: BaseException, tries: int) -> float | None:
    """How long to wait before a key is tried again whose load ended so, after so many tries; None: that is a failure."""
    if tries >= TRIES or not isinstance(error, OriginBusy):
        return None
    return max(min(error.retry_after, 60.0), min(SHORTEST_S * 2.0 ** (tries - 1), LONGEST_S))


# ------------------------------------------------------------------ arguments

class Log(Protocol):
    """What is told of every key, from any of the threads that work: a journal, or nobody."""

    def is_done(self, key: Hashable, /) -> bool:
        """Whether the key needs no look any more. What it raises ends the warming."""

    def done(self, key: Hashable, /) -> None:
        """The key is in the store now."""


class Nobody:
    """The log of a warming that nobody will resume."""

    def is_done(self, key: Hashable) -> bool:
        return False

    def done(self, key: Hashable) -> None:
        pass


def _check(who: str, concurrency: int, progress: Any, rate: Any) -> tuple[int, Pace]:
    concurrency = options.whole(who, "concurrency", concurrency, least=1)
    if progress is not None and not callable(progress):
        raise TypeError(f"{who}: progress must be callable or None, not {progress!r}; it is given (done, total or None)")
    return concurrency, Pace(check_rate(who, rate))


def check_rate(who: str, rate: Any) -> float | None:
    """Loads per second, or None for no limit."""
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise TypeError(f"{who}: rate must be a number of loads per second, or None for no limit, not {rate!r}")
    if not 0 < rate < math.inf:
        raise ValueError(f"{who}: rate must be more than 0 and finite, or None for no limit, not {rate!r}")
    return float(rate)


def check_loader(who: str, loader: Any) -> None:
    if not callable(loader):
        raise TypeError(f"{who}: loader must be callable, not {loader!r}")


def _total(keys: Iterable[Hashable]) -> int | None:
    return len(keys) if isinstance(keys, Sized) else None


# ------------------------------------------------------------------ a cache of this process

Fill = Callable[[Hashable], Any]  # loads a key, or waits for whoever does; in a coroutine, gives an awaitable of that


def fills(core: Any, loader: Callable[..., Any], *, fresh: Freshness | None = None, tags: tuple[str, ...] | None = None,
          weight: int | None = None) -> Fill:
    """How a store of this process loads a key."""
    def fill(key: Hashable) -> Any:
        return loading.get_or_set(core, key, partial(loader, key), fresh=fresh, tags=tags, weight=weight,
                                  with_stale=False)

    return fill


def afills(core: Any, loader: Callable[..., Any], *, fresh: Freshness | None = None,
           tags: tuple[str, ...] | None = None, weight: int | None = None) -> Fill:
    def fill(key: Hashable) -> Any:
        return loading.aget_or_set(core, key, partial(loader, key), fresh=fresh, tags=tags, weight=weight,
                                   with_stale=False)

    return fill


def warm(core: Any, keys: Iterable[Hashable], loader: Callable[..., Any], *, concurrency: int = 8,
         progress: Progress | None = None, rate: float | None = None, **how: Any) -> Warmed:
    """Load those of the keys that are not fresh, with `concurrency` threads; what each came to, counted.

    keys: any iterable, read as it goes, by one thread at a time. loader: loader(key), or loader(key, context).
    progress: called with the number of keys done and of all (None when the iterable has no length), in this thread.
    rate: loads per second at most. An error of the iterable or of `progress` ends the warming and is raised; an
    exception of the loader counts as failed.
    """
    check_loader("warm", loader)
    check_factory("warm", partial(loader, None), awaits=False)
    return drive(core, keys, fills(core, loader, **how), concurrency=concurrency, progress=progress, rate=rate)


async def awarm(core: Any, keys: Iterable[Hashable], loader: Callable[..., Any], *, concurrency: int = 8,
                progress: Progress | None = None, rate: float | None = None, **how: Any) -> Warmed:
    """warm for a coroutine, with tasks: the loader may be `async def`; `progress` is called in the loop."""
    check_loader("awarm", loader)
    return await adrive(core, keys, afills(core, loader, **how), concurrency=concurrency, progress=progress, rate=rate)


# ------------------------------------------------------------------ the driver with threads

class _Source:
    """The keys, handed out one by one to whoever asks, until it is closed."""

    def __init__(self, keys: Iterable[Hashable]) -> None:
        self.lock = threading.Lock()
        self.keys: Iterator[Hashable] = iter(keys)
        self.closed = threading.Event()

    def __iter__(self) -> "_Source":
        return self

    def __next__(self) -> Hashable:
        with self.lock:
            if self.closed.is_set():
                raise StopIteration
            try:
                return next(self.keys)
            except BaseException:
                self.closed.set()
                raise


class Interrupted(BaseException):
    """The warming ended while a key waited for its turn."""


def drive(store: Any, keys: Iterable[Hashable], fill: Fill, *, concurrency: int = 8, progress: Progress | None = None,
          rate: float | None = None, log: Log | None = None, now: Callable[[], float] = stopwatch,
          sleep: Callable[[float], object] | None = None) -> Warmed:
    """Have threads look at each key and fill in what is missing.

    now, sleep: the time in seconds, and how to wait for so many; left out, the machine's.
    """
    concurrency, pace = _check("warm", concurrency, progress, rate)
    total, source, log = _total(keys), _Source(keys), log or Nobody()
    news: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()
    over = threading.Event()

    def rest(seconds: float) -> None:
        if seconds > 0:
            over.wait(seconds) if sleep is None else sleep(seconds)
        if over.is_set():
            raise Interrupted

    def one(key: Hashable) -> int:
        if log.is_done(key):
            return SKIPPED
        if store.peek(key, MISSING) is not MISSING:
            return PRESENT
        tries = 0
        while True:
            rest(pace.wait_s(now()))
            try:
                fill(key)
            except Exception as error:
                tries += 1
                seconds = pause_s(error, tries)
                if seconds is None:
                    return FAILED
            else:
                log.done(key)
                return LOADED
            rest(seconds)

    def crew() -> None:
        try:
            for key in source:
                news.put(one(key))
        except Interrupted:
            pass
        except BaseException as error:  # raised below, in the caller's thread
            news.put(error)
        finally:
            news.put(None)

    wanted = concurrency if total is None else min(concurrency, max(1, total))
    threads = [  # each in a copy of this context: where a load warms, its own key is found to be a circle
        threading.Thread(target=contextvars.copy_context().run, args=(crew,), name=f"samovar-warm-{number}")
        for number in range(wanted)
    ]
    started = []
    counts = [0] * len(Warmed._fields)
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
        source.closed.set()
        over.set()
        for thread in started:
            thread.join()
    return Warmed(*counts)


# ------------------------------------------------------------------ the driver with tasks

async def adrive(store: Any, keys: Iterable[Hashable], fill: Fill, *, concurrency: int = 8,
                 progress: Progress | None = None, rate: float | None = None, log: Log | None = None,
                 now: Callable[[], float] = stopwatch, sleep: Callable[[float], Any] = asyncio.sleep) -> Warmed:
    """Have tasks of this loop do the same. `peek` and `fill` may give awaitables."""
    concurrency, pace = _check("awarm", concurrency, progress, rate)
    total, source, log = _total(keys), iter(keys), log or Nobody()
    counts = [0] * len(Warmed._fields)

    async def one(key: Hashable) -> int:
        if log.is_done(key):
            return SKIPPED
        found = store.peek(key, MISSING)
        if inspect.iscoroutine(found):  # of a store that is asked over a network
            found = await found
        if found is not MISSING:
            return PRESENT
        tries = 0
        while True:
            if (seconds := pace.wait_s(now())) > 0:
                await sleep(seconds)
            try:
                filled = fill(key)
                if inspect.iscoroutine(filled):
                    await filled
            except Exception as error:
                tries += 1
                wait_s = pause_s(error, tries)
                if wait_s is None:
                    return FAILED
            else:
                log.done(key)
                return LOADED
            await sleep(wait_s)

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
