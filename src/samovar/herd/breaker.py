"""A circuit breaker for an origin that fails: after so many failures in a row nobody asks it for a while.

    closed --(failures in a row)--> open --(time)--> half open: one load tries --(it returns)--> closed
                                      ^----------------(it raises; twice the time)----'

Nygard, "Release It!" (2007), chapter 5. Pure: the time is handed in, and so is chance. The owner (herd/budget.py) holds
the lock.
"""

from collections.abc import Callable

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half open"


class Breaker:
    """failures: how many in a row open it. open_s: for how long at first; each time that the trying load fails too it is
    twice as long, up to most_s, with a random part of a fifth off it, so that many processes do not try together.
    chance: returns a float from 0 to 1."""

    def __init__(self, failures: int, open_s: float, most_s: float, chance: Callable[[], float]) -> None:
        self._failures, self._open_s, self._most_s, self._chance = failures, open_s, most_s, chance
        self._row = 0
        self._trips = 0  # how often in a row it opened
        self._until = 0.0
        self._tries = False  # the one load of the half open state is under way
        self.opened = 0  # how often in all

    def state(self, now: float) -> str:
        """CLOSED, OPEN or HALF_OPEN."""
        if not self._trips:
            return CLOSED
        return OPEN if now < self._until else HALF_OPEN

    def wait_s(self, now: float) -> float:
        """0.0: a load may go. More: not before so many seconds, as far as is known."""
        state = self.state(now)
        if state == OPEN:
            return self._until - now
        return self._open_s if state == HALF_OPEN and self._tries else 0.0

    def begin(self, now: float) -> bool:
        """A load goes to the origin; whether it is the one that tries."""
        if self.state(now) != HALF_OPEN:
            return False
        self._tries = True
        return True

    def forked(self) -> None:
        """This is another process now: the load that tries stayed behind, if there is one."""
        self._tries = False

    def end(self, now: float, *, failed: bool | None, tries: bool) -> None:
        """It came back. failed: None when that says nothing about the origin. tries: it was the one that tries."""
        if tries:
            self._tries = False
        if failed is None:
            return
        if not failed:
            if tries or not self._trips:
                self._row = self._trips = 0
            return
        if self._trips and not tries:
            return  # it was begun before
        self._row += 1
        if tries or self._row >= self._failures:
            self._trips += 1
            self.opened += 1
            self._row = 0
            open_s = min(self._open_s * 2.0 ** min(self._trips - 1, 60), self._most_s)
            self._until = now + open_s * (1.0 - 0.2 * self._chance())
