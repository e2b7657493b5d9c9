"""Attacks on framing, against a running proxy, from the client's side and from the origin's: smuggled requests, poisoned
responses, bodies that are not what they say. Each must end in a refusal and a closed connection, and with nothing kept.
"""

import asyncio

import pytest

from raw import Running, answer, get, reset, run, within

FRESH = "Cache-Control: max-age=60"
HOST = b"Host: h\r\n"


def proxied(test, origin=None, **settings):
    """Run `test(proxy)` with a proxy in front of `origin`."""
    async def running():
        async with Running(origin if origin is not None else answer(b"body", FRESH), **settings) as proxy:
            await test(proxy)

    run(running())


async def is_refused(proxy, data, *statuses):
    """Whether the proxy answers once, with one of these statuses, closes, and has not asked the origin for anything."""
    client = await proxy.connect()
    await client.send(data)
    status, fields, _ = await client.response()
    assert status in statuses and fields["connection"] == "close", (status, fields)
    assert await client.closed() == b""
    assert proxy.origin.heads == []
    return True


# ------------------------------------------------------------------ from the client's side

@pytest.mark.parametrize("data, status", [
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
     b"GET /evil HTTP/1.1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 2\r\n\r\nab", 400),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\na", 400),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\na", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n folded\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: h\n\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\nY: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rY: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", 400),
    (b"GET /\r\nX: y HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.0\r\n\r\n", 400),
    (b"CONNECT h:443 HTTP/1.1\r\n" + HOST + b"\r\n", 501)])
def test_request_that_two_readers_could_read_in_two_ways_is_refused(data, status):
    proxied(lambda proxy: is_refused(proxy, data, status))


def test_request_behind_a_refused_one_is_never_read():
    async def test(proxy):
        client = await proxy.connect()
        await client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + get("/evil"))
        assert (await client.response())[0] == 400
        assert await client.closed() == b""
        assert proxy.origin.heads == []

    proxied(test)


@pytest.mark.parametrize("body", [b"5\nhello\r\n0\r\n\r\n", b"5\r\nhelloo\r\n0\r\n\r\n", b"-5\r\nhello\r\n",
                                  b"0x5\r\nhello\r\n0\r\n\r\n",
                                  b"5;" + b"a" * 1_000 + b"\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\nhello",
                                  b"0\r\nX : y\r\n\r\n" + get("/evil")])
def test_broken_chunks_of_a_request_end_the_connection_and_reach_nobody_whole(body):
    async def origin(reader, writer, number, head):
        got.append(await reader.read())

    got = []

    async def test(proxy):
        client = await proxy.connect()
        await client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        status, fields, _ = await client.response()
        assert status == 400 and fields["connection"] == "close"
        assert await client.closed() == b""
        await proxy.quiet()
        assert b"/evil" not in proxy.origin.targets() and not any(b"0\r\n\r\n" in one for one in got)

    proxied(test, origin)


def test_body_of_a_request_goes_on_framed_anew_and_what_follows_it_is_the_next_request():
    bodies = []

    async def origin(reader, writer, number, head):
        if number == 0:
            bodies.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(answer(b"%d" % number))

    async def test(proxy):
        client = await proxy.connect()
        await client.send(b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
                          b"5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\n" + get("/b"))
        assert (await client.response())[2] == b"0"
        assert (await client.response())[2] == b"1"
        assert bodies == [b"5\r\nhello\r\n0\r\n\r\n"] and proxy.origin.targets() == [b"/a", b"/b"]
        assert b"content-length" not in proxy.origin.heads[0]

    proxied(test, origin)


def test_get_with_a_body_is_neither_answered_from_the_store_nor_stored():
    got = []

    async def origin(reader, writer, number, head):
        if number in (1, 2):
            got.append(await reader.readexactly(4))
        writer.write(answer(b"answer %d" % number, FRESH))

    async def test(proxy):
        await proxy.ask(get("/"))
        for number in (1, 2):
            _, fields, body = await proxy.ask(get("/", "Content-Length: 4") + b"evil")
            assert "fwd=bypass" in fields["cache-status"] and body == b"answer %d" % number
        _, fields, body = await proxy.ask(get("/"))
        assert "hit" in fields["cache-status"] and body == b"answer 0" and got == [b"evil", b"evil"]

    proxied(test, origin)


# ------------------------------------------------------------------ from the origin's side

HEADED = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"


@pytest.mark.parametrize("data", [
    HEADED + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    HEADED + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nevil!",
    HEADED + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nevil",
    HEADED + b"Content-Length: 4, 4\r\n\r\nevil", HEADED + b"Content-Length: x\r\n\r\nevil",
    HEADED + b"X: a\r\n b\r\nContent-Length: 4\r\n\r\nevil", HEADED + b"X : a\r\nContent-Length: 4\r\n\r\nevil",
    HEADED + b"X: a\nY: b\r\nContent-Length: 4\r\n\r\nevil", HEADED + b"X: a\rY: b\r\nContent-Length: 4\r\n\r\nevil",
    HEADED + b"X: a\x00\r\nContent-Length: 4\r\n\r\nevil", HEADED + b"X\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200 OK\nContent-Length: 4\n\nevil", b"HTTP/0.9 200 OK\r\n\r\nevil", b"evil", b"<html>\r\n\r\n",
    b"HTTP/1.1 099 No\r\n\r\n", HEADED + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nevil", HEADED + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
    HEADED + b"X: y\r\n" * 300 + b"\r\n",
    b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 17 + HEADED + b"Content-Length: 0\r\n\r\n"])
