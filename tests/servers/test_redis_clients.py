"""RedisNode over clients of redis-py's: Redis Cluster, Sentinel with a failover, engines that are started again; few
rights."""

import asyncio
import signal
import ssl
import threading

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.cluster
import redis.sentinel

from engine_kinds import (  # noqa: F401
    RIGHTS, Watched, certificate, redis_cluster, redis_cluster_processes, tls_redis, tls_redis_process,
)
from engines import RedisServer, free_port
from samovar import AsyncCluster, Cache
from samovar.cluster import Cluster, RedisNode
from samovar.cluster.drive import arun, run
from samovar.cluster.node import FENCED, LEASED, LOST, NOTHING, OK, UNAVAILABLE, YOURS
from support import LIMIT, until

LONG = 60_000
OWNER = b"o" * 16


@pytest.mark.slow
def test_redis_cluster_keeps_the_contract_by_its_client(redis_cluster):
    client = redis.cluster.RedisCluster(host="127.0.0.1", port=redis_cluster[0].port)
    node = RedisNode(client, name="three")
    keys = [f"k{number}" for number in range(60)]
    assert run(node.read(keys)) == (OK, [NOTHING] * 60)
    status, answers = run(node.lease_many(keys, LONG))
    assert {answer[0] for answer in answers} == {YOURS}
    assert run(node.lease("k1", LONG)) == (LEASED, None)
    tokens = [token for _, token in answers]
    assert run(node.delete(keys[:2])) == (OK, 2)
    filled = run(node.fill_many([(key, token, key.encode(), LONG) for key, token in zip(keys, tokens)]))
    assert filled == (OK, [(LOST, None)] * 2 + [(OK, None)] * 58)
    assert [one.body for one in run(node.read(keys))[1][2:]] == [key.encode() for key in keys[2:]]
    assert run(node.put_many([(key, b"1", LONG) for key in keys])) == (OK, [(OK, None)] * 60)
    assert run(node.begin_write(keys, OWNER, LONG)) == (OK, None)
    assert {one.kind for one in run(node.read(keys))[1]} == {FENCED}
    assert run(node.end_write(keys, OWNER)) == (OK, None)
    status, numbers = run(node.versions(keys))
    assert len(set(numbers)) == 60 and run(node.versions(keys)) == (OK, numbers)
    assert run(node.bump(keys[:3])) == (OK, [number + 1 for number in numbers[:3]])
    status, (epoch, name) = run(node.epoch("n"))
    assert run(node.epoch("n")) == (OK, (epoch, name)) and name.count("+") == 2
    assert run(node.probe()) == (OK, True)
    assert run(node.publish("c", b"")) == (OK, 0)
    client.close()

    async def story():
        async with redis.asyncio.RedisCluster(host="127.0.0.1", port=redis_cluster[0].port) as aclient:
            node = RedisNode(aclient, name="three")
            assert await arun(node.put_many([(key, key.encode(), LONG) for key in keys])) == (OK, [(OK, None)] * 60)
            assert [one.body for one in (await arun(node.read(keys)))[1]] == [key.encode() for key in keys]
            assert await arun(node.delete(keys)) == (OK, 60)
            assert (await arun(node.epoch("n"))) == (OK, (epoch, name))

    asyncio.run(story())


@pytest.mark.slow
def test_near_cache_over_a_redis_cluster_hears_its_bus(redis_cluster):  # noqa: F811
    port = redis_cluster[0].port

    async def main():
        async with redis.asyncio.RedisCluster(host="127.0.0.1", port=port) as aclient, (
                AsyncCluster([RedisNode(aclient, name="three")], near=Cache(100))) as there:
            await there.get("x")
            await asyncio.to_thread(until, lambda: there.stats().hears)
            client = redis.cluster.RedisCluster(host="127.0.0.1", port=port)
            with Cluster([RedisNode(client, name="three")]) as writer:
                await asyncio.to_thread(writer.set, "tea", 1)
                while "tea" not in there.near:  # the notice of the set may still be on its way
                    assert await there.get("tea") == 1
                await asyncio.to_thread(writer.delete, "tea")
                await asyncio.to_thread(until, lambda: "tea" not in there.near)
            client.close()

    asyncio.run(main())


# ------------------------------------------------------------------ an engine that is started again

@pytest.fixture
def restarted():
    """A Redis that holds an old value under "k", has been told a newer one, and is started again with the old one when that
    is wanted."""
    server = RedisServer()

    def again():
        server.stop(signal.SIGKILL)
        server.start(server.port)

    server.again = again
    yield server
    server.end()


