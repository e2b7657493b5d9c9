"""The promise of a purge, in a storm: who asks after one has returned gets nothing that is older, whatever flies.

The origin has a version for each key, reads it when it is asked, and answers after some turns. Writers raise a version and
purge; readers note what they may not be below when they ask.
"""

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

import pytest

from samovar import AsyncCluster, LocalNode, ManualClock
from samovar.edge.contracts import OriginFailed
from samovar.edge.exchange.shared_vault import ClusterVault
from support import run_async
from world import FRESH, START, Says, World, until

KEYS = [f"/{number}" for number in range(3)]


class Versions:
    """An origin whose answers are numbers."""

    def __init__(self, chance):
        self.chance, self.now, self.asked = chance, dict.fromkeys(KEYS, 0), 0

    async def turns(self, most):
        for _ in range(self.chance.randrange(most)):
            await asyncio.sleep(0)

    async def ask(self, request, inform=None):
        self.asked += 1
        key = request.target.decode()
        version = self.now[key]  # it is read now, and travels for a while
        await self.turns(30)
        if self.chance.random() < 0.1:
            raise OriginFailed("reset")
        language = dict(request.headers).get(b"accept-language", b"")
        headers = {**FRESH, "surrogate-key": f"all k{key[1:]}", **({"vary": "accept-language"} if language else {})}
        body = b"%d" % version

        origin = self

        class Slow(Says):
            async def __aiter__(self):
                for part in self.parts:
                    await origin.turns(10)
                    yield part

        return Slow(body=(body[:1], body[1:]) if body[1:] else (body,), headers=headers)


def test_two_loops_that_fetch_a_key_at_once_are_both_fenced_off_by_a_purge():
    """1. both find no place for the key. 2. both make one. 3. the purge must break what both hold."""
    both = threading.Barrier(2)

    class Slowly(WeakValueDictionary):
        def get(self, key, default=None):
            found = super().get(key, default)
            try:
                both.wait(0.1)
            except threading.BrokenBarrierError:
                pass  # the other has to wait for us
            return found

    world = World()
    world.vault._places = Slowly()
    with ThreadPoolExecutor(2) as threads:
        fences = list(threads.map(lambda _: asyncio.run(world.vault.fence(b"http://h/")), range(2)))
    asyncio.run(world.exchange.purge(urls="http://h/"))
    assert not any(world.vault.stands(b"http://h/", fence, ()) for fence in fences)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["cache", "cluster"])
def test_nobody_who_asks_after_a_purge_gets_older_data(kind, seed):
    async def test():
        chance = random.Random(seed)
        origin = Versions(chance)
        if kind == "cache":
            worlds = [World()]
        else:
            nodes, clock = [LocalNode("one"), LocalNode("two")], ManualClock(START)
            worlds = [World(vault=ClusterVault(AsyncCluster(nodes, bus=False), clock)) for _ in range(2)]
        for world in worlds:
            world.origin = world.exchange.origin = world.exchange._fetcher.origin = origin
        floor = dict.fromkeys(KEYS, 0)
        seen = []

        async def read():
            for _ in range(40):
                key, world = chance.choice(KEYS), chance.choice(worlds)
                least = floor[key]
                words = {"accept_language": chance.choice(["de", "en"])} if chance.random() < 0.3 else {}
                client = await world.ask(key, **words)
                if client.status == 200 and client.ended:
                    assert int(client.body) >= least, (key, client.body, least, client.said)
                    seen.append(client.said)
                await origin.turns(5)

        async def write():
            for _ in range(25):
                key, world = chance.choice(KEYS), chance.choice(worlds)
                origin.now[key] += 1
                version = origin.now[key]
                how = chance.randrange(4)
                if how == 0:
                    await world.exchange.purge(urls=f"http://h{key}")
                elif how == 1:
                    await world.exchange.purge(tags=f"k{key[1:]}")
                elif how == 2 and kind == "cache":
                    await world.exchange.purge(everything=True)
                elif how == 3 and kind == "cache":
                    world.cache.invalidate_tags("all")
                else:
                    await world.exchange.purge(tags="all")
                floor[key] = max(floor[key], version)
                await origin.turns(40)

        await asyncio.gather(*(read() for _ in range(20)), *(write() for _ in range(2)))
        assert any("hit" in said for said in seen) and any("fwd=uri-miss" in said for said in seen)

    run_async(test())


def test_what_is_taken_out_elsewhere_keeps_next_to_nothing_else_out():
    """RFC 9111 section 4.4: a POST takes out what is kept for its URL, and the answers on their way for other URLs stay
    good. 60 of 4,096 groups are fenced off, so about two of 150 are asked for again; with 256 groups it was 30."""
    async def test():
        gate = asyncio.Event()
        world = World(lambda request: Says(head=gate if request.target.startswith(b"/slow") else None))
        slow = [f"/slow/{number}" for number in range(150)]
        for number in range(60):
            await world.ask(f"/kept/{number}")
        flying = [world.start(target) for target in slow]
        await until(lambda: len(world.origin) == 60 + len(slow))
        for number in range(60):
            await world.ask(f"/kept/{number}", "POST")
        gate.set()
        await asyncio.gather(*flying)
        before = len(world.origin)
        for target in slow:
            await world.ask(target)
        assert len(world.origin) - before < 15
    run_async(test())
