"""The verbs of `Cache` that load: what is missing is made once, for all who ask.

This room reads arguments; the protocol (who works, who waits, what is served meanwhile, what may be stored) is in
`loading`. Each verb has two forms: the plain one blocks its thread, the one that begins with "a" is awaited. Both may
be used on one cache at once, from any number of threads and event loops: they join each other's loads.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack

from .._base.contracts import Gate
from .._base.freshness import Duration, Freshness
from .._base.missing import MISSING
from .._base.turn import Leasing
from .._core import CacheCore
from . import loading, options, warming
from .warming import Warmed

K = TypeVar("K")
V = TypeVar("V")

Tags: TypeAlias = str | Iterable[str] | None
Loader: TypeAlias = Callable[..., V]  # called with a key, and with the context of the load if it asks for one
Progress: TypeAlias = Callable[[int, int | None], object]


class LoadOptions(TypedDict, total=False):
    """How a value that is loaded is kept, and how long its caller waits; see `Cache.get_or_set`."""

    ttl: Duration | None
    fresh: Freshness | None
    tags: Tags
    weight: int | None
    soft_timeout: Duration | None
    hard_timeout: Duration | None


class Loads(CacheCore[K, V]):
    """A cache that loads. A factory or loader that must be given one argument more gets the context of its load: there
    it says ttl, tags and weight from its own result, that nothing changed, or that nothing is to be stored."""

    __slots__ = ("_fresh", "_gate", "_leasing", "_loader")
    _fresh: Freshness | None
    _gate: Gate | None
    _leasing: Leasing | None
    _loader: Callable[..., Any] | None

    # -------------------------------------------------------------- one key

    @options.shown_as("get_or_set")
    def _get_or_set(
        self, key: K, factory: Callable[..., V], *, ttl: Duration | None = None, fresh: Freshness | None = None,
        tags: Tags = None, weight: int | None = None, soft_timeout: Duration | None = None,
        hard_timeout: Duration | None = None,
    ) -> V:
        """`get_or_set` for what is no plain hit."""
        how = self._how("get_or_set", ttl, fresh, tags, weight)
        value: V = loading.get_or_set(
            self, key, factory, **how, soft_timeout=soft_timeout, hard_timeout=hard_timeout
        )
        return value

    @options.shown_as("aget_or_set")
    def _aget_or_set(
        self, key: K, factory: Callable[..., V | Awaitable[V]], *, ttl: Duration | None = None,
        fresh: Freshness | None = None, tags: Tags = None, weight: int | None = None,
        soft_timeout: Duration | None = None, hard_timeout: Duration | None = None,
    ) -> Coroutine[Any, Any, V]:
        """`aget_or_set` for what is no plain hit."""
        how = self._how("aget_or_set", ttl, fresh, tags, weight)
        return loading.aget_or_set(
            self, key, factory, **how, soft_timeout=soft_timeout, hard_timeout=hard_timeout
        )

    def get_or_load(self, key: K, **how: Unpack[LoadOptions]) -> V:
        """`get_or_set` with the cache's own loader, called with the key; the options are the same."""
        return self.get_or_set(key, self._load_of("get_or_load", key, None), **how)

    async def aget_or_load(self, key: K, **how: Unpack[LoadOptions]) -> V:
        """The same, awaited; the loader may be `async def`."""
        return await self.aget_or_set(key, self._load_of("aget_or_load", key, None), **how)

    def refresh(
        self, key: K, factory: Callable[..., V] | None = None, *, ttl: Duration | None = None,
        fresh: Freshness | None = None, tags: Tags = None, weight: int | None = None,
    ) -> V:
        """Load a key anew, whatever is stored, and return the new value; others are served the old one meanwhile.

        factory: as for `get_or_set`; left out, the cache's loader.
        When it raises, so does this, and what was stored stays.
        """
        load = self._load_of("refresh", key, factory)
        value: V = loading.refresh(self, key, load, **self._how("refresh", ttl, fresh, tags, weight))
        return value

    async def arefresh(
        self, key: K, factory: Callable[..., V | Awaitable[V]] | None = None, *, ttl: Duration | None = None,
        fresh: Freshness | None = None, tags: Tags = None, weight: int | None = None,
    ) -> V:
        """The same, awaited; `factory` or the loader may be `async def`."""
        load = self._load_of("arefresh", key, factory)
        value: V = await loading.arefresh(self, key, load, **self._how("arefresh", ttl, fresh, tags, weight))
        return value

    # -------------------------------------------------------------- many keys

    def get_or_set_many(
        self, keys: Iterable[K], factory: Callable[[list[K]], Mapping[K, V]], *, default: Any = MISSING,
        ttl: Duration | None = None, fresh: Freshness | None = None, tags: Tags = None, weight: int | None = None,
    ) -> dict[K, V]:
        """The values of many keys, as a dict in their order; those that are missing are loaded by one call.

        factory: called at most once, with the list of the keys that this caller loads; returns a mapping. Keys that
            others load at this moment are not among them: their loads are waited for.
        default: the value, not stored, of a key that the mapping leaves out; without one that is a KeyError.
        """
        how = self._how("get_or_set_many", ttl, fresh, tags, weight)
        found: dict[K, V] = loading.get_or_set_many(self, keys, factory, default=default, **how)
        return found

    async def aget_or_set_many(
        self, keys: Iterable[K], factory: Callable[[list[K]], Mapping[K, V] | Awaitable[Mapping[K, V]]], *,
        default: Any = MISSING, ttl: Duration | None = None, fresh: Freshness | None = None, tags: Tags = None,
        weight: int | None = None,
    ) -> dict[K, V]:
        """The same, awaited; `factory` may be `async def`."""
        how = self._how("aget_or_set_many", ttl, fresh, tags, weight)
        found: dict[K, V] = await loading.aget_or_set_many(self, keys, factory, default=default, **how)
        return found

    def warm(
        self, keys: Iterable[K], loader: Loader[V] | None = None, *, concurrency: int = 8,
        rate: float | None = None, progress: Progress | None = None, ttl: Duration | None = None,
        fresh: Freshness | None = None, tags: Tags = None, weight: int | None = None,
    ) -> Warmed:
        """Load what is missing of these keys before anybody asks, and count: (loaded, present, failed, skipped).
        `samovar.warm` does the same with a progress bar, and a journal to resume by.

        loader: called with a key; left out, the cache's own. What it raises is counted, and the others go on. What is
            stale counts as missing.
        concurrency: how many loads run at once, 1 or more.
        rate: how many loads begin in a second at most, at even distances; None: as many as there can be.
        progress: called in this thread after each key with how many are done, and how many there are (None: keys has
            no length).
        """
        how = self._how("warm", ttl, fresh, tags, weight)
        load = self._warmer("warm", loader)
        return warming.warm(self, keys, load, concurrency=concurrency, rate=rate, progress=progress, **how)

    async def awarm(
        self, keys: Iterable[K], loader: Loader[V | Awaitable[V]] | None = None, *, concurrency: int = 8,
        rate: float | None = None, progress: Progress | None = None, ttl: Duration | None = None,
        fresh: Freshness | None = None, tags: Tags = None, weight: int | None = None,
    ) -> Warmed:
        """The same, awaited; `loader` may be `async def`, and `progress` is called in this event loop."""
        how = self._how("awarm", ttl, fresh, tags, weight)
        load = self._warmer("awarm", loader)
        return await warming.awarm(self, keys, load, concurrency=concurrency, rate=rate, progress=progress, **how)

    # -------------------------------------------------------------- arguments

    def _how(
        self, who: str, ttl: Duration | None, fresh: Freshness | None, tags: Tags, weight: int | None
    ) -> dict[str, Any]:
        """The options of a load, checked, and with the cache's own words where the call says nothing."""
        said = options.freshness(who, ttl, fresh, self._fresh)
        return {
            "fresh": self._fresh if said is None else said,
            "tags": options.tags(who, tags),
            "weight": options.weight(who, weight),
        }

    def _load_of(self, who: str, key: K, factory: Callable[..., Any] | None) -> Callable[..., Any]:
        return partial(self._warmer(who, None), key) if factory is None else factory

    def _warmer(self, who: str, loader: Callable[..., Any] | None) -> Callable[..., Any]:
        given = self._loader if loader is None else loader
        if given is None:
            raise TypeError(f"{who}: this cache has no loader; give one to the call, or to Cache(loader=...)")
        options.function(who, "loader", given, "it is called with a key and returns its value")
        return given
