"""RFC 9112 sections 2 to 6: heads of messages, read strictly. What two readers could read in two ways is refused."""

import pytest

from samovar.edge.proxy.wire import BadHead, Limits, read_request, read_response, request_bytes, response_bytes, suspicious


def request(*lines, start="GET / HTTP/1.1", host="Host: h"):
    return "\r\n".join([start, *filter(None, [host]), *lines, "", ""]).encode("latin-1")


def response(*lines, start="HTTP/1.1 200 OK"):
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1")


def refused(block, **words):
    with pytest.raises(BadHead) as caught:
        read_request(block, **words)
    return caught.value.status


def test_head_is_read_with_names_in_lower_case_and_values_trimmed_in_order():
    head = read_request(request("X-A: \t1 ", "x-a:2", "Empty:", start="GET /a%2Fb?c HTTP/1.1"))
    assert (head.method, head.target) == ("GET", b"/a%2Fb?c")
    assert head.headers == ((b"host", b"h"), (b"x-a", b"1"), (b"x-a", b"2"), (b"empty", b""))
    assert head.plain and head.keep and not head.old and head.length is None


def test_methods_nobody_knows_are_read_as_they_stand():
    assert read_request(request(start="M-SEARCH / HTTP/1.1")).method == "M-SEARCH"
    assert read_request(request(start="get / HTTP/1.1")).method == "get"


@pytest.mark.parametrize("start", ["GET  / HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET /\tHTTP/1.1",
                                   "GET / http/1.1",
                                   "GET /a b HTTP/1.1", "GET HTTP/1.1", "GET / HTTP/1.10", "GET /\x00 HTTP/1.1",
                                   "G(T / HTTP/1.1",
                                   "GET /#x HTTP/1.1", "GET a HTTP/1.1", "GET * HTTP/1.1", "GET ftp://h/ HTTP/1.1"])
def test_request_lines_of_another_spelling_are_refused(start):
    assert refused(request(start=start)) == 400


def test_other_versions_are_refused_as_such():
    assert refused(request(start="GET / HTTP/2.0")) == 505
    assert refused(request(start="GET / HTTP/1.2")) == 505


@pytest.mark.parametrize("line", ["X : 1", " X: 1", "\tfolded", "X: a\x00b", "X: a\x01", "X: a\x7f", "no colon", ": 1",
                                  "X\x80: 1",
                                  "X: a\rb", "X: a\nY: b", "X: a\n", "X: a\r"])
def test_field_lines_of_another_spelling_are_refused(line):
    assert refused(request(line)) == 400
    assert refused(request(line, "Y: 1")) == 400
    with pytest.raises(BadHead):
        read_response(response(line, "Y: 1"), "GET")


def test_obs_fold_is_refused():
    assert refused(request("X: a", " b")) == 400
    with pytest.raises(BadHead):
        read_response(response("X: a", "\tb"), "GET")


@pytest.mark.parametrize("hosts", [[], ["h", "h"], ["h", "g"], [""], ["h/x"], ["a b"], ["u@h"], ["h:x"], ["h,g"],
        ["h\\g"]])
def test_exactly_one_clean_host_is_asked_for(hosts):
    assert refused(request(*(f"Host: {host}" for host in hosts), host=None)) == 400


def test_absolute_target_takes_the_place_of_the_host_that_came():
    head = read_request(request("X: 1", start="GET http://a.example/p?q HTTP/1.1", host="Host: evil"))
    assert head.target == b"/p?q" and head.headers == ((b"host", b"a.example"), (b"x", b"1"))
    assert read_request(request(start="GET http://a?q HTTP/1.1")).target == b"/?q"
    assert refused(request(start="GET http://u@a/ HTTP/1.1")) == 400
    assert refused(request(start="GET https://a/ HTTP/1.1")) == 421


def test_asterisk_is_for_options_alone():
    assert read_request(request(start="OPTIONS * HTTP/1.1")).target == b"*"
    assert refused(request(start="GET * HTTP/1.1")) == 400


def test_tunnels_are_refused():
    assert refused(request(start="CONNECT h:443 HTTP/1.1")) == 501


@pytest.mark.parametrize("lines, status", [
    (["Content-Length: 1", "Transfer-Encoding: chunked"], 400), (["Content-Length: 1", "Content-Length: 1"], 400),
    (["Content-Length: 1, 1"], 400), (["Content-Length: +1"], 400), (["Content-Length: -1"], 400),
    (["Content-Length: 0x1"], 400), (["Content-Length: "], 400), (["Content-Length: 1_0"], 400),
    (["Content-Length: " + "1" * 19], 400), (["Transfer-Encoding: gzip, chunked"], 501),
    (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], 501), (["Transfer-Encoding: \x0bchunked"], 400),
    (["Transfer-Encoding: xchunked"], 501), (["Transfer-Encoding: gzip"], 501),
    (["Transfer-Encoding: chunked, identity"], 501),
    (["Transfer-Encoding:"], 501)])
def test_framing_that_can_be_read_in_two_ways_is_refused(lines, status):
    assert refused(request(*lines, start="POST / HTTP/1.1")) == status
    with pytest.raises(BadHead):
        read_response(response(*lines), "GET")


