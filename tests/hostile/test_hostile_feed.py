"""Feeds and what runs in the middle: finalizers that come back, names that are nearly alike, arguments that change."""

import gc
import linecache
import sys
import threading

import pytest

from samovar import Feed
from samovar.edge.feeds import local as feed_local
from support import LIMIT


def test_feed_finalizer_that_comes_back_never_waits_for_itself():
    feed, told, done = Feed(length=5, outbox=5, threshold=3), [], threading.Event()

    class Returning:
        def __init__(self):
            self.itself = self

        def __del__(self):
            try:
                feed.push("author", len(told), len(told))
                told.append("pushed")
            except RuntimeError:
                told.append("refused")

    def work():
        for number in range(2000):
            Returning()
            feed.follow(number % 7, "author")
            feed.push("author", f"x{number}", number)
            feed.page(number % 7, limit=3)
            feed.delete(f"x{number - 2}")
            feed.unfollow(number % 5, "author")
        done.set()

    old = gc.get_threshold()
    gc.set_threshold(1)
    try:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert done.wait(LIMIT)
        thread.join(LIMIT)
    finally:
        gc.set_threshold(*old)
    assert told and feed._local.check()


def test_feed_takes_names_for_what_they_are():
    feed = Feed()
    names = [1, "1", -1, 0, 2**63, "", "i1", "s1", "é", "e\u0301", "a\0b", "a|b:c"]
    for author in names:
        assert feed.follow("reader", author)
        for item in names:
            assert feed.push(author, f"{author!r}/{item!r}", 1)
    assert [feed.followers(author) for author in names] == [1] * len(names)
    assert len({entry.item for entry in feed.page("reader", limit=1000).items}) == len(names) ** 2
    for author in names[:-1]:
        assert feed.unfollow("reader", author)
    assert {entry.author for entry in feed.page("reader", limit=1000).items} == {"a|b:c"}


def test_feed_many_readers_that_raise_leave_it_whole():
    feed = Feed(length=3)

    def readers():
        yield "ann"
        yield "bob"
        raise LookupError("the list ends here")

    try:
        feed.follow_many("tea", readers())
    except LookupError:
        pass
    assert feed._local.check() and feed.followers("tea") in (0, 2)


def interrupted(feed, act, after):
    """Run `act` and raise KeyboardInterrupt before the n-th line of the feed's room. Whether it came to that.

    Not on the way out of a `with`, before its lock is let go of: a tracer can raise there, and a signal never does.
    """
    left = [after]

    def trace(frame, event, arg):
        if frame.f_code.co_filename != feed_local.__file__:
            return None
        if event == "line":
            left[0] -= 1
            leaves = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() == "with self._lock:"
            if left[0] <= 0 and not (leaves and feed._local._is_inside()):
                left[0] = sys.maxsize
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.parametrize("threshold", [0, 100])
@pytest.mark.parametrize("what", ["new", "moved", "full", "delete", "follow", "unfollow"])
def test_feed_is_whole_wherever_an_interrupt_meets_it(threshold, what):
    line = 1
    while True:
        feed = Feed(length=3, outbox=3, threshold=threshold)
        feed._local._at_once = 2
        feed.follow_many("tea", range(5))
        for item in range(3):
            feed.push("tea", item, item)
        act, before, after = {
            "new": (lambda: feed.push("herbs", "x", 9), [2, 1, 0], ["x", 2, 1]),
            "moved": (lambda: feed.push("tea", 0, 9), [2, 1, 0], [0, 2, 1]),
            "full": (lambda: feed.push("tea", "x", 9), [2, 1, 0], ["x", 2, 1]),
            "delete": (lambda: feed.delete(1), [2, 1, 0], [2, 0]),
            "follow": (lambda: feed.follow(9, "tea"), [], [2, 1, 0]),
            "unfollow": (lambda: feed.unfollow(3, "tea"), [2, 1, 0], []),
        }[what]
        if what == "new":
            feed.follow_many("herbs", range(5))
        met = interrupted(feed, act, line)
        who = 9 if what == "follow" else 3
        seen = {tuple(entry.item for entry in feed.page(reader, limit=3).items)
                for reader in ([who] if what in ("follow", "unfollow") else range(5))}
        assert seen in ([{tuple(before)}, {tuple(after)}] if met else [{tuple(after)}])
        assert feed._local.check() and not feed.stats().pending
        assert act() in (True, False)  # it can be done again
        assert tuple(entry.item for entry in feed.page(who, limit=3).items) == tuple(after)
        if not met:
            break
        line += 1
    assert line > 3
