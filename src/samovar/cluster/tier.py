"""The shared tier as one process sees it: its nodes, which of them may be asked for what, and what they missed.

Where a key lies is the ring's answer. Who is asked is decided here: the first node in the ring's order that is up, and
for changes every node that may hold the key for somebody: the first two, and the one that is asked now.

The one rule: what is known about nodes changes under the lock only, and nothing is asked under it.
"""

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .codec import KeyMaker
from .health import Breaker
from .node import UNAVAILABLE, Fault

REACH = 3  # nodes of the ring's order that are ever asked for a key
PATIENCE_S = 0.5  # beyond a lease: then its holder is gone, and so is who came after
STAND_IN_S = 8.0  # no value lives longer on a node that stands in for another: gone 10 s after that one is back
LOOK_S = 0.1  # between looks at a node's epoch because loads begin there
MISSED = 10_000  # invalidations kept for a node that is away; beyond, it begins a new epoch


class Missed:
    """What a node did not hear: keys to delete and counters to move, each once; `is_all` when there were too many."""

    __slots__ = ("is_all", "keys", "tags")

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}
        self.tags: dict[str, None] = {}
        self.is_all = False

    def __bool__(self) -> bool:
        return self.is_all or bool(self.keys or self.tags)

    def add(self, keys: Iterable[str], tags: Iterable[str]) -> None:
        if self.is_all:
            return
        self.keys.update(dict.fromkeys(keys))
        self.tags.update(dict.fromkeys(tags))
        if len(self.keys) + len(self.tags) > MISSED:
            self.is_all = True
            self.keys.clear()
            self.tags.clear()


class _State:
    """One node."""

    __slots__ = ("breaker", "epoch", "heard", "is_suspect", "left", "looked", "missed", "run")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.epoch: int | None = None  # None: it was never asked
        self.run: str | None = None
        self.missed = Missed()
        self.heard: set[bytes] = set()  # of others, about this node, since it was last away
        self.left: dict[str, None] = {}  # keys that a lease may lie under which nobody knows to be his
        self.is_suspect = False  # somebody loads what should lie there: is its epoch still there?
        self.looked = -math.inf  # when that was asked last


