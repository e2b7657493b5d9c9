"""Engines that refuse, hang, reset, lie or forget: every verb answers UNAVAILABLE and says why, and none raises; and the
connections belong to their thread's process and their task's loop."""

import asyncio
import os
import signal
import socket
import threading

import pytest

from engines import MemcachedServer, RedisServer, free_port
from samovar.cluster.drive import arun, run
from samovar.cluster.memcached import MemcachedNode
from samovar.cluster.node import HIT, LEASED, LOST, MISS, OK, TOOBIG, UNAVAILABLE, YOURS, Fault, new_owner
from samovar.cluster.redis import RedisNode
from support import LIMIT, until

LONG = 60_000
OWNER = b"o" * 16
SHORT = 0.1  # a node's timeout, where it is meant to be over


def verbs(node, token=b"L" + b"x" * 16):
    """Every verb that asks the engine, by name."""
    if isinstance(node, MemcachedNode):
        token = (7, False)
    return {
        "read": lambda: node.read(["a", "b"]), "lease": lambda: node.lease("a", LONG),
        "lease_many": lambda: node.lease_many(["a", "b"], LONG), "fill": lambda: node.fill("a", token, b"1", LONG),
        "claim": lambda: node.claim("a", token, LONG), "release": lambda: node.release("a", token),
        "put": lambda: node.put("a", b"1", LONG), "put_many": lambda: node.put_many([("a", b"1", LONG)] * 2),
        "delete": lambda: node.delete(["a", "b"]), "touch": lambda: node.touch("a", LONG),
        "begin_write": lambda: node.begin_write(["a", "b"], OWNER, LONG),
        "end_write": lambda: node.end_write(["a", "b"], OWNER), "versions": lambda: node.versions(["t"]),
        "bump": lambda: node.bump(["t"]), "epoch": lambda: node.epoch("n"), "bump_epoch": lambda: node.bump_epoch("n"),
        "probe": lambda: node.probe(),
        **({"publish": lambda: node.publish("c", b"")} if node.capabilities.push else {}),
    }


def all_unavailable(asker, node, *reasons):
    for name, steps in verbs(node).items():
        status, fault = asker.ask(steps())
        assert status is UNAVAILABLE and type(fault) is Fault, name
        assert fault.reason in reasons, (name, fault)


def all_well(asker, node):
    assert asker.ask(node.put("well", b"1", LONG)) == (OK, None)
    assert asker.ask(node.read(["well"]))[1][0].body == b"1"


def test_every_verb_answers_when_nobody_listens(asker):
    all_unavailable(asker, asker.node(free_port()), "refused")


def test_every_verb_answers_when_the_engine_hangs(asker):
    node = asker.node(timeout=SHORT)
    with asker.server.hanging():
        all_unavailable(asker, node, "timeout")
    until(lambda: asker.ask(node.probe()) == (OK, True))


def test_every_verb_answers_when_its_connection_hangs(asker, proxied):
    proxy = proxied(asker.server.port)
    node = asker.node(proxy.port, timeout=SHORT)
    until(lambda: asker.ask(node.probe()) == (OK, True))
    proxy.deaf.set()
    all_unavailable(asker, node, "timeout")
    proxy.deaf.clear()
    until(lambda: asker.ask(node.probe()) == (OK, True))


def test_timeout_is_about_time_and_others_are_not(asker):
    node = asker.node(timeout=SHORT)
    with asker.server.hanging():
        assert asker.ask(node.probe())[1].is_slow
    assert not asker.ask(asker.node(free_port()).probe())[1].is_slow


def test_reset_of_an_idle_connection_is_noticed_by_no_verb(asker, proxied):
    proxy = proxied(asker.server.port)
    node = asker.node(proxy.port)
    all_well(asker, node)
    for name, steps in verbs(node).items():
        proxy.reset()
        assert asker.ask(steps())[0] is not UNAVAILABLE, name
    all_well(asker, node)


