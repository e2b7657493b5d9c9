"""Connections that end while they lie idle, or under a request: what was asked is asked once more over a new one, and bears
it; only when that fails too is it the node's fault."""

import asyncio
import contextlib
import socket
import struct
import threading

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.retry

from engines import Proxy
from samovar.cluster import AsyncCluster, Cluster, RedisNode, admission, sockets
from samovar.cluster.drive import arun, run, run_all
from samovar.cluster.node import FENCED, HIT, LEASED, LOST, OK, UNAVAILABLE, YOURS
from support import LIMIT, until

LONG = 60_000
OWNER = b"o" * 16


class Cutting(Proxy):
    """Lets a request reach the engine, and breaks the connection instead of its answer, as often as `cuts` says."""

    def __init__(self, target):
        self.cuts, self.was_cut, self.spares = 0, 0, []
        super().__init__(target)

    def _pass(self, one, other):
        if one.getsockname()[1] == self.port:
            return super()._pass(one, other)
        with contextlib.suppress(OSError):
            while chunk := one.recv(1 << 16):
                if self.spares:  # whether this answer passes, of each that comes
                    self.cuts = not self.spares.pop(0)
                if self.cuts:
                    self.cuts -= 1
                    self.was_cut += 1
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    other.shutdown(socket.SHUT_RD)
                    break
                other.sendall(chunk)
        other.close()
        one.close()


