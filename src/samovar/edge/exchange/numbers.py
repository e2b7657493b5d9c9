"""What an edge counts: in places of its own, so that counting a hit is one addition, and in bounded room whatever is asked.

Most asked keys, and tags in use, are found by the rule of Misra and Gries ("Finding repeated elements", 1982): a table of
fixed size; a newcomer that finds it full takes as much from everybody's count as it brings itself. A count is therefore too
low by at most the size-th part of all that was counted, and what is named more often than that is never missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..._base.counters import Latency

SAMPLED = 16  # one request in so many is looked at for the most asked keys
_STEP = 8  # buckets for each doubling: within 9 %


class Top:
    """The keys that are named most often, in a table of `size`."""

    __slots__ = ("_counts", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._counts: dict[object, int] = {}

    def add(self, key: object, by: int = 1) -> None:
        """Count a key. O(1), amortised: what everybody loses was counted before."""
        counts = self._counts
        if key in counts:
            counts[key] += by
        elif len(counts) < self._size:
            counts[key] = by
        else:
            loss = min(by, *counts.values())
            self._counts = {one: count - loss for one, count in counts.items() if count > loss}
            if by > loss:
                self._counts[key] = by - loss

    def most(self, number: int) -> tuple[tuple[object, int], ...]:
        """The `number` first, with their counts."""
        return tuple(sorted(self._counts.items(), key=lambda item: -item[1])[:number])

    def __len__(self) -> int:
        return len(self._counts)


class Times:
    """How long something took, in log-linear buckets; at most some hundred of them."""

    __slots__ = ("_buckets", "_count", "_sum_s")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count, self._sum_s = 0, 0.0

    def add(self, took_s: float) -> None:
        """One more."""
        micros = max(int(took_s * 1e6), 1)
        power = micros.bit_length() - 1
        bucket = power * _STEP + ((micros << 3 >> power) - _STEP)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._count += 1
        self._sum_s += took_s

    def latency(self) -> Latency:
        """What they were."""
        if not self._count:
            return Latency()
        return Latency(self._count, self._sum_s / self._count, *(self._below(share) for share in (0.5, 0.9, 0.99)))

    def _below(self, share: float) -> float:
        wanted, seen, bucket = share * self._count, 0, 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                break
        power, part = divmod(bucket, _STEP)
        return (1 << power) * (1 + (part + 0.5) / _STEP) * 1e-6


@dataclass(frozen=True, slots=True)
class EdgeStats:
    """What an edge did since it was made.

    requests: all of them. hits: answered by what was stored and fresh, 304s and ranges included; stale_hits: by what was
    stale, while it was renewed, or because the origin failed. misses: the origin was asked, and the answer might be kept.
    collapsed: answered by what another client's request brought. revalidated: the origin said that what is stored is
    still good. passes: the origin was asked, and nothing of it concerned the cache.
    stored: answers that were kept; refused: that were to be kept and were not, because they were purged meanwhile, were
    cut short, or had no room.
    errors: answers of our own, 502 to 504, and bodies that broke off; failures: of the origin. busy: requests that were
    turned away because too many waited. loops: requests that had been here before.
    renewals: revalidations in the background. purges: calls; purged: keys that they took out, as far as is known.
    aborted: clients that left before their answer was whole, or were too slow for it.
    sent: bytes of bodies sent; fetched: bytes of bodies that the origin sent.
    waiting: requests that wait for another's now; flights: questions to the origin under way.
    origin_latency: how long the origin took until its fields were there.
    hot: keys asked most, with about how often; tags: of the answers stored, with about how many.
    """

    requests: int = 0
    hits: int = 0
    stale_hits: int = 0
    misses: int = 0
    collapsed: int = 0
    revalidated: int = 0
    passes: int = 0
    stored: int = 0
    refused: int = 0
    errors: int = 0
    failures: int = 0
    busy: int = 0
    loops: int = 0
    renewals: int = 0
    purges: int = 0
    purged: int = 0
    aborted: int = 0
    sent: int = 0
    fetched: int = 0
    waiting: int = 0
    flights: int = 0
    origin_latency: Latency = Latency()
    hot: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, int] = field(default_factory=dict)

    @property
    def hit_ratio(self) -> float:
        """Of the requests that concerned the cache, the share that did not need an answer of the origin's own."""
        served = self.hits + self.stale_hits + self.collapsed
        asked = served + self.misses + self.revalidated
        return served / asked if asked else 0.0


_COUNTS = ("hits", "stale_hits", "misses", "collapsed", "revalidated", "passes", "stored", "refused", "errors", "failures",
           "busy", "loops", "renewals", "purges", "purged", "aborted", "sent", "fetched", "waiting", "flights", "others")


class Numbers:
    """The counters of one edge, or of several that share them; `stats()` reads them.

    hits and the like: as EdgeStats says. others: requests that are none of those.
    """

    __slots__ = (*_COUNTS, "_asked", "hot", "origin", "tags")
    hits: int
    stale_hits: int
    misses: int
    collapsed: int
    revalidated: int
    passes: int
    stored: int
    refused: int
    errors: int
    failures: int
    busy: int
    loops: int
    renewals: int
    purges: int
    purged: int
    aborted: int
    sent: int
    fetched: int
    waiting: int
    flights: int
    others: int

    def __init__(self, *, hot: int = 256, tags: int = 256) -> None:
        for name in _COUNTS:
            setattr(self, name, 0)
        self.hot, self.tags, self.origin = Top(hot), Top(tags), Times()
        self._asked = 0

    def heat(self, key: bytes) -> None:
        """A key was asked for; one in SAMPLED is looked at."""
        self._asked += 1
        if self._asked % SAMPLED == 0:
            self.hot.add(key, SAMPLED)

    def stats(self, *, most: int = 20) -> EdgeStats:
        """All of it, with the `most` hottest keys and tags."""
        told = {name: getattr(self, name) for name in _COUNTS if name != "others"}
        requests = (self.hits + self.stale_hits + self.misses + self.collapsed + self.revalidated + self.passes + self.busy
                    + self.loops + self.others)
        return EdgeStats(
            requests=requests, origin_latency=self.origin.latency(),
            hot={_text(key): count for key, count in self.hot.most(most)},
            tags={_text(tag): count for tag, count in self.tags.most(most)}, **told)


def _text(key: object) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)
