"""A caching reverse proxy: the parts put together, and served by uvicorn.

    serve(Settings(origin="http://127.0.0.1:8000", workers=2))

    client -> Front (front.py) -> Exchange -> Upstream (upstream.py) -> origin, or shield -> origin
                                  Vault

`Edge` is what one process consists of, and the application that uvicorn runs: it is made before the event loop and, for
several workers, sent to each of them, so what belongs to a loop is made when the server starts (ASGI's lifespan). The
workers are uvicorn's: they share the listening sockets, and one that dies is replaced.
"""

import asyncio
import contextlib
import functools
import logging
import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

from ..._base.clock import stopwatch
from ..._base.extras import needed, wanted
from ...app import Cache
from ..contracts import Inform, Origin, Reply, Request, Sender
from ..exchange.exchange import Exchange
from ..exchange.vault import CacheVault
from ..exchange.wall import Wall
from .access import AccessLog
from .certificates import Certificates
from .front import Front
from .joined import Joined
from .known import Knowing
from .limits import FrontLimits
from .settings import Settings, address
from .upstream import Unreachable, Upstream

_logger = logging.getLogger("samovar.edge")
_BACKLOG = 2_048  # connections that wait to be accepted

# Bytes of an answer that the system may hold for a client beside what is on the wire. Without a bound it takes megabytes
# for each slow reader, and says that there is room only once a third of them left: a client that reads slowly but
# steadily would look like one that reads nothing.
_UNSENT = 131_072
_OTHER_FILES = 256  # that are open beside connections
_ANSWERS_S = 15  # a worker that says nothing for so long is replaced; a busy machine needs more than 5 s to start one
_NOT_STARTED = 3  # how a worker of uvicorn ends that did not start


class Shielded:
    """An Origin that asks a shield, and the origin itself only where no connection to the shield can be had."""

    def __init__(self, shield: Upstream, origin: Upstream) -> None:
        self._shield, self._origin = shield, origin

    async def ask(self, request: Request, inform: Inform | None = None) -> Reply:
        """See Origin."""
        try:
            return await self._shield.ask(request, inform)
        except Unreachable:
            return await self._origin.ask(request, inform)


