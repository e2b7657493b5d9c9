"""How long a caller waits for a load of another process, whose lease ends too late, or whose holder dies."""

import asyncio

import pytest

from samovar.cluster import AsyncCluster, Cluster, LocalNode
from samovar.cluster.drive import run
from samovar.cluster.driving import Awaiting, Blocking
from samovar.cluster.node import LEASED, LOST, OK, YOURS
from samovar.cluster.requests import PAUSE

LEASE_S = 3.0


class Moving:
    """In a pause time passes, and others act: `acts` are (when, what they do)."""

    now, acts, pauses = 0.0, (), ()

    def passes(self, seconds):
        self.now += seconds
        self.pauses = (*self.pauses, seconds)
        while self.acts and self.acts[0][0] <= self.now:
            act = self.acts[0][1]
            self.acts = self.acts[1:]
            act()


class Stepped(Moving, Blocking):
    def perform(self, request, about):
        return self.passes(about) if request == PAUSE else super().perform(request, about)


class AStepped(Moving, Awaiting):
    async def perform(self, request, about):
        return self.passes(about) if request == PAUSE else await super().perform(request, about)


class Other:
    """Another process, over the same node, whose clock stands still: no lease ends by itself."""

    def __init__(self, cluster, node):
        self.cluster, self.node, self.wire = cluster, node, cluster._tier.wire("key")

    def lease(self):
        status, self.token = run(self.node.lease(self.wire, 10_000))
        assert status is YOURS

    def leaves(self):
        """Its lease ends."""
        assert run(self.node.release(self.wire, self.token))[0] is OK

    def fill(self, value):
        asked, store, name = self.cluster._asked("fill", "key"), self.cluster._store, self.node.name
        item = store.seal(name, asked, value, store.lifetime(None, value, ()), (), 0.1, store.tier.epoch(name))
        return run(self.node.fill(self.wire, self.token, *item))[0]


@pytest.fixture(params=["get_or_set", "get_or_set_many"])
def verb(request):
    return request.param


@pytest.fixture(params=[Cluster, AsyncCluster])
def shop(request, verb):
    """(ask, other): what asks for "key", and the other process. `ask.calls` counts calls of the factory."""
    node = LocalNode(clock=lambda: 0.0)
    cluster = request.param([node], lease=LEASE_S)
    cluster._prober._live = lambda *args: None
    is_async = request.param is AsyncCluster

    async def aload(keys=None):
        ask.calls += 1
        return "ours" if keys is None else dict.fromkeys(keys, "ours")

    def load(keys=None):
        ask.calls += 1
        return "ours" if keys is None else dict.fromkeys(keys, "ours")

    made = aload if is_async else load

    def ask():
        keys = "key" if verb == "get_or_set" else ["key"]
        factory = (lambda: made()) if verb == "get_or_set" else (lambda keys: made(keys))
        told = getattr(cluster, verb)(keys, factory)
        told = runner.run(told) if is_async else told
        return told if verb == "get_or_set" else told["key"]

    with asyncio.Runner() as runner:
        warmed = cluster.get("warm")
        if is_async:
            runner.run(warmed)
        cluster._driver.__class__ = AStepped if is_async else Stepped
        cluster._store.stopwatch = lambda: cluster._driver.now
        ask.calls, ask.driver = 0, cluster._driver
        yield ask, Other(cluster, node)



def test_lease_that_outlived_its_time_is_taken_away(shop):
    ask, other = shop
    other.lease()
    assert ask() == "ours"
    assert ask.calls == 1
    assert LEASE_S <= ask.driver.now < LEASE_S + 0.1
    assert other.fill("too late") is LOST
    assert ask() == "ours"


def test_second_holder_has_as_long_as_the_first(shop):
    """The first dies; another process takes the lease, and its load takes longer than half a second."""
    ask, other = shop
    other.lease()
    ask.driver.acts = ((LEASE_S - 0.01, lambda: (other.leaves(), other.lease())),
                       (2 * LEASE_S - 0.5, lambda: other.fill("theirs")))
    assert ask() == "theirs"
    assert ask.calls == 0
    assert ask.driver.now < 2 * LEASE_S - 0.4


def test_caller_waits_for_two_holders_and_no_longer(shop):
    ask, other = shop
    other.lease()
    ask.driver.acts = tuple((0.9 * LEASE_S * turn, lambda: (other.leaves(), other.lease())) for turn in range(1, 9))
    assert ask() == "ours"
    assert ask.calls == 1
    assert 2 * LEASE_S < ask.driver.now < 2 * LEASE_S + 0.6
    assert run(other.node.lease(other.wire, 1_000))[0] is LEASED, "the third holder's lease is left alone"


def test_caller_looks_again_within_a_hundredth_of_what_it_waited(shop):
    ask, other = shop
    other.lease()
    ask.driver.acts = ((1.5, lambda: other.fill("theirs")),)
    assert ask() == "theirs"
    assert 1.5 <= ask.driver.now <= 1.5 * 1.0101 + 0.002
    assert len(ask.driver.pauses) < 350
