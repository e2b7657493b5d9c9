"""RFC 9111 section 3: what may be stored, and what of it."""

import pytest

from front import START, Front, Reply, always, fields, is_stored, scripted

from samovar._base.freshness import Freshness
from samovar.edge.rules import on_request
from samovar.edge.rules.dates import format_date

FRESH = "max-age=60"


# ------------------------------------------------------------------ 3: the conditions

@pytest.mark.parametrize("control", ["no-store", "max-age=60, No-Store", "no-store=x", "no-store;", '"no-store", no-store',
                                     "private", "private, max-age=60", 'private="', "max-age=60, no-store, public"])
def test_answer_is_not_stored_when_a_directive_forbids(control):
    assert not is_stored(cache_control=control, etag='"a"')


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 404, 405, 410, 414, 451, 499, 500, 501,
                                    503, 599, 299])
def test_final_status_is_stored_with_explicit_freshness(status):
    assert is_stored(status, body=b"" if status == 204 else b"x", cache_control=FRESH)


@pytest.mark.parametrize("status", [206, 304])
def test_partial_and_not_modified_answers_are_never_stored(status):
    assert not is_stored(status, cache_control=FRESH, content_range="bytes 0-3/4")


@pytest.mark.parametrize("status, understood", [(200, True), (404, True), (503, True), (599, False), (299, False),
                                                (499, False)])
def test_must_understand_is_stored_when_the_status_is_understood(status, understood):
    assert is_stored(status, cache_control="max-age=60, must-understand") is understood
    assert is_stored(status, cache_control="max-age=60, must-understand, no-store") is understood


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get", "X"])
def test_answers_to_other_methods_are_not_stored(method):
    assert not is_stored(method=method, cache_control=FRESH)


@pytest.mark.parametrize("location, stored", [("/", True), ("http://h/", True), ("", True), ("/other", False),
                                              ("http://other/", False)])
def test_answer_to_post_is_stored_when_it_says_that_it_is_the_resource(location, stored):
    """RFC 9110 section 9.3.3."""
    front = always(cache_control=FRESH, content_location=location)
    front.ask(method="POST")
    assert front.ask().cached is stored


def test_answer_to_post_is_not_stored_without_explicit_freshness():
    assert not is_stored(method="POST", content_location="/", last_modified=format_date(START - 9_999).decode())


@pytest.mark.parametrize("named, stored", [
    ({"cache_control": "public", "last_modified": "Sun, 06 Nov 1994 08:49:37 GMT"}, True),
    ({"expires": "Sun, 06 Nov 2094 08:49:37 GMT"}, True),
    ({"cache_control": "s-maxage=5"}, True),
    ({"last_modified": "Sun, 06 Nov 1994 08:49:37 GMT"}, True),
    ({}, False),
    ({"cache_control": "max-age=0"}, False),
    ({"cache_control": "max-age=0", "etag": '"a"'}, True),
    ({"cache_control": "no-cache"}, False),
    ({"cache_control": "no-cache", "etag": '"a"'}, True),
], ids=str)
def test_answer_is_stored_when_it_could_be_used(named, stored):
    assert is_stored(**named) is stored


def test_private_cache_keeps_private_answers_and_ignores_s_maxage():
    front = always(cache_control="private, max-age=60, s-maxage=1", with_shared=False)
    front.ask()
    front.pass_time(30)
    assert front.ask().cached


def test_request_that_says_no_store_leaves_nothing_behind():
    assert not is_stored(cache_control=FRESH, ask={"cache_control": "no-store"})


def test_request_with_a_body_is_neither_stored_nor_answered_from_the_store():
    front = always(cache_control=FRESH)
    front.ask(content_length="3")
    assert not front.ask().cached
    assert not front.ask(transfer_encoding="chunked").cached
    assert front.ask(content_length="0").cached


# ------------------------------------------------------------------ 3.1: fields

