"""The thundering herd (FM7): a hot key expires again and again while a crowd asks for it.

Four ways to meet it: the code that everybody writes first; one lock, so that one works and the crowd waits; early
renewal by XFetch (Vattani, Chierichetti and Lowenstein, 2015); stale-while-revalidate (RFC 5861), so that nobody waits.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .._base.clock import stopwatch
from .._base.freshness import Freshness
from .._base.missing import MISSING
from ..app.cache import Cache
from .findings import Bar, Bars, Column, Demonstration, Panel, Series, Timelines, Tone, Way, said
from .reach import Origin
from .serving import SLICES, Ask, Fetch, Measured, busy, serve
from .workloads import arrivals

NAME = "herd"
TITLE = "When a hot answer expires, one works and nobody waits"
HOT = "tea"
Clock = Callable[[], float] | None


@dataclass(frozen=True, slots=True)
class Approach:
    """A way to keep a hot key: `make(ttl, clock)` returns the way through its cache."""

    label: str
    says: str
    tone: Tone
    make: Callable[[float, Clock], Ask]


def naive(ttl: float, clock: Clock = None) -> Ask:
    """Look; when nothing is there, ask the origin and store what it says."""
    cache: Cache[str, object] = Cache(ttl=ttl, clock=clock)

    async def ask(name: str, fetch: Fetch) -> object:
        answer = cache.get(name, MISSING)
        if answer is MISSING:
            answer = await fetch(name)
            cache.set(name, answer)
        return answer

    return ask


def kept(fresh: Freshness, clock: Clock = None) -> Ask:
    """One load for all who ask, under the freshness given."""
    cache: Cache[str, object] = Cache(fresh=fresh, clock=clock)

    async def ask(name: str, fetch: Fetch) -> object:
        return await cache.aget_or_set(name, partial(fetch, name))

    return ask


APPROACHES = (
    Approach("naive", "look, and when it is gone ask the origin", "bad", naive),
    Approach("one lock", "one asks, the crowd waits", "fair", lambda ttl, clock: kept(Freshness(ttl=ttl), clock)),
    Approach("early (XFetch)", "one renews it a little before it expires", "good",
             lambda ttl, clock: kept(Freshness(ttl=ttl, early=1.0), clock)),
    Approach("serve stale", "the old answer is served while one renews it", "good",
             lambda ttl, clock: kept(Freshness(ttl=ttl, stale_while_revalidate=ttl), clock)),
)
COLUMNS = (
    Column("origin_calls", "origin calls", "count"), Column("per_lifetime", "calls per lifetime", "count"),
    Column("origin_peak", "at once", "count"), Column("p50_s", "P50", "s"), Column("p99_s", "P99", "s"),
    Column("gap", "P99 ÷ P50", "times"), Column("errors", "errors", "count"),
)


async def _measure(origin: Origin, seed: int, seconds: float, rate: float, ttl: float) -> list[Measured]:
    due = arrivals(rate, seconds, random.Random(seed))
    runs = []
    for approach in APPROACHES:
        ask = approach.make(ttl, None)
        await serve(origin, ask, [0.0], [HOT], 0.0)  # the first answer is not the question
        runs.append(await serve(origin, ask, due, [HOT] * len(due), seconds, awake=True))
    return runs


def run(seed: int, seconds: float = 3.0, *, query_s: float = 0.02, rate: float = 800.0) -> Demonstration:
    """Send the same crowd at one hot key in each of the four ways.

    seconds: how long each way is measured. query_s: how long the origin's query takes. rate: callers per second.
    """
    begun_s = stopwatch()
    ttl = seconds / 8
    with Origin(seed=seed, query_s=query_s, line=200) as origin:
        runs = asyncio.run(_measure(origin, seed, seconds, rate, ttl))
        query_s = origin.query_s
    ways = []
    for approach, measured in zip(APPROACHES, runs, strict=True):
        figures = measured.figures()
        figures["per_lifetime"] = figures["origin_calls"] / (measured.seconds / ttl)
        ways.append(Way(approach.label, approach.says, approach.tone, figures, measured.timeline.worst(SLICES, seconds)))
    first, last = ways[0].figures, ways[-1].figures
    slices = int(seconds * 80)
    at = [seconds * (place + 0.5) / slices for place in range(slices)]
    return Demonstration(
        name=NAME,
        title=TITLE,
        question="What happens at the moment when the answer that everybody wants expires?",
        setting=(
            f"{rate:,.0f} callers a second want one article. The origin is an SQLite database whose query takes "
            f"{said(query_s, 's')} when asked alone and which can do 2 at once. An answer is good for {said(ttl, 's')}, so "
            f"that it expires again and again, for {said(seconds, 's')} in each of four ways. A caller's time includes the "
            f"page that is rendered for him."
        ),
        finding=(
            f"Naively, {first['origin_calls']:,.0f} calls reached the origin, {first['origin_peak']:,.0f} of them at once, "
            f"and 1 caller in 100 waited {said(first['p99_s'], 's')} or longer: {said(first['gap'], 'times')} the usual. "
            f"Served stale while one renews it, {last['origin_calls']:,.0f} calls were enough, and P99 is "
            f"{said(last['gap'], 'times')} P50."
        ),
        columns=COLUMNS,
        ways=ways,
        pictures=(
            Timelines(
                "Each expiry is a spike of waiting, until somebody renews the answer in time",
                "The longest wait among the callers of each moment; each step on the upright scale is ten times the one "
                "below. Flat is good: there the answer was in hand.",
                tuple(
                    Panel(f"{way.label}: {way.says}",
                          (Series("", at, [worst or float("nan") for worst in measured.timeline.worst(slices, seconds)],
                                  way.tone, "area"),))
                    for way, measured in zip(ways, runs, strict=True)
                ),
                "seconds", "longest wait", "s", log=True,
            ),
            Bars(
                "One call per lifetime is enough",
                "Calls that reached the origin, for each time that the answer expired.",
                tuple(Bar(way.label, way.figures["per_lifetime"], way.tone) for way in ways),
                "origin calls per lifetime", "count",
            ),
            Bars(
                f"The unlucky caller's wait falls from {said(first['p99_s'], 's')} to {said(last['p99_s'], 's')}",
                "Each bar reaches from P50 (half of the callers waited no longer) to P99 (1 in 100 waited longer). A long "
                "bar tells of a herd.",
                tuple(Bar(way.label, way.figures["p99_s"], way.tone, way.figures["p50_s"]) for way in ways),
                "time until the page is there", "s", log=True,
            ),
        ),
        shape_says="longest waits over time",
        seed=seed,
        warning=busy(runs),
        took_s=stopwatch() - begun_s,
    )
