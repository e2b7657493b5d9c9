"""Near caches kept honest over a real Redis: by its pub/sub while it is heard, by silence while it is not."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest
import redis
import redis.asyncio

from engines import RedisServer
from samovar import Cache
from samovar._base.clock import stopwatch
from samovar.cluster import AsyncCluster, Cluster, LocalNode, MemcachedNode, RedisNode
from support import LIMIT, until

SHORT_S = 0.3  # a node's timeout, where one hangs
SLACK_S = 5.0  # for a machine that is busy: far from LIMIT, which a silence that nobody notices would take

# Another process, with a near cache of its own: it answers lines. A key: what it reads. "-key": it deletes. "?": whether
# its near cache may answer.
OTHER = """
import sys
from samovar import Cache
from samovar.cluster import Cluster, RedisNode
near = Cache(1000)
cluster = Cluster([RedisNode(sys.argv[1], timeout=60)], near=near)
cluster.get("x")
for line in sys.stdin:
    word = line.strip()
    if word == "?":
        print(cluster.stats().hears, flush=True)
    elif word.startswith("-"):
        print(cluster.delete(word[1:]), flush=True)
    elif word.startswith("!"):
        print(near.peek(word[1:]), flush=True)
    else:
        print(cluster.get(word), flush=True)
"""


def patient(where, **words):
    """A node that a busy machine may keep waiting: none of a test's verbs goes without it."""
    return RedisNode(where, timeout=LIMIT, **words)


