"""What `lru_cache`, `cache` and `memoize` make of a function, for type checkers."""

from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, overload, type_check_only

from samovar._base.contracts import Gate, Lease
from samovar._base.freshness import Duration, Freshness
from samovar._core import AsyncMemoized, Memo, Memoized

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Tags: TypeAlias = str | Iterable[str]
_Errors: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]

@type_check_only
class _LruDecorator(Protocol):
    def __call__(self, fn: Callable[_P, _R], /) -> Memo[_P, _R]: ...

@type_check_only
class _MemoDecorator(Protocol):
    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, fn: Callable[_P, Coroutine[Any, Any, _R]], /
    ) -> AsyncMemoized[_P, _R]: ...
    @overload
    def __call__(self, fn: Callable[_P, _R], /) -> Memoized[_P, _R]: ...

@overload
def lru_cache(maxsize: Callable[_P, _R], typed: bool = False) -> Memo[_P, _R]: ...
@overload
def lru_cache(maxsize: int | None = 128, typed: bool = False) -> _LruDecorator: ...

def cache(user_function: Callable[_P, _R], /) -> Memo[_P, _R]: ...

@overload
def memoize(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    fn: Callable[_P, Coroutine[Any, Any, _R]], /,
    maxsize: int | None = 128, typed: bool = False, *,
    ttl: Duration | None = None, fresh: Freshness | None = None, eviction: str = "lru",
    key: Callable[_P, Hashable] | None = None, tags: _Tags | Callable[_P, _Tags] | None = None, coalesce: bool = True,
    cache_exceptions: _Errors = (), copy: Callable[[_R], _R] | None = None, clock: Callable[[], float] | None = None,
    lease: Lease | None = None, name: str | None = None, budget: Gate | None = None,
) -> AsyncMemoized[_P, _R]: ...
@overload
def memoize(
    fn: Callable[_P, _R], /,
    maxsize: int | None = 128, typed: bool = False, *,
    ttl: Duration | None = None, fresh: Freshness | None = None, eviction: str = "lru",
    key: Callable[_P, Hashable] | None = None, tags: _Tags | Callable[_P, _Tags] | None = None, coalesce: bool = True,
    cache_exceptions: _Errors = (), copy: Callable[[_R], _R] | None = None, clock: Callable[[], float] | None = None,
    lease: Lease | None = None, name: str | None = None, budget: Gate | None = None,
) -> Memoized[_P, _R]: ...
@overload
def memoize(
    fn: None = None, /,
    maxsize: int | None = 128, typed: bool = False, *,
    ttl: Duration | None = None, fresh: Freshness | None = None, eviction: str = "lru",
    key: Callable[..., Hashable] | None = None, tags: _Tags | Callable[..., _Tags] | None = None, coalesce: bool = True,
    cache_exceptions: _Errors = (), copy: Callable[[Any], Any] | None = None, clock: Callable[[], float] | None = None,
    lease: Lease | None = None, name: str | None = None, budget: Gate | None = None,
) -> _MemoDecorator: ...

class Steering:
    fresh: Freshness | None
    is_async: bool
    tags: tuple[str, ...] | Callable[..., _Tags] | None
    def __init__(
        self, fresh: Freshness | None, tags: tuple[str, ...] | Callable[..., _Tags] | None, is_async: bool
    ) -> None: ...
    def tags_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...] | None: ...
