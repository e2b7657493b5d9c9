"""The codec: what goes in comes out, nothing else goes in, and damage is refused whatever it claims."""

import collections
import datetime
import decimal
import enum
import math
import pickle
import tracemalloc
import uuid

import pytest
from hypothesis import example, given, settings, strategies as st

from samovar._base.codecs import MAX_DEPTH, Reader, Unsupported, decode, encode, encode_into

offsets = st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23))
zones = st.none() | st.just(datetime.timezone.utc) | offsets.map(datetime.timezone) \
    | st.builds(datetime.timezone, offsets, st.text(max_size=5))
surrogates = st.text(st.characters(), max_size=80)  # lone surrogates too
hashable_leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-2**600, 2**600), st.floats(allow_nan=False), surrogates, st.text(),
    st.binary(max_size=200), st.decimals(allow_nan=False), st.uuids(), st.dates(), st.timedeltas(),
    st.times(timezones=zones), st.datetimes(timezones=zones),
)
hashables = st.recursive(hashable_leaves, lambda inner: st.lists(inner, max_size=4).map(tuple)
                         | st.frozensets(inner, max_size=4), max_leaves=8)
plain = st.recursive(
    hashables | st.binary(max_size=20).map(bytearray),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple)
    | st.dictionaries(hashables, inner, max_size=4) | st.sets(hashables, max_size=4), max_leaves=12)


