"""`precompute`: results that are built before anybody asks, and built again in the background.

    @precompute(keys=["home", "best"], every="1m")
    def page(name): ...

This room reads arguments and says what is wrong with them. When a result is built is decided in schedule.py, by
whom in builders.py, how it lies in its store in results.py.
"""

import math
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Any, Protocol, TypeVar, overload

from ..._base.contracts import Gate, Lease
from ..._base.freshness import Duration, Freshness, seconds
from ...app import Cache, options
from ...cluster import AsyncCluster, Cluster
from ...memo.options import check_function, is_async
from .builders import Precomputed
from .builders_async import AsyncPrecomputed
from .results import Plan, listed

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")
Keys = Iterable[K] | Callable[[], Iterable[K]]
_TTL, _ERROR = 2, 10  # times `every`: for how long a result is fresh, and served when building it fails


class _Decorator(Protocol):
    @overload
    def __call__(self, fn: Callable[[K], Coroutine[Any, Any, R]], /) -> AsyncPrecomputed[K, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[[K], R], /) -> Precomputed[K, R]: ...
    def __call__(self, fn: Any, /) -> Any: ...


class _AsyncDecorator(Protocol):
    @overload
    def __call__(self, fn: Callable[[K], Coroutine[Any, Any, R]], /) -> AsyncPrecomputed[K, R]: ...
    @overload
    def __call__(self, fn: Callable[[K], R], /) -> AsyncPrecomputed[K, R]: ...
    def __call__(self, fn: Any, /) -> Any: ...


