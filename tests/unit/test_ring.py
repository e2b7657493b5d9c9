"""HashRing: what it takes, what it answers, what it refuses, and that readers never see half a change."""

import copy
import pickle
import subprocess
import sys
import threading
from fractions import Fraction

import pytest

from samovar import HashRing, RingDiff, RingLoad

NAMES = ["tula", "baku", "riga", "oslo"]
KEYS = [f"key:{i}" for i in range(300)]


def places(ring, keys=KEYS):
    return [ring.get_node(key) for key in keys]


# ------------------------------------------------------------------ asking

def test_ring_gives_each_key_one_node_and_uses_all():
    ring = HashRing(NAMES)
    assert set(places(ring)) == set(NAMES)
    assert ring.nodes == tuple(NAMES) == tuple(ring) and len(ring) == 4
    assert "tula" in ring and "rome" not in ring and 5 not in ring


def test_ring_takes_text_bytes_and_integers_for_keys():
    ring = HashRing([f"n{i}" for i in range(50)])
    for text in ("", "a", "ключ", "x" * 5_000):
        assert ring.get_node(text) == ring.get_node(text.encode())
    for number in (0, 1, 2**63, 2**64 - 1):
        assert ring.get_node(number) == ring.get_node(number.to_bytes(8, "little"))
    assert ring.get_node(-7) == ring.get_node((-7).to_bytes(8, "little", signed=True))
    assert places(ring, range(99)) != places(ring, map(str, range(99)))
    ketama = HashRing(ring.nodes, hash="ketama")
    assert places(ketama, range(-9, 99)) == places(ketama, map(str, range(-9, 99)))


@pytest.mark.parametrize("key, error, words", [
    (None, TypeError, "key must be a str, bytes or int, not NoneType"),
    (1.5, TypeError, "not float"),
    (("a",), TypeError, "not tuple"),
    (bytearray(b"a"), TypeError, "not bytearray"),
    (2**64, ValueError, "key must be an int from -2\\*\\*63 to 2\\*\\*64 - 1"),
    (-2**63 - 1, ValueError, "key must be an int"),
    ("\ud800", UnicodeEncodeError, "surrogates"),
], ids=["None", "float", "tuple", "bytearray", "large", "small", "surrogate"])
def test_ring_refuses_other_keys(key, error, words):
    ring = HashRing(NAMES)
    for ask in (ring.get_node, lambda key: ring.get_nodes(key, 2), lambda key: ring.get_many([key])):
        with pytest.raises(error, match=words):
            ask(key)


def test_get_nodes_begins_with_the_owner_and_repeats_nobody():
    ring = HashRing(NAMES, weights={"tula": 20})
    for key in KEYS:
        order = ring.get_nodes(key, 4)
        assert order[0] == ring.get_node(key) and sorted(order) == sorted(NAMES)
        assert ring.get_nodes(key, 2) == order[:2] and ring.get_nodes(key, 99) == order
        without = ring.copy()
        without.remove_node(order[0])
        assert without.get_nodes(key, 3) == order[1:]  # who takes over is who held the replica


@pytest.mark.parametrize("n, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError), (None, TypeError),
                                      ("2", TypeError)])
def test_get_nodes_refuses_a_number_that_is_none(n, error):
    with pytest.raises(error):
        HashRing(NAMES).get_nodes("key", n)


def test_empty_ring_says_that_it_is_empty():
    ring = HashRing()
    for ask in (lambda: ring.get_node("a"), lambda: ring.get_nodes("a", 1), lambda: ring.get_many(["a"]), ring.load,
                lambda: ring.diff(HashRing(NAMES)), lambda: HashRing(NAMES).diff(ring)):
        with pytest.raises(LookupError, match="the ring is empty"):
            ask()
    assert len(ring) == 0 and ring.nodes == () and ring.weights == {}
    ring.add_node("tula")
    assert ring.get_node("a") == "tula"
    ring.remove_node("tula")
    with pytest.raises(LookupError, match="the ring is empty"):
        ring.get_node("a")


