"""Clients that send or read slowly: they have their time, and cost others nothing."""

import asyncio
import socket

import pytest
from raw import FRESH, answer, every_loop, get, proxied, within  # noqa: F401

from samovar.edge.proxy.front import Front
from samovar.edge.proxy.limits import FrontLimits, UpstreamLimits


def test_client_that_reads_slowly_but_steadily_gets_a_large_hit_whole():
    size, seconds = 8_000_000, 2.0

    async def test(proxy):
        await proxy.ask(get("/"))
        client = await proxy.connect(buffer=16_384)
        await client.send(get("/"))
        _, fields = await client.head()
        assert "hit" in fields["cache-status"]
        loop = asyncio.get_running_loop()
        began, got = loop.time(), 0
        while got < size:
            part = await within(client.reader.read(65_536))
            assert part
            got += len(part)
            while loop.time() - began < seconds * got / size:
                await asyncio.sleep(0.0009)

    proxied(test, answer(b"x" * size, FRESH), limits=FrontLimits(write_s=0.4))


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system has no such bound")
def test_system_holds_little_for_a_client_that_does_not_read():
    async def test(proxy):
        await proxy.connect()
        while not proxy.state.connections:
            await asyncio.sleep(0)
        for connection in proxy.state.connections:
            end = connection.transport.get_extra_info("socket")
            assert 0 < end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) <= 262_144

    proxied(test)


@pytest.mark.parametrize("words", [{"upstream": UpstreamLimits(first_byte_s=0.8)}, {"exchange": {"head": 0.8}}],
                         ids=["first_byte_s", "head"])
def test_time_that_a_client_takes_to_send_is_not_the_origins(words):
    async def origin(reader, writer, number, head):
        writer.write(answer(await reader.readexactly(4)))

    async def test(proxy):
        client = await proxy.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
        await within(proxy.origin.changed.wait())
        loop = asyncio.get_running_loop()
        for byte in b"body":
            until = loop.time() + 0.25
            while loop.time() < until:
                await asyncio.sleep(0.0009)
            client.writer.write(bytes([byte]))
        status, _, body = await client.response()
        assert (status, body) == (200, b"body")

    proxied(test, origin, **words)


def test_refusal_of_a_head_has_no_body():
    async def test(proxy):
        client = await proxy.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n")
        assert (await client.response("HEAD"))[0] == 413 and await client.closed() == b""

    proxied(test, limits=FrontLimits(body=10, head_s=0.25))


def test_client_that_leaves_in_the_moment_of_its_answer_is_no_failure_of_the_proxy(caplog):
    async def test(proxy):
        real = proxy.edge.exchange.serve

        async def leaving(request, sending):
            (connection,) = proxy.state.connections
            connection.transport.abort()  # connection_lost has not been called yet
            await real(request, sending)

        proxy.edge.exchange.serve = leaving
        client = await proxy.connect()
        await client.send(get("/", "Cache-Control: only-if-cached"))
        assert await client.closed() == b""
        await proxy.quiet()
        assert not caplog.records

    proxied(test)


def test_limits_of_time_hold_after_something_went_wrong_in_looking_at_them(monkeypatch):
    looks = []

    def look(front, now, real=Front.look):
        looks.append(now)
        if len(looks) == 2:  # the first is when the client comes, the others are the timer's
            raise RuntimeError("of this test")
        real(front, now)

    async def test(proxy):
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        client = await proxy.connect()
        await client.send(b"GET / HT")
        assert (await client.response())[0] == 408 and len(looks) > 2

    monkeypatch.setattr(Front, "look", look)
    proxied(test, limits=FrontLimits(head_s=0.1))
