"""`HTTPCacheMiddleware`: an HTTP cache in front of an ASGI application, in its own process.

A hit is answered here, with two messages and no task; everything else goes through the exchange. Whatever is no HTTP
request (WebSockets, the lifespan) is the application's as it is.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from ..._base.contracts import Gate
from ..._base.extras import wanted
from ..._base.freshness import Duration, Freshness
from ...app import Cache
from ..contracts import Request, Vault
from ..exchange.exchange import MIB, Exchange
from ..exchange.numbers import EdgeStats
from ..exchange.vault import CacheVault
from ..exchange.wall import Wall
from ..rules import Headers, Hit, Policy
from .app_origin import App, AppOrigin, Message, Receive, Scope, Send

Key = Callable[[Scope], "str | bytes | None"]


class HTTPCacheMiddleware:
    """Keeps the answers of an ASGI application, by the rules of HTTP: RFC 9111, and what stands in docs/edge.md.

    app: any ASGI application (FastAPI, Starlette, Django, ...). Nothing of it is kept that it does not permit: by
        Cache-Control (`cache_control` writes one), Expires, Last-Modified, or by `fresh`.
    cache: a Cache, whose maxweight then counts bytes, or an AsyncCluster, to share answers between processes and machines.
        None: a Cache of its own, of 64 MiB.
    fresh: a Freshness for what the application does not say: ttl, negative_ttl, and times of stale service.
    shared: many users are behind this; False: a private cache, for one user.
    tags: the response fields that list tags, for `purge(tags=...)` and the cache's own `invalidate_tags`.
    set_cookie: "bypass": answers that set cookies are never kept. "rfc": with explicit freshness they are.
    key: called with the scope of a request that may be answered from the cache; what it returns is part of the key, and
        None says that this request is none of the cache's business.
    keyed: request fields that are part of the key. Fields that could make an application answer for another URL, such as
        X-Forwarded-Host and X-Forwarded-Proto, reach it only when they are keyed.
    policy: a Policy, for every word of it; then fresh, shared, tags, set_cookie and keyed are left out.
    budget: an OriginBudget: how many requests the application is asked at once.
    max_body, memory, spill_dir, spill, max_waiters, wait, head, gap, fill: as `Exchange` says. wall: seconds since 1970,
        for tests.

    Raises TypeError or ValueError that names the argument when one of these is not what it must be.
    """

    def __init__(
        self,
        app: App,
        cache: Any = None,
        *,
        fresh: Freshness | None = None,
        shared: bool = True,
        tags: str | Iterable[str] = ("Surrogate-Key", "Cache-Tag"),
        set_cookie: str = "bypass",
        key: Key | None = None,
        keyed: str | Iterable[str] = (),
        policy: Policy | None = None,
        budget: Gate | None = None,
        max_body: int = 8 * MIB,
        memory: int = 64 * MIB,
        spill_dir: str | None = None,
        spill: int = 1024 * MIB,
        max_waiters: int = 20_000,
        wait: Duration = "1m",
        head: Duration = "5m",
        gap: Duration = "1h",
        fill: Duration = "1h",
        wall: Callable[[], float] | None = None,
    ) -> None:
        if key is not None and not callable(key):
            raise TypeError(f"HTTPCacheMiddleware: key must be a function of the scope, or None, not {key!r}")
        if policy is None:
            if not isinstance(shared, bool):
                raise TypeError(f"HTTPCacheMiddleware: shared must be True or False, not {shared!r}")
            policy = Policy(shared=shared, fresh=Freshness() if fresh is None else fresh, set_cookie=set_cookie,
                            tag_fields=_fields("tags", tags), keyed=_fields("keyed", keyed),
                            targets=Policy().targets if wanted("http_sf") is not None else ())
        elif not isinstance(policy, Policy):
            raise TypeError(f"HTTPCacheMiddleware: policy must be a Policy, not {policy!r}")
        self.app, self._key = app, key
        self.exchange = Exchange(
            policy, vault_of(cache, wall, keyed=bool(policy.keyed or key)), AppOrigin(app), budget=budget, max_body=max_body,
            memory=memory, spill_dir=spill_dir, spill=spill, max_waiters=max_waiters, wait=wait, head=head, gap=gap,
            fill=fill, wall=wall)
        self._token, self._quick = policy.token, self.exchange.quick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        more = b""
        if self._key is not None:
            said = self._key(scope)
            if said is None:
                await self.app(scope, receive, send)
                return
            more = b"\n:" + (said if isinstance(said, bytes) else said.encode("utf-8", "surrogatepass"))
        try:
            target, query, scheme = scope["raw_path"] or path_of(scope), scope["query_string"], scope["scheme"]
        except KeyError:  # ASGI lets a server leave them out
            target, query, scheme = path_of(scope), scope.get("query_string"), scope.get("scheme")
        if query:
            target += b"?" + query
        scheme = b"https" if scheme == "https" else b"http"
        headers = scope["headers"]
        if headers.__class__ is not list:
            headers = [(bytes(name), bytes(value)) for name, value in headers]
        hit = self._quick(scope["method"], scheme, target, headers, more)
        if hit is not None:
            sent = hit.sent
            if sent is None or sent[0] is not self:
                sent = self._make(hit)
            entry = hit.entry
            await send({"type": "http.response.start", "status": entry.status, "headers": [*sent[1]]})
            await send({"type": "http.response.body", "body": entry.body})
            return
        client = scope.get("client")
        request = Request(scope["method"], scheme, target, headers,
                          client=str(client[0]).encode() if client else None, about=(scope, receive))
        await self._serve(request, receive, send, more)

    def _make(self, hit: Hit) -> tuple[object, list[tuple[bytes, bytes]]]:
        """The fields of a hit, for every request within this second."""
        said = b"%b;hit;ttl=%d" % (self._token, hit.entry.fresh - hit.age)
        hit.sent = sent = self, [*undated(hit.entry.fields), (b"age", b"%d" % hit.age), (b"cache-status", said)]
        return sent

    async def _serve(self, request: Request, receive: Receive, send: Send, more: bytes) -> None:
        sender = AppSender(request, receive, send)
        try:
            await self.exchange.serve(request, sender, more)
        except asyncio.CancelledError:
            if not sender.is_gone:
                raise
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        finally:
            sender.close()
        if sender.is_broken and not sender.is_gone:
            raise RuntimeError("an answer could not be completed, and was broken off")

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self.exchange.close()
            await send(message)

        await self.app(scope, receive, watched)

    async def purge(self, *, urls: str | bytes | Iterable[str | bytes] = (), tags: str | Iterable[str] = (),
                    everything: bool = False, soft: bool = False) -> int:
        """Take answers out, or make them stale; see `Exchange.purge`."""
        return await self.exchange.purge(urls=urls, tags=tags, everything=everything, soft=soft)

    def stats(self) -> EdgeStats:
        """What it counted."""
        return self.exchange.stats()


class AppSender:
    """An answer as ASGI messages. What the client does meanwhile is asked for once a body is streamed: one that left is
    told to whoever sends, and ends its task if that waits."""

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        self.is_gone = self.is_broken = False
        self._receive, self._send = receive, send
        self._extensions = request.about[0].get("extensions") or {}
        self._shares = request.method in ("GET", "HEAD")  # else the application itself asks
        self._left: int | None = None  # bytes of the body that are still to come
        self._is_over = False
        self._watch: asyncio.Task[None] | None = None

    def inform(self, status: int, headers: Headers) -> None:
        """Early hints, where the server has an extension for them."""
        if status == 103 and "http.response.early_hint" in self._extensions:
            links = [value for name, value in headers if name == b"link"]
            task = asyncio.ensure_future(self._told({"type": "http.response.early_hint", "links": links}))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def start(self, status: int, reason: bytes, headers: Headers) -> None:
        """The head, without Date, which servers write."""
        for name, value in headers:
            if name == b"content-length":
                self._left = int(value)
        await self._told({"type": "http.response.start", "status": status, "headers": undated(headers)})
        if self._left is None and status not in (204, 304):
            self._watch_client()  # of an answer without an end, the first part may be long in coming

    async def write(self, chunk: bytes | memoryview) -> None:
        """A part of the body; the last one ends it, when its length is known."""
        if self._left is not None:
            self._left -= len(chunk)
        self._is_over = self._left == 0
        await self._told({"type": "http.response.body", "body": chunk if isinstance(chunk, bytes) else bytes(chunk),
                          "more_body": not self._is_over})
        if not self._is_over:
            self._watch_client()

    def _watch_client(self) -> None:
        if self._watch is None and self._shares:
            self._watch = asyncio.get_running_loop().create_task(self._look(asyncio.current_task()))

    async def end(self) -> None:
        """The end of the body."""
        if not self._is_over:
            self._is_over = True
            await self._told({"type": "http.response.body", "body": b"", "more_body": False})

    def abort(self) -> None:
        """Not to be completed."""
        self.is_broken = not self._is_over

    async def _told(self, message: Message) -> None:
        if self.is_gone:
            raise ConnectionError("the client is gone")
        try:
            await self._send(message)
        except ConnectionError:
            raise
        except OSError as error:
            raise ConnectionError("the client is gone") from error

    async def _look(self, task: "asyncio.Task[Any] | None") -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._is_over:
            self.is_gone = True
            if task is not None:
                task.cancel()

    def close(self) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.cancel()


def undated(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Fields without Date: ASGI servers write one themselves, and two would be one too many."""
    return [field for field in headers if field[0] != b"date"]


