"""How Redis and Valkey are spoken to over our own thin connections: RESP2, packed and parsed by hiredis; and how they are
reached through a client of redis-py's instead, for Redis Cluster, Sentinel and whatever else it connects to.

A request is a list of commands, tuples of str, bytes and int. The replies come in the same order; what an engine refuses
is a `Refused` among them. Both lines have `perform` and `aperform`.
"""

import re
import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from .._base.extras import needed
from .._core import Bulks
from .blocking import NOT_YET
from .clients import Runs
from .node import Fault, Pending
from .sockets import Address, Line

Command: TypeAlias = tuple[str | bytes | int, ...]

_REASONS = {
    "OOM": "full",
    "READONLY": "readonly", "MISCONF": "readonly", "NOREPLICAS": "readonly", "NOGOODSLAVE": "readonly",
    "LOADING": "loading", "MASTERDOWN": "loading", "CLUSTERDOWN": "loading", "TRYAGAIN": "loading", "BUSY": "loading",
    "NOAUTH": "auth", "WRONGPASS": "auth", "NOPERM": "auth", "DENIED": "auth",
}
_CODE = re.compile(rf"(?:^|[ -])({'|'.join(_REASONS)})\b")  # Redis 6 wraps what a script met: "ERR Error running ... -OOM"


KEPT = 25  # bytes of a body that is too large: a cell's head, by which it can be replaced (cluster/replies.py)
LEAST = 1 << 20  # bytes that are always read: what an engine says about itself is no longer
RESTARTED = Fault("restarted", "another run of the engine is there")


class Refused(str):
    """An error reply: its whole text."""

    __slots__ = ()

    def fault(self) -> Fault:
        """What it says about the engine."""
        code = _CODE.search(self[:300])
        reason = _REASONS[code.group(1)] if code else "refused" if "max number of clients" in self else "protocol"
        return Fault(reason, f"the engine said {self[:200]!r}")


class Reader:
    """hiredis's, which never holds a body that is larger than anything of ours: it is cut on the way."""

    __slots__ = ("_bulks", "_feed", "_has_data", "gets")

    def __init__(self, reader: Any, most: int) -> None:
        self._bulks, self._feed, self.gets, self._has_data = Bulks(most, KEPT), reader.feed, reader.gets, reader.has_data

    def feed(self, chunk: bytes) -> None:
        """Take in what came."""
        self._feed(self._bulks.sift(chunk))

    @property
    def is_cutting(self) -> bool:
        """Whether more is to come of what was cut, and nobody waits for it."""
        return self._bulks.is_cutting

    @property
    def is_amid(self) -> bool:
        """Whether a part of a reply is here."""
        return self._has_data() or self._bulks.is_cutting


class Resp:
    """The dialect. credentials: for AUTH, none, the password, or name and password. most: the largest body that is read."""

    def __init__(self, hiredis: Any, credentials: tuple[str, ...], database: int, most: int) -> None:
        self._reader, self._pack, self._most = hiredis.Reader, hiredis.pack_command, max(most, LEAST) + KEPT
        commands: list[Command] = [("AUTH", *credentials)] if credentials else []
        if database:
            commands.append(("SELECT", str(database)))
        commands.append(("INFO", "server"))
        self._greeting = self.pack(commands), len(commands)
        self.run = ""  # the engine's, that connections were opened to

    def reader(self) -> Any:
        return Reader(self._reader(protocolError=ValueError, replyError=Refused, notEnoughData=NOT_YET), self._most)

    def pack(self, commands: Sequence[Command]) -> bytes:
        """The bytes of commands. Numbers are written here: hiredis (3.5) crashes where a signal's handler raises while it
        writes one. A command of two words has none."""
        pack = self._pack
        if len(commands) == 1:
            command = commands[0]
            packed: bytes = pack(command if len(command) == 2 else _worded(command))
            return packed
        return b"".join([pack(_worded(command)) for command in commands])

    def greeting(self) -> tuple[bytes, int]:
        return self._greeting

    def welcome(self, replies: list[Any]) -> Fault | None:
        for reply in replies[:-1]:
            if type(reply) is Refused:
                return Fault("auth" if reply.fault().reason == "protocol" else reply.fault().reason,
                             "the engine refused the password, the user or the database")
        said = replies[-1]
        if type(said) is Refused and (said.fault().reason in ("auth", "refused") and "NOPERM" not in said):
            return said.fault()
        run = run_of(said)  # nothing is asked of an engine that may have come back with what it held
        if not self.run:
            self.run = run
        return None if run == self.run else RESTARTED