@pytest.fixture
def cutting(asker):
    proxy = Cutting(asker.server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def twice(asker, cutting):
    """Asks a node that has answered before, by what makes a verb of it; the engine does it twice."""
    node = asker.node(cutting.port)

    def ask(make):
        assert asker.ask(node.probe()) == (OK, True)
        cutting.cuts, cutting.was_cut = 1, 0
        answer = asker.ask(make(node))
        assert cutting.was_cut == 1
        return answer

    return ask


# ------------------------------------------------------------------ what was done twice

def test_lease_that_was_placed_twice_is_the_caller_s(asker, twice):
    status, token = twice(lambda node: node.lease("k", LONG))
    assert status is YOURS
    other = asker.node()
    assert asker.ask(other.lease("k", LONG)) == (LEASED, None)
    assert asker.ask(other.fill("k", token, b"1", LONG)) == (OK, None)


def test_lease_is_the_caller_s_though_each_of_its_requests_was_done_twice(asker, cutting):
    node, other = asker.node(cutting.port), asker.node()
    assert asker.ask(node.probe()) == (OK, True)
    cutting.spares, cutting.was_cut = [False, True] * (1 if asker.kind == "redis" else 2), 0  # which needs one request
    status, token = asker.ask(node.lease("k", LONG))
    assert (status, cutting.was_cut) == (YOURS, 1 if asker.kind == "redis" else 2)
    assert asker.ask(other.lease("k", LONG)) == (LEASED, None)
    assert asker.ask(other.fill("k", token, b"1", LONG)) == (OK, None)


def test_leases_that_were_placed_twice_leave_values_and_fences_alone(asker, twice):
    node = asker.node()
    asker.ask(node.put("value", b"1", LONG))
    asker.ask(node.begin_write(["fenced"], OWNER, LONG))
    status, answers = twice(lambda node: node.lease_many(["value", "fenced", "a", "b"], LONG))
    assert status is OK and [answer[0] for answer in answers] == [HIT, FENCED, YOURS, YOURS]
    filled = asker.ask(node.fill_many([(key, token, b"2", LONG) for key, (_, token) in zip("ab", answers[2:])]))
    assert filled == (OK, [(OK, None)] * 2)
    assert asker.ask(node.end_write(["fenced"], OWNER)) == (OK, None)
    assert asker.ask(node.lease("fenced", LONG))[0] is YOURS


def test_value_that_was_filled_twice_is_stored(asker, twice):
    node = asker.node()
    _, token = asker.ask(node.lease("k", LONG))
    assert twice(lambda node: node.fill("k", token, b"1", LONG)) == (OK, None)
    assert asker.ask(node.read(["k"]))[1][0].body == b"1"


def test_fill_of_a_cell_that_was_deleted_is_lost_however_often_it_is_sent(asker, twice):
    node = asker.node()
    _, token = asker.ask(node.lease("k", LONG))
    asker.ask(node.delete(["k"]))
    assert twice(lambda node: node.fill("k", token, b"1", LONG)) == (LOST, None)
    asker.ask(node.put("k", b"2", LONG))
    assert twice(lambda node: node.fill("k", token, b"1", LONG)) == (LOST, None)
    assert asker.ask(node.read(["k"]))[1][0].body == b"2"


def test_claim_that_was_made_twice_is_the_caller_s_and_nobody_else_s(asker, twice):
    node = asker.node()
    asker.ask(node.put("k", b"1", LONG))
    token = asker.ask(node.read(["k"]))[1][0].token
    status, mine = twice(lambda node: node.claim("k", token, LONG))
    assert status is YOURS
    assert asker.ask(node.claim("k", token, LONG))[0] is LEASED
    assert twice(lambda node: node.claim("k", token, LONG))[0] is LEASED
    assert asker.ask(node.fill("k", mine, b"2", LONG)) == (OK, None)


def test_changes_that_were_made_twice_are_made(asker, twice):
    node = asker.node()
    assert twice(lambda node: node.put_many([("a", b"1", LONG), ("b", b"2", LONG)])) == (OK, [(OK, None)] * 2)
    assert [one.body for one in asker.ask(node.read(["a", "b"]))[1]] == [b"1", b"2"]
    assert twice(lambda node: node.touch("a", LONG)) == (OK, None)
    assert twice(lambda node: node.delete(["a", "b"]))[0] is OK
    assert asker.ask(node.lease("a", LONG))[0] is YOURS
    assert twice(lambda node: node.begin_write(["c"], OWNER, LONG)) == (OK, None)
    assert asker.ask(node.lease("c", LONG)) == (FENCED, None)
    assert twice(lambda node: node.end_write(["c"], OWNER)) == (OK, None)
    assert asker.ask(node.lease("c", LONG))[0] is YOURS


def test_counter_that_was_bumped_twice_has_moved(asker, twice):
    node = asker.node()
    before = asker.ask(node.versions(["t", "u"]))[1]
    status, now = twice(lambda node: node.bump(["t", "u"]))
    assert status is OK and all(was < number for was, number in zip(before, now, strict=True))
    assert asker.ask(node.versions(["t", "u"])) == (OK, now)


def test_notes_that_were_made_twice_are_there(asker, twice):
    assert twice(lambda node: node.note("n", [b"one", b"two"], 100, LONG)) == (OK, None)
    assert set(asker.ask(asker.node().noted("n"))[1]) == {b"one", b"two"}


# ------------------------------------------------------------------ when it is the node's fault

class Actor:
    """Somebody who listens, and does as told with each request: a speech that answers it, and what it does then."""

    def __init__(self, *acts):
        self.acts, self.heard, self.opened = list(acts), 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            try:
                plug, _ = self.listener.accept()
            except OSError:
                return
            self.opened += 1
            threading.Thread(target=self._act, args=(plug,), daemon=True).start()

    def _act(self, plug):
        with plug, contextlib.suppress(OSError):
            while plug.recv(1 << 16):
                self.heard += 1
                speech = self.acts.pop(0) if self.acts else None
                if speech is None or speech.endswith(b"CUT"):
                    plug.sendall((speech or b"")[:-3])
                    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0) if not speech else b"\0" * 8)
                    return
                plug.sendall(speech)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def actor(asker, kind):
    """A maker of somebody who speaks as the engine does: GREETS, SOUND and HALF stand for what that says, HANGS for
    silence."""
    made = []
    speech = {"redis": {"GREETS": b"$8\r\nrun_id:7\r\n", "SOUND": b"$-1\r\n", "HALF": b"$9\r\nVabCUT", "HANGS": b""},
              "memcached": {"SOUND": b"EN\r\n", "HALF": b"VA 9 c1 f1\r\nabCUT", "HANGS": b""}}[kind]

    def make(*acts):
        made.append(Actor(*[speech.get(act) for act in acts if act != "GREETS" or kind == "redis"]))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_new_connection_that_is_reset_is_the_node_s_fault_at_once(asker, actor):
    server = actor("GREETS", "CUT")
    status, fault = asker.ask(asker.node(server.port).read(["k"]))
    assert (status, fault.reason) == (UNAVAILABLE, "reset")
    assert server.opened == 1


