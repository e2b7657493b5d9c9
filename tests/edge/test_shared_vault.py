"""One cluster behind several edges: what one keeps all have, and what one purges none has, nor keeps any more."""

import asyncio

import pytest

from samovar import AsyncCluster, Cache, LocalNode, ManualClock, RedisNode
from samovar.edge.exchange import shared_vault
from samovar.edge.rules import Entry, Policy, Variants
from samovar.edge.exchange.shared_vault import ClusterVault, dumped, loaded
from support import run_async
from world import FRESH, START, Says, World, failed, running, settle, until

TAGGED = {**FRESH, "surrogate-key": "news", "etag": '"a"'}


def edges(*answers, near=False, policy=None):
    """Two edges over two nodes, with one origin."""
    nodes, clock = [LocalNode("one"), LocalNode("two")], ManualClock(START)
    policy = Policy() if policy is None else policy
    worlds = []
    for _ in range(2):
        words = {"near": Cache(100, ttl=60, clock=clock)} if near else {}
        vault = ClusterVault(AsyncCluster(nodes, bus=False, clock=clock, **words), clock, keyed=bool(policy.keyed))
        worlds.append(World(*answers, vault=vault, policy=policy))
        worlds[-1].clock = clock
        worlds[-1].exchange._wall = worlds[-1].exchange._fetcher.wall = clock
    worlds[1].origin = worlds[1].exchange._fetcher.origin = worlds[0].origin
    return worlds


@running
async def test_what_one_edge_keeps_the_other_serves():
    one, two = edges(Says(body=b"tea", headers=TAGGED))
    await one.ask()
    one.clock.advance(5)
    client = await two.ask()
    assert (client.body, client.headers["age"], client.headers["etag"], len(one.origin)) == (b"tea", "5", '"a"', 1)
    assert (await two.ask(range="bytes=1-")).body == b"ea" and (await two.ask(if_none_match='"a"')).status == 304


@running
async def test_variants_of_both_edges_lie_under_one_key():
    def answer(request):
        return Says(body=dict(request.headers)[b"accept-language"], headers={**FRESH, "vary": "accept-language"})

    one, two = edges(answer)
    for world, language in ((one, "de"), (two, "en"), (one, "en"), (two, "de"), (one, "de")):
        assert (await world.ask(accept_language=language)).body.decode() == language
    assert len(one.origin) == 2


@pytest.mark.parametrize("purge", [{"urls": "http://h/"}, {"tags": "news"}, {"everything": True}])
def test_purge_by_one_edge_holds_for_both(purge):
    async def test():
        one, two = edges(Says(body=b"old", headers=TAGGED), Says(body=b"new", headers=TAGGED))
        await one.ask()
        await two.exchange.purge(**purge)
        if "everything" in purge:
            await one.vault.cluster.clear()  # other processes hear of it within half a second; this one knows
        assert (await one.ask()).body == b"new"

    run_async(test())


@pytest.mark.parametrize("purge", [{"urls": "http://h/"}, {"tags": "news"}])
def test_purge_by_one_edge_wins_over_what_the_other_fetches(purge):
    async def test():
        held = asyncio.Event()
        one, two = edges(Says(body=b"old", headers=TAGGED, head=held), Says(body=b"new", headers=TAGGED))
        task = one.start()
        await until(lambda: len(one.origin) == 1)
        await two.exchange.purge(**purge)
        held.set()
        assert (await task).body == b"old" and one.stats.refused == 1  # it had asked before
        assert (await two.ask()).body == b"new" and (await one.ask()).body == b"new"

    run_async(test())


@running
async def test_body_that_the_near_cache_has_is_held_and_one_that_was_read_from_a_node_is_its_readers():
    one, two = edges(Says(body=b"tea", headers=TAGGED), near=True)
    await one.ask()
    await one.ask()  # the near cache has what was read
    (entry,) = one.vault.peek(b"http://h/")
    assert one.vault.holds(entry) and not two.vault.holds(entry)
    (far,) = await two.vault.find(b"http://h/")
    assert not one.vault.holds(far)


