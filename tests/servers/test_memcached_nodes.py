"""MemcachedNode on real servers: its parser, round trips, sockets, TLS, strangers' items, seconds."""

import asyncio
import ssl
import subprocess

import pytest
from hypothesis import given, strategies as st

from engines import MemcachedServer, program
from samovar.cluster.drive import arun, run
from samovar.cluster.memcached import MemcachedNode
from samovar.cluster.node import FENCED, HIT, LEASED, LOST, MISS, OK, TOOBIG, UNAVAILABLE, YOURS
from samovar.cluster.blocking import NOT_YET
from samovar.cluster.wire import Parser, flag
from support import LIMIT, until

LONG = 60_000
OWNER = b"o" * 16


@pytest.fixture
def node(memcached_server):
    made = MemcachedNode(f"127.0.0.1:{memcached_server.port}", timeout=LIMIT)
    yield made
    made.close()


# ------------------------------------------------------------------ the parser

words = st.binary(min_size=1, max_size=8).filter(lambda word: not set(word) & set(b" \r\n"))
replies = st.one_of(
    st.tuples(st.sampled_from([b"HD", b"EN", b"NF", b"NS", b"EX", b"MN"]), st.lists(words, max_size=3), st.none()),
    st.tuples(st.just(b"VA"), st.lists(words, max_size=3), st.binary(max_size=300)))


def written(reply):
    code, flags, body = reply
    if body is None:
        return b" ".join([code, *flags]) + b"\r\n"
    return b" ".join([code, b"%d" % len(body), *flags]) + b"\r\n" + body + b"\r\n"


@given(st.lists(replies, max_size=8), st.data())
def test_replies_are_parsed_however_they_are_cut(said, data):
    text = b"".join(map(written, said))
    parser, got, at = Parser(), [], 0
    while at < len(text):
        size = data.draw(st.integers(1, len(text) - at))
        parser.feed(text[at:at + size])
        at += size
        while (reply := parser.gets()) is not NOT_YET:
            got.append(reply)
    assert got == said
    assert parser.gets() is NOT_YET


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6))
def test_what_is_no_reply_is_a_value_error(chunks):
    parser = Parser()
    try:
        for chunk in chunks:
            parser.feed(chunk)
            while (reply := parser.gets()) is not NOT_YET:
                assert len(reply) == 3
    except ValueError:
        pass


def test_large_body_is_taken_in_whole():
    body = bytes(range(256)) * 30_000
    text = written((b"VA", [b"c1"], body)) + b"HD\r\n"
    parser = Parser()
    for at in range(0, len(text), 65_536):
        parser.feed(text[at:at + 65_536])
    assert parser.gets() == (b"VA", [b"c1"], body)
    assert parser.gets() == (b"HD", [], None)


@pytest.mark.parametrize("text", [b"VA\r\n", b"VA x\r\n", b"VA -1\r\n", b"VA 99999999999\r\n", b"VA 2000000000\r\n",
                                  b"hd\r\n", b"VA 1 c1\r\nab\r\n", b"x" * 3000, b" HD\r\n", b"\r\n"])
def test_damaged_reply_ends_the_connection(text):
    parser = Parser()
    parser.feed(text)
    with pytest.raises(ValueError):
        parser.gets()


def test_flag_is_a_number_or_nothing():
    assert flag([b"f1", b"c17", b"W"], b"c") == 17
    assert flag([b"cx", b"c17"], b"c") is None
    assert flag([b"c" + b"9" * 40], b"c") is None
    assert flag([], b"c") is None


# ------------------------------------------------------------------ round trips and connections

@pytest.mark.parametrize("verb, commands", [
    (lambda node, keys: node.read(keys), 100), (lambda node, keys: node.delete(keys), 100),
    (lambda node, keys: node.lease_many(keys, LONG), 200), (lambda node, keys: node.versions(keys), 100),
    (lambda node, keys: node.put_many([(key, b"1", LONG) for key in keys]), 200),
], ids=["read", "delete", "lease", "versions", "put"])
def test_batch_is_one_round_trip(node, monkeypatch, verb, commands):
    trips, perform = [], node.perform
    monkeypatch.setattr(node, "perform", lambda request: trips.append(request) or perform(request))
    assert run(verb(node, [f"k{number}" for number in range(100)]))[0] is OK
    assert [count for _, count in trips] == [commands]


def test_unix_socket_is_spoken_to(tmp_path):
    path = f"{tmp_path}/cached.sock"
    process = subprocess.Popen([program("memcached"), "-s", path, "-a", "0777", "-u", "root"])
    try:
        node = MemcachedNode(path, timeout=LIMIT)
        until(lambda: run(node.probe()) == (OK, True))
        assert run(node.put("k", b"1", LONG)) == (OK, None)

        async def story():
            assert (await arun(node.read(["k"])))[1][0].body == b"1"
            await node.aclose()

        asyncio.run(story())
        assert node.name == path
    finally:
        process.kill()
        process.wait(LIMIT)


