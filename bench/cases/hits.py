"""What does an answer that is already there cost, when the function takes one argument?

A thousand keys are resident in a cache of 1024 and asked for in random order: nothing is computed, nothing is evicted,
every call moves its entry to the young end. The number is the price that a program pays on each call of a memoized
function that it calls a lot, loop and call included (about 15 ns of it are the bare loop and call: the no-op column).
"another object" asks with keys that are equal to the stored ones but not the same objects, as computed keys are.
"in order" asks for the keys as they were stored, round and round, and "the same int" for one key over and over: the
easiest that there are. "800 keys" and "100 keys" are sizes just beyond a doubling of a hash table, where a table that
grows step by step may be caught in the middle.
"""

from __future__ import annotations

import random
from typing import Any, Callable, Sequence

from bench.cases.contest import Case, Contest, contestants, guests, warm_with
from bench.loops import one_each, subscript_each
from bench.rounds import Effort, Result

KEYS = 1000
CALLS = 200_000


def body(key: Any) -> Any:
    return key


def in_random_order(keys: Sequence[Any], calls: int = CALLS) -> list[Any]:
    chance = random.Random(17)
    return [chance.choice(keys) for _ in range(calls)]


def hit(effort: Effort, keys: Sequence[Any], asked: Sequence[Any], maxsize: int | None) -> Result:
    contest = Contest(effort, one_each, [asked])
    contest.floor()
    contest.bare_dict(subscript_each, {key: key for key in keys})
    contest.enter(contestants(body, maxsize), warm=warm_with(keys))
    contest.enter(guests(effort, body, maxsize), warm=warm_with(keys), guests=True)
    return contest.run(only="hits")


def ints() -> list[int]:
    return list(range(100_000, 100_000 + KEYS))


def strs() -> list[str]:
    return [f"user:{number}" for number in range(KEYS)]


def hit_int(effort: Effort) -> Result:
    return hit(effort, ints(), in_random_order(ints()), 1024)


def hit_str(effort: Effort) -> Result:
    keys = strs()
    return hit(effort, keys, in_random_order(keys), 1024)


def hit_other_object(effort: Effort) -> Result:
    return hit(effort, strs(), in_random_order(strs()), 1024)


def hit_in_order(effort: Effort) -> Result:
    return hit(effort, ints(), ints() * (CALLS // KEYS), 1024)


def hit_800(effort: Effort) -> Result:
    return hit(effort, ints()[:800], in_random_order(ints()[:800]), 1024)


def hit_100(effort: Effort) -> Result:
    return hit(effort, ints()[:100], in_random_order(ints()[:100]), 1024)


def hit_same(effort: Effort) -> Result:
    return hit(effort, ints(), [100_500] * CALLS, 1024)


def hit_unbounded(effort: Effort) -> Result:
    keys = ints()
    return hit(effort, keys, in_random_order(keys), None)


HIT: tuple[tuple[str, str, Callable[[Effort], Result], tuple[float, float]], ...] = (
    ("hit-int", "hit, one int", hit_int, (1.7, 2.0)),
    ("hit-str", "hit, one str", hit_str, (1.7, 2.0)),
    ("hit-other-object", "hit, one str, another object", hit_other_object, (1.0, 1.0)),
    ("hit-in-order", "hit, one int, in order", hit_in_order, (1.7, 2.0)),
    ("hit-800", "hit, one int, 800 keys", hit_800, (1.7, 2.0)),
    ("hit-100", "hit, one int, 100 keys", hit_100, (1.7, 2.0)),
    ("hit-same", "hit, the same int", hit_same, (1.0, 1.0)),
    ("hit-unbounded", "hit, unbounded", hit_unbounded, (1.8, 2.1)),
)
CASES = tuple(Case(slug, title, measure, bar) for slug, title, measure, bar in HIT)
