"""RFC 9111 sections 4.3 and 3.2, RFC 9110 sections 8.8, 13 and 15.4.5: asking and being asked if it is still the same."""

import pytest

from front import START, Reply, always, fields, scripted

from samovar.edge.rules.dates import format_date
from samovar.edge.rules.validation import entity_tags, strong_match, weak_match


def at(seconds):
    return format_date(START + seconds).decode()


# ------------------------------------------------------------------ RFC 9110 13: being asked

@pytest.mark.parametrize("stored, asked, status", [
    ('"a"', '"a"', 304), ('"a"', 'W/"a"', 304), ('W/"a"', '"a"', 304), ('W/"a"', 'W/"a"', 304), ('"a"', '"b"', 200),
    ('"a"', '"x", "a"', 304), ('"a"', '"x","y" , W/"a", "z"', 304), ('"a"', "*", 304), ('"a"', "a", 200), ('"a"', "", 200),
    ('"a"', 'x, "a"', 200), ('"a,b"', '"a,b"', 304), ('"a"', '"a', 200), ("a", "a", 304), ('"\xe9"', '"\xe9"', 304),
    ('"a"', ['"x"', '"a"'], 304), ('"A"', '"a"', 200)], ids=ascii)
def test_if_none_match_compares_weakly(stored, asked, status):
    front = always(cache_control="max-age=60", etag=stored)
    front.ask()
    reply = front.ask(if_none_match=asked)
    assert reply.cached and reply.status == status
    assert reply.body == (b"" if status == 304 else b"body")


@pytest.mark.parametrize("modified, since, status", [
    (at(-100), at(-100), 304), (at(-100), at(-50), 304), (at(-100), at(-101), 200), (at(-100), "nonsense", 200),
    (None, at(0), 304), (None, at(-1), 200), ("nonsense", at(0), 304),
    (at(-100), "Sunday, 13-Sep-20 12:26:40 GMT", 304), (at(-100), "Sun Sep 13 12:26:40 2020", 304)], ids=str)
def test_if_modified_since_compares_with_last_modified_or_date(modified, since, status):
    named = {"last_modified": modified} if modified else {}
    front = always(cache_control="max-age=60", date=at(0), **named)
    front.ask()
    reply = front.ask(if_modified_since=since)
    assert reply.cached and reply.status == status


def test_if_none_match_wins_over_if_modified_since():
    front = always(cache_control="max-age=60", etag='"a"', last_modified=at(-100))
    front.ask()
    assert front.ask(if_none_match='"a"', if_modified_since=at(-1_000)).status == 304
    assert front.ask(if_none_match='"b"', if_modified_since=at(0)).status == 200


@pytest.mark.parametrize("name", ["if_match", "if_unmodified_since"])
def test_conditions_that_only_the_origin_can_judge_go_there(name):
    front = scripted(Reply(cache_control="max-age=60", etag='"a"'), Reply(412))
    front.ask()
    assert front.ask(**{name: '"b"'}).status == 412
    assert name.replace("_", "-") in front.seen[-1][2]
    assert front.ask().cached


def test_conditions_count_only_where_the_answer_is_a_success():
    front = always(404, cache_control="max-age=60", etag='"a"')
    front.ask()
    assert front.ask(if_none_match='"a"').status == 404


def test_condition_without_anything_stored_goes_to_the_origin_as_it_is():
    front = scripted(Reply(304, etag='"a"'))
    assert front.ask(if_none_match='"a"').status == 304
    assert front.seen[0][2]["if-none-match"] == '"a"'
    assert not len(front.store[front.key()])


def test_304_to_a_request_without_condition_is_a_bad_gateway():
    front = scripted(Reply(304, etag='"a"'))
    assert front.ask().status == 502


def test_304_says_what_guides_caches_and_nothing_of_the_body():
    """RFC 9110 section 15.4.5."""
    front = always(cache_control="max-age=60", etag='"a"', last_modified=at(-9), vary="foo", content_location="/x",
                   expires=at(9), content_type="text/plain", content_language="en", x="1", date=at(0))
    front.ask()
    reply = front.ask(if_none_match='"a"')
    names = {name.decode() for name, _ in reply.headers}
    assert names == {"cache-control", "etag", "vary", "content-location", "expires", "date", "age", "cache-status"}


def test_304_keeps_last_modified_where_there_is_no_etag():
    front = always(cache_control="max-age=60", last_modified=at(-9))
    front.ask()
    assert front.ask(if_modified_since=at(-9))["last-modified"] == at(-9)


