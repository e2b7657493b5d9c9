"""Hot sets and traces: the keys that matter, in the order in which they matter, over a restart and from what was asked."""

import gzip
import os
import sys
from array import array

import pytest

import samovar.herd.hot
from samovar import Cache, SamovarError, SnapshotError, hot_set, load_hot_set, save_hot_set, trace_keys, warm


@pytest.fixture
def cache():
    cache = Cache(eviction="lru")
    cache.update({"tea": 1, "mate": 2, ("a", 1): 3})
    cache.get("tea")
    return cache


HOTTEST = ["tea", ("a", 1), "mate"]


def test_hot_set_is_the_keys_that_stay_longest_first(cache):
    assert hot_set(cache) == HOTTEST and hot_set(cache, limit=2) == HOTTEST[:2] and hot_set([3, 1], 1) == [3]


def test_hot_set_survives_a_restart_and_is_warmed(cache, tmp_path):
    path = tmp_path / "hot"
    assert save_hot_set(cache, path) == 3 and load_hot_set(path) == HOTTEST and load_hot_set(str(path), 1) == ["tea"]
    assert save_hot_set(cache, path, limit=2) == 2 and load_hot_set(path) == HOTTEST[:2]
    again = Cache()
    assert warm(again, load_hot_set(path), repr) == (2, 0, 0, 0) and list(tmp_path.iterdir()) == [path]


def test_hot_set_is_read_from_a_snapshot_too(cache, tmp_path):
    cache.save(tmp_path / "snapshot")
    assert load_hot_set(tmp_path / "snapshot") == HOTTEST and load_hot_set(tmp_path / "snapshot", 2) == HOTTEST[:2]