def test_hop_by_hop_fields_are_not_stored():
    front = always(cache_control=FRESH, connection="a, close, B", a="1", b="2", c="3", keep_alive="5", te="x", upgrade="h2c",
                   proxy_authenticate="Basic", proxy_authentication_info="x", proxy_connection="x", trailer="x")
    front.ask()
    reply = front.ask()
    assert reply.cached
    assert {name for name, _ in reply.headers} == {b"cache-control", b"c", b"date", b"content-length", b"age",
                                                   b"cache-status"}


@pytest.mark.parametrize("name", ["cache-control", "vary", "set-cookie", "expires", "date", "content-type"])
def test_connection_cannot_hide_what_decides(name):
    front = always(cache_control="no-store", connection=name, last_modified="Sun, 06 Nov 1994 08:49:37 GMT")
    assert front.ask()["cache-control"] == "no-store"
    assert not front.ask().cached


def test_repeated_fields_keep_their_order_and_number():
    front = always(cache_control=FRESH, link=["<a>", "<b>"], x="1")
    front.ask()
    assert [one for one in front.ask().headers if one[0] == b"link"] == fields(link=["<a>", "<b>"])


def test_date_is_added_where_it_is_missing_and_never_changed():
    front = always(cache_control=FRESH)
    first = front.ask()["date"]
    front.pass_time(30)
    assert first == front.ask()["date"] == format_date(START).decode()


@pytest.mark.parametrize("directive", ["private", "no-cache"])
def test_fields_named_by_a_qualified_directive_are_not_sent_again(directive):
    front = always(cache_control=[f'{directive}="A, b"', FRESH], a="1", b="2", c="3")
    assert front.ask()["a"] == "1"
    reply = front.ask()
    assert reply.cached and (reply["a"], reply["b"], reply["c"]) == (None, None, "3")


def test_qualified_directive_with_a_damaged_name_counts_for_the_whole():
    assert not is_stored(cache_control='private="a b", max-age=60')


# ------------------------------------------------------------------ 3.3: incomplete answers

@pytest.mark.parametrize("declared", ["3", "5", "abc", "4, 5", "-4", "0x4", "9" * 40])
def test_body_of_another_length_than_declared_is_not_stored(declared):
    front = always(cache_control=FRESH, content_length=declared)
    front.ask()
    assert not front.ask().cached


def test_content_lengths_that_differ_are_not_stored_and_equal_ones_are_sent_once():
    assert not is_stored(cache_control=FRESH, content_length=["4", "5"])
    front = always(cache_control=FRESH, content_length=["4", "4"])
    front.ask()
    reply = front.ask()
    assert reply.cached and reply["content-length"] == "4"


def test_body_without_declared_length_gets_one_when_it_is_whole():
    front = always(cache_control=FRESH, body=b"12345")
    front.ask()
    assert front.ask()["content-length"] == "5"


# ------------------------------------------------------------------ 3.5: Authorization

@pytest.mark.parametrize("control, stored", [(FRESH, False), ("public, max-age=60", True),
                                             ("must-revalidate, max-age=60", True),
                                             ("s-maxage=60", True), ("proxy-revalidate, max-age=60", False)])
def test_answer_to_an_authorized_request_is_stored_only_when_that_is_allowed(control, stored):
    assert is_stored(cache_control=control, ask={"authorization": "x"}) is stored


def test_private_cache_stores_answers_to_authorized_requests():
    front = always(cache_control=FRESH, with_shared=False)
    front.ask(authorization="x")
    assert front.ask(authorization="x").cached


# ------------------------------------------------------------------ Set-Cookie

def test_answer_with_set_cookie_is_not_stored_by_default():
    assert not is_stored(cache_control="public, max-age=60", set_cookie="a=b")
    assert not is_stored(cache_control='max-age=60, no-cache="a"', set_cookie="a=b", a="1")


