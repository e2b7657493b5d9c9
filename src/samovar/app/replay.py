"""What would another size, or another eviction rule, have done with these requests? Ask before you buy memory.

A replay walks a trace of integer keys through the same index, the same slab and the same eviction rules as the caches
that hold objects, so the hit ratio that it finds is the one that a cache of this size would have had. This module checks
the arguments; the walk is one call into C, without the GIL.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from operator import index
from typing import Any, SupportsIndex, TypeAlias, overload

from .. import _core

if sys.version_info >= (3, 12):
    from collections.abc import Buffer
else:
    Buffer: TypeAlias = Any

_SEED = 1  # of the rules that draw chance: the same requests, the same answer
_LARGEST = 2**63 - 1
_NATIVE = "@=" + ("<" if sys.byteorder == "little" else ">")


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a cache of one size would have done with the requests of a trace.

    `requests`, `hits` and `evictions` are counts. `requested_weight` and `hit_weight` are sums of weights: bytes asked
    for and bytes served, when weights are bytes; without weights every entry weighs 1.
    """

    eviction: str
    maxsize: int
    requests: int
    hits: int
    evictions: int
    requested_weight: int
    hit_weight: int

    @property
    def misses(self) -> int:
        """Requests that were not hits."""
        return self.requests - self.hits

    @property
    def hit_ratio(self) -> float:
        """Hits for each request, between 0 and 1; 0 when there was none."""
        return self.hits / self.requests if self.requests else 0.0

    @property
    def weight_hit_ratio(self) -> float:
        """The share of the requested weight that was served from the cache (the byte hit ratio)."""
        return self.hit_weight / self.requested_weight if self.requested_weight else 0.0


@overload
def replay(
    keys: Buffer, maxsize: SupportsIndex, eviction: str = ..., *, weights: Buffer | None = ...
) -> Replayed: ...
@overload
def replay(
    keys: Buffer, maxsize: Iterable[SupportsIndex], eviction: str = ..., *, weights: Buffer | None = ...
) -> tuple[Replayed, ...]: ...
def replay(
    keys: Buffer,
    maxsize: SupportsIndex | Iterable[SupportsIndex],
    eviction: str = "adaptive",
    *,
    weights: Buffer | None = None,
) -> Replayed | tuple[Replayed, ...]:
    """Ask a cache of `maxsize` entries for each key in turn, storing what is not there, and count.

    No objects are held and the GIL is released: other threads run meanwhile, and several replays run side by side. The
    same requests always give the same result.

    keys: one 64-bit integer per request: a NumPy array (int64 or uint64), an `array.array("Q")`, or another contiguous
        one-dimensional buffer of such integers. Other keys: hash them first. A rule that remembers what it evicted takes
        2**64 - 2 and 2**64 - 1 for one key there.
    maxsize: the most entries, at least 1; or several sizes, for a curve: then one result for each, in a tuple.
    eviction: "adaptive", "lru", "fifo", "sieve", "s3fifo", "tinylfu" or "gdsf".
    weights: what each request's entry weighs, a buffer of uint32 as long as `keys` (0 counts as 1). `maxsize` is then
        the most weight. An entry keeps the weight it was stored with; one that is heavier than the whole cache is
        never stored.
    Raises TypeError and ValueError that name the argument, MemoryError when there is no memory for the entries.

    >>> from array import array
    >>> keys = array("Q", [1, 2, 3, 1, 2, 3, 1, 2, 3])
    >>> replay(keys, 2, "lru").hits
    0
    >>> [result.hit_ratio for result in replay(keys, [1, 3], "lru")]
    [0.0, 0.6666666666666666]
    """
    if not isinstance(eviction, str):
        raise TypeError(f"eviction must be the name of a rule, not {type(eviction).__name__}")
    if eviction not in _core.evictions():
        raise ValueError(f"eviction must be one of {', '.join(map(repr, _core.evictions()))}, not {eviction!r}")
    asked = _integers("keys", keys, 8, "QqLlNn", "64-bit integers (int64 or uint64)")
    heavy = None if weights is None else _integers("weights", weights, 4, "IL", "32-bit unsigned integers (uint32)")
    if heavy is not None and len(heavy) != len(asked):
        raise ValueError(f"weights must be as many as keys: {len(heavy):,} weights for {len(asked):,} keys")

    def walk(size: int) -> Replayed:
        return Replayed(eviction, size, *_core.replay(asked, heavy, eviction, size, _SEED))

    if isinstance(maxsize, SupportsIndex) and getattr(maxsize, "ndim", 0) == 0:
        return walk(_size(maxsize))
    try:
        sizes = [_size(size) for size in maxsize]  # type: ignore[union-attr]
    except TypeError:
        raise TypeError(f"maxsize must be a whole number or several of them, not {maxsize!r}") from None
    return tuple(map(walk, sizes))


def _integers(name: str, buffer: Buffer, width: int, codes: str, kind: str) -> memoryview:
    """The buffer as a view that C can walk: one row of native integers of this width."""
    must = f"{name} must be a NumPy array or another one-dimensional buffer of {kind}"
    try:
        view = memoryview(buffer)
    except (TypeError, ValueError) as error:
        hint = f"; array.array({codes[0]!r}, {name}) makes one" if isinstance(buffer, list | tuple | range) else ""
        raise TypeError(f"{must}, not {type(buffer).__name__}{hint}") from error
    code = view.format.lstrip(_NATIVE)
    if view.ndim != 1 or view.itemsize != width or code not in list(codes):
        raise TypeError(f"{must}, not {view.ndim}-dimensional {type(buffer).__name__} of format {view.format!r}")
    if not view.c_contiguous:
        raise ValueError(f"{name} must be contiguous: numpy.ascontiguousarray({name}) makes a copy that is")
    return view


def _size(size: SupportsIndex) -> int:
    number = index(size)
    if not 1 <= number <= _LARGEST:
        raise ValueError(f"maxsize must be at least 1 and below 2**63, not {number}")
    return number
