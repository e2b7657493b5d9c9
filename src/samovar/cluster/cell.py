"""The cell protocol: who reads, who loads, what is stored, and what an invalidation stops. Decided once, driven twice.

One key is one cell on one node (cluster/node.py). A load takes a lease first, or a claim on the value that lies there,
and fills the cell only where it is still the one; whoever invalidates removes the cell and with it the right to fill,
so that what was read before an invalidation is never stored after it. That is the fence, and all of the consistency of
this level.

The generators decide, and yield what takes time (cluster/requests.py). A node that fails never raises: its answer says
so, the tier is told, and the next node of the ring's order is asked.

The one rule: whoever has the right to load gives it back, by filling or by `release`, on every way out.
"""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from .._base.errors import OriginBusy
from . import tags as tagging
from .asked import NOT_THERE, Asked, Entry, Got, Load, making
from .node import FENCED, HIT, LEASED, OK, UNAVAILABLE, YOURS, Answer, Found
from .requests import ALL, CALL, ENTER, NODE, PAUSE, SPAWN, Request, Steps
from .store import Store

FRESH, STALE, INVALID, NOTHING, TAKEN, FENCE, NOWHERE = range(7)  # what was seen under a key


class Seen(NamedTuple):
    """What lies under a key, on which node, and the cell's token.

    FRESH, STALE: `entry`. INVALID: a value that nobody may be served any more. TAKEN: somebody loads it, under the lease
    that `held` names. FENCE: somebody changes the original. NOWHERE: no node can be asked. tried: nodes that were asked
    before this one and did not answer.
    """

    kind: int
    node: str = ""
    token: Any = None
    entry: Entry | None = None
    age_s: float = 0.0
    tried: tuple[str, ...] = ()
    held: Any = None

    def may_fail(self, window_s: float) -> bool:
        """Whether it may be served when the load fails."""
        return window_s > 0 and self.serves(window_s)

    def serves(self, window_s: float) -> bool:
        """Whether it may be served, `window_s` seconds after it stopped being fresh."""
        if self.kind == STALE:
            return self.entry is not None and self.age_s < self.entry.soft_s + window_s
        return self.kind == FRESH


# ------------------------------------------------------------------ reading

def look(store: Store, asked: Asked, told: tuple[str, Answer] | None = None) -> Generator[Request, Any, Seen]:
    """Read one key, in one round trip (two when the entry has tags). told: who was asked already, and its answer."""
    tier = store.tier
    tried: list[str] = []
    while (node := tier.home(asked.owners, tried) if told is None else told[0]) is not None:
        answer = (yield NODE, (node, "read", ((asked.wire,),))) if told is None else told[1]
        told = None
        if answer[0] is UNAVAILABLE or answer[1][0].kind is UNAVAILABLE:
            tier.is_lost(node, answer if answer[0] is UNAVAILABLE else (UNAVAILABLE, answer[1][0].body))
            tried.append(node)
            continue
        seen = yield from judge(store, asked, node, answer[1][0])
        if seen.kind in (STALE, NOTHING, INVALID) and (other := tier.stand_in(asked.owners, node)) is not None:
            return (yield from _look_aside(store, asked, other, seen))
        return seen._replace(tried=tuple(tried)) if tried else seen
    return Seen(NOWHERE)


def judge(store: Store, asked: Asked, node: str, found: Found) -> Generator[Request, Any, Seen]:
    """What a node's answer to `read` means."""
    if found.kind is not HIT:
        return not_seen(node, found)
    entry = store.unseal(node, asked, found.body)
    if entry is None or (entry.tags and not (yield from tagging.are_valid(store.tier, (entry.tags,)))[0]):
        return Seen(INVALID, node, found.token)
    age_s = entry.age(store.tier.wall())
    if age_s >= entry.hard_s:
        return Seen(INVALID, node, found.token)
    return Seen(FRESH if age_s < entry.soft_s else STALE, node, found.token, entry, age_s)


def not_seen(node: str, found: Found) -> Seen:
    """The same for what is no value."""
    if found.kind is LEASED:
        return Seen(TAKEN, node, held=found.token)
    return Seen(FENCE if found.kind is FENCED else NOTHING, node)


