"""What is measured about the rules, speed aside. Every figure is exact and repeats: no clock, one seed."""

from __future__ import annotations

from typing import Any

from bench.policies import traces
from bench.policies.traces import Cell
from samovar import Cache, _core, replay

RULES = ("lru", "fifo", "sieve", "s3fifo", "tinylfu", "adaptive", "gdsf")
EXACT = {"lru": "LRU", "fifo": "FIFO", "sieve": "SIEVE", "s3fifo": "S3FIFO"}
SIX = ("LRU", "SIEVE", "LIRS", "ARC", "WTinyLFU-w10", "S3FIFO")  # the best of these is what a cell is compared with
OTHERS = ("ARC", "LIRS", "WTinyLFU-climb", "WTinyLFU-w10", "AdS3-ghost", "AdS3-minisim", "Belady")
CURVE_SIZES = 28
ESTIMATED = ("lru", "sieve", "s3fifo", "tinylfu", "adaptive")
SEEDS = (1, 2, 3)


def hit_ratios() -> dict[str, dict[Cell, float]]:
    """rule -> cell -> hit ratio, for every cell that has anchors."""
    found: dict[str, dict[Cell, float]] = {}
    for rule in RULES:
        cells = found[rule] = {}
        for trace, sizes in traces.sizes_by_trace().items():
            for result in replay(traces.keys_of(trace), sizes, rule):
                cells[trace, result.maxsize] = result.hit_ratio
    return found


def best_of_six(cell: Cell) -> float:
    return max(traces.anchors()[cell][name] for name in SIX)


def summary(reached: dict[Cell, float]) -> dict[str, Any]:
    """Of one rule over all cells: mean, distance to the best of six, share of Belady's, worst against LRU."""
    anchors, count = traces.anchors(), len(reached)
    worst = min(reached, key=lambda cell: reached[cell] - anchors[cell]["LRU"])
    return {
        "mean": sum(reached.values()) / count,
        "to_best": sum(ratio - best_of_six(cell) for cell, ratio in reached.items()) / count,
        "of_belady": sum(ratio / anchors[cell]["Belady"] for cell, ratio in reached.items()) / count,
        "worst": reached[worst] - anchors[worst]["LRU"],
        "worst_cell": f"{worst[0]}, {worst[1]:,}",
    }


def of_others(policy: str) -> dict[Cell, float]:
    return {cell: found[policy] for cell, found in traces.anchors().items()}


def distances(reached: dict[str, dict[Cell, float]]) -> dict[str, float]:
    """Of the rules that have one true answer: the largest distance to it."""
    anchors = traces.anchors()
    return {rule: max(abs(ratio - anchors[cell][policy]) for cell, ratio in reached[rule].items())
            for rule, policy in EXACT.items()}


def estimates() -> dict[str, dict[str, float]]:
    """How far the sampled estimate of the hit ratio at twice the size is from the truth, by rule."""
    found = {}
    for rule in ESTIMATED:
        errors = []
        for trace, size in traces.anchors():
            keys = traces.keys_of(trace)
            true = replay(keys, 2 * size, rule).hit_ratio
            errors += [abs(_core.estimate(keys, None, rule, size, 2 * size, 0, seed) - true) for seed in SEEDS]
        errors.sort()
        found[rule] = {"mean": sum(errors) / len(errors), "p90": errors[len(errors) * 9 // 10], "worst": errors[-1]}
    return found


def living() -> dict[str, dict[str, float]]:
    """The same of a living `Cache`, asked for its `miss_ratio_curve` when the trace is over.

    It answers for the requests that it has on record, so the truth is the hit ratio at twice the size among these.
    """
    found = {}
    for rule in ESTIMATED:
        errors = sorted(abs(living_error(trace, size, rule)) for trace, size in traces.anchors())
        found[rule] = {"mean": sum(errors) / len(errors), "p90": errors[len(errors) * 9 // 10], "worst": errors[-1]}
    return found


def living_error(trace: str, size: int, rule: str) -> float:
    keys = traces.keys_of(trace)
    cache: Cache[int, int] = Cache(size, eviction=rule)
    for key in keys:
        if cache.get(key) is None:
            cache[key] = 1
    recorded, rate, whole = cache._recorded()
    counted = len(keys) if whole else min(len(keys), recorded * rate)
    both, before = replay(keys, 2 * size, rule), replay(keys[: len(keys) - counted], 2 * size, rule)
    return 1 - cache.miss_ratio_curve([2 * size])[2 * size] - (both.hits - before.hits) / counted


def by_weight() -> list[dict[str, Any]]:
    """Where a trace knows sizes: requests and bytes served, in caches of 1, 5 and 20 % of all its bytes."""
    rows = []
    for trace, (keys, sizes) in traces.weighted().items():
        footprint = sum(dict(zip(keys, sizes)).values())
        for percent in (1, 5, 20):
            capacity = footprint * percent // 100
            found = {rule: replay(keys, capacity, rule, weights=sizes) for rule in RULES}
            rows.append({
                "trace": trace, "percent": percent, "bytes": capacity,
                "hit_ratio": {rule: result.hit_ratio for rule, result in found.items()},
                "byte_hit_ratio": {rule: result.weight_hit_ratio for rule, result in found.items()},
            })
    return rows


def curves() -> dict[str, dict[str, Any]]:
    """trace -> sizes, evenly spaced on a logarithmic scale, and each rule's hit ratio there."""
    found = {}
    for trace in traces.sizes_by_trace():
        keys = traces.keys_of(trace)
        unique = len(set(keys))
        least = max(4, unique // 400)
        step = (unique / least) ** (1 / (CURVE_SIZES - 1))
        sizes = sorted({round(least * step**at) for at in range(CURVE_SIZES)})
        found[trace] = {
            "unique": unique, "requests": len(keys), "sizes": sizes,
            "rules": {rule: [result.hit_ratio for result in replay(keys, sizes, rule)] for rule in RULES},
            "belady": [(size, policies["Belady"]) for (name, size), policies in traces.anchors().items() if name == trace],
        }
    return found
