"""`Stats` and `Latency`: what is counted, and what follows from it."""

import dataclasses

import pytest

from samovar import Stats
from samovar._base.counters import Latency

FIRST = {"hits": 6, "misses": 2, "coalesced": 1, "loads": 3, "failures": 1, "evictions": 4, "currsize": 5, "maxsize": 9}


def test_stats_of_a_function_need_eight_numbers_in_this_order():
    assert Stats(6, 2, 1, 3, 1, 4, 5, 9) == Stats(**FIRST)
    assert [field.name for field in dataclasses.fields(Stats)][:8] == list(FIRST)


def test_stats_of_a_cache_count_stale_hits_as_answered():
    stats = Stats(**FIRST, stale_hits=2)
    assert stats.asked == 10
    assert stats.hit_ratio == 0.8


def test_stats_have_no_ratio_before_anything_was_asked():
    assert Stats(0, 0, 0, 0, 0, 0, 0, None).hit_ratio == 0.0


def test_stats_begin_with_nothing_measured():
    stats = Stats(**FIRST)
    assert stats.load_latency == Latency(0, 0.0, 0.0, 0.0, 0.0)
    assert stats.hit_latency is None and stats.maxweight is None
    causes = (stats.expired, stats.replaced, stats.deleted, stats.invalidated, stats.cleared, stats.weight)
    assert causes == (0,) * 6


def test_stats_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Stats(**FIRST).hits = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        Latency().count = 3
