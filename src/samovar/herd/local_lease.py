"""`FileLease`: one load of a key at a time over the processes of one host, without a server.

A name is a number of 62 bits; whoever holds the kernel's lock of that number (file_locks) is at work, and the kernel lets
go when a holder dies, however it dies. Nobody sleeps in the kernel: who waits tries again and again, after 1 ms, 2 ms, 4
ms, up to 20 ms, each shortened by chance. One generator decides (`_taking`), and is driven by a thread that sleeps or a
task that does.

Several names are taken in the order of their numbers, so that two who want the same never wait for each other. Other
circles end by `patience`: a lease is for efficiency, and what cannot be had in time, or at all, is done without.
"""

import asyncio
import contextlib
import logging
import math
import os
import random
import threading
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Hashable, Sequence
from contextlib import closing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from .._base.clock import pause, stopwatch
from .._base.contracts import Offer
from .._base.freshness import Duration, Freshness, seconds
from . import naming
from .directory import Directory
from .file_locks import FileLocks, LockFile
from .handover import DAMAGED, FOUND, NO_ROOM, NOT_PLAIN, Handover

V = TypeVar("V")
Path = str | os.PathLike[str]

_FIRST_S, _LONGEST_S = 0.001, 0.020
_MOST_SEEN = 10_000
_log = logging.getLogger("samovar")
_holding: ContextVar["tuple[weakref.ref[Held], ...]"] = ContextVar("samovar_holding", default=())
_leases: "weakref.WeakSet[FileLease]" = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class LeaseStats:
    """What happened at a `FileLease`, in this process.

    taken: names whose lease was had; waited: those for which another had it first; given_up: those that took longer than
        was waited for; errors: times when a file or the directory would not do, and a load ran without.
    offered, found: results handed over to others, and got from them. not_plain: those that were no plain data, and
        no_room: those for which max_bytes left no room, and were not handed over. damaged: files that were none of ours,
        or spoilt.
    """

    taken: int = 0
    waited: int = 0
    given_up: int = 0
    errors: int = 0
    offered: int = 0
    found: int = 0
    not_plain: int = 0
    no_room: int = 0
    damaged: int = 0


