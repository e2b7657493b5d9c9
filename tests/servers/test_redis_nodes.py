"""RedisNode on real servers: round trips, engines that are full, read-only, locked or many, strangers' keys, push."""

import asyncio
import ssl
import subprocess
import threading

import pytest
import redis
import redis.asyncio

from engines import RedisServer, free_port, program
from samovar._base.errors import MissingExtra
from samovar.cluster.drive import arun, run
from samovar.cluster.node import (
    FENCED, HIT, LEASED, MISS, NOTHING, OK, UNAVAILABLE, YOURS, Fault,
)
from samovar.cluster.push import Message
from samovar.cluster.redis import RedisNode
from samovar.cluster.resp import Refused
from support import LIMIT

LONG = 60_000
OWNER = b"o" * 16


@pytest.fixture
def node(redis_server):
    made = RedisNode(redis_server.url, timeout=LIMIT)
    yield made
    made.close()


@pytest.fixture
def own():
    """A maker of servers with options of their own."""
    made = []

    def make(*options):
        made.append(RedisServer(*options))
        return made[-1]

    yield make
    for server in made:
        server.end()


# ------------------------------------------------------------------ round trips

@pytest.mark.parametrize("verb, command, times", [
    (lambda node, keys: node.read(keys), "mget", 1), (lambda node, keys: node.read(keys[:1]), "get", 1),
    (lambda node, keys: node.delete(keys), "evalsha", 1), (lambda node, keys: node.versions(keys), "mget", 1),
    (lambda node, keys: node.lease_many(keys, LONG), "set", 100),
    (lambda node, keys: node.put_many([(key, b"1", LONG) for key in keys]), "evalsha", 100),
    (lambda node, keys: node.bump(keys), "evalsha", 100),
], ids=["read", "read one", "delete", "versions", "lease", "put", "bump"])
def test_batch_is_one_round_trip(redis_server, node, monkeypatch, verb, command, times):
    keys = [f"k{number}" for number in range(100)]
    for _ in range(2):  # the engine knows the scripts from the first time
        run(verb(node, keys))
    redis_server.do("CONFIG", "RESETSTAT")
    trips, perform = [], node.perform
    monkeypatch.setattr(node, "perform", lambda request: trips.append(request) or perform(request))
    assert run(verb(node, keys))[0] is OK
    assert len(trips) == 1
    assert redis_server.calls()[command] == times


# ------------------------------------------------------------------ engines that take nothing

def well_but_full(server, reason):
    node = RedisNode(server.url, timeout=LIMIT)
    assert run(node.read(["old", "none"]))[1][0].body == b"1"
    assert run(node.read(["none"])) == (OK, [NOTHING])
    status, answers = run(node.put_many([("k", b"1", LONG), ("l", b"1", LONG)]))
    assert status is OK
    for answer in [*answers, run(node.lease("k", LONG)), run(node.begin_write(["k"], OWNER, LONG)), run(node.bump(["t"]))]:
        assert answer[0] is UNAVAILABLE
        assert answer[1].reason == reason and answer[1].refuses_writes
    assert run(node.probe()) == (OK, False)
    node.close()


@pytest.mark.parametrize("by_lua", [False, True])
def test_full_engine_reads_well_deletes_and_takes_nothing(own, by_lua):
    server = own("--maxmemory-policy", "noeviction")
    node = RedisNode(server.url, timeout=LIMIT, set_tells=False if by_lua else None)
    run(node.put_many([("old", b"1", LONG), ("older", b"1", LONG)]))
    server.do("CONFIG", "SET", "maxmemory", "1")
    well_but_full(server, "full")
    assert run(node.delete(["older"])) == (OK, 1)
    server.do("CONFIG", "SET", "maxmemory", "0")
    assert run(node.put("k", b"1", LONG)) == (OK, None)
    assert run(node.probe()) == (OK, True)
    node.close()


def test_replica_reads_well_and_takes_nothing(own):
    server = own()
    node = RedisNode(server.url, timeout=LIMIT)
    run(node.put("old", b"1", LONG))
    server.do("REPLICAOF", "127.0.0.1", free_port())
    well_but_full(server, "readonly")
    assert run(node.delete(["old"]))[1].reason == "readonly"
    server.do("REPLICAOF", "NO", "ONE")
    assert run(node.delete(["old"])) == (OK, 1)
    node.close()


