"""What slow readers hold in memory is bounded, each and all together, and those who read on get everything. Against a
running proxy over raw sockets, on each event loop.
"""

import asyncio
import contextlib
import sys
import threading
from types import SimpleNamespace

import pytest
from raw import FRESH, Running, answer, every_loop, get, run, within  # noqa: F401
from world import Client, Says, World

from samovar._base.clock import stopwatch
from samovar.edge.exchange import loans
from samovar.edge.exchange.body import PIECE
from samovar.edge.exchange.loans import Loans
from samovar.edge.proxy import proxy
from samovar.edge.proxy.limits import FrontLimits
from samovar.edge.proxy.proxy import relieve

SIZE = 1_000_000


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    """What was found of loans is not believed for a while."""
    monkeypatch.setattr(loans, "_ANEW_S", 0.0)


def proxied(test, origin=None, **settings):
    async def running():
        async with Running(origin if origin is not None else answer(b"x" * SIZE, FRESH), **settings) as proxy:
            await test(proxy)

    run(running())


async def until(true):
    while not true():
        await asyncio.sleep(0.0005)


async def slow(proxy, target):
    """A client that has asked, has its head, and reads no further; and what is sent to it is stuck."""
    client = await proxy.connect(buffer=4_096)
    await client.send(get(target))
    head = await client.head()
    client.writer.transport.pause_reading()
    return client, head


def outside(proxy):
    """Bytes of bodies that clients are sent and that are in no store."""
    edge = proxy.edge.exchange
    return sum(len(one.entry.body) for one, *_ in edge._fetcher.loans.outside().values() if not edge.vault.holds(one.entry))


async def take(client, head):
    client.writer.transport.resume_reading()
    return await client.body(*head)


@pytest.mark.parametrize("warm", [False, True], ids=["fills", "hits"])
def test_slow_readers_of_many_bodies_hold_no_more_than_they_may_and_get_all_they_were_promised(warm):
    async def test(proxy):
        readers = []
        for number in range(9):
            if warm:  # it is in the store when it is asked for slowly, and is driven out by those that follow
                await proxy.ask(get(f"/{number}"))
            readers.append(await slow(proxy, f"/{number}"))
        assert outside(proxy) <= 4 * SIZE
        small = await proxy.ask(get("/small"))  # a body that costs little is kept all the same
        assert "stored" in small[1]["cache-status"] and (await proxy.ask(get("/small")))[2] == b"small"
        assert proxy.origin.targets().count(b"/small") == 1
        for client, head in readers:
            assert await take(client, head) == b"x" * SIZE
        await proxy.quiet()
        assert not proxy.edge.exchange._fetcher.loans._open
        await proxy.ask(get("/after"))
        assert "hit" in (await proxy.ask(get("/after")))[1]["cache-status"]

    async def origin(reader, writer, number, head):
        writer.write(answer(b"small" if b"/small" in head else b"x" * SIZE, FRESH))

    proxied(test, origin, memory=3 * SIZE, exchange={"memory": 3 * SIZE})


def test_readers_of_one_stored_body_take_no_memory_for_it():
    async def test(proxy):
        await proxy.ask(get("/"))
        readers = [await slow(proxy, "/") for _ in range(8)]
        assert proxy.edge.exchange._fetcher.loans.outside() and not outside(proxy)
        await proxy.ask(get("/other"))
        assert "hit" in (await proxy.ask(get("/other")))[1]["cache-status"]
        for client, head in readers:
            assert await take(client, head) == b"x" * SIZE

    proxied(test, exchange={"memory": 2 * SIZE})


