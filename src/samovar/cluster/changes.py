"""What changes the shared tier: values that are set, keys that are deleted, tags and whole namespaces that are forgotten.

A change reaches every node that may hold the key for somebody (`Tier.targets`): the value goes to the one that is asked
now, and from the others the key is deleted. What a node could not be told is noted, and it is told before it is asked
again (cluster/admission.py).
"""

from collections.abc import Generator, Sequence
from typing import Any

from . import admission, tags as tagging
from .asked import Asked
from .cell import FRESH, STALE, Right, Seen, ask_right, drop_copies, let_go, look
from .node import OK, UNAVAILABLE, YOURS
from .requests import ALL, NODE, Request, Steps
from .store import Store, Words


def put_many(store: Store, items: Sequence[tuple[Asked, Any]]) -> Generator[Request, Any, list[bool]]:
    """Store values, whatever is there; loads under way are fenced off. For each: whether it is stored."""
    names = tuple(dict.fromkeys(tag for asked, _ in items for tag in asked.tags))
    versions = (yield from tagging.versions(store.tier, names)) if names else {}
    left = {at: _Put(store, asked, value, versions) for at, (asked, value) in enumerate(items)}
    holders: dict[int, str] = {}
    tried: list[str] = []
    while left:
        homes: dict[str, list[int]] = {}
        for at in left:
            if (node := store.tier.home(items[at][0].owners, tried, writes=True)) is not None:
                homes.setdefault(node, []).append(at)
        if not homes:
            break
        sent = {node: [(at, item) for at in on if (item := left[at].item(node)) is not None] for node, on in homes.items()}
        sent = {node: batch for node, batch in sent.items() if batch}
        answers = yield ALL, [(node, "put_many", ([item for _, item in batch],)) for node, batch in sent.items()]
        for on in homes.values():
            for at in on:
                if left[at].is_none:
                    del left[at]
        for (node, batch), answer in zip(sent.items(), answers, strict=True):
            each = [answer] * len(batch) if answer[0] is UNAVAILABLE else answer[1]
            for (at, _), one in zip(batch, each, strict=True):
                if one[0] is not UNAVAILABLE:
                    del left[at]
                    if one[0] is OK:
                        holders[at] = node
            fault = next((one for one in each if one[0] is UNAVAILABLE), None)
            if fault is not None:
                store.tier.is_lost(node, fault)
                tried.append(node)
    yield from _forget(store, [(asked, holders.get(at)) for at, (asked, _) in enumerate(items)])
    return [at in holders for at in range(len(items))]


class _Put:
    """A value on its way to a node."""

    def __init__(self, store: Store, asked: Asked, value: Any, versions: dict[str, list[tagging.Pair]]) -> None:
        self._store, self._asked, self._value = store, asked, value
        self._words = store.lifetime(asked.fresh, value, asked.tags)
        self._pairs = [pair for tag in asked.tags for pair in versions[tag]]
        self.is_none = any(not versions[tag] for tag in asked.tags)  # a tag that nobody can vouch for

    def item(self, node: str) -> tuple[str, bytes, int] | None:
        """What is sent; None for what cannot be kept."""
        sealed = None
        if not self.is_none:
            sealed = self._store.seal(node, self._asked, self._value, self._words, self._pairs, 0.0,
                                      self._store.tier.epoch(node))
        self.is_none = sealed is None
        return None if sealed is None else (self._asked.wire, *sealed)


def _forget(store: Store, items: Sequence[tuple[Asked, str | None]]) -> Generator[Request, Any, dict[str, int]]:
    """Delete keys from every node that may hold them, but not from the one that is named beside it: {node: how many}.
    Where hot keys have copies, from the owners first (cluster/hot.py says why), and these are counted."""
    if store.tier.replicas == 1:
        return (yield from _delete(store, items, slice(None)))
    counts = yield from _delete(store, items, slice(1))
    yield from _delete(store, items, slice(1, None))
    return counts


def _delete(store: Store, items: Sequence[tuple[Asked, str | None]],
            which: slice) -> Generator[Request, Any, dict[str, int]]:
    tier = store.tier
    deletes: dict[str, list[str]] = {}
    for asked, holder in items:
        for node in tier.targets(asked.owners)[which]:
            if node != holder:
                deletes.setdefault(node, []).append(asked.wire)
    up = {node: wires for node, wires in deletes.items() if tier.is_up(node)}
    answers = yield ALL, [(node, "delete", (wires,)) for node, wires in up.items()]
    counts: dict[str, int] = {}
    for (node, wires), answer in zip(up.items(), answers, strict=True):
        if tier.is_lost(node, answer, writes=True):
            yield from admission.note(tier, node, keys=wires)
        else:
            counts[node] = answer[1]
    for node, wires in deletes.items():
        if node not in up:
            yield from admission.note(tier, node, keys=wires)
    return counts


def delete_many(store: Store, asks: Sequence[Asked]) -> Generator[Request, Any, int]:
    """Delete keys, and with them the right to fill of loads under way; how many there were, leases included."""
    counts = yield from _forget(store, [(asked, None) for asked in asks])
    return min(len(asks), sum(counts.values()))


