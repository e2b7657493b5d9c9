"""The origin's side of the proxy over raw sockets: connections that are kept, waited for, retried and given up."""

import asyncio
import socket
import ssl
import subprocess

import pytest
from raw import Origin, answer, every_loop, reset, run, within  # noqa: F401

from engines import free_port
from samovar.edge.proxy.connection import _HIGH
from samovar.edge.contracts import OriginFailed, Request
from samovar.edge.proxy.limits import UpstreamLimits
from samovar.edge.proxy.upstream import Upstream, origin_parts


def request(target=b"/", method="GET", *headers, **words):
    return Request(method, b"http", target, ((b"host", b"h"), *headers), **words)


def asked(test, script, **words):
    """Run `test(upstream, origin)` with an Upstream to a raw origin."""
    limits = UpstreamLimits(**words)

    async def running():
        origin = Origin(script)
        upstream = Upstream(f"http://127.0.0.1:{await origin.start()}", limits)
        try:
            await test(upstream, origin)
        finally:
            upstream.close()
            await origin.stop()

    run(running())


async def whole(upstream, *args, **words):
    """Status and body of an answer."""
    reply = await upstream.ask(request(*args, **words))
    try:
        return reply.status, b"".join([piece async for piece in reply])
    finally:
        await reply.close()


async def failure(awaitable):
    """The OriginFailed that it raises."""
    with pytest.raises(OriginFailed) as caught:
        await awaitable
    return caught.value


# ------------------------------------------------------------------ connections that are kept

def test_connection_is_used_again_after_every_kind_of_complete_answer():
    answers = [answer(b"hello"), answer(b""), b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n",
               b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"]

    async def origin(reader, writer, number, head):
        writer.write(answers[number % len(answers)])

    async def test(upstream, origin):
        got = [await whole(upstream) for _ in range(10)]
        assert [status for status, _ in got] == [200, 200, 204, 304, 200] * 2
        assert [body for _, body in got] == [b"hello", b"", b"", b"", b"hello"] * 2
        assert origin.connections == upstream.pool.open == 1

    asked(test, origin)


@pytest.mark.parametrize("data", [answer(b"x", "Connection: close"), b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
                                  b"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 1\r\n\r\nx"])
def test_connection_that_the_origin_will_close_is_not_used_again(data):
    async def test(upstream, origin):
        for _ in range(3):
            assert await whole(upstream) == (200, b"x")
        assert (origin.connections, upstream.pool.open) == (3, 0)

    asked(test, data)


def test_answer_that_is_not_read_to_its_end_costs_its_connection():
    async def test(upstream, origin):
        reply = await upstream.ask(request())
        await reply.close()
        await reply.close()
        assert upstream.pool.open == 0
        assert (await whole(upstream))[0] == 200

    asked(test, answer(b"x" * 1_000_000))


def test_idle_connection_is_closed_in_time():
    async def test(upstream, origin):
        await whole(upstream)
        while upstream.pool.open:
            await asyncio.sleep(0.0005)
        await whole(upstream)
        assert origin.connections == 2

    asked(test, answer(b"x"), idle_s=0.02)


# ------------------------------------------------------------------ retries

def closing_the_second(method_seen):
    """An origin that closes a kept connection when the second request comes, without a byte."""
    async def origin(reader, writer, number, head):
        method_seen.append(head.split(b" ")[0])
        if number == 1:
            reset(writer)
            return True
        writer.write(answer(b"x"))

    return origin


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_idempotent_request_without_a_body_is_sent_again_when_an_old_connection_closed(method):
    seen = []

    async def test(upstream, origin):
        await whole(upstream)
        assert (await whole(upstream, b"/", method))[0] == 200
        assert len(seen) == 3 and origin.connections == 2

    async def origin(reader, writer, number, head):
        await closing_the_second(seen)(reader, writer, number, head)
        if head.startswith(b"HEAD"):
            return True

    asked(test, origin)


@pytest.mark.parametrize("method, words", [("POST", {}), ("PATCH", {}), ("LOCK", {}), ("PUT", {"body": "x",
        "length": 1})])
def test_request_that_may_have_had_an_effect_is_not_sent_twice(method, words):
    seen = []

    async def body():
        yield b"x"

    async def test(upstream, origin):
        await whole(upstream)
        if "body" in words:
            words["body"] = body()
        error = await failure(whole(upstream, b"/", method, **words))
        assert error.reached and len(seen) == 2

    asked(test, closing_the_second(seen))


def test_new_connection_that_closes_without_an_answer_is_a_failure_at_once():
    async def origin(reader, writer, number, head):
        return True

    async def test(upstream, origin):
        error = await failure(whole(upstream))
        assert error.reached and not error.timed_out and len(origin.heads) == 1

    asked(test, origin)


# ------------------------------------------------------------------ limits

async def never(reader, writer, number, head):
    await reader.read()
    return True


def dripping(head, piece):
    async def origin(reader, writer, number, _):
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.0009)

    return origin


