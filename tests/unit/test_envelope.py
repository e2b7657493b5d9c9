"""Envelopes: what was sealed is opened as it was, and whatever else comes is Damaged, never an exception and never code."""

import dataclasses
import math
import pickle
import random
import struct

import pytest
from hypothesis import given, settings, strategies as st

from samovar._base.missing import MISSING
from samovar._core import plain_bodies, xxh3
from samovar.cluster.codec import Msgpack, SignedPickle, Zstd
from samovar.cluster.envelope import _SUM_AT, _HEAD, Damaged, Envelope, Sealer

zstandard = pytest.importorskip("zstandard")  # and msgspec: both are in the test group where they have wheels

KEYS = {"old": b"o" * 16, "new": b"n" * 32}
CODECS = {
    "msgpack": Msgpack(),
    "signed msgpack": Msgpack(keys=KEYS, current="new"),
    "signed pickle": SignedPickle(keys=KEYS, current="new"),
}
NAME = "shop:1:stea"
LARGE = {"rows": [{"id": number, "name": "tea " * 5} for number in range(200)]}

lengths = st.floats(0, allow_nan=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2**63, 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12)
envelopes = st.builds(
    Envelope, value=plain, created=st.floats(0, 4e9), soft_s=lengths, hard_s=lengths, cost_s=lengths,
    epoch=st.integers(0, 2**64 - 1),
    tags=st.lists(st.tuples(st.text(max_size=60), st.integers(0, 2**64 - 1)), max_size=3).map(tuple))


@pytest.fixture(params=CODECS)
def sealer(request):
    return Sealer(CODECS[request.param])


def sealed_again(payload, name=NAME):
    """With a sum that fits: what a stranger can do who knows the format."""
    start, rest = payload[:_SUM_AT], payload[_SUM_AT + 4:]
    fits = xxh3(rest, xxh3(name.encode() + start)) & 0xFFFF_FFFF
    return start + fits.to_bytes(4, "big") + rest


@pytest.mark.parametrize("codec", CODECS)
@given(envelope=envelopes)
@settings(max_examples=60)
def test_envelope_opens_as_it_was_sealed(codec, envelope):
    sealer = Sealer(CODECS[codec])
    assert sealer.open(NAME, sealer.seal(NAME, envelope)) == envelope


def test_envelope_keeps_for_ever_for_ever(sealer):
    envelope = Envelope(None, 1.5e9, math.inf, math.inf)
    assert sealer.open(NAME, sealer.seal(NAME, envelope)) == envelope


def test_large_body_is_compressed_and_a_dense_one_is_not(sealer):
    envelope = Envelope(LARGE, 1.5e9, 1.0, 2.0)
    payload = sealer.seal(NAME, envelope)
    assert len(payload) < len(Sealer(sealer._codec, compress=False).seal(NAME, envelope)) / 4
    assert sealer.open(NAME, payload) == envelope
    dense = random.Random(1).randbytes(5000)
    assert len(sealer.seal(NAME, envelope._replace(value=dense))) > 5000
    assert sealer.open(NAME, sealer.seal(NAME, envelope._replace(value=dense))).value == dense


@pytest.mark.parametrize("codec", CODECS)
@given(envelope=envelopes, other_epoch=st.booleans(), later=st.floats(-100, 100))
@settings(max_examples=60)
def test_plain_value_is_that_of_the_envelope_or_missing(codec, envelope, other_epoch, later):
    sealer, wall = Sealer(CODECS[codec]), envelope.created + later
    epoch = envelope.epoch ^ other_epoch
    value = sealer.plain(NAME, sealer.seal(NAME, envelope), epoch, wall)
    assert value == (envelope.value if has_no_more_to_it(envelope, epoch, wall) else MISSING)


def has_no_more_to_it(envelope, epoch, wall):
    age_s = max(0.0, wall - envelope.created)
    return not envelope.tags and envelope.epoch == epoch and age_s < min(envelope.soft_s, envelope.hard_s)


