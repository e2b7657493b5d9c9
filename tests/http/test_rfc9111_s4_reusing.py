"""RFC 9111 section 4: which stored answer is used, how fresh it is, and when it may be stale; RFC 5861; RFC 8246."""

import pytest

from front import START, Reply, always, fields, scripted

from samovar._base.freshness import Freshness
from samovar.edge.rules import Action, Policy, Result, Variants, on_request, on_response
from samovar.edge.rules.dates import format_date
from samovar.edge.rules.freshness import Arrival, born_at


def at(seconds):
    return format_date(START + seconds).decode()


def fresh_for(**named):
    """Seconds after which an answer is no longer used without asking, up to 10,000."""
    front = always(date=at(0), etag='"a"', **named)
    front.ask()
    low, high = 0, 10_000
    while low < high:
        middle = (low + high) // 2
        front.now = START + middle
        verdict = on_request(front.policy, front.key(), "GET", [], front.store[front.key()], front.now)
        low, high = (middle + 1, high) if verdict.action is Action.SERVE else (low, middle)
    return low


# ------------------------------------------------------------------ 4.2.1: lifetime

@pytest.mark.parametrize("named, seconds", [
    ({"cache_control": "max-age=60"}, 60),
    ({"cache_control": "MAX-AGE=60"}, 60),
    ({"cache_control": "max-age=60, s-maxage=7"}, 7),
    ({"cache_control": ["s-maxage=7", "max-age=60"]}, 7),
    ({"cache_control": "max-age=60", "expires": at(5)}, 60),
    ({"cache_control": "max-age=60", "expires": "0"}, 60),
    ({"cache_control": "max-age=0", "expires": at(50)}, 0),
    ({"expires": at(50)}, 50),
    ({"expires": at(0)}, 0),
    ({"expires": at(-50)}, 0),
    ({"expires": "0"}, 0),
    ({"expires": [at(50), at(50)]}, 50),
    ({"expires": [at(50), at(60)]}, 0),
    ({"cache_control": "max-age=0060"}, 60),
    ({"cache_control": 'max-age="60"'}, 60),
    ({"cache_control": "max-age=60, max-age=60"}, 60),
    ({"cache_control": "max-age=60, max-age=61"}, 0),
    ({"cache_control": "max-age=-60"}, 0),
    ({"cache_control": "max-age=60.0"}, 0),
    ({"cache_control": "max-age=a60"}, 0),
    ({"cache_control": "max-age='60'"}, 0),
    ({"cache_control": "max-age =60"}, 0),
    ({"cache_control": "max-age="}, 0),
    ({"cache_control": 'x="max-age=60", max-age=1'}, 1),
    ({"cache_control": 'max-age=1, x="max-age=60"'}, 1),
    ({"cache_control": 'max-age=60, x="unended'}, 60),
    ({"cache_control": 'x="unended, max-age=60'}, 0),
    ({"cache_control": "foo, max-age=60, bar=baz"}, 60),
    ({"cache_control": "max-age=60, no-cache"}, 0),
], ids=str)
def test_lifetime_is_what_the_origin_says(named, seconds):
    assert fresh_for(**named) == seconds


@pytest.mark.parametrize("number", ["2147483647", "2147483648", "2147483649", "99999999999", "1" + "0" * 30])
def test_lifetime_is_bounded_and_never_wraps(number):
    front = always(cache_control=f"max-age={number}")
    front.ask()
    front.pass_time(10**9)
    assert front.ask().cached


# ------------------------------------------------------------------ 4.2.2: heuristics

def test_heuristic_is_a_tenth_of_the_age_and_capped():
    assert fresh_for(last_modified=at(-1_000)) == 100
    front = always(last_modified=at(-10**9), date=at(0))
    front.ask()
    front.pass_time(86_399)
    assert front.ask().cached
    front.pass_time(1)
    front.ask()
    assert len(front.seen) == 2


