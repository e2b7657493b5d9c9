"""What `lru_cache`, `cache` and `memoize` make of a function, for type checkers."""

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, overload, type_check_only

from samovar._core import AsyncMemoized, Memo, Memoized

_P = ParamSpec("_P")
_R = TypeVar("_R")
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
    key: Callable[_P, Hashable] | None = None, coalesce: bool = True, cache_exceptions: _Errors = (),
    copy: Callable[[_R], _R] | None = None,
) -> AsyncMemoized[_P, _R]: ...
@overload
def memoize(
    fn: Callable[_P, _R], /,
    maxsize: int | None = 128, typed: bool = False, *,
    key: Callable[_P, Hashable] | None = None, coalesce: bool = True, cache_exceptions: _Errors = (),
    copy: Callable[[_R], _R] | None = None,
) -> Memoized[_P, _R]: ...
@overload
def memoize(
    fn: None = None, /,
    maxsize: int | None = 128, typed: bool = False, *,
    key: Callable[..., Hashable] | None = None, coalesce: bool = True, cache_exceptions: _Errors = (),
    copy: Callable[[Any], Any] | None = None,
) -> _MemoDecorator: ...
