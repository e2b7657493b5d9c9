"""Feed, one promise at a time, in process. (What it says beside a twin: tests/models; on Redis: tests/servers.)"""

import math
import sys
from array import array

import pytest

from samovar import Feed, ManualClock, SamovarError
from samovar.edge.feeds import rules as feed_rules
from samovar.edge.feeds.rules import FeedItem, is_kept


def items(page):
    return [entry.item for entry in page.items]


def followed(feed, author, count):
    feed.follow_many(author, [f"reader-{number}" for number in range(count)])


def test_feed_merges_those_who_are_followed_newest_first():
    feed = Feed()
    feed.follow("ann", "tea")
    feed.follow("ann", "news")
    for score, (author, item) in enumerate([("tea", "green"), ("news", "rain"), ("cats", "purr"), ("tea", "black")]):
        assert feed.push(author, item, score)
    assert feed.page("ann").items == [FeedItem("black", "tea", 3), FeedItem("rain", "news", 1), FeedItem("green", "tea", 0)]
    assert feed.page("nobody").items == [] and feed.page("nobody").cursor is None


def test_feed_puts_what_came_later_first_among_equal_scores():
    feed = Feed()
    feed.follow("ann", "tea")
    for item in ("one", "two", "three"):
        feed.push("tea", item, 5)
    assert items(feed.page("ann")) == ["three", "two", "one"]


@pytest.mark.parametrize("threshold", [0, 1000])
def test_feed_cursor_stays_where_it_was_while_items_come_and_go(threshold):
    feed = Feed(threshold=threshold)
    feed.follow("ann", "tea")
    for item in range(10):
        feed.push("tea", item, item)
    page = feed.page("ann", limit=4)
    feed.push("tea", "new", 100)
    feed.delete(6)  # where the cursor stands
    feed.delete(4)
    page = feed.page("ann", page.cursor, limit=4)
    assert items(page) == [5, 3, 2, 1]
    assert items(feed.page("ann", page.cursor, limit=4)) == [0]


@pytest.mark.parametrize("threshold", [0, 1000])
def test_feed_hides_at_once_what_is_deleted_or_no_longer_followed(threshold):
    feed = Feed(threshold=threshold)
    feed.follow("ann", "tea")
    feed.follow("ann", "news")
    feed.push("tea", "green", 1)
    feed.push("news", "rain", 2)
    assert feed.delete("rain") and not feed.delete("rain")
    assert items(feed.page("ann")) == ["green"]
    assert feed.unfollow("ann", "tea") and not feed.unfollow("ann", "tea") and not feed.unfollow("bob", "tea")
    assert items(feed.page("ann")) == []
    assert feed.follow("ann", "tea") and items(feed.page("ann")) == ["green"]
    assert feed.push("news", "rain", 0) and items(feed.page("ann")) == ["green", "rain"]


def test_feed_push_that_is_repeated_changes_nothing_and_a_new_score_moves_the_item():
    feed = Feed()
    feed.follow("ann", "tea")
    assert feed.push("tea", "green", 1) and feed.push("tea", "black", 2) and not feed.push("tea", "green", 1.0)
    assert feed.push("tea", "green", 3)
    assert feed.page("ann").items == [FeedItem("green", "tea", 3.0), FeedItem("black", "tea", 2.0)]
    with pytest.raises(ValueError, match="'green' is of another author"):
        feed.push("news", "green", 9)


def test_feed_copies_nothing_for_an_author_above_the_threshold():
    feed = Feed(threshold=50)
    followed(feed, "star", 51)
    followed(feed, "ann", 50)
    feed.push("star", 1, 1)
    assert feed.stats().delivered == 0
    feed.push("ann", 2, 2)
    assert feed.stats().delivered == 50 and items(feed.page("reader-3")) == [2, 1]