@pytest.mark.parametrize("status, control, used", [
    *((status, None, True) for status in (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)),
    *((status, None, False) for status in (201, 202, 302, 307, 403, 500, 502, 503, 504, 599)),
    (599, "public", True), (302, "public", True)])
def test_heuristic_is_for_statuses_that_allow_it(status, control, used):
    named = {"cache_control": control} if control else {}
    front = always(status, body=b"", last_modified=at(-86_400), date=at(0), **named)
    front.ask()
    assert front.ask().cached is used


def test_heuristic_gives_way_to_pragma_without_cache_control():
    assert fresh_for(last_modified=at(-1_000), pragma="no-cache") == 0
    assert fresh_for(last_modified=at(-1_000), pragma="no-cache", cache_control="max-age=5") == 5


# ------------------------------------------------------------------ 4.2.3: age

@pytest.mark.parametrize("value, seconds", [
    ("30", 70), ("0", 100), ("30, 0", 70), ("0, 30", 100), ("100", 0), ("99", 1), ("2147483648", 0), ("9" * 30, 0),
    ("abc", 100), ("-30", 100), ("30.0", 100), ("30;x=1", 100), ("", 100), (",", 100), ("+30", 100), ("٣", 100),
    (["30", "0"], 70), (["0", "30"], 100)], ids=ascii)
def test_age_is_the_first_member_in_digits(value, seconds):
    value = [value] if isinstance(value, str) else value
    raw = [(b"age", one.encode()) for one in value]
    assert fresh_for(cache_control="max-age=100", headers=raw) == seconds


def test_age_counts_the_date_and_the_time_on_the_way():
    assert START - born_at(fields(date=at(-40)), Arrival(START, START, START)) == 40
    assert START - born_at(fields(date=at(40)), Arrival(START, START, START)) == 0
    assert START - born_at(fields(date=at(-40), age="50"), Arrival(START - 5, START, START)) == 55
    assert START - born_at(fields(date="nonsense", age="50"), Arrival(START, START, START)) == 50


def test_dates_are_compared_with_the_clock_when_it_was_set_back():
    """Time goes on where it was; what an origin writes now would else be hours old as long as this process lives."""
    assert START - born_at(fields(date=at(-7_200)), Arrival(START, START, START - 7_200)) == 0
    assert START - born_at(fields(date=at(-7_240)), Arrival(START, START, START - 7_200)) == 40
    verdict = on_request(Policy(), b"http://h/", "GET", fields(host="h"), None, START)
    came = on_response(Policy(), verdict, 200, b"OK", fields(cache_control="max-age=60", date=at(-7_200)), asked_at=START,
                       received=START, clock=START - 7_200)
    assert (came.result, came.entry.age(START + 9), came.entry.received) == (Result.STORE, 9, START)
    undated = on_response(Policy(), verdict, 200, b"OK", fields(cache_control="max-age=60"), asked_at=START,
                          received=START, clock=START - 7_200)
    assert dict(undated.headers)[b"date"] == at(-7_200).encode() and undated.entry.age(START + 9) == 9


def test_answer_from_the_store_says_its_age():
    front = always(cache_control="max-age=100", age="30")
    assert front.ask()["age"] == "30"
    front.pass_time(10.9)
    assert front.ask()["age"] == "40"


def test_clock_that_steps_back_makes_nothing_younger_than_it_was():
    front = always(cache_control="max-age=100")
    front.ask()
    front.pass_time(-1_000)
    assert front.ask()["age"] == "0"


# ------------------------------------------------------------------ 4: constructing; 5.2.1: what the client wants

@pytest.mark.parametrize("control, cached", [
    ("max-age=0", False), ("max-age=9", False), ("max-age=10", True), ("min-fresh=40", False), ("min-fresh=30", True),
    ("no-cache", False), ("no-cache=x", False), ("max-stale", True), ("max-age=abc", False), ("no-store", True),
    ("min-fresh=x", False), ("foo", True), ("only-if-cached", True)])
