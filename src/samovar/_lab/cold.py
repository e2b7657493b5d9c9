"""The cold start: every entry is gone, the whole crowd is there, and the origin can do only so much at once.

Four ways to open the doors: the code that everybody writes first; one load per key, which still asks for all keys at
once; an origin budget, which lets no more through than the origin can bear; and a budget with the hottest keys warmed
before the doors open.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .._base.clock import stopwatch
from ..app.cache import Cache
from ..herd.budget import OriginBudget
from .findings import Bar, Bars, Column, Demonstration, Panel, Series, Timelines, Tone, Way, said
from .herd import naive
from .reach import Origin
from .serving import SLICES, Ask, Fetch, Measured, busy, serve
from .timeline import concurrency
from .workloads import arrivals, zipf

NAME = "cold"
TITLE = "Open the doors without crushing the origin"
PLACES = 4  # of the budget
Warm = Callable[[list[str], Fetch], Awaitable[object]] | None


@dataclass(frozen=True, slots=True)
class Approach:
    """A way to start cold: `make(places, patience_s)` returns the way through an empty cache, and what warms it, if
    anything does. places: what an origin budget may let through at once. patience_s: a caller who waits longer goes."""

    label: str
    says: str
    tone: Tone
    make: Callable[[int, float], tuple[Ask, Warm]]


def unprotected(places: int, patience_s: float) -> tuple[Ask, Warm]:
    """Whoever misses asks the origin."""
    through = naive(3_600.0)

    async def ask(name: str, fetch: Fetch) -> Any:
        async with asyncio.timeout(patience_s):
            return await through(name, fetch)

    return ask, None


def kept(budget: OriginBudget | None, patience_s: float, *, warms: bool = False) -> tuple[Ask, Warm]:
    """One load for each key, within the budget if there is one. A load goes on when its callers have gone."""
    cache: Cache[str, Any] = Cache(ttl="1h", budget=budget)

    async def ask(name: str, fetch: Fetch) -> Any:
        return await cache.aget_or_set(name, partial(fetch, name), hard_timeout=patience_s)

    async def warm(names: list[str], fetch: Fetch) -> object:
        return await cache.awarm(names, fetch)

    return ask, warm if warms else None


APPROACHES = (
    Approach("naive", "whoever misses asks the origin", "bad", unprotected),
    Approach("one load per key", "but all keys at once", "fair", lambda places, patience_s: kept(None, patience_s)),
    Approach("with a budget", "no more loads at once than the origin can bear", "good",
             lambda places, patience_s: kept(OriginBudget(places), patience_s)),
    Approach("budget, warmed", "and the hottest keys loaded before the doors open", "good",
             lambda places, patience_s: kept(OriginBudget(places), patience_s, warms=True)),
)
COLUMNS = (
    Column("origin_calls", "origin calls", "count"), Column("origin_peak", "at once", "count"),
    Column("refused", "origin refused", "count"), Column("p50_s", "P50", "s"), Column("p99_s", "P99", "s"),
    Column("errors", "errors", "count"),
)


async def start(origin: Origin, approach: Approach, due: list[float], names: list[str], hottest: list[str], seconds: float,
                patience_s: float) -> Measured:
    """Open the doors of an empty cache to a crowd, after warming it if the approach does."""
    ask, warm = approach.make(PLACES, patience_s)
    before = None if warm is None else partial(warm, hottest, origin.takings)
    return await serve(origin, ask, due, names, seconds, before=before)


def run(seed: int, seconds: float = 3.0, *, query_s: float = 0.008, rate: float = 600.0) -> Demonstration:
    """Start cold in each of the four ways, with the same crowd.

    seconds: how long each way is measured. query_s: how long the origin's query takes. rate: callers per second.
    """
    begun_s = stopwatch()
    articles, patience_s = max(20, int(60 * seconds)), 3.0
    chance = random.Random(seed)
    due = arrivals(rate, seconds, chance)
    names = [f"article-{number}" for number in zipf(len(due), articles, 0.8, chance)]
    hottest = [f"article-{number}" for number in range(articles // 2)]
    runs: list[Measured] = []

    async def measure(origin: Origin) -> None:
        for approach in APPROACHES:
            runs.append(await start(origin, approach, due, names, hottest, seconds, patience_s))

    with Origin(seed=seed, query_s=query_s, line=20) as origin:
        asyncio.run(measure(origin))
        query_s, capacity, line = origin.query_s, origin.capacity, origin.line
    ways = []
    for approach, measured in zip(APPROACHES, runs, strict=True):
        figures = measured.figures() | {"refused": measured.counts.refused}
        ways.append(Way(approach.label, approach.says, approach.tone, figures, measured.timeline.worst(SLICES, seconds)))
    first, budget, warmed = ways[0].figures, ways[2].figures, ways[3].figures
    slices = int(seconds * 50)
    at = [seconds * place / slices for place in range(slices)]
    parts = int(seconds * 10)
    at_parts = [seconds * place / parts for place in range(parts)]
    return Demonstration(
        name=NAME,
        title=TITLE,
        question="The cache was restarted and is empty. What happens to the origin when everybody comes at once?",
        setting=(
            f"{rate:,.0f} callers a second ask for {articles} articles, some popular and some rare, and go away after "
            f"{said(patience_s, 's')}. The origin's query takes {said(query_s, 's')} when asked alone; it can do "
            f"{capacity} at once, lets {line} wait in line and refuses the others. The budget is {PLACES} loads at once. "
            f"Warming loads the {len(hottest)} most popular articles before the doors open."
        ),
        finding=(
            f"Without protection {first['origin_peak']:,.0f} calls crowd at the origin, and {first['errors']:,.0f} callers "
            f"get an error. With a budget there are never more than {budget['origin_peak']:,.0f}, and "
            f"{budget['errors']:,.0f} errors; warmed before, {warmed['errors']:,.0f} errors, and P99 falls from "
            f"{said(budget['p99_s'], 's')} to {said(warmed['p99_s'], 's')}."
        ),
        columns=COLUMNS,
        ways=ways,
        pictures=(
            Timelines(
                f"Never more than {budget['origin_peak']:,.0f} calls at the origin with a budget, up to "
                f"{first['origin_peak']:,.0f} without",
                "Calls that are with the origin at the same moment, waiting there or served. Above the dashed line it "
                "refuses. In the last panel, most of the work was done before the doors opened.",
                tuple(
                    Panel(f"{way.label}: {way.says}",
                          (Series("", at, _during(measured, slices, seconds), way.tone, "area"),),
                          limit=(capacity + line, "full"))
                    for way, measured in zip(ways, runs, strict=True)
                ),
                "seconds since the doors opened", "calls at the origin", "count",
            ),
            Timelines(
                f"{first['errors']:,.0f} errors without protection, {budget['errors']:,.0f} with a budget, "
                f"{warmed['errors']:,.0f} when it was warmed before",
                "Callers in each tenth of a second who got an error: the origin was full, or they waited for too long.",
                tuple(
                    Panel(f"{way.label}: {way.says}",
                          (Series("", at_parts, measured.timeline.errors(parts, seconds), way.tone, "area"),))
                    for way, measured in zip(ways, runs, strict=True)
                ),
                "seconds since the doors opened", "errors", "count",
            ),
            Bars(
                "How long the unlucky wait at the start",
                "P99: 1 caller in 100 waited longer for his page, or his error.",
                tuple(Bar(way.label, way.figures["p99_s"], way.tone) for way in ways),
                "P99", "s",
            ),
        ),
        shape_says="longest waits over time",
        seed=seed,
        warning=busy(runs),
        took_s=stopwatch() - begun_s,
    )


def _during(measured: Measured, slices: int, seconds: float) -> list[int]:
    return concurrency(measured.counts.since(measured.opened_s), slices, seconds)
