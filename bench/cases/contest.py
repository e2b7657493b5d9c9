"""The frame of a case: a question, its bar, and the lanes in which functools, samovar and the peers answer it.

The bar is the ratio that samovar has to reach, on CPython 3.11 and on 3.13 built plainly with -O3; `judged` names the
contestants that have to. A row without a bar of its own must not be slower than its baseline: its bar is 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

from bench import peers
from bench.loops import one_each
from bench.noop import load_noop
from bench.rounds import Effort, Lane, Result, take_turns


@dataclass(frozen=True)
class Case:
    """A row of the table. `measure` runs in a process of its own."""

    slug: str
    title: str
    measure: Callable[[Effort], Result]
    bar: tuple[float, float] = (1.0, 1.0)  # CPython 3.11, 3.13
    judged: tuple[str, ...] = (peers.DROP_IN, peers.MEMOIZE)
    baseline: str = peers.FUNCTOOLS
    at_most: float | None = None  # a bar on the measured figure itself (bytes), in place of the ratio
    processes: int = 3  # how many processes a full run measures it in; one where setting up takes long
    large: bool = False  # a quick run makes it smaller, and gives no verdict
    level: int = 1  # whose table the row belongs to: 1 memoize, 2 Cache


@dataclass
class Contest:
    """Builds the lanes of a case: the same loop over the same arguments, every contestant around the same function.

    `warm` is called with each memoized function before the clock starts; `present` turns a memoized function into
    what the loop is given (an instance that has it as a method, for one).
    """

    effort: Effort
    loop: Callable[[Any, Sequence[Any]], Any]
    batches: Sequence[Sequence[Any]]
    step: int = 1
    lanes: list[Lane] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    watched: dict[str, Any] = field(default_factory=dict)

    def enter(
        self,
        makers: dict[str, Callable[[], Any]],
        *,
        warm: Callable[[Any], Any] | None = None,
        present: Callable[[Any], Any] = lambda memoized: memoized,
        guests: bool = False,
        fresh: bool = False,
    ) -> None:
        """A lane for each maker. A guest that raises is left out and said so; samovar or functools must not."""
        for name, make in makers.items():
            try:
                memoized = make()
                if warm is not None:
                    warm(memoized)
                again = (lambda make=make: present(make())) if fresh else None
                subject = None if fresh else present(memoized)
                lane = Lane(name, self.loop, subject, self.batches, self.step, again, guests)
                lane.loop(present(memoized), self.batches[0][: 8 if fresh else max(self.step, 8)])
            except Exception as error:
                if not guests:
                    raise
                self.notes.append(f"{name}: not measured here, {type(error).__name__}: {error}")
                continue
            self.lanes.append(lane)
            if not guests and not fresh and hasattr(memoized, "cache_info"):
                self.watched[name] = memoized

    def floor(self, present: Callable[[Any], Any] = lambda memoized: memoized) -> None:
        """The lane of a call that does nothing: what any cache pays before it begins."""
        noop = load_noop()
        if noop is not None:
            self.lanes.append(Lane(peers.NOOP, self.loop, present(noop(1)), self.batches, self.step))

    def bare_dict(self, loop: Callable[[Any, Sequence[Any]], Any], entries: dict[Any, Any]) -> None:
        self.lanes.append(Lane(peers.DICT, loop, entries, self.batches))

    def run(self, baseline: str = peers.FUNCTOOLS, only: str = "") -> Result:
        """Take turns. `only` ("hits" or "misses") is what every call must have been, else the row is worthless."""
        before = {name: memoized.cache_info() for name, memoized in self.watched.items()}
        result = take_turns(self.lanes, self.effort, baseline)
        result.notes.extend(self.notes)
        for name, memoized in self.watched.items():
            now, then = memoized.cache_info(), before[name]
            strays = {"hits": now.misses - then.misses, "misses": now.hits - then.hits, "": 0}[only]
            if strays:
                raise AssertionError(f"{name}: {strays} calls of this case were not {only}")
        return result


def contestants(fn: Callable[..., Any], maxsize: int | None, *, functools: bool = True) -> dict[str, Callable[[], Any]]:
    """Makers of functools.lru_cache, samovar.lru_cache and samovar.memoize around `fn`."""
    makers = {name: (lambda make=make: make(fn, maxsize)) for name, make in peers.OURS.items()}
    base = {peers.FUNCTOOLS: lambda: peers.by_functools(fn, maxsize)} if functools else {}
    return {**base, **makers}


def guests(effort: Effort, fn: Callable[..., Any], maxsize: int | None, *, one_argument: bool = True) -> dict[str, Any]:
    """Makers of the peers around `fn`; those that take one argument only are left out where more is passed."""
    left_out = {"async-lru"} | (set() if one_argument else peers.ONE_ARGUMENT)
    names = [name for name in effort.peers if name not in left_out]
    return {name: (lambda make=peers.PEERS[name][1]: make(fn, maxsize)) for name in names}


def warm_with(keys: Sequence[Any]) -> Callable[[Any], None]:
    return lambda memoized: one_each(memoized, keys)
