"""The time that the rules are given: the wall clock's, but never running back."""

from ..._base.clock import stopwatch, wall


class Wall:
    """Seconds since 1970 that never run back: while the clock is behind what was said before, because somebody set it back,
    time goes on by the stopwatch from there. Ages are then counted as if nobody had touched it.

    behind: by how many seconds the clock was behind what was said last; the dates of others are by the clock.
    """

    __slots__ = ("_ahead", "behind", "latest")

    def __init__(self) -> None:
        self.latest = wall()  # what was said last
        self.behind = 0.0
        self._ahead: float | None = None  # what the stopwatch is behind by, while the wall clock is behind

    def __call__(self) -> float:
        now = wall()
        if now >= self.latest:
            self.latest, self._ahead, self.behind = now, None, 0.0
            return now
        if self._ahead is None:
            self._ahead = self.latest - stopwatch()
        self.latest = max(self.latest, self._ahead + stopwatch())
        self.behind = self.latest - now
        return self.latest