def _look_aside(store: Store, asked: Asked, other: str, seen: Seen) -> Generator[Request, Any, Seen]:
    """A node that came back empty, or takes nothing: what was loaded instead lies on the next one for some seconds."""
    answer = yield NODE, (other, "read", ((asked.wire,),))
    if store.tier.is_lost(other, answer):
        return seen
    aside = yield from judge(store, asked, other, answer[1][0])
    return aside if aside.kind == FRESH or (aside.kind == STALE and seen.kind != STALE) else seen


def _served(seen: Seen) -> tuple[Entry, float]:
    assert seen.entry is not None
    return seen.entry, seen.age_s


def read(store: Store, asked: Asked, told: tuple[str, Answer] | None = None) -> Generator[Request, Any, Seen]:
    """`look` for somebody who only reads: a hot key on any node that has a copy."""
    return look(store, asked, told) if store.look is None else store.look(store, asked)


def get(store: Store, asked: Asked, told: tuple[str, Answer] | None = None) -> Generator[Request, Any, Got]:
    """What is stored and may be served, without loading; NOT_THERE when there is nothing."""
    seen = yield from read(store, asked, told)
    if seen.kind == FRESH or seen.serves(asked.swr):
        return store.take(*_served(seen))
    store.counts.add("misses")
    return NOT_THERE


# ------------------------------------------------------------------ loading

class Right(NamedTuple):
    """The right to load: to fill this cell on this node."""

    node: str
    token: Any


WAIT, AGAIN, ALONE = range(3)  # why there is no right: somebody has it; the cell changed; there is no place to fill


class Wait:
    """How long one caller waits for others who load a key. Whoever holds the lease has as long as it lasts, from when the
    caller first saw it: then he is gone, and an engine that keeps whole seconds, or whose clock stands still, is told so.
    Who takes the lease after him has as long again; after that the caller loads by himself."""

    __slots__ = ("held", "is_second", "since", "started")

    def __init__(self, started: float) -> None:
        self.started = self.since = started
        self.held: Any = None
        self.is_second = False

    def has_ended(self, store: Store, seen: Seen, now: float) -> bool:
        """Whether the lease that was seen has been there for longer than it may."""
        if seen.held is None:
            return False
        if seen.held != self.held:
            self.is_second = self.held is not None
            self.held, self.since = seen.held, now
        return now - self.since > store.tier.lease_s

    def is_over(self, store: Store, now: float) -> bool:
        """Whether the caller has waited enough."""
        return now - self.started > store.tier.patience_s + (store.tier.lease_s if self.is_second else 0.0)


def load(store: Store, asked: Asked, seen: Seen | None = None) -> Generator[Request, Any, Got]:
    """The value of a key: what is fresh, what somebody else loads, what is stale where that may be, or what the factory
    makes, by one caller of all processes. seen: what `look` found, if that is nothing to be served."""
    waits = False
    as_of = store.stopwatch()
    wait = Wait(as_of)
    if seen is None:
        seen = yield from (look if asked.anew else read)(store, asked)
    while True:
        if not asked.anew:
            if seen.kind == FRESH:
                if is_early(asked, seen):
                    yield from renew(store, asked, seen)
                return store.take(*_served(seen), as_of)
            if seen.serves(asked.swr):
                yield from renew(store, asked, seen)
                return store.take(*_served(seen), as_of)
        told = yield from _claim(store, asked, seen)
        if isinstance(told, Right):
            store.counts.add("misses")
            return (yield from _lead(store, asked, told, seen, as_of))
        now = store.stopwatch()
        if told == ALONE or wait.is_over(store, now) or asked.wire in making.get():  # who waits for himself waits long
            store.counts.add("misses")
            return (yield from _compute(store, asked, seen, as_of))
        if told == WAIT:
            if not waits:
                waits = True
                store.counts.add("waited")
            has_ended = wait.has_ended(store, seen, now)
            if has_ended:
                yield from let_go(store, asked, Right(seen.node, seen.held))
            yield PAUSE, pause(0.0 if has_ended else now - wait.since)
        as_of = store.stopwatch()
        seen = yield from look(store, asked)


