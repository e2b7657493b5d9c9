"""Inference that must survive decoration: every line is a claim that mypy --strict and pyright must agree with."""
from __future__ import annotations

import asyncio
import copy
from array import array
from datetime import timedelta
from functools import partial
from collections.abc import Hashable
from typing import Any, Generic, TypeVar, assert_type

from samovar import (
    AsyncCluster, BudgetStats, Cache, Cluster, ClusterStats, FlightCounts, Freshness, HashRing, HotKeys,
    LoadContext, LocalNode, ManualClock, MemcachedNode, OriginBudget, OriginBusy, PrecomputeStatus, RedisNode,
    Replayed, SingleFlight, Stats, Warmed, cache, cached, cached_method, hot_set, lru_cache, memoize, precompute,
    replay, trace_keys, warm,
)

T = TypeVar("T")


@lru_cache
def bare(x: int, *, loud: bool = False) -> str: return "!" * x
@lru_cache(maxsize=10, typed=True)
def sized(x: int) -> str: return str(x)
@lru_cache(None)
def unbounded(x: int) -> str: return str(x)
@cache
def forever(x: int) -> str: return str(x)
@cache
async def coro(x: int) -> str: return str(x)
@memoize
def memo(x: int, y: str = "") -> list[int]: return [x]
def by_x(x: int, y: str = "") -> int: return x
@memoize(maxsize=7, key=by_x, cache_exceptions=(KeyError, ValueError), copy=copy.copy)
def memo_args(x: int, y: str = "") -> list[int]: return [x]
def by_x_tags(x: int, y: str = "") -> list[str]: return [y]
@memoize(ttl="5m", fresh=Freshness(stale_if_error=5), tags=by_x_tags, eviction="sieve", clock=ManualClock())
def memo_fresh(x: int, y: str = "") -> list[int]: return [x]
@memoize(ttl=timedelta(minutes=5), tags=("a", "b"))
async def amemo_fresh(x: int) -> list[int]: return [x]
@memoize
async def amemo(x: int) -> list[int]: return [x]
@memoize(maxsize=None, cache_exceptions=LookupError)
async def amemo_args(x: int) -> list[int]: return [x]
@memoize
def generic(x: T) -> list[T]: return [x]

direct = memoize(len, maxsize=3)

assert_type(bare(3, loud=True), str)
assert_type(sized(3), str)
assert_type(unbounded(3), str)
assert_type(forever(3), str)
assert_type(memo(3, y="a"), list[int])
assert_type(memo_args(3), list[int])
assert_type(direct("abc"), int)
assert_type(memo_fresh(3, y="a"), list[int])
assert_type(memoize(by_x, ttl=5, tags=by_x_tags)(3), int)
assert_type(memo_fresh.cache_invalidate_tags("a", "b", soft=True), None)
assert_type(memo_fresh.cache_stats().stale_hits, int)
assert_type(memo.cache_info().hits, int)
assert_type(memo.cache_stats(), Stats)
assert_type(memo.cache_stats().hit_ratio, float)
assert_type(memo.cache_contains(3, y="z"), bool)
assert_type(memo.cache_invalidate(3), bool)
assert_type(memo.cache_refresh(3), list[int])
assert_type(memo.cache_key(3), Hashable)
assert_type(memo.cache_parameters()["maxsize"], int | None)
memo.cache_set([1], 3, "x")
memo.cache_clear()
assert_type(list(map(sized, [1, 2])), list[str])
assert_type(partial(memo, 3)(y="a"), list[int])
assert_type(generic("a"), list[str])
bare.cache_clear()
bare.__wrapped__(3)
memo.__name__


class Tea:
    @lru_cache
    def method(self, x: int) -> str: return str(x)
    @lru_cache(maxsize=None)
    def method_args(self, x: int) -> str: return str(x)
    @cache
    def method_cache(self, x: int) -> str: return str(x)
    @memoize
    def method_memo(self, x: int) -> str: return str(x)
    @memoize(maxsize=3)
    async def method_amemo(self, x: int) -> str: return str(x)
    @classmethod
    @lru_cache
    def for_class(cls, x: int) -> str: return str(x)
    @classmethod
    @memoize(maxsize=3)
    def for_class_memo(cls, x: int) -> str: return str(x)
    @staticmethod
    @lru_cache
    def static(x: int) -> str: return str(x)
    @staticmethod
    @memoize(maxsize=2)
    def static_memo(x: int) -> str: return str(x)
    @cached_method
    def own(self, x: int) -> str: return str(x)
    @cached_method(maxsize=3, typed=True)
    def own_args(self, x: int) -> str: return str(x)
    @cached_method(ttl="5m", fresh=Freshness(tti=3), eviction="fifo", clock=ManualClock())
    def own_fresh(self, x: int) -> str: return str(x)
    @cached_method
    async def own_async(self, x: int) -> str: return str(x)
    @cached_method(maxsize=None)
    async def own_async_args(self, x: int) -> str: return str(x)
    @property
    @cached_method
    def whole(self) -> str: return "x"
    @property
    @lru_cache
    def whole_lru(self) -> str: return "x"


