"""Bounded load: nobody carries much more than the average, and a key still has a first choice.

Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, arXiv:1608.01350; SODA 2018): with a load
factor of 1 + eps, a node has room while it carries less than ceil((1 + eps) x its fair share), the newcomer counted, and
who comes goes to the first node clockwise from its key that has room. The fair share is the average, or a part of the
whole by weight. Since the capacities together exceed what is carried, somebody always has room.

Two kinds of load count alike. *Work in flight* lasts for a moment and cannot be moved: the bound holds whenever work is
taken on. *Assigned keys* stay: where the average falls, or a node leaves, those that no longer fit move on, the latest
first, so that with assigned keys alone the bound holds at every moment.

The caller holds the ring's lock, but for `first_with_room`, which only looks.
"""

from collections.abc import Iterator
from math import ceil

from .._core import RingTable

_Key = str | bytes | int
_ROUNDING = 1e-9  # 1.1 x 10 must not become 12 because of what lies behind the sixteenth digit
_NEAR = 4  # nodes to look at before all of them


class Bounded:
    """What each node of a ring carries at this moment."""

    def __init__(self, load_factor: float) -> None:
        self.load_factor = load_factor
        self.counts: dict[str, int] = {}
        self.assigned: dict[_Key, str] = {}
        self._total = 0
        self._fair: dict[str, float] = {}  # the part of the whole that is this node's
        self._keys: dict[str, dict[_Key, None]] = {}  # assigned to each node, the latest last
        self._left: dict[str, int] = {}  # work in flight on nodes that are no longer in the ring

    def fit(self, table: RingTable) -> dict[_Key, str]:
        """The ring changed. Returns where assigned keys went that had to move."""
        whole = sum(table.weights)
        homeless: list[_Key] = []
        for node in self.counts.keys() - table.numbers.keys():
            keys = self._keys.pop(node)
            homeless += keys
            if flying := self.counts[node] - len(keys):
                self._left[node] = flying
        self.counts = {node: self.counts.get(node, 0) or self._left.pop(node, 0) for node in table.names}
        self._keys = {node: self._keys.get(node, {}) for node in table.names}
        self._fair = {node: weight / whole for node, weight in zip(table.names, table.weights, strict=True)}
        self._total = sum(self.counts.values())
        for key in homeless:
            del self.assigned[key]
        moved = {key: self._put(table, key) for key in homeless} if table.names else {}
        return moved | self._settle(table)

    def first_with_room(self, table: RingTable, key: _Key, total: int) -> str:
        """The first node from the key on that carries less than its bound for so much in all."""
        counts = self.counts
        for node in self._order(table, key):
            if counts.get(node, 0) < self._bound(node, total):
                return node
        return table.walk(key, 1)[0]  # only while another thread changes the counts that are looked at here

    def look(self, table: RingTable, key: _Key) -> str:
        """Where a key is assigned, or where it would go now."""
        return self.assigned.get(key) or self.first_with_room(table, key, self._total + 1)

    def acquire(self, table: RingTable, key: _Key) -> str:
        """Count one piece of work for the key on the node that takes it."""
        node = self.first_with_room(table, key, self._total + 1)
        self.counts[node] += 1
        self._total += 1
        return node

    def release(self, table: RingTable, node: str) -> None:
        """A piece of work has ended."""
        flying = self.counts[node] - len(self._keys[node]) if node in self.counts else self._left.get(node, 0)
        if flying < 1:
            raise ValueError(f"node must have work in flight that was acquired, {node!r} has none")
        if node in self.counts:
            self.counts[node] -= 1
            self._total -= 1
            self._settle(table)
        elif flying > 1:
            self._left[node] = flying - 1
        else:
            del self._left[node]

    def assign(self, table: RingTable, key: _Key) -> str:
        """Give the key a node to stay at; the one that it has, when it has one."""
        return self.assigned.get(key) or self._put(table, key)

    def unassign(self, table: RingTable, key: _Key) -> dict[_Key, str]:
        """The key is gone. Returns where other assigned keys went that had to move."""
        node = self.assigned.pop(key)
        del self._keys[node][key]
        self.counts[node] -= 1
        self._total -= 1
        return self._settle(table)

    def _put(self, table: RingTable, key: _Key) -> str:
        node = self.first_with_room(table, key, self._total + 1)
        self._lay(key, node)
        self._total += 1
        return node

    def _lay(self, key: _Key, node: str) -> None:
        self.assigned[key] = node
        self._keys[node][key] = None
        self.counts[node] += 1

    def _settle(self, table: RingTable) -> dict[_Key, str]:
        """Move on assigned keys from nodes that carry more than their bound. O(nodes), and O(1) keys on average."""
        moved: dict[_Key, str] = {}
        for node in table.names if self.assigned else ():
            while self.counts[node] > self._bound(node, self._total) and self._keys[node]:
                key, _ = self._keys[node].popitem()
                self.counts[node] -= 1
                moved[key] = self.first_with_room(table, key, self._total)
                self._lay(key, moved[key])
        return moved

    def _bound(self, node: str, total: int) -> int:
        return ceil(self.load_factor * total * self._fair.get(node, 0.0) - _ROUNDING)

    @staticmethod
    def _order(table: RingTable, key: _Key) -> Iterator[str]:
        """All nodes clockwise from the key; few are looked for until more are needed."""
        near = table.walk(key, _NEAR)
        yield from near
        if len(near) == _NEAR:
            yield from table.walk(key, len(table.names))[_NEAR:]
