"""`Cache`: the cache that an application puts in front of what is slow.

The native core below it (`CacheCore`) is the store: reading, writing and each step of a load are one atomic step there,
and the verbs that are asked most (`cache[key]`, `get`, `get_or_set`, `set`, `in`) are the core's own, with nothing
around them. This room reads arguments, says what is wrong with them, and adds what a `MutableMapping` promises. Loads
are in `loads`, what arguments may be in `options`, looking at everything in `views`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from types import EllipsisType
from typing import Any, NoReturn, TypeVar, overload

from .._base.contracts import Gate, Lease, check_gate
from .._base.counters import Latency, Stats
from .._base.freshness import Duration, Freshness
from .._base.missing import MISSING
from .._base.turn import check_lease
from .._core import adopted
from . import options, snapshot
from .loads import Loads
from .report import Stored, report
from .views import Items, Keys, Values

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_PERCENTS = (50.0, 90.0, 99.0)
_SHARES = (0.25, 0.5, 1, 2, 4)


@adopted
class Cache(Loads[K, V], MutableMapping[K, V]):
    """A bounded mapping that forgets by rule and by time, loads what is missing once for all who ask, and counts.

    Everything that a dict does, it does: `cache[key]`, `in`, `len`, `del`, `pop`, `update`, iteration. Only fresh
    entries are there; a cached None is a value. It may be used from any thread and any event loop, and every verb is
    one step: nobody sees half of it.

    maxsize: the most entries; the eviction rule says which leave. Left out, it is 10,000, or no bound when there is a
        maxweight. None: no bound. Given beside maxweight, both hold.
    maxweight: the most that all entries may weigh together. An entry that alone weighs more is not stored, and what
        was stored for its key leaves.
    weigher: called with key and value, returns what the entry weighs, an integer from 1 to 2**32 - 1, in the unit of
        maxweight. Without one, and without a weight given to `set`, an entry weighs 1.
    ttl: how long an entry is fresh: seconds, a timedelta, or text such as "5m"; a call's own ttl beats it.
    fresh: a `Freshness`: idle time, jitter, early renewal, stale service; `ttl` beats the ttl in it.
    eviction: "adaptive" (S3-FIFO that tunes itself), "lru", "fifo", "sieve", "s3fifo", "tinylfu", or "gdsf", which
        prefers many light entries to few heavy ones.
    loader: called with a key, loads its value: for `get_or_load`, `refresh` and `warm`; `def` or `async def`.
    on_remove: called with key, value and the cause for every entry that leaves: "evicted", "expired", "replaced",
        "deleted", "invalidated" or "cleared". No lock is held; what it raises goes to `sys.unraisablehook`.
    clock: called for the time in seconds, instead of the machine's monotonic clock; a `ManualClock` in tests.
    name: what it is called in reports, and by other processes.
    lease: a `FileLease`: one load of a key at a time over the processes of a host. It needs a name, and keys that are
        plain data; caches of the same name share their loads.
    budget: an `OriginBudget`: how many loads may run at once, over all the caches that share it. Over it, what is stale is
        served where `fresh` lets it be; else a load waits for its turn, and OriginBusy says when to come again.
    timed_hits: measure how long hits take, for `stats().hit_latency`. It costs more than a hit does.

    Raises TypeError or ValueError that names the argument when one of these is not what it must be.

    >>> cache = Cache(maxsize=1000, ttl="5m")
    >>> cache.get_or_set("tea", lambda: "steeped for four minutes")
    'steeped for four minutes'
    >>> cache["tea"], "coffee" in cache, cache.get("coffee", "none")
    ('steeped for four minutes', False, 'none')
    """

    __slots__ = ("_functions", "_name", "_rule", "_timed_hits")

    def __init__(
        self,
        maxsize: int | None | EllipsisType = ...,
        *,
        maxweight: int | None = None,
        weigher: Callable[[K, V], int] | None = None,
        ttl: Duration | None = None,
        fresh: Freshness | None = None,
        eviction: str = "adaptive",
        loader: Callable[..., Any] | None = None,
        on_remove: Callable[[K, V, str], object] | None = None,
        clock: Callable[[], float] | None = None,
        name: str | None = None,
        timed_hits: bool = False,
        lease: Lease | None = None,
        budget: Gate | None = None,
    ) -> None:
        weightbound = options.bound("Cache", "maxweight", maxweight)
        if isinstance(maxsize, EllipsisType):
            sizebound = options.DEFAULT_MAXSIZE if weightbound is None else None
        else:
            sizebound = options.bound("Cache", "maxsize", maxsize)
        options.function("Cache", "weigher", weigher, "it is called with key and value and returns an integer")
        options.function("Cache", "loader", loader, "it is called with a key and returns its value")
        options.function("Cache", "on_remove", on_remove, "it is called with key, value and cause")
        options.function("Cache", "clock", clock, "it is called for the time in seconds")
        if weigher is not None and weightbound is None:
            raise ValueError("Cache: weigher needs a maxweight: without one, nothing is weighed")
        self._fresh = Freshness.of(ttl, fresh, who="Cache")
        self._rule = options.rule("Cache", eviction)
        self._loader = loader
        self._name = options.name("Cache", name)
        self._timed_hits = options.flag("Cache", "timed_hits", timed_hits)
        self._gate = check_gate("Cache", budget)
        self._leasing = check_lease("Cache", lease, self._name, 'Cache(name="...")')
        self._functions: dict[str, object] = {}  # what `cached` calls the functions that share this cache
        super().__init__(
            sizebound, weightbound, weigher, self._rule, self._fresh, clock, on_remove,
            self._timed_hits,
        )
        if self._leasing is not None:
            self._watch_fences()

    # -------------------------------------------------------------- what it is

    @property
    def name(self) -> str | None:
        """What it is called in reports."""
        return self._name

    @property
    def maxsize(self) -> int | None:
        """The most entries that are stored; None: no bound."""
        size: int | None = self._counts()["maxsize"]
        return size

    @property
    def maxweight(self) -> int | None:
        """The most that all entries may weigh together; None: no bound."""
        weight: int | None = self._counts()["maxweight"]
        return weight

    @property
    def fresh(self) -> Freshness | None:
        """How long entries are good that nothing else is said about; None: for ever."""
        return self._fresh

    @property
    def eviction(self) -> str:
        """The name of the rule by which entries leave when there is no room."""
        return self._rule

    def __repr__(self) -> str:
        counts = self._counts()
        called = "" if self._name is None else f" {self._name!r}"
        most = "" if counts["maxsize"] is None else f" of {counts['maxsize']}"
        heavy = "" if counts["maxweight"] is None else f", weight {counts['weight']} of {counts['maxweight']}"
        return f"<samovar.{type(self).__name__}{called}: {counts['currsize']}{most} entries{heavy}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled or copied: loads under way, callbacks and the clock belong to "
            f"this process; save(path) writes its entries to a file and load(path) reads them, dict(cache) copies them"
        )

    # -------------------------------------------------------------- one entry

    @options.shown_as("set")
    def _set(
        self,
        key: K,
        value: V,
        *,
        ttl: Duration | None = None,
        fresh: Freshness | None = None,
        tags: str | Iterable[str] | None = None,
        weight: int | None = None,
    ) -> None:
        """`set` with options; without any, the core stores at once."""
        self._put(
            key, value, options.freshness("set", ttl, fresh, self._fresh), options.tags("set", tags),
            options.weight("set", weight), False,
        )

    def add(
        self,
        key: K,
        value: V,
        *,
        ttl: Duration | None = None,
        fresh: Freshness | None = None,
        tags: str | Iterable[str] | None = None,
        weight: int | None = None,
    ) -> bool:
        """Store a value unless a fresh one is there; whether it was stored. The arguments are those of `set`.

        >>> cache = Cache()
        >>> cache.add("tea", 1), cache.add("tea", 2), cache["tea"]
        (True, False, 1)
        """
        return self._put(
            key, value, options.freshness("add", ttl, fresh, self._fresh), options.tags("add", tags),
            options.weight("add", weight), True,
        )

    def touch(self, key: K, *, ttl: Duration | None = None, fresh: Freshness | None = None) -> bool:
        """Let a fresh entry's time begin anew; whether there was one. Without ttl or fresh, the cache's own hold."""
        return self._touch(key, options.freshness("touch", ttl, fresh, self._fresh))

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, /, default: V) -> V: ...
    @overload
    def pop(self, key: K, /, default: T) -> V | T: ...
    def pop(self, key: K, /, default: Any = MISSING) -> Any:
        """Take a fresh value out and return it. Without one: `default`, or KeyError when none is given."""
        value = self._pop(key)
        if value is not MISSING:
            return value
        if default is MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[K, V]:
        """Take out the entry that would be the next to leave, as (key, value); KeyError when there is none."""
        return self._popitem()

    def setdefault(self, key: K, default: Any = None, /) -> Any:
        """The fresh value of a key; when there is none, store `default` and return it, in one step for all threads."""
        while True:
            value = self.get(key, MISSING)
            if value is not MISSING:
                return value
            if self._put(key, default, None, None, None, True) or self.peek(key, MISSING) is MISSING:
                return default  # stored, or too heavy to be

    # -------------------------------------------------------------- many entries

    def set_many(
        self,
        entries: Mapping[K, V] | Iterable[tuple[K, V]],
        /,
        *,
        ttl: Duration | None = None,
        fresh: Freshness | None = None,
        tags: str | Iterable[str] | None = None,
    ) -> None:
        """Store many values, given as a mapping or as (key, value) pairs, in their order; all with these options."""
        said = options.freshness("set_many", ttl, fresh, self._fresh)
        self._put_many(options.pairs("set_many", entries), said, options.tags("set_many", tags))

    def update(self, entries: Any = (), /, **named: Any) -> None:
        """Store the values of a mapping, or of (key, value) pairs, and those that are named, as dict does."""
        given = options.pairs("update", entries)
        given.extend(named.items())
        self._put_many(given, None, None)

    def delete_many(self, keys: Iterable[K], /) -> int:
        """Delete many keys; how many of them had an entry that was fresh."""
        return self._delete_many(keys)

    def invalidate_tags(self, *tags: str, soft: bool = False) -> None:
        """Forget all entries that carry one of these tags, and fence off loads that will: in one step for each tag,
        however many entries there are.

        soft: make them stale instead: served under the rules of stale service while they are renewed.
        """
        given = options.tags("invalidate_tags", tags) or ()
        self._invalidate_tags(given, options.flag("invalidate_tags", "soft", soft))

    def resize(self, maxsize: int | None | EllipsisType = ..., *, maxweight: int | EllipsisType = ...) -> None:
        """Change the bounds; what is left out stays as it is, and what has no room any more leaves.

        maxsize: None for no bound.
        maxweight: only of a cache that was made with one.
        """
        size = self.maxsize if isinstance(maxsize, EllipsisType) else options.bound("resize", "maxsize", maxsize)
        heavy = self.maxweight
        if not isinstance(maxweight, EllipsisType):
            if heavy is None:
                raise ValueError("resize: maxweight cannot be changed: this cache was made without one")
            heavy = options.whole("resize", "maxweight", maxweight, least=1)
        self._resize(size, heavy)

    # -------------------------------------------------------------- all entries

    def __reversed__(self) -> Iterator[K]:
        return reversed(self.keys())

    def keys(self) -> Keys[K]:
        """The keys, the last to leave first. Looking at them is not a use, and changes do not disturb an iteration."""
        return Keys(self)

    def values(self) -> Values[V]:
        """The values, in the order of `keys`."""
        return Values(self)

    def items(self) -> Items[K, V]:
        """The (key, value) pairs, in the order of `keys`."""
        return Items(self)

    def save(self, path: snapshot.Path, *, skip_unsupported: bool = False) -> int:
        """Write all entries to a file, the hottest first, and return how many.

        The file is replaced in one step, so that it is always whole; deadlines run on while the process is down.

        skip_unsupported: leave out entries whose key or value is not plain data instead of refusing.
        Raises SnapshotError, naming key and type, for what is not plain data; OSError when it cannot be written.
        """
        return snapshot.save(self, path, skip_unsupported=options.flag("save", "skip_unsupported", skip_unsupported))

    def load(self, path: snapshot.Path) -> int:
        """Store the entries that a file of `save` holds, and return how many were stored.

        Left out is what is past its time by now, what alone weighs more than maxweight, and every key that has a fresh
        entry already, which is newer. Entries keep their tags, what they weigh (unless a weigher weighs them anew), and
        for how long they may be served stale.

        Raises SnapshotError when the file is damaged or none of ours, FileNotFoundError when there is none: the cache
        is then as it was. No code in a file is ever run.
        """
        return snapshot.load(self, path)

    # -------------------------------------------------------------- numbers

    def stats(self) -> Stats:
        """What happened so far, as `Stats`: questions, loads, what left and why, how long loads took. Always counted,
        and cheap to ask."""
        counts = self._counts()
        evicted = counts.pop("evicted")
        hit_latency = self._timing("hits") if self._timed_hits else None
        return Stats(evictions=evicted, load_latency=self._timing("loads"), hit_latency=hit_latency, **counts)

    def _timing(self, which: str) -> Latency:
        count, mean, percentiles = self._latency(which, _PERCENTS)
        return Latency(count, mean, *percentiles)

    def miss_ratio_curve(self, sizes: Iterable[int] | None = None) -> dict[int, float]:
        """The miss ratio that this cache would have at other sizes: {size: ratio, 0.0 to 1.0}.

        Estimated: a sample of what was asked lately (up to 32,768 requests, a quarter of a megabyte) is put to small
        models of this cache, and the curve is anchored at what the cache itself reached then. Empty while nothing was
        asked, and for a cache without a bound.

        sizes: numbers of entries, up to 15 of them; when left out, a quarter to four times of maxsize, or of the
            entries stored now where only maxweight bounds them.
        """
        given = self._sizes() if sizes is None else options.sizes("miss_ratio_curve", sizes)
        ratios = self._curve(tuple(given)) if given else None
        return {} if ratios is None else {size: 1.0 - ratio for size, ratio in zip(given, ratios, strict=True)}

    def _sizes(self) -> list[int]:
        most = self.maxsize or len(self)
        return sorted({max(1, int(most * share)) for share in _SHARES})

    def report(self) -> str:
        """The answers to its owner's questions, in sentences: the hit ratio and what it saves, how stale a value can
        be, what a cold start would send to the origin, what another size would bring. O(n)."""
        return report(
            self._name, self._rule, self._fresh, self.stats(), Stored(self._entries()), self.miss_ratio_curve()
        )
