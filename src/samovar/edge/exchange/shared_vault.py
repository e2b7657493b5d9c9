"""Where answers lie for many processes and machines: the Variants of each key, as plain data in an `AsyncCluster`.

    [2, mark, [[the words of Entry.dump, body], ...]]

A change holds the key's cell from the fence on (cluster/held.py): a purge in any process takes the cell away, and what
was fetched meanwhile is not stored. Of several who fetch one key at once, in one process or many, one stores.

Each tag is two of the cluster's, itself and a soft one. A soft purge invalidates the latter, so that every near cache drops
what carries it; what lies in the shared tier is then found by `hold_softly`, and put back as stale since the purge, whose
moment lies under a key of its own.

The one rule: nothing in here raises for what a store holds or does. What cannot be read is not there.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any
from weakref import WeakValueDictionary

from ..._base.clock import stopwatch
from ..._base.freshness import Freshness
from ..._base.missing import MISSING
from ...app import Cache
from ...cluster.cluster_async import AsyncCluster
from ...cluster.held import Held, Softly, fill, hold, hold_softly, release
from ...cluster.tags import LONGEST_TAG
from ..rules import Entry, Variants
from .vault import Place, kin_of, tags_of, until, weigh

_log = logging.getLogger("samovar")
_FORM = 2
_SOFT = "\r"  # before a tag: no field value has one
_MOMENTS_S = 30 * 86_400.0  # for which it is known when a tag was purged softly; later it counts as purged when it is seen
_BREAKS = re.compile(rb"[\r\n\0]")
_NOTHING = Variants()
_MOST = 4 << 20  # bytes of one body
_TOGETHER = 7 << 20  # bytes of all under one key: a value of the tier has 8 MiB at most
_READ = 64 << 20  # bytes of what the near cache has, whose reading is remembered
_TAGS = 4_096  # purged tags that are remembered, for requests that fly


class Fence:
    """A fetch under way: the key's place in this process, the moment, and the right to store; True where another has it,
    False where there is none. before: what lay there when the right was had."""

    __slots__ = ("before", "held", "place", "since")

    def __init__(self, place: Place, since: float, held: Held | bool) -> None:
        self.place, self.since, self.held = place, since, held
        self.before = loaded(held.value) if isinstance(held, Held) and held.value is not MISSING else None


class ClusterVault:
    """A Vault over an AsyncCluster, whose codec must carry plain data (`Msgpack`, the default, does).

    wall: seconds since 1970. keyed: whether keys have request fields in them.
    """

    waits, takes_files = True, False
    most: int | None = _MOST

    def __init__(self, cluster: AsyncCluster, wall: Callable[[], float], *, keyed: bool = False) -> None:
        self.cluster, self._wall, self._keyed = cluster, wall, keyed
        self._near = cluster.near
        self.lags = self._near is not None
        self._read: Cache[bytes, tuple[Any, Variants]] = Cache(
            maxweight=_READ, weigher=lambda key, read: weigh(read[1]) + len(key))
        self._places: WeakValueDictionary[bytes, Place] = WeakValueDictionary()
        self._purged: dict[str, float] = {}  # tags, and when
        self._floor = float("-inf")  # when some that are not remembered were
        self._tasks: set[asyncio.Task[None]] = set()

    # ---------------------------------------------------------------- reading

    def peek(self, key: bytes) -> Variants | None:
        """What the near cache has."""
        if self._near is None:
            return None
        plain = self._near.get(key)
        if plain is None:
            return None
        read = self._read.get(key)
        if read is not None and read[0] is plain:
            return read[1]
        variants = loaded(plain)
        if variants is not None:
            self._read[key] = plain, variants
        return variants

    async def find(self, key: bytes, *, anew: bool = False) -> Variants | None:
        """What is stored: one round trip, two where it has tags. anew: whatever the near cache has."""
        try:
            plain = await (self.cluster.peek(key) if anew else self.cluster.get(key))
        except Exception as error:  # a codec, say; a node's fault does not raise
            _log.warning("an edge could not read: %r", error, exc_info=error)
            return None
        return await self._find_softly(key) if plain is None else loaded(plain)

    async def _find_softly(self, key: bytes) -> Variants | None:
        """What a soft purge of tags left here: put back as stale, for everybody, where nobody else is at it."""
        try:
            softly = await hold_softly(self.cluster, key, _is_soft)
            if softly is None:
                return None
            held = softly.held
            try:
                moments = await self.cluster.get_many([_moment(tag) for tag in softly.moved])
                soft = self._softened(softly, moments)
                if soft is not None and held is not None:
                    filling, held = held, None
                    await self._fill(key, filling, soft)
                return soft
            finally:
                if held is not None:
                    await release(self.cluster, held)
        except Exception as error:
            _log.warning("an edge could not read what was purged softly: %r", error, exc_info=error)
            return None

    def _softened(self, softly: Softly, moments: dict[bytes, Any]) -> Variants | None:
        """Those that carry a tag that was purged, stale since the first of these purges; None where that is of no use."""
        variants, now, out = loaded(softly.value), self._wall(), Variants()
        for entry in () if variants is None else variants:
            purged = [moments.get(_moment(tag)) for tag in softly.moved if tag[1:] in entry.tags]
            since = [at if isinstance(at, float) and entry.received <= at <= now else now for at in purged]
            out = out.stored(entry.softened(min(since)) if since else entry, len(variants or ()))
        out = out if variants is None else out.marked(variants.mark)
        return out if until(out, now) > 0 else None

    # ---------------------------------------------------------------- changing

    async def fence(self, key: bytes) -> Fence:
        """Take the right to store, where nobody has it."""
        plain = key.partition(b"\n")[0]
        place = self._places.get(plain)
        if place is None:
            place = self._places[plain] = Place()
        since = stopwatch()
        try:
            return Fence(place, since, await hold(self.cluster, key))
        except Exception as error:
            _log.warning("an edge could not ask for the right to store: %r", error, exc_info=error)
            return Fence(place, since, False)

    def holds(self, entry: Entry) -> bool:
        """Whether the near cache's reading has it; what is read from a node is its reader's own."""
        read = self._read.peek(entry.key)
        return read is not None and any(one.body is entry.body for one in read[1])

    def stands(self, key: bytes, fence: Fence, tags: tuple[str, ...]) -> bool:
        """Whether this process purged nothing of it."""
        return not fence.place.broken and fence.since > self._floor and all(
            self._purged.get(tag, self._floor) < fence.since for tag in tags)

    def is_elsewhere(self, fence: Fence) -> bool:
        """Whether another process, or another request of this one, is at it."""
        return fence.held is True

    def seen(self, fence: Fence) -> Variants | None:
        """What lay there when the right was had."""
        return fence.before

    def drop_near(self, key: bytes) -> None:
        """What the near cache has may be older, and would be served, and renewed, for as long as it keeps it."""
        if self._near is not None:
            self._near.delete(key)

    def release(self, fence: Fence) -> None:
        """Give the right back, in a task: nobody needs to wait for it."""
        held, fence.held = fence.held, False
        if isinstance(held, Held):
            task = asyncio.get_running_loop().create_task(self._release(held))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _release(self, held: Held) -> None:
        try:
            await release(self.cluster, held)
        except Exception as error:
            _log.warning("an edge could not give the right to store back: %r", error, exc_info=error)

    async def change(self, key: bytes, fence: Fence, change: Callable[[Variants], Variants]) -> bool:
        """Put what `change` makes of it in its place, if nothing was purged and nobody else has the right."""
        held, fence.held = fence.held, False
        if not isinstance(held, Held):
            return False
        try:
            after = change(_NOTHING if fence.before is None else fence.before)  # an empty one may be marked
            if fence.place.broken:
                await release(self.cluster, held)
                return False
            return await self._fill(key, held, _fitting(after))
        except Exception as error:
            _log.warning("an edge could not store: %r", error, exc_info=error)
            await self._release(held)
            return False

    async def _fill(self, key: bytes, held: Held, variants: Variants) -> bool:
        left = until(variants, self._wall())
        if left <= 0:
            await release(self.cluster, held)
            await self.cluster.delete(key)
            return True
        names = tags_of(variants, key)
        return await fill(self.cluster, held, dumped(variants), fresh=Freshness(ttl=left), tags=(*names, *_softs(names)))

    # ---------------------------------------------------------------- taking out

    async def drop(self, keys: Iterable[bytes]) -> None:
        """Take these out, in every process."""
        await self._forget(list(keys))

    async def _forget(self, keys: list[bytes]) -> int:
        if not keys:
            return 0
        for key in keys:
            place = self._places.pop(key.partition(b"\n")[0], None)
            if place is not None:
                place.broken = True
        gone = await self.cluster.delete_many(keys)
        kin = [kin_of(key) for key in keys if b"\n" not in key] if self._keyed else []
        if kin:
            await self.cluster.invalidate_tags(*kin)
        return gone

    async def purge(self, *, urls: Iterable[bytes] = (), tags: Iterable[str] = (), everything: bool = False,
                    soft: bool = False) -> int:
        """Take out, or make stale; how many keys, of URLs. Everything goes at once, also softly, and so do the variants of
        URLs where keys have request fields in them.

        everything: the whole namespace of the cluster.
        """
        keys, names = list(urls), tuple(tags)
        if everything:
            self._floor = stopwatch()
            for place in list(self._places.values()):
                place.broken = True
            self._places.clear()
            await self.cluster.clear()
            self._floor = stopwatch()
            return 0
        if names:
            self._note(names)
            softs = _softs(names) if soft else ()
            if softs:
                await self.cluster.set_many({_moment(tag): self._wall() for tag in softs}, ttl=_MOMENTS_S)
            await self.cluster.invalidate_tags(*softs, *(tag for tag in names if _SOFT + tag not in softs))
            self._note(names)
        softened = [key for key in keys if soft and await self._soften(key)]
        return len(softened) + await self._forget([key for key in keys if key not in softened])

    def _note(self, tags: tuple[str, ...]) -> None:
        now = stopwatch()
        for tag in tags:
            self._purged.pop(tag, None)
            self._purged[tag] = now
        while len(self._purged) > _TAGS:
            tag = next(iter(self._purged))
            self._floor = max(self._floor, self._purged.pop(tag))

    async def _soften(self, key: bytes) -> bool:
        """Make what lies under a key stale; False where it must go instead."""
        if self._keyed:
            return False  # its kin can only be found by their tag
        place = self._places.pop(key, None)
        if place is not None:
            place.broken = True
        fence = await self.fence(key)
        if not isinstance(fence.held, Held) or fence.held.value is MISSING:
            self.release(fence)
            return False
        return await self.change(key, fence, lambda variants: variants.softened(self._wall()))


def _softs(tags: Iterable[str]) -> tuple[str, ...]:
    """The soft ones of these; those that would be too long, or are ours, have none."""
    return tuple(_SOFT + tag for tag in tags if tag[:1] != "\n" and len(tag.encode()) < LONGEST_TAG)


def _is_soft(tag: str) -> bool:
    return tag[:1] == _SOFT


def _moment(tag: str) -> bytes:
    """The key under which it lies when a soft tag was purged."""
    return tag.encode()


def dumped(variants: Variants) -> list[Any]:
    """Variants as plain data."""
    return [_FORM, variants.mark, [[list(entry.dump()), entry.body] for entry in variants]]


def _fitting(variants: Variants) -> Variants:
    """As many of these as fit under one key, the newest first."""
    out, size = Variants(), 0
    for entry in sorted(variants, key=lambda entry: -entry.received):
        size += (entry.length or 0) + sum(len(name) + len(value) for name, value in entry.fields)
        if size > _TOGETHER:
            break
        out = out.stored(entry, len(variants))
    return out.marked(variants.mark)


def loaded(plain: Any) -> Variants | None:
    """The Variants that `dumped` wrote; None for anything else.

    >>> from samovar.edge.exchange.shared_vault import dumped, loaded
    >>> from samovar.edge.rules import Variants
    >>> loaded(dumped(Variants().marked(5.0))).mark, loaded("something else")
    (5.0, None)
    """
    try:
        form, mark, entries = plain
        if form != _FORM:
            return None
        variants = Variants()
        for words, body in entries:
            entry = Entry.load(words, body)
            if not _is_sound(entry):
                return None
            variants = variants.stored(entry, len(entries))
        return variants.marked(float(mark)) if isfinite(mark) else None
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError):
        return None


def _is_sound(entry: Entry) -> bool:
    """Whether everything in it is of the kind that it must be: whoever can write to the tier may have made it."""
    sent = [entry.reason, *(text for text in (entry.etag, entry.modified) if text is not None)]
    for name, value in entry.fields:
        sent += name, value
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"%d" % len(entry.body)):
            return False  # where a client would look for the end of it elsewhere
    texts = [entry.key, entry.body, *entry.vary, *(value for value in entry.varied if value is not None), *sent]
    if not all(type(text) is bytes for text in texts) or _BREAKS.search(b"".join(sent)) is not None:
        return False
    numbers = (entry.status, entry.date, entry.fresh, entry.revalidate, entry.error, entry.length)
    return (all(type(number) is int for number in numbers) and entry.declared in (None, entry.length)
            and all(type(moment) in (int, float) and isfinite(moment) for moment in (entry.born, entry.received))
            and all(type(tag) is str for tag in entry.tags) and len(entry.body) == entry.length
            and len(entry.vary) == len(entry.varied) and 200 <= entry.status <= 999
            and not (entry.body and entry.status in (204, 205, 304)))