def test_restart_is_survived(kind, asker):
    server = {"redis": RedisServer, "memcached": MemcachedServer}[kind]()
    try:
        node = asker.node(server.port)
        all_well(asker, node)
        before = asker.ask(node.epoch("n"))[1]
        server.stop()
        answer = asker.ask(node.read(["well"]))
        assert answer[0] is UNAVAILABLE and answer[1].reason in ("reset", "refused")
        all_unavailable(asker, node, "refused")
        server.start(server.port)
        if kind == "redis":  # it may have come back with what it held: nothing is read of it before somebody saw to that
            all_unavailable(asker, node, "restarted")
        after = asker.ask(node.epoch("n", True))[1]
        assert asker.ask(node.read(["well"]))[1][0].kind is MISS
        assert after[0] != before[0] and after[1] != before[1]
        all_well(asker, node)
    finally:
        server.end()


@pytest.mark.parametrize("speech", [b"", b"\0" * 100, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n" * 50, b"HD\r\n" * 50,
                                    b"VA 99999999999 c1\r\n", b"$99999999999999999999\r\n", b"VA -1 c1\r\n", b"x" * 5000,
                                    b":1\r\n" * 9, b"*-1\r\n" * 9, b"VA 1 c1 f1\r\nabcd\r\n" * 9, b"$-1\r\n" * 20,
                                    b"VA 3 cxyz f1\r\nabc\r\n" * 9, b"*2\r\n*2\r\n:1\r\n:2\r\n$1\r\nx\r\n" * 9,
                                    b"EN\r\n" * 20],
                         ids=range(16))
def test_no_answer_of_a_liar_s_raises(asker, speech):
    """Somebody else listens there, and says the same to everybody."""
    listener = socket.create_server(("127.0.0.1", 0))

    def speak():
        while True:
            try:
                plug, _ = listener.accept()
            except OSError:
                return
            with plug:
                try:
                    plug.recv(1 << 16)
                    plug.sendall(speech)
                    plug.shutdown(socket.SHUT_WR)
                    while plug.recv(1 << 16): pass
                except OSError:
                    pass

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        node = asker.node(listener.getsockname()[1], timeout=SHORT)
        for name, steps in verbs(node).items():
            answer = asker.ask(steps())
            assert type(answer) is tuple and len(answer) == 2, name
    finally:
        asker.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(LIMIT)


def test_closed_node_is_unavailable(asker):
    node = asker.node()
    all_well(asker, node)
    asker.close()
    all_unavailable(asker, node, "closed")


# ------------------------------------------------------------------ many at a time

@pytest.mark.parametrize("size", [1, 10, 300_000, 7 << 20])
def test_large_bodies_come_and_go(asker, size):
    node = asker.node(max_value=8 << 20)
    body = os.urandom(size)
    answer = asker.ask(node.put("k", body, LONG))
    if answer == (TOOBIG, None):
        assert asker.kind == "memcached" and size > 1 << 20
        assert asker.ask(node.read(["k"]))[1][0].kind is MISS
        _, token = asker.ask(node.lease("k", LONG))
        assert asker.ask(node.fill("k", token, body, LONG)) == (TOOBIG, None)
        assert asker.ask(node.read(["k"]))[1][0].kind is not HIT
    else:
        assert answer == (OK, None)
        assert asker.ask(node.read(["k"]))[1][0].body == body
    all_well(asker, node)


def test_batches_larger_than_every_buffer_come_through(asker):
    node = asker.node()
    items = [(f"k{number}", os.urandom(20_000), LONG) for number in range(600)]
    assert asker.ask(node.put_many(items)) == (OK, [(OK, None)] * 600)
    found = asker.ask(node.read([key for key, _, _ in items]))[1]
    assert [one.body for one in found] == [body for _, body, _ in items]
    assert asker.ask(node.delete([key for key, _, _ in items])) == (OK, 600)


