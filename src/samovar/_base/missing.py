"""The sentinel for "there is no such value": a cached None is a value. The native core's own."""

from .._core import MISSING

__all__ = ["MISSING"]
