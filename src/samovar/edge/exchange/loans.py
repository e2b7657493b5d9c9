"""Bodies in memory that clients are being sent: what those take together that are in no store any more is bounded.

A body in the store is lent as a view, and costs nothing. One that left it (evicted, purged, or never let in) stays in memory
for as long as somebody reads it, so many slow readers of different large bodies could take any amount. When they take more
than they may, nothing over PIECE is gathered in memory until they take less: it goes to a file, or through, at the pace of
those who read it. And clients that hold it up are cut off, the slowest first, until the rest takes no more than it may:
those that took less than a piece within `lag_s`. Who reads, however much there is to be read, is never cut off.

One exchange may serve several event loops in as many threads: whoever looks sees all of their loans, and cuts off each
client in its own loop.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import Any, cast

from ..._base.clock import deadline, stopwatch
from ..contracts import Sender, Vault
from ..rules import Entry
from .body import PIECE

_ANEW_S = 0.1  # for which what was found is believed


class Loan:
    """A body that one client is being sent, of the event loop that runs. touched: when he last took a piece, by the
    stopwatch. limit: of the time that its sending may take, while that goes on."""

    __slots__ = ("entry", "limit", "loop", "sender", "touched")

    def __init__(self, entry: Entry, sender: Sender, touched: float) -> None:
        self.entry, self.sender, self.touched = entry, sender, touched
        self.loop, self.limit = asyncio.get_running_loop(), cast("asyncio.Timeout | None", None)

    def cut(self) -> None:
        """Cut his client off, from whichever thread."""
        if self.loop is asyncio.get_running_loop():
            self._cut()
        else:
            with contextlib.suppress(RuntimeError):  # that loop is closed
                self.loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        self.sender.abort()
        if self.limit is not None:  # who sends to an application's server waits there, and hears nothing of it
            with contextlib.suppress(RuntimeError):  # it is over
                self.limit.reschedule(deadline(0.0))


class Loans:
    """All of them, of one exchange. most: bytes outside of the vault. lag_s: for which a client may take nothing when there
    is more than that."""

    def __init__(self, vault: Vault, most: int, lag_s: float, time: Callable[[], float] = stopwatch) -> None:
        self._vault, self._most, self._lag_s, self._time = vault, most, lag_s, time
        self._open: dict[Loan, None] = {}
        self._looked, self._room = float("-inf"), True

    def begin(self, entry: Entry, sender: Sender) -> Loan:
        """Somebody is being sent this, from now until `end`."""
        loan = Loan(entry, sender, self._time())
        self._open[loan] = None
        return loan

    def took(self, loan: Loan) -> None:
        """He took a piece."""
        loan.touched = self._time()

    def end(self, loan: Loan) -> None:
        """He is sent no more."""
        self._open.pop(loan, None)

    def outside(self) -> dict[int, list[Loan]]:
        """The loans of each body that is in memory, and in no store; O(loans)."""
        found: dict[int, list[Loan]] = {}
        for loan in list(self._open):  # in one step: other threads begin and end theirs
            body: Any = loan.entry.body
            if body.__class__ is bytes and len(body) > PIECE:
                found.setdefault(id(body), []).append(loan)
        if sum(map(_size, found.values())) > self._most:
            found = {body: loans for body, loans in found.items() if not self._vault.holds(loans[0].entry)}
        return found

    def largest(self) -> int:
        """Bytes of one body that may be gathered in memory now: PIECE when too much is lent, else any number. It cuts off who
        must be."""
        now = self._time()
        if now - self._looked >= _ANEW_S:
            outside = self.outside()
            excess = sum(map(_size, outside.values())) - self._most
            self._looked, self._room = now, excess <= 0
            if excess > 0:
                self._cut(list(outside.values()), excess, now - self._lag_s)
        return sys.maxsize if self._room else PIECE

    def _cut(self, bodies: list[list[Loan]], excess: int, before: float) -> None:
        """Cut off all readers of bodies that nobody has taken anything of since then, the longest forgotten first."""
        bodies.sort(key=lambda loans: max(loan.touched for loan in loans))
        for loans in bodies:
            if excess <= 0 or any(loan.touched > before for loan in loans):
                return
            excess -= _size(loans)
            for loan in loans:
                loan.cut()


def _size(loans: list[Loan]) -> int:
    return len(loans[0].entry.body)
