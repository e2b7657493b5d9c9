"""What is known of precomputed results, whoever builds them: how they lie in a store, what a build does, how it stands.

A result lies in its store as (stamp, value), under one key, so that whoever reads finds all of it or nothing. The stamp is
the wall's time when its build began: no result is newer than it says. The store keeps it for as long as it may be
served, so that reading it is the store's one step.

    build begins (stamp)     ttl             ttl + stale_if_error
      |--------- fresh -------|- the last good result -|- gone: a reader loads, or NotBuilt
            ^ every: built again

Threads and tasks drive this alike (builders.py). The one rule: the schedule is touched under the lock, and no
function of the user's runs there.
"""

import functools
import logging
import math
import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from ..._base import early
from ..._base.clock import longest_wait, stopwatch, wall
from ..._base.errors import NotBuilt, OriginBusy
from ..._base.freshness import Freshness
from ..._base.missing import MISSING
from ..._base.turn import Leasing
from ..._core import Ahead
from ...app import Cache, LoadContext, options
from .schedule import BUILDING, READY, Job, Schedule, phase

K = TypeVar("K", bound=Hashable)
Cell = tuple[float, Any]  # a list, where a codec made one of it
_STRAYS = 10_000  # entries that a store of our own has room for, beside those of the keys
_STAGGER, _MOST_STAGGER_S = 0.05, 1.0  # a share of `every`, by which processes that share a cluster do not build at once
_POLL_S, _PATIENCE_S = (0.02, 0.25), 30.0
_log = logging.getLogger("samovar")
at_work: "ContextVar[Any]" = ContextVar("samovar_at_work", default=None)  # the crew whose work this is
_all: "weakref.WeakSet[Results[Any]]" = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """How one key stands.

    built_at: when the build of the stored result began, in seconds of the wall clock; age: seconds since then; None: none
    is known here. failures: builds that failed since; error: the last of them. building: whether it is being built now.
    """

    built_at: float | None
    age: float | None
    failures: int
    error: BaseException | None
    building: bool


@dataclass(frozen=True, slots=True)
class PrecomputeStatus:
    """How precomputed results stand, in this process.

    keys: {key: `KeyStatus`}. worst_age: seconds since the build of the oldest result began; unbuilt: keys without one.
    queued: keys that are due and wait for their turn; building: keys that are being built; failing: keys whose last build
    failed. running: whether a runner is started here. keys_error: why asking for the keys failed last, or None.
    """

    keys: Mapping[Any, KeyStatus]
    worst_age: float
    unbuilt: int
    queued: int
    building: int
    failing: int
    running: bool
    keys_error: BaseException | None


class Elsewhere(Exception):
    """Another process is building it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `precompute` was told, checked."""

    keys: tuple[Hashable, ...] | Callable[[], Any]
    every_s: float
    fresh: Freshness
    concurrency: int
    tags: tuple[str, ...] | Callable[[Any], Any]
    store: Any
    name: str | None  # what its keys begin with, in a store that is shared
    clock: Callable[[], float] | None


