"""RFC 9211, Cache-Status on every answer; RFC 9213, targeted cache control."""

import importlib

import pytest

from front import START, Reply, always, fields, is_stored, scripted

from samovar._base.errors import MissingExtra
from samovar.edge.rules import Action, Policy, answer, hit_head, on_request


# ------------------------------------------------------------------ RFC 9211

def test_cache_status_says_what_was_done():
    front = scripted(Reply(cache_control="max-age=60", etag='"a"'), Reply(304, cache_control="max-age=60"),
                     Reply(cache_control="no-store"))
    assert front.ask()["cache-status"] == "samovar;fwd=uri-miss;ttl=60;stored"
    front.pass_time(7)
    assert front.ask()["cache-status"] == "samovar;hit;ttl=53"
    assert front.ask(if_none_match='"a"')["cache-status"] == "samovar;hit;ttl=53"
    front.pass_time(60)
    assert front.ask()["cache-status"] == "samovar;fwd=stale;fwd-status=304;ttl=60;stored"
    assert front.ask("/2")["cache-status"] == "samovar;fwd=uri-miss;detail=no-store"
    assert front.ask("/2", method="PUT")["cache-status"] == "samovar;fwd=method;detail=method"
    assert front.ask("/3", cache_control="only-if-cached")["cache-status"] == "samovar;fwd=uri-miss;detail=only-if-cached"


def test_cache_status_of_caches_before_this_one_is_kept():
    front = always(cache_control="max-age=60", cache_status="Shield;hit;ttl=9", with_name="outer")
    assert front.ask()["cache-status"] == "Shield;hit;ttl=9, outer;fwd=uri-miss;ttl=60;stored"
    assert front.ask()["cache-status"] == "Shield;hit;ttl=9, outer;hit;ttl=60"


def test_answer_to_one_that_waited_for_another_says_so():
    front = always(cache_control="max-age=60")
    front.ask()
    verdict = on_request(front.policy, front.key(), "GET", [], front.store[front.key()], START)
    assert (b"cache-status", b"samovar;fwd=miss;ttl=60;collapsed") in answer(front.policy, verdict, collapsed=True).headers


def test_head_of_a_plain_hit_is_the_same_in_one_piece():
    front = always(cache_control="max-age=60", x=["1", "2"], reason=b"Fine")
    front.ask()
    verdict = on_request(front.policy, front.key(), "GET", fields(host="h"), front.store[front.key()], START + 9)
    assert verdict.action is Action.SERVE
    sent = answer(front.policy, verdict)
    lines = [b"HTTP/1.1 200 Fine", *(name + b": " + value for name, value in sent.headers), b"", b""]
    assert hit_head(front.policy, verdict) == b"\r\n".join(lines)


# ------------------------------------------------------------------ RFC 9213

@pytest.mark.parametrize("control, cdn, seconds", [
    ("max-age=1", "max-age=60", 60), ("max-age=60", "max-age=1", 1), ("max-age=1", "max-age =60", 1), ("max-age=1",
                                                                                                       "max-age= 60", 1),
    ("max-age=1", "MaX-age=60", 1), ("no-store", "max-age=60", 60), ("max-age=60", "no-store", None), ("max-age=60",
                                                                                                       "private", None),
    ("max-age=60", "no-cache", 0), ("max-age=60", "max-age=0", 0), ("max-age=1", "foobar, max-age=60", 60),
    ("no-store", "max-age=60, &&&", None), ("no-store", 'max-age="60"', None), ("max-age=5", 'no-store="x"', 5),
    ("max-age=5", "", 5),
    ("max-age=5", "private=1", 5), ("max-age=1", "max-age=60;x=y", 60), ("max-age=1", "max-age=60, no-store=?0", 60),
    ("max-age=1", "max-age=2147483648", 2**31), ("max-age=1", "max-age=99999999999", 2**31), ("max-age=7",
                                                                                              "max-age=" + "9" * 30, 7),
    ("max-age=1", "max-age=-5", 0), ("max-age=1", "max-age=60, max-age=50", 50), ("max-age=5", "(a b)", 5),
    ("max-age=1", "foo=(1 2), max-age=9", 9),
    ("max-age=1", 's-maxage=9', 9), ("max-age=1", 'max-age=9, private="x"', 9), ("max-age=1", 'max-age=9, no-cache="x"', 9),
])
def test_targeted_field_counts_in_place_of_cache_control_when_it_is_valid(control, cdn, seconds):
    front = always(cache_control=control, cdn_cache_control=cdn, etag='"a"')
    front.ask()
    entries = list(front.store[front.key()])
    assert [entry.fresh for entry in entries] == ([] if seconds is None else [seconds])


def test_targeted_field_makes_expires_count_for_nothing():
    front = always(cdn_cache_control="max-age=60", expires="0")
    front.ask()
    assert front.ask().cached
    assert not is_stored(cdn_cache_control="foo", expires="Sun, 06 Nov 2094 08:49:37 GMT")


def test_field_for_this_cache_counts_before_that_for_all_cdns():
    front = always(samovar_cache_control="max-age=7", cdn_cache_control="max-age=60", etag='"a"')
    front.ask()
    front.pass_time(8)
    front.ask()
    assert len(front.seen) == 2
    front = always(samovar_cache_control="???", cdn_cache_control="max-age=60")
    front.ask()
    assert front.ask().cached


def test_targeted_fields_are_not_for_a_private_cache_and_travel_on():
    front = always(cdn_cache_control="no-store", cache_control="max-age=60", with_shared=False)
    front.ask()
    reply = front.ask()
    assert reply.cached and reply["cdn-cache-control"] == "no-store"


def test_targeted_field_without_its_extra_names_the_extra(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert always(cache_control="max-age=60").ask().status == 200
    with pytest.raises(MissingExtra, match=r"samovar\[edge\]"):
        always(cdn_cache_control="max-age=60").ask()


def test_policy_names_itself_in_cache_status():
    assert Policy(name="edge-1").token == b"edge-1"
