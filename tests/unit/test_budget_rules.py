"""The pure rules of a budget, by simulation: breaker, adaptive limit, ramp, pace. Time and chance are handed in."""

import heapq
import math
import random

import pytest

from samovar._base.errors import OriginBusy
from samovar.herd.breaker import CLOSED, HALF_OPEN, OPEN, Breaker
from samovar.herd.limits import Adaptive, Pace, Ramp
from samovar.herd.rules import Rules


def breaker(row=3, chance=lambda: 0.0):
    return Breaker(row, 1.0, 32.0, chance)


# ------------------------------------------------------------------ breaker

def test_breaker_opens_after_so_many_failures_in_a_row_only():
    one = breaker()
    for failed in (True, True, False, True, True, None, False):
        one.end(0.0, failed=failed, tries=False)
        assert one.state(0.0) == CLOSED
    for _ in range(3):
        one.end(0.0, failed=True, tries=False)
    assert one.state(0.5) == OPEN and one.wait_s(0.25) == 0.75 and one.state(1.0) == HALF_OPEN


def test_breaker_lets_one_try_at_a_time():
    one = breaker(1)
    one.end(0.0, failed=True, tries=False)
    assert one.wait_s(1.0) == 0.0 and one.begin(1.0) and one.wait_s(1.0) > 0.0
    one.end(1.5, failed=None, tries=True)  # cancelled: that says nothing
    assert one.state(1.5) == HALF_OPEN and one.wait_s(1.5) == 0.0


@pytest.mark.parametrize("failed", [True, False])
def test_breaker_ignores_what_began_before_it_opened(failed):
    one = breaker(1)
    one.end(0.0, failed=True, tries=False)
    one.end(0.5, failed=failed, tries=False)
    one.end(1.5, failed=failed, tries=False)
    assert one.state(1.5) == HALF_OPEN and one.opened == 1


def test_breaker_jitters_by_its_chance_within_a_fifth():
    waits = set()
    for seed in range(50):
        one = breaker(1, random.Random(seed).random)
        one.end(0.0, failed=True, tries=False)
        waits.add(one.wait_s(0.0))
    assert len(waits) == 50 and all(0.8 <= wait <= 1.0 for wait in waits)


def test_origin_that_is_down_for_long_is_asked_less_and_less():
    one, now, tries = breaker(3), 0.0, 0
    while now < 600.0:
        if one.wait_s(now) == 0.0:
            tried = one.begin(now)
            one.end(now, failed=True, tries=tried)
            tries += 1
        now += 0.01
    assert tries == 3 + 5 + (600 - 31) // 32  # 1 + 2 + 4 + 8 + 16 s, then every 32 s


# ------------------------------------------------------------------ adaptive

class Server:
    """An origin with `knee` workers: who comes over that waits in its queue. A closed loop of callers fills the limit."""

    def __init__(self, knee, service_s=0.1, seed=5):
        self.knee, self.service_s, self.chance = knee, service_s, random.Random(seed)

    def run(self, rule, seconds):
        """Keep as many loads running as the rule allows; its limits over time."""
        now, ends, free_at, limits = 0.0, [], [0.0] * self.knee, []
        while now < seconds:
            while len(ends) < rule.limit:
                begin = max(now, heapq.heappop(free_at))
                end = begin + self.service_s * self.chance.uniform(0.9, 1.1)
                heapq.heappush(free_at, end)
                heapq.heappush(ends, (end, now))
            end, begun = heapq.heappop(ends)
            now = max(now, end)
            rule.took(now - begun, len(ends) + 1, now)
            limits.append(rule.limit)
        return limits


