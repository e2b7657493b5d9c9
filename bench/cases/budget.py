"""What does an origin's budget cost: a hit, which needs no place, and a miss, which takes one that is free?

The same loops over a `Cache` without a budget and one with: `get_or_set` of keys that are all there, and of keys that are
never there, of a factory that does nothing. A hit must cost no more than without; a miss at most 1.4 times as much.
"""

from __future__ import annotations

from bench.cases.contest import Case
from bench.cases.hits import in_random_order, ints
from bench.loops import get_or_set_each
from bench.rounds import Effort, Lane, Result, take_turns
from samovar import Cache, OriginBudget

WITHOUT, WITH = "Cache", "Cache(budget=)"


def _both(effort: Effort, maxsize: int | None) -> Result:
    asked = in_random_order(ints())
    caches = Cache(maxsize, eviction="lru"), Cache(maxsize, eviction="lru", budget=OriginBudget(8))
    for cache in caches:
        get_or_set_each(cache, asked)
    lanes = [Lane(name, get_or_set_each, cache, [asked]) for name, cache in zip((WITHOUT, WITH), caches, strict=True)]
    return take_turns(lanes, effort, WITHOUT)


def hit(effort: Effort) -> Result:
    return _both(effort, None)


def miss(effort: Effort) -> Result:
    return _both(effort, 1)


CASES = (
    Case("budget-hit", "get_or_set within a budget, hit", hit, bar=(0.97, 0.97), judged=(WITH,), baseline=WITHOUT, level=2),
    Case("budget-miss", "get_or_set within a budget, miss", miss, bar=(0.7, 0.7), judged=(WITH,), baseline=WITHOUT, level=2),
)