@running
async def test_soft_purge_of_a_url_serves_stale_while_it_is_renewed():
    headers = {**TAGGED, "cache-control": "max-age=60, stale-while-revalidate=60"}
    one, two = edges(Says(body=b"old", headers=headers), Says(body=b"new", headers=headers))
    await one.ask()
    assert await two.exchange.purge(urls=["http://h/"], soft=True) == 1
    assert (await one.ask()).body == b"old"
    await until(lambda: not one.exchange._renewing)
    await settle()
    assert (await two.ask()).body == b"new"


@pytest.mark.parametrize("stale", [False, True])
def test_what_was_stored_since_it_was_looked_for_is_not_asked_for_again(stale):
    async def test():
        one, two = edges(*(Says(body=b"%d" % number, headers=dict(TAGGED, **{
            "cache-control": "max-age=60, stale-while-revalidate=600"})) for number in (1, 2, 3)))
        if stale:
            await one.ask()
            one.clock.advance(61)
        is_found, goes_on = asyncio.Event(), asyncio.Event()
        find = two.vault.find

        async def slow(key, *, anew=False):
            stored = await find(key, anew=anew)
            is_found.set()
            await goes_on.wait()
            return stored

        two.vault.find = slow
        late = two.start()
        await is_found.wait()
        await one.ask()  # asks the origin, in the background where it has something stale
        await until(lambda: one.stats.stored == 1 + stale)
        goes_on.set()
        assert (await late).body == b"1"
        two.vault.find = find
        await settle()
        assert len(one.origin) == 1 + stale and (await two.ask()).body == b"%d" % (1 + stale)

    run_async(test())


@running
async def test_what_another_edge_renewed_takes_the_place_of_what_the_near_cache_has():
    one, two = edges(*(Says(body=b"%d" % number, headers=dict(TAGGED, **{
        "cache-control": "max-age=10, stale-while-revalidate=600"})) for number in (1, 2, 3)), near=True)
    for _ in range(2):
        assert (await one.ask()).body == (await two.ask()).body == b"1"  # now it lies in both near caches
    one.clock.advance(11)
    await one.ask()
    await until(lambda: one.stats.stored == 2)
    assert (await two.ask()).body == b"1"  # renewed in the background, for which nobody needs to be asked
    await until(lambda: two.vault.peek(b"http://h/") is None)
    assert (await two.ask()).body == b"2" and two.stats.renewals == 1 and len(one.origin) == 2


@running
async def test_near_cache_takes_what_was_found_behind_it():
    one, two = edges(*(Says(body=b"%d" % number, headers={**TAGGED, "cache-control": "max-age=10"}) for number in (1, 2, 3)),
                     near=True)
    for _ in range(2):
        assert (await one.ask()).body == (await two.ask()).body == b"1"
    one.clock.advance(11)
    assert (await one.ask()).body == b"2"
    await until(lambda: one.stats.stored == 2)
    for _ in range(2):
        assert (await two.ask()).body == b"2"
    assert two.vault.peek(b"http://h/") is not None and two.vault.peek(b"http://h/").only.body == b"2"


@running
async def test_unsafe_method_at_one_edge_holds_for_the_other():
    one, two = edges(Says(), Says(200, b"", {}), Says(body=b"new"))
    await one.ask()
    await two.ask(method="DELETE")
    assert (await one.ask()).body == b"new"


@running
async def test_keys_with_request_fields_leave_with_their_url():
    one, two = edges(lambda request: Says(), policy=Policy(keyed=(b"x-site",)))
    for site in ("a", "b"):
        await one.ask(x_site=site)
    assert (await two.ask(x_site="b")).said.startswith("samovar;hit")
    await two.exchange.purge(urls="http://h/")
    await one.ask(x_site="a")
    await one.ask(x_site="b")
    assert len(one.origin) == 4


@running
async def test_crowd_of_both_edges_stores_once_and_asks_at_most_once_each():
    one, two = edges(Says(headers=TAGGED))
    clients = await asyncio.gather(one.crowd(500), two.crowd(500))
    assert {client.body for part in clients for client in part} == {b"body"} and len(one.origin) <= 2
    assert one.stats.stored + two.stats.stored == 1


