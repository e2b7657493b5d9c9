"""The near cache: a `Cache` in front of the shared tier, in this process, and whether it may keep anything.

It holds what the shared tier said, until a notice of the bus says that it changed. A notice that arrives while a near
load is under way keeps the loaded value out: those are the cache's own fences. Without a bus that is heard it keeps
nothing, so it answers nothing; without a bus at all its own ttl is the bound.

    a reader                          a writer, anywhere
    1 begins a near load
    2 reads the shared tier: v1
                                      3 changes the shared tier: deleted
                                      4 tells the bus
    5 hears it: fences the load
    6 returns v1, keeps nothing                                       had 6 come before 5, 5 would have removed it

The one rule: `stands` is set only after a flush, and unset only before one. A load that began while the bus was not
heard is fenced by the flush, whatever it finds `stands` to be when it ends.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..app import Cache
from . import notices
from .notices import Notice

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


class Near:
    """stands: whether it may keep what it is given. taken: notices that were obeyed; flushes: how often all was forgotten."""

    __slots__ = ("cache", "flushes", "hear", "stands", "taken")

    def __init__(self, cache: "Cache[Any, Any]", *, stands: bool) -> None:
        self.cache, self.stands = cache, stands
        self.flushes = self.taken = 0
        self.hear: Callable[[str, int, str], object] = lambda node, epoch, run: None  # is told of epochs that moved

    def fall(self) -> None:
        """The bus is not heard any more."""
        self.stands = False
        self.flush()

    def stand(self) -> None:
        """The bus is heard."""
        self.flush()
        self.stands = True

    def flush(self) -> None:
        """Forget everything, and fence off loads under way."""
        self.flushes += 1
        self.cache.clear()

    def take(self, notice: Notice | None) -> None:
        """Forget what somebody else changed; everything, where it cannot be known what that was."""
        try:
            self._obey(notice)
        except (TypeError, ValueError):  # names that a cache refuses: nobody of ours says them
            self.flush()
        self.taken += 1

    def _obey(self, notice: Notice | None) -> None:
        if notice is None:
            self.flush()
        elif notice.kind == notices.ALL:
            for node, (epoch, run) in notice.names.items():  # first: what is read after the flush is of these epochs
                self.hear(node, epoch, run)
            self.flush()
        elif notice.kind == notices.KEYS:
            self.cache.delete_many(notice.names)
        elif notice.kind == notices.TAGS:
            self.cache.invalidate_tags(*notice.names)