def test_second_try_that_is_reset_too_is_the_last(asker, actor):
    server = actor("GREETS", "SOUND", "CUT", "GREETS", "CUT", "GREETS", "SOUND")
    node = asker.node(server.port)
    assert asker.ask(node.read(["k"]))[0] is OK
    status, fault = asker.ask(node.read(["k"]))
    assert (status, fault.reason) == (UNAVAILABLE, "reset")
    assert server.opened == 2
    assert asker.ask(node.read(["k"]))[0] is OK


def test_answer_that_broke_off_is_not_asked_for_again(asker, actor):
    server = actor("GREETS", "SOUND", "HALF", "GREETS", "SOUND")
    node = asker.node(server.port)
    assert asker.ask(node.read(["k"]))[0] is OK
    status, fault = asker.ask(node.read(["k"]))
    assert (status, fault.reason) == (UNAVAILABLE, "reset")
    assert server.opened == 1


def test_second_try_that_hangs_ends_with_the_time_of_the_first(asker, proxied):
    proxy = proxied(asker.server.port)
    node = asker.node(proxy.port, timeout=0.2)

    def reason():
        until(lambda: asker.ask(node.probe()) == (OK, True))
        proxy.reset()
        proxy.deaf.set()
        status, fault = asker.ask(node.probe())
        proxy.deaf.clear()
        assert status is UNAVAILABLE
        return fault.reason

    until(lambda: reason() == "timeout")  # "reset" where a busy machine left no time for a second try
    until(lambda: asker.ask(node.probe()) == (OK, True))


@pytest.fixture
def passing(monkeypatch):
    """Lets time pass, for connections, by as much as `step` says, with each look at it."""

    class Passing:
        now, step = 1000.0, 0.0

        def __call__(self):
            self.now += self.step
            return self.now

    made = Passing()
    monkeypatch.setattr(sockets, "stopwatch", made)
    return made


@pytest.mark.parametrize("asker", ["blocking"], indirect=True)
def test_second_try_for_which_no_time_is_left_is_no_other_fault(asker, actor, passing):
    server = actor("GREETS", "SOUND", "CUT", "HANGS", "HANGS")
    node = asker.node(server.port)
    assert asker.ask(node.read(["k"]))[0] is OK
    passing.step = 0.75 * LIMIT  # the second look is too late
    status, fault = asker.ask(node.read(["k"]))
    assert (status, fault.reason) == (UNAVAILABLE, "timeout")


@pytest.mark.parametrize("asker", ["blocking"], indirect=True)
def test_second_try_that_is_slow_to_connect_greets_and_asks_within_the_time_of_the_first(asker, actor, passing, monkeypatch):
    server = actor("GREETS", "SOUND", "CUT", "GREETS", "SOUND", "SOUND")
    node = asker.node(server.port, timeout=LIMIT)
    assert asker.ask(node.read(["k"]))[0] is OK
    connect, exchange, had_s = sockets.Line._connect, sockets.Wire.exchange, []

    def slow(line, timeout_s):
        passing.now += 0.75 * LIMIT
        return connect(line, timeout_s)

    def noted(wire, payload, count):
        had_s.append(wire._timeout_s)
        return exchange(wire, payload, count)

    monkeypatch.setattr(sockets.Line, "_connect", slow)
    monkeypatch.setattr(sockets.Wire, "exchange", noted)
    assert asker.ask(node.read(["k"]))[0] is OK
    assert had_s == [LIMIT] + [LIMIT / 4] * (2 if asker.kind == "redis" else 1)
    assert asker.ask(node.read(["k"]))[0] is OK  # over the same connection, which has its whole time again
    assert had_s[-1] == LIMIT and server.opened == 2


def test_node_that_is_gone_is_refused(asker, proxied):
    proxy = proxied(asker.server.port)
    node = asker.node(proxy.port)
    assert asker.ask(node.probe()) == (OK, True)
    proxy.close()
    status, fault = asker.ask(node.probe())
    assert (status, fault.reason) == (UNAVAILABLE, "refused")


# ------------------------------------------------------------------ many at once

def test_batches_side_by_side_do_not_notice_that_their_connections_ended(kind, asker, proxied):
    proxies = [proxied(asker.server.port) for _ in range(3)]
    nodes = [asker.node(proxy.port) for proxy in proxies]
    for at in range(20):
        answers = run_all([node.put(f"k{at}", b"%d" % at, LONG) for node in nodes])
        assert answers == [(OK, None)] * 3
        for proxy in proxies[at % 3:]:
            proxy.reset()


