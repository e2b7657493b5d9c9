"""`Cluster`: a cache over many machines, with the verbs of `Cache`.

Thin: each verb reads its arguments (cluster/face.py), drives the steps that decide (cluster/cell.py, batch.py,
changes.py), and keeps the near cache honest. `AsyncCluster` is the same, awaited.
"""

import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .._base.errors import LoadTimeout
from .._base.freshness import Duration, Freshness
from .._base.missing import MISSING
from .._core import adopted
from ..app import loading, options, warming
from ..app.loads import Progress
from . import batch, cell, changes
from .asked import Asked
from .driving import Blocking
from .face import LEFT_OUT, NONE, Face, Maker, Tags, completed
from .patience import Patience
from .prober import Prober
from .quick import NOT_ASKED, Quick, Told


@adopted
class Cluster(Face):
    """A cache over nodes on a consistent-hash ring: Redis, Memcached, or in process; move from `Cache` by changing the
    constructor.

    One load for a crowd: threads of this process share a flight, and processes a lease in the cell of the key. Nobody who
    asks after `delete`, `set` or `invalidate_tags` returned gets a value that was read before, as long as no fault is in
    the way (docs/cluster.md says what holds with faults). A node that is dead, slow or full never raises into a caller:
    the next one of the ring is asked, and what it missed it is told before it is asked again.

    nodes: `RedisNode`, `MemcachedNode`, `LocalNode` objects; or {name: node}.
    near: a `Cache` in front, of this cluster's alone: kept honest by messages of a node that can push, or by its own ttl
        where none can. While the messages are not heard it is empty.
    bus: a `RedisNode` that carries the messages, or several, of which one that is heard is enough; None: the first two
        nodes, by name, that can; False: none does. They must be the same, in the same order, in all processes, those
        without a near cache too.
    hot: `HotKeys`: read hot keys on several nodes, or True for its defaults. The same in all processes.
    ttl, fresh: how long entries are good, as for `Cache`; without `tti`.
    loader: called with a key, for `get_or_load`, `refresh` and `warm`.
    namespace, schema: whose keys these are, and in which form values are: others see none of each other's.
    codec: what carries values; left out, msgpack: plain data.
    vnodes, weights, hash: of the ring, see `HashRing`.
    lease: for how long the right to load is one process's alone; longer than a load takes.
    budget: an `OriginBudget`: how many loads may run at once in this process.
    name: what it is called in reports. seed: of its chance (jitter, early renewal); None: the system's.
    clock: called for the time in seconds, instead of the machine's clocks: for tests; `LocalNode` takes one too.

    Raises TypeError or ValueError that names the argument when one of these is not what it must be. No node is asked
    before the first verb is.

    >>> from samovar.cluster import Cluster, LocalNode
    >>> shop = Cluster([LocalNode("one"), LocalNode("two")], ttl="5m")
    >>> shop.get_or_set("tea", lambda: "steeped")
    'steeped'
    >>> shop["tea"], shop.get("coffee", "none")
    ('steeped', 'none')
    """

    def _begin(self) -> None:
        self._driver = Blocking(self._nodes, self._store.gate)
        self._prober = Prober(self._tier)
        self._quick = Quick(self._store, self._prober)
        self._end = weakref.finalize(self, self._prober.stop)
        self._silence = weakref.finalize(self, (lambda: None) if self._bus is None else self._bus.stop)

    def _run(self, steps: Any) -> Any:
        if self._prober.is_cold:
            self._prober.start(self._driver)
            if self._bus is not None:
                self._bus.wake()
        return self._driver.run(steps)

    def close(self) -> None:
        """Stop looking after the nodes, and give up their connections. The cluster must not be used again."""
        self._end()
        self._silence()
        if self._bus is not None:
            self._bus.close()
        for node in self._nodes.values():
            node.close()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---------------------------------------------------------------- reading

    def _get(self, key: Hashable, default: Any = None) -> Any:
        """`get`, where the near cache has nothing (csrc/object/front.h)."""
        if self._near is None:
            value, told = self._look(key)
            if value is MISSING:
                value = self._run(cell.get(self._store, self._plain(key), told)).value
        else:
            value = self._read(key)
        return default if value is MISSING else value

    def _look(self, key: Hashable) -> tuple[Any, Told | None]:
        """The value where nothing is to be decided; else MISSING, and what its node said if it was asked."""
        asking = self._quick.asks(key)
        if asking is None:
            return NOT_ASKED
        _, _, node, request = asking
        return self._quick.told(asking, node.perform(request))

    def _read(self, key: Hashable) -> Any:
        """Through the near cache, whose flight keeps out what is invalidated meanwhile."""
        asked = self._plain(key)

        def read(context: Any) -> Any:
            value = self._keep(context, self._run(cell.get(self._store, asked)))
            return NONE if value is MISSING else value

        if key in self._loading:
            return (self._run(cell.get(self._store, asked))).value
        try:
            value = self._flights.get_or_set(self._name_of(asked), read)
        except Exception:  # a load that this joined failed: that is the affair of those who load
            return (self._run(cell.get(self._store, asked))).value
        return MISSING if value is NONE else value

    def _item(self, key: Hashable) -> Any:
        value = self.get(key, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __contains__(self, key: Hashable) -> bool:
        return self.get(key, MISSING) is not MISSING

    def peek(self, key: Hashable, default: Any = None) -> Any:
        """The value of a key if it is fresh; it is not counted, and the near cache is not asked."""
        seen = self._run(cell.look(self._store, self._plain(key)))
        return seen.entry.value if seen.kind == cell.FRESH else default

    def get_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """The values of those keys that have one, as a dict in their order: one round trip for each node."""
        found = self._near_many(keys)
        left = [key for key, value in found.items() if value is MISSING]
        if left:
            found.update(self._read_many(left))
        return {key: value for key, value in found.items() if value is not MISSING}

    def _read_many(self, keys: list[Any]) -> dict[Any, Any]:
        """What the shared tier has of these keys; the near cache's flights keep out what is invalidated meanwhile."""
        if self._near is None or any(key in self._loading for key in keys):
            return self._run(batch.get_many(self._store, keys, self._plain))  # type: ignore[no-any-return]
        asks = {key: self._plain(key) for key in keys}
        ask, crowd = self._crowd("get_many", lambda left: self._run(
            batch.read_many(self._store, [asks[key] for key in left])))
        try:
            got = loading.make_many(ask, keys, crowd, NONE)
        except Exception:  # a load that this joined failed: that is the affair of those who load
            return self._run(batch.get_many(self._store, keys, self._plain))  # type: ignore[no-any-return]
        return {key: MISSING if value is NONE else value for key, value in got.items()}

    # ---------------------------------------------------------------- loading

    def _get_or_set(self, key: Hashable, factory: Callable[..., Any], *, ttl: Duration | None = None,
                    fresh: Freshness | None = None, tags: Tags = None, soft_timeout: Duration | None = None,
                    hard_timeout: Duration | None = None) -> Any:
        """`get_or_set`, where the near cache has nothing. The factory is looked at when it is needed."""
        fresh, carried = self._words("get_or_set", ttl, fresh, tags)
        told = seen = None
        cold = self._loading.cold  # of a crowd that comes to a cold key, one reads
        looks = self._near is None and not (cold and self._loading.is_cold(self._tier.wire(key), self._store.stopwatch()))
        if looks and soft_timeout is hard_timeout is None and (fresh is None or not fresh.early):
            value, told = self._look(key)
            if value is not MISSING:
                return value
        asked = self._question(key, fresh, carried)
        patience = self._patience(asked, soft_timeout, hard_timeout)
        if looks:
            seen = self._run(cell.read(self._store, asked, told))
            if seen.kind == cell.FRESH and not cell.is_early(asked, seen):
                return self._store.take(seen.entry, seen.age_s).value
        asked.maker = Maker("get_or_set", factory, awaits=False)
        if seen is not None and seen.kind == cell.FRESH:
            self._run(cell.renew(self._store, asked, seen))
            return self._store.take(seen.entry, seen.age_s).value
        if patience is not None:
            if seen is not None:
                patience.saw(seen)
            elif patience.wants_old:
                patience.saw(self._run(cell.look(self._store, asked)))
        return self._fly(asked, seen if seen is not None and seen.entry is None else None, patience)

    def _fly(self, asked: Asked, seen: Any, patience: Patience | None = None) -> Any:
        """Load as one of this process's crowd. Who joined a flight takes what it brings only if that cannot be older than
        what another process invalidated before: otherwise it looks itself."""
        started, depth, mine = self._store.stopwatch(), self._depth(), False

        def load(context: Any) -> Any:
            nonlocal mine
            mine = True
            if self._depth() == depth:  # nobody leads: a factory asks for what it is making
                return self._landed(context, self._run(cell.compute(self._store, asked)))
            name = self._name_of(asked)
            with self._loading.of(name) if seen is None else self._loading.of_cold(name, started):
                return self._landed(context, self._run(cell.load(self._store, asked, seen)))

        while True:
            name = self._name_of(asked)
            try:
                got = (self._flights.refresh(name, load) if asked.anew else
                       self._flights.get_or_set(name, load) if patience is None else
                       self._flights.get_or_set(name, load, hard_timeout=patience.left_s()))
            except LoadTimeout as error:
                if patience is None:
                    raise
                late = patience.late(error)
                if late is None:
                    continue
                return late.value
            if got is NONE:  # it was a flight of `get`, which found nothing
                continue
            if self._near is not None:
                return got
            if mine or got.as_of >= started:
                return got.value
            seen = None

    def get_or_set_many(self, keys: Iterable[Hashable], factory: Callable[..., Any], *, ttl: Duration | None = None,
                        fresh: Freshness | None = None, tags: Tags = None, default: Any = MISSING) -> dict[Any, Any]:
        """The values of all keys, in their order. The factory is called once, with the list of those keys that this caller
        leads, and returns a mapping; those that others load are waited for.

        default: for keys that the mapping lacks; it is not stored. Without one, KeyError.
        """
        found = self._near_many(keys)
        asks = self._asks("get_or_set_many", [key for key, value in found.items() if value is MISSING], factory, ttl,
                          fresh, tags)
        if asks:
            found.update(self._load_many(asks))
        return completed(found, default)

    def _load_many(self, asks: list[Asked]) -> dict[Any, Any]:
        if self._near is None:
            got = self._run(batch.load_many(self._store, asks))
            return {key: one.value for key, one in got.items()}
        by_key, depth, found = {asked.key: asked for asked in asks}, self._depth(), {}

        def read(keys: list[Any]) -> Any:
            load = batch.compute_many if self._depth() == depth else batch.load_many  # as in `_fly`
            with self._loading.of(*keys):
                return self._run(load(self._store, [by_key[key] for key in keys]))

        left = list(by_key)
        while left:
            ask, crowd = self._crowd("get_or_set_many", read)
            found.update(loading.make_many(ask, left, crowd, LEFT_OUT))
            left = [key for key in left if found[key] is NONE]  # it was a flight of `get`, which found nothing
        return {key: MISSING if value is LEFT_OUT else value for key, value in found.items()}

    def get_or_load(self, key: Hashable, **how: Any) -> Any:
        """`get_or_set` with the cluster's own loader."""
        return self.get_or_set(key, self._load_of("get_or_load", key, None), **how)

    def refresh(self, key: Hashable, factory: Callable[..., Any] | None = None, *, ttl: Duration | None = None,
                fresh: Freshness | None = None, tags: Tags = None) -> Any:
        """Load a key anew, whatever is stored, and return the new value; others are served the old one meanwhile."""
        loader = self._load_of("refresh", key, factory)
        value = self._fly(self._asked("refresh", key, ttl, fresh, tags, loader, anew=True), None)
        self._told(keys=[key])
        return value

    def warm(self, keys: Iterable[Hashable], loader: Callable[..., Any] | None = None, *, concurrency: int = 8,
             progress: Progress | None = None, rate: float | None = None, **how: Any) -> warming.Warmed:
        """Load what is missing of these keys before anybody asks, `concurrency` at once, at most `rate` in a second; see
        `samovar.warm`. how: ttl, fresh and tags of what is loaded."""
        fill = self._filler("warm", loader, how)
        return warming.drive(self, keys, fill, concurrency=concurrency, progress=progress, rate=rate)

    # ---------------------------------------------------------------- changing

    def set(self, key: Hashable, value: Any, *, ttl: Duration | None = None, fresh: Freshness | None = None,
            tags: Tags = None) -> bool:
        """Store a value; whether a node took it. False: it is too large, good for no time, a writer is at work
        (`writing`), or no node takes it; then nothing is stored under the key. Raises TypeError for a value that the codec
        cannot carry, and changes nothing."""
        return self._put_many([(self._asked("set", key, ttl, fresh, tags), value)]) == 1

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self.set(key, value)

    def set_many(self, entries: Any, /, *, ttl: Duration | None = None, fresh: Freshness | None = None,
                 tags: Tags = None) -> int:
        """Store many values, given as a mapping or as pairs, of which the last one for a key counts; how many were
        taken."""
        pairs = dict(options.pairs("set_many", entries))
        return self._put_many([(self._asked("set_many", key, ttl, fresh, tags), value) for key, value in pairs.items()])

    def update(self, entries: Any = (), /, **named: Any) -> None:
        """Store the values of a mapping, or of pairs, and those that are named, as dict does."""
        self.set_many([*options.pairs("update", entries), *named.items()])

    def setdefault(self, key: Hashable, default: Any = None) -> Any:
        """The value of a key; when there is none, `default` is stored, unless somebody else is quicker, and returned."""
        while True:
            value = self.get(key, MISSING)
            if value is not MISSING:
                return value
            if self.add(key, default) or self.peek(key, MISSING) is MISSING:
                return default  # stored, or no node takes it

    def _put_many(self, items: list[tuple[Asked, Any]]) -> int:
        taken: list[bool] = self._changed([asked for asked, _ in items], changes.put_many(self._store, items))
        return taken.count(True)

    def add(self, key: Hashable, value: Any, *, ttl: Duration | None = None, fresh: Freshness | None = None,
            tags: Tags = None) -> bool:
        """Store a value unless a fresh one is there; whether it was stored."""
        asked = self._asked("add", key, ttl, fresh, tags)
        return bool(self._changed([asked], changes.add(self._store, asked, value)))

    def touch(self, key: Hashable, *, ttl: Duration | None = None, fresh: Freshness | None = None) -> bool:
        """Let a fresh value's time begin anew; whether there was one."""
        asked = self._asked("touch", key, ttl, fresh)
        return bool(self._changed([asked], changes.touch(self._store, asked)))

    def expire(self, key: Hashable) -> bool:
        """Make a value stale: it is served under the rules of stale service; whether there was a fresh one."""
        asked = self._plain(key)
        return bool(self._changed([asked], changes.expire(self._store, asked)))

    def delete(self, key: Hashable) -> bool:
        """Forget a key, and fence off loads of it; whether there was something."""
        return self.delete_many([key]) > 0

    def __delitem__(self, key: Hashable) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def delete_many(self, keys: Iterable[Hashable]) -> int:
        """Forget many keys; how many there were."""
        asks = [self._plain(key) for key in dict.fromkeys(keys)]
        return int(self._changed(asks, changes.delete_many(self._store, asks)))

    def pop(self, key: Hashable, default: Any = MISSING) -> Any:
        """Take a value out; `default`, or KeyError, when there is none. Two who pop at once may both get it."""
        value = self.get(key, MISSING)
        self.delete(key)
        if value is MISSING and default is MISSING:
            raise KeyError(key)
        return default if value is MISSING else value

    def invalidate_tags(self, *tags: str) -> None:
        """Forget all entries that carry one of these tags, and fence off loads that will: one step for each tag."""
        given = options.tags("invalidate_tags", tags) or ()
        self._flights.invalidate_tags(*given)
        try:
            self._run(changes.invalidate_tags(self._store, given))
        finally:
            self._told(tags=given)
            self._flights.invalidate_tags(*given)

    def clear(self) -> None:
        """Forget everything in this namespace. Other processes hear of it within half a second."""
        self._flights.clear()
        try:
            self._run(changes.clear(self._store))
        finally:
            self._told(epochs=self._tier.epochs())
            self._flights.clear()

    def _changed(self, asks: Sequence[Asked], change: Any) -> Any:
        """Change keys in the shared tier, and let the near cache keep nothing of before, whoever fills it meanwhile."""
        names = [self._name_of(asked) for asked in asks]
        self._flights.delete_many(names)
        try:
            return self._run(change)
        finally:
            self._told(keys=[asked.key for asked in asks])
            self._flights.delete_many(names)

    def _told(self, **what: Any) -> None:
        """Tell the near caches of other processes."""
        if self._bus is not None:
            self._driver.run(self._telling(**what))

    @contextmanager
    def writing(self, *keys: Hashable, hold: Duration = 30.0) -> Iterator[None]:
        """Around a change of the original: until the block ends nothing is stored under these keys, even if this process
        dies between its commit and its delete, for at most `hold`."""
        asks, fence = self._fence(keys, hold)
        self._changed(asks, fence(ends=False))
        try:
            yield
        finally:
            self._changed(asks, fence(ends=True))