@pytest.mark.parametrize("text, reason", [
    ("OOM command not allowed when used memory > 'maxmemory'.", "full"),
    ("ERR Error running script (call to f_1): @user_script:7: @user_script: 7: -OOM command not allowed", "full"),
    ("READONLY You can't write against a read only replica.", "readonly"),
    ("ERR Error running script (call to f_1): @user_script:7: -READONLY You can't write", "readonly"),
    ("MISCONF Redis is configured to save RDB snapshots", "readonly"), ("NOREPLICAS Not enough good replicas", "readonly"),
    ("LOADING Redis is loading the dataset in memory", "loading"), ("CLUSTERDOWN The cluster is down", "loading"),
    ("MASTERDOWN Link with MASTER is down", "loading"), ("NOAUTH Authentication required.", "auth"),
    ("NOPERM this user has no permissions", "auth"), ("ERR max number of clients reached", "refused"),
    ("ERR unknown command 'EVALSHA'", "protocol")])
def test_refusals_say_what_they_mean(text, reason):
    assert Refused(text).fault().reason == reason


# ------------------------------------------------------------------ who may

def test_password_is_needed_and_never_shown(own):
    server = own("--requirepass", "s3cret/pass word")
    right = RedisNode(f"redis://:s3cret%2Fpass%20word@127.0.0.1:{server.port}/2", timeout=LIMIT)
    assert run(right.put("k", b"1", LONG)) == (OK, None)
    for url in (f"redis://:wr0ng@127.0.0.1:{server.port}", f"redis://ann:wr0ng@127.0.0.1:{server.port}", server.url):
        wrong = RedisNode(url, timeout=LIMIT)
        for steps in (wrong.read(["k"]), wrong.put("k", b"", LONG), wrong.probe()):
            status, fault = run(steps)
            assert status is UNAVAILABLE and fault.reason == "auth"
            assert "wr0ng" not in repr(fault) and "ann" not in repr(fault)
    for shown in (repr(right), right.name, str(right._line.line.address)):
        assert "s3cret" not in shown
    assert right.name == f"redis://127.0.0.1:{server.port}/2"
    right.close()


