"""The ring beside uhashring and numpy.searchsorted, in one run: lookups one by one, a batch, building, adding a node.

    python -m bench.ring [--rounds N] [--publish]

One by one: `get_node` of 1,024 text keys in turn, in rounds that take turns with uhashring's `get_node` on the same keys;
ketama rings of both must agree on every key before they are timed. In a batch: a million random 64-bit places found at
once by the core, and by `numpy.searchsorted` with the owners taken by index, which must be equal; `get_many` of as many
integer keys hashes them besides. Time is the thread's own processor time, with the loop; the median of the rounds'
ratios counts, and the least time of a round is shown. Building and adding are the least of the rounds. Needs numpy and
uhashring; a bar is for CPython 3.11.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.machine import described
from samovar import HashRing

SIZES = (10, 100, 1_000)
BARS = {"xxh3": (20, 20, 10), "ketama": (10, 10, 8), "batch": (1.5, 1.5, 1.5)}
BUILD_MS, ADD_MS = 5.0, 1.0
PLACES = 5  # sv_column_kind: the buffer holds places, not keys
KEYS = [f"user:{number}" for number in range(1_024)]
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- ring -->\n", "<!-- end ring -->\n"


def took(act: Callable[[], object]) -> float:
    begun = time.thread_time()
    act()
    return time.thread_time() - begun


def in_turns(acts: dict[str, Callable[[], object]], rounds: int) -> tuple[dict[str, float], float]:
    """The least time of each act, and the median of the ratios of the second to the first."""
    times: dict[str, list[float]] = {name: [] for name in acts}
    for act in acts.values():
        act()
    for _ in range(rounds):
        for name, act in acts.items():
            times[name].append(took(act))
    ours, theirs = times.values()
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    return {name: min(found) for name, found in times.items()}, ratio


def asking(get_node: Callable[[str], object], times: int) -> Callable[[], None]:
    def ask() -> None:
        for _ in range(times):
            for key in KEYS:
                get_node(key)

    return ask


def one_by_one(names: list[str], kind: Any, rounds: int) -> tuple[float, float, float]:
    """Nanoseconds of samovar and of uhashring, and how many times as fast."""
    from uhashring import HashRing as UHashRing

    ours = HashRing(names, hash=kind)
    theirs = UHashRing(names, hash_fn="ketama") if kind == "ketama" else UHashRing(names)
    if kind == "ketama" and [*map(ours.get_node, KEYS)] != [*map(theirs.get_node, KEYS)]:
        raise SystemExit("samovar and uhashring disagree about a ketama ring")
    least, ratio = in_turns({"a": asking(ours.get_node, 20), "b": asking(theirs.get_node, 1)}, rounds)
    return least["a"] / 20 / len(KEYS) * 1e9, least["b"] / len(KEYS) * 1e9, ratio * 20


def in_a_batch(names: list[str], rounds: int) -> tuple[float, float, float, float]:
    """Nanoseconds per place of samovar and of numpy, how many times as fast, and of get_many with integer keys."""
    import numpy

    ring = HashRing(names)
    table, count = ring._table, 1_000_000
    places = numpy.random.default_rng(1).integers(0, 2**64, count, dtype=numpy.uint64)
    points = numpy.array([place for place, _ in table.points()], dtype=numpy.uint64)
    owners = numpy.array([table.numbers[node] for _, node in [*table.points(), table.points()[0]]], dtype=numpy.int32)
    out = numpy.empty(count, dtype=numpy.int32)
    acts = {"a": lambda: table.find_column(PLACES, places, 8, out), "b": lambda: owners[numpy.searchsorted(points, places)]}
    least, ratio = in_turns(acts, max(3, rounds // 3))
    if not (acts["b"]() == out).all():  # type: ignore[attr-defined]
        raise SystemExit("samovar and numpy disagree about a batch")
    many = min(took(lambda: ring.get_many(places)) for _ in range(max(3, rounds // 3)))
    return least["a"] / count * 1e9, least["b"] / count * 1e9, ratio, many / count * 1e9


def measured(rounds: int) -> list[str]:
    """The table, line by line."""
    lines = ["| case | nodes | samovar | beside | × | bar | met |", "|---|---:|---:|---:|---:|---:|---:|"]

    def row(case: str, nodes: int, ours: str, theirs: str, ratio: float | None, bar: str, met: bool | None) -> None:
        shown = "–" if ratio is None else f"{ratio:.1f}"
        verdict = "–" if met is None else "yes" if met else "NO"
        lines.append(f"| {case} | {nodes:,} | {ours} | {theirs} | {shown} | {bar} | {verdict} |")

    rings = {size: [f"10.0.{number // 250}.{number % 250}:11211" for number in range(size)] for size in SIZES}
    for kind in ("xxh3", "ketama"):
        for size, bar in zip(SIZES, BARS[kind], strict=True):
            ours, theirs, ratio = one_by_one(rings[size], kind, rounds)
            row(f"`get_node`, {kind}", size, f"{ours:.0f} ns", f"uhashring {theirs:,.0f} ns", ratio, f"{bar}", ratio >= bar)
    for size, bar in zip(SIZES, BARS["batch"], strict=True):
        ours, theirs, ratio, many = in_a_batch(rings[size], rounds)
        row("a million places at once", size, f"{ours:.1f} ns each", f"numpy {theirs:.1f} ns", ratio, f"{bar}", ratio >= bar)
        row("`get_many` of a million integers", size, f"{many:.1f} ns each", "–", None, "–", None)
    large = HashRing(rings[1_000])
    build = min(took(lambda: HashRing(rings[1_000])) for _ in range(rounds)) * 1e3
    adds, removes = [], []
    for _ in range(rounds):
        ring = large.copy()
        adds.append(took(lambda ring=ring: ring.add_node("new:11211")) * 1e3)  # type: ignore[misc]
        removes.append(took(lambda ring=ring: ring.remove_node("10.0.2.0:11211")) * 1e3)  # type: ignore[misc]
    row("build", 1_000, f"{build:.2f} ms", "–", None, f"{BUILD_MS:g} ms", build <= BUILD_MS)
    row("`add_node`", 1_000, f"{min(adds):.2f} ms", "–", None, f"{ADD_MS:g} ms", min(adds) <= ADD_MS)
    row("`remove_node`", 1_000, f"{min(removes):.2f} ms", "–", None, f"{ADD_MS:g} ms", min(removes) <= ADD_MS)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ring", description="the ring beside uhashring and numpy")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--publish", action="store_true", help="also rewrite the table in bench/README.md")
    asked = parser.parse_args()
    gc.disable()
    about = described()
    peers = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("uhashring", "numpy"))
    head = f"{about['python']}, {about['build']}; {about['processor']}; {peers}. 160 points for each node."
    lines = measured(asked.rounds)
    print("\n".join([head, "", *lines]))
    if asked.publish:
        before, _, rest = README.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        README.write_text("".join([before, BEGIN, head, "\n\n", "\n".join(lines), "\n", END, after]))


if __name__ == "__main__":
    main()
