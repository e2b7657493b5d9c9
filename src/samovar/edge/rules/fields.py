"""Header fields as they travel: raw lists of (name, value) in bytes, names in lower case, order and repetition kept.

Never a dict: a field may come twice, and which of the two a reader believes is how caches are poisoned. Everything
here is linear in the length of its input, and nothing raises on any bytes.

Sources: RFC 9110 sections 5.3 (repeated fields), 5.6.1 (lists), 7.6.1 (Connection); RFC 9111 section 3.1.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# Meant for one connection, or for the next proxy only: never stored, never sent on (RFC 9111 section 3.1).
HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authentication-info",
    b"proxy-authorization", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings",
})

# Never taken away by a Connection field that lists them: a peer must not be able to hide what decides about storing,
# about the body, or about who is asking (RFC 9110 section 7.6.1 forbids naming them there).
END_TO_END = frozenset({
    b"cache-control", b"pragma", b"expires", b"date", b"age", b"vary", b"etag", b"last-modified", b"host", b"cookie",
    b"authorization", b"set-cookie", b"content-length", b"content-type", b"content-encoding", b"content-range", b"range",
    b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"via", b"cdn-loop",
    b"cache-status", b"cdn-cache-control", b"samovar-cache-control", b"surrogate-key", b"cache-tag", b"warning",
})

# Request fields that make some origins answer as if another host, URL, scheme or method had been asked for. They are
# no part of the cache key, so they do not reach the origin unless the policy keys them.
REWRITING = frozenset({
    b"forwarded", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-protocol", b"x-forwarded-scheme",
    b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-path", b"x-forwarded-server", b"x-forwarded-ssl",
    b"x-forwarded-uri", b"x-forwarded-method", b"x-original-url", b"x-original-uri", b"x-original-host",
    b"x-original-method", b"x-rewrite-url", b"x-rewrite-uri", b"x-host", b"x-http-host-override", b"x-scheme",
    b"x-url-scheme", b"front-end-https", b"x-script-name", b"x-http-method-override", b"x-http-method",
    b"x-method-override", b"x-override-url", b"x-replaced-path", b"x-middleware-prefetch", b"x-invoke-path",
})


_ODD = re.compile(rb"[^a-z0-9-]")
_TAKEN = REWRITING | HOP_BY_HOP | END_TO_END | {b"x-forwarded-for"}


def is_disguised(name: bytes) -> bool:
    """Whether a name is another spelling, for origins that know no other (CGI, WSGI and what came of them write both `-`
    and `_` as `_`), of a field that decides something: X_Forwarded_Host, Content_Length. None of those reach an origin.

    >>> from samovar.edge.rules.fields import is_disguised
    >>> is_disguised(b"x_forwarded_host"), is_disguised(b"x-forwarded-host"), is_disguised(b"x_api_key")
    (True, False, False)
    """
    return _ODD.search(name) is not None and _ODD.sub(b"-", name) in _TAKEN


def values(headers: Headers, name: bytes) -> list[bytes]:
    """Every value of one field, in order."""
    return [value for key, value in headers if key == name]


def first(headers: Headers, name: bytes) -> bytes | None:
    """The value of the first line of a field, or None where there is none."""
    for key, value in headers:
        if key == name:
            return value
    return None


def combined(headers: Headers, name: bytes) -> bytes | None:
    """The lines of one field joined as RFC 9110 section 5.3 joins them, or None where there is none."""
    found = values(headers, name)
    return b", ".join(found) if found else None


def members(value: bytes) -> list[bytes]:
    """The members of a list of tokens, without whitespace and without empty ones; quotes mean nothing here.

    >>> from samovar.edge.rules.fields import members
    >>> members(b"a,, b ,")
    [b'a', b'b']
    """
    return [member for part in value.split(b",") if (member := part.strip(b" \t"))]


def is_token(value: bytes) -> bool:
    """Whether these bytes are one token (RFC 9110 section 5.6.2)."""
    return TOKEN.fullmatch(value) is not None


def listed_in_connection(headers: Headers) -> frozenset[bytes]:
    """What the Connection fields list, in lower case, without what they must not list."""
    lines = values(headers, b"connection")
    if not lines:
        return frozenset()
    return frozenset(member.lower() for line in lines for member in members(line)) - END_TO_END


def end_to_end(headers: Headers, without: Iterable[bytes] = ()) -> Iterator[tuple[bytes, bytes]]:
    """The fields that are for the one at the other end: no hop-by-hop ones, none listed in Connection.

    without: further names, in lower case, to leave out.
    """
    dropped = HOP_BY_HOP.union(listed_in_connection(headers), without)
    return (field for field in headers if field[0] not in dropped)
