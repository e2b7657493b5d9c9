"""What does a hit cost when the call has another shape than one argument?

Two ints, one keyword, no argument at all, and one int with `typed=True`: lru_cache builds a tuple for most of these on
every call, hit or not; the ratio shows what is gained by not building it. The loop of "two ints" unpacks a pair per
call in every lane, which is included.
"""

from __future__ import annotations

import functools
from typing import Any, Callable

from bench.cases.contest import Case, Contest, contestants, guests, warm_with
from bench.cases.hits import CALLS, body, in_random_order, ints
from bench.loops import keyword_each, none_each, one_each, subscript_each, subscript_two_each, two_each
from bench.peers import DROP_IN, FUNCTOOLS, MEMOIZE
from bench.rounds import Effort, Result


def first(a: Any, b: Any) -> Any:
    return a


def seven() -> int:
    return 7


def hit_two(effort: Effort) -> Result:
    pairs = [(number, number % 37) for number in ints()]
    contest = Contest(effort, two_each, [in_random_order(pairs)])
    contest.floor()
    contest.bare_dict(subscript_two_each, {pair: pair[0] for pair in pairs})
    contest.enter(contestants(first, 1024), warm=lambda memoized: two_each(memoized, pairs))
    others = guests(effort, first, 1024, one_argument=False)
    contest.enter(others, warm=lambda memoized: two_each(memoized, pairs), guests=True)
    return contest.run(only="hits")


def hit_two_in_order(effort: Effort) -> Result:
    pairs = [(number, number % 37) for number in ints()]
    contest = Contest(effort, two_each, [pairs * (CALLS // len(pairs))])
    contest.floor()
    contest.enter(contestants(first, 1024), warm=lambda memoized: two_each(memoized, pairs))
    return contest.run(only="hits")


def hit_keyword(effort: Effort) -> Result:
    keys = ints()
    contest = Contest(effort, keyword_each, [in_random_order(keys)])
    contest.floor()
    contest.enter(contestants(body, 1024), warm=lambda memoized: keyword_each(memoized, keys))
    others = guests(effort, body, 1024, one_argument=False)
    contest.enter(others, warm=lambda memoized: keyword_each(memoized, keys), guests=True)
    return contest.run(only="hits")


def hit_nothing(effort: Effort) -> Result:
    contest = Contest(effort, none_each, [[None] * CALLS])
    contest.floor()
    contest.enter(contestants(seven, 1024), warm=lambda memoized: memoized())
    others = guests(effort, seven, 1024, one_argument=False)
    contest.enter(others, warm=lambda memoized: memoized(), guests=True)
    return contest.run(only="hits")


def hit_typed(effort: Effort) -> Result:
    import samovar

    keys = ints()
    makers: dict[str, Callable[[], Any]] = {
        FUNCTOOLS: lambda: functools.lru_cache(1024, typed=True)(body),
        DROP_IN: lambda: samovar.lru_cache(1024, typed=True)(body),
        MEMOIZE: lambda: samovar.memoize(maxsize=1024, typed=True)(body),
    }
    contest = Contest(effort, one_each, [in_random_order(keys)])
    contest.floor()
    contest.bare_dict(subscript_each, {key: key for key in keys})
    contest.enter(makers, warm=warm_with(keys))
    return contest.run(only="hits")


CASES = (
    Case("hit-two", "hit, two ints", hit_two, (2.0, 2.1)),
    Case("hit-two-in-order", "hit, two ints, in order", hit_two_in_order, (2.0, 2.1)),
    Case("hit-keyword", "hit, one keyword", hit_keyword, (3.0, 3.0)),
    Case("hit-nothing", "hit, no argument", hit_nothing, (1.45, 1.45)),
    Case("hit-typed", "hit, one int, typed", hit_typed),
)
