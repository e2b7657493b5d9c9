"""Nodes to hold to the contract: each kind, through both drivers. Time is the engine's own: a manual clock where it takes
one, and otherwise short lifetimes that a test waits out, with a limit."""

import asyncio
import shutil
import ssl

import pytest
import redis
import redis.asyncio
import redis.cluster
import redis.sentinel

from samovar import ManualClock
from samovar.cluster.drive import arun, run
from samovar.cluster.local import LocalNode
from samovar.cluster.memcached import MemcachedNode
from samovar.cluster.redis import RedisNode
from engine_kinds import (  # noqa: F401
    certificate, redis_cluster, redis_cluster_processes, socket_memcached_process, tls_memcached, tls_memcached_process,
    tls_redis, tls_redis_process, valkey, valkey_process, watched, watched_process,
)
from engines import memcached_process, memcached_server, proxied, redis_process, redis_server  # noqa: F401
from support import LIMIT, every_memo_is_sound_afterwards, until  # noqa: F401


class Subject:
    """A node, the driver that asks it, and a way to let its time pass."""

    def __init__(self, node, ask, clock=None):
        self.node, self.ask, self.clock = node, ask, clock

    def __getattr__(self, verb):
        steps = getattr(self.node, verb)
        return lambda *args: self.ask(steps(*args))

    def passes(self, ms, over):
        """Let `ms` pass, and a little more, until `over()`."""
        if self.clock is not None:
            self.clock.advance(ms / 1000)
            assert over()
        else:
            until(over)

    def read_one(self, key):
        status, found = self.read([key])
        assert status.name == "OK" and len(found) == 1
        return found[0]


class Driver:
    """How a node is asked: by this thread, or by tasks of one event loop."""

    def __init__(self, runner):
        self.runner = runner

    def __call__(self, steps):
        return run(steps) if self.runner is None else self.runner.run(arun(steps))

    def close(self, node):
        if self.runner is None:
            node.close()
        else:
            self.runner.run(node.aclose())


@pytest.fixture(params=["blocking", "asyncio"])
def ask(request):
    """A driver."""
    if request.param == "blocking":
        yield Driver(None)
    else:
        with asyncio.Runner() as runner:
            yield Driver(runner)


def local(request, ask):
    clock = ManualClock()
    return LocalNode(clock=clock), clock


def redis_node(request, ask):
    return RedisNode(request.getfixturevalue("redis_server").url, timeout=LIMIT), None


def redis_by_lua(request, ask):
    return RedisNode(request.getfixturevalue("redis_server").url, timeout=LIMIT, set_tells=False), None


def redis_by_socket(request, ask):
    server = request.getfixturevalue("redis_server")
    return RedisNode(f"unix://{server.folder}/redis.sock?db=3", timeout=LIMIT), None


def redis_by_client(request, ask):
    server = request.getfixturevalue("redis_server")
    client = redis.Redis(port=server.port)
    aclient = redis.asyncio.Redis(port=server.port) if ask.runner else None
    request.addfinalizer(client.close)
    if aclient is not None:
        request.addfinalizer(lambda: ask.runner.run(aclient.aclose()))
    return RedisNode(client, aclient=aclient, name="by-client"), None


def closing(request, ask, *clients):
    """Close redis-py's clients, blocking and asyncio, when the test is over."""
    for client in clients:
        if hasattr(client, "aclose"):
            request.addfinalizer(lambda client=client: ask.runner.run(client.aclose()))
        elif client is not None:
            request.addfinalizer(client.close)


def redis_cluster_node(request, ask):
    port = request.getfixturevalue("redis_cluster")[0].port
    if ask.runner is None:
        client = redis.cluster.RedisCluster(host="127.0.0.1", port=port, socket_timeout=LIMIT)
    else:
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=port, socket_timeout=LIMIT)
    closing(request, ask, client)
    return RedisNode(client, name="cluster"), None


