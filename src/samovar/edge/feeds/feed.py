"""`Feed`: timelines made ahead of time for most, and at read for the followers of the few whom millions follow.

`push` copies an ordinary author's item to every follower's timeline; an item of an author above the threshold stays in the
author's outbox, and pages of followers fetch it. So no push has millions of steps, and no page asks a thousand authors.

The one rule: what a page says is what the outboxes of those who are followed say at that moment (within the newest
`length`); timelines only make it fast.
"""

from collections.abc import Iterable
from typing import Any

from ..._base.clock import wall
from ..._base.freshness import Duration, seconds
from ...cluster.drive import arun, run
from .local import LocalFeed, checked_number
from .rules import (
    LENGTH,
    LIMIT,
    THRESHOLD,
    FeedItem,
    FeedPage,
    FeedStats,
    Name,
    Place,
    Rank,
    checked_bounds,
    checked_limit,
    checked_name,
    checked_names,
    checked_score,
    ranked,
    read,
    written,
)


class Feed:
    """Timelines: each reader sees the newest items of all authors whom the reader follows, a page at a time.

    In process by default, safe in threads; over a Redis, for any number of processes, where `where` says one. Items,
    authors and readers are str or int; an author and a reader of the same name are two things. An item's place is its
    score, and of equal scores the one that was pushed later comes first.

    where: None: in this process. A Redis URL, or a client of redis-py's (blocking or asyncio), as RedisNode takes.
    aclient: a client of redis.asyncio beside a blocking one.
    length: a feed holds at least its newest `length` items; older ones may be shown where they are known, without a gap.
    outbox: items kept of each author; pushing more lets the oldest go, everywhere. At least `length`; by default 1000.
    threshold: authors with more followers are not copied to them. Or "heat": measured from how often an author posts and
        how often those items are looked at.
    rank: rank(item, now) -> anything that compares; the highest first. It orders the items of one page among themselves:
        which items are on a page, and the cursor, are the feed's. now: seconds since 1970, of `clock`.
    numbered: in process only: authors and readers are ints from 0 up, dense, and stand for themselves; no names are kept.
    namespace: on Redis, what the names of all keys begin with; one slot of a Redis Cluster.
    lease: on Redis, how long a worker that does not move on with copying is trusted to be alive.
    timeout: on Redis by URL, for connecting and for each answer.

    Raises TypeError and ValueError for arguments; MissingExtra without samovar[redis], for a URL. On Redis every verb may
    raise FeedUnavailable, which is a ConnectionError: then it can be repeated. All processes must give the same bounds.

    >>> from samovar import Feed
    >>> feed = Feed(threshold=1000)
    >>> feed.follow("ann", "tea-house"), feed.push("tea-house", "first flush", 1.0), feed.push("tea-house", "oolong", 2.0)
    (True, True, True)
    >>> page = feed.page("ann", limit=1)
    >>> page.items
    [FeedItem(item='oolong', author='tea-house', score=2.0)]
    >>> feed.push("tea-house", "matcha", 3.0)
    True
    >>> [entry.item for entry in feed.page("ann", page.cursor).items]
    ['first flush']
    """

    def __init__(
        self, where: Any = None, *, aclient: Any = None, length: int = LENGTH, outbox: int | None = None,
        threshold: int | str = THRESHOLD, rank: Rank | None = None, numbered: bool = False, namespace: str = "feed",
        lease: Duration = 10.0, timeout: Duration = 1.0, clock: Any = wall,
    ) -> None:
        bounds = checked_bounds(length, outbox, threshold)
        if rank is not None and not callable(rank):
            raise TypeError(f"Feed: rank must be callable, not {rank!r}")
        lease_ms = round(seconds(lease, "Feed: lease", positive=True) * 1000)
        if not 1 <= lease_ms <= 3_600_000:
            raise ValueError(f"Feed: lease must be from a millisecond to an hour, not {lease!r}")
        if type(namespace) is not str or not namespace or not namespace.isascii() or not namespace.isprintable() or (
                set(namespace) & set("{} ")):
            raise ValueError(f"Feed: namespace must be printable ASCII without spaces and braces, not {namespace!r}")
        self._rank, self._clock, self._person = rank, clock, checked_number if numbered else checked_name
        self._local: LocalFeed | None = None
        if where is None:
            self._local = LocalFeed(bounds, numbered)
            return
        if numbered:
            raise ValueError("Feed: numbered is for feeds in this process")
        from ...cluster.redis import RedisNode
        from .redis import RedisFeed

        name = None if isinstance(where, str) else namespace
        node = RedisNode(where, aclient=aclient, name=name, timeout=timeout)
        self._shared = RedisFeed(node, namespace, bounds, lease_ms)

    def close(self) -> None:
        """Let go of connections to Redis by URL; in process, nothing."""
        if self._local is None:
            self._shared.close()

    async def aclose(self) -> None:
        """The same, awaited."""
        if self._local is None:
            await self._shared.aclose()

    # ---------------------------------------------------------------- pushing

    def push(self, author: Name, item: Name, score: float) -> bool:
        """Post an item, for all followers at once. Whether anything changed.

        score: finite; an int must be one that a float can say (up to 2**53 all are: seconds, not nanoseconds).
        An item that is there already with this score stays as it is: a push may be repeated. With another score it takes
        its new place. When the author's outbox is full, the oldest goes: if that is this one, nothing changes.
        Raises ValueError when the item is another author's.
        O(followers) up to the threshold, O(1) in followers above it.
        """
        words = self._person(author, "author"), checked_name(item, "item"), checked_score(score)
        return run(self._shared.push(*words)) if self._local is None else self._local.push(*words)

    async def apush(self, author: Name, item: Name, score: float) -> bool:
        """push, awaited. On Redis a cancelled one is finished by whoever pushes next, once its lease is over."""
        words = self._person(author, "author"), checked_name(item, "item"), checked_score(score)
        return await arun(self._shared.push(*words)) if self._local is None else self._local.push(*words)

    def delete(self, item: Name) -> bool:
        """Take an item out of every feed at once. Whether it was there. It can be pushed again."""
        checked_name(item, "item")
        return run(self._shared.delete(item)) if self._local is None else self._local.delete(item)

    async def adelete(self, item: Name) -> bool:
        """delete, awaited."""
        checked_name(item, "item")
        return await arun(self._shared.delete(item)) if self._local is None else self._local.delete(item)

    # ---------------------------------------------------------------- reading

    def page(self, user: Name, cursor: str | None = None, limit: int = LIMIT) -> FeedPage:
        """The next items of a user's feed, newest first, and the cursor to go on from: None at the end.

        cursor: of the page before; None for the first. It is a place in the feed, so that items that arrive meanwhile
            are on no later page, and one that was deleted is on none.
        limit: 1 to 10,000. Raises ValueError for a cursor that no page gave.
        One round trip on Redis. O(limit x log authors that are fetched + follows).
        """
        words = self._person(user, "user"), read(cursor), checked_limit(limit)
        return self._page(limit, *(run(self._shared.page(*words)) if self._local is None else self._local.page(*words)))

    async def apage(self, user: Name, cursor: str | None = None, limit: int = LIMIT) -> FeedPage:
        """page, awaited."""
        words = self._person(user, "user"), read(cursor), checked_limit(limit)
        found = await arun(self._shared.page(*words)) if self._local is None else self._local.page(*words)
        return self._page(limit, *found)

    def _page(self, limit: int, items: list[FeedItem], place: Place) -> FeedPage:
        cursor = written(place) if len(items) == limit else None
        return FeedPage(items if self._rank is None else ranked(items, self._rank, self._clock()), cursor)

    def rebuild(self, user: Name) -> None:
        """Make a user's timeline anew from the outboxes. Nothing that a page says changes: pages do it by themselves when
        deletions left a timeline too short. O(follows)."""
        self._person(user, "user")
        if self._local is None:
            run(self._shared.rebuild(user))
        else:
            self._local.rebuild(user)

    async def arebuild(self, user: Name) -> None:
        """rebuild, awaited."""
        self._person(user, "user")
        if self._local is None:
            await arun(self._shared.rebuild(user))
        else:
            self._local.rebuild(user)

    # ---------------------------------------------------------------- following

    def follow(self, user: Name, author: Name) -> bool:
        """From now on the author's items, those that are there included, are in the user's feed. Whether that is new."""
        words = self._person(user, "user"), self._person(author, "author")
        return run(self._shared.follow(*words)) if self._local is None else self._local.follow(*words)

    async def afollow(self, user: Name, author: Name) -> bool:
        """follow, awaited."""
        words = self._person(user, "user"), self._person(author, "author")
        return await arun(self._shared.follow(*words)) if self._local is None else self._local.follow(*words)

    def follow_many(self, author: Name, users: Iterable[Name]) -> int:
        """Let many users follow one author: how many did not yet. A numbered feed takes an array("I") quickly.

        An error in the middle (memory, Redis) leaves those before as followers: it can be repeated.
        """
        self._person(author, "author")
        if self._local is None:
            return run(self._shared.follow_many(author, checked_names(users, "users")))
        if self._person is checked_number and not hasattr(users, "typecode"):
            users = [checked_number(user, "users") for user in users]
        return self._local.follow_many(author, users)

    async def afollow_many(self, author: Name, users: Iterable[Name]) -> int:
        """follow_many, awaited."""
        if self._local is not None:
            return self.follow_many(author, users)
        self._person(author, "author")
        return await arun(self._shared.follow_many(author, checked_names(users, "users")))

    def unfollow(self, user: Name, author: Name) -> bool:
        """The author's items leave the user's feed at once. Whether the author was followed."""
        words = self._person(user, "user"), self._person(author, "author")
        return run(self._shared.unfollow(*words)) if self._local is None else self._local.unfollow(*words)

    async def aunfollow(self, user: Name, author: Name) -> bool:
        """unfollow, awaited."""
        words = self._person(user, "user"), self._person(author, "author")
        return await arun(self._shared.unfollow(*words)) if self._local is None else self._local.unfollow(*words)

    def follows(self, user: Name, author: Name) -> bool:
        """Whether the user follows the author."""
        words = self._person(user, "user"), self._person(author, "author")
        return run(self._shared.follows(*words)) if self._local is None else self._local.follows(*words)

    async def afollows(self, user: Name, author: Name) -> bool:
        """follows, awaited."""
        words = self._person(user, "user"), self._person(author, "author")
        return await arun(self._shared.follows(*words)) if self._local is None else self._local.follows(*words)

    def followers(self, author: Name) -> int:
        """How many follow the author. O(1)."""
        self._person(author, "author")
        return run(self._shared.followers(author)) if self._local is None else self._local.followers(author)

    async def afollowers(self, author: Name) -> int:
        """followers, awaited."""
        self._person(author, "author")
        return await arun(self._shared.followers(author)) if self._local is None else self._local.followers(author)

    # ---------------------------------------------------------------- upkeep

    def recover(self) -> int:
        """Finish what a worker that was killed, or a thread that was interrupted, began to copy: how many items. Readers see
        them before that too; every push does a part of it by itself."""
        return run(self._shared.recover()) if self._local is None else self._local.recover()

    async def arecover(self) -> int:
        """recover, awaited."""
        return await arun(self._shared.recover()) if self._local is None else self._local.recover()

    def stats(self) -> FeedStats:
        """What the feed holds, and what it did so far. O(authors + readers) in process."""
        return run(self._shared.stats()) if self._local is None else self._local.stats()

    async def astats(self) -> FeedStats:
        """stats, awaited."""
        return await arun(self._shared.stats()) if self._local is None else self._local.stats()
