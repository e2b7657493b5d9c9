"""What is built next: the decisions behind `precompute`, without a clock, a thread or a store.

The model is a queue at a counter. A job is one key; it waits for its time, becomes ready, is built, and waits again:

    WAITING --due, or touched--> READY --its turn--> BUILDING --built--> WAITING until `every` is over
       ^                                                 |----failed--> WAITING, longer each time
       |                                                 |----touched meanwhile--> READY again

Of what is ready, the most read is built first, by the reads that were counted when it became ready; but what has waited
for longer than `every` goes before all others, so that nobody starves. Each read counts half after each build.

Two runners drive this, one of threads and one of tasks (builders.py): `next` says what to do, and what came of it
is said by `built`, `failed`, `busy` or `released`, by `keys`, `round_failed` or `unasked`. `now` is handed in, chance
too. The caller holds a lock around every call.

The one rule: a touch is never lost. It is forgotten only by a build that began after it and ended well.
"""

import heapq
import math
import zlib
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

from ..._core import AheadJob

WAITING, READY, BUILDING = range(3)  # where a job stands
BUILD, ROUND, WAIT = range(3)  # what to do next: a Job; ask for the keys; seconds to wait
_LONGEST_S = 60.0  # of a backoff where there is no `every`
_Item = tuple[float, float, int, int, "Job"]  # order, due, serial, ticket


class Job(AheadJob):
    """One key, and what is known of its result.

    place: where it lies in the store; reads: how many there were, lately; the core's readers use both. at: when its last
    good build began, by the schedule's clock; stamp: the same by the wall's, as stored; None: none is known. since: the same
    by the stopwatch. forced: whether the build under way must not take what another process built. holds_off: whether
    `error` is the function's, which is not called again for a while. refused: when another process's build first was in
    the way, or None.
    """

    __slots__ = ("again", "at", "began", "due", "error", "failures", "forced", "gone", "holds_off", "key", "refused",
                 "serial", "since", "stamp", "state", "tags", "ticket", "touched")

    def __init__(self, key: Hashable, place: Hashable, serial: int) -> None:
        super().__init__(place)
        self.key, self.serial = key, serial
        self.state, self.due, self.began, self.ticket = WAITING, 0.0, 0.0, 0
        self.touched = self.again = self.forced = self.gone = self.holds_off = False
        self.at: float | None = None
        self.stamp = self.since = -math.inf
        self.refused: float | None = None
        self.failures = 0
        self.error: BaseException | None = None
        self.tags: tuple[str, ...] = ()


class Trouble(NamedTuple):
    """Why a key is not built just now: so many failures in a row, the last of them, and when it is tried again."""

    failures: int
    error: BaseException | None
    left_s: float