def test_who_takes_nothing_is_cut_off_when_others_need_the_memory_and_who_reads_is_not():
    async def test(proxy):
        stuck = [await slow(proxy, f"/{number}") for number in range(6)]
        reading, head = await proxy.connect(buffer=4_096), None
        await reading.send(get("/read"))
        head = await reading.head()
        got = len(await within(reading.reader.readexactly(10_000)))
        lent = proxy.edge.exchange._fetcher.loans
        lent._time = lambda time=lent._time: time() + 3_600.0  # and since then nobody took anything
        while outside(proxy) > SIZE:
            for loan in lent._open:
                if loan.entry.key.endswith(b"/read"):
                    lent.took(loan)
            await proxy.ask(get("/more"))
            await asyncio.sleep(0)
        numbers = proxy.edge.exchange.numbers
        await until(lambda: numbers.aborted >= 1)
        for client, _ in stuck:
            client.close()
        assert len(await within(reading.reader.readexactly(SIZE - got))) == SIZE - got and head[0] == 200

    proxied(test, memory=SIZE + SIZE // 2, exchange={"memory": SIZE})


def test_end_of_an_answer_that_is_not_taken_keeps_no_large_body():
    async def test(proxy):
        await proxy.ask(get("/"))
        client, head = await slow(proxy, "/")
        (entry,) = [loan.entry for loan in proxy.edge.exchange._fetcher.loans._open]
        body = entry.body
        entry = None
        client.writer.transport.resume_reading()
        while proxy.state.tasks:  # the answer is the transport's, whose client reads no further
            assert await within(client.reader.read(1_024))
            await asyncio.sleep(0)
        client.writer.transport.pause_reading()
        await proxy.edge.exchange.purge(everything=True)
        await until(lambda: sys.getrefcount(body) == 2)
        assert not client.reader.at_eof()

    proxied(test)


def test_clients_that_leave_too_much_unsent_together_are_cut_off_and_others_are_not():
    async def test(proxy):
        await proxy.ask(get("/"))
        readers = [await slow(proxy, "/") for _ in range(6)]
        idle = await proxy.connect()
        connections, numbers = proxy.state.connections, proxy.edge.exchange.numbers
        await until(lambda: sum(connection.stuck(float("inf")) > 0 for connection in connections) == 6)
        unsent = sum(connection.transport.get_write_buffer_size() for connection in connections)
        for most, seconds in ((unsent, 60.0), (0, 2.0)):  # little enough; or not for long enough
            relieve(connections, FrontLimits(unsent=most, write_s=60.0), stopwatch() + seconds)
        await asyncio.sleep(0)
        assert not numbers.aborted
        relieve(connections, FrontLimits(unsent=unsent // 2, write_s=60.0), stopwatch() + 60.0)
        await until(lambda: numbers.aborted >= 3)
        whole = 0
        for client, head in readers:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                whole += await take(client, head) == b"x" * SIZE
        assert whole == 6 - numbers.aborted >= 2
        assert (await idle.ask(get("/")))[2] == b"x" * SIZE

    proxied(test, limits=FrontLimits(write_s=60.0))


def test_bound_of_what_is_unsent_is_looked_at_now_and_then(monkeypatch):
    async def test(proxy):
        await slow(proxy, "/")
        await within(cut.wait())

    cut = asyncio.Event()
    monkeypatch.setattr(proxy, "relieve", lambda connections, limits, now: cut.set())
    proxied(test)


def test_client_of_an_application_that_takes_nothing_is_cut_off_too():
    async def test():  # its server waits for it, and is not told that nobody wants the answer any more
        world = World(lambda request: Says(body=bytes(bytearray(SIZE))), memory=SIZE + SIZE // 2)
        lent = world.exchange._fetcher.loans
        for target in ("/", "/other"):
            await world.ask(target)
        clients = [Client(slow=asyncio.Event()), Client(slow=asyncio.Event())]
        tasks = [world.start(target, client=client) for target, client in zip(("/", "/other"), clients, strict=True)]
        await until(lambda: all(client.parts for client in clients))
        await world.exchange.purge(everything=True)
        lent._time = lambda time=lent._time: time() + 3_600.0
        await world.ask("/more")
        await within(tasks[0])
        assert clients[0].aborted and not clients[0].ended and not tasks[1].done() and len(lent._open) == 1
        clients[1].slow.set()
        await within(tasks[1])
        assert clients[1].body == bytes(SIZE) and not lent._open

    run(test())


def test_loans_of_several_event_loops_are_seen_together_and_each_is_cut_off_in_its_own():
    class Entry:
        def __init__(self):
            self._body = b"x" * SIZE

        @property
        def body(self):
            lent.end(lent.begin(self, None))  # what another thread may do at any point
            return self._body

    class Sender:
        def abort(self):
            cut.append(threading.get_ident())
            gone.set()

    lent, cut = Loans(SimpleNamespace(holds=lambda entry: False), 0, 5.0), []
    begun, gone = threading.Event(), threading.Event()

    async def other():
        loan = lent.begin(Entry(), Sender())
        begun.set()
        while not gone.is_set():
            await asyncio.sleep(0.0005)
        lent.end(loan)

    async def test():
        thread = threading.Thread(target=lambda: asyncio.run(other()))
        thread.start()
        ident = thread.ident
        while not begun.is_set():
            await asyncio.sleep(0.0005)
        lent._time = lambda: stopwatch() + 3_600.0
        assert lent.largest() == PIECE
        await asyncio.to_thread(thread.join)
        assert cut == [ident] and not lent._open

    try:
        run(test())
    finally:
        gone.set()
