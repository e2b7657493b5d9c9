"""Crowds in several processes of one host, without a server: one load, whoever dies."""

import os

import pytest

from support import fresh_python, until
from workers import WAYS, loads, working

pytestmark = [
    pytest.mark.slow,  # the same on every Python
    pytest.mark.skipif(os.name != "posix", reason="workers are led through inherited pipes"),
]
CROWDS = ["threads", "tasks"]


def all_ask(workers, crowd, key="key", count=50):
    for worker in workers:
        worker(crowd, key, count)


def all_wait(home, workers, others):
    """One load has begun, and the other processes wait for it."""
    until(lambda: len(loads(home)) >= 1)
    until(lambda: sum(worker("waited") for worker in workers) >= others)


def leader_of(workers):
    """Who loads: the only one that does not wait."""
    (leader,) = [worker for worker in workers if worker("waited") == 0]
    return leader


@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize("way", WAYS)
def test_crowds_of_four_processes_make_one_load(tmp_path, way, crowd):
    with working(way, tmp_path) as workers:
        all_ask(workers, crowd)
        all_wait(tmp_path, workers, 3)
        for worker in workers:
            worker("go")
        answers = [answer for worker in workers for answer in worker("join")]
        assert len(answers) == 200
        assert len({answer["by"] for answer in answers}) == 1
        assert loads(tmp_path) == ["key"]
        assert sum(worker("counts")["shared"] for worker in workers) == 3
        assert all(worker("sound") for worker in workers)


@pytest.mark.parametrize("way", WAYS)
def test_load_that_is_over_when_others_begin_is_handed_over(tmp_path, way):
    with working(way, tmp_path) as workers:
        for worker in workers:
            worker("go")
            worker("threads", "key", 5)
            worker("join")
        assert loads(tmp_path) == ["key"]


@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize("way", WAYS)
def test_leader_that_is_killed_makes_for_one_load_more(tmp_path, way, crowd):
    with working(way, tmp_path) as workers:
        all_ask(workers, crowd)
        all_wait(tmp_path, workers, 3)
        leader = leader_of(workers)
        leader.kill()
        workers.remove(leader)
        for worker in workers:
            worker("go")
        answers = [answer for worker in workers for answer in worker("join")]
        assert len(answers) == 150
        assert len({answer["by"] for answer in answers}) == 1
        assert loads(tmp_path) == ["key", "key"]


@pytest.mark.parametrize("way", WAYS)
def test_processes_load_in_turn_where_nothing_is_handed_over(tmp_path, way):
    with working(way, tmp_path, shared=None) as workers:
        all_ask(workers, "threads", count=10)
        all_wait(tmp_path, workers, 3)
        for worker in workers:
            worker("go")
        answers = [worker("join") for worker in workers]
        assert [len({answer["by"] for answer in crowd}) for crowd in answers] == [1] * 4
        assert len(loads(tmp_path)) == 4


def test_batches_of_the_same_keys_load_each_key_once(tmp_path):
    keys = [f"key {number}" for number in range(2000)]
    with working("spawn", tmp_path) as workers:
        for step, worker in enumerate(workers):
            worker("go")
            worker.tell("many", keys[step * 300:] + keys[:step * 300])
        for worker in workers:
            worker.told()
        for worker in workers:
            assert len(worker("join")) == 2000
        assert sorted(loads(tmp_path)) == sorted(keys)


def test_batches_that_overlap_end_and_load_each_key_once(tmp_path):
    with working("spawn", tmp_path) as workers:
        for number, worker in enumerate(workers):
            worker("go")
            worker.tell("many", list(range(number * 100, number * 100 + 200)))
        for worker in workers:
            worker.told()
        for worker in workers:
            worker("join")
        assert sorted(loads(tmp_path)) == list(range(500))


def test_keys_of_many_crowds_are_loaded_once_each(tmp_path):
    with working("spawn", tmp_path) as workers:
        for worker in workers:
            worker("go")
        for key in range(100):
            for worker in workers:
                worker.tell("threads", key, 3)
            for worker in workers:
                worker.told()
            for worker in workers:
                worker("join")
        assert sorted(loads(tmp_path)) == list(range(100))


def test_value_older_than_an_invalidation_is_not_taken_over(tmp_path):
    with working("spawn", tmp_path, count=2) as (one, two):
        one("threads", "key", 1)
        until(lambda: loads(tmp_path) == ["key"])
        two("delete", "key")  # in the middle of the other's load, and nothing is there
        two("threads", "key", 1)
        until(lambda: two("waited") == 1)
        one("go")
        one("join")
        until(lambda: loads(tmp_path) == ["key", "key"])
        two("go")
        assert two("join") == [{"key": "key", "by": two.pid}]
        assert two("counts")["shared"] == 0


