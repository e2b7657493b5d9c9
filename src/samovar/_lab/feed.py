"""Timelines: copy each post to every follower, or let every reader ask all authors, or both, each where it is cheap.

One network, whose authors' followers are spread by a power law, goes through three ways in turn: readers fetch everything
(pull), authors copy everything (push), and what Feed does by itself. Then the same posts, and the same readers' pages.
"""

import os
import random
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .._base.clock import stopwatch
from ..edge.feeds.feed import Feed
from .findings import Bar, Bars, Column, Demonstration, Tone, Way, said
from .timeline import percentile

NAME = "feed"
TITLE = "Do not copy a post ten million times"
CROWD, AUTHORS, READERS, FOLLOWS, LENGTH = 10_000_000, 3_000, 100, 1_000, 200
THRESHOLD = 10_000
STARS, EXPONENT = 3, 2.5  # so many are followed by everybody; behind them a power law
FEWEST = 20  # followers that everybody has
POSTS, STAR_POSTS, SLICES = 3_000, 3, 30
BYTES_EACH = 250  # what a reader of the crowd may take, in the way that takes most


Shown: TypeAlias = list[tuple[object, ...]]
Measured: TypeAlias = tuple[dict[str, float], list[float], Shown]  # figures, shape, what readers were shown


@dataclass(frozen=True, slots=True)
class Approach:
    label: str
    says: str
    tone: Tone
    threshold: int


APPROACHES = (
    Approach("pull only", "every page asks all authors", "fair", 0),
    Approach("hybrid", f"copies up to {THRESHOLD:,} followers", "good", THRESHOLD),
    Approach("push only", "every post is copied to all", "bad", 2**32 - 2),
)
COLUMNS = (
    Column("star_s", "post by the star", "s"), Column("post_s", "post, P50", "s"), Column("post_p99_s", "post, P99", "s"),
    Column("page_s", "page of 50, P50", "s"), Column("page_p99_s", "page, P99", "s"), Column("bytes", "timelines", "bytes"),
    Column("copies", "copies", "count"),
)


