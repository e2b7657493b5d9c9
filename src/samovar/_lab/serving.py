"""An application that answers from a cache, and the crowd that measures it: what stale, herd and cold share.

A request asks the cache for an article's takings and renders a page of the answer, as an application does. Its latency
is what passes between its arrival in the application and its page.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .._base.clock import stopwatch
from .._base.errors import SamovarError
from .findings import said
from .reach import Counts, Origin
from .timeline import Timeline, percentile
from .workloads import crowd

Fetch = Callable[[str], Awaitable[Any]]  # the way to the origin
Ask = Callable[[str, Fetch], Awaitable[Any]]  # the way through a cache, if there is one
SLICES = 60  # parts of the time in sparklines
BUSY_S = 0.004  # a caller who is sent so late was held up by the machine: a few turns of its scheduler
_ROWS = 300


def render(answer: dict[str, Any]) -> str:
    """The page: a small table, made anew for each request."""
    name, cents = answer["name"], answer["cents"]
    rows = (f"<tr><td>{name}</td><td>{day}</td><td>{cents * day / 100:,.2f}</td></tr>" for day in range(_ROWS))
    return f"<h1>{name}</h1><table>{''.join(rows)}</table>"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a crowd: what its callers met, and what the origin saw. opened_s: when the first could come, in seconds
    since the origin began to count. late_s: 1 caller in 100 was sent later than this."""

    timeline: Timeline
    counts: Counts
    seconds: float
    opened_s: float
    late_s: float

    def figures(self) -> dict[str, float]:
        """What every table shows."""
        p50_s, p99_s = self.timeline.percentile(50), self.timeline.percentile(99)
        return {
            "requests": len(self.timeline.came_s), "origin_calls": self.counts.calls, "origin_peak": self.counts.peak,
            "p50_s": p50_s, "p99_s": p99_s, "gap": p99_s / p50_s if p50_s else 0.0, "worst_s": self.timeline.percentile(100),
            "errors": len(self.timeline.failed_s),
        }


def busy(runs: Sequence[Measured]) -> str:
    """A warning when the callers could not be sent in time, and so what was measured is not the caches' doing."""
    late_s = min(run.late_s for run in runs)  # the calmest: a herd may hold up its own crowd
    return "" if late_s < BUSY_S else (
        f"This machine was busy with other things: 1 caller in 100 was sent {said(late_s, 's')} late or more. Times are "
        f"not to be trusted; run it again when the machine is at rest."
    )


async def serve(origin: Origin, ask: Ask, due: Sequence[float], names: Sequence[str], seconds: float, *,
                patience_s: float = 5.0, before: Callable[[], Awaitable[object]] | None = None, counted: bool = True,
                beside: Callable[[float], Awaitable[object]] | None = None,
                seen: Callable[[float, Any], None] | None = None, awake: bool = False) -> Measured:
    """Send a crowd through `ask`: the caller of place n comes at due[n] and wants names[n].

    patience_s: a caller who waits longer goes away, an error. before: done before the doors open; counted: whether the
    origin's calls for it count. beside: runs meanwhile, told where the stopwatch stood when the doors opened. seen: called
    with the moment, in seconds since then, and the answer, for each that was given. awake: as for `crowd`.
    """
    timeline = Timeline()
    if before is not None and not counted:
        await before()
    await asyncio.to_thread(origin.reset)
    reset_s = stopwatch()
    if before is not None and counted:
        await before()
    gc.collect()
    gc.freeze()  # what was there before is not looked through again meanwhile
    start_s = stopwatch()

    async def request(number: int) -> None:
        came_s = stopwatch()
        failed = False
        try:
            async with asyncio.timeout(patience_s):
                answer = await ask(names[number], origin.takings)
            render(answer)
            if seen is not None:
                seen(came_s - start_s, answer)
        except (OSError, SamovarError):  # refused, or out of patience
            failed = True
        timeline.note(came_s - start_s, stopwatch() - came_s, failed=failed)

    try:
        late_s, *_ = await asyncio.gather(crowd(due, request, awake=awake), *(() if beside is None else (beside(start_s),)))
    finally:
        gc.unfreeze()
    took_s = max(seconds, stopwatch() - start_s)
    return Measured(timeline, await asyncio.to_thread(origin.counts), took_s, start_s - reset_s,
                    percentile(late_s, 99))