def is_early(asked: Asked, seen: Seen) -> bool:
    """Whether it is this caller who renews what is fresh yet (_base/early.py)."""
    return bool(asked.gap) and seen.entry is not None and seen.entry.soft_s - seen.age_s <= asked.gap * seen.entry.cost_s


def pause(waited_s: float) -> float:
    """How long to sleep until the next look, in seconds: a fiftieth of what was waited, from 2 to 25 ms: nobody waits for
    much longer than a load takes, and a load of half a second is looked at 130 times by each process."""
    return min(max(0.002, waited_s / 50), 0.025)


def ask_right(store: Store, asked: Asked, node: str, token: Any = None) -> Generator[Request, Any, Answer | None]:
    """A node's answer to a lease, or with a token to a claim; None when it is lost. Who is cancelled before it comes does not
    know whether the right is his: it is taken back."""
    tier, wires = store.tier, (asked.wire,)
    try:
        answer = yield NODE, ((node, "lease", (asked.wire, tier.lease_ms)) if token is None else
                              (node, "claim", (asked.wire, token, tier.lease_ms)))
    except BaseException:
        tier.left(node, wires)
        raise
    return None if tier.is_lost(node, answer, leaves=wires) else answer


def _claim(store: Store, asked: Asked, seen: Seen) -> Generator[Request, Any, "Right | int"]:
    """Ask for the right to load: a claim on what lies there, or a lease where nothing lies."""
    tier = store.tier
    if seen.kind == FENCE or seen.kind == NOWHERE:
        return ALONE
    if seen.kind == TAKEN:
        return WAIT
    if seen.token is not None and tier.takes_writes(seen.node):
        answer = yield from ask_right(store, asked, seen.node, seen.token)
        if answer is None:
            return AGAIN
        return Right(seen.node, answer[1]) if answer[0] is YOURS else WAIT if answer[0] is LEASED else AGAIN
    tried = list(seen.tried)  # one that was too slow just now is not waited for a second time
    while (node := tier.home(asked.owners, tried, writes=True)) is not None:
        answer = yield from ask_right(store, asked, node)
        if answer is None:
            tried.append(node)
            continue
        if answer[0] is YOURS:
            return Right(node, answer[1])
        return ALONE if answer[0] is FENCED else WAIT if answer[0] is LEASED else AGAIN
    return ALONE


def _lead(store: Store, asked: Asked, right: Right, seen: Seen, as_of: float, *,
          behind: bool = False) -> Generator[Request, Any, Got]:
    """Call the factory and fill the cell; let go of it on every other way out. behind: nobody waits for this.

    A cell that could be filled, or let go, is still the one that the load began with: until then nobody invalidated, and
    what was loaded is as new as that moment.
    """
    is_over, got, begun = False, NOT_THERE, store.stopwatch()
    try:
        epoch = store.tier.epoch(right.node)  # before: a clear() meanwhile makes it worth nothing
        store.tier.loading(right.node)
        before = (yield from tagging.versions(store.tier, asked.tags)) if asked.tags else {}
        marked = (yield from tagging.marks(store.tier)) if asked.maker.wants_context else {}
        made = Load(asked.key, asked.wire, store.old(asked, seen.entry))
        try:
            yield from call(store, asked.maker, [made], waits=not behind and not seen.may_fail(asked.sie))
        except Exception:
            if behind or not seen.may_fail(asked.sie):
                raise
            got = store.take(*_served(seen), as_of)
            return got
        words = store.words(asked, made, () if seen.entry is None else seen.entry.tags)
        got = Got(made.value, words.soft_s, words.tags, False, begun)
        pairs = (yield from tagging.pairs_of(store.tier, words.tags, before, marked)) if words.is_stored else None
        sealed = None if pairs is None else store.seal(right.node, asked, made.value, words, pairs, made.cost_s, epoch)
        as_of = store.stopwatch()
        if sealed is not None:
            answer = yield NODE, (right.node, "fill", (asked.wire, right.token, *sealed))
            is_over = not store.tier.is_lost(right.node, answer)
            store.filled(answer[0])
            if asked.anew and store.tier.replicas > 1:
                yield from drop_copies(store, asked, right.node)
            if answer[0] is OK and (not pairs or (yield from tagging.are_valid(store.tier, (pairs,)))[0]):
                got = got._replace(may_keep=True, as_of=as_of)
        else:
            is_over = True
            store.counts.add("unstored")
            if (yield from let_go(store, asked, right)) and not words.tags:
                got = got._replace(as_of=as_of)
        return got
    except GeneratorExit:  # the loop that drove this is gone: the lease ends by itself
        is_over = True
        raise
    finally:
        if not is_over:
            yield from let_go(store, asked, right)


