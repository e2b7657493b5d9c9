r"""Memcached's meta commands as bytes, and its replies as tuples: no I/O.

    mg <key> <flags>*\r\n                    ask            HD <flags>*   done
    ms <key> <size> <flags>*\r\n<body>\r\n   store          VA <size> <flags>*\r\n<body>\r\n   a value
    md <key> <flags>*\r\n                    delete         EN, NF        there is none
    ma <key> <flags>*\r\n                    count          NS, EX        not stored; it is another item by now

As protocol.txt of memcached 1.6 has them. A reply is (code, flags, body): the code as bytes, flags a list of bytes, body
None but for VA. What is no such reply ends the connection: after it nobody knows where the next one begins.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from .node import Fault
from .sockets import NOT_YET

Reply: TypeAlias = tuple[bytes, list[bytes], bytes | None]

_CODES = frozenset((b"HD", b"VA", b"EN", b"NF", b"NS", b"EX", b"MN", b"VERSION", b"STAT", b"END", b"ERROR",
                    b"CLIENT_ERROR", b"SERVER_ERROR"))
LONGEST_LINE = 2048
LARGEST_BODY = 1 << 30  # what -I allows at most
LEAST = 1 << 20  # bytes that are always read: notes are no longer


class Parser:
    """The replies of one connection, in order."""

    __slots__ = ("_at", "_buffer", "_cut", "_most", "_needed")

    def __init__(self, most: int = LARGEST_BODY) -> None:
        """most: larger bodies read as "?", and are dropped as they come."""
        self._most, self._cut = most, 0
        self._buffer = b""
        self._at = 0
        self._needed = 0  # so much must be there before it is worth a look

    def feed(self, chunk: bytes) -> None:
        """Take in what came."""
        if self._cut:
            step = min(self._cut, len(chunk))
            self._cut -= step
            chunk = chunk[step:]
        rest: Any = self._buffer
        if self._at == len(rest):
            self._buffer, self._at = chunk, 0
        elif type(rest) is bytearray and self._at < 1 << 16:
            rest += chunk
        else:
            self._buffer = bytearray(rest[self._at:])  # type: ignore[assignment]
            self._buffer += chunk
            self._needed, self._at = max(0, self._needed - self._at), 0

    @property
    def is_cutting(self) -> bool:
        """Whether more is to come of a body that was dropped, and nobody waits for it."""
        return self._cut > 0

    def gets(self) -> Any:
        """The next reply, or NOT_YET. Raises ValueError for what is none."""
        buffer, at = self._buffer, self._at
        if len(buffer) < self._needed:
            return NOT_YET
        end = buffer.find(b"\r\n", at, at + LONGEST_LINE + 2)
        if end < 0:
            if len(buffer) - at > LONGEST_LINE:
                raise ValueError(f"a line of more than {LONGEST_LINE} bytes")
            return NOT_YET
        words = bytes(buffer[at:end]).split(b" ")
        code = words[0]
        if code not in _CODES:
            raise ValueError(f"{code[:20]!r} begins no reply")
        if code != b"VA":
            self._at, self._needed = end + 2, 0
            return code, words[1:], None
        size = self._size(words)
        start = end + 2
        last = start + size
        if size > self._most:
            self._at, self._needed = min(last + 2, len(buffer)), 0
            self._cut = last + 2 - self._at
            return code, words[2:], b"?"  # an empty one would be a lease
        if len(buffer) < last + 2:
            self._needed = last + 2
            return NOT_YET
        if buffer[last:last + 2] != b"\r\n":
            raise ValueError("a body that does not end where it should")
        with memoryview(buffer) as view:
            body = bytes(view[start:last])
        self._at, self._needed = last + 2, 0
        return code, words[2:], body

    @staticmethod
    def _size(words: list[bytes]) -> int:
        if len(words) < 2 or not words[1].isdigit() or len(words[1]) > 10 or int(words[1]) > LARGEST_BODY:
            raise ValueError("a value without a size")
        return int(words[1])


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
