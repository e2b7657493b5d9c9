"""Redis and Valkey as nodes: one key is one cell (cluster/scripts.py draws it), and each verb is one round trip.

A URL is spoken to over thin connections of our own; a client of redis-py's is used as it is, which brings Redis Cluster,
Sentinel and its other connections. In Redis Cluster, commands of several keys become one command for each.

A request that a connection broke under may be sent twice (cluster/sockets.py), which each of these bears: what is placed
has an id of its own, by which the engine, or the verb, knows it again. A counter may move by two steps, a note stand there
twice, and `delete` count too little.

The one rule: what is not there, and what is not ours, is a miss and no fault. A stranger who writes under our keys costs
loads and nothing else.
"""

import os
import ssl
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from .._base.extras import needed, wanted
from .._base.freshness import Duration, seconds
from . import clients, scripts
from .node import (
    FENCED,
    LEASED,
    LONGEST_MS,
    LOST,
    MISS,
    OK,
    TAG_TTL_MS,
    TOO_MANY,
    TOOBIG,
    UNAVAILABLE,
    YOURS,
    Answer,
    Capabilities,
    Fault,
    Node,
    Pending,
    Steps,
    Token,
    check_body,
    check_key,
    check_keys,
    check_ms,
    check_notes,
    check_owner,
    epoch_key,
    random_start,
)
from .push import ClientSubscription, Subscription, ThinSubscription
from .replies import (
    HEAD,
    ID,
    VALUE,
    fault_in,
    first_fault,
    founds_in,
    is_token,
    leased_in,
    listed_in,
    new_fence,
    new_value,
    number_in,
    unavailable_for,
    value_in,
)
from .resp import ClientLine, Command, Refused, Resp, ThinLine, read_url, run_of
from .sockets import Line

_MOST_NOTES = 20_000  # that are read: of ours there are no more
_KEYS_AT_ONCE = 500  # of one script: an engine does nothing else meanwhile


