"""Which of the answers stored under one key is for this request (RFC 9111 section 4.1).

Request fields that Vary names are compared in a normalised form, which folds only what the field's own definition says
has no meaning: repeated lines and whitespace around commas for any field; for Accept-Encoding and Accept-Language also
case, the order of equal preferences, and what is refused.

Accept-Encoding goes one step further: codings that no browser uses are left out, and the origin is asked with the
normalised field, so that what chose the answer is exactly what is compared.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from .entry import Entry
from .fields import Headers

Secondary: TypeAlias = tuple[bytes | None, ...]

CODINGS = frozenset({b"gzip", b"br", b"zstd", b"deflate", b"identity", b"*"})
_ALIASES = {b"x-gzip": b"gzip"}
_QUALITY = re.compile(rb"[ \t]*+q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*+", re.IGNORECASE)
_SPACES = re.compile(rb"[ \t]*+,[ \t]*+")
_RANKED = frozenset({b"accept-encoding", b"accept-language"})
_MOST = 2_048  # bytes of one field that are worth normalising
_SHORT = 256  # bytes of one whose normal form is worth remembering


def _ranks(value: bytes) -> dict[bytes, int] | None:
    """Each name with its quality in thousandths; None where a member cannot be read."""
    out: dict[bytes, int] = {}
    for part in value.split(b","):
        name, semicolon, parameter = part.partition(b";")
        name = name.strip(b" \t").lower()
        if not name and not semicolon:
            continue
        quality = 1_000
        if semicolon:
            found = _QUALITY.fullmatch(parameter)
            if found is None or not name:
                return None
            quality = round(float(found.group(1)) * 1_000)
        out.setdefault(name, quality)
    return out


def normal_encoding(value: bytes) -> bytes:
    """Accept-Encoding with what has no meaning folded: known codings only, by preference, then by name. What is refused
    is left out, but where `*` would let it in again.

    >>> from samovar.edge.rules.selection import normal_encoding
    >>> normal_encoding(b"gzip, deflate;q=0.5, BR , sdch"), normal_encoding(b"br;q=1.0,gzip")
    (b'br, gzip, deflate;q=0.500', b'br, gzip')
    """
    ranks = _ranks(value) if len(value) <= _MOST else None
    if ranks is None:
        return b"identity" if len(value) > _MOST else _plain(value)
    known: dict[bytes, int] = {}
    for name, quality in ranks.items():
        name = _ALIASES.get(name, name)
        if name in CODINGS and (quality or name in (b"identity", b"*") or ranks.get(b"*")):
            known.setdefault(name, quality)
    return _written(known)


def _written(ranks: dict[bytes, int]) -> bytes:
    inner = sorted(ranks.items(), key=lambda item: (-item[1], item[0]))
    return b", ".join(name if quality == 1_000 else b"%b;q=%d.%03d" % (name, quality // 1_000, quality % 1_000)
                      for name, quality in inner)


def _plain(value: bytes) -> bytes:
    """Whitespace around commas folded, where no quoted string could hold any of it."""
    return value.strip(b" \t") if b'"' in value else _SPACES.sub(b",", value.strip(b" \t"))


def normalise(name: bytes, value: bytes) -> bytes:
    """The value of a request field as it is compared; lines of a repeated field are joined by the caller.

    >>> from samovar.edge.rules.selection import normalise
    >>> normalise(b"accept-language", b"de , EN") == normalise(b"accept-language", b"en,de")
    True
    """
    return _remembered(name, value) if len(value) <= _SHORT else _normalised(name, value)


def _normalised(name: bytes, value: bytes) -> bytes:
    if name == b"accept-encoding":
        return normal_encoding(value)
    if name in _RANKED and len(value) <= _MOST:
        ranks = _ranks(value)
        if ranks is not None:
            return _written(ranks)
    return _plain(value)


_remembered: Callable[[bytes, bytes], bytes] = lru_cache(maxsize=4_096)(_normalised)


def secondary(names: tuple[bytes, ...], headers: Headers) -> Secondary:
    """The normalised values of these request fields, None for one that is absent."""
    out: list[bytes | None] = []
    for name in names:
        value = None
        for key, said in headers:
            if key == name:
                value = said if value is None else value + b"," + said
        out.append(None if value is None else normalise(name, value))
    return tuple(out)


class Variants:
    """All answers stored under one key, as one value of the store: never changed in place, so that a reader in
    another thread sees one state or the next.

    mark: the moment until which requests for this key are not made to wait for each other (hit-for-miss).
    only: the entry for every request, where there is but one and it varies by nothing.
    hits: the verdict that serves each of them whole, in this second. It is not the entry's own, because it refers to the
        entry, and a body that left the store would wait for the collector of cycles.
    """

    __slots__ = ("axes", "hits", "mark", "only")

    def __init__(self, axes: tuple[tuple[tuple[bytes, ...], dict[Secondary, Entry]], ...] = (), mark: float = 0.0) -> None:
        self.axes, self.mark = axes, mark
        self.hits: dict[Entry, Any] = {}
        self.only: Entry | None = axes[0][1].get(()) if len(axes) == 1 and not axes[0][0] else None

    def select(self, headers: Headers) -> Entry | None:
        """The entry for a request with these fields, the newest by Date where several are, or None."""
        if self.only is not None:
            return self.only
        best: Entry | None = None
        for names, table in self.axes:
            entry = table.get(secondary(names, headers) if names else ())
            if entry is not None and (best is None or (entry.date, entry.received) > (best.date, best.received)):
                best = entry
        return best

    def __iter__(self) -> Iterator[Entry]:
        return (entry for _, table in self.axes for entry in table.values())

    def __len__(self) -> int:
        return sum(len(table) for _, table in self.axes)

    def stored(self, entry: Entry, most: int) -> "Variants":
        """These with one more, in the place of the one for the same request; with over `most` the one that was
        received longest ago leaves. A hit-for-miss mark ends."""
        axes = [(names, dict(table)) for names, table in self.axes]
        for names, table in axes:
            if names == entry.vary:
                table[entry.varied] = entry
                break
        else:
            axes.append((entry.vary, {entry.varied: entry}))
        while sum(len(table) for _, table in axes) > most:
            table, place = min(((table, place) for _, table in axes for place in table),
                               key=lambda at: at[0][at[1]].received)
            del table[place]
        return Variants(tuple(axis for axis in axes if axis[1]))

    def without(self, entry: Entry) -> "Variants":
        """These without one, if it is still there; another that took its place stays."""
        axes = tuple((names, {at: one for at, one in table.items() if one is not entry}) for names, table in self.axes)
        return Variants(tuple(axis for axis in axes if axis[1]), self.mark)

    def softened(self, now: float) -> "Variants":
        """These, stale from now on: a soft purge."""
        return Variants(tuple((names, {at: one.softened(now) for at, one in table.items()}) for names, table in self.axes),
                        self.mark)

    def marked(self, until: float) -> "Variants":
        """These with a hit-for-miss mark."""
        return Variants(self.axes, max(self.mark, until))
