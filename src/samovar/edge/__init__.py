"""Level 5, the edge: HTTP. `rules` decides what an HTTP cache may do (RFC 9111); the fronts do it.

    HTTPCacheMiddleware   an HTTP cache in front of an ASGI application, in its own process
    cache_control         a Cache-Control value from words that are checked
    Exchange              the cache behind every front: a policy, a vault and an origin; EdgeStats: what it counted
    Policy                what the owner of a cache has decided
    proxy.serve           a caching reverse proxy: `front` has the clients, `upstream` the origin, `wire` reads both
"""

from .asgi import HTTPCacheMiddleware
from .control import CacheControl, cache_control
from .exchange import Exchange
from .numbers import EdgeStats
from .rules import Policy

__all__ = ["CacheControl", "EdgeStats", "Exchange", "HTTPCacheMiddleware", "Policy", "cache_control"]
