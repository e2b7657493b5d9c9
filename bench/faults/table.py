"""Outcomes as text: for people, for programs, and as the table in docs/cluster.md."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from bench.faults.figures import Check, Outcome
from bench.machine import described

RESULTS = pathlib.Path(__file__).parents[1] / "results" / "faults.json"
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "cluster.md"
BEGIN, END = "<!-- faults -->", "<!-- end of faults -->"


def said(value: float, unit: str) -> str:
    if math.isinf(value):
        return "never"
    if unit == "s":
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
    if unit == "share":
        return f"{value:.1%}"
    return f"{value:.2f}" if unit == "ratio" else f"{value:.0f}"


def with_bar(check: Check) -> str:
    """The figure, its bar, and a mark where it is missed."""
    if check.bar is None:
        return said(check.value, check.unit)
    sign = "≥" if check.least else "≤"
    return f"{said(check.value, check.unit)} ({sign} {said(check.bar, check.unit)}{'' if check.passed else ', MISSED'})"


def report(outcome: Outcome) -> str:
    """One row, for people."""
    head = f"{outcome.engine:10} {outcome.row:12} {outcome.verdict:8}{outcome.title}"
    lines = [head, "    " + "; ".join(f"{check.name} {with_bar(check)}" for check in outcome.checks)]
    if outcome.calm_p99_s is not None:
        lines.append(f"    calm p99 {said(outcome.calm_p99_s, 's')}, which is allowed on top; sleepers of this machine woke "
                     f"late by {outcome.late_p99_s * 1000:.1f} ms (p99), {outcome.late_most_s * 1000:.0f} ms (most)")
    if outcome.is_spoilt:
        lines.append("    the machine was busy with other things: these times are not to be trusted")
    return "\n".join(lines + [f"    {note}" for note in outcome.notes[:4]])


def plain(outcome: Outcome) -> dict[str, Any]:
    """One row, for programs."""
    return {
        "row": outcome.row, "engine": outcome.engine, "verdict": outcome.verdict, "trusted": not outcome.is_spoilt,
        "calm_p99_s": outcome.calm_p99_s, "late_p99_s": outcome.late_p99_s, "late_most_s": outcome.late_most_s,
        "figures": {check.name: {"value": None if math.isinf(check.value) else check.value, "bar": check.bar,
                                 "unit": check.unit, "passed": check.passed} for check in outcome.checks},
        "notes": outcome.notes,
    }


COLUMNS = (("errors", "errors"), ("p99", "p99"), ("max", "longest"), ("calls / key lost", "origin calls a key lost"),
           ("at once", "at once"), ("answered", "answered"), ("noticed", "noticed"), ("recovery", "recovery"))
SHOWN = {name for name, _ in COLUMNS}


def remembered(outcomes: Sequence[Outcome], order: Sequence[str]) -> list[dict[str, Any]]:
    """These outcomes put into what earlier runs left, in place of their rows; all that is there, in the rows' order."""
    kept = {(one["row"], one["engine"]): one for one in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    day, machine = datetime.datetime.now(datetime.UTC).date().isoformat(), described()
    for outcome in outcomes:
        kept[outcome.row, outcome.engine] = {"day": day, "machine": machine, **dataclasses.asdict(outcome)}
    whole = sorted((one for key, one in kept.items() if key[0] in order),
                   key=lambda one: (order.index(one["row"]), one["engine"] != "redis"))
    RESULTS.write_text(json.dumps(whole, indent=1) + "\n")
    return whole


def revived(kept: dict[str, Any]) -> Outcome:
    """An outcome out of what was kept."""
    plain = {name: kept[name] for name in ("row", "title", "engine", "calm_p99_s", "late_p99_s", "late_most_s", "notes")}
    return Outcome(**plain, checks=[Check(**check) for check in kept["checks"]])


def markdown(whole: Sequence[dict[str, Any]]) -> str:
    """The table for the docs, of what was remembered."""
    days = sorted({one["day"] for one in whole})
    machines = dict.fromkeys(f"{one['machine']['processor']}, shared with the engines, the origin and the crowd; "
                             f"{one['machine']['python']}, {one['machine']['system']}" for one in whole)
    when = " to ".join(dict.fromkeys([days[0], days[-1]]))
    lines = [
        f"Measured on {when} by `python -m bench.faults`, on {' and on '.join(machines)}:",
        "",
        "| fault | engine | " + " | ".join(title for _, title in COLUMNS) + " | and |",
        "|---|---|" + "---|" * len(COLUMNS) + "---|",
    ]
    for outcome in map(revived, whole):
        by_name = {check.name: check for check in outcome.checks}
        cells = [with_bar(by_name[name]) if name in by_name else "" for name, _ in COLUMNS]
        rest = ", ".join(f"{check.name} {with_bar(check)}" for check in outcome.checks
                         if check.name not in SHOWN and check.name != "calls")
        mark = " (busy machine: times not to be trusted)" if outcome.is_spoilt else ""
        lines.append(f"| {outcome.title}{mark} | {outcome.engine} | " + " | ".join(cells) + f" | {rest} |")
    return "\n".join(lines)


def publish(text: str) -> bool:
    """Write it between the two marks of the page; whether they are there."""
    page = PAGE.read_text()
    if BEGIN not in page or END not in page:
        return False
    before, after = page.split(BEGIN, 1)[0], page.split(END, 1)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    return True
