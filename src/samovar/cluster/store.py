"""What the protocols know beside the nodes: how values travel, how long they are good, and what is counted.

Whatever an envelope says is read here and nowhere else: one that is damaged, foreign or of another epoch is nothing.
"""

import math
import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple

from .._base.contracts import Gate
from .._base.freshness import Freshness
from .._base.missing import MISSING
from .asked import Asked, Entry, Got, Load
from .envelope import Damaged, Envelope, Sealer
from .node import HIT, LONGEST_MS, LOST, OK, Answer, Node, goes_with_read
from .requests import Request
from .tier import Tier

NAMES = ("hits", "stale_hits", "misses", "loads", "failures", "waited", "early", "filled", "fenced", "unstored", "damaged",
         "refused")


class Words(NamedTuple):
    """How a value is to be kept: whether at all, for how many seconds it is fresh and kept, and under which tags."""

    is_stored: bool
    soft_s: float
    hard_s: float
    tags: tuple[str, ...]


class Way(NamedTuple):
    """How a node is asked about many keys at once: by which verb, where bodies lie in its replies, and what they say."""

    verb: str
    bodies_in: Callable[[list[Any]], tuple[list[Any], bytes, int]]
    said: Callable[[list[Any]], Answer]


def _way(node: Node) -> Way:
    if goes_with_read(node, "gather"):
        return Way("gather", node.bodies_in, node.said)
    return Way("read", lambda founds: ([one.body if one.kind is HIT else None for one in founds], b"", 0),
               lambda founds: (OK, founds))


_all: "weakref.WeakSet[Counts]" = weakref.WeakSet()


def _forked() -> None:
    """Another thread may have held a lock when this process was split off."""
    for counts in list(_all):
        counts._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Counts:
    """What this process saw happen in the shared tier."""

    def __init__(self) -> None:
        _all.add(self)
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(NAMES, 0)
        self._load_s = 0.0

    def add(self, name: str, by: int = 1) -> None:
        with self._lock:
            self._counts[name] += by

    def loaded(self, took_s: float) -> None:
        """A factory was called, and took so long."""
        with self._lock:
            self._counts["loads"] += 1
            self._load_s += took_s

    def read(self) -> dict[str, Any]:
        """All of them, and `load_mean_s`."""
        with self._lock:
            loads = self._counts["loads"]
            return {**self._counts, "load_mean_s": self._load_s / loads if loads else 0.0}