class Green(Tea):
    def own(self, x: int) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        return super().own(x)


tea = Tea()
assert_type(tea.method(3), str)
assert_type(Tea.method(tea, 3), str)
assert_type(tea.method_args(3), str)
assert_type(tea.method_cache(x=3), str)
assert_type(tea.method_memo(3), str)
assert_type(Green().method_memo(3), str)
assert_type(tea.for_class(3), str)
assert_type(Tea.for_class(3), str)
assert_type(Green.for_class(3), str)
assert_type(Tea.for_class_memo(x=3), str)
assert_type(Tea.static(3), str)
assert_type(tea.static(3), str)
assert_type(tea.static_memo(3), str)
assert_type(tea.own(3), str)
assert_type(Tea.own(tea, 3), str)
assert_type(tea.own_args(x=3), str)
assert_type(tea.own_fresh(3), str)
assert_type(tea.whole, str)
assert_type(tea.whole_lru, str)
tea.method.cache_clear()
tea.method_memo.cache_invalidate(tea, 3)
Tea.method_memo.cache_invalidate(tea, 3)
tea.own.cache_invalidate(3)
tea.own.cache_set("x", 3)
assert_type(tea.own.cache_refresh(3), str)
assert_type(tea.own.__wrapped__(3), str)
assert_type(tea.own.cache_info().currsize, int)
assert_type(tea.own.cache_stats(), Stats)
Tea.own.cache_clear()


class Box(Generic[T]):
    def __init__(self, item: T) -> None: self.item = item
    @cached_method
    def get(self, default: T) -> T: return self.item or default
    @memoize
    def pair(self, other: T) -> tuple[T, T]: return self.item, other


assert_type(Box(1).get(3), int)
assert_type(Box(1).pair(3), tuple[int, int])


async def main() -> None:
    assert_type(await coro(3), str)
    assert_type(await amemo(3), list[int])
    assert_type(await amemo_args(x=3), list[int])
    assert_type(await amemo_fresh(3), list[int])
    amemo_fresh.cache_invalidate_tags("a")
    assert_type(await asyncio.create_task(amemo(3)), list[int])
    assert_type(await asyncio.wait_for(amemo(3), 1), list[int])
    both = await asyncio.gather(amemo(3), coro(2))
    assert_type(both, tuple[list[int], str])
    assert_type(await amemo.cache_refresh(3), list[int])
    amemo.cache_set([3], 3)
    assert_type(await tea.method_amemo(3), str)
    assert_type(await tea.own_async(3), str)
    assert_type(await tea.own_async_args(x=3), str)
    assert_type(await Tea.own_async(tea, 3), str)
    tea.own_async.cache_set("x", 3)

# what a trace would have done elsewhere
trace = array("Q", [1, 2, 1])
assert_type(replay(trace, 2), Replayed)
assert_type(replay(trace, 2, "lru", weights=array("I", [1, 1, 1])).hit_ratio, float)
assert_type(replay(trace, [1, 2]), tuple[Replayed, ...])

# ------------------------------------------------------------------ Cache

def whole(key: str) -> int: return len(key)
async def whole_async(key: str) -> int: return len(key)
def by_context(context: LoadContext) -> int:
    context.ttl = "5m"
    context.tags = ["a"]
    return 3 if not context.has_stale else context.not_modified()
def weigh(key: str, value: int) -> int: return value
def told(key: str, value: int, cause: str) -> None: ...


