"""A proxy for people: the words that they say to it (words, told), how it runs by them, and what it tells and does when its
owner asks: health, numbers, the status page, purging."""

from .told import EdgeSettings, settings

__all__ = ["EdgeSettings", "settings"]