class Edge:
    """What one process of the proxy consists of. An ASGI application for uvicorn with `http=Front`.

    directory: where the workers are joined; None for a single one. admin_address: of the admin's own listener.
    """

    def __init__(self, settings: Settings, directory: str | None = None,
                 admin_address: tuple[Any, ...] | None = None) -> None:
        self.settings = settings
        self.policy, self.limits = settings.policy, settings.limits
        self._directory, self._admin_address = directory, admin_address
        self._reserved = settings.admin_path.encode()
        self.exchange: Any = None
        self.knowing: Any = None
        self.log: AccessLog | None = None
        self.config: Any = None  # of the server that serves it
        self._upstreams: list[Upstream] = []
        self._joined: Joined | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looked = 0.0

    # ------------------------------------------------------------------ its life

    async def start(self) -> None:
        """Make what belongs to this event loop."""
        settings = self.settings
        if settings.access_log is not None:
            self.log = AccessLog(settings.access_log)
        now = Wall()
        self.exchange = self.make_exchange(self.make_origin(), now)
        self.knowing = Knowing(self.exchange, now, self.limits.heads)
        if self._directory is not None:
            self._joined = Joined(self._directory, self.exchange.purge, settings.purge_s, self.look)
            await self._joined.start()
        self._take_hangups()

    def _take_hangups(self) -> None:
        """Let SIGHUP read the certificate again."""
        settings, context = self.settings, getattr(self.config, "ssl", None)
        if context is not None and settings.certificate is not None and settings.private_key is not None:
            certificates = Certificates(context, settings.certificate, settings.private_key)
            with contextlib.suppress(NotImplementedError, AttributeError, ValueError, RuntimeError):  # Windows, or a thread
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, certificates.reload)

    async def stop(self) -> None:
        """Let go of it. Connections to the origin end."""
        if self._timer is not None:
            self._timer.cancel()
        if self._joined is not None:
            await self._joined.stop()
        await self.exchange.close()
        for upstream in self._upstreams:
            upstream.close()
        if self.log is not None:
            self.log.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI's lifespan. Requests do not come here: Front has them."""
        if scope["type"] != "lifespan":
            raise RuntimeError("serve it with uvicorn.Config(edge, http=Front)")
        await receive()
        try:
            await self.start()
        except Exception as error:
            _logger.exception("the proxy does not start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def make_origin(self) -> Origin:
        """Where answers come from."""
        settings = self.settings
        context = None
        if settings.origin_ca is not None or not settings.origin_verify:
            context = ssl.create_default_context(cafile=settings.origin_ca)
            if not settings.origin_verify:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host = settings.host.encode() if settings.host is not None else None
        origin = Upstream(settings.origin, settings.upstream, host=host, context=context)
        self._upstreams = [origin]
        if settings.shield is None:
            return origin
        shield = Upstream(settings.shield, settings.upstream)
        self._upstreams.append(shield)
        return Shielded(shield, origin)

    def make_exchange(self, origin: Origin, now: Callable[[], float]) -> Exchange:
        """What decides, asks and keeps. now: the time of all its parts."""
        settings = self.settings
        if settings.vault is not None:
            vault = settings.vault(settings)
        else:
            vault = CacheVault(Cache(maxweight=settings.memory, name="edge"), now, keyed=bool(self.policy.keyed))
        return Exchange(self.policy, vault, origin, name=settings.name, wall=now, **settings.exchange)

    # ------------------------------------------------------------------ for the front

    def watch(self, connections: set[Front]) -> None:
        """Look at these connections now and then: whether one takes too long. Also when lines are written."""
        if self._timer is None:
            self._look(connections)

    def _look(self, connections: set[Front]) -> None:
        self._timer = None
        now = stopwatch()
        try:
            for connection in tuple(connections):
                connection.look(now)
            if now - self._looked < 4 * period(self.limits):  # else nobody could take anything: this process was held up
                relieve(connections, self.limits, now)
            if self.log is not None:
                self.log.flush()
            self._looked = now
        finally:  # whatever is wrong with one: nobody else's time may stand still for it
            if connections or self.log is not None:
                self._timer = asyncio.get_running_loop().call_later(period(self.limits), self._look, connections)

    def is_admin(self, address: Any) -> bool:
        """Whether a connection came to the admin's own listener."""
        if self._admin_address is None:
            return False
        host, port = self._admin_address[:2]
        came = tuple(address or ())
        return came[1:2] == (port,) and (host in ("0.0.0.0", "::") or came[0] == host)

    def scheme(self, tls: bool) -> bytes:
        """What clients speak, over a connection with TLS or without."""
        return b"https" if tls or self.settings.scheme == "https" else b"http"

    def is_reserved(self, method: str, target: bytes) -> bool:
        """Whether a request is the admin's, wherever it comes in."""
        return bool(self._reserved) and target.startswith(self._reserved)

    async def answer_admin(self, request: Request, sender: Sender, *, own: bool = False) -> bool:
        """Let the admin answer; False when it does not. own: it came to the admin's own listener."""
        admin = self.settings.admin
        return admin is not None and await admin(self, request, sender)

    # ------------------------------------------------------------------ for the admin

    async def purge(self, *, urls: Iterable[str] = (), tags: Iterable[str] = (), everything: bool = False,
                    soft: bool = False) -> int:
        """Purge in every worker (see Exchange.purge): when this returns, nobody is served what it took out. How many
        keys there were, over all workers. Raises joined.PurgeIncomplete."""
        purge = self._joined.purge if self._joined is not None else self.exchange.purge
        count: int = await purge(urls=urls, tags=tags, everything=everything, soft=soft)
        return count

    def look(self, most: int) -> dict[str, Any]:
        """What this worker says of itself, as JSON can: nothing, unless a subclass knows better."""
        return {}

    async def look_around(self, most: int) -> list[dict[str, Any]]:
        """What every worker that answers says of itself."""
        return [self.look(most)] if self._joined is None else await self._joined.look(most)


def relieve(connections: Iterable[Front], limits: FrontLimits, now: float) -> None:
    """Cut off clients that take nothing, where all together leave more unsent than they may."""
    stuck = [(stuck_s, connection.transport) for connection in connections if (stuck_s := connection.stuck(now)) > 0]
    excess = sum(transport.get_write_buffer_size() for _, transport in stuck) - limits.unsent
    for stuck_s, transport in sorted(stuck, key=lambda one: -one[0]) if excess > 0 else ():
        if excess <= 0 or stuck_s < limits.lag_s:
            return
        excess -= transport.get_write_buffer_size()
        transport.abort()


def period(limits: FrontLimits) -> float:
    """Seconds between two looks at the connections."""
    shortest = min(limits.head_s, limits.body_s, limits.write_s, limits.keep_alive_s)
    return min(0.5, shortest / 4)


def try_files(settings: Settings) -> None:
    """Raise OSError for files that cannot be used: here, and not in one worker after the other."""
    if settings.certificate is not None:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.certificate, settings.private_key)
    if settings.origin_ca is not None:
        ssl.create_default_context(cafile=settings.origin_ca)
    if settings.access_log is not None and settings.access_log != "-":
        AccessLog(settings.access_log).close()


