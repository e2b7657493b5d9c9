"""May this answer be stored? (RFC 9111 section 3.)

The answer is a reason, a short word that also goes into Cache-Status, or None where nothing forbids storing. Every
condition is asked of the answer as it was received, before any field is taken away.
"""

from .directives import Directives
from .fields import Headers, first, is_token, members, values
from .freshness import HEURISTIC, Lifetime, has_explicit
from .policy import Policy

# Final status codes whose meaning for a cache we know (RFC 9110 section 15, RFC 6585, 7538, 7725, 8297, 8470, 4918).
UNDERSTOOD = frozenset({
    200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308, *range(400, 418), 421, 422, 423, 424, 425, 426,
    428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
})

# They speak of one request, of its fields, its moment or its body, whatever lifetime they claim: kept, they would be an
# error for everybody. RFC 6585 forbids to store 428, 429, 431 and 511.
ABOUT_THE_REQUEST = frozenset({407, 408, 411, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431, 511})

NOT_STORED_FIELDS = frozenset({b"age", b"content-length"})  # reckoned anew each time
MOST_NAMES = 16  # of request fields that one answer may vary by


def vary_names(headers: Headers) -> tuple[bytes, ...] | None:
    """The request fields that chose this answer, sorted, each once; None where no other request can be like it.

    None for every form of `*`, for a member that is no field name (what cannot be read cannot be compared), and for
    more than MOST_NAMES (RFC 9111 section 4.1).

    >>> from samovar.edge.rules.storable import vary_names
    >>> vary_names([(b"vary", b"Foo, bar"), (b"vary", b"FOO")]), vary_names([(b"vary", b", *")])
    ((b'bar', b'foo'), None)
    """
    names: set[bytes] = set()
    for line in values(headers, b"vary"):
        names.update(member.lower() for member in members(line))
    if b"*" in names or len(names) > MOST_NAMES or not all(map(is_token, names)):
        return None
    return tuple(sorted(names))


def refuse(policy: Policy, method: str, authorized: bool, status: int, headers: Headers, said: Directives,
           life: Lifetime, own_location: bool = False) -> str | None:
    """Why an answer may not be stored, or None where it may.

    method: of the request; authorized: it had an Authorization field.
    own_location: its Content-Location is the URI that was asked for, which lets the answer to a POST be stored (RFC
        9110 section 9.3.3).
    """
    shared = policy.shared
    explicit = has_explicit(headers, said, shared)
    if method != "GET" and not (method == "POST" and own_location and explicit and 200 <= status < 300):
        return "method"
    if not 200 <= status <= 999 or status in (206, 304) or status in ABOUT_THE_REQUEST or (
            said.must_understand and status not in UNDERSTOOD):
        return "status"
    if said.no_store and not said.must_understand:
        return "no-store"
    if shared and said.private:
        return "private"
    if shared and authorized and not (said.public or said.must_revalidate or said.s_maxage is not None):
        return "authorization"
    if vary_names(headers) is None:
        return "vary"
    taken = said.no_cache_fields | (said.private_fields if shared else frozenset())
    if b"set-cookie" not in taken and first(headers, b"set-cookie") is not None and (
            policy.set_cookie == "bypass" or not explicit):
        return "set-cookie"
    if not (explicit or said.public or status in HEURISTIC or (said.private and not shared)):
        return "lifetime"
    if life.fresh <= 0 and life.revalidate <= 0 and not _has_validator(headers):
        return "lifetime"  # it could never be used without asking for the whole of it again
    return None


def _has_validator(headers: Headers) -> bool:
    return any(name in (b"etag", b"last-modified") for name, _ in headers)
