"""The exchange: every request comes in here, from whichever front, and its answer leaves.

    quick    a fresh hit, whole, from memory: no waiting, no task (quick.py). A front asks this first
    serve    everything else

What may be done is decided by `rules`; this room looks things up, waits, asks (fetching), and sends (sending). Requests for
one key and variant that find nothing wait for one question to the origin (flights), and are sent the body while it comes
in, as soon as the fields say that it is for them.

The one rule: a request that waited asks the rules anew, with what is there then. Nothing is promised to it beforehand.
"""

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ..._base.clock import stopwatch
from ..._base.contracts import Gate, check_gate
from ..._base.freshness import Duration, seconds
from ...app.options import whole
from ..contracts import Origin, OriginFailed, Request, Sender, Vault
from ..rules import (
    Action,
    Headers,
    Outcome,
    Policy,
    Result,
    Verdict,
    cache_key,
    host_of,
    on_failure,
    on_request,
)
from ..wish import Wish, Withdrawn
from .body import Space
from .fetching import Fetcher
from .flights import Crowd, Flight
from .forwarding import Hop
from .got import Got, Limits
from .numbers import EdgeStats, Numbers
from .purging import keys_of
from .quick import Short
from .sending import Out

_log = logging.getLogger("samovar")
MIB = 1 << 20
_LONGEST_S = 1e8  # what timers of event loops take
_FAILURES = 8  # in a row, that one request waits for: a crowd is woken that often, not once for each of it
_CLOSING_S = 5.0  # for which closing waits for what it ends


def _ends(action: Action) -> bool:
    """Whether the origin is not needed."""
    return action is Action.SERVE or action is Action.SERVE_AND_REVALIDATE


