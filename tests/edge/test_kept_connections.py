"""Connections to an origin that must not be used again, or not without a look at them first."""

import os
import socket

import pytest
from raw import answer
from test_upstream import asked, every_loop, whole

__all__ = ["every_loop"]  # each of these tests runs on each event loop


def sent_at_once(writer, what):
    """Do something with the socket itself, before the event loop can see it."""
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as end:
        what(end)


def test_byte_that_nobody_asked_for_is_no_answer_even_when_it_was_not_read_yet():
    async def test(upstream, origin):
        assert await whole(upstream) == (200, b"good")
        sent_at_once(origin.writers[0], lambda end: end.send(answer(b"evil")))
        assert await whole(upstream) == (200, b"good")
        assert origin.connections == 2

    asked(test, answer(b"good"))


def test_connection_that_was_closed_is_not_tried_with_what_cannot_be_sent_twice():
    async def test(upstream, origin):
        assert await whole(upstream) == (200, b"good")
        sent_at_once(origin.writers[0], lambda end: end.shutdown(socket.SHUT_RDWR))
        assert await whole(upstream, b"/", "POST") == (200, b"good")

    asked(test, answer(b"good"))


@pytest.mark.parametrize("method, data", [
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
    ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"),
    ("GET", b"HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\n")])
def test_connection_is_not_used_again_after_an_answer_that_speaks_of_a_body_it_must_not_have(method, data):
    async def test(upstream, origin):
        for _ in range(3):
            await whole(upstream, b"/", method)
        assert origin.connections == 3

    asked(test, data)