def test_lease_is_one_caller_s_however_many_ask(kind, asker):
    node = asker.node()
    if asker.runner is None:
        told, gate = [], threading.Barrier(8)

        def one():
            gate.wait(LIMIT)
            told.extend(run(node.lease(f"k{number}", LONG)) for number in range(50))

        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join(LIMIT)
    else:
        async def many():
            return await asyncio.gather(*(arun(node.lease(f"k{number}", LONG)) for _ in range(8) for number in range(50)))

        told = asker.runner.run(many())
    assert len(told) == 400
    winners = [token for status, token in told if status is YOURS]
    assert len(winners) == 50 == len(set(winners))
    assert all(answer == (LEASED, None) for answer in told if answer[0] is not YOURS)


def test_cancelled_task_leaves_the_connection_sound(kind, asker):
    node = asker.node()

    async def story():
        await arun(node.put_many([(f"k{number}", b"%d" % number, LONG) for number in range(20)]))
        for turn in range(20):
            tasks = [asyncio.ensure_future(arun(node.read([f"k{number}"]))) for number in range(20)]
            await asyncio.sleep(0)
            for task in tasks[turn % 3::3]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            for number, answer in enumerate(done):
                assert isinstance(answer, asyncio.CancelledError) or answer[1][0].body == b"%d" % number

        await (node._line.line if kind == "redis" else node._line).aclose()

    asyncio.run(story())


def test_node_is_asked_from_several_loops_and_threads(kind, asker):
    node = asker.node()
    all_well(asker, node)
    told = []

    def elsewhere():
        with asyncio.Runner() as runner:
            told.append(runner.run(arun(node.read(["well"])))[1][0].body)
            told.append(run(node.read(["well"]))[1][0].body)
            runner.run(node._line.line.aclose() if kind == "redis" else node._line.aclose())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(LIMIT)
    assert told == [b"1", b"1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_child_of_a_fork_opens_connections_of_its_own(kind, asker):
    """The parent's would mix up who is answered what."""
    node = asker.node()
    for number in range(50):
        asker.ask(node.put(f"k{number}", b"%d" % number, LONG))
    assert run(node.read(["k1"]))[1][0].body == b"1"
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        code = 1
        try:
            for _ in range(20):
                for number in range(50):
                    assert run(node.read([f"k{number}"]))[1][0].body == b"%d" % number
            with asyncio.Runner() as runner:
                assert runner.run(arun(node.read(["k7"])))[1][0].body == b"7"
            code = 0
        finally:
            os._exit(code)
    for _ in range(20):
        for number in range(50):
            assert asker.ask(node.read([f"k{number}"]))[1][0].body == b"%d" % number
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_claim_of_two_at_once_is_one_s(kind, asker):
    node = asker.node()
    asker.ask(node.put("k", b"1", LONG))
    token = asker.ask(node.read(["k"]))[1][0].token
    told = []
    threads = [threading.Thread(target=lambda: told.append(run(node.claim("k", token, LONG))[0])) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join(LIMIT)
    assert sorted(told) == sorted([YOURS] + [LEASED] * 7)


def test_fences_of_many_writers_at_once_keep_each_owner(kind, asker):
    node = asker.node()
    owners = [new_owner() for _ in range(6)]
    told = []
    threads = [threading.Thread(target=lambda owner=owner: told.append(run(node.begin_write(["k"], owner, LONG))))
               for owner in owners]
    for thread in threads: thread.start()
    for thread in threads: thread.join(LIMIT)
    assert told == [(OK, None)] * 6
    for owner in owners:
        assert asker.ask(node.lease("k", LONG))[0].name == "FENCED"
        assert asker.ask(node.end_write(["k"], owner)) == (OK, None)
    assert asker.ask(node.lease("k", LONG))[0] is YOURS


def test_late_fill_of_a_first_claim_never_replaces_a_change(kind, asker):
    node = asker.node()
    asker.ask(node.put("k", b"1", LONG))
    _, mine = asker.ask(node.claim("k", asker.ask(node.read(["k"]))[1][0].token, LONG))
    asker.ask(node.delete(["k"]))
    _, other = asker.ask(node.lease("k", LONG))
    assert asker.ask(node.fill("k", mine, b"late", LONG)) == (LOST, None)
    assert asker.ask(node.fill("k", other, b"2", LONG)) == (OK, None)
    assert isinstance(node, RedisNode | MemcachedNode)
