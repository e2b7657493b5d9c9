"""Subscriptions: what an engine tells everybody who listens, with the moments in which nothing was heard made plain.

    with node.subscribe(["changes"]) as heard:
        while True:
            told = heard.get(0.75)      # a Message, None after so many seconds of silence, or a Fault

Nothing reconnects in secret: after a Fault the subscription is over, messages may have been missed, and the caller opens
another and flushes what it had. The same in asyncio, with `async with` and `aget`. One thread or task at a time.
"""

import asyncio
import contextlib
import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .blocking import FAULTS, NOT_YET, fault_of
from .node import Fault
from .sockets import Line


class Message(NamedTuple):
    """What came over a channel."""

    channel: str
    payload: bytes


class Subscription(ABC):
    """Channels that are listened to, from `open` until `close`, blocking or in asyncio, never both."""

    @abstractmethod
    def open(self) -> Fault | None:
        """Connect and subscribe; what went wrong, or None once the engine confirmed every channel."""

    @abstractmethod
    def get(self, timeout_s: float) -> "Message | Fault | None":
        """The next message; None when none came in time; a Fault when the connection is lost."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening."""

    @abstractmethod
    async def aopen(self) -> Fault | None:
        """`open` in asyncio."""

    @abstractmethod
    async def aget(self, timeout_s: float) -> "Message | Fault | None":
        """`get` in asyncio."""

    @abstractmethod
    async def aclose(self) -> None:
        """`close` in asyncio."""

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> "Subscription":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


_UNOPENED = Fault("closed", "the subscription is not open")