class Store:
    """The tier, and how values travel over it.

    sealer: makes bodies of envelopes. gate: the origin's budget, or None. stopwatch: seconds, for what a load costs.
    """

    def __init__(self, tier: Tier, sealer: Sealer, gate: Gate | None, stopwatch: Callable[[], float]) -> None:
        self.tier, self.gate, self.stopwatch = tier, gate, stopwatch
        self._sealer = sealer
        self.plain, self.plain_many = sealer.plain, sealer.plain_many
        self.ways = {name: _way(node) for name, node in tier.nodes.items()}
        self.look: Callable[[Store, Asked], Generator[Request, Any, Any]] | None = None  # for hot keys (cluster/hot.py)
        self.look_many: Callable[[Store, Sequence[Asked]], Generator[Request, Any, Any]] | None = None
        self.counts = Counts()

    # ---------------------------------------------------------------- bodies

    def unseal(self, node: str, asked: Asked, body: bytes) -> Entry | None:
        """What a body holds; None when it is damaged, foreign, or of an epoch that is over."""
        opened = self._sealer.open(asked.wire, body)
        if isinstance(opened, Damaged):
            self.counts.add("damaged")
            return None
        if opened.epoch != self.tier.epoch(node):
            return None
        return Entry(opened.created, opened.soft_s, opened.hard_s, opened.cost_s, opened.tags, opened.value,
                     opened.epoch)

    def seal(self, node: str, asked: Asked, value: Any, words: Words, pairs: Sequence[tuple[str, int]],
             cost_s: float, epoch: int) -> tuple[bytes, int] | None:
        """(body, ttl in ms) of a value for this node; None when it is too large, or good for no time at all. epoch: the
        node's before the value was read or made. Raises TypeError for a value that the codec cannot carry."""
        hard_s = min(words.hard_s, self.tier.cap_s(asked.owners, node))
        ttl_ms = LONGEST_MS if hard_s == math.inf else min(LONGEST_MS, int(hard_s * 1000))
        if ttl_ms < 1:
            return None
        envelope = Envelope(value, self.tier.wall(), words.soft_s, hard_s, cost_s, epoch, tuple(pairs))
        body = self._sealer.seal(asked.wire, envelope)
        return None if body is None else (body, ttl_ms)

    def copy(self, asked: Asked, entry: Entry, age_s: float, most_s: float, epoch: int) -> tuple[bytes, int] | None:
        """(body, ttl in ms) of an entry for another node, with its own age, for at most so many seconds. epoch: the other
        node's before the entry was read."""
        hard_s = min(entry.hard_s, age_s + most_s)
        ttl_ms = min(LONGEST_MS, int((hard_s - age_s) * 1000))
        if ttl_ms < 1:
            return None
        envelope = Envelope(entry.value, entry.created, entry.soft_s, hard_s, entry.cost_s, epoch, entry.tags)
        body = self._sealer.seal(asked.wire, envelope)
        return None if body is None else (body, ttl_ms)

    # ---------------------------------------------------------------- lifetimes

    def words(self, asked: Asked, made: Load, carried: Iterable[tuple[str, int]] = ()) -> Words:
        """How the result of a load is kept: the factory's word over the caller's. carried: the old value's tags, which
        one that is "not modified" keeps."""
        fresh, tags, is_stored = asked.fresh, asked.tags, True
        if made.had_context:
            context = made.context
            is_stored = context.is_stored()
            fresh = context.freshness(asked.fresh)
            if context.tags is not None:
                tags = context.tags
            elif context.is_renewed(made.value):
                tags = tuple(dict.fromkeys(tag[1:] for tag, _ in carried))
        return self.lifetime(fresh, made.value, tags, is_stored=is_stored)

    def lifetime(self, fresh: Freshness | None, value: Any, tags: tuple[str, ...], *, is_stored: bool = True) -> Words:
        """How a value is kept under this freshness."""
        if fresh is None:
            return Words(is_stored, math.inf, math.inf, tags)
        ttl = fresh.ttl
        if value is None and fresh.negative_ttl is not None:
            ttl = fresh.negative_ttl
        soft_s = math.inf if ttl is None else ttl
        if fresh.jitter and soft_s != math.inf:
            soft_s *= 1.0 - fresh.jitter * self.tier.chance()
        return Words(is_stored, soft_s, soft_s + fresh.keep, tags)

    def old(self, asked: Asked, entry: Entry | None) -> Any:
        """What a factory is shown as the old value; MISSING without one."""
        return MISSING if entry is None else entry.value

    # ---------------------------------------------------------------- answers

    def filled(self, status: Any) -> None:
        """Count what became of a load's value."""
        self.counts.add("filled" if status is OK else "fenced" if status is LOST else "unstored")

    def is_nothing(self, made: Load) -> bool:
        """Whether a factory of many keys left this one out."""
        return made.value is MISSING

    def take(self, entry: Entry, age_s: float, as_of: float = 0.0) -> Got:
        """The answer out of an entry, read at `as_of` or later."""
        left_s = entry.soft_s - age_s
        self.counts.add("hits" if left_s > 0 else "stale_hits")
        tags = tuple(dict.fromkeys([tag[1:] for tag, _ in entry.tags])) if entry.tags else ()
        return Got(entry.value, max(0.0, left_s), tags, left_s > 0, as_of)