class FileLease:
    """One load of a key at a time over the processes of one host: `Cache(lease=...)`, `memoize(lease=...)`.

    Workers that share a cold key make one load: one works, the others wait, and get its result handed over if that is
    wanted (`shared`); else each loads in turn. A worker that dies, by whatever signal, holds nobody up: the kernel lets
    go of what it held. It is for efficiency, never for correctness: what cannot be had in `patience` seconds, or because
    a file cannot be written, is loaded without, which is counted (`stats`) and logged once.

    Promised for one host and a local file system, tmpfs best; not over NFS, and not in containers that share no
    directory. Any number of these in one process, on one directory or several, exclude each other too; all threads and
    event loops may share one. The child of a fork holds nothing of its parent's.

    directory: where the lock files lie, made (0700) when missing. One that belongs to somebody else, is writable by
        everybody, or is a symbolic link is refused.
    shared: where results are handed over: True for the same directory, or a path of its own; None: they are not. What is
        not plain data (`Cache.save` says what that is) is not handed over.
    keep: how long a result can be taken, at most as long as it is fresh itself; seconds, a timedelta or text.
    max_bytes: how much all results may take on the disk, about, and four times the most for one.
    patience: how long a load waits for another process before it goes ahead without.
    key: called with a key, returns plain data that stands for it in the name of its lease: for keys that are none.

    Raises TypeError or ValueError that names the argument when one is not what it must be, and OSError when the
    directory cannot be made or is refused.

    >>> import tempfile
    >>> lease = FileLease(tempfile.mkdtemp(), shared=True)
    >>> with lease.hold("nightly report") as held:
    ...     bool(held)
    True
    >>> lease.load("prices", lambda: {"tea": 42}, ttl="1m")
    {'tea': 42}
    """

    def __init__(
        self, directory: Path, *, shared: Path | bool | None = None, keep: Duration = 5.0, max_bytes: int = 64 * 2**20,
        patience: Duration = 30.0, key: Callable[[Any], Any] | None = None,
    ) -> None:
        place = _path("directory", directory)
        where = _shared(shared)
        keep_s = seconds(keep, "FileLease: keep", positive=True)
        if not keep_s <= 3600:
            raise ValueError(f"FileLease: keep must be an hour at most, not {keep!r}: it is a hand-over, not a cache")
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int):
            raise TypeError(f"FileLease: max_bytes must be an integer of 1024 or more, not {max_bytes!r}")
        if max_bytes < 1024:
            raise ValueError(f"FileLease: max_bytes must be an integer of 1024 or more, not {max_bytes!r}")
        self._patience_s = seconds(patience, "FileLease: patience")
        if key is not None and not callable(key):
            raise TypeError(f"FileLease: key must be callable or None, not {key!r}; it is called with a key")
        self._key = key
        home = Directory(place)
        home.make()
        self._place = home.place()
        self._locks = FileLocks(home)
        self._handover: Handover | None = None
        if where is not None:
            there = home if where is True else Directory(where)
            there.make()
            self._handover = Handover(there, keep_s, max_bytes)
        self._counts: Counter[str] = Counter()
        self._seen: dict[bytes, float] = {}  # when the load began that this process offered or got last
        self._told = False
        self._forget()
        _leases.add(self)

    def _forget(self) -> None:
        """Hold nothing: at first, and in the child of a fork, where nothing that the parent holds may live on."""
        held: dict[int, LockFile] = getattr(self, "_held", {})
        self._change = threading.RLock()  # re-entrant: a finalizer may come at any time, and ask for a key
        self._held: dict[int, LockFile] = {}
        self._fork = object()
        self._locks.forget(list(held.values()))
        self._locks.directory.close()
        if self._handover is not None:
            self._handover.directory.close()
            self._handover.forget()

    def __repr__(self) -> str:
        shared = "" if self._handover is None else f", shared={self._handover.directory.path!r}"
        return f"samovar.FileLease({self._locks.directory.path!r}{shared})"

    def stats(self) -> LeaseStats:
        """What happened here so far, counted, in this process."""
        with self._change:
            return LeaseStats(**self._counts)

    # ---------------------------------------------------------------- alone

    def hold(self, name: Hashable, *, timeout: Duration | None = None) -> "Holding":
        """Be the only one of this name in a block: `with lease.hold(name) as held:`, or `async with`.

        `held` is true when the lease was had, and false when it could not be had in time or at all: the block runs all the
        same, and may look. A block within a block of the same name has it already.

        name: plain data. timeout: how long to wait, 0 not at all; left out, `patience`.
        """
        wait_s = self._patience_s if timeout is None else seconds(timeout, "hold: timeout")
        return Holding(self, self.name_of("", name), wait_s)

    def load(self, name: Hashable, fn: Callable[[], V], *, ttl: Duration | None = None) -> V:
        """What fn() returns, called by one process at a time; or, with `shared`, what it has just returned elsewhere.

        name: plain data. ttl: for how long a result is good that another made; left out, the lease's `keep`, which is
        also the most. Nothing is handed over when fn raises, and the next in line tries.
        """
        called, fresh = self._asked("load", name, fn, ttl)
        turn = self.take([called])
        try:
            offer = turn.look(called)
            if offer is not None:
                given: V = offer.value
                return given
            begun = stopwatch()
            value = fn()
            turn.offer(called, Offer(value, begun, stopwatch() - begun, fresh))
            return value
        finally:
            turn.end()

    async def aload(self, name: Hashable, fn: Callable[[], Awaitable[V]], *, ttl: Duration | None = None) -> V:
        """The same for a coroutine: `fn` is `async def`."""
        called, fresh = self._asked("aload", name, fn, ttl)
        turn = await self.atake([called])
        try:
            offer = turn.look(called)
            if offer is not None:
                given: V = offer.value
                return given
            begun = stopwatch()
            value = await fn()
            turn.offer(called, Offer(value, begun, stopwatch() - begun, fresh))
            return value
        finally:
            turn.end()

    def _asked(self, who: str, name: Hashable, fn: Any, ttl: Duration | None) -> tuple[bytes, Freshness | None]:
        if not callable(fn):
            raise TypeError(f"{who}: fn must be callable, not {fn!r}")
        return self.name_of("", name), Freshness.of(ttl, None, who=who)

    # ---------------------------------------------------------------- what loads ask (_base/contracts.py)

    def name_of(self, namespace: str, key: Hashable) -> bytes:
        """The name of a key, the same in every process. TypeError, naming its type, for one that is not plain data."""
        return naming.name_of(namespace, key, self._key)

    def take(self, names: Sequence[bytes], *, waits: bool = True, wait_s: float | None = None) -> "Held":
        """A turn for these names; it comes without the lease of those that cannot be had. wait_s: instead of
        `patience`."""
        turn, limit_s = Held(self), self._patience_s if wait_s is None else wait_s
        with closing(self._taking(turn, names, limit_s if waits else 0.0)) as steps:
            for sleep_s in steps:
                pause(sleep_s)
        return turn.enter()

    async def atake(self, names: Sequence[bytes], *, wait_s: float | None = None) -> "Held":
        """The same for a task of an asyncio loop."""
        turn = Held(self)
        with closing(self._taking(turn, names, self._patience_s if wait_s is None else wait_s)) as steps:
            for sleep_s in steps:
                await asyncio.sleep(sleep_s)
        return turn.enter()

    def _taking(self, turn: "Held", names: Sequence[bytes], wait_s: float) -> Generator[float, None, None]:
        """Yield how long to sleep, again and again, until the turn holds as much as can be had."""
        around = {number for one in _holding.get() if (held := one()) is not None and held.is_live(self._place)
                  for number in held.numbers}
        ends = stopwatch() + wait_s
        try:
            files = self._locks.kind.files  # numbers that share a file may wait for each other: all take files in one order
            for number in sorted(set(map(naming.number_of, names)) - around, key=lambda number: (number % files, number)):
                sleep_s, is_first = _FIRST_S, True
                while not (is_had := self._try(number, turn)):
                    left_s = ends - stopwatch()
                    if is_had is None or left_s <= 0:
                        break
                    self._count(waited=is_first)
                    yield min(left_s, sleep_s * (1.0 - 0.5 * random.random()))
                    sleep_s, is_first = min(2 * sleep_s, _LONGEST_S), False
                self._count(taken=bool(is_had), given_up=is_had is False)
                turn.is_whole &= bool(is_had)
                turn.is_elsewhere |= is_had is False
        except BaseException:  # interrupted, cancelled or thrown away while it waited
            turn.end()
            raise

    def _try(self, number: int, turn: "Held") -> bool | None:
        """Whether the lease of this number is held from now on; None when nobody can say."""
        with self._change:
            if number in self._held:  # another thread or task of this process
                return False
            try:
                file = self._locks.lock(number)
            except OSError as error:
                self._trouble(error)
                return None
            if file is None:
                return False
            self._held[number] = turn.numbers[number] = file
            return True

    def _let_go(self, turn: "Held") -> None:
        with self._change:
            if turn.fork is self._fork:  # not in a child: its parent still holds them
                for number, file in turn.numbers.items():
                    self._held.pop(number, None)
                    self._locks.unlock(file, number)

    def _count(self, **events: int) -> None:
        with self._change:
            for event, times in events.items():
                self._counts[event] += times

    def _trouble(self, error: OSError) -> None:
        self._count(errors=1)
        if not self._told:
            self._told = True
            _log.warning("%r does not work, and loads run without it: %s (said once)", self, error)

    # ---------------------------------------------------------------- handing over

    def _look(self, name: bytes, since: float, once: bool) -> Offer | None:
        if self._handover is None:
            return None
        if once:
            since = max(since, self._seen.get(name, -math.inf))
        try:
            what, offer = self._handover.look(name, since)
        except OSError as error:
            self._trouble(error)
            return None
        self._count(found=what == FOUND, damaged=what == DAMAGED)
        if offer is not None:
            self._note(name, offer)
        return offer

    def _offer(self, name: bytes, offer: Offer) -> None:
        if self._handover is None:
            return
        self._note(name, offer)
        try:
            what = self._handover.offer(name, offer)
        except OSError as error:
            self._trouble(error)
        else:
            self._count(offered=what not in (NOT_PLAIN, NO_ROOM), not_plain=what == NOT_PLAIN, no_room=what == NO_ROOM)

    def _note(self, name: bytes, offer: Offer) -> None:
        with self._change:
            self._seen.pop(name, None)
            if len(self._seen) >= _MOST_SEEN:
                del self._seen[next(iter(self._seen))]  # the oldest: at worst a result is taken twice while it is good
            self._seen[name] = offer.begun