class Exchange(Short):
    """One cache: a policy, a vault, and the origin behind it.

    name: of this hop, for Via and CDN-Loop; None, in an application's own process: nothing is added, no loop is looked
        for. The same for all workers of one proxy, and no other's.
    budget: an OriginBudget: how much the origin may be asked at once.
    max_body: the largest body, in bytes, that is gathered in memory to be stored. memory: of all bodies on their way in; and
        as much of those on their way out that are in no store (loans.py).
    spill_dir: a folder for larger ones, None for none; spill: bytes that they may take there; one may take half.
    max_waiters: requests that may wait for others' answers; what is beyond is turned away with 503. 0: nobody waits, and
        everybody asks the origin. wait: for how long one waits, after which it is answered with what is stale, or 504.
    head, gap, fill: for how long the fields of an answer, each further part of its body, and the whole of a body to be
        stored may take. patience: for how long a client may take nothing. lag: for how long a slow client may hold up
        others that read the same body, where it is not kept, or keep memory that others need. Durations.
    max_renewals: revalidations in the background at once; beyond, the next stale hit begins one.
    numbers: counters to share. wall: seconds since 1970, never running back.

    It belongs to no event loop; what waits for each other does so within one.
    Raises TypeError or ValueError that names the argument when one of these is not what it must be.
    """

    def __init__(
        self,
        policy: Policy,
        vault: Vault,
        origin: Origin,
        *,
        name: str | None = None,
        budget: Gate | None = None,
        max_body: int = 8 * MIB,
        memory: int = 64 * MIB,
        spill_dir: str | None = None,
        spill: int = 1024 * MIB,
        max_waiters: int = 20_000,
        wait: Duration = 30.0,
        head: Duration = 30.0,
        gap: Duration = 30.0,
        fill: Duration = 600.0,
        lag: Duration = 5.0,
        patience: Duration = 120.0,
        max_renewals: int = 256,
        numbers: Numbers | None = None,
        wall: Callable[[], float] | None = None,
    ) -> None:
        who = "Exchange"
        head_s, gap_s, fill_s, lag_s, self._patience_s = (
            min(seconds(value, f"{who}: {word}", positive=True), _LONGEST_S) for word, value in
            (("head", head), ("gap", gap), ("fill", fill), ("lag", lag), ("patience", patience)))
        limits = Limits(head_s, gap_s, fill_s, lag_s, whole(who, "max_body", max_body, least=0),
                        whole(who, "memory", memory, least=0))
        super().__init__(policy, vault, Numbers() if numbers is None else numbers, wall)
        self.origin = origin
        self._hop = None if name is None else Hop(name)
        self._space = Space(spill_dir, whole(who, "spill", spill, least=0))
        self._max_waiters = whole(who, "max_waiters", max_waiters, least=0)
        self._max_renewals = whole(who, "max_renewals", max_renewals, least=0)
        self._wait_s = min(seconds(wait, f"{who}: wait"), _LONGEST_S)
        self._limits = limits
        self._fetcher = Fetcher(policy, vault, origin, self.numbers, limits, self._space, self._wall,
                                check_gate(who, budget), self._hop)
        self._renewing: set[Any] = set()
        self._crowds: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Crowd] = weakref.WeakKeyDictionary()
        self._latest: tuple[Any, Crowd] | None = None

    # ---------------------------------------------------------------- the long way

    async def serve(self, request: Request, sender: Sender, more: bytes = b"") -> None:
        """Answer one request, whatever it takes; errors are answers too. A client that left ends it quietly.

        Raises what an origin in this process raised, where nothing could be answered in its place.
        """
        out = Out(sender, self.policy, self.numbers, self._patience_s, self._fetcher.loans)
        try:
            if self._hop is not None and (own := self._hop.refuse(request)) is not None:
                self.numbers.loops += own.status == 508
                self.numbers.others += own.status != 508
                await out.own(own)
                return
            host = host_of(request.headers)
            key = None if host is None else cache_key(request.scheme, host, request.target, request.headers, self._keyed)
            await self._decide(request, sender, out, None if key is None else key + more)
        except ConnectionError:
            self.numbers.aborted += 1
        except OriginFailed as error:
            self.numbers.errors += 1
            if error.raised is not None:
                raise error.raised from None

    async def _decide(self, request: Request, sender: Sender, out: Out, key: bytes | None) -> None:
        began, has_waited, crowd = stopwatch(), False, self._crowd()
        flight: Flight | None = None
        lost = 0  # flights that one waited for and that brought nothing
        anew, shared = False, self.vault.waits
        while True:
            stored = None if key is None else await crowd.find(self.vault, key, anew=anew)
            now = self._wall()
            verdict = on_request(self.policy, key, request.method, request.headers, stored, now)
            action = verdict.action
            if stored is not None and self.vault.lags and not anew and not _ends(action):
                anew = True  # a near cache may lag behind: others may have stored what this one lacks
                continue
            if _ends(action):
                if anew and key is not None:
                    self.vault.drop_near(key)  # it lacked what is there, and would be looked behind each time
                self._count(verdict, has_waited)
                if action is Action.SERVE_AND_REVALIDATE:
                    self._renew(request, verdict, crowd)
                await out.stored(verdict, collapsed=has_waited and verdict.said is None)
                return
            if action is Action.FAIL:
                self.numbers.errors += 1
                self.numbers.others += 1
                await out.stored(verdict)
                return
            if flight is not None and flight.failed and verdict.entry is not None and await self._stand_in(verdict, now, out):
                return
            ready = None if key is None or not verdict.collapse or shared else self._ready(crowd, key, request, now)
            if ready is not None:
                self.numbers.collapsed += 1
                await out.joined(*ready)
                return
            if key is None or not verdict.collapse or not self._max_waiters or lost >= _FAILURES or (
                    flight is not None and flight.alone) or verdict.reason == "request" or (
                    stored is not None and now < stored.mark) or crowd.is_alone(key):
                await self._finish(await self._fetcher.fetch(request, verdict, sender.inform), verdict, out)
                return
            flight = crowd.pending(key, request.headers, stored, filling=shared)
            if flight is None or (flight.fence is not None and not self.vault.stands(key, flight.fence, ())):
                await self._lead(request, verdict, sender, out, crowd)
                return
            if self.numbers.waiting >= self._max_waiters:
                self.numbers.busy += 1
                await self._give_up(out, verdict, 503, "busy")
                return
            has_waited = True
            anew = False
            if not await self._wait(flight, began, request, crowd):
                await self._give_up(out, verdict, 504, "collapsed-timeout")
                return
            lost += flight.is_over and flight.entry is None
            if lost >= _FAILURES and flight.failed:
                await self._give_up(out, verdict, 502, "collapsed-failure")
                return

    def _ready(self, crowd: Crowd, key: bytes, request: Request, now: float) -> tuple[Verdict, Any] | None:
        """The answer that is on its way in and is for this request, if there is one."""
        for flight in crowd.rooms.get(key, ()):
            entry, filling = flight.entry, flight.filling
            if entry is None or filling is None or not filling.keeps or filling.error is not None:
                continue
            verdict = on_request(self.policy, key, request.method, request.headers, flight.variants, now)
            if verdict.action is Action.SERVE and verdict.entry is entry and self.vault.stands(key, flight.fence, entry.tags):
                return verdict, filling
        return None

    async def _wait(self, flight: Flight, began: float, request: Request, crowd: Crowd) -> bool:
        left = self._wait_s - (stopwatch() - began)
        if left <= 0:
            return False
        if request.wish.gone:
            raise Withdrawn("the client left")
        self.numbers.waiting += 1
        parts = crowd.joins(flight, request.wish)
        try:
            with request.wish.in_line():
                return await flight.news(left)
        finally:
            self.numbers.waiting -= 1
            parts()

    async def _stand_in(self, verdict: Verdict, now: float, out: Out) -> bool:
        """Serve what is stale, where that may be in place of the answer that did not come; whether it was."""
        outcome = on_failure(self.policy, verdict, now, timed_out=True)
        if outcome.result is not Result.SERVE or outcome.verdict is None:
            return False
        self.numbers.stale_hits += 1
        await out.stored(outcome.verdict)
        return True

    async def _give_up(self, out: Out, verdict: Verdict, status: int, detail: str) -> None:
        """Nothing came in time: what is stale, where that may be, or an error."""
        if await self._stand_in(verdict, self._wall(), out):
            return
        self.numbers.errors += 1
        self.numbers.others += status != 503
        await out.error(status, verdict.reason or "miss", detail=detail, retry_after_s=1.0)

    # ---------------------------------------------------------------- flights

    async def _lead(self, request: Request, verdict: Verdict, sender: Sender, out: Out, crowd: Crowd) -> None:
        flight = self._begin(request, verdict, crowd, inform=sender.inform)
        try:
            got = await asyncio.shield(flight.result)
        except BaseException:  # who leads has left: the flight goes on, for the others and for the store
            flight.result.add_done_callback(self._orphaned)
            raise
        await self._finish(got, verdict, out)

    def _begin(self, request: Request, verdict: Verdict, crowd: Crowd, *, inform: Any = None, waits: bool = True) -> Flight:
        flight = Flight(verdict.key, request.headers, asyncio.get_running_loop().create_future())
        crowd.enter(flight)
        parts = crowd.joins(flight, request.wish if waits else Wish())  # what is renewed in the background is always wanted
        request = replace(request, wish=flight.wish)
        task = self._fetcher.start(self._fly(flight, request, verdict, crowd, inform, waits))
        task.add_done_callback(lambda _: self._landed(flight, verdict, crowd, parts))
        return flight

    async def _fly(self, flight: Flight, request: Request, verdict: Verdict, crowd: Crowd, inform: Any,
                   waits: bool) -> None:
        def pass_on(status: int, headers: Headers) -> None:
            try:
                inform(status, headers)
            except ConnectionError:
                pass

        try:
            got = await self._fetcher.fetch(request, verdict, None if inform is None else pass_on, flight, crowd, waits=waits)
        except Exception as error:
            crowd.leave(flight)
            flight.result.set_exception(error)
            return
        if got.reader is None:
            crowd.leave(flight)
        flight.result.set_result(got)

    def _landed(self, flight: Flight, verdict: Verdict, crowd: Crowd, parts: Callable[[], None]) -> None:
        """A flight's task is over; one that was cancelled, maybe before it began, leaves nobody waiting."""
        parts()
        if not flight.result.done():
            crowd.leave(flight)
            flight.result.set_result(Got(Outcome(Result.FAIL, 503), verdict, error=OriginFailed("this edge was closed")))

    def _orphaned(self, result: "asyncio.Future[Got]") -> None:
        """Nobody takes what a flight brought."""
        error = result.exception()
        if isinstance(error, Withdrawn):
            return
        if error is not None:
            _log.error("a question to the origin failed: %r", error, exc_info=error)
        else:
            got = result.result()
            if got.error is not None and got.error.raised is not None:
                _log.error("an application failed, asked in the background: %r", got.error.raised, exc_info=got.error.raised)
            self._fetcher.start(got.close())

    def _renew(self, request: Request, verdict: Verdict, crowd: Crowd) -> None:
        """Revalidate in the background, once for each entry."""
        entry = verdict.entry
        assert entry is not None
        name = entry.key, entry.vary, entry.varied
        if name in self._renewing or len(self._renewing) >= self._max_renewals:
            return
        self._renewing.add(name)
        self.numbers.renewals += 1
        if verdict.method == "HEAD":  # its answer would say that what is stored is good, and bring nothing where it is not
            verdict = Verdict(verdict.action, entry, verdict.age, verdict.key, "GET", verdict.headers, asked=verdict.asked)
        flight = self._begin(request, verdict, crowd, waits=False)
        flight.result.add_done_callback(self._orphaned)
        flight.ended = lambda: self._renewing.discard(name)  # when it is stored: until then what is stale is still served

    # ---------------------------------------------------------------- answers

    async def _finish(self, got: Got, verdict: Verdict, out: Out) -> None:
        """Send what came of asking the origin."""
        outcome, numbers = got.outcome, self.numbers
        numbers.heat(verdict.key)
        try:
            if outcome.result is Result.SERVE and outcome.verdict is not None:
                if got.is_elsewhere:
                    numbers.collapsed += 1
                    await out.stored(outcome.verdict, collapsed=True)
                    return
                is_stale = got.error is not None or got.busy_s is not None or outcome.entry is None
                numbers.stale_hits += is_stale
                numbers.revalidated += not is_stale
                if got.error is not None and got.error.raised is not None:
                    _log.error("stale is served, for the application failed: %r", got.error.raised, exc_info=got.error.raised)
                await out.stored(outcome.verdict, once=outcome.once)
            elif outcome.result is Result.FAIL:
                await self._fail(got, verdict, out)
            elif got.reader is not None:
                numbers.misses += 1
                silent = outcome.status in (204, 304)
                reason = got.reason if outcome.status != 304 else b"Not Modified"
                await out.filling(outcome.status, reason, outcome.headers, None if silent else got.reader, outcome.entry)
            else:
                concerns = verdict.method in ("GET", "HEAD") and verdict.may_store
                numbers.misses += concerns
                numbers.passes += not concerns
                silent = verdict.method == "HEAD" or outcome.status in (204, 304)
                await out.passed(outcome.status, got.reason, outcome.headers, None if silent else got.reply,
                                 self._limits.gap_s)
        finally:
            await got.close()

    async def _fail(self, got: Got, verdict: Verdict, out: Out) -> None:
        numbers = self.numbers
        numbers.misses += 1
        if got.error is not None and got.error.raised is not None:
            raise got.error
        numbers.errors += 1
        why = verdict.reason or "miss"
        if got.busy_s is not None:
            await out.error(503, why, detail="busy", retry_after_s=got.busy_s)
        elif got.error is None:
            await out.error(got.outcome.status, why, detail="unasked-304")
        else:
            await out.error(got.outcome.status, why, detail="timeout" if got.error.timed_out else "origin-unreachable")

    def _count(self, verdict: Verdict, has_waited: bool) -> None:
        entry = verdict.entry
        assert entry is not None
        if has_waited:
            self.numbers.collapsed += 1
        elif verdict.action is Action.SERVE and verdict.age < entry.fresh:
            self.numbers.hits += 1
            self.numbers.heat(verdict.key)
        else:
            self.numbers.stale_hits += 1

    # ---------------------------------------------------------------- the owner's

    def _crowd(self) -> Crowd:
        loop, latest = asyncio.get_running_loop(), self._latest
        if latest is not None and latest[0]() is loop:
            return latest[1]
        crowd = self._crowds.get(loop)
        if crowd is None:
            crowd = self._crowds[loop] = Crowd()
        self._latest = weakref.ref(loop), crowd
        return crowd

    async def purge(self, *, urls: str | bytes | Iterable[str | bytes] = (), tags: str | Iterable[str] = (),
                    everything: bool = False, soft: bool = False) -> int:
        """Take out what is stored under these URLs or carries one of these tags; how many keys, as far as is known.

        urls: absolute; http and https are both purged, with every variant. tags: as the origin named them. everything:
        all there is. soft: make it stale instead: served while it is renewed, and when the origin fails, as its
        freshness says.

        Whoever asks after this returned is not served what it took out, and what is on its way in is not stored.
        Raises TypeError or ValueError for what is no URL and no tag.
        """
        keys, names = keys_of(urls, tags)
        self.numbers.purges += 1
        gone = await self.vault.purge(urls=keys, tags=names, everything=everything, soft=soft)
        self.numbers.purged += gone
        return gone

    def stats(self) -> EdgeStats:
        """What it counted."""
        return self.numbers.stats()

    async def close(self) -> None:
        """End the work in the background, and give spilled files back: what they hold leaves the vault."""
        loop, is_told = asyncio.get_running_loop(), False
        for _ in range(3):  # what ends may leave something to be let go of
            tasks = [task for task in list(self._fetcher.tasks) if task.get_loop() is loop]
            for task in tasks:
                if not is_told:
                    task.cancel()
            is_told = True
            if tasks:
                await asyncio.wait(tasks, timeout=_CLOSING_S)
        await self.vault.drop(self._space.holders())
