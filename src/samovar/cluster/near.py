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

from collections.abc import Callable
from typing import Any

from ..app import Cache
from . import notices
from .notices import Notice


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
