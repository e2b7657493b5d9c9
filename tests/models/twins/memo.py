"""A memo that is obviously right: an OrderedDict, oldest first, one thread, no speed.

`Memo` speaks for memoize; with `plain=True` it keys a call as functools does, where an exact int or str that is the
only argument is never alike to a value of another type. A remembered exception is stored as Raised. `TimedMemo` lets
answers expire.
"""

from collections import OrderedDict
from typing import NamedTuple


class Raised(NamedTuple):
    error: BaseException


class Memo:
    def __init__(self, fn, maxsize=128, typed=False, *, plain=False, key=None, cache_exceptions=(), copy=None):
        self.fn, self.typed, self.plain, self.keyer, self.copy = fn, typed, plain, key, copy
        self.maxsize, self.cache_exceptions = maxsize, cache_exceptions
        self.entries = OrderedDict()
        self.hits = self.misses = self.loads = self.failures = self.evictions = 0

    def key(self, args, kwargs):
        if self.keyer is not None:
            return "chosen", self.keyer(*args, **kwargs)
        if self.plain and not self.typed and not kwargs and len(args) == 1 and type(args[0]) in (int, str):
            return "bare", args[0]
        types = tuple(map(type, (*args, *kwargs.values()))) if self.typed else ()
        return "call", args, tuple(kwargs.items()), types

    def answer(self, entry):
        if isinstance(entry, Raised):
            raise entry.error
        return entry if self.copy is None else self.copy(entry)

    def store(self, key, entry):
        if self.maxsize == 0:
            return
        self.entries[key] = entry
        self.entries.move_to_end(key)
        if self.maxsize is not None and len(self.entries) > self.maxsize:
            self.entries.popitem(last=False)
            self.evictions += 1

    def use(self, key):
        self.entries.move_to_end(key)

    def load(self, args, kwargs):
        key = self.key(args, kwargs)
        self.loads += 1
        try:
            entry = self.fn(*args, **kwargs)
        except BaseException as error:
            self.failures += 1
            if not isinstance(error, self.cache_exceptions):
                raise
            entry = Raised(error)
        self.store(key, entry)
        return self.answer(entry)

    def __call__(self, *args, **kwargs):
        key = self.key(args, kwargs)
        if key in self.entries:
            self.hits += 1
            self.use(key)
            return self.answer(self.entries[key])
        self.misses += 1
        return self.load(args, kwargs)

    def contains(self, *args, **kwargs):
        return self.key(args, kwargs) in self.entries

    def invalidate(self, *args, **kwargs):
        known = self.contains(*args, **kwargs)
        self.entries.pop(self.key(args, kwargs), None)
        return known

    def set(self, value, *args, **kwargs):
        self.store(self.key(args, kwargs), value)

    def refresh(self, *args, **kwargs):
        return self.load(args, kwargs)

    def clear(self):
        self.entries.clear()
        self.hits = self.misses = self.loads = self.failures = self.evictions = 0

    def info(self):
        return self.hits, self.misses, self.maxsize, len(self.entries)


class TimedMemo(Memo):
    """The same with an end for each answer. Whoever moves the clock says so, and what is past leaves then."""

    def __init__(self, fn, maxsize, typed, *, clock, ttl, tti, negative_ttl, **options):
        super().__init__(fn, maxsize, typed, **options)
        self.clock, self.ttl, self.tti, self.negative_ttl = clock, ttl, tti, negative_ttl
        self.stored, self.used = {}, {}
        self.expired = 0

    def store(self, key, entry):
        super().store(key, entry)
        self.stored[key] = self.used[key] = self.clock()

    def use(self, key):
        super().use(key)
        self.used[key] = self.clock()

    def is_past(self, key):
        ttl = self.negative_ttl if self.entries[key] is None and self.negative_ttl is not None else self.ttl
        return (ttl is not None and self.clock() >= self.stored[key] + ttl) or (
            self.tti is not None and self.clock() >= self.used[key] + self.tti)

    def time_moved(self):
        for key in [key for key in self.entries if self.is_past(key)]:
            del self.entries[key]
            self.expired += 1

    def clear(self):
        super().clear()
        self.expired = 0
