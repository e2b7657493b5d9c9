"""Stale answers (FM4): the truth changes at the origin while a cache goes on telling what was true before.

Four ways to live with it: keep answers for ever; give them a time to live; the same, but renewed behind the callers'
backs (stale-while-revalidate); tell the cache when something changed (tags, fenced against loads that are under way).
"""

import asyncio
import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .._base.clock import stopwatch
from .._base.freshness import Freshness
from ..app.cache import Cache
from .findings import Column, Demonstration, Panel, Series, Timelines, Tone, Way, said
from .reach import Origin
from .serving import SLICES, Ask, Fetch, Measured, busy, serve
from .timeline import percentile
from .workloads import arrivals

NAME = "stale"
TITLE = "How old may an answer be?"
CHANGES = 7  # of the article, in each run
Tell = Callable[[str], object]  # called by whoever changed an article
Clock = Callable[[], float] | None


@dataclass(frozen=True, slots=True)
class Approach:
    """A way to keep what changes: `make(ttl, clock)` returns the way through its cache, and whom a change is told."""

    label: str
    says: str
    tone: Tone
    make: Callable[[float, Clock], tuple[Ask, Tell]]


def untold(name: str) -> None:
    """A cache that is not told of changes."""


def kept(fresh: Freshness | None, clock: Clock = None, *, told: bool = False) -> tuple[Ask, Tell]:
    """A cache under the freshness given. told: it is told what changed."""
    cache: Cache[str, Any] = Cache(fresh=fresh, clock=clock)

    async def ask(name: str, fetch: Fetch) -> Any:
        return await cache.aget_or_set(name, partial(fetch, name), tags=(f"article:{name}",))

    return ask, (lambda name: cache.invalidate_tags(f"article:{name}")) if told else untold


APPROACHES = (
    Approach("kept for ever", "nothing ever expires", "bad", lambda ttl, clock: kept(None, clock)),
    Approach("time to live", "gone when its time is over", "fair", lambda ttl, clock: kept(Freshness(ttl=ttl), clock)),
    Approach("serve stale", "when its time is over, served while one renews it", "fair",
             lambda ttl, clock: kept(Freshness(ttl=ttl, stale_while_revalidate=ttl), clock)),
    Approach("told of changes", "whoever changes an article invalidates its tag", "good",
             lambda ttl, clock: kept(None, clock, told=True)),
)
COLUMNS = (
    Column("stale", "out of date", "share"), Column("stale_p50_s", "usually by", "s"), Column("oldest_s", "at worst by", "s"),
    Column("origin_calls", "origin calls", "count"), Column("p50_s", "P50", "s"), Column("p99_s", "P99", "s"),
    Column("errors", "errors", "count"),
)


def ages(given: list[tuple[float, int]], changed_s: list[float]) -> list[float]:
    """For how long each answer had been out of date when its caller asked for it, in seconds; 0.0 for what was true.

    given: (when the caller came, the version he got, 1 for the first). changed_s: when each change was done.
    """
    ages_s = []
    for came_s, version in given:
        known = bisect_right(changed_s, came_s)  # changes done before he came
        ages_s.append(came_s - changed_s[version - 1] if version - 1 < known else 0.0)
    return ages_s


@dataclass(frozen=True, slots=True)
class Watched:
    """One run: what its callers met, when they came and how old their answers were, and when the truth changed."""

    measured: Measured
    came_s: list[float]
    ages_s: list[float]
    changed_s: list[float]