@pytest.mark.parametrize("knee", [4, 16, 64])
def test_adaptive_limit_finds_what_the_origin_bears(knee):
    limits = Server(knee).run(Adaptive(1, 1000), 120.0)
    settled = limits[len(limits) // 2:]
    mean = sum(settled) / len(settled)
    assert 0.9 * knee <= mean <= 3 * knee, mean


def test_adaptive_limit_follows_an_origin_that_loses_half_of_its_workers_and_gets_them_back():
    rule = Adaptive(1, 1000)
    many = Server(40).run(rule, 60.0)[-500:]
    few = Server(10).run(rule, 60.0)[-500:]
    again = Server(40).run(rule, 120.0)[-500:]
    mean = [sum(limits) / len(limits) for limits in (many, few, again)]
    assert mean[1] < 0.75 * mean[0] and mean[2] > 1.2 * mean[1], mean


def test_adaptive_limit_stays_within_its_bounds_whatever_loads_take():
    rule, chance = Adaptive(3, 20), random.Random(7)
    for step in range(20_000):
        if chance.random() < 0.1:
            rule.failed(chance.expovariate(1.0), step * 0.1)
        else:
            rule.took(chance.choice([0.0, 1e-12, 0.1, 10.0, 1e9]), chance.randint(1, 20), step * 0.1)
        assert 3 <= rule.limit <= 20


def test_adaptive_limit_is_halved_once_in_the_time_of_a_load():
    rule = Adaptive(1, 10_000)
    assert rule.limit == 100
    for _ in range(50):
        rule.failed(1.0, 0.0)
    assert rule.limit == 50
    rule.failed(1.0, 1.0)
    assert rule.limit == 25


def test_adaptive_limit_does_not_grow_while_it_is_not_used():
    rule = Adaptive(1, 10_000)
    for step in range(1000):
        rule.took(0.1, 2, step * 0.1)
    assert rule.limit == 100


# ------------------------------------------------------------------ ramp and pace

@pytest.mark.parametrize("limit", [1, 2, 7, 64, 1000])
def test_ramp_says_exactly_when_it_rises(limit):
    ramp, now = Ramp(10.0), 3.0
    ramp.begin(now)
    heights = [ramp.under(limit, now)]
    while (wait := ramp.grows_in(limit, now)) is not None:
        now += wait
        heights.append(ramp.under(limit, now))
    assert heights == sorted(heights) and heights[0] == 1 and heights[-1] == limit
    assert now <= 13.0 + 0.01 and ramp.under(limit, 13.0 + 0.01) == limit


def test_ramp_is_not_begun_anew_while_it_is_used():
    ramp = Ramp(10.0)
    for now in range(100):
        ramp.begin(float(now))
    assert ramp.under(50, 99.0) == 50


@pytest.mark.parametrize("rate", [0.5, 3.0, 40.0, 1000.0])
def test_pace_lets_no_more_go_than_the_rate_and_a_tenth_of_a_second(rate):
    pace, now, begun, chance = Pace(rate), 0.0, [], random.Random(3)
    while len(begun) < 500:
        if (wait := pace.wait_s(now)) == 0.0:
            pace.take(now)
            begun.append(now)
        else:
            now += wait if chance.random() < 0.7 else wait * 1.5
    room = max(1.0, rate / 10)
    for first in range(0, 500, 7):
        for last in range(first + 1, 500, 31):
            assert last - first + 1 <= room + (begun[last] - begun[first]) * rate + 1e-6
    assert begun[-1] <= 500 / rate * 1.5 + 1.0


def test_pace_gives_back_what_was_not_used():
    pace = Pace(1.0)
    pace.take(0.0)
    assert pace.wait_s(0.0) == 1.0 and pace.wait_s(0.0, ahead=2) == 3.0
    pace.give_back()
    assert pace.wait_s(0.0) == 0.0


# ------------------------------------------------------------------ together

def test_rules_say_by_the_queue_when_to_come_again():
    rules = Rules(4, None, None, None, None)
    assert rules.retry_s(0.0, 7) == 2.0  # eight loads of a second each, while nobody knows better, four at a time
    for _ in range(100):
        rules.end(0.0, 0.5, None, tries=False, running=1)
    assert math.isclose(rules.retry_s(0.0, 7), 1.0)


def test_rules_learn_nothing_from_cancellations_and_refusals():
    rules = Rules(4, None, None, None, breaker(1))
    for error in (KeyboardInterrupt(), OriginBusy("another")):
        rules.end(0.0, 0.5, error, tries=False, running=1)
    assert rules.mean_s is None and rules.state(0.0) == CLOSED
    rules.end(0.0, 0.5, ValueError(), tries=False, running=1)
    assert rules.is_open(0.0) and rules.retry_s(0.25, 7) == 0.75
