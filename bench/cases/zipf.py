"""What does a whole workload cost, hits and misses as they come?

Requests are drawn from a million keys by a Zipf law of exponent 0.99, the common model of web and database caches, and
go through a cache of 100,000: the hot keys hit, the long tail misses and evicts. The hit ratio is printed; samovar's
hits must equal lru_cache's, as both are exact LRU (the run fails otherwise).
"""

from __future__ import annotations

import itertools
import random

from bench.cases.contest import Case, Contest, contestants, guests, warm_with
from bench.cases.hits import body
from bench.cases.large import SLOW
from bench.loops import one_each
from bench.rounds import Effort, Result

TURN = 50_000


def requests(keys: int, count: int, exponent: float = 0.99) -> list[int]:
    """`count` draws of ids 0 to `keys`, rank r with weight r ** -exponent; which id has which rank is shuffled."""
    chance = random.Random(99)
    ids = list(range(keys))
    chance.shuffle(ids)
    weights = list(itertools.accumulate(rank**-exponent for rank in range(1, keys + 1)))
    return chance.choices(ids, cum_weights=weights, k=count)


def zipf(effort: Effort) -> Result:
    effort.rounds = min(effort.rounds, 16)
    effort.turn_ns = 10**9
    keys, maxsize = effort.large, effort.large // 10
    turn = min(TURN, keys // 4)
    warming, asked = requests(keys, 4 * maxsize), requests(keys, 20 * turn)
    batches = [asked[at : at + turn] for at in range(0, len(asked), turn)]
    contest = Contest(effort, one_each, batches)
    contest.enter(contestants(body, maxsize), warm=warm_with(warming))
    others = {name: make for name, make in guests(effort, body, maxsize).items() if name not in SLOW}
    contest.enter(others, warm=warm_with(warming), guests=True)
    before = {name: memoized.cache_info() for name, memoized in contest.watched.items()}
    result = contest.run()
    after = {name: memoized.cache_info() for name, memoized in contest.watched.items()}
    counts = {(after[name].hits - then.hits, after[name].misses - then.misses) for name, then in before.items()}
    if len(counts) != 1:
        raise AssertionError(f"hits and misses differ: {after}")
    hits, misses = counts.pop()
    result.notes.append(f"hit ratio {hits / (hits + misses):.3f}, the same for functools and samovar")
    return result


CASES = (Case("zipf", "Zipf 0.99, 100k of 1M", zipf, (2.1, 2.1), processes=1, large=True),)
