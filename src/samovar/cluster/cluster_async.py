"""`AsyncCluster`: `Cluster`, awaited. The same arguments, the same steps; only the waiting is asyncio's.

To be read beside cluster/cluster.py.
"""

import weakref
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from .._base.errors import LoadTimeout
from .._base.freshness import Duration, Freshness
from .._base.missing import MISSING
from .._core import adopted
from ..app import loading, options, warming
from ..app.loads import Progress
from . import batch, cell, changes
from .asked import Asked
from .driving import Awaiting
from .face import LEFT_OUT, NONE, Face, Maker, Tags, completed
from .patience import Patience
from .prober import Prober
from .quick import NOT_ASKED, Quick, Told


@adopted
class AsyncCluster(Face):
    """`Cluster` for coroutines: its arguments, its verbs, its promises; every verb is awaited.

    Factories and loaders may be `async def`; plain ones run in a thread. One cluster serves any number of event loops and
    threads. A caller that is cancelled fails nobody else, and a load that nobody waits for any more is cancelled and gives
    its lease back.

    >>> import asyncio
    >>> from samovar.cluster import AsyncCluster, LocalNode
    >>> async def main():
    ...     async with AsyncCluster([LocalNode("one"), LocalNode("two")], ttl="5m") as shop:
    ...         await shop.set("tea", "steeped")
    ...         return await shop.get("tea"), await shop.get("coffee", "none")
    >>> asyncio.run(main())
    ('steeped', 'none')
    """

    _who = "AsyncCluster"
    _is_async = True

    def _begin(self) -> None:
        self._driver = Awaiting(self._nodes, self._store.gate)
        self._prober = Prober(self._tier)
        self._quick = Quick(self._store, self._prober)
        self._blocks = all(node.blocks for node in self._tier.nodes.values())
        self._end = weakref.finalize(self, self._prober.stop)
        self._silence = weakref.finalize(self, (lambda: None) if self._bus is None else self._bus.stop)

    async def _run(self, steps: Any) -> Any:
        if self._prober.is_cold:
            await self._prober.astart(self._driver, blocks=self._blocks)
            if self._bus is not None:
                self._bus.wake()
        return await self._driver.run(steps)

    async def aclose(self) -> None:
        """Stop looking after the nodes, and give up this event loop's connections. The cluster must not be used again."""
        self._end()
        self._silence()
        if self._bus is not None:
            self._bus.close()
        for node in self._nodes.values():
            await node.aclose()

    async def __aenter__(self) -> "AsyncCluster":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # ---------------------------------------------------------------- reading

    async def _get(self, key: Hashable, default: Any = None) -> Any:
        """`get`, where the near cache has nothing (csrc/object/front.h)."""
        if self._near is None:
            value, told = await self._look(key)
            if value is MISSING:
                value = (await self._run(cell.get(self._store, self._plain(key), told))).value
        else:
            value = await self._read(key)
        return default if value is MISSING else value

    async def _look(self, key: Hashable) -> tuple[Any, Told | None]:
        asking = self._quick.asks(key)
        if asking is None:
            return NOT_ASKED
        _, _, node, request = asking
        return self._quick.told(asking, await node.aperform(request))

    async def _read(self, key: Hashable) -> Any:
        asked = self._plain(key)

        async def read(context: Any) -> Any:
            value = self._keep(context, await self._run(cell.get(self._store, asked)))
            return NONE if value is MISSING else value

        if key in self._loading:
            return (await self._run(cell.get(self._store, asked))).value
        try:
            value = await self._flights.aget_or_set(self._name_of(asked), read)
        except Exception:  # a load that this joined failed: that is the affair of those who load
            return (await self._run(cell.get(self._store, asked))).value
        return MISSING if value is NONE else value

    async def peek(self, key: Hashable, default: Any = None) -> Any:
        """The value of a key if it is fresh; it is not counted, and the near cache is not asked."""
        seen = await self._run(cell.look(self._store, self._plain(key)))
        return seen.entry.value if seen.kind == cell.FRESH else default

    async def get_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """The values of those keys that have one, as a dict in their order: one round trip for each node, at once."""
        found = self._near_many(keys)
        left = [key for key, value in found.items() if value is MISSING]
        if left:
            found.update(await self._read_many(left))
        return {key: value for key, value in found.items() if value is not MISSING}

    async def _read_many(self, keys: list[Any]) -> dict[Any, Any]:
        """What the shared tier has of these keys; the near cache's flights keep out what is invalidated meanwhile."""
        if self._near is None or any(key in self._loading for key in keys):
            return await self._run(batch.get_many(self._store, keys, self._plain))  # type: ignore[no-any-return]
        asks = {key: self._plain(key) for key in keys}
        ask, crowd = self._crowd("get_many", lambda left: self._run(
            batch.read_many(self._store, [asks[key] for key in left])))
        try:
            got = await loading.amake_many(ask, keys, crowd, NONE, True)
        except Exception:  # a load that this joined failed: that is the affair of those who load
            return await self._run(batch.get_many(self._store, keys, self._plain))  # type: ignore[no-any-return]
        return {key: MISSING if value is NONE else value for key, value in got.items()}

    # ---------------------------------------------------------------- loading

    async def _get_or_set(self, key: Hashable, factory: Callable[..., Any], *, ttl: Duration | None = None,
                          fresh: Freshness | None = None, tags: Tags = None, soft_timeout: Duration | None = None,
                          hard_timeout: Duration | None = None) -> Any:
        """`get_or_set`, where the near cache has nothing. The factory is looked at when it is needed."""
        fresh, carried = self._words("get_or_set", ttl, fresh, tags)
        told = seen = None
        cold = self._loading.cold  # of a crowd that comes to a cold key, one reads
        looks = self._near is None and not (cold and self._loading.is_cold(self._tier.wire(key), self._store.stopwatch()))
        if looks and soft_timeout is hard_timeout is None and (fresh is None or not fresh.early):
            value, told = await self._look(key)
            if value is not MISSING:
                return value
        asked = self._question(key, fresh, carried)
        patience = self._patience(asked, soft_timeout, hard_timeout)
        if looks:
            seen = await self._run(cell.read(self._store, asked, told))
            if seen.kind == cell.FRESH and not cell.is_early(asked, seen):
                return self._store.take(seen.entry, seen.age_s).value
        asked.maker = Maker("get_or_set", factory, awaits=True)
        if seen is not None and seen.kind == cell.FRESH:
            await self._run(cell.renew(self._store, asked, seen))
            return self._store.take(seen.entry, seen.age_s).value
        if patience is not None:
            if seen is not None:
                patience.saw(seen)
            elif patience.wants_old:
                patience.saw(await self._run(cell.look(self._store, asked)))
        return await self._fly(asked, seen if seen is not None and seen.entry is None else None, patience)

    async def _fly(self, asked: Asked, seen: Any, patience: Patience | None = None) -> Any:
        """Load as one of this process's crowd; see `Cluster._fly`."""
        started, depth, mine = self._store.stopwatch(), self._depth(), False

        async def load(context: Any) -> Any:
            nonlocal mine
            mine = True
            if self._depth() == depth:  # nobody leads: a factory asks for what it is making
                return self._landed(context, await self._run(cell.compute(self._store, asked)))
            name = self._name_of(asked)
            with self._loading.of(name) if seen is None else self._loading.of_cold(name, started):
                return self._landed(context, await self._run(cell.load(self._store, asked, seen)))

        while True:
            name = self._name_of(asked)
            try:
                got = await (self._flights.arefresh(name, load) if asked.anew else
                             self._flights.aget_or_set(name, load) if patience is None else
                             self._flights.aget_or_set(name, load, hard_timeout=patience.left_s()))
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

    async def get_or_set_many(self, keys: Iterable[Hashable], factory: Callable[..., Any], *, ttl: Duration | None = None,
                              fresh: Freshness | None = None, tags: Tags = None,
                              default: Any = MISSING) -> dict[Any, Any]:
        """The values of all keys, in their order; see `Cluster.get_or_set_many`."""
        found = self._near_many(keys)
        asks = self._asks("get_or_set_many", [key for key, value in found.items() if value is MISSING], factory, ttl,
                          fresh, tags)
        if asks:
            found.update(await self._load_many(asks))
        return completed(found, default)

    async def _load_many(self, asks: list[Asked]) -> dict[Any, Any]:
        if self._near is None:
            got = await self._run(batch.load_many(self._store, asks))
            return {key: one.value for key, one in got.items()}
        by_key, depth, found = {asked.key: asked for asked in asks}, self._depth(), {}

        async def read(keys: list[Any]) -> Any:
            load = batch.compute_many if self._depth() == depth else batch.load_many  # as in `_fly`
            with self._loading.of(*keys):
                return await self._run(load(self._store, [by_key[key] for key in keys]))

        left = list(by_key)
        while left:
            ask, crowd = self._crowd("get_or_set_many", read)
            found.update(await loading.amake_many(ask, left, crowd, LEFT_OUT, True))
            left = [key for key in left if found[key] is NONE]  # it was a flight of `get`, which found nothing
        return {key: MISSING if value is LEFT_OUT else value for key, value in found.items()}

    async def get_or_load(self, key: Hashable, **how: Any) -> Any:
        """`get_or_set` with the cluster's own loader."""
        return await self.get_or_set(key, self._load_of("get_or_load", key, None), **how)

    async def refresh(self, key: Hashable, factory: Callable[..., Any] | None = None, *, ttl: Duration | None = None,
                      fresh: Freshness | None = None, tags: Tags = None) -> Any:
        """Load a key anew, whatever is stored, and return the new value; others are served the old one meanwhile."""
        loader = self._load_of("refresh", key, factory)
        value = await self._fly(self._asked("refresh", key, ttl, fresh, tags, loader, anew=True), None)
        await self._told(keys=[key])
        return value

    async def warm(self, keys: Iterable[Hashable], loader: Callable[..., Any] | None = None, *, concurrency: int = 8,
                   progress: Progress | None = None, rate: float | None = None, **how: Any) -> warming.Warmed:
        """Load what is missing of these keys before anybody asks, `concurrency` at once, at most `rate` in a second; see
        `samovar.awarm`. how: ttl, fresh and tags of what is loaded."""
        fill = self._filler("warm", loader, how)
        return await warming.adrive(self, keys, fill, concurrency=concurrency, progress=progress, rate=rate)

    # What is awaited of a `Cache` has an "a" before its name, as its others block; here all are awaited.

    async def aget_or_set(self, key: Hashable, factory: Callable[..., Any], **how: Any) -> Any:
        """`get_or_set`, as a `Cache` calls it."""
        return await self.get_or_set(key, factory, **how)

    aget_or_load, aget_or_set_many, arefresh, awarm = get_or_load, get_or_set_many, refresh, warm

    # ---------------------------------------------------------------- changing

    async def set(self, key: Hashable, value: Any, *, ttl: Duration | None = None, fresh: Freshness | None = None,
                  tags: Tags = None) -> bool:
        """Store a value; whether a node took it: see `Cluster.set`."""
        return await self._put_many([(self._asked("set", key, ttl, fresh, tags), value)]) == 1

    async def set_many(self, entries: Any, /, *, ttl: Duration | None = None, fresh: Freshness | None = None,
                       tags: Tags = None) -> int:
        """Store many values, given as a mapping or as pairs; how many were taken."""
        pairs = dict(options.pairs("set_many", entries))
        return await self._put_many([(self._asked("set_many", key, ttl, fresh, tags), value)
                                     for key, value in pairs.items()])

    async def update(self, entries: Any = (), /, **named: Any) -> None:
        """Store the values of a mapping, or of pairs, and those that are named, as dict does."""
        await self.set_many([*options.pairs("update", entries), *named.items()])

    async def setdefault(self, key: Hashable, default: Any = None) -> Any:
        """The value of a key; when there is none, `default` is stored, unless somebody else is quicker, and returned."""
        while True:
            value = await self.get(key, MISSING)
            if value is not MISSING:
                return value
            if await self.add(key, default) or await self.peek(key, MISSING) is MISSING:
                return default  # stored, or no node takes it

    async def _put_many(self, items: list[tuple[Asked, Any]]) -> int:
        taken: list[bool] = await self._changed([asked for asked, _ in items], changes.put_many(self._store, items))
        return taken.count(True)

    async def add(self, key: Hashable, value: Any, *, ttl: Duration | None = None, fresh: Freshness | None = None,
                  tags: Tags = None) -> bool:
        """Store a value unless a fresh one is there; whether it was stored."""
        asked = self._asked("add", key, ttl, fresh, tags)
        return bool(await self._changed([asked], changes.add(self._store, asked, value)))

    async def touch(self, key: Hashable, *, ttl: Duration | None = None, fresh: Freshness | None = None) -> bool:
        """Let a fresh value's time begin anew; whether there was one."""
        asked = self._asked("touch", key, ttl, fresh)
        return bool(await self._changed([asked], changes.touch(self._store, asked)))

    async def expire(self, key: Hashable) -> bool:
        """Make a value stale: it is served under the rules of stale service; whether there was a fresh one."""
        asked = self._plain(key)
        return bool(await self._changed([asked], changes.expire(self._store, asked)))

    async def delete(self, key: Hashable) -> bool:
        """Forget a key, and fence off loads of it; whether there was something."""
        return await self.delete_many([key]) > 0

    async def delete_many(self, keys: Iterable[Hashable]) -> int:
        """Forget many keys; how many there were."""
        asks = [self._plain(key) for key in dict.fromkeys(keys)]
        return int(await self._changed(asks, changes.delete_many(self._store, asks)))

    async def pop(self, key: Hashable, default: Any = MISSING) -> Any:
        """Take a value out; `default`, or KeyError, when there is none. Two who pop at once may both get it."""
        value = await self.get(key, MISSING)
        await self.delete(key)
        if value is MISSING and default is MISSING:
            raise KeyError(key)
        return default if value is MISSING else value

    async def invalidate_tags(self, *tags: str) -> None:
        """Forget all entries that carry one of these tags, and fence off loads that will: one step for each tag."""
        given = options.tags("invalidate_tags", tags) or ()
        self._flights.invalidate_tags(*given)
        try:
            await self._run(changes.invalidate_tags(self._store, given))
        finally:
            await self._told(tags=given)
            self._flights.invalidate_tags(*given)

    async def clear(self) -> None:
        """Forget everything in this namespace. Other processes hear of it within half a second."""
        self._flights.clear()
        try:
            await self._run(changes.clear(self._store))
        finally:
            await self._told(epochs=self._tier.epochs())
            self._flights.clear()

    async def _changed(self, asks: Sequence[Asked], change: Any) -> Any:
        """Change keys in the shared tier, and let the near cache keep nothing of before, whoever fills it meanwhile."""
        names = [self._name_of(asked) for asked in asks]
        self._flights.delete_many(names)
        try:
            return await self._run(change)
        finally:
            await self._told(keys=[asked.key for asked in asks])
            self._flights.delete_many(names)

    async def _told(self, **what: Any) -> None:
        """Tell the near caches of other processes."""
        if self._bus is not None:
            await self._driver.run(self._telling(**what))

    @asynccontextmanager
    async def writing(self, *keys: Hashable, hold: Duration = 30.0) -> AsyncIterator[None]:
        """Around a change of the original: see `Cluster.writing`."""
        asks, fence = self._fence(keys, hold)
        await self._changed(asks, fence(ends=False))
        try:
            yield
        finally:
            await self._changed(asks, fence(ends=True))