@overload
def precompute(
    *, store: AsyncCluster, keys: Iterable[Any] | Callable[[], Any], every: Duration | None = ...,
    fresh: Freshness | None = ..., concurrency: int = ..., budget: Gate | None = ..., lease: Lease | None = ...,
    tags: str | Iterable[str] | Callable[[Any], str | Iterable[str]] | None = ..., name: str | None = ...,
    clock: Callable[[], float] | None = ...,
) -> _AsyncDecorator: ...
@overload
def precompute(
    *, keys: Iterable[Any] | Callable[[], Any], every: Duration | None = ..., fresh: Freshness | None = ...,
    concurrency: int = ..., budget: Gate | None = ..., store: Cache[Any, Any] | Cluster | None = ...,
    lease: Lease | None = ..., tags: str | Iterable[str] | Callable[[Any], str | Iterable[str]] | None = ...,
    name: str | None = ..., clock: Callable[[], float] | None = ...,
) -> _Decorator: ...
def precompute(
    *,
    keys: Iterable[Any] | Callable[[], Any],
    every: Duration | None = None,
    fresh: Freshness | None = None,
    concurrency: int = 4,
    budget: Gate | None = None,
    store: Any = None,
    lease: Lease | None = None,
    tags: str | Iterable[str] | Callable[[Any], str | Iterable[str]] | None = None,
    name: str | None = None,
    clock: Callable[[], float] | None = None,
) -> Any:
    """Build a function's results ahead of those who ask, and build them again in the background; for a `def` or an
    `async def` that takes one argument, a key.

    Called with a key, what it returns reads the stored result, in one step. `start()` begins to build, `stop()` ends it; in
    between each key is built again `every` so often and whenever it is touched (`touch`, `touch_tags`), the most read
    first. While a build runs, or fails, the last good result is served, until it is older than `fresh` lets it be; then
    NotBuilt is raised. A process that dies in the middle of a build leaves the last good result, and nothing half built.

    keys: what is built: an iterable, or a callable that gives one, asked again each round: new keys are built, those that
        are gone are built no more. In this order they are built at first.
    every: from the begin of a build to the next, a duration; None: only what is touched is built again.
    fresh: how long a result is good: `ttl` (left out, twice `every`), and for how long after that it is still served while
        building it fails, `stale_if_error` or `stale_while_revalidate`, the longer (without a Freshness, ten times `every`);
        `jitter` shortens `every` by chance; `negative_ttl` is for a result of None. All counted from when a build began.
    concurrency: the most builds at once, in this process.
    budget: an `OriginBudget` for the store of its own. One that is handed in has its own.
    store: a `Cache`, `Cluster` or `AsyncCluster` (then what reads is awaited); None: a Cache of its own.
    lease: a `FileLease` for the store of its own: over the processes of a host one builds, and the others take the result
        where the lease is `shared`. A Cache that is handed in has its own; a cluster needs none.
    tags: of each result, for `touch_tags`, and for the store's `invalidate_tags`: a text, several, or called with a key.
    name: whose keys these are, in a store that is handed in or with a lease, the same in every process; left out, the
        function's own, if it is written at the top of a module or class.
    clock: called for the time in seconds, instead of the machine's clocks; a `ManualClock` in tests, which wakes who waits.

    Raises TypeError or ValueError that names the argument when one of these is not what it must be.

    >>> from samovar import precompute
    >>> @precompute(keys=["tea", "film"], every="5m")
    ... def page(name):
    ...     return f"<h1>{name}</h1>"
    >>> with page:
    ...     page.wait("5s"), page("tea"), page.status().unbuilt
    (True, '<h1>tea</h1>', 0)
    """
    every_s = math.inf if every is None else seconds(every, "precompute: every", positive=True)
    said = _freshness(fresh, every_s)
    wanted = options.whole("precompute", "concurrency", concurrency, least=1)
    options.function("precompute", "clock", clock, "it is called for the time in seconds")
    options.name("precompute", name)
    listed: Any = keys if callable(keys) else tuple(_keys(keys))
    given = tags if callable(tags) else options.tags("precompute", tags) or ()
    if store is not None and not isinstance(store, Cache | Cluster | AsyncCluster):
        raise TypeError(f"precompute: store must be a Cache, Cluster or AsyncCluster, or None for its own, not {store!r}")
    for word, value in (("budget", budget), ("lease", lease)):
        if store is not None and value is not None:
            raise ValueError(f"precompute: {word} is for the store of its own; the one that is handed in has its own: "
                             f"{type(store).__name__}({word}=...)")

    def decorate(fn: Any) -> Any:
        check_function("precompute", fn)  # type: ignore[no-untyped-call]
        awaited = is_async(fn) or isinstance(store, AsyncCluster)
        if is_async(fn) and isinstance(store, Cluster):
            raise TypeError(f"precompute: {fn!r} is async, and a Cluster blocks; give it an AsyncCluster")
        if is_async(keys) and not awaited:
            raise TypeError(f"precompute: keys must be a plain function for the plain {fn!r}, not the async {keys!r}")
        called = None if store is None and lease is None else _named(fn, name)
        holds = store
        if holds is None:
            holds = Cache(options.DEFAULT_MAXSIZE, name=called or name, lease=lease, budget=budget, clock=clock)
        plan = Plan(keys=listed, every_s=every_s, fresh=said, concurrency=wanted, tags=given, store=holds,
                    name=None if store is None else called, clock=clock)
        return (AsyncPrecomputed if awaited else Precomputed)(fn, plan)

    return decorate


def _keys(keys: Any) -> list[Hashable]:
    try:
        return listed(keys)
    except TypeError as error:
        raise TypeError(f"precompute: keys must be hashable keys in a list or another iterable, or a callable that gives "
                        f"one, not {keys!r}") from error


def _freshness(fresh: Freshness | None, every_s: float) -> Freshness:
    said = Freshness.of(None, fresh, who="precompute")
    ttl = _TTL * every_s
    if said is None:
        return Freshness(ttl=ttl, stale_if_error=_ERROR * every_s)
    if said.tti is not None:
        raise ValueError(f"precompute: fresh must be without tti, not {fresh!r}: results are built, read or not")
    if said.ttl is None:
        return said.replace(ttl=ttl)
    if every_s < math.inf and said.ttl < every_s:
        raise ValueError(f"precompute: fresh must have a ttl of `every`, {every_s:g} s, or more, not {said.ttl:g} s: results "
                         f"would be stale before they are built again")
    return said


def _named(fn: Any, name: str | None) -> str:
    if name:
        return name
    own = f"{getattr(fn, '__module__', None)}.{getattr(fn, '__qualname__', '<nameless>')}"
    if "<" in own:
        raise ValueError(f"precompute: {fn!r} needs a name, the same in every process: precompute(name=...); only a function "
                         f"at the top of a module or class has one of its own")
    return own
