"""Soft purges of tags over a cluster: what carries the tag is stale from then on, in every process, and may be served as the
rules let it; whatever else a purge promises holds for them too.
"""

import asyncio

import pytest
from test_shared_vault import edges
from world import FRESH, START, Says, failed, running, settle, until

from samovar import Freshness
from samovar.cluster import AsyncCluster, LocalNode
from samovar.cluster.held import fill, hold_softly
from samovar.cluster.node import OK, Fault
from samovar.cluster.tags import LONGEST_TAG
from samovar.edge.contracts import OriginFailed
from samovar.edge.rules import Policy
from support import run_async

SOFTLY = {"cache-control": "max-age=60, stale-while-revalidate=30", "surrogate-key": "news"}


def says(body, **headers):
    return Says(body=body, headers={**SOFTLY, **headers})


async def renewed(world):
    await until(lambda: not world.exchange._renewing)
    await settle()


def tell(world):
    """What a bus would do for its near cache."""
    if world.vault.cluster.near is not None:
        world.vault.cluster.near.clear()


@pytest.mark.parametrize("near", [False, True], ids=["far", "near"])
def test_what_was_purged_softly_is_served_stale_by_every_edge_while_one_renews_it(near):
    async def test():
        gate = asyncio.Event()
        one, two = edges(says(b"old"), Says(body=b"new", headers=SOFTLY, head=gate), near=near)
        for world in (one, one, two, two):
            assert (await world.ask()).body == b"old"
        one.clock.advance(5)
        await one.exchange.purge(tags="news", soft=True)
        await settle()
        tell(two)
        for world in (one, two, one, two):
            client = await world.ask()
            assert client.body == b"old" and "hit" in client.said and int(client.headers["age"]) >= 60
        gate.set()
        await renewed(one)
        await renewed(two)
        tell(two)
        assert {(await world.ask()).body for world in (one, two)} == {b"new"} and len(one.origin) <= 3

    run_async(test())


@running
async def test_what_was_purged_softly_is_stale_since_the_purge_and_not_since_it_was_seen():
    one, two = edges(says(b"old"), says(b"new"))
    await one.ask()
    await one.exchange.purge(tags="news", soft=True)
    one.clock.advance(31)
    assert (await two.ask()).body == b"new"


@running
async def test_what_was_purged_softly_is_renewed_by_its_validator():
    headers = {**FRESH, "surrogate-key": "news", "etag": '"a"'}
    one, two = edges(Says(body=b"tea", headers=headers), Says(304, b"", headers))
    await one.ask()
    await one.exchange.purge(tags="news", soft=True)
    assert (await two.ask()).body == b"tea" and two.origin.asked[-1][2]["if-none-match"] == '"a"'
    assert (await one.ask()).said.startswith("samovar;hit") and len(one.origin) == 2


@running
async def test_what_was_purged_softly_stands_in_for_an_origin_that_is_down():
    one, two = edges(Says(body=b"old", headers={**FRESH, "surrogate-key": "news"}), OriginFailed("down"))
    await one.ask()
    await one.exchange.purge(tags="news", soft=True)
    for world in (two, one, two):
        assert (await world.ask()).body == b"old"


@pytest.mark.parametrize("order", ["soft, hard", "hard, soft", "soft, seen, hard", "soft, url"])
def test_plain_purge_beside_a_soft_one_takes_it_out(order):
    async def test():
        one, two = edges(says(b"old"), says(b"new"), OriginFailed("down"))
        await one.ask()
        for word in order.split(", "):
            if word == "seen":
                assert await one.vault.find(b"http://h/") is not None
            elif word == "url":
                await two.exchange.purge(urls="http://h/")
            else:
                await two.exchange.purge(tags="news", soft=word == "soft")
        assert await one.vault.find(b"http://h/") is None
        assert (await one.ask()).body == b"new"

    run_async(test())


@running
async def test_soft_purge_wins_over_what_is_on_its_way():
    gate = asyncio.Event()
    one, two = edges(Says(body=b"old", headers=SOFTLY, head=gate), says(b"new"))
    task = one.start()
    await until(lambda: len(one.origin) == 1)
    await two.exchange.purge(tags="news", soft=True)
    gate.set()
    assert (await task).body == b"old" and one.stats.refused == 1
    assert (await two.ask()).body == b"new"