@pytest.mark.parametrize("script, words", [
    (never, {"first_byte_s": 0.05}), (never, {"total_s": 0.05}),
    (dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), {"first_byte_s": 0.05}),
    (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"x"), {"total_s": 0.05})],
    ids=["no byte", "in all", "dripping head", "dripping body"])
def test_origin_that_keeps_us_waiting_is_given_up(script, words):
    async def test(upstream, origin):
        assert (await failure(whole(upstream))).timed_out
        assert upstream.pool.open == 0

    asked(test, script, **words)


def test_origin_that_stops_in_mid_body_is_given_up():
    async def origin(reader, writer, number, head):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await never(reader, writer, number, head)

    async def test(upstream, origin):
        reply = await upstream.ask(request())
        got = []

        async def read():
            async for piece in reply:
                got.append(piece)

        assert (await failure(read())).timed_out and got == [b"hello"]
        await reply.close()

    asked(test, origin, between_s=0.05)


def test_origin_that_does_not_read_is_given_up():
    async def origin(reader, writer, number, head):
        await asyncio.Event().wait()

    async def body():
        while True:
            yield b"x" * 65_536

    async def test(upstream, origin):
        origin._server.get_loop()
        error = await failure(whole(upstream, b"/", "POST", body=body()))
        assert error.timed_out

    asked(test, origin, between_s=0.1)


def test_requests_beyond_the_connections_wait_in_line_and_beyond_the_line_fail():
    async def origin(reader, writer, number, head):
        await go.wait()
        writer.write(answer(head.split(b" ")[1]))

    go = asyncio.Event()

    async def test(upstream, origin):
        tasks = [asyncio.create_task(whole(upstream, b"/%d" % number)) for number in range(5)]
        while len(upstream.pool._waiters) < 3 or len(origin.heads) < 2:
            await asyncio.sleep(0)
        error = await failure(whole(upstream))
        assert not error.reached
        tasks[2].cancel()
        go.set()
        await within(asyncio.wait(tasks))
        assert [task.result()[1] for task in tasks if not task.cancelled()] == [b"/0", b"/1", b"/3", b"/4"]
        assert origin.connections == 2

    asked(test, origin, connections=2, queue=3)


def test_wait_for_a_connection_has_an_end():
    async def test(upstream, origin):
        first = asyncio.create_task(whole(upstream))
        await within(origin.changed.wait())
        error = await failure(whole(upstream))
        assert error.timed_out and not error.reached
        first.cancel()
        await asyncio.wait([first])
        assert upstream.pool._permits == 1

    asked(test, never, connections=1, queue_s=0.05)


def test_origin_that_sends_faster_than_it_is_read_is_made_to_wait():
    sent = 0

    async def origin(reader, writer, number, head):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1_000 * 65_536))
        for _ in range(1_000):
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async def test(upstream, origin):
        reply = await upstream.ask(request())
        connection = reply._connection
        while connection._reading:
            await asyncio.sleep(0)
        assert connection._size < _HIGH + 300_000
        total = 0
        async for piece in reply:
            total += len(piece)
            assert connection._size < _HIGH + 300_000
        assert total == sent == 1_000 * 65_536

    asked(test, origin)


