"""The report as tables: the same rows for the terminal and for the page."""

from __future__ import annotations

from typing import Any

from bench.policies.measures import ESTIMATED, RULES
from bench.policies.speed import LIBCACHESIM, PEER

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]  # title, head, rows


def percent(ratio: float) -> str:
    return f"{100 * ratio:.2f}"


def points(difference: float) -> str:
    return f"{100 * difference:+.2f}"


def summaries(report: dict[str, Any]) -> Table:
    head = ("policy", "mean hit ratio, %", "to the best of six", "÷ Belady", "worst against LRU", "where")
    rows = []
    for name, found in report["summary"].items():
        rows.append((name, percent(found["mean"]), points(found["to_best"]), f"{found['of_belady']:.3f}",
                     points(found["worst"]), found["worst_cell"] if found["worst"] < -0.0005 else "–"))
    return f"All {report['cells_count']} cells (trace x size)", head, rows


def cells(report: dict[str, Any]) -> Table:
    head = ("trace", "size", *RULES, "best of six", "Belady")
    rows = [(row["trace"], f"{row['size']:,}", *(percent(row["rules"][rule]) for rule in RULES),
             f"{percent(row['best'])} {row['best_name']}", percent(row["belady"])) for row in report["cells"]]
    return "Hit ratio in %", head, rows


def distances(report: dict[str, Any]) -> Table:
    rows = [(rule, f"{distance:.1e}") for rule, distance in report["distances"].items()]
    return "Largest distance to the anchor (which has six decimals)", ("rule", "distance"), rows


def estimates(report: dict[str, Any]) -> Table:
    parts = ("mean", "p90", "worst")
    rows = [(rule, *(f"{100 * report[kind][rule][part]:.2f}" for kind in ("estimates", "living") for part in parts))
            for rule in ESTIMATED]
    title = "The sampled answer to \"at twice the size?\", of a trace and of a living cache: distance to the truth, in points"
    return title, ("rule", *parts, *(f"living, {part}" for part in parts)), rows


def weights(report: dict[str, Any]) -> Table:
    rows = [(row["trace"], f"{row['percent']} %",
             *(f"{percent(row['hit_ratio'][rule])} / {percent(row['byte_hit_ratio'][rule])}" for rule in RULES))
            for row in report["weights"]]
    return "Entries weighed by their bytes: % of the requests / % of the bytes", ("trace", "cache", *RULES), rows


def speeds(report: dict[str, Any]) -> Table:
    head = ("trace", "size", *RULES, *(f"{LIBCACHESIM} {rule}" for rule in PEER), "× libcachesim, lru")
    rows = []
    for row in report["speed"]:
        found, peer = row["millions"], row["millions"].get(f"{LIBCACHESIM} lru")
        figures = [f"{found[name]:.1f}" if name in found else "–" for name in head[2:-1]]
        rows.append((row["trace"], f"{row['size']:,}", *figures, f"{found['lru'] / peer:.1f}" if peer else "–"))
    return "Replay, million requests per second", head, rows


ALL = (cells, summaries, distances, estimates, weights, speeds)


def text(table: Table) -> str:
    title, head, rows = table
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]

    def line(row: tuple[str, ...]) -> str:
        return "  ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                         for at, (cell, width) in enumerate(zip(row, widths))).rstrip()

    return "\n".join([title, "", line(head), line(tuple("-" * width for width in widths)), *map(line, rows)])


def markdown(table: Table) -> str:
    title, head, rows = table
    lines = [" | ".join(row) for row in [head, ("---", *["---:"] * (len(head) - 1)), *rows]]
    return "\n".join([f"**{title}**", "", *(f"| {line} |" for line in lines)])