async def watch(origin: Origin, approach: Approach, name: str, due: list[float], changes: list[float], seconds: float,
                ttl: float) -> Watched:
    """Send the crowd, change the article at the moments given, and look at the version in each answer."""
    ask, tell = approach.make(ttl, None)
    await serve(origin, ask, [0.0], [name], 0.0)  # the first answer is not the question
    given: list[tuple[float, int]] = []
    changed_s: list[float] = []

    async def change(start_s: float) -> None:
        for due_s in changes:
            await asyncio.sleep(max(0.0, due_s - (stopwatch() - start_s)))
            await origin.change(name)
            tell(name)
            changed_s.append(stopwatch() - start_s)

    measured = await serve(origin, ask, due, [name] * len(due), seconds, beside=change,
                           seen=lambda came_s, answer: given.append((came_s, answer["version"])))
    given.sort()
    return Watched(measured, [came_s for came_s, _ in given], ages(given, changed_s), changed_s)


async def _measure(origin: Origin, seed: int, seconds: float, rate: float, ttl: float) -> list[Watched]:
    chance = random.Random(seed)
    due = arrivals(rate, seconds, chance)
    changes = [seconds * (place + chance.random()) / CHANGES for place in range(CHANGES)]
    return [await watch(origin, approach, f"tea-{place}", due, changes, seconds, ttl)
            for place, approach in enumerate(APPROACHES)]


def run(seed: int, seconds: float = 2.0, *, query_s: float = 0.015, rate: float = 300.0) -> Demonstration:
    """Change an article now and then while a crowd asks for it, in each of the four ways.

    seconds: how long each way is measured. query_s: how long the origin's query takes. rate: callers per second.
    """
    begun_s = stopwatch()
    ttl = seconds / 5
    with Origin(seed=seed, query_s=query_s) as origin:
        runs = asyncio.run(_measure(origin, seed, seconds, rate, ttl))
        query_s = origin.query_s
    ways = []
    for approach, watched in zip(APPROACHES, runs, strict=True):
        figures = watched.measured.figures()
        old = [age_s for age_s in watched.ages_s if age_s > 0]
        figures |= {"stale": len(old) / max(1, len(watched.ages_s)), "stale_p50_s": percentile(old, 50),
                    "oldest_s": max(old, default=0.0)}
        shape = [0.0] * SLICES
        for came_s, age_s in zip(watched.came_s, watched.ages_s, strict=True):
            place = min(SLICES - 1, int(came_s / seconds * SLICES))
            shape[place] = max(shape[place], age_s)
        ways.append(Way(approach.label, approach.says, approach.tone, figures, shape))
    for_ever, lived, _, told = (way.figures for way in ways)
    return Demonstration(
        name=NAME,
        title=TITLE,
        question="When something changes at the origin, how long does the cache go on telling what was true before?",
        setting=(
            f"{rate:,.0f} callers a second want one article, which is changed {len(runs[0].changed_s)} times within "
            f"{said(seconds, 's')}. Every answer carries its version, so that each answer's age is known exactly. Where "
            f"there is a time to live, it is {said(ttl, 's')}; the origin's query takes {said(query_s, 's')}."
        ),
        finding=(
            f"Kept for ever, {said(for_ever['stale'], 'share')} of the answers were out of date. A time to live bounds by "
            f"how much: {said(lived['oldest_s'], 's')} at worst. Told of changes, the cache gave "
            f"{said(told['stale'], 'share')} answers that were out of date, and asked the origin "
            f"{told['origin_calls']:.0f} times: only when there was news."
        ),
        columns=COLUMNS,
        ways=ways,
        pictures=(
            Timelines(
                "A time to live bounds how old an answer can be; telling the cache ends it at once",
                "How long an answer had been out of date when it was given. Thin uprights: the article changes at the "
                "origin. On the ground line answers are true.",
                tuple(
                    Panel(f"{way.label}: {way.says}",
                          (Series("", watched.came_s, watched.ages_s, way.tone, "area"),), tuple(watched.changed_s))
                    for way, watched in zip(ways, runs, strict=True)
                ),
                "seconds", "out of date by", "s",
            ),
        ),
        shape_says="out of date over time",
        seed=seed,
        warning=busy([watched.measured for watched in runs]),
        took_s=stopwatch() - begun_s,
    )