class Held:
    """A turn: the names that a load, or a block, holds. True when it holds all that it asked for."""

    __slots__ = ("__weakref__", "_ended", "_lease", "_token", "fork", "is_elsewhere", "is_whole", "numbers")

    def __init__(self, lease: FileLease) -> None:
        self._lease, self.fork = lease, lease._fork
        self.numbers: dict[int, LockFile] = {}
        self.is_whole, self.is_elsewhere = True, False
        self._ended = False
        self._token: Any = None

    def __del__(self) -> None:
        self.end()  # interrupted between being given and being kept

    def __bool__(self) -> bool:
        return self.is_whole and not self._ended and self.fork is self._lease._fork

    def is_live(self, place: tuple[int, int]) -> bool:
        """Whether it still holds names of this directory."""
        return not self._ended and self._lease._place == place and self.fork is self._lease._fork

    def enter(self) -> "Held":
        """From now on this context holds it: what is asked for within it is not waited for."""
        self._token = _holding.set((*_holding.get(), weakref.ref(self)))
        return self

    def look(self, name: bytes, *, since: float = -math.inf, once: bool = False) -> Offer | None:
        return self._lease._look(name, since, once)

    def offer(self, name: bytes, offer: Offer) -> None:
        self._lease._offer(name, offer)

    def end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._lease._let_go(self)
        token, self._token = self._token, None
        if token is not None:
            with contextlib.suppress(ValueError):  # ended elsewhere, or thrown away with its loop
                _holding.reset(token)


