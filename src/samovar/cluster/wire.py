r"""Memcached's meta commands as bytes, and its replies as tuples: no I/O.

    mg <key> <flags>*\r\n                    ask            HD <flags>*   done
    ms <key> <size> <flags>*\r\n<body>\r\n   store          VA <size> <flags>*\r\n<body>\r\n   a value
    md <key> <flags>*\r\n                    delete         EN, NF        there is none
    ma <key> <flags>*\r\n                    count          NS, EX        not stored; it is another item by now

As protocol.txt of memcached 1.6 has them. A reply is (code, flags, body): the code as bytes, flags a list of bytes, body
None but for VA (csrc/pure/meta.h finds them). What is no such reply ends the connection: nobody knows where the next begins.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from .._core import meta_replies
from .blocking import NOT_YET
from .node import Fault

Reply: TypeAlias = tuple[bytes, list[bytes], bytes | None]

LARGEST_BODY = 1 << 30  # what -I allows at most
LEAST = 1 << 20  # bytes that are always read: notes are no longer


class Parser:
    """The replies of one connection, in order."""

    __slots__ = ("_at", "_buffer", "_cut", "_most", "_needed")

    def __init__(self, most: int = LARGEST_BODY) -> None:
        """most: larger bodies read as "?", and are dropped as they come."""
        self._most, self._cut = min(most, LARGEST_BODY), 0
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._needed = 0  # so much must be there before it is worth a look

    def feed(self, chunk: bytes) -> None:
        """Take in what came."""
        if self._cut:
            step = min(self._cut, len(chunk))
            self._cut -= step
            chunk = chunk[step:]
        rest = self._buffer
        if self._at == len(rest):
            self._buffer, self._at = chunk, 0
        elif type(rest) is bytearray and self._at < 1 << 16:
            rest += chunk
        else:
            rest = rest[self._at:]
            self._needed, self._at = max(0, self._needed - self._at), 0
            ends = self._needed <= len(rest) + len(chunk)  # what is cheap to read; a large body is gathered first
            self._buffer = bytes(rest) + chunk if ends else bytearray(rest) + chunk

    @property
    def is_cutting(self) -> bool:
        """Whether more is to come of a body that was dropped, and nobody waits for it."""
        return self._cut > 0

    @property
    def is_amid(self) -> bool:
        """Whether a part of a reply is here."""
        return self._cut > 0 or self._at < len(self._buffer)

    def gets(self) -> Any:
        """The next reply, or NOT_YET. Raises ValueError for what is none."""
        if self._at == len(self._buffer):
            return NOT_YET
        one: list[Reply] = []
        self.drain(one, 1)
        return one[0] if one else NOT_YET

    def drain(self, replies: list[Any], count: int) -> None:
        """Append to the replies what is there, until they are so many. Raises ValueError for what is none."""
        if not self._cut and len(self._buffer) >= self._needed:
            self._at, self._needed, self._cut = meta_replies(self._buffer, self._at, replies, count, self._most)


class Meta:
    """The dialect. most: the largest body that is read."""

    def __init__(self, most: int = LARGEST_BODY) -> None:
        self._most = max(most, LEAST)

    def reader(self) -> Parser:
        return Parser(self._most)

    def greeting(self) -> tuple[bytes, int]:
        return b"", 0

    def welcome(self, replies: list[Any]) -> Fault | None:
        return None


def ask(key: str, flags: str) -> bytes:
    """mg"""
    return f"mg {key} {flags}\r\n".encode("ascii")


def store(key: str, body: bytes, flags: str) -> bytes:
    """ms"""
    return b"%b%b\r\n" % (f"ms {key} {len(body)} {flags}\r\n".encode("ascii"), body)


def remove(key: str, flags: str = "") -> bytes:
    """md"""
    return f"md {key} {flags}\r\n".encode("ascii")


def count(key: str, flags: str) -> bytes:
    """ma"""
    return f"ma {key} {flags}\r\n".encode("ascii")


def flag(flags: Sequence[bytes], name: bytes) -> int | None:
    """The number that a reply's flag holds: `flag([b"c17"], b"c")` is 17."""
    for one in flags:
        if one[:1] == name:
            return int(one[1:]) if one[1:].isdigit() and len(one) < 22 else None
    return None
