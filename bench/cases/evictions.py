"""What does a call cost that finds nothing, computes, stores and evicts?

Four thousand keys go round and round through a cache of 1024, so that each comes back long after it was evicted: every
call is a miss that evicts. With a C function as the body nearly all of the time is the cache's own; with a Python
function some of it is the function's. `samovar.memoize` makes concurrent misses on one key compute once; its bar is
that an uncontended miss is no slower than lru_cache's, which does not.
"""

from __future__ import annotations

from typing import Any, Callable

from bench.cases.contest import Case, Contest, contestants, guests, warm_with
from bench.cases.hits import body
from bench.cases.shapes import first
from bench.loops import one_each, two_each
from bench.peers import DROP_IN, FUNCTOOLS, MEMOIZE
from bench.rounds import Effort, Result

ROUND = [number for _ in range(12) for number in range(100_000, 104_096)]


def miss(effort: Effort, fn: Callable[..., Any], names: tuple[str, ...], peers: bool = True) -> Result:
    contest = Contest(effort, one_each, [ROUND], step=4096)
    makers = {name: make for name, make in contestants(fn, 1024).items() if name in names}
    contest.enter(makers, warm=warm_with(ROUND[:4096]))
    if peers:
        contest.enter(guests(effort, fn, 1024), warm=warm_with(ROUND[:4096]), guests=True)
    return contest.run(only="misses")


def miss_python(effort: Effort) -> Result:
    return miss(effort, body, (FUNCTOOLS, DROP_IN, MEMOIZE))


def miss_c(effort: Effort) -> Result:
    return miss(effort, abs, (FUNCTOOLS, DROP_IN, MEMOIZE))


def miss_coalesced(effort: Effort) -> Result:
    return miss(effort, body, (FUNCTOOLS, MEMOIZE), peers=False)


def miss_two(effort: Effort) -> Result:
    pairs = [(number, number % 37) for number in ROUND[:4096]] * 12
    contest = Contest(effort, two_each, [pairs], step=4096)
    contest.enter(contestants(first, 1024), warm=lambda memoized: two_each(memoized, pairs[:4096]))
    others = guests(effort, first, 1024, one_argument=False)
    contest.enter(others, warm=lambda memoized: two_each(memoized, pairs[:4096]), guests=True)
    return contest.run(only="misses")


CASES = (
    Case("miss-python", "miss and evict, Python body", miss_python, (2.0, 2.0), judged=(DROP_IN,)),
    Case("miss-c", "miss and evict, C body", miss_c, (2.5, 2.5), judged=(DROP_IN,)),
    Case("miss-two", "miss and evict, two ints", miss_two, (1.5, 1.5), judged=(DROP_IN,)),
    Case("miss-coalesced", "miss and evict, coalescing", miss_coalesced, judged=(MEMOIZE,)),
)
