"""What happened, and when: every caller's latency, every call that the origin saw, every error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from .reach import Counts


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of the values that `percent` of them do not exceed; 0.0 when there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(slots=True)
class Timeline:
    """Answers as they come. Times are in seconds since the run began."""

    came_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    failed_s: list[float] = field(default_factory=list)  # when callers came who got an error; they are in came_s, too

    def note(self, came_s: float, took_s: float, *, failed: bool = False) -> None:
        """A caller came then, and had his answer, or his error, so much later."""
        self.came_s.append(came_s)
        self.took_s.append(took_s)
        if failed:
            self.failed_s.append(came_s)

    def percentile(self, percent: float) -> float:
        """Of all latencies, those of failed requests included, in seconds."""
        return percentile(self.took_s, percent)

    def worst(self, slices: int, seconds: float) -> list[float]:
        """The worst latency among those who came in each of `slices` equal parts of the time; 0.0 for nobody."""
        worst = [0.0] * slices
        for came_s, took_s in zip(self.came_s, self.took_s, strict=True):
            place = min(slices - 1, int(came_s / seconds * slices))
            worst[place] = max(worst[place], took_s)
        return worst

    def errors(self, slices: int, seconds: float) -> list[int]:
        """How many came in each part of the time who got an error."""
        return histogram(self.failed_s, slices, seconds)


def histogram(moments: Sequence[float], slices: int, seconds: float) -> list[int]:
    """How many of the moments lie in each of `slices` equal parts of the time; what is later counts for the last."""
    counts = [0] * slices
    for moment_s in moments:
        counts[min(slices - 1, max(0, int(moment_s / seconds * slices)))] += 1
    return counts


def concurrency(counts: Counts, slices: int, seconds: float) -> list[int]:
    """The most calls that were with the origin at once, in each part of the time; what is later is left out."""
    changes = sorted([(came, 1) for came, _ in counts.spans] + [(went, -1) for _, went in counts.spans])
    most, now, place = [0] * slices, 0, 0
    for moment_s, step in changes:
        here = max(0, int(moment_s / seconds * slices))
        for between in range(place + 1, min(here + 1, slices)):
            most[between] = now
        if here >= slices:
            break
        place, now = here, now + step
        most[place] = max(most[place], now)
    return most
