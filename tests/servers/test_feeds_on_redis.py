"""Feeds on a real Redis: beside their twin, blocking and in asyncio; one round trip for a page; workers that are killed."""

import asyncio
import itertools
import json
import signal
import subprocess
import sys

import pytest
import redis
from hypothesis import settings, strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

import feed_twin
import feed_worker
from engines import RedisServer, redis_process, redis_server  # noqa: F401
from feed_twin import AUTHORS, ITEMS, SCORES, FeedWalk, agrees
from samovar import Feed
from samovar.cluster.drive import run
from support import LIMIT, TESTS, until


class Awaited:
    """A feed whose verbs are awaited by a loop."""

    def __init__(self, feed, runner):
        self._feed, self._runner, self._shared = feed, runner, feed._shared

    def __getattr__(self, verb):
        call = getattr(self._feed, f"a{verb}", None)
        if call is None:
            return getattr(self._feed, verb)
        return lambda *args: self._runner.run(call(*args))


def empty(server, feed):
    """Let the server know the scripts, so that each takes one round trip, and forget everything else."""
    feed.follow("warm", "up")
    feed.push("up", "warm", 0)
    feed.page("warm")
    feed.recover()
    server.do("FLUSHALL")


class RedisWalk(FeedWalk):
    """`server` and `runner` are of the subclass that a test makes."""

    @initialize(length=st.integers(1, 6), more=st.integers(0, 6), threshold=st.sampled_from([0, 1, 2, 3, 100, "heat"]),
                at_once=st.integers(1, 3))
    def start(self, length, more, threshold, at_once):
        feed = Feed(self.server.url, length=length, outbox=length + more, threshold=threshold, lease="1ms", timeout=LIMIT)
        empty(self.server, feed)
        feed._shared._at_once = at_once
        self.plain = feed
        self.begin(feed if self.runner is None else Awaited(feed, self.runner), length, length + more)

    @rule(author=st.sampled_from(AUTHORS), item=st.sampled_from(ITEMS), score=SCORES, asks=st.integers(0, 4))
    def killed_push(self, author, item, score, asks):
        """A worker that dies after so many round trips: from the second on the item is there."""
        steps = self.plain._shared.push(author, item, float(score))
        try:
            node, request = next(steps)
            for _ in range(asks):
                node, request = steps.send(node.perform(request))
        except (StopIteration, ValueError):
            pass
        steps.close()
        if asks >= 2:
            self.twin.push(author, item, score)

    @rule(author=st.sampled_from(AUTHORS), score=SCORES)
    def push_alone(self, author, score):
        """When it returns, nothing of it is left to do."""
        self.push(author, "alone", score)
        assert not any(member.endswith(b"alone") for member in pending(self.plain))

    @rule()
    def recover(self):
        self.feed.recover()

    def teardown(self):
        if hasattr(self, "plain"):
            super().teardown()
            for member in pending(self.plain):
                self.server.do("ZADD", self.plain._shared._key("journal"), "XX", "0", member)
            self.feed.recover()
            assert self.feed.stats().pending == 0
            super().teardown()
            self.plain.close()
            if self.runner is not None:
                self.runner.run(self.plain.aclose())


@pytest.mark.parametrize("way, examples", [("blocking", 20), ("asyncio", 20),
                                           pytest.param("blocking", 100, marks=pytest.mark.slow)])
def test_feed_on_redis_says_what_its_twin_says(redis_server, way, examples):  # noqa: F811
    with asyncio.Runner() as runner:
        walk = type("Walk", (RedisWalk,), {"server": redis_server, "runner": runner if way == "asyncio" else None})
        run_state_machine_as_test(walk, settings=settings(max_examples=examples, stateful_step_count=30))


def test_feed_on_redis_holds_the_newest_items_whatever_was_deleted_among_them(redis_server):  # noqa: F811
    feed = Feed(redis_server.url, length=10, outbox=40, timeout=LIMIT)
    for author in range(3):
        feed.follow("ann", author)
    for item in range(60):
        feed.push(item % 3, item, item)
    for item in range(50, 60):
        feed.delete(item)
    assert [entry.item for entry in feed.page("ann").items][:10] == [*range(49, 39, -1)]
    assert [entry.item for entry in feed.page("ann").items][:10] == [*range(49, 39, -1)] and feed.stats().rebuilt == 1
    feed.close()