def path_of(scope: Scope) -> bytes:
    """The path of a request, as it was written where the server says so."""
    raw: bytes | None = scope.get("raw_path")
    return raw or quote(scope["path"], safe="/:@!$&'()*+,;=~-._").encode()


def vault_of(cache: Any, wall: Callable[[], float] | None, *, keyed: bool) -> Vault:
    """The Vault over what a caller gave as `cache`. TypeError for what is none."""
    now = Wall() if wall is None else wall
    if cache is None:
        cache = Cache(maxweight=64 * MIB, name="edge")
    if isinstance(cache, Cache):
        return CacheVault(cache, now, keyed=keyed)
    from ...cluster import AsyncCluster
    from ..exchange.shared_vault import ClusterVault

    if isinstance(cache, AsyncCluster):
        return ClusterVault(cache, now, keyed=keyed)
    raise TypeError(f"cache must be a Cache, an AsyncCluster or None, not {cache!r}")


def _fields(word: str, names: Any) -> tuple[bytes, ...]:
    try:
        given = (names,) if isinstance(names, (str, bytes)) else tuple(names)
        return tuple((name if isinstance(name, bytes) else name.encode("ascii")).lower() for name in given)
    except (AttributeError, TypeError, UnicodeEncodeError) as error:
        raise TypeError(f"HTTPCacheMiddleware: {word} must be a field name, or several, not {names!r}") from error