# ------------------------------------------------------------------ what it is made of

@pytest.mark.parametrize("arguments, error, words", [
    ({"nodes": "tula"}, TypeError, "nodes must be several names, not one str"),
    ({"nodes": {"tula": 2}}, TypeError, "not one dict; weights= says what they weigh"),
    ({"nodes": ["a", "b", "a"]}, ValueError, "nodes must differ, 'a' is there twice"),
    ({"nodes": ["a", b"b"]}, TypeError, "node must be a name, a str, not bytes"),
    ({"nodes": ["a", ""]}, ValueError, "node must be a name that is not empty"),
    ({"nodes": ["\ud800"]}, ValueError, "node must be a name that UTF-8 can say"),
    ({"nodes": ["a"], "vnodes": 0}, ValueError, "vnodes must be from 1 to 2\\*\\*28, not 0"),
    ({"nodes": ["a"], "vnodes": 2.5}, TypeError, "vnodes must be a whole number, not 2.5"),
    ({"nodes": ["a"], "vnodes": 2**28 + 1}, ValueError, "vnodes must be"),
    ({"nodes": ["a"], "vnodes": 6, "hash": "ketama"}, ValueError, "a multiple of 4, not 6"),
    ({"nodes": ["a"], "hash": "md5"}, ValueError, "hash must be 'xxh3' or 'ketama', not 'md5'"),
    ({"nodes": ["a"], "hash": None}, ValueError, "hash must be"),
    ({"nodes": ["a"], "weights": {"b": 1}}, ValueError, "weights must be of nodes of the ring, 'b' is none"),
    ({"nodes": ["a"], "weights": [1]}, TypeError, "weights must be a mapping"),
    ({"nodes": ["a", "b"], "weights": {"a": 1e9}}, ValueError, "'a' of weight 1000000000.0 would have"),
    ({"nodes": ["a", "b"], "weights": {"a": 1e9}, "hash": "ketama"}, ValueError, "'b' of weight 1.0 would have 0"),
    *(({"nodes": ["a"], "weights": {"a": wrong}}, ValueError, "weight of 'a' must be a number above 0, not ")
      for wrong in (0, -1, float("nan"), float("inf"), "2", None)),
    *(({"nodes": ["a"], "load_factor": wrong}, ValueError, "load_factor must be a number above 1, not ")
      for wrong in (1, 0.5, float("nan"), float("inf"), "2", True)),
], ids=str)
def test_ring_refuses_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        HashRing(**arguments)


def test_weight_is_a_share_of_the_key_space():
    ring = HashRing(NAMES, weights={"tula": 3, "baku": 0.5}, vnodes=2_000)
    shares = ring.load().shares
    for node, fair in {"tula": 3 / 5.5, "baku": 0.5 / 5.5, "riga": 1 / 5.5, "oslo": 1 / 5.5}.items():
        assert abs(shares[node] - fair) < 0.1 * fair
    assert ring.weights == {"tula": 3, "baku": 0.5, "riga": 1, "oslo": 1}


@pytest.mark.parametrize("names", [
    [f"10.0.0.{i}:6379" for i in range(1, 11)], [f"cache-{i}.example.net:11211" for i in range(10)], list("abcdefghij"),
    [str(i) for i in range(10)], [f"redis://user@node{i:03}/0" for i in range(10)],
], ids=["addresses", "hosts", "letters", "digits", "urls"])
def test_load_of_ten_nodes_is_within_1_3_of_the_mean(names):
    load = HashRing(names).load()
    assert 1 <= load.imbalance <= 1.3
    keys = [HashRing(names).get_node(i) for i in range(20_000)]
    assert max(map(keys.count, names)) / 2_000 <= 1.3


def test_load_adds_up_to_the_whole_circle():
    for nodes in (1, 2, 7, 40):
        load = HashRing([f"n{i}" for i in range(nodes)], vnodes=3).load()
        assert isinstance(load, RingLoad) and sum(load.places.values()) == 2**64
        assert load.imbalance == pytest.approx(max(load.places.values()) * nodes / 2**64)


