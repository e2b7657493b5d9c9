"""Asking the origin, and doing what the rules make of its answer: once for everybody who needs it.

`fetch` returns as soon as it is clear what the client gets. A body that may be stored is taken in by a task of its own,
which no client owns: one that leaves, or reads slowly, changes nothing for it. A body that is not stored is left to the
one client it is for, who takes it as it comes.

The one rule: what is held (a place at the origin, the reply, the fence) is let go of on every way out: by `fetch` until it
returns, then by the task that fills, or by whoever `fetch` gave it to (`Got.close`).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from ..._base.clock import deadline, stopwatch
from ..._base.contracts import Gate, Permit
from ..._base.errors import OriginBusy
from ..contracts import Inform, Origin, OriginFailed, Reply, Request, Vault
from ..rules import (
    Action,
    Entry,
    Outcome,
    Policy,
    Result,
    Variants,
    Verdict,
    on_failure,
    on_request,
    on_response,
    origin_headers,
)
from ..rules.statusfield import forwarded
from ..wish import Withdrawn
from .body import Budget, Filling, Reader, Space, Spilled
from .flights import Crowd, Flight
from .forwarding import Hop
from .got import Got, Limits
from .loans import Loans
from .numbers import Numbers

_log = logging.getLogger("samovar")
_ELSEWHERE_S = 2.0  # for which another process's answer is waited for
_UNREAD_S = 60.0  # for which a body is taken in that nobody reads, to be stored


class Fetcher:
    """Asks one origin for one vault."""

    def __init__(self, policy: Policy, vault: Vault, origin: Origin, numbers: Numbers, limits: Limits, space: Space,
                 wall: Callable[[], float], budget: Gate | None, hop: Hop | None) -> None:
        self.policy, self.vault, self.origin, self.numbers = policy, vault, origin, numbers
        self.limits, self.space, self.wall, self.budget, self.hop = limits, space, wall, budget, hop
        self.memory, self.loans = Budget(limits.memory), Loans(vault, limits.memory, limits.lag_s)
        self.tasks: set[asyncio.Task[Any]] = set()
        most = vault.most if vault.most is not None else limits.body
        self._in_memory = min(limits.body, most)
        self._spill = space if vault.takes_files else Space(None, 0)
        self._at_all = max(self._in_memory, self._spill.largest)

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Let a task do this that nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("an edge's work in the background failed: %r", error, exc_info=error)

    # ---------------------------------------------------------------- asking

    async def fetch(self, request: Request, verdict: Verdict, inform: Inform | None = None, flight: Flight | None = None,
                    crowd: Crowd | None = None, *, waits: bool = True) -> Got:
        """Ask the origin what `verdict` says, and do what comes of it, but for the body.

        flight, crowd: where others wait for it. waits: for a place at the origin.
        """
        fence: Any = None
        try:
            if verdict.may_store and verdict.key:
                fence = await self.vault.fence(verdict.key)
                if flight is not None:
                    flight.fence = fence
                    got, fence = await self._stored_since(verdict, fence)
                    flight.fence = fence
                    if got is not None:
                        self.vault.drop_near(verdict.key)
                        return got
            got, wrong = await self._ask(request, verdict, inform, waits)
            try:
                taken, fence = fence, None
                if got.outcome.result is Result.STORE:
                    await self._begin_filling(got, taken, wrong, flight, crowd)
                else:
                    await self._conclude(got, taken, wrong, flight)
            except BaseException:
                await got.close()
                raise
            return got
        finally:
            if fence is not None:
                self.vault.release(fence)

    async def _stored_since(self, verdict: Verdict, fence: Any) -> tuple[Got | None, Any]:
        """What others have stored of the same since it was looked for, or another process stores, if it does so soon; and a
        fence, maybe with the right to store."""
        vault, waited, pause = self.vault, 0.0, 0.002
        got = self._served(verdict, vault.seen(fence))
        while got is None and vault.is_elsewhere(fence) and waited < _ELSEWHERE_S:
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, 0.025)
            stored = await vault.find(verdict.key, anew=True)
            got = self._served(verdict, stored)
            if got is None:
                if stored is not None and self.wall() < stored.mark:
                    break
                fence = await vault.fence(verdict.key)
                got = self._served(verdict, vault.seen(fence))
        return got, fence

    def _served(self, verdict: Verdict, stored: Variants | None) -> Got | None:
        """What is stored, where it answers without the origin."""
        if stored is None:
            return None
        again = on_request(self.policy, verdict.key, verdict.method, verdict.headers, stored, self.wall())
        if again.action is not Action.SERVE:
            return None
        return Got(Outcome(Result.SERVE, verdict=again), verdict, is_elsewhere=True)

    async def _ask(self, request: Request, verdict: Verdict, inform: Inform | None,
                   waits: bool) -> tuple[Got, Entry | None]:
        """What the rules say of the answer; and the entry that a RETRY has found wrong."""
        wrong: Entry | None = None
        for is_last in (False, True):
            permit: Permit | None = None
            reply: Reply | None = None
            asked_at = self.wall()
            try:
                if self.budget is not None:
                    with request.wish.in_line(leaves=True):
                        permit = await self.budget.aenter(waits=waits and not request.wish.lost)
                reply = await self._reply(request, verdict, inform)
                received = self.wall()
                outcome = on_response(self.policy, verdict, reply.status, reply.reason, reply.headers, asked_at=asked_at,
                                      received=received, clock=received - getattr(self.wall, "behind", 0.0))
                if outcome.result is Result.RETRY and not is_last and outcome.verdict is not None:
                    wrong, verdict = outcome.replaces, outcome.verdict
                    continue
                if outcome.result is Result.RETRY:
                    outcome = Outcome(Result.FAIL, 502, why="status")
                got = Got(outcome, verdict, reply.reason)
                if outcome.result in (Result.PASS, Result.STORE):
                    got.reply, got.permit, reply, permit = reply, permit, None, None
                return got, wrong
            except OriginBusy as busy:
                outcome = on_failure(self.policy, verdict, self.wall())
                return Got(outcome, verdict, busy_s=busy.retry_after or 1.0), wrong
            except OriginFailed as error:
                self.numbers.failures += 1
                if permit is not None:
                    permit.leave(error)
                    permit = None
                outcome = on_failure(self.policy, verdict, self.wall(), timed_out=error.timed_out)
                return Got(outcome, verdict, error=error), wrong
            finally:
                if reply is not None:
                    await reply.close()
                if permit is not None:
                    permit.leave()
        raise AssertionError("the last try always returns")

    async def _reply(self, request: Request, verdict: Verdict, inform: Inform | None) -> Reply:
        fields = origin_headers(self.policy, verdict)
        if self.hop is not None:
            fields = self.hop.headers(request, fields)
        limit = asyncio.timeout(self.limits.head_s)
        body = None if request.body is None else _extending(limit, request.body, self.limits.head_s)
        asked = Request(verdict.method, request.scheme, request.target, fields, body, request.length,
                        request.client, request.version, request.about, request.wish)
        self.numbers.flights += 1
        began = stopwatch()
        try:
            async with limit:
                reply = await self.origin.ask(asked, inform)
        except TimeoutError as error:
            if not limit.expired():
                raise OriginFailed("the origin timed out", timed_out=True) from error
            raise OriginFailed(f"no answer within {self.limits.head_s:g} s", timed_out=True) from error
        except Withdrawn:
            raise
        except OSError as error:
            raise OriginFailed(f"{type(error).__name__}: {error}") from error
        finally:
            self.numbers.flights -= 1
        self.numbers.origin.add(stopwatch() - began)
        return reply

    # ---------------------------------------------------------------- what comes of it

    async def _conclude(self, got: Got, fence: Any, wrong: Entry | None, flight: Flight | None) -> None:
        """Everything but a body to be stored: what goes out, what is renewed, and the mark."""
        outcome, vault = got.outcome, self.vault
        try:
            if outcome.invalidate:
                await vault.drop(outcome.invalidate)
            entry, out = outcome.entry, outcome.replaces or wrong
            mark = outcome.mark if outcome.status < 500 else 0
            if entry is not None and entry.age(self.wall()) >= entry.fresh:
                mark = self.policy.hit_for_miss  # the next request for it must ask again, so nobody waits for another
            if flight is not None:
                flight.failed = got.error is not None or (
                    outcome.result is Result.SERVE and outcome.entry is None and outcome.replaces is None)
            if flight is not None and (mark or (outcome.result is Result.PASS and outcome.status < 500)):
                flight.alone = True
            if fence is None and out is not None and entry is None and got.verdict.key:  # nothing is to be stored, yet
                fence = await vault.fence(got.verdict.key)
            if fence is not None and (entry is not None or out is not None or mark):
                taken, fence = fence, None
                await self._put(got.verdict.key, taken, entry, out, mark)
        finally:
            if fence is not None:
                vault.release(fence)

    async def _put(self, key: bytes, fence: Any, entry: Entry | None, out: Entry | None, mark: int) -> bool:
        now = self.wall()

        def change(variants: Variants) -> Variants:
            if out is not None:
                variants = _without(variants, out)
            if entry is not None:
                variants = variants.stored(entry, self.policy.max_variants)
            return variants.marked(now + mark) if mark else variants

        if entry is not None and entry.key != key:
            return False
        done = await self.vault.change(key, fence, change)
        if entry is not None:
            if done:
                self.numbers.stored += 1
                for tag in entry.tags:
                    self.numbers.tags.add(tag)
            else:
                self.numbers.refused += 1
        return done

    # ---------------------------------------------------------------- bodies to be stored

    async def _begin_filling(self, got: Got, fence: Any, wrong: Entry | None, flight: Flight | None,
                             crowd: Crowd | None) -> None:
        """Let a task take the body in; or leave it to the client, where it is too large to be stored."""
        outcome, verdict, entry = got.outcome, got.verdict, got.outcome.entry
        assert entry is not None
        if outcome.invalidate:
            self.vault.release(fence)
            await self.vault.drop(outcome.invalidate)
            fence = await self.vault.fence(verdict.key)
        out = outcome.replaces or wrong
        if fence is None or (entry.declared or 0) > self._at_all:
            got.outcome = _unstored(self.policy, outcome, verdict)
            await self._conclude(got, fence, wrong, flight)
            return
        if entry.declared is not None and entry.declared > self._in_memory:
            await self._make_room(verdict.key)
        filling = Filling(entry.declared, min(self._in_memory, self.loans.largest()), self.memory, self._spill)
        reply, permit, got.reply, got.permit = got.reply, got.permit, None, None
        got.reader = Reader(filling)  # before the first part comes, for what nobody reads may not be kept
        if flight is not None:
            flight.alone = entry.age(self.wall()) >= entry.fresh
            flight.lands(entry, filling)
        task = self.start(self._fill(reply, permit, filling, verdict.key, entry, fence, out, flight, crowd))

        def over(_: Any) -> None:
            if filling.ended or filling.error is not None:
                return
            filling.fail(OriginFailed("this edge was closed"))  # before the task began: nothing else has let go
            if flight is not None and crowd is not None:
                crowd.leave(flight)
            self.vault.release(fence)
            if permit is not None:
                permit.leave()
            if reply is not None:
                self.start(_closed(reply))

        task.add_done_callback(over)

    async def _fill(self, reply: Any, permit: Permit | None, filling: Filling, key: bytes, entry: Entry, fence: Any,
                    out: Entry | None, flight: Flight | None, crowd: Crowd | None) -> None:
        """Take a body in, store its entry, and show its end: in this order."""
        error: Exception | None = None
        held: Any = fence
        try:
            await self._take_in(reply, filling, key, flight, crowd)
            if filling.keeps:
                try:
                    body = await filling.whole()
                except (OSError, MemoryError):  # the disk: what is to be stored has no place, what is to be sent is here
                    self.numbers.refused += 1
                    filling.keeps = False
            if filling.keeps:
                if not entry.complete(body, filling.size):
                    raise OriginFailed("the body is not as long as it says")
                held = None
                mark = self.policy.hit_for_miss if entry.age(self.wall()) >= entry.fresh else 0
                if await self._put(key, fence, entry, out, mark) and isinstance(body, Spilled):
                    self.space.kept(key, body)
            else:
                held = None
                await self._put(key, fence, None, out, self.policy.hit_for_miss)
            filling.end()
        except OriginFailed as failed:
            self.numbers.failures += 1
            self.numbers.refused += 1
            error = failed
        except OSError as failed:  # nobody reads any more
            self.numbers.refused += 1
            error = OriginFailed(f"{type(failed).__name__}: {failed}")
        finally:
            if not filling.ended:
                filling.fail(error or OriginFailed("broken off"))
            if flight is not None and crowd is not None:
                crowd.leave(flight)
            if held is not None:
                self.vault.release(held)
            if permit is not None:
                permit.leave(error)
            await reply.close()

    async def _make_room(self, key: bytes) -> None:
        """Let the oldest files go, until the largest of bodies has room for what is stored under this key: its own file stays
        until it is replaced, for to drop it would fence off what is on its way."""
        await self.vault.drop(self.space.holders(beyond=self.space.room.most - self.space.largest, but=key))

    async def _take_in(self, reply: Any, filling: Filling, key: bytes, flight: Flight | None, crowd: Crowd | None) -> None:
        limits = self.limits
        end, last_reader = stopwatch() + limits.fill_s, stopwatch()
        parts = aiter(reply)
        try:
            async with asyncio.timeout(limits.gap_s) as limit:
                async for chunk in parts:
                    if not chunk:
                        continue
                    self.numbers.fetched += len(chunk)
                    kept = filling.keeps
                    if kept and filling.size <= filling.most < filling.size + len(chunk) <= self._at_all:
                        await self._make_room(key)
                    await filling.put(chunk if type(chunk) is bytes else bytes(chunk))
                    now = stopwatch()
                    last_reader = now if filling.readers else last_reader
                    left = min(end, last_reader + _UNREAD_S) - now
                    if not filling.keeps:
                        if kept and flight is not None and crowd is not None:
                            flight.alone = True
                            crowd.leave(flight)
                        limit.reschedule(None)
                        await filling.wait_for_readers(limits.lag_s)
                        left = limits.gap_s
                    limit.reschedule(deadline(min(limits.gap_s, max(left, 0.0))))
        except TimeoutError as error:
            raise OriginFailed("the body came too slowly", timed_out=True) from error


async def _extending(limit: asyncio.Timeout, body: AsyncIterator[bytes], head_s: float) -> AsyncIterator[bytes]:
    """A request's body that gives the answer more time with each of its parts: what a client takes to send, the origin
    has not taken. Who waits for a client has a limit for that."""
    def extend(until: float | None) -> None:
        with contextlib.suppress(RuntimeError):  # the answer came first
            limit.reschedule(until)

    extend(None)
    async for part in body:
        extend(deadline(head_s))
        yield part
        extend(None)
    extend(deadline(head_s))


async def _closed(reply: Reply) -> None:
    await reply.close()


def _without(variants: Variants, entry: Entry) -> Variants:
    """These without an entry, or without what stands for it: another reading of the same from a store beyond memory."""
    for one in variants:
        if one is entry or (one.received == entry.received and one.vary == entry.vary and one.varied == entry.varied):
            return variants.without(one)
    return variants


def _unstored(policy: Policy, outcome: Outcome, verdict: Verdict) -> Outcome:
    """The same answer, sent on and not stored, because it is too large."""
    fields = tuple(one for one in outcome.headers if one[0] != b"cache-status")
    said = forwarded(policy.token, verdict.reason, detail="size")
    return Outcome(Result.PASS, outcome.status, (*fields, (b"cache-status", said)), replaces=outcome.replaces,
                   mark=policy.hit_for_miss if verdict.collapse else 0, invalidate=outcome.invalidate, why="size")
