"""The body of a request as it comes from a client: pieces on one side, an iterator on the other, and little between.

A client that sends faster than its body is read is made to wait (`hold`), and goes on when it was read (`free`). The
first time that somebody reads, a client that waits for a 100 (Continue) is told to send.
"""

import asyncio
from collections import deque
from collections.abc import Callable

_HIGH = 65_536  # bytes that may lie here unread


class Incoming:
    """An AsyncIterator over the pieces of one body. What ends it early raises ConnectionError in whoever reads."""

    __slots__ = ("_pieces", "_size", "_news", "_error", "_hold", "_free", "_invite", "_held", "got", "whole", "wanted")

    def __init__(self, hold: Callable[[], None], free: Callable[[], None], invite: Callable[[], None] | None) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._hold, self._free, self._invite = hold, free, invite
        self._held = False
        self.got = 0  # bytes that came
        self.whole = False  # all of it came
        self.wanted = False  # somebody reads it

    def feed(self, pieces: list[bytes], whole: bool) -> None:
        """Take in what came, and whether that was all."""
        for piece in pieces:
            self._pieces.append(piece)
            self._size += len(piece)
            self.got += len(piece)
        self.whole = whole
        if self._size > _HIGH and not self._held and not whole:
            self._held = True
            self._hold()
        self._news.set()

    def fail(self, why: str) -> None:
        """It will not come whole."""
        if not self.whole and self._error is None:
            self._error = ConnectionError(why)
            self._news.set()

    @property
    def held(self) -> bool:
        """Whether the client waits for the one who reads."""
        return self._held

    def __aiter__(self) -> "Incoming":
        return self

    async def __anext__(self) -> bytes:
        self.wanted = True
        if self._invite is not None:
            invite, self._invite = self._invite, None
            if not self.got and not self.whole:
                invite()
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.whole:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if self._held and self._size <= _HIGH // 4:
            self._held = False
            self._free()
        return piece
