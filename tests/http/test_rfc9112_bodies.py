"""RFC 9112 sections 6 to 8: where a body ends. Cut anywhere, it ends in the same place, or is refused."""

import pytest
from hypothesis import given, settings, strategies as st

from samovar.edge.proxy.wire import BadBody, Chunked, Sized, UntilClose


def read(body, data, cuts=()):
    """Feed data in pieces, cut at these places; (the body, what came after it or None)."""
    out, rest = b"", None
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        pieces, rest = body.feed(data[at:cut])
        out += b"".join(pieces)
        at = cut
        if rest is not None:
            return out, rest + data[at:]
    return out, rest


GOOD = b"5\r\nhello\r\n6;a=b;c=\"d e\"\r\n world\r\n000\r\nTrailer: x\r\nOther: y\r\n\r\n"


@given(st.sets(st.integers(0, len(GOOD) + 4)))
@settings(max_examples=200, deadline=None)
def test_chunked_body_ends_in_the_same_place_wherever_it_is_cut(cuts):
    assert read(Chunked(), GOOD + b"NEXT", cuts) == (b"hello world", b"NEXT")


def test_chunked_body_that_is_cut_short_is_never_complete():
    for end in range(len(GOOD)):
        body = Chunked()
        out, rest = read(body, GOOD[:end])
        assert rest is None and b"hello world".startswith(out) and not body.close()


@pytest.mark.parametrize("data", [
    b"5\nhello\r\n", b"5\r\nhello\n", b"5\r\nhello!\r\n", b"5\r\nhell\r\n0\r\n", b"0x5\r\nhello", b"+5\r\nhello",
    b"-1\r\n",
    b"\r\n", b" 5\r\nhello", b"5 \r\nhello", b"5\rhello\r\n", b"g\r\n", b"0\r\nbad trailer\r\n\r\n", b"0\r\n\nX",
    b"0\r\n a: b\r\n\r\n",
    b"0\r\na : b\r\n\r\n", b"fffffffffffffffff\r\n", b"ffffffffffffffff\r\n", b"5;\x00\r\nhello", b"5;a\rb\r\nhello",
    b"5\r\nhelloXX", b"0\r\nA: \x00\r\n\r\n", b"5;" + b"a" * 300 + b"\r\n", b"5" * 400, b"0\r\nA: " + b"a" * 20_000,
    (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100, b"1\r\nx\r\n" * 100_001])
def test_chunks_of_another_spelling_or_beyond_bounds_are_refused(data):
    with pytest.raises(BadBody):
        read(Chunked(), data)


@given(st.sets(st.integers(0, 11)))
def test_sized_body_ends_with_its_last_byte(cuts):
    assert read(Sized(5), b"helloNEXT", {cut for cut in cuts if cut < 9}) == (b"hello", b"NEXT")


def test_body_of_no_bytes_has_ended_when_it_begins():
    assert Sized(0).feed(b"") == ([], b"") and Sized(0).feed(b"NEXT") == ([], b"NEXT")


def test_only_a_body_without_framing_ends_with_the_connection():
    body = Sized(5)
    assert read(body, b"hell") == (b"hell", None) and not body.close()
    body = UntilClose()
    assert read(body, b"hell") == (b"hell", None) and body.close()


def test_many_small_chunks_that_came_together_are_one_piece():
    for count, pieces in ((3, 3), (1_000, 1)):
        got, rest = Chunked().feed(b"1\r\nx\r\n" * count + b"0\r\n\r\nNEXT")
        assert (b"".join(got), len(got), rest) == (b"x" * count, pieces, b"NEXT")
        got, rest = Chunked().feed(b"1\r\nx\r\n" * count)
        assert (b"".join(got), len(got), rest) == (b"x" * count, pieces, None)
