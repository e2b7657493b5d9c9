"""A load that is held open: begun here, and filled later by somebody who loads in his own way and his own time.

It is the cell protocol (cluster/cell.py) cut in two: the right to load is taken before the original is asked, and the cell
is filled only where it is still the one, so that whatever was invalidated meanwhile stays invalidated. Nobody waits for
it: who finds the right taken goes without.

Tags may be soft: a value whose soft tags alone were invalidated is a miss for everybody, near caches included, but for
`hold_softly`, which hands it out to whoever knows how to serve it as stale.

The one rule: whoever has a Held fills it or releases it, once. One that was forgotten ends with its lease.
"""

from collections.abc import Callable, Generator, Hashable, Iterable
from typing import Any, NamedTuple

from .._base.freshness import Freshness
from .._base.missing import MISSING
from . import tags as tagging
from .asked import Asked
from .cell import AGAIN, FRESH, INVALID, STALE, WAIT, Right, Seen, _claim, drop_copies, let_go, look
from .cluster_async import AsyncCluster
from .node import HIT, OK
from .requests import NODE, Request
from .store import Store


class Held(NamedTuple):
    """The right to fill a key, and what was known when it was had.

    value: what lay under the key, MISSING where there was nothing that may be served.
    """

    asked: Asked
    right: Right
    epoch: int
    marked: dict[str, int]
    value: Any


class Softly(NamedTuple):
    """A value whose soft tags were invalidated, which of them, and the right to fill its key anew; None without."""

    value: Any
    moved: tuple[str, ...]
    held: Held | None


async def hold_softly(cluster: AsyncCluster, key: Hashable, is_soft: Callable[[str], bool]) -> Softly | None:
    """What lies under a key that is missing only because tags were invalidated that are soft. None where there is no such
    thing. Two round trips for each of reading and claiming; one where nothing lies there."""
    found: Softly | None = await cluster._run(_hold_softly(cluster._store, cluster._plain(key), is_soft))
    return found


async def hold(cluster: AsyncCluster, key: Hashable) -> Held | bool:
    """The right to fill a key. True: somebody else has it just now. False: there is none to be had, because no node can be
    asked, or a writer holds the key."""
    held: Held | bool = await cluster._run(_hold(cluster._store, cluster._plain(key)))
    return held


async def fill(cluster: AsyncCluster, held: Held, value: Any, *, fresh: Freshness | None, tags: Iterable[str]) -> bool:
    """Fill it, and tell the near caches. False, and nothing is stored, when the key, a tag or everything was invalidated
    since, the lease is over, or the value is too large for its node. Raises what the codec raises."""
    steps = _fill(cluster._store, held, value, fresh, tuple(tags))
    return bool(await cluster._changed([held.asked], steps))


async def release(cluster: AsyncCluster, held: Held) -> None:
    """Give the right back; what lay there stays."""
    await cluster._run(let_go(cluster._store, held.asked, held.right))


def _hold(store: Store, asked: Asked) -> Generator[Request, Any, Held | bool]:
    seen = yield from look(store, asked)
    right = yield from _claim(store, asked, seen)
    if not isinstance(right, Right):
        return right in (WAIT, AGAIN)
    is_over = False
    try:
        epoch = store.tier.epoch(right.node)  # before: a clear() meanwhile makes it worth nothing
        marked = yield from tagging.marks(store.tier)
        is_over = True
    except GeneratorExit:
        is_over = True
        raise
    finally:
        if not is_over:
            yield from let_go(store, asked, right)
    is_there = seen.kind in (FRESH, STALE) and seen.entry is not None
    return Held(asked, right, epoch, marked, seen.entry.value if is_there and seen.entry is not None else MISSING)


def _hold_softly(store: Store, asked: Asked, is_soft: Callable[[str], bool]) -> Generator[Request, Any, Softly | None]:
    tier = store.tier
    seen = yield from look(store, asked)
    if seen.kind != INVALID:
        return None
    answer = yield NODE, (seen.node, "read", ((asked.wire,),))
    if tier.is_lost(seen.node, answer) or answer[1][0].kind is not HIT:
        return None
    lies = answer[1][0]
    entry = store.unseal(seen.node, asked, lies.body)
    if entry is None or entry.age(tier.wall()) >= entry.hard_s:
        return None
    right = yield from _claim(store, asked, Seen(INVALID, seen.node, lies.token))
    if not isinstance(right, Right) and right != WAIT:
        return None  # the key was invalidated since it was read
    is_over = not isinstance(right, Right)
    try:
        epoch = tier.epoch(right.node if isinstance(right, Right) else seen.node)
        marked = yield from tagging.marks(tier)  # before the tags: what is invalidated from now on keeps `fill` from storing
        soft = tuple(dict.fromkeys(pair[0][1:] for pair in entry.tags if is_soft(pair[0][1:])))
        hard, *valid = yield from tagging.are_valid(
            tier, [[pair for pair in entry.tags if not is_soft(pair[0][1:])],
                   *([pair for pair in entry.tags if pair[0][1:] == tag] for tag in soft)])
        moved = tuple(tag for tag, stands in zip(soft, valid, strict=True) if not stands)
        if not hard or not moved:
            return None
        held = Held(asked, right, epoch, marked, entry.value) if isinstance(right, Right) else None
        is_over = True
        return Softly(entry.value, moved, held)
    except GeneratorExit:
        is_over = True
        raise
    finally:
        if not is_over and isinstance(right, Right):
            yield from let_go(store, asked, right)


def _fill(store: Store, held: Held, value: Any, fresh: Freshness | None,
          tags: tuple[str, ...]) -> Generator[Request, Any, bool]:
    asked, right, is_over = held.asked, held.right, False
    try:
        words = store.lifetime(fresh, value, tags)
        pairs = yield from tagging.pairs_of(store.tier, words.tags, {}, held.marked)
        sealed = None if pairs is None else store.seal(right.node, asked, value, words, pairs, 0.0, held.epoch)
        if sealed is None:
            store.counts.add("unstored")
            return False
        answer = yield NODE, (right.node, "fill", (asked.wire, right.token, *sealed))
        is_over = not store.tier.is_lost(right.node, answer)
        store.filled(answer[0])
        if store.tier.replicas > 1:
            yield from drop_copies(store, asked, right.node)
        return answer[0] is OK
    except GeneratorExit:  # the loop that drove this is gone: the lease ends by itself
        is_over = True
        raise
    finally:
        if not is_over:
            yield from let_go(store, asked, right)
