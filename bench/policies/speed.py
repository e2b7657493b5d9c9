"""Requests per second: samovar's replay and libcachesim's, the fastest simulator that installs from PyPI, in turns.

Both walk the same trace from memory (libcachesim maps a file of its own format) and must reach the same hit ratio to
the last hit. libcachesim's hash table has a size to choose: it is asked with several, and its best counts. Wall clock,
best of the rounds, one thread; the smallest of several runs is what the code needs when nobody disturbs it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Callable

from bench.policies import traces
from bench.policies.measures import RULES
from samovar import replay

CASES = (("arc_oltp", 5_000), ("lirs_loop", 512), ("c2k_web12", 1_376))
PEER = {"lru": "LRU", "fifo": "FIFO", "sieve": "Sieve", "s3fifo": "S3FIFO"}
ROUNDS = 7
LIBCACHESIM = "libcachesim"


def libcachesim_absent() -> str | None:
    try:
        import libcachesim  # noqa: F401
        import numpy  # noqa: F401
    except ImportError as error:
        return f"libcachesim is left out: {error}"
    return None


def written_for_libcachesim(keys: memoryview, path: Path) -> None:
    """The trace in the format that libcachesim reads fastest: 24 bytes a request, in binary."""
    import numpy

    kinds = numpy.dtype([("time", "<u4"), ("key", "<u8"), ("size", "<u4"), ("next", "<i8")])
    rows = numpy.zeros(len(keys), dtype=kinds)
    rows["key"], rows["size"], rows["next"] = keys, 1, -1
    rows["time"] = numpy.arange(len(keys)) // 1_000
    rows.tofile(path)


def samovar_turn(keys: memoryview, size: int, rule: str) -> tuple[float, float]:
    begun = time.perf_counter()
    result = replay(keys, size, rule)
    return time.perf_counter() - begun, result.hit_ratio


def libcachesim_turn(path: Path, size: int, rule: str, hashpower: int) -> tuple[float, float]:
    import libcachesim

    cache = getattr(libcachesim, PEER[rule])(size, hashpower=hashpower)
    options = libcachesim.ReaderInitParam(ignore_obj_size=True)
    reader = libcachesim.TraceReader(str(path), libcachesim.TraceType.ORACLE_GENERAL_TRACE, options)
    begun = time.perf_counter()
    miss_ratio, _ = cache.process_trace(reader)
    return time.perf_counter() - begun, 1 - miss_ratio


def case(trace: str, size: int, folder: Path | None) -> dict[str, Any]:
    """Million requests per second of each contestant: rules by name, libcachesim's as "libcachesim RULE"."""
    keys = traces.keys_of(trace)
    turns: list[tuple[str, Callable[[], tuple[float, float]]]] = []
    for rule in RULES:
        turns.append((rule, lambda rule=rule: samovar_turn(keys, size, rule)))  # type: ignore[misc]
    if folder is not None:
        path = folder / f"{trace}.bin"
        written_for_libcachesim(keys, path)
        fitting = size.bit_length()
        for rule in PEER:
            for power in (fitting, fitting + 1, fitting + 2, 20):
                turns.append((f"{LIBCACHESIM} {rule}",
                              lambda rule=rule, power=power: libcachesim_turn(path, size, rule, power)))  # type: ignore[misc]
    best: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, turn in turns:
            took, ratios[name] = turn()
            best[name] = min(best.get(name, took), took)
    apart = [rule for rule in PEER if abs(ratios.get(f"{LIBCACHESIM} {rule}", ratios[rule]) - ratios[rule]) > 1e-9]
    return {"trace": trace, "size": size, "millions": {name: len(keys) / took / 1e6 for name, took in best.items()},
            "hit_ratios_differ": apart}


def measured() -> list[dict[str, Any]]:
    if libcachesim_absent():
        return [case(trace, size, None) for trace, size in CASES]
    with tempfile.TemporaryDirectory() as folder:
        return [case(trace, size, Path(folder)) for trace, size in CASES]
