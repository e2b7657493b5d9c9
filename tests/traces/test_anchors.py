"""LRU, FIFO, SIEVE and S3-FIFO reach on real traces, hit for hit, what other implementations reach.

The traces are other people's recordings and are not ours to copy: they lie in `shared/traces` beside the checkout, or
where SAMOVAR_TRACES says, with `anchors.csv` (trace,size,policy,hit_ratio: six decimals, each confirmed by two
implementations). A CI must have them, or say that it has none (SAMOVAR_TRACES=none). `tests/models` walks the same
rules beside twins and needs no trace.
"""

import csv
import os
from functools import cache
from pathlib import Path

import pytest

from samovar import _core, replay

BESIDE = Path(__file__).parents[2].parent / "shared" / "traces"
FOLDER = Path(os.environ.get("SAMOVAR_TRACES") or BESIDE)
RULES = {"LRU": "lru", "FIFO": "fifo", "SIEVE": "sieve", "S3FIFO": "s3fifo"}
EXACT = 1e-6


@pytest.fixture(scope="module", autouse=True)
def there_are_traces():
    if (FOLDER / "anchors.csv").exists():
        return
    if os.environ.get("CI") == "true" and os.environ.get("SAMOVAR_TRACES") != "none":
        pytest.fail(f"no traces in {FOLDER}: put them there, or set SAMOVAR_TRACES to their folder, or to `none`")
    pytest.skip(f"no traces in {FOLDER}; SAMOVAR_TRACES names another folder")


@cache
def keys_of(trace):
    import zstandard

    with (FOLDER / f"{trace}.u64.zst").open("rb") as file:
        packed = zstandard.ZstdDecompressor().stream_reader(file).read()
    return memoryview(packed).cast("Q")


@cache
def cells():
    """(trace, size) -> {policy: hit ratio}, for the traces that are here."""
    found = {}
    with (FOLDER / "anchors.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if (FOLDER / f"{row['trace']}.u64.zst").exists():
                found.setdefault((row["trace"], int(row["size"])), {})[row["policy"]] = float(row["hit_ratio"])
    return found


def all_of(rule):
    """(cell, what `rule` reaches there) for every cell, each trace's sizes in one curve."""
    for trace in sorted({trace for trace, _ in cells()}):
        sizes = [size for name, size in cells() if name == trace]
        for result in replay(keys_of(trace), sizes, rule):
            yield (trace, result.maxsize), result.hit_ratio


def mean(numbers):
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


@pytest.mark.parametrize("policy", RULES)
def test_rule_equals_its_anchor_on_every_row(policy):
    found = {cell: (reached, cells()[cell][policy]) for cell, reached in all_of(RULES[policy]) if policy in cells()[cell]}
    assert len(found) >= 60, "nearly every row of the traces that are here has an anchor"
    assert not {cell: pair for cell, pair in found.items() if abs(pair[0] - pair[1]) > EXACT}


def test_adaptive_reaches_what_is_asked_of_it_and_has_no_disaster():
    """The bars: near the best of six policies in each cell, well above every fixed one, nowhere far below LRU."""
    six = ("LRU", "SIEVE", "LIRS", "ARC", "WTinyLFU-w10", "S3FIFO")
    reached = dict(all_of("adaptive"))
    best = {cell: max(cells()[cell][name] for name in six) for cell in reached}
    assert mean(reached.values()) > max(mean(cells()[cell][name] for cell in reached) for name in six) + 0.01
    assert mean(reached[cell] - best[cell] for cell in reached) >= -0.01
    assert mean(reached[cell] / cells()[cell]["Belady"] for cell in reached) >= 0.785
    assert min(reached[cell] - cells()[cell]["LRU"] for cell in reached) >= -0.06


def test_tinylfu_is_no_worse_than_its_fixed_window():
    reached = dict(all_of("tinylfu"))
    assert mean(reached.values()) >= mean(cells()[cell]["WTinyLFU-w10"] for cell in reached) - 0.005


@pytest.mark.parametrize("rule", ["lru", "s3fifo", "adaptive"])
def test_estimate_knows_the_hit_ratio_at_twice_the_size(rule):
    """Within a point on average and two and a half at the ninth decile, by a sample of 256 entries' worth of keys."""
    errors = []
    for trace, size in cells():
        true = replay(keys_of(trace), 2 * size, rule).hit_ratio
        errors.append(abs(_core.estimate(keys_of(trace), None, rule, size, 2 * size, 0, 1) - true))
    assert mean(errors) <= 0.01
    assert sorted(errors)[len(errors) * 9 // 10] <= 0.025
