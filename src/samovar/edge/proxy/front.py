"""The clients' side of the proxy: a protocol class for uvicorn that answers a hit before any task is made.

    uvicorn.Config(app, http=Front)        app: what `proxy.Edge` is: exchange, limits, scheme, admin, log

One connection moves through these phases, and each has a limit of time:

    quiet -> head -> (body) -> serving -> quiet          lingering: refused, or closing; what still comes is thrown away

A plain GET whose head came before, byte for byte, is answered by what is known of it (known.py): two look-ups and one
write.

Pipelined requests are answered in order: the next head is not read before the last answer has been given to the
transport, and not while the client leaves more unread than the transport's high-water mark.

uvicorn's side of the contract: `connections` and `tasks` of its ServerState, `shutdown()`, its keep-alive and
concurrency limits and its count of requests work as with its own protocols.
"""

import asyncio
import logging
from typing import Any, cast

from ..._base.clock import stopwatch, wall
from ..contracts import Request
from .answering import Sending
from .incoming import Incoming
from .known import SHORT, Known, give
from .refusals import phrase, refusal
from .wire import BadBody, BadHead, Body, Chunked, RequestHead, Sized, read_request, suspicious

_PIPELINED = 65_536  # bytes of further requests that may lie here while one is answered
_LINGER_S, _LINGER = 2.0, 262_144  # how long, and how many bytes, a client may still send after it was refused

_logger = logging.getLogger("samovar.edge")


