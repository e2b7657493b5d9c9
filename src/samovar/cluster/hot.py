"""Hot keys: found by counting this process's reads, and read from copies on the next nodes of the ring's order.

    reads of one key                owner        2nd          3rd           and when it changes
    cold                            all          -            -             deleted on all three, always: any process may
    hot, here                       a third      a third      a third       have made copies; the owner first

Found: each read is counted in a sketch of 4-bit frequencies; what it says is frequent gets one of a few exact counters
(the heavy hitters, after Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements", 2005).
Every `window` reads all are halved, so that what was hot is forgotten; a key cools at half of the share that made it hot.

Copied: under a lease on the copy's cell, what the owner holds is read and filled in.

    a reader                                    a writer
    1 takes a lease on the 2nd node
    2 reads the owner: v1
                                                3 deletes on the owner
                                                4 deletes on the 2nd node: the lease goes
    5 fills the 2nd node: LOST                  (had 4 come before 1, then 3 before 2, and v1 is not there to be read)

A copy lives for at most `copy` seconds, carries the entry's own age and tags, and goes by itself when the key cools.

The one rule: the owner hears of a change before the copies do. So a copy is of what nobody has invalidated yet, or its
lease is gone when it is filled.
"""

import math
import os
import threading
import weakref
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from .._base.freshness import Duration, seconds
from .._core import Sketch
from . import batch, cell
from .asked import Asked
from .cell import FRESH, INVALID, NOTHING, Seen
from .node import YOURS
from .requests import NODE, Request
from .store import Store
from .tier import Tier

FREQUENT = 8  # what the sketch has to say of a key before it is counted exactly
_ENTRIES = 4096  # of the sketch: 32 KiB
_COPYING_MS = 1000  # for how long a copier may hold others up that are sent here because the owner is down


_heats: "weakref.WeakSet[Heat]" = weakref.WeakSet()


def _forked() -> None:
    """Another thread may have held a lock when this process was split off."""
    for heat in list(_heats):
        heat._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@dataclass(frozen=True, slots=True)
class HotKeys:
    """How hot keys are found, and on how many nodes they are read. The replicas must be the same number in all processes
    of a namespace: all of them delete what any of them may have copied.

    replicas: how many nodes of the ring's order hold a hot key, 2 or more; as many as there are nodes, at most.
    share: a key is hot when it is at least this share of this process's reads of the shared tier.
    window: after so many reads the counts are halved.
    tracked: how many keys are counted exactly at once, and can be hot, at most.
    copy: for how long a copy is good, at most; then it is made anew.

    >>> from samovar.cluster import Cluster, HotKeys, LocalNode
    >>> nodes = [LocalNode(name) for name in ("one", "two", "three")]
    >>> shop = Cluster(nodes, hot=HotKeys(replicas=3, share=0.05))
    """

    replicas: int = 3
    share: float = 0.02
    window: int = 2000
    tracked: int = 64
    copy: Duration = 10.0

    def __post_init__(self) -> None:
        for name, least in (("replicas", 2), ("window", 100), ("tracked", 1)):
            number = getattr(self, name)
            if type(number) is not int:
                raise TypeError(f"HotKeys: {name} must be an int, not {number!r}")
            if number < least:
                raise ValueError(f"HotKeys: {name} must be at least {least}, not {number!r}")
        if isinstance(self.share, bool) or not isinstance(self.share, int | float):
            raise TypeError(f"HotKeys: share must be a number, not {self.share!r}")
        if not 0 < self.share <= 1:
            raise ValueError(f"HotKeys: share must be above 0 and at most 1, not {self.share!r}")
        if seconds(self.copy, "HotKeys: copy", positive=True) == math.inf:
            raise ValueError("HotKeys: copy must be a time that ends")


class Heat:
    """Which keys this process reads so often that they are hot. Bounded and decayed; safe in threads."""

    def __init__(self, how: HotKeys) -> None:
        self._how = how
        self._lock = threading.Lock()
        self._sketch = Sketch(_ENTRIES)
        self._counts: dict[str, float] = {}
        self._least = 0.0  # no count is below this, when all places are taken
        self._total = 0.0
        self._seen = 0  # reads of this window
        self.keys: frozenset[str] = frozenset()  # those that are hot
        _heats.add(self)

    def read(self, wire: str) -> bool:
        """Count a read of a key; whether it is hot."""
        with self._lock:
            how, counts = self._how, self._counts
            self._total += 1
            self._seen += 1
            if wire in counts:
                counts[wire] += 1
                if wire not in self.keys and counts[wire] >= how.share * max(self._total, how.window / 2):
                    self.keys |= {wire}
            elif (estimate := self._sketch.add(wire)) >= FREQUENT:
                self._admit(wire, estimate)
            if self._seen >= how.window:
                self._age()
            return wire in self.keys

    def _admit(self, wire: str, estimate: int) -> None:
        """Count it exactly, in the place of the one that is counted least."""
        if len(self._counts) >= self._how.tracked:
            if estimate <= self._least:
                return
            least = min(self._counts, key=self._counts.__getitem__)
            self._least = self._counts[least]
            if estimate <= self._least:
                return
            del self._counts[least]
            self.keys -= {least}
        self._counts[wire] = float(estimate)
        self._least = min(self._least, self._counts[wire])

    def _age(self) -> None:
        """A window is over: what cooled is no longer hot, and everything counts half from now on."""
        cool = self._how.share * self._total / 2
        self.keys = frozenset(wire for wire in self.keys if self._counts.get(wire, 0.0) >= cool)
        self._counts = {wire: count / 2 for wire, count in self._counts.items() if count >= 2}
        self.keys &= self._counts.keys()
        self._least /= 2
        self._total /= 2
        self._seen = 0