def test_compressed_value_is_plain_too(sealer):
    envelope = Envelope(LARGE, 1.5e9, 60.0, 120.0, 0.5, 9)
    payload = sealer.seal(NAME, envelope)
    assert sealer.plain(NAME, payload, 9, 1.5e9 + 59) == LARGE
    assert sealer.plain(NAME, payload, 9, 1.5e9 + 60) is sealer.plain(NAME, payload, 8, 1.5e9) is MISSING
    assert sealer.plain(NAME, payload[:-1], 9, 1.5e9) is MISSING


@pytest.mark.parametrize("codec", CODECS)
@given(payload=st.binary(max_size=400))
@settings(max_examples=200)
def test_any_bytes_are_damaged(codec, payload):
    assert type(Sealer(CODECS[codec]).open(NAME, payload)) is Damaged


@pytest.mark.parametrize("value", [7, LARGE], ids=["small", "compressed"])
def test_every_flipped_bit_is_found(sealer, value):
    payload = sealer.seal(NAME, Envelope(value, 1.5e9, 60.0, 120.0, 0.5, 9, (("teas", 4),)))
    for at in range(len(payload)):
        for bit in range(8):
            flipped = bytearray(payload)
            flipped[at] ^= 1 << bit
            assert type(sealer.open(NAME, bytes(flipped))) is Damaged, (at, bit)


def test_every_cut_and_every_addition_is_found(sealer):
    payload = sealer.seal(NAME, Envelope([1, "two"], 1.5e9, 60.0, 120.0, 0.5, 9, (("teas", 4),)))
    for end in range(len(payload)):
        assert type(sealer.open(NAME, payload[:end])) is Damaged
    assert type(sealer.open(NAME, payload + b"\0")) is Damaged


def test_envelope_of_another_key_or_namespace_is_found(sealer):
    payload = sealer.seal(NAME, Envelope(7, 1.5e9, 60.0, 120.0))
    for other in ("shop:1:scoffee", "shop:2:stea", "bar:1:stea"):
        assert type(sealer.open(other, payload)) is Damaged


@pytest.mark.parametrize("codec", CODECS)
@given(st.data())
@settings(max_examples=150)
def test_stranger_who_knows_the_format_is_answered_without_an_exception(codec, data):
    """Any byte changed, and the sum made to fit again. Unsigned, that may open; signed, it never does."""
    sealer = Sealer(CODECS[codec])
    sealed = sealer.seal(NAME, Envelope(LARGE, 1.5e9, 60.0, 120.0, 0.5, 9, (("teas", 4),)))
    payload = bytearray(sealed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] ^= data.draw(st.integers(1, 255))
    forged = sealed_again(bytes(payload))
    opened = sealer.open(NAME, forged)
    if forged == sealed or codec == "msgpack":
        assert type(opened) in (Envelope, Damaged)
    else:
        assert type(opened) is Damaged


@given(st.data())
@settings(max_examples=150)
def test_plain_value_of_forged_bytes_is_what_open_says(data):
    """Cut off, lengthened, any byte changed, with a sum that fits or not."""
    sealer, envelope = Sealer(Msgpack(type=dict[str, int])), Envelope({"price": 3}, 1.5e9, 60.0, 120.0, 0.5, 9)
    payload = bytearray(sealer.seal(NAME, envelope))
    assert sealer.plain(NAME, bytes(payload), 9, 1.5e9 + 1) == {"price": 3}
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(0, 255))
    forged = (bytes(payload) + data.draw(st.binary(max_size=2)))[:data.draw(st.integers(0, 90))]
    if data.draw(st.booleans()) and len(forged) >= _HEAD.size:
        forged = sealed_again(forged)
    opened = sealer.open(NAME, forged)
    is_plain = type(opened) is Envelope and has_no_more_to_it(opened, 9, 1.5e9 + 1)
    assert sealer.plain(NAME, forged, 9, 1.5e9 + 1) == (opened.value if is_plain else MISSING)


class Trap:
    """Runs when it is unpickled."""

    sprung = 0

    def __reduce__(self):
        return Trap.spring, ()

    @staticmethod
    def spring():
        Trap.sprung += 1


