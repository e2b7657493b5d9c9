"""Level 5, the edge: HTTP, and answers made ahead of time.

    rules        what an HTTP cache may do (RFC 9111): decided without I/O
    exchange     the cache behind every front         contracts: what the rooms hand to each other
    middleware   in front of an ASGI application      proxy: between sockets     admin: a proxy for people
    precompute   results built before anybody asks    feeds: timelines

Imports go down: rules, contracts, exchange, then middleware or proxy, then admin. What most need is here:

    HTTPCacheMiddleware   an HTTP cache in front of an ASGI application, in its own process
    cache_control         a Cache-Control value from words that are checked
    Exchange              the cache behind every front: a policy, a vault and an origin; EdgeStats: what it counted
    Policy                what the owner of a cache has decided
    proxy.serve           a caching reverse proxy: `front` has the clients, `upstream` the origin, `wire` reads both
"""

from .exchange.exchange import Exchange
from .exchange.numbers import EdgeStats
from .middleware.asgi import HTTPCacheMiddleware
from .middleware.control import CacheControl, cache_control
from .rules import Policy

__all__ = ["CacheControl", "EdgeStats", "Exchange", "HTTPCacheMiddleware", "Policy", "cache_control"]
