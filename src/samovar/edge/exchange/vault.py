"""Where answers lie in this process: the Variants of each key, as one value of a `samovar.Cache`.

Keys are the bytes of `rules.cache_key`; the tags of an entry of the cache are those of its answers, so that
`invalidate_tags` of the cache's owner works too, softly as well: what it made stale is found again, and stale from that
moment on.

The one rule: a change is one step. It begins a load in the cache and settles it at once, so that whatever happens in
another thread in between fences it off, and it is tried again with what is there then.

    who fences                               how a change knows
    drop, purge of URLs, by this vault       the key's Place, which all who fetch it share, is broken
    tags; the cache's owner, in any way      the cache's own fences (csrc/object/fences.h): by groups of keys and of tags
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from ..._base.clock import stopwatch
from ..._base.freshness import Freshness
from ..._base.missing import MISSING
from ...app import Cache
from ..rules import Entry, Variants

ALL = "\nall"  # a tag that every answer carries; no field value has a line feed
_NOTHING = Variants()
_TRIES = 16  # a change that other threads overtake so often is given up
_HEAVIEST = (1 << 32) - 1
_COUNTED = 10_000  # entries that are looked at to say how many carry a tag
_ENTRY, _FIELD = 900, 130  # bytes that an answer, and each of its fields, takes beside its text
_lock = threading.Lock()  # two changes of one key, from two event loops


class Place:
    """A key while it is fetched: broken once what was fetched for it must not be stored."""

    __slots__ = ("__weakref__", "broken")

    def __init__(self) -> None:
        self.broken = False


class Fence(NamedTuple):
    """Where a key stood: its place, and the moment by the stopwatch."""

    place: Place
    since: float


def weigh(variants: Variants) -> int:
    """About how many bytes of memory these take, without their key; bodies that lie in files count as nothing.

    >>> from samovar.edge.rules import Variants
    >>> from samovar.edge.exchange.vault import weigh
    >>> weigh(Variants())
    200
    """
    total = 200
    for entry in variants:
        body = entry.body
        total += _ENTRY + len(entry.key) + sum(_FIELD + len(name) + len(value) for name, value in entry.fields)
        total += len(body) if isinstance(body, bytes) else 0
    return min(total, _HEAVIEST)


def tags_of(variants: Variants, key: bytes) -> tuple[str, ...]:
    """The tags of these answers, and of their key where it has request fields in it."""
    tags = dict.fromkeys(tag for entry in variants for tag in entry.tags)
    if b"\n" in key:
        tags[kin_of(key.partition(b"\n")[0])] = None
    return tuple(tags)


def kin_of(plain: bytes) -> str:
    """The tag that all keys carry which begin with this one and a line feed."""
    return "\n" + plain.decode("latin-1")


def until(variants: Variants, now: float) -> float:
    """For how many seconds from now on anything of this can be of use."""
    return max([entry.keep - (now - entry.born) for entry in variants] + [variants.mark - now])


class CacheVault:
    """A Vault over a Cache.

    cache: any; where it has a maxweight, answers weigh their bytes. wall: seconds since 1970.
    keyed: whether keys have request fields in them: then a URL that is dropped takes all of its keys with it.
    """

    waits, lags, takes_files = False, False, True

    def __init__(self, cache: "Cache[Any, Any]", wall: Callable[[], float], *, keyed: bool = False) -> None:
        self.cache, self._wall, self._keyed = cache, wall, keyed
        self.most = cache.maxweight
        self._weighs = cache.maxweight is not None
        self._places: WeakValueDictionary[bytes, Place] = WeakValueDictionary()
        self._get = cache.get
        cache._watch_fences()

    # ---------------------------------------------------------------- reading

    def peek(self, key: bytes) -> Variants | None:
        """What is stored; O(1)."""
        found = self._get(key)
        if found.__class__ is Variants:
            return found
        return None if found is not None else self._made_stale(key)

    async def find(self, key: bytes, *, anew: bool = False) -> Variants | None:
        """The same."""
        return self.peek(key)

    def _made_stale(self, key: bytes) -> Variants | None:
        """What the cache still has, but not as fresh: a soft invalidation, or `expire`, was here."""
        found = self.cache._entry(key)
        if found is None or found[1].__class__ is not Variants:
            return None
        soft = self._softened(found[1], -found[2])
        if soft is None:
            return None
        self._swap(key, None, lambda variants: variants)
        return soft

    def _softened(self, variants: Variants, ago: float) -> Variants | None:
        """These, stale since so many seconds; None where nobody can use that any more."""
        now = self._wall()
        soft = variants.softened(now - ago) if ago >= 0 else variants
        return soft if until(soft, now) > 0 else None

    # ---------------------------------------------------------------- changing

    async def fence(self, key: bytes) -> Fence:
        """Where the key stands."""
        plain = key.partition(b"\n")[0]
        with _lock:  # two event loops that find none at once must share one, or a purge would break only the latter's
            place = self._places.get(plain)
            if place is None:
                place = self._places[plain] = Place()
            return Fence(place, stopwatch())

    def holds(self, entry: Entry) -> bool:
        """Whether the body of an entry is still here. It is not counted as a read."""
        found = self.cache._entry(entry.key)
        return found is not None and found[1].__class__ is Variants and any(one.body is entry.body for one in found[1])

    def stands(self, key: bytes, fence: Fence, tags: tuple[str, ...]) -> bool:
        """Whether nothing of this was purged since the fence."""
        return not fence.place.broken and self.cache._fenced_at(key, (*tags, ALL)) < fence.since

    def is_elsewhere(self, fence: Fence) -> bool:
        """Nobody else is at it."""
        return False

    def seen(self, fence: Fence) -> None:
        """Nothing: between looking and asking nobody can come."""

    def drop_near(self, key: bytes) -> None:
        """Nothing: all there is is at hand."""

    def release(self, fence: Fence) -> None:
        """Nothing: a place that nobody holds is gone."""

    async def change(self, key: bytes, fence: Fence, change: Callable[[Variants], Variants]) -> bool:
        """Put what `change` makes of it in its place, unless it was purged meanwhile."""
        return self._swap(key, fence, change)

    def _swap(self, key: bytes, fence: Fence | None, change: Callable[[Variants], Variants]) -> bool:
        cache = self.cache
        with _lock:
            for _ in range(_TRIES):
                if fence is not None and fence.place.broken:
                    return False
                flight, now, begun = object(), self._wall(), stopwatch()
                number, value, age, _ = cache._refresh_begin(key, flight, 0)
                before: Variants | None = None if value is MISSING else value
                if before is not None and age >= 0:
                    before = self._softened(before, age)
                try:
                    after = change(_NOTHING if before is None else before)  # an empty one may be marked
                    tags = (*tags_of(after, key), ALL)
                    fenced = fence is not None and cache._fenced_at(key, tags) >= fence.since
                except BaseException:
                    cache._drop(number, flight, True)
                    raise
                left = until(after, now)
                if fenced or left <= 0:
                    cache._drop(number, flight, False)
                    if not fenced and value is not MISSING:
                        cache.delete(key)
                    return not fenced
                weight = min(weigh(after) + len(key), _HEAVIEST) if self._weighs else None
                took = begun - fence.since if fence is not None else 0.0
                if cache._settle(number, flight, after, Freshness(ttl=left, stale_if_error=left), tags, weight, took):
                    return True
                if weight is not None and weight > (cache.maxweight or 0):
                    return False
        return False

    # ---------------------------------------------------------------- taking out

    async def drop(self, keys: Iterable[bytes]) -> None:
        """Take these out, and fence off what is on its way."""
        self._forget(keys, soft=False)

    def _forget(self, keys: Iterable[bytes], soft: bool) -> int:
        gone = 0
        for key in keys:
            place = self._places.pop(key.partition(b"\n")[0], None)
            if place is not None:
                place.broken = True
            if self.cache._entry(key) is not None:  # what is not there needs no fence of the cache
                gone += self.cache.expire(key) if soft else self.cache.delete(key)
            if self._keyed and b"\n" not in key:
                self.cache.invalidate_tags(kin_of(key), soft=soft)
        return gone

    async def purge(self, *, urls: Iterable[bytes] = (), tags: Iterable[str] = (), everything: bool = False,
                    soft: bool = False) -> int:
        """Take out, or make stale; how many keys: with tags, where no more than 10,000 are stored, else those of URLs."""
        keys, names = list(urls), tuple(tags)
        if everything:
            count = len(self.cache)
            for place in list(self._places.values()):
                place.broken = True
            self._places.clear()
            self.cache.invalidate_tags(ALL, soft=soft)
            return count
        count = self._carrying(names) if names and len(self.cache) <= _COUNTED else 0
        if names:
            self.cache.invalidate_tags(*names, soft=soft)
        return count + self._forget(keys, soft)

    def _carrying(self, tags: tuple[str, ...]) -> int:
        wanted = frozenset(tags)
        return sum(1 for variants in self.cache.values() if variants.__class__ is Variants
                   and any(not wanted.isdisjoint(entry.tags) for entry in variants))
