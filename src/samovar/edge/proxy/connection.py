"""One connection to an origin: one request and its response at a time, and no byte that nobody asked for.

    idle -> head -> body -> done -> idle        a broken one goes to `dead` from anywhere

A byte that comes while nothing was asked, or after a response has ended, could be taken for the answer to the next
request, so the connection ends there: `reusable` is false and stays so. Before it is used again the system is asked
whether it holds such a byte (`is_silent`). Nothing can tell one that comes even later from an answer, so a connection is
not used again either where some origins are known to send more than they may: after a HEAD, 204 or 304 that speaks of a
body.

Where the response breaks off, whoever reads it gets an OriginFailed at that place, never a body that is silently short
(RFC 9112 section 8); over TLS the end of the connection ends a body only when the origin said so (close_notify), since
anybody on the way can cut a connection.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

from ..._base.clock import stopwatch
from ..._base.silence import is_silent
from ..contracts import Inform, OriginFailed
from .wire import BadBody, BadHead, Body, Chunked, Limits, ResponseHead, Sized, UntilClose, read_response, suspicious

_HIGH = 262_144  # bytes of a body that may lie here unread before the origin is made to wait
_HEAD = Limits(head=65_536, fields=256)
_MOST_INFORMS = 16  # 1xx responses to one request


class WentAway(OriginFailed):
    """A connection was closed before any byte of an answer: if it was an old one, another may be tried."""


class Patience:
    """How long one answer may keep us waiting, in seconds: for each step, and for all of them together. Time that the
    reader takes is not counted."""

    __slots__ = ("left",)

    def __init__(self, total_s: float) -> None:
        self.left = total_s

    async def wait(self, what: Awaitable[object], step_s: float, why: str, *, reached: bool = True) -> None:
        """Await something for as long as is left, at most `step_s`. Raises OriginFailed when it takes longer."""
        began = stopwatch()
        try:
            async with asyncio.timeout(max(min(step_s, self.left), 0.0)):
                await what
        except TimeoutError:
            raise OriginFailed(why, timed_out=True, reached=reached) from None
        finally:
            self.left -= stopwatch() - began


class OriginConnection(asyncio.Protocol):
    """A connection to an origin; `Pool` opens it and says who may use it."""

    def __init__(self, lost: Callable[["OriginConnection"], None]) -> None:
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._state = "idle"
        self._buffer = b""
        self._method = ""
        self._inform: Inform | None = None
        self._informs = 0
        self._heard = False  # any byte of an answer
        self._body: Body | None = None
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._said_end = False  # the origin closed its side in order
        self._reading, self._may_write = True, asyncio.Event()
        self._may_write.set()
        self._news = asyncio.Event()  # a head, a piece, an end or an error
        self._error: BaseException | None = None
        self.head: ResponseHead | None = None
        self.may_send_body = asyncio.Event()  # a 100 (Continue) came, or a final answer
        self.uses = 0
        self.reusable = True
        self._asking = False  # the request's body is still on its way

    # ------------------------------------------------------------------ the caller's side

    def begin(self, method: str, head: bytes, inform: Inform | None, *, has_body: bool = False) -> None:
        """Send a request's head; its answer may come from now on. The caller guarantees that nobody else asks.

        has_body: a body follows by `write`, and then `asked`.
        """
        assert self._state == "idle" and self._transport is not None
        self.uses += 1
        self._state, self._method, self._inform = "head", method, inform
        self._informs, self._heard, self.head, self._body, self._asking = 0, False, None, None, has_body
        self._news.clear()
        self.may_send_body.clear()
        self._transport.write(head)

    async def write(self, data: bytes | memoryview, patience: Patience, step_s: float) -> None:
        """Send a part of the request's body; returns when there is room for more."""
        if self._error is not None or self._transport is None or self._state == "dead":
            raise OriginFailed("the origin closed the connection")
        self._transport.write(data)
        if not self._may_write.is_set():
            await patience.wait(self._may_write.wait(), step_s, "the origin does not read the request")

    def asked(self) -> None:
        """The body of the request has been sent, or will not be: from now on it is the answer that is waited for."""
        self._asking = False
        self._news.set()

    async def answered(self, patience: Patience, step_s: float) -> ResponseHead:
        """The head of the final response. Raises OriginFailed, or what `fail` was given.

        step_s counts from when the request was sent whole: until then whoever sends it and `write` have limits of their own.
        """
        while self.head is None:
            if self._error is not None:
                raise self._error
            self._news.clear()
            if self._asking:
                await self._news.wait()
            else:
                await patience.wait(self._news.wait(), step_s, "no answer in time")
        return self.head

    async def piece(self, patience: Patience, step_s: float) -> bytes | None:
        """The next piece of the body, or None at its end. Raises OriginFailed where it breaks off."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._state == "done":
                return None
            self._news.clear()
            await patience.wait(self._news.wait(), step_s, "the body does not come on")
        out = self._pieces.popleft()
        self._size -= len(out)
        if not self._reading and self._size <= _HIGH // 4 and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()
        return out

    def is_silent(self) -> bool:
        """Whether the system has nothing for us that was not read yet: no byte that nobody asked for, and no end. Asked
        of an idle connection before it is used again. One system call."""
        assert self._transport is not None
        return is_silent(self._transport.get_extra_info("socket"))

    def rest(self) -> bool:
        """Go back to idle after a whole exchange; False where it cannot be used again, and then it is closed."""
        if self._state == "done" and self.reusable and not self._pieces and self._error is None:
            self._state = "idle"
            self._inform = None
            return True
        self.abort()
        return False

    def fail(self, error: BaseException) -> None:
        """End it, with this for whoever waits."""
        if self._error is None:
            self._error = error
        self.abort()
        self._news.set()
        self.may_send_body.set()

    def abort(self) -> None:
        """Cut the connection."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def ended(self) -> bool:
        """Whether the response is there whole."""
        return self._state == "done"

    # ------------------------------------------------------------------ the event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        try:
            if self._state == "head":
                self._heard = True
                self._read_heads(data)
            elif self._state == "body":
                self._read_body(data)
            else:
                self.abort()  # surplus, or unsolicited
        except (BadHead, BadBody) as error:
            self.fail(OriginFailed(f"a bad answer: {error}"))

    def eof_received(self) -> bool:
        """asyncio's. The connection closes."""
        self._said_end = self._has_said_end()
        return False

    def _has_said_end(self) -> bool:
        """Whether it was the origin that closed its side: over TLS anybody on the way can end the TCP connection, and
        asyncio tells of both in the same way, but only after a close_notify there is nothing more to read."""
        assert self._transport is not None
        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return tls.read(1) == b""
        except ssl.SSLError:
            return False

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        self.reusable = False
        self._may_write.set()
        if self._state == "body" and error is None and self._body is not None and self._said_end and (
                self._body.close()):
            self._state = "done"
        elif self._state in ("head", "body") and self._error is None:
            kind = OriginFailed if self._heard else WentAway
            self._error = kind("the origin closed the connection" + (" in mid-answer" if self._heard else ""))
        if self._state != "done":
            self._state = "dead"
        self._news.set()
        self.may_send_body.set()
        self._lost(self)

    def pause_writing(self) -> None:
        """asyncio's."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """asyncio's."""
        self._may_write.set()

    # ------------------------------------------------------------------ reading

    def _read_heads(self, data: bytes) -> None:
        before = len(self._buffer)
        self._buffer += data
        while self._state == "head":
            end = self._buffer.find(b"\r\n\r\n", max(before - 3, 0))
            if end < 0 or end + 4 > _HEAD.head:
                if len(self._buffer) > _HEAD.head or end >= 0:
                    raise BadHead("a head that is too long")
                if suspicious(self._buffer, before):
                    raise BadHead("control bytes in a head")
                return
            block, self._buffer, before = self._buffer[:end + 4], self._buffer[end + 4:], 0
            self._read_head(block)
        rest, self._buffer = self._buffer, b""
        if rest:
            self.data_received(rest)

    def _read_head(self, block: bytes) -> None:
        head = read_response(block, self._method, _HEAD)
        if head.status >= 200:
            self.head = head
            self.reusable = self.reusable and head.keep and not head.tempting
            if head.length == 0:
                self._state = "done"
            else:
                self._state = "body"
                self._body = Chunked() if head.chunked else UntilClose() if head.length is None else Sized(head.length)
            self._news.set()
            self.may_send_body.set()
            return
        self._informs += 1
        if self._informs > _MOST_INFORMS or head.status == 101:
            raise BadHead("too many informational responses" if head.status != 101 else "an upgrade that nobody wanted")
        if head.status == 100:
            self.may_send_body.set()
        elif self._inform is not None:
            self._inform(head.status, head.headers)

    def _read_body(self, data: bytes) -> None:
        assert self._body is not None
        pieces, rest = self._body.feed(data)
        for piece in pieces:
            self._pieces.append(piece)
            self._size += len(piece)
        if rest is not None:
            self._state = "done"
            if rest:
                self.abort()
        elif self._size > _HIGH and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._news.set()
