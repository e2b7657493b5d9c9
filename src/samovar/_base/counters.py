"""What a cache counts about itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stats:
    """What happened in a cache since it was made, or since it was last cleared.

    Every call is a hit or a miss. A miss either loads (calls the function) or waits for a load that is under way.

    hits: calls answered by what was stored.
    misses: calls that were not.
    coalesced: misses that waited for another caller's load instead of loading themselves.
    loads: calls of the function, refreshes included.
    failures: loads that raised.
    evictions: entries that left to make room.
    currsize: entries stored now.
    maxsize: the most entries that are stored; None when there is no bound.

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

    @property
    def hit_ratio(self) -> float:
        """Hits over calls, 0.0 to 1.0; 0.0 when nothing was asked yet."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0
