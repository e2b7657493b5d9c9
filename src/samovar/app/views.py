"""`keys()`, `values()` and `items()` of a cache: looking at it is not using it.

A view shows what the cache holds when it is looked at. Iterating walks over a snapshot that is taken when the iteration
begins: it counts no hits, moves nothing in the eviction order, and nothing that happens to the cache meanwhile
disturbs it. Only fresh entries are shown, the last to leave first; `reversed()` begins with the next to leave.
"""

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any, TypeVar

from .._base.missing import MISSING

KEYS, VALUES, ITEMS = range(3)  # what a snapshot is asked for

K_co = TypeVar("K_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)


class Keys(KeysView[K_co]):
    """The keys of a cache; a set that follows the cache."""

    __slots__ = ()
    _mapping: Any

    def __iter__(self) -> Iterator[K_co]:
        return iter(self._mapping._snapshot(KEYS))

    def __reversed__(self) -> Iterator[K_co]:
        shown: list[K_co] = self._mapping._snapshot(KEYS)
        return reversed(shown)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


class Values(ValuesView[V_co]):
    """The values of a cache, as they come with its keys."""

    __slots__ = ()
    _mapping: Any

    def __contains__(self, value: object) -> bool:
        return any(value is held or value == held for held in self)

    def __iter__(self) -> Iterator[V_co]:
        return iter(self._mapping._snapshot(VALUES))

    def __reversed__(self) -> Iterator[V_co]:
        shown: list[V_co] = self._mapping._snapshot(VALUES)
        return reversed(shown)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


class Items(ItemsView[K_co, V_co]):
    """The (key, value) pairs of a cache; a set that follows the cache."""

    __slots__ = ()
    _mapping: Any

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        held = self._mapping.peek(item[0], MISSING)
        return held is not MISSING and bool(held is item[1] or held == item[1])

    def __iter__(self) -> Iterator[tuple[K_co, V_co]]:
        return iter(self._mapping._snapshot(ITEMS))

    def __reversed__(self) -> Iterator[tuple[K_co, V_co]]:
        shown: list[tuple[K_co, V_co]] = self._mapping._snapshot(ITEMS)
        return reversed(shown)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"
