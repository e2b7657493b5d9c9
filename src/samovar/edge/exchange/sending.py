"""Answers on their way to a client: what is stored, what comes from the origin while it comes, and errors of our own.

Every way out has a limit: a client that takes nothing for `patience_s` seconds is cut off. What cannot be completed is
broken off so that the client sees it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from ..._base.clock import deadline
from ..contracts import OriginFailed, Reply, Sender
from ..rules import Answer, Entry, Fields, Policy, Verdict, answer
from ..rules.statusfield import forwarded
from .body import PIECE, Filling, Reader
from .forwarding import Own
from .loans import Loan, Loans
from .numbers import Numbers

_REASONS = {500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
            508: b"Loop Detected"}


class Out:
    """Sends one answer. numbers: where bytes are counted. patience_s: for a client that takes nothing. loans: where it is
    noted who reads what from memory."""

    def __init__(self, sender: Sender, policy: Policy, numbers: Numbers, patience_s: float, loans: Loans) -> None:
        self._sender, self._policy, self._numbers, self._patience_s = sender, policy, numbers, patience_s
        self._loans = loans

    # ---------------------------------------------------------------- what is stored

    async def stored(self, verdict: Verdict, *, collapsed: bool = False, once: Fields = ()) -> None:
        """The answer from an entry that is there whole, or the error that the verdict is."""
        told = answer(self._policy, verdict, collapsed=collapsed)
        await self._sender.start(told.status, told.reason, (*told.headers, *once))
        if told.parts:
            await self._lent(self._parts(told, verdict.entry), verdict.entry)
        await self._sender.end()

    async def _parts(self, told: Answer, entry: Any) -> AsyncIterator[bytes | memoryview]:
        body = entry.body
        for part in told.parts:
            if isinstance(part, bytes):
                yield part
                continue
            start, stop = part
            if not isinstance(body, bytes):
                async for piece in body.pieces(start, stop):
                    yield piece
            else:
                yield body if stop - start == len(body) else memoryview(body)[start:stop]

    # ---------------------------------------------------------------- what is on its way

    async def joined(self, verdict: Verdict, filling: Filling) -> None:
        """The answer from an entry whose body another's request brings, while it comes."""
        told = answer(self._policy, verdict, collapsed=True)
        has_body = verdict.method != "HEAD" and told.status == getattr(verdict.entry, "status", None)
        reader = Reader(filling)
        try:
            await self.filling(told.status, told.reason, told.headers, reader if has_body and told.status != 304 else None,
                               verdict.entry)
        finally:
            reader.close()

    async def filling(self, status: int, reason: bytes, headers: Fields, reader: Reader | None, entry: Entry | None) -> None:
        """A head, and a body while it comes; the caller closes the reader. entry: whose it will be."""
        await self._sender.start(status, reason, headers)
        if reader is not None:
            await self._lent(_read(reader), entry)
        await self._sender.end()

    async def passed(self, status: int, reason: bytes, headers: Fields, reply: Reply | None, gap_s: float) -> None:
        """A head, and a body that is for this client alone: no faster than it takes it."""
        await self._sender.start(status, reason, headers)
        at_hand = getattr(reply, "at_hand", None)  # an application's answer mostly is, and then nothing need be waited for
        body = at_hand() if at_hand is not None else None
        if body is not None:
            self._numbers.fetched += len(body)
            await self._within(_one(body))
        elif reply is not None:
            await self._within(_within_gaps(reply, gap_s, self._numbers))
        await self._sender.end()

    async def _lent(self, parts: AsyncIterator[bytes | memoryview], entry: Entry | None) -> None:
        """Write these of an entry's body, and note who has it."""
        if entry is None:
            await self._within(parts)
            return
        loan = self._loans.begin(entry, self._sender)
        try:
            await self._within(parts, loan)
        finally:
            self._loans.end(loan)

    async def _within(self, parts: AsyncIterator[bytes | memoryview], loan: Loan | None = None) -> None:
        """Write these, each within the client's patience."""
        sender, numbers, started = self._sender, self._numbers, True
        try:
            async with asyncio.timeout(None) as limit:
                if loan is not None:
                    loan.limit = limit
                async for part in parts:
                    for piece in (part,) if part.__class__ is bytes and len(part) <= PIECE else _pieces(part):
                        limit.reschedule(deadline(self._patience_s))
                        await sender.write(piece)
                        if loan is not None:
                            self._loans.took(loan)
                    limit.reschedule(None)
                    numbers.sent += len(part)
            started = False
        except TimeoutError as error:
            raise ConnectionError(f"the client took nothing for {self._patience_s:g} s") from error
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            raise OriginFailed(f"a spilled body could not be read: {error}") from error
        finally:
            if started:
                sender.abort()
            close = getattr(parts, "aclose", None)
            if close is not None:
                await close()

    # ---------------------------------------------------------------- what is ours

    async def own(self, own: Own) -> None:
        """What a hop answers by itself."""
        said = self._policy.token + b";detail=" + own.detail.encode()
        ours = ((b"content-length", b"%d" % len(own.body)), (b"cache-control", b"no-store"), (b"cache-status", said))
        await self._sender.start(own.status, own.reason, (*own.headers, *ours))
        if own.body:
            await self._sender.write(own.body)
        await self._sender.end()

    async def error(self, status: int, why: str, *, detail: str, retry_after_s: float | None = None) -> None:
        """An error of our own. why: the reason in the words of RFC 9211. detail: a token."""
        said = forwarded(self._policy.token, why, detail=detail)
        headers: Fields = ((b"content-length", b"0"), (b"cache-control", b"no-store"), (b"cache-status", said))
        if retry_after_s is not None:
            headers = (*headers, (b"retry-after", b"%d" % max(1, int(retry_after_s + 0.999))))
        await self._sender.start(status, _REASONS.get(status, b""), headers)
        await self._sender.end()


def _pieces(part: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """What a client can be given time for, one after the other. The last two are copies: what a transport still has when
    the answer has ended must not keep a large body."""
    whole, last = memoryview(part), len(part) - 2 * PIECE
    for at in range(0, len(part), PIECE):
        yield whole[at:at + PIECE] if at < last else bytes(whole[at:at + PIECE])


async def _one(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


async def _read(reader: Reader) -> AsyncIterator[bytes | memoryview]:
    while (part := await reader.read()) is not None:
        yield part


async def _within_gaps(reply: Reply, gap_s: float, numbers: Numbers) -> AsyncIterator[bytes]:
    """The parts of a body, none of which may keep us waiting for longer."""
    parts = aiter(reply)
    while True:
        try:
            async with asyncio.timeout(gap_s):
                part = await anext(parts)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise OriginFailed("the body came too slowly", timed_out=True) from error
        if part:
            numbers.fetched += len(part)
            yield part