def add(store: Store, asked: Asked, value: Any) -> Generator[Request, Any, bool]:
    """Store a value where there is none that is fresh; whether it was stored."""
    seen = yield from look(store, asked)
    if seen.kind == FRESH:
        return False
    tier = store.tier
    versions = (yield from tagging.versions(tier, asked.tags)) if asked.tags else {}
    if any(not versions[tag] for tag in asked.tags):
        return False
    pairs = [pair for tag in asked.tags for pair in versions[tag]]
    words = store.lifetime(asked.fresh, value, asked.tags)
    return (yield from _replace(store, asked, seen, value, words, pairs, 0.0))


def _replace(store: Store, asked: Asked, seen: Any, value: Any, words: Words, pairs: Sequence[tagging.Pair],
             cost_s: float) -> Generator[Request, Any, bool]:
    """Fill the cell if it is still what was seen; whether it was."""
    tier = store.tier
    epoch = None if seen.entry is None or value is not seen.entry.value else seen.entry.epoch
    node = seen.node if seen.token is not None else tier.home(asked.owners, writes=True)
    if node is None:
        return False
    answer = yield from ask_right(store, asked, node, seen.token)
    if answer is None or answer[0] is not YOURS:
        return False
    token, is_over = answer[1], False
    try:
        sealed = store.seal(node, asked, value, words, pairs, cost_s, tier.epoch(node) if epoch is None else epoch)
        if sealed is None:
            return False
        answer = yield NODE, (node, "fill", (asked.wire, token, *sealed))
        is_over = True
        return not tier.is_lost(node, answer, leaves=(asked.wire,)) and answer[0] is OK
    except GeneratorExit:  # the loop that drove this is gone
        is_over = True
        tier.left(node, (asked.wire,))
        raise
    finally:
        if not is_over:
            yield from let_go(store, asked, Right(node, token))


def touch(store: Store, asked: Asked) -> Generator[Request, Any, bool]:
    """Let a fresh value's time begin anew; whether there was one."""
    seen = yield from look(store, asked)
    if seen.kind != FRESH or seen.entry is None:
        return False
    words = store.lifetime(asked.fresh, seen.entry.value, ())
    return (yield from _renewed(store, asked, seen, words))


def expire(store: Store, asked: Asked) -> Generator[Request, Any, bool]:
    """Make a value stale: served as the rules of stale service say; whether there was a fresh one."""
    seen = yield from look(store, asked)
    if seen.kind not in (FRESH, STALE) or seen.entry is None:
        return False
    keep_s = seen.entry.hard_s - seen.entry.soft_s if seen.entry.soft_s < float("inf") else 0.0
    if seen.kind == STALE:
        return False
    if not keep_s > 0:
        return (yield from delete_many(store, [asked])) > 0
    words = Words(True, 0.0, keep_s, ())
    return (yield from _renewed(store, asked, seen, words))


def _renewed(store: Store, asked: Asked, seen: Seen, words: Words) -> Generator[Request, Any, bool]:
    """Give what was seen another lifetime; whether it was still there."""
    assert seen.entry is not None
    entry = seen.entry
    done = yield from _replace(store, asked, seen, entry.value, words, entry.tags, entry.cost_s)
    if store.tier.replicas > 1:
        yield from drop_copies(store, asked, seen.node)
    return done


def invalidate_tags(store: Store, tags: Sequence[str]) -> Steps:
    """Forget what carries one of these tags, in one step for each, and fence off loads that will."""
    yield from tagging.invalidate(store.tier, tags)


def clear(store: Store) -> Steps:
    """Forget the whole namespace: every node begins a new epoch. Other processes hear of it within half a second."""
    tier = store.tier
    if tier.replicas > 1:  # a copy may be made of what another node is just about to forget: it is forgotten the second time
        yield from _new_epochs(store)
    yield from _new_epochs(store)


def _new_epochs(store: Store) -> Steps:
    tier = store.tier
    up = [node for node in tier.nodes if tier.is_up(node)]
    answers = yield ALL, [(node, "bump_epoch", (tier.namespace,)) for node in up]
    lost = [node for node in tier.nodes if node not in up]
    for node, answer in zip(up, answers, strict=True):
        if tier.is_lost(node, answer, writes=True):
            lost.append(node)
        else:
            tier.learn(node, answer[1], tier.run(node) or "")
    for node in lost:
        yield from admission.note(tier, node, everything=True)


def fence(store: Store, asks: Sequence[Asked], owner: bytes, hold_ms: int, *, ends: bool) -> Steps:
    """Begin or end a writer's fence on keys, on every node that may hold them."""
    tier = store.tier
    by_node: dict[str, list[str]] = {}
    for asked in asks:
        for node in tier.targets(asked.owners):
            by_node.setdefault(node, []).append(asked.wire)
    verb, rest = ("end_write", (owner,)) if ends else ("begin_write", (owner, hold_ms))
    up = {node: wires for node, wires in by_node.items() if tier.is_up(node)}
    answers = yield ALL, [(node, verb, (wires, *rest)) for node, wires in up.items()]
    for (node, wires), answer in zip(up.items(), answers, strict=True):
        if tier.is_lost(node, answer, writes=True):
            yield from admission.note(tier, node, keys=wires)
    for node, wires in by_node.items():
        if node not in up:
            yield from admission.note(tier, node, keys=wires)
