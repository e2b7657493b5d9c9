"""From what people said (told.py) to an edge that runs: the proxy is given its settings, and an admin of its own.

`run` checks what can be checked before anybody is answered: files that must be there, packages that must be installed.
"""

import contextlib
import ctypes
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..._base.clock import wall
from ..._base.extras import needed
from ..contracts import Origin, Request, Sender
from ..exchange.exchange import Exchange
from ..exchange.vault import CacheVault
from ..proxy.joined import PurgeIncomplete
from ..proxy.limits import FrontLimits, UpstreamLimits
from ..proxy.proxy import Edge, listen, serve
from ..proxy.refusals import phrase
from ..proxy.settings import Settings
from ..proxy.upstream import Upstream
from ..proxy.wire import Limits
from .admin import Admin
from .fleet import FleetBroken, Look
from .metrics import Exposition
from .order import Order
from .told import EdgeSettings
from .words import Place, SettingError

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h


def run(told: EdgeSettings, say: Callable[[str], None]) -> None:
    """Run an edge until SIGTERM or SIGINT.

    say: called with a line once clients can come. Raises SettingError for files that are not as said and
    addresses that cannot be listened on, MissingExtra for packages that are not installed.
    """
    _check_files(told)
    if told.metrics:
        Exposition()
    needed("uvicorn", "edge", "samovar edge")
    needed("http_sf", "edge", "samovar edge")

    maker = _Maker(told)

    def ready(address: tuple[Any, ...]) -> None:
        scheme, own = "https" if told.tls_cert else "http", maker.admin_address
        says = [f"{told.name} answers at {scheme}://{Place(*address[:2])}"]
        if own is not None:
            says.append(f"its admin at {scheme}://{Place(*own[:2])}")
        say(", ".join([*says, f"in front of {' and '.join(map(str, told.upstreams))}"]))

    before = signal.signal(signal.SIGTERM, lambda number, frame: None)  # uvicorn raises it again when it has stopped
    try:
        serve(proxy_settings(told), ready, kind=maker)
    except OSError:
        _check_places(told)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def proxy_settings(told: EdgeSettings) -> Settings:
    """The proxy's words for what people said."""
    found = Settings(
        origin=str(told.origin), listen=str(told.listen), workers=told.workers, scheme=told.scheme,
        shield=None if told.shield is None else str(told.shield), host=told.origin_host, origin_ca=_text(told.origin_ca),
        certificate=_text(told.tls_cert), private_key=_text(told.tls_key), policy=told.policy(),
        limits=FrontLimits(
            heads=Limits(head=told.max_head), body=told.max_upload, connections=told.max_clients, head_s=told.head_timeout,
            write_s=told.client_timeout, keep_alive_s=told.keep_alive, unsent=told.max_unsent),
        upstream=UpstreamLimits(
            connections=told.origin_connections, connect_s=told.connect_timeout, first_byte_s=told.first_byte_timeout,
            between_s=told.between_bytes_timeout),
        exchange={
            "max_body": told.max_body, "memory": told.fetch_memory, "spill_dir": _text(told.spill_dir), "spill": told.spill,
            "max_waiters": told.max_waiters, "wait": told.wait, "head": told.first_byte_timeout,
            "gap": told.between_bytes_timeout, "patience": told.client_timeout},
        memory=told.worker_weight, access_log=told.access_log, drain_s=told.drain,
        admin_listen=None if told.admin is None else str(told.admin), admin=_no_admin)
    return found if told.name == "samovar" else replace(found, name=told.name)


async def _no_admin(edge: Any, request: Request, sender: Sender) -> bool:
    """A TalkingEdge answers for itself."""
    return False