@pytest.mark.parametrize("where, address", [("h", ("h", 11211)), ("h:1", ("h", 1)), ("[::1]:7", ("::1", 7)),
                                            ("[::1]", ("::1", 11211)), ("::1", ("::1", 11211))])
def test_where_is_read_as_host_and_port(where, address):
    assert MemcachedNode(where)._line.address[:2] == address


@pytest.mark.parametrize("where, error", [("", TypeError), (7, TypeError), ("h:0", ValueError), ("h:x", ValueError),
                                          ("h:70000", ValueError), (":1", ValueError)])
def test_where_that_is_nowhere_is_refused(where, error):
    with pytest.raises(error, match="MemcachedNode: where must be"):
        MemcachedNode(where)
    with pytest.raises(ValueError, match="takes no tls"):
        MemcachedNode("/socket", tls=ssl.create_default_context())


# ------------------------------------------------------------------ strangers, seconds, sizes

@pytest.mark.parametrize("item", [b"set k 0 0 5\r\nhello\r\n", b"set k 9 0 5\r\nhello\r\n", b"set k 1 0 0\r\n\r\n",
                                  b"set k 0 0 0\r\n\r\n"])
def test_strangers_item_costs_loads_and_nothing_else(memcached_server, node, item):
    memcached_server.say(item, b"STORED\r\n")
    status, (found,) = run(node.read(["k"]))
    assert status is OK and found.kind in (HIT, LEASED)
    status, mine = run(node.claim("k", found.token, LONG))
    assert status is (YOURS if found.kind is HIT else LOST)
    if status is YOURS:
        assert run(node.fill("k", mine, b"healed", LONG)) == (OK, None)
    assert run(node.put("k", b"healed", LONG)) == (OK, None)
    assert run(node.read(["k"]))[1][0].body == b"healed"
    memcached_server.say(item, b"STORED\r\n")
    assert run(node.delete(["k"])) == (OK, 1)
    assert run(node.lease("k", LONG))[0] is YOURS


@pytest.mark.parametrize("body", [b"", b"x" * 24, b"o" * 16 + b"\xff" * 8, b"junk" * 100])
def test_strangers_fence_holds_nobody_up(memcached_server, node, body):
    memcached_server.say(b"set k|fence 0 0 %d\r\n%b\r\n" % (len(body), body), b"STORED\r\n")
    assert run(node.lease("k", LONG))[0] is YOURS
    assert run(node.begin_write(["k"], OWNER, LONG)) == (OK, None)
    assert run(node.lease("k", LONG)) == (FENCED, None)
    assert run(node.end_write(["k"], OWNER)) == (OK, None)
    assert run(node.lease("k", LONG))[0] is YOURS


@pytest.mark.parametrize("body", [b"junk", b"", b"-1", b"9" * 30])
def test_strangers_counter_begins_anew(memcached_server, node, body):
    for verb in (node.versions, node.bump):
        memcached_server.say(b"set t 0 0 %d\r\n%b\r\n" % (len(body), body), b"STORED\r\n")
        status, (number,) = run(verb(["t"]))
        assert status is OK and number >= 0


def test_lifetimes_of_more_than_a_month_are_no_dates(node):
    """Memcached takes more than 30 days for a date, long ago: the item would be gone at once."""
    assert run(node.put("k", b"1", 365 * 86_400_000)) == (OK, None)
    assert run(node.read(["k"]))[1][0].body == b"1"


def test_body_over_the_engine_s_limit_is_told_and_the_old_one_is_gone(node):
    run(node.put("k", b"old", LONG))
    assert run(node.put("k", b"x" * (2 << 20), LONG)) == (TOOBIG, None)
    assert run(node.read(["k"]))[1][0].kind is MISS


def test_full_engine_reads_well_and_takes_nothing():
    server = MemcachedServer("-m", "64", "-M")
    try:
        node = MemcachedNode(f"127.0.0.1:{server.port}", timeout=LIMIT)
        body, stored, answer = b"x" * 100_000, 0, (OK, None)
        while answer == (OK, None):
            answer = run(node.put(f"k{stored}", body, LONG))
            stored += 1
            assert stored < 5000
        assert answer[0] is UNAVAILABLE and answer[1].reason == "full" and answer[1].refuses_writes
        assert run(node.read(["k0"]))[1][0].body == body
        assert run(node.delete(["k0"])) == (OK, 1)
        node.close()
    finally:
        server.end()
