"""RFC 9111 section 4.4: what a request that changes something takes out of the store."""

import pytest

from front import Reply, always

from samovar.edge.rules import cache_key
from samovar.edge.rules.invalidation import reference_key

METHODS = ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "UNHEARD-OF", "get"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status, cached", [(200, False), (201, False), (204, False), (302, False), (404, True), (500, True)])
def test_changing_methods_invalidate_the_uri_when_they_succeed(method, status, cached):
    front = always(cache_control="max-age=60")
    front.ask()
    before, front.origin = front.origin, lambda *_: Reply(status)
    front.ask(method=method)
    front.origin = before
    assert front.ask().cached is cached


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE"])
def test_safe_methods_invalidate_nothing(method):
    front = always(cache_control="max-age=60")
    front.ask()
    before, front.origin = front.origin, lambda *_: Reply(200, b"", location="/")
    front.ask(method=method)
    front.origin = before
    assert front.ask().cached


@pytest.mark.parametrize("name", ["location", "content_location"])
@pytest.mark.parametrize("reference, taken", [
    ("/b/c", True), ("http://h/b/c", True), ("HTTP://H:80/b/c", True), ("//h/b/c", True), ("c", True), ("./c#x", True),
    ("../b/c", True), ("http://other/b/c", False), ("https://h/b/c", False), ("//h:81/b/c", False),
    ("http://h@other/b/c", False),
    ("javascript:x", False), ("/b/c?", False), ("http:///b/c", False), ("/b/%63", False)])
def test_uris_of_the_same_origin_that_the_answer_names_are_invalidated(name, reference, taken):
    front = always(cache_control="max-age=60")
    front.ask("/b/c")
    front.origin = lambda *_: Reply(201, **{name: reference})
    front.ask("/b/a", method="POST")
    assert front.ask("/b/c").cached is not taken


@pytest.mark.parametrize("reference, found", [
    ("", b"http://h/a/b?q"), ("?z", b"http://h/a/b?z"), ("c?y", b"http://h/a/c?y"), ("..", b"http://h/"), (".", b"http://h/a/"),
    ("../../..", b"http://h/"), ("#f", b"http://h/a/b?q"), ("a:b", None), ("/a b", None), ("\x00", None)], ids=ascii)
def test_references_are_resolved_beside_the_uri(reference, found):
    assert reference_key(b"http://h/a/b?q", reference.encode()) == found


def test_key_keeps_the_raw_target_and_folds_only_scheme_host_and_port():
    key = lambda target, host=b"h", scheme=b"http": cache_key(scheme, host, target)
    assert key(b"/a/../b") != key(b"/b") and key(b"/%61") != key(b"/a") and key(b"/a%2fb") != key(b"/a/b")
    assert key(b"/?a=1&b=2") != key(b"/?b=2&a=1") and key(b"/?a;b") != key(b"/?a") and key(b"/a") != key(b"/a/")
    assert key(b"/", b"H:80") == key(b"/", b"h") == key(b"/", b"h:") == key(b"http://H/") == key(b"HTTP://h")
    assert key(b"/", b"h:443", b"https") == key(b"/", b"h", b"HTTPS") != key(b"/", b"h:443")
    assert key(b"/", b"[::1]:80") == b"http://[::1]/"
    assert key(b"http://other/x") == b"http://other/x"  # an absolute target wins over Host


@pytest.mark.parametrize("target, host", [(b"/a b", b"h"), (b"/a#b", b"h"), (b"/\n", b"h"), (b"a", b"h"), (b"*",
                                                                                                           b"h"), (b"", b"h"),
                                          (b"/", b""), (b"/", b"h/x"), (b"/", b"h?x"), (b"/", b"a@b"), (b"/", b"h h"),
                                          (b"/", b"h,i/"),
                                          (b"ftp://h/", b"h"), (b"/", b"h:x"), (b"/\x00", b"h"), (b"/\x7f", b"h"),
                                          (b"http://h@i/", b"h")])
def test_request_without_a_clean_key_is_not_cached(target, host):
    assert cache_key(b"http", host, target) is None


def test_fields_that_could_rewrite_the_uri_do_not_reach_the_origin_unless_they_are_keyed():
    poison = {"x_forwarded_host": "evil", "x_original_url": "/admin", "x_http_method_override": "POST",
              "forwarded": "host=evil",
              "x_rewrite_url": "/admin", "x_forwarded_proto": "http", "x_host": "evil", "x_forwarded_scheme": "nothttps"}
    front = always(cache_control="max-age=60")
    front.ask(**poison, x_forwarded_for="1.2.3.4")
    assert set(front.seen[0][2]) == {"host", "x-forwarded-for"}
    front = always(cache_control="max-age=60", with_keyed=(b"x-forwarded-host",))
    front.ask(**poison)
    assert front.seen[0][2] == {"host": "h", "x-forwarded-host": "evil"}
    assert not front.ask().cached and front.ask(x_forwarded_host="evil").cached
