"""What a factory may ask for and say: the load's context."""

from collections.abc import Iterable
from typing import Any

from .._base.freshness import Duration, Freshness
from .._base.missing import MISSING
from . import options


class LoadContext:
    """One load, as its factory sees it: what was there before, and how the result shall be kept.

    A factory that requires one positional argument is given one. What it says counts when the factory returns, over
    what the caller said; it is checked when it is said.

    key: the key that is loaded.
    stale: the old value that is still kept; samovar's MISSING when there is none (see has_stale).
    ttl: the result's time to live, a duration; None: as the caller or the cache says.
    fresh: a Freshness for the result; None: as the caller or the cache says.
    tags: tags of the result, a text or texts; None: as the caller says, or those of the old value when that is returned
        by not_modified.
    weight: the result's weight, an integer of 1 or more; None: the same.

    >>> from samovar.app.context import LoadContext
    >>> def load(context):
    ...     context.ttl = "5m"
    ...     context.tags = ["user:7"]
    ...     return "result"
    >>> context = LoadContext("key")
    >>> load(context), context.ttl, context.tags, context.has_stale
    ('result', 300.0, ('user:7',), False)
    """

    __slots__ = ("_fresh", "_renewed", "_stored", "_tags", "_ttl", "_weight", "key", "stale")

    def __init__(self, key: Any, stale: Any = MISSING) -> None:
        self.key = key
        self.stale = stale
        self._renewed = False
        self._ttl: float | None = None
        self._fresh: Freshness | None = None
        self._tags: tuple[str, ...] | None = None
        self._weight: int | None = None
        self._stored = True

    @property
    def has_stale(self) -> bool:
        """Whether an old value is still kept."""
        return self.stale is not MISSING

    @property
    def ttl(self) -> float | None:
        return self._ttl

    @ttl.setter
    def ttl(self, value: Duration | None) -> None:
        said = Freshness.of(value, None, who="LoadContext")
        self._ttl = None if said is None else said.ttl

    @property
    def fresh(self) -> Freshness | None:
        return self._fresh

    @fresh.setter
    def fresh(self, value: Freshness | None) -> None:
        self._fresh = Freshness.of(None, value, who="LoadContext")

    @property
    def tags(self) -> tuple[str, ...] | None:
        return self._tags

    @tags.setter
    def tags(self, value: str | Iterable[str] | None) -> None:
        self._tags = options.tags("LoadContext", value)

    @property
    def weight(self) -> int | None:
        return self._weight

    @weight.setter
    def weight(self, value: int | None) -> None:
        self._weight = options.weight("LoadContext", value)

    def not_modified(self) -> Any:
        """The old value, to be returned by the factory: it is as good as new, and is fresh again from now on. It keeps
        its tags and its weight where the context says nothing else.

        Raises LookupError when no old value is kept; ask has_stale before.
        """
        if self.stale is MISSING:
            raise LookupError(f"LoadContext: there is no old value of {self.key!r}; look at has_stale before not_modified()")
        self._renewed = True
        return self.stale

    def do_not_store(self) -> None:
        """Give the result to those who wait for it, and do not keep it; an old value stays as it is."""
        self._stored = False

    # What the protocol reads when the factory has returned.

    def is_stored(self) -> bool:
        """Whether the result is to be kept."""
        return self._stored

    def is_renewed(self, value: Any) -> bool:
        """Whether this result is the old value, declared as good as new."""
        return self._renewed and value is self.stale

    def freshness(self, given: Freshness | None) -> Freshness | None:
        """The result's freshness, where `given` is the caller's."""
        return Freshness.of(self._ttl, given if self._fresh is None else self._fresh)