def test_feed_shows_an_item_once_whenever_its_worker_died(redis_server):  # noqa: F811
    feed = Feed(redis_server.url, lease="1ms", timeout=LIMIT)
    empty(redis_server, feed)
    feed._shared._at_once = 1
    feed.follow_many("ann", range(6))
    expected, ended = [], False
    for asks in itertools.count(2):
        steps = feed._shared.push("ann", asks, float(asks))
        node, request = next(steps)
        try:
            for _ in range(asks):
                node, request = steps.send(node.perform(request))
        except StopIteration:
            ended = True
        steps.close()
        expected.insert(0, asks)
        for reader in range(6):
            assert [entry.item for entry in feed.page(reader).items] == expected
        if ended:
            break
    assert asks > 3
    for member in pending(feed):
        redis_server.do("ZADD", feed._shared._key("journal"), "XX", "0", member)
    feed.recover()
    assert feed.stats().pending == 0
    for reader in range(6):
        assert [entry.item for entry in feed.page(reader).items] == expected
    feed.close()


def test_feed_shows_what_hundreds_of_dead_workers_left(redis_server):  # noqa: F811
    feed = Feed(redis_server.url, length=400, lease=60, timeout=LIMIT)
    empty(redis_server, feed)
    feed.follow_many("bob", ["ann", "eve"])
    feed._shared._at_once, feed._shared._under_way = 1, 300
    for item in range(300):
        steps = feed._shared.push("bob", item, float(item))
        node, request = next(steps)
        for _ in range(2):  # the item is in the outbox and the journal, and nobody has a copy
            node, request = steps.send(node.perform(request))
        steps.close()
    assert feed.stats().pending == 300
    assert [entry.item for entry in feed.page("ann", limit=400).items] == [*range(299, -1, -1)]
    feed.close()


def test_feed_on_redis_has_no_more_large_pushes_under_way_than_a_page_may_look_at(redis_server):  # noqa: F811
    feed, most, sizes = Feed(redis_server.url, lease=60, timeout=LIMIT), 3, []
    empty(redis_server, feed)
    feed._shared._at_once, feed._shared._under_way = 2, most
    for author in range(20):
        feed.follow_many(author, range(9))
    for author in range(most):  # workers that died a moment ago
        steps = feed._shared.push(author, author, float(author))
        node, request = next(steps)
        for _ in range(2):
            node, request = steps.send(node.perform(request))
        steps.close()
    other = Feed(redis_server.url, lease=60, timeout=LIMIT)
    other._shared._at_once, other._shared._under_way = 2, most
    perform = other._shared._node.aperform

    async def watched(request):
        replies = await perform(request)
        sizes.append(len(pending(feed)))
        return replies

    async def crowd():
        other._shared._node.aperform = watched
        assert all(await asyncio.gather(*(other.apush(author, author, author) for author in range(most, 20))))
        await other.aclose()

    asyncio.run(crowd())
    assert max(sizes) == most and feed.stats().pending == 0
    for reader in range(9):
        assert [entry.item for entry in feed.page(reader).items] == [*range(19, -1, -1)]
    feed.close()


def test_feed_of_an_asyncio_client_alone_does_everything_awaited(redis_server):  # noqa: F811
    async def use():
        client = redis.asyncio.Redis(port=redis_server.port)
        feed = Feed(client, length=2, threshold=2)
        assert await feed.afollow_many("bob", ["ann", "ann", "eve"]) == 2 and await feed.afollow("ann", "zoe")
        assert await feed.afollowers("bob") == 2 and await feed.afollows("ann", "bob")
        assert await feed.apush("bob", "tea", 1) and await feed.apush("zoe", "film", 2)
        await feed.arebuild("ann")
        assert [entry.item for entry in (await feed.apage("ann")).items] == ["film", "tea"]
        assert await feed.aunfollow("ann", "bob") and not await feed.afollows("ann", "bob")
        assert await feed.adelete("film") and await feed.arecover() == 0 and (await feed.astats()).items == 1
        await client.aclose()

    assert {f"a{verb}" for verb in vars(Feed) if verb[0] not in "_a"} <= set(vars(Feed))
    asyncio.run(use())