@running
async def test_near_cache_answers_without_a_node_and_what_it_lacks_is_looked_for_behind_it():
    def answer(request):
        return Says(body=dict(request.headers).get(b"accept-language", b"-"), headers={**FRESH, "vary": "accept-language"})

    one, two = edges(answer, near=True)
    await one.ask(accept_language="de")
    await one.ask(accept_language="de")
    fields = [(b"host", b"h"), (b"accept-language", b"de")]
    assert one.exchange.quick("GET", b"http", b"/", fields).entry.body == b"de"
    assert one.vault.peek(b"http://h/") is one.vault.peek(b"http://h/")  # read once
    await two.ask(accept_language="en")
    assert (await one.ask(accept_language="en")).said.startswith("samovar;hit") and len(one.origin) == 2


def test_what_is_read_of_a_near_cache_is_bounded_in_bytes(monkeypatch):
    async def test():
        monkeypatch.setattr(shared_vault, "_READ", 100_000)
        one, _ = edges(Says(body=b"x" * 9_000), near=True)
        for number in range(40):
            await one.ask(f"/{number}")
            await one.ask(f"/{number}")
            assert one.vault.peek(b"http://h/%d" % number).only.length == 9_000
        assert len(one.vault._near) == 40 and 1 <= len(one.vault._read) <= 11

    run_async(test())


@running
async def test_hit_for_miss_is_known_to_both():
    one, two = edges(lambda request: Says(headers={"cache-control": "no-store"}))
    await one.ask()
    assert (await two.vault.find(b"http://h/")).mark == START + Policy().hit_for_miss


@running
async def test_body_too_large_for_the_tier_is_passed_on_and_not_kept():
    big = [b"x" * 100_000] * 60
    one, _ = edges(lambda request: Says(body=big))
    assert (await one.ask()).body == b"".join(big)
    assert (await one.ask()).body == b"".join(big) and len(one.origin) == 2


@running
async def test_nodes_that_are_down_cost_hits_and_nothing_else():
    nobody = RedisNode("redis://127.0.0.1:1")
    vault = ClusterVault(AsyncCluster([nobody], bus=False), ManualClock(START))
    world = World(lambda request: Says(), vault=vault)
    assert (await world.ask()).status == 200 and (await world.ask()).status == 200
    await world.exchange.purge(urls="http://h/", tags="x")
    assert len(world.origin) == 2
    await vault.cluster.aclose()


@running
async def test_origin_that_fails_gives_the_right_to_store_back():
    one, two = edges(failed(), Says())
    await one.ask()
    await settle()
    await two.ask()
    assert two.stats.stored == 1


def entry(**words):
    made = Entry(key=b"http://h/", status=200, reason=b"OK", fields=((b"a", b"b"),), vary=(), varied=(), born=1.0,
                 received=1.0, date=1, fresh=5, revalidate=5, error=5, strict=False, immutable=False, etag=None,
                 modified=None, tags=("t",), declared=None, length=None)
    assert made.complete(b"tea", 3)
    for word, value in words.items():
        setattr(made, word, value)
    return made


def test_plain_form_of_variants_comes_back_the_same():
    variants = Variants().stored(entry(), 9).marked(7.0)
    back = loaded(dumped(variants))
    (found,) = back
    assert found.dump() == entry().dump() and (found.body, back.mark) == (b"tea", 7.0)


@pytest.mark.parametrize("plain", [
    None, 5, "text", [], [1, 0.0, []], [2, "x", []], [2, 0.0, [[[], b""]]], [2, 0.0, [5]], {"a": 1},
    *(dumped(Variants().stored(entry(**{word: value}), 9)) for word, value in [
        ("body", b"te"), ("body", "tea"), ("key", "k"), ("status", "200"), ("status", 99), ("fields", ((b"a\r\nb", b""),)),
        ("fields", ((b"a", b"b\r\nx: y"),)), ("fields", ((b"a", 5),)), ("born", None), ("tags", (5,)), ("etag", 5),
        ("reason", 7), ("fresh", 1.5), ("born", float("nan")), ("born", float("inf")), ("received", float("-inf")),
        ("reason", b"OK\r\nx: y"), ("etag", b'"a"\r\nx: y'), ("modified", b"\0"), ("status", 204), ("declared", 4),
        ("fields", ((b"content-length", b"9"),)), ("fields", ((b"transfer-encoding", b"chunked"),))]),
    [2, float("inf"), []], [2, float("nan"), []],
])
def test_what_nobody_of_ours_wrote_is_not_there(plain):
    assert loaded(plain) is None
