"""Level 1: remember a function's answers."""

from .decorator import cache, lru_cache, memoize
from .method import cached_method

__all__ = ["cache", "cached_method", "lru_cache", "memoize"]