def make_room(settings: Settings) -> None:
    """Let this process, and those that it starts, have as many open files as its limits speak of connections."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.limits.connections + 2 * settings.upstream.connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < settings.limits.connections:
            _logger.warning("%d connections need %d open files, and %d are allowed", settings.limits.connections, wanted,
                            most)


def listen(text: str) -> socket.socket:
    """A socket bound to host:port. Raises OSError."""
    host, port = address(text)
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # connections inherit it: see _UNSENT
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        bound.bind(place)
        bound.listen(_BACKLOG)  # who comes before the first worker does waits
        bound.set_inheritable(True)
    except BaseException:
        bound.close()
        raise
    return bound


def configured(edge: Edge) -> Any:
    """The uvicorn.Config that serves an Edge."""
    settings, limits = edge.settings, edge.limits
    uvicorn = needed("uvicorn", "edge", "samovar.edge.proxy.proxy")
    edge.config = uvicorn.Config(
        edge, http=Front, loop="uvloop" if wanted("uvloop") is not None else "asyncio", ws="none", lifespan="on",
        interface="asgi3", log_config=None, access_log=False, proxy_headers=False, server_header=False, date_header=False,
        workers=settings.workers, backlog=_BACKLOG, timeout_keep_alive=limits.keep_alive_s,
        timeout_graceful_shutdown=settings.drain_s, ssl_certfile=settings.certificate, ssl_keyfile=settings.private_key)
    edge.config.timeout_worker_healthcheck = _ANSWERS_S  # where uvicorn has it
    return edge.config


def pass_on_hangup(workers: Any) -> None:
    """Let every worker read the certificate again, where uvicorn would replace them all, and what they have stored."""
    for worker in workers.processes:
        if worker.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGHUP)


def serve(settings: Settings, ready: Callable[[tuple[Any, ...]], None] | None = None, *,
          kind: Callable[..., Edge] = Edge) -> None:
    """Run the proxy until SIGTERM or SIGINT, then let what is under way end, for `drain_s` at most. With TLS, SIGHUP reads
    the certificate again.

    ready: called with the address that is listened on, before anybody is answered. kind: makes the Edge; with several
    workers it is sent to them. Raises OSError when an address is taken or a file is not what it should be, RuntimeError
    when it, or a worker, does not start for another reason, MissingExtra without uvicorn.
    """
    uvicorn = needed("uvicorn", "edge", "samovar.edge.proxy.proxy")
    many = settings.workers > 1
    if many and not hasattr(socket, "AF_UNIX"):
        raise ValueError("several workers need Unix sockets, which this system does not have")
    try_files(settings)
    make_room(settings)
    sockets = [listen(settings.listen)]
    directory = tempfile.mkdtemp(prefix="samovar-") if many else None
    try:
        if settings.admin_listen is not None:
            sockets.append(listen(settings.admin_listen))
        edge = kind(settings, directory, sockets[1].getsockname() if len(sockets) > 1 else None)
        config = configured(edge)
        if ready is not None:
            ready(sockets[0].getsockname())
        if many:
            workers = needed("uvicorn.supervisors", "edge", "samovar.edge.proxy.proxy").Multiprocess(config, sockets=sockets)
            if settings.certificate is not None:
                workers.handle_hup = functools.partial(pass_on_hangup, workers)
            workers.run()
            if any(getattr(worker, "exitcode", None) == _NOT_STARTED for worker in workers.processes):
                raise RuntimeError("a worker of the proxy does not start: the log says why")
        else:
            server = uvicorn.Server(config)
            server.run(sockets)
            if not server.started:
                raise RuntimeError("the proxy did not start: its log says why")
    finally:
        for bound in sockets:
            bound.close()
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