def test_feed_page_is_one_round_trip_with_a_thousand_authors(redis_server):  # noqa: F811
    feed = Feed(redis_server.url, threshold=3, length=200, timeout=LIMIT)
    empty(redis_server, feed)
    for author in range(1000):
        feed.follow("ann", author)
        if author < 20:
            feed.follow_many(author, range(4))
    for item in range(300):
        feed.push(item * 7 % 1000, item, item)
    asked, perform = [], feed._shared._node.perform
    feed._shared._node.perform = lambda request: asked.append(request) or perform(request)
    page = feed.page("ann")
    assert [entry.item for entry in page.items] == [*range(299, 249, -1)]
    assert any(entry.author < 20 for entry in page.items) and any(entry.author >= 20 for entry in page.items)
    assert [len(request) for request in asked] == [1]
    page = feed.page("ann", page.cursor)
    assert [entry.item for entry in page.items] == [*range(249, 199, -1)] and len(asked) == 2
    feed.close()


def test_feed_post_of_many_followers_asks_no_more_than_one_of_few(redis_server):  # noqa: F811
    feed = Feed(redis_server.url, threshold=100, timeout=LIMIT)
    empty(redis_server, feed)
    feed.follow_many("star", range(5000))
    feed.follow_many("ann", range(3))
    asked, perform = [], feed._shared._node.perform
    feed._shared._node.perform = lambda request: asked.append(len(request)) or perform(request)
    feed.push("ann", 1, 1.0)
    few = list(asked)
    asked.clear()
    feed.push("star", 2, 2.0)
    assert sum(asked) <= sum(few)
    assert feed.page(4999).items[0].item == 2 and feed.stats().pending == 0
    feed.close()


def test_feed_post_to_few_followers_leaves_nothing_to_be_done_later(redis_server):  # noqa: F811
    feed = Feed(redis_server.url, lease=60, timeout=LIMIT)
    empty(redis_server, feed)
    feed.follow_many("ann", range(200))
    steps = feed._shared.push("ann", "tea", 1.0)
    node, request = next(steps)
    node, request = steps.send(node.perform(request))
    node.perform(request)
    steps.close()  # the worker dies
    stats = feed.stats()
    assert stats.pending == 0 and stats.delivered == 200 and feed.recover() == 0
    assert all([entry.item for entry in feed.page(reader).items] == ["tea"] for reader in range(200))
    feed.follow("one more", "ann")
    assert feed.push("ann", "film", 2.0) and feed.stats().pending == 0 and feed.stats().delivered == 401
    feed.close()


def test_feed_goes_on_after_a_restart_and_says_when_there_is_no_redis(redis_server):  # noqa: F811
    feed = Feed(redis_server.url, timeout=LIMIT)
    feed.follow("ann", "bob")
    redis_server.stop()
    with pytest.raises(ConnectionError, match="the feed's Redis"):
        feed.push("bob", 1, 1.0)
    redis_server.start(redis_server.port)
    assert feed.page("ann").items == []  # it lost what it held
    assert feed.follow("ann", "bob") and feed.push("bob", 1, 1.0)
    assert [entry.item for entry in feed.page("ann").items] == [1]
    feed.close()


