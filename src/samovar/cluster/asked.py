"""The words of the cell protocol: what is asked for, what was found, what was made of it."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .._base.freshness import Freshness
from .._base.missing import MISSING
from ..app.context import LoadContext


class Entry(NamedTuple):
    """What an envelope says about its value, times in seconds.

    created: by the writer's wall clock. soft_s, hard_s: fresh for so long, kept for so long. cost_s: what its load took.
    tags: (the tag's place and name, version), see cluster/tags.py. epoch: of the node that it lies on.
    """

    created: float
    soft_s: float
    hard_s: float
    cost_s: float
    tags: tuple[tuple[str, int], ...]
    value: Any
    epoch: int

    def age(self, wall: float) -> float:
        """Seconds since it was written; the clocks of two machines may differ, but nothing is younger than new."""
        return max(0.0, wall - self.created)


@dataclass(slots=True)
class Asked:
    """One question.

    key: as the caller gave it; wire: as the nodes know it; owners: names of nodes in the ring's order.
    fresh: the freshness in force. tags: those that the caller named. gap: XFetch's (_base/early.py). maker: the factory,
    as in app/factory.py. anew: load whatever is stored. with_stale: whether what is stale may be served.
    """

    key: Any
    wire: str
    owners: tuple[str, ...]
    fresh: Freshness | None = None
    tags: tuple[str, ...] = ()
    gap: float = 0.0
    maker: Any = None
    anew: bool = False
    with_stale: bool = True

    @property
    def swr(self) -> float:
        return 0.0 if self.fresh is None or not self.with_stale else self.fresh.stale_while_revalidate

    @property
    def sie(self) -> float:
        return 0.0 if self.fresh is None or not self.with_stale else self.fresh.stale_if_error


class Got(NamedTuple):
    """An answer: the value, for how many seconds it is fresh yet (0: served stale), its tags, and whether a near cache may
    keep it: not what an invalidation overtook. as_of: it is what the tier, or the origin, said at this moment of the
    stopwatch or later, so that nobody who asked before it is answered with what was invalidated."""

    value: Any
    left_s: float = 0.0
    tags: tuple[str, ...] = ()
    may_keep: bool = False
    as_of: float = 0.0


NOT_THERE = Got(MISSING)


making: ContextVar[frozenset[str]] = ContextVar("samovar_making", default=frozenset())  # wire keys that this code makes


@dataclass(slots=True)
class Load:
    """A factory's call for one key, in the words of app/factory.py: `context` is what the factory sees of it."""

    key: Any
    wire: str
    stale: Any = MISSING
    value: Any = MISSING
    cost_s: float = 0.0
    _context: LoadContext | None = field(default=None)

    @property
    def context(self) -> LoadContext:
        if self._context is None:
            self._context = LoadContext(self.key, self.stale)
        return self._context

    @property
    def had_context(self) -> bool:
        return self._context is not None
