"""What does the application cache cost, beside the bare dict that it takes the place of?

The same loops over a `dict` and over `samovar.Cache` with its default rule, adaptive: reading what is there, asking for
what is not, writing what is there, writing what is new and evicts (beside cachebox's LRU cache, which must be
installed for this row). Then what lifetimes cost: a hit that looks at a deadline beside one that has none to look at,
and a memoized hit with a ttl beside functools.lru_cache, which has no such thing; `get_or_set` beside `get`; and the
bytes that an entry with a deadline takes. Ratios are the baseline's time by the cache's: more is better.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any, Callable, Sequence

import samovar
from bench import peers
from bench.cases.contest import Case
from bench.cases.hits import body, in_random_order, ints
from bench.cases.memory import resident
from bench.loops import get_each, get_or_set_each, one_each, store_each, subscript_each
from bench.rounds import Effort, Lane, Result, take_turns

CACHE, LRU, TTL, CACHEBOX, GET = "samovar.Cache", "Cache, lru", "Cache, ttl", "cachebox.LRUCache", "Cache.get"
MEMO_TTL = "memoize, ttl"
BYTES = 56.0
NEW = [list(range(number * 200_000, (number + 1) * 200_000)) for number in range(40)]


def cache(**options: Any) -> samovar.Cache[Any, Any]:
    made: samovar.Cache[Any, Any] = samovar.Cache(1024, **options)
    for key in ints():
        made[key] = key
    return made


def beside_dict(effort: Effort, loop: Callable[[Any, Sequence[Any]], Any], asked: Sequence[Any]) -> Result:
    lanes = [
        Lane(peers.DICT, loop, {key: key for key in ints()}, [asked]),
        Lane(CACHE, loop, cache(), [asked]),
        Lane(LRU, loop, cache(eviction="lru"), [asked]),
        Lane(TTL, loop, cache(ttl="1h"), [asked]),
    ]
    return take_turns(lanes, effort, peers.DICT)


def getitem(effort: Effort) -> Result:
    return beside_dict(effort, subscript_each, in_random_order(ints()))


def get(effort: Effort) -> Result:
    return beside_dict(effort, get_each, in_random_order(ints()))


def get_miss(effort: Effort) -> Result:
    return beside_dict(effort, get_each, in_random_order([key + 1_000_000 for key in ints()]))


def update(effort: Effort) -> Result:
    return beside_dict(effort, store_each, in_random_order(ints()))


def insert(effort: Effort) -> Result:
    import cachebox

    made = {CACHEBOX: cachebox.LRUCache(1024), LRU: cache(eviction="lru"), CACHE: cache(),
            TTL: cache(eviction="lru", ttl="1h")}
    return take_turns([Lane(name, store_each, subject, NEW) for name, subject in made.items()], effort, CACHEBOX)


def ttl_hit(effort: Effort) -> Result:
    asked = in_random_order(ints())
    lanes = [Lane(CACHE, subscript_each, cache(), [asked]), Lane(TTL, subscript_each, cache(ttl="1h"), [asked])]
    return take_turns(lanes, effort, CACHE)


def ttl_memo(effort: Effort) -> Result:
    asked = in_random_order(ints())
    made: dict[str, Any] = {peers.FUNCTOOLS: peers.by_functools(body, 1024), MEMO_TTL: samovar.memoize(body, 1024, ttl="1h"),
                            peers.MEMOIZE: samovar.memoize(body, 1024)}
    for memoized in made.values():
        one_each(memoized, ints())
    return take_turns([Lane(name, one_each, memoized, [asked]) for name, memoized in made.items()], effort, peers.FUNCTOOLS)


def get_or_set(effort: Effort) -> Result:
    asked = in_random_order(ints())
    lanes = [Lane(GET, get_each, cache(), [asked]), Lane(CACHE, get_or_set_each, cache(), [asked])]
    return take_turns(lanes, effort, GET)


FILLS: dict[str, Callable[[int], Any]] = {
    peers.DICT: lambda count: {},
    "Cache, lru": lambda count: samovar.Cache(count, eviction="lru"),
    "Cache, lru, ttl": lambda count: samovar.Cache(count, eviction="lru", ttl="1h"),
    "Cache": lambda count: samovar.Cache(count),
    "Cache, ttl": lambda count: samovar.Cache(count, ttl="1h"),
}


def memory(effort: Effort) -> Result:
    """As cases/memory.py: each fills itself in a fresh process, and the growth of resident memory counts."""
    result = Result({}, {}, {}, [], peers.DICT, unit="bytes", rounds=1)
    for name in FILLS:
        command = [sys.executable, "-m", "bench.cases.mapping", name, str(effort.large)]
        result.ns[name] = float(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    result.ratio = {name: result.ns[peers.DICT] / found for name, found in result.ns.items()}
    result.unsure = dict.fromkeys(result.ns, 0.0)
    return result


def fill_alone(name: str, count: int) -> float:
    """Bytes per entry, in this process. The keys exist already, and are their own values."""
    keys = list(range(1000, 1000 + count))
    entries = FILLS[name](count)
    gc.collect()
    before = resident()
    store_each(entries, keys)
    gc.collect()
    return (resident() - before) / count


if __name__ == "__main__":
    print(fill_alone(sys.argv[1], int(sys.argv[2])))

CASES = (
    Case("cache-getitem", "c[key], hit", getitem, (0.9, 0.9), judged=(CACHE,), baseline=peers.DICT, level=2),
    Case("cache-get", "c.get(key), hit", get, (0.9, 0.9), judged=(CACHE,), baseline=peers.DICT, level=2),
    Case("cache-get-miss", "c.get(key), miss", get_miss, (1.1, 1.1), judged=(CACHE,), baseline=peers.DICT, level=2),
    Case("cache-update", "c[key] = value, there", update, (1.0, 1.0), judged=(CACHE,), baseline=peers.DICT, level=2),
    Case("cache-insert", "c[key] = value, new and evicts", insert, (2.0, 2.0), judged=(LRU,), baseline=CACHEBOX, level=2),
    Case("cache-ttl-hit", "c[key], hit with a ttl, beside one without", ttl_hit, (0.8, 0.8), judged=(TTL,),
         baseline=CACHE, level=2),
    Case("memo-ttl-hit", "f(key), hit with a ttl", ttl_memo, (1.0, 1.0), judged=(MEMO_TTL,), level=2),
    Case("cache-get-or-set", "get_or_set, hit, beside get", get_or_set, (0.67, 0.67), judged=(CACHE,), baseline=GET, level=2),
    Case("cache-bytes", "bytes per entry with a ttl at 1M", memory, at_most=BYTES, judged=("Cache, lru, ttl", "Cache, ttl"),
         baseline=peers.DICT, processes=1, large=True, level=2),
)
