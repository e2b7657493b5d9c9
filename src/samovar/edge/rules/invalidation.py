"""What a request that changes something makes stale elsewhere (RFC 9111 section 4.4)."""

import re

from .fields import Headers, first
from .keys import cache_key

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # every other method, the unknown ones too, may change something
_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def reference_key(key: bytes, reference: bytes) -> bytes | None:
    """The key of a URI reference beside a key, when it has the same origin, or None.

    Dot segments of a relative path are resolved (RFC 3986 section 5.2), those of a key never are.

    >>> from samovar.edge.rules.invalidation import reference_key
    >>> reference_key(b"http://h/a/b?c", b"../d"), reference_key(b"http://h/a", b"http://other/")
    (b'http://h/d', None)
    """
    scheme, _, rest = key.partition(b"\n")[0].partition(b"://")
    authority, _, target = rest.partition(b"/")
    path = b"/" + target.partition(b"?")[0]
    reference = reference.strip(b" \t").partition(b"#")[0]
    if _SCHEME.match(reference):
        found = cache_key(scheme, authority, reference)
    elif reference.startswith(b"//"):
        found = cache_key(scheme, authority, scheme + b":" + reference)
    elif reference.startswith(b"/"):
        found = cache_key(scheme, authority, reference)
    elif reference.startswith(b"?"):
        found = cache_key(scheme, authority, path + reference)
    elif not reference:
        found = cache_key(scheme, authority, b"/" + target)
    else:
        found = cache_key(scheme, authority, _resolved(path.rpartition(b"/")[0] + b"/", reference))
    origin = scheme + b"://" + authority + b"/"
    return found if found is not None and found.startswith(origin) else None


def _resolved(folder: bytes, reference: bytes) -> bytes:
    path, question, query = reference.partition(b"?")
    out: list[bytes] = []
    parts = (folder + path).split(b"/")[1:]
    for at, part in enumerate(parts):
        if part == b"..":
            del out[-1:]
        elif part != b".":
            out.append(part)
        if part in (b".", b"..") and at == len(parts) - 1:
            out.append(b"")
    return b"/" + b"/".join(out) + question + query


def invalidated(key: bytes, method: str, status: int, headers: Headers) -> tuple[bytes, ...]:
    """The keys that an answer makes stale: for a method that is not safe and a status that is no error, the URI asked
    for, and what Location and Content-Location name at the same origin.

    Keys with keyed request fields begin with the key returned and a line feed: a front drops these too.
    """
    if method in SAFE or not 200 <= status < 400:
        return ()
    plain = key.partition(b"\n")[0]
    out = {plain: None}
    for name in (b"location", b"content-location"):
        reference = first(headers, name)
        if reference is not None:
            other = reference_key(plain, reference)
            if other is not None:
                out[other] = None
    return tuple(out)
