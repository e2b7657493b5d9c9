"""Requests that came before, byte for byte: read once, and answered again with what they were answered with.

Most requests to a cache are the same few bytes, again and again. What is read from a head, the key, and the message
that answered it last are remembered under these bytes. Why that is right: reading a head is a function of its bytes and
of what is fixed for a process (scheme, limits, Policy.keyed); and what rules.plain_hit and rules.hit_head say of a
fresh hit is a function of policy, method, fields, the stored Variants, which never change once they are stored, and the
age in whole seconds. So with the same bytes, the same Variants (that object, as the vault has it now) and the same age
the answer is the same; when one of them differs it is made anew. The vault is asked each time, so what was purged or
has left is not answered.

Bounded: MOST heads of SHORT bytes at most, the least used leave; and a message is kept only where all that is stored
under its key is JOINED bytes at most, because it keeps that alive when the vault has let it go.
"""

from asyncio import Transport
from collections.abc import Callable

from ...memo import lru_cache
from ..exchange.exchange import Exchange
from ..exchange.numbers import SAMPLED
from ..rules import Entry, Variants, cache_key, hit_head, host_of
from .wire import BadHead, Limits, RequestHead, read_request

MOST = 4_096  # heads
SHORT = 2_048  # bytes of a head that is worth remembering
JOINED = 4_096  # bytes of bodies that are worth remembering
WHOLE = 131_072  # bytes of a body that may be given to a connection at once: more goes in pieces, as the client takes it
_COPIED = 16_384  # bytes of a body that is copied behind its head: less work than a second buffer is for the loop
_FORWARDED_FOR = b"x-forwarded-for"


def give(transport: Transport, block: bytes, body: bytes) -> None:
    """Write a head and its body."""
    if len(body) <= _COPIED:
        transport.write(block + body)
    else:
        transport.writelines((block, body))


class Known:
    """A head that was read, and what answered it last.

    head: None where these bytes are not one good head. key: None where only the exchange may answer it.
    stored, born, age: for which `whole` holds: the message, of which `block` is the head. size: of its body.
    """

    __slots__ = ("head", "key", "stored", "born", "age", "block", "whole", "status", "size")

    def __init__(self, head: RequestHead | None, key: bytes | None) -> None:
        self.head, self.key = head, key
        self.stored: Variants | None = None
        self.born, self.age, self.status, self.size = 0.0, -1, 0, 0
        self.block = self.whole = b""

    def parts(self, message: bytes | tuple[bytes, Entry]) -> tuple[bytes, bytes, int]:
        """Head, body and status of what `Knowing.answer` has just said for it."""
        if isinstance(message, bytes):
            return self.block, message[len(self.block):], self.status
        block, entry = message
        return block, entry.body, entry.status


class Knowing:
    """The memory of one process.

    exchange: what answers. wall: the clock that it goes by.
    """

    def __init__(self, exchange: Exchange, wall: Callable[[], float], limits: Limits) -> None:
        policy = exchange.policy
        self._exchange, self._policy = exchange, policy
        self._peek, self._wall, self._numbers = exchange.vault.peek, wall, exchange.numbers

        @lru_cache(maxsize=MOST)
        def known(block: bytes, scheme: bytes) -> Known:
            if block.find(b"\r\n\r\n") != len(block) - 4:
                return _UNKNOWN
            try:
                head = read_request(block, scheme, limits)
            except BadHead:
                return _UNKNOWN
            host = host_of(head.headers)
            if head.method != "GET" or head.length is not None or head.chunked or host is None:
                return Known(head, None)
            return Known(head, cache_key(scheme, host, head.target, head.headers, policy.keyed))

        self.known: Callable[[bytes, bytes], Known] = known

    def answer(self, known: Known, scheme: bytes) -> bytes | tuple[bytes, Entry] | None:
        """The message of a fresh hit, whole, or as its head and an entry whose body follows; it is counted. None: the
        exchange must decide. O(1)."""
        key = known.key
        if key is None:
            return None
        stored = self._peek(key)
        if stored is None:
            return None
        if stored is known.stored and int(self._wall() - known.born) == known.age:
            numbers = self._numbers
            numbers.hits = hits = numbers.hits + 1
            numbers.sent += known.size
            if hits % SAMPLED == 0:
                numbers.hot.add(key, SAMPLED)
            return known.whole
        return self._anew(known, key, stored, scheme)

    def _anew(self, known: Known, key: bytes, stored: Variants, scheme: bytes) -> bytes | tuple[bytes, Entry] | None:
        head = known.head
        assert head is not None
        if known.stored is not None:
            known.stored, known.block, known.whole = None, b"", b""
        only = stored.only
        if ((only.length or 0) if only is not None else max((one.length or 0 for one in stored), default=0)) > WHOLE:
            return None
        hit = self._exchange.quick("GET", scheme, head.target, head.headers)
        if hit is None:
            return None
        entry, sent = hit.entry, hit.sent
        if entry.vary and _FORWARDED_FOR in entry.vary:  # the client's address is a part of that, and stands in no head
            return None
        if sent is None or sent[0] is not self:
            hit.sent = sent = self, hit_head(self._policy, hit)
        block: bytes = sent[1]
        size = len(entry.body)
        bodies = sum(one.length or 0 for one in stored)
        if max(size, len(block), bodies) > JOINED or self._peek(key) is not stored:
            return block, entry
        known.stored, known.born, known.age = stored, entry.born, hit.age
        known.block, known.whole, known.status, known.size = block, block + entry.body, entry.status, size
        return known.whole


_UNKNOWN = Known(None, None)
