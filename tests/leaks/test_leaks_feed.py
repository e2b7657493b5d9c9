"""A feed keeps no name of what left, and its own memory goes with it."""

import sys
import weakref

from samovar import Feed
from support import collect, fresh_python
from test_leaks_memory import MEASURE


def test_feed_lets_go_of_the_names_of_items_that_left():
    feed = Feed(length=2, outbox=2)
    feed.follow("ann", "tea")
    names = [f"item number {number}" for number in range(6)]
    before = [sys.getrefcount(name) for name in names]
    for score, name in enumerate(names):
        feed.push("tea", name, score)
    del name
    feed.push("tea", names[4], 10.0)
    assert len(feed.page("ann").items) == 2
    feed.delete(names[4])
    feed.delete(names[5])
    assert [sys.getrefcount(name) for name in names] == before


def test_feed_is_gone_when_nobody_has_it():
    feed = Feed()
    feed.follow("ann", "tea")
    feed.push("tea", "green", 1)
    feed.page("ann")
    inside = weakref.ref(feed._local)
    del feed
    collect()
    assert inside() is None


def test_memory_stays_flat_whatever_feeds_come_and_go():
    assert fresh_python(MEASURE + """
from array import array

def work():
    feed = samovar.Feed(numbered=True, length=50, outbox=50, threshold=3000)
    feed.follow_many(0, array("I", range(2000)))
    feed.follow_many(1, array("I", range(4000)))
    for item in itertools.islice(number, 200):
        feed.push(item % 2, item, item)
        if item % 3 == 0:
            feed.delete(item)
        feed.page(item % 4000)
        feed.unfollow(item % 2000, 0)
        feed.follow(item % 2000, 0)
    feed.rebuild(7)

flat(work)
""").strip() == "flat"
