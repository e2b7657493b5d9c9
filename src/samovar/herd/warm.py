"""`warm`: fill a store before it is asked, at a pace that its origin bears, and go on where an interruption stopped it.

The mechanism is `app/warming.py`, as for `Cache.warm`; here are the journal, the bar, and stores of other kinds: whatever
has `peek(key, default)` and `get_or_set(key, factory)` can be warmed.
"""

import contextlib
from collections.abc import Awaitable, Callable, Generator, Hashable, Iterable
from functools import partial
from typing import Any, TypedDict, TypeVar, Unpack

from .._base.freshness import Duration, Freshness
from .._core import CacheCore
from ..app import options, warming
from ..app.factory import check_factory
from ..app.loads import Loads, Progress, Tags
from ..app.snapshot import Path, path_of
from ..app.warming import Fill, Warmed
from . import progress as bars
from .journal import Journal

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class WarmOptions(TypedDict, total=False):
    """How a value that is loaded is kept; see `Cache.get_or_set`."""

    ttl: Duration | None
    fresh: Freshness | None
    tags: Tags
    weight: int | None


def warm(
    cache: Any, keys: Iterable[K], loader: Callable[..., V] | None = None, *, concurrency: int = 8,
    rate: float | None = None, progress: Progress | bool | None = None, resume: Path | None = None,
    **how: Unpack[WarmOptions],
) -> Warmed:
    """Load what is missing of these keys before anybody asks, and return (loaded, present, failed, skipped).

    What the loader raises is counted, and the others go on. An origin that is busy (OriginBusy, from an OriginBudget)
    is given the time that it asks for, and asked again: up to 20 times, a few minutes in all. Ctrl-C ends the warming
    once the loads that run have ended.

    cache: a `Cache`, or any store with `peek(key, default)` and `get_or_set(key, factory, **options)`.
    keys: any iterable, read as it goes, in its order: the hottest first.
    loader: called with a key (and with the context of the load, if it asks for one more argument); left out, the cache's
        own.
    concurrency: how many loads run at once, 1 or more.
    rate: how many loads begin in a second at most, at even distances; None: as many as there can be.
    progress: called in this thread after each key with how many are done, and how many there are (None: keys has no
        length). Left out, or True: a bar on stderr if that is a terminal. False: nothing.
    resume: a file, the journal: what was loaded is noted there, and not loaded again by the warming that takes the same
        file after an interruption. It is removed at the end. Keys must be plain data. A `Cache` that goes away with its
        process is loaded anew, but for what `Cache.load` brought back; so is what is older than its ttl.
    how: ttl, fresh, tags and weight of what is loaded, as for `Cache.get_or_set`.

    Raises TypeError or ValueError that names an argument that is not what it must be, and SnapshotError when `resume` is
    a file of another kind.

    >>> from samovar import Cache, warm
    >>> cache = Cache()
    >>> warm(cache, ["tea", "mate"], str.upper, rate=1000)
    Warmed(loaded=2, present=0, failed=0, skipped=0)
    """
    fill = _fills("warm", cache, loader, how, warming.fills, "get_or_set", "get_or_load")
    with _told("warm", cache, keys, concurrency, rate, progress, resume, how) as (tell, journal):
        return warming.drive(cache, keys, fill, concurrency=concurrency, rate=rate, progress=tell, log=journal)


async def awarm(
    cache: Any, keys: Iterable[K], loader: Callable[..., V | Awaitable[V]] | None = None, *, concurrency: int = 8,
    rate: float | None = None, progress: Progress | bool | None = None, resume: Path | None = None,
    **how: Unpack[WarmOptions],
) -> Warmed:
    """The same, awaited: `loader` may be `async def`, loads are tasks, and `progress` is called in this event loop.

    cache: a `Cache`, or any store with `peek` and `aget_or_set` (or an async `get_or_set`).
    """
    fill = _fills("awarm", cache, loader, how, warming.afills, "aget_or_set", "aget_or_load")
    with _told("awarm", cache, keys, concurrency, rate, progress, resume, how) as (tell, journal):
        return await warming.adrive(cache, keys, fill, concurrency=concurrency, rate=rate, progress=tell, log=journal)


def _fills(who: str, cache: Any, loader: Any, how: WarmOptions, ours: Callable[..., Fill], verb: str, own: str) -> Fill:
    """How this store loads a key."""
    if isinstance(cache, Loads):
        given = cache._warmer(who, loader)
        if who == "warm":
            check_factory(who, partial(given, None), awaits=False)
        words = {name: how.get(name) for name in WarmOptions.__annotations__}
        if unknown := set(how) - set(words):
            raise TypeError(f"{who}: unknown option {min(unknown)!r}")
        return ours(cache, given, **cache._how(who, **words))  # type: ignore[arg-type]
    get_or_set = getattr(cache, verb, None) or getattr(cache, "get_or_set", None)
    if not callable(get_or_set) or not callable(getattr(cache, "peek", None)):
        raise TypeError(f"{who}: cache must be a Cache, or have peek(key, default) and get_or_set(key, factory), "
                        f"not {cache!r}")
    if loader is None:
        get_or_load = getattr(cache, own, None) or getattr(cache, "get_or_load", None)
        if get_or_load is None:
            raise TypeError(f"{who}: {cache!r} has no loader of its own; give one to the call")
        return lambda key: get_or_load(key, **how)
    warming.check_loader(who, loader)
    return lambda key: get_or_set(key, partial(loader, key), **how)


@contextlib.contextmanager
def _told(who: str, cache: Any, keys: Any, concurrency: int, rate: float | None, progress: Any, resume: Path | None,
          how: WarmOptions) -> Generator[tuple[Progress | None, Journal | None], None, None]:
    """Who is told of progress, and the journal, which is removed when the warming came to its end. A bad argument is
    found before a file is made."""
    if not isinstance(keys, Iterable):
        raise TypeError(f"{who}: keys must be an iterable of keys, not {keys!r}")
    options.whole(who, "concurrency", concurrency, least=1)
    warming.check_rate(who, rate)
    bar = bars.chosen(who, progress)
    journal = None
    if resume is not None:
        journal = Journal(who, path_of(f"{who}: resume", resume), is_ours=isinstance(cache, CacheCore),
                          ttl=_ttl(who, cache, how))
    whole = False
    try:
        with bar as tell:
            yield tell, journal
        whole = True
    finally:
        if journal is not None:
            journal.close(remove=whole)


def _ttl(who: str, cache: Any, how: WarmOptions) -> float | None:
    """How long what is loaded is good, as far as this call or the cache says so."""
    fresh = getattr(cache, "fresh", None)
    said = Freshness.of(how.get("ttl"), how.get("fresh") or (fresh if isinstance(fresh, Freshness) else None), who=who)
    return None if said is None else said.ttl
