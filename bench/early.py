"""Early expiration: how many loads a lifetime costs, and who waits, at any rate of requests.

    python -m bench.early [--lifetimes N]

One key that takes one unit of time to load and is fresh for 600 of them (0.1 s and a minute). Requests come at random
moments (a Poisson process) to a real `Cache` whose clock is moved by hand. Columns:

    loads     loads that the origin saw, for each 600 units that passed
    expired   the share of requests that found the entry expired: the one that loads and all that wait for it
    waiting   requests that waited in each lifetime, for a load of their own or of somebody else
    apart     loads that would have begun if callers knew nothing of each other, as in processes that share one store

Without early renewal (beta 0) there is one load for each lifetime, and everybody who comes while it runs waits. With it
the load begins before the end, and nobody waits once requests are more than a few in the time of a load.

The stream is thinned, exactly: a request whose chance u is over exp(-left / (beta * cost)) begins nothing and changes
nothing, so only the others, which are a Poisson process of their own, are put to the cache; the same decider, in the
same cache, answers them as it would have among millions.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from samovar import Cache, Freshness, ManualClock
from samovar._base import early
from samovar.app import protocol

RATES = (0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0)
BETAS = (0.0, 0.5, 1.0, 2.0)
TTL, COST = 600.0, 1.0
KEY = "hot"


@dataclass
class Told:
    """What a simulation counted. `requests`, `expired` and `waiting` are expectations given the loads that ran."""

    loads: int = 0
    begun_early: int = 0
    passed: float = 0.0
    requests: float = 0.0
    waiting: float = 0.0
    apart: float = 0.0

    @property
    def loads_per_lifetime(self) -> float:
        return self.loads * TTL / self.passed

    @property
    def expired_share(self) -> float:
        return self.waiting / self.requests

    @property
    def waiting_per_load(self) -> float:
        return self.waiting / self.loads

    @property
    def apart_per_load(self) -> float:
        return self.apart / self.loads


class Simulation:
    """One key of a real cache, and time that the simulation moves."""

    def __init__(self, rate: float, beta: float, seed: int) -> None:
        self.rate, self.beta, self.chance = rate, beta, random.Random(f"{seed}/{rate}/{beta}")
        self.clock = ManualClock()
        self.fresh = Freshness(ttl=TTL, early=beta)
        self.cache: Cache[str, int] = Cache(fresh=self.fresh, clock=self.clock)
        self.told = Told()
        self.end = 0.0  # of the entry's freshness
        self.lands = 0.0  # when the load that was begun early ends

    def join(self, gap: float) -> protocol.Load:
        return protocol.join(protocol.Ask(self.cache, fresh=self.fresh, gap=gap), KEY)

    def settle(self, load: protocol.Load) -> None:
        """The load ends now."""
        assert self.cache._settle(load.number, load.flight, self.told.loads, self.fresh, None, None, COST)
        load.flight.land(self.told.loads)
        self.end = self.clock() + TTL
        self.told.loads += 1

    def may_renew(self, until: float) -> Iterator[tuple[float, float]]:
        """The moment and the gap of every request from now on whose gap may reach its distance from the end."""
        at = self.clock()
        while self.beta and at < until:
            left = self.end - at
            near = max(0.0, left - COST)  # in this stretch nothing is nearer to the end than so
            most = math.exp(-near / (self.beta * COST))
            stretch = min(until, self.end - near)
            while True:
                at += self.chance.expovariate(self.rate * most) if self.rate * most > 1e-300 else math.inf
                if at >= stretch:
                    at = stretch
                    break
                yield at, early.gap(self.beta, most * (1.0 - self.chance.random()))

    def go_to(self, moment: float) -> None:
        self.clock.advance(max(0.0, moment - self.clock()))

    def lifetime(self) -> None:
        """From one load's end to the next one's."""
        begun = self.clock()
        load = None
        for moment, gap in self.may_renew(self.end):
            self.go_to(moment)
            load = self.join(gap)
            due = early.is_due(self.end - self.clock(), COST, gap)
            assert (load.role == protocol.LEAD) == due, "the store and the decider must agree"
            if due:
                break
            load = None
        if load is None:
            self.go_to(self.end + self.chance.expovariate(self.rate))
            load = self.join(0.0)
            assert load.role == protocol.LEAD
            self.told.waiting += 1 + self.rate * COST
            self.told.apart += 1 + self.rate * COST
        else:
            self.told.begun_early += 1
            self.while_it_runs(load)
        self.go_to(self.clock() + COST if load.value is protocol.MISSING else self.lands)
        self.settle(load)
        self.told.passed += self.clock() - begun
        self.told.requests += self.rate * (self.clock() - begun)

    def while_it_runs(self, load: protocol.Load) -> None:
        """An early load runs: others are answered, and begin nothing; after the end of the old value they wait."""
        self.lands = self.clock() + COST
        self.told.apart += 1
        for moment, gap in self.may_renew(min(self.end, self.lands)):
            self.go_to(moment)
            assert self.join(gap).role == protocol.HIT
            self.told.apart += early.is_due(self.end - self.clock(), COST, gap)
        expired = max(0.0, self.lands - self.end)
        if expired:
            self.go_to(self.end + expired / 2)
            assert self.join(0.0).role == protocol.FOLLOW
        self.told.waiting += self.rate * expired
        self.told.apart += self.rate * expired


def simulate(rate: float, beta: float, lifetimes: int = 200, seed: int = 1) -> Told:
    """So many lifetimes of one key at `rate` requests in the time of a load."""
    simulation = Simulation(rate, beta, seed)
    simulation.settle(simulation.join(0.0))
    simulation.told = Told()
    for _ in range(lifetimes):
        simulation.lifetime()
    return simulation.told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lifetimes", type=int, default=1000)
    lifetimes = parser.parse_args().lifetimes
    print("| requests per load time | beta | loads | expired | waiting | apart |\n|---:|---:|---:|---:|---:|---:|")
    for rate in RATES:
        for beta in BETAS:
            told = simulate(rate, beta, lifetimes)
            print(f"| {rate:,g} | {beta:g} | {told.loads_per_lifetime:.3f} | {told.expired_share:.2e} "
                  f"| {told.waiting_per_load:,.2f} | {told.apart_per_load:,.2f} |")


if __name__ == "__main__":
    main()
