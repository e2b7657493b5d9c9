"""Who asks for what, and when: seeded, so that every way of serving meets the same crowd.

Crowds are open: a caller comes when he is due, whether or not those before him have been answered, as the visitors of a
site do. (A crowd that waits for its answers slows down with the origin, and so hides what it suffers.)
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from .._base.clock import stopwatch

AWAKE_S = 0.002


def arrivals(rate: float, seconds: float, chance: random.Random) -> list[float]:
    """When callers come who do not know of each other: a Poisson process of `rate` per second, for so many seconds."""
    due, at_s = [], chance.expovariate(rate)
    while at_s < seconds:
        due.append(at_s)
        at_s += chance.expovariate(rate)
    return due


def zipf(count: int, universe: int, exponent: float, chance: random.Random) -> list[int]:
    """`count` numbers below `universe`, of which number n is asked for 1 / (n + 1) ** exponent as often as number 0."""
    total, shares = 0.0, []
    for rank in range(1, universe + 1):
        total += rank ** -exponent
        shares.append(total)
    return chance.choices(range(universe), cum_weights=shares, k=count)


async def crowd(due: Sequence[float], request: Callable[[int], Awaitable[None]], *, awake: bool = False) -> list[float]:
    """Call request(number) for each caller when he is due, seconds from now, and wait until all have been answered. By
    how many seconds each was sent too late: where that is much, the machine was busy, and not with this.

    awake: between callers who come shortly after each other the loop spins instead of sleeping: a processor that just
    slept is slow at first, and where hits are compared that is not what shall be measured. It takes a whole processor.
    """
    start_s = stopwatch()
    late_s = []
    under_way: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        await request(number)

    for number, due_s in enumerate(due):
        while (wait_s := due_s - (stopwatch() - start_s)) > 0:  # noqa: ASYNC110 - there is no event but time
            await asyncio.sleep(max(0.0, wait_s - AWAKE_S) if awake else wait_s)
        late_s.append(-wait_s)
        task = asyncio.create_task(one(number))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    if under_way:
        await asyncio.gather(*under_way)
    return late_s
