"""Level 3: a cache over many machines."""

from .cluster import Cluster
from .cluster_async import AsyncCluster
from .face import ClusterStats
from .hot import HotKeys
from .local import LocalNode
from .memcached import MemcachedNode
from .redis import RedisNode
from .ring import HashRing, RingDiff, RingLoad

__all__ = [
    "AsyncCluster", "Cluster", "ClusterStats", "HashRing", "HotKeys", "LocalNode", "MemcachedNode", "RedisNode",
    "RingDiff", "RingLoad",
]
