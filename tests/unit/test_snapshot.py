"""Snapshots: what was saved is loaded, and a file that is not whole and ours changes nothing."""

import hashlib
import math
import os
import pathlib
import signal
import stat
import struct
import sys

import pytest
from hypothesis import given, settings, strategies as st

from samovar._base.codecs import encode
from samovar._base.errors import SamovarError, SnapshotError
from samovar.app.snapshot import load, save
from support import fresh_python

HEAD, TAIL = 20, 24
NEVER = math.inf


class Shelf:
    """A stand-in for a cache: entries, the hottest first."""

    def __init__(self, entries=()):
        self.entries = list(entries)
        self.restored = 0

    def _entries(self):
        return list(self.entries)

    def _restore(self, entries):
        self.restored += 1
        self.entries = list(entries)
        return len(entries)


class Wall:
    """A wall clock that stands still until it is told."""

    def __init__(self, now=1_700_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


def entry(key, value="value", left=NEVER, tags=(), cost=0.0, weight=1, keep=0.0):
    return (key, value, left, tags, cost, weight, keep)


def sealed(body, count, *, magic=b"\x93SAMOVAR", version=1, zero=0, saved_at=0.0):
    """A file with a checksum that is right, whatever else is wrong."""
    whole = struct.pack("<8sHHd", magic, version, zero, saved_at) + body + struct.pack("<Q", count)
    return whole + hashlib.blake2b(whole, digest_size=16).digest()


def parts(*values):
    return b"".join(map(encode, values))


GOOD = parts("key", "value", (), NEVER, 0.0, 1, 0.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hot.samovar"


def refused(path, text):
    """Loading changes nothing and says why."""
    shelf = Shelf([entry("here")])
    with pytest.raises(SnapshotError) as caught:
        load(shelf, path)
    assert shelf.entries == [entry("here")] and shelf.restored == 0
    assert str(caught.value).startswith(f"load: {str(path)!r} ") and text in str(caught.value)


# ------------------------------------------------------------------ what was saved is loaded

keys = st.one_of(st.integers(), st.text(max_size=8), st.tuples(st.text(max_size=4), st.integers()), st.none(),
                 st.binary(max_size=4))
values = st.recursive(st.none() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates(),
                      lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
lefts = st.just(NEVER) | st.floats(-1e6, 1e9)
entries_of_any_kind = st.lists(st.tuples(keys, values, lefts, st.lists(st.text(max_size=5), max_size=3).map(tuple),
                                         st.floats(0, 1e6), st.integers(1, 2**32 - 1),
                                         st.floats(0, 1e9) | st.just(NEVER)), max_size=8)


@given(entries=entries_of_any_kind, passed=st.floats(0, 1e9))
@settings(max_examples=150)
def test_snapshot_gives_back_what_was_saved_in_its_order(tmp_path_factory, entries, passed):
    path = tmp_path_factory.getbasetemp() / "any.samovar"
    wall, shelf = Wall(0.0), Shelf()
    assert save(Shelf(entries), path, now=wall) == len(entries)
    wall.now += passed
    assert load(shelf, path, now=wall) == len(entries)
    assert shelf.entries == [(key, value, left - passed, *rest) for key, value, left, *rest in entries]
    assert shelf.restored == 1


def test_snapshot_of_nothing_is_a_snapshot(path):
    assert save(Shelf(), path) == 0
    assert path.stat().st_size == HEAD + TAIL
    assert load(Shelf([entry(1)]), path) == 0


def test_snapshot_of_many_entries_is_written_in_pieces(path):
    entries = [entry(number, "x" * 1000, tags=(f"t{number % 7}",)) for number in range(5000)]
    shelf = Shelf()
    assert save(Shelf(entries), path) == load(shelf, path) == 5000
    assert path.stat().st_size > 4 << 20 and shelf.entries == entries


def test_deadlines_run_on_while_the_process_is_down(path):
    wall, shelf = Wall(), Shelf()
    save(Shelf([entry("a", left=100.0), entry("b"), entry("c", left=-5.0)]), path, now=wall)
    wall.now += 60
    load(shelf, path, now=wall)
    assert [left for _, _, left, *_ in shelf.entries] == [40.0, NEVER, -65.0]


def test_deadlines_stand_still_when_the_wall_clock_was_set_back(path):
    wall, shelf = Wall(), Shelf()
    save(Shelf([entry("a", left=100.0)]), path, now=wall)
    wall.now -= 3600
    load(shelf, path, now=wall)
    assert shelf.entries == [entry("a", left=100.0)]


@pytest.mark.parametrize("form", [str, pathlib.Path, os.fsencode])
def test_snapshot_path_may_have_any_form_of_a_path(path, form):
    save(Shelf([entry(1)]), form(path))
    assert load(Shelf(), form(path)) == 1


@pytest.mark.parametrize("bad", [None, 3, object()])
def test_snapshot_path_is_named_when_it_is_none(bad):
    for verb in (save, load):
        with pytest.raises(TypeError, match=f"^{verb.__name__}: path must be a str or os.PathLike, not "):
            verb(Shelf(), bad)


# ------------------------------------------------------------------ what cannot be saved

def test_save_names_the_key_and_the_type_that_is_not_plain(path):
    with pytest.raises(SnapshotError, match=r"^save: the value of key 'k' cannot be written: builtins\.object is not plain"):
        save(Shelf([entry("k", [object()])]), path)
    with pytest.raises(SnapshotError, match=r"^save: the key 1j cannot be written: builtins\.complex is not plain data; it "
                                            r"must be None, .*; skip_unsupported=True leaves it out$"):
        save(Shelf([entry(1j)]), path)
    with pytest.raises(SnapshotError, match=r"^save: the tags of key 'k' cannot"):
        save(Shelf([entry("k", tags=(1j,))]), path)
    assert list(path.parent.iterdir()) == []


def test_save_says_a_long_key_in_short(path):
    with pytest.raises(SnapshotError) as caught:
        save(Shelf([entry("k" * 10_000, object())]), path)
    assert len(str(caught.value)) < 400


def test_save_leaves_out_what_is_not_plain_when_asked(path):
    entries = [entry(1), entry(2, [1, 2, object()]), entry(3j), entry(4, tags=(5j,)), entry(6, "last")]
    shelf = Shelf()
    assert save(Shelf(entries), path, skip_unsupported=True) == 2
    assert load(shelf, path) == 2
    assert shelf.entries == [entry(1), entry(6, "last")]


# ------------------------------------------------------------------ the file is whole, always

def test_save_replaces_the_old_file_and_leaves_nothing_beside_it(path):
    shelf = Shelf()
    save(Shelf([entry("old")]), path)
    save(Shelf([entry("new")]), path)
    load(shelf, path)
    assert shelf.entries == [entry("new")] and list(path.parent.iterdir()) == [path]


KILLED = """
import os, signal, sys
from samovar import Cache

cache = Cache()
cache.update((number, "x" * 1000) for number in range(5000))
write = os.fsync
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
cache.save(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nobody is killed there")
def test_save_that_is_killed_leaves_the_old_file_and_a_later_one_tidies(path):
    save(Shelf([entry("old")]), path)
    fresh_python(KILLED, path, expect=-signal.SIGKILL)
    shelf = Shelf()
    assert load(shelf, path) == 1 and shelf.entries == [entry("old")]
    [part] = [other for other in path.parent.iterdir() if other != path]
    users = path.with_name(f".{path.name}.mine")
    users.touch()
    save(Shelf([entry("new")]), path)
    assert part.exists()  # it may be another process's, that saves right now
    for other in (part, users):
        os.utime(other, (0, 0))
    save(Shelf([entry("new")]), path)
    assert set(path.parent.iterdir()) == {path, users}


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_save_keeps_the_old_file_when_it_fails(path, monkeypatch, step, error):
    def fail(*args):
        raise error

    save(Shelf([entry("old")]), path)
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(type(error)):
            save(Shelf([entry("new")]), path)
    shelf = Shelf()
    load(shelf, path)
    assert shelf.entries == [entry("old")] and list(path.parent.iterdir()) == [path]


def test_save_is_on_the_disk_before_it_has_its_name(path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(handle):
        steps.append(("fsync", os.fstat(handle).st_size))
        fsync(handle)

    def note_replace(part, target):
        steps.append(("replace", os.path.dirname(part) == os.path.dirname(target)))
        replace(part, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    save(Shelf([entry("key")]), path)
    assert steps[:2] == [("fsync", path.stat().st_size), ("replace", True)]


@pytest.mark.skipif(sys.platform == "win32", reason="no modes and links there")
def test_save_is_for_its_owner_only_and_goes_through_links(path):
    link = path.with_name("link")
    link.symlink_to(path)
    save(Shelf([entry("key")]), link)
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_save_and_load_raise_the_errors_of_the_file_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(Shelf(), tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        save(Shelf(), tmp_path / "none" / "file")
    with pytest.raises(OSError):
        load(Shelf(), tmp_path)


# ------------------------------------------------------------------ damaged, foreign and hostile files

def test_load_refuses_every_truncation_and_every_flipped_bit(path):
    save(Shelf([entry("key", {"a": [1, 2.5]}, 10.0, ("t",), 0.1), entry(2)]), path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        refused(path, "snapshot" if size < 8 else "cut off")
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        refused(path, "")
    for more in (b"\0", whole):
        path.write_bytes(whole + more)
        refused(path, "damaged")


@given(content=st.binary(max_size=200))
def test_load_refuses_foreign_files(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "foreign"
    path.write_bytes(b"\0" + content)
    refused(path, "is not a samovar snapshot")
    path.write_bytes(b"\x93SAMOVAR" + content)
    refused(path, "")


@pytest.mark.parametrize("content, said", [
    (sealed(GOOD, 1, version=2), "has format 2, this samovar reads format 1"),
    (sealed(GOOD, 1, zero=1), "has format 1"),
    (sealed(GOOD, 1, saved_at=math.nan), "saved at nan"),
    (sealed(GOOD, 1, saved_at=math.inf), "saved at inf"),
    (sealed(GOOD, 2), "1 entries, not the 2 that it claims"),
    (sealed(GOOD, 2**64 - 1), "1 entries, not the 18446744073709551615 that it claims"),
    (sealed(GOOD + b"\x00", 1), "entry 1"),
    (sealed(b"\x0a\xff\xff\xff\xff\xff\xff\xff\x7f", 1), "more is promised than follows"),
    (sealed(parts([], 1, (), NEVER, 0.0, 1, 0.0), 1), "unhashable"),
    (sealed(parts(1, 1, [], NEVER, 0.0, 1, 0.0), 1), "the tags must be a tuple of str"),
    (sealed(parts(1, 1, (1,), NEVER, 0.0, 1, 0.0), 1), "the tags must be a tuple of str"),
    (sealed(parts(1, 1, (), math.nan, 0.0, 1, 0.0), 1), "the freshness left must be seconds"),
    (sealed(parts(1, 1, (), -NEVER, 0.0, 1, 0.0), 1), "the freshness left must be seconds"),
    (sealed(parts(1, 1, (), 5, 0.0, 1, 0.0), 1), "the freshness left must be seconds"),
    (sealed(parts(1, 1, (), NEVER, -1.0, 1, 0.0), 1), "the cost must be seconds"),
    (sealed(parts(1, 1, (), NEVER, NEVER, 1, 0.0), 1), "the cost must be seconds"),
    (sealed(parts(1, 1, (), NEVER, None, 1, 0.0), 1), "the cost must be seconds"),
    (sealed(parts(1, 1, (), NEVER, 0.0, 0, 0.0), 1), "the weight must be an integer from 1"),
    (sealed(parts(1, 1, (), NEVER, 0.0, 2**32, 0.0), 1), "the weight must be an integer from 1"),
    (sealed(parts(1, 1, (), NEVER, 0.0, True, 0.0), 1), "the weight must be an integer from 1"),
    (sealed(parts(1, 1, (), NEVER, 0.0, 1, -1.0), 1), "the time to be kept when stale must be seconds"),
    (sealed(parts(1, 1, (), NEVER, 0.0, 1, math.nan), 1), "the time to be kept when stale must be seconds"),
    (sealed(parts(1, 1, (), NEVER, 0.0, 1, 1), 1), "the time to be kept when stale must be seconds"),
])
def test_load_refuses_a_forged_file_whose_checksum_is_right(path, content, said):
    path.write_bytes(content)
    refused(path, said)


@given(body=st.binary(max_size=80), count=st.integers(0, 3))
@settings(max_examples=300)
def test_load_of_any_sealed_bytes_changes_all_or_nothing(tmp_path_factory, body, count):
    path = tmp_path_factory.getbasetemp() / "sealed"
    path.write_bytes(sealed(GOOD + body, count))
    shelf = Shelf([entry("here")])
    try:
        assert load(shelf, path) == count == len(shelf.entries)
    except SnapshotError:
        assert shelf.entries == [entry("here")]


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such file without an end")
def test_load_refuses_what_is_no_regular_file():
    refused("/dev/zero", "is no regular file")


def test_snapshot_error_is_a_value_error_of_samovar():
    assert issubclass(SnapshotError, SamovarError) and issubclass(SnapshotError, ValueError)
