"""Feeds as one would say them: everything is sorted anew for every page. And the walk that leads a Feed beside it.

The twin knows no timelines, no threshold and no workers: whatever they do must not be seen.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

READERS, AUTHORS, ITEMS = range(5), ["a", "b", "c", 7], [*range(10), "x", "y"]
SCORES = st.one_of(st.integers(0, 4), st.sampled_from([-1e300, 0.5, 2.5, 2**53]))


class Feed:
    def __init__(self, outbox):
        self.outbox, self.came, self.follows, self.posts = outbox, 0, {}, {}

    def push(self, author, item, score):
        if item in self.posts:
            if self.posts[item][0] != author:
                return ValueError
            if self.posts[item][1][0] == score:
                return False
            del self.posts[item]
        mine = sorted((place, item) for item, (whose, place) in self.posts.items() if whose == author)
        if len(mine) >= self.outbox:
            if mine[0][0][0] > score:
                return False
            del self.posts[mine[0][1]]
        self.came += 1
        self.posts[item] = author, (float(score), self.came)
        return True

    def feed(self, reader):
        """Every (place, item, author), newest first."""
        follows = self.follows.get(reader, ())
        return sorted(((place, item, author) for item, (author, place) in self.posts.items() if author in follows),
                      key=lambda entry: entry[0], reverse=True)


def agrees(found, below, least, limit):
    """A page is what comes next, without a gap; and all of it, as far as a feed promises."""
    want = [(item, author, place[0]) for place, item, author in below]
    assert [tuple(entry) for entry in found] == want[:len(found)]
    assert len(found) == limit or len(found) >= least


class FeedWalk(RuleBasedStateMachine):
    """Leads `self.feed`, of this length and outbox, beside `self.twin`; subclasses make them."""

    cursors: list

    def begin(self, feed, length, outbox):
        self.feed, self.length, self.twin, self.cursors = feed, length, Feed(outbox), []

    @rule(author=st.sampled_from(AUTHORS), item=st.sampled_from(ITEMS), score=SCORES)
    def push(self, author, item, score):
        expected = self.twin.push(author, item, score)
        try:
            assert self.feed.push(author, item, score) is expected
        except ValueError:
            assert expected is ValueError

    @rule(author=st.sampled_from(AUTHORS), count=st.integers(1, 8), score=SCORES)
    def push_some(self, author, count, score):
        for item in range(100, 100 + 20 * count, 20):
            item += AUTHORS.index(author)
            assert self.feed.push(author, item, score) is self.twin.push(author, item, score)

    @rule(item=st.sampled_from(ITEMS))
    def delete(self, item):
        assert self.feed.delete(item) is (self.twin.posts.pop(item, None) is not None)

    @rule(reader=st.sampled_from(READERS), author=st.sampled_from(AUTHORS))
    def follow(self, reader, author):
        follows = self.twin.follows.setdefault(reader, set())
        assert self.feed.follow(reader, author) is (author not in follows)
        follows.add(author)

    @rule(author=st.sampled_from(AUTHORS))
    def follow_all(self, author):
        new = [reader for reader in READERS if author not in self.twin.follows.setdefault(reader, set())]
        assert self.feed.follow_many(author, READERS) == len(new)
        for reader in READERS:
            self.twin.follows[reader].add(author)

    @rule(reader=st.sampled_from(READERS), author=st.sampled_from(AUTHORS))
    def unfollow(self, reader, author):
        follows = self.twin.follows.setdefault(reader, set())
        assert self.feed.unfollow(reader, author) is (author in follows)
        follows.discard(author)

    @rule(reader=st.sampled_from(READERS), limit=st.integers(1, 9))
    def page(self, reader, limit):
        self.check_page(reader, None, None, limit)

    @rule(data=st.data(), limit=st.integers(1, 4))
    def page_on(self, data, limit):
        """From any cursor of before, whatever came, went or was followed since."""
        if self.cursors:
            reader, cursor, place = data.draw(st.sampled_from(self.cursors[-8:]))
            self.check_page(reader, cursor, place, limit)

    def check_page(self, reader, cursor, place, limit):
        feed = self.twin.feed(reader)
        below = [entry for entry in feed if place is None or entry[0] < place]
        least = sum(place is None or entry[0] < place for entry in feed[:self.length])
        found = self.feed.page(reader, cursor, limit)
        agrees(found.items, below, least, limit)
        assert (found.cursor is not None) == (len(found.items) == limit)
        if found.cursor is not None:
            self.cursors.append((reader, found.cursor, below[limit - 1][0]))

    @rule(reader=st.sampled_from(READERS))
    def rebuild(self, reader):
        self.feed.rebuild(reader)

    @invariant()
    def knows_who_follows(self):
        for author in AUTHORS:
            assert self.feed.followers(author) == sum(author in follows for follows in self.twin.follows.values())

    def teardown(self):
        for reader in READERS:
            for limit in (3, 1000):
                self.check_page(reader, None, None, limit)
