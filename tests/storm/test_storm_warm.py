"""Warming that is killed: what was loaded is not loaded again, whatever the moment at which the process died."""

import json
import signal
import subprocess
import sys

import pytest

from samovar import load_hot_set, save_hot_set, warm
from support import LIMIT

# A store that outlives the process: a folder with a file for each key. The origin says on stdout what it is asked.
STORE = """
import os, pathlib, sys, threading
import samovar

class Folder:
    def __init__(self, path):
        self.path = pathlib.Path(path)

    def peek(self, key, default=None):
        sys.stdout.write(f"peek {key}\\n")
        sys.stdout.flush()
        return default  # a far store that is costly to ask: only the journal knows

    def get_or_set(self, key, factory):
        (self.path / str(key)).write_text(str(factory()))

folder, journal, count, hold = Folder(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def load(key):
    if 0 <= hold <= key:  # nobody gets past it, however slow the other process is to kill this one
        sys.stdout.write("held\\n")
        sys.stdout.flush()
        threading.Event().wait()
    sys.stdout.write(f"load {key}\\n")
    sys.stdout.flush()
    return key * 2

print("warmed", samovar.warm(folder, range(count), load, resume=journal, concurrency=4))
"""


def begin(folder, journal, count, hold):
    return subprocess.Popen([sys.executable, "-c", STORE, str(folder), str(journal), str(count), str(hold)],
                            stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_warming_that_was_killed_again_and_again_loads_no_key_twice_but_those_that_ran(tmp_path):
    folder, journal, count = tmp_path / "store", tmp_path / "journal", 400
    folder.mkdir()
    loaded, running = [], 0
    for hold in (60, 61, 190, 333, 399):
        process = begin(folder, journal, count, hold)
        try:
            lines = []
            for line in process.stdout:
                lines.append(line.split())
                if lines[-1] == ["held"]:  # one of four is held, and the others may be in the middle of their work
                    process.kill()
                    break
            lines += [line.split() for line in process.stdout]
        finally:
            process.kill()
            process.communicate(timeout=LIMIT)
        loaded += [int(line[1]) for line in lines if line[0] == "load" and len(line) == 2]
        running += 4
        assert journal.exists()
    done = subprocess.run([sys.executable, "-c", STORE, str(folder), str(journal), str(count), "-1"],
                          capture_output=True, text=True, timeout=3 * LIMIT, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    loaded += [int(line[1]) for line in lines if line[0] == "load"]
    assert set(loaded) == set(range(count)) and len(loaded) <= count + running
    assert "skipped=" in done.stdout and not journal.exists()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {str(key): str(2 * key) for key in range(count)}
    skipped = count - sum(line[0] == "peek" for line in lines)
    assert skipped > 300, "what was done is not even looked for"


def test_hot_set_survives_saving_and_warming_by_many(tmp_path):
    from support import together

    path, keys = tmp_path / "hot", [("user", number) for number in range(500)]
    save_hot_set(keys, path)

    class Counting(dict):
        def peek(self, key, default=None):
            return self.get(key, default)

        def get_or_set(self, key, factory):
            return self.setdefault(key, factory())

    def act(number):
        if number % 2:
            assert save_hot_set(keys, path) == 500
        store = Counting()
        assert warm(store, load_hot_set(path), json.dumps, progress=False) == (500, 0, 0, 0) and len(store) == 500

    together(*[lambda number=number: act(number) for number in range(8)])
    assert list(tmp_path.iterdir()) == [path]
