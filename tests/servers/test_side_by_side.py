"""Several nodes asked by one thread: all are sent their requests before the first reply is awaited."""

import contextvars
import threading
import time

import pytest
import redis
import redis.backoff
import redis.retry

from engines import Proxy
from samovar.cluster.blocking import _ASIDE, _AT_ONCE, Aside
from samovar.cluster.drive import run, run_all
from samovar.cluster.local import LocalNode
from samovar.cluster.memcached import MemcachedNode
from samovar.cluster.node import LEASED, MISS, OK, UNAVAILABLE, YOURS, Node
from samovar.cluster.redis import RedisNode
from support import LIMIT, together, until

HANGS_S = 0.5


@pytest.fixture
def server(request, kind):
    return request.getfixturevalue(f"{kind}_server")


@pytest.fixture
def node(kind):
    """A maker of nodes."""
    made = []

    def make(port, timeout=LIMIT):
        made.append(RedisNode(f"redis://127.0.0.1:{port}", timeout=timeout) if kind == "redis" else
                    MemcachedNode(f"127.0.0.1:{port}", timeout=timeout))
        return made[-1]

    yield make
    for one in made:
        one.close()


def idle(node):
    """The connections that are kept for later."""
    return getattr(node._line, "line", node._line)._idle


def values_of(answers):
    assert [status for status, _ in answers] == [OK] * len(answers)
    return [[one.body for one in found] for _, found in answers]


class Holding(Proxy):
    """Holds replies back until `go` is set, and sets `seen` when a request comes."""

    def __init__(self, target):
        self.go, self.seen, self.all_seen = threading.Event(), threading.Event(), ()
        super().__init__(target)

    def _pass(self, one, other):
        if one.getsockname()[1] == self.port:
            return super()._pass(Noted(one, self.seen), other)
        return super()._pass(Noted(one, None, self), other)


class Noted:
    """A plug that tells when something comes from it, or waits until the others were told."""

    def __init__(self, plug, seen, holder=None):
        self.plug, self.seen, self.holder = plug, seen, holder

    def recv(self, size):
        chunk = self.plug.recv(size)
        if self.seen is not None:
            self.seen.set()
        elif self.holder.go.is_set():
            for seen in self.holder.all_seen:
                assert seen.wait(LIMIT)
        return chunk

    def shutdown(self, how):
        self.plug.shutdown(how)


def test_all_nodes_are_sent_their_requests_before_one_is_waited_for(server, node):
    """No node answers before each has its request: whoever asks one after the other waits for ever."""
    proxies = [Holding(server.port) for _ in range(3)]
    try:
        nodes = [node(proxy.port) for proxy in proxies]
        assert run_all([one.put("key", b"value", 60_000) for one in nodes]) == [(OK, None)] * 3
        for proxy in proxies:
            proxy.seen.clear()
        for proxy in proxies:
            proxy.all_seen = [one.seen for one in proxies]
            proxy.go.set()
        assert values_of(run_all([one.read(["key"]) for one in nodes])) == [[b"value"]] * 3
    finally:
        for proxy in proxies:
            proxy.close()


@pytest.mark.parametrize("opens", [False, True], ids=["connected", "not yet connected"])
def test_nodes_that_hang_together_take_one_timeout(server, node, proxied, opens):
    """Five of six, so one after another would take five."""
    proxies = [proxied(server.port) for _ in range(6)]
    nodes = [node(proxy.port, LIMIT if at == 3 else HANGS_S) for at, proxy in enumerate(proxies)]
    sound = nodes[3]

    def took_s():
        for proxy in proxies:
            proxy.deaf.clear()
        if not opens:  # the connections that a busy machine was too slow for are opened the next time
            until(lambda: [status for status, _ in run_all([one.read(["key"]) for one in nodes])] == [OK] * 6)
        for proxy, one in zip(proxies, nodes, strict=True):
            if one is not sound:
                proxy.deaf.set()
        begun = time.monotonic()
        answers = run_all([one.read(["key"]) for one in nodes])
        took = time.monotonic() - begun
        assert [status for status, _ in answers] == [OK if one is sound else UNAVAILABLE for one in nodes]
        assert {told.reason for status, told in answers if status is UNAVAILABLE} == {"timeout"}
        assert HANGS_S * 0.9 < took
        return took

    until(lambda: took_s() < 4 * HANGS_S)  # where a machine stands still for seconds, the next time


