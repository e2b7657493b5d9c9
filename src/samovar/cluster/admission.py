"""How a node is taken in, at the start and again after it was away, so that nothing is read from it that is wrong by now.

    1. it answers, as often in a row as its breaker wants
    2. the name of the engine's run is read. A run that nobody has seen to yet was started again: empty, or with what it
       held earlier (a snapshot), and everything on it is forgotten: its epoch moves, once for all processes
    3. what it did not hear while it was away, by this process or another, it is told now
    4. it may be asked

Whoever misses something notes it on the nodes that are up (`note`), so that a process that knows of nothing is told.
What was missed by too many to note moves the epoch instead.
"""

from collections.abc import Generator, Sequence
from typing import Any

from .node import HIT, OK, TOO_MANY, YOURS
from .requests import ALL, NODE, PAUSE, Request, Steps
from .tier import MISSED, Missed, Tier

POLL_S = 0.5  # how often the epochs of nodes are read: who calls clear() elsewhere is heard of so soon
NOTED_MS = 600_000  # how long notes are kept; who was away for longer begins a new epoch
RUN_MS = 30 * 86_400_000
MARK_MS, MARK_TRIES, MARK_PAUSE_S = 1_000, 200, 0.01  # who marks a run, and how the others wait for it
KEY, TAG, ALL_OF_IT = b"k", b"t", b"*"
_BATCH = 500


def run_wire(tier: Tier) -> str:
    return tier.own_wire("run")


def note_wire(tier: Tier, node: str) -> str:
    return tier.own_wire(f"missed {node}")


def note(tier: Tier, node: str, *, keys: Sequence[str] = (), tags: Sequence[str] = (),
         everything: bool = False) -> Steps:
    """A node did not hear of these changes: remember it, here and on those that are up."""
    if everything:
        tier.missed_all(node)
    else:
        tier.missed(node, keys=keys, tags=tags)
    items = [KEY + key.encode() for key in keys] + [TAG + tag.encode() for tag in tags] + [ALL_OF_IT] * everything
    others = [other for other in tier.nodes if other != node and tier.takes_writes(other)]
    answers = yield ALL, [(other, "note", (note_wire(tier, node), items, MISSED, NOTED_MS)) for other in others]
    for other, answer in zip(others, answers, strict=True):
        tier.is_lost(other, answer)


def _noted(tier: Tier, node: str) -> Generator[Request, Any, Missed]:
    """What others noted about a node and it was not told by this process yet."""
    others = [other for other in tier.nodes if other != node and tier.is_up(other)]
    answers = yield ALL, [(other, "noted", (note_wire(tier, node),)) for other in others]
    items: set[bytes] = set()
    for other, answer in zip(others, answers, strict=True):
        if not tier.is_lost(other, answer):
            items.update(answer[1])
    items = tier.heard(node, items)
    missed = Missed()
    missed.is_all = ALL_OF_IT in items or TOO_MANY in items
    missed.add([item[1:].decode("ascii", "replace") for item in items if item[:1] == KEY],
               [item[1:].decode("ascii", "replace") for item in items if item[:1] == TAG])
    return missed


def take_in(tier: Tier, node: str) -> Generator[Request, Any, bool]:
    """Take in a node that answers; whether it is in."""
    answer = yield NODE, (node, "epoch", (tier.namespace, True))
    if tier.is_lost(node, answer):
        return False
    run = answer[1][1]
    if not (yield from _is_seen_to(tier, node, run)):
        return False
    answer = yield NODE, (node, "epoch", (tier.namespace,))
    if tier.is_lost(node, answer) or answer[1][1] != run:
        return False
    tier.learn(node, *answer[1])
    return (yield from _bring_up_to_date(tier, node))


def _is_seen_to(tier: Tier, node: str, run: str) -> Generator[Request, Any, bool]:
    """Whether this run of the engine is marked as seen to, by whomever: one of all processes moves its epoch, and the
    others wait for the mark. It is a cell like any other."""
    wire = run_wire(tier)
    for _ in range(MARK_TRIES):
        answer = yield NODE, (node, "lease", (wire, MARK_MS))
        if tier.is_lost(node, answer):
            return False
        status, token = answer
        if status is HIT:
            if token.body == run.encode():
                return True
            status, token = yield NODE, (node, "claim", (wire, token.token, MARK_MS))
            if tier.is_lost(node, (status, token)):
                return False
        if status is YOURS:
            answer = yield NODE, (node, "bump_epoch", (tier.namespace,))
            if not tier.is_lost(node, answer):
                answer = yield NODE, (node, "fill", (wire, token, run.encode(), RUN_MS))
                if not tier.is_lost(node, answer):
                    continue
            yield NODE, (node, "release", (wire, token))
            return False  # it takes no writes, and holds what may be wrong
        yield PAUSE, MARK_PAUSE_S
    return False


