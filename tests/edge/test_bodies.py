"""Bodies on their way in: what is kept, what is spilled, who is too slow; and files that leave with their entries."""

import asyncio
import gc
import os

import pytest

from samovar.edge.exchange.body import WINDOW, Budget, Filling, LeftBehind, Reader, Space, Spilled
from samovar.edge.contracts import OriginFailed
from support import run_async, until as wait_until
from world import FRESH, Client, Says, World, running, settle, until

BIG = [bytes([number % 251]) * 100_000 for number in range(30)]  # 3 MB
WHOLE = b"".join(BIG)


def descriptors(folder):
    """How many files of this folder this process has open; they have no name."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith(str(folder))
        except OSError:
            pass
    return found


def filling(declared=None, *, most=1 << 20, memory=1 << 24, folder=None, spill=1 << 24):
    return Filling(declared, most, Budget(memory), Space(folder, spill))


async def read_all(reader):
    out = []
    while (part := await reader.read()) is not None:
        out.append(bytes(part))
    return b"".join(out)


# ------------------------------------------------------------------ through the exchange

@pytest.mark.parametrize("declared", [True, False])
def test_body_too_large_for_memory_goes_through_a_file(tmp_path, declared):
    async def test():
        headers = {**FRESH, **({"content-length": str(len(WHOLE))} if declared else {})}
        world = World(Says(body=BIG, headers=headers), max_body=500_000, spill_dir=str(tmp_path))
        slow = asyncio.Event()
        slowly = world.start(client=Client(slow=slow))
        clients = await world.crowd(3)
        assert {client.body for client in clients} == {WHOLE} and not slowly.done()
        slow.set()
        assert (await slowly).body == WHOLE and len(world.origin) == 1
        hit = await world.ask()
        assert hit.body == WHOLE and hit.said.startswith("samovar;hit")
        assert (await world.ask(range="bytes=99999-100001")).body == WHOLE[99_999:100_002]
        assert world.exchange.quick("GET", b"http", b"/", [(b"host", b"h")]) is None  # files are not read in passing
        assert descriptors(tmp_path) == 1 and not os.listdir(tmp_path)
        assert world.exchange._space.room.used == len(WHOLE) and world.exchange._fetcher.memory.used == 0
        await world.exchange.purge(everything=True)
        del hit, clients
        gc.collect()
        wait_until(lambda: descriptors(tmp_path) == 0)
        wait_until(lambda: world.exchange._space.room.used == 0)  # given back by who closed it, maybe another thread

    run_async(test())


def test_reader_of_a_spilled_body_keeps_it_while_it_reads(tmp_path):
    async def test():
        world = World(Says(body=BIG), max_body=500_000, spill_dir=str(tmp_path))
        await world.ask()
        slow = asyncio.Event()
        client = Client(slow=slow)
        task = world.start(client=client)
        await until(lambda: client.parts) if client.parts else await asyncio.wait_for(client.wrote.wait(), 5)
        await world.exchange.purge(everything=True)
        slow.set()
        assert (await task).body == WHOLE
        del task, client
        gc.collect()
        wait_until(lambda: descriptors(tmp_path) == 0)  # a thread that read may be the last to let go

    run_async(test())


def test_files_leave_when_the_edge_is_closed(tmp_path):
    async def test():
        world = World(Says(body=BIG), max_body=500_000, spill_dir=str(tmp_path))
        await world.ask()
        await world.ask("/other")
        assert descriptors(tmp_path) == 2
        await world.exchange.close()
        gc.collect()
        wait_until(lambda: descriptors(tmp_path) == 0)
        assert len(world.cache) == 0

    run_async(test())


@pytest.mark.parametrize("declared", [True, False])
def test_oldest_file_makes_room_for_the_newest(tmp_path, declared):
    async def test():
        headers = {**FRESH, **({"content-length": str(len(WHOLE))} if declared else {})}
        world = World(Says(body=BIG, headers=headers), max_body=500_000, spill_dir=str(tmp_path), spill=2 * len(WHOLE))
        for target in ("/1", "/2", "/3", "/3"):  # again, for one key in 256 is fenced off by what is dropped
            await world.ask(target)
        gc.collect()
        assert (await world.ask("/3")).said.startswith("samovar;hit") and (await world.ask("/1")).said.count("fwd=")
        assert world.exchange._space.room.used <= 2 * len(WHOLE)

    run_async(test())


@pytest.mark.parametrize("declared", [True, False])
def test_file_that_is_renewed_is_not_fenced_off_by_the_room_it_needs(tmp_path, declared):
    async def test(one, other):
        headers = {**FRESH, **({"content-length": str(len(WHOLE))} if declared else {})}
        world = World(Says(body=BIG, headers=headers), max_body=500_000, spill_dir=str(tmp_path),
                      spill=2 * len(WHOLE) + 500_000)
        await world.ask(one)
        await world.ask(other)
        world.clock.advance(70)
        assert (await world.ask(one)).said.startswith("samovar;fwd")
        return (await world.ask(one)).said.startswith("samovar;hit")

    # what is dropped fences off one key in 256 beside its own
    assert sum(run_async(test(f"/{number}", f"/{number}b")) for number in range(3)) >= 2


@pytest.mark.parametrize("declared", [True, False])
def test_body_that_fits_nowhere_is_passed_on_and_makes_nobody_wait(declared):
    async def test():
        headers = {**FRESH, **({"content-length": str(len(WHOLE))} if declared else {})}
        world = World(lambda request: Says(body=BIG, headers=headers), max_body=500_000)
        first = await world.ask()
        assert first.body == WHOLE and first.ended
        assert ("detail=size" in first.said) is declared
        clients = await world.crowd(5)
        assert {client.body for client in clients} == {WHOLE} and len(world.origin) == 6
        assert world.stats.collapsed == 0 and world.exchange._fetcher.memory.used == 0

    run_async(test())


@running
async def test_memory_for_bodies_on_their_way_is_bounded_over_all_of_them():
    gate = asyncio.Event()
    world = World(lambda request: Says(body=[b"x" * 60_000] * 5, gate=gate), memory=100_000)
    clients = [Client() for _ in range(4)]
    tasks = [world.start(f"/{number}", client=client) for number, client in enumerate(clients)]
    await until(lambda: all(client.parts for client in clients))
    assert world.exchange._fetcher.memory.used <= 100_000
    gate.set()
    assert {(await task).body for task in tasks} == {b"x" * 300_000} and world.exchange._fetcher.memory.used == 0


@running
async def test_slow_client_never_slows_what_is_kept():
    slow = asyncio.Event()
    answer = Says(body=BIG)
    world = World(answer)
    slowly = world.start(client=Client(slow=slow))
    assert (await world.ask()).body == WHOLE and answer.closed and not slowly.done()
    slow.set()
    assert (await slowly).body == WHOLE


@running
async def test_slow_client_is_left_behind_where_nothing_is_kept():
    slow = asyncio.Event()
    world = World(Says(body=BIG * 2), max_body=100_000, lag="10ms")
    lagging = Client(slow=slow)
    slowly = world.start(client=lagging)
    quickly = world.start()
    assert (await quickly).body == WHOLE * 2
    slow.set()
    await slowly
    assert lagging.aborted and not lagging.ended and len(lagging.body) < len(WHOLE)


@running
async def test_one_slow_client_alone_slows_the_origin_where_nothing_is_kept():
    slow = asyncio.Event()
    answer = Says(body=BIG * 2)
    world = World(answer, max_body=100_000, lag="1ms")
    slowly = world.start(client=Client(slow=slow))
    await settle(500)
    assert answer.taken * 100_000 <= WINDOW + 400_000
    slow.set()
    assert (await slowly).body == WHOLE * 2


@running
async def test_body_that_nobody_reads_and_nobody_may_keep_is_given_up():
    answer = Says(body=BIG * 2)
    world = World(answer, max_body=100_000)
    await world.ask(client=Client(leaves=0))
    await until(lambda: answer.closed)
    assert answer.taken < len(BIG)


# ------------------------------------------------------------------ alone

@running
async def test_last_part_of_a_known_length_is_shown_at_the_end_only():
    body = filling(6)
    reader = Reader(body)
    await body.put(b"abc")
    await body.put(b"def")
    assert await reader.read() == b"abc"
    last = asyncio.ensure_future(reader.read())
    await settle()
    assert not last.done()
    body.end()
    assert await last == b"def" and await reader.read() is None


@running
async def test_late_reader_begins_at_the_start_whatever_was_made_of_the_parts():
    body = filling()
    early = Reader(body)
    await body.put(b"abc")
    assert await early.read() == b"abc"
    await body.put(b"def")
    assert await body.whole() == b"abcdef"
    middle = Reader(body)
    body.end()
    assert (await read_all(early), await read_all(middle), await read_all(Reader(body))) == (b"def", b"abcdef", b"abcdef")


@running
async def test_body_longer_than_it_says_is_refused_before_anybody_sees_it():
    body = filling(3)
    await body.put(b"ab")
    with pytest.raises(OriginFailed, match="longer"):
        await body.put(b"cd")


def test_disk_that_fails_costs_the_storing_and_nothing_else(tmp_path, monkeypatch):
    async def test():
        def full(self, chunks):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Spilled, "append", full)
        world = World(Says(body=BIG), max_body=500_000, spill_dir=str(tmp_path))
        assert (await world.ask()).body == WHOLE
        assert world.stats.stored == 0

    run_async(test())


def test_disk_that_fails_at_the_very_end_costs_the_storing_and_nothing_else(tmp_path, monkeypatch):
    async def test():
        writes = Spilled.append

        def full_at_last(self, chunks):
            if self.length + sum(map(len, chunks)) >= len(WHOLE):
                raise OSError(28, "No space left on device")
            writes(self, chunks)

        monkeypatch.setattr(Spilled, "append", full_at_last)
        headers = {**FRESH, "content-length": str(len(WHOLE))}
        world = World(Says(body=BIG, headers=headers), max_body=500_000, spill_dir=str(tmp_path))
        clients = await world.crowd(3)
        assert {client.body for client in clients} == {WHOLE} and all(client.ended for client in clients)
        assert (world.stats.stored, world.stats.refused, world.stats.failures) == (0, 1, 0)
        assert world.exchange._fetcher.memory.used == 0

    run_async(test())


def test_folder_that_is_not_there_costs_the_storing_and_nothing_else(tmp_path):
    async def test():
        world = World(Says(body=BIG), max_body=500_000, spill_dir=str(tmp_path / "gone"))
        assert (await world.ask()).body == WHOLE and world.stats.stored == 0

    run_async(test())


@running
async def test_reader_who_was_left_behind_is_told():
    body = filling(most=10)
    slow, quick = Reader(body), Reader(body)
    for _ in range(12):
        await body.put(b"x" * 200_000)
        assert len(await quick.read()) == 200_000
    await asyncio.wait_for(body.wait_for_readers(0.001), 5)
    with pytest.raises(LeftBehind):
        await slow.read()
    assert quick in body.readers
