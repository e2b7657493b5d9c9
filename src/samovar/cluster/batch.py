"""The cell protocol for many keys: one round trip for each node and step, and one call of the factory.

Who is led here is loaded before anybody else is waited for, so that two callers never wait for each other's keys.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .._base.missing import MISSING
from . import tags as tagging
from .asked import Asked, Got, Load, making
from .cell import (
    AGAIN,
    ALONE,
    FENCE,
    FRESH,
    INVALID,
    NOWHERE,
    STALE,
    TAKEN,
    WAIT,
    Right,
    Seen,
    Wait,
    call,
    is_early,
    not_seen,
    pause,
)
from .node import FENCED, HIT, LEASED, MISS, OK, UNAVAILABLE, YOURS, Found
from .requests import ALL, PAUSE, SPAWN, Request, Steps
from .store import Store, Words

_Led = tuple[Asked, Right, Seen]


def look_many(store: Store, asks: Sequence[Asked],
              places: Mapping[int, str] = MappingProxyType({})) -> Generator[Request, Any, list[Seen]]:
    """`look` for many keys: one round trip for each node, at once, and one more when there are tags. places: where those
    with these numbers are looked for first (cluster/hot.py)."""
    tier = store.tier
    found: dict[int, tuple[str, Found]] = {}
    tried: list[str] = []
    left = list(range(len(asks)))
    while left:
        homes: dict[str, list[int]] = {}
        for at in left:
            place = places.get(at)
            if place is None or place in tried:
                place = tier.home(asks[at].owners, tried)
            if place is not None:
                homes.setdefault(place, []).append(at)
        if not homes:
            break
        answers = yield ALL, [(node, "read", ([asks[at].wire for at in on],)) for node, on in homes.items()]
        left = []
        for (node, on), answer in zip(homes.items(), answers, strict=True):
            if tier.is_lost(node, answer):
                tried.append(node)
                left.extend(on)
            else:
                found.update((at, (node, one)) for at, one in zip(on, answer[1], strict=True))
    return (yield from _judge_many(store, asks, found))


def _judge_many(store: Store, asks: Sequence[Asked],
                found: dict[int, tuple[str, Found]]) -> Generator[Request, Any, list[Seen]]:
    entries = {at: store.unseal(node, asks[at], one.body) for at, (node, one) in found.items() if one.kind is HIT}
    tagged = [at for at, entry in entries.items() if entry is not None and entry.tags]
    valid = yield from tagging.are_valid(store.tier, [entries[at].tags for at in tagged])  # type: ignore[union-attr]
    spoilt = {at for at, is_valid in zip(tagged, valid, strict=True) if not is_valid}
    wall = store.tier.wall()
    seen = []
    for at in range(len(asks)):
        node, one = found.get(at, ("", None))
        entry = entries.get(at)
        if one is None:
            seen.append(Seen(NOWHERE))
        elif one.kind is not HIT:
            seen.append(not_seen(node, one))
        elif entry is None or at in spoilt or (age_s := entry.age(wall)) >= entry.hard_s:
            seen.append(Seen(INVALID, node, one.token))
        else:
            seen.append(Seen(FRESH if age_s < entry.soft_s else STALE, node, one.token, entry, age_s))
    return seen


def get_many(store: Store, keys: Sequence[Any], plain: Callable[[Any], Asked]) -> Generator[Request, Any, dict[Any, Any]]:
    """What is stored of these keys and may be served, without loading. plain: makes questions, for those keys that more
    is to be asked about than one read and the clock."""
    tier = store.tier
    got: dict[Any, Any] = {}
    found: dict[int, tuple[str, Found]] = {}
    asks: list[Asked] = []
    if not tier.is_quiet or store.look_many is not None:
        asks = [plain(key) for key in keys]
        seen = yield from seen_many(store, asks)
    else:
        homes = tier.by_owner(keys) if keys else {}
        answers = yield ALL, [(node, store.ways[node].verb, (wires,)) for node, (_, wires) in homes.items()]
        lost: list[Asked] = []
        misses, wall = 0, tier.wall()
        for (node, (named, wires)), answer in zip(homes.items(), answers, strict=True):
            values, missing = named, list[int]()
            if answer[0] is not UNAVAILABLE:
                way = store.ways[node]
                values, missing = store.plain_many(wires, *way.bodies_in(answer[1]), tier.epoch(node), wall)
                if missing:
                    answer = way.said(answer[1])
            if tier.is_lost(node, answer):
                lost += [plain(key) for key in named]
                continue
            if not missing:
                got.update(zip(named, values, strict=True))
                continue
            for key, value, one in zip(named, values, answer[1], strict=True):
                if value is not MISSING:
                    got[key] = value
                elif one.kind is MISS:
                    misses += 1
                else:
                    found[len(asks)] = node, one
                    asks.append(plain(key))
        store.counts.add("hits", len(got))
        store.counts.add("misses", misses)
        seen = (yield from _judge_many(store, asks, found)) if asks else []
        if lost:
            seen += yield from look_many(store, lost)
            asks += lost
    got.update({key: one.value for key, one in _taken(store, asks, seen).items()})
    return got


def read_many(store: Store, asks: Sequence[Asked]) -> Generator[Request, Any, dict[Any, Got]]:
    """`get_many`, with how long each is good, and under which tags: for who keeps it."""
    return _taken(store, asks, (yield from seen_many(store, asks)))


def _taken(store: Store, asks: Sequence[Asked], seen: Sequence[Seen]) -> dict[Any, Got]:
    got = {asked.key: store.take(one.entry, one.age_s) for asked, one in zip(asks, seen, strict=True)
           if one.entry is not None and one.serves(asked.swr)}
    store.counts.add("misses", len(asks) - len(got))
    return got


def seen_many(store: Store, asks: Sequence[Asked]) -> Generator[Request, Any, list[Seen]]:
    """`look_many` for somebody who only reads: hot keys on any node that has a copy."""
    return look_many(store, asks) if store.look_many is None else store.look_many(store, asks)


# ------------------------------------------------------------------ loading

def load_many(store: Store, asks: Sequence[Asked]) -> Generator[Request, Any, dict[Any, Got]]:
    """The values of these keys, each as `cell.load` has them; those that the factory left out are missing. All of them
    have the same maker, whose factory is called once with the keys that this caller leads."""
    got: dict[Any, Got] = {}
    left, look = list(asks), seen_many
    begun = store.stopwatch()
    waits = {asked.wire: Wait(begun) for asked in asks}
    waited: set[str] = set()
    mine = making.get()  # a factory asks for what it is making itself: nobody else may be waited for
    while left:
        seen = yield from look(store, left)
        look = look_many
        unserved: list[tuple[Asked, Seen]] = []
        due: list[tuple[Asked, Seen]] = []
        for asked, one in zip(left, seen, strict=True):
            if one.entry is None or not one.serves(asked.swr):
                unserved.append((asked, one))
                continue
            got[asked.key] = store.take(one.entry, one.age_s)
            if one.kind == STALE or is_early(asked, one):
                due.append((asked, one))
        if due:
            yield from _renew_many(store, due)
        told = yield from _claim_many(store, unserved)
        now = store.stopwatch()
        led: list[_Led] = []
        alone: list[tuple[Asked, Seen]] = []
        ended: dict[Right, Asked] = {}
        left = []
        for (asked, one), right in zip(unserved, told, strict=True):
            if isinstance(right, Right):
                led.append((asked, right, one))
            elif right == ALONE or asked.wire in mine or waits[asked.wire].is_over(store, now):
                alone.append((asked, one))
            else:
                left.append(asked)
                if right == WAIT and asked.wire not in waited:
                    waited.add(asked.wire)
                    store.counts.add("waited")
                if waits[asked.wire].has_ended(store, one, now):
                    ended[Right(one.node, one.held)] = asked
        store.counts.add("misses", len(led) + len(alone))
        if led:
            got.update((yield from _lead_many(store, led)))
        if alone:
            got.update((yield from _compute_many(store, alone)))
        if ended:
            yield from _let_go_many(store, ended)
        if left and not led and not alone:
            yield PAUSE, pause(0.0 if ended else min(now - waits[asked.wire].since for asked in left))
    return got


def _claim_many(store: Store, wanted: Sequence[tuple[Asked, Seen]]) -> Generator[Request, Any, list["Right | int"]]:
    """Ask for the right to load each: claims on what lies there, leases where nothing lies."""
    tier = store.tier
    told: list[Right | int] = [AGAIN] * len(wanted)
    claims: list[int] = []
    leases: dict[str, list[int]] = {}
    for at, (asked, seen) in enumerate(wanted):
        if seen.kind in (FENCE, NOWHERE):
            told[at] = ALONE
        elif seen.kind == TAKEN:
            told[at] = WAIT
        elif seen.token is not None and tier.takes_writes(seen.node):
            claims.append(at)
        elif (home := tier.home(asked.owners, writes=True)) is None:
            told[at] = ALONE
        else:
            leases.setdefault(home, []).append(at)
    asked_of: list[tuple[str, str, tuple[Any, ...]]]
    asked_of = [(wanted[at][1].node, "claim", (wanted[at][0].wire, wanted[at][1].token, tier.lease_ms)) for at in claims]
    asked_of += [(node, "lease_many", ([wanted[at][0].wire for at in on], tier.lease_ms)) for node, on in leases.items()]
    try:
        answers = (yield ALL, asked_of) if asked_of else []
    except BaseException:  # cancelled: what was given meanwhile nobody knows to be his
        for node, _, (on, *_) in asked_of:
            tier.left(node, [on] if type(on) is str else on)
        raise
    for at, answer in zip(claims, answers, strict=False):
        if not tier.is_lost(wanted[at][1].node, answer, leaves=(wanted[at][0].wire,)):
            told[at] = _told(wanted[at][1].node, answer)
    for (node, on), answer in zip(leases.items(), answers[len(claims):], strict=True):
        if not tier.is_lost(node, answer, leaves=[wanted[at][0].wire for at in on]):
            for at, one in zip(on, answer[1], strict=True):
                if not (one[0] is UNAVAILABLE and tier.is_lost(node, one, leaves=(wanted[at][0].wire,))):
                    told[at] = _told(node, one)
    return told


def _told(node: str, answer: tuple[Any, Any]) -> "Right | int":
    if answer[0] is YOURS:
        return Right(node, answer[1])
    return WAIT if answer[0] is LEASED else ALONE if answer[0] is FENCED else AGAIN


def _lead_many(store: Store, led: Sequence[_Led], *, behind: bool = False) -> Generator[Request, Any, dict[Any, Got]]:
    """Call the factory once and fill the cells; let go of those that are not filled."""
    tier = store.tier
    left = {right: asked for asked, right, _ in led}
    try:
        epochs = {right.node: tier.epoch(right.node) for right in left}
        for node in epochs:
            tier.loading(node)
        tags = tuple(dict.fromkeys(tag for asked, _, _ in led for tag in asked.tags))
        before = (yield from tagging.versions(tier, tags)) if tags else {}
        loads = [Load(asked.key, asked.wire, store.old(asked, seen.entry)) for asked, _, seen in led]
        may_fail = all(seen.may_fail(asked.sie) for asked, _, seen in led)
        try:
            yield from call(store, led[0][0].maker, loads, waits=not behind and not may_fail)
        except Exception:
            if behind or not may_fail:
                raise
            return {asked.key: store.take(seen.entry, seen.age_s) for asked, _, seen in led if seen.entry is not None}
        items: dict[str, list[tuple[Right, tuple[Any, ...]]]] = {}
        kept: dict[Right, Words] = {}
        for (asked, right, _), made in zip(led, loads, strict=True):
            words = store.lifetime(asked.fresh, made.value, asked.tags)
            item = _item(store, asked, right, made, words, before, epochs[right.node])
            if item is not None:
                items.setdefault(right.node, []).append((right, item))
                kept[right] = words
        answers = yield ALL, [(node, "fill_many", ([item for _, item in on],)) for node, on in items.items()]
        for (node, on), answer in zip(items.items(), answers, strict=True):
            if tier.is_lost(node, answer):
                for right, _ in on:  # who invalidated it meanwhile is not known
                    del kept[right]
                continue
            for (right, _), one in zip(on, answer[1], strict=True):
                store.filled(one[0])
                if not (one[0] is UNAVAILABLE and tier.is_lost(node, one)):
                    del left[right]
                if one[0] is not OK:
                    del kept[right]
        pairs = [[pair for tag in words.tags for pair in before[tag]] for words in kept.values()]
        valid = (yield from tagging.are_valid(tier, pairs)) if any(pairs) else [True] * len(pairs)
        good = {right: words for (right, words), is_valid in zip(kept.items(), valid, strict=True) if is_valid}
        return {asked.key: Got(made.value) if right not in good else
                Got(made.value, good[right].soft_s, good[right].tags, True)
                for (asked, right, _), made in zip(led, loads, strict=True) if not store.is_nothing(made)}
    except GeneratorExit:  # the loop that drove this is gone: the leases end by themselves
        left = {}
        raise
    finally:
        if left:
            yield from _let_go_many(store, left)


def _item(store: Store, asked: Asked, right: Right, made: Load, words: Words, before: dict[str, list[tagging.Pair]],
          epoch: int) -> tuple[Any, ...] | None:
    """What fills a cell; None for what cannot be kept."""
    if store.is_nothing(made):
        return None
    sealed = None
    if all(before[tag] for tag in asked.tags):
        pairs = [pair for tag in asked.tags for pair in before[tag]]
        sealed = store.seal(right.node, asked, made.value, words, pairs, made.cost_s, epoch)
    if sealed is None:
        store.counts.add("unstored")
        return None
    return asked.wire, right.token, *sealed


def _let_go_many(store: Store, left: dict[Right, Asked]) -> Steps:
    answers = yield ALL, [(right.node, "release", (asked.wire, right.token)) for right, asked in left.items()]
    for (right, asked), answer in zip(left.items(), answers, strict=True):
        store.tier.is_lost(right.node, answer, leaves=(asked.wire,))


def compute_many(store: Store, asks: Sequence[Asked]) -> Generator[Request, Any, dict[Any, Got]]:
    """Load what nobody else may be waited for, and store nothing: a factory asks for what it is making itself."""
    return (yield from _compute_many(store, [(asked, Seen(NOWHERE)) for asked in asks]))


def _compute_many(store: Store, alone: Sequence[tuple[Asked, Seen]]) -> Generator[Request, Any, dict[Any, Got]]:
    """Load where nothing can be stored."""
    loads = [Load(asked.key, asked.wire, store.old(asked, seen.entry)) for asked, seen in alone]
    may_fail = all(seen.may_fail(asked.sie) for asked, seen in alone)
    try:
        yield from call(store, alone[0][0].maker, loads, waits=not may_fail)
    except Exception:
        if not may_fail:
            raise
        return {asked.key: store.take(seen.entry, seen.age_s) for asked, seen in alone if seen.entry is not None}
    store.counts.add("unstored", len(loads))
    return {load.key: Got(load.value) for load in loads if not store.is_nothing(load)}


def _renew_many(store: Store, due: Sequence[tuple[Asked, Seen]]) -> Steps:
    """Load in the background what is served meanwhile."""
    told = yield from _claim_many(store, due)
    led = [(asked, right, seen._replace(kind=INVALID)) for (asked, seen), right in zip(due, told, strict=True)
           if isinstance(right, Right)]
    if not led:
        return
    taken = False
    try:
        taken = yield SPAWN, _lead_many(store, led, behind=True)
    finally:
        if not taken:
            yield from _let_go_many(store, {right: asked for asked, right, _ in led})
        else:
            store.counts.add("early", sum(seen.kind == FRESH for _, seen in due))