# ------------------------------------------------------------------ changing

def test_removed_node_gives_up_its_own_keys_and_no_others():
    ring = HashRing([f"n{i}" for i in range(20)])
    before, share = places(ring), ring.load().places["n7"]
    old = ring.copy()
    ring.remove_node("n7")
    assert all(now == was for was, now in zip(before, places(ring)) if was != "n7")
    change = old.diff(ring)
    assert {gives for gives, _ in change.places} == {"n7"} and sum(change.places.values()) == share
    ring.add_node("n7")
    assert places(ring) == before and ring == old and ring.nodes[-1] == "n7"


@pytest.mark.parametrize("kind", ["xxh3", "ketama"])
def test_change_that_is_refused_changes_nothing(kind):
    ring = HashRing(NAMES, hash=kind)
    before = ring.copy()
    for refused, error, words in [
        (lambda: ring.add_node("tula"), ValueError, "node must be new, 'tula' is in the ring"),
        (lambda: ring.add_node("x", weight=0), ValueError, "weight of 'x' must be a number above 0, not 0"),
        (lambda: ring.add_node("x", weight=1e12), ValueError, "weights must give each node a point"),
        (lambda: ring.add_node(7), TypeError, "node must be a name, a str, not int"),
        (lambda: ring.remove_node("rome"), KeyError, "node must be in the ring, 'rome' is not"),
        (lambda: ring.acquire("a"), ValueError, "load_factor must be given to the ring"),
    ]:
        with pytest.raises(error, match=words):
            refused()
    assert ring == before and ring.nodes == before.nodes and places(ring) == places(before)


def test_diff_is_exact_by_arcs():
    old, new = HashRing(NAMES, vnodes=5), HashRing(["tula", "rome", "oslo"], vnodes=7)
    change = old.diff(new)
    assert isinstance(change, RingDiff)
    cuts = sorted({place for ring in (old, new) for place, _ in ring._table.points()})

    def owner(ring, place):
        return next((node for point, node in ring._table.points() if point >= place), ring._table.points()[0][1])

    expected = {}
    for before, place in zip([cuts[-1] - 2**64, *cuts], cuts):
        pair = owner(old, place), owner(new, place)
        if pair[0] != pair[1]:
            expected[pair] = expected.get(pair, 0) + place - before
    assert change.places == expected
    assert change.moved == float(Fraction(sum(expected.values()), 2**64))
    assert change.moves == {pair: count / 2**64 for pair, count in expected.items()}


def test_diff_knows_nothing_and_everything():
    ring = HashRing(NAMES)
    assert ring.diff(HashRing(NAMES[::-1])).places == {} and ring.diff(ring).moved == 0.0
    assert HashRing(["a"]).diff(HashRing(["b"])).places == {("a", "b"): 2**64}
    assert HashRing(["a"], vnodes=1).diff(HashRing(["b"], vnodes=1)).moved == 1.0
    with pytest.raises(TypeError, match="other must be a HashRing, not list"):
        ring.diff(NAMES)
    with pytest.raises(ValueError, match="other must place keys by the same hash, 'xxh3', not 'ketama'"):
        ring.diff(HashRing(NAMES, hash="ketama"))


# ------------------------------------------------------------------ a value among others

@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, HashRing.copy, lambda ring: pickle.loads(pickle.dumps(ring))],
                         ids=["copy", "deepcopy", "method", "pickle"])
@pytest.mark.parametrize("kind", ["xxh3", "ketama"])
def test_copy_is_equal_and_independent(again, kind):
    ring = HashRing(NAMES, vnodes=40, weights={"riga": 2}, load_factor=1.5, hash=kind)
    ring.acquire("key")
    other = again(ring)
    assert other == ring and other.nodes == ring.nodes and other._table.points() == ring._table.points()
    assert (other.vnodes, other.load_factor, other.hash) == (40, 1.5, kind)
    assert not any(other.carried.values())
    other.remove_node("riga")
    assert "riga" in ring and other != ring


