"""The native reader of Memcached's replies beside replies that were written in one piece; chunks are cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samovar._core import meta_replies
from samovar.cluster.blocking import NOT_YET
from samovar.cluster.wire import Parser

MOST = 20

words = st.lists(st.text(st.characters(codec="latin-1", exclude_characters=" \r\n"), max_size=6).map(
    lambda text: text.encode("latin-1")), max_size=3)
bodies = st.one_of(st.binary(max_size=60), st.sampled_from([b"", b"\r\n", b"x" * MOST, b"x" * (MOST + 1), b"EN\r\n" * 9]))
bare = st.tuples(st.sampled_from([b"HD", b"EN", b"NF", b"NS", b"EX", b"MN", b"SERVER_ERROR", b"VERSION"]), words, st.none())
replies = st.one_of(bare, st.tuples(st.just(b"VA"), words, bodies))


def written(reply):
    code, flags, body = reply
    line = [code, *([] if body is None else [b"%d" % len(body)]), *flags]
    return b" ".join(line) + b"\r\n" + (b"" if body is None else body + b"\r\n")


def cut(data, stream):
    """The stream in chunks of any size."""
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[one:other] for one, other in zip([0, *places], [*places, len(stream)]) if one < other]


@given(st.lists(replies, max_size=12), st.data())
def test_replies_come_out_as_they_were_written_and_bodies_that_are_too_large_are_dropped(sent, data):
    parser, got, stream = Parser(MOST), [], b"".join(map(written, sent))
    for chunk in cut(data, stream):
        parser.feed(chunk)
        parser.drain(got, data.draw(st.sampled_from([len(got), len(got) + 1, 1000])))
    parser.drain(got, 1000)
    assert got == [(code, flags, b"?" if body is not None and len(body) > MOST else body) for code, flags, body in sent]
    assert not parser.is_amid and not parser.is_cutting and parser.gets() is NOT_YET


@given(st.one_of(st.binary(max_size=60), st.text("VAHDEN 0123456789\r\nc", max_size=60).map(str.encode)), st.data())
def test_any_bytes_are_read_or_refused(stream, data):
    parser, got = Parser(MOST), []
    try:
        for chunk in cut(data, stream):
            parser.feed(chunk)
            parser.drain(got, 1000)
    except ValueError as error:
        assert any(word in str(error) for word in ("begins no reply", "without a size", "does not end", "a line of more"))
    for code, flags, body in got:
        assert (body is None) == (code != b"VA") and type(flags) is list and not any(b" " in flag for flag in flags)


@pytest.mark.parametrize(("wrong", "why"), [
    (b"HELLO\r\n", "b'HELLO' begins no reply"), (b"\r\n", "b'' begins no reply"), (b" HD\r\n", "b'' begins no reply"),
    (b"HD\0\r\n", r"b'HD\x00' begins no reply"), (b"x" * 40 + b"\r\n", f"{b'x' * 20!r} begins no reply"),
    (b"VA\r\n", "a value without a size"), (b"VA \r\n", "a value without a size"), (b"VA -1\r\n", "a value without a size"),
    (b"VA 1x\r\n", "a value without a size"), (b"VA %d\r\n" % (2**30 + 1), "a value without a size"),
    (b"VA 99999999999999999999999\r\n", "a value without a size"), (b"VA 3\r\nabcd\r\n", "does not end where it should"),
    (b"x" * 2050, "a line of more than 2048 bytes"), (b"HD " + b"x" * 2046 + b"\r\n", "a line of more than 2048 bytes")])
def test_what_is_no_reply_is_refused_and_what_came_before_it_is_there(wrong, why):
    parser, got = Parser(), []
    parser.feed(b"HD c1\r\nVA 2 f1\r\nab\r\n" + wrong)
    with pytest.raises(ValueError) as told:
        parser.drain(got, 10)
    assert why in str(told.value) and got == [(b"HD", [b"c1"], None), (b"VA", [b"f1"], b"ab")]


def test_longest_line_and_the_line_that_may_still_end_are_taken():
    line = b"HD " + b"x" * 2045
    for ending in (b"\r\n", b"\r"):
        parser, got = Parser(), []
        parser.feed(line + ending)
        parser.drain(got, 1)
        assert len(got) == (ending == b"\r\n")


@pytest.mark.parametrize("most", [2**30, 2**63, 2**64, 10**30])
def test_limit_on_bodies_may_be_any_number(most):
    parser, got = Parser(most), []
    parser.feed(b"VA 2 f1\r\nab\r\n")
    parser.drain(got, 1)
    assert got == [(b"VA", [b"f1"], b"ab")]


@pytest.mark.parametrize("buffer", [bytes, bytearray])
def test_where_it_stopped_and_how_much_must_come(buffer):
    stream = buffer(b"..HD\r\nVA 100 c1\r\nabc")
    got = []
    assert meta_replies(stream, 2, got, 9, 1000) == (6, 6 + 11 + 100 + 2, 0) and got == [(b"HD", [], None)]
    assert meta_replies(stream, 6, got, 9, 50) == (len(stream), 0, 100 + 2 - 3) and got[1:] == [(b"VA", [b"c1"], b"?")]
    assert meta_replies(stream, 2, [], 0, 50) == (2, 0, 0) and meta_replies(stream, len(stream), [], 9, 50)[0] == len(stream)
    assert meta_replies(stream, 10**6, got, 9, 50) == (10**6, 0, 0) and len(got) == 2
