"""A cluster on real engines that die, hang, fill up, forget, and come back: callers see no error, and nothing stale."""

import os
import signal
import threading

import pytest

from engines import MemcachedServer, RedisServer
from samovar import OriginBudget, OriginBusy
from samovar.cluster import Cluster, MemcachedNode, RedisNode, cell
from samovar.cluster.drive import run
from support import LIMIT, until

HASTE = 0.5  # a node's timeout where one hangs; elsewhere none is down because the machine is busy


def node_of(server, timeout):
    if isinstance(server, RedisServer):
        return RedisNode(server.url, name=f"{server.port}", timeout=timeout)
    return MemcachedNode(f"127.0.0.1:{server.port}", name=f"{server.port}", timeout=timeout)


class Engines:
    """Three engines of one kind, and clusters over them."""

    def __init__(self, kind):
        self.servers, self.clusters = [kind() for _ in range(3)], []

    def cluster(self, *, timeout=LIMIT, **words):
        made = Cluster([node_of(server, timeout) for server in self.servers], **words)
        self.clusters.append(made)
        return made

    def owner(self, key):
        """The engine that owns a key."""
        return next(server for server in self.servers if str(server.port) == self.clusters[0].node_of(key))

    def end(self):
        for cluster in self.clusters:
            cluster.close()
        for server in self.servers:
            server.end()


@pytest.fixture(params=[RedisServer, MemcachedServer], ids=["redis", "memcached"])
def engines(request):
    made = Engines(request.param)
    yield made
    made.end()


@pytest.fixture
def redises():
    made = Engines(RedisServer)
    yield made
    made.end()


def state(cluster, server):
    return cluster.stats().nodes[str(server.port)][0]


def up(cluster):
    return all(word == "up" for word, _, _ in cluster.stats().nodes.values())


class Origin:
    """Values that are the version of their key."""

    def __init__(self):
        self.versions, self.calls = {}, 0

    def load(self, key):
        def factory():
            self.calls += 1
            return self.versions.get(key, 0)
        return factory


KEYS = [f"key {number}" for number in range(60)]


class Reader(threading.Thread):
    """Reads all the time; what it was raised, and how long the slowest answer took."""

    def __init__(self, cluster, origin):
        super().__init__(daemon=True)
        self.cluster, self.origin, self.errors, self.reads, self.over = cluster, origin, [], 0, threading.Event()

    def run(self):
        while not self.over.is_set():
            for key in KEYS:
                try:
                    got = self.cluster.get_or_set(key, self.origin.load(key))
                    assert got == 0
                except BaseException as error:
                    self.errors.append(error)
                self.reads += 1


@pytest.fixture
def reading():
    """Starts readers, and ends them."""
    made = []

    def read(cluster, origin):
        reader = Reader(cluster, origin)
        reader.start()
        made.append(reader)
        until(lambda: reader.reads > len(KEYS))
        return reader

    yield read
    for reader in made:
        reader.over.set()
        reader.join(LIMIT)


def rounds(reader, count=2):
    """Let a reader read every key so many times more."""
    then = reader.reads + count * len(KEYS)
    until(lambda: reader.reads >= then)


def test_reads_go_on_when_a_node_is_killed_and_when_it_comes_back_empty(engines, reading):
    cluster, origin, victim = engines.cluster(), Origin(), engines.servers[0]
    reader = reading(cluster, origin)
    victim.stop(signal.SIGKILL)
    rounds(reader)
    until(lambda: state(cluster, victim) == "down")
    calls = origin.calls
    rounds(reader)
    assert origin.calls - calls <= len(KEYS)  # what it had lies on the next node
    victim.start(victim.port)
    until(lambda: up(cluster))
    rounds(reader, 4)
    assert reader.errors == []
    calls = origin.calls
    rounds(reader, 1)
    assert origin.calls - calls <= len(KEYS)


def test_reads_go_on_when_a_node_hangs(engines, reading):
    cluster, origin, victim = engines.cluster(timeout=HASTE), Origin(), engines.servers[0]
    reader = reading(cluster, origin)
    with victim.hanging():
        until(lambda: state(cluster, victim) == "down")
        rounds(reader)
    until(lambda: up(cluster))
    rounds(reader)
    assert reader.errors == []