def drop_copies(store: Store, asked: Asked, holder: str) -> Steps:
    """What lies on `holder` is newer than its copies (cluster/hot.py): delete them."""
    tier = store.tier
    nodes = [node for node in asked.owners[:tier.replicas] if node != holder]
    up = [node for node in nodes if tier.is_up(node)]
    answers = yield ALL, [(node, "delete", ([asked.wire],)) for node in up]
    lost = [node for node, answer in zip(up, answers, strict=True) if tier.is_lost(node, answer, writes=True)]
    for node in (*lost, *(node for node in nodes if node not in up)):
        tier.missed(node, keys=[asked.wire])


def let_go(store: Store, asked: Asked, right: Right) -> Generator[Request, Any, bool]:
    """Give the right back; whether it still was there."""
    answer = yield NODE, (right.node, "release", (asked.wire, right.token))
    return not store.tier.is_lost(right.node, answer, leaves=(asked.wire,)) and answer[0] is OK


def compute(store: Store, asked: Asked) -> Generator[Request, Any, Got]:
    """Load what nobody else may be waited for, and store nothing: a factory asks for what it is making itself."""
    return (yield from _compute(store, asked, Seen(NOWHERE), 0.0))


def _compute(store: Store, asked: Asked, seen: Seen, as_of: float) -> Generator[Request, Any, Got]:
    """Load where nothing can be stored: no node can be asked, a writer is at work, or who held the lease is gone."""
    made, begun = Load(asked.key, asked.wire, store.old(asked, seen.entry)), store.stopwatch()
    try:
        yield from call(store, asked.maker, [made], waits=not seen.may_fail(asked.sie))
    except Exception:
        if not seen.may_fail(asked.sie):
            raise
        return store.take(*_served(seen), as_of)
    store.counts.add("unstored")
    words = store.words(asked, made, () if seen.entry is None else seen.entry.tags)
    return Got(made.value, words.soft_s, words.tags, False, begun)


def renew(store: Store, asked: Asked, seen: Seen) -> Steps:
    """Load in the background what is served meanwhile: one of all processes does."""
    told = yield from _claim(store, asked, seen)
    if not isinstance(told, Right):
        return
    taken = False
    try:
        taken = yield SPAWN, _lead(store, asked, told, seen._replace(kind=INVALID), 0.0, behind=True)
    finally:
        if not taken:
            yield from let_go(store, asked, told)
        elif seen.kind == FRESH:
            store.counts.add("early")


def call(store: Store, maker: Any, loads: Sequence[Load], *, waits: bool) -> Steps:
    """Call the factory, within the origin's budget; each load says what it returned and how long it took."""
    permit = None
    if store.gate is not None:
        try:
            permit = yield ENTER, waits
        except OriginBusy:
            store.counts.add("refused")
            raise
    error: BaseException | None = None
    begun = store.stopwatch()
    try:
        values = yield CALL, (maker, loads)
    except Exception as raised:
        error = raised
        store.counts.add("failures")
        raise
    except BaseException as raised:  # cancelled, interrupted: that is not about the origin
        error = raised
        raise
    finally:
        took_s = store.stopwatch() - begun
        store.counts.loaded(took_s)
        if permit is not None:
            permit.leave(error)
    for load, value in zip(loads, values, strict=True):
        load.value, load.cost_s = value, took_s / len(loads)
