"""Questions to the origin that are under way, and who may wait for their answers (request collapsing).

A flight is for one key and, as far as is known, one variant: two requests fly together when they agree in every request
field that an answer under this key is known to vary by. Nothing is known of a key that was never asked; then all fly
together, and those whom the answer turns out not to be for fly anew.

    pending --(fields of the answer)--> filling --(whole body)--> over        an answer that may be stored
       |                                  who joins reads it while it comes
       +--(anything else)------------------------------------> over          who waited asks the rules anew

In front of a store that other processes purge nobody reads it while it comes: whether it was purged is known when it is
stored, or is not. Then who joins waits until it is over.

The one rule: a flight that is over is in no room, and has woken everybody. Whoever wakes asks the rules anew; the first
to find no flight leads the next one, so that a failure lets exactly one try. Who has waited for several that brought
nothing waits no more (exchange.py), or a crowd in front of what fails would be woken once for each of it.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from ..contracts import Vault
from ..rules import Entry, Headers, Variants
from ..rules.selection import secondary
from ..wish import Wish
from .body import Filling


class Flight:
    """One question that others may wait for.

    key, headers: of who asked first. fence: from the vault, before the origin was asked.
    entry: of an answer that is being stored; `variants` are it alone, for the rules. filling: its body.
    alone: the answer is for its own request only, and others are not to wait for another like it.
    failed: the origin gave no answer, or an error that something stored stands in for: so it may for who waited.
    result: what the leader gets. ended: called once, when it is over.
    wish, wanted: whether it is still wanted, and by how many who are there, and who may be; see Crowd.joins.
    """

    __slots__ = ("alone", "ended", "entry", "failed", "fence", "filling", "headers", "is_over", "key", "result", "variants",
                 "waiters", "wanted", "wish")

    def __init__(self, key: bytes, headers: Headers, result: "asyncio.Future[Any]") -> None:
        self.key, self.headers, self.result = key, headers, result
        self.fence: Any = None
        self.entry: Entry | None = None
        self.variants: Variants | None = None
        self.filling: Filling | None = None
        self.alone = self.failed = self.is_over = False
        self.waiters: dict[asyncio.Future[None], None] = {}  # in the order they came
        self.ended: Callable[[], None] | None = None
        self.wish, self.wanted = Wish(), [0, 0]

    def lands(self, entry: Entry, filling: Filling) -> None:
        """Its answer may be stored, and is on its way."""
        self.entry, self.filling = entry, filling
        self.variants = Variants().stored(entry, 1)
        self.wake()

    def wake(self) -> None:
        """Let everybody look again."""
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def news(self, within_s: float) -> bool:
        """Wait until there is something new; False when that took too long."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiters[waiter] = None
        try:
            async with asyncio.timeout(within_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            self.waiters.pop(waiter, None)
        return True


class Crowd:
    """All flights of one event loop, by key."""

    __slots__ = ("_count", "_finds", "rooms")

    def __init__(self) -> None:
        self.rooms: dict[bytes, list[Flight]] = {}
        self._count = count()
        self._finds: dict[bytes, list[tuple[int, asyncio.Future[tuple[bool, Variants | None]]]]] = {}

    async def find(self, vault: Vault, key: bytes, *, anew: bool = False) -> Variants | None:
        """What is stored; of those who ask a store that waits at once, one does. anew: what is at hand is of no use.

        Who comes while one asks is not told what that one finds: it may be older than a purge elsewhere that had returned
        before he came. All who came meanwhile share the next question.
        """
        came = next(self._count)
        while True:
            stored = None if anew else vault.peek(key)
            if stored is not None or not vault.waits:
                return stored
            asking = self._finds.get(key)
            if asking is None:
                return await self._find(vault, key, anew)
            turn: asyncio.Future[tuple[bool, Variants | None]] = asyncio.get_running_loop().create_future()
            asking.append((came, turn))
            is_told, stored = await turn
            if is_told:
                return stored

    async def _find(self, vault: Vault, key: bytes, anew: bool) -> Variants | None:
        asking: list[tuple[int, asyncio.Future[tuple[bool, Variants | None]]]] = []
        self._finds[key] = asking
        began, is_found, stored = next(self._count), False, None
        try:
            stored = await vault.find(key, anew=anew)
            is_found = True
        finally:
            del self._finds[key]
            for came, turn in asking:
                if not turn.done():
                    turn.set_result((True, stored) if is_found and came < began else (False, None))
        return stored

    def enter(self, flight: Flight) -> None:
        """Others may join this."""
        self.rooms.setdefault(flight.key, []).append(flight)

    def leave(self, flight: Flight) -> None:
        """Nobody may join it any more, and who waits looks again."""
        room = self.rooms.get(flight.key)
        if room is not None and flight in room:
            room.remove(flight)
            if not room:
                del self.rooms[flight.key]
        flight.is_over = True
        flight.wake()
        ended, flight.ended = flight.ended, None
        if ended is not None:
            ended()

    def joins(self, flight: Flight, wish: Wish) -> Callable[[], None]:
        """One more wants its answer; what is returned is called when he wants it no more. Where nobody is left of whom it is
        known that he is there, it steps behind others (wish.py); when all have left, and it still waits for a place at the
        origin, it is over."""
        at: int | None = None  # where he is counted

        def counts(now: int | None) -> None:
            nonlocal at
            if at is not None:
                flight.wanted[at] -= 1
            if now is not None:
                flight.wanted[now] += 1
            at, (sure, unsure) = now, flight.wanted
            if sure:
                flight.wish.renew()
            elif flight.wish.withdraw(sure=not unsure):
                self.leave(flight)

        def parts() -> None:
            wish.then = None
            counts(None)

        wish.then = lambda: counts(None if wish.gone else 1)
        counts(None if wish.gone else int(wish.lost))
        return parts

    def is_alone(self, key: bytes) -> bool:
        """Whether what is on its way for this key is for its own request only."""
        return any(flight.alone for flight in self.rooms.get(key, ()))

    def names(self, key: bytes, stored: Variants | None) -> frozenset[bytes]:
        """The request fields that answers under a key are known to vary by."""
        axes = {name for names, _ in stored.axes for name in names} if stored is not None else set()
        for flight in self.rooms.get(key, ()):
            if flight.entry is not None:
                axes.update(flight.entry.vary)
        return frozenset(axes)

    def pending(self, key: bytes, headers: Headers, stored: Variants | None, *, filling: bool = False) -> Flight | None:
        """A flight that is worth waiting for: its answer is not there yet, and is likely to be for this request.

        filling: also one whose answer is, and is on its way into the store.
        """
        room = self.rooms.get(key)
        if room is None:
            return None
        names = tuple(sorted(self.names(key, stored)))
        mine = secondary(names, headers) if names else ()
        for flight in room:
            if flight.entry is None:
                if not names or secondary(names, flight.headers) == mine:
                    return flight
            elif filling and flight.variants is not None and flight.variants.select(headers) is not None:
                return flight
        return None