class Results(Ahead, Generic[K]):
    """What both faces have in common: everything but the waiting."""

    __wrapped__: Callable[..., Any]

    def __init__(self, fn: Callable[[Any], Any], plan: Plan) -> None:
        self.__wrapped__ = fn
        for name in functools.WRAPPER_ASSIGNMENTS:  # not update_wrapper, whose look at __dict__ makes each use slower
            if hasattr(fn, name):
                setattr(self, name, getattr(fn, name))
        self._fn, self._plan, self.store = fn, plan, plan.store
        self._now: Callable[[], float] = plan.clock or stopwatch
        self._wall: Callable[[], float] = plan.clock or wall
        self._leasing: Leasing | None = getattr(plan.store, "_leasing", None) if isinstance(plan.store, Cache) else None
        is_shared = not isinstance(plan.store, Cache)
        self._schedule = Schedule(
            plan.every_s, plan.concurrency, early.chance.random, jitter=plan.fresh.jitter,
            stagger_s=min(_STAGGER * plan.every_s, _MOST_STAGGER_S) if is_shared and plan.every_s < math.inf else 0.0,
            asks=callable(plan.keys), place_of=self._place, phase_of=None if self._leasing is None else self._phase,
        )
        self._jobs = self._schedule.jobs
        self._get, self._name = plan.store.get, plan.name
        fresh = plan.fresh
        ttl = math.inf if fresh.ttl is None else fresh.ttl
        self._value_s = ttl + fresh.keep  # for so long results are kept
        self._none_s = (ttl if fresh.negative_ttl is None else fresh.negative_ttl) + fresh.keep
        self._kept = Freshness(ttl=max(self._value_s, self._none_s))
        self._change = threading.Condition()
        self._crew: Any = None
        self._longest_s = longest_wait(plan.clock, self)
        _all.add(self)

    # ---------------------------------------------------------------- what it is

    @property
    def running(self) -> bool:
        """Whether its results are being built in this process: between `start` and `stop`."""
        return self._crew is not None

    def __reduce__(self) -> str:
        return str(getattr(self, "__qualname__", None))  # by name, as functions are

    def __repr__(self) -> str:
        with self._change:
            count, queued, building = len(self._jobs), self._schedule.queued, self._schedule.building
            state = "not running" if not self.running else "ending" if self._crew.is_ending else "running"
        return f"<samovar.precompute {self.__wrapped__!r}: {count} keys, {queued} due, {building} being built, {state}>"

    def status(self) -> PrecomputeStatus:
        """How old each result is, what failed, what waits; see `PrecomputeStatus`. O(number of keys); asks no store."""
        with self._change:
            now, schedule = self._now(), self._schedule
            jobs = list(self._jobs.values())
            keys = {job.key: KeyStatus(None if job.at is None else job.stamp, None if job.at is None else now - job.at,
                                       job.failures, job.error, job.state == BUILDING) for job in jobs}
            queued = sum(job.state == READY or (job.state != BUILDING and job.due <= now) for job in jobs)
            return PrecomputeStatus(
                keys=MappingProxyType(keys), worst_age=max((now - job.at for job in jobs if job.at is not None), default=0.0),
                unbuilt=sum(job.at is None for job in jobs), queued=queued, building=schedule.building,
                failing=sum(job.failures > 0 for job in jobs), running=self.running, keys_error=schedule.round_error,
            )

    # ---------------------------------------------------------------- events

    def touch(self, key: K) -> bool:
        """What this key's result is made of has changed: build it again, soon. The stored one is served until then.

        Touches of a key that waits for its turn count as one; one that comes while it is being built has it built once more
        after that; after a failure it waits for its next try. While no runner is started here it is noted, for `start`.
        False for a key that is not known; where `keys` is a callable, it is then asked again.
        """
        with self._change:
            known = self._schedule.touch(key, self._now())
        self.wake()
        return known

    def touch_tags(self, *tags: str) -> int:
        """`touch` for all keys whose results carry one of these tags; how many there are."""
        given = options.tags("touch_tags", tags) or ()
        with self._change:
            count = self._schedule.touch_tags(given, self._now())
        self.wake()
        return count

    def wake(self) -> None:
        """Let those who wait look again."""
        with self._change:
            self._change.notify_all()
            if self._crew is not None:
                self._crew.wake()

    def _pause_s(self, wait_s: float) -> float | None:
        """For how long to sleep, where the next moment is so far away."""
        if self._longest_s is None:
            return None
        return min(wait_s, self._longest_s)

    # ---------------------------------------------------------------- in the store

    def _lease_name(self, place: Hashable) -> bytes:
        assert self._leasing is not None
        return self._leasing.lease.name_of(self._leasing.namespace, place)

    def _phase(self, key: Hashable) -> float:
        return phase(self._lease_name(self._place(key)))

    # ---------------------------------------------------------------- a build, for both drivers

    def _before(self, context: LoadContext, key: Hashable, job: Job | None) -> tuple[float, float, Any]:
        """What a load knows before it calls the function: (now, stamp, what another process built instead)."""
        if job is None:
            if self._schedule.rounds:
                context.do_not_store()  # nobody said that it is a key
        elif job.at is not None and not job.forced and context.has_stale and context.stale[0] > job.stamp:
            context.do_not_store()
            return 0.0, 0.0, context.stale
        tags = self._plan.tags
        if callable(tags):
            tags = options.tags("precompute", tags(key)) or ()
        context.tags = tags
        if job is not None and job.tags != tags:
            with self._change:
                self._schedule.tag(job, tags)
        return self._now(), self._wall(), MISSING

    def _after(self, context: LoadContext, key: Hashable, value: Any, began: float, stamp: float) -> Cell:
        """What is stored for a value."""
        bound_s, took_s = self._none_s if value is None else self._value_s, self._now() - began
        if took_s >= bound_s:
            raise NotBuilt(f"the build of {key!r} took {took_s:.3g} s: longer than its result may be served, {bound_s:.3g} s")
        if bound_s < math.inf or self._kept.ttl != math.inf:
            context.ttl = bound_s - took_s
        return stamp, value

    def _loading(self, key: Hashable, job: Job | None, called: list[bool]) -> Callable[[LoadContext], Any]:
        """The load of a result, which notes in `called` that the function was."""
        def load(context: LoadContext) -> Cell:
            began, stamp, cell = self._before(context, key, job)
            if cell is not MISSING:
                return cell  # type: ignore[no-any-return]
            called.append(True)
            return self._after(context, key, self._fn(key), began, stamp)

        return load

    def _turn(self, job: Job) -> Any:
        """The lease of a key, without waiting; Elsewhere when another process has it."""
        assert self._leasing is not None
        turn = self._leasing.lease.take([self._lease_name(job.place)], waits=False)
        if turn.is_elsewhere:
            now, patience_s = self._now(), getattr(self._leasing.lease, "_patience_s", _PATIENCE_S)
            job.refused = now if job.refused is None else job.refused
            if now - job.refused < patience_s:
                turn.end()
                raise Elsewhere
        return turn

    def _is_first(self, job: Job) -> bool:
        """Whether what is stored already, or somebody else loads, is good enough."""
        return job.at is None and not job.forced

    def _is_kept(self, cell: Cell, found: Any) -> bool:
        """Whether what is stored now is what a build brought, or newer."""
        return found is not MISSING and bool(found[0] >= cell[0])

    def _landed(self, job: Job, cell: Cell, since: float, is_kept: bool) -> None:
        """A build ended well."""
        with self._change:
            now = self._now()
            if is_kept or job.again:
                job.stamp, job.since = cell[0], since
                self._schedule.built(job, now, now - max(0.0, self._wall() - cell[0]))
            else:
                self._schedule.lost(job, now, NotBuilt(f"a result of {job.key!r} was built, and the store keeps none"))
        self.wake()

    def _missed(self, job: Job, error: BaseException) -> None:
        """A build did not end well."""
        with self._change:
            now = self._now()
            if isinstance(error, OriginBusy):
                self._schedule.busy(job, now, max(error.retry_after, _POLL_S[0]))
            elif isinstance(error, Elsewhere):
                waited_s = now - (now if job.refused is None else job.refused)
                self._schedule.busy(job, now, min(max(_POLL_S[0], waited_s / 20), _POLL_S[1]))
            else:
                self._schedule.failed(job, now, error)
        self.wake()
        if job.failures == 1 and not isinstance(error, OriginBusy | Elsewhere):
            _log.warning("building %r ahead failed, and is tried again (said once in a row): %r", job.key, error,
                         exc_info=error)

    def _asked(self, found: Iterable[Hashable]) -> None:
        """The keys are known."""
        keys = listed(found)
        if self._plan.name is None:
            self.store.resize(len(keys) + _STRAYS)
        with self._change:
            self._schedule.keys(keys, self._now())
        self.wake()

    def _not_asked(self, error: BaseException) -> None:
        with self._change:
            self._schedule.round_failed(self._now(), error)
            first = self._schedule.round_failures == 1
        self.wake()
        if first:
            _log.warning("asking for the keys to build ahead failed, and is tried again (said once in a row): %r", error,
                         exc_info=error)

    # ---------------------------------------------------------------- a reader who finds nothing

    def _refuse(self, job: Job | None) -> None:
        """NotBuilt, where the function failed a moment ago and is not called again yet."""
        if job is None:
            return
        with self._change:
            trouble = self._schedule.trouble(job, self._now())
        if trouble is not None:
            raise self._trouble(job.key, trouble.failures, trouble.left_s) from trouble.error

    def _trouble(self, key: Hashable, failures: int, left_s: float) -> NotBuilt:
        again = f"in {left_s:.3g} s" if left_s else "when it is asked for"
        return NotBuilt(f"there is no result of {key!r} that may be served: building it failed {failures} times in a row; "
                        f"it is tried again {again}", failures, left_s)

    def _read(self, job: Job | None, cell: Cell, since: float, mine: bool) -> Any:
        """What a reader's own load brought."""
        if job is not None and mine:
            with self._change:
                now = self._now()
                if job.state != BUILDING and cell[0] > job.stamp:
                    job.stamp, job.since = cell[0], since
                    self._schedule.noted(job, now, now - max(0.0, self._wall() - cell[0]))
        return cell[1]

    def _read_failed(self, key: Hashable, job: Job | None, error: Exception, mine: bool) -> NotBuilt:
        if job is None:
            return self._trouble(key, 1, 0.0)
        with self._change:
            if mine:
                self._schedule.read_failed(job, self._now(), error)
            trouble = self._schedule.trouble(job, self._now())
        self.wake()
        return self._trouble(key, max(1, job.failures), 0.0 if trouble is None else trouble.left_s)

    # ---------------------------------------------------------------- forks

    def _forked(self) -> None:
        self._change, self._crew = threading.Condition(), None
        self._schedule.forget()


def listed(found: Iterable[Hashable]) -> list[Hashable]:
    """The keys that an iterable gives, each once."""
    if isinstance(found, str | bytes):
        raise TypeError(f"precompute: keys must be keys in a list or another iterable, not {found!r}")
    return list(dict.fromkeys(found))


def _forked() -> None:
    for results in list(_all):
        results._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
