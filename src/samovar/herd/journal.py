"""What a warming has done so far, in a file beside it, so that after an interruption it goes on where it stopped.

    magic 8                                                   the head
    size u32 | CRC-32 of what follows u32 | key, moment       a key that was loaded, as `_base.codecs` writes it, and when

Each record is appended by one write, so that what was written outlives a process that is killed (not a machine that
loses power: then a little is loaded twice). Reading ends at the first record that is not whole, and writing goes on
from there. The one rule: what the journal says must be true of the store. Two things make it untrue, so a key that it
names is loaded again when it lies in a cache that went away with the process that wrote it, and when the entry's time
to live is over.
"""

import contextlib
import os
import reprlib
import struct
import threading
import zlib
from collections.abc import Callable, Hashable

from .._base.clock import wall
from .._base.codecs import Unsupported, decode, encode
from .._base.errors import SnapshotError

_MAGIC = b"\x93SVWARM\x01"
_HEAD = struct.Struct("<II")

_origin = os.urandom(16)  # of this process


def _forked() -> None:
    global _origin
    _origin = os.urandom(16)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Journal:
    """The keys that were loaded; a `Log` of app/warming.py. Open until `close`, from any number of threads.

    path: where it lies; made when there is none. who: the verb, for messages.
    is_ours: whether the store lives in this process, and goes with it. ttl: for how many seconds an entry is good, or None.
    Raises SnapshotError for a file that is no journal.
    """

    def __init__(self, who: str, path: str, *, is_ours: bool, ttl: float | None,
                 now: Callable[[], float] = wall) -> None:
        self.who, self.path, self.now = who, path, now
        self.lock = threading.Lock()
        self.keys: set[Hashable] = set()
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            end = self._read(is_ours, ttl)
            os.ftruncate(self.handle, end)
            os.lseek(self.handle, end, os.SEEK_SET)
            if end == 0:
                self._append_raw(_MAGIC)
            self._append(("process", _origin))
        except BaseException:
            os.close(self.handle)
            raise

    def _read(self, is_ours: bool, ttl: float | None) -> int:
        """Learn what is done; how many bytes of the file are whole."""
        with open(self.path, "rb") as file:
            text = file.read()
        if text[: len(_MAGIC)] != _MAGIC[: len(text)]:
            raise SnapshotError(f"{self.who}: {self.path!r} is not the journal of a warming (it does not begin as one)")
        if len(text) < len(_MAGIC):
            return 0
        at, writer, now = len(_MAGIC), b"", self.now()
        while (record := _record_at(text, at)) is not None:
            (key, moment), at = record
            if type(moment) is bytes:
                writer = moment
            elif type(moment) is float and (writer == _origin or not is_ours):
                if ttl is None or moment <= now < moment + ttl:
                    self.keys.add(key)
        return at

    def is_done(self, key: Hashable) -> bool:
        """Whether the key was loaded before the interruption. TypeError for a key that no journal can name."""
        if key in self.keys:
            return True
        try:
            encode(key)
        except Unsupported as error:
            raise TypeError(f"{self.who}: resume needs keys that are plain data, not {reprlib.repr(key)}: {error}") from None
        return False

    def done(self, key: Hashable) -> None:
        self._append((key, self.now()))

    def _append(self, record: tuple[Hashable, bytes | float]) -> None:
        payload = encode(record)
        with self.lock:
            self._append_raw(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)

    def _append_raw(self, text: bytes) -> None:
        while text:
            text = text[os.write(self.handle, text):]

    def close(self, *, remove: bool) -> None:
        """Stop writing. `remove`: the warming is whole, and nothing is left to resume."""
        os.close(self.handle)
        if remove:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


def _record_at(text: bytes, at: int) -> tuple[tuple[Hashable, object], int] | None:
    """The record there and where the next one begins; None when none is whole."""
    if at + _HEAD.size > len(text):
        return None
    size, check = _HEAD.unpack_from(text, at)
    begin = at + _HEAD.size
    payload = text[begin:begin + size]
    if len(payload) < size or zlib.crc32(payload) != check:
        return None
    try:
        record = decode(payload)
        hash(record)
    except (ValueError, TypeError):
        return None
    if type(record) is not tuple or len(record) != 2:
        return None
    return record, begin + size