def _worded(command: Command) -> tuple[str | bytes, ...]:
    """A command whose numbers are written out."""
    if set(map(type, command)) == {str}:
        return command  # type: ignore[return-value]
    return tuple([b"%d" % word if isinstance(word, int) else word for word in command])


class ThinLine:
    """Commands over our own connections."""

    is_many = False

    def __init__(self, line: Line, dialect: Resp) -> None:
        self.line, self._pack, self._dialect = line, dialect.pack, dialect

    def perform(self, commands: Sequence[Command]) -> Any:
        return self.line.exchange(self._pack(commands), len(commands))

    def begin(self, requests: Sequence[Sequence[Command]]) -> Pending | None:
        commands = requests[0] if len(requests) == 1 else [command for request in requests for command in request]
        return self.line.begin(self._pack(commands), [len(request) for request in requests])

    async def aperform(self, commands: Sequence[Command]) -> Any:
        return await self.line.aexchange(self._pack(commands), len(commands))

    def take_any_run(self) -> None:
        """The next connection may be to another run of the engine."""
        self._dialect.run = ""

    def close(self) -> None:
        self.line.close()

    async def aclose(self) -> None:
        await self.line.aclose()


class ClientLine:
    """Commands over a client of redis-py's, blocking, asyncio, or one of each. They are the caller's: they are not closed
    here, and their timeouts and retries are theirs. But what a connection breaks under is asked once more, as over our own
    (cluster/sockets.py); a Redis Cluster's client does so by itself."""

    def __init__(self, client: Any, aclient: Any) -> None:
        self._client, self._aclient = client, aclient
        self._errors = needed("redis.exceptions", "redis", "RedisNode")
        self._caught = (self._errors.RedisError, self._errors.RedisClusterException, OSError, IndexError, ValueError)
        self.is_many = any(hasattr(one, "get_primaries") for one in (client, aclient))
        self.is_ours = False
        self._runs = Runs()  # redis-py connects again without a word
        for one in (client, aclient):
            self._runs.watch(one, run_of)

    def take_any_run(self) -> None:
        """The next connection may be to another run of the engine."""
        self._runs.accepted = ""

    def begin(self, requests: Sequence[Sequence[Command]]) -> None:
        """Nothing: a client of redis-py's waits for what it asks, so cluster/drive.py lets threads do that."""

    def perform(self, commands: Sequence[Command]) -> Any:
        replies = RESTARTED if self._runs.is_other else self._perform(commands)
        if self._is_worth_another(replies):
            replies = self._perform(commands)
        return RESTARTED if self._runs.is_other else replies

    async def aperform(self, commands: Sequence[Command]) -> Any:
        replies = RESTARTED if self._runs.is_other else await self._aperform(commands)
        if self._is_worth_another(replies):
            replies = await self._aperform(commands)
        return RESTARTED if self._runs.is_other else replies

    def _is_worth_another(self, replies: Any) -> bool:
        return type(replies) is Fault and replies.reason == "reset" and not self.is_many

    def _perform(self, commands: Sequence[Command]) -> Any:
        if self._client is None:
            raise TypeError("RedisNode: made with an asyncio client only; give a blocking one as client= too")
        try:
            if commands[0][0] == "INFO":
                return [self._client.execute_command(*commands[0], **self._everywhere(self._client))]
            if len(commands) == 1:
                return [self._client.execute_command(*commands[0], **_raw(commands[0]))]
            with self._client.pipeline(**({} if self.is_many else {"transaction": False})) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command, **_raw(command))
                return self._plain(pipeline.execute(raise_on_error=False))
        except self._caught as error:  # of all that was asked
            told = self._told(error)
            return told if type(told) is Fault else told * len(commands)

    async def _aperform(self, commands: Sequence[Command]) -> Any:
        if self._aclient is None:
            raise TypeError("RedisNode: made with a blocking client only; give an asyncio one as aclient= too")
        try:
            if commands[0][0] == "INFO":
                return [await self._aclient.execute_command(*commands[0], **self._everywhere(self._aclient))]
            if len(commands) == 1:
                return [await self._aclient.execute_command(*commands[0], **_raw(commands[0]))]
            async with self._aclient.pipeline(**({} if self.is_many else {"transaction": False})) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command, **_raw(command))
                return self._plain(await pipeline.execute(raise_on_error=False))
        except self._caught as error:  # of all that was asked
            told = self._told(error)
            return told if type(told) is Fault else told * len(commands)

    def _everywhere(self, client: Any) -> dict[str, Any]:
        return {"target_nodes": client.get_primaries()} if self.is_many else {}

    def _plain(self, replies: list[Any]) -> list[Any]:
        return [self._one(reply) if isinstance(reply, Exception) else reply for reply in replies]

    def _one(self, error: Exception) -> Any:
        """The error of one command: refused by an engine that answers, or a Fault for this command alone."""
        told = self._told(error)
        return told if type(told) is Fault else told[0]

    def _told(self, error: Exception) -> Any:
        """The Fault, or the refusal as the only reply, that an exception of the client's stands for."""
        known = self._errors
        if isinstance(error, known.AuthenticationError):
            return Fault("auth", "the engine refused the password or the user")
        if isinstance(error, known.ResponseError | known.BusyLoadingError):
            code = getattr(error, "status_code", None) or type(error).__name__
            code = {"BusyLoadingError": "LOADING", "OutOfMemoryError": "OOM", "ReadOnlyError": "READONLY",
                    "NoScriptError": "NOSCRIPT", "NoPermissionError": "NOPERM", "ClusterDownError": "CLUSTERDOWN",
                    "MasterDownError": "MASTERDOWN", "ResponseError": ""}.get(code, code)
            text = str(error)
            return [Refused(text if not code or text.startswith(code) else f"{code} {text}")]
        if isinstance(error, known.TimeoutError | TimeoutError):
            return Fault("timeout", "the engine did not answer in time")
        if isinstance(error, known.ConnectionError | known.RedisClusterException | OSError):
            is_reset = isinstance(error, ConnectionResetError) or any(
                word in str(error) for word in ("closed", "reset", "Broken pipe"))
            return Fault("reset" if is_reset else "refused", f"the client says {type(error).__name__}")
        return Fault("protocol", f"the client says {type(error).__name__}")

    def close(self) -> None:
        """Nothing, where the clients are the caller's."""
        if self.is_ours:
            self._client.close()

    async def aclose(self) -> None:
        """Nothing: these are always the caller's."""