class RedisNode(Node):
    """One Redis or Valkey, or one Redis Cluster, that cells are kept on. Safe in threads, event loops and after a fork.

    where: a URL: redis://[[user]:password@]host[:port][/database], rediss:// for TLS, unix:///path/of/socket?db=0. Or a
        client of redis-py's, blocking (redis.Redis, RedisCluster, Sentinel(...).master_for(...)) or of redis.asyncio;
        it must not decode responses, and its timeouts and retries are its own affair.
    aclient: a second client, of redis.asyncio, when `where` is a blocking one and asyncio is used too.
    name: what the ring places it by; by default the URL without user and password. A client needs one.
    timeout: seconds (or text such as "50ms") for connecting, and for the next part of an answer.
    tls: an ssl.SSLContext for rediss://, instead of the system's default.
    max_value: the most bytes of a body; larger ones are TOOBIG.
    set_tells: whether SET knows NX and GET together, as of Redis 7.0; None finds out.

    Raises MissingExtra when redis-py with hiredis is not installed. It connects when it is first asked.
    """

    def __init__(
        self, where: Any, *, aclient: Any = None, name: str | None = None, timeout: Duration = 0.05,
        tls: ssl.SSLContext | None = None, max_value: int = 8 << 20, set_tells: bool | None = None,
    ) -> None:
        timeout_s = seconds(timeout, "RedisNode: timeout", positive=True)
        if type(max_value) is not int or max_value < 1:
            raise ValueError(f"RedisNode: max_value must be a number of bytes, at least 1, not {max_value!r}")
        self._line: ThinLine | ClientLine
        if isinstance(where, str):
            if aclient is not None:
                raise TypeError("RedisNode: aclient goes with a client, and where is a URL")
            target = read_url(where, tls)
            dialect = Resp(needed("hiredis", "redis", "RedisNode"), target.credentials, target.database, max_value)
            self._line = ThinLine(Line(target.address, dialect, timeout_s), dialect)
            self.name = name or target.name
        else:
            self._line = ClientLine(*_clients(where, aclient))
            if not name:
                raise TypeError("RedisNode: name must be given with a client: the ring places the node by it")
            self.name = name
        if type(self.name) is not str:
            raise TypeError(f"RedisNode: name must be a str, not {name!r}")
        self._set_tells = set_tells
        self._most = max_value
        self.capabilities = Capabilities(push=True, ms_ttl=True, max_value=max_value, fence_seen=True)

    # ---------------------------------------------------------------- asking

    @property
    def blocks(self) -> bool:
        return isinstance(self._line, ThinLine) or self._line._client is not None

    def for_threads(self) -> "RedisNode | None":
        if self.blocks:
            return self
        client = clients.for_threads(self._line._aclient)  # type: ignore[union-attr]
        if client is None:
            return None
        made = RedisNode(client, name=self.name, max_value=self._most, set_tells=self._set_tells)
        made._line.is_ours = True  # type: ignore[union-attr]
        return made

    def perform(self, request: Sequence[Command]) -> Any:
        return self._line.perform(request)

    def begin(self, requests: Sequence[Sequence[Command]]) -> Pending | None:
        return self._line.begin(requests)

    async def aperform(self, request: Sequence[Command]) -> Any:
        return await self._line.aperform(request)

    def close(self) -> None:
        self._line.close()

    async def aclose(self) -> None:
        await self._line.aclose()

    def _scripts(self, script: scripts.Script, calls: Sequence[Command]) -> Generator[Any, Any, Any]:
        """Run a script for each (number of keys, keys, arguments): the replies, or a Fault. An engine that does not know
        it yet is told it."""
        replies = yield self, [("EVALSHA", script.digest, *call) for call in calls]
        if type(replies) is Fault:
            return replies
        unknown = [at for at, reply in enumerate(replies) if type(reply) is Refused and reply.startswith("NOSCRIPT")]
        if unknown:
            again = yield self, [("EVAL", script.source, *calls[at]) for at in unknown]
            if type(again) is Fault:
                return again
            for at, reply in zip(unknown, again, strict=True):
                replies[at] = reply
        return replies

    def _all(self, script: scripts.Script, calls: Sequence[Command], kind: type = int) -> Generator[Any, Any, Any]:
        """The same, where one refusal, or one reply of another kind, is the failure of all."""
        replies = yield from self._scripts(script, calls)
        return replies if type(replies) is Fault else first_fault(replies, kind) or replies

    # ---------------------------------------------------------------- reading and loading

    def read(self, keys: Sequence[str]) -> Steps[Answer]:
        check_keys(keys)
        if not keys:
            return OK, []
        return self.said((yield from self.gather(keys))[1])

    def gather(self, keys: Sequence[str]) -> Steps[Answer]:
        if len(keys) == 1 or self._line.is_many:
            replies = yield self, [("GET", key) for key in keys]
        else:
            replies = yield self, [("MGET", *keys)]
            if type(replies) is not Fault:
                replies = listed_in(replies[0], len(keys))
        return (UNAVAILABLE if type(replies) is Fault else OK), replies

    def bodies_in(self, replies: list[Any]) -> tuple[list[Any], bytes, int]:
        return replies, VALUE, HEAD

    def asks(self, key: str) -> list[Command]:
        return [("GET", key)]

    def body_in(self, replies: Any) -> bytes | None:
        return None if type(replies) is Fault else value_in(replies[0])

    def said(self, replies: Any) -> Answer:
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        found = founds_in(replies)
        if found[0].kind is UNAVAILABLE and all(one.kind is UNAVAILABLE for one in found):
            return UNAVAILABLE, found[0].body
        return OK, found

    def lease_many(self, keys: Sequence[str], ms: int) -> Steps[Answer]:
        check_keys(keys)
        check_ms(ms, "ms")
        if not keys:
            return OK, []
        leases = [b"L" + os.urandom(ID) for _ in keys]
        replies: Any = None
        if self._set_tells is not False:
            replies = yield self, [("SET", key, lease, "NX", "GET", "PX", ms)
                                   for key, lease in zip(keys, leases, strict=True)]
            if type(replies) is not Fault and type(replies[0]) is Refused and "syntax" in replies[0]:
                self._set_tells = False
        if self._set_tells is False:
            replies = yield from self._scripts(
                scripts.LEASE, [(1, key, lease, ms) for key, lease in zip(keys, leases, strict=True)])
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        return OK, [(YOURS, lease) if reply is None or reply == lease else leased_in(reply)  # its own: it was sent twice
                    for lease, reply in zip(leases, replies, strict=True)]

    def fill_many(self, items: Sequence[tuple[str, Token, bytes, int]]) -> Steps[Answer]:
        for key, _, body, ttl_ms in items:
            check_key(key)
            check_body(body)
            check_ms(ttl_ms, "ttl_ms")
        return self._store(
            scripts.FILL, items, LOST,
            lambda item: (1, item[0], item[1], new_value(item[2]), min(item[3], LONGEST_MS)) if is_token(item[1]) else None)

    def _store(self, script: scripts.Script, items: Sequence[Any], refused: Any, call: Any) -> Steps[Answer]:
        """Store items by a script; what is too big takes the cell with it."""
        answers: list[Any] = [(refused, None)] * len(items)
        calls, places = [], []
        for at, item in enumerate(items):
            words = call(item)
            if words is None:
                continue
            if len(item[-2]) > self._most:
                answers[at] = TOOBIG, None
            else:
                calls.append(words)
                places.append(at)
        big = [items[at][0] for at, answer in enumerate(answers) if answer[0] is TOOBIG]
        if big:
            status, told = yield from self.delete(big)
            if status is UNAVAILABLE:
                return status, told
        if calls:
            replies = yield from self._scripts(script, calls)
            if type(replies) is Fault:
                return UNAVAILABLE, replies
            for at, reply in zip(places, replies, strict=True):
                answers[at] = (OK, None) if reply == 1 else (refused, None) if reply == 0 else unavailable_for(reply)
        return OK, answers

    def claim(self, key: str, token: Token, ms: int) -> Steps[Answer]:
        check_key(key)
        check_ms(ms, "ms")
        if not is_token(token):
            return LOST, None
        mine = b"V" + os.urandom(ID)
        replies = yield from self._all(scripts.CLAIM, [(1, key, token, mine, min(ms, scripts.LONGEST_HOLD_MS))])
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        return (YOURS, mine) if replies[0] == 1 else (LEASED if replies[0] == 2 else LOST, None)

    def release(self, key: str, token: Token) -> Steps[Answer]:
        check_key(key)
        if not is_token(token):
            return LOST, None
        return (yield from self._whether(scripts.RELEASE, (1, key, token), LOST))

    def _whether(self, script: scripts.Script, call: Command, no: Any) -> Steps[Answer]:
        replies = yield from self._all(script, [call])
        return (UNAVAILABLE, replies) if type(replies) is Fault else (OK if replies[0] else no, None)

    # ---------------------------------------------------------------- changing

    def put_many(self, items: Sequence[tuple[str, bytes, int]]) -> Steps[Answer]:
        for key, body, ttl_ms in items:
            check_key(key)
            check_body(body)
            check_ms(ttl_ms, "ttl_ms")
        return self._store(scripts.PUT, items, FENCED,
                           lambda item: (1, item[0], new_value(item[1]), min(item[2], LONGEST_MS)))

    def delete(self, keys: Sequence[str]) -> Steps[Answer]:
        check_keys(keys)
        if not keys:
            return OK, 0
        size = 1 if self._line.is_many else _KEYS_AT_ONCE
        parts = [keys[at:at + size] for at in range(0, len(keys), size)]
        replies = yield from self._all(scripts.DELETE, [(len(part), *part) for part in parts])
        return (UNAVAILABLE, replies) if type(replies) is Fault else (OK, sum(replies))

    def touch(self, key: str, ttl_ms: int) -> Steps[Answer]:
        check_key(key)
        check_ms(ttl_ms, "ttl_ms")
        return (yield from self._whether(scripts.TOUCH, (1, key, min(ttl_ms, LONGEST_MS)), MISS))

    def begin_write(self, keys: Sequence[str], owner: bytes, hold_ms: int) -> Steps[Answer]:
        check_keys(keys)
        check_owner(owner)
        check_ms(hold_ms, "hold_ms")
        hold_ms = min(hold_ms, scripts.LONGEST_HOLD_MS)
        return (yield from self._fence(scripts.BEGIN_WRITE, [(1, key, owner, hold_ms, new_fence()) for key in keys]))

    def end_write(self, keys: Sequence[str], owner: bytes) -> Steps[Answer]:
        check_keys(keys)
        check_owner(owner)
        return (yield from self._fence(scripts.END_WRITE, [(1, key, owner, new_fence()) for key in keys]))

    def _fence(self, script: scripts.Script, calls: Sequence[Command]) -> Steps[Answer]:
        replies = (yield from self._all(script, calls)) if calls else []
        return (UNAVAILABLE, replies) if type(replies) is Fault else (OK, None)

    # ---------------------------------------------------------------- counters and the engine itself

    def versions(self, tags: Sequence[str]) -> Steps[Answer]:
        check_keys(tags)
        return self._count(tags)

    def _count(self, counters: Sequence[str]) -> Steps[Answer]:
        if not counters:
            return OK, []
        if self._line.is_many:
            replies = yield self, [("GET", counter) for counter in counters]
        else:
            replies = yield self, [("MGET", *counters)]
            if type(replies) is not Fault:
                replies = listed_in(replies[0], len(counters))
        fault = replies if type(replies) is Fault else first_fault(replies)
        if fault:
            return UNAVAILABLE, fault
        numbers = [number_in(reply) for reply in replies]
        unknown = [counter for counter, number in zip(counters, numbers, strict=True) if number is None]
        if unknown:
            status, begun = yield from self._move(unknown, 0)
            if status is UNAVAILABLE:
                return status, begun
            given = iter(begun)
            numbers = [next(given) if number is None else number for number in numbers]
        return OK, numbers

    def _bump(self, counters: Sequence[str], step: int) -> Steps[Answer]:
        return self._move(counters, step)

    def _move(self, counters: Sequence[str], step: int) -> Steps[Answer]:
        if not counters:
            return OK, []
        replies = yield from self._all(
            scripts.COUNT, [(1, counter, random_start(), TAG_TTL_MS, step) for counter in counters], bytes)
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        numbers = [number_in(reply) for reply in replies]
        return (UNAVAILABLE, Fault("protocol", "a counter that is no number")) if None in numbers else (OK, numbers)

    def note(self, name: str, items: Sequence[bytes], most: int, ttl_ms: int) -> Steps[Answer]:
        check_key(name)
        check_notes(items)
        check_ms(ttl_ms, "ttl_ms")
        parts = [items[at:at + _KEYS_AT_ONCE] for at in range(0, len(items), _KEYS_AT_ONCE)]
        if not parts:
            return OK, None
        return (yield from self._fence(scripts.NOTE, [(1, name, most, ttl_ms, *part) for part in parts]))

    def noted(self, name: str) -> Steps[Answer]:
        check_key(name)
        replies = yield self, [("LRANGE", name, 0, _MOST_NOTES)]
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        if type(replies[0]) is list and len(replies[0]) <= _MOST_NOTES:
            return OK, replies[0]
        fault = fault_in(replies[0])
        return (UNAVAILABLE, fault) if fault else (OK, [TOO_MANY])

    def epoch(self, namespace: str, anew: bool = False) -> Steps[Answer]:
        if anew:
            self._line.take_any_run()
        status, numbers = yield from self._count((epoch_key(namespace),))
        if status is UNAVAILABLE:
            return status, numbers
        replies = yield self, [("INFO", "server")]
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        return OK, (numbers[0], run_of(replies[0]))

    def probe(self) -> Steps[Answer]:
        replies = yield self, [("GET", "samovar|probe"), ("SET", "samovar|probe", b"", "PX", 1000)]
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        reads, takes = (fault_in(reply) for reply in replies)
        if reads:
            return UNAVAILABLE, reads
        return (UNAVAILABLE, takes) if takes and not takes.refuses_writes else (OK, takes is None)

    def publish(self, channel: str, payload: bytes) -> Steps[Answer]:
        check_body(payload)
        replies = yield self, [("PUBLISH", channel, payload)]
        fault = replies if type(replies) is Fault else first_fault(replies, int)
        return (UNAVAILABLE, fault) if fault else (OK, replies[0])

    def subscribe(self, channels: Iterable[str]) -> Subscription:
        if isinstance(self._line, ThinLine):
            return ThinSubscription(self._line.line, self._line._pack, tuple(channels))
        return ClientSubscription(self._line._client, self._line._aclient, tuple(channels))


def _clients(client: Any, aclient: Any) -> tuple[Any, Any]:
    """(blocking client or None, asyncio client or None)."""
    given = [one for one in (client, aclient) if one is not None]
    for one in given:
        if not hasattr(one, "execute_command"):
            raise TypeError(f"RedisNode: where must be a URL or a client of redis-py's, not {type(one).__name__}")
        if one.get_encoder().decode_responses:
            raise ValueError("RedisNode: the client must not decode responses: bodies are bytes")
    tasks = wanted("redis.asyncio")
    is_async = [tasks is not None and isinstance(one, tasks.Redis | tasks.RedisCluster) for one in given]
    if aclient is not None and is_async != [False, True]:
        raise TypeError("RedisNode: with aclient, where must be a blocking client and aclient one of redis.asyncio")
    return (None, client) if is_async[0] else (client, aclient)
