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
import select
import selectors
import socket
import ssl
import struct
import sys
import weakref
from collections import deque
from typing import Any, NamedTuple, Protocol

from .._base.clock import stopwatch
from .node import Fault

NOT_YET: Any = type("NotYet", (), {"__repr__": lambda self: "NOT_YET"})()
MOST_IDLE = 32  # blocking connections that are kept for later
_LOOK_AFTER_S = 1.0  # a connection that lay idle for so long is looked at before it is used
_CHUNK = 1 << 16
_AT_ONCE = 1 << 15  # a request of no more bytes goes out whole before its answer is read


class Dialect(Protocol):
    """How an engine talks."""

    def reader(self) -> Any:
        """A parser for one connection. Its `gets` raises ValueError for what is no reply; `is_cutting` says that more is to
        come of one that is too large and was answered already: the connection is not worth keeping."""

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


_KERNEL_WAITS = sys.platform == "linux" and sys.maxsize > 1 << 32  # a time limit in the socket saves a call each time
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
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
        self._idle: deque[_Wire] = deque()
        self._born = 0  # which generation of blocking connections is trusted
        self._streams: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Stream] = weakref.WeakKeyDictionary()
        _lines.add(self)

    # ---------------------------------------------------------------- blocking

    def exchange(self, payload: bytes, count: int) -> Any:
        """Send a request and return its `count` replies, or a Fault."""
        wire = self._wire()
        if type(wire) is Fault:
            return wire
        try:
            replies = wire.exchange(payload, count)
        except _FAULTS as error:
            wire.socket.close()
            self._drop_idle()
            return fault_of(error, self.address)
        except BaseException:  # interrupted: what is under way on it is anybody's guess
            wire.socket.close()
            raise
        wire.used = stopwatch()
        if wire.born == self._born and len(self._idle) < MOST_IDLE and not wire.reader.is_cutting:
            self._idle.append(wire)
        else:
            wire.socket.close()
        return replies

    def _wire(self) -> Any:
        """A connection for one exchange, or a Fault."""
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return self.open()
            if stopwatch() - wire.used < _LOOK_AFTER_S or wire.is_quiet():
                return wire
            wire.socket.close()

    def open(self) -> Any:
        """A new blocking connection that was greeted, or a Fault. The caller closes its socket, or hands it back."""
        if self.is_closed:
            return Fault("closed", f"the node for {self.address} was closed")
        wire, born = None, self._born
        try:
            wire = _Wire(self._connect(), self.dialect.reader(), born, self.timeout_s)
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


class _Wire:
    """One blocking connection."""

    __slots__ = ("born", "reader", "socket", "timeout_s", "used")

    def __init__(self, connected: socket.socket, reader: Any, born: int, timeout_s: float) -> None:
        self.socket, self.reader, self.born, self.timeout_s, self.used = connected, reader, born, timeout_s, 0.0
        if _KERNEL_WAITS and not isinstance(connected, ssl.SSLSocket):
            limit = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1_000_000) or 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            connected.settimeout(None)

    def exchange(self, payload: bytes, count: int) -> list[Any]:
        gets = self.reader.gets
        replies: list[Any] = []
        try:
            if len(payload) <= _AT_ONCE:
                self.socket.sendall(payload)
            else:
                self._send_while_reading(payload)
            while len(replies) < count:
                reply = gets()
                if reply is NOT_YET:
                    self._receive()
                else:
                    replies.append(reply)
        except BlockingIOError:
            raise TimeoutError from None  # the kernel's word for it
        if gets() is not NOT_YET:
            raise ValueError("a reply that nobody asked for")
        return replies

    def _receive(self) -> None:
        chunk = self.socket.recv(_CHUNK)
        if not chunk:
            raise EOFError
        self.reader.feed(chunk)

    def _send_while_reading(self, payload: bytes) -> None:
        """An engine that cannot send its answers may stop reading: so take in what comes while sending."""
        view, sent, before = memoryview(payload), 0, self.socket.gettimeout()
        self.socket.settimeout(0)  # TLS may be readable, or writable, and have nothing to give or take
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
                while sent < len(view):
                    ready = selector.select(self.timeout_s)
                    if not ready:
                        raise TimeoutError
                    if ready[0][1] & selectors.EVENT_READ:
                        with contextlib.suppress(*_LATER):
                            self._receive()
                    if ready[0][1] & selectors.EVENT_WRITE:
                        with contextlib.suppress(*_LATER):
                            sent += self.socket.send(view[sent:sent + _CHUNK])
        finally:
            self.socket.settimeout(before)

    def is_quiet(self) -> bool:
        """Whether nothing came while nothing was asked: an end, or what nobody asked for."""
        if isinstance(self.socket, ssl.SSLSocket):
            return False  # it may talk about itself: open another
        return not select.select([self.socket], [], [], 0)[0] if self.socket.fileno() < 1024 else False


class _Stream(asyncio.Protocol):
    """One event loop's connection. `opening` is done when it can be asked, with what went wrong or None."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self.line, self.loop = line, loop
        self.reader = line.dialect.reader()
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
        asked, gets = self._asked, self.reader.gets
        self.reader.feed(data)
        try:
            while (reply := gets()) is not NOT_YET:
                if not asked:
                    raise ValueError("a reply that nobody asked for")
                self._replies.append(reply)
                if len(self._replies) == asked[0][0]:
                    future = asked.popleft()[1]
                    if not future.done():
                        future.set_result(self._replies)
                    self._replies = []
        except ValueError as error:
            self.fail(fault_of(error, self.line.address))

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(Fault("reset", f"{self.line.address} closed the connection"))
