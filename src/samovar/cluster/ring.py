"""The ring: which node has which key, the same in every process, on every machine and in every release.

Consistent hashing (Karger et al., STOC 1997). Each node has many points on a circle of 2**64 places, and a key belongs
to the first point at or after its own place. So a node that leaves gives up its own keys and no others, and one that
comes takes its share from all. The native ring (csrc/pure/ring.h) never changes; a HashRing holds one and replaces it as
a whole: readers take what is there and need no lock, writers take turns.
"""

import importlib
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeAlias

from .. import _core
from .._base.errors import MissingExtra
from .arguments import (
    MOST_POINTS,
    checked_load_factor,
    checked_name,
    checked_names,
    checked_vnodes,
    checked_weight,
    checked_weights,
)
from .bounded import Bounded

if TYPE_CHECKING:
    import numpy

RingKey: TypeAlias = str | bytes | SupportsIndex
_BYTES, _TEXT, _SIGNED, _UNSIGNED = range(4)  # columns of keys: csrc/pure/place.h
_CIRCLE = 2**64
_HASHES = ("xxh3", "ketama")


@dataclass(frozen=True, slots=True)
class RingDiff:
    """What moves when one ring takes the place of another, exact to the last of the 2**64 places.

    `places` says how many places go from which node to which, by (from, to).
    """

    places: dict[tuple[str, str], int]

    @property
    def moved(self) -> float:
        """The share of the key space that moves, between 0 and 1."""
        return sum(self.places.values()) / _CIRCLE

    @property
    def moves(self) -> dict[tuple[str, str], float]:
        """The share of the key space that goes from one node to another, by (from, to)."""
        return {pair: places / _CIRCLE for pair, places in self.places.items()}


@dataclass(frozen=True, slots=True)
class RingLoad:
    """Who has how much of the key space. `places` are out of 2**64; `weights` say what would be fair."""

    places: dict[str, int]
    weights: dict[str, float]

    @property
    def shares(self) -> dict[str, float]:
        """Each node's share of the key space; they add up to 1."""
        return {node: places / _CIRCLE for node, places in self.places.items()}

    @property
    def imbalance(self) -> float:
        """The most loaded node's share over its fair one (max/mean, where all weigh the same): 1 is perfect."""
        whole = math.fsum(self.weights.values())
        return max(share * whole / self.weights[node] for node, share in self.shares.items())


