"""Bodies: one that comes in from an origin while any number of readers take it, and one that lies in a file.

    origin --> Filling.put --> chunks (memory) [--> file (spill)] --> readers, each at its own pace

While the body may be stored, all of it is kept, so no reader ever slows the fill, and one that joins late begins at the
start. When it cannot be stored (too large for memory, no room on disk) it is let go: what every reader has is dropped,
and the fill keeps at most WINDOW bytes ahead of the slowest. One that holds the others up for too long is left behind.

The one rule: when the length is known, the last chunk is shown to nobody before `end`, which comes after the entry was
stored.
"""

import asyncio
import os
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from ..contracts import OriginFailed

PIECE = 128 << 10  # bytes that are read from a file, or handed to a client, at once
WINDOW = 256 << 10  # bytes that a fill that keeps nothing runs ahead of its slowest reader


class LeftBehind(ConnectionError):
    """This reader was too slow, and what it would have read next is gone."""


class Budget:
    """Bytes that may be taken up, all together. Safe in threads: files give theirs back when they are collected."""

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0
        self._lock = threading.RLock()  # the collector may run a file's end at any point of this thread

    def take(self, amount: int) -> bool:
        """Whether there was room for so much; then it is taken."""
        with self._lock:
            if self.used + amount > self.most:
                return False
            self.used += amount
            return True

    def give(self, amount: int) -> None:
        """Give so much back."""
        with self._lock:
            self.used -= amount


