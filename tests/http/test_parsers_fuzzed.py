"""Whatever bytes come, the rules decide: no parser raises, none takes more than linear time, nothing forbidden is stored.

Time is not measured here: the large inputs are of a size at which a quadratic parser would run into the time limit of
the test run.
"""

import pytest
from hypothesis import example, given, settings, strategies as st

from front import START

from samovar.edge.rules import (Action, Entry, Policy, Result, Variants, answer, cache_key, on_failure, on_request,
                                on_response,
                                origin_headers)
from samovar.edge.rules.dates import format_date, parse_date
from samovar.edge.rules.directives import (MAX_DELTA, Asked, Directives, parse_delta, parse_members, request_directives,
                                           response_directives)
from samovar.edge.rules.fields import end_to_end, listed_in_connection, members
from samovar.edge.rules.freshness import age_value
from samovar.edge.rules.invalidation import reference_key
from samovar.edge.rules.ranges import multipart, parse_range
from samovar.edge.rules.selection import normalise, secondary
from samovar.edge.rules.storable import vary_names
from samovar.edge.rules.tags import read_tags
from samovar.edge.rules.targeted import targeted_directives
from samovar.edge.rules.validation import entity_tags, none_match

WORDS = [b"max-age", b"s-maxage", b"no-store", b"no-cache", b"private", b"public", b"must-understand", b"must-revalidate",
         b"stale-if-error", b"stale-while-revalidate", b"only-if-cached", b"max-stale", b"min-fresh", b"=", b'"',
         b"\\", b",", b";",
         b" ", b"\t", b"0", b"1", b"60", b"9" * 25, b"-1", b"*", b"W/", b"bytes=", b"-", b"/", b"..", b"http://h",
         b"//", b"?", b"#",
         b"GMT", b"Sun, 06 Nov 1994 08:49:37 GMT", b"q=0.5", b"gzip", b"br", b"en", b"\xff", b"\x00", b"x", b"Vary",
         b"(", b")", b":"]
NOISE = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(WORDS), max_size=16).map(b"".join))
NAMES = [b"cache-control", b"vary", b"expires", b"date", b"age", b"etag", b"last-modified", b"set-cookie", b"connection",
         b"content-length", b"content-range", b"pragma", b"cdn-cache-control", b"samovar-cache-control", b"surrogate-key",
         b"cache-tag", b"location", b"content-location", b"authorization", b"range", b"if-range", b"if-none-match",
         b"if-modified-since", b"if-match", b"accept-encoding", b"accept-language", b"transfer-encoding", b"foo",
         b"cache-status"]
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), NOISE), max_size=8)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "BREW", ""])
STATUSES = st.sampled_from([200, 203, 204, 206, 299, 301, 304, 404, 410, 412, 416, 500, 503, 599, 999])

PARSERS = {
    "members": members, "parse_members": parse_members, "delta": parse_delta, "entity_tags": entity_tags,
    "date": lambda value: parse_date(value, START), "age": lambda value: age_value([(b"age", value)]),
    "response": lambda value: response_directives([(b"cache-control", value)]),
    "request": lambda value: request_directives(value, value), "pragma": lambda value: request_directives(None, value),
    "targeted": lambda value: targeted_directives([(b"cdn-cache-control", value)], [b"cdn-cache-control"]),
    "vary": lambda value: vary_names([(b"vary", value)]), "none_match": lambda value: none_match(value, b'"a"'),
    "range": lambda value: parse_range(value, 1_000, 16),
    "range of bytes": lambda value: parse_range(b"bytes=" + value, 1_000, 16),
    "encoding": lambda value: normalise(b"accept-encoding", value),
    "language": lambda value: normalise(b"accept-language", value),
    "other": lambda value: normalise(b"foo", value), "reference": lambda value: reference_key(b"http://h/a/b", value),
    "target": lambda value: cache_key(b"http", b"h", value), "authority": lambda value: cache_key(b"http", value, b"/"),
    "connection": lambda value: listed_in_connection([(b"connection", value)]),
    "tags": lambda value: read_tags([(b"surrogate-key", value), (b"cache-tag", value)], (b"surrogate-key", b"cache-tag"), 64),
}


@pytest.mark.parametrize("name", PARSERS)
@given(value=NOISE)
def test_parser_reads_any_bytes(name, value):
    PARSERS[name](value)