class Spread:
    """Reads of a cluster whose hot keys are spread. `look` takes the place of `cell.look` where somebody reads, `look_many`
    that of `batch.look_many`."""

    def __init__(self, how: HotKeys) -> None:
        self.heat = Heat(how)
        self.replicas = how.replicas
        self._copy_s = seconds(how.copy, "HotKeys: copy")
        self.copied = self.spread = 0  # copies made; reads that a copy answered

    def look(self, store: Store, asked: Asked) -> Generator[Request, Any, Seen]:
        """Read one key: a hot one on any of its nodes."""
        tier = store.tier
        node = self._place(tier, asked)
        if node is None:
            return (yield from cell.look(store, asked))
        answer = yield NODE, (node, "read", ((asked.wire,),))
        if tier.is_lost(node, answer):
            return (yield from cell.look(store, asked))
        return (yield from self._spread(store, asked, node, (yield from cell.judge(store, asked, node, answer[1][0]))))

    def look_many(self, store: Store, asks: Sequence[Asked]) -> Generator[Request, Any, list[Seen]]:
        """Read many keys, the hot ones of them on any of their nodes: in the same round trip, and one or two more for
        those of which there is no copy yet."""
        places = {at: node for at, asked in enumerate(asks) if (node := self._place(store.tier, asked)) is not None}
        seen = yield from batch.look_many(store, asks, places)
        for at, node in places.items():
            if seen[at].node == node:  # else it was lost, and the owner was asked
                seen[at] = yield from self._spread(store, asks[at], node, seen[at])
        return seen

    def _place(self, tier: Tier, asked: Asked) -> str | None:
        """Count a read; where it goes, if not to the owner."""
        if not self.heat.read(asked.wire):
            return None
        owner, node = asked.owners[0], asked.owners[int(tier.chance() * tier.replicas) % tier.replicas]
        return None if node == owner or not tier.is_up(owner) or not tier.takes_writes(node) else node

    def _spread(self, store: Store, asked: Asked, node: str, seen: Seen) -> Generator[Request, Any, Seen]:
        """What is answered where a copy's node says this."""
        if seen.kind == FRESH and not cell.is_early(asked, seen):
            self.spread += 1
            return seen
        if seen.kind in (NOTHING, INVALID):
            return (yield from self._copied(store, asked, node, seen))
        return (yield from cell.look(store, asked))

    def _copied(self, store: Store, asked: Asked, node: str, seen: Seen) -> Generator[Request, Any, Seen]:
        """What the owner says, copied to this node on the way."""
        verb, words = ("lease", (asked.wire,)) if seen.token is None else ("claim", (asked.wire, seen.token))
        answer = yield NODE, (node, verb, (*words, min(store.tier.lease_ms, _COPYING_MS)))
        if store.tier.is_lost(node, answer) or answer[0] is not YOURS:
            return (yield from cell.look(store, asked))
        token, filled = answer[1], False
        try:
            here = yield NODE, (node, "epoch", (store.tier.namespace,))  # before the owner is read
            owner = yield from cell.look(store, asked)
            if owner.kind == FRESH and owner.entry is not None and owner.node == asked.owners[0]:
                there = yield NODE, (owner.node, "epoch", (store.tier.namespace,))  # after: nobody cleared it meanwhile
                if not store.tier.is_lost(node, here) and not store.tier.is_lost(owner.node, there) and (
                        there[1][0] == owner.entry.epoch):
                    filled = yield from self._fill(store, asked, node, token, owner, here[1][0])
            return owner
        except GeneratorExit:  # the loop that drove this is gone: the lease ends by itself
            filled = True
            raise
        finally:
            if not filled:
                answer = yield NODE, (node, "release", (asked.wire, token))
                store.tier.is_lost(node, answer)

    def _fill(self, store: Store, asked: Asked, node: str, token: Any, owner: Seen,
              epoch: int) -> Generator[Request, Any, bool]:
        assert owner.entry is not None
        sealed = store.copy(asked, owner.entry, owner.age_s, self._copy_s, epoch)
        if sealed is None:
            return False
        answer = yield NODE, (node, "fill", (asked.wire, token, *sealed))
        self.copied += 1
        return not store.tier.is_lost(node, answer)

