"""The native `Bulks` beside a twin that is obviously right: whole replies, built in one piece; chunks are cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samovar._core import Bulks

MOST, KEEP = 20, 5

bodies = st.one_of(st.none(), st.binary(max_size=60), st.sampled_from([b"x" * MOST, b"x" * (MOST + 1), b"$30\r\n" * 7]))
replies = st.recursive(st.one_of(bodies, st.integers(-9, 10**9), st.just("OK")), lambda one: st.lists(one, max_size=4),
                       max_leaves=12)


def written(reply, most=None):
    """A reply as RESP; bodies of more than `most` cut."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, bytes):
        body = reply if most is None or len(reply) <= most else reply[:KEEP]
        return b"$%d\r\n%s\r\n" % (len(body), body)
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, str):
        return b"+%s\r\n" % reply.encode()
    return b"*%d\r\n" % len(reply) + b"".join(written(one, most) for one in reply)


def cut(data, stream):
    """The stream in chunks of any size."""
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[one:other] for one, other in zip([0, *places], [*places, len(stream)])]


@given(st.lists(replies, max_size=8), st.data())
def test_bodies_that_are_too_large_are_cut_and_all_else_passes(sent, data):
    stream = b"".join(written(reply) for reply in sent)
    bulks, out = Bulks(MOST, KEEP), b""
    for chunk in cut(data, stream):
        out += bulks.sift(chunk)
    assert out == b"".join(written(reply, MOST) for reply in sent)
    assert not bulks.is_cutting


@given(st.binary(max_size=80), st.data())
def test_any_bytes_are_passed_or_refused(stream, data):
    bulks, out = Bulks(MOST, KEEP), b""
    try:
        for chunk in cut(data, stream):
            out += bulks.sift(chunk)
    except ValueError as error:
        assert "a length that is none" in str(error)
    assert len(out) <= len(stream) + 24


def test_chunk_that_needs_nothing_is_the_object_itself_and_what_is_cut_is_answered_at_once():
    bulks = Bulks(MOST, KEEP)
    chunk = b"*2\r\n$3\r\nabc\r\n:1\r\n"
    assert bulks.sift(chunk) is chunk
    assert bulks.sift(b"$1000000\r\nVhead") == b"$5\r\nVhead\r\n" and bulks.is_cutting
    assert bulks.sift(b"x" * 900_000) == b"" and bulks.is_cutting
    assert bulks.sift(b"x" * 99_995 + b"\r\n+OK\r\n") == b"+OK\r\n" and not bulks.is_cutting


@pytest.mark.parametrize("stream", [b"$\r\n", b"$x\r\n", b"$12x\r\n", b"$99999999999999999999\r\n", b"$" + b"1" * 40,
                                    b"$1 2\r\n"])
def test_length_that_is_none_is_refused(stream):
    with pytest.raises(ValueError, match="a length that is none"):
        Bulks(MOST, KEEP).sift(stream)


def test_what_is_kept_is_less_than_what_passes():
    with pytest.raises(ValueError, match="keep must be less than most"):
        Bulks(5, 5)
