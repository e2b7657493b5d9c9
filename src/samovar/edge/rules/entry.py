"""What is kept of an answer: everything that a hit needs, compiled once, when it is stored.

    born ------------- fresh ------------- revalidate ------- error        (ages in seconds)
      | may be served  | served while it is | only in place    | gone
      |                | revalidated        | of an error      |

An entry never changes what it says: freshening makes a new one that shares the body. The rules never look into the
body; they know its length.
"""

from collections.abc import Sequence
from typing import Any

from .dates import format_date, parse_date
from .directives import Directives, parse_delta
from .fields import Fields, Headers, end_to_end, first, values
from .freshness import Arrival, Lifetime, born_at, date_value
from .storable import NOT_STORED_FIELDS

_PLAIN = ("key", "status", "reason", "fields", "vary", "varied", "born", "received", "date", "fresh", "revalidate",
          "error", "strict", "immutable", "etag", "modified", "tags", "declared", "length")
_BODILESS = frozenset({204, 205, 304})


class Entry:
    """One stored answer.

    key: the primary key that it is stored under.
    status, reason, fields: as they are sent again, fields without hop-by-hop ones and without Age, with a Date.
    vary, varied: names of the request fields that chose it, and their normalised values.
    born: seconds since 1970 at which its age was 0; received: when it, or what freshened it, came; date: what its Date
        says.
    fresh, revalidate, error, strict, immutable: see freshness.Lifetime; RFC 8246.
    etag, modified: its validators, as they were sent.
    tags: to invalidate it by.
    declared: what Content-Length said, or None. length: of the body, or None while it is not there whole.
    body: the front's: anything that it can send `length` bytes from.
    """

    __slots__ = (*_PLAIN, "body", "_head", "_brief")

    key: bytes
    status: int
    reason: bytes
    fields: Fields
    vary: tuple[bytes, ...]
    varied: tuple[bytes | None, ...]
    born: float
    received: float
    date: int
    fresh: int
    revalidate: int
    error: int
    strict: bool
    immutable: bool
    etag: bytes | None
    modified: bytes | None
    tags: tuple[str, ...]
    declared: int | None
    length: int | None
    body: Any
    _head: bytes | None
    _brief: Fields | None

    def __init__(self, **words: Any) -> None:
        self.length = self.body = self._head = self._brief = None
        for word, value in words.items():
            setattr(self, word, value)

    def age(self, now: float) -> int:
        """Its age in whole seconds, 0 or more."""
        return max(int(now - self.born), 0)

    @property
    def keep(self) -> int:
        """Seconds after `born` at which nothing can need it any more: the longest of its lives, or, where it can be
        revalidated, as much again, and a day at least."""
        until = max(self.fresh, self.revalidate, self.error)
        return max(2 * until, 86_400) if self.can_validate else until

    @property
    def can_validate(self) -> bool:
        """Whether the origin can be asked if it is still the same."""
        return self.etag is not None or self.modified is not None

    def complete(self, body: object, length: int) -> bool:
        """Take the whole body in. False, and nothing is changed, when its length is not what was declared: then the
        answer was cut short, or is longer than it says, and must not be stored.

        The caller guarantees that the message ended properly (RFC 9112 section 8).
        """
        if self.declared is not None and self.declared != length:
            return False
        if length and self.status in _BODILESS:
            return False
        self.body, self.length = body, length
        if self.declared is None and self.status not in _BODILESS:
            self.declared = length
            self.fields = (*self.fields, (b"content-length", b"%d" % length))
        self._head = None
        return True

    def head(self) -> bytes:
        """Its status line and fields for HTTP/1.1, each line ended; a front adds its own and the empty line. Cached."""
        if self._head is None:
            lines = [b"HTTP/1.1 %d %s\r\n" % (self.status, self.reason)]
            lines += [name + b": " + value + b"\r\n" for name, value in self.fields]
            self._head = b"".join(lines)
        return self._head

    def brief(self) -> Fields:
        """The fields of a 304 for it (RFC 9110 section 15.4.5): those that guide caches. Cached."""
        if self._brief is None:
            self._brief = tuple(field for field in self.fields if field[0] in _BRIEF
                                or (field[0] == b"last-modified" and self.etag is None))
        return self._brief

    def dump(self) -> tuple[Any, ...]:
        """All but the body as plain data, for a store outside of this process; `load` is the way back."""
        return tuple(getattr(self, word) for word in _PLAIN)

    @classmethod
    def load(cls, plain: Sequence[Any], body: object = None) -> "Entry":
        """The entry that `dump` wrote."""
        entry = cls(**dict(zip(_PLAIN, plain, strict=True)))
        entry.fields = tuple((name, value) for name, value in entry.fields)
        entry.vary, entry.varied, entry.tags = tuple(entry.vary), tuple(entry.varied), tuple(entry.tags)
        entry.body = body
        return entry

    def but(self, **changes: Any) -> "Entry":
        """The same with some words changed; the body is shared."""
        out = Entry(**{word: getattr(self, word) for word in _PLAIN})
        out.body = self.body
        for word, value in changes.items():
            setattr(out, word, value)
        return out

    def softened(self, now: float) -> "Entry":
        """The same, stale from now on: a soft purge. It counts as older than it is, so that its time to be served stale
        begins now, and so that a cache further on, which is told its Age, does not take it for fresh."""
        return self if self.age(now) >= self.fresh else self.but(born=int(now) - self.fresh)

    def __repr__(self) -> str:
        return f"<Entry {self.key!r} {self.status} fresh={self.fresh} length={self.length}>"


_BRIEF = frozenset({b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary", b"cdn-cache-control",
                    b"samovar-cache-control", b"cache-status"})


def make_entry(key: bytes, status: int, reason: bytes, headers: Headers, said: Directives, life: Lifetime,
               vary: tuple[bytes, ...], varied: tuple[bytes | None, ...], tags: tuple[str, ...], shared: bool,
               came: Arrival) -> Entry:
    """What is kept of an answer that may be stored; its body is still to come (`Entry.complete`)."""
    without = NOT_STORED_FIELDS | said.no_cache_fields | (said.private_fields if shared else frozenset())
    kept = tuple(end_to_end(headers, without - {b"date"}))
    if first(kept, b"date") is None:
        kept += ((b"date", format_date(came.clock)),)
    declared = declared_length(headers)
    if declared is not None and status != 204:
        kept += ((b"content-length", b"%d" % declared),)
    modified = first(kept, b"last-modified")
    if modified is not None and parse_date(modified, came.clock) is None:
        modified = None
    return Entry(
        key=key, status=status, reason=reason, fields=kept, vary=vary, varied=varied,
        born=born_at(headers, came), received=came.received, date=date_value(headers, came.clock),
        fresh=life.fresh, revalidate=life.revalidate, error=life.error, strict=life.strict, immutable=said.immutable,
        etag=first(kept, b"etag"), modified=modified, tags=tags,
        declared=declared)


def declared_length(headers: Headers) -> int | None:
    """What Content-Length says: digits only, at most 18 of them; None where it is absent or not said in one way."""
    lengths = set(values(headers, b"content-length"))
    value = lengths.pop() if len(lengths) == 1 else b""
    return int(value) if len(value) <= 18 and parse_delta(value) is not None else None
