"""Timelines made ahead of time: `feed` is what users see, `rules` decides, `local` and `redis` keep."""

from .feed import Feed

__all__ = ["Feed"]
