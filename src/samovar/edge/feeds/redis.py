"""Feeds that many processes share, on Redis or Valkey. scripts.py says what is kept, and decides in one step each; this
room says in which order the steps are asked for, as generators that feeds.py drives, blocking or in asyncio.

    a worker that pushes                                   what a reader sees
    1 asks how many follow, and how hot the author is      nothing
    2 outbox and journal, in one step; or outbox           the item, fetched from the journal
      and all copies, where there are no more than 200;
      the oldest in the journal first, where it is full
    3 copies to 200 followers, as often as it takes        the item, once
    4 the last copies, and out of the journal              the item, from the timeline

A worker that dies between two of them leaves the journal; whoever pushes, or calls `recover`, after its lease goes on
where it was.
"""

import math
from collections.abc import Generator, Iterable, Sequence
from typing import Any, TypeVar

from ..._base.errors import SamovarError
from ...cluster.node import Fault, Steps
from ...cluster.redis import RedisNode
from ...cluster.resp import Command, Refused
from ...cluster.scripts import Script
from . import scripts as scripts
from .rules import UNDER_WAY, Bounds, FeedItem, FeedStats, Name, Place, is_kept

_T = TypeVar("_T")
Asking = Generator[Any, Any, _T]

AT_ONCE = 200  # followers that get a copy in one step: Redis does nothing else meanwhile, for about a millisecond
STEPS = 8  # of those in one round trip
LATELY = 32  # posts, as in the native core
SAMPLE = 16  # one page in so many is counted, as so many, where heat decides


class FeedUnavailable(SamovarError, ConnectionError):
    """Redis did not answer, or refused. What was asked for may have happened: it can be asked for again, and a repeated
    push, follow or delete does nothing more."""


def encoded(name: Name) -> bytes:
    return b"i%d" % name if type(name) is int else b"s" + str(name).encode()


def decoded(data: bytes) -> Name:
    return int(data[1:]) if data[:1] == b"i" else data[1:].decode()


def entry_of(member: bytes, score: bytes) -> FeedItem:
    """What a member says (scripts.py)."""
    digits, _, rest = member[13:].partition(b":")
    length = int(digits)
    return FeedItem(decoded(rest[length:]), decoded(rest[:length]), float(score))


