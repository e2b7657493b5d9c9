"""What a ring of these nodes would do: how even it is, and who moves when a node comes or goes, beside hash mod N.

Plain results, computed exactly by arcs; the command `samovar ring` shows them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Literal

from ..cluster import HashRing, RingDiff, RingLoad


@dataclass(frozen=True, slots=True)
class RingChange:
    """One node more or less. `moved` is what the ring moves, `at_least` what any placement must, `modulo` what hash mod N
    would: shares of the key space. `moves` says how much goes from whom to whom."""

    node: str
    comes: bool
    moved: float
    at_least: float
    modulo: float
    moves: Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class RingReport:
    """A ring as it is, and the changes that were asked for."""

    nodes: tuple[str, ...]
    vnodes: int
    hash: str
    load: RingLoad
    changes: tuple[RingChange, ...]


class ChangeError(ValueError):
    """A change that cannot be looked at. word: "add" or "remove"; why: what is wrong with it."""

    def __init__(self, word: str, why: str) -> None:
        super().__init__(f"{word}: {why}")
        self.word, self.why = word, why


def modulo_moves(before: int, after: int) -> float:
    """The share of keys whose owner changes when `hash % before` becomes `hash % after`: 1 - min / lcm.

    Of as many hashes in a row as the least common multiple, only the lesser number have the same remainder twice.
    """
    return float(1 - Fraction(min(before, after), lcm(before, after)))


def ring_report(
    weights: Mapping[str, float],
    add: Mapping[str, float] | None = None,
    remove: Sequence[str] = (),
    *,
    vnodes: int = 160,
    hash: Literal["xxh3", "ketama"] = "xxh3",
) -> RingReport:
    """A ring of these nodes, and what each addition and each removal alone would move.

    weights: the nodes and what they weigh. add: nodes that might come, likewise. remove: nodes that might go.
    Raises what HashRing raises for the nodes, and ChangeError, a ValueError, for a change that cannot be.
    """
    ring = HashRing(list(weights), weights=weights, vnodes=vnodes, hash=hash)
    changes = [_added(ring, node, weight) for node, weight in (add or {}).items()]
    changes += [_removed(ring, node) for node in remove]
    return RingReport(ring.nodes, vnodes, hash, ring.load(), tuple(changes))


def _added(ring: HashRing, node: str, weight: float) -> RingChange:
    after = ring.copy()
    try:
        after.add_node(node, weight)
    except ValueError as error:
        raise ChangeError("add", str(error)) from None
    fair = weight / sum(after.weights.values())
    return _change(node, True, ring.diff(after), fair, len(ring), len(after))


def _removed(ring: HashRing, node: str) -> RingChange:
    after = ring.copy()
    try:
        after.remove_node(node)
    except KeyError as error:
        raise ChangeError("remove", error.args[0]) from None
    if not len(after):
        raise ChangeError("remove", f"must leave a node, without {node!r} there is none")
    return _change(node, False, ring.diff(after), ring.load().shares[node], len(ring), len(after))


def _change(node: str, comes: bool, diff: RingDiff, at_least: float, before: int, after: int) -> RingChange:
    return RingChange(node, comes, diff.moved, at_least, modulo_moves(before, after), diff.moves)
