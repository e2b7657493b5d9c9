"""How many connections to an origin there are, and who has which.

A permit for each that may be in use; one that is free is kept for a while and taken again, the last one first. With a
permit in hand and none free a new one is opened, so there are never more connections than permits. Who finds no permit
waits in line, first come first served; the line has an end, and waiting a limit. Whose client leaves meanwhile leaves the
line. Whose client may have left (wish.py) stands behind all others, and makes room for them where the line is at its end.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from ..contracts import OriginFailed
from ..wish import Wish, Withdrawn
from .connection import OriginConnection, Patience

Connect = Callable[[Patience], Awaitable[OriginConnection]]


class Pool:
    """The connections to one origin, of one event loop."""

    def __init__(self, connect: Connect, *, size: int, queue: int, queue_s: float, idle_s: float) -> None:
        self._connect, self._queue, self._queue_s, self._idle_s = connect, queue, queue_s, idle_s
        self._permits = size
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._behind: deque[asyncio.Future[None]] = deque()  # those whose clients may have left
        self._idle: dict[OriginConnection, asyncio.TimerHandle] = {}
        self._busy: set[OriginConnection] = set()
        self._closed = False

    @property
    def open(self) -> int:
        """Connections that stand now."""
        return len(self._idle) + len(self._busy)

    async def take(self, patience: Patience, wish: Wish, *, new: bool = False) -> OriginConnection:
        """A connection for one exchange; `give` takes it back. Raises OriginFailed when there is none in time, Withdrawn when
        nobody wants it any more before there is.

        new: not one that was used before; all that are free are closed.
        """
        await self._permit(patience, wish)
        try:
            while self._idle:
                connection, timer = self._idle.popitem()
                timer.cancel()
                if not new and connection.reusable and connection.is_silent():
                    self._busy.add(connection)
                    return connection
                connection.abort()
            connection = await self._connect(patience)
        except BaseException:
            self._release()
            raise
        if self._closed:
            connection.abort()
            self._release()
            raise OriginFailed("the proxy is closing", reached=False)
        self._busy.add(connection)
        return connection

    def give(self, connection: OriginConnection) -> None:
        """Take a connection back; one that can not be used again is closed. A second time it does nothing."""
        if connection not in self._busy:
            return
        self._busy.discard(connection)
        if connection.rest() and not self._closed:
            loop = asyncio.get_running_loop()
            self._idle[connection] = loop.call_later(self._idle_s, self._too_long_idle, connection)
        else:
            connection.abort()
        self._release()

    def lost(self, connection: OriginConnection) -> None:
        """A connection is gone; called by the connection."""
        timer = self._idle.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Close all, those in use too."""
        self._closed = True
        for connection in [*self._idle, *self._busy]:
            connection.abort()
        for timer in self._idle.values():
            timer.cancel()
        self._idle.clear()

    def _too_long_idle(self, connection: OriginConnection) -> None:
        self._idle.pop(connection, None)
        connection.abort()

    async def _permit(self, patience: Patience, wish: Wish) -> None:
        if self._closed:
            raise OriginFailed("the proxy is closing", reached=False)
        if self._permits > 0:
            self._permits -= 1
            return
        if wish.gone:
            raise Withdrawn("nobody waits for this answer")
        if len(self._waiters) + len(self._behind) >= self._queue:
            last = None if wish.lost else _next_of(self._behind)
            if last is None:
                raise _too_many()
            last.set_exception(_too_many())
        waiter = asyncio.get_running_loop().create_future()
        lines = self._waiters, self._behind
        lines[wish.lost].append(waiter)

        def moves(behind: bool) -> None:
            if waiter in lines[not behind]:
                lines[not behind].remove(waiter)
                lines[behind].append(waiter)

        try:
            with wish.in_line(moves):
                await patience.wait(waiter, self._queue_s, "no free connection in time", reached=False)
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release()  # it was handed a permit in the moment it gave up
            for line in lines:
                if waiter in line:
                    line.remove(waiter)
            raise

    def _release(self) -> None:
        waiter = _next_of(self._waiters) or _next_of(self._behind)
        if waiter is None:
            self._permits += 1
        else:
            waiter.set_result(None)  # the permit changes hands


def _next_of(line: deque[asyncio.Future[None]]) -> asyncio.Future[None] | None:
    """Who is first in a line and still waits; he leaves it."""
    while line:
        if not (waiter := line.popleft()).done():
            return waiter
    return None


def _too_many() -> OriginFailed:
    return OriginFailed("too many requests wait for the origin", timed_out=True, reached=False)
