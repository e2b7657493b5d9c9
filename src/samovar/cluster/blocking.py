"""One blocking connection, and requests that are under way on several of them at once.

`Wire.exchange` sends a request and waits for its replies. `begin` and `finish` are its two halves, so that a thread sends
to all engines first and then collects: who asks many waits for the slowest, not for each in turn. Each has a limit of its
own, which runs from when it was sent, or last moved: engines that hang together are given up together.

The one rule: a wire on which something was begun is finished, or closed. Faults are raised here, and told by `Line`.
"""

import contextvars
import math
import queue
import select
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from .._base.clock import stopwatch
from .._base.silence import is_silent
from ..app.background import Threads
from .node import Fault

NOT_YET: Any = type("NotYet", (), {"__repr__": lambda self: "NOT_YET"})()
_CHUNK = 1 << 16
_AT_ONCE = 1 << 15  # a request of no more bytes goes out whole before its answer is read

_KERNEL_WAITS = sys.platform == "linux" and sys.maxsize > 1 << 32  # a time limit in the socket saves a call each time
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_ASIDE = Threads(16, name="samovar-aside", idle_s=1.0)


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


FAULTS = (OSError, EOFError, ValueError)  # TimeoutError and ssl.SSLError are OSErrors


class Repeated(list[Any]):
    """Replies to what was asked for once more: the engine may have done it twice."""

    __slots__ = ()


def taker(reader: Any) -> Callable[[list[Any], int], None]:
    """What appends a reader's replies to a list, until they are so many or no more are there."""
    drain: Callable[[list[Any], int], None] | None = getattr(reader, "drain", None)
    return partial(_take, reader.gets) if drain is None else drain


def _take(gets: Callable[[], Any], replies: list[Any], count: int) -> None:
    while len(replies) < count and (reply := gets()) is not NOT_YET:
        replies.append(reply)


def _unasked() -> ValueError:
    return ValueError("a reply that nobody asked for")


