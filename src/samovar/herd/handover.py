"""Results handed from one process of a host to those that wait for them: small files that live for seconds.

    magic 8 | format u16, 0 u16                                                   the head, 12 bytes, little-endian
    name, era, begun, offered, wall, cost, freshness, tags, weight, value         each as `_base.codecs` writes it
    BLAKE2b of all bytes before, 16 bytes                                         the tail

begun and offered are the machine's stopwatch, which means something only in the same era (one run of one machine);
wall is the time of day, for machines that have no word for their eras.

A hand-over, not a cache: a file is good for `keep` seconds, or for as long as the result is, and only for those whose
last invalidation lies before the load began. It is put in place in one step, only its owner can read it, and what is
read is plain data: no byte of a file ever names code to run. What is damaged, foreign or old is removed, and is as if it
were not there.
"""

import contextlib
import errno
import hashlib
import math
import os
import secrets
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import fields, replace

from .._base.clock import era, stopwatch, wall
from .._base.codecs import Reader, Unsupported, encode_into
from .._base.contracts import Offer
from .._base.freshness import Freshness
from .directory import Directory

_MAGIC = b"\x93SAMOVAH"
_FORMAT = 1
_HEAD = struct.Struct("<8sHH")
_DIGEST = 16
_RESULT, _PART = ".result", ".part"
_WORDS = tuple(field.name for field in fields(Freshness))
_HEAVIEST = 2**32 - 1
_PART_LIVES_S = 60.0  # what a killed process left half-written
_OUR_OWN = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)  # what says nothing about the file
_SLACK = 1.5  # seconds by which a file system's clock may lag behind

FOUND, NOTHING, DAMAGED = range(3)  # what looking came to
OFFERED, NOT_PLAIN, NO_ROOM = range(3)  # what offering came to