def test_everything_forgotten_is_loaded_and_kept_again(engines):
    """By all nodes at once. A Memcached that was flushed is taken for another run: what is loaded before it was taken in
    again is not kept. (How often each key is loaded is measured by bench/faults, and by tests/unit/test_troubled_nodes.)"""
    cluster, origin = engines.cluster(), Origin()

    def calls():
        before = origin.calls
        for key in KEYS:
            assert cluster.get_or_set(key, origin.load(key), tags="t") == 0
        return origin.calls - before

    assert calls() == len(KEYS) and calls() == 0
    for server in engines.servers:
        server.empty()
    assert calls() == len(KEYS)
    until(lambda: up(cluster) and calls() == 0)
    until(lambda: up(cluster))


@pytest.mark.parametrize("how", ["delete", "tag", "clear"])
def test_node_that_missed_an_invalidation_is_not_read_until_it_was_told(engines, how):
    """It is stopped, not killed: it comes back with all that it had."""
    writer, reader, origin = engines.cluster(timeout=HASTE), engines.cluster(timeout=HASTE), Origin()
    for key in KEYS:
        assert writer.get_or_set(key, origin.load(key), tags="t") == reader.get_or_set(key, origin.load(key)) == 0
    victim = engines.servers[0]
    with victim.hanging():
        for cluster in (writer, reader):
            until(lambda cluster=cluster: cluster.get_many(KEYS) is not None and state(cluster, victim) == "down")
        origin.versions = dict.fromkeys(KEYS, 1)
        if how == "delete":
            writer.delete_many(KEYS)
        elif how == "tag":
            writer.invalidate_tags("t")
        else:
            writer.clear()
    stale = []
    while not (up(writer) and up(reader)):
        stale += [key for key in KEYS if writer.get(key) == 0]
        if how != "clear":
            stale += [key for key in KEYS if reader.get(key) == 0]
    stale += [key for key in KEYS if writer.get(key) == 0]
    until(lambda: how != "clear" or not reader.get_many(KEYS))
    stale += [key for key in KEYS if reader.get(key) == 0]
    assert stale == []
    assert all(reader.get_or_set(key, origin.load(key)) == 1 for key in KEYS)


def test_process_that_missed_everything_hears_it_from_those_who_noted_it(redises):
    """The writer is gone when the node comes back."""
    writer, reader = redises.cluster(timeout=HASTE), redises.cluster(timeout=HASTE)
    writer.set_many(dict.fromkeys(KEYS, 0))
    victim = redises.servers[0]
    with victim.hanging():
        for cluster in (writer, reader):
            until(lambda cluster=cluster: cluster.get_many(KEYS) is not None and state(cluster, victim) == "down")
        assert writer.delete_many(KEYS)
        writer.close()
    until(lambda: up(reader))
    assert reader.get_many(KEYS) == {}


def test_engine_that_comes_back_with_a_snapshot_is_forgotten_first(redises):
    cluster = redises.cluster()
    cluster.set_many(dict.fromkeys(KEYS, "old"))
    victim = redises.servers[0]
    owned = [key for key in KEYS if redises.owner(key) is victim]
    assert owned and victim.do("SAVE").startswith(b"+OK")
    cluster.set_many(dict.fromkeys(KEYS, "new"))
    victim.stop(signal.SIGKILL)
    victim.start(victim.port)
    assert victim.do("DBSIZE") != b":0\r\n"
    seen = set()
    until(lambda: seen.update(cluster.get_many(KEYS).values()) or (up(cluster) and cluster.get_many(owned) == {}))
    seen.update(cluster.get_many(KEYS).values())
    assert seen == {"new"}


def test_idle_cluster_reads_nothing_of_an_engine_that_was_started_again(redises):
    """Nobody asked while it was away: the first question finds another run."""
    cluster = redises.cluster()
    cluster.set("k", "old")
    victim = redises.owner("k")
    victim.do("SAVE")
    cluster.set("k", "new")
    victim.stop(signal.SIGKILL)
    victim.start(victim.port)
    assert cluster.get("k") is None
    until(lambda: up(cluster))
    assert cluster.get("k") is None and cluster.set("k", "newer") and cluster.get("k") == "newer"