def test_body_of_a_request_must_be_as_long_as_it_says():
    async def test(upstream, origin):
        for pieces in ([b"hell"], [b"hello", b"o"]):
            async def body(pieces=pieces):
                for piece in pieces:
                    yield piece

            with pytest.raises(ConnectionError):
                await whole(upstream, b"/", "POST", body=body(), length=5)
        assert upstream.pool.open == 0

    asked(test, never)


# ------------------------------------------------------------------ where it is

def test_origin_that_refuses_was_not_reached():
    port = free_port()

    async def test():
        upstream = Upstream(f"http://127.0.0.1:{port}")
        error = await failure(whole(upstream))
        assert not error.reached and not error.timed_out
        assert upstream.pool._permits == upstream.limits.connections

    run(test())


def test_every_address_of_a_name_is_tried_and_the_good_one_first_next_time(monkeypatch):
    asked_for = []

    async def test(upstream, origin):
        loop = asyncio.get_running_loop()
        good = upstream._port

        async def addresses(name, port, **words):
            asked_for.append(name)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", port)) for last in (9, 8, 1)]

        real, tried = loop.create_connection, []

        async def connect(make, host, port, **words):
            tried.append(host)
            if host != "127.0.0.1":
                raise ConnectionRefusedError
            return await real(make, host, port, **words)

        monkeypatch.setattr(loop, "getaddrinfo", addresses)
        monkeypatch.setattr(loop, "create_connection", connect)
        upstream._name = "origin.example"
        for _ in range(2):
            assert (await whole(upstream))[0] == 200
        assert asked_for == ["origin.example"] * 2 and upstream._port == good
        assert tried == ["127.0.0.9", "127.0.0.8", "127.0.0.1", "127.0.0.1"]

    asked(test, answer(b"x", "Connection: close"))


@pytest.mark.parametrize("url", ["", "h", "h:80", "ftp://h", "http://", "http://h/path", "http://h?x", "http://u@h",
                                 "http://h:0",
                                 "http://h:65536", "http://h:x", "http://[::1", "http://h\r\nx"])
def test_what_is_no_origin_is_refused(url):
    with pytest.raises(ValueError):
        origin_parts(url)


def test_origin_has_host_and_port_by_its_scheme():
    assert origin_parts("HTTP://h") == (False, "h", 80) and origin_parts("https://h.example/") == (True, "h.example",
        443)


# ------------------------------------------------------------------ TLS

@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that nobody has signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2",
                    "-keyout", "key", "-out", "cert", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost"],
                   cwd=folder, check=True, capture_output=True)
    return str(folder / "cert"), str(folder / "key")


def over_tls(test, script, certificate, trusted=True):
    async def running():
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*certificate)
        origin = Origin(script)
        origin._server = await asyncio.start_server(origin._talk, "127.0.0.1", 0, ssl=server)
        port = origin._server.sockets[0].getsockname()[1]
        context = ssl.create_default_context(cafile=certificate[0]) if trusted else None
        upstream = Upstream(f"https://localhost:{port}", context=context)
        try:
            await test(upstream, origin)
        finally:
            upstream.close()
            await origin.stop()

    run(running())


def test_certificate_of_an_origin_is_verified_and_a_good_one_is_spoken_to(certificate):
    async def test(upstream, origin):
        assert await whole(upstream) == await whole(upstream) == (200, b"x")
        assert origin.connections == 1

    over_tls(test, answer(b"x"), certificate)

    async def untrusted(upstream, origin):
        error = await failure(whole(upstream))
        assert not error.reached and origin.heads == []

    over_tls(untrusted, answer(b"x"), certificate, trusted=False)


def test_body_that_ends_with_a_tls_connection_is_whole_only_when_the_origin_said_so(certificate):
    async def origin(reader, writer, number, head):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nbody")
        await writer.drain()
        if number == 1:
            writer.transport.abort()  # the connection ends without a close_notify, as somebody on the way would do
        return True

    async def test(upstream, origin):
        assert await whole(upstream) == (200, b"body")
        await failure(whole(upstream))

    over_tls(test, origin, certificate)
