"""Each demonstration shows what it claims: by counts, in a small form, and its ways by events and a clock that is moved."""

import asyncio
import sys

import pytest

from samovar import ManualClock
from samovar._lab import cold, engines, feed, herd, hot, memo, node, stale

pytestmark = pytest.mark.slow  # the same on every Python

LIMIT = 30


class Gate:
    """An origin that answers when it is told to, and counts."""

    def __init__(self):
        self.calls, self.opened = 0, asyncio.Event()

    async def fetch(self, name):
        self.calls += 1
        call = self.calls
        await asyncio.wait_for(self.opened.wait(), LIMIT)
        return {"name": name, "call": call}


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


async def crowd_at_expiry(approach):
    """Fifty callers come when a hot answer has just expired. How many calls they cause; how many have to wait."""
    clock, gate = ManualClock(), Gate()
    ask = approach.make(10.0, clock)
    gate.opened.set()
    await ask("tea", gate.fetch)
    gate.opened.clear()
    gate.calls = 0
    clock.advance(10.5)
    callers = [asyncio.create_task(ask("tea", gate.fetch)) for _ in range(50)]
    await turns()
    waiting = sum(not caller.done() for caller in callers)
    gate.opened.set()
    await asyncio.wait_for(asyncio.gather(*callers), LIMIT)
    await turns()
    return gate.calls, waiting


@pytest.mark.parametrize("label, calls, waiting", [
    ("naive", 50, 50), ("one lock", 1, 50), ("early (XFetch)", 1, 50), ("serve stale", 1, 0),
])
def test_herd_approach_causes_so_many_calls_and_lets_so_many_wait(label, calls, waiting):
    approach = next(approach for approach in herd.APPROACHES if approach.label == label)
    assert asyncio.run(crowd_at_expiry(approach)) == (calls, waiting)


def test_early_approach_renews_before_expiry_so_that_nobody_meets_it():
    async def main():
        clock, gate = ManualClock(), Gate()
        ask = next(approach for approach in herd.APPROACHES if approach.label == "early (XFetch)").make(10.0, clock)

        async def slow(name):
            clock.advance(1.0)  # a load takes a tenth of the lifetime
            return await gate.fetch(name)

        gate.opened.set()
        for _ in range(20_000):  # callers a hundredth of a second apart: 20 lifetimes
            await ask("tea", slow)
            clock.advance(0.01)
        return gate.calls

    assert 20 <= asyncio.run(main()) <= 60  # 20 lifetimes, each a little shortened


def test_memo_counts_calls_exactly():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    for n in (1, 2, 10, 15):
        assert memo.count_calls(memo._plain, n)[:2] == (fib(n), 2 * fib(n + 1) - 1)
        assert memo.count_calls(memo._remembering, n)[:2] == (fib(n), n + 1 if n > 1 else 1)


