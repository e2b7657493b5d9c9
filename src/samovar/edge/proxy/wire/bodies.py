"""Where a body ends (RFC 9112 sections 6 and 7): by its length, by its last chunk, or with the connection.

One contract for the three. `feed(bytes)` returns what of them is body, as pieces in order, and `rest`: None while the
body goes on, else what came after its end, which belongs to nobody here. `close()` is told that the connection ended
and says whether the body is complete by that. Anything else than the exact grammar raises BadBody, and then the
connection is of no more use.
"""

import re
from typing import Protocol

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16}+)((?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?)")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+")
_EXTENSION = 256  # bytes of the extensions of one chunk
_EXTENSIONS = 16_384  # bytes of the extensions of one body
_TRAILERS = 16_384  # bytes of the trailer section
_TINY = 64  # bytes of a chunk that costs more to frame than it carries
_TINIES = 100_000  # of those in one body
_SEPARATE = 8  # chunks that came together and are worth passing on one by one


class BadBody(ValueError):
    """The framing of a body is broken: where the message ends is not known."""


class Body(Protocol):
    """What feeds pieces of a body out of a connection's bytes."""

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """The pieces of the body in `data`, and what came after its end, or None while it goes on."""

    def close(self) -> bool:
        """Whether a body that has not ended is complete when the connection ends here."""


class Sized:
    """A body of `length` bytes."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """See Body."""
        if len(data) < self.left:
            self.left -= len(data)
            return [data] if data else [], None
        piece, rest = data[:self.left], data[self.left:]
        self.left = 0
        return [piece] if piece else [], rest

    def close(self) -> bool:
        """It was cut short."""
        return False


class UntilClose:
    """A body that ends with the connection: of a response without any other framing."""

    __slots__ = ()

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """See Body."""
        return [data] if data else [], None

    def close(self) -> bool:
        """That is its end."""
        return True


def _few(pieces: list[bytes]) -> list[bytes]:
    """Chunks that came together go on together when there are many: each costs whoever takes it the same, however small."""
    return pieces if len(pieces) <= _SEPARATE else [b"".join(pieces)]


class Chunked:
    """A body in chunks. Extensions are left aside and so are trailers, both within bounds."""

    __slots__ = ("_buffer", "_left", "_state", "_extensions", "_trailers", "_tinies")

    def __init__(self) -> None:
        self._buffer = b""  # of a line that is not whole yet
        self._left = 0
        self._state = "size"  # size, piece, end (the CRLF after a piece), trailers
        self._extensions = self._trailers = self._tinies = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """See Body."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        pieces: list[bytes] = []
        at, stop = 0, len(data)
        while at < stop:
            if self._state == "piece":
                piece = data[at:at + self._left]
                at += len(piece)
                self._left -= len(piece)
                pieces.append(piece)
                if not self._left:
                    self._state = "end"
                continue
            line = data.find(b"\n", at)
            if line < 0:
                self._buffer = data[at:]
                self._check_unfinished()
                break
            if line == at or data[line - 1] != 13:
                raise BadBody("a line that does not end with CRLF")
            text, at = data[at:line - 1], line + 1
            if self._state == "end":
                if text:
                    raise BadBody("a chunk is longer than it says")
                self._state = "size"
            elif self._state == "size":
                self._begin(text)
            elif not text:
                return _few(pieces), data[at:]
            else:
                self._trailer(text)
        return _few(pieces), None

    def close(self) -> bool:
        """It was cut short."""
        return False

    def _begin(self, text: bytes) -> None:
        found = _SIZE.fullmatch(text)
        if found is None:
            raise BadBody("not a chunk size")
        extension = len(found.group(2))
        self._extensions += extension
        if extension > _EXTENSION or self._extensions > _EXTENSIONS:
            raise BadBody("too many chunk extensions")
        self._left = int(found.group(1), 16)
        if self._left >= 1 << 62:
            raise BadBody("a chunk size beyond all bounds")
        self._state = "piece" if self._left else "trailers"
        if self._left < _TINY:
            self._tinies += 1
            if self._tinies > _TINIES:
                raise BadBody("too many tiny chunks")

    def _trailer(self, text: bytes) -> None:
        self._trailers += len(text) + 2
        if self._trailers > _TRAILERS or _TRAILER.fullmatch(text) is None:
            raise BadBody("a bad trailer section")

    def _check_unfinished(self) -> None:
        most = {"end": 2, "size": _EXTENSION + 20, "trailers": _TRAILERS}[self._state]
        if len(self._buffer) > most or (self._state == "end" and self._buffer not in (b"\r", b"")):
            raise BadBody("a line without an end")
