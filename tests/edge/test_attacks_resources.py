"""Attacks on memory, connections and the origin, against a running proxy over raw sockets. What each may cost is bounded,
and others are served meanwhile.
"""

import asyncio
import gc

import pytest
from raw import Running, answer, get, run, within

from samovar.edge.exchange import quick
from samovar.edge.exchange import wall
from samovar.edge.proxy.limits import FrontLimits, UpstreamLimits
from samovar.edge.rules import Entry, Policy, format_date
from support import LIMIT, run_async
from world import Says, World

FRESH = "Cache-Control: max-age=60"


def proxied(test, origin=None, **settings):
    async def running():
        async with Running(origin if origin is not None else answer(b"body", FRESH), **settings) as proxy:
            await test(proxy)

    run(running())


def weight(proxy):
    """Bytes that the store says it holds."""
    return proxy.edge.exchange.vault.cache.stats().weight


async def numbered(reader, writer, number, head):
    writer.write(answer(b"%d" % number, FRESH))


# ------------------------------------------------------------------ what origins send

@pytest.mark.parametrize("framing", ["length", "chunks", "none"])
def test_body_without_end_goes_through_and_is_never_gathered(framing):
    async def origin(reader, writer, number, head):
        start = {"length": b"Content-Length: 1000000000000", "chunks": b"Transfer-Encoding: chunked",
        "none": b"X: y"}[framing]
        writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n%b\r\n\r\n" % start)
        piece = b"x" * 65_536
        while True:
            writer.write(b"10000\r\n%b\r\n" % piece if framing == "chunks" else piece)
            await writer.drain()

    async def test(proxy):
        client = await proxy.connect()
        await client.send(get("/"))
        await client.head()
        for _ in range(200):
            await within(client.reader.readexactly(65_536))
        assert weight(proxy) < 1_000
        client.close()
        while proxy.edge._upstreams[0].pool.open:
            await asyncio.sleep(0.0005)

    proxied(test, origin, exchange={"max_body": 1_000_000, "memory": 2_000_000})


def test_slow_drip_of_an_origin_holds_nobody_for_longer_than_its_limit():
    async def origin(reader, writer, number, head):
        writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.0009)

    async def test(proxy):
        clients = [await proxy.connect() for _ in range(5)]
        for client in clients:
            await client.send(get("/"))
        for client in clients:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.response()
        assert len(proxy.origin.heads) == 1 and weight(proxy) < 1_000

    proxied(test, origin, upstream=UpstreamLimits(total_s=1.5))


@pytest.mark.parametrize("how, status", [("refused", 502), ("silent", 504)])
def test_origin_that_is_down_costs_a_request_its_limit_and_stale_answers_are_served(how, status):
    async def origin(reader, writer, number, head):
        if number == 0:
            writer.write(answer(b"old", "Cache-Control: max-age=0, stale-if-error=60", 'ETag: "a"',
                                "Connection: close"))
            return True
        await reader.read()
        return True

    async def test(proxy):
        assert (await proxy.ask(get("/")))[2] == b"old"
        proxy.edge._upstreams[0].limits = UpstreamLimits(first_byte_s=0.2)
        if how == "refused":
            proxy.origin._server.close()
            await asyncio.sleep(0)
        _, fields, body = await proxy.ask(get("/"))
        assert body == b"old" and "origin-unreachable" in fields["cache-status"]
        assert (await proxy.ask(get("/other")))[0] == status

    proxied(test, origin)


def test_flood_of_tags_is_not_stored_and_one_of_variants_is_bounded():
    async def origin(reader, writer, number, head):
        lines = [f"Surrogate-Key: {' '.join(f't{n}' for n in range(5_000))}"] if b"/tags" in head else ["Vary: X-Any"]
        writer.write(answer(b"%d" % number, FRESH, *lines))

    async def test(proxy):
        await proxy.ask(get("/tags"))
        assert "hit" not in (await proxy.ask(get("/tags")))[1]["cache-status"]
        client = await proxy.connect()
        for number in range(50):
            await client.ask(get("/", f"X-Any: {number}"))
        (variants,) = [one for one in proxy.edge.exchange.vault.cache.values() if len(one)]
        assert len(variants) == 8
        assert "hit" in (await client.ask(get("/", "X-Any: 49")))[1]["cache-status"]

    proxied(test, origin, policy=Policy(max_variants=8))


