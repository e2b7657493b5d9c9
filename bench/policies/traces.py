"""The recordings: `NAME.u64.zst` holds a 64-bit key per request, `NAME.npz` keys and sizes in bytes, `anchors.csv` says
what other implementations reach (trace,size,policy,hit_ratio). They are not ours to copy: `shared/traces` beside the
checkout, or the folder that SAMOVAR_TRACES names.
"""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path

BESIDE = Path(__file__).parents[3] / "shared" / "traces"
FOLDER = Path(os.environ.get("SAMOVAR_TRACES") or BESIDE)

Cell = tuple[str, int]  # trace, size


@cache
def keys_of(trace: str) -> memoryview:
    import zstandard

    with (FOLDER / f"{trace}.u64.zst").open("rb") as file:
        return memoryview(zstandard.ZstdDecompressor().stream_reader(file).read()).cast("Q")


@cache
def anchors() -> dict[Cell, dict[str, float]]:
    """What others reach, for the traces that are here: cell -> policy -> hit ratio."""
    found: dict[Cell, dict[str, float]] = {}
    with (FOLDER / "anchors.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if (FOLDER / f"{row['trace']}.u64.zst").exists():
                cell = found.setdefault((row["trace"], int(row["size"])), {})
                cell[row["policy"]] = float(row["hit_ratio"])
    return dict(sorted(found.items()))


def sizes_by_trace() -> dict[str, list[int]]:
    sizes: dict[str, list[int]] = {}
    for trace, size in anchors():
        sizes.setdefault(trace, []).append(size)
    return sizes


def weighted() -> dict[str, tuple[memoryview, memoryview]]:
    """trace -> keys and sizes in bytes, where a trace has them."""
    import numpy

    found = {}
    for path in sorted(FOLDER.glob("*.npz")):
        with numpy.load(path) as columns:
            keys = numpy.ascontiguousarray(columns["key"], dtype=numpy.uint64)
            sizes = numpy.minimum(columns["size"], 2**32 - 1).astype(numpy.uint32)
        found[path.stem] = memoryview(keys), memoryview(sizes)
    return found