def test_tls_is_spoken_and_certificates_are_looked_at(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run([program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    port = free_port()
    server = RedisServer("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
                         "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no")
    try:
        trusting = ssl.create_default_context(cafile=certificate)
        node = RedisNode(f"rediss://127.0.0.1:{port}", timeout=LIMIT, tls=trusting)
        body = b"x" * 500_000
        assert run(node.put("k", body, LONG)) == (OK, None)
        assert run(node.read(["k"]))[1][0].body == body

        async def story():
            assert (await arun(node.read(["k"])))[1][0].body == body
            async with node.subscribe(["a"]) as heard:
                assert await heard.aopen() is None
                assert await arun(node.publish("a", b"1")) == (OK, 1)
                assert await heard.aget(LIMIT) == Message("a", b"1")
            await node.aclose()
            doubting = RedisNode(f"rediss://127.0.0.1:{port}", timeout=LIMIT)
            assert (await arun(doubting.probe()))[1].reason == "auth"
            assert run(doubting.probe())[1].reason == "auth"

        asyncio.run(story())
    finally:
        server.end()


def test_databases_are_apart(redis_server, node):
    other = RedisNode(redis_server.url[:-1] + "5", timeout=LIMIT)
    run(node.put("k", b"1", LONG))
    assert run(other.read(["k"])) == (OK, [NOTHING])
    other.close()
    outside = RedisNode(redis_server.url[:-1] + "99", timeout=LIMIT)
    assert run(outside.read(["k"]))[1].reason == "auth"


@pytest.mark.parametrize("url, about", [
    ("http://:s3cret@h", "begins with"), ("redis://:s3cret@h:port", "cannot be read"),
    ("redis://:s3cret@h/x", "must be a number"),
    ("redis://:s3cret@h?timeout=1", "db alone"), ("unix://", "the path"), ("redis://[::1", "cannot be read")])
def test_url_that_cannot_be_read_is_refused_without_its_password(url, about):
    with pytest.raises(ValueError, match=about) as raised:
        RedisNode(url)
    assert "s3cret" not in str(raised.value) and raised.value.__cause__ is None


def test_arguments_that_are_none_are_refused():
    with pytest.raises(TypeError, match="where must be a URL or a client"):
        RedisNode(7, name="n")
    with pytest.raises(TypeError, match="name must be given"):
        RedisNode(redis.Redis())
    with pytest.raises(ValueError, match="must not decode"):
        RedisNode(redis.Redis(decode_responses=True), name="n")
    with pytest.raises(TypeError, match="aclient goes with a client"):
        RedisNode("redis://h", aclient=redis.asyncio.Redis())
    with pytest.raises(TypeError, match="with aclient"):
        RedisNode(redis.Redis(), aclient=redis.Redis(), name="n")
    for words in ({"timeout": 0}, {"max_value": 0}):
        with pytest.raises(ValueError):
            RedisNode("redis://h", **words)
    with pytest.raises(TypeError, match="asyncio client only"):
        run(RedisNode(redis.asyncio.Redis(), name="n").probe())


def test_missing_package_names_its_extra(monkeypatch):
    from samovar._base import extras

    def gone(module):
        raise ImportError(module)

    monkeypatch.setattr(extras.importlib, "import_module", gone)
    with pytest.raises(MissingExtra, match=r"RedisNode needs hiredis: pip install 'samovar\[redis\]'"):
        RedisNode("redis://h")


# ------------------------------------------------------------------ strangers

FOREVER = b"\x7f" + b"\xff" * 7
STRANGE = {
    "list": ("RPUSH", "k", "x"), "hash": ("HSET", "k", "f", "x"), "text": ("SET", "k", "hello"), "empty": ("SET", "k", ""),
    "short value": ("SET", "k", "V123"), "claimed for ever": ("SET", "k", b"V" + b"x" * 16 + FOREVER + b"body"),
    "text like no kind": ("SET", "k", "x" * 100),
}


@pytest.mark.parametrize("words", STRANGE.values(), ids=STRANGE)
def test_strangers_cell_costs_loads_and_nothing_else(redis_server, node, words):
    redis_server.do(*words)
    status, found = run(node.read(["k", "other"]))
    assert status is OK and found[1] == NOTHING and found[0].kind in (HIT, MISS)
    assert run(node.read(["k"]))[0] is OK
    status, leased = run(node.lease("k", LONG))
    assert status in (HIT, FENCED)
    if status is HIT:  # an envelope that does not open: whoever claims it may fill over it
        status, mine = run(node.claim("k", found[0].token, LONG))
        if words[-1] != "":
            assert status is YOURS
            assert run(node.fill("k", mine, b"healed", LONG)) == (OK, None)
            assert run(node.read(["k"]))[1][0].body == b"healed"
    redis_server.do("DEL", "k")
    redis_server.do(*words)
    assert run(node.put("k", b"healed", LONG)) == (OK, None)
    assert run(node.read(["k"]))[1][0].body == b"healed"
    redis_server.do("DEL", "k")
    redis_server.do(*words)
    assert run(node.delete(["k"])) == (OK, 1)
    assert run(node.lease("k", LONG))[0] is YOURS


@pytest.mark.parametrize("cell", [b"T", b"T" + b"x" * 16, b"T" + b"x" * 33, b"T" + b"x" * 16 + (b"o" * 16 + FOREVER) * 50])
def test_strangers_fence_ends_with_the_next_write(redis_server, node, cell):
    redis_server.do("SET", "k", cell)
    assert run(node.lease("k", LONG)) == (FENCED, None)
    assert run(node.begin_write(["k"], OWNER, LONG)) == (OK, None)
    assert run(node.end_write(["k"], OWNER)) == (OK, None)
    assert run(node.read(["k"])) == (OK, [NOTHING])


@pytest.mark.parametrize("words", [
    ("SET", "t", "junk"), ("SET", "t", "9" * 40), ("SET", "t", str(2**63 - 1)), ("RPUSH", "t", "1"), ("SET", "t", ""),
    ("SET", "t", "-5")], ids=["text", "too long", "at its end", "list", "empty", "negative"])
def test_strangers_counter_begins_anew(redis_server, node, words):
    redis_server.do(*words)
    status, (number,) = run(node.versions(["t"]))
    assert status is OK and 0 <= number < 2**63
    redis_server.do("DEL", "t")
    redis_server.do(*words)
    status, (moved,) = run(node.bump(["t"]))
    assert status is OK and 0 <= moved < 2**63
    assert run(node.versions(["t"])) == (OK, [moved])


def test_counter_that_was_evicted_never_comes_back_to_what_it_was(redis_server, node):
    _, before = run(node.bump(["t"] * 5))
    redis_server.do("DEL", "t")
    _, after = run(node.bump(["t"] * 5))
    assert not set(before) & set(after)


def test_large_counters_are_exact(redis_server, node):
    redis_server.do("SET", "t", 2**62 + 12345)
    assert run(node.bump(["t"])) == (OK, [2**62 + 12346])


def test_scripts_are_told_again_when_the_engine_forgot_them(redis_server, node):
    run(node.put("k", b"1", LONG))
    redis_server.do("SCRIPT", "FLUSH")
    assert run(node.put_many([("k", b"2", LONG), ("l", b"2", LONG)])) == (OK, [(OK, None)] * 2)
    assert [one.body for one in run(node.read(["k", "l"]))[1]] == [b"2", b"2"]


def test_older_engine_is_found_out_by_its_answer(redis_server, node, monkeypatch):
    """Before 7.0, SET with NX and GET is a syntax error."""
    perform = node.perform

    def older(request):
        return [Refused("ERR syntax error")] * len(request) if request[0][0] == "SET" else perform(request)

    monkeypatch.setattr(node, "perform", older)
    assert run(node.lease("k", LONG))[0] is YOURS
    assert run(node.lease("k", LONG)) == (LEASED, None)
    assert node._set_tells is False


# ------------------------------------------------------------------ push

def by_url(server):
    return RedisNode(server.url, timeout=LIMIT)


def by_client(server):
    return RedisNode(redis.Redis(port=server.port), aclient=redis.asyncio.Redis(port=server.port), name="n")


@pytest.mark.parametrize("make", [by_url, by_client])
def test_messages_are_heard_in_order_and_silence_is_told(redis_server, node, make):
    with make(redis_server).subscribe(["a", "b"]) as heard:
        assert type(heard.get(0.01)) is Fault, "not open yet"
        assert heard.open() is None
        assert heard.get(0.01) is None
        for number in range(5):
            assert run(node.publish("ab"[number % 2], b"%d" % number)) == (OK, 1)
        assert [heard.get(LIMIT) for _ in range(5)] == [Message("ab"[number % 2], b"%d" % number) for number in range(5)]
        assert heard.get(0.01) is None
        redis_server.do("CLIENT", "KILL", "TYPE", "pubsub")
        assert type(heard.get(LIMIT)) is Fault
        assert type(heard.get(0.01)) is Fault
        assert heard.open() is None
        run(node.publish("a", b"again"))
        assert heard.get(LIMIT) == Message("a", b"again")


@pytest.mark.parametrize("make", [by_url, by_client])
def test_messages_are_heard_in_asyncio(redis_server, make):
    async def story():
        async with make(redis_server).subscribe(["a"]) as heard:
            assert await heard.aopen() is None
            assert await heard.aget(0.01) is None
            other = by_url(redis_server)
            assert await arun(other.publish("a", b"\0\r\n")) == (OK, 1)
            assert await heard.aget(LIMIT) == Message("a", b"\0\r\n")
            await arun(other.publish("a", b"2"))
            assert await heard.aget(LIMIT) == Message("a", b"2")
            redis_server.do("CLIENT", "KILL", "TYPE", "pubsub")
            assert type(await heard.aget(LIMIT)) is Fault
            await other.aclose()

    asyncio.run(story())


def test_subscription_to_nobody_is_a_fault():
    heard = RedisNode(f"redis://127.0.0.1:{free_port()}").subscribe(["a"])
    assert heard.open().reason == "refused"
    assert asyncio.run(heard.aopen()).reason == "refused"
    with pytest.raises(ValueError, match="channels must be one name or more"):
        RedisNode("redis://h").subscribe([])


def test_pool_serves_threads_and_keeps_what_it_needs(redis_server, node):
    run(node.put("k", b"1", LONG))
    told, gate = [], threading.Barrier(16)

    def one():
        gate.wait(LIMIT)
        told.extend(run(node.read(["k"]))[1][0].body for _ in range(100))

    threads = [threading.Thread(target=one) for _ in range(16)]
    for thread in threads: thread.start()
    for thread in threads: thread.join(LIMIT)
    assert told == [b"1"] * 1600
    assert 1 <= len(node._line.line._idle) <= 16
