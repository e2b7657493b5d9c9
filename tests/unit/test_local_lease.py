"""FileLease within one process: arguments, names, blocks, turns, hand-overs; and files that are not what they should be."""

import asyncio
import contextlib
import datetime
import errno
import os
import stat
import threading
import uuid

import pytest

from samovar import FileLease, Freshness
from samovar._base.contracts import Offer
from samovar.herd import file_locks
from samovar.herd.directory import Directory
from samovar.herd.file_locks import FileLocks
from samovar.herd.handover import DAMAGED, FOUND, NO_ROOM, NOT_PLAIN, NOTHING, OFFERED, Handover
from support import Crew, collect, fresh_python, run_async, together, until, wait_for

posix = pytest.mark.skipif(os.name != "posix", reason="files belong to users here")
KINDS = [pytest.param(kind, id=kind.__name__) for kind in file_locks.KINDS]


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    """Each kind of lock that this system can have."""
    monkeypatch.setattr(file_locks, "best", request.param)
    return request.param


@pytest.fixture
def home(tmp_path):
    return tmp_path / "leases"


# ------------------------------------------------------------------ arguments

@pytest.mark.parametrize("words, kind, said", [
    ({"directory": 7}, TypeError, "directory must be a str or os.PathLike, not 7"),
    ({"directory": ""}, ValueError, "directory must be the path of a directory"),
    ({"shared": 7.5}, TypeError, "shared must be a str or os.PathLike, not 7.5"),
    ({"keep": 0}, ValueError, "keep must be more than 0"),
    ({"keep": "2h"}, ValueError, "keep must be an hour at most"),
    ({"keep": None}, TypeError, "keep must be"),
    ({"max_bytes": 10}, ValueError, "max_bytes must be an integer of 1024 or more, not 10"),
    ({"max_bytes": True}, TypeError, "max_bytes must be an integer"),
    ({"patience": -1}, ValueError, "patience must be 0 or more"),
    ({"key": "name"}, TypeError, "key must be callable or None, not 'name'"),
], ids=lambda value: None if isinstance(value, type) else str(value))
def test_wrong_argument_is_named_and_makes_nothing(home, words, kind, said):
    with pytest.raises(kind, match=f"FileLease: {said}"):
        FileLease(**{"directory": home} | words)
    assert not home.exists()


@posix
def test_directory_is_made_for_its_owner_alone(home):
    FileLease(home / "deeper", shared=home / "results")
    assert stat.S_IMODE((home / "deeper").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "results").stat().st_mode) == 0o700


@posix
def test_files_are_made_for_their_owner_alone(home):
    FileLease(home, shared=True, keep="1h").load("a", lambda: 1)
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}
    assert len(list(home.iterdir())) == 2


@posix
@pytest.mark.parametrize("which", ["directory", "shared"])
def test_directory_that_others_could_write_to_is_refused(home, tmp_path, which):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(OSError, match="can be written by everybody"):
        FileLease(**{"directory": home, which: tmp_path / "open"})


@posix
def test_symbolic_link_is_refused_as_directory(home, tmp_path):
    (tmp_path / "target").mkdir(mode=0o700)
    home.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="is a symbolic link"):
        FileLease(home)
    home.unlink()
    home.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="is a symbolic link"):
        FileLease(home)


def test_file_in_the_place_of_the_directory_is_refused(home):
    home.write_text("no")
    with pytest.raises(OSError, match="is no directory"):
        FileLease(home)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can act for another user")
def test_directory_of_another_user_is_refused(home):
    home.mkdir(mode=0o700)
    os.chown(home, 12345, 12345)
    with pytest.raises(OSError, match="belongs to user 12345"):
        FileLease(home)


# ------------------------------------------------------------------ names

KEYS = [None, True, False, 0, 1, -1, 2**70, 0.0, 0.5, "", "a", b"", b"a", (), (0,), ((),), ("a", "b"), (("a",), "b"),
        frozenset(), frozenset({1}), frozenset({1, 2, 3}), (frozenset({"a"}),), datetime.date(2026, 1, 2), uuid.UUID(int=7)]


def test_different_keys_have_different_names(home):
    lease = FileLease(home)
    names = {lease.name_of(space, key) for key in KEYS for space in ("", "shop", "shop2")}
    assert len(names) == 3 * len(KEYS)


