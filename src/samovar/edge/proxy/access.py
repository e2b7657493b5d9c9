"""The access log: one line for each answer, with what the cache did.

    192.0.2.7 [Sun, 06 Nov 1994 08:49:37 GMT] "GET /news HTTP/1.1" 200 5120 0.000041 "samovar;hit;ttl=53"
    192.0.2.8 [Sun, 06 Nov 1994 08:49:38 GMT] "-" 400 0 0.000002 "not exactly one Host"

Lines are gathered and written together, twice a second and at the end, so that a line does not cost a system call, and in
one piece that is appended, so that the lines of several workers do not mix. A thread writes them: a pipe that nobody
reads, or a disk that is slow or full, costs lines and nothing else; how many were lost is a warning of the logger. Bytes
that could mean something to a terminal or to a reader of lines are written as \\xNN.
"""

import logging
import re
import threading
from collections import deque

from ..._base.clock import stopwatch, wall
from ..rules import format_date
from .wire import RequestHead

_UNSAFE = re.compile(rb'[^ !#-\[\]-~]')
_MOST = 1_024  # bytes of a target that are worth writing
_GATHERED = 1_000  # lines
_WAITING = 64  # times as many that may wait to be written
_CLOSE_S = 2.0  # for which the end waits for the last ones

_logger = logging.getLogger("samovar.edge")


def _safe(text: bytes) -> str:
    return _UNSAFE.sub(lambda found: b"\\x%02x" % found.group()[0], text[:_MOST]).decode("ascii")


class AccessLog:
    """A log in a file, or on standard output where `path` is "-". Of one event loop; raises OSError when made, and never
    afterwards."""

    def __init__(self, path: str) -> None:
        self._file = open(1, "wb", buffering=0, closefd=False) if path == "-" else open(path, "ab", buffering=0)
        self._lines: list[str] = []
        self._second, self._date = 0, ""
        self._dropped = self._failed = 0  # lines that were lost: for want of room, and in writing
        self._told = 0  # of those, in a warning
        self._parts: deque[list[str]] = deque()  # to be written
        self._news, self._ends = threading.Event(), False
        self._thread = threading.Thread(target=self._write_all, name="samovar-access-log", daemon=True)
        self._thread.start()

    def add(self, client: bytes | None, head: RequestHead, status: int, size: int, began: float, said: bytes | None) -> None:
        """One answer. status: 0 where there was none. size: bytes of the body. began: by the stopwatch."""
        self._add(client, f"{head.method} {_safe(head.target)} HTTP/1.{0 if head.old else 1}", status, size, began, said)

    def _add(self, client: bytes | None, line: str, status: int, size: int, began: float, said: bytes | None) -> None:
        now = wall()
        if int(now) != self._second:
            self._second, self._date = int(now), format_date(now).decode()
        self._lines.append(
            f"{_safe(client or b'-')} [{self._date}] \"{line}\" {status} {size} {stopwatch() - began:.6f} "
            f"\"{_safe(said or b'-')}\"\n")
        if len(self._lines) >= _GATHERED:
            self.flush()

    def refused(self, client: bytes | None, status: int, why: str) -> None:
        """A request that was turned away before it was one, or in the middle of it."""
        self._add(client, "-", status, 0, stopwatch(), why.encode())

    def hit(self, client: bytes | None, head: RequestHead, status: int, size: int, began: float, block: bytes) -> None:
        """An answer from the store. block: its head, which has Cache-Status last."""
        said = block.rpartition(b"cache-status: ")[2].partition(b"\r\n")[0]
        self.add(client, head, status, size, began, said)

    def flush(self) -> None:
        """Hand what was gathered to who writes it."""
        if self._lines:
            lines, self._lines = self._lines, []
            if len(self._parts) < _WAITING:
                self._parts.append(lines)
                self._news.set()
            else:
                self._dropped += len(lines)
        if (lost := self.lost) > self._told:
            _logger.warning("the access log lost %d lines", lost - self._told)
            self._told = lost

    @property
    def lost(self) -> int:
        """Lines that were not written."""
        return self._dropped + self._failed

    def close(self) -> None:
        """Write the rest, and let go of the file; but wait no longer than a moment for one that takes nothing."""
        self.flush()
        self._ends = True
        self._news.set()
        self._thread.join(_CLOSE_S)
        if not self._thread.is_alive():
            self._file.close()

    def _write_all(self) -> None:
        while self._news.wait():
            self._news.clear()
            ends = self._ends
            while self._parts:
                lines = self._parts.popleft()
                try:
                    left = memoryview("".join(lines).encode("ascii"))
                    while left:
                        left = left[self._file.write(left) or 0:]
                except OSError:
                    self._failed += len(lines)
            if ends:
                return
