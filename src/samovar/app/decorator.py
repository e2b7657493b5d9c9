"""`cached`: functions that keep their answers in one shared `Cache`, each under a name of its own.

    key of an answer:  (name of the function, arguments)             f(1)
                       (name of the function, arguments, keywords)   f(1, loud=True)
                       (name of the function, what key= returned)

The name must tell functions apart, or one would be given the other's answers; and it should be the same in the next
process, so that answers survive `save` and `load`. A function written at the top of a module or class has such a name:
"module.Class.function". A lambda, a function made by another one, a bound method or a callable object has not: what it
answers depends on what was made with it, and no other process can know that. It gets a name that is never given again.
So does whoever comes second with a name that is taken in this cache.
"""

import secrets
import weakref
from functools import wraps
from types import BuiltinFunctionType, FunctionType, ModuleType

from ..memo.options import check_function, is_async, unhashable
from . import options
from .cache import Cache


def cached(cache, key=None, *, ttl=None, fresh=None, tags=None):
    """Keep a function's answers in a shared `Cache`; `def` or `async def`, functions and methods.

    One call works and the crowd waits, answers go stale and are renewed, tags invalidate them: all as the cache and
    these options say. Functions that share a cache never get each other's answers. Arguments count as `memoize` counts
    them: positional and keyword apart, keywords in their order; all must be hashable, `self` too, unless there is a
    `key`. What is raised is not kept.

    The answers of a function at the top of a module or class survive `cache.save` and `cache.load`, where arguments
    and answers are plain data. Those of lambdas, of functions within functions and of callable objects do not: what
    these answer can depend on more than their name. The name is all that survives: when a change of the function
    makes its answers different, clear or do not load the file.

    cache: the `Cache` that keeps the answers.
    key: called with the arguments of a call, returns the hashable under which the answer is kept.
    ttl, fresh: how long an answer is good; they beat the cache's own.
    tags: a text or several, for each answer; or called with the arguments of a call, returns them.

    What it returns has `__wrapped__` and `cache_invalidate(*args, **kwargs)`, `cache_contains(...)`,
    `cache_set(value, ...)`, `cache_refresh(...)`, `cache_key(...)`, which take the arguments of the call they are
    about.

    Raises TypeError or ValueError that names the argument when one of these is not what it must be.

    >>> shop = Cache(maxsize=1000, ttl="5m")
    >>> @cached(shop, tags="prices")
    ... def price(article, currency="EUR"):
    ...     return f"42 {currency}"
    >>> price("tea"), price("tea"), price("tea", currency="USD")
    ('42 EUR', '42 EUR', '42 USD')
    >>> shop.stats().hits, len(shop)
    (1, 2)
    >>> shop.invalidate_tags("prices")
    >>> price.cache_contains("tea")
    False
    """
    if not isinstance(cache, Cache):
        hint = "; write @cached(cache)" if callable(cache) else ""
        raise TypeError(f"cached: cache must be a samovar.Cache, not {cache!r}{hint}")
    options.function("cached", "key", key, "it is called with the call's arguments and returns a hashable")
    said = {"fresh": options.freshness("cached", ttl, fresh, cache.fresh)} if (ttl, fresh) != (None, None) else {}
    if tags is not None and not callable(tags):
        said["tags"] = options.tags("cached", tags)

    def decorate(fn):
        check_function("cached", fn)
        name = _name_of(fn, key, cache._functions)
        call = _Call(fn, name, key, said, tags if callable(tags) else None)
        return _awaited(cache, call) if is_async(fn) else _called(cache, call)

    return decorate


def _name_of(fn, key, taken):
    """The name under which a function's answers are kept; what it is called with one cache is noted in `taken`."""
    if isinstance(fn, FunctionType) or isinstance(fn, BuiltinFunctionType) and isinstance(fn.__self__, ModuleType):
        name = f"{fn.__module__}.{fn.__qualname__}"
        if "<" not in name:  # neither <lambda> nor <locals>
            holder = taken.setdefault(name, (weakref.ref(fn), key))
            if holder[0]() is fn and holder[1] is key:
                return name
    name = f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', type(fn).__qualname__)}"
    return f"{name} {secrets.token_hex(8)}"