@running
async def test_other_variants_of_a_key_stay_fresh_and_are_not_lost():
    def answer(request):
        language = dict(request.headers)[b"accept-language"]
        return Says(body=language, headers={**FRESH, "vary": "accept-language", "surrogate-key": language.decode()})

    one, two = edges(answer)
    for language in ("de", "en"):
        await one.ask(accept_language=language)
    await one.exchange.purge(tags="de", soft=True)
    assert (await two.ask(accept_language="en")).said.startswith("samovar;hit") and len(one.origin) == 2
    await two.ask(accept_language="de")
    assert len(one.origin) == 3
    for language in ("de", "en"):
        assert (await one.ask(accept_language=language)).said.startswith("samovar;hit")


@running
async def test_who_fetches_already_does_not_keep_others_from_what_is_stale():
    gate = asyncio.Event()
    one, two = edges(says(b"old"), Says(body=b"new", headers=SOFTLY, head=gate))
    await one.ask()
    await one.exchange.purge(tags="news", soft=True)
    fence = await one.vault.fence(b"http://h/")  # somebody has the right to store
    found = await two.vault.find(b"http://h/")
    assert [entry.body for entry in found] == [b"old"] and all(entry.age(two.clock()) >= entry.fresh for entry in found)
    one.vault.release(fence)
    await settle()


@running
async def test_tag_that_is_as_long_as_tags_may_be_is_purged_all_the_same():
    tag = "t" * LONGEST_TAG
    one, two = edges(says(b"old", **{"surrogate-key": tag}), says(b"new"), failed())
    await one.ask()
    assert (await two.ask()).body == b"old"
    await one.exchange.purge(tags=tag, soft=True)
    assert (await two.ask()).body == b"new"


@running
async def test_moment_of_a_purge_that_is_no_moment_counts_as_now():
    one, two = edges(says(b"old"), says(b"new"))
    await one.ask()
    await one.exchange.purge(tags="news", soft=True)
    await one.vault.cluster.set(b"\rnews", "yesterday")
    one.clock.advance(31)
    assert (await two.ask()).body == b"old"


@running
async def test_answer_with_as_many_tags_as_a_policy_takes_is_kept_and_purged_softly_by_each():
    most = Policy().max_tags
    one, two = edges(says(b"old", **{"surrogate-key": " ".join(f"tag{number}" for number in range(most))}), says(b"new"))
    await one.ask()
    assert one.stats.stored == 1 and (await two.ask()).body == b"old"
    await one.exchange.purge(tags=f"tag{most - 1}", soft=True)
    one.clock.advance(31)
    assert (await two.ask()).body == b"new"


@running
async def test_mark_of_what_is_not_to_be_waited_for_outlasts_a_soft_purge():
    one, two = edges(says(b"old"))
    await one.ask()
    fence = await one.vault.fence(b"http://h/")
    assert await one.vault.change(b"http://h/", fence, lambda variants: variants.marked(START + 50.0))
    await one.exchange.purge(tags="news", soft=True)
    assert (await two.vault.find(b"http://h/")).mark == START + 50.0


class Fillable(LocalNode):
    """A node that may be full."""

    is_full = False

    def probe(self):
        return OK, not self.is_full
        yield  # never reached: it makes this a generator


@running
async def test_right_to_renew_on_the_next_node_while_one_takes_nothing_is_worth_something():
    """A node that reads well and is full: the fill goes to the next one, whose epoch is another."""
    nodes = [Fillable(name) for name in "ab"]
    async with AsyncCluster(nodes, ttl=60, bus=False) as cluster:
        await cluster.set("k", "old", tags="news")
        owner = cluster.node_of("k")
        await cluster.invalidate_tags("news")
        next(node for node in nodes if node.name == owner).is_full = True  # and says so to who probes it
        cluster._tier.failed(owner, Fault("full"))
        softly = await hold_softly(cluster, "k", lambda tag: tag == "news")
        assert softly.value == "old" and softly.moved == ("news",)
        assert softly.held.right.node != owner
        assert await fill(cluster, softly.held, "new", fresh=Freshness(ttl=60), tags=["news"])
        cluster._tier.failed(owner, Fault("refused"))
        assert await cluster.get("k") == "new"
