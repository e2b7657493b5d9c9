"""What does it cost to fill an empty cache with a million entries?

Dense ints, in order, into a new cache each turn; making and dropping the cache is not timed. The number holds all
growing of the table, which is why it is far above a hit: memory is touched for the first time. A bare dict stores key
by key.
"""

from __future__ import annotations

from bench.cases.contest import Case, Contest, contestants, guests
from bench.cases.large import SLOW
from bench.loops import one_each, store_each
from bench.peers import DICT
from bench.rounds import Effort, Lane, Result


def fill(effort: Effort) -> Result:
    keys = list(range(effort.large))
    effort.rounds, effort.peers_every, effort.turn_ns = min(effort.rounds, 6), 99, 0  # one turn is enough for peers
    contest = Contest(effort, one_each, [keys], step=len(keys))
    contest.enter(contestants(abs, len(keys) + 7), fresh=True)
    others = {name: make for name, make in guests(effort, abs, len(keys) + 7).items() if name not in SLOW}
    contest.enter(others, guests=True, fresh=True)
    contest.lanes.append(Lane(DICT, store_each, None, [keys], len(keys), fresh=dict))
    return contest.run()


CASES = (Case("fill", "fill with 1M ids", fill, processes=1, large=True),)
