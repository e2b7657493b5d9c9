"""Reading a result that was built ahead beside the same hit of a `Cache`, of `cached` and of `memoize`, in one run.

    python -m bench.ahead [--rounds N]

1,024 results, all of them there; each is read in turn, in rounds in which every row gets its turn. What is awaited is
stepped by hand in a coroutine that never has to wait. Time is the thread's own processor time, with the loop; the median
of the rounds' ratios to the first row of a group counts.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
from collections.abc import Callable
from typing import Any

from bench.machine import described
from bench.near import KEYS, LAPS, by_get, loads_awaited, own, stepped, took
from samovar import Cache, cached, memoize, precompute


def by_call(subject: Any) -> None:
    for _ in range(LAPS):
        for key in KEYS:
            subject(key)


async def calls_awaited(subject: Any) -> None:
    for _ in range(LAPS):
        for key in KEYS:
            await subject(key)


def one(key: str) -> int:
    return 1


async def aone(key: str) -> int:
    return 1


async def built(apage: Any) -> None:
    async with apage:
        assert await apage.wait("30s") and apage.status().unbuilt == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ahead", description="a result that was built ahead, read")
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    cache: Cache[str, int] = Cache(20_000, ttl="1h")
    cache.update(dict.fromkeys(KEYS, 1))
    page = precompute(keys=KEYS, every="1h")(one)
    apage = precompute(keys=KEYS, every="1h")(aone)
    with page:
        assert page.wait("30s") and page.status().unbuilt == 0
    asyncio.run(built(apage))
    shared, kept = cached(Cache(20_000, ttl="1h"))(one), memoize(maxsize=20_000, ttl="1h")(one)
    by_call(shared), by_call(kept)
    groups: list[list[tuple[str, Callable[[Any], None], Any]]] = [
        [("Cache.get", own(by_get), cache), ("precompute", own(by_call), page), ("cached", own(by_call), shared),
         ("memoize", own(by_call), kept), ("a function in Python", own(by_call), one)],
        [("await Cache.aget_or_set", stepped(own(loads_awaited)), cache),
         ("await precompute", stepped(own(calls_awaited)), apage)],
    ]
    times: dict[str, list[float]] = {name: [] for group in groups for name, _, _ in group}
    gc.disable()
    for round_number in range(rounds + 2):
        for group in groups:
            for name, act, subject in group if round_number % 2 else reversed(group):
                spent = took(act, subject)
                if round_number >= 2:
                    times[name].append(spent)
    print(described())
    for group in groups:
        base = times[group[0][0]]
        for name, _, _ in group:
            ratio = statistics.median(mine / other for mine, other in zip(times[name], base, strict=True))
            print(f"{name:<26}{min(times[name]) / LAPS / len(KEYS) * 1e9:>7.1f} ns {ratio:>6.2f}")


if __name__ == "__main__":
    main()
