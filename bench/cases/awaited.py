"""What does `await` of an answer that is already there cost?

One coroutine awaits a memoized `async def` two thousand times a turn, a thousand keys resident, inside a running event
loop; loop and await are included. functools.lru_cache cannot remember an `async def` (it would hand out a spent
coroutine), so the row is measured against async-lru; without async-lru there is no row.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Sequence

from bench import peers
from bench.cases.contest import Case
from bench.cases.hits import in_random_order, ints
from bench.rounds import Effort, Lane, Result, own_copy, take_turns

BASELINE = "async-lru"


async def body(key: Any) -> Any:
    return key


async def await_each(call: Any, batch: Sequence[Any]) -> None:
    for key in batch:
        await call(key)


def drive(subject: tuple[Callable[..., Any], Any], batch: Sequence[Any]) -> None:
    """Run the coroutine to its end by hand: a hit has nothing to wait for."""
    each, call = subject
    try:
        each(call, batch).send(None)
    except StopIteration:
        return
    raise RuntimeError("a hit was suspended")


async def compete(effort: Effort) -> Result:
    keys, notes, lanes = ints(), [], []
    names = [BASELINE, peers.MEMOIZE, *(name for name in effort.peers if name in peers.ASYNC_TOO)]
    makers = {name: make for name, (_, make) in peers.PEERS.items()} | peers.OURS
    for name in names:
        guest = name not in (BASELINE, peers.MEMOIZE)
        try:
            memoized = makers[name](body, 1024)
            await await_each(memoized, keys)
            lane = Lane(name, drive, (own_copy(await_each), memoized), [in_random_order(keys)], guest=guest)
            lane.loop(lane.subject, keys)
        except Exception as error:
            if not guest:
                raise
            notes.append(f"{name}: not measured here, {type(error).__name__}: {error}")
            continue
        lanes.append(lane)
    result = take_turns(lanes, effort, BASELINE)
    result.notes.extend(notes)
    return result


def awaited(effort: Effort) -> Result:
    missing = peers.why_missing(BASELINE)
    if missing:
        return Result({}, {}, {}, [missing], BASELINE)
    return asyncio.run(compete(effort))


CASES = (Case("hit-await", "awaited hit, async def", awaited, (5.0, 5.0), (peers.MEMOIZE,), BASELINE),)