# ------------------------------------------------------------------ clients of redis-py's

@pytest.fixture
def client_node():
    """A maker of nodes over clients of redis-py's, which can only be asked by `perform`."""
    clients = []

    def make(port, timeout=LIMIT):
        clients.append(redis.Redis(port=port, socket_timeout=timeout, socket_connect_timeout=timeout,
                                   retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0)))
        return RedisNode(clients[-1], name=f"node-{len(clients)}")

    yield make
    for one in clients:
        one.close()


@pytest.mark.parametrize("thin", [0, 2], ids=["clients alone", "beside connections of our own"])
def test_all_clients_are_asked_before_one_answers(redis_server, client_node, thin):
    """No engine answers before each has its request."""
    proxies = [Holding(redis_server.port) for _ in range(3 + thin)]
    nodes = [client_node(proxy.port) for proxy in proxies[thin:]]
    nodes += [RedisNode(f"redis://127.0.0.1:{proxy.port}", timeout=LIMIT) for proxy in proxies[:thin]]
    try:
        assert run_all([one.put("key", b"value", 60_000) for one in nodes]) == [(OK, None)] * len(nodes)
        for proxy in proxies:
            proxy.seen.clear()
        for proxy in proxies:
            proxy.all_seen = [one.seen for one in proxies]
            proxy.go.set()
        assert values_of(run_all([one.read(["key"]) for one in nodes])) == [[b"value"]] * len(nodes)
    finally:
        for proxy in proxies:
            proxy.close()
        for one in nodes:
            one.close()


def test_clients_that_hang_are_told_apart_from_the_one_that_does_not(redis_server, client_node, proxied):
    proxies = [proxied(redis_server.port) for _ in range(6)]
    nodes = [client_node(proxy.port, HANGS_S if at else LIMIT) for at, proxy in enumerate(proxies)]
    until(lambda: [status for status, _ in run_all([one.read(["key"]) for one in nodes])] == [OK] * 6)
    for proxy in proxies[1:]:
        proxy.deaf.set()
    answers = run_all([one.read(["key"]) for one in nodes])
    assert [status for status, _ in answers] == [OK] + [UNAVAILABLE] * 5
    assert {told.reason for _, told in answers[1:]} == {"timeout"}


def test_client_that_is_asked_alone_needs_no_thread(redis_server, client_node, monkeypatch):
    monkeypatch.setattr(Aside, "start", lambda act: pytest.fail("a thread was asked for"))
    one, thin = client_node(redis_server.port), RedisNode(redis_server.url, timeout=LIMIT)
    assert run_all([one.put("key", b"value", 60_000)]) == [(OK, None)]
    assert run(thin.put("other", b"value", 60_000)) == (OK, None)
    assert values_of(run_all([one.read(["key"]), one.read(["other"]), thin.read(["key"])])) == [[b"value"]] * 3
    thin.close()


def test_crowd_that_asks_many_clients_is_answered_by_a_bounded_number_of_threads(redis_server, client_node):
    nodes = [client_node(redis_server.port) for _ in range(5)]

    def ask(number):
        for turn in range(10):
            key = f"{number}-{turn}"
            assert run_all([one.put(f"{key}-{at}", key.encode(), 60_000) for at, one in enumerate(nodes)]) == [(OK, None)] * 5
            read = run_all([one.read([f"{key}-{at}"]) for at, one in enumerate(nodes)])
            assert values_of(read) == [[key.encode()]] * 5
            assert len(_ASIDE) <= _ASIDE.limit == 16

    together(*[lambda number=number: ask(number) for number in range(8)])


