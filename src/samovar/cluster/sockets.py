"""Thin connections for engines that answer requests in order: a pool of blocking ones, and one for each event loop.

What is said over them is the dialect's: `Dialect.reader()` makes a parser with `feed(bytes)` and `gets()`, which returns
NOT_YET when no whole reply is there; `Dialect.greeting()` is what a new connection says first. Faults are returned, never
raised, and a connection that had one is not used again.

In asyncio all tasks of a loop share one connection (cluster/stream.py), so a cancelled task leaves its reply to be dropped,
and the connection sound.

A connection that was used before may end at any time, by an engine or a load balancer that closes idle ones: a request
that it said nothing to is sent once more, over a new one, within the same time. That is Repeated, and safe: what nodes ask
for may be done twice (cluster/redis.py, cluster/memcached.py). Only when that fails too is it the engine's fault.

The one rule: a connection belongs to the process, and in asyncio to the loop, that opened it. The child of a fork starts
without any.
"""

import asyncio
import contextlib
import math
import os
import socket
import ssl
import weakref
from collections import deque
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Protocol

from .._base.clock import bare_stopwatch as stopwatch
from .blocking import FAULTS, Aside, Repeated, Wire, fault_of
from .node import Fault
from .stream import Stream, Unheard

MOST_IDLE = 32  # blocking connections that are kept for later
_LOOK_AFTER_S = 1.0  # a connection that lay idle for so long is looked at before it is used


