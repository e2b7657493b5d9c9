"""Whether the bus can be relied on: decided here, without waiting and without a clock; cluster/bus.py does both.

    AWAY --(subscribed)--> LISTENING --(own heartbeat heard: flush, then answer)--> STANDS
      ^                        |                                                      |
      +----(connection lost, or no heartbeat of its own for 750 ms: flush) <----------+

A process says a heartbeat every 250 ms, through the engine, to itself. What the engine passes on comes in order, so the
heartbeat that was heard last, said at `t`, proves that everything said before `t` was heard too: a near cache that
answers while `now - t` is at most 750 ms lags by no more than that.

The one rule: whoever falls is flushed at once, and whoever stands up again was flushed after the first heartbeat of the
new subscription came back (the canary): what was changed in between, nobody was told.
"""

from collections.abc import Callable

AWAY, LISTENING, STANDS = range(3)
BEAT_S = 0.25  # between heartbeats
SILENT_S = 0.75  # since the last heartbeat that came back was said: longer, and the near cache stops answering
FIRST_REST_S, LAST_REST_S = 0.05, 1.0  # before the next attempt to subscribe


class Hearing:
    """One process's subscription. Times are seconds of any steady clock, handed in. chance: 0 to 1, spreads attempts."""

    __slots__ = ("_asked", "_beat", "_chance", "_proof", "_rest", "_said", "state")

    def __init__(self, chance: Callable[[], float]) -> None:
        self.state = AWAY
        self._chance = chance
        self._said: dict[int, float] = {}  # heartbeats that have not come back: when each was said
        self._beat = 0  # the last one's number
        self._asked = -BEAT_S  # when it was said
        self._proof = 0.0  # when the last one that came back was said; while LISTENING, when that began
        self._rest = FIRST_REST_S

    def opened(self, now: float) -> None:
        """The engine confirmed the subscription: the canary is due."""
        self.state = LISTENING
        self._said.clear()
        self._asked, self._proof = now - BEAT_S, now

    def beat(self, now: float) -> int | None:
        """The number of the heartbeat to say now; None when none is due."""
        if self.state == AWAY or now - self._asked < BEAT_S:
            return None
        self._beat += 1
        self._asked = self._said[self._beat] = now
        return self._beat

    def heard(self, number: int) -> bool:
        """A heartbeat of its own came back; whether the near cache may answer from now on, and could not before."""
        said = self._said.pop(number, None)
        if self.state == AWAY or said is None:
            return False
        self._proof = max(self._proof, said)
        self._rest = FIRST_REST_S
        stood, self.state = self.state, STANDS
        return stood == LISTENING

    def is_silent(self, now: float) -> bool:
        """Whether nothing proves any more that the bus is heard: flush, and subscribe anew."""
        return self.state != AWAY and now - self._proof > SILENT_S

    def wait_s(self, now: float) -> float:
        """For how many seconds to listen before something is due."""
        return max(0.0, min(self._asked + BEAT_S, self._proof + SILENT_S) - now)

    def fell(self) -> float:
        """The subscription is lost, or was never made; for how many seconds to rest before the next attempt."""
        self.state = AWAY
        self._said.clear()
        rest = self._rest * (0.75 + 0.5 * self._chance())
        self._rest = min(2 * self._rest, LAST_REST_S)
        return rest