def test_names_are_the_same_in_every_process(home):
    code = """
import sys, samovar
lease = samovar.FileLease(sys.argv[1])
words = [f"word {number}" for number in range(50)]
print(lease.name_of("shop", (frozenset(words), frozenset({frozenset(words), 1}), "x", 1.5)).hex())
"""
    said = {fresh_python(code, home, env={"PYTHONHASHSEED": seed}) for seed in ("1", "2", "3")}
    assert len(said) == 1


class Point:
    pass


@pytest.mark.parametrize("key", [Point(), (1, Point()), frozenset({Point}), (b"", [])], ids=lambda key: type(key).__name__)
def test_key_that_is_no_plain_data_is_named(home, key):
    lease = FileLease(home)
    if type(key) is tuple and key[1] == []:
        assert lease.name_of("", key)  # it is plain, though it has no hash
        return
    with pytest.raises(TypeError, match=r"FileLease: a key must be plain data.*(Point|type) is not plain data.*key="):
        lease.name_of("", key)


def test_key_too_deep_to_be_named_is_refused(home):
    key = ()
    for _ in range(500):
        key = (key,)
    with pytest.raises(TypeError, match="nested deeper"):
        FileLease(home).name_of("", key)


def test_function_may_stand_for_keys(home):
    lease = FileLease(home, key=lambda key: type(key).__name__)
    assert lease.name_of("", Point()) == lease.name_of("", Point()) != lease.name_of("", 1)
    with pytest.raises(TypeError, match="what key= returns"):
        FileLease(home, key=lambda key: Point()).name_of("", 1)


# ------------------------------------------------------------------ blocks

def test_two_leases_of_one_directory_exclude_each_other(home, kind):
    one, two = FileLease(home), FileLease(home)
    with one.hold("a") as first:
        assert first

        def others():
            with two.hold("a", timeout=0) as second, one.hold("a", timeout=0) as third, two.hold("b") as free:
                return bool(second), bool(third), bool(free)

        assert together(others) == [(False, False, True)]
    assert not first
    assert together(lambda: bool(two.hold("a").__enter__())) == [True]


def test_waiter_gets_the_lease_when_it_is_let_go(home, kind):
    one, two = FileLease(home), FileLease(home)
    order = []

    def wait():
        with two.hold("a") as held:
            order.append("second")
            return bool(held)

    with one.hold("a"):
        crew = Crew(wait)
        until(lambda: two.stats().waited == 1)
        order.append("first")
    assert crew.join() == [True]
    assert order == ["first", "second"]


def test_task_waits_while_its_loop_goes_on(home):
    one, two = FileLease(home), FileLease(home)

    async def wait():
        async with two.hold("a") as held:
            return bool(held)

    async def main():
        turns = 0
        task = asyncio.create_task(wait())
        while two.stats().waited == 0 or turns < 100:
            turns += 1
            await asyncio.sleep(0)
        go.set()
        return await task, turns

    entered, go = threading.Event(), threading.Event()

    def hold():
        with one.hold("a"):
            entered.set()
            wait_for(go)

    crew = Crew(hold)
    wait_for(entered)
    held, turns = run_async(main())
    crew.join()
    assert held and turns >= 100


def test_block_within_a_block_of_its_name_has_it_already(home):
    one, two = FileLease(home), FileLease(home)

    async def tasks():
        async with one.hold("a"):
            async with two.hold("a", timeout=0) as held:
                return bool(held), await asyncio.create_task(child())

    async def child():
        async with one.hold("a", timeout=0) as held:
            return bool(held)

    with one.hold("a"), one.hold("a", timeout=0) as again, two.hold("a", timeout=0) as other:
        assert again and other
    assert run_async(tasks()) == (True, True)
    assert one.stats().given_up == two.stats().given_up == 0


def test_inner_block_does_not_let_go_for_the_outer(home):
    one = FileLease(home)
    with one.hold("a"):
        with one.hold("a"):
            pass
        assert together(lambda: bool(one.take([one.name_of("", "a")], waits=False))) == [False]


def test_holding_may_be_entered_again(home):
    holding = FileLease(home).hold("a")
    for _ in range(2):
        with holding as held, holding as inner:
            assert held and inner


def test_cancelled_waiter_holds_nothing(home):
    one, two = FileLease(home), FileLease(home)

    async def main():
        names = [two.name_of("", name) for name in "abcdefgh"]
        task = asyncio.create_task(two.atake(names))
        while two.stats().waited == 0:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    holder = together(lambda: one.take([one.name_of("", "e")]))[0]
    run_async(main())
    holder.end()
    assert not two._held
    with one.hold("a", timeout=0) as a, one.hold("h", timeout=0) as h:
        assert a and h


