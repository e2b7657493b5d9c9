"""Level 1 at work, and what it costs to remember everything (FM3).

First the textbook's Fibonacci function, whose plain form calls itself an exponential number of times, and the same
function under `memoize`, which computes each number once. Then a cache that keeps all it ever saw, beside a bounded
one, under the same stream of requests.
"""

import random
import tracemalloc
from collections.abc import Callable

from .. import memo
from .._base.clock import stopwatch
from .findings import Column, Demonstration, Panel, Series, Timelines, Way, said
from .workloads import zipf

NAME = "memo"
TITLE = "Remember answers, but not all of them for ever"
_BODY = 1_000  # bytes of one answer


def _plain() -> tuple[Callable[[int], int], Callable[[], int]]:
    calls = 0

    def fib(n: int) -> int:
        nonlocal calls
        calls += 1
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    return fib, lambda: calls


def _remembering() -> tuple[Callable[[int], int], Callable[[], int]]:
    calls = 0

    @memo.memoize
    def fib(n: int) -> int:
        nonlocal calls
        calls += 1
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    return fib, lambda: calls


def count_calls(make: Callable[[], tuple[Callable[[int], int], Callable[[], int]]], n: int) -> tuple[int, int, float]:
    """fib(n) by a function just made: its value, how many calls it took, how many seconds."""
    fib, calls = make()
    begun_s = stopwatch()
    value = fib(n)
    return value, calls(), stopwatch() - begun_s


def grow(maxsize: int | None, keys: list[int], steps: int) -> tuple[list[int], list[int], float]:
    """Ask a memoized function for each key. After each of `steps` equal parts: how many entries there are, how many
    bytes Python has allocated since the start; and the share of requests that were hits."""

    @memo.memoize(maxsize=maxsize)
    def page(number: int) -> bytes:
        return number.to_bytes(8, "big") * (_BODY // 8)

    entries, allocated = [0], [0]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        part = max(1, len(keys) // steps)
        for first in range(0, len(keys), part):
            for key in keys[first:first + part]:
                page(key)
            entries.append(page.cache_info().currsize)
            allocated.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    info = page.cache_info()
    return entries, allocated, info.hits / len(keys)


def run(seed: int, seconds: float = 3.0) -> Demonstration:
    """Compute fib(n) both ways up to some n, and fill both caches with the same requests.

    seconds: about how long it may take; more means a larger n and more requests.
    """
    begun_s = stopwatch()
    top = 18 if seconds < 1 else 25 if seconds < 2 else 27
    numbers = list(range(1, top + 1))
    plain = [count_calls(_plain, n) for n in numbers]
    kept = [count_calls(_remembering, n) for n in numbers]
    assert [value for value, *_ in plain] == [value for value, *_ in kept]

    asked = max(2_000, min(60_000, int(20_000 * seconds)))
    bound = asked // 20
    keys = zipf(asked, asked * 5, 1.1, random.Random(seed))
    steps = 40
    all_entries, all_bytes, all_hits = grow(None, keys, steps)
    few_entries, few_bytes, few_hits = grow(bound, keys, steps)
    at = [asked * step / (len(all_entries) - 1) for step in range(len(all_entries))]
    calls = (plain[-1][1], kept[-1][1])

    return Demonstration(
        name=NAME,
        title=TITLE,
        question="What does it bring to remember a function's answers, and what does it cost to remember all of them?",
        setting=(
            f"A function that computes Fibonacci numbers from the two before is called plainly and under "
            f"samovar.memoize. Then {asked:,} requests for pages of {_BODY:,} bytes, some popular and most rare, go through "
            f"a cache without a bound and through one of {bound:,} entries."
        ),
        finding=(
            f"Remembering turns {calls[0]:,} calls into {calls[1]}. Kept without a bound, {said(all_bytes[-1], 'bytes')} "
            f"pile up and never leave; a bound holds them at {said(few_bytes[-1], 'bytes')}, and still answers "
            f"{said(few_hits, 'share')} of the requests from memory, where keeping everything answers "
            f"{said(all_hits, 'share')}."
        ),
        columns=(
            Column("calls", f"calls for fib({top})", "count"), Column("took_s", f"time for fib({top})", "s"),
            Column("entries", "entries kept", "count"), Column("bytes", "memory", "bytes"),
            Column("hits", "answered from memory", "share"),
        ),
        ways=(
            Way("plain function", "computes everything again", "bad", {"calls": calls[0], "took_s": plain[-1][2]},
                [count for _, count, _ in plain]),
            Way("memoize", "computes each answer once", "good", {"calls": calls[1], "took_s": kept[-1][2]},
                [count for _, count, _ in kept]),
            Way("no bound", "keeps every answer for ever", "bad",
                {"entries": all_entries[-1], "bytes": all_bytes[-1], "hits": all_hits}, all_bytes),
            Way(f"bound of {bound:,}", "the least recently used leaves", "good",
                {"entries": few_entries[-1], "bytes": few_bytes[-1], "hits": few_hits}, few_bytes),
        ),
        pictures=(
            Timelines(
                f"Remembered, fib({top}) takes {calls[1]} calls instead of {calls[0]:,}",
                "Each step on the upright scale is ten times the one below. The plain function works harder by a factor of "
                "1.6 with every number; the one that remembers needs one more call.",
                (Panel("", (
                    Series("plain function", numbers, [count for _, count, _ in plain], "bad"),
                    Series("memoize", numbers, [count for _, count, _ in kept], "good"),
                )),),
                "which Fibonacci number is asked for", "calls", "count", log=True,
            ),
            Timelines(
                "Without a bound, a cache grows until the memory is gone",
                f"Memory of the two caches while the same requests come in. The bounded one forgets what was not asked for "
                f"lately, stays at {bound:,} answers, and loses few hits by it.",
                (Panel("", (
                    Series("no bound", at, all_bytes, "bad", "area"),
                    Series(f"bound of {bound:,} entries", at, few_bytes, "good", "area"),
                )),),
                "requests so far", "memory", "bytes",
            ),
        ),
        shape_says="as it grows",
        seed=seed,
        took_s=stopwatch() - begun_s,
    )