@pytest.fixture
def clustered():
    """A Redis Cluster of one, which refuses commands and scripts whose keys are in several slots as any does."""
    server = RedisServer("--cluster-enabled", "yes")
    server.do("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    until(lambda: b"cluster_state:ok" in server.do("CLUSTER", "INFO"))
    yield server
    server.end()


def test_feed_lives_in_one_slot_of_a_redis_cluster(clustered):
    client = redis.cluster.RedisCluster(host="127.0.0.1", port=clustered.port)
    feed = Feed(client, threshold=3, length=4, namespace="news")
    feed._shared._at_once = 1
    feed.follow_many("ann", range(3))
    feed.follow_many("star", range(4))
    for item in range(9):
        assert feed.push("star" if item % 2 else "ann", f"{{{item}}}", item)
    assert feed.delete("{8}") and feed.unfollow(1, "star") and feed.recover() == 0
    assert [entry.item for entry in feed.page(2).items] == [f"{{{item}}}" for item in range(7, -1, -1)]
    assert [entry.item for entry in feed.page(1).items] == ["{6}", "{4}", "{2}", "{0}"]
    assert len({client.keyslot(key) for key in client.keys(target_nodes="all")}) == 1
    client.close()


def said(lines):
    """(what was done and what came of it, what was not answered) of a worker's lines."""
    done = [json.loads(line) for line in lines if line.endswith("\n")]
    pairs = list(zip(done[::2], done[1::2], strict=False))
    return pairs, done[2 * len(pairs):]


def followed(author):
    """Who follows an author at first: author-2 and author-4 are above the threshold."""
    return [f"reader-{number}-{place}" for number in range(feed_worker.AUTHORS) if number < 5 or author in (2, 4)
            for place in range(feed_worker.READERS)]


def replay(outbox, histories, lost):
    """The twin after all of it. lost: what was asked for last and not answered, and did happen."""
    twin = feed_twin.Feed(outbox)
    for author in range(feed_worker.AUTHORS):
        for reader in followed(author):
            twin.follows.setdefault(reader, set()).add(f"author-{author}")
    for pairs in [*histories, [(verb, None) for verb in lost]]:
        for (verb, words), answer in pairs:
            if verb == "push":
                found = twin.push(*words)
            elif verb == "delete":
                found = twin.posts.pop(words[0], None) is not None
            else:
                follows = twin.follows.setdefault(words[0], set())
                found = (words[1] in follows) == (verb == "unfollow")
                (follows.add if verb == "follow" else follows.discard)(words[1])
            assert answer is None or found is answer, (verb, words, answer)
    return twin


def differs(feed, twin, length=30):
    """The first reader whose feed is not the twin's; None: there is none."""
    for reader in twin.follows:
        below = twin.feed(reader)
        try:
            agrees(feed.page(reader, limit=1000).items, below, min(length, len(below)), 1000)
        except AssertionError:
            return reader
    return None


def pending(feed):
    [members] = run(feed._shared._plain([("ZRANGE", feed._shared._key("journal"), 0, -1)]))
    return members


def kill_in_a_push(feed, worker, number, lines, least):
    """Kill a worker while copies of what it pushes are being made. It is stopped to look whether they are."""
    def is_pushing():
        return any(member[13:].startswith(b"9:sauthor-%d" % number) for member in pending(feed))

    while len(lines) < least:
        lines.append(worker.stdout.readline())
    while worker.poll() is None:
        until(is_pushing)
        worker.send_signal(signal.SIGSTOP)
        if is_pushing():
            worker.kill()
            return
        worker.send_signal(signal.SIGCONT)
    pytest.fail("the worker is over")


@pytest.mark.slow
def test_feed_loses_and_repeats_nothing_when_workers_are_killed(redis_server):  # noqa: F811
    feed = feed_worker.make(redis_server.url, lease="1ms", timeout=LIMIT)
    for author in range(feed_worker.AUTHORS):
        feed.follow_many(f"author-{author}", followed(author))
    workers = [subprocess.Popen([sys.executable, TESTS / "feed_worker.py", redis_server.url, str(number), count],
                                stdout=subprocess.PIPE, text=True)
               for number, count in enumerate(["100000", "100000", "150", "150"])]
    lines = [[] for _ in workers]
    for number in (0, 1):
        kill_in_a_push(feed, workers[number], number, lines[number], 60 + 30 * number)
    for worker, told in zip(workers, lines, strict=True):
        told += worker.stdout.readlines()
        worker.stdout.close()
        worker.wait(LIMIT)
    assert [worker.returncode for worker in workers[2:]] == [0, 0]
    histories, lost = zip(*map(said, lines), strict=True)
    assert [len(verbs) for verbs in lost] == [1, 1, 0, 0]
    twin = replay(40, histories, [*lost[0], *lost[1]])  # what was in the journal has happened
    left = pending(feed)
    assert left and differs(feed, twin) is None  # before anybody goes on with it
    for member in left:
        redis_server.do("ZADD", feed._shared._key("journal"), "XX", "0", member)  # the leases are over
    assert feed.recover() == len(left) and not pending(feed)
    assert differs(feed, twin) is None
    for reader in twin.follows:
        feed.rebuild(reader)
    assert differs(feed, twin) is None
    feed.close()
