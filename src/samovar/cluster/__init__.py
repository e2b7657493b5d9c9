"""Level 3: a cache over many machines.

The ring is there at once; the rest is imported when it is first named, so that a program without a shared tier does not
wait for what speaks to one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .ring import HashRing, RingDiff, RingLoad

if TYPE_CHECKING:
    from .cluster import Cluster
    from .cluster_async import AsyncCluster
    from .hot import HotKeys
    from .local import LocalNode
    from .memcached import MemcachedNode
    from .redis import RedisNode
    from .report import ClusterStats

__all__ = [
    "AsyncCluster", "Cluster", "ClusterStats", "HashRing", "HotKeys", "LocalNode", "MemcachedNode", "RedisNode",
    "RingDiff", "RingLoad",
]

_ROOMS = {"AsyncCluster": "cluster_async", "Cluster": "cluster", "ClusterStats": "report", "HotKeys": "hot",
          "LocalNode": "local", "MemcachedNode": "memcached", "RedisNode": "redis"}


def __getattr__(name: str) -> Any:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f".{room}", __name__), name)
    return found
