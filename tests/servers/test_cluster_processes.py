"""Processes that share a tier on real engines: nobody reads what is stale, and a crowd loads once."""

import contextlib
import multiprocessing
import os
import random
import signal
import threading

import pytest

from engines import MemcachedServer, RedisServer
from samovar.cluster import Cluster, MemcachedNode, RedisNode
from support import LIMIT, until

SPAWN = multiprocessing.get_context("spawn")
KEYS, PROCESSES, READS = 20, 4, 110_000


def cluster_of(places, **words):
    nodes = [RedisNode(place, timeout=LIMIT) if place.startswith("redis") else MemcachedNode(place, timeout=LIMIT)
             for place in places]
    return Cluster(nodes, **words)


@pytest.fixture(params=[RedisServer, MemcachedServer], ids=["redis", "memcached"])
def places(request):
    servers = [request.param() for _ in range(3)]
    yield [server.url if request.param is RedisServer else f"127.0.0.1:{server.port}" for server in servers]
    for server in servers:
        server.end()


# ------------------------------------------------------------------ staleness

def ours(cluster, key, load):
    return cluster.get_or_set(key, load)


def naive(cluster, key, load):
    """Read; on a miss load and set."""
    value = cluster.get(key)
    if value is None:
        value = load()
        cluster.set(key, value)
    return value


def batched(cluster, key, load):
    return cluster.get_or_set_many([key], lambda keys: {key: load()})[key]


def tagged(cluster, key, load):
    return cluster.get_or_set(key, load, tags=f"tag {key}")


READERS = {"ours": ours, "naive": naive, "batched": batched, "tagged": tagged}


def read_and_write(places, how, reads, seed, committed, known, lock, told):
    """Reads of what others change meanwhile: how many were older than what was known to be gone when they began."""
    cluster, chance, stale = cluster_of(places), random.Random(seed), 0
    read = READERS[how]
    for _ in range(reads):
        key = chance.randrange(KEYS)
        if chance.random() < 0.05:
            with lock:
                version = committed[key] = committed[key] + 1
            if how == "tagged":
                cluster.invalidate_tags(f"tag {key}")
            else:
                cluster.delete(key)
            with lock:
                known[key] = max(known[key], version)
        floor = known[key]

        def load(key=key):
            version = committed[key]
            os.sched_yield()  # the origin takes its time: others may run
            return version

        stale += read(cluster, key, load) < floor
    told.put((stale, cluster.stats().nodes))
    cluster.close()


def staleness(places, how, reads):
    """(stale reads, nodes that went down) of a run."""
    lock, told = SPAWN.Lock(), SPAWN.Queue()
    committed, known = (SPAWN.RawArray("Q", KEYS) for _ in range(2))
    rest = committed, known, lock, told
    workers = [SPAWN.Process(target=read_and_write, args=(places, how, reads // PROCESSES, seed, *rest))
               for seed in range(PROCESSES)]
    for worker in workers:
        worker.start()
    told_all = [told.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join(LIMIT)
    return sum(stale for stale, _ in told_all), sum(node[2] for _, nodes in told_all for node in nodes.values())


@pytest.mark.parametrize("how, reads", [("ours", READS), ("batched", READS // 5), ("tagged", READS // 5)])
def test_no_read_is_stale_however_many_processes_change_what_they_read(places, how, reads):
    assert staleness(places, how, reads) == (0, 0)


def test_checker_catches_a_naive_cache(places):
    stale, _ = staleness(places, "naive", READS // 5)
    assert stale > 0


# ------------------------------------------------------------------ crowds

def crowd(places, callers, lease, log, ready, go, told):
    """Many callers of one process ask for one key at once; what they got."""
    cluster, answers = cluster_of(places, lease=lease), []
    cluster.get("another")

    def load():
        os.write(log, b"load\n")
        threading.Event().wait(0.3)
        return os.getpid()

    def ask():
        go.wait(LIMIT)
        answers.append(cluster.get_or_set("k", load))

    threads = [threading.Thread(target=ask) for _ in range(callers)]
    for thread in threads:
        thread.start()
    ready.put(os.getpid())
    for thread in threads:
        thread.join(LIMIT)
    told.put(answers)
    cluster.close()


@pytest.fixture
def log(tmp_path):
    """A file that processes of a fork append to, and how many lines it has."""
    path = tmp_path / "loads"
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    yield number, lambda: path.read_bytes().count(b"\n")
    os.close(number)


FORK = multiprocessing.get_context("fork")


def test_crowd_over_processes_loads_once(places, log):
    number, loads = log
    ready, told, go = FORK.Queue(), FORK.Queue(), FORK.Event()
    workers = [FORK.Process(target=crowd, args=(places, 50, 10, number, ready, go, told)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.get(timeout=LIMIT)
    go.set()
    answers = [answer for _ in workers for answer in told.get(timeout=LIMIT)]
    for worker in workers:
        worker.join(LIMIT)
    assert len(answers) == 200 and len(set(answers)) == 1 and loads() == 1


def holder(places, number):
    cluster = cluster_of(places, lease=1)

    def load():
        os.write(number, b"load\n")
        threading.Event().wait(LIMIT)

    with contextlib.suppress(Exception):
        cluster.get_or_set("k", load)


def test_crowd_is_served_when_the_holder_of_the_lease_is_killed(places, log):
    number, loads = log
    dead = FORK.Process(target=holder, args=(places, number))
    dead.start()
    until(lambda: loads() == 1)
    ready, told, go = FORK.Queue(), FORK.Queue(), FORK.Event()
    workers = [FORK.Process(target=crowd, args=(places, 10, 10, number, ready, go, told)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.get(timeout=LIMIT)
    go.set()
    os.kill(dead.pid, signal.SIGKILL)
    dead.join(LIMIT)
    answers = [answer for _ in workers for answer in told.get(timeout=LIMIT)]
    for worker in workers:
        worker.join(LIMIT)
    assert len(answers) == 30 and len(set(answers)) == 1 and loads() == 2
