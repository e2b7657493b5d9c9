"""`cached_method`: results remembered for each instance apart, and no instance kept alive."""

from types import MethodType

from .._core import MethodMemo
from .options import check_function, check_lifetimes, check_options, dress, is_async


class BoundMemo:
    """`obj.method` of a cached method, when it is not called at once: callable, with the instance's own cache words."""

    __slots__ = ("__func__", "__self__", "__weakref__")

    def __init__(self, func, instance):
        self.__func__ = func
        self.__self__ = instance

    def __call__(self, /, *args, **kwargs):
        return self.__func__(self.__self__, *args, **kwargs)

    @property
    def __wrapped__(self):
        return MethodType(self.__func__.__wrapped__, self.__self__)

    def __getattr__(self, name):
        return getattr(self.__func__, name)

    def __eq__(self, other):
        if type(other) is not BoundMemo:
            return NotImplemented
        return self.__self__ is other.__self__ and self.__func__ is other.__func__

    def __hash__(self):
        return hash((id(self.__self__), id(self.__func__)))

    def __repr__(self):
        return f"<cached method {self.__func__.__qualname__} of {self.__self__!r}>"

    def __reduce__(self):
        return getattr, (self.__self__, self.__func__.__name__)

    def _memo(self):
        return self.__func__._memo_of(self.__self__)

    def cache_info(self):
        """Hits, misses, maxsize and currsize of this instance, as functools' named tuple."""
        return self._memo().cache_info()

    def cache_stats(self):
        """What happened to this instance's results, as `samovar.Stats`."""
        return self._memo().cache_stats()

    def cache_clear(self):
        """Forget this instance's results."""
        self._memo().cache_clear()

    def cache_invalidate(self, /, *args, **kwargs):
        """Forget the result of this call; True if there was a fresh one."""
        return self._memo().cache_invalidate(self.__self__, *args, **kwargs)

    def cache_contains(self, /, *args, **kwargs):
        """Whether the result of this call is stored and fresh."""
        return self._memo().cache_contains(self.__self__, *args, **kwargs)

    def cache_set(self, value, /, *args, **kwargs):
        """Store a value as the result of this call."""
        self._memo().cache_set(value, self.__self__, *args, **kwargs)

    def cache_refresh(self, /, *args, **kwargs):
        """Call the method and store its result in place of what is stored; returns the result."""
        return self._memo().cache_refresh(self.__self__, *args, **kwargs)

    def cache_key(self, /, *args, **kwargs):
        """A hashable that is equal for two calls on this instance whenever they share one result."""
        return self._memo().cache_key(self.__self__, *args, **kwargs)


def cached_method(
    fn=None, /, maxsize=128, typed=False, *, ttl=None, fresh=None, eviction="lru", key=None, coalesce=True,
    cache_exceptions=(), copy=None, clock=None
):
    """Remember the results of a method for each instance apart; `def` or `async def`.

    Each instance has its own results, up to `maxsize` of them, and they go when it goes: nothing keeps it alive. The
    instance is not part of the key: it need not be hashable, and its `__eq__` is never asked. An instance with a
    `__dict__` keeps its results there, under a name that no source code can write; a class with `__slots__` and no
    `__dict__` needs a slot `__weakref__`, and there a result that refers to its own instance keeps it alive until it
    is evicted or invalidated.

    The arguments are those of `memoize`, but for `tags`; `key` is called with the arguments of the method, the instance
    included; `fresh` has no stale service and no early renewal (ttl, tti, jitter and negative_ttl are what it may say).
    An instance's answers with an end take some 4 kB more than those without.
    `obj.method.cache_info()` and the other cache words speak of that instance; `Class.method.cache_clear()` forgets
    the results of all of them. Pickles and deep copies of an instance leave its results behind.

    Raises TypeError or ValueError that names the argument when one of these is not what it must be, and TypeError at the
    first use of an instance that cannot be weakly referenced.

    >>> class Circle:
    ...     def __init__(self, radius):
    ...         self.radius = radius
    ...     @cached_method
    ...     def area(self, digits):
    ...         return round(3.14159265 * self.radius**2, digits)
    >>> circle = Circle(2)
    >>> circle.area(2), circle.area(2)
    (12.57, 12.57)
    >>> circle.area.cache_info().hits
    1
    """
    options = check_options("cached_method", maxsize, typed, key, coalesce, cache_exceptions, copy)
    said, rule, clock = check_lifetimes("cached_method", ttl, fresh, eviction, clock)

    def decorate(fn):
        check_function("cached_method", fn)
        awaited = is_async(fn)
        place = f"<samovar {getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', type(fn).__qualname__)}>"
        method = MethodMemo(place, fn, *options, awaited, said, rule, False, clock)
        method.cache_parameters = lambda: {"maxsize": options[0], "typed": typed}
        return dress(method, fn, awaited)

    return decorate if fn is None else decorate(fn)