# ------------------------------------------------------------------ what clients send

def test_flood_of_other_urls_takes_no_more_than_the_memory_and_keeps_what_is_asked_for():
    async def test(proxy):
        client = await proxy.connect()
        await client.ask(get("/hot"))
        for number in range(300):
            await client.ask(get(f"/?{number}"))
            await client.ask(get("/hot"))
        assert weight(proxy) <= 1_000_000
        assert proxy.origin.targets().count(b"/hot") == 1

    proxied(test, answer(b"x" * 10_000, FRESH), memory=1_000_000)


def test_flood_of_other_heads_takes_no_more_than_its_bound():
    async def test(proxy):
        client = await proxy.connect()
        for number in range(5_000):
            client.writer.write(get("/", f"X: {number}"))
            if number % 100 == 99:
                for _ in range(100):
                    await client.response()
        assert proxy.edge.knowing.known.cache_info().currsize == 4_096
        assert len(proxy.origin.heads) == 1

    proxied(test)


def test_bodies_that_left_the_store_after_a_hit_leave_memory_at_once():
    async def test():
        world = World(Says(body=b"x" * 1_000))
        await world.ask()
        fields = [(b"host", b"h")]
        hit = world.exchange.quick("GET", b"http", b"/", fields)
        assert hit is world.exchange.quick("GET", b"http", b"/", fields)
        gc.disable()
        try:
            before = sum(isinstance(one, Entry) for one in gc.get_objects())
            await world.exchange.purge(everything=True)
            del hit
            assert sum(isinstance(one, Entry) for one in gc.get_objects()) == before - 1
        finally:
            gc.enable()

    run_async(test())


def test_flood_of_long_hosts_is_not_remembered():
    known = quick._key_of.cache_info().currsize
    world = World(Says(headers={"cache-control": "no-store"}))
    for number in range(9):
        assert world.exchange.quick("GET", b"http", b"/", [(b"host", b"h" * 30_000 + b"%d" % number)]) is None
    assert quick._key_of.cache_info().currsize == known


@pytest.mark.parametrize("ranges", ["0-0," * 1_000 + "1-1", ",".join(f"0-{n}" for n in range(1_000)), "0-," * 20 + "0-",
                                    "5-1", "x", "0-99999999999999999999999", "-0", "99999999999999999999999-"])
def test_floods_of_ranges_never_cost_more_than_the_body(ranges):
    async def test(proxy):
        await proxy.ask(get("/"))
        status, fields, body = await proxy.ask(get("/", f"Range: bytes={ranges}"))
        assert status in (200, 206, 416) and len(body) <= 10_000
        assert len(proxy.origin.heads) == 1

    proxied(test, answer(b"x" * 10_000, FRESH))


def test_stampede_is_one_question_to_the_origin_and_one_that_cannot_be_stored_is_not_lined_up():
    async def origin(reader, writer, number, head):
        if number == 0:
            await go.wait()
        writer.write(answer(b"%d" % number, FRESH if b"/hot" in head else "Cache-Control: no-store"))

    go = asyncio.Event()

    async def test(proxy):
        async def one(target):
            return await proxy.ask(get(target))

        tasks = [asyncio.create_task(one("/hot")) for _ in range(50)]
        while len(proxy.state.tasks) < 50:
            await asyncio.sleep(0.0005)
        go.set()
        assert {(await task)[2] for task in tasks} == {b"0"} and len(proxy.origin.heads) == 1
        answers = [await task for task in [asyncio.create_task(one("/own")) for _ in range(20)]]
        assert len({body for _, _, body in answers}) == 20

    proxied(test, origin)