class Tier:
    """nodes: {name: node}. ring: places keys by name (cluster/ring.py). keys: makes wire keys.
    replicas: how many nodes may hold a key that is hot.
    patience_s: how long somebody's load is waited for; an engine that keeps whole seconds ends a lease up to two later.
    now: the clock of breakers. wall: the clock of envelopes. chance: 0 to 1, for jitter."""

    def __init__(self, nodes: Mapping[str, Any], ring: Any, *, namespace: str, keys: KeyMaker,
                 lease_s: float, now: Callable[[], float], wall: Callable[[], float],
                 chance: Callable[[], float], replicas: int = 1) -> None:
        self.nodes = dict(nodes)
        self.ring = ring
        self.namespace = namespace
        self.wire, self.tag_wire, self.own_wire, self._wires = keys, keys.tag, keys.own, keys.many
        self.mark_wire = self.own_wire("mark")
        self.lease_s, self.lease_ms = lease_s, max(1, math.ceil(lease_s * 1000))
        self.now, self.wall, self.chance = now, wall, chance
        coarse = any(not node.capabilities.ms_ttl for node in self.nodes.values())
        self.patience_s = lease_s + PATIENCE_S + (2.0 if coarse else 0.0)
        self.replicas = min(replicas, len(self.nodes))  # nodes that may hold a hot key (cluster/hot.py)
        self._told = max(2, self.replicas)
        self._reach = min(max(REACH, self.replicas), len(self.nodes))
        self._only = next(iter(self.nodes)) if len(self.nodes) == 1 else ""
        self._state = {name: _State(Breaker(chance)) for name in self.nodes}
        self._lock = threading.RLock()
        self._troubled = 0  # nodes that are down, full, or new: zero is the quick way
        self.unknown = set(self.nodes)  # nodes not yet heard of
        self.alarm: Callable[[], object] = lambda: None  # called when a node goes down: the prober wakes
        self.moved: Callable[[], object] = lambda: None  # called when a node's epoch moved: near caches forget

    # ---------------------------------------------------------------- who is asked

    def owners(self, wire: str) -> tuple[str, ...]:
        """The nodes that are asked for a key, in this order."""
        if self._only:
            return (self._only,)
        return tuple(self.ring.get_nodes(wire, self._reach))

    def owner(self, wire: str) -> str:
        """The first of them."""
        return self._only or self.ring.get_node(wire)

    @property
    def is_quiet(self) -> bool:
        """Whether no node is in any trouble: then each key's owner is asked, and nobody else."""
        return not self._troubled

    def by_owner(self, keys: Sequence[Any]) -> dict[str, tuple[list[Any], list[str]]]:
        """Keys, and what they are called, by the node that owns them: {node: (keys, wire keys)}."""
        wires = self._wires(keys)
        if self._only:
            return {self._only: (list(keys), wires)}
        homes: dict[str, list[int]] = {}
        for at, node in enumerate(self.ring._nodes_of(wires)):
            if node in homes:
                homes[node].append(at)
            else:
                homes[node] = [at]
        return {node: ([keys[at] for at in on], [wires[at] for at in on]) for node, on in homes.items()}

    def is_up(self, node: str) -> bool:
        state = self._state[node]
        return state.epoch is not None and not state.breaker.down

    def takes_writes(self, node: str) -> bool:
        return self.is_up(node) and not self._state[node].breaker.full

    def home(self, owners: Sequence[str], tried: Iterable[str] = (), *, writes: bool = False) -> str | None:
        """Who is asked for a key now; None when nobody can be."""
        if not self._troubled and not tried:
            return owners[0]
        may = self.takes_writes if writes else self.is_up
        return next((node for node in owners if node not in tried and may(node)), None)

    def cap_s(self, owners: Sequence[str], node: str) -> float:
        """The longest life of a value on this node, in seconds: short where it stands in for another."""
        return math.inf if node == owners[0] else STAND_IN_S

    def stand_in(self, owners: Sequence[str], node: str) -> str | None:
        """The node where a value may lie that `node` ought to have: it takes no writes, or was away until just now."""
        if not self._troubled:
            return None
        state = self._state[node]
        if state.breaker.full or state.breaker.is_new(self.now(), STAND_IN_S):
            return next((other for other in owners if other != node and self.takes_writes(other)), None)
        return None

    def targets(self, owners: Sequence[str]) -> list[str]:
        """Who must hear of a change of a key: who may be asked for it by somebody, here or elsewhere."""
        if not self._troubled:
            return list(owners[:self._told])
        return list(owners)

    # ---------------------------------------------------------------- what became of asking

    def is_lost(self, node: str, answer: tuple[Any, Any], *, writes: bool = False, leaves: Sequence[str] = ()) -> bool:
        """Whether the node did not answer, or did not do it; it is remembered. writes: a change that it must not refuse.
        leaves: keys that a lease of this caller's may lie under now, if it did it all the same."""
        status, fault = answer
        if status is not UNAVAILABLE:
            if self._troubled:
                self._state[node].breaker.answered()
            return False
        self.failed(node, fault, writes=writes)
        if leaves and fault.may_have_happened:
            self.left(node, leaves)
        return True

    def failed(self, node: str, fault: Fault, *, writes: bool = False) -> None:
        """A node did not answer, or refused."""
        with self._lock:
            breaker, now = self._state[node].breaker, self.now()
            if fault.refuses_writes and not writes:
                news = breaker.refused(fault.reason, now)
            else:
                news = breaker.failed(fault.reason, now, slow=fault.is_slow)
                self._troubled = max(self._troubled, 1)  # so that `answered` is told
            self._count_locked()
        if news:
            self.alarm()

    def _count_locked(self) -> None:
        now = self.now()
        self._troubled = sum(
            state.epoch is None or state.breaker.is_troubled or bool(state.missed)
            or state.breaker.is_new(now, 2 * STAND_IN_S)
            for state in self._state.values()
        )

    def recount(self) -> None:
        """Look again who is in trouble: time passes."""
        with self._lock:
            self._count_locked()

    def missed(self, node: str, *, keys: Iterable[str] = (), tags: Iterable[str] = ()) -> None:
        """A node was not told of these changes: it must be, before it is asked again."""
        with self._lock:
            state = self._state[node]
            state.missed.add(keys, tags)
            if not state.breaker.down:  # it was asked, and did not do it: it may answer with what is wrong now
                state.breaker.failed("missed", self.now(), slow=False)
            self._count_locked()
        self.alarm()

    def missed_all(self, node: str) -> None:
        """A node was not told that all is forgotten."""
        with self._lock:
            self._state[node].missed.is_all = True
        self.missed(node)

    def take_missed(self, node: str) -> Missed:
        """What the node did not hear, to be told now; what comes meanwhile is kept anew."""
        with self._lock:
            state = self._state[node]
            missed, state.missed = state.missed, Missed()
            return missed

    def heard(self, node: str, items: set[bytes]) -> set[bytes]:
        """Remember what others noted about a node; what of it is new."""
        with self._lock:
            state = self._state[node]
            new = items - state.heard
            state.heard = items
            return new

    def forget_heard(self, node: str) -> None:
        """It was away: whatever was noted, it is told."""
        with self._lock:
            self._state[node].heard = set()

    def away_s(self, node: str) -> float:
        """For how many seconds it has been down."""
        with self._lock:
            return self._state[node].breaker.away_s(self.now())

    def give_back(self, node: str, missed: Missed) -> None:
        """It could not be told."""
        with self._lock:
            kept = self._state[node].missed
            kept.is_all |= missed.is_all
            kept.add(missed.keys, missed.tags)

    # ---------------------------------------------------------------- what lies about

    def left(self, node: str, keys: Iterable[str]) -> None:
        """A lease may lie there that nobody knows to be his: no answer came. Others would wait until it ends, so it is to
        be deleted as soon as the node answers; at worst that costs a load."""
        with self._lock:
            left = self._state[node].left
            if len(left) < MISSED:
                left.update(dict.fromkeys(keys))
        self.alarm()

    def take_left(self, node: str) -> list[str]:
        """The keys whose cells are to be deleted there now."""
        with self._lock:
            state = self._state[node]
            left, state.left = list(state.left), {}
            return left

    def littered(self) -> list[str]:
        """The nodes that are up where something is to be swept away."""
        with self._lock:
            return [name for name, state in self._state.items() if state.left and self.is_up(name)]

    # ---------------------------------------------------------------- epochs, probes

    def epoch(self, node: str) -> int:
        """The namespace's epoch on this node, as far as it is known here."""
        return self._state[node].epoch or 0

    def run(self, node: str) -> str | None:
        """The name of the engine's run that was last seen."""
        return self._state[node].run

    def learn(self, node: str, epoch: int, run: str) -> None:
        with self._lock:
            state = self._state[node]
            has_moved = state.epoch is not None and state.epoch != epoch
            state.epoch, state.run = epoch, run
        if has_moved:
            self.moved()

    def hear(self, node: str, epoch: int, run: str) -> None:
        """Another process says that it moved a node's epoch; it may be old news, or about a run that is over."""
        with self._lock:
            state = self._state.get(node)
            is_news = state is not None and state.run == run and state.epoch is not None and state.epoch < epoch
            if state is not None and is_news:
                state.epoch = epoch
        if is_news:
            self.moved()

    def loading(self, node: str) -> None:
        """A load begins for want of something on this node. It may have been flushed, and its epoch with the rest: what is
        stored under the old one would be worth nothing once the new one is heard of, so that is looked for now, and not
        at the next poll. Bounded to a look in LOOK_S."""
        state, now = self._state[node], self.now()
        if now - state.looked >= LOOK_S:
            state.looked, state.is_suspect = now, True
            self.alarm()

    def suspects(self) -> list[str]:
        """The nodes whose epochs are to be read now; each is named once."""
        with self._lock:
            found = [name for name, state in self._state.items() if state.is_suspect]
            for name in found:
                self._state[name].is_suspect = False
        return [name for name in found if self.is_up(name)]

    def epochs(self) -> dict[str, tuple[int, str]]:
        """{node: (epoch, run)}, of the nodes that were asked."""
        with self._lock:
            return {name: (state.epoch, state.run) for name, state in self._state.items()
                    if state.epoch is not None and state.run is not None}

    def probed(self, node: str, *, answers: bool, takes: bool = False) -> bool:
        """What a probe found; whether the node may be admitted."""
        with self._lock:
            ready = self._state[node].breaker.probed(answers, takes, self.now())
            self._count_locked()
            return ready

    def admit(self, node: str) -> bool:
        """It is up to date; False when it missed something in this very moment."""
        with self._lock:
            state = self._state[node]
            if state.missed:
                return False
            state.breaker.admit(self.now(), first=node in self.unknown)
            self.unknown.discard(node)
            self._count_locked()
            return True

    def news(self) -> list[str]:
        """The nodes that were taken in just now."""
        now = self.now()
        with self._lock:
            return [name for name, state in self._state.items() if state.breaker.is_new(now, STAND_IN_S)]

    def forked(self) -> None:
        """In the child of a fork: another thread may have held the lock."""
        self._lock = threading.RLock()

    def due(self) -> list[str]:
        """The nodes whose probe is due."""
        now = self.now()
        with self._lock:
            return [name for name, state in self._state.items() if state.breaker.is_due(now)]

    def due_in(self, most_s: float) -> float:
        """Seconds until the next probe, at most so many."""
        now = self.now()
        with self._lock:
            waits = [state.breaker.due_in(now) for state in self._state.values()]
        return min([wait for wait in waits if wait is not None], default=most_s)

    def states(self) -> dict[str, tuple[str, str, int]]:
        """{node: ("up", "down", "full" or "unknown", the reason, how often it went down)}."""
        with self._lock:
            return {name: (self._word(state), state.breaker.reason, state.breaker.opened)
                    for name, state in self._state.items()}

    @staticmethod
    def _word(state: _State) -> str:
        if state.breaker.down:
            return "down"
        if state.epoch is None:
            return "unknown"
        return "full" if state.breaker.full else "up"
