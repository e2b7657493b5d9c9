"""The workers of one edge, seen as one: a purge reaches all of them, a look shows each, and their numbers add up.

Workers are processes, each with an exchange and stored answers of its own. How they reach each other is the proxy's.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from ..._base.counters import Latency
from ..exchange.numbers import EdgeStats
from .order import Order


class FleetBroken(Exception):
    """A worker did not answer in time: what was asked of all is not known to be done by all."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one worker looks like: its process, its numbers, the keys that it stores and the bytes that they weigh, and
    when it began, in seconds since 1970."""

    pid: int
    stats: EdgeStats
    entries: int = 0
    weight: int = 0
    began: float = 0.0

    def plain(self) -> dict[str, Any]:
        """As JSON can say it."""
        return asdict(self)

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> "Look":
        """What `plain` said. Raises TypeError or KeyError for anything else."""
        stats = said["stats"]
        return cls(**{**said, "stats": EdgeStats(**{**stats, "origin_latency": Latency(**stats["origin_latency"])})})


class Fleet(Protocol):
    """All workers of an edge."""

    async def purge(self, order: Order) -> int:
        """Do it in every worker; how many keys it met, as far as is known. Raises FleetBroken."""

    async def look(self, most: int) -> list[Look]:
        """Every worker that answers; at most `most` URLs and tags of each."""


class Purges(Protocol):
    """What can be purged: an exchange, a vault, all workers of a proxy."""

    async def purge(self, *, urls: Iterable[bytes] = (), tags: Iterable[str] = (), everything: bool = False,
                    soft: bool = False) -> int: ...


class Alone:
    """A fleet of one. seen: called with the most URLs and tags that are wanted."""

    def __init__(self, exchange: Purges, seen: Callable[[int], Look]) -> None:
        self._exchange, self._seen = exchange, seen

    async def purge(self, order: Order) -> int:
        return await self._exchange.purge(urls=order.keys, tags=order.tags, everything=order.everything, soft=order.soft)

    async def look(self, most: int) -> list[Look]:
        return [self._seen(most)]


def added(several: Sequence[EdgeStats], most: int) -> EdgeStats:
    """The numbers of several workers as those of one, with the `most` hottest URLs and tags. Percentiles do not add up:
    they are those of the slowest worker, and the mean is of all."""
    sums = {one.name: sum(getattr(stats, one.name) for stats in several) for one in fields(EdgeStats) if one.type is int}
    count = sum(stats.origin_latency.count for stats in several)
    mean = sum(stats.origin_latency.mean * stats.origin_latency.count for stats in several) / (count or 1)
    slow = (max((getattr(stats.origin_latency, word) for stats in several), default=0.0) for word in ("p50", "p90", "p99"))
    return EdgeStats(**sums, origin_latency=Latency(count, mean, *slow), hot=_most((one.hot for one in several), most),
                     tags=_most((one.tags for one in several), most))


def _most(counts: Iterable[Mapping[str, int]], most: int) -> dict[str, int]:
    found: Counter[str] = Counter()
    for one in counts:
        found.update(one)
    return dict(found.most_common(most))