def same(one, other):
    """Equal, and of the same types all the way down (1 == 1.0 == True, and a zone's name counts as well)."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, other) and one == other
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (set, frozenset)):
        return one == other and collections.Counter(map(type, one)) == collections.Counter(map(type, other))
    if isinstance(one, (datetime.time, datetime.datetime)):
        return one == other and one.fold == other.fold and repr(one) == repr(other)
    if isinstance(one, decimal.Decimal):
        return one.as_tuple() == other.as_tuple()
    return one == other


def nested(depth, leaf=None):
    value = leaf
    for _ in range(depth):
        value = [value]
    return value


# ------------------------------------------------------------------ round trips

@given(plain)
@settings(max_examples=400)
@example([0, 63, 64, -1, 127, 128, -128, -129, 2**63, -(2**63), 2**64])
@example([-0.0, math.inf, -math.inf, 5e-324])
@example(["", "x" * 63, "x" * 64, "\ud800", "\ud83d\ude00", "\0"])
@example([decimal.Decimal(text) for text in ("0", "-0", "1E+999999", "1.10", "Infinity", "-Infinity", "0E-50")])
@example([datetime.datetime.min, datetime.datetime.max, datetime.date.min, datetime.date.max, datetime.time.max])
@example([datetime.timedelta.min, datetime.timedelta.max, datetime.timedelta.resolution])
@example(datetime.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "CET")))
@example({1: "int", "1": "str", (1,): "tuple", b"1": {"deep": [set(), frozenset(), {}, (), []]}})
def test_plain_value_comes_back_as_it_was(value):
    payload = encode(value)
    assert type(payload) is bytes
    assert same(decode(payload), value)


def test_not_a_number_comes_back_with_its_payload():
    assert math.isnan(decode(encode(math.nan)))
    for text in ("NaN", "sNaN", "-NaN123"):
        assert str(decode(encode(decimal.Decimal(text)))) == text
    many = {float("nan"): 1, float("nan"): 2}
    assert sorted(decode(encode(many)).values()) == [1, 2]


def test_decimal_does_not_depend_on_the_context_of_the_caller():
    number = decimal.Decimal("1.23456789E+40")
    with decimal.localcontext(decimal.Context(prec=2, capitals=0, Emax=3, traps=[])):
        assert decode(encode(number)) == number
        payload = encode(number)
        with pytest.raises(ValueError):
            decode(payload.replace(b".", b"!"))


@given(st.lists(plain, max_size=5))
def test_values_follow_each_other_in_one_buffer(values):
    out = bytearray()
    for value in values:
        encode_into(out, value)
    reader = Reader(bytes(out))
    assert all(same(reader.value(), value) for value in values)
    assert reader.at == len(out)


def test_small_values_are_small():
    assert [len(encode(value)) for value in (None, True, 0, 63, "", "x" * 63, 1000, 1.5, ())] == [1, 1, 1, 1, 1, 64, 4, 9, 2]


def test_one_object_twice_comes_back_as_two_that_are_equal():
    one = ["shared"]
    first, second = decode(encode([one, one]))
    assert first == second == one and first is not second


# ------------------------------------------------------------------ what is refused

class Colour(enum.IntEnum):
    """An int that would come back as a plain one."""

    RED = 1


class Pair(collections.namedtuple("Pair", "a b")):
    """A tuple that would come back as a plain one."""


class Zone(datetime.tzinfo):
    """A time zone that is code."""

    def utcoffset(self, moment):
        return datetime.timedelta(0)


@pytest.mark.parametrize("value, name", [
    (object(), "builtins.object"), (len, "builtins.builtin_function_or_method"), (1j, "builtins.complex"),
    (Colour.RED, "test_codecs.Colour"), (Pair(1, 2), "test_codecs.Pair"), (range(3), "builtins.range"),
    (collections.OrderedDict(), "collections.OrderedDict"), (memoryview(b""), "builtins.memoryview"), (int, "builtins.type"),
    (datetime.datetime.min.replace(tzinfo=Zone()), "test_codecs.Zone"), (datetime.time(tzinfo=Zone()), "test_codecs.Zone"),
])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"k": (1, value)}])
def test_other_type_is_refused_by_name(value, name, wrap):
    with pytest.raises(Unsupported, match=name.replace(".", r"\.") + " is not plain data"):
        encode(wrap(value))


def test_nesting_is_limited_alike_in_both_directions():
    assert decode(encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(Unsupported, match="nested deeper than 100"):
        encode(nested(MAX_DEPTH + 1))
    with pytest.raises(ValueError, match="^damaged.*nested deeper than 100"):
        decode(b"\x0a\x01" * (MAX_DEPTH + 1) + b"\x00")
    with pytest.raises(ValueError, match="^damaged.*nested deeper than 100"):
        decode(b"\x0b\x01\x00" * 100_000)


def test_value_that_contains_itself_is_refused():
    circle = []
    circle.append({"again": circle})
    with pytest.raises(Unsupported, match="contains itself"):
        encode(circle)


# ------------------------------------------------------------------ damage

@given(st.binary(max_size=60))
@settings(max_examples=1000)
def test_any_bytes_are_a_value_or_refused(payload):
    try:
        value = decode(payload)
    except ValueError as error:
        assert str(error).startswith("damaged: ")
    else:
        encode(value)  # what was read can be written


@given(plain, st.data())
@settings(max_examples=400)
def test_changed_bytes_are_a_value_or_refused(value, data):
    payload = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(payload))
    except ValueError as error:
        assert str(error).startswith("damaged: ")


@given(plain)
def test_every_shorter_or_longer_form_is_refused(value):
    payload = encode(value)
    for size in range(len(payload)):
        with pytest.raises(ValueError, match="^damaged: "):
            decode(payload[:size])
    with pytest.raises(ValueError, match="^damaged: "):
        decode(payload + b"\x00")


HOSTILE = [
    *(bytes([tag]) + size for tag in (3, 5, 6, 7, 8, 9, 10, 11, 12, 13)
      for size in (b"\xff\xff\xff\xff\x0f", b"\xff" * 8 + b"\x7f", b"\xff" * 9 + b"\x01", b"\x80" * 1000, b"\xff" * 1000)),
    *(bytes([tag]) for tag in range(0x13, 0x80)),  # tags without a meaning
    b"",
    b"\x0b\x01\x0a\x00\x00",  # a dict with a list as its key
    b"\x0c\x02\x01\x01", b"\x0b\x02\x01\x00\x01\x00", b"\x0c\x02\x80\x01",  # twice the same; 0 and False
    b"\x0c\x01\x08\x04sNaN",  # a signalling NaN has no hash
    b"\x05\x01\xff", b"\x08\x01\xff", b"\x08\x03abc", b"\xc1\x80",  # no UTF-8, no ASCII, no number
    b"\x08\x18" + b"1E" + b"9" * 22,  # an exponent out of bounds
    b"\x0e\x00\x00\x00\x00", b"\x0e\xff\xff\xff\xff",  # days before the first and after the last
    b"\x0f" + b"\xff" * 8 + b"\x00", b"\x10" + b"\xff" * 12 + b"\x00",  # times past midnight
    b"\x0f" + b"\x00" * 8 + b"\x80", b"\x0f" + b"\x00" * 8 + b"\x09\x01\x80", b"\x0f" + b"\x00" * 8 + b"\x09\x00",  # no zones
    b"\x0f" + b"\x00" * 8 + b"\x09\x01" + encode(datetime.timedelta(days=1)),  # a zone a day away
    b"\x11\x00", b"\x11\x02", b"\x11\x03\x10" + b"\x7f" * 16,  # a timedelta that is none, or too long
    pickle.dumps([1, 2]),
]


@pytest.mark.parametrize("payload", HOSTILE, ids=lambda payload: payload[:12].hex())
def test_hostile_bytes_are_refused_without_much_memory(payload):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="^damaged: "):
            decode(payload)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_uuid_is_read_by_its_bytes():
    number = uuid.UUID(int=5)
    assert decode(b"\x12" + number.bytes) == number
