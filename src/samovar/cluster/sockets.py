"""Thin connections for engines that answer requests in order: a pool of blocking ones, and one for each event loop.

What is said over them is the dialect's: `Dialect.reader()` makes a parser with `feed(bytes)` and `gets()`, which returns
NOT_YET when no whole reply is there; `Dialect.greeting()` is what a new connection says first. Faults are returned, never
raised, and a connection that had one is not used again.

In asyncio all tasks of a loop share one connection: requests are written as they come and replies belong to them in
order, so a cancelled task leaves its reply to be dropped, and the connection sound.

The one rule: a connection belongs to the process, and in asyncio to the loop, that opened it. The child of a fork starts
without any.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import weakref
from collections import deque
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Protocol

from .._base.clock import stopwatch
from .blocking import NOT_YET, Aside, Wire, taker
from .node import Fault

MOST_IDLE = 32  # blocking connections that are kept for later
_LOOK_AFTER_S = 1.0  # a connection that lay idle for so long is looked at before it is used


class Dialect(Protocol):
    """How an engine talks."""

    def reader(self) -> Any:
        """A parser for one connection. Its `gets` raises ValueError for what is no reply; `is_cutting` says that more is to
        come of one that is too large and was answered already: the connection is not worth keeping. It may have
        `drain(replies, count)`, which appends to the replies what is there, until they are so many: where `gets` is
        written in Python."""

    def greeting(self) -> tuple[bytes, int]:
        """What a new connection says, and how many replies that has."""

    def welcome(self, replies: list[Any]) -> Fault | None:
        """What is wrong with the replies to the greeting."""


class Address(NamedTuple):
    """Where an engine listens: a host and a port, or the path of a unix socket; `tls` to encrypt."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return self.path or f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def fault_of(error: BaseException, where: object) -> Fault:
    """The Fault that an exception of a socket stands for."""
    if isinstance(error, TimeoutError):
        return Fault("timeout", f"{where} did not answer in time")
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError | EOFError | ssl.SSLEOFError):
        return Fault("reset", f"{where} closed the connection")
    if isinstance(error, ssl.SSLError):
        return Fault("auth", f"{where}: TLS failed: {error.reason or type(error).__name__}")
    if isinstance(error, ValueError):
        return Fault("protocol", f"{where} answered what is no reply: {error}")
    return Fault("refused", f"{where} cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}")


_FAULTS = (OSError, EOFError, ValueError)  # TimeoutError and ssl.SSLError are OSErrors

_lines: "weakref.WeakSet[Line]" = weakref.WeakSet()
_left_behind: list[Any] = []  # in the child of a fork: closing these would disturb the parent's loops


def _forked() -> None:
    for line in list(_lines):
        for wire in line._idle:
            with contextlib.suppress(OSError):
                wire.socket.close()
        line._idle = deque()
        line._born += 1
        _left_behind.append(line._streams)
        line._streams = weakref.WeakKeyDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Line:
    """All connections to one engine. Safe in threads, tasks, loops and after a fork.

    timeout_s: the longest that a connection may take to open, and that may pass before more of an answer comes.
    """

    def __init__(self, address: Address, dialect: Dialect, timeout_s: float) -> None:
        self.address, self.dialect, self.timeout_s = address, dialect, timeout_s
        self.is_closed = False
        self._idle: deque[Wire] = deque()
        self._born = 0  # which generation of blocking connections is trusted
        self._streams: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Stream] = weakref.WeakKeyDictionary()
        _lines.add(self)

    # ---------------------------------------------------------------- blocking

    def exchange(self, payload: bytes, count: int) -> Any:
        """Send a request and return its `count` replies, or a Fault."""
        wire: Any = self._at_hand() or self.open()
        if type(wire) is Fault:
            return wire
        try:
            replies = wire.exchange(payload, count)
        except BaseException as error:
            return self._broken(wire, error)
        self._keep(wire)
        return replies

    def begin(self, payload: bytes, counts: Sequence[int]) -> "Underway | Aside | None":
        """Send several requests in one, that have so many replies each, and do not wait. Where a connection must be opened
        first a thread does it all; None where none is free."""
        wire = self._at_hand()
        if wire is not None:
            return Underway(self, wire, payload, counts)
        return Aside.start(lambda: _parted(self.exchange(payload, sum(counts)), counts))

    def _at_hand(self) -> Wire | None:
        """An idle connection that can be used."""
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return None
            if stopwatch() - wire.used < _LOOK_AFTER_S or wire.is_quiet():
                return wire
            wire.socket.close()

    def _keep(self, wire: Wire) -> None:
        """An exchange came to its end."""
        wire.used = stopwatch()
        if wire.born == self._born and len(self._idle) < MOST_IDLE and not wire.reader.is_cutting:
            self._idle.append(wire)
        else:
            wire.socket.close()

    def _broken(self, wire: Wire, error: BaseException) -> Fault:
        """It did not. Raises what is no fault: interrupted, what is under way on it is anybody's guess."""
        wire.socket.close()
        if not isinstance(error, _FAULTS):
            raise error
        self._drop_idle()
        return fault_of(error, self.address)

    def open(self) -> Any:
        """A new blocking connection that was greeted, or a Fault. The caller closes its socket, or hands it back."""
        if self.is_closed:
            return Fault("closed", f"the node for {self.address} was closed")
        wire, born = None, self._born
        try:
            wire = Wire(self._connect(), self.dialect.reader(), born, self.timeout_s)
            payload, count = self.dialect.greeting()
            fault = self.dialect.welcome(wire.exchange(payload, count)) if count else None
        except BaseException as error:
            if wire is not None:
                wire.socket.close()
            if isinstance(error, _FAULTS):
                return fault_of(error, self.address)
            raise
        if fault is not None:
            wire.socket.close()
            return fault
        return wire

    def _connect(self) -> socket.socket:
        where = self.address
        if where.path:
            new = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                new.settimeout(self.timeout_s)
                new.connect(where.path)
            except BaseException:
                new.close()
                raise
            return new
        new = socket.create_connection((where.host, where.port), self.timeout_s)
        try:
            new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            new.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return new if where.tls is None else where.tls.wrap_socket(new, server_hostname=where.host)
        except BaseException:
            new.close()
            raise

    def _drop_idle(self) -> None:
        """One connection broke: the others, which came before it, are not trusted."""
        self._born += 1
        while True:
            try:
                self._idle.pop().socket.close()
            except IndexError:
                return

    def close(self) -> None:
        """Close the blocking connections, and let no new ones be opened."""
        self.is_closed = True
        self._drop_idle()

    # ---------------------------------------------------------------- asyncio

    async def aexchange(self, payload: bytes, count: int) -> Any:
        """The same for a task."""
        loop = asyncio.get_running_loop()
        stream = self._streams.get(loop)
        if stream is None or stream.is_over:
            if self.is_closed:
                return Fault("closed", f"the node for {self.address} was closed")
            stream = self._streams[loop] = _Stream(self, loop)
        if stream.transport is None:
            fault = await asyncio.shield(stream.opening)
            if fault is not None:
                return fault
        return await stream.ask(payload, count)

    async def aclose(self) -> None:
        """Close this loop's connection, and the blocking ones, and let no new ones be opened."""
        self.close()
        stream = self._streams.pop(asyncio.get_running_loop(), None)
        if stream is not None:
            await asyncio.shield(stream.opening)
            stream.fail(Fault("closed", f"the node for {self.address} was closed"))