def test_feed_author_who_crosses_the_threshold_loses_and_repeats_nothing():
    feed = Feed(threshold=8)
    feed.follow("ann", "star")
    made = 0
    for followers in [4, 9, 14, 9, 7, 6, 3, 12]:  # comes back to copies at 6: three quarters
        for number in range(20):
            (feed.follow if number < followers - 1 else feed.unfollow)(f"reader-{number}", "star")
        before = feed.stats().delivered
        feed.push("star", made, made)
        made += 1
        copied = {4: 4, 6: 6, 3: 3}.get(followers, 0)
        assert feed.stats().delivered - before == copied
        assert items(feed.page("ann")) == [*range(made - 1, -1, -1)]
    feed.rebuild("ann")
    assert items(feed.page("ann")) == [*range(made - 1, -1, -1)]


def test_feed_holds_the_newest_items_whatever_was_deleted_among_them():
    feed = Feed(length=10, outbox=40)
    for author in range(3):
        feed.follow("ann", author)
    for item in range(60):
        feed.push(item % 3, item, item)
    for item in range(50, 60):
        feed.delete(item)
    for newest in (49, 48):  # it is made anew with a little more than it needs
        assert items(feed.page("ann"))[:10] == [*range(newest, newest - 10, -1)]
        assert feed.stats().rebuilt == 1
        feed.delete(newest)
    assert items(feed.page("ann"))[:10] == [*range(47, 37, -1)]


def test_feed_outbox_lets_the_oldest_go_everywhere():
    feed = Feed(length=3, outbox=3)
    feed.follow("ann", "tea")
    for item in range(5):
        assert feed.push("tea", item, item)
    assert not feed.push("tea", "old", 1) and not feed.delete("old") and not feed.delete(0)
    assert items(feed.page("ann")) == [4, 3, 2] and feed.stats().items == 3
    assert feed.push("tea", 0, 9) and items(feed.page("ann")) == [0, 4, 3]


def test_feed_rank_orders_each_page_by_itself_and_leaves_the_cursor():
    clock = ManualClock(start=100.0)
    seen = []

    def rank(entry, now):
        seen.append(now)
        return entry.author == "friend", -entry.score

    feed = Feed(rank=rank, clock=clock)
    for author in ("friend", "other"):
        feed.follow("ann", author)
    for item in range(8):
        feed.push("friend" if item % 3 == 0 else "other", item, item)
    first = feed.page("ann", limit=4)
    assert items(first) == [6, 4, 5, 7] and set(seen) == {100.0}
    assert items(feed.page("ann", first.cursor, limit=4)) == [0, 3, 1, 2]


def test_feed_by_heat_copies_what_is_looked_at_and_keeps_what_is_not():
    feed = Feed(threshold="heat")
    followed(feed, "loved", 200)
    followed(feed, "ignored", 200)
    for item in range(20):
        feed.push("loved", f"loved-{item}", item)
        for number in range(200):
            feed.page(f"reader-{number}", limit=1)
    before = feed.stats().delivered
    for item in range(20):
        feed.push("ignored", f"ignored-{item}", -100 + item)
    assert before == 20 * 200
    assert feed.stats().delivered - before == feed_rules.EVIDENCE * 200  # then it is known
    assert items(feed.page("reader-7", limit=40))[20:] == [f"ignored-{item}" for item in range(19, -1, -1)]


def test_feed_rule_comes_back_later_than_it_went():
    assert not is_kept(100, 100, 0, 0, False) and is_kept(100, 101, 0, 0, False)
    assert is_kept(100, 76, 0, 0, True) and not is_kept(100, 75, 0, 0, True)
    heat = dict(threshold=None, followers=1000, posts=10)
    assert not is_kept(**heat, views=500, was_kept=False) and is_kept(**heat, views=499, was_kept=False)
    assert is_kept(**heat, views=1999, was_kept=True) and not is_kept(**heat, views=2000, was_kept=True)
    assert is_kept(None, feed_rules.MOST + 1, 10, 10**9, False) and not is_kept(None, feed_rules.FEWEST, 10, 0, True)


