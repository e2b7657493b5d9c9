"""Reading a result that was built ahead beside the same hit of a `Cache`, of `cached` and of `memoize`, in one run.

    python -m bench.ahead [--rounds N]

1,024 results, all of them there; each is read in turn, in rounds in which every row gets its turn. What is awaited is
stepped by hand in a coroutine that never has to wait. Time is the thread's own processor time, with the loop; the median
of the rounds' ratios to the first row of a group counts. Then all results are touched, and what the process spends until
they are built again is divided by them: the function does nothing, so that is what stands around a build.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from typing import Any

from bench.near import KEYS, LAPS, by_get, compare, loads_awaited, own, stepped
from samovar import Cache, cached, memoize, precompute


def build_us(page: Any, turns: int) -> float:
    """What is spent around the build of one touched result, in microseconds of the process's time: the least of the turns."""
    spent = []
    with page:
        for _ in range(turns):
            begun = time.process_time()
            for key in KEYS:
                page.touch(key)
            assert page.wait("60s")
            spent.append(time.process_time() - begun)
    return min(spent) / len(KEYS) * 1e6


async def abuild_us(page: Any, turns: int) -> float:
    """The same by tasks."""
    spent = []
    async with page:
        assert await page.wait("60s")
        for _ in range(turns):
            begun = time.process_time()
            for key in KEYS:
                page.touch(key)
            assert await page.wait("60s")
            spent.append(time.process_time() - begun)
    return min(spent) / len(KEYS) * 1e6


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
    compare(groups, rounds)
    turns = max(1, rounds // 10)
    print(f"{'a build, by threads':<26}{build_us(page, turns):>7.1f} µs")
    print(f"{'a build, by tasks':<26}{asyncio.run(abuild_us(apage, turns)):>7.1f} µs")


if __name__ == "__main__":
    main()
