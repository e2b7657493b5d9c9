"""The functions that load: what they may be, what they are given, what they must give.

For one key a factory takes nothing, or one argument that it requires: the load's context. For many keys it takes their
list, and gives a mapping.
"""

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NoReturn, Protocol

from .._base.missing import MISSING
from .._base.turn import Lessee
from ..memo.options import is_async
from .context import LoadContext

Factory = Callable[..., Any]


class _Loaded(Protocol):
    key: Hashable

    @property
    def context(self) -> LoadContext: ...


class Kept:
    """Keys that are what they seem, and values that are stored as they are."""

    def named(self, key: Hashable) -> Hashable:
        return key

    def plain(self, value: Any) -> Any:
        return value

    def adopted(self, value: Any) -> Any:
        return value


class Single(Kept):
    """A factory for one key: factory() or factory(context)."""

    def __init__(self, who: str, factory: Factory) -> None:
        self.who, self.factory = who, factory
        self.wants_context = wants_context(who, factory)

    def begin(self, loads: Sequence[_Loaded]) -> Any:
        return self.factory(loads[0].context) if self.wants_context else self.factory()

    def values(self, loads: Sequence[_Loaded], result: Any) -> list[Any]:
        if result is MISSING:
            raise TypeError(f"{self.who}: factory must return a value, not MISSING, which stands for none")
        return [result]


class Batch(Kept):
    """A factory for several keys: factory(list of keys) gives a mapping."""

    def __init__(self, who: str, factory: Factory) -> None:
        self.who, self.factory = who, factory

    def begin(self, loads: Sequence[_Loaded]) -> Any:
        return self.factory([load.key for load in loads])

    def values(self, loads: Sequence[_Loaded], result: Any) -> list[Any]:
        if not isinstance(result, Mapping):
            raise TypeError(f"{self.who}: factory must return a mapping of keys to values, not {result!r}")
        return [result.get(load.key, MISSING) for load in loads]


class Maker(Lessee, Protocol):
    """What makes the values of loads: `begin` calls the factory, `values` reads what came of it, once it is no awaitable."""

    @property
    def who(self) -> str: ...
    @property
    def factory(self) -> Factory: ...
    def begin(self, loads: Sequence[Any], /) -> Any: ...
    def values(self, loads: Sequence[Any], result: Any, /) -> list[Any]: ...


def refuse_async(who: str, factory: Factory) -> NoReturn:
    raise TypeError(f"{who}: factory must be a plain function, not the async {factory!r}; use a{who} in a coroutine")


def check_factory(who: str, factory: Factory, *, awaits: bool) -> bool:
    """Whether the factory is async. TypeError when it cannot be used."""
    if not callable(factory):
        raise TypeError(f"{who}: factory must be callable, not {factory!r}")
    if not is_async(factory):
        return False
    if not awaits:
        refuse_async(who, factory)
    return True


def required(factory: Callable[..., Any]) -> int:
    """How many positional arguments a call of `factory` must give; 0 when nobody can say."""
    if type(factory) is FunctionType:
        return factory.__code__.co_argcount - len(factory.__defaults__ or ())
    if type(factory) is MethodType and type(factory.__func__) is FunctionType:
        return max(0, required(factory.__func__) - 1)
    if type(factory) is partial and not factory.keywords:
        return max(0, required(factory.func) - len(factory.args))
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
               for one in parameters)


def wants_context(who: str, factory: Callable[..., Any]) -> bool:
    """Whether the factory is to be given the load's context. TypeError when it cannot be called in either way."""
    count = required(factory)
    if count > 1:
        raise TypeError(f"{who}: factory must take no argument, or one, the load's context; {factory!r} requires {count}")
    return count == 1
