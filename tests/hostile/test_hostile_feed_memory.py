"""Memory runs out at every allocation of a feed's verbs in turn: the structure stays sound, and nothing is half done.

One allocation fails, or a few in a row, not all that follow: without any memory CPython turns in circles where an exception
meets a `with` or `finally` far from a function's beginning, for it needs a number to say how far.
"""

import pytest

from support import fresh_python

pytest.importorskip("_testcapi", reason="this Python was installed without _testcapi, which makes allocations fail")

FAIL_AT_EACH = """
import sys
from samovar import Feed
from support import attempt

READERS, MOST = 20, 1000
WORD = "w" * 40  # nor are numbers above 256 there already; 85 items fill a dict, so that the next makes it grow

def fresh(threshold):
    feed = Feed(length=84, outbox=84, threshold=threshold)
    feed._local._at_once = 8  # followers in one step
    for author in ("tea", "film"):
        feed.follow_many(author, range(1000, 1000 + READERS))
    for item in range(84):
        feed.push("tea", item + 1000, item)
    feed.push("film", "first", 500)
    for reader in (1000, 1001):
        feed.page(reader, limit=20)
    return feed

def said(feed):
    pages = [feed.page(1000 + reader, limit=MOST).items for reader in range(READERS)] + [feed.page("new", limit=MOST).items]
    assert feed._local.check() and not feed.stats().pending
    return pages, feed.followers("tea"), feed.followers("film"), feed.stats().items

acts = {
    "new": lambda feed: feed.push("film", WORD, 600),
    "new and the oldest goes": lambda feed: feed.push("tea", WORD, 600),
    "too old": lambda feed: feed.push("tea", WORD, -1),
    "moved": lambda feed: feed.push("tea", 1050, 600),
    "first of its author": lambda feed: feed.push(WORD, 9999, 600),
    "delete": lambda feed: feed.delete(1083),
    "follow": lambda feed: feed.follow("new", "tea"),
    "unfollow": lambda feed: feed.unfollow(1001, "tea"),
    "rebuild": lambda feed: feed.rebuild(1001),
    "page": lambda feed: feed.page(1001, limit=10),
}
total = 0
UNSEEN = ("too old", "rebuild", "page")  # nothing changes
for name, act in acts.items():
    fails = 0
    for row in (1, 2, 5):
        feed = fresh(int(sys.argv[1]))
        before = said(feed)
        for n in range(1, 500):
            if not attempt(n, lambda: act(feed), row):
                break
            fails += 1
            assert said(feed) == before, (name, n, row)
        else:
            raise AssertionError(f"{name} never finds enough memory")
        assert (said(feed) == before) == (name in UNSEEN), name
    total += fails
assert total > 50, total
print("done")
"""


@pytest.mark.parametrize("threshold", [0, 1000])
def test_feed_is_as_it_was_whichever_allocation_fails(threshold):
    assert fresh_python(FAIL_AT_EACH, str(threshold)).strip() == "done"
