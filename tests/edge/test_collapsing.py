"""Crowds: who asks for one thing at once asks the origin once, and nobody waits for what is not for him."""

import asyncio
import random

from samovar.edge.contracts import Request
from samovar.edge.rules import Policy
from world import FRESH, Client, Says, World, failed, running, settle, until


@running
async def test_ten_thousand_on_a_cold_url_ask_once():
    world = World(Says(body=(b"a", b"b")))
    clients = await world.crowd(10_000)
    assert len(world.origin) == 1 and {client.body for client in clients} == {b"ab"}
    assert all(client.ended for client in clients)
    assert (world.stats.misses, world.stats.collapsed, world.stats.waiting) == (1, 9_999, 0)
    assert sum("collapsed" in client.said for client in clients) == 9_999


@running
async def test_thousands_on_a_stale_url_revalidate_once():
    headers = {"cache-control": "max-age=5", "etag": '"a"'}
    world = World(Says(headers=headers), Says(304, (), headers))
    await world.ask()
    world.clock.advance(9)
    clients = await world.crowd(3_000)
    assert len(world.origin) == 2 and {client.body for client in clients} == {b"body"}


@running
async def test_failure_lets_exactly_the_next_one_try():
    world = World(*[failed()] * 5, Says())
    clients = await world.crowd(2_000)
    assert (len(world.origin), world.origin.most) == (6, 1)
    assert sorted(client.status for client in clients)[-6:] == [200, 502, 502, 502, 502, 502]
    assert world.stats.collapsed == 2_000 - 6


@running
async def test_crowd_in_front_of_an_origin_that_is_down_is_not_lined_up_for_it():
    world = World(failed())
    clients = await world.crowd(1_000)
    assert len(world.origin) == 8 and {client.status for client in clients} == {502}
    assert world.stats.waiting == 0 and sum("collapsed-failure" in client.said for client in clients) == 992


@running
async def test_crowd_that_gets_errors_only_is_not_lined_up_for_them():
    world = World(Says(500, b"each its own", {}))
    clients = await world.crowd(1_000)
    assert {(client.status, client.body) for client in clients} == {(500, b"each its own")}
    assert len(world.origin) == 1_000 and world.origin.most == 992


@running
async def test_waiters_that_left_are_not_remembered():
    head = asyncio.Event()
    world = World(Says(head=head))
    leader = world.start()
    await settle()
    (flight,), = world.exchange._crowd().rooms.values()
    waiters = [world.start() for _ in range(10)]
    await until(lambda: len(flight.waiters) == 10)
    for waiter in waiters:
        waiter.cancel()
    await until(lambda: not flight.waiters)
    head.set()
    assert (await leader).body == b"body"


@running
async def test_what_is_stale_stands_in_for_all_who_waited_for_an_answer_that_failed():
    headers = {"cache-control": "max-age=1, stale-if-error=99"}
    for failure in (failed(), Says(503, b"down", {})):
        world = World(Says(headers=headers), failure)
        await world.ask()
        world.clock.advance(9)
        clients = await world.crowd(1_000)
        assert {client.body for client in clients} == {b"body"} and len(world.origin) == 2
        assert world.stats.stale_hits == 1_000


@running
async def test_broken_body_reaches_those_who_read_it_and_the_next_one_tries():
    gate = asyncio.Event()
    world = World(Says(body=(b"a", b"b"), gate=gate, fails=failed("reset")), Says(body=b"whole"))
    readers = [world.start() for _ in range(10)]
    await settle()
    late = world.start(accept="late")
    gate.set()
    clients = [await task for task in readers]
    assert all(client.aborted and not client.ended for client in clients)
    await late
    assert (await world.ask()).body == b"whole"


@running
async def test_waiters_are_sent_the_body_while_it_comes_in():
    gate = asyncio.Event()
    world = World(Says(body=(b"a", b"b"), gate=gate))
    clients = [Client() for _ in range(5)]
    tasks = [world.start(client=client) for client in clients]
    await until(lambda: all(client.body == b"a" for client in clients))
    late = Client()
    tasks.append(world.start(client=late))
    await until(lambda: late.body == b"a")
    assert not any(client.ended for client in clients)
    gate.set()
    await asyncio.gather(*tasks)
    assert {client.body for client in [*clients, late]} == {b"ab"} and len(world.origin) == 1


