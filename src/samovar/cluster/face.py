"""What `Cluster` and `AsyncCluster` have in common: everything but the waiting.

Reads arguments, places nodes on a ring, and holds the near cache: a `Cache` in front, whose own load protocol makes one
flight of a crowd in this process. Without a near cache the flights run over one that keeps nothing.
"""

import math
import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from .._base import early
from .._base.clock import stopwatch, wall
from .._base.contracts import Gate, check_gate
from .._base.freshness import Duration, Freshness, seconds
from .._base.missing import MISSING
from .._core import FrontCore, inside
from ..app import Cache, loading, options, warming
from ..app.factory import Batch, Kept, Single, check_factory
from . import changes
from .asked import Asked, Got
from .bus import wired
from .codec import Codec, KeyMaker, Msgpack
from .envelope import MOST_TAGS, Sealer
from .hot import HotKeys, Spread
from .loads import Loading
from .node import Node, new_owner
from .patience import Patience
from .report import ClusterStats, report
from .requests import Steps
from .ring import HashRing
from .store import Store
from .tags import LONGEST_TAG, PLACES
from .tier import Tier

Tags = str | Iterable[str] | None
NONE = object()  # what a near cache's flight brings that found nothing: nobody keeps it
LEFT_OUT = object()  # what stands for a key that a factory of many left out


class Maker(Single):
    """A factory for one key, and whether it is `async def`."""

    def __init__(self, who: str, factory: Callable[..., Any], *, awaits: bool) -> None:
        self.awaits = check_factory(who, factory, awaits=awaits)
        super().__init__(who, factory)


class Crowd(Kept):
    """What the shared tier says of many keys, in the words of app/factory.py: each is kept near for as long as it may be.
    read: called with keys; {key: Got}. keep: tells a load's context how long, and returns the value."""

    def __init__(self, who: str, read: Callable[[list[Any]], Any], keep: Callable[[Any, Got], Any]) -> None:
        self.who, self.factory, self._keep = who, read, keep

    def begin(self, loads: Sequence[Any]) -> Any:
        return self.factory([load.key for load in loads])

    def values(self, loads: Sequence[Any], result: Any) -> list[Any]:
        return [self._keep(load.context, result[load.key]) if load.key in result else MISSING for load in loads]


class Makers(Batch):
    """The same for many keys."""

    wants_context = False

    def __init__(self, who: str, factory: Callable[..., Any], *, awaits: bool) -> None:
        self.awaits = check_factory(who, factory, awaits=awaits)
        super().__init__(who, factory)