class _Call:
    """How calls of one function become keys, loads and options."""

    __slots__ = ("fn", "key", "name", "said", "tags")

    def __init__(self, fn, name, key, said, tags):
        self.fn, self.name, self.key, self.said, self.tags = fn, name, key, said, tags

    def key_of(self, args, kwargs):
        if self.key is not None:
            return self.name, self.key(*args, **kwargs)
        return (self.name, args, tuple(kwargs.items())) if kwargs else (self.name, args)

    def load(self, args, kwargs):
        """What loads the answer of a call, and says its tags. Not a partial: a call with too few arguments would pass
        for a factory that asks for the context."""
        fn, tags = self.fn, self.tags
        if tags is None:
            return lambda: fn(*args, **kwargs)

        def load(context):
            context.tags = tags(*args, **kwargs)
            return fn(*args, **kwargs)

        return load

    def options(self, args, kwargs):
        """The options of what is stored without a load."""
        return self.said if self.tags is None else {**self.said, "tags": self.tags(*args, **kwargs)}

    def blame(self, args, kwargs, key):
        """While a TypeError is handled: say which argument has no hash, if that is what went wrong."""
        try:
            hash(key)
        except TypeError:
            values = [(None, key[1])] if self.key is not None else [*enumerate(args), *kwargs.items()]
            for place, value in values:
                try:
                    hash(value)
                except TypeError:
                    raise unhashable(self.fn, place, value, self.key) from None


def _called(cache, call):
    """A `def` whose answers the cache keeps."""
    ask, name, fn, said = cache.get_or_set, call.name, call.fn, call.said
    plain = call.key is None and call.tags is None

    @wraps(fn)
    def answer(*args, **kwargs):
        if plain and not kwargs:  # most calls: nothing is called on the way to a hit
            key, load = (name, args), lambda: fn(*args)
        else:
            key, load = call.key_of(args, kwargs), call.load(args, kwargs)
        try:
            return ask(key, load, **said) if said else ask(key, load)
        except TypeError:
            call.blame(args, kwargs, key)
            raise

    def cache_refresh(*args, **kwargs):
        """Call the function and store its answer in place of what is stored; returns the answer."""
        return cache.refresh(call.key_of(args, kwargs), call.load(args, kwargs), **said)

    return _with_verbs(answer, cache_refresh, cache, call)


def _awaited(cache, call):
    """An `async def` whose answers the cache keeps."""
    ask, said = cache.aget_or_set, call.said

    @wraps(call.fn)
    async def answer(*args, **kwargs):
        key = call.key_of(args, kwargs)
        try:
            return await ask(key, call.load(args, kwargs), **said)
        except TypeError:
            call.blame(args, kwargs, key)
            raise

    async def cache_refresh(*args, **kwargs):
        """Call the function and store its answer in place of what is stored; returns the answer."""
        return await cache.arefresh(call.key_of(args, kwargs), call.load(args, kwargs), **said)

    return _with_verbs(answer, cache_refresh, cache, call)


def _with_verbs(answer, cache_refresh, cache, call):
    """Hang the verbs for its own entries on a function."""

    def cache_key(*args, **kwargs):
        """The key under which the cache keeps the answer of this call."""
        return call.key_of(args, kwargs)

    def cache_contains(*args, **kwargs):
        """Whether the answer of this call is stored and fresh."""
        return call.key_of(args, kwargs) in cache

    def cache_invalidate(*args, **kwargs):
        """Forget the answer of this call; True if there was one."""
        return cache.delete(call.key_of(args, kwargs))

    def cache_set(value, /, *args, **kwargs):
        """Store a value as the answer of this call."""
        cache.set(call.key_of(args, kwargs), value, **call.options(args, kwargs))

    for verb in (cache_key, cache_contains, cache_invalidate, cache_refresh, cache_set):
        setattr(answer, verb.__name__, verb)
    return answer
