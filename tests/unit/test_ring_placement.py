"""Where keys live is a promise: golden files, libketama's own answers, and other clients of it."""

import hashlib
import json
import os
import random
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from uhashring import HashRing as UHashRing

from samovar import HashRing

GOLDEN = Path(__file__).parent.parent / "golden"
OURS = json.loads((GOLDEN / "ring_xxh3.json").read_text())
LIBKETAMA = json.loads((GOLDEN / "ring_ketama.json").read_text())  # written by libketama itself (PyPI: ketama 0.1.1)
VNODES = {"weights": 100, "one vnode": 1}


def ring_of(name):
    weights = OURS["rings"][name]["weights"]
    return HashRing(list(weights), weights=weights, vnodes=VNODES.get(name, 160))


@pytest.mark.parametrize("name", OURS["rings"])
def test_placement_is_the_one_of_the_first_release(name):
    ring, frozen = ring_of(name), OURS["rings"][name]
    for kind in ("strings", "integers"):
        assert [ring.nodes.index(ring.get_node(key)) for key in OURS[kind]] == frozen[kind]
    assert hashlib.sha256(repr(ring._table.points()).encode()).hexdigest() == frozen["points"]


def test_placement_is_the_same_in_another_process_with_another_hash_seed():
    code = "from samovar import HashRing; r = HashRing(list('abcdefg')); print(*(r.get_node(f'k{i}') for i in range(99)))"
    for seed in ("1", "2"):
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONHASHSEED": seed}).stdout.split()
        ring = HashRing(list("gfedcba"))
        assert said == [ring.get_node(f"k{i}") for i in range(99)]


def test_placement_does_not_depend_on_how_the_ring_came_to_be():
    names = [f"10.0.0.{i}:11211" for i in range(20)]
    keys = [f"key:{i}" for i in range(500)]
    whole = HashRing(names)
    for seed in range(5):
        chance, ring = random.Random(seed), HashRing()
        for name in chance.sample([*names, "x", "y", "z"], 23):
            ring.add_node(name)
        for name in chance.sample(["x", "y", "z"], 3):
            ring.remove_node(name)
        assert ring == whole and [*map(ring.get_node, keys)] == [*map(whole.get_node, keys)]


# ------------------------------------------------------------------ ketama

@pytest.mark.parametrize("name", LIBKETAMA["rings"])
def test_ketama_is_libketama_to_the_last_point(name):
    frozen = LIBKETAMA["rings"][name]
    ring = HashRing(list(frozen["weights"]), weights=frozen["weights"], hash="ketama")
    assert [ring.nodes.index(ring.get_node(f"key:{i}")) for i in range(LIBKETAMA["keys"])] == frozen["owners"]
    points = ring._table.points()
    assert [sum(node == name for _, node in points) for name in ring.nodes] == frozen["points"]
    text = "".join(f"{place} {node}\n" for place, node in sorted((place >> 32, node) for place, node in points))
    assert hashlib.sha256(text.encode()).hexdigest() == frozen["continuum"]


@pytest.mark.parametrize("weights", [[1] * 3, [1] * 10, [1] * 100, [5, 3, 2], [1, 2, 3, 4, 5, 6, 7], [30, 2, 50]], ids=str)
def test_ketama_agrees_with_uhashring(weights):
    nodes = {f"10.1.0.{i}:11211": weight for i, weight in enumerate(weights)}
    ours, theirs = HashRing(list(nodes), weights=nodes, hash="ketama"), UHashRing(nodes, hash_fn="ketama")
    assert all(ours.get_node(key) == theirs.get_node(key) for key in (f"user:{i}" for i in range(2_000)))


@pytest.mark.parametrize("count", [60, 61, 62])
def test_ketama_ring_changed_step_by_step_is_the_one_made_at_once(count):
    """A sixty-first has fewer points, because libketama computes in floats: all nodes change theirs, twice."""
    names = [f"10.0.0.{i}:11211" for i in range(64)]
    grown, shrunk = HashRing(hash="ketama"), HashRing(names, hash="ketama")
    for name in names[:count]:
        grown.add_node(name)
    for name in names[:count - 1:-1]:
        shrunk.remove_node(name)
    whole = HashRing(names[:count], hash="ketama")
    assert grown._table.points() == shrunk._table.points() == whole._table.points()


class Listener(socketserver.StreamRequestHandler):
    """Hears which keys a client of memcached asks this server for, and has none of them."""

    def handle(self):
        while line := self.rfile.readline():
            self.server.heard.update(line.decode().split()[1:])
            self.wfile.write(b"END\r\n")


def test_ketama_agrees_with_libmemcached():
    pylibmc = pytest.importorskip("pylibmc")
    servers = [socketserver.ThreadingTCPServer(("127.0.0.1", 0), Listener) for _ in range(5)]
    try:
        for server in servers:
            server.daemon_threads, server.heard = True, set()
            threading.Thread(target=server.serve_forever, daemon=True).start()
        names = [f"127.0.0.1:{server.server_address[1]}" for server in servers]
        client = pylibmc.Client(names, behaviors={"ketama_weighted": True})
        keys = [f"user:{i}" for i in range(2_000)]
        client.get_multi(keys)
        client.disconnect_all()
        ring = HashRing(names, hash="ketama")
        for name, server in zip(names, servers):
            assert server.heard == {key for key in keys if ring.get_node(key) == name}
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