def redis_by_sentinel(request, ask):
    port = request.getfixturevalue("watched").sentinel.port
    kind = redis.sentinel.Sentinel if ask.runner is None else redis.asyncio.Sentinel
    client = kind([("127.0.0.1", port)], socket_timeout=LIMIT).master_for("shop")
    closing(request, ask, client)
    return RedisNode(client, name="shop"), None


def redis_by_tls(request, ask):
    server = request.getfixturevalue("tls_redis")
    trusting = ssl.create_default_context(cafile=server.certificate)
    return RedisNode(f"rediss://app:secret@127.0.0.1:{server.tls_port}/1", tls=trusting, timeout=LIMIT), None


def redis_by_tls_client(request, ask):
    server = request.getfixturevalue("tls_redis")
    kind = redis.Redis if ask.runner is None else redis.asyncio.Redis
    client = kind(port=server.tls_port, username="app", password="secret", ssl=True, ssl_ca_certs=str(server.certificate))
    closing(request, ask, client)
    return RedisNode(client, name="tls"), None


def valkey_node(request, ask):
    return RedisNode(request.getfixturevalue("valkey").url, timeout=LIMIT), None


def memcached_node(request, ask):
    return MemcachedNode(f"127.0.0.1:{request.getfixturevalue('memcached_server').port}", timeout=LIMIT), None


def memcached_by_tls(request, ask):
    server = request.getfixturevalue("tls_memcached")
    return MemcachedNode(f"127.0.0.1:{server.port}", tls=server.tls, timeout=LIMIT), None


def memcached_by_socket(request, ask):
    node = MemcachedNode(request.getfixturevalue("socket_memcached_process"), timeout=LIMIT)
    node.perform((b"flush_all noreply\r\nversion\r\n", 1))
    return node, None


KINDS = {"local": local, "redis": redis_node, "redis-lua": redis_by_lua, "redis-unix": redis_by_socket,
         "redis-py": redis_by_client, "redis-cluster": redis_cluster_node, "memcached": memcached_node}
OTHERS = {"sentinel": redis_by_sentinel, "redis-tls": redis_by_tls, "redis-py-tls": redis_by_tls_client,
          "memcached-tls": memcached_by_tls, "memcached-unix": memcached_by_socket}
if shutil.which("valkey-server"):  # Debian has it from trixie on
    OTHERS["valkey"] = valkey_node
CORE = {  # what the others are held to: each verb once; they are the same engines, reached in another way
    "test_read_answers_each_key_in_order", "test_put_replaces_a_value_and_its_token",
    "test_leases_of_many_keys_are_told_apart",
    "test_fill_is_lost_when_the_key_was_deleted", "test_release_gives_a_lease_back_and_only_its_own",
    "test_claim_lets_one_renew_while_all_read", "test_fence_removes_what_was_there_and_lets_nothing_in",
    "test_fence_stands_until_each_owner_has_ended", "test_bump_moves_a_counter_to_where_it_never_was",
    "test_epoch_is_a_namespace_s_own_and_names_the_run", "test_note_that_is_none_is_refused",
    "test_probe_of_a_node_that_is_well", "test_push_is_there_where_it_is_said", "test_body_comes_back_as_it_was",
}
TIMED = {"test_value_ends_with_its_ttl", "test_touch_gives_values_time_and_nothing_else",
         "test_notes_come_back_in_order_and_end"}  # whoever has few rights has those that these need
HEAVY = {"redis-cluster", "sentinel"}


def pytest_generate_tests(metafunc):
    if "node" in metafunc.fixturenames:
        name = metafunc.function.__name__
        kinds = [*KINDS, *(OTHERS if name in CORE else ["redis-tls"] if name in TIMED else ())]
        metafunc.parametrize("node", [pytest.param(kind, marks=pytest.mark.slow if kind in HEAVY else ()) for kind in kinds],
                             indirect=True)


@pytest.fixture
def node(request, ask):
    """A node of each kind, empty."""
    made, clock = {**KINDS, **OTHERS}[request.param](request, ask)
    yield Subject(made, ask, clock)
    ask.close(made)
