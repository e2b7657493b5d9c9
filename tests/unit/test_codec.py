"""Codecs, secrets, and names for keys."""

import re

import pytest
from hypothesis import given, strategies as st

from samovar._base import extras
from samovar._base.errors import MissingExtra
from samovar.cluster.codec import KeyMaker, Msgpack, SignedPickle
from samovar.cluster.node import check_key

keys = (st.text() | st.integers() | st.binary() | st.booleans() | st.none() | st.floats(allow_nan=False)
        | st.tuples(st.text(), st.integers()))


@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), st.integers(0, 3) | st.text(min_size=1, max_size=3), keys),
                min_size=2, max_size=6))
def test_names_of_different_keys_are_different(places):
    made = {}
    for namespace, schema, key in places:
        name = KeyMaker(namespace, schema)(key)
        check_key(name)
        same = (namespace, str(schema), type(key), repr(key))
        assert made.setdefault(name, same) == same


@given(st.text())
def test_names_of_tags_are_no_names_of_keys(text):
    name = KeyMaker("shop")
    check_key(name.tag(text))
    assert name.tag(text) != name(text)


def test_names_tell_types_apart():
    name = KeyMaker("shop")
    assert len({name(key) for key in (1, "1", b"1", 1.0, True, (1,), None, "i1", 10**30, -(10**30), "", b"")}) == 12


@given(st.lists(keys | st.text(st.characters(min_codepoint=32, max_codepoint=126)) | st.sampled_from(["x" * 193, "x" * 192])))
def test_names_of_a_batch_are_those_of_each(batch):
    name = KeyMaker("shop")
    assert name.many(batch) == [name(key) for key in batch]
    texts = [key for key in batch if type(key) is str]
    assert name.many(texts) == [name(text) for text in texts]


def test_namespaces_do_not_reach_into_each_other():
    assert KeyMaker("a", "b:1")("k") != KeyMaker("a:b", 1)("k") != KeyMaker("a", "b")("1:k")
    assert KeyMaker("a")("1:sx") != KeyMaker("a:1")("x") != KeyMaker("a:1:s")("x")
    assert KeyMaker("a%3A1")("x") != KeyMaker("a:1")("x")


def test_name_is_readable_where_it_may_be_and_hashed_elsewhere():
    name = KeyMaker("shop")
    assert name("user/7?x=1") == "shop:1:suser/7?x=1"
    for key in ("two words", "a|b", "é", "line\r\nflush_all", "x" * 200, "\0", "del\x7f", "\ud800"):
        assert re.fullmatch(r"shop:1:S[0-9a-f]{40}", name(key)), key


def test_key_maker_refuses_what_names_nothing():
    for namespace in ("", b"x", None):
        with pytest.raises(TypeError, match="namespace must be a str"):
            KeyMaker(namespace)
    for schema in ("", 1.5, True, None):
        with pytest.raises(TypeError, match="schema must be an int or a str"):
            KeyMaker("shop", schema)
    with pytest.raises(ValueError, match="fit 100 characters"):
        KeyMaker("é" * 40)
    with pytest.raises(TypeError, match="not plain data"):
        KeyMaker("shop")(object())
    with pytest.raises(TypeError, match="a tag must be a str"):
        KeyMaker("shop").tag(1)


@pytest.mark.parametrize("words, error, about", [
    ({"keys": {}, "current": "a"}, TypeError, "keys must map"),
    ({"keys": ["a"], "current": "a"}, TypeError, "keys must map"),
    ({"keys": {"": b"x" * 16}, "current": ""}, ValueError, "a key's name"),
    ({"keys": {"é": b"x" * 16}, "current": "é"}, ValueError, "a key's name"),
    ({"keys": {"a": "x" * 16}, "current": "a"}, TypeError, "the secret 'a' must be bytes"),
    ({"keys": {"a": b"short"}, "current": "a"}, ValueError, "at least 16 bytes, not 5"),
    ({"keys": {"a": b"x" * 16}, "current": "b"}, ValueError, "current must be the name"),
], ids=lambda words: str(words)[:30] if isinstance(words, str | dict) else words.__name__)
def test_secrets_that_are_none_are_refused_without_being_told(words, error, about):
    for codec in (SignedPickle, Msgpack):
        with pytest.raises(error, match=about) as raised:
            codec(**words)
        assert "xxxx" not in str(raised.value) and "short" not in str(raised.value)


def test_secrets_are_not_shown():
    assert "xxxx" not in repr(SignedPickle(keys={"a": b"x" * 16}, current="a").secrets)


def test_missing_package_names_its_extra(monkeypatch):
    def gone(module):
        raise ImportError(module)

    monkeypatch.setattr(extras.importlib, "import_module", gone)
    with pytest.raises(MissingExtra, match=r"Msgpack needs msgspec: pip install 'samovar\[redis\]'"):
        Msgpack()
    assert extras.wanted("zstandard") is None
