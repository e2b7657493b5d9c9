"""What an edge answers for itself: health, status, metrics, and purging. Never cached, never forwarded.

    /.samovar/           the status page                GET, with the token
    /.samovar/stats      its numbers as JSON            GET, with the token
    /.samovar/metrics    the same for Prometheus        GET, with the token, where metrics are on
    /.samovar/health     that it takes requests         GET, open to all
    /.samovar/purge      purge by URL, by tag, all      POST of JSON, with the token, as Bearer only
    PURGE url            purge that URL                 with the token, as Bearer only

The same on a listener of its own, where every path is the edge's and `/` is the page.

Who may: whoever shows the token, compared in constant time. Without a token nothing can be purged, and only a listener
that this machine alone can reach may be read. A browser is not trusted with what it sends by itself: a purge needs the
Bearer form, which no page of another site can send unasked, and is refused when the browser says that another site asked;
the page takes the token as a Basic password, because it only reads. A listener of its own answers only under names that
are its own, so that no foreign name can be pointed at it (DNS rebinding).
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from ..contracts import Origin, OriginFailed, Request
from ..rules import Headers, host_of
from ..rules.fields import first, values
from .fleet import Fleet, FleetBroken
from .metrics import Exposition
from .order import MAX_BODY, BadOrder, Order, order_of, read_order
from .page import CSP, page
from .told import EdgeSettings

Answer = tuple[int, Headers, bytes]
_READ = ("GET", "HEAD")
_ROOT, _PURGE = "", "purge"
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_HOT = 25  # URLs and tags that are shown


class Admin:
    """The edge's own answers. Of one event loop.

    fleet: the workers, to look at and to purge. nearer: (name, origin) of other edges that a purge is passed on to, before
    it is done here; each may take `limit_s`. Raises MissingExtra when metrics are on without prometheus-client.
    """

    def __init__(self, settings: EdgeSettings, fleet: Fleet, *, nearer: Sequence[tuple[str, Origin]] = (),
                 limit_s: float = 10.0) -> None:
        self._settings, self._fleet, self._nearer, self._limit_s = settings, fleet, tuple(nearer), limit_s
        self._prefix = settings.reserved.encode()
        self._scheme = settings.client_scheme.encode()
        self._digest = None if settings.token is None else _digest(settings.token.encode())
        self._hosts = frozenset({"localhost", *(name.partition(":")[0] for name in settings.admin_hosts),
                                 *([] if settings.admin is None else [settings.admin.host.lower()])})
        self._exposition = Exposition() if settings.metrics else None

    async def answer(self, request: Request, *, own: bool = False) -> Answer | None:
        """Answer a request that is the edge's own, or None: then it is the origin's.

        own: it came over the listener of the edge's own. The body is read only when it is wanted, and MAX_BODY at most.
        """
        place = self._place(request, own)
        if place is None and request.method != "PURGE":
            return None
        host = host_of(request.headers)
        if host is None:
            return _refusal(400, "a request has exactly one Host")
        if own and place is not None and not self._is_ours(host):
            return _refusal(421, "this listener does not answer to that name; admin-hosts can allow it")
        if place is None:
            return await self._purge(request, host)
        if place == "health":
            given = await self._read(request, self._health, open_to_all=True)
        elif place == _ROOT:
            given = await self._read(request, self._page)
        elif place == "stats":
            given = await self._read(request, self._stats)
        elif place == "metrics" and self._exposition is not None:
            given = await self._read(request, self._metrics)
        elif place == _PURGE:
            given = await self._purge(request, host)
        else:
            given = _refusal(404, "there is nothing here")
        status, headers, body = given
        return (status, headers, b"") if request.method == "HEAD" else given

    # ------------------------------------------------------------------ whose it is

    def _place(self, request: Request, own: bool) -> str | None:
        """The part of the path after the reserved one; None when the path is not the edge's."""
        path = _path(request.target)
        if own:
            path = path[len(self._prefix):] if self._prefix and path.startswith(self._prefix) else path[1:]
        elif self._settings.admin is not None or not self._prefix or not path.startswith(self._prefix):
            return None
        else:
            path = path[len(self._prefix):]
        return path.decode("latin-1") if request.method != "PURGE" else None  # a PURGE is of what its URL names

    def _is_ours(self, host: bytes) -> bool:
        """Whether a Host names this machine by an address, or by a name that is known to be its own."""
        text = host.decode("latin-1").lower()
        name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.rstrip(".") in self._hosts
        return True  # no name was resolved, so none can have been pointed here

    def _allowed(self, request: Request, *, basic: bool) -> bool:
        """Whether the token was shown, once, in a form that counts."""
        shown = values(request.headers, b"authorization")
        if self._digest is None or len(shown) != 1:
            return False
        kind, _, secret = shown[0].partition(b" ")
        if kind.lower() == b"basic" and basic:
            try:
                secret = base64.b64decode(secret.strip(), validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        elif kind.lower() != b"bearer":
            return False
        return hmac.compare_digest(_digest(secret.strip()), self._digest)

    # ------------------------------------------------------------------ reading

    async def _read(self, request: Request, read: Callable[[], Awaitable[Answer]], *, open_to_all: bool = False) -> Answer:
        if request.method not in _READ:
            return _refusal(405, "this only reads", (b"allow", b"GET, HEAD"))
        if not open_to_all and not self._settings.open_admin and not self._allowed(request, basic=True):
            if self._digest is None:
                return _refusal(403, "no token is configured, so this is shown on a listener of its own on this machine only")
            return _refusal(401, "show the token", (b"www-authenticate", b'Basic realm="samovar", charset="UTF-8"'),
                            (b"www-authenticate", b'Bearer realm="samovar"'))
        return await read()

    async def _health(self) -> Answer:
        return _said(200, {"status": "ok"})

    async def _page(self) -> Answer:
        text = page(self._settings, await self._fleet.look(_HOT))
        return _complete(200, b"text/html; charset=utf-8", text.encode(), (b"content-security-policy", CSP.encode()),
                         (b"x-frame-options", b"DENY"))

    async def _stats(self) -> Answer:
        looks = await self._fleet.look(_HOT)
        return _said(200, {"workers": [look.plain() for look in looks]})

    async def _metrics(self) -> Answer:
        assert self._exposition is not None
        return _complete(200, self._exposition.content_type, self._exposition.text(await self._fleet.look(0)))

    # ------------------------------------------------------------------ purging

    async def _purge(self, request: Request, host: bytes) -> Answer:
        refusal = self._may_purge(request, host)
        if refusal is not None:
            return refusal
        try:
            if request.method == "PURGE":
                order = order_of(request, self._scheme)
            else:
                kind = (first(request.headers, b"content-type") or b"").partition(b";")[0].strip().lower()
                if kind != b"application/json":
                    return _refusal(415, "a purge is application/json")
                body = await _body(request)
                if body is None:
                    return _refusal(413, f"a purge is at most {MAX_BODY} bytes")
                order = read_order(body)
        except BadOrder as error:
            return _refusal(400, str(error))
        return await self._carry_out(order)

    def _may_purge(self, request: Request, host: bytes) -> Answer | None:
        if request.method not in ("POST", "PURGE"):
            return _refusal(405, "a purge is a POST", (b"allow", b"POST"))
        if self._digest is None:
            return _refusal(403, "purging is off: no token is configured")
        if not self._allowed(request, basic=False):
            return _refusal(401, "show the token", (b"www-authenticate", b'Bearer realm="samovar"'))
        if _from_another_site(request.headers, host):
            return _refusal(403, "another site sent this")
        return None

    async def _carry_out(self, order: Order) -> Answer:
        """First those nearer to the origin, so that nobody here fetches from them what they are about to drop."""
        passed: dict[bool, list[str]] = {True: [], False: []}
        for name, edge in () if order.here else self._nearer:
            passed[await self._pass_on(edge, order)].append(name)
        try:
            purged = await self._fleet.purge(order)
        except FleetBroken as error:
            return _refusal(503, str(error))
        found = {"purged": purged, "soft": order.soft, "workers": self._settings.workers, "passed_on": passed[True]}
        if passed[False]:
            return _said(502, {**found, "error": "not all were reached: purge again", "failed": passed[False]})
        return _said(200, found)

    async def _pass_on(self, edge: Origin, order: Order) -> bool:
        said = {"urls": [key.decode("latin-1") for key in order.keys], "tags": list(order.tags), "soft": order.soft,
                "all": order.everything, "here": True}
        body = json.dumps(said).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield body

        assert self._settings.token is not None
        headers = [(b"host", b"localhost"), (b"authorization", b"Bearer " + self._settings.token.encode()),
                   (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        target = (self._prefix or b"/") + _PURGE.encode()
        try:
            async with asyncio.timeout(self._limit_s):
                reply = await edge.ask(Request("POST", self._scheme, target, headers, chunks(), len(body)))
                try:
                    async for _ in reply:
                        pass
                finally:
                    await reply.close()
        except (OriginFailed, TimeoutError):
            return False
        return reply.status == 200


def _digest(secret: bytes) -> bytes:
    """Of equal length whatever is shown, so that the comparison says nothing of the token's."""
    return hashlib.sha256(secret).digest()


def _path(target: bytes) -> bytes:
    """The path of a target in origin or absolute form, exactly as it was written: what a server would not take for the
    reserved path (`/%2esamovar/`, `//.samovar/`) is not the edge's."""
    absolute = _ABSOLUTE.match(target)
    if absolute is not None:
        target = target[absolute.end():]
    return target.partition(b"?")[0]


def _from_another_site(headers: Headers, host: bytes) -> bool:
    """Whether a browser says that a page of another origin sent this."""
    site, origin = first(headers, b"sec-fetch-site"), first(headers, b"origin")
    if site is not None and site not in (b"same-origin", b"none"):
        return True
    return origin is not None and origin.lower() not in (b"http://" + host.lower(), b"https://" + host.lower())


async def _body(request: Request) -> bytes | None:
    """The whole body; None when it is more than a purge may be."""
    if request.length is not None and request.length > MAX_BODY:
        return None
    found = bytearray()
    if request.body is not None:
        async for chunk in request.body:
            found += chunk
            if len(found) > MAX_BODY:
                return None
    return bytes(found)


def _complete(status: int, kind: bytes, body: bytes, *more: tuple[bytes, bytes]) -> Answer:
    return status, [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
                    (b"cross-origin-resource-policy", b"same-origin"), *more], body


def _said(status: int, said: dict[str, object], *more: tuple[bytes, bytes]) -> Answer:
    return _complete(status, b"application/json", json.dumps(said).encode() + b"\n", *more)


def _refusal(status: int, why: str, *more: tuple[bytes, bytes]) -> Answer:
    return _said(status, {"error": why}, *more)