def test_hot_set_refuses_keys_that_are_not_plain_or_leaves_them_out(tmp_path):
    path, cache = tmp_path / "hot", Cache(eviction="lru")
    cache.update({"tea": 1, frozenset: 2, "mate": 3})
    path.write_text("old")
    with pytest.raises(SnapshotError, match="save_hot_set: the key <class 'frozenset'> cannot be written"):
        save_hot_set(cache, path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    assert save_hot_set(cache, path, skip_unsupported=True) == 2 and load_hot_set(path) == ["mate", "tea"]


def test_hot_set_with_any_byte_changed_or_cut_is_refused(cache, tmp_path):
    path = tmp_path / "hot"
    save_hot_set(cache, path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        with pytest.raises(SnapshotError, match="load_hot_set: "):
            load_hot_set(path)
        path.write_bytes(whole[:at])
        with pytest.raises(SnapshotError, match="load_hot_set: "):
            load_hot_set(path)


def test_hot_set_that_was_forged_is_refused(tmp_path, monkeypatch):
    """A right checksum over what is wrong."""
    path = tmp_path / "hot"
    for wrong in (b"\x0a\x00", b"\x03"):  # a list is no key; an int without its bytes
        monkeypatch.setattr(samovar.herd.hot, "encode_into", lambda out, key: out.extend(wrong))
        save_hot_set(["key"], path)
        monkeypatch.undo()
        with pytest.raises(SnapshotError, match="is damaged: key 0"):
            load_hot_set(path)


def test_hot_set_says_what_it_cannot_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_hot_set(tmp_path / "none")
    with pytest.raises(TypeError, match="load_hot_set: path must be"):
        load_hot_set(3)
    with pytest.raises(ValueError, match="load_hot_set: limit must be an integer of 1 or more"):
        load_hot_set(tmp_path / "none", 0)
    with pytest.raises(TypeError, match="hot_set: cache must be a Cache or an iterable"):
        hot_set(3)
    with pytest.raises(TypeError, match="save_hot_set: limit must be an integer"):
        save_hot_set(Cache(), tmp_path / "hot", limit="all")
    if hasattr(os, "mkfifo"):
        with pytest.raises(SnapshotError, match="no regular file"):
            load_hot_set("/dev/null")


# ------------------------------------------------------------------ traces

def test_trace_of_text_is_counted(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_bytes("tea\r\nmate\n\ntea time\t3\nmate\nsälz\n".encode())
    assert trace_keys(path) == ["tea time", "mate", "tea", "sälz"] and trace_keys(path, 2) == ["tea time", "mate"]
    packed = tmp_path / "trace.txt.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert trace_keys(packed) == trace_keys(path, form="keys")


LOG = r'''127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /tea?hot=1 HTTP/1.0" 200 2326
127.0.0.1 - - [10/Oct/2000:13:55:37 -0700] "GET /mate HTTP/1.1" 304 - "http://ref/" "Agent \"quoted\" 1.0"
::1 - - [10/Oct/2000:13:55:38 -0700] "HEAD http://shop.example/tea HTTP/1.1" 200 12
::1 - - [10/Oct/2000:13:55:39 -0700] "POST /order HTTP/1.1" 200 12
::1 - - [10/Oct/2000:13:55:40 -0700] "GET /none HTTP/1.1" 404 12
::1 - - [10/Oct/2000:13:55:41 -0700] "-" 408 -
::1 - - [10/Oct/2000:13:55:42 -0700] "GET http://[bad/ HTTP/1.1" 200 1
'''


def test_trace_of_an_access_log_gives_paths_that_were_answered(tmp_path):
    path = tmp_path / "access.log"
    path.write_text(LOG)
    assert trace_keys(path) == ["/tea", "/mate"] == trace_keys(path, form="log")
    assert len(trace_keys(path, form="keys")) == 7


def numbers(*keys):
    return array("Q", keys).tobytes() if sys.byteorder == "little" else b"".join(key.to_bytes(8, "little") for key in keys)


def test_trace_of_numbers_is_counted(tmp_path):
    path = tmp_path / "t.u64"
    path.write_bytes(numbers(5, 2**64 - 1, 5, 7, 7, 7))
    assert trace_keys(path) == [7, 5, 2**64 - 1]
    import zstandard
    packed = tmp_path / "t.u64.zst"
    packed.write_bytes(zstandard.compress(path.read_bytes()) + zstandard.compress(numbers(*[9] * 300_000, 7)))
    assert trace_keys(packed, 2) == [9, 7]
    packed.write_bytes(packed.read_bytes()[:30])
    with pytest.raises(ValueError, match="t.u64.zst'"):
        trace_keys(packed)
    path.write_bytes(b"123")
    with pytest.raises(ValueError, match="3 bytes are left over"):
        trace_keys(path)


def test_trace_of_arrays_is_counted(tmp_path):
    import numpy
    path = tmp_path / "t.npz"
    numpy.savez(path, key=numpy.array([3, 1, 3], dtype="u8"), size=numpy.array([1, 1, 1]))
    assert trace_keys(path) == [3, 1] and all(type(key) is int for key in trace_keys(path))
    for wrong in ({"size": [1]}, {"key": [[1]]}, {"key": [1.5]}):
        numpy.savez(path, **wrong)
        with pytest.raises(ValueError, match="trace_keys: .*t.npz'"):
            trace_keys(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="trace_keys: .*t.npz'"):
        trace_keys(path)


@pytest.mark.parametrize("content, said", [
    (b"tea\tmany\n", "line 1: after the tab"), (b"\ntea\n\xff\n", "line 3 is not UTF-8"), (b"tea\t-1\n", "line 1: after"),
], ids=["count", "utf8", "negative"])
def test_trace_that_is_wrong_is_refused_by_its_line(tmp_path, content, said):
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        trace_keys(path)


def test_trace_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "trace.gz"
    path.write_bytes(gzip.compress(b"tea\n" * 1000)[:-10])
    with pytest.raises(ValueError, match="trace.gz' is damaged or cut off"):
        trace_keys(path)


def test_trace_refuses_bad_arguments_by_name(tmp_path):
    for options, error, said in (({"limit": 0}, ValueError, "limit"), ({"form": "csv"}, ValueError, "form must be one of"),
                                 ({"form": 3}, TypeError, "form must be one of")):
        with pytest.raises(error, match=f"trace_keys: {said}"):
            trace_keys(tmp_path / "t", **options)
    with pytest.raises(FileNotFoundError):
        trace_keys(tmp_path / "none.npz")


@pytest.mark.parametrize("name, package", [("t.u64.zst", "zstandard"), ("t.npz", "numpy")])
def test_trace_names_the_extra_that_is_missing(name, package, tmp_path, monkeypatch):
    (tmp_path / name).write_bytes(b"")
    for module in (package, "compression.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {package}: pip install 'samovar\[trace\]'") as raised:
        trace_keys(tmp_path / name)
    assert isinstance(raised.value, SamovarError)
