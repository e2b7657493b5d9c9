"""One answer on its way to a client: the Sender of the proxy (see contracts).

It frames what it is given (RFC 9112 section 6) and holds it to what it said: a body that is longer than its
Content-Length is cut, one that is shorter ends with the connection, so that the client sees it.
"""

import asyncio
from typing import Protocol

from ..._base.clock import wall
from ..rules import Headers, format_date
from ..rules.fields import HOP_BY_HOP, first
from ..wish import Wish
from .wire import RequestHead, response_bytes

_SILENT = frozenset({204, 205, 304})  # answers without a body


class Line(Protocol):
    """What a Sending needs of the connection that it writes to."""

    transport: asyncio.Transport
    keep: bool  # whether the connection goes on after this answer

    def is_asked_whole(self) -> bool:
        """Whether the request has come to its end."""

    async def room(self) -> None:
        """Wait until there is room for more. Raises ConnectionError when the client left."""

    def finished(self, sending: "Sending") -> None:
        """An answer has been given to the transport whole."""


class Sending:
    """A Sender over a transport, for one request. closed: its client has closed its side."""

    __slots__ = ("_line", "method", "_old", "_chunked", "_left", "_silent", "lost", "started", "ended", "status", "size",
                 "said", "wish")

    def __init__(self, line: Line, head: RequestHead, closed: bool = False) -> None:
        self._line, self.method, self._old = line, head.method, head.old
        self._chunked = self._silent = False
        self._left: int | None = None  # bytes of the body that Content-Length promised and that have not come
        self.lost = self.started = self.ended = False
        self.status, self.size = 0, 0
        self.said: bytes | None = None  # Cache-Status
        self.wish = Wish()  # its client's
        if closed:
            self.wish.withdraw(sure=False)

    def inform(self, status: int, headers: Headers) -> None:
        """See Sender."""
        if not (self._old or self.started or self.lost):
            self._line.transport.write(response_bytes(status, _REASONS.get(status, b""), _without_framing(headers)))

    async def start(self, status: int, reason: bytes, headers: Headers) -> None:
        """See Sender."""
        self._check()
        assert not self.started
        out = list(_without_hops(headers))
        self._silent = self.method == "HEAD" or status in _SILENT
        length = first(out, b"content-length")
        if status in (204, 205):
            out = [field for field in out if field[0] != b"content-length"]
            if status == 205:
                out.append((b"content-length", b"0"))
        elif length is not None:
            self._left = int(length)
        elif not self._silent:
            self._chunked = not self._old
            if self._old:
                self._line.keep = False
            else:
                out.append((b"transfer-encoding", b"chunked"))
        if first(out, b"date") is None:
            out.append((b"date", format_date(wall())))
        if not self._line.is_asked_whole():
            self._line.keep = False  # it may never come to its end, now that it has its answer
        if not self._line.keep:
            out.append((b"connection", b"close"))
        elif self._old:
            out.append((b"connection", b"keep-alive"))
        block = response_bytes(status, reason, out)
        self.started, self.status = True, status
        self.said = first(headers, b"cache-status")
        self._line.transport.write(block)

    async def write(self, chunk: bytes | memoryview) -> None:
        """See Sender."""
        self._check()
        size = len(chunk)
        if not size or self._silent:
            return
        if self._left is not None:
            if size > self._left:
                self.abort()
                raise ConnectionError("the body is longer than it says")
            self._left -= size
        self.size += size
        if self._chunked:
            self._line.transport.writelines([b"%x\r\n" % size, chunk, b"\r\n"])
        else:
            self._line.transport.write(chunk)
        await self._line.room()

    async def end(self) -> None:
        """See Sender."""
        self._check()
        if self.ended:
            return
        if self._left and not self._silent:
            self.abort()
            raise ConnectionError("the body is shorter than it says")
        if self._chunked:
            self._line.transport.write(b"0\r\n\r\n")
        self.ended = True
        self._line.finished(self)

    def abort(self) -> None:
        """See Sender."""
        if not self.ended:
            self.lost = True
            self._line.transport.abort()

    def lose(self) -> None:
        """The client left."""
        self.lost = True
        self.wish.withdraw()

    def _check(self) -> None:
        if self._line.transport.is_closing():  # connection_lost comes in a moment
            self.lost = True
        if self.lost:
            raise ConnectionError("the client left")


_REASONS = {100: b"Continue", 102: b"Processing", 103: b"Early Hints"}


def _without_hops(headers: Headers) -> Headers:
    """What may not come from an origin or a store: this connection's framing is ours to say."""
    return [field for field in headers if field[0] not in HOP_BY_HOP]


def _without_framing(headers: Headers) -> Headers:
    return [field for field in headers if field[0] not in HOP_BY_HOP and field[0] != b"content-length"]
