"""XFetch: one caller renews an entry a little before it expires, so that a crowd never meets it expired.

Vattani, Chierichetti and Lowenstein, "Optimal probabilistic cache stampede prevention" (2015), section 3: renew when
`now - cost * beta * log(u) >= expiry`, with u uniform in (0, 1]. The cost is the measured time of the last load: what
takes long to compute is renewed earlier.

It lies on this floor because every level above asks it: memoized functions, caches, clusters and answers over HTTP.
The whole decision is `is_due`. A store in this process makes it under its own lock, in one step with beginning the
load, so that of a crowd only one begins: `is_early` in csrc/object/protocol.c is this rule in C, and a property test
holds one to the other. Stores beyond the process call it here.
"""

import math
import os
import random

chance = random.Random()  # our own: the program's `random` stays as it seeded it, and its seeds make no herd of ours
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=chance.seed)  # else all children of a process would draw the same


def gap(beta: float, u: float) -> float:
    """How many times the cost of its load before its deadline an entry is due for this caller.

    beta: eagerness, 0 or more; 1.0 is the paper's optimum, 0.0 never renews early.
    u: chance, more than 0 and up to 1.

    >>> from samovar._base.early import gap
    >>> gap(1.0, 1.0), gap(0.0, 0.5), round(gap(2.0, 0.5), 3)
    (0.0, 0.0, 1.386)
    """
    return -beta * math.log(u) + 0.0 if beta else 0.0


def is_due(left_s: float, cost_s: float, gap: float) -> bool:
    """Whether a caller with this gap renews an entry that is fresh for `left_s` more, and took `cost_s` to load.

    >>> from samovar._base.early import is_due
    >>> is_due(3.0, 2.0, 1.386), is_due(2.0, 2.0, 1.386), is_due(0.1, 2.0, 0.0)
    (False, True, False)
    """
    return gap > 0 and left_s <= cost_s * gap


def draw(beta: float) -> float:
    """The gap of one caller, by chance."""
    return gap(beta, 1.0 - chance.random()) if beta else 0.0
