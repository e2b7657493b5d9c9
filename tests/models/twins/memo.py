"""A memo that is obviously right: an OrderedDict, oldest first, one thread, no speed.

`Memo` speaks for memoize; with `plain=True` it keys a call as functools does, where an exact int or str that is the
only argument is never alike to a value of another type. A remembered exception is stored as Raised.
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
            self.entries.move_to_end(key)
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
