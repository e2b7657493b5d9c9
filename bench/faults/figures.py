"""What the records of a run say, and whether that is within the bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.faults.crowd import BUSY, ERROR, FINE, Record
from bench.faults.stage import VICTIM, Run

BUSY_P99_S, BUSY_MOST_S = 0.005, 0.03  # sleepers that wake so late spoil a 99th percentile, and a maximum
BUDGET = 8
NEAR_S = 1.0
SAFE = ("errors", "at once", "stale", "epochs kept")  # what no slow machine excuses


@dataclass(frozen=True)
class Bars:
    """What a row must keep; None: the table says nothing about it. Times in seconds; those of reads get the run's own calm
    99th percentile on top.

    calls: calls of the origin for each distinct key that was lost. again: of reads of keys that were asked before since
    the fault, the share that called the origin. noticed_s: until every process has the node's breaker open. recovery_s:
    from the heal until every process asks the node again. busy: whether OriginBusy is no error.
    """

    p99_s: float | None = 0.030
    most_s: float | None = 0.130
    calls: float | None = 1.1
    again: float | None = None
    noticed_s: float | None = None
    recovery_s: float | None = None
    stale: bool = False
    busy: bool = False


@dataclass
class Check:
    """One figure beside its bar; bar None: it is only told. limit: the bar with what is allowed on top."""

    name: str
    value: float
    bar: float | None
    unit: str = "count"
    least: bool = False  # whether the bar is the least, and not the most

    @property
    def passed(self) -> bool:
        if self.bar is None:
            return True
        return self.value >= self.bar if self.least else self.value <= self.bar


@dataclass
class Outcome:
    """A row as it came out."""

    row: str
    title: str
    engine: str
    checks: list[Check] = field(default_factory=list)
    calm_p99_s: float | None = None
    late_p99_s: float = 0.0  # how late sleepers woke
    late_most_s: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def is_spoilt(self) -> bool:
        """Whether the machine was too busy for its times to be trusted."""
        return self.late_p99_s > BUSY_P99_S or self.late_most_s > BUSY_MOST_S

    @property
    def verdict(self) -> str:
        """"pass", "MISS", or "unsure" where nothing was missed but what a machine that stands still for longer than a
        node's timeout spoils: times, and how often something was loaded."""
        if self.passed:
            return "pass"
        return "unsure" if self.is_spoilt and all(check.passed or check.name not in SAFE for check in self.checks) else "MISS"

    def add(self, name: str, value: float, bar: float | None, unit: str = "count", *, least: bool = False) -> None:
        self.checks.append(Check(name, value, bar, unit, least))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many per cent do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)] if ordered else 0.0


def at_once(spans: Iterable[tuple[float, float]]) -> int:
    """The most that overlapped."""
    steps = sorted(step for came, went in spans for step in ((came, 1), (went, -1)))
    most = inside = 0
    for _, step in steps:
        inside += step
        most = max(most, inside)
    return most


def spell(record: Record, name: str, words: tuple[str, ...], since_s: float) -> float | None:
    """When this process first thought so of a node, from a moment on."""
    before = [states for at, states in record.states if at < since_s]
    if before and before[-1].get(name) in words:
        return since_s
    return next((at for at, states in record.states if at >= since_s and states.get(name) in words), None)


def settled(record: Record, names: Iterable[str], since_s: float) -> float | None:
    """From when on this process had these nodes up and kept them so; None: it did not."""
    wanted = tuple(names)
    troubles = [at for at, states in record.states if at >= since_s and any(states.get(name) != "up" for name in wanted)]
    if not record.states or any(record.states[-1][1].get(name) != "up" for name in wanted):
        return None
    good = [at for at, _ in record.states if at >= since_s and (not troubles or at > troubles[-1])]
    return good[0] if troubles and good else (good[0] if good and _was_bad(record, wanted, since_s) else since_s)


def _was_bad(record: Record, wanted: tuple[str, ...], since_s: float) -> bool:
    before = [states for at, states in record.states if at < since_s]
    return bool(before) and any(before[-1].get(name) != "up" for name in wanted)


def late(run: Run) -> tuple[float, float]:
    """How late sleepers woke from the calm on, in the 99th percentile and at most, over the whole machine."""
    values = [late_s for at, late_s in run.ticks if at >= run.calm_s]
    own = [late_s for record in run.records for at, late_s in record.woke_s if run.calm_s <= at]
    return max(percentile(values, 99), percentile(own, 99)), max([*values, *own], default=0.0)


