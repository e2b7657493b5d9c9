"""Tags by versions: an entry carries the versions of its tags, and invalidating a tag is one step of a counter.

A tag is counted on two nodes, the first two of its ring order, each with numbers of its own; an entry carries both, and is
checked against the one that answers. So one of them may fail and what carries the tag stays readable; where neither can
be asked it is not served. A number is mixed with its node's epoch: a counter that came back from an old snapshot equals
nothing that was handed out before.

A factory may name tags when it returns, which nobody knew before it began. What was invalidated meanwhile is then seen by
the node's *mark*, a counter that every invalidation on this node moves: when it stands still, no tag on it was touched.
"""

from collections.abc import Generator, Iterable, Sequence
from typing import Any, TypeAlias

from . import admission
from .requests import ALL, Request
from .tier import Tier

_MASK = (1 << 62) - 1
_ODD = 0x9E3779B97F4A7C15  # 2**64 / golden ratio (Knuth, The Art of Computer Programming 3, 6.4): spreads the epochs
PLACES = 2
LONGEST_TAG = 254  # bytes; with its place before it, what an envelope carries

Pair: TypeAlias = tuple[str, int]  # the place, "0" or "1", and the tag; its version there
Steps: TypeAlias = Generator[Request, Any, Any]


def _mixed(tier: Tier, node: str, count: int) -> int:
    return (count + tier.epoch(node) * _ODD) & _MASK


def _counted(tier: Tier, wanted: dict[str, list[str]]) -> Generator[Request, Any, dict[tuple[str, str], int]]:
    """{(node, counter): version} for {node: counters}; what cannot be asked is left out. One round trip."""
    wanted = {node: names for node, names in wanted.items() if names and tier.is_up(node)}
    answers = yield ALL, [(node, "versions", (names,)) for node, names in wanted.items()]
    found: dict[tuple[str, str], int] = {}
    for (node, names), answer in zip(wanted.items(), answers, strict=True):
        if not tier.is_lost(node, answer):
            found.update({(node, name): _mixed(tier, node, count) for name, count in zip(names, answer[1], strict=True)})
    return found


def _places(tier: Tier, tag: str) -> tuple[str, ...]:
    return tier.owners(tier.tag_wire(tag))[:PLACES]


def versions(tier: Tier, tags: Iterable[str]) -> Generator[Request, Any, dict[str, list[Pair]]]:
    """The pairs that an entry with these tags carries; a tag without any cannot be vouched for."""
    given = tuple(dict.fromkeys(tags))
    wanted: dict[str, list[str]] = {}
    for tag in given:
        for node in _places(tier, tag):
            wanted.setdefault(node, []).append(tier.tag_wire(tag))
    found = yield from _counted(tier, wanted)
    return {
        tag: [(f"{place}{tag}", found[node, wire]) for place, node in enumerate(_places(tier, tag))
              if (node, wire := tier.tag_wire(tag)) in found]
        for tag in given
    }


def are_valid(tier: Tier, carried: Sequence[Sequence[Pair]]) -> Generator[Request, Any, list[bool]]:
    """Whether entries that carry these pairs are untouched. Their tags are read from the first place that answers."""
    left = {pair[1:] for pairs in carried for pair, _ in pairs}
    now: dict[str, int] = {}
    for place in range(PLACES):
        wanted: dict[str, list[str]] = {}
        for tag in left:
            places = _places(tier, tag)
            if place < len(places):
                wanted.setdefault(places[place], []).append(tier.tag_wire(tag))
        found = yield from _counted(tier, wanted)
        for tag in tuple(left):
            places = _places(tier, tag)
            if place < len(places) and (places[place], tier.tag_wire(tag)) in found:
                now[f"{place}{tag}"] = found[places[place], tier.tag_wire(tag)]
                left.discard(tag)
        if not left:
            break
    return [_is_valid(pairs, now) for pairs in carried]


def _is_valid(pairs: Sequence[Pair], now: dict[str, int]) -> bool:
    tags = {pair[1:] for pair, _ in pairs}
    seen = {pair[1:] for pair, version in pairs if now.get(pair) == version}
    return tags == seen


def marks(tier: Tier) -> Generator[Request, Any, dict[str, int]]:
    """Every node's mark: {node: version}."""
    found = yield from _counted(tier, {node: [tier.mark_wire] for node in tier.nodes})
    return {node: version for (node, _), version in found.items()}


def pairs_of(tier: Tier, tags: Iterable[str], before: dict[str, list[Pair]],
             marked: dict[str, int]) -> Generator[Request, Any, list[Pair] | None]:
    """The pairs for an entry whose factory named these tags; None when one of them may have been invalidated since it
    began. before: what `versions` said then. marked: what `marks` said then."""
    new = [tag for tag in dict.fromkeys(tags) if tag not in before]
    pairs = [pair for tag in dict.fromkeys(tags) if tag in before for pair in before[tag]]
    if new:
        now = yield from versions(tier, new)  # first: an invalidation after this is seen by the reader
        still = yield from marks(tier)
        for tag in new:
            places = _places(tier, tag)
            sure = [pair for pair in now[tag] if _stood_still(places[int(pair[0][0])], marked, still)]
            pairs.extend(sure)
            now[tag] = sure
        before = {**before, **now}
    return pairs if all(before[tag] for tag in dict.fromkeys(tags)) else None


def _stood_still(node: str, before: dict[str, int], after: dict[str, int]) -> bool:
    return node in before and before[node] == after.get(node)


def invalidate(tier: Tier, tags: Iterable[str]) -> Steps:
    """Move the counters of these tags, and their nodes' marks, on both places."""
    wanted: dict[str, list[str]] = {}
    for tag in dict.fromkeys(tags):
        for node in _places(tier, tag):
            wanted.setdefault(node, []).append(tier.tag_wire(tag))
    for names in wanted.values():
        names.append(tier.mark_wire)
    up = [node for node in wanted if tier.is_up(node)]
    answers = yield ALL, [(node, "bump", (wanted[node],)) for node in up]
    lost = [node for node in wanted if node not in up]
    lost += [node for node, answer in zip(up, answers, strict=True) if tier.is_lost(node, answer, writes=True)]
    for node in lost:
        yield from admission.note(tier, node, tags=wanted[node])
