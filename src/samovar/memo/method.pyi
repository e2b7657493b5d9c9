"""What `cached_method` makes of a method, for type checkers."""

from collections.abc import Callable, Coroutine, Hashable
from functools import _CacheInfo  # pyright: ignore[reportPrivateUsage]
from typing import (
    Any,
    Concatenate,
    Generic,
    Never,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
    type_check_only,
)

from samovar._base.counters import Stats
from samovar._base.freshness import Duration, Freshness
from samovar._core import AsyncMethodMemo, CacheParameters, MethodMemo

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S")
_Answer: TypeAlias = Coroutine[Never, object, _R]  # as in _core.pyi
_Errors: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]

class BoundMemo(Generic[_S, _P, _R]):
    def __init__(self, func: MethodMemo[_S, _P, _R], instance: _S) -> None: ...
    __self__: _S
    __func__: MethodMemo[_S, _P, _R]
    @property
    def __wrapped__(self) -> Callable[_P, _R]: ...
    __name__: str
    __qualname__: str
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    cache_parameters: Callable[[], CacheParameters]
    def cache_info(self) -> _CacheInfo: ...
    def cache_clear(self) -> None: ...
    def cache_stats(self) -> Stats: ...
    def cache_key(self, *args: _P.args, **kwargs: _P.kwargs) -> Hashable: ...
    def cache_contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def cache_set(self, value: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...

@type_check_only  # the same type at run time
class AsyncBoundMemo(Generic[_S, _P, _R]):
    def __init__(self, func: AsyncMethodMemo[_S, _P, _R], instance: _S) -> None: ...
    __self__: _S
    __func__: AsyncMethodMemo[_S, _P, _R]
    @property
    def __wrapped__(self) -> Callable[_P, Coroutine[Any, Any, _R]]: ...
    __name__: str
    __qualname__: str
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _Answer[_R]: ...
    cache_parameters: Callable[[], CacheParameters]
    def cache_info(self) -> _CacheInfo: ...
    def cache_clear(self) -> None: ...
    def cache_stats(self) -> Stats: ...
    def cache_key(self, *args: _P.args, **kwargs: _P.kwargs) -> Hashable: ...
    def cache_contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _Answer[_R]: ...
    def cache_set(self, value: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...

@type_check_only
class _MethodDecorator(Protocol):
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: Callable[Concatenate[_S, _P], Coroutine[Any, Any, _R]], /
    ) -> AsyncMethodMemo[_S, _P, _R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[_S, _P], _R], /) -> MethodMemo[_S, _P, _R]: ...

@overload
def cached_method(  # type: ignore[overload-overlap]
    fn: Callable[Concatenate[_S, _P], Coroutine[Any, Any, _R]], /,
    maxsize: int | None = 128, typed: bool = False, *,
    ttl: Duration | None = None, fresh: Freshness | None = None, eviction: str = "lru",
    key: Callable[Concatenate[_S, _P], Hashable] | None = None, coalesce: bool = True, cache_exceptions: _Errors = (),
    copy: Callable[[_R], _R] | None = None, clock: Callable[[], float] | None = None,
) -> AsyncMethodMemo[_S, _P, _R]: ...
@overload
def cached_method(
    fn: Callable[Concatenate[_S, _P], _R], /,
    maxsize: int | None = 128, typed: bool = False, *,
    ttl: Duration | None = None, fresh: Freshness | None = None, eviction: str = "lru",
    key: Callable[Concatenate[_S, _P], Hashable] | None = None, coalesce: bool = True, cache_exceptions: _Errors = (),
    copy: Callable[[_R], _R] | None = None, clock: Callable[[], float] | None = None,
) -> MethodMemo[_S, _P, _R]: ...
@overload
def cached_method(
    fn: None = None, /,
    maxsize: int | None = 128, typed: bool = False, *,
    ttl: Duration | None = None, fresh: Freshness | None = None, eviction: str = "lru",
    key: Callable[..., Hashable] | None = None, coalesce: bool = True, cache_exceptions: _Errors = (),
    copy: Callable[[Any], Any] | None = None, clock: Callable[[], float] | None = None,
) -> _MethodDecorator: ...
