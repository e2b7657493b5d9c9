"""Batches in the engine's own words: `get_many` answers what the same reads answer one by one, whatever lies there."""

import pytest

from samovar import Cluster, Freshness, MemcachedNode, RedisNode
from samovar.cluster.drive import run
from samovar.cluster.node import OWNER
from support import LIMIT

LONG = 60_000
FRESH = Freshness(ttl=60, stale_while_revalidate=20)


class Wrapped:
    """Wraps `read` alone, so that it is asked by it."""

    def read(self, keys):
        return (yield from super().read(keys))


@pytest.fixture(params=["redis", "memcached"])
def pair(request):
    """Two clusters over the same engine: nodes as they are, and nodes that are asked by `read`."""
    server = request.getfixturevalue(f"{request.param}_server")
    kind, where = ((RedisNode, f"redis://127.0.0.1:{server.port}") if request.param == "redis" else
                   (MemcachedNode, f"127.0.0.1:{server.port}"))
    words = {"namespace": "gathered", "fresh": FRESH, "bus": False}
    nodes = [kind(where, timeout=LIMIT), type("Asked", (Wrapped, kind), {})(where, timeout=LIMIT)]
    clusters = [Cluster([node], **words) for node in nodes]
    yield clusters
    for cluster in clusters:
        cluster.close()
    for node in nodes:
        node.close()


def test_whatever_lies_there_is_answered_as_by_a_read_of_its_own(pair):
    cluster, asked = pair
    [node] = cluster._tier.nodes.values()
    wire = cluster._tier.wire
    assert cluster.get_many(["none"]) == {}  # the first look at the node
    cluster.set_many({"plain": 1, "text": "x" * 900, "nothing": None, "large": "y" * 9000})
    cluster.set("tagged", 2, tags="t")
    cluster.set("gone", 3, tags="u")
    cluster.invalidate_tags("u")
    run(node.lease(wire("leased"), LONG))
    run(node.begin_write([wire("fenced")], b"a" * OWNER, LONG))
    run(node.put_many([(wire("damaged"), b"\xc5\xa7\x01\x01\x00" + b"x" * 90, LONG), (wire("empty"), b"", LONG)]))
    keys = ["none", "plain", "leased", "text", "tagged", "gone", "nothing", "fenced", "damaged", "empty", "large"]
    expected = {"plain": 1, "text": "x" * 900, "tagged": 2, "nothing": None, "large": "y" * 9000}
    before = cluster.stats()
    assert cluster.get_many(keys) == asked.get_many(keys) == expected and list(cluster.get_many(keys)) == list(expected)
    now = cluster.stats()
    assert (now.hits - before.hits, now.misses - before.misses) == (2 * 5, 2 * 6)
    assert {key: cluster.get(key, "none") for key in keys if cluster.get(key, "none") != "none"} == expected
    assert cluster.get_many(["plain", "text"]) == {"plain": 1, "text": "x" * 900}


@pytest.mark.parametrize("count", [1, 2, 499, 500, 501, 1200])
def test_batches_of_any_size_come_whole_and_in_order(pair, count):
    cluster, asked = pair
    values = {f"key {number}" if number % 7 else number: number for number in range(count)}
    cluster.set_many(values)
    assert cluster.get_many(values) == asked.get_many(values) == values and list(cluster.get_many(values)) == list(values)
    assert cluster.get_many([]) == {}