shop = Cache[str, int](maxsize=3, ttl="5m", clock=ManualClock(), loader=whole, on_remove=told)
heavy: Cache[str, int] = Cache(maxweight=3, weigher=weigh, fresh=Freshness(ttl=5, stale_if_error="1h"), name="heavy")
assert_type(shop["a"], int)
assert_type(shop.get("a"), int | None)
assert_type(shop.get("a", 3), int)
assert_type(shop.get("a", "x"), int | str)
assert_type(shop.peek("a"), int | None)
assert_type(shop.pop("a"), int)
assert_type(shop.pop("a", None), int | None)
assert_type(shop.popitem(), tuple[str, int])
assert_type(shop.get_many(["a"]), dict[str, int])
assert_type(shop.get_or_set("a", lambda: 3), int)
assert_type(shop.get_or_set("a", by_context, ttl=5, tags="x", soft_timeout="1s"), int)
assert_type(shop.get_or_load("a", ttl=5), int)
assert_type(shop.refresh("a"), int)
assert_type(shop.get_or_set_many(["a"], lambda keys: dict.fromkeys(keys, 3)), dict[str, int])
assert_type(shop.add("a", 3, ttl="5m", tags=("x", "y")), bool)
assert_type(shop.touch("a"), bool)
assert_type(shop.delete("a"), bool)
assert_type(shop.delete_many("abc"), int)
assert_type(shop.warm(["a"]).loaded, int)
assert_type(warm(shop, ["a"], len, rate=5, resume="journal", ttl="5m"), Warmed)
assert_type(hot_set(shop, limit=5), list[str])
assert_type(trace_keys("log"), list[Any])
assert_type(list(shop), list[str])
assert_type(list(shop.values()), list[int])
assert_type(list(shop.items()), list[tuple[str, int]])
assert_type(shop.stats(), Stats)
assert_type(shop.stats().load_latency.p99, float)
assert_type(shop.miss_ratio_curve([5]), dict[int, float])
assert_type(shop.report(), str)
assert_type(shop.save("x"), int)
shop["a"] = 3
shop.set("a", 3, fresh=Freshness(ttl=5), weight=1)
shop.set_many({"a": 3}, ttl=5)
shop.set_many([("a", 3)])
shop.update(a=3)
shop.resize(5)
heavy.resize(maxweight=5)
shop.invalidate_tags("a", "b", soft=True)


@cached(shop, ttl="5m", tags="x")
def shared(x: int, *, loud: bool = False) -> str: return str(x)
@cached(shop)
async def shared_async(x: int) -> str: return str(x)


def by_cups(pot: object, x: int) -> int: return x


class Pot:
    @cached(shop, key=by_cups)
    def cups(self, x: int) -> str: return str(x)
    @cached(shop)
    async def cups_async(self, x: int) -> str: return str(x)


assert_type(shared(3, loud=True), str)
assert_type(shared.cache_refresh(3), str)
assert_type(shared.cache_contains(3), bool)
assert_type(shared.cache_key(3), Hashable)
shared.cache_set("x", 3)
assert_type(Pot().cups(3), str)
assert_type(Pot.cups(Pot(), 3), str)


async def main_cache() -> None:
    assert_type(await shop.aget_or_set("a", lambda: whole_async("a")), int)
    assert_type(await shop.aget_or_set("a", lambda: 3), int)
    assert_type(await shop.aget_or_load("a"), int)
    assert_type(await shop.arefresh("a", lambda: whole_async("a")), int)
    assert_type(await shared_async(3), str)
    assert_type(await shared_async.cache_refresh(3), str)
    assert_type(await Pot().cups_async(3), str)
    both = await asyncio.gather(shop.aget_or_set("a", lambda: 3), shared_async(2))
    assert_type(both, tuple[int, str])


once = SingleFlight()
assert_type(once.do("a", lambda: 3), int)
assert_type(once.do(key=("a", 1), fn=partial(int, "3")), int)
assert_type(once.forget("a"), bool)
assert_type(once.stats(), FlightCounts)
assert_type(once.stats().coalesced, int)


async def main_once() -> None:
    assert_type(await once.do_async("a", lambda: whole_async("a")), int)
    assert_type(await once.do_async("a", lambda: 3), int)
    assert_type(await asyncio.gather(once.do_async("a", lambda: "x"), once.do_async(1, lambda: 3)), tuple[str, int])


budget = OriginBudget(8, rate=50, ramp="30s", adaptive=True, breaker=5)
bounded: Cache[str, int] = Cache(budget=budget)
assert_type(budget.run(lambda: 3), int)
assert_type(budget.stats(), BudgetStats)
assert_type(budget.limit, int)
assert_type(OriginBusy("busy", 1.0).retry_after, float)
with budget.slot() as place:
    assert_type(place.waited, bool)


@memoize(budget=budget)
def bounded_cups(size: int) -> str:
    return "x" * size


