"""One request at a time through the exchange: what is served, asked, kept and sent."""

import asyncio

import pytest

from samovar import Freshness, OriginBudget
from samovar.edge.contracts import Request
from samovar.edge.rules import Policy
from support import run_async
from world import Client, Says, World, failed, running, settle, until

SWR = {"cache-control": "max-age=10, stale-while-revalidate=30", "etag": '"a"'}


@running
async def test_answer_is_kept_and_served_again_with_its_age():
    world = World(Says(body=b"tea"))
    first = await world.ask()
    world.clock.advance(7)
    second = await world.ask()
    assert (first.body, second.body, len(world.origin)) == (b"tea", b"tea", 1)
    assert first.said == "samovar;fwd=uri-miss;ttl=60;stored"
    assert (second.headers["age"], second.said) == ("7", "samovar;hit;ttl=53")
    assert first.ended and second.ended


@running
async def test_quick_hit_is_what_serve_sends():
    world = World(Says(body=b"tea"))
    fields = [(b"host", b"h")]
    assert world.exchange.quick("GET", b"http", b"/", fields) is None
    await world.ask()
    hit = world.exchange.quick("GET", b"http", b"/", fields)
    assert (hit.entry.body, hit.age, hit.status, world.stats.hits) == (b"tea", 0, 200, 1)


@pytest.mark.parametrize("method, headers", [
    ("HEAD", []), ("POST", []), ("GET", [(b"range", b"bytes=0-1")]), ("GET", [(b"cache-control", b"no-cache")]),
    ("GET", [(b"if-none-match", b'"a"')]), ("GET", [(b"host", b"other")]), ("GET", [(b"content-length", b"3")]),
])
def test_quick_leaves_what_is_no_plain_hit(method, headers):
    async def test():
        world = World(Says(body=b"tea"))
        await world.ask()
        assert world.exchange.quick(method, b"http", b"/", [(b"host", b"h"), *headers]) is None

    run_async(test())


@running
async def test_head_and_range_and_condition_are_answered_from_what_is_kept():
    world = World(Says(body=b"0123456789", headers={"cache-control": "max-age=60", "etag": '"a"'}))
    await world.ask()
    head = await world.ask(method="HEAD")
    part = await world.ask(range="bytes=2-4")
    parts = await world.ask(range="bytes=0-0,9-9")
    beyond = await world.ask(range="bytes=20-")
    same = await world.ask(if_none_match='"a"')
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "10")
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert parts.status == 206 and len(parts.body) == int(parts.headers["content-length"])
    assert (beyond.status, same.status, same.body, len(world.origin)) == (416, 304, b"", 1)


@running
async def test_stale_answer_is_renewed_by_a_304():
    world = World(Says(headers=SWR), Says(304, (), {"etag": '"a"', "cache-control": "max-age=10"}))
    await world.ask()
    world.clock.advance(100)
    again = await world.ask()
    assert (again.status, again.body) == (200, b"body")
    assert again.said == "samovar;fwd=stale;fwd-status=304;ttl=10;stored"
    assert world.origin.asked[1][2]["if-none-match"] == '"a"'
    assert (await world.ask()).said == "samovar;hit;ttl=10" and world.stats.revalidated == 1


@running
async def test_304_about_another_answer_is_asked_again_once():
    wrong = Says(304, (), {"etag": '"b"'})
    world = World(Says(headers=SWR), wrong, Says(body=b"new", headers={"etag": '"b"', "cache-control": "max-age=5"}))
    await world.ask()
    world.clock.advance(100)
    assert (await world.ask()).body == b"new"
    assert len(world.origin) == 3 and wrong.closed
    assert (await world.ask()).body == b"new" and len(world.origin) == 3


@running
async def test_stale_while_revalidate_serves_at_once_and_asks_once_behind_it():
    held = asyncio.Event()
    world = World(Says(headers=SWR), Says(body=b"new", headers=SWR, head=held))
    await world.ask()
    world.clock.advance(15)
    clients = await world.crowd(20)
    assert {client.body for client in clients} == {b"body"} and len(world.origin) == 2
    held.set()
    await until(lambda: not world.exchange._renewing)
    await settle()
    assert (await world.ask()).body == b"new" and len(world.origin) == 2
    assert (world.stats.stale_hits, world.stats.renewals) == (20, 1)


@running
async def test_entry_is_not_renewed_again_before_what_renews_it_is_stored():
    gate = asyncio.Event()
    world = World(Says(headers=SWR), Says(body=(b"n", b"ew"), headers=SWR, gate=gate))
    await world.ask()
    world.clock.advance(15)
    for _ in range(5):
        assert (await world.ask()).body == b"body"
        await settle()
    assert len(world.origin) == 2
    gate.set()
    await until(lambda: not world.exchange._renewing)
    assert (await world.ask()).body == b"new" and len(world.origin) == 2