@pytest.mark.parametrize("directive", ["private", "no-cache"])
def test_set_cookie_that_a_directive_takes_away_does_not_keep_the_rest_from_being_stored(directive):
    front = always(cache_control=f'max-age=60, {directive}="set-cookie"', set_cookie="a=b")
    assert front.ask()["set-cookie"] == "a=b"
    reply = front.ask()
    assert reply.cached and reply["set-cookie"] is None


def test_set_cookie_by_the_rfc_needs_explicit_freshness():
    front = always(cache_control=FRESH, set_cookie="a=b", with_set_cookie="rfc")
    front.ask()
    assert front.ask()["set-cookie"] == "a=b" and len(front.seen) == 1
    front = always(last_modified="Sun, 06 Nov 1994 08:49:37 GMT", set_cookie="a=b", with_set_cookie="rfc")
    front.ask()
    assert not front.ask().cached


# ------------------------------------------------------------------ what the owner decides

def test_negative_ttl_holds_for_not_found_without_a_word_of_the_origin():
    front = always(404, with_fresh=Freshness(negative_ttl=10))
    front.ask()
    front.pass_time(9)
    assert front.ask().cached
    front.pass_time(1)
    assert not front.ask().cached
    front = always(500, with_fresh=Freshness(negative_ttl=10, ttl=10))
    front.ask()
    assert not front.ask().cached


def test_ttl_of_the_owner_holds_where_a_heuristic_could():
    front = always(with_fresh=Freshness(ttl=10, negative_ttl=5))
    front.ask()
    front.pass_time(9)
    assert front.ask().cached


def test_answer_that_cannot_be_stored_marks_its_key_so_that_nobody_waits():
    front = always(cache_control="no-store", with_hit_for_miss=100)
    key = front.key()
    assert on_request(front.policy, key, "GET", [], None, front.now).collapse
    front.ask()
    assert not on_request(front.policy, key, "GET", [], front.store[key], front.now + 99).collapse
    assert on_request(front.policy, key, "GET", [], front.store[key], front.now + 100).collapse


def test_answer_that_is_stored_ends_the_mark():
    front = scripted(Reply(cache_control="no-store"), Reply(cache_control=FRESH))
    front.ask()
    front.ask()
    assert front.store[front.key()].mark == 0 and front.ask().cached


def test_tags_are_kept_and_too_many_keep_the_answer_out():
    front = always(cache_control=FRESH, surrogate_key="a b", cache_tag="c, a d")
    front.ask()
    (entry,) = front.store[front.key()]
    assert entry.tags == ("a", "b", "c", "a d")
    assert not is_stored(cache_control=FRESH, surrogate_key=" ".join(map(str, range(257))))
    assert not is_stored(cache_control=FRESH, surrogate_key="x" * 300)


def test_newer_answer_that_is_not_stored_takes_the_older_one_out():
    front = scripted(Reply(cache_control="max-age=60", etag='"a"'), Reply(cache_control="no-store"))
    front.ask()
    front.ask(cache_control="no-cache")
    assert not len(front.store[front.key()])


@pytest.mark.parametrize("words, error", [
    ({"set_cookie": "maybe"}, ValueError), ({"name": "a b"}, ValueError), ({"name": ""}, ValueError),
    ({"max_variants": 0}, ValueError), ({"max_tags": -1}, ValueError), ({"max_ranges": True}, TypeError),
    ({"keyed": (b"X-A",)}, ValueError), ({"keyed": ["x"]}, ValueError), ({"heuristic_share": 2}, ValueError),
    ({"fresh": 5}, TypeError),
], ids=str)
def test_policy_refuses_what_is_out_of_bounds(words, error):
    with pytest.raises(error, match=next(iter(words))):
        Front(**words)


@pytest.mark.parametrize("status", [407, 408, 411, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431, 511])
def test_answers_that_speak_of_one_request_are_not_stored_whatever_lifetime_they_claim(status):
    assert not is_stored(status, cache_control="public, max-age=60")
    assert not is_stored(status, cache_control="must-understand, max-age=60")