def test_refresh_takes_over_no_load_that_began_before_it(tmp_path):
    with working("spawn", tmp_path, count=2) as (one, two):
        one("threads", "key", 1)
        until(lambda: loads(tmp_path) == ["key"])
        two("refresh", "key")
        until(lambda: two("waited") == 1)
        one("go")
        two("go")
        assert two("join") == [{"key": "key", "by": two.pid}]
        assert loads(tmp_path) == ["key", "key"]


def test_patience_ends_where_a_leader_hangs(tmp_path):
    with working("spawn", tmp_path, count=2, patience=0.05) as (one, two):
        one("threads", "key", 1)
        until(lambda: loads(tmp_path) == ["key"])
        two("go")
        two("threads", "key", 20)
        assert {answer["by"] for answer in two("join")} == {two.pid}
        assert loads(tmp_path) == ["key", "key"]


# ------------------------------------------------------------------ forks

FORK = """
import os, sys, threading, samovar
from support import Crew, until, wait_for

def in_child(act):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid

def code_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def free(lease, name):
    turn = lease.take([lease.name_of("", name)], waits=False)
    had = bool(turn)
    turn.end()
    return had

home = sys.argv[1]
lease = samovar.FileLease(home, shared=True, keep="1h")
other = samovar.FileLease(home)
"""


def forking(code, home):
    fresh_python(FORK + code, home)


def test_child_of_a_holder_holds_nothing_and_lets_nothing_go(tmp_path):
    forking("""
with lease.hold("a") as held:
    def child():
        assert not Crew(lambda: free(lease, "a")).join()[0]
        held.end()
        assert not Crew(lambda: free(lease, "a")).join()[0]
        assert not free(other, "a")
        assert free(lease, "b")
    assert code_of(in_child(child)) == 0
    assert not Crew(lambda: free(other, "a")).join()[0]
assert free(other, "a")
""", tmp_path / "home")


def test_child_does_not_keep_what_its_dead_parent_held(tmp_path):
    forking("""
told, tell = os.pipe()
stay, go = os.pipe()

def parent():
    with lease.hold("a"), lease.hold("b"):
        def child():
            os.close(go)
            os.write(tell, b"up")
            os.read(stay, 1)  # until the test is over
        in_child(child)
        os._exit(0)  # with the leases held, and a child that lives on

assert code_of(in_child(parent)) == 0
assert os.read(told, 2) == b"up"
with other.hold("a") as a, other.hold("b") as b:
    assert a and b
os.close(go)
""", tmp_path / "home")


def test_fork_while_threads_take_and_offer_leaves_a_lease_that_works(tmp_path):
    forking("""
stop = threading.Event()

def churn(number):
    while not stop.is_set():
        lease.load(("key", number % 7), lambda: "value", ttl=0.001)
        number += 1

crew = Crew(*[lambda number=number: churn(number) for number in range(4)])

def child():
    for number in range(50):
        assert lease.load(("other", number), lambda: number) == number
    assert lease.stats().errors == 0

codes = [code_of(in_child(child)) for _ in range(20)]
stop.set()
crew.join()
assert codes == [0] * 20, codes
""", tmp_path / "home")


def test_workers_forked_from_one_that_loaded_the_application_make_one_load(tmp_path):
    """As gunicorn and uvicorn do: the cache is made before the fork."""
    forking("""
cache = samovar.Cache(name="shop", lease=lease)
begin, start = os.pipe()
log = os.open(home + "/loads", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
cache.get_or_set("before", lambda: 1)

def load():
    os.write(log, b"x")
    until(lambda: True)
    return os.getpid()

def worker():
    os.close(start)
    os.read(begin, 1)
    answers = Crew(*[lambda: cache.get_or_set("key", load)] * 50).join()
    assert len(set(answers)) == 1
    assert cache["before"] == 1

pids = [in_child(worker) for _ in range(4)]
os.close(start)
assert [code_of(pid) for pid in pids] == [0] * 4
assert open(home + "/loads").read() == "x"
""", tmp_path / "home")


def test_started_program_keeps_no_lease(tmp_path):
    forking("""
import subprocess
with lease.hold("a"):
    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
assert Crew(lambda: free(other, "a")).join()[0]
assert program.poll() is None
program.communicate(b"end")
""", tmp_path / "home")
