"""The clock that tests move: it says what it was told, and nothing else."""

import math
from datetime import timedelta

import pytest

from samovar._base.clock import ManualClock, longest_wait
from support import collect, together


def test_manual_clock_stands_until_it_is_told():
    clock = ManualClock()
    assert clock() == clock() == 0.0
    assert type(clock()) is float


def test_manual_clock_starts_where_it_is_told():
    assert ManualClock(5)() == 5.0
    assert ManualClock("1h")() == 3600.0
    assert ManualClock(start=timedelta(days=1))() == 86400.0


@pytest.mark.parametrize("by, passed", [(0, 0.0), (1, 1.0), (0.25, 0.25), ("250ms", 0.25), (timedelta(minutes=2), 120.0)])
def test_manual_clock_advances_by_any_duration(by, passed):
    clock = ManualClock(10)
    assert clock.advance(by) == clock() == 10.0 + passed


@pytest.mark.parametrize("by", [-1, math.nan, math.inf, "soon", "-5m", timedelta(seconds=-1)])
def test_manual_clock_refuses_what_no_time_can_do(by):
    clock = ManualClock(3)
    with pytest.raises(ValueError, match="ManualClock: by must be"):
        clock.advance(by)
    assert clock() == 3.0


@pytest.mark.parametrize("by", [None, True, b"5m", [1], 1j])
def test_manual_clock_refuses_what_is_no_duration(by):
    with pytest.raises(TypeError, match="ManualClock: by must be"):
        ManualClock().advance(by)


def test_manual_clock_refuses_a_bad_start_by_name():
    with pytest.raises(TypeError, match="ManualClock: start must be"):
        ManualClock(None)
    with pytest.raises(ValueError, match="ManualClock: start must be"):
        ManualClock(-1)


def test_manual_clock_loses_no_step_in_threads():
    clock = ManualClock()

    def walk():
        for _ in range(1000):
            clock.advance(1)

    together(*[walk] * 4)
    assert clock() == 4000.0


def test_manual_clock_wakes_who_waits_for_it_as_long_as_he_lives():
    class Listener:
        def wake(self):
            heard.append(clock())

    heard, clock = [], ManualClock()
    listener = Listener()
    assert longest_wait(clock, listener) is None  # he may sleep until he is woken
    clock.advance(5)
    del listener
    collect()
    clock.advance(5)
    assert heard == [5.0]


def test_other_clocks_wake_nobody_and_are_looked_at_again():
    listener = object()
    assert longest_wait(None, listener) == 3600.0  # the machine's: the moment can be reckoned
    assert longest_wait(lambda: 0.0, listener) == 1.0


def test_manual_clock_shows_itself():
    assert repr(ManualClock(1.5)) == "ManualClock(1.5)"