def _bring_up_to_date(tier: Tier, node: str) -> Generator[Request, Any, bool]:
    tier.forget_heard(node)
    others = yield from _noted(tier, node)
    others.add(tier.take_left(node), ())
    others.is_all |= tier.away_s(node) * 1000 > NOTED_MS - 60_000
    while True:
        missed = tier.take_missed(node)
        missed.add(others.keys, others.tags)
        missed.is_all |= others.is_all
        if not (yield from _tell(tier, node, missed)):
            tier.give_back(node, missed)
            return False
        if tier.admit(node):
            return True
        others = Missed()


def _tell(tier: Tier, node: str, missed: Missed) -> Generator[Request, Any, bool]:
    """Tell a node what it missed; whether it heard all of it."""
    if missed.is_all:
        answer = yield NODE, (node, "bump_epoch", (tier.namespace,))
        if tier.is_lost(node, answer, writes=True):
            return False
        tier.learn(node, answer[1], tier.run(node) or "")
        return True
    for verb, names in (("delete", list(missed.keys)), ("bump", list(missed.tags))):
        for at in range(0, len(names), _BATCH):
            answer = yield NODE, (node, verb, (names[at:at + _BATCH],))
            if tier.is_lost(node, answer, writes=True):
                return False
    return True


def start(tier: Tier) -> Steps:
    """Take in all nodes that answer, before the first question; the others count as down."""
    for node in tuple(tier.unknown):
        if not (yield from take_in(tier, node)):
            tier.unknown.discard(node)
            tier.missed(node)


def look_after(tier: Tier) -> Steps:
    """One round of the prober: probe who is due, take in who is ready."""
    for node in tier.due():
        answer = yield NODE, (node, "probe", ())
        restarted = answer[0] is not OK and answer[1].reason == "restarted"
        if tier.probed(node, answers=answer[0] is OK or restarted, takes=restarted or (answer[0] is OK and answer[1])):
            yield from take_in(tier, node)


def sweep(tier: Tier, node: str) -> Steps:
    """Delete leases that nobody knows to be his."""
    keys = tier.take_left(node)
    for at in range(0, len(keys), _BATCH):
        answer = yield NODE, (node, "delete", (keys[at:at + _BATCH],))
        if tier.is_lost(node, answer):
            tier.left(node, keys[at:])
            return


def look_back(tier: Tier, node: str) -> Steps:
    """Tell a node that was taken in just now what others noted while it was: they may have found it gone for longer."""
    others = yield from _noted(tier, node)
    if others and not (yield from _tell(tier, node, others)):
        tier.give_back(node, others)
        tier.missed(node)


def poll(tier: Tier) -> Steps:
    """Read the epochs of all nodes that are up: who called clear() elsewhere, or which engine was started again."""
    for node in tier.news():
        yield from look_back(tier, node)
    yield from read_epochs(tier, [node for node in tier.nodes if tier.is_up(node)])


def read_epochs(tier: Tier, nodes: Sequence[str]) -> Steps:
    """Read the epochs of nodes that are up. One that was flushed, its epoch too, begins another."""
    answers = yield ALL, [(node, "epoch", (tier.namespace,)) for node in nodes]
    for node, answer in zip(nodes, answers, strict=True):
        if tier.is_lost(node, answer):
            continue
        epoch, run = answer[1]
        if run == tier.run(node):
            tier.learn(node, epoch, run)
        else:
            tier.missed(node)  # out, until it was seen to


def keep_watch(tier: Tier, is_over: Any) -> Steps:
    """The prober's life: until is_over() says so."""
    polled = tier.now()
    while not is_over():
        yield from look_after(tier)
        for node in tier.littered():
            yield from sweep(tier, node)
        if suspects := tier.suspects():
            yield from read_epochs(tier, suspects)
        if tier.now() - polled >= POLL_S:
            polled = tier.now()
            yield from poll(tier)
        tier.recount()
        yield PAUSE, tier.due_in(POLL_S)
