"""Items of equal score: one order in process and over Redis, and cursors that keep their place among them."""

import random

import pytest

from engines import redis_process, redis_server  # noqa: F401
from samovar import Feed
from support import LIMIT

AUTHORS, READERS, ITEMS = ["a", "b", "c"], range(4), range(40)


@pytest.fixture(params=["in process", "over Redis"])
def make(request):
    feeds = []

    def make(**words):
        url = None if request.param == "in process" else request.getfixturevalue("redis_server").url
        feed = Feed(url, timeout=LIMIT, **words)
        (feed._local or feed._shared)._at_once = 2  # pushes take several steps
        feeds.append(feed)
        return feed

    yield make
    for feed in feeds:
        feed.close()


@pytest.mark.parametrize("threshold", [0, 2, 1000])
def test_feed_cursor_keeps_its_place_among_equals_while_items_come_and_go(make, threshold):
    feed = make(threshold=threshold, length=100)
    feed.follow_many("tea", READERS)
    feed.follow("ann", "tea")
    feed.follow("ann", "film")
    for item in range(20):
        feed.push(("tea", "film")[item % 2], item, 5)
    left, seen, cursor = [*range(19, -1, -1)], [], None
    for step in range(100):
        page = feed.page("ann", cursor, limit=3)
        now = [entry.item for entry in page.items]
        assert now == left[:3]
        seen, left, cursor = seen + now, left[3:], page.cursor
        if cursor is None:
            break
        feed.push("tea", 100 + step, 5)  # above: on no later page
        feed.delete(seen[-1])  # where the cursor stands
        feed.push("film" if seen[-1] % 2 else "tea", seen[-1], 5)  # and comes again, as the newest
        if step % 2:
            feed.delete(left.pop(1))
        else:
            author = ("tea", "film")[left[0] % 2]
            feed.push(author, left[0], 6)  # moves away, and comes back as the newest of its equals
            feed.push(author, left.pop(0), 5)
    assert left == [] and len(seen) == len(set(seen))


def test_feed_orders_equal_scores_over_redis_as_in_process(redis_server):  # noqa: F811
    chance = random.Random(20261129)
    for _ in range(12):
        redis_server.do("FLUSHALL")
        words = {"length": 60, "outbox": 60, "threshold": chance.choice([0, 2, 3, 1000])}
        near, far = Feed(**words), Feed(redis_server.url, timeout=LIMIT, **words)
        near._local._at_once = far._shared._at_once = 2

        def change():
            match chance.randrange(8):
                case 0:
                    return "delete", (chance.choice(ITEMS),)
                case 1:
                    return "follow", (chance.choice(READERS), chance.choice(AUTHORS))
                case 2:
                    return "unfollow", (chance.choice(READERS), chance.choice(AUTHORS))
                case 3:
                    return "rebuild", (chance.choice(READERS),)
            item = chance.choice(ITEMS)
            return "push", (AUTHORS[item % 3], item, chance.choice([0, 0, 0, 1]))

        def both(count):
            for _ in range(count):
                verb, given = change()
                assert getattr(near, verb)(*given) == getattr(far, verb)(*given)

        for author in AUTHORS:
            for reader in READERS:
                assert near.follow(reader, author) and far.follow(reader, author)
        both(50)
        for reader in READERS:
            here = there = None
            while True:  # page by page, each with its own cursor, while more happens
                mine, theirs = near.page(reader, here, 4), far.page(reader, there, 4)
                assert mine.items == theirs.items
                here, there = mine.cursor, theirs.cursor
                if here is None or there is None:
                    assert here is there is None
                    break
                both(2)
        far.close()
