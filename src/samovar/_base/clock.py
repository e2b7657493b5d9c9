"""The only module that reads a clock. All others are handed the time, so that tests can move it.

Three clocks, never mixed: a cache's own (`cache._now()`, for deadlines), the wall's (for what outlives the process)
and the stopwatch (for what a load costs).
"""

import time


def wall() -> float:
    """Seconds since 1970-01-01 UTC. It can jump when somebody sets the clock: only compare it across processes."""
    return time.time()


def stopwatch() -> float:
    """Seconds from an arbitrary start, never backwards: the difference of two readings is what passed between."""
    return time.perf_counter()
