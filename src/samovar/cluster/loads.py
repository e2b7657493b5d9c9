"""Which keys this process loads from behind the shared tier: so that who only reads does not wait for a load, and a crowd
that comes to a cold key reads it once.

The one rule: nothing is decided by this alone. It saves questions; what may be served is for the protocol to say
(cluster/cell.py).
"""

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

JUST_NOW_S = 0.05  # how long it counts that there was nothing

_all: "weakref.WeakSet[Loading]" = weakref.WeakSet()


def _forked() -> None:
    """Those who load stayed in the parent."""
    for loading in list(_all):
        loading.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Loading:
    """Which keys this process loads now: who only reads does not wait for them, and who would load, too, need not read first
    when it was read just now that there is nothing. `cold`: when that was, by key."""

    def __init__(self) -> None:
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()
        self._counts: dict[Any, int] = {}
        self.cold: dict[Any, float] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._counts

    def is_cold(self, key: object, now: float) -> bool:
        """Whether a key is being loaded for which nothing was found just now: a crowd that comes together need not ask the
        node one by one. Later ones do: somebody else may have stored it."""
        since = self.cold.get(key)
        return since is not None and now - since < JUST_NOW_S

    @contextmanager
    def of_cold(self, key: Any, since: float) -> Iterator[None]:
        """While this is loaded, for which nothing was found at this time."""
        self.cold[key] = since
        try:
            with self.of(key):
                yield
        finally:
            self.cold.pop(key, None)

    @contextmanager
    def of(self, *keys: Any) -> Iterator[None]:
        """While these are loaded."""
        with self._lock:
            for key in keys:
                self._counts[key] = self._counts.get(key, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                for key in keys:
                    left = self._counts.pop(key, 1) - 1  # a fork in the midst of it forgot them
                    if left > 0:
                        self._counts[key] = left
