"""Hot sets: the keys that are asked for most, in a small file, so that a restart warms what matters first.

    magic 8 | keys, hottest first, each as `_base.codecs` writes it | count u64 | BLAKE2b of all bytes before, 16 bytes

The file is replaced in one step, and believed only when every byte of it was checked; no code in it is ever run. It holds
no values: those are loaded anew, and are as fresh as the origin. `Cache.save` keeps the values, too.
"""

import hashlib
import reprlib
import stat
import struct
from collections.abc import Callable, Hashable, Iterable
from itertools import islice
from os import fstat
from typing import IO, TypeVar

from .._base.clock import wall
from .._base.codecs import Reader, Unsupported, encode_into
from .._base.errors import SnapshotError
from ..app import options, snapshot
from ..app.snapshot import Path, path_of

K = TypeVar("K", bound=Hashable)

_MAGIC = b"\x93SVHOT\x00\x01"
_COUNT = struct.Struct("<Q")
_DIGEST = 16
_TAIL = _COUNT.size + _DIGEST


def hot_set(cache: Iterable[K], limit: int | None = None) -> list[K]:
    """The keys of a cache, the hottest first: in the order in which its eviction rule would let them go, the last first.

    cache: a `Cache`, or any iterable of keys in that order.
    limit: how many at most; None: all. To be warmed in a cache that has room for them: what has none pushes out others.

    >>> from samovar import Cache, hot_set
    >>> cache = Cache(eviction="lru")
    >>> cache.update(tea=1, mate=2, coffee=3)
    >>> cache["tea"], hot_set(cache, limit=2)
    (1, ['tea', 'coffee'])
    """
    if not isinstance(cache, Iterable):
        raise TypeError(f"hot_set: cache must be a Cache or an iterable of keys, not {cache!r}")
    return list(islice(cache, _limit("hot_set", limit)))


def save_hot_set(cache: Iterable[Hashable], path: Path, limit: int | None = None, *,
                 skip_unsupported: bool = False) -> int:
    """Write the hottest keys of a cache to a file, and return how many; `hot_set` says which.

    The file is replaced in one step, so that it is always whole.

    skip_unsupported: leave out keys that are not plain data instead of refusing.
    Raises SnapshotError, naming the key, for one that is not plain data; OSError when the file cannot be written.
    """
    name = path_of("save_hot_set", path)
    skip = options.flag("save_hot_set", "skip_unsupported", skip_unsupported)
    keys = hot_set(cache, _limit("save_hot_set", limit))
    return snapshot.replace(name, lambda file: _write(file, keys, skip), wall())


def load_hot_set(path: Path, limit: int | None = None) -> list[Hashable]:
    """The keys in a file of `save_hot_set`, or of `Cache.save`, the hottest first.

    limit: how many at most; None: all.
    Raises SnapshotError when the file is damaged or none of ours, FileNotFoundError when there is none.
    """
    name, most = path_of("load_hot_set", path), _limit("load_hot_set", limit)
    keys = snapshot.keys_of(name) if snapshot.is_snapshot(name) else _read(name)
    return keys[:most]


def _limit(who: str, limit: int | None) -> int | None:
    return None if limit is None else options.whole(who, "limit", limit, least=1, none=True)


def _write(file: IO[bytes], keys: list[Hashable], skip_unsupported: bool) -> int:
    out = bytearray(_MAGIC)
    count = 0
    for key in keys:
        start = len(out)
        try:
            encode_into(out, key)
        except Unsupported as error:
            del out[start:]
            if not skip_unsupported:
                raise SnapshotError(f"save_hot_set: the key {reprlib.repr(key)} cannot be written: {error}; "
                                    f"skip_unsupported=True leaves it out") from None
            continue
        count += 1
    out += _COUNT.pack(count)
    file.write(out)
    file.write(hashlib.blake2b(out, digest_size=_DIGEST).digest())
    return count


def _read(name: str) -> list[Hashable]:
    wrong: Callable[[str], SnapshotError] = lambda what: SnapshotError(f"load_hot_set: {name!r} {what}")  # noqa: E731
    with open(name, "rb") as file:
        if not stat.S_ISREG(fstat(file.fileno()).st_mode):
            raise wrong("is no regular file")
        if file.read(len(_MAGIC)) != _MAGIC:
            raise wrong("is neither a hot set nor a snapshot (it does not begin as one)")
        text = file.read()
    if len(text) < _TAIL or hashlib.blake2b(_MAGIC + text[:-_DIGEST], digest_size=_DIGEST).digest() != text[-_DIGEST:]:
        raise wrong("is damaged or cut off (its checksum does not match)")
    reader = Reader(text[:-_TAIL])
    keys: list[Hashable] = []
    try:
        while reader.at < len(reader.payload):
            key = reader.value()
            hash(key)
            keys.append(key)
    except (ValueError, TypeError) as error:
        raise wrong(f"is damaged: key {len(keys)}: {error}") from None
    (count,) = _COUNT.unpack_from(text, len(text) - _TAIL)
    if count != len(keys):
        raise wrong(f"is damaged: {len(keys)} keys, not the {count} that it claims")
    return keys
