"""An ASGI application as an origin: it runs in a task of its own, and what it sends is an answer.

What it asks of its client is answered here: where others may share the answer (GET and HEAD without a body) its client is
the cache, which leaves when nobody wants the answer any more; else it is the real one.

The one rule: an application that has sent its whole answer is never disturbed: what it does afterwards (background tasks)
it does in peace.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from ..contracts import Inform, OriginFailed, Request
from ..rules import Headers
from ..rules.entry import declared_length

_log = logging.getLogger("samovar")
Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_AHEAD = 256 << 10  # bytes that an application may send ahead of who takes them
_KEPT_EXTENSIONS = frozenset({"http.response.early_hint", "tls"})  # others would send what is no body
_running: set[asyncio.Task[None]] = set()


class AppReply:
    """What an application answers."""

    def __init__(self, method: str) -> None:
        self.status, self.reason = 0, b""
        self.headers: Headers = ()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] | None = None  # who waits to hear that nobody wants this
        self._method = method
        self._chunks: deque[bytes] = deque()
        self._waiting = self._size = 0  # bytes that wait, and of all
        self._declared: int | None = None
        self._is_complete = self._is_closed = False
        self._error: OriginFailed | None = None
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    # ---------------------------------------------------------------- the application

    async def take(self, message: Message, inform: Inform | None) -> None:
        """What the application sends."""
        kind = message["type"]
        if kind == "http.response.body":
            await self._take_body(message)
        elif kind == "http.response.start":
            if self.status:
                raise RuntimeError("the application began its answer twice")
            self._begin(message)
        elif kind == "http.response.early_hint" and inform is not None:
            inform(103, [(b"link", bytes(link)) for link in message.get("links", ())])

    def _begin(self, message: Message) -> None:
        headers = [(bytes(name).lower(), bytes(value).strip(b" \t")) for name, value in message.get("headers", ())]
        for name, value in headers:
            if b"\n" in value or b"\r" in value or b"\0" in value:
                raise ValueError(f"the field {name!r} has a line break in it: {value!r}")
        self.headers = headers
        if self._method != "HEAD" and message["status"] not in (204, 304):
            self._declared = declared_length(headers)
        self.status = message["status"]
        if not self.started.done():
            self.started.set_result(None)

    async def _take_body(self, message: Message) -> None:
        if not self.status:
            raise RuntimeError("the application sent a body before it began its answer")
        if self._is_complete:
            raise RuntimeError("the application sent more than its whole answer")
        if self._is_closed:
            raise OSError("the client is gone")
        chunk = bytes(message.get("body", b""))
        if chunk and self._method != "HEAD":
            self._chunks.append(chunk)
            self._waiting += len(chunk)
            self._size += len(chunk)
        if not message.get("more_body", False):
            self._is_complete = True
            if self._declared is not None and self._declared != self._size:
                self._error = OriginFailed(f"a body of {self._size} bytes says that it has {self._declared}")
        self._wake()
        while self._is_full():
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _is_full(self) -> bool:
        return self._waiting > _AHEAD and not (self._is_closed or self._is_complete)

    def is_over(self, error: BaseException | None) -> None:
        """The application has returned, or raised."""
        if self._is_complete:
            if error is not None and not isinstance(error, asyncio.CancelledError):
                _log.error("an application raised after its answer was complete: %r", error, exc_info=error)
            return
        what = "the application returned before its answer was complete" if error is None else f"it raised {error!r}"
        self._error = OriginFailed(what, raised=error if isinstance(error, Exception) else None)
        if not self.started.done():
            self.started.set_exception(self._error)
            self.started.exception()  # looked at, if nobody else does
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # ---------------------------------------------------------------- who takes it

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._waiting -= len(chunk)
                if self._room is not None and not self._room.done() and self._waiting <= _AHEAD:
                    self._room.set_result(None)
                yield chunk
            if self._error is not None:
                raise self._error
            if self._is_complete:
                return
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    def at_hand(self) -> bytes | None:
        """The whole body, where it is here already and nothing of it was taken; then it is taken."""
        if not self._is_complete or self._error is not None or self._waiting != self._size or self._waiting > _AHEAD:
            return None
        chunks = list(self._chunks)
        self._chunks.clear()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def close(self) -> None:
        """Nobody wants more of it."""
        self._is_closed = True
        self._chunks.clear()
        for one in (self._room, self.gone):
            if one is not None and not one.done():
                one.set_result(None)

    async def disconnected(self) -> Message:
        """Tell the application that its client left: when nobody wants more, or nothing is left to be wanted."""
        if not self._is_closed and not self._is_complete:
            self.gone = asyncio.get_running_loop().create_future()
            await self.gone
        return {"type": "http.disconnect"}


class AppOrigin:
    """Asks an application. The scope and the receive of a request are its `about`."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def ask(self, request: Request, inform: Inform | None = None) -> AppReply:
        """Call the application; its answer, once it began. Raises OriginFailed, with what the application raised."""
        scope, receive = request.about
        reply = AppReply(request.method)
        called = dict(scope, method=request.method, headers=list(request.headers))
        extensions = scope.get("extensions")
        if extensions:
            called["extensions"] = {name: about for name, about in extensions.items() if name in _KEPT_EXTENSIONS}
        if request.method in ("GET", "HEAD") and not brings_body(scope["headers"]):
            receive = _Alone(reply)
        task = asyncio.get_running_loop().create_task(self._run(called, receive, reply, inform))
        _running.add(task)
        task.add_done_callback(_running.discard)
        try:
            await reply.started
        except asyncio.CancelledError:
            await reply.close()
            raise
        return reply

    async def _run(self, scope: Scope, receive: Receive, reply: AppReply, inform: Inform | None) -> None:
        async def send(message: Message) -> None:
            await reply.take(message, inform)

        try:
            await self._app(scope, receive, send)
        except Exception as error:
            reply.is_over(error)
        except BaseException as error:
            reply.is_over(error)
            raise
        else:
            reply.is_over(None)


class _Alone:
    """The receive of an application whose client is the cache: an empty body, and then silence."""

    def __init__(self, reply: AppReply) -> None:
        self._reply, self._was_asked = reply, False

    async def __call__(self) -> Message:
        if not self._was_asked:
            self._was_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return await self._reply.disconnected()


def brings_body(headers: Headers) -> bool:
    """Whether a request has a body."""
    return any(name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" \t0"))
               for name, value in headers)
