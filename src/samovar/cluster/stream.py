"""One event loop's connection to an engine that answers requests in order: all tasks of the loop share it.

Requests are written as they come, and replies belong to them in order. What ends a connection is told to all who wait on
it: as a Fault, or as `Unheard` to those whom it had begun to say nothing, after it had answered others: an engine, or what
stands before it, may close a connection whenever it likes, and that says nothing about the engine yet.

The one rule: a stream that is over is not asked again; `Line` opens another.
"""

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from .._base.clock import stopwatch
from .blocking import FAULTS, NOT_YET, fault_of, taker
from .node import Fault

if TYPE_CHECKING:
    from .sockets import Line


class Unheard(NamedTuple):
    """A connection that had answered before ended, and nothing came of this answer: it may be asked for once more, within
    `left_s` seconds."""

    fault: Fault
    left_s: float


class Stream(asyncio.Protocol):
    """One event loop's connection. `opening` is done when it can be asked, with what went wrong or None."""

    def __init__(self, line: "Line", loop: asyncio.AbstractEventLoop) -> None:
        self.line, self.loop = line, loop
        self.reader = line.dialect.reader()
        self._take = taker(self.reader)
        self.transport: asyncio.Transport | None = None
        self.is_over = False
        self._is_used = False  # it has answered somebody
        self._raw: Any = None
        self._asked: deque[tuple[int, asyncio.Future[Any]]] = deque()
        self._replies: list[Any] = []
        self._moved = 0.0  # when something came last, or was asked while nothing was due
        self._timer: asyncio.TimerHandle | None = None
        self.opening: asyncio.Task[Fault | None] = loop.create_task(self._open())

    async def _open(self) -> Fault | None:
        where, limit_s = self.line.address, self.line.timeout_s
        def make() -> Stream:
            return self

        try:
            async with asyncio.timeout(limit_s):
                if where.path:
                    await self.loop.create_unix_connection(make, where.path)
                else:
                    await self.loop.create_connection(make, where.host, where.port, ssl=where.tls)
            payload, count = self.line.dialect.greeting()
            replies = await self.ask(payload, count) if count else []
            fault = replies if type(replies) is Fault else self.line.dialect.welcome(replies) if count else None
        except FAULTS as error:
            fault = fault_of(error, where)
        except asyncio.CancelledError:
            self.fail(Fault("closed", "the event loop is ending"))
            raise
        if fault is None and self.is_over:
            fault = Fault("reset", f"{where} closed the connection")
        if fault is not None:
            self.fail(fault)
        self.transport = self._raw
        return fault

    def ask(self, payload: bytes, count: int) -> "asyncio.Future[Any]":
        """Write a request; its replies, a Fault, or Unheard come in the future."""
        future = self.loop.create_future()
        if not self._asked:
            self._moved = stopwatch()
        if not self.is_over and self._raw.is_closing():  # a write failed, and the loop has not said so yet
            self.connection_lost(None)
        if self.is_over:
            future.set_result(self._unheard(Fault("reset", f"{self.line.address} closed the connection")))
            return future
        if not self._asked and self._timer is None:
            self._timer = self.loop.call_later(self.line.timeout_s, self._look)
        self._asked.append((count, future))
        self._raw.write(payload)
        return future

    def _look(self) -> None:
        """Whether the engine still moves; one timer for however many requests."""
        self._timer = None
        if self._asked and not self.is_over:
            left_s = self._moved + self.line.timeout_s - stopwatch()
            if left_s <= 0:
                self.fail(Fault("timeout", f"{self.line.address} did not answer in time"))
            else:
                self._timer = self.loop.call_later(left_s, self._look)

    def fail(self, fault: Fault) -> None:
        """End the connection: everybody who waits on it is told why."""
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._raw is not None:
            self._raw.abort()
        has_begun = bool(self._replies) or self.reader.is_amid
        while self._asked:
            future = self._asked.popleft()[1]
            if not future.done():
                future.set_result(fault if has_begun else self._unheard(fault))
            has_begun = False

    def _unheard(self, fault: Fault) -> Fault | Unheard:
        """What is told those of whose answers nothing came."""
        if fault.reason != "reset" or not self._is_used:
            return fault
        return Unheard(fault, self._moved + self.line.timeout_s - stopwatch())

    # ---------------------------------------------------------------- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = transport
        if self.is_over:
            self._raw.abort()
            return
        plug = transport.get_extra_info("socket")
        if plug is not None and plug.family != getattr(socket, "AF_UNIX", None):
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        self._moved = stopwatch()
        asked = self._asked
        self.reader.feed(data)
        try:
            while asked:
                self._take(self._replies, asked[0][0])
                if len(self._replies) < asked[0][0]:
                    return
                future = asked.popleft()[1]
                self._is_used = self.transport is not None
                if not future.done():
                    future.set_result(self._replies)
                self._replies = []
            if self.reader.gets() is not NOT_YET:
                raise ValueError("a reply that nobody asked for")
        except ValueError as error:
            self.fail(fault_of(error, self.line.address))

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(Fault("reset", f"{self.line.address} closed the connection"))
