"""The clients' side of the proxy over raw sockets: order, connections that stay and that do not, bodies, limits."""

import asyncio

import pytest
from raw import FRESH, Running, answer, every_loop, get, proxied, run, within  # noqa: F401

from samovar.edge.proxy.limits import FrontLimits
from samovar.edge.proxy.wire import Limits


async def numbered(reader, writer, number, head):
    writer.write(answer(b"%d" % number, FRESH))


# ------------------------------------------------------------------ hits, and the order of answers

def test_hit_is_answered_without_a_task_and_counted():
    async def test(proxy):
        client = await proxy.connect()
        await client.ask(get("/"))
        loop = asyncio.get_running_loop()
        made = []
        loop.set_task_factory(lambda loop, coroutine, **words: made.append(coroutine) or asyncio.Task(coroutine,
        loop=loop, **words))
        for _ in range(3):
            client.writer.write(get("/"))
            while not client.reader._buffer:
                await asyncio.sleep(0)
            assert "hit" in (await client.head())[1]["cache-status"] and await client.reader.readexactly(4) == b"body"
        loop.set_task_factory(None)
        assert not [one for one in made if "_serve" in repr(one)]
        assert proxy.state.total_requests == 4 and proxy.edge.exchange.stats().hits == 3

    proxied(test)


@pytest.mark.parametrize("size", [0, 1, 4_095, 4_096, 4_097, 300_000])
def test_hit_of_any_size_is_the_whole_body(size):
    async def test(proxy):
        client = await proxy.connect()
        for number in range(4):
            _, fields, body = await client.ask(get("/"))
            assert body == b"x" * size and ("hit" in fields["cache-status"]) == bool(number)
        assert len(proxy.origin.heads) == 1

    proxied(test, answer(b"x" * size, FRESH))


def test_same_bytes_are_not_answered_again_after_a_purge_or_another_answer():
    async def test(proxy):
        client = await proxy.connect()
        assert [(await client.ask(get("/")))[2] for _ in range(3)] == [b"0"] * 3
        await proxy.edge.purge(urls=["http://h/"])
        assert [(await client.ask(get("/")))[2] for _ in range(3)] == [b"1"] * 3
        await proxy.ask(get("/", method="PUT"))
        assert [(await client.ask(get("/")))[2] for _ in range(3)] == [b"3"] * 3
        await proxy.edge.purge(everything=True, soft=True)
        assert (await client.ask(get("/", "Cache-Control: no-cache")))[2] == b"4"
        assert (await client.ask(get("/")))[2] == b"4"

    proxied(test, numbered)


def test_pipelined_requests_are_answered_in_their_order():
    async def test(proxy):
        client = await proxy.connect()
        await client.ask(get("/hit"))
        targets = [f"/{number}" if number % 3 else "/hit" for number in range(30)]
        await client.send(b"".join(map(get, targets)))
        for target in targets:
            assert (await client.response())[2] == target.encode()

    async def echo(reader, writer, number, head):
        writer.write(answer(head.split(b" ")[1], FRESH))

    proxied(test, echo)


def test_request_may_come_in_pieces_and_behind_an_empty_line():
    async def test(proxy):
        client = await proxy.connect()
        for byte in b"\r\n" + get("/"):
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.response())[0] == 200
        await client.send(b"\r\n" + get("/"))
        assert (await client.response())[0] == 200

    proxied(test)


# ------------------------------------------------------------------ connections