class Dialect(Protocol):
    """How an engine talks."""

    def reader(self) -> Any:
        """A parser for one connection. Its `gets` raises ValueError for what is no reply; `is_cutting` says that more is to
        come of one that is too large and was answered already: the connection is not worth keeping; `is_amid` that a part
        of one is here. It may have
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
        self._streams: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Stream] = weakref.WeakKeyDictionary()
        _lines.add(self)

    # ---------------------------------------------------------------- blocking

    def exchange(self, payload: bytes, count: int) -> Any:
        """Send a request and return its `count` replies, or a Fault."""
        wire: Any = self._at_hand() or self.open(self.timeout_s)
        if type(wire) is Fault:
            return wire
        try:
            replies = wire.exchange(payload, count)
        except BaseException as error:
            return self._broken(wire, error, payload, count)
        self._keep(wire)
        return replies

    def begin(self, payload: bytes, counts: Sequence[int]) -> "Underway | Aside | None":
        """Send several requests in one, that have so many replies each, and do not wait. Where a connection must be opened
        first a thread does it all; None where none is free."""
        after_s = 0.0 if self.address.tls is None else _LOOK_AFTER_S  # over TLS a look costs the connection
        wire = self._at_hand(after_s)  # one that ended is found out now: once others were waited for it is late
        if wire is not None:
            return Underway(self, wire, payload, counts)
        return Aside.start(lambda: _parted(self.exchange(payload, sum(counts)), counts))

    def _at_hand(self, after_s: float = _LOOK_AFTER_S) -> Wire | None:
        """An idle connection that can be used; looked at, if it lay idle for `after_s`."""
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return None
            now = stopwatch()
            if now - wire.used < after_s or wire.is_quiet():
                wire.used = now
                return wire
            wire.socket.close()

    def _keep(self, wire: Wire) -> None:
        """An exchange came to its end."""
        wire.used = stopwatch()
        if wire.born == self._born and len(self._idle) < MOST_IDLE and not wire.reader.is_cutting:
            self._idle.append(wire)
        else:
            wire.socket.close()

    def _broken(self, wire: Wire, error: BaseException, payload: bytes, count: int) -> Any:
        """It did not: the Fault, or the replies of a second try. Raises what is no fault: interrupted, what is under way on
        it is anybody's guess."""
        wire.socket.close()
        if not isinstance(error, FAULTS):
            raise error
        self._drop_idle()
        fault = fault_of(error, self.address)
        ends = wire.used + self.timeout_s
        left_s = ends - stopwatch()
        if fault.reason != "reset" or not wire.used or not wire.is_unheard or left_s <= 0:  # of a new one, used is 0
            return fault
        another = self.open(left_s, ends)
        if type(another) is Fault:
            return another
        try:
            another.limit(_left_s(ends))
            replies = another.exchange(payload, count)
            another.limit(self.timeout_s)
        except BaseException as again:
            return self._broken(another, again, payload, count)
        self._keep(another)
        return Repeated(replies)

    def open(self, timeout_s: float, ends: float = math.inf) -> Any:
        """A new blocking connection that was greeted, or a Fault. The caller closes its socket, or hands it back. ends: when
        all of that is to be over; the connection goes on with what is left then."""
        wire, born = None, self._born
        if self.is_closed:
            return Fault("closed", f"the node for {self.address} was closed")
        try:
            plug = self._connect(timeout_s)
            wire = Wire(plug, self.dialect.reader(), born, min(timeout_s, _left_s(ends)))
            payload, count = self.dialect.greeting()
            fault = self.dialect.welcome(wire.exchange(payload, count)) if count else None
        except BaseException as error:
            if wire is not None:
                wire.socket.close()
            if isinstance(error, FAULTS):
                return fault_of(error, self.address)
            raise
        if fault is not None:
            wire.socket.close()
            return fault
        return wire

    def _connect(self, timeout_s: float) -> socket.socket:
        where = self.address
        if where.path:
            new = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                new.settimeout(timeout_s)
                new.connect(where.path)
            except BaseException:
                new.close()
                raise
            return new
        new = socket.create_connection((where.host, where.port), timeout_s)
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

    async def aexchange(self, payload: bytes, count: int, *, is_second: bool = False) -> Any:
        """The same for a task."""
        loop = asyncio.get_running_loop()
        stream = self._streams.get(loop)
        if stream is None or stream.is_over:
            if self.is_closed:
                return Fault("closed", f"the node for {self.address} was closed")
            stream = self._streams[loop] = Stream(self, loop)
        if stream.transport is None:
            fault = await asyncio.shield(stream.opening)
            if fault is not None:
                return fault
        told = await stream.ask(payload, count)
        if type(told) is not Unheard:
            return told
        if is_second or told.left_s <= 0:
            return told.fault
        try:
            async with asyncio.timeout(told.left_s):
                again = await self.aexchange(payload, count, is_second=True)
        except TimeoutError as error:
            return fault_of(error, self.address)
        return again if type(again) is Fault else Repeated(again)

    async def aclose(self) -> None:
        """Close this loop's connection, and the blocking ones, and let no new ones be opened."""
        self.close()
        stream = self._streams.pop(asyncio.get_running_loop(), None)
        if stream is not None:
            await asyncio.shield(stream.opening)
            stream.fail(Fault("closed", f"the node for {self.address} was closed"))


class Underway:
    """Requests that were sent over one connection. Its `finish`, or `drop`, must be called."""

    __slots__ = ("_counts", "_line", "_payload", "_wire")

    def __init__(self, line: Line, wire: Wire, payload: bytes, counts: Sequence[int]) -> None:
        self._line, self._wire, self._payload, self._counts = line, wire, payload, counts
        wire.begin(payload, sum(counts))

    def finish(self) -> list[Any]:
        """For each request its replies, or a Fault."""
        try:
            replies: Any = self._wire.finish()
        except BaseException as error:
            replies = self._line._broken(self._wire, error, self._payload, sum(self._counts))
        else:
            self._line._keep(self._wire)
        return _parted(replies, self._counts)

    def drop(self) -> None:
        """Nobody wants the replies: the connection ends."""
        self._wire.socket.close()


def _left_s(ends: float) -> float:
    """The seconds until then; some at least, for a socket takes no fewer."""
    return max(0.001, ends - stopwatch())


def _parted(replies: Any, counts: Sequence[int]) -> list[Any]:
    """The replies of each of several requests, or for each the Fault."""
    if type(replies) is Fault:
        return [replies] * len(counts)
    if len(counts) == 1:
        return [replies]
    parts = [replies[start:end] for start, end in pairwise([0, *accumulate(counts)])]
    return [Repeated(part) for part in parts] if type(replies) is Repeated else parts
