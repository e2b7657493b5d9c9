"""`replay`: what it takes, what it answers, what it refuses, and that it lets other threads run."""

import ctypes
import threading
from array import array

import pytest

from samovar import Replayed, _core, replay

RULES = ("lru", "fifo", "sieve", "s3fifo", "tinylfu", "adaptive", "gdsf")
LOOP = array("Q", list(range(50)) * 20)


def test_replay_counts_requests_hits_and_evictions():
    result = replay(array("Q", [1, 2, 1, 3, 1, 2]), 2, "lru")
    assert result == Replayed("lru", 2, requests=6, hits=2, evictions=2, requested_weight=6, hit_weight=2)
    assert (result.misses, result.hit_ratio, result.weight_hit_ratio) == (4, 2 / 6, 2 / 6)


def test_replay_of_nothing_hits_nothing():
    result = replay(array("Q"), 5)
    assert (result.requests, result.hits, result.hit_ratio, result.weight_hit_ratio) == (0, 0, 0.0, 0.0)
    weighed = replay(array("Q"), 5, weights=array("I"))
    assert weighed.requested_weight == 0


def test_replay_is_adaptive_unless_told_otherwise():
    assert replay(LOOP, 25) == replay(LOOP, 25, "adaptive")
    assert replay(LOOP, 25).hits > 250 and replay(LOOP, 25, "lru").hits == 0


@pytest.mark.parametrize("rule", RULES)
def test_replay_with_room_for_all_misses_each_key_once(rule):
    result = replay(LOOP, 50, rule)
    assert (result.hits, result.evictions, result.eviction) == (950, 0, rule)


@pytest.mark.parametrize("rule", RULES)
def test_replay_gives_the_same_result_again(rule):
    assert replay(LOOP, 20, rule) == replay(LOOP, 20, rule)


def test_replay_names_every_rule_there_is():
    assert set(_core.evictions()) == set(RULES)
    assert all(f'"{rule}"' in replay.__doc__ for rule in RULES)


# ------------------------------------------------------------------ sizes

def test_replay_of_several_sizes_is_a_curve():
    sizes = (1, 10, 49, 50)
    curve = replay(LOOP, sizes, "fifo")
    assert curve == tuple(replay(LOOP, size, "fifo") for size in sizes)
    assert [result.maxsize for result in curve] == list(sizes)
    assert replay(LOOP, [7]) == (replay(LOOP, 7),)
    assert replay(LOOP, []) == ()
    assert replay(LOOP, range(1, 4)) == replay(LOOP, iter([1, 2, 3]))


@pytest.mark.parametrize("maxsize, error, words", [
    (0, ValueError, "maxsize must be at least 1 and below 2**63, not 0"),
    (-3, ValueError, "not -3"),
    (2**63, ValueError, "below 2**63"),
    ([4, 0], ValueError, "not 0"),
    (2.5, TypeError, "maxsize must be a whole number or several of them, not 2.5"),
    ("12", TypeError, "not '12'"),
    (None, TypeError, "not None"),
    ([4, "x"], TypeError, "maxsize must be"),
])
def test_replay_refuses_a_size_that_is_none(maxsize, error, words):
    with pytest.raises(error) as raised:
        replay(LOOP, maxsize)
    assert words in str(raised.value)


def test_replay_takes_the_largest_size_without_its_memory():
    assert replay(LOOP, 2**63 - 1).hits == 950


@pytest.mark.parametrize("eviction, error", [("LRU", ValueError), ("", ValueError), (None, TypeError), (b"lru", TypeError)])
def test_replay_refuses_a_rule_that_is_none(eviction, error):
    with pytest.raises(error, match="eviction must be"):
        replay(LOOP, 5, eviction)


# ------------------------------------------------------------------ keys and weights

@pytest.mark.parametrize("keys", [
    array("Q", [3, 1, 3]),
    array("q", [-3, 1, -3]),
    (ctypes.c_uint64 * 3)(3, 1, 3),
    (ctypes.c_int64 * 3)(-3, 1, -3),
    memoryview(array("Q", [3, 1, 3]).tobytes()).cast("Q"),
    memoryview(bytearray(24)).cast("q"),
], ids=lambda keys: type(keys).__name__)
def test_replay_takes_any_buffer_of_64_bit_integers(keys):
    result = replay(keys, 2, "lru")
    assert result.requests == 3 and result.hits in (1, 2)


def test_replay_takes_numpy_arrays():
    numpy = pytest.importorskip("numpy")
    plain = numpy.array([5, 6, 5, 7, 5], dtype=numpy.int64)
    for keys in (plain, plain.astype(numpy.uint64), numpy.repeat(plain, 2)[::2].copy()):
        assert replay(keys, 2, "lru").hits == 2
    assert [one.hits for one in replay(plain, numpy.array([1, 2, 3]), "lru")] == [0, 2, 2]
    assert replay(plain, numpy.int32(2), "lru") == replay(plain, numpy.array(2), "lru") == replay(plain, 2, "lru")
    assert replay(plain, 4, "lru", weights=numpy.full(5, 2, dtype=numpy.uint32)).hits == 2
    frozen = plain.copy()
    frozen.flags.writeable = False
    assert replay(frozen, 2, "lru").hits == 2
    for wrong in (plain.reshape(1, 5), *map(plain.astype, (float, object, numpy.int32, ">i8", "M8[s]"))):
        with pytest.raises(TypeError, match="keys must be a NumPy array or another one-dimensional buffer of 64-bit"):
            replay(wrong, 2)
    with pytest.raises(ValueError, match=r"keys must be contiguous: numpy.ascontiguousarray\(keys\)"):
        replay(numpy.arange(10)[::2], 2)
    with pytest.raises(TypeError, match="weights must be .* 32-bit unsigned integers .*, not 1-dimensional ndarray"):
        replay(plain, 2, weights=plain)


