"""Level 2: a cache for an application."""

from .cache import Cache
from .context import LoadContext
from .decorator import cached

__all__ = ["Cache", "LoadContext", "cached"]
