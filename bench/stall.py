"""The worst single operation: what a caller pays who comes when a table grows, or when a million entries expire at once.

    python -m bench.stall [--entries N] [--rounds N]

A cache is filled with entries that all expire within the same second or two. Three questions, each answered by the
longest of all operations (and the median of them, for the scale):

    grow     one `cache[key] = value` while the cache grows from nothing to a million entries
    expire   one `get` or one `set`, in turn, from the moment when the first entry expires until the last is gone
    turn     one `set` of a cache that is full and evicts for each new key

Beside it a dict grows, which moves all its entries at once. The time that counts is that of the thread's processor:
on a busy machine the wall clock mostly tells of other programs (it is shown too). The kernel's page faults are in both.
Garbage collection is off, for it is Python's and not the cache's. Of several rounds, in processes of their own, the
least is shown: a stall of the cache's own is in every round, one of the machine's is not. The bar is a millisecond.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import repeat

from samovar import Cache

BAR_MS = 1.0
KINDS = {
    "dict": None, "ttl": {}, "ttl, maxsize": {"maxsize": 1}, "ttl, tags": {"tags": ("a tag",)},
    "ttl, stale": {"stale": True}, "ttl, weights": {"maxweight": 1}, "ttl, on_remove": {"on_remove": True},
    "tinylfu": {"maxsize": 1, "eviction": "tinylfu"}, "gdsf": {"maxweight": 1, "eviction": "gdsf"},
}


def measure(acts: Iterator[Callable[[], object]]) -> dict[str, float]:
    """The longest and the middle of these acts, in milliseconds of the processor and of the wall."""
    busy, wall = time.thread_time_ns, time.perf_counter_ns
    longest = longest_wall = 0
    every = []
    for act in acts:
        begun_wall, begun = wall(), busy()
        act()
        took, took_wall = busy() - begun, wall() - begun_wall
        every.append(took)
        longest, longest_wall = max(longest, took), max(longest_wall, took_wall)
    every.sort()
    return {"worst": longest / 1e6, "wall": longest_wall / 1e6, "median": every[len(every) // 2] / 1e6, "count": len(every)}


def made(entries: int, ttl_s: float, options: dict[str, object]) -> Cache[int, int]:
    from samovar import Freshness

    asked: dict[str, object] = {name: options[name] for name in ("eviction",) if name in options}
    if options.get("maxsize"):
        asked["maxsize"] = entries
    if options.get("maxweight"):
        asked.update(maxweight=entries, weigher=lambda key, value: 1)
    if options.get("on_remove"):
        asked["on_remove"] = lambda key, value, cause: None
    asked.setdefault("maxsize", None)
    asked["fresh"] = Freshness(ttl=ttl_s, stale_while_revalidate=0.001 if options.get("stale") else 0)
    return Cache(**asked)  # type: ignore[arg-type]


def one_round(kind: str, entries: int) -> dict[str, dict[str, float]]:
    options = KINDS[kind]
    keys, others = list(range(entries)), list(range(entries, 3 * entries))
    gc.collect()
    gc.disable()
    if options is None:
        table: dict[int, int] = {}
        return {"grow": measure(lambda key=key: table.__setitem__(key, key) for key in keys)}
    ttl_s = 3.0 + entries * 4e-6
    cache = made(entries, ttl_s, options)
    put = cache.__setitem__ if "tags" not in options else lambda key, value: cache.set(key, value, tags=options["tags"])
    begun = time.monotonic()
    found = {"grow": measure(lambda key=key: put(key, key) for key in keys)}
    if cache.maxsize or cache.maxweight:
        found["turn"] = measure(lambda key=key: put(key, key) for key in others[:entries // 4])
    took = time.monotonic() - begun
    time.sleep(max(0.0, begun + ttl_s - time.monotonic()))

    def until_all_are_gone() -> Iterator[Callable[[], object]]:
        end = time.monotonic() + took + 0.5
        for key, other in zip(keys, others, strict=False):
            yield lambda: cache.get(key)
            yield lambda: put(other, other)
            if time.monotonic() > end:
                break

    found["expire"] = measure(until_all_are_gone())
    return found


def best_of(kind: str, entries: int, rounds: int) -> dict[str, dict[str, float]]:
    best: dict[str, dict[str, float]] = {}
    for _ in repeat(None, rounds):
        command = [sys.executable, "-m", "bench.stall", "--entries", str(entries), "--one", kind]
        answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for question, found in answer.items():
            kept = best.setdefault(question, found)
            best[question] = {name: min(kept[name], value) for name, value in found.items()}
    return best


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stall", description="the worst single operation")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=KINDS, help="one round of one kind, as JSON")
    parser.add_argument("--only", help="only this kind")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one_round(asked.one, asked.entries)))
        return
    print(f"worst operation of {asked.entries:,} entries, in ms of the processor (wall; median); the bar is {BAR_MS:g} ms")
    for kind in KINDS:
        if asked.only in (None, kind):
            for question, found in best_of(kind, asked.entries, asked.rounds).items():
                over = "  over the bar" if found["worst"] > BAR_MS and kind != "dict" else ""
                print(f"{kind:16}{question:8}{found['worst']:9.3f}  ({found['wall']:.3f}; {found['median']:.5f}){over}")


if __name__ == "__main__":
    main()