LONG = [part * (100_000 // len(part)) for part in (
    b'a="', b'a="\\",', b", ", b"a=", b'="\\', b" ", b"\t,", b'"', b"\\", b"a", b"0", b"9", b"-", b"a,", b'"a",',
    b'W/"', b"0-0,", b"-1,",
    b"gzip;q=0.5,", b"en-", b";", b"../", b"./", b"/", b"?", b":", b"%", b"[", b"(", b"\xff", b"*,", b"a ",
    b"max-age=1,", b"=,", b"&")]


@pytest.mark.parametrize("name", PARSERS)
def test_parser_is_linear_in_what_it_reads(name):
    for value in LONG:
        PARSERS[name](value)
        PARSERS[name](value + b'"')
        PARSERS[name](b"x" + value)


@given(NOISE)
@example(b"private=\"a")
@example(b"no-store;x")
def test_directive_that_forbids_is_never_lost_behind_noise(noise):
    """A directive after a comma that no quote swallows counts, whatever stands before it."""
    if b'"' not in noise and b"\\" not in noise:
        assert response_directives([(b"cache-control", noise + b", no-store")]).no_store


@given(NOISE)
def test_numbers_are_within_bounds(value):
    said = response_directives([(b"cache-control", value)])
    for number in (said.max_age, said.s_maxage, said.stale_if_error, said.stale_while_revalidate, age_value([(b"age",
                                                                                                              value)])):
        assert number is None or 0 <= number <= MAX_DELTA
    assert isinstance(said, Directives) and isinstance(request_directives(value, None), Asked)


@given(st.integers(-10**12, 10**12))
def test_dates_survive_being_written_and_read(moment):
    written = format_date(moment)
    inside = min(max(moment, 0), 253_402_300_799)
    assert len(written) == 29 and parse_date(written, START) == inside


