"""Whether a node may be asked: one breaker for what it answers, one for what it takes.

A circuit breaker (Nygard, "Release It!", 2007) with a prober instead of trial requests: while a node is *down*, no
caller waits for it; somebody in the background asks it now and then, and *admits* it again when it has answered, has
been brought up to date (cluster/admission.py), and has not come and gone too often lately.

    up --(refused, reset, restarted: at once; too slow: twice in a row)--> down --(probes answered)--> up

A full or read-only node answers well and takes nothing: for writes it has a breaker of its own. Pure: `now` is handed in.
"""

from collections.abc import Callable

PATIENCE = 2  # how many answers in a row may be too slow before the node counts as down
FIRST_PROBE_S = 0.05
LAST_PROBE_S = 0.5
FLAPS_S = 10.0  # a node that goes down again so soon after it was admitted has to answer more probes next time
MOST_PROBES = 8


class Breaker:
    """One node's breaker. Not safe in threads by itself: its owner (cluster/tier.py) holds a lock.

    chance: returns a float from 0 to 1, for jitter between probes.
    """

    __slots__ = ("_admitted", "_chance", "_fell", "_good", "_next", "_pause", "_probes", "_slow", "down", "full",
                 "opened", "reason")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.down = False
        self.full = False  # takes no writes
        self.reason = ""
        self.opened = 0  # how often it went down
        self._slow = 0  # answers that came too late, in a row
        self._good = 0  # probes answered in a row, while down
        self._probes = 1  # how many it takes
        self._admitted: float | None = None
        self._fell = 0.0  # when it went down
        self._pause = FIRST_PROBE_S
        self._next = 0.0

    @property
    def is_troubled(self) -> bool:
        """Whether it is down, takes no writes, or was too slow just now."""
        return self.down or self.full or self._slow > 0

    def answered(self) -> None:
        """A request was answered."""
        self._slow = 0

    def failed(self, reason: str, now: float, *, slow: bool) -> bool:
        """A request was not answered; whether the node went down just now. slow: in time, that is."""
        if self.down:
            return False
        self._slow += 1
        if slow and self._slow < PATIENCE:
            return False
        flapped = self._admitted is not None and now - self._admitted < FLAPS_S
        self._probes = min(2 * self._probes, MOST_PROBES) if flapped else 1
        self.down, self.reason, self._fell = True, reason, now
        self.opened += 1
        self._good, self._pause = 0, FIRST_PROBE_S
        self._next = now  # look at once: it may have been a moment's trouble
        return True

    def refused(self, reason: str, now: float) -> bool:
        """A write was refused by a node that answers; whether that is news."""
        if self.full:
            return False
        self.full, self.reason = True, reason
        self._next = now + FIRST_PROBE_S
        self._pause = FIRST_PROBE_S
        return True

    def is_due(self, now: float) -> bool:
        """Whether a probe is due."""
        return (self.down or self.full) and now >= self._next

    def due_in(self, now: float) -> float | None:
        """Seconds until the next probe; None when none is needed."""
        return max(0.0, self._next - now) if self.down or self.full else None

    def probed(self, answers: bool, takes: bool, now: float) -> bool:
        """What a probe found. Whether the node may be admitted now: then `admit` it once it is brought up to date."""
        if not answers:
            self._good = 0
            self._pause = min(self._pause * 1.5, LAST_PROBE_S)
            self._next = now + self._pause * (0.75 + 0.5 * self._chance())
            return False
        self._good += 1
        self._pause = FIRST_PROBE_S
        self._next = now + (self._pause if self.down else 2 * self._pause)
        if takes:
            self.full = False
        else:
            self.full = True
            self._next = now + min(LAST_PROBE_S, 4 * self._pause)
        return self.down and self._good >= self._probes

    def admit(self, now: float, *, first: bool = False) -> None:
        """It is up to date, and may be asked. first: it was not away, this process only did not know it yet."""
        self.down, self.reason, self._slow = False, "" if not self.full else self.reason, 0
        self._admitted = None if first else now

    def away_s(self, now: float) -> float:
        """For how many seconds it has been down."""
        return now - self._fell if self.down else 0.0

    def is_new(self, now: float, within_s: float) -> bool:
        """Whether it was admitted within so many seconds."""
        return self._admitted is not None and not self.down and now - self._admitted < within_s
