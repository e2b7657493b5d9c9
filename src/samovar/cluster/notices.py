"""What processes tell each other over the bus: which keys changed, which tags, or that all is forgotten.

    1 byte     16 bytes        1 byte
    version    who says it     kind      body
                               K         the keys, as plain data (_base/codecs.py)
                               T         the tags, the same
                               A         {node: (its epoch now, the engine's run)}: all is forgotten
                               H         8 bytes, the number of a heartbeat

The one rule: whoever cannot read a notice flushes, for it may have been about anything.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from .._base import codecs

VERSION = 1
SENDER = 16
KEYS, TAGS, ALL, BEAT = b"K", b"T", b"A", b"H"
AT_ONCE = 256  # names in one notice

_HEAD = 2 + SENDER


class Notice(NamedTuple):
    """One that was read. names: keys, tags or epochs; a heartbeat's number."""

    sender: bytes
    kind: bytes
    names: Any


def written(sender: bytes, *, keys: Iterable[Any] = (), tags: Iterable[str] = (),
            epochs: dict[str, tuple[int, str]] | None = None) -> Iterator[bytes]:
    """The payloads that say this. epochs: all is forgotten, and these nodes' epochs moved. Raises TypeError for keys that
    are no plain data."""
    head = bytes([VERSION]) + sender
    if epochs is not None:
        yield head + ALL + codecs.encode(epochs)
        return
    for kind, names in ((KEYS, iter(keys)), (TAGS, iter(tags))):
        while batch := list(islice(names, AT_ONCE)):
            yield head + kind + codecs.encode(batch)


def beat(sender: bytes, number: int) -> bytes:
    """The payload of a heartbeat."""
    return bytes([VERSION]) + sender + BEAT + number.to_bytes(8, "little")


def read(payload: bytes) -> Notice | None:
    """What a payload says; None when it cannot be read."""
    if len(payload) < _HEAD or payload[0] != VERSION:
        return None
    sender, kind, body = payload[1:_HEAD - 1], payload[_HEAD - 1:_HEAD], payload[_HEAD:]
    if kind == BEAT and len(body) == 8:
        return Notice(sender, kind, int.from_bytes(body, "little"))
    if kind not in _CHECKS:
        return None
    try:
        names = codecs.decode(body)
        return Notice(sender, kind, names) if _CHECKS[kind](names) else None
    except (ValueError, TypeError):  # damaged, or keys without a hash
        return None


def _are_keys(names: Any) -> bool:
    hash(tuple(names))
    return type(names) is list


def _are_tags(names: Any) -> bool:
    return type(names) is list and all(type(name) is str for name in names)


def _are_epochs(names: Any) -> bool:
    return type(names) is dict and all(type(name) is str for name in names) and all(
        type(pair) is tuple and [type(part) for part in pair] == [int, str] for pair in names.values())


_CHECKS = {KEYS: _are_keys, TAGS: _are_tags, ALL: _are_epochs}