def test_load_goes_ahead_when_patience_ends(home, kind):
    one, two = FileLease(home), FileLease(home, patience=0.01)
    turn = together(lambda: one.take([one.name_of("", "a")]))[0]
    assert two.load("a", lambda: "alone") == "alone"
    assert two.stats().given_up == 1
    turn.end()


def test_thousands_of_names_are_held_at_once(home, kind):
    one, two = FileLease(home), FileLease(home)
    names = [one.name_of("", number) for number in range(3000)]
    turn = one.take(names)
    assert turn
    other = together(lambda: two.take(names[::-1], waits=False))[0]
    assert not other and not other.numbers
    turn.end()
    assert two.take(names, waits=False)
    two_files = [path for path in home.iterdir()]
    assert len(two_files) <= kind.files


def test_turns_of_many_names_do_not_wait_for_each_other(home, kind):
    leases = [FileLease(home) for _ in range(4)]
    names = [leases[0].name_of("", number) for number in range(20)]

    def churn(lease, step):
        for start in range(20):
            turn = lease.take([*names[start::step], *names[:start:step]])
            assert turn
            turn.end()

    together(*[lambda lease=lease, step=step: churn(lease, step) for step, lease in enumerate(leases, 1)])
    assert not any(lease.stats().given_up for lease in leases)


def test_end_counts_once(home):
    one = FileLease(home)
    turn = one.take([one.name_of("", "a")])
    turn.end()
    next_turn = one.take([one.name_of("", "a")])
    turn.end()
    assert together(lambda: bool(one.take([one.name_of("", "a")], waits=False))) == [False]
    next_turn.end()


def test_turn_that_is_dropped_lets_go(home):
    one = FileLease(home)
    one.take([one.name_of("", "a")])
    collect()
    assert not one._held
    assert together(lambda: bool(one.take([one.name_of("", "a")], waits=False))) == [True]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="nobody counts open files here")
def test_leases_that_are_gone_leave_no_file_open(home):
    def many():
        for number in range(50):
            lease = FileLease(home, shared=home / str(number % 3))
            with lease.hold(number):
                lease.load("a", lambda: 1)

    def left_open():  # there: what other threads of this process open and close meanwhile is no matter
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if (path := os.readlink(f"/proc/self/fd/{number}")).startswith(str(home)):
                    yield path

    one = FileLease(home)
    with one.hold("a"):
        assert [*left_open()]
    del one
    many()
    collect()
    assert [*left_open()] == []


# ------------------------------------------------------------------ loads alone

def test_load_is_made_once_and_handed_over(home):
    leases = [FileLease(home, shared=True, keep="1h") for _ in range(4)]
    calls = []

    def load():
        calls.append(1)
        return {"tea": [1, 2.5, None]}

    crew = [lambda lease=lease: lease.load("prices", load) for lease in leases * 10]
    assert together(*crew) == [{"tea": [1, 2.5, None]}] * 40
    assert len(calls) == 1


def test_tasks_load_once_and_hand_over(home):
    leases = [FileLease(home, shared=True, keep="1h") for _ in range(4)]
    calls = []

    async def load():
        calls.append(1)
        await asyncio.sleep(0)
        return "value"

    async def main():
        return await asyncio.gather(*(lease.aload("prices", load) for lease in leases * 10))

    assert run_async(main()) == ["value"] * 40
    assert len(calls) == 1


def test_load_without_shared_runs_in_turn(home):
    leases = [FileLease(home) for _ in range(4)]
    inside, most = [], []

    def load():
        inside.append(1)
        most.append(len(inside))
        inside.pop()
        return "value"

    together(*[lambda lease=lease: lease.load("prices", load) for lease in leases * 5])
    assert most == [1] * 20