class Wire:
    """One blocking connection; one thread's at a time."""

    __slots__ = ("_count", "_error", "_in_kernel", "_left", "_moved", "_replies", "_stuck", "_take", "_timeout_s", "_waits",
                 "born", "reader", "socket", "used")

    def __init__(self, connected: socket.socket, reader: Any, born: int, timeout_s: float) -> None:
        self.socket, self.reader, self.born, self.used = connected, reader, born, 0.0
        self._take = taker(reader)
        self._in_kernel = self._waits = _KERNEL_WAITS and not isinstance(connected, ssl.SSLSocket)
        self._replies: list[Any] = []
        self.limit(timeout_s)

    def limit(self, timeout_s: float) -> None:
        """From now on nothing takes longer, as long as nothing moves."""
        self._timeout_s = timeout_s
        if self._in_kernel:
            limit = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1_000_000) or 1)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._calm()

    def exchange(self, payload: bytes, count: int) -> list[Any]:
        """Send a request and wait for its `count` replies, one or more."""
        if len(payload) > _AT_ONCE:
            self.begin(payload, count)
            return self.finish()
        self._replies = replies = list[Any]()
        plug, reader = self.socket, self.reader
        try:
            plug.sendall(payload)
            while len(replies) < count:
                chunk = plug.recv(_CHUNK)  # `receive`, in place: this is what a hit costs
                if not chunk:
                    raise EOFError
                reader.feed(chunk)
                self._take(replies, count)
        except BlockingIOError:
            raise TimeoutError from None  # the kernel's word for it
        if reader.gets() is not NOT_YET:
            raise _unasked()
        return replies

    def receive(self) -> None:
        """Wait for more."""
        chunk = self.socket.recv(_CHUNK)
        if not chunk:
            raise EOFError
        self.reader.feed(chunk)

    def _end(self) -> None:
        if self.reader.gets() is not NOT_YET:
            raise _unasked()

    @property
    def is_unheard(self) -> bool:
        """Whether nothing has come of the answer to what was sent last."""
        return not self._replies and not self.reader.is_amid

    # ---------------------------------------------------------------- in two halves

    def begin(self, payload: bytes, count: int) -> None:
        """Send of a request what goes out without waiting; what goes wrong is raised by `finish`."""
        self._left, self._count, self._replies, self._error = memoryview(b""), count, list[Any](), None
        self._moved = stopwatch()
        try:
            if self._waits and len(payload) <= _AT_ONCE:
                self.socket.sendall(payload)  # nothing is on its way: there is room for it
            else:
                self._left = memoryview(payload)
                self._hurry()
                self._send()
        except OSError as error:
            self._error = error

    def finish(self) -> list[Any]:
        """The replies to what was begun."""
        if self._error is not None:
            raise self._error
        replies, count = self._replies, self._count
        try:
            while self._waits and len(replies) < count:
                if stopwatch() - self._moved > self._timeout_s / 8:  # others were waited for: the rest of its time is less
                    self._hurry()
                else:
                    self.receive()
                    self._moved = stopwatch()
                    self._take(replies, count)
        except BlockingIOError:
            raise TimeoutError from None
        if not self._waits:
            self._exchange_rest(replies, count)
            self._calm()
        self._end()
        return replies

    def _exchange_rest(self, replies: list[Any], count: int) -> None:
        """Send and receive without waiting anywhere but in `_wait`. An engine that cannot send its answers may stop
        reading: so what comes is taken in while the rest is sent."""
        while True:
            self._send()
            if len(replies) == count and not self._left:
                return
            if self._receive_some():
                self._take(replies, count)
            else:
                self._wait()

    def _hurry(self) -> None:
        """From now on the socket waits for nothing."""
        self._waits, self._stuck = False, False
        self.socket.settimeout(0)

    def _calm(self) -> None:
        """The socket waits as it did at first."""
        self._waits = self._in_kernel
        self.socket.settimeout(None if self._in_kernel else self._timeout_s)

    def _send(self) -> None:
        try:
            while self._left:
                sent = self.socket.send(self._left[:_CHUNK])
                self._left, self._moved = self._left[sent:], stopwatch()
        except _LATER:
            pass

    def _receive_some(self) -> bool:
        try:
            self.receive()
        except _LATER as error:  # TLS may be readable, or writable, and have nothing to give or take
            self._stuck = isinstance(error, ssl.SSLWantWriteError)
            return False
        self._moved = stopwatch()
        return True

    def _wait(self) -> None:
        left_s = self._moved + self._timeout_s - stopwatch()
        if left_s <= 0:
            raise TimeoutError
        writes = self._stuck or len(self._left) > 0
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self.socket, select.POLLIN | (select.POLLOUT if writes else 0))
            poll.poll(math.ceil(left_s * 1000))
        else:
            select.select([self.socket], [self.socket] if writes else [], [], left_s)

    def is_quiet(self) -> bool:
        """Whether nothing came while nothing was asked: an end, or what nobody asked for."""
        if isinstance(self.socket, ssl.SSLSocket):
            return False  # it may talk about itself: open another
        return is_silent(self.socket)


class Aside:
    """What a thread does meanwhile, of the few that there are, in a copy of this context: `finish` says what came of it. None
    is made where none is free."""

    def __init__(self) -> None:
        self._box: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    @classmethod
    def start(cls, act: Callable[[], Any]) -> "Aside | None":
        aside = cls()
        try:
            return aside if _ASIDE.start(partial(contextvars.copy_context().run, aside._do, act)) else None
        except RuntimeError:  # the system has no more threads, or the interpreter shuts down
            return None

    def _do(self, act: Callable[[], Any]) -> None:
        try:
            self._box.put((act(), None))
        except BaseException as error:
            self._box.put((None, error))

    def finish(self) -> Any:
        told, error = self._box.get()
        if error is not None:
            raise error
        return told

    def drop(self) -> None:
        """Nobody waits for it any more; it ends by itself."""