class TalkingEdge(Edge):
    """An Edge with an Admin: it answers under the reserved path or on its own listener, and to PURGE."""

    def __init__(self, told: EdgeSettings, *given: Any) -> None:
        super().__init__(*given)
        self._told = told
        self._admin: Admin | None = None
        self._nearer: list[tuple[str, Upstream]] = []
        self._began = 0.0
        self._prefix = b"" if told.admin is not None else told.reserved.encode()

    async def start(self) -> None:
        """See Edge."""
        _give_back()
        await super().start()
        self._began = wall()
        self._nearer = [(str(place), Upstream(str(place), self.settings.upstream)) for place in self._told.purge_also]
        nearer: list[tuple[str, Origin]] = [*self._nearer]
        self._admin = Admin(self._told, _Workers(self), nearer=nearer)

    async def stop(self) -> None:
        """See Edge."""
        for _, upstream in self._nearer:
            upstream.close()
        await super().stop()

    def make_exchange(self, origin: Origin, now: Callable[[], float]) -> Exchange:
        """See Edge."""
        if self._told.budget is not None:
            from ...herd import OriginBudget

            self.settings.exchange["budget"] = OriginBudget(self._told.budget)
        return super().make_exchange(origin, now)

    def is_reserved(self, method: str, target: bytes) -> bool:
        """See Edge. PURGE is always the edge's own: an origin that heard it might believe that it was allowed."""
        return method == "PURGE" or bool(self._prefix) and target.startswith(self._prefix)

    async def answer_admin(self, request: Request, sender: Sender, *, own: bool = False) -> bool:
        """See Edge."""
        assert self._admin is not None
        answer = await self._admin.answer(request, own=own)
        if answer is None:
            return False
        status, headers, body = answer
        await sender.start(status, phrase(status), headers)
        if body:
            await sender.write(body)
        await sender.end()
        return True

    def look(self, most: int) -> dict[str, Any]:
        """See Edge: a Look."""
        vault = self.exchange.vault
        entries = weight = 0
        if isinstance(vault, CacheVault):
            stats = vault.cache.stats()
            entries, weight = stats.currsize, stats.weight
        return Look(os.getpid(), self.exchange.numbers.stats(most=most), entries, weight, self._began).plain()


class _Maker:
    """Makes the TalkingEdge of what was told."""

    def __init__(self, told: EdgeSettings) -> None:
        self._told = told
        self.admin_address: tuple[Any, ...] | None = None

    def __call__(self, settings: Settings, directory: str | None, admin_address: tuple[Any, ...] | None) -> TalkingEdge:
        self.admin_address = admin_address
        return TalkingEdge(self._told, settings, directory, admin_address)


class _Workers:
    """The workers of a proxy, as a Fleet."""

    def __init__(self, edge: TalkingEdge) -> None:
        self._edge = edge

    async def purge(self, order: Order) -> int:
        try:
            urls = [key.decode("utf-8", "surrogateescape") for key in order.keys]
            return await self._edge.purge(urls=urls, tags=order.tags, everything=order.everything, soft=order.soft)
        except PurgeIncomplete as error:
            raise FleetBroken(f"{error}: purge again") from None

    async def look(self, most: int) -> list[Look]:
        return sorted((Look.read(said) for said in await self._edge.look_around(most)), key=lambda look: look.pid)


def _give_back() -> None:
    """Let each large body be memory of its own, which goes back to the system when the body leaves. glibc raises by itself
    the size from which it does so, to 32 MB in the end, and what leaves then stays with the process, in pieces."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1 << 20)


def _text(path: Any) -> str | None:
    return None if path is None else str(path)


def _check_places(told: EdgeSettings) -> None:
    """Say by its word which address cannot be listened on, if one cannot."""
    with contextlib.ExitStack() as bound:
        for word in ("listen", "admin"):
            place = getattr(told, word)
            try:
                if place is not None:
                    bound.enter_context(listen(str(place)))
            except OSError as error:
                raise SettingError(word, f"cannot be listened on: {error.strerror}: {str(place)!r}") from None


def _check_files(told: EdgeSettings) -> None:
    """Say by its word what cannot be opened, or is not what it must be."""
    if told.workers > 1 and not hasattr(socket, "AF_UNIX"):
        raise SettingError("workers", f"must be 1 where there are no Unix sockets, not {told.workers}")
    for word in ("tls_cert", "tls_key", "origin_ca"):
        path = getattr(told, word)
        if path is not None and not os.access(path, os.R_OK):
            raise SettingError(word, f"cannot be read: {str(path)!r}")
    try:
        if told.origin_ca is not None:
            ssl.create_default_context(cafile=told.origin_ca)
    except ssl.SSLError as error:
        raise SettingError("origin_ca", f"holds no certificates: {error.reason or error}: {str(told.origin_ca)!r}") from None
    try:
        if told.tls_cert is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(told.tls_cert, told.tls_key)
    except ssl.SSLError as error:
        why = f"cannot be used with its key: {error.reason or error}: {str(told.tls_cert)!r}"
        raise SettingError("tls_cert", why) from None
    if told.spill_dir is not None and not (told.spill_dir.is_dir() and os.access(told.spill_dir, os.W_OK)):
        raise SettingError("spill_dir", f"must be a folder that can be written to, not {str(told.spill_dir)!r}")
    if told.access_log not in (None, "-"):
        try:
            with open(told.access_log, "a", encoding="ascii"):
                pass
        except OSError as error:
            raise SettingError("access_log", f"cannot be written: {error.strerror}: {told.access_log!r}") from None
