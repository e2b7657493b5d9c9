"""Feeds: what a post costs by how many follow, what a page costs, and what a million full timelines weigh.

    python -m bench.feeds [post] [page] [memory] [redis]     all of them, when none is named

post    An author with so many followers posts, again and again; followers are spread over all readers, and their timelines
        are full. The threshold is 10,000: above it nothing is copied. P50 and P99 of one push.
page    Readers who follow 1,000 authors, 20 of them above the threshold, ask for a page of 50 in turn: 1,000 such readers,
        so that none of them is in the processor's cache. P50 and P99; also of the third page, and a rebuild.
memory  A child that may not have more than 4 GiB (RLIMIT_AS) fills 1,000,000 timelines with 200 items each: what the
        feed says it takes, and the most that the process had, names and interpreter included.
redis   The page of one such reader over a redis-server of its own, which the bench starts: round trips and times. Push and
        rebuild likewise.

Times are of the clock; on a busy machine P99 of the thread's processor time says what of it was the feed's.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from typing import Any

from samovar import Feed

LIMIT_BYTES = 4 << 30
CROWD, READERS, FOLLOWS, STARS = 10_000_000, 1_000, 1_000, 20


def spread(act: Callable[[int], object], times: int) -> tuple[str, str, str]:
    """Of one call: P50 and P99 on the clock, and P99 of the thread's processor time."""
    took, worked = [], []
    for number in range(times):
        begun, before = time.perf_counter(), time.thread_time()
        act(number)
        worked.append(time.thread_time() - before)
        took.append(time.perf_counter() - begun)
    took.sort()
    worked.sort()
    return tuple(f"{seconds * 1e6:,.1f} µs" for seconds in
                 (took[times // 2], took[times * 99 // 100], worked[times * 99 // 100]))  # type: ignore[return-value]


def say(what: str, *figures: str) -> None:
    print(f"| {what} | {' | '.join(figures)} |", flush=True)


def post() -> None:
    chance = random.Random(1)
    feed = Feed(numbered=True, length=200)
    sizes = (100, 1_000, 10_000, CROWD)
    print("| followers | P50 | P99 | P99, processor |\n|---|---|---|---|")
    begun = time.perf_counter()
    feed.follow_many(3, array("I", range(CROWD)))
    print(f"<!-- {CROWD:,} followers in {time.perf_counter() - begun:.1f} s -->")
    item = 0
    for author, size in enumerate(sizes[:-1]):
        feed.follow_many(author, array("I", chance.sample(range(CROWD), size)))
        for _ in range(200):
            feed.push(author, item := item + 1, item)
    for author, size in enumerate(sizes):
        def push(number: int, author: int = author) -> None:
            nonlocal item
            feed.push(author, item := item + 1, item)

        say(f"{size:,}", *spread(push, 1_000))


def network(feed: Feed, readers: int, chance: random.Random) -> int:
    """Readers from 100,000 on, who each follow FOLLOWS of 5,000 authors, 20 of them stars; and 30,000 items."""
    for star in range(STARS):
        feed.follow_many(star, array("I", range(20_000)))
    for reader in range(100_000, 100_000 + readers):
        for author in [*range(STARS), *chance.sample(range(STARS, 5_000), FOLLOWS - STARS)]:
            feed.follow(reader, author)
    for item in range(30_000):
        feed.push(chance.randrange(STARS) if item % 10 == 0 else chance.randrange(STARS, 5_000), item, item)
    return 30_000


def page() -> None:
    chance = random.Random(2)
    feed = Feed(numbered=True, length=200)
    network(feed, READERS, chance)
    order = [100_000 + chance.randrange(READERS) for _ in range(10_000)]
    third = {reader: feed.page(reader, feed.page(reader).cursor).cursor for reader in set(order)}
    print("| | P50 | P99 | P99, processor |\n|---|---|---|---|")
    for what, act in (
        ("first page", lambda number: feed.page(order[number])),
        ("third page", lambda number: feed.page(order[number], third[order[number]])),
        ("rebuild", lambda number: feed.rebuild(order[number])),
    ):
        say(what, *spread(act, len(order)))
    first = feed.page(order[0])
    print(f"<!-- {len(first.items)} items, {sum(entry.author < STARS for entry in first.items)} of them fetched -->")


def fill() -> None:
    """In the child."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    chance = random.Random(3)
    users, authors, items, length = 1_000_000, 50_000, 20, 200
    feed = Feed(length=length, outbox=length)
    for author in range(authors):
        feed.follow_many(f"author-{author}", [f"user-{user}" for user in chance.sample(range(users), users * 10 // authors)])
    for round_number in range(3 * items):
        for author in range(authors):
            feed.push(f"author-{author}", round_number * authors + author, round_number)
        if round_number % 4 == 3 and all(
                len(feed.page(f"user-{user}", limit=200).items) == 200 for user in range(0, users, 997)):
            break
    full = sum(len(feed.page(f"user-{user}", limit=200).items) == 200 for user in range(0, users, 97))
    stats = feed.stats()
    print(json.dumps({"items": stats.items, "delivered": stats.delivered, "bytes": stats.bytes,
                      "full": full / len(range(0, users, 97)),
                      "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def memory() -> None:
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "bench.feeds", "fill"], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    print("| | |\n|---|---|")
    say("timelines that hold 200 items", f"{found['full']:.1%} of 1,000,000")
    say("items, copies made", f"{found['items']:,}, {found['delivered']:,}")
    say("the feed's own memory", f"{found['bytes'] / 2**30:.2f} GiB, {found['bytes'] / 1e6:,.0f} bytes for each user")
    say("the most that the process had", f"{found['peak'] / 2**30:.2f} GiB of {LIMIT_BYTES / 2**30:.0f}")
    print(f"<!-- {time.perf_counter() - begun:.0f} s -->")


def redis() -> None:
    from bench.servers import RedisServer

    server = RedisServer()
    try:
        feed = Feed(server.url, length=200, threshold=100, timeout=10)
        chance = random.Random(4)
        for star in range(STARS):
            feed.follow_many(star, range(200))
        for author in range(FOLLOWS):
            feed.follow(1_000, author)
        for item in range(10_000):
            feed.push(item % STARS if item % 10 == 0 else chance.randrange(STARS, FOLLOWS), item, item)
        asked: list[int] = []
        perform = feed._shared._node.perform
        feed._shared._node.perform = lambda request: asked.append(len(request)) or perform(request)
        print("| | P50 | P99 | P99, processor here | round trips |\n|---|---|---|---|---|")
        for what, act in (
            ("page of 50", lambda number: feed.page(1_000)),
            ("push, one follower", lambda number: feed.push(100, f"new-{number}", 20_000 + number)),
            ("push, above the threshold", lambda number: feed.push(0, f"star-{number}", 20_000 + number)),
            ("rebuild", lambda number: feed.rebuild(1_000)),
        ):
            asked.clear()
            say(what, *spread(act, 1_000), f"{len(asked) / 1_000:.1f}")
        feed.close()
    finally:
        server.end()


PARTS = {"post": post, "page": page, "memory": memory, "redis": redis}

if __name__ == "__main__":
    if sys.argv[1:] == ["fill"]:
        fill()
        sys.exit()
    for name in sys.argv[1:]:
        if name not in PARTS:
            sys.exit(f"bench.feeds: there is no part {name!r}, only {', '.join(PARTS)}")
    for name in sys.argv[1:] or PARTS:
        print(f"\n{name}\n")
        PARTS[name]()