def test_restart_is_noticed_by_the_first_connection_of_a_client(restarted):
    client = redis.Redis(port=restarted.port)
    node, other = RedisNode(client, name="n"), RedisNode(client, name="n")  # both are told
    assert run(node.put("k", b"old", LONG)) == run(other.put("l", b"old", LONG)) == (OK, None)
    restarted.do("SAVE")
    assert run(node.put("k", b"new", LONG)) == (OK, None)
    _, (_, before) = run(node.epoch("n"))
    restarted.again()
    for one in (node, other):
        status, fault = run(one.read(["k"]))
        assert (status, fault.reason) == (UNAVAILABLE, "restarted")
        assert run(one.read(["k"]))[1].reason == "restarted"  # until it is taken in
    status, (_, after) = run(node.epoch("n", True))
    assert status is OK and after != before
    assert run(node.read(["k"]))[1][0].body == b"old"
    assert run(other.read(["k"]))[1].reason == "restarted"
    assert client.get("k")[-3:] == b"old"  # the caller's own questions are answered
    client.close()


def test_restart_is_noticed_by_the_first_connection_of_a_client_in_asyncio(restarted):
    async def main():
        async with redis.asyncio.Redis(port=restarted.port) as client:
            node = RedisNode(client, name="n")
            assert await arun(node.put("k", b"old", LONG)) == (OK, None)
            await asyncio.to_thread(restarted.do, "SAVE")
            await asyncio.to_thread(restarted.again)
            assert (await arun(node.read(["k"])))[1].reason == "restarted"
            assert (await arun(node.epoch("n", True)))[0] is OK
            assert (await arun(node.read(["k"])))[1][0].body == b"old"

    asyncio.run(main())


def test_cluster_over_a_client_reads_nothing_of_an_engine_that_was_started_again(restarted):
    client = redis.Redis(port=restarted.port, socket_timeout=LIMIT)
    with Cluster([RedisNode(client, name="n")]) as cluster:
        cluster.set("k", "old")
        restarted.do("SAVE")
        cluster.set("k", "new")
        restarted.again()
        seen = set()
        until(lambda: seen.add(cluster.get("k")) or cluster.stats().nodes["n"][2] > 0)
        until(lambda: seen.add(cluster.get("k")) or cluster.stats().nodes["n"][0] == "up")
        assert cluster.get("k") is None and "old" not in seen
    client.close()


def test_client_without_the_right_to_info_is_served(restarted):
    restarted.do("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", *RIGHTS, "-info")
    client = redis.Redis(port=restarted.port, username="app", password="secret")
    node = RedisNode(client, name="n")
    assert run(node.put("k", b"1", LONG)) == (OK, None)
    assert run(node.read(["k"]))[1][0].body == b"1"
    client.close()


# ------------------------------------------------------------------ few rights

def test_node_needs_no_more_rights_than_the_documents_say(tls_redis):  # noqa: F811
    """Over TLS, by a user who may do what they name and nothing else: a whole cluster, near cache and all."""
    trusting = ssl.create_default_context(cafile=tls_redis.certificate)
    tls_redis.do("ACL", "SETUSER", "shop", "on", ">secret", "~shop:*", "~samovar|*", "&shop:1:bus*", *RIGHTS)
    url = f"rediss://shop:secret@127.0.0.1:{tls_redis.tls_port}"
    with Cluster([RedisNode(url, tls=trusting, timeout=LIMIT)], near=Cache(100), namespace="shop") as shop:
        assert shop.get_or_set("tea", lambda: 1, tags=["hot"]) == 1
        assert shop.set_many({"a": 1, "b": 2}) == 2 and shop.add("c", 3) and shop.touch("c", ttl=5) and shop.expire("c")
        until(lambda: shop.stats().hears and shop.get("tea") == 1 and "tea" in shop.near)
        shop.invalidate_tags("hot")
        assert shop.get("tea") is None
        with shop.writing("a"):
            assert not shop.set("a", 2)
        assert shop.delete("b")
        shop.clear()
        assert shop.stats().nodes[shop.node_of("a")] == ("up", "", 0)
    from support import TESTS

    assert " ".join(RIGHTS) in (TESTS.parent / "docs" / "cluster.md").read_text().replace("\n", " ")


@pytest.fixture
def barred():
    """A Redis and the words for a client that no connection of is let in."""
    server = RedisServer()
    with redis.Redis(port=server.port) as plain:
        plain.execute_command("ACL", "SETUSER", "barred", "on", ">secret", "~*", "+@all", "-select")
    yield {"port": server.port, "username": "barred", "password": "secret", "db": 1}
    server.end()