def test_memo_shows_growth_without_a_bound_and_none_with_it():
    found = memo.run(3, 0.1)
    assert found.way("plain function").figures["calls"] == 8_361 and found.way("memoize").figures["calls"] == 19
    unbounded, bounded = (way.figures for way in found.ways[2:])
    assert unbounded["entries"] > 5 * bounded["entries"] == 500 and unbounded["bytes"] > 4 * bounded["bytes"]
    assert found.ways[3].shape[-1] < 1.5 * found.ways[3].shape[len(found.ways[3].shape) // 2]
    assert memo.run(3, 0.1).ways[2].figures["hits"] == unbounded["hits"] != memo.run(4, 0.1).ways[2].figures["hits"]


def test_stale_demonstration_shows_how_old_answers_get():
    found = stale.run(1, 0.5, query_s=0.002, rate=200.0)
    for_ever, _, _, told = (way.figures for way in found.ways)
    first, _, _, last = ([came_s > panel.marks[0] for came_s in panel.series[0].x] for panel in found.pictures[0].panels)
    # A machine that lets the origin wait for long may let all callers pass before the first change: `any` is False then.
    assert for_ever["origin_calls"] == 0 and for_ever["stale"] == sum(first) / len(first)
    assert told["stale"] == told["oldest_s"] == 0.0  # fenced: nobody who comes after a change hears what was before
    assert any(last) <= told["origin_calls"] <= stale.CHANGES + 1


def test_herd_demonstration_shows_one_call_per_lifetime():
    found = herd.run(1, 0.8, query_s=0.01, rate=400.0)
    assert [way.label for way in found.ways] == ["naive", "one lock", "early (XFetch)", "serve stale"]
    requests = {way.figures["requests"] for way in found.ways}
    assert len(requests) == 1 and requests.pop() > 100  # the same crowd
    naive, lock, _, served = (way.figures for way in found.ways)
    for figures in (lock, served):  # a lifetime begins when a load ends: there cannot be more
        assert figures["origin_peak"] == 1 and figures["per_lifetime"] <= 1.2
    assert naive["origin_calls"] > lock["origin_calls"] and naive["origin_peak"] > 1


class Crowded(Gate):
    """The same, and it knows how many are with it."""

    def __init__(self):
        super().__init__()
        self.inside = self.peak = 0

    async def fetch(self, name):
        self.inside += 1
        self.peak = max(self.peak, self.inside)
        try:
            await turns(2)
            return await super().fetch(name)
        finally:
            self.inside -= 1


@pytest.mark.parametrize("label, calls, peak", [
    ("naive", 80, 80), ("one load per key", 40, 40), ("with a budget", 40, 3), ("budget, warmed", 30, 3),
])
def test_cold_approach_lets_so_many_through_at_once(label, calls, peak):
    async def main():
        approach = next(approach for approach in cold.APPROACHES if approach.label == label)
        ask, warm = approach.make(3, LIMIT)
        origin = Crowded()
        origin.opened.set()
        if warm is not None:
            await warm([f"article-{number}" for number in range(10)], origin.fetch)
            assert origin.calls == 10
            origin.calls = 0
        origin.opened.clear()
        callers = [asyncio.create_task(ask(f"article-{number % 40}", origin.fetch)) for number in range(80)]
        await turns()
        origin.opened.set()
        await asyncio.wait_for(asyncio.gather(*callers), LIMIT)
        return origin.calls, origin.peak

    assert asyncio.run(main()) == (calls, peak)


def test_cold_demonstration_never_exceeds_its_budget_at_the_origin():
    found = cold.run(1, 0.6, query_s=0.02, rate=300.0)
    naive, single, budget, warmed = (way.figures for way in found.ways)
    assert naive["origin_peak"] > cold.PLACES and naive["origin_calls"] > budget["origin_calls"]
    for figures in (budget, warmed):
        assert 1 <= figures["origin_peak"] <= cold.PLACES
        assert figures["refused"] == 0
    assert single["requests"] == budget["requests"] == warmed["requests"]


def spreads(found):
    """The ring alone leaves the load where it lies; copies take it away; nobody is shown what was before."""
    alone, three, each = (way.figures for way in found.ways)
    assert alone["largest"] > 2.0 > three["largest"] > each["largest"] >= 1.0
    assert "found_after" not in alone and 0 < three["found_after"] < 2000
    assert [way.figures["stale"] for way in found.ways] == [0, 0, 0]
    assert all(len(way.shape) == hot.SLICES for way in found.ways)


@pytest.fixture
def alone(request, monkeypatch):
    """A machine without a redis-server, or with one and without what speaks to it: only the extra `cli` is installed."""
    if request.param == "no server":
        monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    for module in ("hiredis", "msgspec", "redis"):
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize("alone", ["no server"], indirect=True)
def test_hot_demonstration_spreads_what_everybody_reads(alone):
    found = hot.run(1, 0.3)
    spreads(found)
    assert "within this process" in found.setting


def test_hot_demonstration_is_told_of_real_servers_where_there_are_any():
    with engines.some_servers(2) as servers:
        real = servers[0].kind.startswith("redis-servers")
        assert real == (engines.shutil.which("redis-server") is not None)
        assert [server.node.name for server in servers] == ["node-1", "node-2"]
    spreads(hot.run(2, 0.3))


def survives(found):
    passed, asked, cluster = (way.figures for way in found.ways)
    assert passed["errors"] > 0 and asked["errors"] == cluster["errors"] == 0
    assert asked["origin_calls"] > cluster["origin_calls"] > 0
    assert cluster["origin_peak"] <= node.PLACES


@pytest.mark.parametrize("alone", ["no extra"], indirect=True)
def test_node_demonstration_loses_a_node_and_no_caller(alone):
    found = node.run(1, 1.0, query_s=0.002)
    survives(found)
    assert "within this process" in found.setting
    for panel in found.pictures[1].panels:  # all is there at first: nobody asks the origin before the node dies
        calls = panel.series[0].y
        assert not any(calls[:int(node.DIES * len(calls))])


def test_node_demonstration_kills_a_real_server_where_there_is_one():
    survives(node.run(2, 1.0, query_s=0.002))


def test_feed_demonstration_copies_no_star_and_shows_the_same_three_ways():
    found = feed.run(1, 0.01)
    pull, hybrid, push = (way.figures for way in found.ways)
    assert found.warning == "" and "100,000 readers" in found.setting
    assert pull["copies"] == 0 < hybrid["copies"]
    assert push["copies"] - hybrid["copies"] >= feed.STAR_POSTS * feed.followers_of(0, 100_000)
    assert hybrid["star_s"] < push["star_s"] / 5
    assert hybrid["bytes"] < push["bytes"]


def test_feed_demonstration_takes_a_crowd_that_fits_the_memory(monkeypatch):
    monkeypatch.setattr(feed.os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 1 << 18)  # a GiB
    assert feed.crowd_for(3.0) == (1 << 29) // feed.BYTES_EACH < feed.CROWD
    monkeypatch.setattr(feed.os, "sysconf", lambda name: 1 << 20)
    assert feed.crowd_for(3.0) == feed.crowd_for(30.0) == feed.CROWD and feed.crowd_for(0.001) == 100_000
