"""How many bytes does a million entries take, beyond the keys and the values?

Each contestant fills itself in a fresh process whose keys exist already and are their own values; the growth of the
process's resident memory, divided by the entries, is the figure. It is what an operator sees, whatever allocator the
contestant uses, and includes table slack. `python -m bench.cases.memory NAME COUNT` is that fresh process.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import peers
from bench.cases.contest import Case
from bench.cases.large import SLOW
from bench.rounds import Effort, Result

CEILING = 42.0


def memory(effort: Effort) -> Result:
    result = Result({}, {}, {}, [], peers.FUNCTOOLS, unit="bytes", rounds=1)
    guests = [name for name in effort.peers if name != "async-lru" and not (effort.quick and name in SLOW)]
    for name in (peers.FUNCTOOLS, peers.DROP_IN, peers.MEMOIZE, peers.DICT, *guests):
        command = [sys.executable, "-m", "bench.cases.memory", name, str(effort.large)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            result.notes.append(f"{name}: not measured here, filling took more than a minute")
            continue
        if done.returncode:
            result.notes.append(f"{name}: not measured here, {(done.stderr.strip().splitlines() or ['died'])[-1]}")
            continue
        result.ns[name] = float(done.stdout)
    base = result.ns[peers.FUNCTOOLS]
    result.ratio = {name: base / found for name, found in result.ns.items()}
    result.unsure = {name: 0.0 for name in result.ns}
    return result


def resident() -> int:
    """Bytes of this process that are in memory now."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    found = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(found.stdout) * 1024


def fill_alone(name: str, count: int) -> float:
    """Bytes per entry of the contestant `name`, in this process."""
    keys = list(range(1000, 1000 + count))
    entries: dict[int, int] = {}
    memoized: Any = None
    if name != peers.DICT:
        makers = {peers.FUNCTOOLS: peers.by_functools} | peers.OURS | {n: make for n, (_, make) in peers.PEERS.items()}
        memoized = makers[name](abs, count + 7)
        memoized(1)
    gc.collect()
    before = resident()
    if memoized is None:
        for key in keys:
            entries[key] = key
    else:
        for key in keys:
            memoized(key)
    gc.collect()
    return (resident() - before) / count


if __name__ == "__main__":
    print(fill_alone(sys.argv[1], int(sys.argv[2])))

CASES = (Case("bytes", "bytes per entry at 1M", memory, at_most=CEILING, processes=1, large=True),)
