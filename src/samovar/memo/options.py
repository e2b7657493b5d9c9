"""What `memoize` and `cached_method` accept, and how they say that something is wrong.

Every check is made before anything is built: a bad argument changes nothing.
"""

import inspect
import sys
from collections.abc import Iterable
from functools import update_wrapper
from types import FunctionType

from .._base.freshness import Freshness
from .._core import evictions


def check_function(who, fn):
    """Refuse what cannot be called, with the usual slip in mind: an option given by position."""
    if isinstance(fn, (classmethod, property)):
        raise TypeError(
            f"{who}: fn must be a function, not a {type(fn).__name__}; put @{type(fn).__name__} above @{who}"
        )
    if not callable(fn):
        raise TypeError(f"{who}: fn must be callable, not {fn!r}; give options by name, as in @{who}(maxsize=128)")


def check_maxsize(who, maxsize):
    if maxsize is None:
        return None
    if isinstance(maxsize, bool) or not hasattr(type(maxsize), "__index__"):
        hint = f"; write @{who} or @{who}(maxsize=...)" if callable(maxsize) else ""
        raise TypeError(f"{who}: maxsize must be an integer, or None for no bound, not {maxsize!r}{hint}")
    number = maxsize.__index__()
    if number < 0:
        raise ValueError(f"{who}: maxsize must be 0 or more, or None for no bound, not {maxsize!r}")
    if number > sys.maxsize:
        raise ValueError(f"{who}: maxsize must be at most {sys.maxsize}, not {maxsize!r}; None means no bound")
    return number


def _check_bool(who, name, value):
    if not isinstance(value, bool):
        raise TypeError(f"{who}: {name} must be True or False, not {value!r}")


def _check_callable(who, name, value, remedy):
    if value is not None and not callable(value):
        raise TypeError(f"{who}: {name} must be callable or None, not {value!r}; {remedy}")


def _check_exceptions(who, exceptions):
    given = exceptions if isinstance(exceptions, tuple) else (exceptions,)
    for one in given:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(
                f"{who}: cache_exceptions must be an exception class or a tuple of them, not {exceptions!r}"
            )
    return given or None


def check_options(who, maxsize, typed, key, coalesce, cache_exceptions, copy):
    """The options in the native core's order, or TypeError or ValueError that names the argument and the remedy."""
    number = check_maxsize(who, maxsize)
    _check_bool(who, "typed", typed)
    _check_callable(who, "key", key, "it is called with the call's arguments and returns a hashable")
    _check_bool(who, "coalesce", coalesce)
    exceptions = _check_exceptions(who, cache_exceptions)
    _check_callable(who, "copy", copy, "copy.deepcopy, for example")
    return number, typed, key, coalesce, exceptions, copy


def check_freshness(who, ttl, fresh, eviction, tags, clock, coalesce):
    """(fresh, eviction, tags, clock) as the core and the steering take them; TypeError or ValueError as above.

    tags: None, a text or texts, or a function of the call's arguments that returns them.
    """
    said = Freshness.of(ttl, fresh, who=who)
    if not isinstance(eviction, str) or eviction not in evictions():
        wrong = ValueError if isinstance(eviction, str) else TypeError
        raise wrong(f"{who}: eviction must be one of {', '.join(map(repr, evictions()))}, not {eviction!r}")
    if tags is not None and not callable(tags):
        tags = texts(f"{who}: tags", tags)
    _check_callable(who, "clock", clock, "it is called for the time in seconds")
    if not coalesce and (tags is not None or needs_steering(said)):
        raise ValueError(
            f"{who}: coalesce must be True with tags, early, stale_while_revalidate or stale_if_error: one call renews an "
            f"answer for all"
        )
    return said, eviction, tags, clock


def check_name(who, lease, name, coalesce):
    """What goes with a lease, and what does not."""
    if name is not None and not isinstance(name, str):
        raise TypeError(f"{who}: name must be text or None, not {name!r}")
    if lease is None and name is not None:
        raise ValueError(f"{who}: name needs a lease: without one, no other process asks for it")
    if lease is not None and not coalesce:
        raise ValueError(f"{who}: coalesce must be True with a lease: one call works for all")


def name_everywhere(fn):
    """What a function is called in every process, or None where that cannot be known."""
    if not isinstance(fn, FunctionType) or "<" in fn.__qualname__ or fn.__module__ in (None, "__main__", "__mp_main__"):
        return None  # what a lambda, a bound method or a callable object answers depends on more than its name
    return f"{fn.__module__}.{fn.__qualname__}"


def check_lifetimes(who, ttl, fresh, eviction, clock):
    """check_freshness where nobody renews answers: each instance has a store of its own, and may be gone by then."""
    said, rule, _, clock = check_freshness(who, ttl, fresh, eviction, None, clock, True)
    if needs_steering(said):
        words = [name for name in ("early", "stale_while_revalidate", "stale_if_error") if getattr(said, name)]
        raise ValueError(
            f"{who}: fresh must be without {' and '.join(words)}, not {fresh!r}: the answers of one instance are not "
            f"renewed in the background; use @memoize, whose answers all instances share"
        )
    return said, rule, clock


def needs_steering(fresh):
    """Whether answers may be served stale or renewed early."""
    return fresh is not None and bool(fresh.early or fresh.keep)


def texts(name: str, value: str | Iterable[str]) -> tuple[str, ...]:
    """One text or several as a tuple, each once."""
    try:
        given = (value,) if isinstance(value, str) else tuple(value)
    except TypeError:
        raise TypeError(f"{name} must be a text, or texts in a tuple, list or set, not {value!r}") from None
    for tag in given:
        if not isinstance(tag, str):
            raise TypeError(f"{name} must be texts, and {tag!r} is none")
    return tuple(dict.fromkeys(map(str.__str__, given)))  # a member of a StrEnum is the text that it stands for


def is_async(fn: object) -> bool:
    """Whether calling `fn` gives a coroutine."""
    return inspect.iscoroutinefunction(fn) or (
        not inspect.isroutine(fn) and inspect.iscoroutinefunction(getattr(type(fn), "__call__", None))
    )


def dress(memo, fn, awaited):
    """Give a memo the attributes of its function, and let it pass for a coroutine function if that is one."""
    update_wrapper(memo, fn)
    if not awaited:
        return memo
    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(memo)
    else:  # before 3.12 inspect asks whether it has a function's parts, and looks at the code's flags
        code = inspect.unwrap(fn) if inspect.isroutine(fn) else type(fn).__call__
        for part in ("__code__", "__defaults__", "__kwdefaults__", "__annotations__"):
            setattr(memo, part, getattr(code, part, None))
    return memo


def parameter_name(fn, place):
    """The name of the parameter at a position of a call, or of the keyword itself."""
    if isinstance(place, str):
        return place
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return str(place)
    for at, parameter in enumerate(parameters):
        if parameter.kind is parameter.VAR_POSITIONAL:
            return f"*{parameter.name}[{place - at}]"
        if at == place:
            return parameter.name
    return str(place)


def unhashable(fn, place, value, key):
    """The TypeError for a call that cannot be remembered because this value has no hash."""
    name = getattr(fn, "__qualname__", repr(fn))
    kind = type(value).__name__
    if key is not None:
        return TypeError(f"{name}(): key= returned an unhashable {kind}; it must return a hashable, such as a tuple")
    argument = parameter_name(fn, place)
    return TypeError(
        f"{name}(): argument {argument!r} is an unhashable {kind}, so the call cannot be remembered; give a key= "
        f"that makes a hashable of the arguments, or pass a hashable such as a tuple"
    )