@pytest.mark.parametrize("data, says", [
    (get("/", "Connection: close"), "close"), (b"GET / HTTP/1.0\r\nHost: h\r\n\r\n", "close"),
    (b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", "keep-alive"), (get("/"), None)])
def test_connection_stays_or_closes_as_the_client_says_for_misses_and_hits(data, says):
    async def test(proxy):
        for _ in range(2):
            client = await proxy.connect()
            _, fields, body = await client.ask(data)
            assert body == b"body" and fields.get("connection") == says
            if says == "close":
                assert await client.closed() == b""
            else:
                assert (await client.ask(get("/")))[2] == b"body"

    proxied(test)


def test_old_client_gets_a_body_of_unknown_length_until_the_connection_closes():
    async def test(proxy):
        client = await proxy.connect()
        await client.send(b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
        status, fields = await client.head()
        assert "transfer-encoding" not in fields and fields["connection"] == "close"
        assert await client.closed() == b"hello"

    proxied(test, b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


def test_client_that_has_closed_its_side_still_gets_its_answers():
    async def test(proxy):
        client = await proxy.connect()
        await client.send(get("/1") + get("/2"))
        client.writer.write_eof()
        assert (await client.response())[2] == b"0" and (await client.response())[2] == b"1"
        assert await client.closed() == b""

    proxied(test, numbered)


def test_head_is_answered_without_a_body_from_origin_and_store():
    async def test(proxy):
        client = await proxy.connect()
        for data in (get("/", method="HEAD"), get("/"), get("/", method="HEAD")):
            status, fields, body = await client.ask(data, "HEAD" if data.startswith(b"HEAD") else "GET")
            assert status == 200 and fields["content-length"] == "4"
        assert "hit" in fields["cache-status"]

    async def origin(reader, writer, number, head):
        writer.write(answer(b"body", FRESH)[:-4] if head.startswith(b"HEAD") else answer(b"body", FRESH))

    proxied(test, origin)


def test_informational_responses_are_passed_on_but_not_to_old_clients():
    async def test(proxy):
        client = await proxy.connect()
        await client.send(get("/"))
        assert await client.head() == (103, {"link": "</a>; rel=preload"})
        assert (await client.response())[2] == b"body"
        client = await proxy.connect()
        assert (await client.ask(b"GET /x HTTP/1.0\r\nHost: h\r\n\r\n"))[0] == 200

    proxied(test, b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: x\r\n\r\n" + answer(b"body",
        FRESH))


def test_upgrades_are_passed_as_no_upgrade_and_trace_stops_where_it_says():
    async def test(proxy):
        assert (await proxy.ask(get("/", "Connection: Upgrade", "Upgrade: websocket")))[0] == 200
        assert b"upgrade" not in proxy.origin.heads[0].lower()
        status, fields, body = await proxy.ask(get("/t", "Max-Forwards: 0", "Cookie: secret", "X: y", method="TRACE"))
        assert (status, fields["content-type"]) == (200, "message/http") and b"x: y" in body and b"secret" not in body
        await proxy.ask(get("/t", "Max-Forwards: 3", method="TRACE"))
        assert b"max-forwards: 2" in proxy.origin.heads[1] and len(proxy.origin.heads) == 2

    proxied(test)


# ------------------------------------------------------------------ bodies of requests

def test_client_that_expects_100_is_told_to_go_on_when_the_origin_says_so():
    async def origin(reader, writer, number, head):
        assert b"expect: 100-continue" in head
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(answer(body))

    async def test(proxy):
        client = await proxy.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert await client.head() == (100, {})
        await client.send(b"hello")
        assert (await client.response())[2] == b"hello"
        assert (await client.ask(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"))[0] == 200

    async def both(reader, writer, number, head):
        await (origin(reader, writer, number, head) if number == 0 else numbered(reader, writer, number, head))

    proxied(test, both)


def test_client_whose_body_is_not_wanted_is_not_told_to_send_it():
    async def test(proxy):
        client = await proxy.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        status, fields, _ = await client.response()
        assert (status, fields["connection"]) == (403, "close")
        assert await client.closed() == b""

    proxied(test, answer(b"no", status="403 Forbidden"))


def test_large_body_goes_through_and_little_of_it_waits_here():
    async def origin(reader, writer, number, head):
        await go.wait()
        for _ in range(256):
            await reader.readexactly(65_536)
        writer.write(answer(b"done"))

    go = asyncio.Event()

    async def test(proxy):
        client = await proxy.connect()
        client.writer.write(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (256 * 65_536))
        client.writer.write(b"x" * (256 * 65_536))
        (connection,) = proxy.state.connections
        while "body" not in connection._held:
            await asyncio.sleep(0.0001)
        assert connection._incoming._size < 1_000_000
        go.set()
        assert (await client.response())[2] == b"done"

    proxied(test, origin)


# ------------------------------------------------------------------ limits

LIMITS = FrontLimits(heads=Limits(head=1_000, target=100, fields=10), body=10, head_s=0.25, body_s=0.25,
                                  body_rate=1_000_000,
                     write_s=0.3, keep_alive_s=0.25, connections=3)


@pytest.mark.parametrize("data, status", [
    (get("/" + "a" * 100), 414), (b"GET /" + b"a" * 1_000, 414), (get("/", *["X: y"] * 10), 431), (get("/",
        "X: " + "a" * 990), 431),
    (get("/") [:-2] + b"X: " + b"a" * 1_000, 431), (get("/", "Content-Length: 11", method="POST"), 413),
    (get("/", "Transfer-Encoding: chunked", method="POST") + b"b\r\nhello world\r\n0\r\n\r\n", 413),
    (b"GET / HTT", 408), (get("/", "Content-Length: 5", method="POST") + b"hell", 408)],
    ids=["target", "target without an end", "fields", "head", "head without an end", "length", "chunks", "slow head",
         "slow body"])
def test_what_is_too_long_or_too_slow_is_refused_and_the_connection_closed(data, status):
    async def origin(reader, writer, number, head):
        await reader.read()
        return True

    async def test(proxy):
        client = await proxy.connect()
        await client.send(data)
        got, fields, _ = await client.response()
        assert (got, fields["connection"]) == (status, "close")
        assert await client.closed() == b""

    proxied(test, origin, limits=LIMITS)


def test_head_that_drips_is_not_given_more_time_with_each_byte():
    async def test(proxy):
        client = await proxy.connect()
        for byte in get("/", "X: " + "a" * 900):
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0.0009)
            if client.reader._buffer:
                break
        assert (await client.head())[0] == 408

    proxied(test, limits=LIMITS)


def test_connection_without_a_request_is_closed_in_time_before_the_first_and_after():
    async def test(proxy):
        client = await proxy.connect()
        assert await client.closed() == b""
        client = await proxy.connect()
        for _ in range(3):
            await client.ask(get("/"))
        assert await client.closed() == b""

    proxied(test, limits=LIMITS)


def test_client_that_does_not_read_is_cut_off_and_its_hits_do_not_pile_up():
    async def test(proxy):
        await proxy.ask(get("/"))
        client = await proxy.connect(buffer=4_096)
        client.writer.transport.pause_reading()
        client.writer.write(get("/") * 400)
        most = 0
        while proxy.state.connections:
            for connection in proxy.state.connections:
                most = max(most, connection.transport.get_write_buffer_size())
            await asyncio.sleep(0.0005)
        assert most < 1_000_000  # one body above the high-water mark, not 400

    proxied(test, answer(b"x" * 300_000, FRESH), limits=LIMITS)


def test_client_that_does_not_read_a_long_answer_is_cut_off():
    async def origin(reader, writer, number, head):
        writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async def test(proxy):
        client = await proxy.connect(buffer=4_096)
        client.writer.transport.pause_reading()
        await client.send(get("/"))
        await within(proxy.origin.changed.wait())
        while proxy.state.connections:
            await asyncio.sleep(0.0005)
        await proxy.quiet()
        assert proxy.edge._upstreams[0].pool.open == 0

    proxied(test, origin, limits=LIMITS)


def test_connections_and_requests_beyond_their_number_get_503():
    async def test(proxy):
        for _ in range(3):
            assert (await (await proxy.connect()).ask(get("/")))[0] == 200
        over = await proxy.connect()
        assert (await over.response())[0] == 503 and await over.closed() == b""

    proxied(test, limits=FrontLimits(connections=3))

    async def by_uvicorn(proxy):
        proxy.config.limit_concurrency = 2
        assert (await (await proxy.connect()).ask(get("/")))[0] == 200
        assert (await (await proxy.connect()).ask(get("/other")))[0] == 503

    proxied(by_uvicorn)


def test_shutdown_lets_what_is_under_way_end_and_closes_the_rest():
    async def origin(reader, writer, number, head):
        await go.wait()
        writer.write(answer(b"late", FRESH))

    go = asyncio.Event()

    async def test(proxy):
        idle, busy = await proxy.connect(), await proxy.connect()
        await busy.send(get("/"))
        await within(proxy.origin.changed.wait())
        for connection in list(proxy.state.connections):
            connection.shutdown()
        assert await idle.closed() == b""
        go.set()
        _, fields, body = await busy.response()
        assert (fields["connection"], body) == ("close", b"late") and await busy.closed() == b""

    proxied(test, origin)


# ------------------------------------------------------------------ the admin, and the log

async def say(edge, request, sender):
    """An admin that answers /-/say."""
    if request.target != b"/-/say":
        return False
    await sender.start(200, b"OK", ((b"content-length", b"2"),))
    await sender.write(b"me")
    await sender.end()
    return True


def test_reserved_targets_are_the_admins_and_never_reach_the_origin():
    async def test(proxy):
        assert (await proxy.ask(get("/-/say")))[2] == b"me"
        assert (await proxy.ask(get("/-/other")))[0] == 404
        assert (await proxy.ask(get("http://h/-/other")))[0] == 404
        assert proxy.origin.heads == []
        assert (await proxy.ask(get("/-")))[0] == 200

    proxied(test, admin=say, admin_path="/-/")


def test_access_log_has_a_line_for_each_answer_and_no_byte_that_means_something(tmp_path):
    path = tmp_path / "access"

    async def test(proxy):
        client = await proxy.connect()
        await client.ask(get("/a"))
        await client.ask(get('/a'))
        await client.ask(get('/"b"\\x'))

    proxied(test, access_log=str(path))
    first, second, third = path.read_text().splitlines()
    assert '"GET /a HTTP/1.1" 200 4 ' in first and '"samovar;fwd=uri-miss;ttl=60;stored"' in first
    assert '"GET /a HTTP/1.1" 200 4 ' in second and '"samovar;hit;ttl=' in second and first.startswith("127.0.0.1 [")
    assert '"GET /\\x22b\\x22\\x5cx HTTP/1.1"' in third


def test_proxy_behind_itself_finds_the_loop():
    async def running():
        async with Running(answer(b"x")) as proxy:
            proxy.edge._upstreams[0]._port = proxy.port
            assert (await proxy.ask(get("/")))[0] == 508

    run(running())


def test_205_and_answers_without_a_date_are_framed_and_dated_by_the_proxy():
    async def test(proxy):
        client = await proxy.connect()
        status, fields, body = await client.ask(get("/", method="POST"))
        assert (status, fields["content-length"], body) == (205, "0", b"")
        assert fields["date"].endswith(" GMT")
        assert (await client.ask(get("/", method="POST")))[0] == 205

    proxied(test, answer(b"body", status="205 Reset Content"))


def test_shield_is_asked_in_place_of_the_origin_which_is_asked_only_when_the_shield_is_gone():
    async def running():
        async with Running(answer(b"body", FRESH)) as shield:
            async with Running(answer(b"from the origin", FRESH), shield=f"http://127.0.0.1:{shield.port}") as edge:
                _, fields, body = await edge.ask(get("/"))
                assert body == b"body" and edge.origin.heads == []
                assert fields["cache-status"].count("samovar;") == 2
                assert shield.origin.heads[0].count(b"via: ") == 2
                shield.server.close()
                for connection in list(shield.state.connections):
                    connection.transport.abort()
                await shield.server.wait_closed()
                assert (await edge.ask(get("/2")))[2] == b"from the origin"

    run(running())
