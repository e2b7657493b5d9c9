"""Attacks on what is stored, against a running proxy: to make it keep, for everybody, an answer that one request bent
(poisoning), and to make it keep one person's answer where others find it (deception).

The origin here is a bad one: it believes every field that frameworks are known to believe, and says in its body what it
took the request for.
"""

import pytest

from raw import Running, answer, get, run

FRESH = "Cache-Control: max-age=60"
BELIEVED = ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Port", "X-Forwarded-Prefix",
            "X-Forwarded-Server", "X-Original-URL", "X-Original-Host", "X-Rewrite-URL", "X-Host", "Forwarded",
            "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-HTTP-Host-Override"]


def proxied(test, origin, **settings):
    async def running():
        async with Running(origin, **settings) as proxy:
            await test(proxy)

    run(running())


async def gullible(reader, writer, number, head):
    """Answer with the request's fields, but for what differs with each hop or is the proxy's own."""
    lines = [line for line in head.split(b"\r\n")[1:-2]
             if line.split(b":")[0].lower() not in (b"via", b"cdn-loop", b"x-forwarded-for", b"connection")]
    writer.write(answer(b"\n".join([head.split(b"\r\n")[0], *sorted(lines)]), FRESH, "Vary: Accept-Encoding"))


def with_gullible(test, **settings):
    proxied(test, gullible, **settings)


# ------------------------------------------------------------------ poisoning

@pytest.mark.parametrize("name", BELIEVED)
def test_fields_that_are_no_part_of_the_key_do_not_bend_what_is_stored(name):
    async def test(proxy):
        _, _, evil = await proxy.ask(get("/", f"{name}: evil"))
        _, fields, body = await proxy.ask(get("/"))
        assert "hit" in fields["cache-status"] and b"evil" not in body and body == evil

    with_gullible(test)


@pytest.mark.parametrize("name", ["X_Forwarded_Host", "X-Original_URL", "X.Forwarded.Proto", "X_Forwarded_For",
                                  "Content_Length", "Transfer_Encoding", "If_None_Match"])
def test_other_spellings_of_fields_that_decide_something_do_not_reach_the_origin(name):
    async def test(proxy):
        await proxy.ask(get("/", f"{name}: 7", "X_Api_Key: mine"))
        (head,) = proxy.origin.heads
        assert name.lower().encode() not in head and b"x_api_key: mine" in head

    with_gullible(test)


def test_fields_listed_in_connection_do_not_bend_what_is_stored():
    async def test(proxy):
        await proxy.ask(get("/", "Connection: Cookie, Host, Authorization", "Cookie: a=b"))
        assert b"cookie: a=b" in proxy.origin.heads[0] and b"host: h" in proxy.origin.heads[0]

    with_gullible(test)


@pytest.mark.parametrize("target, host", [("http://h/", "evil"), ("HTTP://h/", "evil:80"), ("http://H/", "evil")])
def test_absolute_target_takes_the_host_with_it_to_the_origin(target, host):
    async def test(proxy):
        _, _, body = await proxy.ask(get(target, host=host))
        assert b"evil" not in body and b"GET / " in body
        assert "hit" in (await proxy.ask(get("/")))[1]["cache-status"]

    with_gullible(test)


def test_hosts_are_kept_apart():
    async def test(proxy):
        for host in ("a", "b", "a:81", "a.", "xa"):
            assert b"host: " + host.encode() in (await proxy.ask(get("/", host=host)))[2]
        assert len(proxy.origin.heads) == 5

    with_gullible(test)


@pytest.mark.parametrize("targets", [
    ["/a?x=1&utm_content=y;x=evil", "/a?x=1", "/a?x=evil"], ["/a?x=1&x=evil", "/a?x=1"], ["/a?x=evil&x=1",
        "/a?x=1&x=evil"],
    ["/a%2fb", "/a/b", "/a%2Fb"], ["/a/../b", "/b", "/a/%2e%2e/b", "/./b"], ["/a%00", "/a"], ["/a;evil", "/a"],
    ["//h/a", "/a"],
    ["/a%3fx=1", "/a?x=1"], ["/a?", "/a"], ["/A", "/a"], ["/a\\b", "/a/b"], ["/a%23", "/a"], ["/a+b", "/a%20b"]])
def test_targets_that_an_origin_may_tell_apart_are_kept_apart(targets):
    async def test(proxy):
        for _ in range(2):
            for target in targets:
                assert (await proxy.ask(get(target)))[2].startswith(b"GET " + target.encode() + b" ")
        assert len(proxy.origin.heads) == len(targets)

    with_gullible(test)


@pytest.mark.parametrize("target", ["/a#evil", "/a b", "/\x80", "a", "http://", "?x", "ftp://h/", "http://u:p@h/",
                                    "/a\tb"])
def test_targets_without_a_clean_key_are_refused(target):
    async def test(proxy):
        assert (await proxy.ask(get(target)))[0] == 400
        assert proxy.origin.heads == []

    with_gullible(test)