@pytest.mark.parametrize("value, moment", [
    (b"Sun, 06 Nov 1994 08:49:37 GMT", 784111777), (b"Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
    (b"Sun Nov  6 08:49:37 1994", 784111777), (b"SUN, 06 nOV 1994 08:49:37 gmt", 784111777),
    (b"Mon, 06 Nov 1994 08:49:37 GMT", 784111777), (b"Thu, 31 Dec 1998 23:59:60 GMT", 915148799),
    (b"Thursday, 18-Aug-50 02:01:18 GMT", 2544400878), (b"Friday, 18-Aug-71 02:01:18 GMT", 51328878),
    (b"Sat, 29 Feb 2020 00:00:00 GMT", 1582934400), (b"Fri, 31 Dec 1000 00:00:00 GMT", -30578774400)])
def test_three_formats_of_dates_are_read(value, moment):
    assert parse_date(value, START) == moment


@pytest.mark.parametrize("value", [
    b"", b"0", b"-1", b"784111777", b"Sun, 06 Nov 1994 08:49:37 UTC", b"Sun, 06 Nov 1994 08:49:37 +0000",
    b"Sun, 06 Nov 94 08:49:37 GMT",
    b"Sun 06 Nov 1994 08:49:37 GMT", b"Sun,  06 Nov 1994 08:49:37 GMT", b"Sun, 06-Nov-1994 08:49:37 GMT",
    b"Sun, 06 Nov 1994 08.49.37 GMT",
    b"Sun, 06 Nov 1994 8:49:37 GMT", b"Sun, 6 Nov 1994 08:49:37 GMT", b"Sun, 30 Feb 1994 08:49:37 GMT",
    b"Sun, 29 Feb 2021 00:00:00 GMT",
    b"Sun, 06 Nov 1994 24:00:00 GMT", b"Sun, 06 Nov 1994 08:60:37 GMT", b"Sun, 06 Nov 1994 08:49:61 GMT",
    b"Sun, 00 Nov 1994 08:49:37 GMT",
    b"Sun, 06 Nov 0000 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 GMT ", b" Sun, 06 Nov 1994 08:49:37 GMT",
    b"Xxx, 06 Nov 1994 08:49:37 GMT",
    b"Sun, 06 Nov 1994 08:49:37 GMT\n", b"1994-11-06T08:49:37Z", b"Sun Nov 6 08:49:37 1994",
    b"Sun, 06 Nov 1994 08:49:37"], ids=ascii)
def test_anything_else_is_no_date(value):
    assert parse_date(value, START) is None


# ------------------------------------------------------------------ the whole

@settings(max_examples=400)
@given(method=METHODS, asked=HEADERS, status=STATUSES, headers=HEADERS, later=HEADERS, again=STATUSES, shared=st.booleans(),
       set_cookie=st.sampled_from(["bypass", "rfc"]), seconds=st.integers(-5, 5_000))
def test_every_exchange_is_decided_and_nothing_forbidden_is_stored(method, asked, status, headers, later, again,
                                                                   shared, set_cookie,
                                                                   seconds):
    policy = Policy(shared=shared, set_cookie=set_cookie)
    key = cache_key(b"http", b"h", b"/")
    first = on_request(policy, key, method, asked, None, START)
    assert first.action in (Action.FORWARD, Action.FAIL)
    origin_headers(policy, first)
    outcome = on_response(policy, first, status, b"", headers, asked_at=START, received=START)
    stored = Variants()
    if outcome.result is Result.STORE:
        must_not_be_stored(policy, method, asked, status, headers)
        if not outcome.entry.complete(b"x" * 10, 10):
            return
        stored = stored.stored(Entry.load(outcome.entry.dump(), outcome.entry.body), 4)
    now = START + seconds
    second = on_request(policy, key, "GET", later, stored, now)
    sent(policy, second)
    for end in (on_response(policy, second, again, b"", headers, asked_at=now, received=now), on_failure(policy,
                                                                                                         second, now)):
        if end.result is Result.SERVE:
            sent(policy, end.verdict)
        if end.result is Result.STORE:
            must_not_be_stored(policy, "GET", later, again, headers)


def sent(policy, verdict):
    if verdict.action in (Action.SERVE, Action.SERVE_AND_REVALIDATE, Action.FAIL):
        reply = answer(policy, verdict)
        length = sum(len(part) if isinstance(part, bytes) else part[1] - part[0] for part in reply.parts)
        names = [name for name, _ in reply.headers]
        assert names.count(b"cache-status") >= 1 and names.count(b"content-length") <= 1
        if reply.parts:
            assert dict(reply.headers)[b"content-length"] == b"%d" % length
        assert not {b"transfer-encoding", b"connection"} & set(names)
    else:
        origin_headers(policy, verdict)


def must_not_be_stored(policy, method, asked, status, headers):
    """Fails where a plain reading of the fields forbids what was done."""
    control = b",".join(value for name, value in headers if name == b"cache-control").lower()
    targeted = any(name in policy.targets for name, _ in headers) and policy.shared
    words = [word.strip(b" \t") for word in control.split(b",")]
    assert method in ("GET", "POST") and status not in (206, 304)
    assert b"no-store" not in [word.strip(b" \t") for name,
                               value in asked if name == b"cache-control" for word in value.lower().split(b",")]
    if b'"' not in control and not targeted:
        assert b"no-store" not in words or b"must-understand" in words
        assert not policy.shared or b"private" not in words
    assert not any(b"*" in [one.strip(b" \t") for one in value.split(b",")] for name, value in headers if name == b"vary")
    if policy.set_cookie == "bypass" and b"set-cookie" in [name for name, _ in headers]:
        assert b"set-cookie" in control or targeted
    if policy.shared and b"authorization" in [name for name, _ in asked]:
        assert b"public" in control or b"must-revalidate" in control or b"s-maxage" in control or targeted


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6), st.integers(0, 25))
def test_ranges_lie_inside_of_the_body_and_apart(pairs, length):
    value = b"bytes=" + b",".join(b"%d-%d" % (min(pair), max(pair)) for pair in pairs)
    slices = parse_range(value, length, 6)
    if slices:
        taken = [at for start, stop in slices for at in range(start, stop)]
        assert len(taken) == len(set(taken)) and set(taken) <= set(range(length))
        wanted = {at for pair in pairs for at in range(min(pair), max(pair) + 1) if at < length}
        assert set(taken) == wanted
        kind, between, total = multipart(slices, length, b"text/plain", b"seed")
        assert len(between) == len(slices) + 1 and total == sum(map(len, between)) + len(taken)


@given(HEADERS)
def test_end_to_end_fields_keep_order_and_lose_only_what_is_listed(headers):
    kept = list(end_to_end(headers))
    left = iter(headers)
    assert all(one in left for one in kept)
    assert all(name not in (b"connection", b"transfer-encoding") for name, _ in kept)


@given(HEADERS, HEADERS)
def test_requests_with_equal_fields_choose_alike(one, other):
    names = (b"accept-encoding", b"accept-language", b"foo")
    assert secondary(names, one) == secondary(names, list(one))
    alike = [[value for key, value in one if key == name] == [value for key, value in other if key == name] for name in names]
    if all(alike):
        assert secondary(names, one) == secondary(names, other)
