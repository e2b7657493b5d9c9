"""Level 3: a cache over many machines."""

from .ring import HashRing, RingDiff, RingLoad

__all__ = ["HashRing", "RingDiff", "RingLoad"]