class Underway:
    """Requests that were sent over one connection. Its `finish`, or `drop`, must be called."""

    __slots__ = ("_counts", "_line", "_wire")

    def __init__(self, line: Line, wire: Wire, payload: bytes, counts: Sequence[int]) -> None:
        self._line, self._wire, self._counts = line, wire, counts
        wire.begin(payload, sum(counts))

    def finish(self) -> list[Any]:
        """For each request its replies, or a Fault."""
        try:
            replies: Any = self._wire.finish()
        except BaseException as error:
            replies = self._line._broken(self._wire, error)
        else:
            self._line._keep(self._wire)
        return _parted(replies, self._counts)

    def drop(self) -> None:
        """Nobody wants the replies: the connection ends."""
        self._wire.socket.close()


def _parted(replies: Any, counts: Sequence[int]) -> list[Any]:
    """The replies of each of several requests, or for each the Fault."""
    if type(replies) is Fault:
        return [replies] * len(counts)
    ends = [0, *accumulate(counts)]
    return [replies[start:end] for start, end in pairwise(ends)] if len(counts) > 1 else [replies]


class _Stream(asyncio.Protocol):
    """One event loop's connection. `opening` is done when it can be asked, with what went wrong or None."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self.line, self.loop = line, loop
        self.reader = line.dialect.reader()
        self._take = taker(self.reader)
        self.transport: asyncio.Transport | None = None
        self.is_over = False
        self._raw: Any = None
        self._asked: deque[tuple[int, asyncio.Future[Any]]] = deque()
        self._replies: list[Any] = []
        self._moved = 0.0  # when something came last, or was asked while nothing was due
        self._timer: asyncio.TimerHandle | None = None
        self.opening: asyncio.Task[Fault | None] = loop.create_task(self._open())

    async def _open(self) -> Fault | None:
        where, limit_s = self.line.address, self.line.timeout_s
        def make() -> _Stream:
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
        except _FAULTS as error:
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
        """Write a request; its replies, or a Fault, come in the future."""
        future = self.loop.create_future()
        if not self.is_over and self._raw.is_closing():  # a write failed, and the loop has not said so yet
            self.connection_lost(None)
        if self.is_over:
            future.set_result(Fault("reset", f"{self.line.address} closed the connection"))
            return future
        if not self._asked:
            self._moved = stopwatch()
            if self._timer is None:
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
        while self._asked:
            future = self._asked.popleft()[1]
            if not future.done():
                future.set_result(fault)

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
                if not future.done():
                    future.set_result(self._replies)
                self._replies = []
            if self.reader.gets() is not NOT_YET:
                raise ValueError("a reply that nobody asked for")
        except ValueError as error:
            self.fail(fault_of(error, self.line.address))

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(Fault("reset", f"{self.line.address} closed the connection"))