def test_rings_are_equal_when_their_parts_are():
    ring = HashRing(NAMES)
    assert ring == HashRing(NAMES[::-1], weights={"tula": 1.0})
    for other in (HashRing(NAMES[:3]), HashRing(NAMES, vnodes=80), HashRing(NAMES, weights={"tula": 2}),
                  HashRing(NAMES, hash="ketama"), HashRing(NAMES, load_factor=2), NAMES, None):
        assert ring != other
    with pytest.raises(TypeError, match="unhashable"):
        hash(ring)


def test_repr_says_what_the_ring_is_made_of():
    assert repr(HashRing(["a", "b"])) == "<HashRing of 2 nodes ['a', 'b'], vnodes=160, hash='xxh3'>"
    assert repr(HashRing(map(str, range(9)), load_factor=2)).endswith("'5', ...], vnodes=160, hash='xxh3', load_factor=2.0>")


# ------------------------------------------------------------------ bounded load

def test_load_factor_sends_the_crowd_of_one_key_to_the_next_nodes():
    ring = HashRing(NAMES, load_factor=1.25)
    order = ring.get_nodes("hot", 4)
    taken = [ring.acquire("hot") for _ in range(100)]
    assert taken[0] == order[0] and [taken.count(node) for node in order] == [32, 31, 31, 6]  # 32 is 1.25 x 25, rounded up
    for node in taken:
        ring.release(node)
    assert not any(ring.carried.values()) and ring.get_node("hot") == order[0]


def test_assigned_key_keeps_its_node_until_the_node_leaves():
    ring = HashRing(NAMES, load_factor=1.5)
    where = {key: ring.assign(key) for key in KEYS}
    assert ring.assigned == where == {key: ring.get_node(key) for key in KEYS}
    moved = ring.remove_node("riga")
    assert {key for key, node in where.items() if node == "riga"} <= moved.keys()
    assert ring.assigned == where | moved and sum(ring.carried.values()) == len(KEYS)
    for key in KEYS:
        ring.unassign(key)
    assert ring.assigned == {} and not any(ring.carried.values())


def test_bounded_ring_refuses_to_end_what_never_began():
    ring = HashRing(NAMES, load_factor=1.5)
    ring.assign("key")
    with pytest.raises(ValueError, match="node must have work in flight that was acquired, 'tula' has none"):
        ring.release("tula")
    with pytest.raises(KeyError, match="key must be assigned, 'other' is not"):
        ring.unassign("other")
    with pytest.raises(TypeError, match="key must be a str, bytes or int"):
        ring.assign(None)
    node = ring.acquire("key")
    ring.remove_node(node)
    ring.release(node)  # work on a node that has left ends in peace, once
    with pytest.raises(ValueError, match="has none"):
        ring.release(node)


# ------------------------------------------------------------------ threads

def test_readers_see_the_ring_before_or_after_a_change_and_never_half_of_it():
    small, large = HashRing(NAMES), HashRing([*NAMES, "rome"])
    allowed = {key: {small.get_node(key), large.get_node(key)} for key in KEYS}
    ring, wrong, done, start = HashRing(NAMES), [], threading.Event(), threading.Barrier(4)

    def read():
        start.wait(30)
        while not done.is_set():
            wrong.extend(key for key in KEYS if ring.get_node(key) not in allowed[key])

    crowd = [threading.Thread(target=read) for _ in range(3)]
    for thread in crowd:
        thread.start()
    start.wait(30)
    for _ in range(300):
        ring.add_node("rome")
        ring.remove_node("rome")
    done.set()
    for thread in crowd:
        thread.join(60)
    assert not wrong and ring == small


def test_get_many_names_the_extra_when_numpy_is_missing():
    code = ("import sys; sys.modules['numpy'] = None\n"
            "from samovar import HashRing\n"
            "try: HashRing(['a']).get_many(['k'])\n"
            "except ImportError as error: print(type(error).__name__, error)")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "MissingExtra get_many answers with a NumPy array: pip install 'samovar[numpy]'"
