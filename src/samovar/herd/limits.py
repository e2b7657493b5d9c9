"""How many loads an origin bears at once, found out: two pure deciders that the budget asks, with time handed in.

`Adaptive` is the gradient rule: the limit grows by about its square root while loads take no longer than they do at
little load, and shrinks in proportion when they do; a load that fails halves it, at most once in the time that a load
takes. It descends from TCP Vegas (Brakmo and Peterson, "TCP Vegas: End to end congestion avoidance on a global Internet",
1995), which compares the round trip that is measured with the shortest one, and from additive increase and multiplicative
decrease (Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989).

`Ramp` is slow start: after a cold start, a time without loads, or the loss of a node the limit grows from one to its full
height, by the same factor in each part of the time.
"""

import math

TOLERANCE = 1.5  # how much longer than at little load a load may take before the limit shrinks
_SMOOTH = 0.2  # of each new limit in the smoothed one
_FORGET = 0.02  # of the shortest time seen, by which it drifts to what is measured now, so that it is not for ever


class Adaptive:
    """least, most: bounds of the limit, which starts in the middle (geometrically)."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = float(least), float(most)
        self._limit = math.sqrt(self._least * self._most)
        self._short_s: float | None = None  # what a load takes at little load
        self._halved: float | None = None

    @property
    def limit(self) -> int:
        """Loads that may run at once."""
        return max(1, int(self._limit))

    def took(self, took_s: float, running: int, now: float) -> None:
        """A load returned after took_s seconds; so many ran when it ended, itself included."""
        if self._short_s is None or took_s < self._short_s:
            self._short_s = took_s
        else:
            self._short_s += _FORGET * (took_s - self._short_s) * (running * 2 < self._limit)
        if running * 2 < self._limit and took_s <= TOLERANCE * self._short_s:
            return  # nobody knows what it would bear: it bears little now
        gradient = min(1.0, max(0.5, TOLERANCE * self._short_s / max(took_s, 1e-9)))
        wanted = self._limit * gradient + math.sqrt(self._limit)
        self._set(self._limit + _SMOOTH * (wanted - self._limit))

    def failed(self, took_s: float, now: float) -> None:
        """A load raised."""
        if self._halved is None or now - self._halved >= took_s:
            self._halved = now
            self._set(self._limit / 2)

    def _set(self, limit: float) -> None:
        self._limit = min(self._most, max(self._least, limit))


class Ramp:
    """over_s: from one load at a time to the whole limit."""

    def __init__(self, over_s: float) -> None:
        self._over_s = over_s
        self._began: float | None = None
        self._last: float | None = None

    def cool(self) -> None:
        """Begin at the foot again, with the next load."""
        self._began = self._last = None

    def begin(self, now: float) -> None:
        """A load is asked for."""
        if self._began is None or (self._last is not None and now - self._last > self._over_s):
            self._began = now
        self._last = now

    def under(self, limit: int, now: float) -> int:
        """The limit now, where `limit` is the full one."""
        if self._began is None:
            return 1
        share = (now - self._began) / self._over_s
        return limit if share >= 1.0 else max(1, int(limit ** max(share, 0.0)))

    def grows_in(self, limit: int, now: float) -> float | None:
        """Seconds until it is one more than now; None when it grows no more."""
        at = self.under(limit, now)
        if at >= limit or self._began is None:
            return None
        due = self._over_s * math.log(at + 1) / math.log(limit)
        return max(0.001, self._began + due - now)


class Pace:
    """At most `rate` loads a second: a token bucket that holds a tenth of a second's worth, and one at least."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._room = max(1.0, rate / 10)
        self._tokens = self._room
        self._at: float | None = None

    def _fill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._tokens = min(self._room, self._tokens + (now - self._at) * self._rate)
        self._at = now if self._at is None else max(now, self._at)

    def wait_s(self, now: float, ahead: int = 0) -> float:
        """Seconds until the next load may go that has so many before it; 0.0: it may."""
        self._fill(now)
        wanted = 1.0 + ahead
        return 0.0 if self._tokens >= wanted - 1e-9 else (wanted - self._tokens) / self._rate

    def take(self, now: float) -> None:
        """A load goes."""
        self._fill(now)
        self._tokens -= 1.0

    def give_back(self) -> None:
        """It did not go after all."""
        self._tokens = min(self._room, self._tokens + 1.0)
