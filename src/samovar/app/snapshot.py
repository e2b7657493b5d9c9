"""Snapshots: what a cache holds, in a file, so that a restart does not begin cold.

    magic 8 | format u16, 0 u16 | saved at, f64 wall-clock seconds        the head, 20 bytes, little-endian
    entry, hottest first: key, value, tags, left, cost, weight, keep      each as `_base.codecs` writes it
    entries u64 | BLAKE2b of all bytes before, 16 bytes                   the tail, 24 bytes

Deadlines run on while the process is down: what was left of an entry's freshness is taken together with the wall
clock, and on loading the time that passed is taken off. A wall clock that was set back takes nothing off.

Two rules. The file under the name is always a whole snapshot, the old one or the new one: it is written beside it,
forced to the disk and then renamed; what a killed process left beside it, a later save removes. The cache is changed by
a file only when every byte of it was read and checked. The checksum finds damage; it is no signature. A file forged on
purpose can give wrong values, but it cannot run code.
"""

import contextlib
import hashlib
import math
import os
import reprlib
import stat
import struct
import tempfile
from collections.abc import Callable, Hashable
from typing import IO, Protocol, TypeAlias

from .._base.clock import wall
from .._base.codecs import Reader, Unsupported, encode_into
from .._base.errors import SnapshotError
from .options import HEAVIEST

Path: TypeAlias = str | os.PathLike[str]
# key, value, seconds of freshness left (math.inf: for ever; negative: stale for so long), tags, seconds its load took,
# weight, seconds for which it may be served stale
Entry: TypeAlias = tuple[Hashable, object, float, tuple[str, ...], float, int, float]

_MAGIC = b"\x93SAMOVAR"
_FORMAT = 1
_HEAD = struct.Struct("<8sHHd")
_COUNT = struct.Struct("<Q")
_DIGEST = 16
_TAIL = _COUNT.size + _DIGEST
_PART = ".samovar-part"
_CHUNK = 1 << 20  # bytes gathered before they are hashed and written
_PLAIN = "None, bool, int, float, str, bytes, Decimal, UUID, dates and times, and tuple, list, dict and set of these"


class Kept(Protocol):
    """What a cache gives and takes; each is one atomic step of the cache."""

    def _entries(self) -> list[Entry]:
        """All entries that may still be served, the hottest first."""

    def _restore(self, entries: list[Entry], /) -> int:
        """Store such entries, the coldest first, and say how many: not those that are past all use, whose key has a
        fresh entry already, or that are too heavy."""


def save(cache: Kept, path: Path, *, skip_unsupported: bool = False, now: Callable[[], float] = wall) -> int:
    """Write what the cache holds to a file, the hottest first, and return how many entries that were.

    The file is replaced in one step: whoever reads it finds the old snapshot or the new one, and after an error or a
    crash the old one. Only its owner may read it. The cache works on meanwhile.

    skip_unsupported: leave out entries whose key or value is not plain data instead of refusing.
    now: the wall clock, in seconds.
    Raises SnapshotError, naming key and type, for what is not plain data; OSError when the file cannot be written.
    Holds the list of entries, but not their bytes, in memory.
    """
    name, saved_at = path_of("save", path), now()
    entries = cache._entries()
    return replace(name, lambda file: _write(file, entries, saved_at, skip_unsupported), saved_at)


def replace(path: str, write: Callable[[IO[bytes]], int], now: float) -> int:
    """Replace a file in one step by what `write` writes, and return what that returned. `now`: the wall clock's time."""
    target = os.path.realpath(path)  # through a symbolic link, not over it
    folder, prefix = os.path.dirname(target), f".{os.path.basename(target)[:100]}."
    handle, part = tempfile.mkstemp(prefix=prefix, suffix=_PART, dir=folder)
    try:
        with open(handle, "wb") as file:
            count = write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # interrupted after the renaming
            os.unlink(part)
        raise
    _sync_folder(folder)
    _tidy(folder, prefix, now)
    return count


def load(cache: Kept, path: Path, *, now: Callable[[], float] = wall) -> int:
    """Store the entries of a snapshot in the cache, and return how many were stored.

    Deadlines have run on since it was saved, by the wall clock: the cache leaves out what is past all use by now, and
    what it holds fresh already.

    now: the wall clock, in seconds.
    Raises SnapshotError when the file is damaged, cut off or no snapshot, and OSError (FileNotFoundError) when it
    cannot be read; the cache is then as it was before. Needs memory for the file and its entries.
    """
    name = path_of("load", path)
    with open(name, "rb") as file:
        saved_at, body, count = _read(file, name)
    passed = max(0.0, now() - saved_at)
    entries = _entries_of(body, count, passed, name)
    return cache._restore(entries)


def keys_of(path: str) -> list[Hashable]:
    """The keys in a snapshot, the hottest first. Raises as `load` does."""
    with open(path, "rb") as file:
        _, body, count = _read(file, path)
    return [entry[0] for entry in _entries_of(body, count, 0.0, path)]


def is_snapshot(path: str) -> bool:
    """Whether a file begins as a snapshot does."""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def path_of(verb: str, path: Path) -> str:
    """A path as text; TypeError for what is none."""
    try:
        return os.fsdecode(path)
    except TypeError:
        raise TypeError(f"{verb}: path must be a str or os.PathLike, not {path!r}") from None


