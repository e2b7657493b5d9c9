"""A state machine walks the flights of a SingleFlight beside a dict of those that may be joined, in every order of
beginnings, ends, forgetting and abandoning; the native structure is validated after every step."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from samovar import FlightCounts, SingleFlight
from samovar._base.flight import Flight
from samovar._core import FOLLOW, LEAD
from support import Alike, check

keys = st.one_of(st.integers(0, 3), st.sampled_from([1.0, True, "a", (), None]), st.builds(Alike, st.integers(0, 3)))


class Flights(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.once = SingleFlight()
        self.open = {}  # key -> flight that may be joined
        self.led = []  # (number, flight) that their leaders have not ended
        self.flights = self.coalesced = self.failures = 0

    @rule(key=keys)
    def join(self, key):
        mine = Flight(self.once, None, -1)
        role, number, found = self.once._join(key, mine, id(mine), None, 0.0)[:3]
        if key in self.open:
            assert (role, found) == (FOLLOW, self.open[key])
            self.coalesced += 1
        else:
            assert (role, found) == (LEAD, mine)
            self.open[key] = mine
            self.led.append((number, mine))
            self.flights += 1

    @rule(key=keys, fails=st.booleans())
    def do(self, key, fails):
        """A whole flight at once; where somebody leads, the machine would wait for ever."""
        if key in self.open:
            return
        seen = []

        def fn():
            seen.append((len(self.once), self.once._join(key, object(), 1, None, 0.0)[0]))
            if fails:
                raise LookupError

        try:
            self.once.do(key, fn)
            assert not fails
        except LookupError:
            assert fails
        assert seen == [(len(self.open) + 1, FOLLOW)]
        self.flights += 1
        self.coalesced += 1
        self.failures += fails

    @precondition(lambda self: self.led)
    @rule(chosen=st.integers(0, 100), failed=st.booleans())
    def end(self, chosen, failed):
        number, flight = self.led.pop(chosen % len(self.led))
        self.once._drop(number, flight, failed)
        self.once._drop(number, flight, failed)  # the number may be another's by now: nothing happens
        self.failures += failed
        self.close(flight)

    @precondition(lambda self: self.led)
    @rule(chosen=st.integers(0, 100))
    def abandon(self, chosen):
        number, flight = self.led[chosen % len(self.led)]
        self.once._abandon(number, flight)
        self.close(flight)

    def close(self, flight):
        self.open = {key: one for key, one in self.open.items() if one is not flight}

    @rule(key=keys)
    def forget(self, key):
        assert self.once.forget(key) is (self.open.pop(key, None) is not None)

    @invariant()
    def agrees(self):
        assert check(self.once)
        assert len(self.once) == len(self.open)
        assert self.once.stats() == FlightCounts(self.flights, self.coalesced, self.failures)


TestFlights = Flights.TestCase