def test_client_that_is_refused_before_it_can_ask_is_a_fault_of_each_command(barred):
    node = RedisNode(redis.Redis(**barred), name="n")
    for is_many in (False, True):  # one command for several keys, or, as in a Redis Cluster, one for each
        node._line.is_many = is_many
        status, fault = run(node.read(["a", "b", "c"]))
        assert status is UNAVAILABLE and "select" in fault.text
        status, answers = run(node.lease_many(["a", "b"], LONG))
        assert [answer[0] for answer in answers] == [UNAVAILABLE] * 2

    async def story():
        async with redis.asyncio.Redis(**barred) as aclient:
            status, answers = await arun(RedisNode(aclient, name="n").lease_many(["a", "b"], LONG))
            assert [answer[0] for answer in answers] == [UNAVAILABLE] * 2

    asyncio.run(story())


def test_right_that_is_missing_is_a_fault_that_says_so(tls_redis):  # noqa: F811
    trusting = ssl.create_default_context(cafile=tls_redis.certificate)
    tls_redis.do("ACL", "SETUSER", "reader", "on", ">secret", "~samovar:*", "&*", *RIGHTS, "-eval", "-evalsha")
    node = RedisNode(f"rediss://reader:secret@127.0.0.1:{tls_redis.tls_port}", tls=trusting, timeout=LIMIT)
    assert run(node.read(["samovar:1:k"])) == (OK, [NOTHING])
    assert run(node.read(["other"]))[1].reason == run(node.put("samovar:1:k", b"1", LONG))[1].reason == "auth"
    node.close()
    stranger = RedisNode(f"rediss://reader:wrong@127.0.0.1:{tls_redis.tls_port}", tls=trusting, timeout=LIMIT)
    status, fault = run(stranger.probe())
    assert (status, fault.reason) == (UNAVAILABLE, "auth") and "wrong" not in fault.text


# ------------------------------------------------------------------ Sentinel

@pytest.fixture
def own_watched():
    made = Watched(patience_ms=1000)
    yield made
    made.end()


@pytest.mark.slow
def test_sentinel_s_failover_is_survived_and_nothing_of_before_is_read(own_watched):
    """The master dies; what its replica has is forgotten, for nobody knows what it missed; then it serves."""
    client = redis.sentinel.Sentinel([("127.0.0.1", own_watched.sentinel.port)], socket_timeout=LIMIT).master_for("shop")
    errors, seen, over = [], set(), threading.Event()

    with Cluster([RedisNode(client, name="shop")], near=Cache(100)) as shop:
        shop.set("tea", "old")
        until(lambda: b"samovar" in own_watched.replica.do("KEYS", "samovar:1:stea"))
        run_before = shop._tier.run("shop")

        def read():
            while not over.is_set():
                try:
                    seen.add(shop.get_or_set("tea", lambda: "loaded"))
                except Exception as error:
                    errors.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        until(lambda: seen)
        own_watched.master.stop(signal.SIGKILL)
        until(lambda: shop.stats().nodes["shop"][0] != "up")
        until(lambda: shop.stats().nodes["shop"][0] == "up")
        until(lambda: shop.set("coffee", 1) and shop.stats().hears)
        over.set()
        reader.join(LIMIT)
        assert shop._tier.run("shop") != run_before and not errors
        assert seen == {"old", "loaded"} and shop.get("tea") == "loaded" and shop.get("coffee") == 1
        assert shop.delete("tea") and shop.get("tea") is None
    client.close()


@pytest.mark.slow
def test_near_cache_in_asyncio_over_sentinel_needs_no_blocking_client(own_watched):
    async def main():
        sentinel = redis.asyncio.Sentinel([("127.0.0.1", own_watched.sentinel.port)], socket_timeout=LIMIT)
        client = sentinel.master_for("shop")
        async with AsyncCluster([RedisNode(client, name="shop")], near=Cache(100)) as there:
            await there.set("tea", 1)
            await asyncio.to_thread(until, lambda: there.stats().hears)
            while "tea" not in there.near:  # the notice of the set may still be on its way
                assert await there.get("tea") == 1
            with Cluster([RedisNode(own_watched.master.url, name="shop", timeout=LIMIT)]) as writer:
                await asyncio.to_thread(writer.delete, "tea")
            await asyncio.to_thread(until, lambda: "tea" not in there.near)
        await client.aclose()

    asyncio.run(main())


def test_cluster_over_asyncio_clients_asks_nobody_before_its_first_verb():
    """Not even what the threads of the bus have besides: an engine that is away is no reason to fail."""
    async def main():
        never = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 0)
        for client in (redis.asyncio.RedisCluster(host="127.0.0.1", port=free_port(), retry=never),
                       redis.asyncio.Sentinel([("127.0.0.1", free_port())], sentinel_kwargs={"retry": never},
                                              retry=never).master_for("shop"),
                       redis.asyncio.Redis(port=free_port(), ssl=True, retry=never)):
            async with AsyncCluster([RedisNode(client, name="away")], near=Cache(100)) as shop:
                assert await shop.get_or_set("tea", lambda: 1) == 1
                assert not shop.stats().hears
            await client.aclose()

    asyncio.run(main())
