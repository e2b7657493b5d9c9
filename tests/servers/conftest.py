"""Nodes on real engines that are made to fail."""

import asyncio

import pytest

from engines import memcached_process, memcached_server, proxied, redis_process, redis_server  # noqa: F401
from samovar.cluster.drive import arun, run
from samovar.cluster.memcached import MemcachedNode
from samovar.cluster.redis import RedisNode
from support import LIMIT


class Asker:
    """Nodes of one kind, and the driver that asks them."""

    def __init__(self, kind, runner, server):
        self.kind, self.runner, self.server, self.made = kind, runner, server, []

    def ask(self, steps):
        return run(steps) if self.runner is None else self.runner.run(arun(steps))

    def node(self, port=None, timeout=LIMIT, **words):
        port = port or self.server.port
        node = (RedisNode(f"redis://127.0.0.1:{port}", timeout=timeout, **words) if self.kind == "redis" else
                MemcachedNode(f"127.0.0.1:{port}", timeout=timeout, **words))
        self.made.append(node)
        return node

    def close(self):
        for node in self.made:
            if self.runner is None:
                node.close()
            else:
                self.runner.run(node.aclose())


@pytest.fixture(params=["redis", "memcached"])
def kind(request):
    return request.param


@pytest.fixture(params=["blocking", "asyncio"])
def asker(request, kind):
    """A way to ask nodes of one kind, with a server that is empty."""
    server = request.getfixturevalue(f"{kind}_server")
    if request.param == "blocking":
        made = Asker(kind, None, server)
        yield made
        made.close()
    else:
        with asyncio.Runner() as runner:
            made = Asker(kind, runner, server)
            yield made
            made.close()
