"""Samovar: keeps everything hot, and serves a crowd without a stampede.

A cache library built on one idea: store the result of expensive work, and return it when asked again.

Level 1, remembering a function's answers:

    lru_cache, cache    functools' own, faster: swap the import
    memoize             one call works and the crowd waits; def and async def; invalidate, set, refresh
    cached_method       results for each instance apart, and no instance kept alive

Level 2, a cache for an application:

    Cache               a bounded mapping with lifetimes, tags, loads that coalesce, restarts and numbers
    cached              functions that keep their answers in a shared Cache
    LoadContext         what a load may ask and say: ttl, tags, "not modified", "do not store"
    ManualClock         a clock that tests move
    LoadTimeout, SnapshotError, SamovarError
                        what no argument could have prevented

Level 3, a cache over many machines:

    HashRing            which node has which key: consistent hashing with weights, bounded load, ketama
    RingDiff, RingLoad  what moves between two rings, and how evenly one is spread
    Cluster             a cache over nodes on such a ring, with the verbs of Cache; AsyncCluster: the same, awaited
    RedisNode, MemcachedNode, LocalNode
                        what it keeps entries on: Redis and Valkey, Memcached, this process
    HotKeys             how keys that everybody reads are found and spread: Cluster(hot=...)
    ClusterStats        what a process saw of it

Level 4, one works, the crowd waits:

    SingleFlight        concurrent calls for one key become one, and nothing is kept; FlightCounts: what it counted
    FileLease           one load of a key over the processes of a host, without a server
    OriginBudget        how many loads may run at once, over any number of caches; BudgetStats: what it counted
    OriginBusy          a load that got no place there, and when to ask again
    warm, awarm         load what will be asked before anybody asks: at a pace, with a bar, resumable
    hot_set, save_hot_set, load_hot_set
                        the hottest keys, over a restart
    trace_keys          the most asked keys of a trace or an access log
    Warmed              what warming came to

Level 5, HTTP, and answers made ahead of time:

    precompute          results that are built before anybody asks, and built again in the background
    PrecomputeStatus, KeyStatus
                        how old they are, what failed, what waits
    NotBuilt            a result that could not be built, and whose last good one is too old
    Feed                timelines: copied to followers, or fetched from those whom millions follow

    and, imported by name, `from samovar.edge import ...`:

    HTTPCacheMiddleware an HTTP cache in front of an ASGI application
    cache_control       a Cache-Control value from words that are checked

And words for all:

    Freshness           how long a result is good, when it is renewed, when it may be served stale
    Stats               what a cache counts about itself
    replay, Replayed    what another size or eviction rule would have done with a trace
"""

import os as _os
from functools import _CacheInfo
from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import _core
from ._base.clock import ManualClock
from ._base.counters import Stats
from ._base.errors import LoadTimeout, NotBuilt, OriginBusy, SamovarError, SnapshotError
from ._base.freshness import Freshness
from ._version import __version__
from .app import Cache, LoadContext, cached
from .app.replay import Replayed, replay
from .app.steering import renew as _renew, steer as _steer, tags_of as _tags_of
from .app.warming import Warmed
from .cluster import HashRing, RingDiff, RingLoad
from .herd import BudgetStats, FileLease, FlightCounts, OriginBudget, SingleFlight
from .herd.hot import hot_set, load_hot_set, save_hot_set
from .herd.traces import trace_keys
from .herd.warm import awarm, warm
from .memo import cache, cached_method, lru_cache, memoize
from .memo.coroutine import load as _load, refresh as _refresh
from .memo.method import BoundMemo as _BoundMemo
from .memo.options import unhashable as _unhashable

if _TYPE_CHECKING:
    from .cluster import AsyncCluster, Cluster, ClusterStats, HotKeys, LocalNode, MemcachedNode, RedisNode
    from .edge.feeds.feed import Feed
    from .edge.precompute.decorator import precompute
    from .edge.precompute.results import KeyStatus, PrecomputeStatus

__all__ = [
    "AsyncCluster",
    "BudgetStats",
    "Cache",
    "Cluster",
    "ClusterStats",
    "Feed",
    "FileLease",
    "FlightCounts",
    "Freshness",
    "HashRing",
    "HotKeys",
    "KeyStatus",
    "LoadContext",
    "LoadTimeout",
    "LocalNode",
    "ManualClock",
    "MemcachedNode",
    "NotBuilt",
    "OriginBudget",
    "OriginBusy",
    "PrecomputeStatus",
    "RedisNode",
    "Replayed",
    "RingDiff",
    "RingLoad",
    "SamovarError",
    "SingleFlight",
    "SnapshotError",
    "Stats",
    "Warmed",
    "__version__",
    "awarm",
    "cache",
    "cached",
    "cached_method",
    "hot_set",
    "load_hot_set",
    "lru_cache",
    "memoize",
    "precompute",
    "replay",
    "save_hot_set",
    "trace_keys",
    "warm",
]

_core._teach(
    info=_CacheInfo, stats=Stats, load=_load, refresh=_refresh, steer=_steer, renew=_renew, tags_of=_tags_of,
    unhashable=_unhashable, bound=_BoundMemo, busy=OriginBusy,
)
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_core._forked)


_LATER = {  # the rooms of what is imported when it is first named
    **dict.fromkeys(("AsyncCluster", "Cluster", "ClusterStats", "HotKeys", "LocalNode", "MemcachedNode", "RedisNode"),
                    ".cluster"),
    "Feed": ".edge.feeds",
    "precompute": ".edge.precompute",
    **dict.fromkeys(("KeyStatus", "PrecomputeStatus"), ".edge.precompute"),
}


def __getattr__(name: str) -> object:
    room = _LATER.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(_import_module(room, __name__), name)
    return found