class ThinSubscription(Subscription):
    """Over a connection of its own, beside those of a line."""

    def __init__(self, line: Line, pack: Callable[[Sequence[Any]], bytes], channels: tuple[str, ...]) -> None:
        if not channels or not all(type(channel) is str and channel for channel in channels):
            raise ValueError(f"subscribe: channels must be one name or more, not {channels!r}")
        self._line, self._channels = line, channels
        self._payload = pack([("SUBSCRIBE", *channels)])
        self._wire: Any = None
        self._reader: Any = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def open(self) -> Fault | None:
        self.close()
        wire = self._line.open(self._line.timeout_s)
        if type(wire) is Fault:
            return wire
        try:
            confirmed = wire.exchange(self._payload, len(self._channels))
        except FAULTS as error:
            wire.socket.close()
            return fault_of(error, self._line.address)
        fault = _unconfirmed(confirmed)
        if fault is not None:
            wire.socket.close()
            return fault
        self._wire, self._reader = wire, wire.reader
        return None

    def get(self, timeout_s: float) -> Message | Fault | None:
        if self._wire is None:
            return _UNOPENED
        try:
            while (reply := self._reader.gets()) is NOT_YET:
                self._wire.socket.settimeout(max(timeout_s, 0.001))
                try:
                    self._wire.receive()
                except TimeoutError:
                    return None
            return _message(reply)
        except FAULTS as error:
            self.close()
            return fault_of(error, self._line.address)

    def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.socket.close()

    async def aopen(self) -> Fault | None:
        await self.aclose()
        where, dialect = self._line.address, self._line.dialect
        if self._line.is_closed:
            return Fault("closed", f"the node for {where} was closed")
        try:
            async with asyncio.timeout(self._line.timeout_s):
                if where.path:
                    self._streams = await asyncio.open_unix_connection(where.path)
                else:
                    self._streams = await asyncio.open_connection(where.host, where.port, ssl=where.tls)
                self._reader = dialect.reader()
                payload, count = dialect.greeting()
                self._streams[1].write(payload + self._payload)
                told = [await self._next() for _ in range(count + len(self._channels))]
            fault = (dialect.welcome(told[:count]) if count else None) or _unconfirmed(told[count:])
        except FAULTS as error:
            fault = fault_of(error, where)
        if fault is not None:
            await self.aclose()
        return fault

    async def _next(self) -> Any:
        assert self._streams is not None
        while (reply := self._reader.gets()) is NOT_YET:
            chunk = await self._streams[0].read(1 << 16)
            if not chunk:
                raise EOFError
            self._reader.feed(chunk)
        return reply

    async def aget(self, timeout_s: float) -> Message | Fault | None:
        if self._streams is None:
            return _UNOPENED
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._next()
            return _message(reply)
        except TimeoutError:
            return None
        except FAULTS as error:
            await self.aclose()
            return fault_of(error, self._line.address)

    async def aclose(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()


def _unconfirmed(replies: list[Any]) -> Fault | None:
    for reply in replies:
        if type(reply) is not list or reply[:1] != [b"subscribe"]:
            told = getattr(reply, "fault", None)
            return told() if told is not None else Fault("protocol", "the engine did not confirm the subscription")
    return None


def _message(reply: Any) -> Message:
    if type(reply) is not list or len(reply) != 3 or reply[0] != b"message":
        raise ValueError("a push that is no message")
    return Message(reply[1].decode("utf-8", "replace"), bytes(reply[2]))


class ClientSubscription(Subscription):
    """Over a client of redis-py's, which connects anew by itself: that is heard, and told as a Fault."""

    def __init__(self, client: Any, aclient: Any, channels: tuple[str, ...]) -> None:
        if not channels or not all(type(channel) is str and channel for channel in channels):
            raise ValueError(f"subscribe: channels must be one name or more, not {channels!r}")
        self._client, self._aclient, self._channels = client, aclient, channels
        self._heard: Any = None

    def open(self) -> Fault | None:
        if self._client is None:
            raise TypeError("RedisNode: made with an asyncio client only; give a blocking one as client= too")
        self.close()
        try:
            self._heard = self._client.pubsub()
            self._heard.subscribe(*self._channels)
            told = [self._heard.get_message(timeout=1.0) for _ in self._channels]
        except Exception as error:  # whatever the client raises: its own errors are many
            return self._lost(error)
        return None if all(told) else self._lost(TimeoutError())

    def get(self, timeout_s: float) -> Message | Fault | None:
        if self._heard is None:
            return _UNOPENED
        try:
            return _told(self._heard.get_message(timeout=timeout_s))
        except Exception as error:
            return self._lost(error)

    def _lost(self, error: Exception) -> Fault:
        self.close()
        kind = "timeout" if isinstance(error, TimeoutError) else "reset"
        return Fault(kind, f"the client says {type(error).__name__}")

    def close(self) -> None:
        heard, self._heard = self._heard, None
        if heard is not None:
            with contextlib.suppress(Exception):
                heard.close()

    async def aopen(self) -> Fault | None:
        if self._aclient is None:
            raise TypeError("RedisNode: made with a blocking client only; give an asyncio one as aclient= too")
        await self.aclose()
        try:
            self._heard = self._aclient.pubsub()
            await self._heard.subscribe(*self._channels)
            told = [await self._heard.get_message(timeout=1.0) for _ in self._channels]
        except Exception as error:
            return await self._alost(error)
        return None if all(told) else await self._alost(TimeoutError())

    async def aget(self, timeout_s: float) -> Message | Fault | None:
        if self._heard is None:
            return _UNOPENED
        try:
            return _told(await self._heard.get_message(timeout=timeout_s))
        except Exception as error:
            return await self._alost(error)

    async def _alost(self, error: Exception) -> Fault:
        await self.aclose()
        return Fault("timeout" if isinstance(error, TimeoutError) else "reset", f"the client says {type(error).__name__}")

    async def aclose(self) -> None:
        heard, self._heard = self._heard, None
        if heard is not None:
            with contextlib.suppress(Exception):
                await heard.aclose()


def _told(told: Any) -> Message | None:
    if told is None:
        return None
    if told["type"] != "message":
        raise EOFError  # confirmed once more: the client has connected anew without a word
    return Message(told["channel"].decode("utf-8", "replace"), told["data"])


class LocalSubscription(Subscription):
    """In this process: `publish` puts messages down, and whoever listens takes them up. `places`: where open ones are."""

    def __init__(self, places: "set[LocalSubscription]", channels: tuple[str, ...]) -> None:
        if not channels or not all(type(channel) is str and channel for channel in channels):
            raise ValueError(f"subscribe: channels must be one name or more, not {channels!r}")
        self._places, self.channels = places, channels
        self._told: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell: asyncio.Event | None = None

    def tell(self, message: Message) -> None:
        """Put a message down."""
        self._told.put(message)
        loop, bell = self._loop, self._bell
        if loop is not None and bell is not None:
            with contextlib.suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(bell.set)

    def open(self) -> Fault | None:
        self.close()
        self._told = queue.SimpleQueue()
        self._places.add(self)
        return None

    def get(self, timeout_s: float) -> Message | Fault | None:
        if self not in self._places:
            return _UNOPENED
        try:
            return self._told.get(timeout=max(timeout_s, 0.001))
        except queue.Empty:
            return None

    def close(self) -> None:
        self._places.discard(self)

    async def aopen(self) -> Fault | None:
        self._loop, self._bell = asyncio.get_running_loop(), asyncio.Event()
        return self.open()

    async def aget(self, timeout_s: float) -> Message | Fault | None:
        if self not in self._places or self._bell is None:
            return _UNOPENED
        self._bell.clear()
        if self._told.empty():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._bell.wait()
        try:
            return self._told.get_nowait()
        except queue.Empty:
            return None

    async def aclose(self) -> None:
        self.close()
        self._loop = self._bell = None
