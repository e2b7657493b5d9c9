"""The time that the rules are given: the wall clock's, but never running back."""

from .._base.clock import stopwatch, wall


class Wall:
    """Seconds since 1970 that never run back: while the clock is behind what was said before, because somebody set it back,
    time goes on by the stopwatch from there. Ages are then counted as if nobody had touched it."""

    __slots__ = ("_ahead", "latest")

    def __init__(self) -> None:
        self.latest = wall()  # what was said last
        self._ahead: float | None = None  # what the stopwatch is behind by, while the wall clock is behind

    def __call__(self) -> float:
        now = wall()
        if now >= self.latest:
            self.latest, self._ahead = now, None
            return now
        if self._ahead is None:
            self._ahead = self.latest - stopwatch()
        self.latest = max(self.latest, self._ahead + stopwatch())
        return self.latest