@pytest.mark.parametrize("keys", [[1, 2], (1, 2), range(3), "12345678", b"12345678", 5, None, {1, 2}, array("I", [1, 2]),
                                  array("d", [1.0]), memoryview(b"x" * 16).cast("Q", (2, 1))])
def test_replay_refuses_keys_that_are_no_such_buffer(keys):
    with pytest.raises(TypeError, match="keys must be a NumPy array or another one-dimensional buffer of 64-bit"):
        replay(keys, 2)


def test_replay_says_how_a_list_becomes_a_buffer():
    with pytest.raises(TypeError, match=r"not list; array\.array\('Q', keys\) makes one"):
        replay([1, 2, 3], 2)


def test_replay_tells_all_keys_apart():
    edges = array("Q", [0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1] * 3)
    for rule in RULES:
        assert replay(edges, 100, rule).hits == 14


def test_replay_with_weights_holds_that_much():
    keys, weights = array("Q", [1, 2, 3, 1, 2, 3]), array("I", [4, 4, 1, 4, 4, 1])
    result = replay(keys, 9, "lru", weights=weights)
    assert (result.hits, result.hit_weight, result.requested_weight) == (3, 9, 18)
    assert result.weight_hit_ratio == 0.5
    assert replay(keys, 8, "lru", weights=weights).hits == 0
    assert replay(keys, 3, "lru", weights=weights).hits == 1  # what weighs 4 is never stored


def test_replay_counts_a_weight_of_nothing_as_one():
    assert replay(array("Q", [1, 2, 1]), 1, "lru", weights=array("I", [0, 0, 0])).hits == 0


def test_replay_by_size_and_frequency_serves_more_requests_where_few_are_huge():
    keys = array("Q", [at * at % 97 for at in range(4_000)])
    weights = array("I", [5_000 if key % 10 == 0 else 50 for key in keys])
    assert replay(keys, 8_000, "gdsf", weights=weights).hits > 1.3 * replay(keys, 8_000, "lru", weights=weights).hits


@pytest.mark.parametrize("weights", [array("I", [1, 2]), array("I", [1] * 999), array("I")])
def test_replay_refuses_weights_that_are_not_as_many(weights):
    with pytest.raises(ValueError, match=f"weights must be as many as keys: {len(weights)} weights for 1,000 keys"):
        replay(LOOP, 5, weights=weights)


@pytest.mark.parametrize("weights", [[1] * 1000, array("Q", [1] * 1000), array("i", [1] * 1000), array("f", [1] * 1000), 3])
def test_replay_refuses_weights_that_are_no_such_buffer(weights):
    with pytest.raises(TypeError, match="weights must be a NumPy array or another one-dimensional buffer of 32-bit unsigned"):
        replay(LOOP, 5, weights=weights)


def test_replay_lets_go_of_its_buffers():
    keys, weights = array("Q", [1, 2, 3]), array("I", [1, 1, 1])
    replay(keys, 2, weights=weights)
    with pytest.raises(ValueError):
        replay(keys, 2, weights=array("I"))
    keys.append(4)  # BufferError while somebody holds the buffer
    weights.append(4)


# ------------------------------------------------------------------ threads, and the estimate

def test_replays_run_side_by_side_and_agree():
    start, results = threading.Barrier(4), []

    def work():
        start.wait(30)
        results.append(replay(LOOP, [10, 20, 30]))

    crowd = [threading.Thread(target=work) for _ in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(60)
    assert results == [replay(LOOP, [10, 20, 30])] * 4


def is_held(keys):
    """Whether somebody reads the buffer at this moment: then it cannot grow."""
    try:
        keys.append(0)
    except BufferError:
        return True
    keys.pop()
    return False


def changed_while_replayed(keys):
    """Start a replay in a thread and change the last key as soon as it reads: did this thread come to run in time?"""
    keys[-1] = 0
    results = []
    thread = threading.Thread(target=lambda: results.append(replay(keys, 1, "lru")))
    thread.start()
    while thread.is_alive() and not is_held(keys):
        pass
    keys[-1] = 1
    thread.join(60)
    return results[0].misses == 2


def test_replay_runs_without_the_gil():
    keys = array("Q", [0]) * 8_000_000
    assert any(changed_while_replayed(keys) for _ in range(20))


@pytest.mark.parametrize("rule", RULES)
def test_estimate_of_every_key_is_the_truth(rule):
    true = replay(LOOP, 40, rule).hit_ratio
    assert abs(_core.estimate(LOOP, None, rule, 20, 40, 1, 1) - true) < 0.002


def test_estimate_of_one_key_in_four_is_near():
    keys = array("Q", [int(1.0004 ** (at * 7_919 % 20_000)) * 7 + at // 2_000 for at in range(60_000)])
    for rule in ("lru", "adaptive"):
        true = replay(keys, 2_048, rule).hit_ratio
        assert abs(_core.estimate(keys, None, rule, 1_024, 2_048, 4, 1) - true) < 0.025
