"""The ring beside its twin: any nodes that come and go, any keys; and load that is bounded at every moment."""

from math import ceil

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from samovar import HashRing
from twins.ring import Ring

NAMES = st.text("abcdé茶-:.0123456789", min_size=1, max_size=20)
KEYS = st.one_of(st.text(max_size=30).filter(lambda key: not any(0xD800 <= ord(c) < 0xE000 for c in key)),
                 st.integers(-2**63, 2**64 - 1))
SAMPLE = [*(f"key:{i}" for i in range(60)), *range(20)]


class RingMachine(RuleBasedStateMachine):
    @initialize(vnodes=st.sampled_from([1, 4, 16]), kind=st.sampled_from(["xxh3", "ketama"]))
    def begin(self, vnodes, kind):
        vnodes = vnodes if kind == "xxh3" else 16
        self.ring, self.twin, self.kind = HashRing(vnodes=vnodes, hash=kind), Ring(vnodes, kind), kind

    @precondition(lambda self: len(self.twin.weights) < 12)
    @rule(name=NAMES, weight=st.sampled_from([1, 1, 1, 0.5, 2, 3.25]))
    def add(self, name, weight):
        weight = weight if self.kind == "xxh3" else 1
        if name in self.twin.weights:
            return
        before = {key: self.ring.get_node(key) for key in SAMPLE} if self.twin.weights else {}
        self.ring.add_node(name, weight)
        self.twin.weights[name] = weight
        assert all(self.ring.get_node(key) in (node, name) for key, node in before.items())

    @precondition(lambda self: self.twin.weights)
    @rule(data=st.data())
    def remove(self, data):
        name = data.draw(st.sampled_from(list(self.twin.weights)))
        before, old = {key: self.ring.get_node(key) for key in SAMPLE}, self.ring.copy()
        self.ring.remove_node(name)
        del self.twin.weights[name]
        if self.twin.weights:
            assert all(self.ring.get_node(key) == node for key, node in before.items() if node != name)
            change = old.diff(self.ring)
            assert {gives for gives, _ in change.places} <= {name}
            assert sum(change.places.values()) == old.load().places[name]

    @precondition(lambda self: self.twin.weights)
    @rule(key=KEYS, n=st.integers(1, 13))
    def ask(self, key, n):
        order = self.twin.order(key)
        assert self.ring.get_node(key) == order[0]
        assert self.ring.get_nodes(key, n) == order[:n]

    @invariant()
    def has_the_points_of_the_twin(self):
        self.ring._table.check()
        assert self.ring._table.points() == [(place, node) for place, _, node in self.twin.points()]
        assert self.ring.nodes == tuple(self.twin.weights)


class BoundedMachine(RuleBasedStateMachine):
    """Assigned keys alone: no node ever carries more than ceil(load factor x mean), whatever comes and goes."""

    @initialize(nodes=st.integers(1, 8), factor=st.sampled_from([1.01, 1.1, 1.25, 2.0]))
    def begin(self, nodes, factor):
        self.ring = HashRing([f"n{i}" for i in range(nodes)], load_factor=factor, vnodes=8)
        self.factor, self.where = factor, {}

    @rule(number=st.integers(0, 60), many=st.integers(1, 12))
    def assign(self, number, many):
        for key in range(number, number + many):
            node = self.ring.assign(key)
            assert self.where.setdefault(key, node) == node == self.ring.get_node(key)

    @precondition(lambda self: self.where)
    @rule(data=st.data())
    def unassign(self, data):
        for key in data.draw(st.lists(st.sampled_from(sorted(self.where)), unique=True, max_size=20)):
            del self.where[key]
            self.where.update(self.ring.unassign(key))

    @precondition(lambda self: len(self.ring) < 10)
    @rule(number=st.integers(0, 30))
    def add(self, number):
        if f"n{number}" not in self.ring:
            self.where.update(self.ring.add_node(f"n{number}"))

    @precondition(lambda self: len(self.ring) > 1)
    @rule(data=st.data())
    def remove(self, data):
        self.where.update(self.ring.remove_node(data.draw(st.sampled_from(self.ring.nodes))))

    @invariant()
    def nobody_carries_more_than_the_bound(self):
        carried = self.ring.carried
        assert self.ring.assigned == self.where
        assert carried == {node: sum(at == node for at in self.where.values()) for node in self.ring.nodes}
        assert max(carried.values()) <= ceil(self.factor * len(self.where) / len(self.ring) - 1e-9)


class FlightMachine(RuleBasedStateMachine):
    """Work in flight: whoever takes a piece is within the bound at that moment, and every piece is counted once."""

    @initialize(factor=st.sampled_from([1.1, 1.25, 3.0]))
    def begin(self, factor):
        self.ring = HashRing(["a", "b", "c", "d"], load_factor=factor, weights={"d": 2})
        self.factor, self.flying = factor, []

    @rule(key=st.integers(0, 9), many=st.integers(1, 9))
    def acquire(self, key, many):
        for _ in range(many):
            chosen = self.ring.get_node(key)
            self.flying.append(self.ring.acquire(key))
            assert self.flying[-1] == chosen
            carried, weights = self.ring.carried, self.ring.weights
            fair = sum(carried.values()) * weights[chosen] / sum(weights.values())
            assert carried[chosen] <= ceil(self.factor * fair - 1e-9)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def release(self, data):
        at = data.draw(st.integers(0, len(self.flying) - 1))
        self.ring.release(self.flying.pop(at))

    @rule(name=st.sampled_from("abcdef"))
    def come_or_go(self, name):
        if name not in self.ring:
            self.ring.add_node(name)
        elif len(self.ring) > 1:
            self.ring.remove_node(name)

    @invariant()
    def every_piece_is_counted_once(self):
        here = [node for node in self.flying if node in self.ring]
        assert self.ring.carried == {node: here.count(node) for node in self.ring.nodes}


for machine in (RingMachine, BoundedMachine, FlightMachine):
    machine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestRingMachine, TestBoundedMachine, TestFlightMachine = RingMachine.TestCase, BoundedMachine.TestCase, FlightMachine.TestCase
