"""What the rooms of the edge hand to each other: a request, an origin to ask, and somewhere to send the answer.

Two fronts make Requests and Senders (the ASGI middleware and the proxy's own protocol), two origins answer (an ASGI
application and a pool of connections), two stores keep (this process and a cluster); between them is one exchange, which
asks `rules` what to do and does it. Field names are in lower case and values are without CR, LF and NUL everywhere.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from .rules import Entry, Headers, Variants
from .wish import Wish

Inform: TypeAlias = Callable[[int, Headers], None]  # passes on an informational response (1xx) that an origin sent


@dataclass(slots=True)
class Request:
    """One request, whose framing a front has checked.

    target: as it stood in the request line. body: its chunks, or None where the message has none. length: what
    Content-Length said, or None.
    client: the address of who sent it, for X-Forwarded-For, or None. version: of HTTP, as Via writes it.
    about: whatever its front wants to hand to its origin. wish: withdrawn by its front, when its client left; an origin that
    lets requests wait in line does so within it, those that are lost behind the others.
    """

    method: str
    scheme: bytes
    target: bytes
    headers: Headers
    body: AsyncIterator[bytes] | None = None
    length: int | None = None
    client: bytes | None = None
    version: bytes = b"1.1"
    about: Any = field(default=None, repr=False)
    wish: Wish = field(default_factory=Wish, repr=False)


class OriginFailed(Exception):
    """The origin gave no answer, or no whole one.

    timed_out: it took too long. reached: a connection stood, so the request may have had an effect.
    raised: what an origin in this very process raised, for its caller; else None.
    """

    def __init__(self, why: str, *, timed_out: bool = False, reached: bool = True,
                 raised: BaseException | None = None) -> None:
        super().__init__(why)
        self.timed_out, self.reached, self.raised = timed_out, reached, raised


class Reply(Protocol):
    """What an origin answers, once its fields are there. Whoever has one closes it, on every way out."""

    status: int
    reason: bytes
    headers: Headers

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body as it comes, nothing faster than it is taken. Raises OriginFailed when it ends before its end."""

    async def close(self) -> None:
        """Let go of it; what was not read is not wanted. A second time it does nothing."""


class Origin(Protocol):
    """Where answers come from."""

    async def ask(self, request: Request, inform: Inform | None = None) -> Reply:
        """Forward a request, whose headers are as they are to be sent (but for hop-by-hop ones). Raises OriginFailed;
        Withdrawn where its wish was, before anything was sent."""


class Sender(Protocol):
    """Where one answer goes. A client that left makes every call raise ConnectionError."""

    def inform(self, status: int, headers: Headers) -> None:
        """Send an informational response where the front can, else nothing."""

    async def start(self, status: int, reason: bytes, headers: Headers) -> None:
        """Send the head. Without content-length the front frames the body itself."""

    async def write(self, chunk: bytes | memoryview) -> None:
        """Send a part of the body; it returns when there is room for more."""

    async def end(self) -> None:
        """The body is complete."""

    def abort(self) -> None:
        """The body can not be completed: cut the connection so that the client sees it."""


class Vault(Protocol):
    """Where answers are kept: the Variants of a key, as one value that changes in one step.

    The exchange ends every fence that it took, by `change` or by `release`; the vault never raises for a store that
    cannot be reached: then it finds nothing and keeps nothing.
    """

    waits: bool  # whether `find` can know more than `peek`
    lags: bool  # whether what `peek` says may be older than what `find` says with anew
    most: int | None  # bytes of the largest body that it takes; None: it does not say
    takes_files: bool  # whether a body may be something that lies outside of memory (edge/exchange/body.py)

    def peek(self, key: bytes) -> Variants | None:
        """What is at hand without waiting; None says nothing when `waits`."""

    async def find(self, key: bytes, *, anew: bool = False) -> Variants | None:
        """What is stored under a key. anew: what `peek` had is of no use."""

    async def fence(self, key: bytes) -> Any:
        """Where the key stands now, before its origin is asked: for `change`."""

    async def change(self, key: bytes, fence: Any, change: Callable[[Variants], Variants]) -> bool:
        """Put `change(what is there)` in its place, and end the fence; nobody else's change gets lost, and Variants that
        are empty and not marked leave. False, and nothing is stored, when the key, or a tag of what would be stored, was
        purged since the fence."""

    def holds(self, entry: Entry) -> bool:
        """Whether the body of an entry is in the store's own memory, so that to keep it costs nothing more."""

    def stands(self, key: bytes, fence: Any, tags: tuple[str, ...]) -> bool:
        """Whether neither the key nor one of these tags was purged since the fence, as far as this process knows."""

    def is_elsewhere(self, fence: Any) -> bool:
        """Whether another process fetches the same at this moment, so that it will be stored without us."""

    def seen(self, fence: Any) -> Variants | None:
        """What lay under the key when the fence was had, where that may be newer than what was found before; or None."""

    def drop_near(self, key: bytes) -> None:
        """Something newer than what `peek` may say was found under the key: let go of the latter, if it lags."""

    def release(self, fence: Any) -> None:
        """End a fence without a change. One that is ended already is left alone."""

    async def drop(self, keys: Iterable[bytes]) -> None:
        """Take everything under these keys out, and whatever begins with one of them and a line feed."""

    async def purge(self, *, urls: Iterable[bytes] = (), tags: Iterable[str] = (), everything: bool = False,
                    soft: bool = False) -> int:
        """Take out, or make stale, what is stored under these keys or carries one of these tags; how many keys, as far
        as is known. Nobody who asks afterwards is served what it took out."""