def judge(row: Any, run: Run) -> Outcome:
    """The figures of a row of the crowd."""
    bars: Bars = row.bars
    out = Outcome(row.name, row.title, run.engine)
    reads = [read for record in run.records for read in record.reads]
    calm = [end - due for due, end, *_ in reads if run.calm_s <= due < run.fault_s]
    during = [read for read in reads if run.fault_s <= read[0] < run.until_s]
    since = [read for read in reads if read[0] >= run.fault_s]
    out.calm_p99_s = allowed = percentile(calm, 99)
    out.late_p99_s, out.late_most_s = late(run)

    failed = [read for read in reads if read[3] == ERROR or (read[3] == BUSY and not bars.busy)]
    out.add("errors", len(failed), 0)
    if bars.busy:
        out.add("OriginBusy", sum(read[3] == BUSY for read in reads), None)
    out.add("p99", percentile([end - due for due, end, *_ in during], 99), _on_top(bars.p99_s, allowed), "s")
    out.add("max", max([end - due for due, end, *_ in since], default=0.0), _on_top(bars.most_s, allowed), "s")
    done = sum(run.fault_s <= read[1] < run.until_s and read[3] == FINE for read in reads)
    out.add("answered", done / max(1, len(during)), 0.95, "share", least=True)
    _origin(out, bars, row, run, during, since)
    _nodes(out, bars, row, run)
    if row.writes:
        _staleness(out, bars, row, run)
    if row.near:
        _near(out, run)
    for name, value, bar, unit in run.extra.get("checks", ()):
        out.add(name, value, bar, unit)
    out.notes += [text for record in run.records for text in record.errors[:2]]
    return out


def _on_top(bar: float | None, allowed: float) -> float | None:
    return None if bar is None else bar + allowed


def _origin(out: Outcome, bars: Bars, row: Any, run: Run, during: Sequence[Any], since: Sequence[Any]) -> None:
    loads = [load for record in run.records for load in record.loads]
    of_fault = [load for load in loads if run.fault_s <= load[0] < run.until_s]
    out.add("at once", max(at_once(span[:2] for span in record.loads) for record in run.records), BUDGET)
    lost = {key for _, _, key, *_ in during if run.owners[key] == VICTIM}
    if row.new_keys:  # every key that is new is lost, whoever owns it
        lost = {key for _, _, key, *_ in during if key >= row.first_new}
    if row.all_nodes:
        out.add("calls", len(of_fault), None)
    elif not row.writes:
        out.add("calls", len(of_fault), None)
        out.add("calls / key lost", len(of_fault) / max(1, len(lost)), bars.calls, "ratio")
    if bars.again is not None:
        asked: set[int] = set()
        repeated = 0
        for _, _, key, *_ in sorted(since):
            repeated += key in asked
            asked.add(key)
        loaded = [key for came, _, key in loads if came >= run.fault_s]
        out.add("hit rate after a pass", 1 - (len(loaded) - len(set(loaded))) / max(1, repeated), bars.again, "share",
                least=True)


def _nodes(out: Outcome, bars: Bars, row: Any, run: Run) -> None:
    names = list(run.records[0].states[-1][1]) if row.all_nodes else [VICTIM]
    concerned = run.records[:1] if row.one_sided else run.records
    if row.goes is not None:
        noticed = [spell(record, VICTIM, row.goes, run.fault_s) for record in concerned]
        worst = math.inf if None in noticed else max(at - run.fault_s for at in noticed if at is not None)
        out.add("noticed", worst, bars.noticed_s, "s")
    if bars.recovery_s is not None:
        back = [settled(record, names, run.healed_s) for record in concerned]
        worst = math.inf if None in back else max(at - run.healed_s for at in back if at is not None)
        out.add("recovery", worst, bars.recovery_s, "s")


def _staleness(out: Outcome, bars: Bars, row: Any, run: Run) -> None:
    """Stale reads; those apart that began while the one who changes keys could not reach a node, and so could not tell it:
    nothing is promised across a partition, and everything once its breaker has closed."""
    writer = run.records[0]
    stale = [began for record in run.records for began, _ in record.stale]
    apart = [began for began in stale if not whole_at(writer, began)]
    out.add("stale while apart", len(apart), None)
    out.add("stale", len(stale) - len(apart), 0 if bars.stale else None)


def whole_at(record: Record, moment_s: float) -> bool:
    """Whether every node was up in this process's eyes."""
    seen = [states for at, states in record.states if at <= moment_s]
    return not seen or all(word == "up" for word in seen[-1].values())


def _near(out: Outcome, run: Run) -> None:
    """When near caches stopped answering, how old what they said could be, and when they answered again."""
    silent = [next((at for at, hears in record.hears if at >= run.fault_s and not hears), math.inf) for record in run.records]
    out.add("near caches silent", max(silent) - run.fault_s, NEAR_S, "s")
    behind = [for_s for record in run.records for began, for_s in record.stale if whole_at(run.records[0], began)]
    out.add("stale for", max(behind, default=0.0), NEAR_S, "s")
    heard = [next((at for at, hears in record.hears if at >= run.healed_s and hears), math.inf) for record in run.records]
    out.add("near caches answer again", max(heard) - run.healed_s, None, "s")
