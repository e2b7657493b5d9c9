"""Mistakes that both checkers must find: each carries the complaint, and an unused complaint is an error."""
from samovar import (
    AsyncCluster, Cache, Cluster, HashRing, LocalNode, MemcachedNode, OriginBudget, SingleFlight, cached,
    cached_method, lru_cache, memoize, precompute,
)


@lru_cache
def sized(x: int) -> str: return str(x)
@memoize
def memo(x: int, y: str = "") -> list[int]: return [x]
@memoize(maxsize=3)
async def amemo(x: int) -> list[int]: return [x]


class Tea:
    @cached_method
    def own(self, x: int) -> str: return str(x)
    @lru_cache
    def shared(self, x: int) -> str: return str(x)
    @classmethod
    @memoize
    def for_class(cls, x: int) -> str: return str(x)


tea = Tea()
sized("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
sized()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
sized(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
sized(z=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
memo(1, y=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
memo.cache_contains("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
memo.cache_set("not a list", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
amemo("x")  # type: ignore[arg-type, unused-coroutine]  # pyright: ignore[reportArgumentType, reportUnusedCoroutine]
amemo(1).upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
tea.own("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tea.own(tea, 1)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
tea.own.cache_invalidate(tea)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tea.shared("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Tea.shared(1, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Tea.for_class("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
memoize(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
memoize(maxsize="many")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
memoize(cache_exceptions=ValueError())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
memoize(ttl=[5])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
memoize(fresh=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
memoize(tags=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
memoize(clock=5.0)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
memo.cache_invalidate_tags(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
cached_method(tags="t")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
tea.own.cache_invalidate_tags("t")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
lru_cache(maxsize="many")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
sized.cache_nothing()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


shop = Cache[str, int](3)
@cached(shop)
def shared(x: int) -> str: return str(x)


shop[3]  # type: ignore[index]  # pyright: ignore[reportArgumentType]
shop["a"] = "x"  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
shop.set("a", "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
shop.get_or_set("a", lambda: "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
shop.get_or_set("a", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
shop.set("a", 3, tll=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
shop.get_or_load("a", tll=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Cache("many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Cache(3, 4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Cache(eviction=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
cached(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
shared("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
shared.cache_set(3, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


once = SingleFlight()
once.do("a", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
once.do("a", shop.set)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
once.do([], lambda: 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
once.do("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
SingleFlight(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


budget = OriginBudget("8")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
OriginBudget()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Cache(budget=8)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
budget.run(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@precompute(keys=["a"])
def ahead(name: str) -> int: return len(name)


ahead(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ahead.touch(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ahead("a", "b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ring = HashRing("ab", hash="md5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ring.get_node(3.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ring.get_nodes("key")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ring.add_node(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ring.diff(["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
HashRing(["a"], points=40)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


tier = Cluster([LocalNode()])
Cluster()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Cluster(["redis://cache-1"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
Cluster([LocalNode()], near=100)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Cluster([LocalNode()], tll=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Cluster([LocalNode()], budget=8)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
LocalNode(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
MemcachedNode()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tier.set("tea", 3, tll=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tier.set("tea")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tier.get_many(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tier.get_or_set("tea", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tier.invalidate_tags(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tier.delete([])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def rejected_cluster(shop: AsyncCluster) -> None:
    with shop.writing("tea"):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    await shop.set("tea", 3, tags=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await shop.stats()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