def test_fault_of_one_node_is_its_own(server, node, proxied):
    broken = proxied(server.port)
    nodes = [node(server.port), node(broken.port), node(server.port)]
    assert values_of(run_all([one.read(["key"]) for one in nodes])) == [[None]] * 3
    broken.close()
    answers = run_all([one.read(["key"]) for one in nodes])
    assert [status for status, _ in answers] == [OK, UNAVAILABLE, OK]
    assert answers[1][1].reason in ("reset", "refused")
    assert [len(idle(one)) for one in nodes] == [1, 0, 1]


def test_batches_larger_than_any_buffer_pass_side_by_side(server, node):
    nodes = [node(server.port) for _ in range(3)]
    bodies = {f"{at}-{key}": bytes([at + key]) * (12 * _AT_ONCE) for at in range(3) for key in range(10)}
    mine = [[(key, body, 60_000) for key, body in bodies.items() if key[0] == str(at)] for at in range(3)]
    for _ in range(2):  # over new connections, and over old ones
        answers = run_all([one.put_many(items) for one, items in zip(nodes, mine, strict=True)])
        assert answers == [(OK, [(OK, None)] * 10)] * 3
        read = run_all([one.read([key for key, _, _ in items]) for one, items in zip(nodes, mine, strict=True)])
        assert values_of(read) == [[body for _, body, _ in items] for items in mine]
    assert [len(idle(one)) for one in nodes] == [1, 1, 1]


def test_verbs_for_one_node_go_as_one_request(server, node):
    one, other = node(server.port), node(server.port)
    keys = [f"key-{number}" for number in range(700)]
    answers = run_all([*(one.lease(key, 10_000) for key in keys), other.read(["none"])])
    assert [status for status, _ in answers] == [YOURS] * 700 + [OK]
    assert len(idle(one)) == 1
    again = run_all([verb for key in keys[:50] for verb in (one.lease(key, 10_000), one.read([key]))])
    assert again[::2] == [(LEASED, None)] * 50 and {found[0].kind for _, found in again[1::2]} == {LEASED}
    assert run(other.read(["none"]))[1][0].kind is MISS


WHO = contextvars.ContextVar("WHO", default=None)


class Telling(Node):
    """A node that can only be asked by `perform`, and tells for whom, and in which thread."""

    def perform(self, request):
        return WHO.get(), threading.get_ident()

    def verb(self):
        return (yield self, "anything")


Telling.__abstractmethods__ = frozenset()


def test_nodes_are_asked_in_the_context_of_who_asks_whichever_thread_does_it():
    token = WHO.set("ann")
    try:
        told = run_all([Telling().verb() for _ in range(3)])
    finally:
        WHO.reset(token)
    assert [who for who, _ in told] == ["ann"] * 3
    assert len({thread for _, thread in told}) > 1


class Interrupted(Node):
    """A node that can only be asked by `perform`, in which somebody presses Ctrl-C."""

    def perform(self, request):
        raise KeyboardInterrupt

    def verb(self):
        yield self, "anything"


Interrupted.__abstractmethods__ = frozenset()


def test_interrupt_leaves_no_reply_for_somebody_else(server, node):
    one = node(server.port)
    assert run(one.put("key", b"value", 60_000)) == (OK, None)
    assert len(idle(one)) == 1
    with pytest.raises(KeyboardInterrupt):
        run_all([one.read(["key"]), Interrupted().verb()])
    assert len(idle(one)) == 0
    assert values_of([run(one.read(["another"]))]) == [[None]]


def test_node_without_a_free_thread_to_open_its_connection_is_asked_all_the_same(server, node, monkeypatch):
    monkeypatch.setattr(Aside, "start", lambda act: None)
    nodes = [node(server.port), LocalNode(), node(server.port)]
    assert values_of(run_all([one.read(["key"]) for one in nodes])) == [[None]] * 3


def test_clients_are_asked_in_turn_where_no_thread_is_free(redis_server, client_node, monkeypatch):
    monkeypatch.setattr(Aside, "start", lambda act: None)
    nodes = [client_node(redis_server.port) for _ in range(3)]
    assert run_all([one.put("key", b"value", 60_000) for one in nodes]) == [(OK, None)] * 3
    assert values_of(run_all([one.read(["key"]) for one in nodes])) == [[b"value"]] * 3
