"""Turn-taking: how two things are compared on a machine that will not hold still.

All contestants of a case live in one process and take turns, in an order drawn anew each round; what slows the machine
down for a moment slows all of them. Each round gives one ratio per contestant (the baseline's time by its own) and the
median of those ratios is the process's result: times drift, ratios hold. A full run measures most cases in three
processes, as memory lies differently in each, and takes the median again. Time is the thread's own CPU time, so that
another process on the core does not count; the cyclic garbage collector is off while a turn is timed; the loop that
makes the calls is included.

Every contestant runs its own copy of the loop's code, because the interpreter specializes code in place: a loop warmed
by one callable would be slow for another kind of callable.
"""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
import types
from dataclasses import dataclass
from typing import Any, Callable, Sequence

NOISY = 0.04  # a row that is unsure by more than this share is marked
CALM = 0.015  # a row that is surer than this is not measured longer


@dataclass
class Effort:
    """How long a case may take: rounds, the time of one turn, how often the peers join, and which of them."""

    rounds: int = 20
    turn_ns: int = 3_000_000
    peers: tuple[str, ...] = ()
    peers_every: int = 4
    large: int = 1_000_000  # how many entries the large cases hold; fewer: a quick run, which never measures longer

    @property
    def quick(self) -> bool:
        return self.large < 1_000_000


@dataclass
class Lane:
    """One contestant's turns: `loop(subject, batch)` is timed; `fresh()`, if given, makes each turn's subject untimed.

    Turn t gets `batches[t % len(batches)]`, cut to what fits in a turn, in whole steps of `step` calls.
    """

    name: str
    loop: Callable[[Any, Sequence[Any]], Any]
    subject: Any
    batches: Sequence[Sequence[Any]]
    step: int = 1
    fresh: Callable[[], Any] | None = None
    guest: bool = False  # peers join only some of the rounds
    calls: int = 0

    def __post_init__(self) -> None:
        self.loop = own_copy(self.loop)

    def settle(self, turn_ns: int) -> None:
        """Warm the loop, then choose the calls per turn so that one turn takes about `turn_ns`."""
        self.calls = self.steps(512)
        for _ in range(3 if self.fresh is None else 1):
            self.calls = self.steps(turn_ns / max(self.turn(0), 1.0))

    def steps(self, calls: float) -> int:
        longest = min(map(len, self.batches))
        return min(longest, max(1, int(calls / self.step)) * self.step)

    def turn(self, number: int) -> float:
        """Nanoseconds of this thread's CPU time per call."""
        batch = self.batches[number % len(self.batches)]
        batch = batch if self.calls == len(batch) else batch[: self.calls]
        subject = self.fresh() if self.fresh is not None else self.subject
        loop = self.loop
        begin = time.thread_time_ns()
        loop(subject, batch)
        return (time.thread_time_ns() - begin) / len(batch)


def own_copy(loop: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with code of its own, not yet specialized for any callable."""
    return types.FunctionType(loop.__code__.replace(), loop.__globals__, loop.__name__, None, loop.__closure__)


@dataclass
class Result:
    """What one case found: per contestant the median ns per call and the ratio of the baseline's time to its own."""

    ns: dict[str, float]
    ratio: dict[str, float]
    unsure: dict[str, float]  # how far the ratio may be off, as a share of it
    notes: list[str]
    baseline: str
    unit: str = "ns"
    rounds: int = 0


def take_turns(lanes: Sequence[Lane], effort: Effort, baseline: str, seed: int = 20260) -> Result:
    """Run the rounds; a row that has not come to rest gets as many again."""
    chance = random.Random(seed)
    gc.collect()
    gc.disable()
    gc.freeze()
    times: dict[str, list[float | None]] = {lane.name: [] for lane in lanes}
    rivals = [lane.name for lane in lanes if lane.name.startswith("samovar")]
    for lane in lanes:
        lane.settle(effort.turn_ns)
    done, limit = 0, effort.rounds
    while done < limit:
        playing = [lane for lane in lanes if not lane.guest or done % effort.peers_every == 0]
        chance.shuffle(playing)
        spent = {lane.name: lane.turn(done + 1) for lane in playing}
        for name, column in times.items():
            column.append(spent.get(name))
        done += 1
        if done == limit and limit < 2 * effort.rounds and not effort.quick:
            if any(unsureness(ratios(times, baseline, name)) > CALM for name in rivals):
                limit += effort.rounds
    gc.unfreeze()
    gc.enable()
    found = {lane.name: ratios(times, baseline, lane.name) for lane in lanes}
    return Result(
        ns={name: statistics.median(t for t in column if t is not None) for name, column in times.items()},
        ratio={name: statistics.median(column) for name, column in found.items()},
        unsure={name: unsureness(column) for name, column in found.items()},
        notes=[],
        baseline=baseline,
        rounds=done,
    )


def ratios(times: dict[str, list[float | None]], baseline: str, name: str) -> list[float]:
    """The baseline's time by the contestant's, of every round in which both ran."""
    return [base / own for base, own in zip(times[baseline], times[name]) if base is not None and own]


def unsureness(found: Sequence[float]) -> float:
    """Two standard errors of the median, as a share of it, taken from the middle half (which outliers do not move)."""
    if len(found) < 4:
        return 0.0
    low, middle, high = statistics.quantiles(found, n=4)
    return 2 * 1.2533 * (high - low) / 1.349 / math.sqrt(len(found)) / middle


def merge(results: Sequence[Result]) -> Result:
    """One result from several processes: medians again; their disagreement counts as being unsure, too."""
    first = results[0]

    def across(pick: Callable[[Result], dict[str, float]], name: str) -> list[float]:
        return [pick(result)[name] for result in results if name in pick(result)]

    def doubt(name: str) -> float:
        found = across(lambda result: result.ratio, name)
        apart = (max(found) - min(found)) / statistics.median(found) if len(found) > 1 else 0.0
        return max(apart / 2, statistics.median(across(lambda result: result.unsure, name)))

    names = list(dict.fromkeys(name for result in results for name in result.ns))
    return Result(
        ns={name: statistics.median(across(lambda result: result.ns, name)) for name in names},
        ratio={name: statistics.median(across(lambda result: result.ratio, name)) for name in names},
        unsure={name: doubt(name) for name in names},
        notes=list(dict.fromkeys(note for result in results for note in result.notes)),
        baseline=first.baseline,
        unit=first.unit,
        rounds=sum(result.rounds for result in results),
    )
