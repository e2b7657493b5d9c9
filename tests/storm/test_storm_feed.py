"""Feeds in threads: everybody writes and reads at once, and afterwards everything is where it belongs."""

import os
import random

import pytest

from feed_twin import agrees
from samovar import Feed
from support import together

AUTHORS, READERS, ROUNDS = 8, 30, 300


def read_through(feed, reader, limit):
    """Pages while others write: never twice, never out of order."""
    cursor, last, seen = None, (float("inf"),), set()
    while True:
        page = feed.page(reader, cursor, limit)
        for entry in page.items:
            assert entry.item not in seen and (entry.score,) < last
            seen.add(entry.item)
            last = (entry.score,)
        cursor = page.cursor
        if cursor is None:
            return


@pytest.mark.parametrize("threshold", [0, 20, 1000])
def test_feed_is_right_after_threads_did_everything_at_once(threshold):
    feed = Feed(length=40, outbox=60, threshold=threshold)
    feed._local._at_once = 4  # many steps, so that others come between
    follows = {reader: set() for reader in range(READERS)}
    posts = [{} for _ in range(AUTHORS)]

    def author(number):
        def write():
            chance, mine = random.Random(number), posts[number]
            for at in range(ROUNDS):
                item, score = f"{number}/{at}", at + number / AUTHORS
                assert feed.push(number, item, score)
                mine[item] = score
                if at % 5 == 0:
                    gone = chance.choice([*mine])
                    assert feed.delete(gone) is (gone in sorted(mine, key=mine.get)[-60:])
                    del mine[gone]
                for left in sorted(mine, key=mine.get)[:-60]:
                    del mine[left]
        return write

    def reader(first):
        def change():
            chance = random.Random(first)
            for _ in range(ROUNDS):
                who, whom = first + 3 * chance.randrange(READERS // 3), chance.randrange(AUTHORS)
                if chance.random() < 0.6:
                    assert feed.follow(who, whom) is (whom not in follows[who])
                    follows[who].add(whom)
                else:
                    assert feed.unfollow(who, whom) is (whom in follows[who])
                    follows[who].discard(whom)
                read_through(feed, chance.randrange(READERS), 7)
        return change

    together(*map(author, range(AUTHORS)), *map(reader, range(3)))
    assert feed._local.check() and feed.stats().pending == 0
    for who, whom in follows.items():
        below = sorted((((score,), item, number) for number in whom for item, score in posts[number].items()), reverse=True)
        agrees(feed.page(who, limit=1000).items, below, min(40, len(below)), 1000)


class Between:
    """The lock of a feed, and what somebody else does each time when it is let go of."""

    def __init__(self, feed, act):
        self.lock, self.act, self.is_acting = feed._local._lock, act, False
        feed._local._lock = self

    def __enter__(self):
        self.lock.acquire()

    def __exit__(self, *error):
        self.lock.release()
        if not self.is_acting and not error[0]:
            self.is_acting = True
            self.act()
            self.is_acting = False


def test_feed_shows_an_item_to_everybody_while_copies_are_being_made():
    feed, seen = Feed(length=3, outbox=3), []
    feed._local._at_once = 2
    feed.follow_many("ann", range(9))
    feed.follow_many("bob", range(9, 12))
    feed.push("ann", "old", 1)
    looks = Between(feed, lambda: seen.append(
        (feed.stats().pending, [[entry.item for entry in feed.page(reader).items] for reader in range(12)])))
    for item, score, now in [("new", 2, ["new", "old"]), ("old", 3, ["old", "new"])]:  # the old one moves then
        feed.push("ann", item, score)
        assert [pending for pending, _ in seen] == [1, 1, 1, 1, 0]
        assert all(pages == [now] * 9 + [[]] * 3 for _, pages in seen)
        seen.clear()
    feed._local._lock = looks.lock
    assert feed._local.check()


def test_feed_stops_copying_what_was_deleted_though_its_push_was_interrupted():
    feed = Feed(length=3, outbox=3)
    feed._local._at_once = 2
    feed.follow_many("ann", range(9))

    def meet():
        feed.delete("x")
        raise KeyboardInterrupt

    looks = Between(feed, meet)
    with pytest.raises(KeyboardInterrupt):
        feed.push("ann", "x", 1)
    feed._local._lock = looks.lock
    assert feed.stats().pending == 0 and feed.recover() == 0 and feed._local.check()
    assert feed.push("ann", "y", 2) and [entry.item for entry in feed.page(8).items] == ["y"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_feed_is_whole_in_the_child_of_a_fork_while_threads_write():
    feed = Feed(length=20, outbox=20)
    feed._local._at_once = 4
    feed.follow_many("ann", range(200))

    def write():
        for at in range(400):
            feed.push("ann", at, at)

    def make():
        for _ in range(300):
            assert Feed().stats().items == 0

    def split():
        for _ in range(10):
            pid = os.fork()
            if pid == 0:
                sound = 1
                try:
                    feed.push("ann", "mine", 1000)
                    if feed.page(3, limit=1).items[0].item == "mine" and not feed.stats().pending:
                        sound = not feed._local.check()
                finally:
                    os._exit(sound)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    together(write, make, split)
    assert feed._local.check() and feed.stats().pending == 0
