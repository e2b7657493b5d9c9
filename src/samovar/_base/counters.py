"""What a cache counts about itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something took, over all the times it was done; in seconds, percentiles within 1/32 (3 %).

    count: how often. mean: on average. p50, p90, p99: half, 90 % and 99 % took no longer. All 0 when count is 0.
    """

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0


@dataclass(frozen=True, slots=True)
class Stats:
    """What happened in a cache since it was made; in a memoized function, since it was last cleared.

    Every question is a hit, a stale hit or a miss. A miss either loads (calls the function) or waits for a load that is
    under way, or is simply told that there is nothing.

    hits: questions answered by what was stored and fresh.
    misses: questions that were not, and were not stale hits either.
    coalesced: misses that waited for another caller's load instead of loading themselves.
    loads: calls of the function, refreshes included, and those that were `shared` or `refused` instead.
    failures: loads that raised.
    evictions: entries that left to make room.
    currsize: entries stored now.
    maxsize: the most entries that are stored; None when there is no bound.

    A `Cache`, and a memoized function with lifetimes or tags, also count:

    stale_hits: questions answered at once by what was no longer fresh, while it was renewed.
    expired, replaced, deleted, invalidated, cleared: entries that left because their time was over, a new value took
        their place, their key was deleted, one of their tags was invalidated, the whole cache was cleared.

    early: loads begun before their entry's end, so that nobody meets it expired.
    queued: loads that waited for a place at the origin; refused: those that got none.
    rescued: misses answered with a stale value after all, because their load failed, got no place, or took too long.
    shared: loads that another process's result answered, so that the function was not called.

    And a `Cache` alone:

    weight: what the entries stored now weigh together; maxweight: the most that they may, None when there is no bound.
    load_latency: how long loads took, as `Latency`: count, mean, p50, p90 and p99 in seconds.
    hit_latency: how long hits took, when the cache was asked to measure it (`timed_hits=True`); None otherwise.

    >>> Stats(hits=3, misses=1, coalesced=0, loads=1, failures=0, evictions=0, currsize=1, maxsize=128).hit_ratio
    0.75
    """

    hits: int
    misses: int
    coalesced: int
    loads: int
    failures: int
    evictions: int
    currsize: int
    maxsize: int | None
    stale_hits: int = 0
    expired: int = 0
    replaced: int = 0
    deleted: int = 0
    invalidated: int = 0
    cleared: int = 0
    early: int = 0
    queued: int = 0
    refused: int = 0
    shared: int = 0
    rescued: int = 0
    weight: int = 0
    maxweight: int | None = None
    load_latency: Latency = Latency()
    hit_latency: Latency | None = None

    @property
    def asked(self) -> int:
        """Questions so far: hits, stale hits and misses."""
        return self.hits + self.stale_hits + self.misses

    @property
    def hit_ratio(self) -> float:
        """Hits, stale ones too, over questions, 0.0 to 1.0; 0.0 when nothing was asked yet."""
        asked = self.asked
        return (self.hits + self.stale_hits) / asked if asked else 0.0