@running
async def test_leader_that_leaves_before_the_answer_leaves_the_others_theirs():
    held = asyncio.Event()
    world = World(Says(head=held))
    leader = world.start()
    await until(lambda: len(world.origin) == 1)
    others = [world.start() for _ in range(5)]
    await settle()
    leader.cancel()
    await settle()
    held.set()
    assert {(await task).body for task in others} == {b"body"} and len(world.origin) == 1


@running
async def test_waiter_that_leaves_disturbs_nobody():
    held = asyncio.Event()
    world = World(Says(head=held))
    tasks = [world.start() for _ in range(20)]
    await until(lambda: world.stats.waiting == 19)
    for task in tasks[1::2]:
        task.cancel()
    await settle()
    held.set()
    assert {(await task).body for task in tasks[::2]} == {b"body"} and world.stats.waiting == 0


@running
async def test_leader_alone_that_leaves_closes_what_nobody_may_keep():
    held = asyncio.Event()
    answer = Says(headers={"cache-control": "no-store"}, head=held)
    world = World(answer)
    leader = world.start()
    await until(lambda: len(world.origin) == 1)
    leader.cancel()
    await settle()
    held.set()
    await until(lambda: answer.closed)


@running
async def test_uncacheable_answer_makes_nobody_wait_for_the_next():
    gates = [asyncio.Event() for _ in range(50)]
    world = World(*[Says(body=(b"x",), headers={"cache-control": "no-store"}, gate=gate) for gate in gates])
    tasks = [world.start() for _ in range(50)]
    await until(lambda: len(world.origin) == 50)  # all at the origin, and none of them done
    assert not any(task.done() for task in tasks)
    for gate in gates:
        gate.set()
    await asyncio.gather(*tasks)
    await world.ask()
    assert world.stats.collapsed == 0


@running
async def test_answers_that_must_be_revalidated_each_time_are_not_asked_for_in_a_row():
    headers = {"cache-control": "no-cache", "etag": '"a"'}
    held = asyncio.Event()
    world = World(Says(headers=headers), Says(304, (), headers, head=held))
    await world.ask()
    tasks = [world.start() for _ in range(20)]
    await until(lambda: world.origin.now == 20)
    held.set()
    assert {(await task).body for task in tasks} == {b"body"}


@running
async def test_variants_fly_apart_once_it_is_known_what_they_vary_by():
    def answer(request):
        language = dict(request.headers).get(b"accept-language", b"")
        return Says(body=language, headers={**FRESH, "vary": "accept-language"})

    world = World(answer)
    languages = [["de", "en", "fr"][number % 3] for number in range(300)]
    clients = await asyncio.gather(*(world.ask(accept_language=language) for language in languages))
    assert [client.body.decode() for client in clients] == languages and len(world.origin) == 3
    world.clock.advance(100)
    held = asyncio.Event()
    world.origin.answers = [lambda request: Says(body=b"new", headers=FRESH, head=held)]
    tasks = [world.start(accept_language=language) for language in ("de", "en", "de", "en")]
    await until(lambda: world.origin.now == 2)  # known by now: nobody waits for another's language
    held.set()
    await asyncio.gather(*tasks)


@running
async def test_requests_that_wish_for_something_else_do_not_wait():
    held = asyncio.Event()
    world = World(Says(head=held))
    tasks = [world.start(), world.start(range="bytes=0-1"), world.start(cache_control="no-cache"),
             world.start(authorization="me"), world.start(method="POST")]
    await until(lambda: len(world.origin) == 5)
    held.set()
    await asyncio.gather(*tasks)


@running
async def test_reloads_wait_neither_for_each_other_nor_hold_up_those_who_do_not_ask_for_one():
    held = asyncio.Event()
    headers = {"cache-control": "max-age=60", "etag": '"a"'}
    world = World(Says(headers=headers), Says(304, (), headers, head=held))
    await world.ask()
    tasks = [world.start(cache_control="no-cache") for _ in range(50)]
    await until(lambda: world.origin.now == 50)
    assert (await world.ask()).said.startswith("samovar;hit")
    held.set()
    assert {(await task).status for task in tasks} == {200}


@running
async def test_flood_of_reloads_is_left_aside_where_the_owner_says_so():
    world = World(Says(), policy=Policy(obey_client=False))
    await world.ask()
    for wish in ("no-cache", "max-age=0", "min-fresh=9999"):
        assert (await world.ask(cache_control=wish, pragma="no-cache")).said.startswith("samovar;hit")
    assert len(world.origin) == 1


