"""Connections and copies that end at an awkward moment: nobody is told twice, and nothing is said to the log."""

import asyncio
import logging
import socket
import struct
import threading

from samovar.cluster import Cluster, HotKeys, LocalNode, MemcachedNode
from samovar.cluster.drive import arun
from samovar.cluster.node import OK, UNAVAILABLE
from samovar.cluster.requests import NODE
from support import LIMIT


def test_tasks_that_ask_over_a_connection_that_was_reset_are_told_so_and_no_log_is_filled(caplog):
    def serve():
        plug, _ = listens.accept()
        assert plug.recv(1 << 16)
        plug.sendall(b"EN\r\n")
        assert may_reset.wait(LIMIT)
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plug.close()
        listens.close()  # nobody can connect anew
        is_reset.set()

    async def main():
        node = MemcachedNode(f"127.0.0.1:{listens.getsockname()[1]}", timeout=LIMIT)
        assert await arun(node.read(["tea"])) == (OK, [(1, None, None)])
        may_reset.set()
        assert is_reset.wait(LIMIT)  # the loop stands still: it cannot notice
        told = await asyncio.gather(*(arun(node.read(["tea"])) for _ in range(20)))
        assert {(status, fault.reason) for status, fault in told} <= {(UNAVAILABLE, "reset"), (UNAVAILABLE, "refused")}
        await node.aclose()

    may_reset, is_reset = threading.Event(), threading.Event()
    listens = socket.create_server(("127.0.0.1", 0))
    server = threading.Thread(target=serve)
    server.start()
    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
    server.join(LIMIT)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_copy_of_a_hot_key_is_given_up_with_the_loop_that_made_it():
    with Cluster([LocalNode("one"), LocalNode("two")], hot=HotKeys(replicas=2, share=0.01, window=100), seed=1) as cluster:
        cluster.set("hot", 1)
        store = cluster._store
        for _ in range(200):
            steps = store.look(store, cluster._plain("hot"))
            try:
                request, about = next(steps)
                while not (request == NODE and about[1] == "epoch"):
                    request, about = steps.send(cluster._driver.perform(request, about))
            except StopIteration:
                continue
            steps.close()  # RuntimeError if it asked for more
            return
    raise AssertionError("the key never got hot")