# ------------------------------------------------------------------ 4.3.1: asking

def test_stale_answer_is_asked_for_with_its_validators():
    front = scripted(Reply(cache_control="max-age=5", etag='W/"a"', last_modified=at(-9), vary="foo"), Reply(304))
    front.ask(foo="1")
    front.pass_time(6)
    reply = front.ask(foo="1", if_none_match='"client"', if_modified_since=at(0), range="bytes=0-1", if_range='"x"')
    sent = front.seen[-1][2]
    assert (sent["if-none-match"], sent["if-modified-since"], sent["foo"]) == ('W/"a"', at(-9), "1")
    assert "range" not in sent and "if-range" not in sent
    assert (reply.status, reply.body) == (200, b"body")


def test_validator_that_is_no_date_is_not_sent():
    front = always(cache_control="max-age=5, stale-while-revalidate=9", last_modified="nonsense")
    front.ask()
    front.pass_time(6)
    front.ask(cache_control="no-cache")
    assert "if-modified-since" not in front.seen[-1][2]


def test_client_condition_is_judged_after_the_answer_was_renewed():
    front = scripted(Reply(cache_control="max-age=5", last_modified=at(-9)), Reply(304, cache_control="max-age=5"))
    front.ask()
    front.pass_time(6)
    assert front.ask(if_modified_since=at(-9)).status == 304
    assert front.ask().cached


def test_client_condition_is_judged_on_a_new_answer_too():
    front = scripted(Reply(cache_control="max-age=5", etag='"a"'), Reply(cache_control="max-age=5", etag='"b"', body=b"new"))
    front.ask()
    front.pass_time(6)
    reply = front.ask(if_none_match='"b"')
    assert (reply.status, reply.body) == (304, b"")
    assert front.ask().body == b"new"


# ------------------------------------------------------------------ 4.3.4, 3.2: freshening

def renewed(stored, new):
    """The second answer of three, and the third: what a 304 with the fields `new` makes of `stored`."""
    front = scripted(Reply(headers=fields(**stored)), Reply(304, b"", fields(**new)))
    front.ask()
    front.pass_time(6)
    return front.ask(), front.ask(), front


def test_304_renews_fields_and_lifetime():
    second, third, front = renewed({"cache_control": "max-age=5", "etag": '"a"', "x": ["1", "2"], "y": "1"},
                                   {"cache_control": "max-age=50", "x": "3", "z": "4", "date": at(6)})
    for reply in (second, third):
        assert reply.cached and reply.body == b"body"
        assert (reply["x"], reply["y"], reply["z"], reply["cache-control"]) == ("3", "1", "4", "max-age=50")
    assert len(front.seen) == 2 and third["age"] == "0" and third["date"] == at(6)
    assert second["cache-status"] == "samovar;fwd=stale;fwd-status=304;ttl=50;stored"


@pytest.mark.parametrize("name, before, after", [
    ("content-length", "4", "400"), ("content-encoding", "gzip", "br"), ("content-range", "bytes 0-3/4", "bytes 0-1/2")])
def test_304_never_changes_what_is_bound_to_the_body(name, before, after):
    word = name.replace("-", "_")
    second, third, _ = renewed({"cache_control": "max-age=5", "etag": '"a"', word: before},
                               {"cache_control": "max-age=5", word: after, "transfer_encoding": "chunked"})
    assert second[name] == third[name] == before and third["transfer-encoding"] is None


def test_304_brings_no_hop_by_hop_field_and_no_cookie_into_the_store():
    second, third, _ = renewed({"cache_control": "max-age=5", "etag": '"a"', "x": "1"},
                               {"cache_control": "max-age=5", "connection": "x", "x": "2", "set_cookie": "a=b"})
    assert second["set-cookie"] == "a=b" and second["x"] == "1"
    assert third.cached and third["set-cookie"] is None and third["x"] == "1"


def test_304_of_another_answer_changes_nothing_and_the_origin_is_asked_anew():
    front = scripted(Reply(cache_control="max-age=5", etag='"a"'), Reply(304, etag='"b"', x="poison"),
                     Reply(body=b"new", cache_control="max-age=5", etag='"c"'))
    front.ask()
    front.pass_time(6)
    reply = front.ask()
    assert reply.body == b"new" and reply["x"] is None and "if-none-match" not in front.seen[-1][2]
    assert front.ask().body == b"new"


