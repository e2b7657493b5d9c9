"""Feeds in process beside their twin: whatever is pushed, deleted, followed and unfollowed, whoever is interrupted."""

from hypothesis import settings, strategies as st
from hypothesis.stateful import initialize, invariant, rule

from feed_twin import AUTHORS, ITEMS, SCORES, FeedWalk
from samovar import Feed


class LocalWalk(FeedWalk):
    @initialize(length=st.integers(1, 6), more=st.integers(0, 6), threshold=st.sampled_from([0, 1, 2, 3, 100, "heat"]),
                at_once=st.integers(1, 3))
    def start(self, length, more, threshold, at_once):
        feed = Feed(length=length, outbox=length + more, threshold=threshold)
        feed._local._at_once = at_once
        self.begin(feed, length, length + more)

    @rule(author=st.sampled_from(AUTHORS), item=st.sampled_from(ITEMS), score=SCORES, after=st.integers(0, 2))
    def interrupted_push(self, author, item, score, after):
        """The thread is interrupted between two steps: the item is there, and whoever comes next goes on."""
        steps, step = [], self.feed._local._step

        def interrupt(number):
            if self.feed._local._is_left:  # of an earlier interrupt
                return step(number)
            steps.append(number)
            if len(steps) > after:
                self.feed._local._step = step
                raise KeyboardInterrupt
            return step(number)

        self.feed._local._step = interrupt
        expected = self.twin.push(author, item, score)
        try:
            assert self.feed.push(author, item, score) is expected
        except ValueError:
            assert expected is ValueError
        except KeyboardInterrupt:
            assert expected is True
        self.feed._local._step = step

    @rule()
    def recover(self):
        self.feed.recover()
        assert self.feed.stats().pending == 0

    @invariant()
    def is_sound(self):
        assert self.feed._local.check()
        assert self.feed.stats().items == len(self.twin.posts)


TestFeedMachine = LocalWalk.TestCase
TestFeedMachine.settings = settings(max_examples=60, stateful_step_count=40)
