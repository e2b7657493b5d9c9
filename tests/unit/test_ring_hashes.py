"""The hashes of the ring beside those of the `xxhash` package, and its places beside hashlib."""

import random

import pytest
from hypothesis import given, strategies as st
from xxhash import xxh3_64_intdigest, xxh64_intdigest

from samovar import _core

PAIRS = [(_core.xxh3, xxh3_64_intdigest), (_core.xxh64, xxh64_intdigest)]
NAMES = ["xxh3", "xxh64"]
SEEDS = st.one_of(st.sampled_from([0, 1, 2**32, 2**64 - 1]), st.integers(0, 2**64 - 1))


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=NAMES)
def test_hash_is_that_of_the_specification_for_every_length_to_1024(ours, theirs):
    data = random.Random(1).randbytes(1024)
    for length in range(1025):
        assert ours(data[:length]) == theirs(data[:length])
        assert ours(data[:length], length * 0x9E3779B97F4A7C15 % 2**64) == \
            theirs(data[:length], seed=length * 0x9E3779B97F4A7C15 % 2**64)


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=NAMES)
def test_hash_is_that_of_the_specification_for_long_inputs(ours, theirs):
    chance = random.Random(2)
    for length in [1025, 2047, 2048, 2049, 4096, *(chance.randrange(1025, 200_000) for _ in range(60))]:
        data, seed = chance.randbytes(length), chance.getrandbits(64)
        assert (ours(data), ours(data, seed)) == (theirs(data), theirs(data, seed=seed))


@pytest.mark.parametrize("ours, theirs", PAIRS, ids=NAMES)
@given(data=st.binary(max_size=2_500), seed=SEEDS)
def test_hash_is_that_of_the_specification_for_any_bytes(ours, theirs, data, seed):
    assert ours(data, seed) == theirs(data, seed=seed)


def test_hash_refuses_what_is_not_bytes():
    for wrong in ("text", 5, None, bytearray(b"x")):
        with pytest.raises(TypeError):
            _core.xxh3(wrong)