class Process:
    def __init__(self, url):
        self.process = subprocess.Popen([sys.executable, "-c", OTHER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def ask(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.kill()
        self.process.wait(LIMIT)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def clusters():
    """A maker of clusters with a near cache, of nodes; those that hear the bus already unless told otherwise."""
    with contextlib.ExitStack() as made:
        def make(*nodes, hears=True, **words):
            cluster = made.enter_context(Cluster(nodes, near=Cache(10_000), **words))
            cluster.get("x")
            if hears:
                until(lambda: cluster.stats().hears)
            return cluster

        yield make


@pytest.fixture
def own_redis():
    """A Redis that may be killed."""
    server = RedisServer()
    yield server
    server.end()


def fill(cluster, key="tea", value=1):
    cluster.set(key, value)
    until(lambda: cluster.get(key) == value and key in cluster.near)


def test_delete_in_one_process_is_gone_from_the_near_cache_of_another(redis_server, clusters):
    here = clusters(patient(redis_server.url))
    there = Process(redis_server.url)
    try:
        until(lambda: there.ask("?") == "True")
        assert here.set("tea", 1)
        until(lambda: there.ask("tea") == "1" and there.ask("!tea") == "1")
        here.delete("tea")
        until(lambda: there.ask("!tea") == "None")
        assert there.ask("tea") == "None"
        here.set("tea", 2)
        until(lambda: here.get("tea") == 2 and "tea" in here.near)
        assert there.ask("-tea") == "True"
        until(lambda: "tea" not in here.near)
    finally:
        there.end()


def test_near_hit_sends_nothing(redis_server, clusters):
    here = clusters(patient(redis_server.url))
    def asked():
        calls = redis_server.calls()
        return calls.get("mget", 0) + calls.get("get", 0)

    def all_near():
        fill(here)
        before = asked()
        for _ in range(1000):
            assert here.get("tea") == 1
        return asked() == before

    until(all_near)  # where a machine makes the bus wait, it is not heard in time now and then, and near says nothing


def test_process_without_near_cache_tells_those_that_have_one(redis_server, clusters):
    here = clusters(patient(redis_server.url))
    fill(here)
    with Cluster([patient(redis_server.url)]) as plain:
        plain.delete("tea")
        until(lambda: "tea" not in here.near)


def test_namespaces_have_channels_of_their_own(redis_server, clusters):
    here = clusters(patient(redis_server.url), namespace="one")
    fill(here)
    flushes = here._keeper.flushes
    other = clusters(patient(redis_server.url), namespace="other")
    witness = clusters(patient(redis_server.url), namespace="other")
    fill(witness)
    other.delete("tea")
    until(lambda: "tea" not in witness.near)
    assert "tea" in here.near or here._keeper.flushes > flushes  # or the bus fell silent meanwhile


def faults(server, proxy):
    """{name: (how the bus dies, how it comes back)}."""
    return {
        "SIGKILL": (lambda: server.stop(signal.SIGKILL), lambda: server.start(server.port)),
        "SIGSTOP": (lambda: server.process.send_signal(signal.SIGSTOP), lambda: server.process.send_signal(signal.SIGCONT)),
        "CLIENT KILL": (lambda: server.do("CLIENT", "KILL", "TYPE", "pubsub"), lambda: None),
        "partition": (proxy.deaf.set, lambda: (proxy.deaf.clear(), proxy.reset())),
        "reset": (proxy.reset, lambda: None),
    }


@pytest.mark.parametrize("fault", ["SIGKILL", "SIGSTOP", "CLIENT KILL", "partition", "reset"])
def test_near_cache_falls_silent_when_the_bus_dies_and_is_flushed_when_it_is_back(fault, own_redis, proxied, clusters):
    proxy, timeout = proxied(own_redis.port), 1.0 if fault in ("SIGSTOP", "partition") else LIMIT
    here = clusters(RedisNode(f"redis://127.0.0.1:{proxy.port}", name="bus", timeout=timeout))
    writer = clusters(RedisNode(own_redis.url, name="bus", timeout=timeout))
    until(lambda: here.set("tea", 1))
    until(lambda: here.get("tea") == 1 and "tea" in here.near)
    flushes = here._keeper.flushes
    die, rise = faults(own_redis, proxy)[fault]
    try:
        die()
        until(lambda: here._keeper.flushes > flushes)
        assert "tea" not in here.near
    finally:
        rise()
    until(lambda: here.stats().hears and writer.stats().hears)
    until(lambda: writer.set("tea", 2))
    until(lambda: here.get("tea") == 2)
    assert here._keeper.flushes >= flushes + 2  # when it fell, and before it stood
    until(lambda: here.get("tea") == 2 and "tea" in here.near)
    until(lambda: writer.set("tea", 3))
    until(lambda: here.get("tea") == 3)


@pytest.fixture
def two_redises():
    """Two that may be killed; the bus of a ring of both begins at the first."""
    servers = [RedisServer(), RedisServer()]
    yield servers
    for server in servers:
        server.end()


class Lateness(threading.Thread):
    """How late a thread of this process wakes from its sleep, at worst: the one that listens to the bus does, too."""

    def __init__(self):
        super().__init__(daemon=True)
        self.due, self.worst, self.over = stopwatch(), 0.0, threading.Event()

    def run(self):
        while not self.over.is_set():
            self.due = stopwatch() + 0.005
            self.over.wait(0.005)
            self.worst = self()

    def __call__(self):
        return max(self.worst, stopwatch() - self.due)


@pytest.mark.parametrize("fault", ["SIGKILL", "SIGSTOP"])
def test_near_cache_moves_to_the_other_node_of_the_bus_and_serves_nothing_stale(fault, two_redises, clusters):
    """A writer counts up and deletes; readers in another cluster never see what was deleted more than a second before, and
    what a busy machine takes to wake threads, while the node of the bus dies and comes back, and the near cache answers
    again without it."""
    nodes = {"a": two_redises[0].url, "b": two_redises[1].url}
    here, writer = (clusters(*(RedisNode(url, name=name, timeout=SHORT_S) for name, url in nodes.items())) for _ in range(2))
    truth, told, wrong, late = [0], [(0, 0.0)], [], Lateness()

    def read():
        while not late.over.is_set():
            known = stopwatch() - 1.0 - 3 * late()
            least = next(number for number, since in reversed(told) if since < known)
            value = here.get_or_set("n", lambda: truth[0])
            if value < least:
                wrong.append((value, least))

    def write():
        truth[0] += 1
        writer.delete("n")
        told.append((truth[0], stopwatch()))

    readers = [late, *(threading.Thread(target=read) for _ in range(2))]
    for reader in readers:
        reader.start()
    try:
        for server, name in ((two_redises[0], "a"), (two_redises[1], "b")):
            until(lambda name=name: write() or here._bus._on is not None and here._bus._on.name == name
                  and here.stats().hears)
            fell, begun = here._keeper.flushes, stopwatch()
            server.stop(signal.SIGKILL) if fault == "SIGKILL" else server.process.send_signal(signal.SIGSTOP)
            until(lambda fell=fell: write() or here._keeper.flushes > fell)
            assert stopwatch() - begun < 1.0 + SLACK_S
            until(lambda name=name: write() or here._bus._on is not None and here._bus._on.name != name
                  and here.stats().hears)  # by the other one: this one is away
            until(lambda: write() or here.get("n") is None and here.get_or_set("n", lambda: truth[0]) and "n" in here.near)
            server.start(server.port) if fault == "SIGKILL" else server.process.send_signal(signal.SIGCONT)
            until(lambda name=name: write() or writer.stats().nodes[name][0] == "up"
                  and not any(carrier.owed for carrier in writer._bus.carriers))
        until(lambda: write() or truth[0] > 20)  # a busy machine may have seen fewer
    finally:
        late.over.set()
        for reader in readers:
            reader.join(LIMIT)
    assert not wrong


def test_notice_missed_while_the_bus_was_away_leaves_nothing_stale(own_redis, proxied, clusters):
    """The reader is cut off from the bus alone, and goes on reading the shared tier; a writer changes what it has near."""
    proxy = proxied(own_redis.port)
    tier = patient(own_redis.url)
    here = clusters(tier, bus=RedisNode(f"redis://127.0.0.1:{proxy.port}", name="bus", timeout=SHORT_S))
    writer = clusters(patient(own_redis.url), bus=patient(own_redis.url, name="bus"))
    fill(here)
    proxy.deaf.set()
    writer.set("tea", 2)
    until(lambda: not here.stats().hears)
    assert here.get("tea") == 2 and "tea" not in here.near  # read from the shared tier, and not kept
    writer.set("tea", 3)
    assert here.get("tea") == 3
    proxy.deaf.clear()
    proxy.reset()
    until(lambda: here.get("tea") == 3 and "tea" in here.near)


def test_bus_that_is_no_node_of_the_ring_may_be_started_again(redis_server, own_redis, clusters):
    here = clusters(patient(redis_server.url), bus=patient(own_redis.url))
    fill(here)
    with Cluster([patient(redis_server.url)], bus=patient(own_redis.url)) as writer:
        writer.set("tea", 2)
        until(lambda: here.get("tea") == 2 and "tea" in here.near)
        own_redis.stop(signal.SIGKILL)
        until(lambda: not here.stats().hears)
        writer.set("tea", 3)
        assert here.get("tea") == 3 and "tea" not in here.near
        own_redis.start(own_redis.port)
        until(lambda: here.stats().hears)
        until(lambda: here.get("tea") == 3 and "tea" in here.near)
        writer.set("tea", 4)
        until(lambda: here.get("tea") == 4)


def test_writer_that_cannot_reach_the_bus_tells_later(redis_server, proxied, clusters):
    proxy = proxied(redis_server.port)
    here = clusters(patient(redis_server.url), bus=patient(redis_server.url, name="bus"))
    cut_off = RedisNode(f"redis://127.0.0.1:{proxy.port}", name="bus", timeout=SHORT_S)
    writer = clusters(patient(redis_server.url), bus=cut_off)
    fill(here)
    flushes = here._keeper.flushes
    proxy.deaf.set()
    writer.delete("tea")
    assert writer._bus.untold == 1
    assert "tea" in here.near or here._keeper.flushes > flushes  # nobody could tell it; at most it fell silent by itself
    proxy.deaf.clear()
    proxy.reset()
    until(lambda: "tea" not in here.near)


def test_near_cache_over_memcached_with_redis_as_its_bus(memcached_server, redis_server, clusters):
    node = f"127.0.0.1:{memcached_server.port}"
    here = clusters(MemcachedNode(node, timeout=LIMIT), bus=patient(redis_server.url))
    there = clusters(MemcachedNode(node, timeout=LIMIT), bus=patient(redis_server.url))
    fill(here)
    there.set("tea", 2)
    until(lambda: here.get("tea") == 2)


def test_near_values_are_never_older_than_the_last_delete_heard_by_a_crowd(redis_server, clusters):
    """Readers in threads, a writer with a cluster of its own: once the near cache was told, nobody reads what was before."""
    here, writer = clusters(patient(redis_server.url)), clusters(patient(redis_server.url))
    truth, over, wrong, reads = {"n": 0}, threading.Event(), [], []

    def read():
        count = 0
        while not over.is_set():
            least = told["n"]
            value = here.get_or_set("n", lambda: truth["n"])
            count += 1
            if value < least:
                wrong.append((value, least))
        reads.append(count)

    told = {"n": 0}
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 100):
        truth["n"], taken, flushes = number, here._keeper.taken, here._keeper.flushes
        writer.delete("n")
        until(lambda taken=taken, flushes=flushes: here._keeper.taken > taken or here._keeper.flushes > flushes)
        told["n"] = number
    over.set()
    for thread in threads:
        thread.join(LIMIT)
    assert not wrong and sum(reads) > 300


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_child_of_a_fork_begins_with_an_empty_near_cache_and_hears_for_itself(redis_server, clusters):
    here = clusters(patient(redis_server.url))
    fill(here)
    back, out = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(150)  # one that hangs ends, and has said nothing
        try:
            empty = "tea" not in here.near and not here.stats().hears
            here.get("tea")
            until(lambda: here.get("tea") == 1 and "tea" in here.near)
            os.write(out, b"filled" if empty else b"kept")
            until(lambda: "tea" not in here.near)
            os.write(out, b"heard")
        finally:
            os._exit(0)
    os.close(out)
    try:
        assert os.read(back, 10) == b"filled"
        here.delete("tea")
        assert os.read(back, 10) == b"heard"
    finally:
        os.close(back)
        os.waitpid(child, 0)


def test_asyncio_face_tells_and_hears(redis_server, clusters):
    here = clusters(patient(redis_server.url))

    async def main():
        near = Cache(100)
        async with AsyncCluster([patient(redis_server.url)], near=near) as there:
            await there.get("x")
            await asyncio.to_thread(until, lambda: there.stats().hears)
            for change in (lambda: there.delete("tea"), lambda: there.set("tea", 2), there.clear,
                           lambda: there.invalidate_tags("hot")):
                here.set("tea", 1, tags=["hot"])
                await asyncio.to_thread(until, lambda: here.get("tea") == 1 and "tea" in here.near)
                async with asyncio.timeout(LIMIT):
                    while "tea" not in near:  # the notice of `set` may come when it has just been read
                        assert await there.get_or_set("tea", lambda: 3) == 1
                await change()
                await asyncio.to_thread(until, lambda: "tea" not in here.near)
            assert here.set("tea", 1)
            await there.get("tea")
            here.delete("tea")
            await asyncio.to_thread(until, lambda: "tea" not in near)
            assert await there.get("tea") is None

    asyncio.run(main())


ASYNCIO_CLIENTS = {
    "port": lambda server, kind: kind(port=server.port),
    "socket": lambda server, kind: kind(unix_socket_path=f"{server.folder}/redis.sock"),
    "pool": lambda server, kind: kind.from_url(server.url, socket_timeout=2, max_connections=50),
}


@pytest.mark.parametrize("make", ASYNCIO_CLIENTS)
def test_near_cache_in_asyncio_needs_no_blocking_client(make, redis_server, clusters):
    """The threads of the bus have a client of their own, made from the settings of the one for asyncio."""
    here = clusters(patient(redis_server.url, name="bus"))

    async def main():
        client = ASYNCIO_CLIENTS[make](redis_server, redis.asyncio.Redis)
        async with AsyncCluster([RedisNode(client, name="bus")], near=Cache(100)) as there:
            await there.get("x")
            await asyncio.to_thread(until, lambda: there.stats().hears)
            fill(here)
            while "tea" not in there.near:  # the notice of the set may still be on its way
                assert await there.get("tea") == 1
            here.delete("tea")
            await asyncio.to_thread(until, lambda: "tea" not in there.near)
            fill(here)
            await there.delete("tea")
            await asyncio.to_thread(until, lambda: "tea" not in here.near)
        await client.aclose()

    asyncio.run(main())


class OddConnection(redis.asyncio.Connection):
    """Of a kind that nobody knows here."""


def test_bus_that_no_thread_can_hear_is_refused_for_a_near_cache_and_told_in_asyncio(redis_server, clusters):
    here = clusters(patient(redis_server.url, name="bus"))
    fill(here)

    async def main():
        pool = redis.asyncio.ConnectionPool(OddConnection, port=redis_server.port)
        node = RedisNode(redis.asyncio.Redis(connection_pool=pool), name="bus")
        with pytest.raises(ValueError, match="blocking client"):
            AsyncCluster([node], near=Cache(100))
        async with AsyncCluster([node]) as there:
            await there.delete("tea")
        await pool.aclose()

    asyncio.run(main())
    until(lambda: "tea" not in here.near)


def test_local_node_may_be_the_bus_of_one_process(redis_server, clusters):
    bus = LocalNode("bus")
    here, there = clusters(patient(redis_server.url), bus=bus), clusters(patient(redis_server.url), bus=bus)
    fill(here)
    there.delete("tea")
    until(lambda: "tea" not in here.near)