class HashRing(_core.RingCore):
    """A consistent-hash ring: which node has a key. Adding or removing a node moves only the keys that must move.

    Where a key lies depends on the names and weights of the nodes, `vnodes` and `hash`: never on the order of adding,
    the process, the machine or the release.

    nodes: names, each a different text that is not empty, such as "10.0.0.1:11211".
    vnodes: points of a node of weight 1. More: better balance, more memory (about 18 bytes each). 160 keep the most
        loaded of 10 nodes within 1.3 of the average, for all but the unluckiest names.
    weights: {name: weight} for nodes that should have more keys than others, or fewer. 1 where nothing is said.
    load_factor: a number above 1, such as 1.25: no node carries more than that many times its fair share of what
        `acquire` and `assign` count (Mirrokni, Thorup and Zadimoghaddam 2016). `get_node` then passes over full nodes.
    hash: "xxh3", or "ketama" to agree with libketama and its clients on every key. There a node that is added or removed
        changes the points of all others too, unless all weigh the same; and `vnodes` must be a multiple of 4.
    Raises TypeError and ValueError that name the argument; LookupError where a ring without nodes is asked for one.
    Safe in threads; readers never wait.

    >>> ring = HashRing(["tula", "baku", "riga"])
    >>> ring.get_node("user:42"), ring.get_nodes("user:42", 2), ring.get_node("user:40")
    ('baku', ['baku', 'tula'], 'tula')
    >>> ring.remove_node("baku")
    {}
    >>> ring.get_node("user:42"), ring.get_node("user:40")
    ('tula', 'tula')
    """

    __slots__ = ("__weakref__", "_bounded", "_hash", "_lock", "_vnodes")

    def __init__(
        self,
        nodes: Iterable[str] = (),
        *,
        vnodes: SupportsIndex = 160,
        weights: Mapping[str, float] | None = None,
        load_factor: float | None = None,
        hash: Literal["xxh3", "ketama"] = "xxh3",
    ) -> None:
        if hash not in _HASHES:
            raise ValueError(f"hash must be 'xxh3' or 'ketama', not {hash!r}")
        self._hash: Literal["xxh3", "ketama"] = hash
        self._vnodes = checked_vnodes(vnodes, 4 if hash == "ketama" else 1)
        self._lock = Lock()
        self._bounded = None if load_factor is None else Bounded(checked_load_factor(load_factor))
        names = checked_names(nodes)
        heavy = checked_weights(weights, names)
        self._replace(self._made(names, heavy, self._points(names, heavy)))
        self._is_bounded = self._bounded is not None

    # -------------------------------------------------------------- asking

    def get_nodes(self, key: RingKey, n: SupportsIndex) -> list[str]:
        """The first `n` different nodes from the key on: the owner, then where replicas go. All, when there are fewer.

        Whatever the nodes carry: a `load_factor` does not change this order.
        """
        number = index(n)
        if number < 1:
            raise ValueError(f"n must be at least 1, not {number}")
        return self._table.walk(key, min(number, MOST_POINTS))

    def get_many(self, keys: "Sequence[RingKey] | numpy.ndarray[Any, Any]") -> "numpy.ndarray[Any, numpy.dtype[numpy.int32]]":
        """The nodes of many keys at once, as numbers into `nodes`: without the GIL, and tens of times as fast.

        keys: a NumPy array of text ("U"), bytes ("S") or integers, of any shape; or a sequence of str, bytes and int.
        Returns an int32 array of the same shape. Where other threads may change the ring, ask a copy, whose `nodes`
        stay as they are. What the nodes carry counts for nothing here. Needs numpy (`samovar[numpy]`).
        """
        try:
            np = importlib.import_module("numpy")
        except ImportError as error:
            raise MissingExtra("get_many answers with a NumPy array: pip install 'samovar[numpy]'") from error
        table = self._table
        if isinstance(keys, np.ndarray) and keys.dtype.kind in "SUiu":
            column, kind = _column(np, keys)
            out = np.empty(keys.size, dtype=np.int32)
            table.find_column(kind, column, column.dtype.itemsize, out)
            return out.reshape(keys.shape)  # type: ignore[no-any-return]
        if isinstance(keys, np.ndarray) and keys.dtype.kind not in "OT":
            raise TypeError(f"keys must be an array of text, bytes or integers, not of {keys.dtype}")
        if isinstance(keys, str | bytes):
            raise TypeError(f"keys must be a sequence of keys, not one {type(keys).__name__}")
        each = tuple(keys.ravel().tolist() if isinstance(keys, np.ndarray) else keys)
        out = np.empty(len(each), dtype=np.int32)
        table.find_each(each, out)
        return out.reshape(keys.shape) if isinstance(keys, np.ndarray) else out  # type: ignore[no-any-return]

    def _nodes_of(self, keys: Sequence[str]) -> list[str]:
        """`get_node` of many keys, without NumPy."""
        table, numbers = self._table, array("i", bytes(4 * len(keys)))
        table.find_each(tuple(keys), numbers)
        names = table.names
        return [names[number] for number in numbers]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names, in the order of adding: number i of `get_many` is `nodes[i]`. Those behind a removed one move up."""
        return self._table.names

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each node."""
        table = self._table
        return dict(zip(table.names, table.weights, strict=True))

    @property
    def vnodes(self) -> int:
        """Points of a node of weight 1."""
        return self._vnodes

    @property
    def hash(self) -> Literal["xxh3", "ketama"]:
        """How keys and nodes are placed."""
        return self._hash

    @property
    def load_factor(self) -> float | None:
        """How many times its fair share a node may carry; None: no bound."""
        return None if self._bounded is None else self._bounded.load_factor

    def load(self) -> RingLoad:
        """Each node's share of the key space, and how far from fair it is. Exact, O(points)."""
        table = self._table
        if not table.names:
            raise LookupError("the ring is empty: no node has a share; add_node adds one")
        return RingLoad(dict(zip(table.names, table.shares(), strict=True)),
                        dict(zip(table.names, table.weights, strict=True)))

    def diff(self, other: "HashRing") -> RingDiff:
        """What moves when `other` takes the place of this ring: how much, from whom, to whom. Exact, O(points).

        >>> ring = HashRing(["tula", "baku", "riga"])
        >>> larger = ring.copy()
        >>> larger.add_node("oslo")
        {}
        >>> change = ring.diff(larger)
        >>> sorted(change.moves), f"{change.moved:.0%} moves"
        ([('baku', 'oslo'), ('riga', 'oslo'), ('tula', 'oslo')], '27% moves')
        """
        if not isinstance(other, HashRing):
            raise TypeError(f"other must be a HashRing, not {type(other).__name__}")
        if other._hash != self._hash:
            raise ValueError(f"other must place keys by the same hash, {self._hash!r}, not {other._hash!r}")
        moves = self._table.moves(other._table)
        return RingDiff({(gives, takes): places for gives, takes, places in moves})

    # -------------------------------------------------------------- changing

    def add_node(self, node: str, weight: float = 1.0) -> dict[str | bytes | int, str]:
        """Put one more node on the ring; it takes its share from all others. ValueError when it is there.

        Returns where assigned keys went that had to move; in a ring without a `load_factor` there are none.
        """
        name, heavy = checked_name(node), checked_weight(node, weight)
        with self._lock:
            table = self._table
            if name in table.numbers:
                raise ValueError(f"node must be new, {name!r} is in the ring")
            names, weights = (*table.names, name), (*table.weights, heavy)
            points = self._points(names, weights)
            if self._points(table.names, table.weights) == points[:-1]:
                return self._replace(table.added(name, heavy, points[-1]))
            return self._replace(self._made(names, weights, points))

    def remove_node(self, node: str) -> dict[str | bytes | int, str]:
        """Take a node off the ring: its keys, and no others, get new nodes. KeyError when it is not there.

        Returns where assigned keys went that had to move; in a ring without a `load_factor` there are none.
        """
        with self._lock:
            table = self._table
            number = table.numbers.get(checked_name(node))
            if number is None:
                raise KeyError(f"node must be in the ring, {node!r} is not")
            names, weights, before = list(table.names), list(table.weights), self._points(table.names, table.weights)
            del names[number], weights[number], before[number]
            points = self._points(tuple(names), tuple(weights))
            if points == before:
                return self._replace(table.removed(number))
            return self._replace(self._made(tuple(names), tuple(weights), points))

    def _points(self, names: tuple[str, ...], weights: tuple[float, ...]) -> list[int]:
        """How many points each node has. In a ketama ring a newcomer may change those of the others."""
        if self._hash == "ketama":
            points = _core.ketama_points(weights, self._vnodes // 4)
        else:
            points = [max(1, round(self._vnodes * weight)) for weight in weights]
        if points and not (min(points) > 0 and sum(points) < MOST_POINTS):
            extreme = (min if min(points) == 0 else max)(range(len(points)), key=points.__getitem__)
            raise ValueError("weights must give each node a point, and all nodes together fewer than 2**28: "
                             f"{names[extreme]!r} of weight {weights[extreme]} would have {points[extreme]:,}")
        return points

    def _made(self, names: tuple[str, ...], weights: tuple[float, ...], points: list[int]) -> _core.RingTable:
        return _core.RingTable.build(names, weights, points, self._hash == "ketama")

    def _replace(self, table: _core.RingTable) -> dict[str | bytes | int, str]:
        self._table = table
        return {} if self._bounded is None else self._bounded.fit(table)

    # -------------------------------------------------------------- bounded load

    def acquire(self, key: RingKey) -> str:
        """Count one piece of work for this key on the first node from it that has room. `release` ends it.

        At that moment the node carries at most ceil(load_factor x its fair share of all that is carried), this piece
        included. Only in a ring with a `load_factor`.
        """
        with self._lock:
            return self._bound().acquire(self._table, _plain(key))

    def release(self, node: str) -> None:
        """A piece of work that `acquire` gave to this node has ended. ValueError when there is none."""
        with self._lock:
            self._bound().release(self._table, checked_name(node))

    def assign(self, key: RingKey) -> str:
        """Give this key a node to stay at, the first from it that has room; asked again, the same one.

        As long as keys are assigned and nothing is in flight, no node ever carries more than ceil(load_factor x its fair
        share). To keep this true `unassign`, `add_node` and `remove_node` move keys that no longer fit, and say which.
        """
        with self._lock:
            return self._bound().assign(self._table, _plain(key))

    def unassign(self, key: RingKey) -> dict[str | bytes | int, str]:
        """This key is gone. Returns where other assigned keys went that had to move. KeyError when it was not assigned."""
        with self._lock:
            bounded = self._bound()
            if _plain(key) not in bounded.assigned:
                raise KeyError(f"key must be assigned, {key!r} is not")
            return bounded.unassign(self._table, _plain(key))

    @property
    def carried(self) -> dict[str, int]:
        """What each node carries now: work in flight and assigned keys. Empty in a ring without a `load_factor`."""
        with self._lock:
            return {} if self._bounded is None else dict(self._bounded.counts)

    @property
    def assigned(self) -> dict[str | bytes | int, str]:
        """Where each assigned key is."""
        with self._lock:
            return {} if self._bounded is None else dict(self._bounded.assigned)

    def _bound(self) -> Bounded:
        if self._bounded is None:
            raise ValueError("load_factor must be given to the ring: without it nothing is counted")
        return self._bounded

    def _roomy(self, key: RingKey) -> str:
        """What get_node answers in a ring with a load factor."""
        return self._bound().look(self._table, _plain(key))

    # -------------------------------------------------------------- a value among others

    def copy(self) -> "HashRing":
        """A ring of its own that begins as this one. O(1). What is carried is not copied."""
        made = type(self)(vnodes=self._vnodes, load_factor=self.load_factor, hash=self._hash)
        made._replace(self._table)
        return made

    __copy__ = copy

    def __deepcopy__(self, memo: object, /) -> "HashRing":
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.nodes, self._vnodes, self.weights, self.load_factor, self._hash)

    def __eq__(self, other: object, /) -> bool:
        """Whether nodes, weights, vnodes, load_factor and hash are equal; the order of adding and what is carried are not
        asked for. Equal rings place every key on the same node."""
        if not isinstance(other, HashRing):
            return NotImplemented
        mine = (self._hash, self._vnodes, self.load_factor, self.weights)
        return mine == (other._hash, other._vnodes, other.load_factor, other.weights)

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._table.names)

    def __contains__(self, node: object, /) -> bool:
        return node in self._table.numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.names)

    def __repr__(self) -> str:
        names = self._table.names
        shown = ", ".join(map(repr, names[:6])) + (", ..." if len(names) > 6 else "")
        bound = "" if self._bounded is None else f", load_factor={self._bounded.load_factor}"
        return f"<HashRing of {len(names)} nodes [{shown}], vnodes={self._vnodes}, hash={self._hash!r}{bound}>"


def _remade(kind: type[HashRing], nodes: tuple[str, ...], vnodes: int, weights: dict[str, float],
            load_factor: float | None, hash: Literal["xxh3", "ketama"]) -> HashRing:
    return kind(nodes, vnodes=vnodes, weights=weights, load_factor=load_factor, hash=hash)


def _plain(key: RingKey) -> str | bytes | int:
    """The key as something to remember: a str, bytes or int."""
    if isinstance(key, str | bytes):
        return key
    try:
        return index(key)
    except TypeError:
        raise TypeError(f"key must be a str, bytes or int, not {type(key).__name__}") from None


def _column(np: Any, keys: Any) -> tuple[Any, int]:
    """An array's keys one behind the other as the native ring reads them, and what they are."""
    kind = keys.dtype.kind
    if kind in "iu":
        keys = keys.astype(np.int64 if kind == "i" else np.uint64, copy=False)
    elif kind == "U" and not keys.dtype.isnative:
        keys = keys.astype(keys.dtype.newbyteorder("="))
    column = {"S": _BYTES, "U": _TEXT, "i": _SIGNED, "u": _UNSIGNED}[kind]
    return np.ascontiguousarray(keys).ravel(), column
