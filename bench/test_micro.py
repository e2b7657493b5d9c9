"""The hot paths under pytest-benchmark: `pytest bench/test_micro.py`, samovar beside functools in groups.

For a quick look and for `--benchmark-compare` between two commits. The figure of record is `python -m bench`, whose
contestants take turns; here they run one after the other. No time is asserted.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

import pytest

from bench import peers
from bench.cases.contest import warm_with
from bench.cases.evictions import ROUND
from bench.cases.hits import body, in_random_order, ints, strs
from bench.cases.methods import body as method_body
from bench.cases.methods import bound
from bench.cases.shapes import first, seven
from bench.loops import keyword_each, method_each, none_each, one_each, two_each
from bench.rounds import own_copy

pytest.importorskip("pytest_benchmark")
MAKERS = {peers.FUNCTOOLS: peers.by_functools, **peers.OURS}
CALLS = 10_000

Loop = Callable[[Any, Sequence[Any]], Any]


@pytest.fixture(params=MAKERS)
def maker(request: pytest.FixtureRequest) -> Any:
    return MAKERS[request.param]


def run(benchmark: Any, group: str, loop: Loop, call: Any, batch: Sequence[Any]) -> None:
    benchmark.group = f"{group}, {len(batch):,} calls"
    benchmark(own_copy(loop), call, batch)


@pytest.mark.parametrize("kind, keys", [("int", ints()), ("str", strs())], ids=["int", "str"])
def test_hit_of_one_argument(benchmark: Any, maker: Any, kind: str, keys: list[Any]) -> None:
    memoized = maker(body, 1024)
    warm_with(keys)(memoized)
    run(benchmark, f"hit, one {kind}", one_each, memoized, in_random_order(keys, CALLS))
    assert memoized.cache_info().misses == len(keys)


def test_hit_unbounded(benchmark: Any, maker: Any) -> None:
    memoized = maker(body, None)
    warm_with(ints())(memoized)
    run(benchmark, "hit, unbounded", one_each, memoized, in_random_order(ints(), CALLS))


def test_hit_of_two_arguments(benchmark: Any, maker: Any) -> None:
    pairs = [(number, number % 37) for number in ints()]
    run(benchmark, "hit, two ints", two_each, maker(first, 1024), in_random_order(pairs, CALLS))


def test_hit_of_a_keyword(benchmark: Any, maker: Any) -> None:
    run(benchmark, "hit, one keyword", keyword_each, maker(body, 1024), in_random_order(ints(), CALLS))


def test_hit_of_no_argument(benchmark: Any, maker: Any) -> None:
    run(benchmark, "hit, no argument", none_each, maker(seven, 1024), [None] * CALLS)


def test_hit_of_a_method(benchmark: Any, maker: Any) -> None:
    run(benchmark, "hit, a method", method_each, bound(maker(method_body, 1024)), in_random_order(ints(), CALLS))


@pytest.mark.parametrize("fn", [abs, body], ids=["C body", "Python body"])
def test_miss_that_evicts(benchmark: Any, maker: Any, fn: Callable[..., Any]) -> None:
    memoized = maker(fn, 1024)
    run(benchmark, f"miss and evict, {'C' if fn is abs else 'Python'} body", one_each, memoized, ROUND[:8192])
    assert memoized.cache_info().hits == 0
