"""A load's turn at a lease, as the load protocol sees it: keys named, results taken over and handed over.

A lease (_base/contracts.py) is the caller's: `Cache(lease=...)`, `memoize(lease=...)`. It knows names and offers, and
nothing of stores; here the two meet. What another process handed over is taken only when its load began after the
store's last invalidation, after what this process had of it before, and, for a refresh, after the refresh was asked for.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from . import contracts
from .contracts import Lease, Offer
from .freshness import Freshness
from .missing import MISSING

Kept = tuple[bool, Freshness | None, tuple[str, ...] | None, int | None]  # whether, and how, a result is stored


class Lessee(Protocol):
    """What a maker of values (app/factory.py) says where there is a lease."""

    def named(self, key: Hashable, /) -> Hashable:
        """What stands for a key in the name of its lease."""

    def plain(self, value: Any, /) -> Any:
        """The value to hand over for what is stored; MISSING for what is of no use elsewhere."""

    def adopted(self, value: Any, /) -> Any:
        """What is stored for a value that was handed over."""


class Leased(Protocol):
    """A load, as far as it matters here."""

    @property
    def key(self) -> Hashable: ...


class Leasing:
    """The lease of one store, and the namespace of its keys: stores of the same namespace share their loads."""

    __slots__ = ("lease", "namespace")

    def __init__(self, lease: Lease, namespace: str) -> None:
        self.lease, self.namespace = lease, namespace

    def _names(self, maker: Lessee, loads: Sequence[Leased]) -> dict[Leased, bytes]:
        """TypeError for a key that has no name in other processes."""
        return {load: self.lease.name_of(self.namespace, maker.named(load.key)) for load in loads}

    def take(self, maker: Lessee, loads: Sequence[Leased], *, waits: bool = True) -> "Turn":
        """A turn for these loads. waits: False to take what is free."""
        names = self._names(maker, loads)
        return Turn(self.lease.take(list(names.values()), waits=waits), maker, names)

    async def atake(self, maker: Lessee, loads: Sequence[Leased]) -> "Turn":
        """The same for a task."""
        names = self._names(maker, loads)
        return Turn(await self.lease.atake(list(names.values())), maker, names)


class Turn:
    """What a load, or a batch of loads, holds while it runs."""

    __slots__ = ("_held", "_maker", "_names")

    def __init__(self, held: contracts.Turn, maker: Lessee, names: dict[Leased, bytes]) -> None:
        self._held, self._maker, self._names = held, maker, names

    def look(self, load: Leased, since: float) -> Offer | None:
        """What another process handed over for it, as it is to be stored, if its load began after `since`."""
        offer = self._held.look(self._names[load], since=since, once=True)
        return None if offer is None else replace(offer, value=self._maker.adopted(offer.value))

    def offer(self, load: Leased, value: Any, kept: Kept, begun: float, cost_s: float) -> None:
        """Hand over what was stored for it."""
        value = self._maker.plain(value)
        if value is not MISSING:
            self._held.offer(self._names[load], Offer(value, begun, cost_s, *kept[1:]))

    def end(self) -> None:
        """Let go."""
        self._held.end()


def check_lease(who: str, lease: object, name: str | None, remedy: str) -> Leasing | None:
    """The lease of a store that is called so, None without one. TypeError or ValueError when it cannot be used.

    remedy: how it gets a name.
    """
    if lease is None:
        return None
    if isinstance(lease, type) or not all(callable(getattr(lease, verb, None)) for verb in ("name_of", "take", "atake")):
        raise TypeError(f"{who}: lease must be a FileLease, or what has its verbs, not {lease!r}")
    if not name:
        raise ValueError(
            f"{who}: lease needs a name, the same in every process, by which they know that they load the same; {remedy}"
        )
    return Leasing(lease, f"{who} {name}")  # type: ignore[arg-type]  # it has the verbs