def test_waiters_beyond_their_number_are_turned_away():
    async def test(proxy):
        clients = [await proxy.connect() for _ in range(5)]
        for client in clients:
            await client.send(get("/"))
        turned_away = 0
        for done in asyncio.as_completed([client.head() for client in clients], timeout=LIMIT):
            status, fields = await done
            turned_away += status == 503
            if turned_away == 2:
                go.set()
        assert turned_away == 2 and len(proxy.origin.heads) == 1

    async def origin(reader, writer, number, head):
        await go.wait()
        writer.write(answer(b"x", FRESH))

    go = asyncio.Event()
    proxied(test, origin, exchange={"max_waiters": 2})


def test_flood_of_no_cache_can_be_left_aside_by_the_owner():
    async def test(proxy):
        for _ in range(5):
            await proxy.ask(get("/", "Cache-Control: no-cache", "Pragma: no-cache"))
            await proxy.ask(get("/", "Cache-Control: max-age=0"))
        assert len(proxy.origin.heads) == 1

    proxied(test, policy=Policy(obey_client=False))


def test_client_that_leaves_in_mid_fill_does_not_spoil_it_for_others():
    async def origin(reader, writer, number, head):
        writer.write(answer(b"x" * 200_000, FRESH)[:-100_000])
        await writer.drain()
        await go.wait()
        writer.write(b"x" * 100_000)

    go = asyncio.Event()

    async def test(proxy):
        leaving, staying = await proxy.connect(), await proxy.connect()
        await leaving.send(get("/"))
        await leaving.head()
        await staying.send(get("/"))
        status, fields = await staying.head()
        leaving.close()
        go.set()
        assert await staying.body(status, fields) == b"x" * 200_000
        await proxy.quiet()
        assert "hit" in (await proxy.ask(get("/")))[1]["cache-status"] and len(proxy.origin.heads) == 1

    proxied(test, origin)


def test_slow_reader_in_a_fill_does_not_hold_up_others():
    async def origin(reader, writer, number, head):
        writer.write(answer(b"x" * 3_000_000, FRESH))

    async def test(proxy):
        slow = await proxy.connect(buffer=4_096)
        slow.writer.transport.pause_reading()
        await slow.send(get("/"))
        await within(proxy.origin.changed.wait())
        _, fields, body = await proxy.ask(get("/"))
        assert len(body) == 3_000_000 and len(proxy.origin.heads) == 1

    proxied(test, origin, limits=FrontLimits(write_s=5.0))


def test_purge_is_no_method_that_a_client_can_call():
    async def origin(reader, writer, number, head):
        writer.write(answer(b"no", status="405 Method Not Allowed") if head[:3] != b"GET" else answer(b"%d" % number,
        FRESH))

    async def test(proxy):
        await proxy.ask(get("/"))
        for method in ("PURGE", "BAN", "REFRESH", "DELETE"):
            assert (await proxy.ask(get("/", "X-Purge: *", "Surrogate-Key: all", method=method)))[0] == 405
        assert (await proxy.ask(get("/")))[2] == b"0"

    proxied(test, origin)


def test_clock_that_is_set_back_makes_nothing_live_longer(monkeypatch):
    async def test(proxy):
        await proxy.ask(get("/"))
        now = wall.wall()
        monkeypatch.setattr(wall, "wall", lambda: now - 100_000)
        first = int((await proxy.ask(get("/")))[1]["age"])
        assert 0 <= first < 5
        monkeypatch.setattr(wall, "wall", lambda: now + 61)
        assert "hit" not in (await proxy.ask(get("/")))[1]["cache-status"]

    proxied(test, numbered)


def test_clock_that_was_ahead_for_a_while_does_not_make_everything_old_from_then_on(monkeypatch):
    right = wall.wall()

    async def test(proxy):
        monkeypatch.setattr(wall, "wall", lambda: right + 7_200)
        await proxy.ask(get("/ahead"))
        monkeypatch.setattr(wall, "wall", lambda: right + 1)
        for said in ("stored", "hit"):
            assert said in (await proxy.ask(get("/")))[1]["cache-status"]

    proxied(test, answer(b"body", FRESH, "Date: " + format_date(right).decode()))