class Handover:
    """The results that lie in one directory.

    keep_s: how long a result is good. max_bytes: how much all files may take together, about; a quarter of that is
    the most for one. now: the machine's stopwatch.
    """

    def __init__(self, directory: Directory, keep_s: float, max_bytes: int,
                 now: Callable[[], float] = stopwatch) -> None:
        self.directory, self.keep_s, self.max_bytes, self.now = directory, keep_s, max_bytes, now
        self.forget()

    def forget(self) -> None:
        """Know of no files: at first, and in the child of a fork."""
        self._lock = threading.RLock()  # re-entrant: a finalizer may come at any time; held for none but what is here
        self._mine: deque[tuple[float, str, tuple[int, int], int]] = deque()  # when it is old, name, which file, bytes
        self._bytes = 0  # that all files took when they were counted, and what was offered since
        self._count_at = -math.inf

    # ---------------------------------------------------------------- giving

    def offer(self, name: bytes, offer: Offer) -> int:
        """Put a result in place. Raises OSError when it cannot be written."""
        now = self.now()
        fresh = None if offer.fresh is None else tuple(getattr(offer.fresh, word) for word in _WORDS)
        out = bytearray(_HEAD.pack(_MAGIC, _FORMAT, 0))
        try:
            for part in (name, era(), offer.begun, now, wall(), offer.cost_s, fresh, offer.tags, offer.weight, offer.value):
                encode_into(out, part)
        except Unsupported:
            return NOT_PLAIN
        out += hashlib.blake2b(out, digest_size=_DIGEST).digest()
        self._drop_old(now)
        if len(out) > self.max_bytes // 4 or not self._has_room(len(out), now):
            return NO_ROOM
        file = name.hex() + _RESULT
        which = self._write(file, out)
        with self._lock:
            self._bytes += len(out)
            self._mine.append((now + self.keep_s, file, which, len(out)))
        return OFFERED

    def _write(self, file: str, content: bytearray) -> tuple[int, int]:
        part = f"{file}.{secrets.token_hex(8)}{_PART}"
        fd = self.directory.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(fd, view):]
                found = os.fstat(fd)
            finally:
                os.close(fd)
            self.directory.rename(part, file)
        except BaseException:
            self.directory.remove(part)
            raise
        return found.st_ino, found.st_mtime_ns

    # ---------------------------------------------------------------- taking

    def look(self, name: bytes, since: float) -> tuple[int, Offer | None]:
        """What lies there under this name, from a load that began after `since`; its freshness is what is left of it."""
        file = name.hex() + _RESULT
        try:
            fd = self.directory.open(file, os.O_RDONLY)
        except FileNotFoundError:
            return NOTHING, None
        except OSError as error:  # a link, no regular file, somebody else's, unreadable
            if error.errno in _OUR_OWN:
                return NOTHING, None
            self.directory.remove(file)
            return DAMAGED, None
        try:
            content = self._read(fd)
        finally:
            os.close(fd)
        try:
            offer, age_s = self._read_offer(content, name)
        except (ValueError, TypeError):
            self.directory.remove(file)
            return DAMAGED, None
        if not 0 <= age_s < self.keep_s:
            self.directory.remove(file)
            return NOTHING, None
        if offer.begun <= since:
            return NOTHING, None
        return _what_is_left(offer, age_s)

    def _read(self, fd: int) -> bytes:
        """The whole file, unless it is larger than any of ours."""
        most = self.max_bytes // 4 + 1
        parts: list[bytes] = []
        while most > 0 and (part := os.read(fd, min(most, 1 << 20))):
            parts.append(part)
            most -= len(part)
        return b"".join(parts)

    def _read_offer(self, content: bytes, name: bytes) -> tuple[Offer, float]:
        """An offer, and how many seconds ago it was made. ValueError or TypeError when this is no file of ours."""
        body = len(content) - _DIGEST
        if body < _HEAD.size or content[: _HEAD.size] != _HEAD.pack(_MAGIC, _FORMAT, 0):
            raise ValueError("it does not begin as one of ours")
        if hashlib.blake2b(memoryview(content)[:body], digest_size=_DIGEST).digest() != content[body:]:
            raise ValueError("its checksum does not match")
        reader = Reader(content[:body], _HEAD.size)
        called, run, begun, offered, day, cost_s, words, tags, weight, value = (reader.value() for _ in range(10))
        if called != name or reader.at != body:
            raise ValueError("it is another's")
        if run != era():
            return Offer(None, -math.inf, 0.0), math.inf  # of the time before a restart
        begun, offered, day, cost_s = (_number(one) for one in (begun, offered, day, cost_s))
        if type(tags) is not tuple and tags is not None or not all(type(tag) is str for tag in tags or ()):
            raise ValueError("its tags are none")
        if weight is not None and (type(weight) is not int or not 1 <= weight <= _HEAVIEST):
            raise ValueError("its weight is none")
        fresh = None
        if words is not None:
            if type(words) is not tuple or len(words) != len(_WORDS):
                raise ValueError("its freshness is none")
            fresh = Freshness(**dict(zip(_WORDS, words, strict=True)))
        age_s = self.now() - offered
        if not run:
            age_s = max(age_s, wall() - day)
        return Offer(value, begun, cost_s, fresh, tags, weight), age_s

    # ---------------------------------------------------------------- tidying

    def _drop_old(self, now: float) -> None:
        """Remove what this process offered and is old now, unless another has put something newer there."""
        while True:
            with self._lock:
                if not self._mine or self._mine[0][0] > now:
                    return
                _, file, which, size = self._mine.popleft()
                self._bytes = max(0, self._bytes - size)
            with contextlib.suppress(OSError):
                found = self.directory.stat(file)
                if (found.st_ino, found.st_mtime_ns) == which:
                    self.directory.remove(file)

    def _has_room(self, size: int, now: float) -> bool:
        """Whether one more may be written. Others write here too: now and then all files are counted."""
        passed = now - self._count_at
        if passed > max(60.0, 10 * self.keep_s) or passed > 1.0 and self._bytes + size > self.max_bytes:
            self._bytes, self._count_at = self._sweep(), now
        return self._bytes + size <= self.max_bytes

    def _sweep(self) -> int:
        """Remove what is old, whoever left it, and return how many bytes the rest takes."""
        today, taken = wall(), 0
        for file in self.directory.names():
            if not file.endswith((_RESULT, _PART)):
                continue
            with contextlib.suppress(OSError):
                found = self.directory.stat(file)
                lives_s = _PART_LIVES_S if file.endswith(_PART) else self.keep_s + _SLACK
                if today - found.st_mtime > lives_s:
                    self.directory.remove(file)
                else:
                    taken += found.st_size
        return taken


def _number(value: object) -> float:
    if type(value) is not float or not math.isfinite(value):
        raise ValueError("a time is none")
    return value


def _what_is_left(offer: Offer, age_s: float) -> tuple[int, Offer | None]:
    """The offer as it is to be kept from now on."""
    fresh = offer.fresh
    if fresh is None:
        return FOUND, offer
    ttl_s = fresh.negative_ttl if offer.value is None and fresh.negative_ttl is not None else fresh.ttl
    if ttl_s is not None:
        ttl_s -= age_s
        if ttl_s <= 0:
            return NOTHING, None
    return FOUND, replace(offer, fresh=fresh.replace(ttl=ttl_s, negative_ttl=None))