def test_pickle_of_a_stranger_is_never_loaded():
    ours = SignedPickle(keys=KEYS, current="new")
    theirs = SignedPickle(keys={"new": b"x" * 16}, current="new")
    assert Sealer(theirs).open(NAME, Sealer(theirs).seal(NAME, Envelope(Trap(), 1.5e9, 1.0, 1.0))).value is None
    assert Trap.sprung == 1, "the trap works"
    for payload in (Sealer(theirs).seal(NAME, Envelope(Trap(), 1.5e9, 1.0, 1.0)), pickle.dumps(Trap())):
        assert type(Sealer(ours).open(NAME, payload)) is Damaged
        assert type(Sealer(Msgpack()).open(NAME, payload)) is Damaged
    unsigned = bytearray(Sealer(Msgpack()).seal(NAME, Envelope(pickle.dumps(Trap()), 1.5e9, 1.0, 1.0)))
    unsigned[3] = SignedPickle.number
    assert Sealer(ours).open(NAME, sealed_again(bytes(unsigned))) == Damaged("of another codec")
    assert Trap.sprung == 1


def test_secrets_are_changed_without_a_cold_tier():
    before = Sealer(SignedPickle(keys=KEYS, current="old"))
    after = Sealer(SignedPickle(keys=KEYS, current="new"))
    done = Sealer(SignedPickle(keys={"new": KEYS["new"]}, current="new"))
    old, new = (one.seal(NAME, Envelope({1}, 1.5e9, 1.0, 1.0)) for one in (before, after))
    assert after.open(NAME, old).value == before.open(NAME, new).value == {1}
    assert done.open(NAME, old) == Damaged("not signed by anybody we trust")
    assert done.open(NAME, new).value == {1}


def test_bomb_is_refused_before_there_is_room_for_it():
    """A frame that expands to more than it says, one that says more than is allowed, and one that says nothing."""
    sealer = Sealer(Msgpack(), max_body=1 << 20)
    honest = Sealer(Msgpack(), max_body=1 << 30).seal(NAME, Envelope(b"\0" * (64 << 20), 1.5e9, 1.0, 1.0))
    assert len(honest) < 1 << 14
    assert sealer.open(NAME, honest) == Damaged("too large")
    fields = list(_HEAD.unpack_from(honest))
    fields[-2] = 1000  # the size that is said
    lying = sealed_again(_HEAD.pack(*fields) + honest[_HEAD.size:])
    assert sealer.open(NAME, lying) == Damaged("cannot be opened: ValueError")
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(b"\0" * (64 << 20))
    assert sealer.open(NAME, sealed_again(_HEAD.pack(*fields) + silent)) == Damaged("cannot be opened: ValueError")


def test_body_that_is_too_large_is_not_sealed():
    sealer = Sealer(Msgpack(), max_body=1000)
    assert sealer.seal(NAME, Envelope(b"x" * 990, 1.5e9, 1.0, 1.0)) is not None
    assert sealer.seal(NAME, Envelope(b"x" * 1000, 1.5e9, 1.0, 1.0)) is None


@pytest.mark.parametrize("field, number", [(5, math.nan), (5, math.inf), (6, math.nan), (7, -1.0), (8, math.nan)])
def test_times_that_are_none_are_damage(field, number):
    payload = Sealer(Msgpack()).seal(NAME, Envelope(7, 1.5e9, 1.0, 1.0))
    fields = list(_HEAD.unpack_from(payload))
    fields[field] = number
    assert type(Sealer(Msgpack()).open(NAME, sealed_again(_HEAD.pack(*fields) + payload[_HEAD.size:]))) is Damaged


def test_more_tags_than_are_there_are_damage():
    payload = Sealer(Msgpack()).seal(NAME, Envelope(7, 1.5e9, 1.0, 1.0))
    forged = payload[:_HEAD.size - 2] + struct.pack(">H", 65535) + payload[_HEAD.size:]
    assert type(Sealer(Msgpack()).open(NAME, sealed_again(forged))) is Damaged


@dataclasses.dataclass
class Tea:
    name: str
    grams: int


