"""Nodes to hold to the contract: each kind, through both drivers. Time is the engine's own: a manual clock where it takes
one, and otherwise short lifetimes that a test waits out, with a limit."""

import asyncio

import pytest
import redis
import redis.asyncio

from samovar import ManualClock
from samovar.cluster.drive import arun, run
from samovar.cluster.local import LocalNode
from samovar.cluster.memcached import MemcachedNode
from samovar.cluster.redis import RedisNode
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


def memcached_node(request, ask):
    return MemcachedNode(f"127.0.0.1:{request.getfixturevalue('memcached_server').port}", timeout=LIMIT), None


KINDS = {"local": local, "redis": redis_node, "redis-lua": redis_by_lua, "redis-unix": redis_by_socket,
         "redis-py": redis_by_client, "memcached": memcached_node}


@pytest.fixture(params=KINDS)
def node(request, ask):
    """A node of each kind, empty."""
    made, clock = KINDS[request.param](request, ask)
    yield Subject(made, ask, clock)
    ask.close(made)