def _raw(command: Command) -> dict[str, Any]:
    """What keeps redis-py from making True or False of the reply."""
    return {"get": True} if command[0] == "SET" else {}


class Target(NamedTuple):
    """What a URL says."""

    address: Address
    credentials: tuple[str, ...]
    database: int
    name: str  # without user and password


def read_url(url: str, tls: ssl.SSLContext | None) -> Target:
    """redis://[[user]:password@]host[:port][/database], rediss:// for TLS, unix://[[user]:password@]/path[?db=database].
    Raises ValueError, without the password, for what cannot be read."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("RedisNode: the URL cannot be read (is the port a number?)") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"RedisNode: a URL begins with redis://, rediss:// or unix://, not {parts.scheme!r}")
    query = parse_qs(parts.query)
    unknown = sorted(set(query) - {"db"})
    if unknown:
        raise ValueError(f"RedisNode: the URL's query may hold db alone, not {', '.join(unknown)}")
    if tls is not None and parts.scheme != "rediss":
        raise ValueError("RedisNode: tls needs a URL that begins with rediss://")
    number = query.get("db", [""])[0] or ("" if parts.scheme == "unix" else parts.path.strip("/")) or "0"
    if not (number.isascii() and number.isdigit()):
        raise ValueError(f"RedisNode: the database must be a number, not {number!r}")
    password = unquote(parts.password or "")
    credentials = tuple(word for word in (unquote(parts.username or ""), password) if word) if password else ()
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("RedisNode: a unix:// URL needs the path of a socket")
        return Target(Address(path=unquote(parts.path)), credentials, int(number), f"unix://{parts.path}?db={number}")
    if parts.scheme == "rediss" and tls is None:
        tls = ssl.create_default_context()
    address = Address(parts.hostname or "localhost", port or 6379, "", tls)
    return Target(address, credentials, int(number), f"{parts.scheme}://{address}/{number}")


def run_of(reply: Any) -> str:
    """The run id in what INFO says: text, or what redis-py made of it; of a Redis Cluster, all of them."""
    if isinstance(reply, dict):
        if "run_id" in reply:
            return str(reply["run_id"])
        return "+".join(sorted(str(one.get("run_id", "")) for one in reply.values() if isinstance(one, dict)))
    for line in bytes(reply).splitlines() if type(reply) is bytes else ():
        if line.startswith(b"run_id:"):
            return line[7:].decode("ascii", "replace")
    return ""  # its rights do not reach to INFO: a restart is not noticed
