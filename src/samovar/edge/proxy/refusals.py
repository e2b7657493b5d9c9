"""Answers of the front's own, for requests that never reach the exchange (RFC 9110 sections 15.5 and 15.6)."""

from http import HTTPStatus

from ..rules import format_date
from .wire import response_bytes


def refusal(status: int, why: str, now: float, *, silent: bool = False) -> bytes:
    """A whole answer of our own, after which the connection is closed. why: for people; never what the client sent.
    silent: without its body, to a HEAD."""
    text = f"{why}\n".encode("ascii", "replace")
    head = response_bytes(status, phrase(status), (
        (b"date", format_date(now)), (b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"),
        (b"content-length", b"%d" % len(text)), (b"connection", b"close")))
    return head if silent else head + text


def phrase(status: int) -> bytes:
    """The reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