class Face(FrontCore):
    """nodes: `Node`s, or {name: node} where the ring shall know them by other names. The rest as `Cluster` says."""

    _who = "Cluster"
    _is_async = False

    def __init__(
        self,
        nodes: Iterable[Node] | Mapping[str, Node],
        *,
        near: "Cache[Any, Any] | None" = None,
        bus: Any = None,
        hot: "HotKeys | bool | None" = None,
        ttl: Duration | None = None,
        fresh: Freshness | None = None,
        loader: Callable[..., Any] | None = None,
        namespace: str = "samovar",
        schema: int | str = 1,
        codec: Codec | None = None,
        vnodes: int = 160,
        weights: Mapping[str, float] | None = None,
        hash: Any = "xxh3",
        lease: Duration = 10.0,
        budget: Gate | None = None,
        name: str | None = None,
        seed: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        who = self._who
        named = _named(who, nodes)
        self._fresh = _without_idle(who, Freshness.of(ttl, fresh, who=who))
        options.function(who, "clock", clock, "it is called for the time in seconds")
        options.function(who, "loader", loader, "it is called with a key and returns its value")
        self._loader = loader
        self._name = options.name(who, name)
        if near is not None and not isinstance(near, Cache):
            raise TypeError(f"{who}: near must be a Cache or None, not {near!r}")
        lease_s = seconds(lease, f"{who}: lease", positive=True)
        if lease_s > 3600:
            raise ValueError(f"{who}: lease must be at most an hour, not {lease!r}")
        keys = KeyMaker(namespace, schema)
        chance = random.Random(seed).random
        ring = HashRing(tuple(named), vnodes=vnodes, weights=weights, hash=hash)
        spread = _spread(who, hot)
        tier = Tier(named, ring, namespace=keys.prefix.rstrip(":"), keys=keys, lease_s=lease_s,
                    now=clock or stopwatch, wall=clock or wall, chance=chance,
                    replicas=1 if spread is None else spread.replicas)
        self._store = Store(tier, Sealer(Msgpack() if codec is None else codec), check_gate(who, budget), stopwatch)
        self._spread = spread
        if spread is not None:
            self._store.look, self._store.look_many = spread.look, spread.look_many
        self._tier, self._ring, self._chance = tier, ring, chance
        self._near = near
        self._bus, self._keeper = wired(who, named, bus, near, f"{keys.prefix}bus")
        if self._keeper is not None:
            self._place_near(self._keeper.cache, self._is_async)
            self._keeper.hear, tier.moved = tier.hear, self._keeper.flush
        self._nodes = named if self._bus is None else {**named, **self._bus.nodes}
        self._flights: Cache[Any, Any] = Cache(1) if near is None else near
        self._loading = Loading()
        self._near_s = math.inf if near is None or near.fresh is None or near.fresh.ttl is None else near.fresh.ttl
        self._begin()

    def _begin(self) -> None:
        """What a face needs besides: its driver, and who looks after the nodes."""

    # ---------------------------------------------------------------- what it is

    @property
    def name(self) -> str | None:
        """What it is called in reports."""
        return self._name

    @property
    def ring(self) -> HashRing:
        """A copy of the ring that places keys, by the nodes' names."""
        return self._ring.copy()

    @property
    def near(self) -> "Cache[Any, Any] | None":
        """The near cache."""
        return self._near

    @property
    def fresh(self) -> Freshness | None:
        """How long entries are good that nothing else is said about; None: for ever."""
        return self._fresh

    def stats(self) -> ClusterStats:
        """What this process counted, and which nodes are up. Cheap, and asks no node."""
        return ClusterStats(
            **self._store.counts.read(), nodes=self._tier.states(),
            near=None if self._near is None else self._near.stats(),
            hot=0 if self._spread is None else len(self._spread.heat.keys),
            spread=0 if self._spread is None else self._spread.spread,
            hears=self._keeper is not None and self._keeper.stands,
        )

    def report(self) -> str:
        """The answers to its owner's questions, in sentences: which nodes are up, the hit ratio and what it saves, how stale
        a value can be, what a lost node would send to the origin. It asks no node."""
        return report(self._name, self._fresh, self.stats(), self._ring)

    def node_of(self, key: Hashable) -> str:
        """The name of the node that owns a key."""
        return self._tier.owners(self._tier.wire(key))[0]

    def __repr__(self) -> str:
        states = [state for state, _, _ in self._tier.states().values()]
        called = "" if self._name is None else f" {self._name!r}"
        return f"<samovar.{type(self).__name__}{called}: {states.count('up')} of {len(states)} nodes up>"

    # ---------------------------------------------------------------- arguments

    def _asked(self, who: str, key: Hashable, ttl: Duration | None = None, fresh: Freshness | None = None,
               tags: Tags = None, factory: Callable[..., Any] | None = None, *, anew: bool = False) -> Asked:
        asked = self._question(key, *self._words(who, ttl, fresh, tags))
        asked.anew = anew
        asked.with_stale = not anew
        if factory is not None:
            asked.maker = Maker(who, factory, awaits=self._is_async)
        return asked

    def _words(self, who: str, ttl: Duration | None, fresh: Freshness | None,
               tags: Tags) -> tuple[Freshness | None, tuple[str, ...]]:
        """The freshness and the tags in force, where a call says this. Raises what is said of them in words."""
        said = options.freshness(who, ttl, fresh, self._fresh)
        return self._fresh if said is None else _without_idle(who, said), () if tags is None else _carried(who, tags)

    def _question(self, key: Hashable, fresh: Freshness | None, tags: tuple[str, ...]) -> Asked:
        asked = self._plain(key)
        asked.fresh, asked.tags = fresh, tags
        if fresh is not None and fresh.early:
            asked.gap = early.gap(fresh.early, 1.0 - self._chance())
        return asked

    def _patience(self, asked: Asked, soft: Duration | None, hard: Duration | None) -> Patience | None:
        """How long the caller waits; None: for as long as it takes."""
        return None if soft is None and hard is None else Patience(self._store, asked, soft, hard)

    def _plain(self, key: Hashable) -> Asked:
        wire = self._tier.wire(key)
        return Asked(key, wire, self._tier.owners(wire), self._fresh)

    def _load_of(self, who: str, key: Hashable, factory: Callable[..., Any] | None) -> Callable[..., Any]:
        if factory is not None:
            return factory
        if self._loader is None:
            raise TypeError(f"{who}: this cluster has no loader; give a factory, or {self._who}(loader=...)")
        return partial(self._loader, key)

    def _asks(self, who: str, keys: Iterable[Hashable], factory: Callable[..., Any], ttl: Duration | None,
              fresh: Freshness | None, tags: Tags) -> list[Asked]:
        """One question for each key, with a factory for all."""
        maker = Makers(who, factory, awaits=self._is_async)
        asks = [self._asked(who, key, ttl, fresh, tags) for key in dict.fromkeys(keys)]
        for asked in asks:
            asked.maker = maker
        return asks

    def _near_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """What the near cache has of these keys, MISSING for the others."""
        if self._near is None:
            return dict.fromkeys(keys, MISSING)
        return {key: self._near.get(key, MISSING) for key in dict.fromkeys(keys)}

    def _crowd(self, who: str, read: Callable[[list[Any]], Any]) -> tuple[Any, Crowd]:
        """For a flight of many keys through the near cache: what the flights are asked, and who makes what is missing.
        read: called with keys; {key: Got}."""
        fresh = self._flights.fresh
        ask = loading.ask_async(self._flights, True, fresh=fresh, gap=loading.gap_of(fresh)) if self._is_async else (
            loading.ask_blocking(self._flights, fresh=fresh, gap=loading.gap_of(fresh)))
        return ask, Crowd(who, read, self._keep)

    def _name_of(self, asked: Asked) -> Any:
        """What a key is called by the flights of this process. The tier knows 1, 1.0 and True apart, a dict does not."""
        return asked.wire if self._near is None else asked.key

    def _filler(self, who: str, loader: Callable[..., Any] | None, how: dict[str, Any]) -> Callable[[Hashable], Any]:
        """What loads a key that is to be warm."""
        given = self._loader if loader is None else loader
        if given is None:
            raise TypeError(f"{who}: this cluster has no loader; give one to the call, or to {self._who}(loader=...)")
        warming.check_loader(who, given)
        get_or_set: Callable[..., Any] = self.get_or_set  # the face's
        return lambda key: get_or_set(key, partial(given, key), **how)

    def _fence(self, keys: Iterable[Hashable], hold: Duration) -> tuple[list[Asked], Callable[..., Any]]:
        """Questions for these keys, and what makes the steps that begin, or end, one writer's fence."""
        asks, owner = [self._plain(key) for key in dict.fromkeys(keys)], new_owner()
        hold_ms = max(1, int(seconds(hold, "writing: hold", positive=True) * 1000))
        return asks, partial(changes.fence, self._store, asks, owner, hold_ms)

    def _depth(self) -> int:
        """How many loads this code runs in."""
        return len(inside.get())

    def _landed(self, context: Any, got: Got) -> Any:
        """What a flight hands to the crowd: without a near cache the whole answer, which says how old it may be."""
        if self._near is not None:
            return self._keep(context, got)
        context.do_not_store()
        if got.tags:
            context.tags = got.tags
        return got

    def _keep(self, context: Any, got: Got) -> Any:
        """Tell the near cache for how long an answer may be kept there."""
        left_s = min(got.left_s, self._near_s)
        if self._keeper is None or not got.may_keep or not left_s > 0 or got.value is MISSING or not self._hears():
            context.do_not_store()
        else:
            context.ttl = left_s
            context.tags = got.tags
        if got.tags:
            context.tags = got.tags
        return got.value

    # ---------------------------------------------------------------- the bus

    def _hears(self) -> bool:
        """Whether the near cache may keep something."""
        assert self._keeper is not None
        if not self._keeper.stands and self._bus is not None:
            self._bus.wake()
        return self._keeper.stands

    def _telling(self, **what: Any) -> Steps:
        """The steps that tell other processes what was changed: `keys`, `tags`, or `epochs`."""
        if self._bus is not None:
            tier = self._tier
            yield from self._bus.tell(lambda name: name not in tier.nodes or tier.is_up(name), **what)


def completed(found: dict[Any, Any], default: Any) -> dict[Any, Any]:
    """The values of many keys, in their order. KeyError for one that has none, without a default."""
    for key, value in found.items():
        if value is MISSING:
            if default is MISSING:
                raise KeyError(key)
            found[key] = default
    return found


def _carried(who: str, tags: Tags) -> tuple[str, ...]:
    """Tags that an envelope can carry: said before anything is loaded for them."""
    given = options.tags(who, tags) or ()
    if len(given) > MOST_TAGS // (2 * PLACES):
        raise ValueError(f"{who}: tags must be at most {MOST_TAGS // (2 * PLACES)}, not {len(given)}")
    for tag in given:
        if len(tag.encode()) > LONGEST_TAG:
            raise ValueError(f"{who}: a tag must be at most {LONGEST_TAG} bytes, not {len(tag.encode())}")
    return given


def _named(who: str, nodes: Iterable[Node] | Mapping[str, Node]) -> dict[str, Node]:
    if isinstance(nodes, Node):
        raise TypeError(f"{who}: nodes must be several, as in [{nodes!r}], not one")
    given: list[tuple[Any, Any]]
    if isinstance(nodes, Mapping):
        given = list(nodes.items())
    else:
        given = [(getattr(node, "name", ""), node) for node in nodes]
    for name, node in given:
        if not isinstance(node, Node):
            raise TypeError(f"{who}: nodes must be RedisNode, MemcachedNode or LocalNode objects, not {node!r}")
        if not isinstance(name, str) or not name:
            raise TypeError(f"{who}: the name of a node must be a text that is not empty, not {name!r}")
    named = dict(given)
    if not named:
        raise ValueError(f"{who}: nodes must be one or more")
    if len(named) != len(given):
        raise ValueError(f"{who}: nodes must have different names, not {[name for name, _ in given]!r}")
    return named


def _spread(who: str, hot: Any) -> Spread | None:
    if hot is None or hot is False:
        return None
    if hot is not True and not isinstance(hot, HotKeys):
        raise TypeError(f"{who}: hot must be a HotKeys, True or None, not {hot!r}")
    return Spread(HotKeys() if hot is True else hot)


def _without_idle(who: str, fresh: Freshness | None) -> Freshness | None:
    if fresh is not None and fresh.tti is not None:
        raise ValueError(f"{who}: fresh must be without tti, not {fresh!r}: nodes do not note who reads")
    return fresh
