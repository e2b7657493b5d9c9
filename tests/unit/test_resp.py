"""What is sent to a Redis, as bytes."""

import hiredis
import pytest

from engines import free_port
from samovar.cluster import RedisNode
from samovar.cluster.drive import run
from samovar.cluster.node import OWNER
from samovar.cluster.resp import Resp

KEY, LONG = "k", 60_000
TOKEN = b"V" + b"t" * 16

VERBS = [
    lambda node: node.read([KEY]),
    lambda node: node.read([KEY, "other"]),
    lambda node: node.lease_many([KEY, "other"], LONG),
    lambda node: node.fill(KEY, TOKEN, b"1", LONG),
    lambda node: node.claim(KEY, TOKEN, LONG),
    lambda node: node.release(KEY, TOKEN),
    lambda node: node.put_many([(KEY, b"1", LONG), ("other", b"2", LONG)]),
    lambda node: node.delete([KEY]),
    lambda node: node.touch(KEY, LONG),
    lambda node: node.begin_write([KEY], b"o" * OWNER, LONG),
    lambda node: node.end_write([KEY], b"o" * OWNER),
    lambda node: node.versions(["t"]),
    lambda node: node.bump(["t"]),
    lambda node: node.note("n", [b"one"], 10, LONG),
    lambda node: node.noted("n"),
    lambda node: node.epoch("shop"),
    lambda node: node.probe(),
    lambda node: node.publish("c", b"1"),
]


@pytest.fixture
def said(monkeypatch):
    """What hiredis is given to write."""
    given, pack = [], hiredis.pack_command

    def noted(command):
        given.extend(command)
        return pack(command)

    monkeypatch.setattr(hiredis, "pack_command", noted)
    return given


@pytest.mark.parametrize("set_tells", [True, False])
def test_hiredis_writes_no_numbers(said, set_tells):
    """A signal whose handler raises, Ctrl-C for one, would end the process there."""
    node = RedisNode(f"redis://127.0.0.1:{free_port()}/3", set_tells=set_tells)
    for verb in VERBS:
        before = len(said)
        run(verb(node))
        assert len(said) > before
    node._line._dialect.__init__(hiredis, ("ann", "secret"), 3, 1 << 20)
    assert {type(word) for word in said} == {str, bytes}
    assert {"SELECT", "ann", "3"} <= set(said)


def test_numbers_are_written_as_hiredis_does():
    dialect = Resp(hiredis, (), 0, 1 << 20)
    for commands in ([("SET", "k", b"\0\xff", "NX", "GET", "PX", 60_000)], [("LRANGE", "n", 0, -1)], [("GET", "k")],
                     [("EVALSHA", "digest", 1, "k", 1 << 62), ("INFO", "server")]):
        assert dialect.pack(commands) == b"".join(hiredis.pack_command(command) for command in commands)