assert_type(bounded_cups(3), str)


async def main_budget() -> None:
    async with budget.slot():
        assert_type(await budget.arun(lambda: whole_async("a")), int)


@precompute(keys=["a", "b"], every="1m", fresh=Freshness(ttl="5m"), tags="pages")
def ahead(name: str) -> int: return len(name)


@precompute(keys=lambda: [1, 2], store=Cache(), name="ahead", tags=lambda key: [f"page:{key}"])
async def ahead_async(number: int) -> str: return str(number)


@precompute(keys=[1], store=AsyncCluster([LocalNode()]), name="ahead")
def ahead_far(number: int) -> str: return str(number)


assert_type(ahead("a"), int)
assert_type(ahead.touch("a"), bool)
assert_type(ahead.stop(drain=False, timeout="1s"), bool)
assert_type(ahead.status(), PrecomputeStatus)
assert_type(ahead.status().keys["a"].age, float | None)
with ahead as running:
    assert_type(running("a"), int)


async def main_ahead() -> None:
    async with ahead_async:
        assert_type(await ahead_async(1), str)
        assert_type(await ahead_async.wait(1), bool)
    assert_type(await ahead_far(1), str)
    assert_type(await ahead_far.delete(1), bool)
ring = HashRing(["a", "b"], vnodes=40, weights={"b": 2}, load_factor=1.25, hash="ketama")
assert_type(ring.get_node("key"), str)
assert_type(ring.get_node(b"key") + ring.get_node(7), str)
assert_type(ring.get_nodes("key", 2), list[str])
assert_type(ring.add_node("c", weight=0.5), dict[str | bytes | int, str])
assert_type(ring.remove_node("c"), dict[str | bytes | int, str])
assert_type(ring.nodes, tuple[str, ...])
assert_type(ring.copy(), HashRing)
assert_type(ring.diff(HashRing()).moved, float)
assert_type(ring.load().imbalance, float)
assert_type(ring.acquire("key"), str)
assert_type(ring.release("a"), None)
assert_type("a" in ring, bool)
assert_type(len(ring), int)


def price_of(context: LoadContext) -> int: return 3
def prices(keys: list[str]) -> dict[str, int]: return dict.fromkeys(keys, 3)


nodes = [LocalNode("one"), RedisNode("redis://cache-1", timeout="50ms"), MemcachedNode("cache-2:11211")]
tier = Cluster(nodes, near=Cache(100), hot=HotKeys(replicas=2), ttl="5m", namespace="shop", budget=OriginBudget(8))
named = Cluster({"here": LocalNode()}, weights={"here": 2.0}, hash="ketama", bus=RedisNode("redis://bus"))
assert_type(tier.set("tea", 3, ttl=timedelta(seconds=3), tags=["drinks"]), bool)
assert_type(tier.set_many({"tea": 3}), int)
assert_type(tier.set_many([("tea", 3)], fresh=Freshness(ttl=3)), int)
assert_type(tier.add("tea", 3), bool)
assert_type(tier.delete("tea"), bool)
assert_type(tier.delete_many(["tea", 7]), int)
assert_type(tier.get_many(["tea"]), dict[Any, Any])
assert_type(tier.get_or_set_many(["tea"], prices, default=None), dict[Any, Any])
assert_type(tier.invalidate_tags("drinks", "cakes"), None)
assert_type(tier.stats(), ClusterStats)
assert_type(tier.stats().load_mean_s, float)
assert_type(tier.ring, HashRing)
assert_type(tier.node_of("tea"), str)
assert_type(tier.warm(["tea"], str, rate=5), Warmed)
assert_type("tea" in tier, bool)
tier.get_or_set("tea", lambda: 3, ttl="5m")
tier.get_or_set("tea", price_of)
with tier.writing("tea", hold="5s"), Cluster(nodes) as entered:
    assert_type(entered, Cluster)


async def use_cluster(shop: AsyncCluster) -> None:
    async def price() -> int: return 3
    assert_type(await shop.set("tea", 3, ttl=3), bool)
    assert_type(await shop.delete_many(["tea"]), int)
    assert_type(await shop.get_many(["tea"]), dict[Any, Any])
    await shop.get_or_set("tea", price, tags="drinks")
    await shop.get_or_set("tea", lambda: 3)
    assert_type(shop.stats(), ClusterStats)
    async with shop.writing("tea"), AsyncCluster(nodes) as entered:
        assert_type(entered, AsyncCluster)
