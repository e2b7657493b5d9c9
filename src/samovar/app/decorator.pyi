"""What `cached` makes of a function, for type checkers."""

from collections.abc import Callable, Coroutine, Hashable, Iterable
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

from samovar._base.freshness import Duration, Freshness
from samovar.app.cache import Cache

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")
_S = TypeVar("_S")
_Answer: TypeAlias = Coroutine[Never, object, _R]  # as in _core.pyi

@type_check_only  # a function
class CachedFunction(Generic[_P, _R]):
    __wrapped__: Callable[_P, _R]
    __name__: str
    __qualname__: str
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    # `self` is asked for as a callable, as in _core.pyi.
    @overload  # the first parameter is the owner: this is the inside of a classmethod
    def __get__(  # type: ignore[misc]
        self: Callable[Concatenate[type[_S], _Q], _R], instance: _S | None, owner: type[_S], /
    ) -> _BoundCachedFunction[type[_S], _Q, _R]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None, /) -> CachedFunction[_P, _R]: ...
    @overload
    def __get__(
        self: Callable[Concatenate[_S, _Q], _R], instance: _S, owner: type[Any] | None = None, /
    ) -> _BoundCachedFunction[_S, _Q, _R]: ...
    @overload  # the first parameter is no instance: this is the inside of a staticmethod
    def __get__(self, instance: object, owner: type[Any] | None = None, /) -> CachedFunction[_P, _R]: ...
    def cache_key(self, *args: _P.args, **kwargs: _P.kwargs) -> Hashable: ...
    def cache_contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def cache_set(self, value: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...

@type_check_only  # a types.MethodType
class _BoundCachedFunction(Generic[_S, _P, _R]):
    __self__: _S
    __func__: CachedFunction[Concatenate[_S, _P], _R]
    __wrapped__: Callable[Concatenate[_S, _P], _R]
    __name__: str
    __qualname__: str
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def cache_key(self, instance: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> Hashable: ...
    def cache_contains(self, instance: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, instance: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_refresh(self, instance: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def cache_set(self, value: _R, instance: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...

@type_check_only  # a coroutine function
class AsyncCachedFunction(Generic[_P, _R]):
    __wrapped__: Callable[_P, Coroutine[Any, Any, _R]]
    __name__: str
    __qualname__: str
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _Answer[_R]: ...
    # `self` is asked for as a callable, as in _core.pyi.
    @overload  # the first parameter is the owner: this is the inside of a classmethod
    def __get__(  # type: ignore[misc]
        self: Callable[Concatenate[type[_S], _Q], Coroutine[Any, Any, _R]], instance: _S | None, owner: type[_S], /
    ) -> _BoundAsyncCachedFunction[type[_S], _Q, _R]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None, /) -> AsyncCachedFunction[_P, _R]: ...
    @overload
    def __get__(
        self: Callable[Concatenate[_S, _Q], Coroutine[Any, Any, _R]], instance: _S, owner: type[Any] | None = None, /
    ) -> _BoundAsyncCachedFunction[_S, _Q, _R]: ...
    @overload  # the first parameter is no instance: this is the inside of a staticmethod
    def __get__(self, instance: object, owner: type[Any] | None = None, /) -> AsyncCachedFunction[_P, _R]: ...
    def cache_key(self, *args: _P.args, **kwargs: _P.kwargs) -> Hashable: ...
    def cache_contains(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _Answer[_R]: ...
    def cache_set(self, value: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...

@type_check_only  # a types.MethodType
class _BoundAsyncCachedFunction(Generic[_S, _P, _R]):
    __self__: _S
    __func__: AsyncCachedFunction[Concatenate[_S, _P], _R]
    __wrapped__: Callable[Concatenate[_S, _P], Coroutine[Any, Any, _R]]
    __name__: str
    __qualname__: str
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _Answer[_R]: ...
    def cache_key(self, instance: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> Hashable: ...
    def cache_contains(self, instance: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_invalidate(self, instance: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_refresh(self, instance: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _Answer[_R]: ...
    def cache_set(self, value: _R, instance: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...

@type_check_only
class _Decorator(Protocol):
    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, fn: Callable[_P, Coroutine[Any, Any, _R]], /
    ) -> AsyncCachedFunction[_P, _R]: ...
    @overload
    def __call__(self, fn: Callable[_P, _R], /) -> CachedFunction[_P, _R]: ...

def cached(
    cache: Cache[Any, Any], key: Callable[..., Hashable] | None = None, *,
    ttl: Duration | None = None, fresh: Freshness | None = None,
    tags: str | Iterable[str] | Callable[..., str | Iterable[str]] | None = None,
) -> _Decorator: ...
