"""The decorators: thin, for the callable they return is native.

`lru_cache` and `cache` are functools' own, argument for argument. `memoize` adds coalescing (concurrent misses of one
key make one call of the function), options, and the `cache_*` verbs on what it returns.
"""

from .._base.contracts import check_gate
from .._base.turn import check_lease
from .._core import Memo, Memoized
from .options import (
    check_freshness,
    check_function,
    check_name,
    check_options,
    dress,
    is_async,
    name_everywhere,
    needs_steering,
    texts,
)


def lru_cache(maxsize=128, typed=False):
    """Remember the results of up to `maxsize` calls, and forget the least recently used.

    The drop-in for `functools.lru_cache`: same arguments, same keys, same `cache_info()`, `cache_clear()`,
    `cache_parameters()` and `__wrapped__`, same errors; faster. Concurrent misses of one key each call the function.

    maxsize: the most results kept; None for no bound, 0 (or less) to keep none.
    typed: whether `f(3)` and `f(3.0)` are different calls.

    >>> @lru_cache(maxsize=2)
    ... def square(x):
    ...     return x * x
    >>> square(3), square(3)
    (9, 9)
    >>> square.cache_info()
    CacheInfo(hits=1, misses=1, maxsize=2, currsize=1)
    """
    if isinstance(maxsize, int):
        maxsize = max(maxsize, 0)
    elif callable(maxsize) and isinstance(typed, bool):
        fn, maxsize = maxsize, 128
        return _drop_in(fn, maxsize, typed)
    elif maxsize is not None:
        raise TypeError("Expected first argument to be an integer, a callable, or None")

    def decorate(fn):
        return _drop_in(fn, maxsize, typed)

    return decorate


def _drop_in(fn, maxsize, typed):
    memo = Memo(fn, maxsize, typed)
    memo.cache_parameters = lambda: {"maxsize": maxsize, "typed": typed}
    return dress(memo, fn, False)


def cache(user_function, /):
    """Remember every result: the drop-in for `functools.cache`, which is `lru_cache(maxsize=None)`.

    >>> @cache
    ... def factorial(n):
    ...     return n * factorial(n - 1) if n else 1
    >>> factorial(10)
    3628800
    """
    return lru_cache(maxsize=None)(user_function)


class Steering:
    """What the floors above need of a memo whose loads they decide: its freshness, its tags, and what it is."""

    __slots__ = ("fresh", "is_async", "tags")

    def __init__(self, fresh, tags, is_async):
        self.fresh, self.tags, self.is_async = fresh, tags, is_async

    def tags_of(self, args, kwargs):
        """The tags of a call's answer: a tuple of texts, or None."""
        return texts("memoize: what tags returned", self.tags(*args, **kwargs)) if callable(self.tags) else self.tags


def memoize(
    fn=None, /, maxsize=128, typed=False, *, ttl=None, fresh=None, eviction="lru", key=None, tags=None, coalesce=True,
    cache_exceptions=(), copy=None, clock=None, lease=None, name=None, budget=None
):
    """Remember the results of a function, `def` or `async def`; one call works, the crowd waits.

    Used as `@memoize`, as `@memoize(maxsize=...)` or as `memoize(fn, ...)`.

    A miss calls the function. While it runs, other callers of the same key wait for its result instead of calling it
    again: threads, and tasks of any number of event loops. If it raises, those who waited get the exception, nothing
    is stored, and the next caller tries anew. A call that re-enters its own key in the same thread or task, and a
    circle of threads or tasks that wait for each other, call the function instead of waiting. A result whose key was
    invalidated, set or cleared while it was computed is returned to those who waited for it and not stored.

    A call of a memoized `async def` returns an awaitable; on a hit it is already done, and awaiting it needs no event
    loop. A cancelled caller never fails the others; the work is cancelled when nobody waits for it any more.

    maxsize: the most results kept, the least recently used leaving first; None for no bound, 0 to keep none.
    typed: whether arguments of different types are different keys; otherwise 1, 1.0 and True are one.
    ttl: how long a result is fresh: seconds, a timedelta, or text such as "5m"; None for ever.
    fresh: a `Freshness`: idle time, jitter, early renewal, stale service; `ttl` beats the ttl in it. A stale result is
        renewed in the background: by a thread, or by a task of the caller's loop for an `async def`. What a renewal
        raises is logged, and the old result stays.
    eviction: who leaves first when there is no room: "lru", or another rule's name (see `Cache`).
    key: called with the arguments of a call, returns the hashable under which its result is kept.
    tags: a text or texts, or a function of the call's arguments that returns them, for `cache_invalidate_tags`.
    coalesce: False lets concurrent misses of one key each call the function.
    cache_exceptions: an exception class, or a tuple of them, to remember like results and raise again on a hit.
    copy: called with the stored result for every caller, so that none can change what is stored; copy.deepcopy, say.
    clock: called for the time in seconds, instead of the machine's monotonic clock; a `ManualClock` in tests.
    lease: a `FileLease`: one call of the function with the same arguments at a time over the processes of a host; the
        arguments, or what `key` makes of them, must be plain data then.
    name: what the function is called in all of them; left out, its module and qualified name, where other processes
        have the same: not that of a lambda, of a function within a function, or of a program's main module.
    budget: an `OriginBudget`: how many calls may run at once, over all the functions and caches that share it.

    What it returns has `cache_info()`, `cache_parameters()`, `cache_clear()` and `__wrapped__` as functools has, and
    `cache_stats()`, `cache_invalidate_tags(*tags, soft=False)`, and `cache_invalidate(*args, **kwargs)`,
    `cache_contains(...)`, `cache_set(value, ...)`, `cache_refresh(...)`, `cache_key(...)`, which take the arguments of the
    call they are about.

    Raises TypeError or ValueError that names the argument when one of these is not what it must be; ValueError for
    coalesce=False where one call renews a result for all: with tags, early renewal, stale service, a lease or a budget.

    >>> @memoize(maxsize=1000)
    ... def area(width, height):
    ...     return width * height
    >>> area(3, 4), area(3, 4)
    (12, 12)
    >>> area.cache_invalidate(3, 4)
    True
    >>> area.cache_stats().hit_ratio
    0.5
    """
    options = check_options("memoize", maxsize, typed, key, coalesce, cache_exceptions, copy)
    said, rule, marks, clock = check_freshness("memoize", ttl, fresh, eviction, tags, clock, coalesce)
    check_name("memoize", lease, name, coalesce)
    gate = check_gate("memoize", budget)
    if gate is not None and not coalesce:
        raise ValueError("memoize: coalesce must be True with a budget: one call works for all")
    if (gate is not None or lease is not None) and options[0] == 0:
        raise ValueError("memoize: maxsize must be 1 or more, or None, with a lease or a budget: with 0 nothing is shared")

    def decorate(fn):
        check_function("memoize", fn)
        awaited = is_async(fn)
        leasing = check_lease("memoize", lease, name or name_everywhere(fn), "memoize(name=...)")
        steered = marks is not None or leasing is not None or gate is not None
        memo = Memoized(fn, *options, awaited, said, rule, steered, clock)
        dress(memo, fn, awaited)  # first: fn may be a memo itself, and all its attributes are taken over
        if steered or needs_steering(said):
            memo._steering = Steering(said, marks, awaited)
            memo._leasing, memo._gate = leasing, gate
        if leasing is not None:
            memo._watch_fences()
        memo.cache_parameters = lambda: {"maxsize": options[0], "typed": typed}
        return memo

    return decorate if fn is None else decorate(fn)