class Spilled:
    """A body in a file without a name: the system takes it back when the last one that reads it lets go of it, whatever
    becomes of this process."""

    def __init__(self, folder: str, room: Budget) -> None:
        self._room, self.length = room, 0
        self._file: Any = tempfile.TemporaryFile(dir=folder, prefix="samovar-", buffering=0)
        self._lock = threading.Lock()

    def append(self, chunks: list[bytes]) -> None:
        """Write these behind what is there. Blocks; raises OSError."""
        with self._lock:
            for chunk in chunks:
                left = memoryview(chunk)
                self._file.seek(self.length)
                while left:
                    left = left[self._file.write(left):]
                self.length += len(chunk)

    def read(self, start: int, stop: int) -> bytes:
        """Some of what is there, from `start`, up to `stop`. Blocks; raises OSError."""
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), stop - start, start)
        with self._lock:  # Windows
            self._file.seek(start)
            read: bytes = self._file.read(stop - start)
            return read

    async def pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """From `start` to `stop`, piece by piece; the reading is done by a thread."""
        while start < stop:
            piece = await asyncio.to_thread(self.read, start, min(stop, start + PIECE))
            if not piece:
                raise OSError("a spilled body is shorter than it was")
            start += len(piece)
            yield piece

    def close(self) -> None:
        """Give the file back. A second time it does nothing."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.close()
        self._room.give(self.charged)

    charged = 0  # bytes of the room that are its own


class Space:
    """Where bodies may lie that are too large for memory.

    folder: an existing folder, or None for none. most: bytes of all of them together; one may take half.
    """

    def __init__(self, folder: str | None, most: int) -> None:
        self.folder, self.room = folder, Budget(most)
        self._holders: dict[bytes, weakref.ref[Spilled]] = {}  # by key, the one stored longest ago first

    @property
    def largest(self) -> int:
        """Bytes of the largest body that fits."""
        return 0 if self.folder is None else self.room.most // 2

    def kept(self, key: bytes, file: Spilled) -> None:
        """A file is now the body of what is stored under a key."""
        self._holders.pop(key, None)
        self._holders[key] = weakref.ref(file)

    def holders(self, *, beyond: int = 0, but: bytes | None = None) -> list[bytes]:
        """Keys whose files would have to go, the oldest first, for no more than so many bytes to be taken. but: a key that
        is not among them."""
        excess, keys = self.room.used - beyond, []
        for key, holder in list(self._holders.items()):
            file = holder()
            if file is None:
                del self._holders[key]
            elif excess > 0 and key != but:
                excess -= file.charged
                keys.append(key)
        return keys

    def open(self) -> Spilled | None:
        """A new file, or None where there is none to be had."""
        if self.folder is None:
            return None
        try:
            return Spilled(self.folder, self.room)
        except OSError:
            return None


class Filling:
    """A body on its way in.

    declared: its length, or None. most: bytes of it that may stay in memory. memory: what all fillings may take
    together. space: where more of it may go.
    """

    def __init__(self, declared: int | None, most: int, memory: Budget, space: Space) -> None:
        self.size = 0
        self.keeps = True  # all of it is kept, so that it may be stored, and joined
        self.readers: set[Reader] = set()
        self.error: Exception | None = None
        self.ended = False
        self.most = most
        self._declared, self._memory, self._space = declared, memory, space
        self._chunks: deque[bytes] = deque()
        self._first = 0  # number of the first of these
        self._base = 0  # where in the body it begins
        self._file: Spilled | None = None
        self._taken = 0  # bytes of `memory`
        self._news: list[asyncio.Future[None]] = []  # readers that wait
        self._progress: asyncio.Future[None] | None = None  # the fill, when it waits

    # ---------------------------------------------------------------- the fill

    async def put(self, chunk: bytes) -> None:
        """Take the next part in; it returns when there is room for more."""
        if self.keeps:
            self.keeps = await self._keep(chunk)
            if not self.keeps:
                self._let_go()
        self._chunks.append(chunk)
        self.size += len(chunk)
        self._tell()
        if not self.keeps:
            self._trim()

    async def _keep(self, chunk: bytes) -> bool:
        """Whether the whole of it still can be kept, with this."""
        if self._declared is not None and self.size + len(chunk) > self._declared:
            raise OriginFailed("the body is longer than it says")
        if self._file is None and self.size + len(chunk) <= self.most and self._memory.take(len(chunk)):
            self._taken += len(chunk)
            return True
        if self._file is None:
            self._file = self._space.open()
        file = self._file
        if file is None or self.size + len(chunk) > self._space.largest:
            return False
        if len(self._chunks) > 1 and self.size - self._base >= PIECE:
            wanted = list(self._chunks)[:-1]  # the last may not be shown yet
            size = sum(map(len, wanted))
            if not file._room.take(size):
                return False
            file.charged += size
            try:
                await asyncio.to_thread(file.append, wanted)
            except OSError:
                return False
            for one in wanted:
                self._chunks.popleft()
                self._base += len(one)
            self._first += len(wanted)
            self._memory.give(self._taken)
            self._taken = 0
        return True

    def _let_go(self) -> None:
        self._memory.give(self._taken)
        self._taken = 0

    def _trim(self) -> None:
        """Drop what every reader has."""
        least = min((reader.at for reader in self.readers), default=self.size)
        while self._chunks and self._base + len(self._chunks[0]) <= least:
            self._base += len(self._chunks.popleft())
            self._first += 1

    async def wait_for_readers(self, patience_s: float) -> None:
        """Where nothing is kept: until the slowest reader is near enough, or is left behind for the others' sake.

        Raises ConnectionError when nobody reads any more.
        """
        while not self.keeps:
            self._trim()
            if not self.readers:
                raise ConnectionError("nobody reads this any more")
            slowest = min(self.readers, key=lambda reader: reader.at)
            if self.size - slowest.at <= WINDOW:
                return
            self._progress = asyncio.get_running_loop().create_future()
            done, _ = await asyncio.wait((self._progress,), timeout=patience_s)
            if not done and len(self.readers) > 1 and self.size - slowest.at > WINDOW:
                slowest.is_behind = True
                self.readers.discard(slowest)

    async def whole(self) -> Any:
        """All of it: bytes, or a Spilled. Raises OSError, or MemoryError for want of room, when the file fails."""
        if self._file is None:
            body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
            body = body if type(body) is bytes else bytes(body)
            if self._chunks:
                self._chunks = deque((body,))
                self._first, self._base = self._first, 0
                for reader in self.readers:
                    reader.number = -1  # by its place: the chunks have other borders now
            return body
        rest = list(self._chunks)
        size = sum(map(len, rest))
        if not self._file._room.take(size):
            raise MemoryError
        self._file.charged += size
        await asyncio.to_thread(self._file.append, rest)
        return self._file

    def end(self) -> None:
        """It has come whole, and is stored if it is to be."""
        self.ended = True
        self._let_go()
        self._tell()

    def fail(self, error: Exception) -> None:
        """It will never be whole."""
        self.error = error
        self._let_go()
        self._tell()

    # ---------------------------------------------------------------- readers

    def _tell(self) -> None:
        news, self._news = self._news, []
        for one in news:
            if not one.done():
                one.set_result(None)

    def moved(self) -> None:
        """A reader took something, or left."""
        if self._progress is not None and not self._progress.done():
            self._progress.set_result(None)

    async def next_for(self, reader: "Reader") -> bytes | memoryview | None:
        """What comes next for a reader; None at the end."""
        while True:
            if reader.is_behind:
                raise LeftBehind("too slow")
            if reader.at < self._base:
                file = self._file
                if file is None:
                    raise LeftBehind("it is gone")
                return await asyncio.to_thread(file.read, reader.at, min(self._base, reader.at + PIECE))
            index = self._index(reader)
            if index < self._shown():
                chunk = self._chunks[index]
                reader.number = self._first + index + 1
                skipped = reader.at - reader.begins
                reader.begins += len(chunk)
                return memoryview(chunk)[skipped:] if skipped else chunk
            if self.error is not None:
                raise self.error
            if self.ended:
                return None
            news = asyncio.get_running_loop().create_future()
            self._news.append(news)
            await news

    def _shown(self) -> int:
        """How many of the chunks may be read."""
        is_last_here = self._declared is not None and self.size >= self._declared
        return len(self._chunks) - (is_last_here and not self.ended)

    def _index(self, reader: "Reader") -> int:
        """Which chunk a reader is at."""
        if reader.number >= self._first:
            return reader.number - self._first
        at = self._base
        for index, chunk in enumerate(self._chunks):
            if reader.at < at + len(chunk):
                reader.begins = at
                return index
            at += len(chunk)
        reader.begins = at
        return len(self._chunks)


class Reader:
    """One who takes a Filling, from its begin."""

    def __init__(self, filling: Filling) -> None:
        self._filling = filling
        self.at = 0  # bytes read
        self.number = -1  # of the chunk that is next; -1: found by `at`
        self.begins = 0  # where that chunk begins
        self.is_behind = False
        filling.readers.add(self)

    async def read(self) -> bytes | memoryview | None:
        """The next part, when it is there; None at the end. Raises OriginFailed, or LeftBehind."""
        part = await self._filling.next_for(self)
        if part is not None:
            self.at += len(part)
            self._filling.moved()
        return part

    def close(self) -> None:
        """Read no more."""
        self._filling.readers.discard(self)
        self._filling.moved()