def test_tasks_whose_connection_broke_under_them_share_the_next_one(kind, asker, cutting):
    node = asker.node(cutting.port)

    async def story():
        assert await arun(node.probe()) == (OK, True)
        cutting.cuts = 1
        opened = len(cutting.plugs)
        told = await asyncio.gather(*(arun(node.read([f"k{number}"])) for number in range(50)))
        assert {status for status, _ in told} == {OK}
        assert len(cutting.plugs) - opened == 2  # both its ends
        await node.aclose()

    asyncio.run(story())


# ------------------------------------------------------------------ what a cluster makes of it

def is_up(cluster):
    return {state for state, _, _ in cluster.stats().nodes.values()} == {"up"}


@pytest.fixture
def unpolled(monkeypatch):
    """Nobody but the test asks: a request of the prober's may be under way when connections end, again and again, and one
    whose second try broke, too, is the node's fault."""
    monkeypatch.setattr(admission, "POLL_S", LIMIT)


def test_cluster_keeps_a_node_whose_idle_connections_are_closed(kind, asker, proxied, unpolled):
    proxy = proxied(asker.server.port)
    node = asker.node(proxy.port)
    if asker.runner is None:
        with Cluster([node], bus=False) as cluster:
            cluster["tea"] = "steeped"
            for _ in range(20):
                proxy.reset()
                assert cluster["tea"] == "steeped" and is_up(cluster)
        return

    async def story():
        async with AsyncCluster([node], bus=False) as cluster:
            await cluster.set("tea", "steeped")
            for _ in range(20):
                proxy.reset()
                assert await cluster.get("tea") == "steeped" and is_up(cluster)

    asker.runner.run(story())


def test_task_that_finds_its_connection_about_to_end_asks_over_another_one_however_long_it_lay_idle(redis_server):
    node = RedisNode(redis_server.url, timeout=LIMIT)

    async def main():
        assert await arun(node.probe()) == (OK, True)
        (stream,) = node._line.line._streams.values()
        stream._moved -= 3600.0  # when something came last
        stream._raw.close()  # as it is where a write has failed: the loop says so at its next turn
        status, _ = await arun(node.read(["k"]))
        await node.aclose()
        return status

    assert asyncio.run(main()) is OK


def test_redis_that_closes_idle_clients_is_no_fault(redis_server, unpolled):
    node = RedisNode(redis_server.url, timeout=LIMIT)
    with Cluster([node], bus=False) as cluster:
        cluster["tea"] = "steeped"
        for _ in range(20):
            redis_server.do("CLIENT", "KILL", "TYPE", "normal")
            assert cluster["tea"] == "steeped" and is_up(cluster)


# ------------------------------------------------------------------ clients of redis-py's

def test_client_s_command_is_asked_once_more_where_its_connection_broke(redis_server):
    proxy = Cutting(redis_server.port)
    client = redis.Redis(port=proxy.port, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0), socket_timeout=LIMIT)
    node = RedisNode(client, name="n")
    try:
        for steps in (lambda: node.put("k", b"1", LONG), lambda: node.touch("k", LONG), lambda: node.probe()):
            assert run(node.probe()) == (OK, True)
            proxy.cuts = 1
            assert run(steps())[0] is OK
            assert proxy.cuts == 0
        proxy.cuts = 9
        assert run(node.read(["k"]))[1].reason == "reset"
    finally:
        client.close()
        proxy.close()


def test_asyncio_client_s_command_is_asked_once_more_where_its_connection_broke(redis_server):
    async def story():
        retry = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0)
        async with redis.asyncio.Redis(port=proxy.port, retry=retry, socket_timeout=LIMIT) as client:
            node = RedisNode(client, name="n")
            for steps in (lambda: node.put("k", b"1", LONG), lambda: node.touch("k", LONG), lambda: node.probe()):
                assert await arun(node.probe()) == (OK, True)
                proxy.cuts = 1
                assert (await arun(steps()))[0] is OK
                assert proxy.cuts == 0
            proxy.cuts = 9
            assert (await arun(node.read(["k"])))[1].reason == "reset"

    proxy = Cutting(redis_server.port)
    try:
        asyncio.run(story())
    finally:
        proxy.close()
