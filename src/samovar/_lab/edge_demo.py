"""The demonstration of the edge: what a reader far from a web site meets, step by step, and whether it is as we claim.

Every step does something, looks at what came of it, and says what must have come: `held` is false where it did not. The
site's own server counts what it is asked for, and its word is the proof, not the cache's.
"""

import asyncio
import secrets
import statistics
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

from .._base.clock import stopwatch
from .edge_world import Answer, World, ask

OCEAN_S, QUERY_S = 0.080, 0.040  # a round trip over the ocean; what a page takes to make
READERS = 300
CROWD = 100
LIMIT_S = 10.0  # for what is renewed in the background


@dataclass(frozen=True, slots=True)
class Step:
    """One step. title: what happens. claim: what must come of it. found: what came, in words and as figures (times in
    seconds). held: whether that is as claimed."""

    name: str
    title: str
    claim: str
    found: str
    held: bool
    figures: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON can say it."""
        return asdict(self)


async def tell(world: World) -> AsyncIterator[Step]:
    """The steps, in order."""
    story = _Story(world)
    for step in (story.first_reader, story.next_readers, story.cold_crowd, story.another_city, story.purge,
                 story.site_dies, story.shield_dies, story.never_seen, story.all_return):
        yield await step()


def new_world() -> World:
    """A world with the distances of this demonstration, and a secret of its own."""
    return World(ocean_s=OCEAN_S, query_s=QUERY_S, secret=secrets.token_urlsafe(24))


class _Story:
    def __init__(self, world: World) -> None:
        self._world = world
        self._first_s = 0.0

    async def _read(self, port: int, names: list[str], at_once: int) -> list[Answer]:
        """Read these pages, so many readers at a time."""
        gate = asyncio.Semaphore(at_once)

        async def reader(name: str) -> Answer:
            async with gate:
                return await ask(port, f"/page/{name}")

        return await asyncio.gather(*(reader(name) for name in names))

    async def first_reader(self) -> Step:
        world = self._world
        answer = await ask(world.london.port, "/page/tea")
        asked, self._first_s = await world.asked("tea"), answer.took_s
        held = answer.status == 200 and answer.edition == 1 and asked == 1 and answer.took_s >= OCEAN_S + QUERY_S
        return Step(
            "first", "The first reader in London asks for a page",
            "It pays for the ocean and for the page: nobody has it yet.",
            f"{_ms(answer.took_s)}; the site made it {_times(asked)}; {answer.told}", held,
            {"took_s": answer.took_s, "site_asked": asked})

    async def next_readers(self) -> Step:
        world = self._world
        answers = await self._read(world.london.port, ["tea"] * READERS, 8)
        took_s, asked = sorted(answer.took_s for answer in answers), await world.asked("tea")
        p50_s = statistics.median(took_s)
        hits = sum("london;hit" in answer.told and answer.edition == 1 for answer in answers)
        held = hits == READERS and asked == 1 and took_s[0] < OCEAN_S  # of a machine that is busy, the others tell nothing
        return Step(
            "next", f"The next {READERS} readers in London want the same page",
            "They do not pay: nobody crosses the ocean again.",
            f"half of them waited {_ms(p50_s)} or less, {self._first_s / p50_s:,.0f} times less than the first; {hits} hits; "
            f"the site made it {_times(asked)} in all", held,
            {"p50_s": p50_s, "hits": hits, "site_asked": asked, "times_faster": self._first_s / p50_s})

    async def cold_crowd(self) -> Step:
        world = self._world
        answers = await self._read(world.london.port, ["samovars"] * CROWD, CROWD)
        asked, good = await world.asked("samovars"), sum(answer.status == 200 for answer in answers)
        return Step(
            "crowd", f"{CROWD} readers want a page that nobody has, at the same moment",
            "They become one request; the others wait for its answer.",
            f"{good} good answers, the last after {_ms(max(answer.took_s for answer in answers))}; the site made the page "
            f"{_times(asked)}", good == CROWD and asked == 1, {"good": good, "site_asked": asked})

    async def another_city(self) -> Step:
        world = self._world
        answer, asked = await ask(world.tula.port, "/page/tea"), await world.asked("tea")
        held = answer.status == 200 and asked == 1 and "virginia;hit" in answer.told
        return Step(
            "shield", "The first reader in Tula, whose edge has nothing, wants London's page",
            "It crosses the ocean, but the shield in Virginia has the page: the site is not asked.",
            f"{_ms(answer.took_s)}; the site made it {_times(asked)} in all; {answer.told}", held,
            {"took_s": answer.took_s, "site_asked": asked})

    async def purge(self) -> Step:
        world = self._world
        await world.publish(2)
        before = await ask(world.london.port, "/page/tea")
        purged = await world.purge(tags=["page:tea"])
        london, tula = [await ask(port, "/page/tea") for port in (world.london.port, world.tula.port)]
        other, asked = await ask(world.london.port, "/page/samovars"), await world.asked("tea")
        held = (purged.status == 200 and len(purged.json()["passed_on"]) == 2 and asked == 2
                and (before.edition, london.edition, tula.edition, other.edition) == (1, 2, 2, 1))
        return Step(
            "purge", "The page is changed, and purged by its tag, in London",
            "It reaches the shield, Tula and London before it returns; other pages stay.",
            f"{_ms(purged.took_s)}; before: edition {before.edition}; after: edition {london.edition} in London, "
            f"{tula.edition} in Tula; the other page is still edition {other.edition}; the site made it {_times(asked)} in "
            "all", held, {"took_s": purged.took_s, "london": london.edition, "tula": tula.edition, "site_asked": asked})

    async def site_dies(self) -> Step:
        world = self._world
        purged = await world.purge(all=True, soft=True)
        world.site.kill()
        answers = [*await self._read(world.london.port, ["tea"] * CROWD, 10),
                   *await self._read(world.tula.port, ["tea"] * CROWD, 10)]
        good = sum(answer.status == 200 and answer.edition == 2 for answer in answers)
        return Step(
            "site dies", "Everything is made stale by a soft purge, and the site's server dies",
            "Nobody notices: the stale page is served, because the site allows it.",
            f"{good} of {len(answers)} readers got edition 2; {answers[-1].told}",
            purged.status == 200 and good == len(answers), {"good": good, "readers": len(answers)})

    async def shield_dies(self) -> Step:
        world = self._world
        world.virginia.kill()
        answers = await self._read(world.london.port, ["tea"] * CROWD, 10)
        good = sum(answer.status == 200 and answer.edition == 2 for answer in answers)
        return Step(
            "shield dies", "The shield in Virginia dies too",
            "London serves what it has.",
            f"{good} of {CROWD} readers got edition 2; {answers[-1].told}", good == CROWD, {"good": good, "readers": CROWD})

    async def never_seen(self) -> Step:
        answer = await ask(self._world.london.port, "/page/never-seen")
        return Step(
            "never seen", "Somebody wants a page that nobody ever asked for",
            "It is an honest error: there is nothing to serve.",
            f"{answer.status}; {answer.told}", answer.status in (502, 503, 504), {"status": answer.status})

    async def all_return(self) -> Step:
        world = self._world
        world.restart_site(3)
        world.restart_virginia()
        began_s, editions = stopwatch(), list[int]()
        while not editions or editions[-1] != 3 and stopwatch() - began_s < LIMIT_S:
            answer = await ask(world.london.port, "/page/tea")
            editions.append(answer.edition)
            await asyncio.sleep(0.05)  # it is renewed in the background
        took_s = stopwatch() - began_s
        held = editions[-1] == 3 and not set(editions) - {2, 3}
        return Step(
            "return", "The site comes back with edition 3, and so does the shield, with nothing stored",
            "London renews its page by itself; until then it serves edition 2, and nobody gets an error.",
            f"edition {editions[-1]} after {_ms(took_s)}; {editions.count(2)} readers still got edition 2", held,
            {"took_s": took_s, "edition": editions[-1]})


def _ms(number_s: float) -> str:
    return f"{number_s * 1e3:,.1f} ms" if number_s < 0.1 else f"{number_s * 1e3:,.0f} ms"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