def test_client_gets_what_it_wants_of_a_fresh_answer(control, cached):
    front = always(cache_control="max-age=40")
    front.ask()
    front.pass_time(10)
    assert front.ask(cache_control=control).cached is cached


@pytest.mark.parametrize("control, cached", [("max-stale", True), ("max-stale=10", True), ("max-stale=9", False),
                                             ("max-stale=x", False), ("max-stale=", False), ("", False)])
def test_client_may_accept_a_stale_answer(control, cached):
    front = always(cache_control="max-age=40")
    front.ask()
    front.pass_time(50)
    assert front.ask(cache_control=control).cached is cached


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "s-maxage=40", "no-cache"])
def test_nothing_stale_is_served_where_the_origin_forbids(directive):
    def front(*replies):
        one = scripted(Reply(cache_control=f"max-age=40, {directive}", etag='"a"'), *replies,
                       fresh=Freshness(stale_while_revalidate=1_000, stale_if_error=1_000))
        one.ask()
        one.pass_time(50)
        return one

    assert not front(Reply(body=b"new")).ask(cache_control="max-stale").cached
    assert front(ConnectionError()).ask().status == 504
    assert front(Reply(503, b"busy")).ask().status == 503
    assert not front(Reply(body=b"new")).ask().cached


def test_proxy_revalidate_does_not_bind_a_private_cache():
    front = scripted(Reply(cache_control="max-age=40, proxy-revalidate"), ConnectionError(), shared=False)
    front.ask()
    front.pass_time(50)
    assert front.ask().cached


def test_client_pragma_counts_where_there_is_no_cache_control():
    front = always(cache_control="max-age=40")
    front.ask()
    assert not front.ask(pragma="no-cache").cached
    assert front.ask(pragma="no-cache", cache_control="max-age=100").cached
    assert front.ask(pragma="foo").cached


def test_client_is_not_obeyed_where_the_owner_says_so():
    front = always(cache_control="max-age=40", with_obey_client=False)
    front.ask()
    for control in ("no-cache", "max-age=0", "min-fresh=100"):
        assert front.ask(cache_control=control).cached
    assert front.ask("/2", cache_control="only-if-cached").status == 504


def test_only_if_cached_never_asks_the_origin():
    front = always(cache_control="max-age=40")
    assert front.ask(cache_control="only-if-cached").status == 504
    front.ask()
    assert front.ask(cache_control="only-if-cached").cached
    front.pass_time(50)
    assert front.ask(cache_control="only-if-cached").status == 504 and len(front.seen) == 1


def test_reload_asks_the_origin_even_within_the_second():
    front = always(cache_control="max-age=40")
    front.ask()
    assert not front.ask(cache_control="max-age=0").cached


def test_immutable_answer_is_not_asked_for_again_by_a_reload():
    """RFC 8246 section 2."""
    front = always(cache_control="max-age=40, immutable", etag='"a"')
    front.ask()
    assert front.ask(cache_control="max-age=0").cached
    assert not front.ask(cache_control="no-cache").cached
    front.pass_time(50)
    assert not front.ask(cache_control="max-age=0").cached


# ------------------------------------------------------------------ 4.2.4, RFC 5861: stale

def test_stale_answer_is_served_while_it_is_revalidated():
    front = scripted(Reply(cache_control="max-age=10, stale-while-revalidate=20", etag='"a"'),
                     Reply(body=b"new", cache_control="max-age=10"))
    front.ask()
    front.pass_time(29)
    reply = front.ask()
    assert reply.body == b"body" and reply["cache-status"] == "samovar;hit;ttl=-19"
    front.revalidate_in_background()
    assert front.seen[-1][2]["if-none-match"] == '"a"'
    assert front.ask().body == b"new"
    front.pass_time(31)
    assert front.ask().body == b"new" and len(front.seen) == 3  # past the window the client waits


