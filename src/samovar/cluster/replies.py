"""Cells as Redis engines keep them (cluster/scripts.py draws one), and what their replies say."""

import os
from collections.abc import Sequence
from typing import Any

from .node import FENCED, HIT, LEASED, NOTHING, UNAVAILABLE, Answer, Fault, Found, Token
from .resp import Refused

ID = 16
TOKEN = 1 + ID
HEAD = TOKEN + 8
VALUE = b"V"
FREE = b"\0" * 8  # nobody renews
STRANGE = ("WRONGTYPE", "ERR value is not")  # somebody keeps something else under this key


def new_value(body: bytes) -> bytes:
    return b"".join((VALUE, os.urandom(ID), FREE, body))


def new_fence() -> bytes:
    return b"T" + os.urandom(ID)


def is_token(token: Token) -> bool:
    return type(token) is bytes and len(token) <= TOKEN and token[:1] not in (b"T", b"")


def found_in(reply: Any) -> Found:
    """What a reply that is not nil says. What is no cell counts as a value that cannot be decoded, so that it can be
    filled over, and is a miss for whoever reads."""
    if type(reply) is bytes:
        kind = reply[:1]
        if kind == b"T":
            return Found(FENCED)
        if kind == b"L":
            return Found(LEASED, reply[:TOKEN])
        return Found(HIT, reply[:TOKEN], reply[HEAD:]) if reply else NOTHING
    fault = fault_in(reply)
    return Found(UNAVAILABLE, None, fault) if fault else NOTHING


def value_in(reply: Any) -> bytes | None:
    """The body of a value; None for what is none."""
    return reply[HEAD:] if type(reply) is bytes and reply[:1] == VALUE else None


def founds_in(replies: Sequence[Any]) -> list[Found]:
    """The same for the replies of a whole batch, nil included: values without a call for each."""
    new = tuple.__new__  # what Found's own costs twice as much
    return [NOTHING if reply is None else
            new(Found, (HIT, reply[:TOKEN], reply[HEAD:])) if type(reply) is bytes and reply[:1] == VALUE else
            found_in(reply) for reply in replies]


def leased_in(reply: Any) -> Answer:
    """What a lease that was not given says."""
    if type(reply) is bytes:
        found = found_in(reply)
        return (HIT, found) if found.kind is HIT else (LEASED if found.kind is LEASED else FENCED, None)
    fault = fault_in(reply)
    return (UNAVAILABLE, fault) if fault else (FENCED, None)  # a stranger's: load, and store nothing


def fault_in(reply: Any) -> Fault | None:
    """What is wrong with the engine, as far as one reply says; what a stranger left under a key is not."""
    if type(reply) is Fault:
        return reply
    return reply.fault() if type(reply) is Refused and not reply.startswith(STRANGE) else None


def first_fault(replies: Sequence[Any], kind: type | None = None) -> Fault | None:
    """What is wrong with the first reply that is none, or of another kind."""
    for reply in replies:
        if type(reply) is Fault:
            return reply
        if type(reply) is Refused or (kind is not None and type(reply) is not kind):
            fault: Fault = unavailable_for(reply)[1]
            return fault
    return None


def listed_in(reply: Any, size: int) -> Any:
    """The replies that MGET has in one, or a Fault."""
    if type(reply) is list and len(reply) == size:
        return reply
    return unavailable_for(reply)[1]


def unavailable_for(reply: Any) -> Answer:
    fault = reply if type(reply) is Fault else reply.fault() if type(reply) is Refused else None
    return UNAVAILABLE, fault or Fault("protocol", f"the engine answered {reply!r:.100}")


def number_in(reply: Any) -> int | None:
    return int(reply) if type(reply) is bytes and reply.isdigit() and len(reply) < 20 else None