def test_transfer_coding_that_nobody_knows_ends_a_response_with_its_connection_and_is_refused_in_a_request():
    head = read_response(response("Transfer-Encoding: x-new"), "GET")
    assert (head.length, head.chunked, head.keep) == (None, False, False)
    assert refused(request("Transfer-Encoding: x-new", start="POST / HTTP/1.1")) == 501


def test_transfer_encoding_is_none_of_http_1_0():
    assert refused(request("Transfer-Encoding: chunked", start="POST / HTTP/1.0")) == 400
    with pytest.raises(BadHead):
        read_response(response("Transfer-Encoding: chunked", start="HTTP/1.0 200 OK"), "GET")


@pytest.mark.parametrize("block, keep", [
    (request(), True), (request("Connection: close"), False), (request("Connection: x, Close"), False),
    (request("Connection: x", "Connection: close"), False), (request(start="GET / HTTP/1.0"), False),
    (request("Connection: keep-alive", start="GET / HTTP/1.0"), True),
    (request("Connection: keep-alive, close", start="GET / HTTP/1.0"), False)])
def test_connection_stays_as_version_and_connection_field_say(block, keep):
    assert read_request(block).keep is keep


def test_only_a_get_without_anything_about_a_body_is_plain():
    assert not read_request(request("Content-Length: 0")).plain
    assert not read_request(request("Expect: 100-continue")).plain
    assert not read_request(request(start="HEAD / HTTP/1.1")).plain
    assert refused(request("Expect: 200-ok")) == 417
    assert refused(request("Content-Length: 1", start="TRACE / HTTP/1.1")) == 400


def test_limits_have_a_status_each():
    limits = Limits(head=1_000, target=10, fields=3)
    assert refused(request(start=f"GET /{'x' * 10} HTTP/1.1"), limits=limits) == 414
    assert refused(request(*["X: 1"] * 3), limits=limits) == 431
    assert read_request(request(*["X: 1"] * 2, start=f"GET /{'x' * 9} HTTP/1.1"), limits=limits).plain


@pytest.mark.parametrize("start", ["HTTP/1.1 99 x", "HTTP/1.1 1000 x", "HTTP/2 200 OK", "HTTP/1.1  200 OK",
                                   "HTTP/1.1 20x OK", "ICY 200 OK",
                                   "HTTP/1.1 200 a\x00", "HTTP/1.1\t200 OK"])
def test_status_lines_of_another_spelling_are_refused(start):
    with pytest.raises(BadHead):
        read_response(response(start=start), "GET")


def test_reason_may_be_empty_or_absent():
    assert read_response(response(start="HTTP/1.1 200 "), "GET").reason == b""
    assert read_response(response(start="HTTP/1.1 200"), "GET").reason == b""


@pytest.mark.parametrize("method, start, lines, expected", [
    ("GET", "HTTP/1.1 200 OK", ["Content-Length: 5"], (5, False, True)),
    ("GET", "HTTP/1.1 200 OK", ["Transfer-Encoding: Chunked"], (None, True, True)),
    ("GET", "HTTP/1.1 200 OK", [], (None, False, False)),
    ("HEAD", "HTTP/1.1 200 OK", ["Content-Length: 5"], (0, False, True)),
    ("HEAD", "HTTP/1.1 200 OK", ["Transfer-Encoding: chunked"], (0, False, True)),
    ("GET", "HTTP/1.1 304 Not Modified", ["Content-Length: 5"], (0, False, True)),
    ("GET", "HTTP/1.1 204 No Content", [], (0, False, True)),
    ("GET", "HTTP/1.1 103 Early Hints", [], (0, False, True)),
    ("GET", "HTTP/1.1 200 OK", ["Content-Length: 5", "Connection: close"], (5, False, False)),
    ("GET", "HTTP/1.0 200 OK", ["Content-Length: 5", "Connection: keep-alive"], (5, False, False))])
def test_length_of_a_response_follows_section_6_3(method, start, lines, expected):
    head = read_response(response(*lines, start=start), method)
    assert (head.length, head.chunked, head.keep) == expected


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost: h\n", b"GET\0", b"\x16\x03\x01\x02", b"a\rb", b"a\x7f"])
def test_head_that_cannot_become_a_good_one_is_seen_before_its_end(data):
    assert suspicious(data)
    assert any(suspicious(data[:end], end - 1) for end in range(1, len(data) + 1))


def test_head_that_is_still_coming_is_not_suspicious():
    block = request("X-A: \t1 ", "Y: \xff")
    assert not any(suspicious(block[:end]) for end in range(len(block)))


def test_heads_that_would_break_out_of_their_lines_are_not_written():
    assert request_bytes("GET", b"/", [(b"host", b"h")]) == b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
    for bad in (b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0"):
        for headers in ([(b"x", bad)], [(bad, b"x")]):
            with pytest.raises(ValueError):
                response_bytes(200, b"OK", headers)
        with pytest.raises(ValueError):
            response_bytes(200, bad, [])
        with pytest.raises(ValueError):
            request_bytes("GET", b"/" + bad, [])
    for target in (b"", b"/a b"):
        with pytest.raises(ValueError):
            request_bytes("GET", target, [])
    with pytest.raises(ValueError):
        response_bytes(200, b"OK", [(b"x: y", b"z")])