def test_stale_answer_stands_in_for_an_error_within_its_time():
    for failure in (ConnectionError(), *(Reply(status, b"busy") for status in (500, 502, 503, 504))):
        front = scripted(Reply(cache_control="max-age=10, stale-if-error=20"), failure)
        front.ask()
        front.pass_time(29)
        reply = front.ask()
        assert (reply.status, reply.body, reply.cached) == (200, b"body", True)
        assert "detail=origin-" in reply["cache-status"] and reply["age"] == "29"
        front.pass_time(1)
        assert front.ask().status in (500, 502, 503, 504)


def test_answer_without_a_word_about_errors_stands_in_for_as_long_as_the_owner_says():
    front = scripted(Reply(cache_control="max-age=10"), ConnectionError(), disconnected=100)
    front.ask()
    front.pass_time(109)
    assert front.ask().cached
    front.pass_time(1)
    assert front.ask().status == 502


def test_error_that_is_no_failure_of_the_origin_is_passed_on():
    for status in (400, 403, 404, 429, 501):
        front = scripted(Reply(cache_control="max-age=10, stale-if-error=20"), Reply(status, b"no"))
        front.ask()
        front.pass_time(15)
        assert front.ask().status == status


def test_client_may_accept_an_old_answer_in_place_of_an_error():
    front = scripted(Reply(cache_control="max-age=10, stale-if-error=0"), Reply(503))
    front.ask()
    front.pass_time(15)
    assert front.ask(cache_control="stale-if-error=5").cached
    assert front.ask(cache_control="stale-if-error=4").status == 503


def test_grace_of_the_owner_holds_where_the_origin_is_silent():
    front = always(cache_control="max-age=10", etag='"a"', with_fresh=Freshness(stale_while_revalidate=20))
    front.ask()
    front.pass_time(29)
    assert front.ask().cached and front.background


def test_soft_purge_makes_stale_and_keeps_grace():
    front = scripted(Reply(cache_control="max-age=100, stale-while-revalidate=20", etag='"a"'), Reply(304))
    front.ask()
    front.pass_time(10)
    front.store[front.key()] = front.store[front.key()].softened(front.now)
    told = front.ask()
    assert told.cached and front.background
    assert int(told["age"]) >= 100  # a cache further on would take it for fresh, if it heard its true age
    front.pass_time(21)
    front.ask()
    assert len(front.seen) == 2


# ------------------------------------------------------------------ 4.1: Vary

@pytest.mark.parametrize("vary", ["*", "*, *", ", *", "Foo, *", "*, Foo", ["", "*"], ["foo", "*"], '"*"', "foo bar", "foo;*",
                                  ", ".join(f"f{n}" for n in range(17))], ids=str)
def test_vary_that_no_request_can_match_keeps_the_answer_out(vary):
    front = always(cache_control="max-age=60", vary=vary)
    front.ask(foo="1")
    assert not front.ask(foo="1").cached


@pytest.mark.parametrize("first, second, same", [
    ({"foo": "1"}, {"foo": "1"}, True), ({"foo": "1"}, {"foo": "2"}, False), ({"foo": "1"}, {}, False), ({},
                                                                                                         {"foo": "1"}, False),
    ({}, {}, True), ({}, {"foo": ""}, False), ({"foo": "1"}, {"foo": "1", "bar": "2"}, True),
    ({"foo": "1, 2"}, {"foo": ["1", "2"]}, True), ({"foo": "1,2"}, {"foo": " 1 ,\t2 "}, True), ({"foo": "a"},
                                                                                                {"foo": "A"}, False),
    ({"foo": '"a, b"'}, {"foo": '"a,b"'}, False), ({"foo": "1,2"}, {"foo": "2,1"}, False),
], ids=str)
def test_vary_is_compared_in_normal_form(first, second, same):
    front = always(cache_control="max-age=60", vary="Foo")
    front.ask(**first)
    assert front.ask(**second).cached is same


