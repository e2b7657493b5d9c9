"""Targeted cache control (RFC 9213): CDN-Cache-Control and the like, which speak to one kind of cache only.

They are Structured Fields (RFC 9651), so they are read strictly: a field that does not parse, that says nothing, or
where a directive that we know has a value of the wrong type, is ignored whole, as if it had not been sent.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from ..._base.errors import MissingExtra
from .directives import MAX_DELTA, Directives, compile_directives
from .fields import Headers, combined

_BOOLEANS = frozenset({"no-store", "public", "must-revalidate", "proxy-revalidate", "must-understand", "immutable"})
_INTEGERS = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
_EITHER = frozenset({"private", "no-cache"})  # true, or a string of field names


def _parser() -> Callable[..., Any]:
    try:
        parse: Callable[..., Any] = importlib.import_module("http_sf").parse
    except ImportError as error:
        raise MissingExtra("CDN-Cache-Control needs http-sf: pip install 'samovar[edge]'") from error
    return parse


def targeted_directives(headers: Headers, targets: Sequence[bytes]) -> Directives | None:
    """What the first valid field of `targets` says, or None where none is there and valid (RFC 9213 section 2.2).

    targets: field names in lower case, the one that counts most first. Raises MissingExtra when such a field is there
    and http-sf is not installed.
    """
    for name in targets:
        value = combined(headers, name)
        if value is not None:
            found = _read(value)
            if found is not None:
                return found
    return None


def _read(value: bytes) -> Directives | None:
    parse = _parser()
    try:
        dictionary = parse(value, tltype="dictionary")
    except (ValueError, TypeError, IndexError, ArithmeticError, RecursionError):  # StructuredFieldError is a ValueError
        return None
    found: list[tuple[bytes, bytes | None, bool]] = []
    for name, member in dictionary.items():
        said = member[0] if isinstance(member, tuple) else member
        if name in _INTEGERS:
            if type(said) is not int:
                return None
            found.append((name.encode(), b"%d" % min(max(said, 0), MAX_DELTA), True))
        elif name in _BOOLEANS or (name in _EITHER and isinstance(said, bool)):
            if not isinstance(said, bool):
                return None
            if said:
                found.append((name.encode(), None, True))
        elif name in _EITHER:
            if not isinstance(said, str):
                return None
            found.append((name.encode(), str(said).encode("ascii", "replace"), True))
    if not dictionary:
        return None
    out = compile_directives(found)
    out.targeted = True
    return out
