"""A replay that meets the end of memory says so, lets go of what it held, and the next one works."""

import os
import sys

import pytest

from support import fresh_python

REPLAY = """
import resource
from array import array
import samovar

keys = array("Q", range(4_000_000))     # 32 bytes each and more, in a replay with room for all
samovar.replay(keys, 10)                # what libraries allocate once is there
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20), hard))
for rule in samovar._core.evictions():
    try:
        samovar.replay(keys, 10**9, rule)
    except MemoryError as error:
        assert "no memory for the entries of a replay" in str(error), error
    else:
        raise AssertionError(f"{rule} had memory")
    assert samovar.replay(keys[:1000], 10**9, rule).misses == 1000
keys.append(1)                          # BufferError if a replay still held it
print("sound")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS and /proc")
@pytest.mark.skipif("SAMOVAR_SANITIZED" in os.environ, reason="sanitizers reserve the whole address space")
def test_replay_says_that_there_is_no_memory_and_holds_nothing():
    assert "sound" in fresh_python(REPLAY)
