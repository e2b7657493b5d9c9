"""The envelope in which a value travels, and the seal on it: bytes that anybody may have written, opened safely.

    magic 2, version 1, codec 1, flags 1 | sum 4 | created 8, soft 8, hard 8, cost 8 | epoch 8 | raw size 4 | tags 2
    for each tag: length 1, name, version 8
    when signed: length 1, name of the secret, HMAC 32
    body

Numbers are big-endian, times float seconds. The sum is XXH3's, over all that follows it, seeded by the key's name and what
stands before: it finds damage, and bodies that lie under another's name, and is no signature. A signature is over the
key's name, all that stands before it, with zeros for the sum, and the body as it was sent; it is verified before anything
is expanded or decoded.

The one rule: nothing in here raises for what it was given to open. It is an Envelope, or it is Damaged.
"""

import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from .._base.missing import MISSING
from .._core import plain_bodies, plain_body, xxh3
from .codec import MAC, Codec, Msgpack, Zstd

MAX_BODY = 8 << 20  # bytes of a body, expanded
COMPRESS_FROM = 1024  # bytes; below, there is little to gain
WORTH = 0.9  # a compressed body that is not at least a tenth smaller is sent as it was
MOST_TAGS = 2000  # 500 of the caller's, a soft one beside each (held.py), and all of them at two places (tags.py)

_MAGIC = b"\xc5\xa7"
_VERSION = 1
_COMPRESSED, _SIGNED = 1, 2
_HEAD = struct.Struct(">2sBBBIddddQIH")
_SUM_AT = 5
_VERSION_OF = struct.Struct(">Q")


class Envelope(NamedTuple):
    """A value and what is known about it.

    created: seconds of the writer's wall clock. soft_s, hard_s: fresh for so long after that, and to be served at most
    for so long; math.inf for ever. cost_s: what its load took. epoch: the node's when it was written. tags: (name,
    version).
    """

    value: Any
    created: float
    soft_s: float
    hard_s: float
    cost_s: float = 0.0
    epoch: int = 0
    tags: tuple[tuple[str, int], ...] = ()


class Damaged(NamedTuple):
    """What cannot be opened: foreign, tampered with, cut off, too large, or of another version. A miss, to be counted."""

    reason: str


