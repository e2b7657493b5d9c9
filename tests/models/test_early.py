"""Early renewal: the store's rule is the decider's, a crowd begins one load, and at any rate a lifetime costs one."""

import asyncio
import math
import random
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from samovar import Cache, Freshness, ManualClock
from samovar._base import early
from samovar.app import protocol, working
from support import run_async

sys.path.append(str(Path(__file__).parents[2]))  # where a wheel is tested, the bench lies beside the tests
from bench.early import BETAS, RATES, simulate  # noqa: E402

pytestmark = pytest.mark.slow  # the same on every Python

COSTS = st.floats(1e-4, 1e3)


def single(number):
    """As the store keeps costs: in single precision."""
    return struct.unpack("f", struct.pack("f", number))[0]


def stored(beta, ttl, cost, clock):
    fresh = Freshness(ttl=ttl, early=beta)
    cache = Cache(fresh=fresh, clock=clock)
    load = protocol.join(protocol.Ask(cache, fresh=fresh), "k")
    assert cache._settle(load.number, load.flight, "old", fresh, None, None, cost)
    load.flight.land("old")
    return cache, fresh


@given(beta=st.floats(0.01, 10), u=st.floats(2.0**-53, 1.0), cost=COSTS, share=st.floats(0.0, 1.0), ttl=st.floats(1, 1e4))
def test_early_rule_of_the_store_is_that_of_the_decider(beta, u, cost, share, ttl):
    clock = ManualClock()
    cache, fresh = stored(beta, ttl, cost, clock)
    clock.advance(ttl * share * 0.999)
    left, gap = ttl - clock(), early.gap(beta, u)
    if math.isclose(left, single(cost) * gap, rel_tol=1e-9, abs_tol=3e-9):
        return  # on the nanosecond: neither is wrong
    load = protocol.join(protocol.Ask(cache, fresh=fresh, gap=gap), "k")
    assert (load.role == protocol.LEAD) == early.is_due(left, single(cost), gap)
    assert load.value == "old" and load.age < 0
    if load.role == protocol.LEAD:
        load.flight.abandon()
        cache._abandon(load.number, load.flight)


@given(beta=st.floats(0.01, 10), u=st.floats(2.0**-53, 1.0), cost=COSTS, nearness=st.floats(0, 1))
def test_early_hit_that_the_core_answers_alone_is_never_due(beta, u, cost, nearness):
    """The public verb asks the decider only where the core's bound says that chance may have a say."""
    clock, drawn = ManualClock(), []
    bound = 37 * beta * single(cost)
    cache, _ = stored(beta, 2 * bound + 1, cost, clock)
    clock.advance((2 * bound + 1) * nearness * 0.999)
    left = 2 * bound + 1 - clock()

    class Chance:
        def random(self):
            drawn.append(u)
            return 1.0 - u

    before, early.chance = early.chance, Chance()
    try:
        loaded = []
        cache.get_or_set("k", lambda: loaded.append(1) or "new", hard_timeout=None)
    finally:
        early.chance = before
    assert drawn or not early.is_due(left, single(cost), early.gap(beta, u) * (1 - 1e-9))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("beta", BETAS)
def test_early_lifetime_costs_one_load_at_any_rate(rate, beta):
    told = simulate(rate, beta, lifetimes=150)
    assert 0.95 < told.loads_per_lifetime < 1.06
    if beta == 0:
        assert told.begun_early == 0 and told.waiting_per_load == pytest.approx(1 + rate)
    elif beta >= 1 and rate >= 100:
        assert told.waiting == 0 and told.begun_early == told.loads == 150


@pytest.mark.parametrize("beta, most", [(1.0, 3.3), (2.0, 2.0)])
def test_early_renewal_of_callers_apart_does_not_grow_with_the_rate(beta, most):
    """Nobody sees the others' loads: of the herd of R that beta 0 has, e ** (1 / beta) are left, on average."""
    apart = [simulate(rate, beta, lifetimes=400).apart_per_load for rate in RATES if rate >= 100]
    assert all(1.0 < one < most for one in apart)
    assert sum(apart) / len(apart) == pytest.approx(math.exp(1 / beta), rel=0.12)


def test_early_misses_vanish_as_the_rate_grows():
    shares = [simulate(rate, 1.0, lifetimes=300).expired_share for rate in (0.1, 1.0, 3.0, 10.0, 100.0)]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0.01 and shares[-1] == 0


class Crowd:
    """Requests through the public verb, at moments of a virtual time, and loads that take one unit of it."""

    def __init__(self, beta, seed):
        self.clock, self.chance = ManualClock(), random.Random(seed)
        self.cache = Cache(fresh=Freshness(ttl=30, early=beta), clock=self.clock)
        self.running, self.loads, self.waited, self.requests, self.most = [], 0, 0, 0, 0

    async def load(self):
        self.loads += 1
        end = asyncio.get_running_loop().create_future()
        self.running.append((self.clock() + 1.0, end))
        self.most = max(self.most, len(self.running))
        await end
        return self.loads

    async def settle(self):
        for _ in range(12):
            await asyncio.sleep(0)

    async def go_to(self, moment):
        while self.running and self.running[0][0] <= moment:
            due, end = self.running.pop(0)
            self.clock.advance(max(0.0, due - self.clock()))
            end.set_result(None)
            await self.settle()
        self.clock.advance(max(0.0, moment - self.clock()))

    async def run(self, rate, until):
        at, asked = 0.0, []
        while at < until:
            at += self.chance.expovariate(rate)
            await self.go_to(at)
            one = asyncio.ensure_future(self.cache.aget_or_set("k", self.load))
            await self.settle()
            self.requests += 1
            self.waited += not one.done()
            asked.append(one)
        await self.go_to(self.running[-1][0] if self.running else at)
        await asyncio.gather(*asked)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_early_crowd_at_the_public_verb_never_waits_but_for_the_first_load(beta, monkeypatch):
    crowd = Crowd(beta, 5)
    monkeypatch.setattr(early, "chance", random.Random(6))
    monkeypatch.setattr(working, "stopwatch", crowd.clock)
    run_async(crowd.run(rate=20, until=330))
    lifetimes = crowd.clock() / 30
    assert crowd.most == 1, "one load at a time"
    assert 0.8 * lifetimes < crowd.loads < 1.4 * lifetimes
    assert crowd.requests > 5000
    if beta:
        assert crowd.waited < 60, "the crowd of the first load, and nobody else"
    else:
        assert crowd.waited > 10 * lifetimes


def test_early_chance_leaves_the_random_numbers_of_the_program_alone():
    random.seed(1)
    expected = random.random()
    random.seed(1)
    assert early.draw(1.0) > 0 and random.random() == expected
