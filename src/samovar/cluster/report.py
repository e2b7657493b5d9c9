"""What a cluster's numbers mean: its counts, and the answers to its owner's questions in sentences.

Nothing is decided or counted here. Whoever calls hands in what is known; each function answers one question.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._base.freshness import Freshness
from ..app.report import served_for, span
from .ring import HashRing


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """What this process saw of the shared tier.

    hits, stale_hits, misses: questions that the near cache did not answer. loads: calls of a factory; failures: those
    that raised; load_mean_s: seconds that one took. waited: questions that waited for another process's load. early:
    renewals begun before expiry. filled: values stored by loads; fenced: values not stored because an invalidation
    overtook them; unstored: values that found no node, were too large, or that nobody wanted kept. damaged: bodies that
    could not be opened. refused: loads that got no place at the origin.
    nodes: {name: (state, reason, how often it went down)}; states are "up", "down", "full" and "unknown".
    near: the near cache's own `Stats`, or None; hears: whether it may answer, which it may not while the bus is not heard.
    hot: how many keys are hot just now; spread: reads that a copy answered.
    """

    hits: int
    stale_hits: int
    misses: int
    loads: int
    failures: int
    waited: int
    early: int
    filled: int
    fenced: int
    unstored: int
    damaged: int
    refused: int
    load_mean_s: float
    nodes: Mapping[str, tuple[str, str, int]] = field(default_factory=dict)
    near: Any = None
    hears: bool = False
    hot: int = 0
    spread: int = 0

    @property
    def asked(self) -> int:
        """Questions that reached the shared tier."""
        return self.hits + self.stale_hits + self.misses

    @property
    def hit_ratio(self) -> float:
        """Hits of the shared tier, stale ones too, over questions, 0.0 to 1.0; 0.0 when nothing was asked yet."""
        asked = self.asked
        return (self.hits + self.stale_hits) / asked if asked else 0.0


def report(name: str | None, fresh: Freshness | None, stats: ClusterStats, ring: HashRing) -> str:
    """The whole report, a paragraph for each question."""
    parts = [_nodes(name, stats), _earned(stats), _near(stats), _herds(stats), _staleness(fresh, stats),
             _lost_node(stats, ring), _refused(stats)]
    return "\n".join(part for part in parts if part)


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"


def _nodes(name: str | None, stats: ClusterStats) -> str:
    called = "This cluster" if name is None else f"The cluster {name!r}"
    said = []
    for node, (state, reason, times) in sorted(stats.nodes.items()):
        why = f" ({reason})" if reason and state != "up" else ""
        often = f", down {times:,} times so far" if times > 1 else ", down once so far" if times else ""
        said.append(f"{node!r} is {state}{why}{often}")
    return f"{called} keeps its entries on {len(said):,} nodes: {'; '.join(said)}."


def _earned(stats: ClusterStats) -> str:
    if not stats.asked:
        return "Hit ratio: this process has not asked the shared tier anything yet."
    said = f"Hit ratio: {_percent(stats.hit_ratio)} of {stats.asked:,} questions to the shared tier were answered by it"
    if stats.stale_hits:
        said += f" ({stats.stale_hits:,} of them with a stale value)"
    said += f"; {stats.misses:,} were not."
    if not stats.loads:
        return said + " This process has loaded nothing itself, so what a hit saves is not known."
    said += f" The origin was asked {stats.loads:,} times"
    said += f", {stats.failures:,} of them in vain." if stats.failures else "."
    if stats.load_mean_s:
        saved = (stats.hits + stats.stale_hits) * stats.load_mean_s
        said += f" A load takes {span(stats.load_mean_s)} on average: hits have saved about {span(saved)} of it."
    return said


def _near(stats: ClusterStats) -> str:
    near = stats.near
    if near is None:
        return ""
    said = f"Near cache: it holds {near.currsize:,} entries and has answered {near.hits:,} questions without asking a node"
    return said + ("." if stats.hears else "; it keeps nothing at the moment, for the bus is not heard.")


def _herds(stats: ClusterStats) -> str:
    said = []
    if stats.waited:
        said.append(f"{stats.waited:,} questions waited for another process's load")
    if stats.early:
        said.append(f"{stats.early:,} renewals were begun early, so that nobody met their entry expired")
    if stats.refused:
        said.append(f"{stats.refused:,} loads got no place in the origin's budget")
    if stats.hot:
        said.append(f"{stats.hot:,} keys are hot, and {stats.spread:,} reads of such were answered by a copy")
    return f"Herds: {'; '.join(said)}." if said else ""


def _staleness(fresh: Freshness | None, stats: ClusterStats) -> str:
    said = served_for(fresh)
    if stats.near is not None:
        said += "; a near cache lags behind by a message, and by a second at most when the bus dies"
    return said + "."


def _lost_node(stats: ClusterStats, ring: HashRing) -> str:
    shares = ring.load().shares
    node, share = max(shares.items(), key=lambda one: one[1])
    if len(shares) == 1:
        return f"Lost node: {node!r} is the only one; without it every question goes to the origin."
    said = f"Lost node: without {node!r}, which has the largest share, {_percent(share)} of the keys would be loaded anew"
    if stats.hit_ratio:
        said += f", so up to {_percent(share * stats.hit_ratio)} of the questions would go to the origin until they are"
    return said + "."


def _refused(stats: ClusterStats) -> str:
    said = []
    if stats.fenced:
        said.append(f"{stats.fenced:,} values were not stored, for an invalidation overtook their load")
    if stats.unstored:
        said.append(f"{stats.unstored:,} found no place or were too large")
    if stats.damaged:
        said.append(f"{stats.damaged:,} bodies could not be opened: foreign, damaged, or of other secrets")
    return f"Not kept: {'; '.join(said)}." if said else ""
