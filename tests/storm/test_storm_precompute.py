"""Everybody at once: readers, touches, deletions and tags while results are built. In the end all is as new as the last
change, and nobody ever saw a result go back."""

import os
import threading

import pytest

from ahead import Work, ahead
from samovar import AsyncCluster, Cluster, Freshness, LocalNode, NotBuilt
from support import FREE_THREADED, fresh_python, together

KEYS = ["a", "b", "c", "d", "e"]
LASTING = Freshness(ttl=60, stale_if_error=60)  # of `every` it would be a few times that: less than a busy machine takes


class Original(Work):
    """Made of a number that is counted up."""

    def __init__(self):
        super().__init__()
        self.versions, self.turn = dict.fromkeys(KEYS, 0), threading.Lock()

    def change(self, key):
        with self.turn:
            self.versions[key] += 1

    def begin(self, key):
        super().begin(key)
        return self.versions[key]

    def end(self, key, version):
        super().end(key, version)
        return version


@pytest.mark.parametrize("kind", ["threads", "tasks"])
@pytest.mark.parametrize("where", ["alone", "cluster"])
def test_changes_that_are_touched_are_built_and_results_never_go_back(kind, where):
    work, store = Original(), None
    if where == "cluster":
        store = (Cluster if kind == "threads" else AsyncCluster)([LocalNode("one"), LocalNode("two")])
    with ahead(kind, work, keys=KEYS, every="5ms", fresh=LASTING, concurrency=3, tags=lambda key: [key, "all"], store=store,
               name="storm") as page:
        def change(keys):
            for lap in range(60):
                for key in keys:
                    work.change(key)
                    if lap % 3:
                        page.touch(key)
                    else:
                        page.touch_tags(key)

        def read():
            seen = dict.fromkeys(KEYS, 0)
            for _ in range(60):
                for key in KEYS:
                    version = page(key)
                    assert version >= seen[key]
                    seen[key] = version

        def disturb():
            for lap in range(20):
                page.delete(KEYS[lap % 5])
                page.do(page.store.invalidate_tags("all"))
                page.status()

        together(lambda: change(KEYS[:2]), lambda: change(KEYS[2:]), read, read, disturb)
        for key in KEYS:
            work.change(key)
            page.touch(key)
        page.stop()
        try:
            assert {key: page(key) for key in KEYS} == work.versions
        except NotBuilt as error:
            pytest.fail(f"{error} {page.status()}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.skipif(FREE_THREADED, reason="a fork may leave the lock of a contended cache behind (docs/development.md)")
def test_forks_in_the_middle_of_building_leave_children_that_can_build():
    out = fresh_python("""
import os, threading
from samovar import Freshness, precompute

@precompute(keys=range(8), every="1ms", fresh=Freshness(ttl=60, stale_if_error=60), concurrency=3,
            tags=lambda key: ["all", f"page:{key}"])
def page(key):
    return key, os.getpid()

def disturb():
    while not over.is_set():
        page.touch_tags("all")
        page.status()

over = threading.Event()
page.start()
threading.Thread(target=disturb, daemon=True).start()
while len(page.status().keys) < 8 or page.status().unbuilt:
    page.wait(0.01)
for _ in range(15):
    child = os.fork()
    if child == 0:
        fine = not page.running and page.touch_tags("all") == 8
        page.start()
        fine = fine and page.stop(timeout=60) and [page(key) for key in range(8)] == [(key, os.getpid()) for key in range(8)]
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
over.set()
assert page.stop(timeout=60)
print("done")
""", flags=("-W", "ignore::DeprecationWarning"))
    assert out.strip() == "done"
