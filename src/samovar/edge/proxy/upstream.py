"""An origin behind connections of its own: HTTP/1.1 over TCP or TLS.

    ask -> a connection from the pool -> head out -> (1xx ...) head in -> body in, as it is read -> back to the pool
                                         body out, meanwhile

What is never done: a request is not sent twice unless it is idempotent, had no body, and went out on an old connection
that was closed without a byte of an answer (RFC 9112 section 9.3.1); a connection is not used again after anything out
of order (see `connection`); certificates are verified unless the owner hands in a context that does not.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

from ..contracts import Inform, OriginFailed, Reply, Request
from ..rules import Headers
from ..rules.fields import end_to_end, first
from .connection import OriginConnection, Patience, WentAway
from .limits import UpstreamLimits
from .pool import Pool
from .wire import ResponseHead, request_bytes

_ORIGIN = re.compile(r"(https?)://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?", re.IGNORECASE)
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_CONTINUE_S = 1.0  # an origin that does not know 100 (Continue) is not waited for any longer (RFC 9110 section 10.1.1)


class Unreachable(OriginFailed):
    """No connection could be had: the origin is down, or not where it was said to be."""


def origin_parts(url: str) -> tuple[bool, str, int]:
    """Whether an origin speaks TLS, its host and its port. Raises ValueError for what is not scheme://host[:port].

    >>> from samovar.edge.proxy.upstream import origin_parts
    >>> origin_parts("https://[::1]:8443")
    (True, '::1', 8443)
    """
    found = _ORIGIN.fullmatch(url)
    if found is None:
        raise ValueError(f"an origin is written http://host[:port] or https://host[:port], not {url!r}")
    tls = found.group(1).lower() == "https"
    port = int(found.group(3) or (443 if tls else 80))
    if not 0 < port < 65_536:
        raise ValueError(f"no such port: {url!r}")
    return tls, found.group(2).strip("[]"), port


class Upstream:
    """An Origin (see contracts) at scheme://host[:port]. Of one event loop; `close` ends its connections.

    host: what is sent as Host, instead of what the client asked for. context: for TLS; by default certificates are
    verified against the system's authorities. Raises ValueError for an origin that is none.
    """

    def __init__(self, url: str, limits: UpstreamLimits | None = None, *, host: bytes | None = None,
                 context: ssl.SSLContext | None = None) -> None:
        self.limits = limits if limits is not None else UpstreamLimits()
        self._tls, self._name, self._port = origin_parts(url)
        self._host = host
        self._own_name = url.partition("://")[2].rstrip("/").encode()
        self._context = (context or ssl.create_default_context()) if self._tls else None
        self._last: tuple[str, int] | None = None  # the address that answered last
        self._looking: asyncio.Task[list[Any]] | None = None  # the look-up that is under way, one at a time
        self.pool = Pool(self._connect, size=self.limits.connections, queue=self.limits.queue,
                         queue_s=self.limits.queue_s, idle_s=self.limits.idle_s)

    async def ask(self, request: Request, inform: Inform | None = None) -> Reply:
        """See Origin. Raises OriginFailed; Withdrawn; ConnectionError where the client's body ended before its end."""
        head = self._head(request)
        patience = Patience(self.limits.total_s)
        repeatable = request.method in _IDEMPOTENT and request.body is None
        new = False
        while True:
            connection = await self.pool.take(patience, request.wish, new=new)
            used = connection.uses > 0
            asked = _Asked(self, connection, patience)
            try:
                return await asked.begin(request, head, inform)
            except WentAway:
                await asked.close()
                if not (used and repeatable) or new:
                    raise
                new = True
            except BaseException:
                await asked.close()
                raise

    def close(self) -> None:
        """Close all connections; an answer that is being read breaks off."""
        self.pool.close()

    def _head(self, request: Request) -> bytes:
        ours = {b"host", b"content-length"} if request.body is not None else {b"host", b"content-length", b"expect"}
        out = list(end_to_end(request.headers, ours))
        host = self._host or first(request.headers, b"host") or self._own_name
        if first(out, b"x-forwarded-proto") is None:
            out.append((b"x-forwarded-proto", request.scheme))
        if request.body is not None and request.length is None:
            out.append((b"transfer-encoding", b"chunked"))
        elif request.body is not None or request.method in _WITH_BODY:
            out.append((b"content-length", b"%d" % (request.length or 0)))
        return request_bytes(request.method, request.target, [(b"host", host), *out])

    async def _connect(self, patience: Patience) -> OriginConnection:
        made: list[OriginConnection] = []
        try:
            await patience.wait(self._open(made), self.limits.connect_s, "the origin does not take connections in time")
        except OriginFailed as error:
            raise Unreachable(str(error), timed_out=error.timed_out, reached=False) from None
        return made[0]

    async def _open(self, made: list[OriginConnection]) -> None:
        """Try each address in turn, the one that was good last time first; a dead one may not use up all the time."""
        loop = asyncio.get_running_loop()
        places = await self._places()
        places.sort(key=lambda place: place != self._last)
        why: object = "no address"
        for place in places:
            try:
                async with asyncio.timeout(self.limits.connect_s / min(len(places), 4)):
                    _, connection = await loop.create_connection(
                        lambda: OriginConnection(self.pool.lost), place[0], place[1], ssl=self._context,
                        server_hostname=self._name if self._tls else None)
            except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
                why = str(error) or type(error).__name__
                continue
            self._last = place
            made.append(connection)
            return
        raise OriginFailed(f"the origin cannot be reached: {why}", reached=False)


    async def _places(self) -> list[tuple[str, int]]:
        """The addresses of its name; where that cannot be resolved, the one that was good last time.

        All who need them wait for one look-up: a resolver that hangs holds up one thread of those that the event loop has
        for what blocks, and not all of them.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_up())
            self._looking.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen
        try:
            found = await asyncio.shield(self._looking)
        except OSError as error:
            if self._last is not None:
                return [self._last]
            raise OriginFailed(f"the origin's name does not resolve: {error}", reached=False) from None
        return list(dict.fromkeys((str(address[0]), self._port) for *_, address in found))

    async def _look_up(self) -> list[Any]:
        return await asyncio.get_running_loop().getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM)


class _Asked:
    """One exchange with an origin, and the Reply that comes of it."""

    status = 0
    reason = b""
    headers: Headers = ()

    def __init__(self, upstream: Upstream, connection: OriginConnection, patience: Patience) -> None:
        self._upstream, self._connection, self._patience = upstream, connection, patience
        self._limits = upstream.limits
        self._body: asyncio.Task[None] | None = None
        self._open = True

    async def begin(self, request: Request, head: bytes, inform: Inform | None) -> Reply:
        """Send the request; return when the head of its answer is there."""
        self._connection.begin(request.method, head, inform, has_body=request.body is not None)
        if request.body is not None:
            self._body = asyncio.create_task(self._send(request))
        answer: ResponseHead = await self._connection.answered(self._patience, self._limits.first_byte_s)
        self.status, self.reason, self.headers = answer.status, answer.reason, answer.headers
        return self

    async def _send(self, request: Request) -> None:
        """The request's body, piece by piece; what goes wrong is for whoever waits for the answer."""
        assert request.body is not None
        connection, limits = self._connection, self._limits
        sent = 0
        try:
            if first(request.headers, b"expect") is not None:
                try:
                    async with asyncio.timeout(_CONTINUE_S):
                        await connection.may_send_body.wait()
                except TimeoutError:
                    pass
                if connection.head is not None:
                    return  # a final answer: the body is not wanted
            async for piece in request.body:
                sent += len(piece)
                if request.length is not None and sent > request.length:
                    raise ConnectionError("the body is longer than it says")
                if piece:
                    framed = piece if request.length is not None else b"%x\r\n%b\r\n" % (len(piece), piece)
                    await connection.write(framed, self._patience, limits.between_s)
            if request.length is None:
                await connection.write(b"0\r\n\r\n", self._patience, limits.between_s)
            elif sent != request.length:
                raise ConnectionError("the body is shorter than it says")
        except OriginFailed as error:
            if connection.head is None:
                connection.fail(error)
            else:
                connection.reusable = False
        except asyncio.CancelledError:
            connection.reusable = False
            raise
        except Exception as error:  # the client's side of it
            connection.fail(error if connection.head is None else OriginFailed(f"the request broke off: {error}"))
        finally:
            connection.asked()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._connection.piece(self._patience, self._limits.between_s)) is not None:
            yield piece
        await self.close()

    async def close(self) -> None:
        """See Reply."""
        if not self._open:
            return
        self._open = False
        if self._body is not None and not self._body.done():
            self._connection.reusable = False
            self._body.cancel()
        elif self._body is not None and self._connection.head is not None and not self._body.cancelled():
            self._body.exception()  # seen
        self._upstream.pool.give(self._connection)
