"""What a room needs of a floor above it: written here as a contract, and handed in by the caller.

Lease: one load of a key at a time, over whatever the lease spans (the processes of a host). The caller takes the names of
what it is about to load, looks whether somebody else handed a result over, loads the rest, offers what came of it, and
ends its turn on every way out. The lease may fail in any way it likes: then a turn comes without, and the load runs. It
is for efficiency, never for correctness.

Gate: how many loads may run at once. The caller enters just before a load reaches its origin, and leaves on every way
out, once. The gate never lets more in than it promises; who finds no place, and may not or cannot wait, gets OriginBusy.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .freshness import Freshness


@dataclass(frozen=True, slots=True)
class Offer:
    """The result of a load, as it passes from one process to another.

    begun: when its load began, in seconds of the machine's stopwatch. cost_s: how long that took.
    fresh: how it is kept from now on; None: for ever. tags, weight: what it carries.
    """

    value: Any
    begun: float
    cost_s: float
    fresh: Freshness | None = None
    tags: tuple[str, ...] | None = None
    weight: int | None = None


class Turn(Protocol):
    """What a load holds while it runs; all of it works whether the lease was had or not, and never raises OSError.

    is_elsewhere: whether somebody else holds one of the names.
    """

    is_elsewhere: bool

    def look(self, name: bytes, *, since: float = -math.inf, once: bool = False) -> Offer | None:
        """What somebody handed over under this name, from a load that began after `since`. once: nothing that this
        process was given, or offered itself, before."""

    def offer(self, name: bytes, offer: Offer) -> None:
        """Hand a result over to those who wait for this name."""

    def end(self) -> None:
        """Let go. A second time it does nothing."""


class Lease(Protocol):
    """One turn at a time for each name."""

    def name_of(self, namespace: str, key: Hashable) -> bytes:
        """The name of a key, the same in every process; TypeError for a key that has none."""

    def take(self, names: Sequence[bytes], *, waits: bool = True) -> Turn:
        """A turn for all these names; it waits for others, but not for ever. waits: False to take what is free."""

    async def atake(self, names: Sequence[bytes]) -> Turn:
        """The same for a task of an asyncio loop, which goes on meanwhile."""


class Permit(Protocol):
    """A place at the origin, held while a load runs. `waited`: whether it was waited for."""

    waited: bool

    def leave(self, error: BaseException | None = None) -> None:
        """Give the place back, once. error: what the load raised, None for nothing."""


class Gate(Protocol):
    """A bound on what runs at once, shared by any number of caches, threads and event loops."""

    def enter(self, *, waits: bool = True) -> Permit:
        """A place, in the order of asking. waits: False to be turned away instead of waiting. Raises OriginBusy."""

    async def aenter(self, *, waits: bool = True) -> Permit:
        """The same for a task, whose loop goes on meanwhile."""


def check_gate(who: str, gate: object) -> Gate | None:
    """The budget of a store, None without one. TypeError for what is none."""
    if gate is not None and (isinstance(gate, type) or not all(callable(getattr(gate, verb, None))
                                                               for verb in ("enter", "aenter"))):
        raise TypeError(f"{who}: budget must be an OriginBudget, or what has its verbs, not {gate!r}")
    return gate  # type: ignore[return-value]  # it has the verbs