def test_load_that_raises_hands_nothing_over(home):
    one, two = FileLease(home, shared=True, keep="1h"), FileLease(home, shared=True, keep="1h")
    with pytest.raises(ZeroDivisionError):
        one.load("a", lambda: 1 // 0)
    assert two.load("a", lambda: 2) == 2


def test_result_that_is_no_plain_data_is_counted_and_not_handed_over(home):
    one, two = FileLease(home, shared=True, keep="1h"), FileLease(home, shared=True, keep="1h")
    assert isinstance(one.load("a", Point), Point)
    assert two.load("a", lambda: 2) == 2
    assert one.stats().not_plain == 1 and one.stats().offered == 0


@pytest.mark.parametrize("wrong", [{"fn": 7}, {"ttl": -1}, {"name": Point()}], ids=["fn", "ttl", "name"])
def test_wrong_argument_of_load_changes_nothing(home, wrong):
    lease = FileLease(home, shared=True, keep="1h")
    with pytest.raises((TypeError, ValueError), match="load|FileLease"):
        lease.load(**{"name": "a", "fn": lambda: 1} | wrong)
    assert not lease._held and lease.stats().taken == 0


# ------------------------------------------------------------------ hand-over

class Now:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def handover(tmp_path):
    directory = Directory(str(tmp_path / "results"))
    return Handover(directory, 5.0, 100_000, Now())


NAME, OTHER = b"n" * 20, b"o" * 20


def test_offer_comes_back_whole(handover):
    fresh = Freshness(ttl=60, tti=30, jitter=0.1, stale_if_error=600)
    offer = Offer({"a": (1, b"2")}, 900.0, 2.5, fresh, ("x", "y"), 7)
    assert handover.offer(NAME, offer) == OFFERED
    assert handover.look(NAME, 0.0) == (FOUND, offer)
    handover.now.now += 4.0
    assert handover.look(NAME, 0.0)[1].fresh == fresh.replace(ttl=56)
    assert handover.look(OTHER, 0.0) == (NOTHING, None)


def test_offer_ends_with_keep(handover):
    handover.offer(NAME, Offer(1, 900.0, 0.0))
    handover.now.now += 5.0
    assert handover.look(NAME, 0.0) == (NOTHING, None)
    assert not list(handover.directory.names())


@pytest.mark.parametrize("value, fresh", [(1, Freshness(ttl=2)), (None, Freshness(ttl=60, negative_ttl=2))],
                         ids=["ttl", "negative_ttl"])
def test_offer_ends_with_its_ttl(handover, value, fresh):
    handover.offer(NAME, Offer(value, 900.0, 0.0, fresh))
    handover.now.now += 1.5
    assert handover.look(NAME, 0.0)[1].fresh == Freshness(ttl=0.5)
    handover.now.now += 0.5
    assert handover.look(NAME, 0.0) == (NOTHING, None)


def test_offer_from_a_load_that_began_too_early_is_not_taken(handover):
    handover.offer(NAME, Offer(1, 900.0, 0.0))
    assert handover.look(NAME, 899.9)[0] == FOUND
    assert handover.look(NAME, 900.0) == (NOTHING, None)


def test_offer_from_the_future_or_another_run_is_not_taken(handover, monkeypatch):
    handover.offer(NAME, Offer(1, 900.0, 0.0))
    handover.now.now -= 1
    assert handover.look(NAME, 0.0) == (NOTHING, None)
    handover.now.now += 1
    handover.offer(NAME, Offer(1, 900.0, 0.0))
    monkeypatch.setattr("samovar.herd.handover.era", lambda: "another")
    assert handover.look(NAME, 0.0) == (NOTHING, None)


def the_file(handover):
    (name,) = handover.directory.names()
    return os.path.join(handover.directory.path, name)


@pytest.mark.parametrize("damage", range(0, 160, 7))
def test_flipped_bit_anywhere_is_damage(handover, damage):
    handover.offer(NAME, Offer("value", 900.0, 0.0, Freshness(ttl=9), ("tag",), 3))
    path = the_file(handover)
    content = bytearray(open(path, "rb").read())
    content[damage % len(content)] ^= 0x10
    with open(path, "wb") as file:
        file.write(content)
    assert handover.look(NAME, 0.0) == (DAMAGED, None)
    assert not os.path.exists(path)


@pytest.mark.parametrize("content", [b"", b"\x93SAMOVAH", b"garbage" * 1000, b"\x00" * 200_000],
                         ids=["empty", "head", "garbage", "large"])
def test_file_that_is_none_of_ours_is_removed(handover, content):
    handover.offer(NAME, Offer(1, 900.0, 0.0))
    path = the_file(handover)
    with open(path, "wb") as file:
        file.write(content)
    assert handover.look(NAME, 0.0) == (DAMAGED, None)
    assert not os.path.exists(path)


@pytest.mark.parametrize("want", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_result_that_this_process_cannot_open_stays_for_others(handover, monkeypatch, want):
    handover.offer(NAME, Offer("value", 900.0, 0.0))

    def refuse(*args):
        raise OSError(want, os.strerror(want))

    with monkeypatch.context() as poor:
        poor.setattr(handover.directory, "open", refuse)
        assert handover.look(NAME, 0.0) == (NOTHING, None)
    assert handover.look(NAME, 0.0)[1].value == "value"


def test_file_cut_off_anywhere_is_damage(handover):
    handover.offer(NAME, Offer("value", 900.0, 0.0))
    path = the_file(handover)
    whole = open(path, "rb").read()
    for size in range(len(whole)):
        with open(path, "wb") as file:
            file.write(whole[:size])
        assert handover.look(NAME, 0.0) == (DAMAGED, None)


def test_file_under_another_name_is_not_taken(handover):
    handover.offer(NAME, Offer("value", 900.0, 0.0))
    handover.directory.rename(NAME.hex() + ".result", OTHER.hex() + ".result")
    assert handover.look(OTHER, 0.0) == (DAMAGED, None)


@posix
@pytest.mark.parametrize("what", ["link", "fifo", "directory"])
def test_what_is_no_file_is_not_read(handover, tmp_path, what):
    handover.offer(NAME, Offer("value", 900.0, 0.0))
    path = the_file(handover)
    os.rename(path, tmp_path / "elsewhere")
    {"link": lambda: os.symlink(tmp_path / "elsewhere", path), "fifo": lambda: os.mkfifo(path),
     "directory": lambda: os.mkdir(path)}[what]()
    assert handover.look(NAME, 0.0) == (DAMAGED, None)


def test_value_that_is_no_plain_data_leaves_no_file(handover):
    assert handover.offer(NAME, Offer(Point(), 900.0, 0.0)) == NOT_PLAIN
    assert not list(handover.directory.names())


def test_space_is_bounded(handover):
    value = b"x" * 10_000
    came = [handover.offer(bytes([number]) * 20, Offer(value, 900.0, 0.0)) for number in range(20)]
    assert came == [OFFERED] * 9 + [NO_ROOM] * 11
    assert handover.offer(NAME, Offer(b"x" * 30_000, 900.0, 0.0)) == NO_ROOM
    handover.now.now += 5.0
    assert handover.offer(NAME, Offer(value, 900.0, 0.0)) == OFFERED
    assert len(list(handover.directory.names())) == 1


def test_what_dead_processes_left_is_swept(handover):
    handover.directory.make()
    for name, age in [("old.result", 100), ("new.result", 0), ("old.part", 100), ("new.part", 5), ("mine.txt", 1000)]:
        path = os.path.join(handover.directory.path, name)
        open(path, "w").close()
        os.utime(path, (os.stat(path).st_mtime - age,) * 2)
    handover.offer(NAME, Offer(1, 900.0, 0.0))
    assert set(handover.directory.names()) == {"new.result", "new.part", "mine.txt", NAME.hex() + ".result"}


def test_newer_result_of_another_is_not_tidied_away(handover):
    other = Handover(handover.directory, 5.0, 100_000, handover.now)
    handover.offer(NAME, Offer(1, 900.0, 0.0))
    handover.now.now += 3.0
    other.offer(NAME, Offer(2, 901.0, 0.0))
    handover.now.now += 3.0
    handover.offer(OTHER, Offer(3, 902.0, 0.0))
    assert handover.look(NAME, 0.0)[1].value == 2


# ------------------------------------------------------------------ files that will not do

@posix
@pytest.mark.parametrize("what", ["link", "fifo", "directory", "foreign"])
def test_load_runs_without_where_the_lock_file_is_not_ours(home, tmp_path, caplog, what):
    if what == "foreign" and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    lease = FileLease(home, shared=tmp_path / "results")
    for number in range(file_locks.best().files):
        path = home / f"{type(file_locks.best()).__name__.lower()}-{number:03x}.lock"
        {"link": lambda: path.symlink_to(tmp_path / "target"), "fifo": lambda: os.mkfifo(path), "directory": path.mkdir,
         "foreign": path.touch}[what]()
        if what == "foreign":
            os.chown(path, 12345, 12345)
    assert [lease.load(number, lambda: "value") for number in range(20)] == ["value"] * 20
    assert lease.stats().errors == 20 and lease.stats().taken == 0
    assert len(caplog.records) == 1
    assert not (tmp_path / "target").exists()


def test_garbage_in_the_lock_file_does_no_harm(home, kind):
    one, two = FileLease(home), FileLease(home)
    with one.hold("a"):
        pass
    for path in home.iterdir():
        path.write_bytes(b"garbage" * 1000)
    with one.hold("a") as held:
        assert held
        assert together(lambda: bool(two.take([two.name_of("", "a")], waits=False))) == [False]


@pytest.mark.parametrize("remove", ["files", "directory"])
def test_lease_begins_anew_where_its_files_were_removed(home, kind, remove):
    one, two = FileLease(home, shared=True, keep="1h"), FileLease(home, shared=True, keep="1h")
    with one.hold("a"), two.hold("b"):
        for path in home.iterdir():
            path.unlink()
        if remove == "directory":
            home.rmdir()
    with one.hold("a") as held:
        assert held
        assert together(lambda: bool(two.take([two.name_of("", "a")], waits=False))) == [False]
    one.load("c", lambda: "value")
    assert two.load("c", lambda: "another") == "value"
    assert one.stats().errors == two.stats().errors == 0


@posix
def test_full_disk_hands_nothing_over_and_fails_no_load(home):
    fresh_python("""
import os, resource, sys, samovar
lease = samovar.FileLease(sys.argv[1], shared=True, keep="1h")
lease.load("small", lambda: 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
assert lease.load("large", lambda: "x" * 5000) == "x" * 5000
assert lease.stats().errors == 1, lease.stats()
assert lease.load("little", lambda: 2) == 2
assert lease.stats().offered == 2
assert sorted(name.rpartition(".")[2] for name in os.listdir(sys.argv[1]) if "lock" not in name) == ["result"] * 2
""", home)


@posix
def test_no_more_open_files_fail_no_load(home):
    fresh_python("""
import os, resource, sys, samovar
lease = samovar.FileLease(sys.argv[1], shared=True, keep="1h")
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
assert lease.load("a", lambda: 1) == 1
assert lease.stats().taken == 0 and lease.stats().errors > 0
""", home)


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_directory_without_permissions_fails_no_load():
    fresh_python("""
import os, shutil, tempfile, samovar
above = tempfile.mkdtemp()
os.chmod(above, 0o777)
os.seteuid(65534)
home = above + "/home"
lease = samovar.FileLease(home, shared=True, keep="1h")
os.chmod(home, 0o500)
assert lease.load("a", lambda: 1) == 1
os.chmod(home, 0)
assert lease.load("b", lambda: 1) == 1
assert lease.stats().errors >= 2, lease.stats()
try:
    samovar.FileLease(home + "/deeper")
except OSError as error:
    print(error)
else:
    raise AssertionError
os.seteuid(0)
shutil.rmtree(above)
""")


@posix
def test_old_kernel_makes_do_with_whole_files(home):
    class Newer(file_locks.Files):
        def lock(self, file, number):
            raise OSError(errno.EINVAL, "Invalid argument")

        def older(self):
            return file_locks.Files()

    locks = FileLocks(Directory(str(home)), Newer())
    file = locks.lock(7)
    assert type(locks.kind) is file_locks.Files and file is not None
    assert FileLocks(Directory(str(home)), file_locks.Files()).lock(7) is None
    locks.unlock(file, 7)
    assert FileLocks(Directory(str(home)), file_locks.Files()).lock(7)


@posix
def test_trouble_that_no_older_kind_mends_is_told(home, caplog):
    class Broken(file_locks.Files):
        def lock(self, file, number):
            raise OSError(errno.EIO, "Input/output error")

    lease = FileLease(home)
    lease._locks.kind = Broken()
    assert [lease.load("a", lambda: 1) for _ in range(3)] == [1, 1, 1]
    assert lease.stats().errors == 3
    assert [record.message for record in caplog.records if "loads run without it" in record.message] == [
        caplog.records[0].message]


def test_lease_counts_are_numbers_from_the_first_on(tmp_path):
    lease = FileLease(tmp_path)
    with lease.hold("name"):
        pass
    stats = lease.stats()
    assert (type(stats.taken), stats.taken, type(stats.given_up), stats.given_up) == (int, 1, int, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_block_holds_nothing_in_the_child_of_a_fork(tmp_path):
    lease = FileLease(tmp_path)
    with lease.hold("name") as held:
        child = os.fork()
        if child == 0:
            os._exit(3 if held else 7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert held