class Schedule:
    """Which key is built next, and when.

    every: seconds from the begin of a build to the next; math.inf: only what is touched is built again. concurrency: the
    most builds at once. jitter: the share of `every` of which a random part is taken off. stagger_s: a random part of
    this is added. asks: whether keys are asked for again each round. chance: gives 0 <= u < 1. phase_of: gives where on
    the grid of `every` a key stands, 0 to 1: then processes that share a clock build it at the same moments; None: a key
    is built `every` after it was.
    """

    def __init__(self, every: float, concurrency: int, chance: Callable[[], float], *, jitter: float = 0.0,
                 stagger_s: float = 0.0, asks: bool = False, place_of: Callable[[Hashable], Hashable] = lambda key: key,
                 phase_of: Callable[[Hashable], float] | None = None) -> None:
        self.every, self.concurrency, self.jitter, self.stagger_s = every, concurrency, jitter, stagger_s
        self.late_s = every if every < math.inf else _LONGEST_S
        self._chance, self._asks, self._place_of, self._phase_of = chance, asks, place_of, phase_of
        self.jobs: dict[Hashable, Job] = {}
        self._tagged: dict[str, set[Hashable]] = {}
        self._waiting: list[_Item] = []
        self._ready: list[_Item] = []
        self._oldest: list[_Item] = []
        self._serial = self.queued = self.building = 0
        self.rounds = self.round_failures = 0
        self.round_error: BaseException | None = None
        self._round_due, self._asking, self._ends = -math.inf, False, math.inf  # _ends: from when on nothing becomes due

    # ---------------------------------------------------------------- what to do

    def next(self, now: float) -> tuple[int, Any]:
        """(BUILD, job), (ROUND, None) or (WAIT, seconds). What it hands out is under way from now on. O(log n)."""
        self._ripen(now)
        if not self._asking and self._round_due <= min(now, self._ends):
            self._asking = True
            return ROUND, None
        if self.building < self.concurrency and (job := self._pick(now)) is not None:
            self.queued -= 1
            self.building += 1
            job.ticket += 1
            job.state, job.began = BUILDING, now
            job.forced, job.touched = job.touched, False
            return BUILD, job
        if self._ends < math.inf:
            return WAIT, math.inf
        ends = math.inf if self._asking else self._round_due
        if self.building < self.concurrency and (soonest := self._first(self._waiting)) is not None:
            ends = min(ends, soonest.due)
        return WAIT, max(0.0, ends - now)

    def is_idle(self, now: float) -> bool:
        """Whether nothing is due and nothing under way."""
        self._ripen(now)
        return not self.queued and not self.is_at_work and self._round_due > min(now, self._ends)

    @property
    def is_at_work(self) -> bool:
        """Whether anything is under way: a build, or asking for the keys."""
        return self.building > 0 or self._asking

    def begin(self, now: float) -> None:
        """A runner starts: the keys are asked for."""
        self._ends, self._round_due = math.inf, now

    def drain(self, now: float) -> None:
        """A runner is to end: what is ready now, or touched until the end, is built, keys are asked for if it is time, and
        nothing becomes due any more."""
        self._ripen(now)
        self._ends = now

    def forget(self) -> None:
        """Nobody is at work any more: in the child of a fork, where another thread may have been in the middle of a change.
        So everything but the jobs is made anew."""
        self._asking, self.queued, self.building = False, 0, 0
        self._waiting, self._ready, self._oldest, self._tagged = [], [], [], {}
        for job in list(self.jobs.values()):
            self.tag(job, job.tags)
            if job.state == WAITING:
                self._wait(job, job.due)
                continue
            if job.state == BUILDING:
                job.touched, job.again = job.touched or job.forced or job.again, False
            if job.gone:
                self._drop(job)
            else:
                self._make_ready(job, job.due if job.state == READY else job.began)

    # ---------------------------------------------------------------- what came of a build

    def built(self, job: Job, now: float, at: float) -> None:
        """The result is stored; its build began at `at`."""
        job.forced = False
        if self._over(job):
            self._rest(job, now, at)

    def failed(self, job: Job, now: float, error: BaseException) -> None:
        """There is no new result. It is tried again after a while, each time twice as long, at most `every`."""
        if self._over(job):
            self._later(job, now, error)

    def lost(self, job: Job, now: float, error: BaseException) -> None:
        """There was a result, and the store did not keep it: an invalidation overtook it, or it has no room. That is tried
        again at once; later, when it happens again."""
        if self._over(job):
            self._later(job, now, error, holds_off=False)
            if job.failures == 1:
                self._make_ready(job, now)

    def busy(self, job: Job, now: float, wait_s: float) -> None:
        """It could not begin, which is no failure: the origin is busy, or another process is at it."""
        if self._over(job):
            self._wait(job, now + wait_s)

    def released(self, job: Job, now: float) -> None:
        """It was given up in the middle: it is as ready as before."""
        if self._over(job):
            self._make_ready(job, now)

    def _over(self, job: Job) -> bool:
        """A build is over; whether its key is still wanted."""
        if job.state != BUILDING:  # whoever built it was given up
            return False
        self.building -= 1
        job.touched, job.again = job.touched or job.forced or job.again, False
        if job.gone:
            self._drop(job)
        return not job.gone

    def _rest(self, job: Job, now: float, at: float) -> None:
        job.failures, job.error, job.at, job.refused = 0, None, at, None
        job.reads //= 2
        if job.touched:
            self._make_ready(job, now)
        else:
            self._wait(job, self._due(job, at))

    def _later(self, job: Job, now: float, error: BaseException, *, holds_off: bool = True) -> None:
        job.failures += 1
        job.error, job.holds_off, job.refused = error, holds_off, None
        self._wait(job, now + self._backoff(job.failures))

    def _backoff(self, failures: int) -> float:
        first = min(1.0, self.late_s / 10)
        longest = min(self.late_s, first * 2.0 ** min(failures - 1, 60))
        return longest * (1.0 - 0.5 * self._chance())

    def _due(self, job: Job, at: float) -> float:
        if self.every == math.inf:
            return math.inf
        if self._phase_of is not None:
            phase = self._phase_of(job.key)
            return (math.floor(at / self.every - phase) + 1 + phase) * self.every
        return at + self.every * (1.0 - self.jitter * self._chance()) + self.stagger_s * self._chance()

    # ---------------------------------------------------------------- what happens besides

    def touch(self, key: Hashable, now: float) -> bool:
        """Build it soon, and not before what is asked for now; whether the key is known. Within a backoff it waits."""
        job = self.jobs.get(key)
        if job is None or job.gone:
            if self._asks:
                self._round_due = min(self._round_due, now)
            return False
        if job.state == BUILDING:
            job.again = True
        else:
            job.touched = True
            if job.state == WAITING and not job.failures:
                self._make_ready(job, now)
        return True

    def touch_tags(self, tags: Iterable[str], now: float) -> int:
        """The same for all keys that carry one of these tags; how many."""
        found = {key for tag in tags for key in self._tagged.get(tag, ())}
        return sum(self.touch(key, now) for key in found)

    def tag(self, job: Job, tags: tuple[str, ...]) -> None:
        """The tags of a job, known before its build begins to read. Of one that is gone none are kept: if its key comes back,
        it is built again."""
        if job.gone:
            tags = ()
        for tag in job.tags:
            if (keys := self._tagged.get(tag)) is not None:
                keys.discard(job.key)
                if not keys:
                    del self._tagged[tag]
        job.tags = tags
        for tag in tags:
            self._tagged.setdefault(tag, set()).add(job.key)

    def noted(self, job: Job, now: float, at: float) -> None:
        """A reader found nothing, and stored a result himself."""
        if job.state != BUILDING and not job.gone and (job.at is None or at > job.at):
            self._leave(job)
            self._rest(job, now, at)

    def read_failed(self, job: Job, now: float, error: BaseException) -> None:
        """A reader found nothing, and the function failed him."""
        if job.state != BUILDING and not job.gone:
            self._leave(job)
            self._later(job, now, error)

    def trouble(self, job: Job, now: float) -> Trouble | None:
        """Why the function shall not be called for a key just now; None where it may be."""
        if job.state == WAITING and job.failures and job.holds_off and job.due > now:
            return Trouble(job.failures, job.error, job.due - now)
        return None

    # ---------------------------------------------------------------- keys

    def keys(self, found: Iterable[Hashable], now: float) -> None:
        """These are all the keys: new ones are ready, those that are gone leave. In this order they are built at first."""
        self._asking = False
        self.rounds += 1
        self.round_failures, self.round_error = 0, None
        self._round_due = now + self.every if self._asks else math.inf
        wanted = dict.fromkeys(found)
        for key in [key for key in self.jobs if key not in wanted]:
            job = self.jobs[key]
            if job.state == BUILDING:
                job.gone = True  # it leaves when it is built
            else:
                self._leave(job)
                self._drop(job)
        for key in wanted:
            known = self.jobs.get(key)
            if known is None:
                self._serial += 1
                known = self.jobs[key] = Job(key, self._place_of(key), self._serial)
                self._make_ready(known, now)
            elif known.gone:
                known.gone, known.again = False, True

    def round_failed(self, now: float, error: BaseException) -> None:
        """Asking for the keys failed: those that are known stay."""
        self._asking = False
        self.round_failures += 1
        self.round_error = error
        self._round_due = now + self._backoff(self.round_failures)

    def unasked(self) -> None:
        """Asking for the keys was given up in the middle: it is as due as before."""
        self._asking = False

    def _drop(self, job: Job) -> None:
        self.tag(job, ())
        del self.jobs[job.key]
        job.gone = True  # for readers who still have it

    # ---------------------------------------------------------------- the queues
    # Each is a heap whose entries are dead when their job has moved on, which its ticket says.

    def _wait(self, job: Job, due: float) -> None:
        job.state, job.due = WAITING, due
        job.ticket += 1
        if due < math.inf:
            self._push(self._waiting, (due, due, job.serial, job.ticket, job))

    def _make_ready(self, job: Job, due: float) -> None:
        job.state, job.due = READY, due
        job.ticket += 1
        self.queued += 1
        self._push(self._ready, (-job.reads, due, job.serial, job.ticket, job))
        self._push(self._oldest, (due, due, job.serial, job.ticket, job))

    def _leave(self, job: Job) -> None:
        """Take a job out of the queue that it stands in."""
        job.ticket += 1
        self.queued -= job.state == READY

    def _ripen(self, now: float) -> None:
        while self._ends == math.inf and (job := self._first(self._waiting)) is not None and job.due <= now:
            heapq.heappop(self._waiting)
            self._make_ready(job, job.due)

    def _pick(self, now: float) -> Job | None:
        oldest = self._first(self._oldest)
        if oldest is not None and oldest.due + self.late_s <= now:
            return oldest
        return self._first(self._ready)

    def _first(self, heap: list[_Item]) -> Job | None:
        while heap:
            *_, ticket, job = heap[0]
            if ticket == job.ticket:
                return job
            heapq.heappop(heap)
        return None

    def _push(self, heap: list[_Item], item: _Item) -> None:
        if len(heap) > 64 + 2 * len(self.jobs):  # most of them are dead
            heap[:] = [one for one in heap if one[3] == one[4].ticket]
            heapq.heapify(heap)
        heapq.heappush(heap, item)


def phase(name: bytes) -> float:
    """Where on a grid a name stands, 0 to 1, the same in every process."""
    return zlib.crc32(name) / 2**32
