"""What does a hit on a method cost?

One object, a thousand arguments in random order: `thing.method(key)`. functools.lru_cache and samovar's decorators keep
one cache for the class, whose keys hold the object; `samovar.cached_method` keeps entries per object and holds none of
them alive, which costs it a step to find the object's own entries. Its row is against lru_cache on a method, too.
"""

from __future__ import annotations

from typing import Any, Callable

from bench.cases.contest import Case, Contest, contestants, guests
from bench.cases.hits import in_random_order, ints
from bench.loops import method_each
from bench.peers import FUNCTOOLS, METHOD
from bench.rounds import Effort, Result


def body(self: Any, key: Any) -> Any:
    return key


def bound(memoized: Any) -> Any:
    """A new object of a new class that has `memoized` as its method."""
    return type("Thing", (), {"method": memoized})()


def hit_method(effort: Effort) -> Result:
    return hit(effort, contestants(body, 1024), guests(effort, body, 1024, one_argument=False))


def hit_cached_method(effort: Effort) -> Result:
    import samovar

    makers = contestants(body, 1024)
    return hit(effort, {FUNCTOOLS: makers[FUNCTOOLS], METHOD: lambda: samovar.cached_method(maxsize=1024)(body)}, {})


def hit(effort: Effort, makers: dict[str, Callable[[], Any]], others: dict[str, Callable[[], Any]]) -> Result:
    keys = ints()
    things: dict[int, Any] = {}

    def thing_of(memoized: Any) -> Any:
        if id(memoized) not in things:
            things[id(memoized)] = named(bound(memoized), memoized)
        return things[id(memoized)]

    def warm(memoized: Any) -> None:
        method_each(thing_of(memoized), keys)

    contest = Contest(effort, method_each, [in_random_order(keys)])
    contest.floor(bound)
    contest.enter(makers, warm=warm, present=thing_of)
    contest.enter(others, warm=warm, present=thing_of, guests=True)
    contest.watched.pop(METHOD, None)  # its counts are per object
    return contest.run(only="hits")


def named(thing: Any, memoized: Any) -> Any:
    """Tell the descriptor its name, as a class body does."""
    if hasattr(type(memoized), "__set_name__"):
        memoized.__set_name__(type(thing), "method")
    return thing


CASES = (
    Case("hit-method", "hit, a method", hit_method, (2.0, 2.1)),
    Case("hit-cached-method", "hit, cached_method", hit_cached_method, judged=(METHOD,)),
)
