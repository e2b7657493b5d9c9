"""Our readers of HTTP/1.1 beside llhttp (httptools): what ours accept, it reads in the same way; nothing else is raised.

llhttp knows a fixed list of methods, so only those are tried here.
"""

import pytest
from hypothesis import given, settings, strategies as st

from samovar.edge.proxy.wire import BadBody, BadHead, Chunked, read_request, read_response

httptools = pytest.importorskip("httptools", reason="it has no wheel for this Python")

TOKENS = st.sampled_from(["Host", "X-A", "content-length", "Transfer-Encoding", "Connection", "Content-Length",
                          "Expect", "TE"])
VALUES = st.one_of(st.sampled_from(["h", "chunked", "5", "0", "close", "keep-alive", "h:80", "gzip, chunked", "5, 5",
                                    "100-continue"]),
                   st.text(st.characters(codec="latin-1"), max_size=8))
BLANKS = st.sampled_from(["", " ", "\t", "  "])
ENDS = st.sampled_from(["\r\n"] * 12 + ["\n", "\r", "\r\n ", "\r\r\n"])
LINES = st.tuples(TOKENS, st.sampled_from([":"] * 8 + [" :", "", "::"]), BLANKS, VALUES, BLANKS, ENDS).map("".join)
STARTS = st.tuples(st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "TRACE"]), st.sampled_from([" "] * 8 + ["  ",
        "\t"]),
                   st.sampled_from(["/", "/a?b", "http://h/x", "*", "/\x80", "/a b"]),
                   st.sampled_from([" HTTP/1.1", " HTTP/1.0", " HTTP/1.2", ""]), ENDS).map("".join)
STATUSES = st.tuples(st.sampled_from(["HTTP/1.1 ", "HTTP/1.0 "]), st.sampled_from(["200", "304", "404", "99", "1000"]),
                     st.sampled_from([" OK", "", " ", " \x80"]), ENDS).map("".join)


class Seen:
    """What httptools tells of one message."""

    def __init__(self, kind):
        self.fields, self.url, self.body, self.headed, self.whole = [], b"", b"", False, False
        self.parser = kind(self)

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        if not self.headed:
            self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self):
        self.headed, self.keeps = True, self.parser.should_keep_alive()

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.whole = True


@given(STARTS, st.lists(LINES, max_size=5))
@settings(max_examples=400, deadline=None)
def test_request_heads_that_we_accept_mean_the_same_to_llhttp(start, lines):
    block = (start + "Host: h\r\n" + "".join(lines) + "\r\n").encode("latin-1")
    try:
        head = read_request(block)
    except BadHead:
        return
    seen = Seen(httptools.HttpRequestParser)
    try:
        seen.parser.feed_data(block)
    except httptools.HttpParserUpgrade:
        pass
    assert seen.headed
    assert seen.parser.get_method().decode() == head.method
    assert [one for one in seen.fields if one[0] != b"host"] == [one for one in head.headers if one[0] != b"host"]
    assert seen.keeps == head.keep
    assert seen.url in (head.target, b"http://" + head.headers[0][1] + head.target)
    assert seen.whole == (not head.length and not head.chunked)


@given(STATUSES, st.lists(LINES, max_size=5))
@settings(max_examples=400, deadline=None)
def test_response_heads_that_we_accept_mean_the_same_to_llhttp(start, lines):
    block = (start + "".join(lines) + "\r\n").encode("latin-1")
    try:
        head = read_response(block, "GET")
    except BadHead:
        return
    seen = Seen(httptools.HttpResponseParser)
    seen.parser.feed_data(block)
    assert seen.headed and seen.parser.get_status_code() == head.status
    assert seen.fields == [*head.headers]
    assert seen.whole == (head.length == 0)


CHUNKS = st.lists(st.tuples(st.sampled_from(["1", "5", "05", "0", "a", "x", ""]), st.sampled_from(["", ";a=b", " ;a",
        ";"]),
                            st.sampled_from(["\r\n"] * 6 + ["\n"]), st.text("ab\r\n0", max_size=6),
                            st.sampled_from(["\r\n"] * 6 + ["", "\n"])).map("".join), max_size=4).map("".join)


@given(CHUNKS, st.sampled_from(["0\r\n\r\n", "0\r\nA: b\r\n\r\n", ""]))
@settings(max_examples=400, deadline=None)
def test_chunked_bodies_that_we_accept_mean_the_same_to_llhttp(chunks, end):
    data = (chunks + end).encode()
    try:
        pieces, rest = Chunked().feed(data)
    except BadBody:
        return
    seen = Seen(httptools.HttpResponseParser)
    seen.parser.feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    whole = data if not rest else data[:len(data) - len(rest)]
    try:
        seen.parser.feed_data(whole)
    except httptools.HttpParserError:
        assert b";\r\n" in whole or b" ;" in whole, whole  # an extension without a name or behind a space: stricter
        return
    assert seen.body == b"".join(pieces) and seen.whole == (rest is not None)


@given(st.binary(max_size=60))
@settings(max_examples=500, deadline=None)
def test_any_bytes_raise_nothing_else(data):
    for attempt in (lambda: read_request(data), lambda: read_response(data, "GET"), lambda: Chunked().feed(data),
                    lambda: read_request(b"GET / HTTP/1.1\r\nHost: h\r\n" + data + b"\r\n\r\n")):
        try:
            attempt()
        except (BadHead, BadBody):
            pass
