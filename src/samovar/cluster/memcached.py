"""Memcached as a node, by its meta commands: leases, compare-and-set and counters are its own.

    key            the value, with client flag 1; or, with flag 0 and nothing in it, a lease: what `mg N` leaves on a miss
    key|fence      who changes the original: 24 bytes for each owner, its name and until when, in ms of the wall clock
    key|<cas>      the value with this CAS number is being renewed: a name of who does
    samovar|run    see `epoch`

A fence has a key of its own, so that a delete, which is one command, leaves it standing. Whoever begins a write first
places the fence, then deletes the key. Whoever leases or stores does so first, then looks for the fence, and takes back
what it did. In whatever order these four meet, a fenced key holds nothing that anybody fills.

A request that a connection broke under may be sent twice (cluster/sockets.py). Most bear it as they are: a counter may move
by two steps, a note stand there twice, `delete` count too little. Where the second time cannot tell its own deed from
somebody else's, `lease_many`, `fill_many` and `claim` find out.

The one rule: all who read these keys speak meta: to a plain `get`, a lease looks like an empty value.
"""

import os
from collections.abc import Generator, Sequence
from typing import Any

from .._base.freshness import Duration, seconds
from . import wire
from .blocking import Repeated
from .items import (
    count_by,
    fault_in,
    fenced_by,
    first_fault,
    found_in,
    founds_in,
    is_fenced,
    is_lease,
    is_token,
    items_in,
    owners_in,
    stored_by,
    wall_ms,
    whole_s,
)
from .node import (
    FENCED,
    HIT,
    LEASED,
    LOST,
    MISS,
    OK,
    OWNER,
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
)
from .scripts import LONGEST_HOLD_MS
from .sockets import Address, Line

_TRIES = 8  # how often a fence is looked at anew because somebody else changed it, and a lease asked for
NOTE_BYTES = 500_000  # what a list of notes may come to; an item has 1 MB
_AT_ONCE = 500  # commands that are sent before their replies are awaited
_LONG = 2000  # bytes. Over TLS, Memcached (1.6.18) forgets what follows a longer body in the same record: nothing does