def test_304_replaces_the_cookies_that_are_stored_and_adds_to_none_that_are_not():
    front = scripted(Reply(cache_control="max-age=5", etag='"a"', set_cookie=["a=b", "c=d"]),
                     Reply(304, b"", etag='"a"', set_cookie="a=c"), set_cookie="rfc")
    front.ask()
    front.pass_time(9)
    assert front.ask()["set-cookie"] == "a=c" and front.ask()["set-cookie"] == "a=c" and len(front.seen) == 2
    front = scripted(Reply(cache_control='max-age=5, no-cache="set-cookie"', etag='"a"', set_cookie="a=b"),
                     Reply(304, b"", etag='"a"', set_cookie="a=c"), set_cookie="rfc")
    front.ask()
    front.pass_time(9)
    assert front.ask()["set-cookie"] == "a=c" and front.ask()["set-cookie"] is None
    taken = {"cache_control": 'max-age=5, no-cache="set-cookie"', "set_cookie": "a=c"}
    front = scripted(Reply(cache_control="max-age=5", etag='"a"', set_cookie="a=b"), Reply(304, b"", etag='"a"', **taken),
                     set_cookie="rfc")
    front.ask()
    front.pass_time(9)
    assert front.ask()["set-cookie"] == "a=c" and front.ask()["set-cookie"] is None


def test_304_that_forbids_storing_is_used_once():
    second, third, front = renewed({"cache_control": "max-age=5", "etag": '"a"'}, {"cache_control": "no-store"})
    assert second.cached and len(front.seen) == 3 and third.status == 502


def test_304_that_varies_otherwise_moves_the_entry():
    second, _, front = renewed({"cache_control": "max-age=5", "etag": '"a"', "vary": "foo"},
                               {"cache_control": "max-age=50", "vary": "bar"})
    assert second.cached
    (entry,) = front.store[front.key()]
    assert entry.vary == (b"bar",)


def test_new_answer_takes_the_place_of_the_old_one():
    front = scripted(Reply(cache_control="max-age=5", etag='"a"'), Reply(body=b"new", cache_control="max-age=5", etag='"b"'))
    front.ask()
    front.pass_time(6)
    assert not front.ask().cached
    assert front.ask().body == b"new" and len(front.store[front.key()]) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_answer_that_is_gone_takes_the_old_one_out(status):
    front = scripted(Reply(cache_control="max-age=5", etag='"a"'), Reply(status))
    front.ask()
    front.pass_time(6)
    assert front.ask().status == status and not len(front.store[front.key()])


# ------------------------------------------------------------------ 4.3.5: HEAD

def test_head_is_answered_from_a_stored_get_without_its_body():
    front = always(cache_control="max-age=5", etag='"a"')
    front.ask()
    reply = front.ask(method="HEAD")
    assert reply.cached and reply.body == b"" and reply["content-length"] == "4"
    assert front.ask(method="HEAD", if_none_match='"a"').status == 304
    assert front.ask(method="HEAD", range="bytes=0-1").status == 200


def test_head_renews_what_it_describes_and_takes_out_what_it_does_not():
    def after(**named):
        front = scripted(Reply(cache_control="max-age=5", x="1", content_length="4"), Reply(body=b"", **named),
                         ConnectionError())
        front.ask()
        front.pass_time(6)
        front.ask(method="HEAD")
        return front.ask()

    assert after(cache_control="max-age=50", x="2")["x"] == "2"
    assert after(cache_control="max-age=50", content_length="4").cached
    assert not after(cache_control="max-age=50", content_length="5").cached
    assert not after(cache_control="max-age=50", etag='"new"').cached
    assert not after(status=404).cached


# ------------------------------------------------------------------ RFC 9110 8.8.3

def test_entity_tags_are_compared_as_the_rfc_shows():
    pairs = [(b'W/"1"', b'W/"1"', False, True), (b'W/"1"', b'W/"2"', False, False), (b'W/"1"', b'"1"', False, True),
             (b'"1"', b'"1"', True, True)]
    for one, other, strong, weak in pairs:
        assert (strong_match(one, other), weak_match(one, other)) == (strong, weak)


def test_entity_tags_are_read_up_to_the_first_that_is_none():
    assert entity_tags(b' "a" ,W/"b,c",, ""') == [b'"a"', b'W/"b,c"', b'""']
    assert entity_tags(b'"a", b, "c"') == [b'"a"']
    assert entity_tags(b'"a b"') == entity_tags(b'w/"a"') == entity_tags(b'"a"x') == []
