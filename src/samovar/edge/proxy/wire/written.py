"""Heads as they are sent. What would break out of its line is refused, whoever made it."""

import re
from collections.abc import Iterable

from ...rules import Headers

_HEAD = re.compile(rb"[\t\x20-\x7e\x80-\xff]++\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++: [\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n")


def _written(start: bytes, headers: Headers) -> bytes:
    lines = [b"%b: %b\r\n" % field for field in headers]
    head = b"".join((start, *lines, b"\r\n"))
    if head.count(b"\n") != len(lines) + 2 or _HEAD.fullmatch(head) is None or any(b":" in name for name, _ in headers):
        raise ValueError("CR, LF or a control byte in a field")
    return head


def request_bytes(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of an HTTP/1.1 request. Raises ValueError for what cannot stand in one."""
    if b" " in target or not target:
        raise ValueError("a target with a space")
    return _written(b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), target), tuple(headers))


def response_bytes(status: int, reason: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of an HTTP/1.1 response. Raises ValueError for what cannot stand in one."""
    return _written(b"HTTP/1.1 %d %b\r\n" % (status, reason), tuple(headers))