def test_typed_values_come_back_as_their_type_and_others_are_damage():
    sealer = Sealer(Msgpack(type=Tea))
    tea = Tea("assam", 100)
    assert sealer.open(NAME, sealer.seal(NAME, Envelope(tea, 1.5e9, 1.0, 1.0))).value == tea
    other = Sealer(Msgpack()).seal(NAME, Envelope({"name": 7}, 1.5e9, 1.0, 1.0))
    assert type(sealer.open(NAME, other)) is Damaged


def test_value_that_no_codec_carries_is_the_caller_s_mistake():
    with pytest.raises(TypeError):
        Sealer(Msgpack()).seal(NAME, Envelope(object(), 1.5e9, 1.0, 1.0))
    for wrong in (Envelope(1, math.nan, 1.0, 1.0), Envelope(1, 1.0, -1.0, 1.0), Envelope(1, 1.0, 1.0, 1.0, 0.0, -1)):
        with pytest.raises(ValueError, match="times"):
            Sealer(Msgpack()).seal(NAME, wrong)
    with pytest.raises(ValueError, match="at most 2000 tags"):
        Sealer(Msgpack()).seal(NAME, Envelope(1, 1.0, 1.0, 1.0, tags=(("t", 1),) * 2001))
    with pytest.raises(ValueError, match="max_body"):
        Sealer(Msgpack(), max_body=0)


def test_zstd_of_another_size_is_refused():
    zstd = Zstd()
    frame = zstd.compress(b"tea" * 1000)
    assert zstd.expand(frame, 3000) == b"tea" * 1000
    for size in (0, 2999, 3001):
        with pytest.raises(ValueError):
            zstd.expand(frame, size)


@pytest.mark.parametrize("codec", CODECS)
def test_many_open_as_each_does(codec):
    sealer, epoch, wall = Sealer(CODECS[codec]), 7, 1000.0
    kinds = {
        "plain": Envelope({"price": 3}, wall, 60, 90, epoch=epoch),
        "none": Envelope(None, wall, math.inf, math.inf, epoch=epoch),
        "large": Envelope(LARGE, wall, 60, 60, epoch=epoch), "stale": Envelope(1, wall - 61, 60, 90, epoch=epoch),
        "another epoch's": Envelope(1, wall, 60, 90, epoch=8),
        "tagged": Envelope(1, wall, 60, 90, epoch=epoch, tags=(("t", 1),)),
    }
    names = [f"shop:1:s{kind}" for kind in kinds]
    whole = [sealer.seal(name, one) for name, one in zip(names, kinds.values())]
    odd = [b"", b"V", whole[0][:-1], whole[0] + b"x", whole[1], None, 7, "text", bytearray(whole[0])]
    names, payloads = [*names, *(["shop:1:splain"] * len(odd))], [*whole, *odd]
    values, missing = sealer.plain_many(names, payloads, b"", 0, epoch, wall)
    expected = [sealer.plain(name, one, epoch, wall) if type(one) is bytes else MISSING for name, one in zip(names, payloads)]
    assert values == expected and values[:3] == [{"price": 3}, None, LARGE]
    assert missing == [at for at, value in enumerate(expected) if value is MISSING] == list(range(3, len(names)))
    behind = [b"V" + b"-" * 9 + one if type(one) is bytes else one for one in payloads]
    assert sealer.plain_many(names, behind, b"V", 10, epoch, wall) == (values, missing)
    nothing = [MISSING] * len(names), list(range(len(names)))
    assert sealer.plain_many(names, behind, b"T", 10, epoch, wall) == nothing
    assert sealer.plain_many([], [], b"V", 10, epoch, wall) == ([], [])


def test_one_of_another_type_spoils_no_other():
    sealer, wall = Sealer(Msgpack(int)), 1000.0
    stranger = Sealer(Msgpack())
    names = ["a", "b", "c"]
    payloads = [stranger.seal(name, Envelope(value, wall, 60, 60)) for name, value in zip(names, (1, "text", 3))]
    assert sealer.plain_many(names, payloads, b"", 0, 0, wall) == ([1, MISSING, 3], [1])


def test_batch_of_envelopes_refuses_what_does_not_fit_together():
    for words in (([b""], b"", 0, b"", []), ([], b"V", 0, b"", [])):
        with pytest.raises(ValueError, match="head must cover the mark"):
            plain_bodies(*words, 0, 0.0, 9)