def full(server):
    server.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.do("CONFIG", "SET", "maxmemory", "1")


def readonly(server):
    server.do("CONFIG", "SET", "replica-read-only", "yes")
    server.do("REPLICAOF", "127.0.0.1", "1")


HEALS = {full: ("CONFIG", "SET", "maxmemory", "0"), readonly: ("REPLICAOF", "NO", "ONE")}


@pytest.mark.parametrize("trouble", [full, readonly])
def test_node_that_takes_nothing_is_read_and_its_keys_are_stored_on_the_next(redises, trouble):
    cluster, origin = redises.cluster(), Origin()
    for key in KEYS[:30]:
        cluster.get_or_set(key, origin.load(key))
    for server in redises.servers[:1]:
        trouble(server)
    for _ in range(3):
        for key in KEYS:
            assert cluster.get_or_set(key, origin.load(key)) == 0
    assert origin.calls <= len(KEYS) + 5
    assert state(cluster, redises.servers[0]) in ("full", "up", "down")
    assert cluster.set(KEYS[0], 5) and cluster.get(KEYS[0]) == 5
    cluster.delete(KEYS[0])
    assert cluster.get(KEYS[0]) is None
    redises.servers[0].do(*HEALS[trouble])
    until(lambda: up(cluster))
    assert cluster.get(KEYS[0]) is None
    assert all(cluster.get_or_set(key, origin.load(key)) == 0 for key in KEYS)


def test_every_node_down_computes_under_the_budget(engines):
    budget = OriginBudget(2, max_queue=2, queue_timeout=0.05)
    cluster = engines.cluster(budget=budget)
    cluster.set("k", 1)
    for server in engines.servers:
        server.stop(signal.SIGKILL)
    assert cluster.get("k", "none") == "none" and cluster.set("k", 2) is False
    gate, running, most, lock = threading.Event(), 0, 0, threading.Lock()

    def factory():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(LIMIT)
        with lock:
            running -= 1
        return "made"

    outcomes = []

    def ask(number):
        try:
            outcomes.append(cluster.get_or_set(number, factory))
        except OriginBusy:
            outcomes.append("busy")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    until(lambda: outcomes.count("busy") == 10)
    gate.set()
    for thread in threads:
        thread.join(LIMIT)
    assert sorted(outcomes) == ["busy"] * 10 + ["made"] * 2 and most == 2
    for server in engines.servers:
        server.start(server.port)
    until(lambda: up(cluster))
    assert cluster.get("k") is None and cluster.set("k", 3) and cluster.get("k") == 3


def test_failover_copies_are_gone_soon_after(engines):
    """What was stored on the next node lives there for eight seconds at most."""
    cluster = engines.cluster()
    cluster.set("k", 1)
    victim = engines.owner("k")
    victim.stop(signal.SIGKILL)
    until(lambda: cluster.get("k") is None and state(cluster, victim) == "down")
    assert cluster.set("k", 2)
    asked = cluster._plain("k")
    place = cluster._tier.home(asked.owners)
    assert place != str(victim.port)
    seen = cluster._run(cell.look(cluster._store, asked))
    assert seen.entry.value == 2 and seen.entry.hard_s <= 8


def test_lease_of_a_holder_that_is_gone_ends(redises):
    """Somebody took a lease and died: the next caller loads once it is over."""
    cluster = redises.cluster(lease=1)
    asked = cluster._plain("k")
    cluster.get("k")
    assert run(cluster._tier.nodes[asked.owners[0]].lease(asked.wire, 1000))[0].name == "YOURS"
    assert cluster.get_or_set("k", lambda: 5) == 5
    assert cluster.stats().waited == 1


def test_child_of_a_fork_looks_after_its_own_nodes(redises):
    cluster = redises.cluster()
    cluster.set("k", 1)
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(150)  # one that hangs ends, and has said nothing
        try:
            got = cluster.get("k") == 1 and cluster._prober._thread.is_alive()
            os.write(writes, b"yes" if got else b"no")
        finally:
            os._exit(0)
    os.close(writes)
    assert os.read(reads, 10) == b"yes", "it may have hung"
    os.waitpid(child, 0)
    os.close(reads)