def crowd_for(seconds: float) -> int:
    """How many readers there are: ten million, or fewer where there is little time or memory."""
    wanted = min(CROWD, int(CROWD * seconds / 3.0))
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        free = 4 << 30
    return max(10 * THRESHOLD, min(wanted, free // 2 // BYTES_EACH))


def followers_of(rank: int, crowd: int) -> int:
    return max(FEWEST, int(crowd * min(1.0, (STARS / (rank + 1)) ** EXPONENT)))


def network(crowd: int, chance: random.Random) -> Feed:
    """Authors by rank, whose followers are neighbours somewhere in the crowd; and readers behind it who follow many."""
    feed = Feed(numbered=True, length=LENGTH)
    everybody = array("I", range(crowd))
    many: list[list[int]] = [[] for _ in range(AUTHORS)]
    for reader in range(crowd, crowd + READERS):
        for author in [*range(20), *chance.sample(range(20, AUTHORS), FOLLOWS - 20)]:
            many[author].append(reader)
    for rank in range(AUTHORS):
        count = followers_of(rank, crowd)
        start = chance.randrange(crowd - count + 1)
        feed.follow_many(rank, everybody[start:start + count] + array("I", many[rank]))
    return feed


def timed(act: Callable[[], object], took_s: list[float]) -> None:
    begun_s = stopwatch()
    act()
    took_s.append(stopwatch() - begun_s)


def pages(feed: Feed, crowd: int) -> Shown:
    """What each of the readers who follow many is shown."""
    return [tuple(entry.item for entry in feed.page(crowd + reader).items) for reader in range(READERS)]


def measure(approach: Approach, feed: Feed, crowd: int, seed: int, first: int) -> Measured:
    """The same posts and the same pages, one way. Every post is deleted in the end.

    first: the score of the first post, above all of before: copies that are left of those are out of the way.
    """
    local, chance = feed._local, random.Random(seed)
    assert local is not None
    local._threshold = approach.threshold
    before = feed.stats()
    post_s: list[float] = []
    star_s: list[float] = []
    page_s: list[float] = []
    authors = [chance.randrange(1, AUTHORS) for _ in range(POSTS)]
    for item, author in enumerate(authors):
        timed(lambda author=author, item=item: feed.push(author, item, first + item), post_s)  # type: ignore[misc]
    for item in range(POSTS, POSTS + STAR_POSTS):
        timed(lambda item=item: feed.push(0, item, first + item), star_s)  # type: ignore[misc]
    for reader in range(crowd, crowd + READERS):
        feed.rebuild(reader)
    after = feed.stats()
    for _ in range(10):
        for reader in range(crowd, crowd + READERS):
            timed(lambda reader=reader: feed.page(reader), page_s)  # type: ignore[misc]
    shown = pages(feed, crowd)
    for item in range(POSTS + STAR_POSTS):
        feed.delete(item)
    by_size = [took for _, took in sorted(zip(authors, post_s, strict=True))]
    shape = [sum(by_size[at:at + POSTS // SLICES]) * SLICES / POSTS for at in range(0, POSTS, POSTS // SLICES)]
    return {
        "star_s": percentile(star_s, 50), "post_s": percentile(post_s, 50), "post_p99_s": percentile(post_s, 99),
        "page_s": percentile(page_s, 50), "page_p99_s": percentile(page_s, 99),
        "bytes": after.bytes, "copies": after.delivered - before.delivered,
    }, shape, shown


def run(seed: int, seconds: float = 3.0) -> Demonstration:
    """Post and read in one network three ways.

    seconds: about how long all of it may take: it says how large the crowd is, ten million at the usual time.
    """
    begun_s = stopwatch()
    crowd = crowd_for(seconds)
    feed = network(crowd, random.Random(seed))
    ways, shown = [], []
    bare, posts = feed.stats().bytes, POSTS + STAR_POSTS
    for number, approach in enumerate(APPROACHES):  # each takes what the one before took, and more
        figures, shape, seen = measure(approach, feed, crowd, seed, number * posts)
        figures["bytes"] -= bare
        ways.append(Way(approach.label, approach.says, approach.tone, figures, shape))
        shown.append(seen)
    pull, hybrid, push = (way.figures for way in ways)
    same = shown[0] == shown[1] == shown[2]
    return Demonstration(
        name=NAME,
        title=TITLE,
        question=f"A star with {feed.followers(0):,} followers posts. How long does it take, and who pays?",
        setting=(
            f"{crowd:,} readers, all of whom follow {STARS} stars; {AUTHORS:,} authors in all, whose followers fall by a "
            f"power law (exponent {EXPONENT}) to {FEWEST}. {POSTS:,} posts of all but one star and {STAR_POSTS} of that, "
            f"one after another; pages of 50 for {READERS} readers who follow {FOLLOWS:,} authors, 20 of them the largest. "
            "In this process; the same network and posts three times. Timelines: what memory grew by."
        ),
        finding=(
            f"Copied to all, the star's post takes {said(push['star_s'], 's')}; as Feed does it, "
            f"{said(hybrid['star_s'], 's')}, and another author's {said(hybrid['post_s'], 's')}. A page takes "
            f"{said(pull['page_s'], 's')} when all authors are asked and {said(hybrid['page_s'], 's')} with timelines. "
            "All three show every reader the same."
        ),
        columns=COLUMNS,
        ways=ways,
        pictures=(
            Bars(
                f"The star's post: {said(push['star_s'], 's')}, or {said(hybrid['star_s'], 's')}",
                "What one post of the author with the most followers takes. The scale is logarithmic.",
                tuple(Bar(way.label, way.figures["star_s"], way.tone) for way in ways), "one post", "s", log=True,
            ),
            Bars(
                "A page of 50, for a reader who follows a thousand",
                "From what is usual (P50) to what the unlucky meet (P99). The scale is logarithmic.",
                tuple(Bar(way.label, way.figures["page_p99_s"], way.tone, way.figures["page_s"]) for way in ways),
                "one page", "s", log=True,
            ),
            Bars(
                "What the copies weigh",
                f"Memory that timelines took for {POSTS + STAR_POSTS:,} posts.",
                tuple(Bar(way.label, way.figures["bytes"], way.tone) for way in ways), "memory", "bytes",
            ),
        ),
        shape_says="what a post takes, from the authors with the most followers to those with the fewest",
        seed=seed,
        warning="" if same else "The three ways did not show the same: this should not be.",
        took_s=stopwatch() - begun_s,
    )
