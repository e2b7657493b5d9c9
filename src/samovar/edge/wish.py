"""Whether somebody still wants an answer: so that a request whose client left gives its place in a line up at once.

    front --(the client left)--------> Wish.withdraw              --> whoever waits `in_line` raises Withdrawn
          --(the client closed its side)--> withdraw(sure=False)  --> whoever waits `in_line` steps behind all others

Only waiting ends. What was sent to the origin is left to end there: it may be stored, and may have had an effect.

A client that closed its side has said all, or has left: nobody can tell until something is sent to it (RFC 9112 section
9.6). So it still gets its answer, but keeps nobody waiting of whom it is known that he is there.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .._base.errors import OriginBusy


class Withdrawn(ConnectionError):
    """Nobody wants this answer any more, and the origin was not asked for it."""


class Wish:
    """One client's, or that of all who wait for one flight. Of one event loop.

    lost: it comes behind all others in a line before the origin. gone: its client has left for certain. then: called when
    it is lost, and when it is gone.
    """

    __slots__ = ("_leaves", "_moves", "_task", "gone", "lost", "then")

    def __init__(self) -> None:
        self.lost = self.gone = self._leaves = False
        self.then: Callable[[], None] | None = None
        self._moves: Callable[[bool], None] | None = None
        self._task: asyncio.Task[object] | None = None

    def withdraw(self, *, sure: bool = True) -> bool:
        """It is lost; whether that ended a wait. sure: False: the client may still read, and waits on where it may."""
        self.lost, self.gone = True, self.gone or sure
        if self.then is not None:
            self.then()
        task = self._task
        if task is None or not (sure or self._leaves):
            if self._moves is not None:
                self._moves(True)
            return False
        self._task = None
        return task.cancel()

    def renew(self) -> None:
        """It is wanted, by somebody who is there."""
        was_lost, self.lost, self.gone = self.lost, False, False
        if was_lost and self._moves is not None:
            self._moves(False)

    @contextmanager
    def in_line(self, moves: Callable[[bool], None] | None = None, *, leaves: bool = False) -> Iterator[None]:
        """Around what waits: it is cancelled when the wish is withdrawn for sure, and Withdrawn is raised. A wish that was
        lost before is the caller's to look at.

        moves: called with True where it must step behind others, with False where it need not any more. leaves: in this
        line nobody steps behind: it leaves, and OriginBusy is raised.
        """
        task = self._task = asyncio.current_task()
        assert task is not None
        self._moves, self._leaves, before = moves, leaves, task.cancelling()
        try:
            yield
        except asyncio.CancelledError:
            if self._task is None and task.uncancel() <= before:
                if leaves and not self.gone:
                    raise OriginBusy("no place for whose client may have left") from None
                raise Withdrawn("nobody wants this answer any more") from None
            raise
        finally:
            self._task = self._moves = None