# ------------------------------------------------------------------ writing

def _write(file: IO[bytes], entries: list[Entry], saved_at: float, skip_unsupported: bool) -> int:
    digest = hashlib.blake2b(digest_size=_DIGEST)
    out = bytearray(_HEAD.pack(_MAGIC, _FORMAT, 0, saved_at))
    count = 0
    for key, value, left, tags, cost, weight, keep in entries:
        start = len(out)
        try:
            _encode_part(out, key, f"the key {reprlib.repr(key)}")
            _encode_part(out, value, f"the value of key {reprlib.repr(key)}")
            _encode_part(out, tags, f"the tags of key {reprlib.repr(key)}")
        except SnapshotError:
            if not skip_unsupported:
                raise
            del out[start:]
            continue
        for number in (float(left), float(cost), weight, float(keep)):
            encode_into(out, number)
        count += 1
        if len(out) >= _CHUNK:
            digest.update(out)
            file.write(out)
            out.clear()
    out += _COUNT.pack(count)
    digest.update(out)
    file.write(out)
    file.write(digest.digest())
    return count


def _encode_part(out: bytearray, part: object, name: str) -> None:
    try:
        encode_into(out, part)
    except Unsupported as error:
        raise SnapshotError(
            f"save: {name} cannot be written: {error}; it must be {_PLAIN}; skip_unsupported=True leaves it out"
        ) from None


def _sync_folder(folder: str) -> None:
    """Make the renaming last, where a folder can be opened (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):  # some folders cannot be; the snapshot itself is on the disk
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _tidy(folder: str, prefix: str, now: float) -> None:
    """Remove the parts of saves whose process was killed: nobody has written to them for an hour."""
    with contextlib.suppress(OSError):  # another save tidies, too
        for other in os.scandir(folder):
            if other.name.startswith(prefix) and other.name.endswith(_PART) and other.stat().st_mtime < now - 3600:
                os.unlink(other.path)


# ------------------------------------------------------------------ reading

def _read(file: IO[bytes], name: str) -> tuple[float, bytes, int]:
    """When it was saved, the bytes of the entries, and how many they are; all checked against the checksum."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise SnapshotError(f"load: {name!r} is no regular file")
    head = file.read(_HEAD.size)
    if head[: len(_MAGIC)] != _MAGIC:  # before the rest is read: it may be anything, and of any size
        raise SnapshotError(f"load: {name!r} is not a samovar snapshot (it does not begin as one)")
    rest = file.read()
    if len(head) < _HEAD.size or len(rest) < _TAIL:
        raise SnapshotError(f"load: {name!r} is cut off after {len(head) + len(rest)} bytes")
    _, version, zero, saved_at = _HEAD.unpack(head)
    if version != _FORMAT or zero:
        raise SnapshotError(f"load: {name!r} has format {version}, this samovar reads format {_FORMAT}; save it anew")
    view = memoryview(rest)
    digest = hashlib.blake2b(head, digest_size=_DIGEST)
    digest.update(view[:-_DIGEST])
    if digest.digest() != view[-_DIGEST:]:
        raise SnapshotError(f"load: {name!r} is damaged or cut off (its checksum does not match)")
    (count,) = _COUNT.unpack_from(rest, len(rest) - _TAIL)
    if not math.isfinite(saved_at):
        raise SnapshotError(f"load: {name!r} is damaged (saved at {saved_at})")
    return saved_at, rest[:-_TAIL], count


def _entries_of(body: bytes, count: int, passed: float, name: str) -> list[Entry]:
    reader = Reader(body)
    entries: list[Entry] = []
    try:
        while reader.at < len(body):
            key, value, tags, left, cost, weight, keep = (reader.value() for _ in range(7))
            hash(key)
            entries.append((key, value, _left(left) - passed, _tags(tags), _cost(cost), _weight(weight), _keep(keep)))
    except (ValueError, TypeError) as error:
        raise SnapshotError(f"load: {name!r} is damaged: entry {len(entries)}: {error}") from None
    if len(entries) != count:
        raise SnapshotError(f"load: {name!r} is damaged: {len(entries)} entries, not the {count} that it claims")
    return entries


def _left(left: object) -> float:
    if type(left) is not float or math.isnan(left) or left == -math.inf:
        raise ValueError(f"the freshness left must be seconds, not {left!r}")
    return left


def _tags(tags: object) -> tuple[str, ...]:
    if type(tags) is not tuple or not all(type(tag) is str for tag in tags):
        raise ValueError(f"the tags must be a tuple of str, not {reprlib.repr(tags)}")
    return tags


def _cost(cost: object) -> float:
    if type(cost) is not float or not 0 <= cost < math.inf:
        raise ValueError(f"the cost must be seconds, not {cost!r}")
    return cost


def _weight(weight: object) -> int:
    if type(weight) is not int or not 1 <= weight <= HEAVIEST:
        raise ValueError(f"the weight must be an integer from 1 to {HEAVIEST}, not {reprlib.repr(weight)}")
    return weight


def _keep(keep: object) -> float:
    if type(keep) is not float or not keep >= 0:
        raise ValueError(f"the time to be kept when stale must be seconds, not {keep!r}")
    return keep