class RedisFeed:
    """The verbs of Feed, whose arguments were checked, as generators. Safe in threads and event loops."""

    def __init__(self, node: RedisNode, namespace: str, bounds: Bounds, lease_ms: int) -> None:
        self._node, self._bounds, self._lease_ms = node, bounds, lease_ms
        self._start = f"{{{namespace}}}:"
        self._pages = 0
        self._at_once, self._under_way = AT_ONCE, UNDER_WAY

    def close(self) -> None:
        self._node.close()

    async def aclose(self) -> None:
        await self._node.aclose()

    # ---------------------------------------------------------------- asking

    def _key(self, what: str, whose: bytes = b"") -> bytes:
        return self._start.encode() + what.encode() + whose

    def _checked(self, replies: Any) -> Any:
        if type(replies) is not Fault:
            faults = [reply for reply in replies if isinstance(reply, Refused | Fault)]
            if not faults:
                return replies
            replies = faults[0]
        fault = replies.fault() if isinstance(replies, Refused) else replies
        if fault.reason == "restarted":  # another run of the engine: what it holds is what there is
            self._node._line.take_any_run()
            return None
        raise FeedUnavailable(f"the feed's Redis {self._node.name!r}: {fault.reason} ({fault.text})")

    def _run(self, script: Script, calls: Sequence[Command]) -> Asking[list[Any]]:
        whole = [(1, self._start, self._bounds.length, *call) for call in calls]
        for _ in range(3):
            replies = self._checked((yield from self._node._scripts(script, whole)))
            if replies is not None:
                return list(replies)
        raise FeedUnavailable(f"the feed's Redis {self._node.name!r} is restarted all the time")

    def _one(self, script: Script, *call: Any) -> Asking[Any]:
        replies = yield from self._run(script, [call])
        return replies[0]

    def _plain(self, commands: Sequence[Command]) -> Asking[list[Any]]:
        for _ in range(3):
            replies = self._checked((yield self._node, commands))
            if replies is not None:
                return list(replies)
        raise FeedUnavailable(f"the feed's Redis {self._node.name!r} is restarted all the time")

    # ---------------------------------------------------------------- verbs

    def push(self, author: Name, item: Name, score: float) -> Steps[bool]:
        whose, bounds = encoded(author), self._bounds
        count, (was, posts, views) = yield from self._plain(
            [("ZCARD", self._key("followers|", whose)), ("HMGET", self._key("heat|", whose), "k", "p", "v")])
        kept = is_kept(bounds.threshold, count, int(posts or 0), int(views or 0), was == b"1")
        while True:
            done, member, left = yield from self._one(
                scripts.PUSH, bounds.outbox, whose, encoded(item), repr(score), int(kept), self._lease_ms, LATELY,
                self._at_once, self._under_way)
            if done == 2:
                raise ValueError(f"item {item!r} is of another author")
            yield from self._deliver([one for one in (member, left) if one])
            if done != 3:
                return bool(done)

    def _deliver(self, members: Sequence[bytes]) -> Asking[None]:
        for member in members:
            steps: list[Command] = [(member, self._at_once, self._lease_ms)]
            while all((yield from self._run(scripts.DELIVER, steps))):
                steps = steps[:1] * min(STEPS, 2 * len(steps))

    def page(self, reader: Name, place: Place, limit: int) -> Steps[tuple[list[FeedItem], Place]]:
        top, order = ("+inf", "") if place.score == math.inf else (repr(place.score), f"{place.order:013x}")
        self._pages += 1
        views = SAMPLE if self._bounds.threshold is None and self._pages % SAMPLE == 0 else 0
        rows = yield from self._one(scripts.PAGE, encoded(reader), top, order, limit, views)
        found = [entry_of(*pair) for pair in zip(rows[::2], rows[1::2], strict=True)]
        return found, Place(found[-1].score, int(rows[-2][:13], 16)) if found else place

    def follow(self, reader: Name, author: Name) -> Steps[bool]:
        return bool((yield from self._one(scripts.FOLLOW, encoded(reader), encoded(author))))

    def follow_many(self, author: Name, readers: Iterable[Name]) -> Steps[int]:
        calls = [(encoded(reader), encoded(author)) for reader in readers]
        new = 0
        for at in range(0, len(calls), AT_ONCE):
            new += sum((yield from self._run(scripts.FOLLOW, calls[at:at + AT_ONCE])))
        return new

    def unfollow(self, reader: Name, author: Name) -> Steps[bool]:
        return bool((yield from self._one(scripts.UNFOLLOW, encoded(reader), encoded(author))))

    def delete(self, item: Name) -> Steps[bool]:
        return bool((yield from self._one(scripts.DELETE, encoded(item))))

    def rebuild(self, reader: Name) -> Steps[None]:
        yield from self._one(scripts.REBUILD, encoded(reader))

    def recover(self) -> Steps[int]:
        count = 0
        while members := (yield from self._one(scripts.LEFT, self._lease_ms)):
            yield from self._deliver(members)
            count += len(members)
        return count

    def followers(self, author: Name) -> Steps[int]:
        return int((yield from self._plain([("ZCARD", self._key("followers|", encoded(author)))]))[0])

    def follows(self, reader: Name, author: Name) -> Steps[bool]:
        return bool((yield from self._plain([("SISMEMBER", self._key("follows|", encoded(reader)), encoded(author))]))[0])

    def stats(self) -> Steps[FeedStats]:
        items, pending, delivered, rebuilt = yield from self._plain(
            [("HLEN", self._key("items")), ("ZCARD", self._key("journal")), ("GET", self._key("delivered")),
             ("GET", self._key("rebuilt"))])
        return FeedStats(-1, -1, items, int(delivered or 0), int(rebuilt or 0), pending, -1)
