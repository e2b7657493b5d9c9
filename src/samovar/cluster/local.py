"""A node in this process: the embedded default, and what the other nodes are held against.

Cells are objects in a native `Cache`, which bounds them and lets them expire; one lock makes a compare and a change one
step. Nothing is sent, so its verbs yield nothing. Tokens count up: none comes twice.

The one rule: the lock is held for each verb as a whole and nothing is called under it but the store.
"""

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from ..app import Cache
from .node import (
    FENCED,
    HIT,
    LEASED,
    LOST,
    MISS,
    NOTHING,
    OK,
    TAG_TTL_MS,
    TOO_MANY,
    TOOBIG,
    YOURS,
    Answer,
    Capabilities,
    Found,
    Node,
    Status,
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
from .push import LocalSubscription, Message

_V = TypeVar("_V", bound=Callable[..., Any])
_ROOM = 200  # bytes that a cell takes beside key and body, about

_all: "weakref.WeakSet[LocalNode]" = weakref.WeakSet()


def _forked() -> None:
    """Another thread may have held a lock when this process was split off."""
    for node in list(_all):
        node._lock = threading.RLock()
        node._listeners = set()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class _Cell:
    """One cell. `claimed`: until when somebody renews this value. `owners`: a fence's, and when each ends."""

    __slots__ = ("body", "claimed", "kind", "owners", "token")

    def __init__(self, kind: Status, token: Token, body: Any = None, owners: dict[bytes, float] | None = None) -> None:
        self.kind, self.token, self.body, self.owners, self.claimed = kind, token, body, owners, 0.0


def _weigh(key: str, cell: _Cell) -> int:
    return _ROOM + len(key) + len(cell.body or b"")


def _at_once(verb: _V) -> _V:
    """A verb that yields nothing, made of a function that runs under the node's lock. Its steps end with the Answer that the
    function returns; the annotations say Any for both."""

    @wraps(verb)
    def steps(self: "LocalNode", *args: Any, **words: Any) -> Steps[Answer]:
        with self._lock:
            answer: Answer = verb(self, *args, **words)
            return answer
        yield  # never reached: it makes this a generator

    return cast("_V", steps)


class LocalNode(Node):
    """A node in this process's memory, bounded in bytes; what is least recently used leaves first. Safe in threads.

    name: what the ring places it by.
    maxbytes: what keys and bodies may take together, about; an eighth of it is the most for one body.
    clock: called for the time in seconds, instead of the machine's monotonic clock.

    >>> from samovar.cluster.drive import run
    >>> from samovar.cluster.local import LocalNode
    >>> node = LocalNode()
    >>> status, token = run(node.lease("tea", 1000))
    >>> run(node.delete(["tea"])), run(node.fill("tea", token, b"hot", 60_000))
    ((<Status.OK: 0>, 1), (<Status.LOST: 6>, None))
    """

    def __init__(self, name: str = "local", *, maxbytes: int = 64 << 20, clock: Callable[[], float] | None = None) -> None:
        if type(name) is not str or not name:
            raise TypeError(f"LocalNode: name must be a str that is not empty, not {name!r}")
        if type(maxbytes) is not int:
            raise TypeError(f"LocalNode: maxbytes must be an int, not {maxbytes!r}")
        if maxbytes < 1 << 16:
            raise ValueError(f"LocalNode: maxbytes must be at least 65536, not {maxbytes!r}")
        self.name = name
        self.capabilities = Capabilities(push=True, ms_ttl=True, max_value=maxbytes // 8, fence_seen=True)
        self._most = maxbytes // 8
        self._cells: Cache[str, _Cell] = Cache(maxweight=maxbytes, weigher=_weigh, eviction="lru", clock=clock)
        self._counters: Cache[str, int] = Cache(100_000, eviction="lru", clock=clock)
        self._notes: Cache[str, tuple[bytes, ...]] = Cache(10_000, eviction="lru", clock=clock)
        self._run = os.urandom(8).hex()
        self._tokens: Iterator[int] = itertools.count(1)
        self._lock = threading.RLock()
        self._listeners: set[LocalSubscription] = set()
        _all.add(self)

    def _place(self, key: str, cell: _Cell, ms: float) -> None:
        self._cells.set(key, cell, ttl=ms / 1000)

    # ---------------------------------------------------------------- reading and loading

    @_at_once
    def read(self, keys: Sequence[str]) -> Any:
        check_keys(keys)
        get = self._cells.get
        cells = [get(key) for key in keys]
        return OK, [NOTHING if cell is None else Found(cell.kind, cell.token, cell.body) for cell in cells]

    @_at_once
    def lease_many(self, keys: Sequence[str], ms: int) -> Any:
        check_keys(keys)
        check_ms(ms, "ms")
        return OK, [self._lease(key, ms) for key in keys]

    def _lease(self, key: str, ms: int) -> Answer:
        cell = self._cells.get(key)
        if cell is None:
            cell = _Cell(LEASED, next(self._tokens))
            self._place(key, cell, ms)
            return YOURS, cell.token
        return (HIT, Found(HIT, cell.token, cell.body)) if cell.kind is HIT else (cell.kind, None)

    @_at_once
    def fill_many(self, items: Sequence[tuple[str, Token, bytes, int]]) -> Any:
        for key, _, body, ttl_ms in items:
            check_key(key)
            check_body(body)
            check_ms(ttl_ms, "ttl_ms")
        return OK, [self._fill(*item) for item in items]

    def _fill(self, key: str, token: Token, body: bytes, ttl_ms: int) -> Answer:
        cell = self._cells.peek(key)
        if cell is None or cell.token != token or cell.kind is FENCED:
            return LOST, None
        if len(body) > self._most:
            self._cells.delete(key)
            return TOOBIG, None
        self._place(key, _Cell(HIT, next(self._tokens), body), ttl_ms)
        return OK, None

    @_at_once
    def claim(self, key: str, token: Token, ms: int) -> Any:
        check_key(key)
        check_ms(ms, "ms")
        cell, now = self._cells.peek(key), self._cells._now()
        if cell is None or cell.kind is not HIT:
            return LOST, None
        if cell.claimed > now:
            return LEASED, None
        if cell.token != token:
            return LOST, None
        cell.claimed = now + ms / 1000
        cell.token = next(self._tokens)
        return YOURS, cell.token

    @_at_once
    def release(self, key: str, token: Token) -> Any:
        check_key(key)
        cell = self._cells.peek(key)
        if cell is None or cell.token != token:
            return LOST, None
        if cell.kind is LEASED:
            self._cells.delete(key)
        cell.claimed = 0.0
        return OK, None

    # ---------------------------------------------------------------- changing

    @_at_once
    def put_many(self, items: Sequence[tuple[str, bytes, int]]) -> Any:
        for key, body, ttl_ms in items:
            check_key(key)
            check_body(body)
            check_ms(ttl_ms, "ttl_ms")
        return OK, [self._put(*item) for item in items]

    def _put(self, key: str, body: bytes, ttl_ms: int) -> Answer:
        cell = self._cells.peek(key)
        if cell is not None and cell.kind is FENCED:
            return FENCED, None
        if len(body) > self._most:
            self._cells.delete(key)
            return TOOBIG, None
        self._place(key, _Cell(HIT, next(self._tokens), body), ttl_ms)
        return OK, None

    @_at_once
    def delete(self, keys: Sequence[str]) -> Any:
        check_keys(keys)
        return OK, sum(self._delete(key) for key in keys)

    def _delete(self, key: str) -> bool:
        cell = self._cells.peek(key)
        return cell is not None and cell.kind is not FENCED and self._cells.delete(key)

    @_at_once
    def touch(self, key: str, ttl_ms: int) -> Any:
        check_key(key)
        check_ms(ttl_ms, "ttl_ms")
        cell = self._cells.peek(key)
        if cell is None or cell.kind is not HIT:
            return MISS, None
        self._place(key, cell, ttl_ms)
        return OK, None

    # ---------------------------------------------------------------- fences

    @_at_once
    def begin_write(self, keys: Sequence[str], owner: bytes, hold_ms: int) -> Any:
        check_keys(keys)
        check_owner(owner)
        check_ms(hold_ms, "hold_ms")
        now = self._cells._now()
        for key in keys:
            self._fence(key, {**self._owners(key, now), owner: now + hold_ms / 1000}, now)
        return OK, None

    @_at_once
    def end_write(self, keys: Sequence[str], owner: bytes) -> Any:
        check_keys(keys)
        check_owner(owner)
        now = self._cells._now()
        for key in keys:
            owners = self._owners(key, now)
            owners.pop(owner, None)
            if owners:
                self._fence(key, owners, now)
            else:
                self._cells.delete(key)
        return OK, None

    def _owners(self, key: str, now: float) -> dict[bytes, float]:
        cell = self._cells.peek(key)
        owners = {} if cell is None or cell.owners is None else cell.owners
        return {owner: ends for owner, ends in owners.items() if ends > now}

    def _fence(self, key: str, owners: dict[bytes, float], now: float) -> None:
        self._place(key, _Cell(FENCED, next(self._tokens), None, owners), (max(owners.values()) - now) * 1000)

    # ---------------------------------------------------------------- counters and the rest

    @_at_once
    def versions(self, tags: Sequence[str]) -> Any:
        check_keys(tags)
        return OK, [self._count(tag, 0) for tag in tags]

    @_at_once
    def _bump(self, counters: Sequence[str], step: int) -> Any:
        return OK, [self._count(counter, step) for counter in counters]

    def _count(self, tag: str, step: int) -> int:
        number = self._counters.get(tag)
        if number is None or step:
            number = random_start() if number is None else number + step
            self._counters.set(tag, number, ttl=TAG_TTL_MS / 1000)
        return number

    @_at_once
    def epoch(self, namespace: str, anew: bool = False) -> Any:
        return OK, (self._count(epoch_key(namespace), 0), self._run)

    @_at_once
    def note(self, name: str, items: Sequence[bytes], most: int, ttl_ms: int) -> Any:
        check_key(name)
        check_notes(items)
        check_ms(ttl_ms, "ttl_ms")
        noted = (*self._notes.get(name, ()), *items)
        self._notes.set(name, noted if len(noted) <= most else (TOO_MANY,), ttl=ttl_ms / 1000)
        return OK, None

    @_at_once
    def noted(self, name: str) -> Any:
        check_key(name)
        return OK, list(self._notes.get(name, ()))

    @_at_once
    def probe(self) -> Any:
        return OK, True

    @_at_once
    def publish(self, channel: str, payload: bytes) -> Any:
        check_body(payload)
        told = [one for one in list(self._listeners) if channel in one.channels]
        for one in told:
            one.tell(Message(channel, payload))
        return OK, len(told)

    def subscribe(self, channels: Iterable[str]) -> LocalSubscription:
        return LocalSubscription(self._listeners, tuple(channels))

    def perform(self, request: Any) -> Any:
        raise AssertionError("a LocalNode's verbs ask for nothing")

    async def aperform(self, request: Any) -> Any:
        raise AssertionError("a LocalNode's verbs ask for nothing")
