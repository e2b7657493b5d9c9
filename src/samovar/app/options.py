"""What `Cache` and its verbs accept, and how they say that something is wrong.

Every check is made before anything is built or stored: a bad argument changes nothing. `who` is the verb as the user
wrote it; messages start with it, name the argument, say what it was and what it must be.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import index
from sys import maxsize as LARGEST
from typing import Any, TypeVar

from .._base.freshness import Duration, Freshness
from ..memo import lru_cache
from ..memo.options import texts

F = TypeVar("F", bound=Callable[..., Any])
RULES = ("adaptive", "lru", "fifo", "sieve", "s3fifo", "tinylfu", "gdsf")
DEFAULT_MAXSIZE = 10_000
HEAVIEST = 2**32 - 1  # as much as one entry may weigh
MOST_SIZES = 15  # that can be asked for at once


def bound(who: str, name: str, value: object) -> int | None:
    """A `maxsize` or `maxweight`: an integer of 1 or more, or None for no bound."""
    return None if value is None else whole(who, name, value, least=1, none=True)


def whole(
    who: str, name: str, value: object, *, least: int = 0, most: int = LARGEST, none: bool = False
) -> int:
    """An integer from `least` to `most`; `none`: whether None is allowed too, for the message."""
    wanted = f"an integer of {least} or more" + (", or None for no bound" if none else "")
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{who}: {name} must be {wanted}, not {value!r}")
    number = index(value)  # type: ignore[arg-type]  # asked above
    if number < least:
        raise ValueError(f"{who}: {name} must be {wanted}, not {value!r}")
    if number > most:
        raise ValueError(f"{who}: {name} must be at most {most}, not {value!r}")
    return number


def sizes(who: str, value: Iterable[int]) -> list[int]:
    """Sizes of caches, in entries: each once, in the order given."""
    try:
        given = list(value)
    except TypeError:
        raise TypeError(f"{who}: sizes must be integers in a list or tuple, not {value!r}") from None
    found = list(dict.fromkeys(whole(who, "sizes", size, least=1) for size in given))
    if len(found) > MOST_SIZES:
        raise ValueError(f"{who}: sizes must be {MOST_SIZES} at most, not {len(found)}")
    return found


def weight(who: str, value: object) -> int | None:
    """What one entry weighs, when the caller says so."""
    return None if value is None else whole(who, "weight", value, least=1, most=HEAVIEST)


def function(who: str, name: str, value: Callable[..., Any] | None, remedy: str) -> None:
    """Refuse what can not be called, where None means that there is none."""
    if value is not None and not callable(value):
        raise TypeError(f"{who}: {name} must be callable or None, not {value!r}; {remedy}")


def shown_as(name: str) -> Callable[[F], F]:
    """A decorator: errors about the arguments of this method call it by the name that the user wrote."""

    def rename(method: F) -> F:
        method.__qualname__ = name
        return method

    return rename


def flag(who: str, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{who}: {name} must be True or False, not {value!r}")
    return value


def rule(who: str, value: object) -> str:
    """The name of an eviction rule."""
    names = ", ".join(map(repr, RULES))
    if not isinstance(value, str):
        raise TypeError(f"{who}: eviction must be one of {names}, not {value!r}")
    if value not in RULES:
        raise ValueError(f"{who}: eviction must be one of {names}, not {value!r}")
    return value


def name(who: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{who}: name must be text or None, not {value!r}")
    return value


def tags(who: str, value: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Tags as the core takes them: a tuple of text, each once. One text is one tag, not its letters."""
    return None if value is None else texts(f"{who}: tags", value)


def freshness(who: str, ttl: Duration | None, fresh: Freshness | None, default: Freshness | None) -> Freshness | None:
    """What a call says of how long: None when it says nothing, and then the cache's own words hold.

    A plain `ttl` changes the ttl only: the other words stay those of `fresh`, or else of the cache's `default`.
    """
    if ttl is None and fresh is None:
        return None
    if type(ttl) in (int, float, str) and (fresh is None or type(fresh) is Freshness):
        return _said_before(who, ttl, default if fresh is None else fresh)
    return Freshness.of(ttl, default if fresh is None else fresh, who=who)


# A program says the same few ttls again and again, and reading one anew takes ten times as long as to store an entry.
_said_before = lru_cache(maxsize=256, typed=True)(lambda who, ttl, fresh: Freshness.of(ttl, fresh, who=who))


def pairs(who: str, entries: Any) -> list[tuple[Any, Any]]:
    """The (key, value) pairs of a mapping or an iterable of pairs, all of them read before any is stored."""
    if isinstance(entries, Mapping):
        return list(entries.items())
    if hasattr(entries, "keys"):  # as dict.update decides
        return [(key, entries[key]) for key in entries.keys()]
    try:
        given = iter(entries)
    except TypeError:
        raise TypeError(f"{who}: entries must be a mapping or (key, value) pairs, not {entries!r}") from None
    found = []
    for at, entry in enumerate(given):
        try:
            key, value = entry
        except (TypeError, ValueError):
            raise TypeError(f"{who}: entry {at} must be a (key, value) pair, not {entry!r}") from None
        found.append((key, value))
    return found