class Sealer:
    """Seals and opens envelopes. Safe in threads.

    codec: what carries values. max_body: the most bytes of an expanded body, up to 2**32 - 1. compress: whether bodies are
    made smaller, where zstd is installed.
    """

    def __init__(self, codec: Codec, *, max_body: int = MAX_BODY, compress: bool = True) -> None:
        if type(max_body) is not int or not 0 < max_body < 1 << 32:
            raise ValueError(f"max_body must be a number of bytes from 1 to 2**32 - 1, not {max_body!r}")
        self._codec, self._most = codec, max_body
        self._secrets = codec.secrets
        self._zstd = Zstd()
        self._compresses = compress and self._zstd.is_there
        self._plainest = b"" if self._secrets else _MAGIC + bytes((_VERSION, codec.number, 0))  # how most envelopes begin
        self._decode: Callable[[bytes], Any] = codec._decode if type(codec) is Msgpack else codec.decode  # a step less

    def seal(self, name: str, envelope: Envelope) -> bytes | None:
        """The bytes of an envelope under the key of this name; None for a body that is too large. Raises what the codec
        raises for a value that it cannot carry, ValueError for times and tags that are none."""
        value, created, soft_s, hard_s, cost_s, epoch, tags = envelope
        body = self._codec.encode(value)
        size = len(body)
        if size > self._most:
            return None
        flags = 0
        if size >= COMPRESS_FROM and self._compresses:
            small = self._zstd.compress(body)
            if len(small) <= WORTH * size:
                body, flags = small, _COMPRESSED
        if not (soft_s >= 0 and hard_s >= 0 and cost_s >= 0 and math.isfinite(created) and 0 <= epoch < 1 << 64):
            raise ValueError(f"an envelope's times and epoch must be 0 or more, not {envelope[1:6]!r}")
        if len(tags) > MOST_TAGS:
            raise ValueError(f"an envelope must carry at most {MOST_TAGS} tags, not {len(tags)}")
        secrets = self._secrets
        if secrets is not None:
            flags |= _SIGNED
        rest = b"".join([_tag(*tag) for tag in tags]) if tags else b""
        head = _HEAD.pack(
            _MAGIC, _VERSION, self._codec.number, flags, 0, created, soft_s, hard_s, cost_s, epoch, size, len(tags))
        key = name.encode()
        if secrets is not None:
            mac = secrets.sign(key, head + rest, body)
            rest += bytes((len(secrets.current),)) + secrets.current + mac
        start, rest = head[:_SUM_AT], b"".join((head[_SUM_AT + 4:], rest, body))
        return b"".join((start, _sum(key, start, rest).to_bytes(4, "big"), rest))

    def plain(self, name: str, payload: bytes, epoch: int, wall: float) -> Any:
        """The value of an envelope that nothing but the clock has to say about: of this epoch, fresh at this time, without
        tags. MISSING for every other, also for what cannot be opened: `open` says which. It is quickest for what is neither
        signed nor compressed."""
        try:
            body = plain_body(payload, self._plainest, name, epoch, wall, self._most)
            if body is not None:
                return self._decode(body)
        except Exception:  # of another type, perhaps
            return MISSING
        if payload[_SUM_AT - 1:_SUM_AT] in (b"\0", b""):  # the flags: there is no more to it
            return MISSING
        opened = self.open(name, payload)
        if isinstance(opened, Damaged) or opened.tags or opened.epoch != epoch:
            return MISSING
        return opened.value if max(0.0, wall - opened.created) < min(opened.soft_s, opened.hard_s) else MISSING

    def plain_many(self, names: list[str], payloads: list[Any], mark: bytes, head: int, epoch: int,
                   wall: float) -> tuple[list[Any], list[int]]:
        """`plain` of many, behind `head` bytes of what begins with `mark`: the values, and the numbers of those that are
        MISSING."""
        try:
            bodies, missing = plain_bodies(payloads, mark, head, self._plainest, names, epoch, wall, self._most)
            if not missing:
                return list(map(self._decode, bodies)), missing  # type: ignore[arg-type]
            decode = self._decode
            values = [MISSING if body is None else decode(body) for body in bodies]
        except Exception:  # one of another type, perhaps
            values, missing = [MISSING] * len(names), list(range(len(names)))
        for at in missing:
            payload = payloads[at]
            if type(payload) is bytes and payload.startswith(mark):
                values[at] = self.plain(names[at], payload[head:], epoch, wall)
        return values, [at for at in missing if values[at] is MISSING]

    def open(self, name: str, payload: bytes) -> Envelope | Damaged:
        """The envelope under the key of this name, or why there is none."""
        if len(payload) < _HEAD.size:
            return Damaged("shorter than an envelope")
        (magic, version, codec, flags, said, created, soft_s, hard_s, cost_s, epoch, size, count) = _HEAD.unpack_from(payload)
        if magic != _MAGIC or version != _VERSION:
            return Damaged("of another version, or no envelope")
        if codec != self._codec.number or (flags & _SIGNED != 0) != (self._secrets is not None) or flags > 3:
            return Damaged("of another codec")
        if size > self._most or len(payload) > self._most + (1 << 19):
            return Damaged("too large")
        key = name.encode()
        start, rest = payload[:_SUM_AT], payload[_SUM_AT + 4:]
        if _sum(key, start, rest) != said:
            return Damaged("damaged, or another key's")
        try:
            tags, at = _tags(payload, count) if count else ((), _HEAD.size)
            if self._secrets is not None:
                signed = start + b"\0\0\0\0" + payload[_SUM_AT + 4:at]
                end = at + 1 + payload[at] + MAC
                secret, mac, body = payload[at + 1:end - MAC], payload[end - MAC:end], payload[end:]
                if not self._secrets.are_signed(secret, mac, key, signed, body):
                    return Damaged("not signed by anybody we trust")
            else:
                body = payload[at:]
            if not (math.isfinite(created) and soft_s >= 0 and hard_s >= 0 and cost_s >= 0):
                return Damaged("with times that are none")
            if flags & _COMPRESSED:
                body = self._zstd.expand(body, size)
            elif len(body) != size:
                return Damaged("of another size than was said")
            value = self._decode(body)
        except Exception as error:  # whatever an opener makes of a stranger's bytes
            return Damaged(f"cannot be opened: {type(error).__name__}")
        return Envelope(value, created, soft_s, hard_s, cost_s, epoch, tags)


def _sum(key: bytes, start: bytes, rest: bytes) -> int:
    return xxh3(rest, xxh3(key + start)) & 0xFFFF_FFFF


def _tag(name: str, version: int) -> bytes:
    text = name.encode()
    if len(text) > 255:
        raise ValueError(f"a tag's name must be at most 255 bytes, not {len(text)}")
    return b"%c%b%b" % (len(text), text, _VERSION_OF.pack(version))


def _tags(payload: bytes, count: int) -> tuple[tuple[tuple[str, int], ...], int]:
    """The tags behind the head, and where they end. Raises for what is damaged."""
    at, tags = _HEAD.size, []
    if count > MOST_TAGS:
        raise ValueError("more tags than anybody writes")
    for _ in range(count):
        end = at + 1 + payload[at]
        tags.append((payload[at + 1:end].decode(), _VERSION_OF.unpack_from(payload, end)[0]))
        at = end + 8
    return tuple(tags), at
