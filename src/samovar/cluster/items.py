"""Items as Memcached keeps them (cluster/memcached.py draws them), and what its replies say."""

import struct
from collections.abc import Sequence
from typing import Any

from .._base.clock import wall
from . import wire
from .node import (
    HIT,
    LEASED,
    LONGEST_MS,
    NOTHING,
    OK,
    OWNER,
    TAG_TTL_MS,
    TOO_MANY,
    TOOBIG,
    UNAVAILABLE,
    Answer,
    Fault,
    Found,
    Token,
    random_start,
)
from .scripts import LONGEST_HOLD_MS

UNTIL = struct.Struct(">Q")
_REFUSALS = frozenset((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR"))


def whole_s(ms: int) -> int:
    """Seconds, rounded up: memcached keeps no others, and takes more than 30 days for a date."""
    return -(-min(ms, LONGEST_MS - 1000) // 1000)


def wall_ms() -> int:
    return int(wall() * 1000)


def is_token(token: Token) -> bool:
    return type(token) is tuple and len(token) == 2 and type(token[0]) is int and token[0] >= 0


def found_in(reply: wire.Reply) -> Found:
    code, flags, body = reply
    if code != b"VA":
        return NOTHING
    token = wire.flag(flags, b"c"), False
    return Found(LEASED, token) if not body and wire.flag(flags, b"f") == 0 else Found(HIT, token, body)


def founds_in(replies: Sequence[wire.Reply]) -> list[Found]:
    """The same for a whole batch that was asked for `c f v`: values without a call for each."""
    new = tuple.__new__  # what Found's own costs twice as much
    return [new(Found, (HIT, (int(flags[0][1:]), False), body))
            if body and len(flags) == 2 and flags[0][:1] == b"c" and flags[0][1:].isdigit() and len(flags[0]) < 22 else
            found_in((code, flags, body)) for code, flags, body in replies]


def is_lease(flags: Sequence[bytes]) -> bool:
    """Whether an item, asked for client flags and size, is a lease: what is neither that nor ours can be filled over."""
    return wire.flag(flags, b"f") == 0 and wire.flag(flags, b"s") == 0


def stored_by(reply: wire.Reply, refused: Any) -> Answer:
    code, words, _ = reply
    if code == b"HD":
        return OK, None
    if code in (b"EX", b"NF", b"NS"):
        return refused, None
    return (TOOBIG, None) if code == b"SERVER_ERROR" and b"large" in words else (
        UNAVAILABLE, fault_in(reply) or Fault("protocol", "no reply to a store"))


def first_fault(replies: Sequence[wire.Reply]) -> Fault | None:
    """What is wrong with the first reply that is a refusal."""
    if _REFUSALS.isdisjoint([reply[0] for reply in replies]):
        return None
    return next(fault for reply in replies if (fault := fault_in(reply)) is not None)


def fault_in(reply: wire.Reply) -> Fault | None:
    """What a refusal says about the engine."""
    code, words, _ = reply
    if code not in _REFUSALS:
        return None
    text = b" ".join(words).decode("latin-1")[:200]
    return Fault("full" if "out of memory" in text else "protocol", f"the engine said {text!r}")


def owners_in(list_: bytes | None, now_ms: int) -> dict[bytes, int]:
    """Who holds a fence, and until when; those whose time is over, and what nobody may hold so long, left out."""
    text = list_ or b""
    size = OWNER + UNTIL.size
    found = {text[at:at + OWNER]: UNTIL.unpack_from(text, at + OWNER)[0]
             for at in range(0, min(len(text), 1000 * size) - size + 1, size)}
    return {owner: until for owner, until in found.items() if now_ms < until <= now_ms + LONGEST_HOLD_MS + 60_000}


def fenced_by(key: str, seen: wire.Reply, owner: bytes, hold_ms: int, now_ms: int) -> bytes:
    """The command that makes a fence what it is to be, if it still is what was seen."""
    owners = owners_in(seen[2], now_ms)
    owners.pop(owner, None)
    if hold_ms:
        owners[owner] = now_ms + hold_ms
    place, cas = f"{key}|fence", wire.flag(seen[1], b"c")
    if not owners:
        return wire.remove(place, f"C{cas}") if seen[0] == b"VA" else wire.remove(place)
    body = b"".join([owner + UNTIL.pack(until) for owner, until in owners.items()])
    ends = f"T{whole_s(max(owners.values()) - now_ms) + 1}"
    return wire.store(place, body, f"C{cas} {ends}" if seen[0] == b"VA" else f"ME {ends}")


def is_fenced(reply: wire.Reply, hold_ms: int) -> bool:
    return reply[0] == b"HD" or (not hold_ms and reply[0] == b"NF")


def items_in(body: bytes) -> list[bytes]:
    """What was noted: each item behind its length."""
    items, at = [], 0
    while at < len(body):
        end = at + 1 + body[at]
        if end > len(body):
            return [TOO_MANY]
        items.append(body[at + 1:end])
        at = end
    return items


def count_by(counter: str, step: int) -> bytes:
    ttl_s = whole_s(TAG_TTL_MS)
    return wire.count(counter, f"D{step} J{random_start()} N{ttl_s} v" + (f" T{ttl_s}" if step else ""))
