"""What does a hit cost when the cache is far larger than the processor's caches?

A million entries are resident and asked for in an order without any pattern, each turn a part of the order that no turn
has seen before: every call waits for memory several times. The number says how many cache lines a hit touches, and
how well those waits overlap, more than how many instructions it takes. "ids" are the dense ints 0 to a million (whose
hashes lie side by side), "random ints" are drawn from 2**30.
"""

from __future__ import annotations

import random
from typing import Any

from bench.cases.contest import Case, Contest, contestants, guests, warm_with
from bench.cases.hits import body
from bench.loops import one_each, subscript_each
from bench.rounds import Effort, Result

TURN = 50_000
SLOW = {"cachetools", "theine"}  # filling them takes longer than all other lanes together


def hit_large(effort: Effort, keys: list[Any]) -> Result:
    effort.rounds = min(effort.rounds, 16)
    effort.turn_ns = 10**9  # a turn is a slice of the order, whatever it takes
    asked = list(keys)
    random.Random(3).shuffle(asked)
    turn = min(TURN, len(asked) // 4)
    batches = [asked[at : at + turn] for at in range(0, len(asked) - turn + 1, turn)]
    contest = Contest(effort, one_each, batches)
    contest.floor()
    contest.bare_dict(subscript_each, {key: key for key in keys})
    contest.enter(contestants(body, len(keys) + 7), warm=warm_with(keys))
    others = {name: make for name, make in guests(effort, body, len(keys) + 7).items() if name not in SLOW}
    contest.enter(others, warm=warm_with(keys), guests=True)
    return contest.run(only="hits")


def random_ints(count: int) -> list[int]:
    return random.Random(2).sample(range(1 << 30), count)


def hit_random(effort: Effort) -> Result:
    return hit_large(effort, random_ints(effort.large))


def hit_ids(effort: Effort) -> Result:
    effort.peers = ()
    return hit_large(effort, list(range(effort.large)))


CASES = (
    Case("hit-1m", "hit, 1M random ints", hit_random, (2.0, 2.0), processes=1, large=True),
    Case("hit-1m-ids", "hit, 1M ids in random order", hit_ids, processes=1, large=True),
)