class MemcachedNode(Node):
    """One Memcached, 1.6 or newer, that cells are kept on. Safe in threads, event loops and after a fork.

    where: "host:port", "host" (port 11211), or the path of a unix socket, which begins with "/".
    name: what the ring places it by; by default `where`.
    timeout: seconds (or text such as "50ms") for connecting, and for the next part of an answer.
    tls: an ssl.SSLContext, for a Memcached that was started with -Z.
    max_value: the most bytes of a body, as far as this program is concerned; the engine's own limit (-I, 1 MB unless it
        was told otherwise) is found by asking. What is larger is TOOBIG.

    Lifetimes are whole seconds here, rounded up, and end a second late at most. There is no push. Holds of fences are
    compared with the wall clocks of the writers.
    """

    def __init__(self, where: str, *, name: str | None = None, timeout: Duration = 0.05, tls: Any = None,
                 max_value: int = 8 << 20) -> None:
        address = _address(where, tls)
        if type(max_value) is not int or max_value < 1:
            raise ValueError(f"MemcachedNode: max_value must be a number of bytes, at least 1, not {max_value!r}")
        if name is not None and (type(name) is not str or not name):
            raise TypeError(f"MemcachedNode: name must be a str that is not empty, not {name!r}")
        self.name = name or str(address)
        self._most = max_value
        self._is_tls = address.tls is not None
        self._line = Line(address, wire.Meta(max_value), seconds(timeout, "MemcachedNode: timeout", positive=True))
        self.capabilities = Capabilities(push=False, ms_ttl=False, max_value=max_value, fence_seen=False)

    # ---------------------------------------------------------------- asking

    def perform(self, request: tuple[bytes, int]) -> Any:
        return self._line.exchange(*request)

    def begin(self, requests: Sequence[tuple[bytes, int]]) -> Pending | None:
        return self._line.begin(b"".join([payload for payload, _ in requests]), [count for _, count in requests])

    async def aperform(self, request: tuple[bytes, int]) -> Any:
        return await self._line.aexchange(*request)

    def close(self) -> None:
        self._line.close()

    async def aclose(self) -> None:
        await self._line.aclose()

    def _ask(self, commands: Sequence[bytes]) -> Generator[Any, Any, Any]:
        """The replies to commands that have one each, or a Fault; Repeated where some may have been done twice."""
        replies: Any = []
        at, is_repeated = 0, False
        while at < len(commands):
            part = commands[at:at + _AT_ONCE]
            if self._is_tls:
                part = part[:next((place for place, one in enumerate(part, 1) if len(one) > _LONG), _AT_ONCE)]
            at += len(part)
            told = yield self, (part[0] if len(part) == 1 else b"".join(part), len(part))
            if type(told) is Fault:
                return told
            replies += told
            is_repeated = is_repeated or type(told) is Repeated
        return Repeated(replies) if is_repeated else replies

    def _all(self, commands: Sequence[bytes]) -> Generator[Any, Any, Any]:
        """The same, where one refusal is the failure of all."""
        replies = yield from self._ask(commands)
        return replies if type(replies) is Fault else first_fault(replies) or replies

    # ---------------------------------------------------------------- reading and loading

    def read(self, keys: Sequence[str]) -> Steps[Answer]:
        check_keys(keys)
        return self.said((yield from self.gather(keys))[1] if keys else [])

    def gather(self, keys: Sequence[str]) -> Steps[Answer]:
        if len(keys) <= _AT_ONCE:
            replies = yield self, (("mg " + " c f v\r\nmg ".join(keys) + " c f v\r\n").encode("ascii"), len(keys))
        else:
            replies = yield from self._ask([wire.ask(key, "c f v") for key in keys])
        return (UNAVAILABLE if type(replies) is Fault else OK), replies

    def bodies_in(self, replies: list[Any]) -> tuple[list[Any], bytes, int]:
        return [reply[2] for reply in replies], b"", 0

    def asks(self, key: str) -> tuple[bytes, int]:
        return f"mg {key} c f v\r\n".encode("ascii"), 1

    def body_in(self, replies: Any) -> bytes | None:
        return None if type(replies) is Fault else replies[0][2] or None  # without one it is a lease, or no value

    def said(self, replies: Any) -> Answer:
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        fault = first_fault(replies)
        return (OK, founds_in(replies)) if fault is None else (UNAVAILABLE, fault)

    def lease_many(self, keys: Sequence[str], ms: int) -> Steps[Answer]:
        check_keys(keys)
        check_ms(ms, "ms")
        flags = f"c f v N{whole_s(ms) + 1}"  # a second that began may end at once
        commands = [command for key in keys for command in (wire.ask(key, flags), wire.ask(f"{key}|fence", "v"))]
        replies = yield from self._all(commands)
        for _ in range(_TRIES):
            if type(replies) is Repeated:
                replies = yield from self._leased_anew(keys, flags, replies)
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        now_ms = wall_ms()
        answers: list[Answer] = []
        back: list[bytes] = []
        for key, reply, fence in zip(keys, replies[::2], replies[1::2], strict=True):
            is_won = b"W" in reply[1]
            if owners_in(fence[2], now_ms):
                answers.append((FENCED, None))
                if is_won:
                    back.append(wire.remove(key, f"C{wire.flag(reply[1], b'c')}"))
            elif is_won:
                answers.append((YOURS, (wire.flag(reply[1], b"c"), False)))
            else:
                found = found_in(reply)
                answers.append((HIT, found) if found.kind is HIT else (LEASED, None))
        yield from self._ask(back)  # what this cannot take back ends by itself
        return OK, answers

    def _leased_anew(self, keys: Sequence[str], flags: str, replies: list[wire.Reply]) -> Generator[Any, Any, Any]:
        """The replies to leases that may have been asked for twice. Where one lies, it may be what the first time left: it is
        taken away, and asked for anew. At worst that costs a load. Repeated, where that was done twice, too."""
        doubtful = [at for at, reply in enumerate(replies[::2]) if b"W" not in reply[1] and found_in(reply).kind is LEASED]
        again = yield from self._all([command for at in doubtful for command in (
            wire.remove(keys[at], f"C{wire.flag(replies[2 * at][1], b'c')}"), wire.ask(keys[at], flags))])
        if type(again) is Fault:
            return again
        for at, reply in zip(doubtful, again[1::2], strict=True):
            replies[2 * at] = reply
        return replies if type(again) is Repeated else list(replies)

    def fill_many(self, items: Sequence[tuple[str, Token, bytes, int]]) -> Steps[Answer]:
        for key, _, body, ttl_ms in items:
            check_key(key)
            check_body(body)
            check_ms(ttl_ms, "ttl_ms")
        commands, places, answers = [], [], [(LOST, None)] * len(items)
        for at, (key, token, body, ttl_ms) in enumerate(items):
            if not is_token(token):
                continue
            commands.append(wire.remove(key, f"C{token[0]}") if len(body) > self._most else
                            wire.store(key, body, f"F1 C{token[0]} T{whole_s(ttl_ms)}"))
            places.append(at)
        replies = yield from self._ask(commands)
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        for at, reply in zip(places, replies, strict=True):
            answers[at] = (TOOBIG, None) if len(items[at][2]) > self._most and reply[0] == b"HD" else stored_by(reply, LOST)
        if type(replies) is Repeated:  # what seems to be lost may be what the first time stored
            lost = [at for at in places if answers[at][0] is LOST]
            there = yield from self._ask([wire.ask(items[at][0], "f v") for at in lost])
            if type(there) is Fault:
                return UNAVAILABLE, there
            for at, reply in zip(lost, there, strict=True):
                if reply[2] == items[at][2] and wire.flag(reply[1], b"f") == 1:
                    answers[at] = OK, None
        return OK, answers

    def claim(self, key: str, token: Token, ms: int) -> Steps[Answer]:
        check_key(key)
        check_ms(ms, "ms")
        if not is_token(token):
            return LOST, None
        claims, name = f"{key}|{token[0]}", os.urandom(OWNER)
        replies = yield from self._all([wire.store(claims, name, f"ME T{whole_s(ms) + 1}"), wire.ask(key, "c f s")])
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        (won, _, _), (there, flags, _) = replies
        if type(replies) is Repeated and won == b"NS":
            whose = yield from self._all([wire.ask(claims, "v")])
            if type(whose) is Fault:
                return UNAVAILABLE, whose
            won = b"HD" if whose[0][2] == name else won
        if there != b"HD" or wire.flag(flags, b"c") != token[0] or is_lease(flags):
            if won == b"HD":
                yield from self._ask([wire.remove(claims)])
            return LOST, None
        return (YOURS, (token[0], True)) if won == b"HD" else (LEASED, None)

    def release(self, key: str, token: Token) -> Steps[Answer]:
        check_key(key)
        if not is_token(token):
            return LOST, None
        cas, is_claim = token
        replies = yield from self._all([wire.remove(f"{key}|{cas}"), wire.ask(key, "c f")] if is_claim else
                                       [wire.remove(key, f"C{cas}")])
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        if is_claim and wire.flag(replies[1][1], b"c") != cas:
            return LOST, None
        return (OK if replies[0][0] == b"HD" else LOST), None

    # ---------------------------------------------------------------- changing

    def put_many(self, items: Sequence[tuple[str, bytes, int]]) -> Steps[Answer]:
        for key, body, ttl_ms in items:
            check_key(key)
            check_body(body)
            check_ms(ttl_ms, "ttl_ms")
        commands = []
        for key, body, ttl_ms in items:
            commands.append(wire.remove(key) if len(body) > self._most else
                            wire.store(key, body, f"F1 c T{whole_s(ttl_ms)}"))
            commands.append(wire.ask(f"{key}|fence", "v"))
        replies = yield from self._ask(commands)
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        now_ms = wall_ms()
        answers, back = [], []
        for (key, body, _), reply, fence in zip(items, replies[::2], replies[1::2], strict=True):
            if owners_in(fence[2], now_ms):
                answers.append((FENCED, None))
                back.append(wire.remove(key))
            else:
                answers.append((TOOBIG, None) if len(body) > self._most else stored_by(reply, LOST))
        fault = yield from self._all(back)
        return (UNAVAILABLE, fault) if type(fault) is Fault else (OK, answers)

    def delete(self, keys: Sequence[str]) -> Steps[Answer]:
        check_keys(keys)
        replies = yield from self._all([wire.remove(key) for key in keys])
        return (UNAVAILABLE, replies) if type(replies) is Fault else (OK, sum(reply[0] == b"HD" for reply in replies))

    def touch(self, key: str, ttl_ms: int) -> Steps[Answer]:
        check_key(key)
        check_ms(ttl_ms, "ttl_ms")
        replies = yield from self._all([wire.ask(key, "f")])
        if type(replies) is not Fault and wire.flag(replies[0][1], b"f") == 1:
            replies = yield from self._all([wire.ask(key, f"f T{whole_s(ttl_ms)}")])
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        return (OK if wire.flag(replies[0][1], b"f") == 1 else MISS), None

    # ---------------------------------------------------------------- fences

    def begin_write(self, keys: Sequence[str], owner: bytes, hold_ms: int) -> Steps[Answer]:
        check_keys(keys)
        check_owner(owner)
        check_ms(hold_ms, "hold_ms")
        return (yield from self._fence(keys, owner, min(hold_ms, LONGEST_HOLD_MS)))

    def end_write(self, keys: Sequence[str], owner: bytes) -> Steps[Answer]:
        check_keys(keys)
        check_owner(owner)
        return (yield from self._fence(keys, owner, 0))

    def _fence(self, keys: Sequence[str], owner: bytes, hold_ms: int) -> Steps[Answer]:
        """Add an owner to the fences of these keys, or take it away, each by compare-and-set; then the keys go."""
        left = list(keys)
        for _ in range(_TRIES):
            seen = yield from self._all([wire.ask(f"{key}|fence", "c v") for key in left])
            if type(seen) is Fault:
                return UNAVAILABLE, seen
            now_ms = wall_ms()
            commands = [command for key, reply in zip(left, seen, strict=True)
                        for command in (fenced_by(key, reply, owner, hold_ms, now_ms), wire.remove(key))]
            replies = yield from self._all(commands)
            if type(replies) is Fault:
                return UNAVAILABLE, replies
            left = [key for key, reply in zip(left, replies[::2], strict=True) if not is_fenced(reply, hold_ms)]
            if not left:
                return OK, None
        return UNAVAILABLE, Fault("protocol", f"{len(left)} fences are being changed by others all the time")

    # ---------------------------------------------------------------- counters and the engine itself

    def versions(self, tags: Sequence[str]) -> Steps[Answer]:
        check_keys(tags)
        return self._count(tags, 0)

    def _bump(self, counters: Sequence[str], step: int) -> Steps[Answer]:
        return self._count(counters, step)

    def _count(self, counters: Sequence[str], step: int) -> Steps[Answer]:
        replies = yield from self._ask([count_by(counter, step) for counter in counters])
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        strange = [at for at, reply in enumerate(replies) if reply[0] == b"CLIENT_ERROR"]  # what is there is no number
        if strange:
            again = yield from self._ask([command for at in strange for command in (
                wire.remove(counters[at]), count_by(counters[at], step))])
            if type(again) is Fault:
                return UNAVAILABLE, again
            for at, reply in zip(strange, again[1::2], strict=True):
                replies[at] = reply
        numbers = []
        for reply in replies:
            if reply[0] != b"VA" or not reply[2].strip().isdigit():
                return UNAVAILABLE, fault_in(reply) or Fault("protocol", "a counter that is no number")
            numbers.append(int(reply[2]))
        return OK, numbers

    def note(self, name: str, items: Sequence[bytes], most: int, ttl_ms: int) -> Steps[Answer]:
        check_key(name)
        check_notes(items)
        check_ms(ttl_ms, "ttl_ms")
        if not items:
            return OK, None
        body, ttl_s = b"".join([b"%c%b" % (len(item), item) for item in items]), whole_s(ttl_ms)
        replies = yield from self._ask([wire.store(name, b"", f"ME T{ttl_s}"), wire.store(name, body, "MA"),
                                        wire.ask(name, f"s T{ttl_s}")])
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        status, told = stored_by(replies[1], UNAVAILABLE)
        if status is UNAVAILABLE:
            return status, told or Fault("full", "the engine keeps no notes")
        if status is TOOBIG or (wire.flag(replies[2][1], b"s") or 0) > min(NOTE_BYTES, most * 256):
            told = yield from self._all([wire.store(name, b"\0", f"T{ttl_s}")])
            if type(told) is Fault:
                return UNAVAILABLE, told
        return OK, None

    def noted(self, name: str) -> Steps[Answer]:
        check_key(name)
        replies = yield from self._all([wire.ask(name, "v")])
        return (UNAVAILABLE, replies) if type(replies) is Fault else (OK, items_in(replies[0][2] or b""))

    def epoch(self, namespace: str, anew: bool = False) -> Steps[Answer]:
        """The run is named by a random item, which ends with it. One that is evicted says so too: that costs loads."""
        place, name = epoch_key(namespace), os.urandom(12).hex().encode()
        replies = yield from self._ask([count_by(place, 0), wire.store("samovar|run", name, "ME T0"),
                                        wire.ask("samovar|run", "v")])
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        counted, _, run = replies
        if counted[0] != b"VA" or not counted[2].strip().isdigit() or run[0] != b"VA":
            return UNAVAILABLE, fault_in(counted) or fault_in(run) or Fault("full", "the engine keeps no epoch")
        return OK, (int(counted[2]), run[2].decode("latin-1"))

    def probe(self) -> Steps[Answer]:
        replies = yield from self._ask([wire.ask("samovar|probe", "v"), wire.store("samovar|probe", b"", "T1")])
        if type(replies) is Fault:
            return UNAVAILABLE, replies
        fault = fault_in(replies[0])
        return (UNAVAILABLE, fault) if fault else (OK, replies[1][0] == b"HD")


def _address(where: str, tls: Any) -> Address:
    if type(where) is not str or not where:
        raise TypeError(f"MemcachedNode: where must be 'host:port' or the path of a socket, not {where!r}")
    if where.startswith("/"):
        if tls is not None:
            raise ValueError("MemcachedNode: a unix socket takes no tls")
        return Address(path=where)
    host, colon, port = where.rpartition(":") if where.count(":") == 1 or "]" in where else (where, "", "")
    if colon and where.endswith("]"):
        host, port = where, ""
    number = port or "11211"
    if not (number.isascii() and number.isdigit() and 0 < int(number) < 65536) or not host:
        raise ValueError(f"MemcachedNode: where must be 'host:port' or the path of a socket, not {where!r}")
    return Address(host.strip("[]"), int(number), "", tls)