@running
async def test_renewal_after_a_head_asks_for_the_whole():
    headers = {"cache-control": "max-age=5, stale-while-revalidate=60"}
    world = World(Says(body=b"old", headers=headers), Says(body=b"new", headers=headers))
    await world.ask()
    world.clock.advance(9)
    assert (await world.ask(method="HEAD")).status == 200
    await settle()
    assert world.origin.asked[-1][0] == "GET" and (await world.ask()).body == b"new"


@running
async def test_renewal_that_fails_leaves_the_stale_answer():
    world = World(Says(headers=SWR), failed(), failed(), Says(body=b"new"))
    await world.ask()
    world.clock.advance(15)
    for _ in range(3):
        assert (await world.ask()).body == b"body"
        await until(lambda: not world.exchange._renewing)
    await settle()
    assert (await world.ask()).body == b"new"


@pytest.mark.parametrize("answer", [failed(), Says(503, b"down", {})])
def test_stale_stands_in_for_an_error(answer):
    async def test():
        world = World(Says(headers={"cache-control": "max-age=5, stale-if-error=100"}), answer)
        await world.ask()
        world.clock.advance(50)
        client = await world.ask()
        assert (client.status, client.body) == (200, b"body")
        assert "detail=origin-" in client.said and world.stats.stale_hits == 1

    run_async(test())


@pytest.mark.parametrize("error, status", [(failed(), 502), (failed(timed_out=True), 504)])
def test_origin_that_gives_nothing_is_an_error_that_says_so(error, status):
    async def test():
        world = World(error)
        client = await world.ask()
        assert client.status == status and client.ended and client.headers["cache-control"] == "no-store"
        assert client.said.startswith("samovar;fwd=uri-miss;detail=")
        assert (world.stats.errors, world.stats.failures, len(world.cache)) == (1, 1, 0)

    run_async(test())


@running
async def test_origin_that_is_silent_is_given_up():
    world = World(Says(head=asyncio.Event()), head="10ms")
    client = await world.ask()
    assert client.status == 504 and "timeout" in client.said and world.stats.flights == 0


@running
async def test_body_that_stops_coming_is_broken_off_and_not_kept():
    world = World(Says(body=(b"a", b"b"), gate=asyncio.Event()), gap="10ms")
    client = await world.ask()
    assert client.body == b"a" and client.aborted and not client.ended and len(world.cache) == 0


@running
async def test_body_that_drips_is_not_kept_for_longer_than_its_limit():
    class Dripping(Says):
        async def __aiter__(self):
            while True:
                await asyncio.sleep(0.0005)
                yield b"x"

    world = World(Dripping(), fill="30ms", gap="60s")
    client = await world.ask()
    assert client.aborted and len(world.cache) == 0 and world.stats.refused == 1


@pytest.mark.parametrize("answer", [
    Says(body=(b"abc",), headers={"cache-control": "max-age=9", "content-length": "5"}),  # ends too early
    Says(body=(b"abc", b"def"), headers={"cache-control": "max-age=9", "content-length": "5"}),  # goes on
    Says(body=(b"abc",), headers={"cache-control": "max-age=9"}, fails=failed("reset")),
])
def test_damaged_body_is_never_kept_and_never_ends_well(answer):
    async def test():
        world = World(answer)
        client = await world.ask()
        assert client.aborted and not client.ended and len(world.cache) == 0

    run_async(test())


@running
async def test_entry_is_kept_before_its_last_byte_is_sent():
    for headers in ({"cache-control": "max-age=9", "content-length": "6"}, {"cache-control": "max-age=9"}):
        world = World(Says(body=(b"abc", b"def"), headers=headers))
        seen = []

        class Looks(Client):
            async def write(self, chunk):
                await super().write(chunk)
                if self.body.endswith(b"def") and "content-length" in headers:
                    seen.append(len(world.cache))

            async def end(self):
                await super().end()
                seen.append(len(world.cache))

        await world.ask(client=Looks())
        assert set(seen) == {1}


@running
async def test_answer_that_forbids_storing_is_passed_on_as_it_comes():
    gate = asyncio.Event()
    answer = Says(body=(b"a", b"b", b"c"), headers={"cache-control": "no-store"}, gate=gate)
    world = World(answer)
    client = Client()
    task = world.start(client=client)
    await until(lambda: client.parts)
    assert client.body == b"a" and answer.taken == 1
    gate.set()
    await task
    assert client.body == b"abc" and answer.closed and len(world.cache) == 1  # the hit-for-miss mark
    await world.ask()
    assert len(world.origin) == 2