def test_bad_answer_becomes_an_error_and_is_not_kept(data):
    async def origin(reader, writer, number, head):
        writer.write(data)
        writer.write_eof()
        await reader.read()
        return True

    async def test(proxy):
        for number in range(2):
            client = await proxy.connect()
            await client.send(get("/"))
            status, fields, body = await client.response()
            while status == 103:
                status, fields, body = await client.response()
            assert status == 502 and b"evil" not in body and "fwd=" in fields["cache-status"]
        assert len(proxy.origin.heads) == 2
        assert proxy.edge._upstreams[0].pool.open == 0

    proxied(test, origin)


def test_surplus_bytes_are_no_answer_to_the_next_request():
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\n\r\nevil"

    async def origin(reader, writer, number, head):
        writer.write(answer(b"good%d" % number, FRESH) + poison)

    async def test(proxy):
        for number in range(3):
            assert (await proxy.ask(get(f"/{number}")))[2] == b"good%d" % number
        assert proxy.origin.connections == 3
        assert proxy.edge._upstreams[0].pool.open == 0

    proxied(test, origin)


def test_answer_that_nobody_asked_for_ends_an_idle_connection():
    async def test(proxy):
        assert (await proxy.ask(get("/1")))[0] == 200
        pool = proxy.edge._upstreams[0].pool
        assert pool.open == 1
        proxy.origin.writers[0].write(answer(b"evil", FRESH))
        while pool.open:
            await asyncio.sleep(0)
        assert (await proxy.ask(get("/2")))[2] == b"body"
        assert proxy.origin.connections == 2

    proxied(test)


CUT = {
    "short of its length": HEADED + b"Content-Length: 10\r\n\r\nevil",
    "in a chunk": HEADED + b"Transfer-Encoding: chunked\r\n\r\n9\r\nevil",
    "before the last chunk": HEADED + b"Transfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n",
    "in the last chunk": HEADED + b"Transfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n",
    "in a broken chunk": HEADED + b"Transfer-Encoding: chunked\r\n\r\n4\r\nevil\r\nzz\r\n",
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_answer_that_breaks_off_is_cut_for_the_client_too_and_never_kept(data, how):
    async def origin(reader, writer, number, head):
        writer.write(data)
        await writer.drain()
        if how == "reset":
            await seen.wait()
            reset(writer)
        return True

    seen = asyncio.Event()

    async def test(proxy):
        for number in range(2):
            client = await proxy.connect()
            await client.send(get("/"))
            seen.clear()
            seen.set()
            try:
                _, fields, body = await client.response()
            except (asyncio.IncompleteReadError, ConnectionResetError):
                continue
            pytest.fail(f"taken for whole: {fields} {body}")
        assert len(proxy.origin.heads) == 2

    proxied(test, origin)


def test_body_without_framing_that_is_reset_is_not_taken_for_whole():
    async def origin(reader, writer, number, head):
        writer.write(HEADED + b"\r\nevil")
        await writer.drain()
        await seen.wait()
        reset(writer)
        return True

    async def test(proxy):
        client = await proxy.connect()
        await client.send(get("/"))
        status, fields = await client.head()
        assert fields["transfer-encoding"] == "chunked"
        seen.set()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.body(status, fields)
        assert "hit" not in (await ask_until_whole(proxy))["cache-status"]

    async def ask_until_whole(proxy):
        proxy.origin.script = answer(b"good", FRESH)
        _, fields, body = await proxy.ask(get("/"))
        assert body == b"good"
        return fields

    seen = asyncio.Event()
    proxied(test, origin)


def test_line_breaks_in_a_target_or_field_reach_the_origin_as_they_stood_or_not_at_all():
    async def test(proxy):
        await proxy.ask(get("/%0d%0aX:%20y?a=%0d%0a"))
        assert proxy.origin.targets() == [b"/%0d%0aX:%20y?a=%0d%0a"]

    proxied(test)


def test_body_of_a_head_or_304_is_surplus():
    async def origin(reader, writer, number, head):
        writer.write(answer(b"evil", FRESH, status="304 Not Modified" if number else "200 OK"))

    async def test(proxy):
        status, fields, _ = await proxy.ask(get("/", method="HEAD"), "HEAD")
        assert status == 200 and fields["content-length"] == "4"
        assert (await within(proxy.ask(get("/x", 'If-None-Match: "a"'))))[0] == 304
        assert proxy.origin.connections == 2 and proxy.edge._upstreams[0].pool.open == 0

    proxied(test, origin)
