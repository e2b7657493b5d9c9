"""How long one caller waits for a load, and what it is served when that was too long; the load goes on for the others."""

from .._base.errors import LoadTimeout
from .._base.freshness import Duration
from ..app import loading
from .asked import Asked, Got
from .cell import Seen
from .store import Store


class Patience:
    """soft: the longest wait while there is an old value that may be served. hard: the longest wait. Both from now on."""

    __slots__ = ("_asked", "_hard_s", "_old", "_soft_s", "_started", "_store")

    def __init__(self, store: Store, asked: Asked, soft: Duration | None, hard: Duration | None) -> None:
        limits = loading.limits("get_or_set", soft, hard)
        self._soft_s, self._hard_s = limits["soft_s"], limits["hard_s"]
        self._store, self._asked, self._started = store, asked, store.stopwatch()
        self._old: Seen | None = None

    @property
    def wants_old(self) -> bool:
        """Whether it matters what was stored before."""
        return self._soft_s is not None and self._window_s > 0

    @property
    def _window_s(self) -> float:
        return max(self._asked.swr, self._asked.sie)

    def saw(self, seen: Seen) -> None:
        """This was stored before."""
        self._old = seen

    def left_s(self) -> float | None:
        """Seconds that the caller waits from now on; None: for as long as it takes."""
        limits = [limit for limit in (self._hard_s, self._soft_s if self._serves() else None) if limit is not None]
        return max(0.0, min(limits) - (self._store.stopwatch() - self._started)) if limits else None

    def _serves(self) -> bool:
        """Whether the old value may be served, at this moment."""
        if self._old is None or self._old.entry is None:
            return False
        self._old = self._old._replace(age_s=self._old.entry.age(self._store.tier.wall()))
        return self._old.may_fail(self._window_s)

    def late(self, error: LoadTimeout) -> Got | None:
        """A wait was too long: the old value; None when only the soft limit is over and the caller waits on. Raises
        LoadTimeout when the hard one is, and `error` when it is somebody else's."""
        waited_s = self._store.stopwatch() - self._started
        soft_is_over, hard_is_over = (limit is not None and waited_s >= limit for limit in (self._soft_s, self._hard_s))
        if (soft_is_over or hard_is_over) and self._serves():
            assert self._old is not None and self._old.entry is not None
            return self._store.take(self._old.entry, self._old.age_s)
        if hard_is_over:
            raise LoadTimeout(f"the load of {self._asked.key!r} took longer than {self._hard_s:g} s; it goes on in the "
                              f"background") from None
        if not soft_is_over:
            raise error
        return None
