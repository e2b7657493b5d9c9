"""Origins by name: look-ups that fail, or hang."""

import asyncio
import socket
import threading

from raw import answer
from support import until
from test_upstream import asked, every_loop, failure, whole

__all__ = ["every_loop"]  # each of these tests runs on each event loop


def resolving(monkeypatch, look_up):
    """Let the event loop look names up by this function, in a thread of its own as it always does."""
    async def getaddrinfo(host, port, **words):
        return await asyncio.get_running_loop().run_in_executor(None, look_up, host, port)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


def test_look_up_that_hangs_is_one_for_all_who_wait_for_it(monkeypatch):
    go, asked_for = threading.Event(), []

    def look_up(host, port):
        asked_for.append(host)
        go.wait(20)
        raise socket.gaierror("no such name")

    async def test(upstream, origin):
        upstream._name = "name.test"
        resolving(monkeypatch, look_up)
        try:
            for error in await asyncio.gather(*(failure(whole(upstream)) for _ in range(20))):
                assert error.timed_out and not error.reached
            until(lambda: asked_for)  # its thread may begin later than they give up
            assert asked_for == ["name.test"]
        finally:
            go.set()

    asked(test, answer(b"x"), connect_s=0.05)


def test_name_that_does_not_resolve_any_more_is_where_it_was(monkeypatch):
    def look_up(host, port):
        raise socket.gaierror("no such name")

    async def test(upstream, origin):
        upstream._name = "name.test"
        with monkeypatch.context() as patch:
            resolving(patch, lambda host, port: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))])
            assert await whole(upstream) == (200, b"x")
        with monkeypatch.context() as patch:
            resolving(patch, look_up)
            assert await whole(upstream) == (200, b"x")

    asked(test, answer(b"x", "Connection: close"))