@running
async def test_slow_client_holds_back_a_body_that_is_for_it_alone():
    slow = asyncio.Event()
    answer = Says(body=(b"a", b"b", b"c"), headers={"cache-control": "no-store"})
    world = World(answer)
    task = world.start(client=Client(slow=slow))
    await settle()
    assert answer.taken == 1
    slow.set()
    assert (await task).body == b"abc"


@running
async def test_unsafe_method_takes_what_is_kept_out():
    world = World(Says(), Says(), Says(204, (), {"location": "/other"}), Says())
    await world.ask("/")
    await world.ask("/other")
    await world.ask("/", method="DELETE")
    await world.ask("/")
    await world.ask("/other")
    assert [asked[:2] for asked in world.origin.asked[2:]] == [("DELETE", "/"), ("GET", "/"), ("GET", "/other")]


@running
async def test_unsafe_method_wins_over_an_answer_on_its_way():
    held = asyncio.Event()
    world = World(Says(body=b"old", head=held), Says(200, b"", {}), Says(body=b"new"))
    reader = world.start()
    await until(lambda: len(world.origin) == 1)
    await world.ask(method="PUT")
    held.set()
    assert (await reader).body == b"old"  # it asked before
    assert (await world.ask()).body == b"new" and world.stats.refused == 1


@running
async def test_answer_to_a_post_that_names_its_own_uri_is_kept_for_gets():
    world = World(Says(headers={"cache-control": "max-age=60", "content-location": "http://h/"}))
    await world.ask(method="POST")
    assert (await world.ask()).said.startswith("samovar;hit") and len(world.origin) == 1


@running
async def test_request_without_one_clean_key_is_passed_and_not_kept():
    world = World()
    for headers in ([(b"host", b"h"), (b"host", b"h")], [], [(b"host", b"h/..")]):
        client = Client()
        await world.exchange.serve(Request("GET", b"http", b"/", headers), client)
        assert "fwd=bypass" in client.said
    assert len(world.cache) == 0 and world.stats.passes == 3


@running
async def test_only_if_cached_never_asks_the_origin():
    world = World()
    client = await world.ask(cache_control="only-if-cached")
    assert client.status == 504 and len(world.origin) == 0


@running
async def test_informational_answers_reach_the_client_that_leads():
    world = World(Says(informs=[(103, [(b"link", b"</a.css>")])]))
    assert (await world.ask()).informed == [(103, [(b"link", b"</a.css>")])]


@running
async def test_client_that_leaves_in_the_middle_does_not_stop_what_is_to_be_kept():
    gate = asyncio.Event()
    world = World(Says(body=(b"a", b"b", b"c"), gate=gate))
    await world.ask(client=Client(leaves=0))
    gate.set()
    await until(lambda: not world.exchange._fetcher.tasks)
    assert (await world.ask()).body == b"abc" and len(world.origin) == 1 and world.stats.aborted == 1


@running
async def test_client_that_takes_nothing_is_cut_off():
    world = World(Says(body=(b"a", b"b"), headers={"cache-control": "no-store"}), patience="10ms")
    client = await world.ask(client=Client(slow=asyncio.Event()))
    assert client.aborted and world.stats.aborted == 1


@running
async def test_budget_turns_a_request_away_with_when_to_come_again_or_what_is_stale():
    budget = OriginBudget(1, max_queue=0)
    held = asyncio.Event()
    world = World(Says(headers={"cache-control": "max-age=1, stale-if-error=99"}), Says(head=held), budget=budget)
    await world.ask("/stale")
    world.clock.advance(9)
    busy = world.start("/busy")
    await until(lambda: len(world.origin) == 2)
    turned = await world.ask("/cold")
    assert turned.status == 503 and int(turned.headers["retry-after"]) >= 1
    assert (await world.ask("/stale")).status == 200
    held.set()
    await busy
    assert budget.stats().running == 0


@running
async def test_grace_of_the_policy_serves_stale_where_the_origin_says_nothing():
    fresh = Freshness(ttl=10, stale_while_revalidate=20)
    world = World(Says(headers={}), Says(body=b"new", headers={}), policy=Policy(fresh=fresh))
    await world.ask()
    world.clock.advance(15)
    assert (await world.ask()).body == b"body"


@running
async def test_closing_ends_the_work_in_the_background():
    world = World(Says(headers=SWR), Says(head=asyncio.Event()))
    await world.ask()
    world.clock.advance(15)
    await world.ask()
    await settle()
    await world.exchange.close()
    assert not world.exchange._fetcher.tasks and not world.exchange._renewing


@running
async def test_mark_of_a_key_outlives_a_change_that_is_not_about_it():
    world = World(Says(headers={"cache-control": "no-store"}))
    await world.ask()
    fence = await world.vault.fence(b"http://h/")
    assert await world.vault.change(b"http://h/", fence, lambda variants: variants.without(None))
    assert world.vault.peek(b"http://h/").mark == world.clock() + Policy().hit_for_miss
