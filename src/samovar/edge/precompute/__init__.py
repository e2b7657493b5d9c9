"""Results made ahead of time: `schedule` decides what is built next, two drivers build it, `results` is how it is kept."""

from .decorator import precompute
from .results import KeyStatus, PrecomputeStatus

__all__ = ["KeyStatus", "PrecomputeStatus", "precompute"]