class Holding:
    """What `FileLease.hold` returns: a block, blocking or awaited."""

    __slots__ = ("_lease", "_name", "_turns", "_wait_s")

    def __init__(self, lease: FileLease, name: bytes, wait_s: float) -> None:
        self._lease, self._name, self._wait_s = lease, name, wait_s
        self._turns: list[Held] = []

    def __enter__(self) -> Held:
        turn = self._lease.take([self._name], wait_s=self._wait_s)
        self._turns.append(turn)
        return turn

    def __exit__(self, *error: object) -> None:
        self._turns.pop().end()

    async def __aenter__(self) -> Held:
        turn = await self._lease.atake([self._name], wait_s=self._wait_s)
        self._turns.append(turn)
        return turn

    async def __aexit__(self, *error: object) -> None:
        self._turns.pop().end()


def _path(name: str, value: Path) -> str:
    try:
        given = os.fsdecode(value)
    except TypeError:
        raise TypeError(f"FileLease: {name} must be a str or os.PathLike, not {value!r}") from None
    if not given or "\0" in given:
        raise ValueError(f"FileLease: {name} must be the path of a directory, not {value!r}")
    return os.path.abspath(given)  # the process may go elsewhere


def _shared(value: Path | bool | None) -> Any:
    if value is None or value is False:
        return None
    return True if value is True else _path("shared", value)


def _forked() -> None:
    for lease in list(_leases):
        lease._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
