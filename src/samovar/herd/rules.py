"""When the next load may go, by all the rules of a budget together: its limit, ramp, pace and breaker, and what it learned.

Nothing here waits, locks or reads a clock: the owner (herd/budget.py) holds the lock and hands in the time.
"""

from .._base.errors import OriginBusy
from .breaker import CLOSED, OPEN, Breaker
from .limits import Adaptive, Pace, Ramp

_UNKNOWN_S = 1.0  # what a load takes, while none has ended
_LEARN = 0.1  # of each load's time in the mean


class Rules:
    """most: the limit, where nothing lowers it. The others are None where there is no such rule."""

    __slots__ = ("adaptive", "breaker", "mean_s", "most", "pace", "ramp")

    def __init__(self, most: int, adaptive: Adaptive | None, ramp: Ramp | None, pace: Pace | None,
                 breaker: Breaker | None) -> None:
        self.most, self.adaptive, self.ramp, self.pace, self.breaker = most, adaptive, ramp, pace, breaker
        self.mean_s: float | None = None

    def _height(self) -> int:
        return self.most if self.adaptive is None else self.adaptive.limit

    def limit(self, now: float) -> int:
        """Loads that may run at once now."""
        return self._height() if self.ramp is None else self.ramp.under(self._height(), now)

    def asked(self, now: float) -> None:
        """A load is asked for."""
        if self.ramp is not None:
            self.ramp.begin(now)

    def due_s(self, now: float, running: int) -> float | None:
        """0.0: one more may go. More: time may change that, after so many seconds. None: only a load that ends can."""
        if running >= self.limit(now):
            return None if self.ramp is None else self.ramp.grows_in(self._height(), now)
        if self.breaker is not None and (wait_s := self.breaker.wait_s(now)) > 0.0:
            return wait_s
        return 0.0 if self.pace is None else self.pace.wait_s(now)

    def begin(self, now: float) -> bool:
        """One goes; whether it is the one that tries an origin that failed."""
        if self.pace is not None:
            self.pace.take(now)
        return self.breaker is not None and self.breaker.begin(now)

    def undo(self, now: float, tries: bool) -> None:
        """It did not go after all."""
        if self.pace is not None:
            self.pace.give_back()
        if self.breaker is not None:
            self.breaker.end(now, failed=None, tries=tries)

    def lost(self, now: float, tries: bool) -> None:
        """It went, and nobody knows what came of it."""
        if self.breaker is not None:
            self.breaker.end(now, failed=None, tries=tries)

    def forked(self) -> None:
        """This is another process now: none of its loads is under way."""
        if self.breaker is not None:
            self.breaker.forked()

    def end(self, now: float, took_s: float, error: BaseException | None, *, tries: bool, running: int) -> None:
        """It came back. A cancellation, or another budget's refusal, says nothing about the origin."""
        says_nothing = error is not None and (not isinstance(error, Exception) or isinstance(error, OriginBusy))
        failed = None if says_nothing else error is not None
        if self.breaker is not None:
            self.breaker.end(now, failed=failed, tries=tries)
        if failed is None:
            return
        self.mean_s = took_s if self.mean_s is None else self.mean_s + _LEARN * (took_s - self.mean_s)
        if self.adaptive is not None and failed:
            self.adaptive.failed(took_s, now)
        elif self.adaptive is not None:
            self.adaptive.took(took_s, running, now)

    def state(self, now: float) -> str:
        """The breaker's."""
        return CLOSED if self.breaker is None else self.breaker.state(now)

    def is_open(self, now: float) -> bool:
        """Whether the origin is left alone."""
        return self.breaker is not None and self.breaker.state(now) == OPEN

    def retry_s(self, now: float, ahead: int) -> float:
        """Seconds until a load may have come through that has so many before it."""
        if self.breaker is not None and self.is_open(now):
            return self.breaker.wait_s(now)
        mean_s = _UNKNOWN_S if self.mean_s is None else self.mean_s
        wait_s = (ahead + 1) * mean_s / max(1, self.limit(now))
        return max(0.001, wait_s if self.pace is None else max(wait_s, self.pace.wait_s(now, ahead)))
