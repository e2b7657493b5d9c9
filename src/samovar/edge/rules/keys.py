"""The primary cache key: scheme, authority and the raw target, byte for byte (RFC 9111 section 2).

Nothing is decoded, no dot segment is removed, no query is sorted: two targets that an origin could tell apart are two
keys, so that no reading of ours can differ from the origin's. Only what has one meaning by RFC 3986 is folded: the case
of scheme and host, and the default port. A request that has no clean key is not cached, and a proxy refuses it.
"""

import re

from .fields import Headers, values

_AUTHORITY = re.compile(rb"(?:[a-z0-9._~!$&'()*+,;=%-]+|\[[0-9a-f:.]+\])(?::[0-9]{0,5})?", re.IGNORECASE)
_TARGET = re.compile(rb"/[!$-~]*|/[!-\"$-~\x80-\xff]*")  # no control, no space, no fragment
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_PORTS = {b"http": b":80", b"https": b":443"}


def cache_key(scheme: bytes, authority: bytes, target: bytes, headers: Headers = (),
              keyed: tuple[bytes, ...] = ()) -> bytes | None:
    """The key that answers for this URI are stored under, or None for a request that must not be cached.

    authority: the Host field, or what an absolute target says.
    target: as it stood in the request line: path and query, or an absolute http URI, which then wins over `authority`
        (RFC 9112 section 3.2.2).
    keyed: request fields that are part of the key (Policy.keyed), their values taken from `headers`.

    >>> from samovar.edge.rules.keys import cache_key
    >>> cache_key(b"http", b"Example.com:80", b"/a%2Fb/../c?x")
    b'http://example.com/a%2Fb/../c?x'
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is not None:
        scheme, authority, target = found.group(1), found.group(2), found.group(3) or b"/"
        if target[:1] == b"?":
            target = b"/" + target
    scheme = scheme.lower()
    if scheme not in _PORTS or _AUTHORITY.fullmatch(authority) is None or _TARGET.fullmatch(target) is None:
        return None
    host = authority.lower().removesuffix(_PORTS[scheme])
    key = scheme + b"://" + host.removesuffix(b":") + target
    for name in keyed:
        for value in values(headers, name):
            key += b"\n" + name + b":" + value
    return key


def host_of(headers: Headers) -> bytes | None:
    """The value of Host, or None where there is none or more than one: then the request is bad (RFC 9112 section 3.2)."""
    found = values(headers, b"host")
    return found[0].strip(b" \t") if len(found) == 1 else None
