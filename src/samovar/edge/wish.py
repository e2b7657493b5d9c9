"""Whether somebody still wants an answer: so that a request whose client left gives its place in a line up at once.

    front --(the client left, or closed its side)--> Wish.withdraw --> whoever waits `in_line` raises Withdrawn

Only waiting ends. What was sent to the origin is left to end there: it may be stored, and may have had an effect.

A client that closed its side has said all, or has left: nobody can tell until something is sent to it (RFC 9112 section
9.6). It still gets an answer that is under way, but holds no place in a line before the origin.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Withdrawn(ConnectionError):
    """Nobody wants this answer any more, and the origin was not asked for it."""


class Wish:
    """One client's, or that of all who wait for one flight. Of one event loop.

    lost: it holds no place in a line before the origin. gone: its client has left for certain. then: called once, when it
    is lost.
    """

    __slots__ = ("_is_origins", "_task", "gone", "lost", "then")

    def __init__(self) -> None:
        self.lost = self.gone = False
        self.then: Callable[[], None] | None = None
        self._task: asyncio.Task[object] | None = None
        self._is_origins = False

    def withdraw(self, *, sure: bool = True) -> bool:
        """It is lost; whether that ended a wait. sure: False: the client may still read, and goes on waiting for an answer
        that others asked for."""
        self.lost, self.gone = True, self.gone or sure
        then, self.then = self.then, None
        if then is not None:
            then()
        task = self._task
        if task is None or not (sure or self._is_origins):
            return False
        self._task = None
        return task.cancel()

    @contextmanager
    def in_line(self, *, origins: bool = True) -> Iterator[None]:
        """Around what waits: it is cancelled when the wish is withdrawn, and Withdrawn is raised. A wish that was lost before
        is the caller's to look at.

        origins: what is waited for is a place at the origin.
        """
        task = self._task = asyncio.current_task()
        assert task is not None
        self._is_origins, before = origins, task.cancelling()
        try:
            yield
        except asyncio.CancelledError:
            if self._task is None and task.uncancel() <= before:
                raise Withdrawn("nobody wants this answer any more") from None
            raise
        finally:
            self._task = None