@pytest.mark.parametrize("name, one, other, same", [
    ("accept-language", "en, de", "de,EN", True), ("accept-language", "en;q=0.5, de", "de, en;q=0.50", True),
    ("accept-language", "en;q=0.5, de", "en, de;q=0.5", False), ("accept-language", "en", "fr", False),
    ("accept-encoding", "gzip, br", "br,gzip", True), ("accept-encoding", "gzip", "GZIP, sdch, x1", True),
    ("accept-encoding", "gzip", "gzip, br;q=0", True), ("accept-encoding", "gzip", "gzip;q=1.000", True),
    ("accept-encoding", "gzip", "gzip, identity;q=0", False), ("accept-encoding", "x-gzip", "gzip", True),
    ("accept-encoding", "gzip", "gzip;q=0.5, *", False), ("accept-encoding", "*", "gzip;q=0, *", False),
    ("accept-encoding", "*;q=0, br", "gzip;q=0, br, *;q=0", True), ("accept-encoding", "gzip;q=2", "gzip", False),
])
def test_vary_on_preferences_folds_what_means_nothing(name, one, other, same):
    front = always(cache_control="max-age=60", vary=name)
    front.ask(headers=[(name.encode(), one.encode())])
    assert front.ask(headers=[(name.encode(), other.encode())]).cached is same


def test_origin_is_asked_with_the_encoding_that_is_compared():
    front = always(cache_control="max-age=60", vary="accept-encoding")
    front.ask(accept_encoding="sdch, br;q=0.5 , GZIP")
    assert front.seen[0][2]["accept-encoding"] == "gzip, br;q=0.500"
    front.ask(accept_encoding="*, gzip;q=0")  # a refusal that `*` would undo goes with it
    assert front.seen[1][2]["accept-encoding"] == "*, gzip;q=0.000"


def test_vary_order_and_case_of_names_mean_nothing():
    front = scripted(Reply(cache_control="max-age=60", vary="Foo, Bar"), Reply(cache_control="max-age=60", vary="bar, FOO"))
    front.ask(foo="1", bar="2")
    front.ask(foo="3", bar="4")
    assert front.ask(bar="2", foo="1").cached and front.ask(bar="4", foo="3").cached
    assert len(front.store[front.key()].axes) == 1


def test_newest_of_several_that_match_is_used():
    front = scripted(Reply(cache_control="max-age=60", vary="foo", date=at(0), body=b"old"),
                     Reply(cache_control="max-age=60", date=at(5), body=b"new"))
    front.ask(foo="1")
    front.ask(foo="2")
    assert front.ask(foo="1").body == b"new"


def test_variants_are_capped_and_the_oldest_leaves():
    front = always(cache_control="max-age=60", vary="foo", with_max_variants=3)
    for number in range(6):
        front.ask(foo=str(number))
        front.pass_time(1)
    assert len(front.store[front.key()]) == 3
    assert not front.ask(foo="2").cached and front.ask(foo="5").cached


def test_reader_of_variants_sees_one_state_whatever_is_stored_after():
    front = always(cache_control="max-age=60", vary="foo")
    front.ask(foo="1")
    before = front.store[front.key()]
    front.ask(foo="2")
    assert (len(before), len(front.store[front.key()])) == (1, 2)
    (entry,) = before
    assert len(front.store[front.key()].without(entry)) == 1 and not len(Variants().without(entry))


def test_reason_for_asking_is_said():
    policy = Policy()
    front = always(cache_control="max-age=60", vary="foo")
    assert on_request(policy, front.key(), "GET", [], None, START).reason == "uri-miss"
    front.ask(foo="1")
    stored = front.store[front.key()]
    assert on_request(policy, front.key(), "GET", [], stored, START).reason == "vary-miss"
    one = fields(foo="1")
    assert on_request(policy, front.key(), "GET", one, stored, START + 70).reason == "stale"
    assert on_request(policy, front.key(), "GET", [*one, (b"cache-control", b"no-cache")], stored, START).reason == "request"
    assert on_request(policy, front.key(), "PUT", one, stored, START).reason == "method"
    assert on_request(policy, None, "GET", one, None, START).reason == "bypass"
