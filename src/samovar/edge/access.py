"""The access log: one line for each answer, with what the cache did.

    192.0.2.7 [Sun, 06 Nov 1994 08:49:37 GMT] "GET /news HTTP/1.1" 200 5120 0.000041 "samovar;hit;ttl=53"

Lines are gathered and written together, twice a second and at the end, so that a line does not cost a system call, and in
one piece that is appended, so that the lines of several workers do not mix. Bytes that could mean something to a terminal
or to a reader of lines are written as \\xNN.
"""

import re

from .._base.clock import stopwatch, wall
from .rules import format_date
from .wire import RequestHead

_UNSAFE = re.compile(rb'[^ !#-\[\]-~]')
_MOST = 1_024  # bytes of a target that are worth writing
_GATHERED = 1_000  # lines


def _safe(text: bytes) -> str:
    return _UNSAFE.sub(lambda found: b"\\x%02x" % found.group()[0], text[:_MOST]).decode("ascii")


class AccessLog:
    """A log in a file, or on standard output where `path` is "-"."""

    def __init__(self, path: str) -> None:
        self._file = open(1, "wb", buffering=0, closefd=False) if path == "-" else open(path, "ab", buffering=0)
        self._lines: list[str] = []
        self._second, self._date = 0, ""

    def add(self, client: bytes | None, head: RequestHead, status: int, size: int, began: float, said: bytes | None) -> None:
        """One answer. status: 0 where there was none. size: bytes of the body. began: by the stopwatch."""
        now = wall()
        if int(now) != self._second:
            self._second, self._date = int(now), format_date(now).decode()
        self._lines.append(
            f"{_safe(client or b'-')} [{self._date}] \"{head.method} {_safe(head.target)} HTTP/1.{0 if head.old else 1}\" "
            f"{status} {size} {stopwatch() - began:.6f} \"{_safe(said or b'-')}\"\n")
        if len(self._lines) >= _GATHERED:
            self.flush()

    def hit(self, client: bytes | None, head: RequestHead, status: int, size: int, began: float, block: bytes) -> None:
        """An answer from the store. block: its head, which has Cache-Status last."""
        said = block.rpartition(b"cache-status: ")[2].partition(b"\r\n")[0]
        self.add(client, head, status, size, began, said)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._file.write("".join(lines).encode("ascii"))

    def close(self) -> None:
        """Write the rest, and let go of the file."""
        self.flush()
        self._file.close()