@running
async def test_too_many_waiters_are_turned_away():
    held = asyncio.Event()
    world = World(Says(head=held), max_waiters=10)
    tasks = [world.start() for _ in range(30)]
    await until(lambda: sum(task.done() for task in tasks) == 19)
    turned = [task.result() for task in tasks if task.done()]
    assert {client.status for client in turned} == {503} and {client.headers["retry-after"] for client in turned} == {"1"}
    held.set()
    assert sum(client.status == 200 for client in await asyncio.gather(*tasks)) == 11
    assert world.stats.busy == 19 and len(world.origin) == 1


@running
async def test_nobody_waits_where_nobody_may():
    held = asyncio.Event()
    world = World(lambda request: Says(head=held), max_waiters=0)
    tasks = [world.start() for _ in range(10)]
    await until(lambda: world.origin.now == 10)
    held.set()
    await asyncio.gather(*tasks)


@running
async def test_waiting_has_an_end():
    held = asyncio.Event()
    world = World(Says(head=held), wait="20ms")
    leader = world.start()
    await until(lambda: len(world.origin) == 1)
    assert (await world.ask()).status == 504
    held.set()
    assert (await leader).status == 200


@running
async def test_waiting_that_ends_is_answered_with_what_is_stale():
    held = asyncio.Event()
    headers = {"cache-control": "max-age=1, stale-if-error=99", "etag": '"a"'}
    world = World(Says(headers=headers), Says(head=held), wait="20ms")
    await world.ask()
    world.clock.advance(9)
    leader = world.start()
    await until(lambda: len(world.origin) == 2)
    assert (await world.ask()).body == b"body"
    held.set()
    await leader


@running
async def test_purge_parts_those_who_ask_afterwards_from_what_is_on_its_way():
    held = asyncio.Event()
    tagged = {**FRESH, "surrogate-key": "news"}
    for purge in ({"urls": "http://h/"}, {"tags": "news"}, {"everything": True}):
        for owner in (False, True):
            held.clear()
            world = World(Says(body=b"old", headers=tagged, head=held), Says(body=b"new", headers=tagged))
            before = [world.start() for _ in range(3)]
            await until(lambda: len(world.origin) == 1)
            if owner:
                world.cache.invalidate_tags("news")
            else:
                await world.exchange.purge(**purge)
            after = [world.start() for _ in range(3)]
            await settle()
            held.set()
            assert {(await task).body for task in after} == {b"new"}
            assert {(await task).body for task in before} <= {b"old", b"new"}
            assert (await world.ask()).body == b"new"


@running
async def test_crowd_of_crowds_gets_each_its_own():
    """Many URLs, variants and outcomes at once, in an order of chance: everybody gets what he asked for."""
    chance = random.Random(7)

    def answer(request):
        path, name = request.target, dict(request.headers)[b"x-name"]
        kind = int(path[1:]) % 4
        if kind == 3:
            raise failed()
        headers = [FRESH, {**FRESH, "vary": "x-name"}, {"cache-control": "no-store"}][kind]
        body = path + (name if kind else b"")
        return Says(body=(body[:1], body[1:]), headers=headers)

    def told(request):
        try:
            return answer(request)
        except Exception as error:
            return error

    world = World(told)

    async def one():
        path, name = f"/{chance.randrange(12)}", f"n{chance.randrange(3)}"
        client = await world.ask(path, x_name=name)
        kind = int(path[1:]) % 4
        if kind == 3:
            assert client.status == 502
        else:
            assert client.status == 200 and client.ended
            assert client.body.decode() == path + (name if kind else "")

    for _ in range(3):
        await asyncio.gather(*(one() for _ in range(300)))
        world.clock.advance(100)
    await settle()
    assert not world.exchange._crowd().rooms and world.stats.waiting == world.stats.flights == 0


def test_loops_do_not_wait_for_each_other():
    """An exchange serves tasks of any event loop, each within its own."""
    world = World(Says())
    for _ in range(2):
        async def ask():
            client = Client()
            await world.exchange.serve(Request("GET", b"http", b"/", [(b"host", b"h")]), client)
            return client

        assert asyncio.run(ask()).body == b"body"
        world.clock.advance(100)
    assert len(world.origin) == 2
