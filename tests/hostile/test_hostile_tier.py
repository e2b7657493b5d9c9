"""A stranger who writes to the shared tier: whatever lies under our keys costs loads, and nothing else. No verb raises, no
code runs, no node counts as down, no other key is touched, and nobody is served a value that was not ours."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samovar import Cluster, LocalNode
from samovar.cluster.codec import SignedPickle
from samovar.cluster.drive import run

CODECS = {"msgpack": None, "pickle": SignedPickle(keys={"one": b"k" * 16}, current="one")}


class Trap:
    sprung = 0

    def __reduce__(self):
        return Trap.spring, ()

    @staticmethod
    def spring():
        Trap.sprung += 1


def all_verbs(shop, key, right):
    """Ask in every way: each answers `right`, a miss, or what it was just given."""
    assert shop.get(key, right) == right
    assert shop.peek(key, right) == right
    assert shop.get_many([key, "other"]) in ({"other": "other"}, {key: right, "other": "other"})
    assert shop.touch(key) in (True, False) and shop.expire(key) in (True, False)
    assert shop.add(key, right) in (True, False)
    assert shop.get_or_set(key, lambda: right) == right
    assert shop.get_or_set_many([key, "other"], lambda keys: dict.fromkeys(keys, right)) == {key: right, "other": "other"}
    assert shop.get(key) == right, "a load heals it"
    assert all(state == ("up", "", 0) for state in shop.stats().nodes.values())


@pytest.mark.parametrize("codec", CODECS)
@given(body=st.one_of(st.binary(max_size=120), st.just(pickle.dumps(Trap())), st.just(b"\x80\x05" * 40)))
@settings(max_examples=60)
def test_any_body_under_a_key_is_a_miss(codec, body):
    node = LocalNode("one")
    with Cluster([node], codec=CODECS[codec], lease="5s") as shop:
        shop.set("other", "other")
        run(node.put(shop._tier.wire("tea"), body, 60_000))
        all_verbs(shop, "tea", "right")
    assert Trap.sprung == 0


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.data())
@settings(max_examples=60)
def test_body_that_was_changed_is_a_miss(codec, data):
    node = LocalNode("one")
    with Cluster([node], codec=CODECS[codec]) as shop:
        shop.set("tea", ["right", 1], tags=["t"])
        wire = shop._tier.wire("tea")
        body = bytearray(run(node.read([wire]))[1][0].body)
        for at in data.draw(st.sets(st.integers(0, len(body) - 1), min_size=1, max_size=3)):
            body[at] ^= data.draw(st.integers(1, 255))
        run(node.put(wire, bytes(body), 60_000))
        assert shop.get("tea") is None and shop.get_many(["tea"]) == {}  # the checksum, or the signature
        assert shop.stats().damaged == 2


@pytest.mark.parametrize("codec", CODECS)
def test_body_of_another_key_or_namespace_is_a_miss(codec):
    """Copied whole, token and all, from where it is right."""
    node = LocalNode("one")
    words = {"codec": CODECS[codec]}
    with Cluster([node], namespace="one", **words) as one, Cluster([node], namespace="two", **words) as two:
        one.set("tea", "of one")
        two.set("coffee", "of two")
        body = run(node.read([one._tier.wire("tea")]))[1][0].body
        for shop, key in ((two, "tea"), (one, "coffee"), (two, "coffee")):
            run(node.put(shop._tier.wire(key), body, 60_000))
            assert shop.get(key) is None and shop.get_or_set(key, lambda: "loaded") == "loaded"


@given(st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=40), st.integers(), st.tuples(st.text(max_size=5))),
                unique_by=lambda key: (type(key), key), max_size=6))
@settings(max_examples=25)
def test_keys_of_any_characters_are_different_keys_and_say_nothing_to_the_engine(keys):
    """Control characters, separators, the names of fences and counters: each is one key, in its own namespace."""
    keys = [*keys, "tea\r\nflush_all\r\n", "tea|fence", "|epoch", "two:1:stea", "\0", " ", "x" * 5000]
    keys = list({(type(key), key): key for key in keys}.values())
    node = LocalNode("one")
    with Cluster([node], namespace="one") as one, Cluster([node], namespace="one:1") as nested:
        wires = [cluster._tier.wire(key) for cluster in (one, nested) for key in keys]
        assert len(set(wires)) == len(wires)
        assert all(wire.isascii() and wire.isprintable() and " " not in wire and "|" not in wire and len(wire) <= 200
                   for wire in wires)
        for number, key in enumerate(keys):
            one.set(key, number)
        for number, key in enumerate(keys):
            assert one.get(key) == number and nested.get(key) is None


def test_namespaces_of_any_characters_do_not_reach_into_each_other():
    node, names = LocalNode("one"), ["two words", "a|b", "line\n", "\0", "a", "a:1", "a:1:sb", "é", "x" * 90]
    wires = set()
    for number, name in enumerate(names):
        with Cluster([node], namespace=name, schema=1) as shop:
            wires |= {shop._tier.wire(key) for key in ("b", "1:sb", ":1:sb", "sb")}
            shop.set("b", number)
    assert len(wires) == 4 * len(names) and all(wire.isascii() and wire.isprintable() and " " not in wire for wire in wires)
    for number, name in enumerate(names):
        with Cluster([node], namespace=name, schema=1) as shop:
            assert shop.get("b") == number and shop.get("1:sb") is None
    with pytest.raises(TypeError, match="namespace"):
        Cluster([node], namespace="")
