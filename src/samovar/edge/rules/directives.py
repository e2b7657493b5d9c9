"""Cache-Control and its kin, read once and kept as plain numbers and flags.

Where a field is damaged, the reading is the one that stores and reuses less: a directive that forbids counts even when
its argument is nonsense, and a lifetime that cannot be read, or is said twice with different numbers, is 0 (RFC 9111
section 4.2.1 encourages both). Reading is linear in the length of the field and never raises.

Sources: RFC 9111 sections 1.2.2 (delta-seconds), 5.2 (directives), 5.4 (Pragma); RFC 5861; RFC 8246.
"""

import re
from dataclasses import dataclass

from .fields import Headers, combined, is_token, members

MAX_DELTA = 2**31  # what a cache says when a number of seconds is more than it can hold (RFC 9111 section 1.2.2)

_GAP = re.compile(rb"[ \t,]*+")
_MEMBER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++)(?:=(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s,\";]*+)))?+[ \t]*+(?=,|$)",
                     re.DOTALL)
_WORD = re.compile(rb"[^,]*+")
_LEADING = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]*+)")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_DIGITS = re.compile(rb"[0-9]++")
_LIFETIMES = frozenset({b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error", b"max-stale",
                        b"min-fresh"})


def parse_delta(value: bytes) -> int | None:
    """A number of seconds: digits only, MAX_DELTA when it is larger, or None for anything else."""
    if _DIGITS.fullmatch(value) is None:
        return None
    digits = value.lstrip(b"0")
    return min(int(digits or b"0"), MAX_DELTA) if len(digits) <= 10 else MAX_DELTA


def parse_members(value: bytes) -> list[tuple[bytes, bytes | None, bool]]:
    """The directives of a field as (name in lower case, argument or None, whether it is well formed).

    What is not well formed is named by the token it begins with, so that "no-store;" still forbids.

    >>> from samovar.edge.rules.directives import parse_members
    >>> parse_members(b'Max-Age=5, private="a, b"')
    [(b'max-age', b'5', True), (b'private', b'a, b', True)]
    """
    out: list[tuple[bytes, bytes | None, bool]] = []
    at, end, quotes = 0, len(value), True
    while (at := _GAP.match(value, at).end()) < end:  # type: ignore[union-attr]  # it matches anything
        found = _MEMBER.match(value, at) if quotes else None
        if found is not None:
            name, quoted, plain = found.groups()
            argument = plain if quoted is None else _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted
            out.append((name.lower(), argument, True))
            at = found.end() + 1
            continue
        word = _WORD.match(value, at)
        stop = word.end() if word is not None else end
        if quotes and b'"' in value[at:stop]:
            quotes = False  # a quote that does not close, or closes in the middle of a word: quotes mean nothing from here
        out.append((_named(value[at:stop]), b"", False))
        at = stop + 1
    return out


def _named(word: bytes) -> bytes:
    found = _LEADING.match(word)
    return found.group(1).lower() if found is not None else b""


@dataclass(slots=True)
class Directives:
    """What the directives of one response say, compiled; absent numbers are None.

    private_fields, no_cache_fields: names in lower case where the directive was qualified, and then `private` or
    `no_cache` is False.
    targeted: the directives came from a targeted field (RFC 9213), so Expires and Cache-Control do not count.
    """

    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    immutable: bool = False
    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    private_fields: frozenset[bytes] = frozenset()
    no_cache_fields: frozenset[bytes] = frozenset()
    targeted: bool = False
    said: bool = False  # there was a field at all


_FLAGS = {name.replace("_", "-").encode(): name for name in
          ("no_store", "public", "must_revalidate", "proxy_revalidate", "must_understand", "immutable")}
_NUMBERS = {name.replace("_", "-").encode(): name for name in
            ("max_age", "s_maxage", "stale_while_revalidate", "stale_if_error")}


def response_directives(headers: Headers) -> Directives:
    """What the Cache-Control fields of a response say."""
    value = combined(headers, b"cache-control")
    return Directives() if value is None else compile_directives(parse_members(value))


def compile_directives(found: list[tuple[bytes, bytes | None, bool]]) -> Directives:
    """Parsed members as Directives; what is unknown is ignored (RFC 9111 section 5.2.3)."""
    out = Directives(said=True)
    for name, argument, well_formed in found:
        if name in _FLAGS:
            if well_formed or name not in (b"public", b"immutable"):  # what permits must be said properly
                setattr(out, _FLAGS[name], True)
        elif name in _NUMBERS:
            word = _NUMBERS[name]
            number = parse_delta(argument) if argument and well_formed else None
            before = getattr(out, word)
            setattr(out, word, 0 if number is None or before not in (None, number) else number)
        elif name == b"no-cache":
            names = _field_names(argument) if well_formed else frozenset()
            out.no_cache = out.no_cache or not names
            out.no_cache_fields |= names
        elif name == b"private":
            names = _field_names(argument) if well_formed else frozenset()
            out.private = out.private or not names
            out.private_fields |= names
    return out


def _field_names(argument: bytes | None) -> frozenset[bytes]:
    """The names of a qualified directive; none where any is no field name, and then the directive counts for all."""
    names = members(argument or b"")
    return frozenset(name.lower() for name in names) if all(map(is_token, names)) else frozenset()


@dataclass(slots=True)
class Asked:
    """What the directives of a request ask for (RFC 9111 section 5.2.1); absent numbers are None.

    max_stale: MAX_DELTA where the request accepts any staleness.
    """

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    min_fresh: int | None = None
    max_stale: int | None = None
    stale_if_error: int | None = None


def request_directives(control: bytes | None, pragma: bytes | None) -> Asked:
    """What a request's Cache-Control asks for, or its Pragma where there is no Cache-Control (section 5.4)."""
    out = Asked()
    if control is None:
        out.no_cache = pragma is not None and b"no-cache" in map(bytes.lower, members(pragma))
        return out
    for name, argument, well_formed in parse_members(control):
        if name == b"no-cache":
            out.no_cache = True
        elif name == b"no-store":
            out.no_store = True
        elif name == b"only-if-cached":
            out.only_if_cached = True
        elif name in (b"max-age", b"min-fresh", b"max-stale", b"stale-if-error"):
            number = parse_delta(argument) if argument and well_formed else None
            if name == b"max-age":
                out.max_age = min(number or 0, MAX_DELTA if out.max_age is None else out.max_age)
            elif name == b"min-fresh":
                out.min_fresh = max(MAX_DELTA if number is None else number, out.min_fresh or 0)
            elif name == b"max-stale":
                out.max_stale = MAX_DELTA if argument is None and well_formed else number or 0
            else:
                out.stale_if_error = number
    return out