def test_feed_whose_people_are_numbers_keeps_no_names():
    feed = Feed(numbered=True)
    assert feed.follow_many(7, array("I", range(1000))) == 1000 and feed.follow_many(7, [5, 1000]) == 1
    feed.push(7, "x", 1)
    assert feed.page(999).items == [FeedItem("x", 7, 1.0)] and feed.followers(7) == 1001 and feed.follows(1000, 7)
    with pytest.raises(TypeError, match="user must be an int in a numbered feed"):
        feed.follow("ann", 7)
    with pytest.raises(ValueError, match="from 0 to"):
        feed.page(-1)


@pytest.mark.parametrize("call, kind, says", [
    (lambda: Feed(length=0), ValueError, "length must be from 1"),
    (lambda: Feed(length=10, outbox=9), ValueError, "outbox must be from 10"),
    (lambda: Feed(threshold=1.5), TypeError, "threshold must be an int"),
    (lambda: Feed(threshold="hot"), ValueError, "or 'heat', not 'hot'"),
    (lambda: Feed(rank=3), TypeError, "rank must be callable"),
    (lambda: Feed(namespace="a b"), ValueError, "namespace must be"),
    (lambda: Feed(lease=0), ValueError, "lease must be"),
    (lambda: Feed("redis://nowhere", numbered=True), ValueError, "numbered is for"),
    (lambda: Feed().push(1.5, 1, 1), TypeError, "author must be a str or an int"),
    (lambda: Feed().push(True, 1, 1), TypeError, "author must be a str or an int"),
    (lambda: Feed().push("a", 2**64, 1), ValueError, "item must be an int from"),
    (lambda: Feed().push("a", "\ud800", 1), ValueError, "UTF-8"),
    (lambda: Feed().push("a", 1, math.nan), ValueError, "score must be finite"),
    (lambda: Feed().push("a", 1, 10**400), ValueError, "score must be finite"),
    (lambda: Feed().push("a", 1, 2**53 + 1), ValueError, "a float can say"),
    (lambda: Feed().push("a", 1, "1"), TypeError, "score must be a number"),
    (lambda: Feed().page("a", limit=0), ValueError, "limit must be from 1"),
    (lambda: Feed().page("a", "nonsense"), ValueError, "what a page gave, not 'nonsense'"),
    (lambda: Feed().page("a", b"x"), TypeError, "what a page gave"),
    (lambda: Feed().follow_many("a", "abc"), TypeError, "several names"),
])
def test_feed_says_what_is_wrong_with_an_argument(call, kind, says):
    with pytest.raises(kind, match=says):
        call()


def test_feed_over_redis_names_the_extra_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(SamovarError, match=r"samovar\[redis\]"):
        Feed("redis://localhost")


def test_feed_has_no_more_large_pushes_under_way_than_a_page_may_look_at():
    feed, most = Feed(), feed_rules.UNDER_WAY
    feed._local._at_once = 2
    for author in range(most + 1):
        feed.follow_many(author, range(9))
    feed.follow_many("small", range(2))
    for author in range(most):
        feed._local._post(author, author, author)  # its thread is held up
    assert feed.push("small", "s", 50) and feed.stats().pending == most  # of what needs one step nobody waits for
    assert feed.push(0, 0, 0) is False and feed.stats().pending == most
    assert feed.push(most, "large", 99) and feed.stats().pending == most - 1  # it finished the oldest, and itself
    assert 0 not in [feed._local._items[number] for number in feed._local._delivering]
    for reader in range(9):
        rest = [*range(most - 1, -1, -1)]
        assert items(feed.page(reader)) == (["large", "s", *rest] if reader < 2 else ["large", *rest])
    assert feed._local.check()


def test_feed_takes_back_the_memory_of_what_left():
    feed = Feed(length=10, outbox=10, numbered=True)
    feed.follow_many(0, range(100))
    sizes = []
    for item in range(3000):
        feed.push(0, item, item)
        if item % 1000 == 999:
            sizes.append((feed.stats().bytes, feed._local._core.items, len(feed._local._items)))
    assert sizes[0] == sizes[1] == sizes[2] and sizes[0][1] <= 30
