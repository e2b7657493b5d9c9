"""What is done with clients of redis-py's besides asking them: a blocking one is made beside one of redis.asyncio, for the
threads of the bus, and each new connection says which run of the engine it met, for redis-py connects again without a word.

The one rule: a caller's client is never closed, changed or made to raise here; its new connections ask for INFO, no more.
"""

import inspect
import threading
import weakref
from collections.abc import Callable
from typing import Any

from .._base.extras import needed

_SLOWEST_S = 1.0  # for an answer, where the settings say nothing: a thread waits for it
_NOT_OURS = {"retry", "retry_on_error", "redis_connect_func", "parser_class", "connection_pool", "event_dispatcher",
             "maint_notifications_config", "himport_registry"}  # of asyncio, or of that client alone


class Runs:
    """Which run of the engine a client's connections meet. accepted: the one that was taken in; met: the latest one's."""

    def __init__(self) -> None:
        self.accepted = self.met = ""

    @property
    def is_other(self) -> bool:
        """Whether another run of the engine is there than the one that was taken in."""
        if not self.accepted:
            self.accepted = self.met
        return self.met != self.accepted

    def watch(self, client: Any, run_of: Callable[[Any], str]) -> None:
        """Be told of each connection that a client makes from now on. A Redis Cluster's are many engines': not of these."""
        pool = getattr(client, "connection_pool", None)
        settings = getattr(pool, "connection_kwargs", None)
        if type(settings) is not dict:
            return
        greeter: Any = settings.get("redis_connect_func")
        if not hasattr(greeter, "watchers"):
            make = _agreeter if type(client).__module__.startswith("redis.asyncio") else _greeter
            greeter = settings["redis_connect_func"] = make(greeter, run_of, needed("redis.exceptions", "redis", "RedisNode"))
        greeter.watchers.append(weakref.ref(self))


def _tell(greeter: Any, run: str) -> None:
    for ref in list(greeter.watchers):
        runs = ref()
        if runs is None:
            greeter.watchers.remove(ref)
        elif run:
            runs.met = run


def _default(connection: Any) -> Any:
    """What a connection does first where nothing else is said."""
    return getattr(connection, "on_connect_check_health", connection.on_connect)()


def _greeter(own: Any, run_of: Callable[[Any], str], errors: Any) -> Any:
    def greet(connection: Any) -> None:
        (own or _default)(connection)
        connection.send_command("INFO", "server", check_health=False)
        try:
            run = run_of(connection.read_response())
        except errors.ResponseError:  # its rights do not reach to INFO
            run = ""
        _tell(greet, run)

    greet.watchers = []  # type: ignore[attr-defined]
    return greet


def _agreeter(own: Any, run_of: Callable[[Any], str], errors: Any) -> Any:
    async def greet(connection: Any) -> None:
        said = (own or _default)(connection)
        if inspect.isawaitable(said):
            await said
        await connection.send_command("INFO", "server", check_health=False)
        try:
            run = run_of(await connection.read_response())
        except errors.ResponseError:
            run = ""
        _tell(greet, run)

    greet.watchers = []  # type: ignore[attr-defined]
    return greet


def for_threads(aclient: Any) -> Any:
    """A blocking client to the same engine, with the settings of one of redis.asyncio; None for one that is of no kind that
    is known here. The caller closes it."""
    redis = needed("redis", "redis", "RedisNode")
    if hasattr(aclient, "get_primaries"):
        return _for_cluster(aclient)
    pool = aclient.connection_pool
    settings = pool.connection_kwargs
    manager = getattr(pool, "sentinel_manager", None)
    if manager is not None:
        sentinels = [(one.connection_pool.connection_kwargs["host"], one.connection_pool.connection_kwargs["port"])
                     for one in manager.sentinels]
        kind = redis.connection.SSLConnection if "ssl_ca_certs" in settings else redis.connection.Connection
        made = redis.sentinel.Sentinel(sentinels, manager.min_other_sentinels,
                                       _settings(redis, redis.connection.Connection, manager.sentinel_kwargs),
                                       **_settings(redis, kind, settings))
        return made.master_for(pool.service_name)
    known = {f"redis.asyncio.connection.{name}": getattr(redis.connection, name)
             for name in ("Connection", "SSLConnection", "UnixDomainSocketConnection")}
    kind = known.get(f"{pool.connection_class.__module__}.{pool.connection_class.__name__}")
    if kind is None:
        return None
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=kind, **_settings(redis, kind, settings)))


class _Later:
    """A RedisCluster, which connects when it is made: so it is made when it is first asked, and not before."""

    connection_pool = None

    def __init__(self, make: Callable[[], Any], encoder: Any) -> None:
        self._make, self._encoder, self._lock = make, encoder, threading.Lock()
        self._made: Any = None

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def execute_command(self, *words: Any, **how: Any) -> Any:
        return self._client().execute_command(*words, **how)

    def pipeline(self, **how: Any) -> Any:
        return self._client().pipeline(**how)

    def pubsub(self) -> Any:
        return self._client().pubsub()

    def get_primaries(self) -> Any:
        return self._client().get_primaries()

    def get_encoder(self) -> Any:
        return self._encoder

    def close(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            made.close()


def _for_cluster(aclient: Any) -> Any:
    redis, cluster = (needed(name, "redis", "RedisNode") for name in ("redis", "redis.cluster"))
    nodes = [cluster.ClusterNode(node.host, node.port) for node in aclient.nodes_manager.startup_nodes.values()]
    kind = redis.connection.SSLConnection if aclient.connection_kwargs.get("ssl") else redis.connection.Connection
    settings = _settings(redis, kind, aclient.connection_kwargs)
    for name in ("host", "port", "db"):
        settings.pop(name, None)
    return _Later(lambda: cluster.RedisCluster(startup_nodes=nodes, **settings), aclient.get_encoder())


def _settings(redis: Any, kind: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Those settings that a blocking connection of this kind knows too; it does not try again, and waits for a time that
    ends."""
    names = {name for one in kind.__mro__[:-1] if "__init__" in vars(one)
             for name in inspect.signature(one.__init__).parameters}
    kept = {name: setting for name, setting in given.items() if name in names and name not in _NOT_OURS}
    for name in ("socket_timeout", "socket_connect_timeout"):
        kept[name] = _SLOWEST_S if kept.get(name) is None else kept[name]
    return {**kept, "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0)}