class Front(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, config: Any, server_state: Any, app_state: Any = None,
                 _loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.edge = config.app
        self._config, self._state = config, server_state
        self._loop = _loop or asyncio.get_running_loop()
        self._limits = self.edge.limits
        self._known, self._again = self.edge.knowing.known, self.edge.knowing.answer
        self._log = self.edge.log
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._scheme = b"http"
        self._client: bytes | None = None
        self._admin, self.keep = False, True
        self._quiet = False  # nothing is under way: a whole head that is remembered may be answered at once
        self._touched = False  # since the last look at the clock
        self._buffer = b""
        self._scanned = 0  # bytes of the buffer that were found to be no end of a head
        self._skipped = False  # an empty line before the next head
        self._sending: Sending | None = None
        self._incoming: Incoming | None = None
        self._body: Body | None = None
        self._most = 0  # bytes of the body that is coming
        self._held: set[str] = set()  # why nothing is read from the client
        self._room: asyncio.Event | None = None  # set: there is room in the transport's buffer
        self._lingering = -1  # bytes that were thrown away; below 0: not lingering
        self._eof = self._gone = self._advancing = False
        self._deadline, self._phase, self._was_late = 0.0, "quiet", False

    # ------------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self.transport = cast(asyncio.Transport, transport)
        self._state.connections.add(self)
        self.edge.watch(self._state.connections)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]).encode() if isinstance(peer, tuple) else None
        self._scheme = self.edge.scheme(transport.get_extra_info("ssl_object") is not None)
        self._admin = self.edge.is_admin(transport.get_extra_info("sockname"))
        self._set_phase("head", self._limits.head_s)
        if len(self._state.connections) > self._limits.connections:
            self._refuse(503, "too many connections")
            return
        self._quiet = not self._admin

    def data_received(self, data: bytes) -> None:
        """asyncio's. The first lines are the hit."""
        if self._quiet and data[-4:] == b"\r\n\r\n" and len(data) <= SHORT:
            known = self._known(data, self._scheme)
            if known.head is not None and known.head.plain:
                began = 0.0 if self._log is None else stopwatch()
                message = self._again(known, self._scheme)
                if message is not None:
                    if message.__class__ is bytes:
                        self.transport.write(message)
                    else:
                        give(self.transport, message[0], message[1].body)
                    self._touched = True
                    self._state.total_requests += 1
                    if self._log is not None:
                        block, body, status = known.parts(message)
                        self._log.hit(self._client, known.head, status, len(body), began, block)
                    return
        self._received(data)

    def eof_received(self) -> bool:
        """asyncio's. A client that has said all still gets its answer, but waits behind all others (wish.py)."""
        self._eof = True
        if self._sending is not None:
            self._sending.wish.withdraw(sure=False)
        if self._body is not None and self._incoming is not None:
            self._incoming.fail("the request broke off")
        if self._scheme == b"https":  # there is no half of a TLS connection
            return False
        return self._sending is not None or bool(self._buffer and "write" in self._held)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        self._state.connections.discard(self)
        self._gone, self._quiet = True, False
        self._let_go("the client left")
        if self._room is not None:
            self._room.set()

    def pause_writing(self) -> None:
        """asyncio's. The client does not read as fast as it is answered."""
        self._quiet = False
        self._hold("write")
        self._room = asyncio.Event()
        self._set_phase("write", self._limits.write_s)

    def resume_writing(self) -> None:
        """asyncio's."""
        if self._room is not None:
            self._room.set()
            self._room = None
        self._free("write")
        self._settle()
        self._advance()

    # ------------------------------------------------------------------ uvicorn's side

    def shutdown(self) -> None:
        """uvicorn's, at a graceful shutdown: what is under way is finished, and nothing else begins."""
        self.keep = self._quiet = False
        if self._sending is None and "write" not in self._held:
            self.transport.close()

    # ------------------------------------------------------------------ time

    def look(self, now: float) -> None:
        """Called now and then with the stopwatch: what took too long ends here, the second time in a row that it is
        seen, because what came while this process was held up is read in between."""
        if self._touched:
            self._touched = False
            if self._phase in ("quiet", "head") and not self._buffer:
                self._phase, self._deadline = "quiet", now + self._config.timeout_keep_alive
        deadline = self._deadline
        if self._phase == "body" and self._incoming is not None:
            if self._incoming.held or not self._incoming.wanted:
                self._deadline = deadline = max(deadline, now + self._limits.body_s)
            deadline += self._incoming.got / self._limits.body_rate
        is_late = bool(self._deadline) and now > deadline
        if is_late and self._was_late:
            self._too_late()
        self._was_late = is_late

    def stuck(self, now: float) -> float:
        """For how many seconds its client has not taken what it must before it is given more."""
        return now - self._deadline + self._limits.write_s if self._phase == "write" and self._deadline else 0.0

    def _too_late(self) -> None:
        self._deadline = 0.0
        if self._phase == "body" or (self._phase == "head" and self._buffer):
            self._refuse(408, "the request did not come in time")
        elif self._phase == "write" or self.transport.get_write_buffer_size():
            self.transport.abort()  # a slow reader; whoever sends to it is told by connection_lost
        else:
            self.transport.close()

    def _set_phase(self, phase: str, seconds: float) -> None:
        self._phase, self._deadline, self._was_late = phase, stopwatch() + seconds if seconds else 0.0, False

    def _settle(self) -> None:
        """Find the phase again, after another has ended."""
        if self._lingering >= 0:
            return
        if "write" in self._held:
            self._set_phase("write", self._limits.write_s)
        elif self._body is not None:
            self._set_phase("body", self._limits.body_s)
        elif self._sending is not None:
            self._set_phase("serving", 0.0)
        elif self._buffer:
            self._set_phase("head", self._limits.head_s)
        else:
            self._set_phase("quiet", self._config.timeout_keep_alive)
            self._quiet = self.keep and not self._admin and not self._gone

    def _hold(self, why: str) -> None:
        if not self._held and not self._gone:
            self.transport.pause_reading()
        self._held.add(why)

    def _free(self, why: str) -> None:
        if why in self._held:
            self._held.discard(why)
            if not self._held and not self._gone and not self.transport.is_closing():
                self.transport.resume_reading()

    # ------------------------------------------------------------------ reading

    def _received(self, data: bytes) -> None:
        if self._lingering >= 0:
            self._lingering += len(data)
            if self._lingering > _LINGER:
                self.transport.abort()
            return
        self._quiet = False
        self._buffer = self._buffer + data if self._buffer else data
        self._advance()

    def _advance(self) -> None:
        """Go on as far as the buffer goes: one request after the other."""
        if self._advancing:
            return  # an answer that was given at once, inside of this loop
        self._advancing = True
        try:
            while self._lingering < 0 and not self._gone and self._step():
                pass
        except (BadHead, BadBody) as error:
            self._refuse(getattr(error, "status", 400), str(error))
        finally:
            self._advancing = False

    def _step(self) -> bool:
        """One step of reading; False when there is nothing to do until something comes."""
        if self._body is not None:
            return self._read_body()
        if self._sending is not None or "write" in self._held:
            if len(self._buffer) > _PIPELINED:
                self._hold("pipeline")
            return False
        self._free("pipeline")
        if not self.keep:
            self._close()
            return False
        if self._buffer[:2] == b"\r\n" and not self._skipped:
            self._buffer = self._buffer[2:]  # one empty line before a request (RFC 9112 section 2.2)
            self._skipped, self._scanned = True, 0
        if not self._buffer:
            self._settle()
            if self._eof:
                self._close()
            return False
        end = self._buffer.find(b"\r\n\r\n", max(self._scanned - 4, 0))
        limit = self._limits.heads.head
        if end < 0 or end + 4 > limit:
            self._unfinished(limit)
            return False
        block, self._buffer, self._scanned = self._buffer[:end + 4], self._buffer[end + 4:], 0
        self._skipped = False
        known = self._known(block, self._scheme) if len(block) <= SHORT else None
        if known is None or known.head is None:
            self._begin(read_request(block, self._scheme, self._limits.heads), None)
        else:
            self._begin(known.head, known)
        return True

    def _unfinished(self, limit: int) -> None:
        if len(self._buffer) > limit:
            long_line = self._buffer.find(b"\r\n", 0, self._limits.heads.target + 64) < 0
            raise BadHead("a head that is too long", 414 if long_line else 431)
        if suspicious(self._buffer, self._scanned):
            raise BadHead("not a request")
        self._scanned = len(self._buffer)
        if self._eof:
            self._close()
        elif self._phase != "head":
            self._set_phase("head", self._limits.head_s)

    def _read_body(self) -> bool:
        assert self._body is not None and self._incoming is not None
        data, self._buffer = self._buffer, b""
        pieces, rest = self._body.feed(data)
        if self._incoming.got + sum(map(len, pieces)) > self._most:
            raise BadHead("a body that is too long", 413)
        self._incoming.feed(pieces, rest is not None)
        if rest is None:
            return False
        self._body, self._buffer = None, rest
        self._settle()
        return True

    # ------------------------------------------------------------------ answering

    def _begin(self, head: RequestHead, known: Known | None) -> None:
        """Answer one request: at once where its answer is at hand, else by a task."""
        if not head.keep:
            self.keep = False
        self._state.total_requests += 1
        if known is not None and not self._admin and self._answer_at_once(head, known):
            return
        sending = self._sending = Sending(self, head, self._eof)
        if head.length is not None and head.length > self._limits.body:
            raise BadHead("a body that is too long", 413)
        if self._is_over_the_limit():
            raise BadHead("too many requests at once", 503)
        incoming = None
        if head.length or head.chunked:
            invite = self._invite if head.expects else None
            incoming = self._incoming = Incoming(lambda: self._hold("body"), lambda: self._free("body"), invite)
            self._body, self._most = Sized(head.length) if head.length else Chunked(), self._limits.body
        self._settle()
        request = Request(head.method, self._scheme, head.target, head.headers, incoming,
                          head.length if incoming is not None else None, self._client, b"1.0" if head.old else b"1.1",
                          wish=sending.wish)
        task = self._loop.create_task(self._serve(request, sending, head, stopwatch()))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def _answer_at_once(self, head: RequestHead, known: Known) -> bool:
        began = stopwatch() if self._log is not None else 0.0
        message = self._again(known, self._scheme)
        if message is None:
            return False
        block, body, status = known.parts(message)
        if not self.keep:
            block = block[:-2] + b"connection: close\r\n\r\n"
        elif head.old:
            block = block[:-2] + b"connection: keep-alive\r\n\r\n"
        give(self.transport, block, body)
        if self._log is not None:
            self._log.hit(self._client, head, status, len(body), began, block)
        return True

    async def _serve(self, request: Request, sending: Sending, head: RequestHead, began: float) -> None:
        try:
            await self._asked(request, sending)
            if not sending.ended and not sending.lost:
                raise RuntimeError("a request was left without an answer")
        except ConnectionError:  # the client left, or was refused, or did not send what it promised
            if not sending.lost:
                sending.abort()
        except Exception:
            _logger.exception("%s %r failed", request.method, request.target)
            self._fail(sending)
        except BaseException:  # cancelled, at the end of a graceful shutdown
            sending.abort()
            raise
        finally:
            if self._log is not None:
                self._log.add(self._client, head, sending.status, sending.size, began, sending.said)

    async def _asked(self, request: Request, sending: Sending) -> None:
        """The admin where it is meant, else the exchange."""
        if self._admin or self.edge.is_reserved(request.method, request.target):
            if not await self.edge.answer_admin(request, sending, own=self._admin):
                await sending.start(404, phrase(404), ((b"content-length", b"0"), (b"cache-control", b"no-store")))
                await sending.end()
            return
        await self.edge.exchange.serve(request, sending)

    def finished(self, sending: Sending) -> None:
        """See answering.Line."""
        self._sending = None
        if self._body is not None:  # answered before it was asked whole: what still comes is no request
            self.keep = False
            self._let_go("the answer is complete")
            self._linger()
            return
        self._incoming = None
        self._settle()
        self._advance()

    def is_asked_whole(self) -> bool:
        """See answering.Line."""
        return self._body is None

    async def room(self) -> None:
        """See answering.Line."""
        if self._room is not None:
            await self._room.wait()
        if self._gone:
            raise ConnectionError("the client left")

    def _invite(self) -> None:
        if self._sending is not None and not self._sending.started and not self._gone:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _is_over_the_limit(self) -> bool:
        most = self._config.limit_concurrency
        return most is not None and (len(self._state.connections) >= most or len(self._state.tasks) >= most)

    # ------------------------------------------------------------------ ends

    def _refuse(self, status: int, why: str) -> None:
        """Answer with an error of our own, where no answer has begun, and end the connection."""
        if self._gone:
            return
        sending, self.keep, self._quiet = self._sending, False, False
        if sending is not None and sending.started:
            sending.abort()
            return
        self._let_go(why)
        if self._log is not None:
            self._log.refused(self._client, status, why)
        self.transport.write(refusal(status, why, wall(), silent=sending is not None and sending.method == "HEAD"))
        self._linger()

    def _fail(self, sending: Sending) -> None:
        if sending.started:
            sending.abort()
        elif not sending.lost:
            self._refuse(500, "the proxy failed")

    def _let_go(self, why: str) -> None:
        """Tell whoever still works on a request that nobody waits."""
        if self._incoming is not None:
            self._incoming.fail(why)
        if self._sending is not None:
            self._sending.lose()
        self._incoming = self._sending = self._body = None

    def _close(self) -> None:
        if self._buffer:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close our side and throw away what still comes: to close at once would make the client's system forget the
        answer that it has not read yet (RFC 9112 section 9.6)."""
        self._buffer = b""
        if self._eof or not self.transport.can_write_eof() or self.transport.is_closing():
            self.transport.close()
            return
        self._lingering = 0
        self.transport.write_eof()
        for why in list(self._held):
            self._free(why)
        self._set_phase("lingering", _LINGER_S)
