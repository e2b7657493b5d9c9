"""RFC 9110 sections 14 and 15.3.7: parts of what is stored, and what is refused."""

import pytest

from front import START, Reply, always, scripted

from samovar.edge.rules.dates import format_date
from samovar.edge.rules.ranges import parse_range

BODY = b"0123456789"


def stored(**named):
    front = always(body=BODY, cache_control="max-age=60", content_type="text/plain", **named)
    front.ask()
    return front


@pytest.mark.parametrize("value, body, content_range", [
    ("bytes=0-1", b"01", "0-1"), ("bytes=8-", b"89", "8-9"), ("bytes=-3", b"789", "7-9"), ("bytes=0-", BODY, "0-9"),
    ("bytes=-30", BODY, "0-9"), ("bytes=5-99999999999999999", b"56789", "5-9"), ("bytes=9-9", b"9", "9-9"),
    ("BYTES=0-0", b"0", "0-0"), ("bytes= 1-2 ", b"12", "1-2"), ("bytes=,1-2,", b"12", "1-2"), ("bytes=0-1,2-3",
                                                                                               b"0123", "0-3"),
    ("bytes=0-5,3-7", b"01234567", "0-7"), ("bytes=1-2,20-30", b"12", "1-2")])
def test_one_range_is_sent_as_it_is(value, body, content_range):
    reply = stored().ask(range=value)
    assert (reply.status, reply.body, reply["content-range"]) == (206, body, f"bytes {content_range}/10")
    assert reply["content-length"] == str(len(body)) and reply["content-type"] == "text/plain" and reply.cached


@pytest.mark.parametrize("value", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999-", "bytes=20-30,40-50"])
def test_range_outside_of_the_body_is_refused(value):
    reply = stored().ask(range=value)
    assert (reply.status, reply.body, reply["content-range"]) == (416, b"", "bytes */10")


@pytest.mark.parametrize("value", ["items=0-1", "bytes 0-1", "bytes=", "bytes=,", "bytes=a-b", "bytes=2-1",
                                   "bytes=0-1;", "bytes=--1",
                                   "bytes=0-1,x", "bytes=+1-2", "bytes=0x1-2", "bytes=1 - 2", "bytes=-", "",
                                   "bytes=٣-"], ids=ascii)
def test_range_that_is_not_well_formed_does_not_count(value):
    reply = stored().ask(headers=[(b"range", value.encode())])
    assert (reply.status, reply.body) == (200, BODY)


def test_several_ranges_are_sent_in_parts_in_the_order_asked_for():
    reply = stored().ask(range="bytes=5-6,0-1,-1")
    kind, _, boundary = reply["content-type"].partition("; boundary=")
    assert (reply.status, kind) == (206, "multipart/byteranges") and reply["content-range"] is None
    assert int(reply["content-length"]) == len(reply.body)
    parts = reply.body.split(b"--" + boundary.encode())
    assert parts[0] == b"" and parts[-1] == b"--\r\n"
    heads = [part.split(b"\r\n\r\n") for part in parts[1:-1]]
    assert [body for _, body in heads] == [b"56\r\n", b"01\r\n", b"9\r\n"]
    assert all(b"Content-Type: text/plain\r\n" in head for head, _ in heads)
    assert [head.rpartition(b" ")[2] for head, _ in heads] == [b"5-6/10", b"0-1/10", b"9-9/10"]


@pytest.mark.parametrize("value", [
    "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 10_000, 2)), "bytes=" + ",".join(["0-"] * 10), "bytes=0-,0-,0-",
    "bytes=" + "," * 100 + "0-1", "bytes=0-1" + " " * 5_000,
    "bytes=" + ",".join(f"{n % 5 * 2}-{n % 5 * 2}" for n in range(17)),
], ids=["flood", "same", "three", "commas", "spaces", "over"])
def test_floods_and_overlaps_are_refused(value):
    assert stored().ask(range=value).status == 416


def test_several_ranges_never_send_more_than_the_body_and_their_heads():
    for value in ("bytes=0-8,1-9", "bytes=0-3,5-9", "bytes=0-9,0-9"):
        reply = stored().ask(range=value)
        assert len(reply.body) < len(BODY) + 3 * 150


@pytest.mark.parametrize("condition, status", [
    ('"a"', 206), ('"b"', 200), ('W/"a"', 200), (format_date(START - 100).decode(), 206),
    (format_date(START - 99).decode(), 200),
    ("nonsense", 200)])
def test_if_range_holds_by_strong_comparison(condition, status):
    front = stored(etag='"a"', last_modified=format_date(START - 100).decode(), date=format_date(START).decode())
    assert front.ask(range="bytes=0-1", if_range=condition).status == status


def test_if_range_does_not_trust_a_date_of_the_same_second_nor_a_weak_tag():
    now = format_date(START).decode()
    assert stored(last_modified=now, date=now).ask(range="bytes=0-1", if_range=now).status == 200
    assert stored(etag='W/"a"').ask(range="bytes=0-1", if_range='W/"a"').status == 200


def test_part_sent_for_if_range_leaves_out_what_the_client_has():
    front = stored(etag='"a"', x="1")
    assert front.ask(range="bytes=0-1", if_range='"a"')["x"] is None
    assert front.ask(range="bytes=0-1")["x"] == "1"


def test_conditions_come_before_ranges():
    assert stored(etag='"a"').ask(range="bytes=0-1", if_none_match='"a"').status == 304


def test_range_of_what_is_not_a_200_does_not_count():
    front = always(404, body=BODY, cache_control="max-age=60")
    front.ask()
    assert front.ask(range="bytes=0-1").status == 404


def test_range_without_anything_stored_goes_to_the_origin_and_a_part_is_not_stored():
    front = scripted(Reply(206, b"01", cache_control="max-age=60", content_range="bytes 0-1/10"),
                     Reply(200, BODY, cache_control="max-age=60"))
    reply = front.ask(range="bytes=0-1")
    assert (reply.status, reply.body, front.seen[0][2]["range"]) == (206, b"01", "bytes=0-1")
    assert front.ask().body == BODY
    assert front.ask(range="bytes=2-3").body == b"23"


def test_range_of_nothing_is_refused():
    assert parse_range(b"bytes=0-", 0, 8) == () == parse_range(b"bytes=-1", 0, 8)
