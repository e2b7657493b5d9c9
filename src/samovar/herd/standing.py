"""How an origin's budget stands, and what it counted."""

from collections.abc import Iterable
from dataclasses import dataclass

from .._base.counters import Latency


@dataclass(frozen=True, slots=True)
class BudgetStats:
    """What an `OriginBudget` counted, and how it stands.

    limit: places there are now. running: loads that hold one. queued: that wait for one.
    entered: loads that got a place. waited: those of them that stood in the queue. queue_latency: for how long, of late.
    refused_busy: turned away at once, because what is stale could be served. refused_full: because the queue was full.
    refused_late: after queue_timeout. refused_broken: because the breaker was open.
    breaker: "closed", "open" or "half open"; opened: how often it opened.
    most: the most loads that ever ran at once.
    """

    limit: int
    running: int
    queued: int
    entered: int
    waited: int
    refused_busy: int
    refused_full: int
    refused_late: int
    refused_broken: int
    breaker: str
    opened: int
    most: int
    queue_latency: Latency

    @property
    def refused(self) -> int:
        """All that were refused."""
        return self.refused_busy + self.refused_full + self.refused_late + self.refused_broken


def latency(times: Iterable[float]) -> Latency:
    """These durations as a Latency."""
    sorted_times = sorted(times)
    count = len(sorted_times)
    if not count:
        return Latency()
    at = [sorted_times[min(count - 1, int(count * share))] for share in (0.5, 0.9, 0.99)]
    return Latency(count, sum(sorted_times) / count, *at)
