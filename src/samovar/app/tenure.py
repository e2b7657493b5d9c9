"""The place at the origin of a load whose factory runs in a thread, while a task waits for it.

The task can be cancelled, the thread cannot: the place is given back when both are through with it.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from .._base.contracts import Permit
from .._base.flight import places

_T = TypeVar("_T")


class Tenure:
    """A permit that a thread may hold longer than the task that got it."""

    __slots__ = ("_error", "_is_carried", "_is_left", "_lock", "_permit", "waited")

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self.waited = permit.waited
        self._lock = threading.RLock()  # re-entrant: a finalizer may come at any time
        self._is_carried = self._is_left = False
        self._error: BaseException | None = None

    def carry(self, fn: Callable[[], _T]) -> _T | None:
        """Call fn in this thread; None, and no call, when the task has left already."""
        with self._lock:
            if self._is_left:
                return None
            self._is_carried = True
        try:
            return fn()
        finally:
            with self._lock:
                self._is_carried = False
                is_left = self._is_left
            if is_left:
                self._permit.leave(self._error)

    def leave(self, error: BaseException | None = None) -> None:
        """The task is through; the place is free now, or when the thread is through too."""
        with self._lock:
            if self._is_left:
                return
            self._is_left, self._error = True, error
            if self._is_carried:  # what this context asks from now on is not asked in that place
                places.set(tuple([one for one in places.get() if one() is not self._permit]))
                return
        self._permit.leave(error)