def test_error_for_an_oversized_or_odd_field_is_not_kept_for_others():
    async def origin(reader, writer, number, head):
        bad = b"x-large" in head
        writer.write(answer(b"error", status="400 Bad Request") if bad else answer(b"good", FRESH))

    async def test(proxy):
        assert (await proxy.ask(get("/", "X-Large: " + "a" * 20_000)))[0] == 400
        assert (await proxy.ask(get("/")))[::2] == (200, b"good")

    proxied(test, origin)


@pytest.mark.parametrize("line", ["Range: bytes=0-3", "If-None-Match: \"x\"",
                                  "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
                                  "If-Match: \"nothing\"", "If-Range: \"x\""])
def test_partial_and_conditional_answers_are_not_kept_as_whole_ones(line):
    async def origin(reader, writer, number, head):
        if number:
            writer.write(answer(b"complete", FRESH))
        else:
            writer.write(answer(b"comp", FRESH, "Content-Range: bytes 0-3/8", status="206 Partial Content")
                         if "ange" in line else answer(b"", FRESH, status="412 Precondition Failed"))

    async def test(proxy):
        await proxy.ask(get("/", line))
        assert (await proxy.ask(get("/")))[::2] == (200, b"complete")

    proxied(test, origin)


def test_304_that_nobody_asked_for_is_an_error_and_not_kept():
    async def origin(reader, writer, number, head):
        unasked = b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\n\r\n"
        writer.write(answer(b"good", FRESH) if number else unasked)

    async def test(proxy):
        assert (await proxy.ask(get("/")))[0] == 502
        assert (await proxy.ask(get("/")))[::2] == (200, b"good")

    proxied(test, origin)


@pytest.mark.parametrize("numbers", ["max-age=99999999999999999999999999999", "max-age=-1", "max-age=1, max-age=99999",
                                     "max-age=+5",
                                     "max-age=1e9", "max-age=0x10", "max-age=2147483648"])
@pytest.mark.parametrize("age", ["", "-1", "99999999999999999999999999999", "2147483648", "x", "1, 2"])
def test_numbers_beyond_all_bounds_make_no_answer_live_for_ever_and_break_nothing(numbers, age):
    async def test(proxy):
        for _ in range(3):
            status, fields, body = await proxy.ask(get("/"))
            assert status == 200 and body == b"x"
            assert "hit" not in fields["cache-status"] or int(fields["age"]) < 2 ** 31

    proxied(test, answer(b"x", f"Cache-Control: {numbers}", *([f"Age: {age}"] if age else [])))


# ------------------------------------------------------------------ deception

PRIVATE = ["Cache-Control: private, max-age=60", "Cache-Control: no-store", "Set-Cookie: sid=secret",
           "Cache-Control: no-cache",
           "Pragma: no-cache", "X-Nothing: said"]


@pytest.mark.parametrize("target", ["/account/x.css", "/account%2fx.css", "/account;.js", "/account%0a.css",
                                    "/account%23.png",
                                    "/account%3f.svg", "/account/..%2fx.ico", "/account?x.css",
                                    "/account/%2e%2e/x.woff"])
@pytest.mark.parametrize("line", PRIVATE)
def test_answer_for_one_person_is_not_kept_because_its_name_looks_static(target, line):
    async def test(proxy):
        _, _, body = await proxy.ask(get(target, "Cookie: sid=victim"))
        assert body == b"0"
        assert (await proxy.ask(get(target)))[2] == b"1"

    async def origin(reader, writer, number, head):
        writer.write(answer(b"%d" % number, line, "Content-Type: text/css"))

    proxied(test, origin)


def test_answer_to_authorization_is_kept_only_when_it_says_so():
    async def origin(reader, writer, number, head):
        line = "Cache-Control: public, max-age=60" if b"/shared" in (head) else FRESH
        writer.write(answer(b"%d" % number, line))

    async def test(proxy):
        assert (await proxy.ask(get("/", "Authorization: Basic eA==")))[2] == b"0"
        assert (await proxy.ask(get("/")))[2] == b"1"
        assert (await proxy.ask(get("/shared", "Authorization: Basic eA==")))[2] == b"2"
        assert (await proxy.ask(get("/shared")))[2] == b"2"

    proxied(test, origin)


def test_answer_that_varies_by_the_client_address_is_not_given_to_who_claims_another():
    async def origin(reader, writer, number, head):
        writer.write(answer(b"%d" % number, FRESH, "Vary: X-Forwarded-For"))

    async def test(proxy):
        assert (await proxy.ask(get("/")))[2] == b"0"
        assert (await proxy.ask(get("/", "X-Forwarded-For: 127.0.0.1")))[2] == b"1"
        assert b"x-forwarded-for: 127.0.0.1, 127.0.0.1" in proxy.origin.heads[1]

    proxied(test, origin)
