"""Replays beside twins written from the words of the papers: any trace, any size, the same number of hits."""

import random
from array import array

import pytest
from hypothesis import example, given, settings, strategies as st

from samovar import replay
from twins.eviction import RULES

EDGES = [0, 1, 2**63 - 1, 2**63, 2**64 - 3, 2**64 - 1]  # beside 2**64 - 2 the last one has a test of its own
traces = st.one_of(
    st.lists(st.integers(0, 12), max_size=150),
    st.lists(st.integers(0, 60), max_size=400),
    st.lists(st.sampled_from(EDGES), max_size=60),
    st.builds(lambda lap, laps, scan: [*(list(range(lap)) * laps), *range(100, 100 + scan), *range(lap)],
              st.integers(1, 40), st.integers(1, 6), st.integers(0, 60)),
)


def hits_of(twin, keys, *weights):
    return sum(twin.ask(*request) for request in zip(keys, *weights))


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=150)
@given(trace=traces, maxsize=st.integers(1, 45))
@example(trace=[], maxsize=1)
@example(trace=[5, 5, 5, 6, 6, 6, 7, 5, 6], maxsize=1)
def test_replay_counts_the_hits_of_the_twin(rule, trace, maxsize):
    twin = RULES[rule](maxsize)
    result = replay(array("Q", trace), maxsize, rule)
    assert (result.hits, result.requests) == (hits_of(twin, trace), len(trace))
    assert result.evictions == max(0, result.misses - min(maxsize, len(set(trace)), result.misses))


@pytest.mark.parametrize("rule", RULES)
def test_last_two_keys_are_told_apart_while_they_are_kept(rule):
    """Once they were evicted one hash stands for both."""
    assert replay(array("Q", [2**64 - 2, 2**64 - 1] * 5), 4, rule).hits == 8


def mixed(requests, seed):
    """Skewed requests, a scan, a loop and short-lived keys, in turn."""
    chance = random.Random(seed)
    kinds = [
        lambda at: int(2 ** (11 * chance.random())),
        lambda at: 100_000 + at if at % 3 == 0 else int(2 ** (9 * chance.random())),
        lambda at: 50_000 + at % 130,
        lambda at: 1_000_000 + at // 4 - chance.randrange(20),
    ]
    return [kinds[at // 1_500 % len(kinds)](at) for at in range(requests)]


@pytest.mark.parametrize("maxsize", [7, 100, 333])
@pytest.mark.parametrize("rule", RULES)
def test_replay_counts_the_hits_of_the_twin_on_a_long_trace(rule, maxsize):
    trace = mixed(18_000, seed=maxsize)
    assert replay(array("Q", trace), maxsize, rule).hits == hits_of(RULES[rule](maxsize), trace)


@pytest.mark.parametrize("rule", ["lru", "fifo"])
@settings(max_examples=150)
@given(requests=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 12)), max_size=200), maxsize=st.integers(1, 40))
def test_replay_keeps_the_weight_as_the_twin_does(rule, requests, maxsize):
    keys, weights = array("Q", [key for key, _ in requests]), array("I", [weight for _, weight in requests])
    twin = RULES[rule](maxsize)
    heavy = [max(weight, 1) for weight in weights]  # nothing weighs nothing
    hit = [twin.ask(key, weight) for key, weight in zip(keys, heavy)]
    result = replay(keys, maxsize, rule, weights=weights)
    assert result.hits == sum(hit)
    assert result.hit_weight == sum(weight for weight, was in zip(heavy, hit) if was)
    assert result.requested_weight == sum(heavy)
