"""get_many: the same nodes as one by one, for every kind of array and sequence, without the GIL."""

import threading
from array import array

import pytest

from samovar import HashRing

numpy = pytest.importorskip("numpy")
TEXTS = ["", "a", "ключ", "茶" * 9, "🫖", "user:1", "x" * 300, "trailing ", "nul\0inside"]


@pytest.fixture(params=["xxh3", "ketama"])
def ring(request):
    return HashRing([f"10.0.0.{i}:11211" for i in range(30)], hash=request.param)


def one_by_one(ring, keys):
    return [ring.nodes.index(ring.get_node(key)) for key in keys]


def test_get_many_of_a_sequence_is_one_by_one(ring):
    keys = [*TEXTS, *(text.encode() for text in TEXTS), 0, -1, 2**64 - 1, numpy.int8(3), numpy.str_("s")]
    for sequence in (keys, tuple(keys), iter(keys), numpy.array(keys, dtype=object)):
        found = ring.get_many(sequence)
        assert found.dtype == numpy.int32 and found.tolist() == one_by_one(ring, keys)
    assert ring.get_many([]).shape == (0,)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", ">i8", "u1", "u4", "u8", ">u2"])
def test_get_many_of_integers_is_one_by_one(ring, dtype):
    keys = numpy.arange(100, 250).astype(dtype)
    assert ring.get_many(keys).tolist() == one_by_one(ring, keys.tolist())
    edges = numpy.array([numpy.iinfo(dtype).min, numpy.iinfo(dtype).max], dtype=dtype)
    assert ring.get_many(edges).tolist() == one_by_one(ring, edges.tolist())


@pytest.mark.parametrize("order", ["=", ">", "<"])
def test_get_many_of_text_is_one_by_one(ring, order):
    keys = numpy.array(TEXTS)
    assert ring.get_many(keys.astype(keys.dtype.newbyteorder(order))).tolist() == one_by_one(ring, TEXTS)


def test_get_many_of_bytes_is_one_by_one(ring):
    keys = [text.encode() for text in TEXTS]
    assert ring.get_many(numpy.array(keys)).tolist() == one_by_one(ring, keys)


def test_get_many_of_many_keys_is_one_by_one():
    ring = HashRing([f"n{i}" for i in range(700)])
    for keys in (numpy.arange(3_001), numpy.array([f"key {i}" for i in range(3_001)])):
        assert ring.get_many(keys).tolist() == one_by_one(ring, keys.tolist())


def test_get_many_keeps_the_shape_and_takes_any_strides(ring):
    keys = numpy.arange(24, dtype="u8").reshape(2, 3, 4)
    found = ring.get_many(keys)
    assert found.shape == (2, 3, 4) and found.ravel().tolist() == one_by_one(ring, range(24))
    assert (ring.get_many(keys.T) == found.T).all() and (ring.get_many(keys[:, ::2]) == found[:, ::2]).all()
    frozen = keys.copy()
    frozen.flags.writeable = False
    assert (ring.get_many(frozen) == found).all() and ring.get_many(keys[:0]).shape == (0, 3, 4)
    objects = numpy.array([["a", b"b"], [3, "d"]], dtype=object)
    assert ring.get_many(objects).shape == (2, 2)


@pytest.mark.parametrize("keys, error, words", [
    ("text", TypeError, "keys must be a sequence of keys, not one str"),
    (b"bytes", TypeError, "keys must be a sequence of keys, not one bytes"),
    (5, TypeError, "not iterable"),
    ([1, 2.5], TypeError, "key must be a str, bytes or int, not float"),
    ([2**64], ValueError, "key must be an int from"),
    (numpy.array([1.5]), TypeError, "keys must be an array of text, bytes or integers, not of float64"),
    (numpy.array([True]), TypeError, "not of bool"),
    (numpy.array([0], dtype="M8[s]"), TypeError, "not of datetime64"),
    (numpy.array([0x61, 0xD800], dtype="u4").view("U1"), ValueError, "keys must be Unicode text: keys\\[1\\] is none"),
], ids=["str", "bytes", "int", "float", "large", "floats", "bools", "times", "surrogate"])
def test_get_many_refuses_other_keys(keys, error, words):
    with pytest.raises(error, match=words):
        HashRing(["a", "b"]).get_many(keys)


def test_get_many_numbers_are_those_of_nodes(ring):
    ring.remove_node("10.0.0.3:11211")
    ring.add_node("later:11211")
    keys = [f"k{i}" for i in range(500)]
    assert [ring.nodes[number] for number in ring.get_many(keys)] == [ring.get_node(key) for key in keys]


def is_held(keys):
    """Whether somebody reads the buffer at this moment: then it cannot grow."""
    try:
        keys.append(0)
    except BufferError:
        return True
    keys.pop()
    return False


def seen_at_work(table, keys):
    """Whether this thread came to run while another one looks up keys, which holds their buffer only meanwhile."""
    out, seen = bytearray(4 * len(keys)), False
    thread = threading.Thread(target=lambda: table.find_column(3, keys, 8, out))
    thread.start()
    while thread.is_alive() and not seen:
        seen = is_held(keys)
    thread.join(60)
    return seen


def test_get_many_runs_without_the_gil():
    table, keys = HashRing(["a", "b"], hash="ketama")._table, array("Q", bytes(8_000_000))
    assert any(seen_at_work(table, keys) for _ in range(20))
