"""A report as text: for the terminal, and as Markdown for README.md."""

from __future__ import annotations

import sys
from typing import Any, Sequence

from bench.cases.contest import Case
from bench.machine import build
from bench.peers import DICT, DROP_IN, FUNCTOOLS, MEMOIZE, METHOD, NOOP, PEERS
from bench.rounds import NOISY, Result

Row = dict[str, Any]


def row(case: Case, result: Result, quick: bool) -> Row:
    """One row of a report, as it is saved."""
    noisy = any(result.unsure.get(name, 0.0) > NOISY for name in case.judged)
    return {
        "slug": case.slug,
        "title": case.title,
        "level": case.level,
        "baseline": result.baseline,
        "unit": result.unit,
        "figures": result.ns,
        "ratios": result.ratio,
        "unsure": result.unsure,
        "rounds": result.rounds,
        "bar": case.at_most if case.at_most is not None else list(case.bar),
        "judged": list(case.judged),
        "verdicts": verdicts(case, result) if not (quick and case.large) else {},
        "noisy": noisy,
        "notes": result.notes,
    }


def verdicts(case: Case, result: Result) -> dict[str, bool]:
    """Who reaches the bar of this Python; nobody is judged on a build that the bars are not for."""
    found: dict[str, bool] = {}
    for name in case.judged:
        if name not in result.ratio:
            continue
        if case.at_most is not None:
            found[name] = result.ns[name] <= case.at_most
        elif build() == "plain" or case.bar == (1.0, 1.0):
            found[name] = round(result.ratio[name], 2) >= bar_here(case.bar)
    return found


def figure(number: float | None) -> str:
    if number is None:
        return "–"
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def times(number: float | None) -> str:
    return "–" if number is None else f"{number:.2f}"


def own(kind: str, row: Row) -> str:
    """Which contestant stands in samovar's column of this kind."""
    return METHOD if kind == MEMOIZE and METHOD in row["figures"] else kind


def bar_text(row: Row) -> str:
    if not isinstance(row["bar"], list):
        return f"at most {row['bar']:.0f}"
    old, new = row["bar"]
    against = "" if row["baseline"] == FUNCTOOLS else f" × {row['baseline']}"
    return (f"{old:g}" if old == new else f"{old:g} / {new:g}") + against


def met_text(row: Row) -> str:
    if not row["verdicts"]:
        return "–"
    missed = {name: shortfall(row, name) for name, met in row["verdicts"].items() if not met}
    clear = [name.split(".")[-1] for name, short in missed.items() if short > row["unsure"].get(name, 0.0)]
    text = "yes" if not missed else "about" if not clear else "NO"
    if clear and len(clear) < len(row["verdicts"]):
        text = f"NO: {', '.join(clear)}"
    return text + (" ~" if row["noisy"] else "")


def shortfall(row: Row, name: str) -> float:
    """By which share of its bar the contestant misses it."""
    if not isinstance(row["bar"], list):
        return float(row["figures"][name] / row["bar"] - 1)
    return float(1 - row["ratios"][name] / bar_here(row["bar"]))


def bar_here(bar: Sequence[float]) -> float:
    return bar[0] if sys.version_info < (3, 12) else bar[1]


FIGURES = ("no-op", "dict", "functools", "lru_cache", "memoize")
HEAD = ("case", *FIGURES, "× lru_cache", "× memoize", "× dict", "bar", "met")


def cells(row: Row) -> tuple[str, ...]:
    figures, ratios = row["figures"], row["ratios"]
    ours = own(MEMOIZE, row)
    best = figures.get(DROP_IN, figures.get(ours))
    by_dict = figures[DICT] / best if DICT in figures and best else None
    unit = "" if row["unit"] == "ns" else f" ({row['unit']})"
    return (
        row["title"] + unit,
        figure(figures.get(NOOP)),
        figure(figures.get(DICT)),
        figure(figures.get(FUNCTOOLS)),
        figure(figures.get(DROP_IN)),
        figure(figures.get(ours)),
        times(ratios.get(DROP_IN)),
        times(ratios.get(ours)),
        times(by_dict),
        bar_text(row),
        met_text(row),
    )


def peer_cells(row: Row, names: list[str]) -> tuple[str, ...]:
    return (row["title"], *(figure(row["figures"].get(name)) for name in (FUNCTOOLS, DROP_IN, MEMOIZE, *names)))


def peers_in(rows: list[Row]) -> list[str]:
    return [name for name in PEERS if any(name in row["figures"] for row in rows)]


def aligned(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    widths = [max(len(line[at]) for line in [head, *lines]) for at in range(len(head))]
    pads = [str.ljust if at == 0 else str.rjust for at in range(len(head))]
    return "\n".join("  ".join(pad(cell, w) for pad, cell, w in zip(pads, line, widths)) for line in [head, *lines])


def markdown(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    rule = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join(["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)])


def wide_cells(row: Row) -> tuple[str, ...]:
    """A row of level 2: its baseline, and every contestant with its figure and ratio."""
    unit = "" if row["unit"] == "ns" else f" ({row['unit']})"
    others = [f"{name} {figure(found)} (× {times(row['ratios'].get(name))})"
              for name, found in row["figures"].items() if name != row["baseline"]]
    base = f"{row['baseline']} {figure(row['figures'].get(row['baseline']))}"
    return row["title"] + unit, base, "; ".join(others), bar_text(row), met_text(row)


WIDE_HEAD = ("level 2", "beside", "figures, and × the baseline", "bar", "met")


def of_level(rows: list[Row], level: int) -> list[Row]:
    return [row for row in rows if row.get("level", 1) == level]


LEGEND = (
    "Figures are ns per call, loop and call included, of this thread's CPU time; × columns say how many times faster\n"
    "than the baseline (functools.lru_cache; async-lru for the awaited hit) or than dict, higher is better. A bar\n"
    "reads CPython 3.11 / 3.12 and later, both built plainly; ~ marks a row whose ratio is unsure by more than 4 %,\n"
    "`about` a miss that is smaller than its doubt."
)


def terminal(rows: list[Row]) -> str:
    first, second = of_level(rows, 1), of_level(rows, 2)
    parts = [aligned(HEAD, [cells(row) for row in first]) if first else ""]
    if second:
        parts.append(aligned(WIDE_HEAD, [wide_cells(row) for row in second]))
    parts.append(LEGEND)
    names = peers_in(rows)
    if names:
        compared = [row for row in rows if any(name in row["figures"] for name in names)]
        head = ("case, beside the peers", "functools", "lru_cache", "memoize", *names)
        parts.append(aligned(head, [peer_cells(row, names) for row in compared]))
    notes = dict.fromkeys(f"{row['title']}: {note}" for row in rows for note in row["notes"])
    parts.append("\n".join(notes))
    return "\n\n".join(part for part in parts if part)
