"""What to do with a request, given what is stored (RFC 9111 section 4).

The common hit is decided without reading the request any further than its field names: when none of them can change
the decision, it is a lookup, a comparison of what Vary names, and an integer age.
"""

from enum import Enum
from typing import Any

from .directives import Asked, request_directives
from .entry import Entry
from .fields import Headers, combined, first
from .invalidation import SAFE
from .policy import Policy
from .ranges import Slices, parse_range
from .selection import Variants
from .validation import not_modified, range_applies


class Action(Enum):
    """What a front does with a request."""

    SERVE = "serve"  # answer from the entry
    SERVE_AND_REVALIDATE = "serve and revalidate"  # the same, and ask the origin in the background
    REVALIDATE = "revalidate"  # ask the origin whether the entry is still good
    FORWARD = "forward"  # ask the origin
    FAIL = "fail"  # answer with an error of our own


# Request fields that can change what is done with a request.
_MATTERS = frozenset({
    b"cache-control", b"pragma", b"range", b"if-range", b"if-none-match", b"if-modified-since", b"if-match",
    b"if-unmodified-since", b"content-length", b"transfer-encoding",
})
_PRECONDITIONS = frozenset({b"if-match", b"if-unmodified-since"})


class Verdict:
    """A decision about one request, handed back to the rules when the origin has answered.

    action: what to do. entry: the stored answer that it is about, or None. age: of the entry, in seconds.
    key, method, headers: of the request, as they were given.
    status: to answer with, for SERVE, SERVE_AND_REVALIDATE and FAIL. slices: of the body, for 206 (else None).
    reason: why the origin is asked, in the words of RFC 9211.
    collapse: others that ask for the same key may wait for this answer.
    may_store: the answer of the origin may be considered for storing.
    asked: the request's directives; None: none that matter.
    said: the Cache-Status member of an answer that was renewed or served in place of an error; None for a plain hit.
    """

    __slots__ = ("action", "entry", "age", "key", "method", "headers", "status", "slices", "reason", "collapse",
                 "may_store", "asked", "said")

    def __init__(self, action: Action, entry: Entry | None, age: int, key: bytes, method: str, headers: Headers,
                 status: int = 0, slices: Slices | None = None, reason: str = "", collapse: bool = False,
                 may_store: bool = True, asked: Asked | None = None, said: bytes | None = None) -> None:
        self.action = action
        self.entry = entry
        self.age = age
        self.key = key
        self.method = method
        self.headers = headers
        self.status = status
        self.slices = slices
        self.reason = reason
        self.collapse = collapse
        self.may_store = may_store
        self.asked = asked
        self.said = said

    def __repr__(self) -> str:
        return f"<Verdict {self.action.value} {self.method} {self.key!r} {self.reason or self.status}>"


_SERVE = Action.SERVE


class Hit:
    """The common hit: a fresh entry, to be served whole to a plain GET. It has those words of a Verdict that
    `answer.hit_head` needs, and is the same for every request within a second of the entry's age.

    since, until: the second. sent: the front's: what it has made of this, or None.
    """

    __slots__ = ("age", "entry", "sent", "since", "until")
    said = None

    def __init__(self, entry: Entry, age: int) -> None:
        self.entry, self.age = entry, age
        self.since = entry.born + age
        self.until = self.since + 1
        self.sent: Any = None

    @property
    def status(self) -> int:
        """To answer with."""
        return self.entry.status

    def __repr__(self) -> str:
        return f"<Hit {self.entry!r} age={self.age}>"


WATCHED = _MATTERS | {b"host"}  # for `plain_host`


def plain_host(headers: Headers) -> bytes | None:
    """The Host of a GET that asks for nothing but a representation: none of its fields can change what is done with it.
    None for every other request, and for one without exactly one Host."""
    host = None
    for name, value in headers:
        if name in WATCHED:
            if name != b"host" or host is not None:
                return None
            host = value
    return host


def plain_hit(headers: Headers, stored: Variants, now: float) -> Hit | None:
    """The common hit, or None where `on_request` must say. The caller guarantees what `plain_host` says."""
    entry = stored.only or stored.select(headers)
    if entry is None:
        return None
    hit: Hit | None = stored.hits.get(entry)
    if hit is not None and hit.since <= now < hit.until:
        return hit
    age = int(now - entry.born)
    if not 0 <= age < entry.fresh or now < entry.born:
        return None
    stored.hits[entry] = hit = Hit(entry, age)
    return hit


def on_request(policy: Policy, key: bytes | None, method: str, headers: Headers, stored: Variants | None,
               now: float) -> Verdict:
    """Decide about a request.

    key: from keys.cache_key; None: the request has no clean key and nothing is stored under it. method: as sent, upper
    case where the method is. headers: names in lower case. stored: what lies under the key, or None. now: seconds
    since 1970.
    """
    if stored is not None and method == "GET":
        for field in headers:
            if field[0] in _MATTERS:
                break
        else:
            entry = stored.select(headers)
            if entry is not None:
                age = int(now - entry.born)
                if 0 <= age < entry.fresh:
                    return Verdict(_SERVE, entry, age, entry.key, method, headers, entry.status)
    return _decide(policy, key, method, headers, stored, now)


def _decide(policy: Policy, key: bytes | None, method: str, headers: Headers, stored: Variants | None,
            now: float) -> Verdict:
    if method not in ("GET", "HEAD"):
        return Verdict(Action.FORWARD, None, 0, key or b"", method, headers, reason="method",
                       may_store=key is not None and method not in SAFE)
    if key is None or _has_body(headers):
        return Verdict(Action.FORWARD, None, 0, key or b"", method, headers, reason="bypass", may_store=False)
    asked = request_directives(combined(headers, b"cache-control"), first(headers, b"pragma"))
    if not policy.obey_client:
        asked = Asked(no_store=asked.no_store, only_if_cached=asked.only_if_cached)
    for name, _ in headers:
        if name in _PRECONDITIONS:  # only the origin can tell (RFC 9111 section 4.3.2)
            return Verdict(Action.FORWARD, None, 0, key, method, headers, reason="request", may_store=not asked.no_store,
                           asked=asked)
    entry = stored.select(headers) if stored is not None else None
    if entry is None:
        reason = "vary-miss" if stored is not None and stored.axes else "uri-miss"
        if asked.only_if_cached:
            return Verdict(Action.FAIL, None, 0, key, method, headers, status=504, reason=reason, asked=asked)
        collapse = (method == "GET" and not asked.no_store and not asked.no_cache
                    and (stored is None or now >= stored.mark) and not _is_one_of_a_kind(policy, headers))
        return Verdict(Action.FORWARD, None, 0, key, method, headers, reason=reason, collapse=collapse,
                       may_store=not asked.no_store, asked=asked)
    return _with_entry(policy, key, method, headers, entry, asked, now)


def _with_entry(policy: Policy, key: bytes, method: str, headers: Headers, entry: Entry, asked: Asked,
                now: float) -> Verdict:
    age = entry.age(now)
    fresh = age < entry.fresh
    insisted = asked.no_cache or _too_old(asked, entry, age, fresh)
    if not insisted:
        if fresh or (not entry.strict and asked.max_stale is not None and age - entry.fresh <= asked.max_stale):
            return serve(policy, _SERVE, key, method, headers, entry, asked, now)
        if age < entry.revalidate:
            return serve(policy, Action.SERVE_AND_REVALIDATE, key, method, headers, entry, asked, now)
    reason = "request" if fresh else "stale"
    if asked.only_if_cached:
        return Verdict(Action.FAIL, entry, age, key, method, headers, status=504, reason=reason, asked=asked)
    action = Action.REVALIDATE if entry.can_validate and not asked.no_store else Action.FORWARD
    collapse = method == "GET" and not asked.no_store and (
        action is Action.REVALIDATE or not _is_one_of_a_kind(policy, headers))
    return Verdict(action, entry, age, key, method, headers, reason=reason, may_store=not asked.no_store, asked=asked,
                   collapse=collapse)


def serve(policy: Policy, action: Action, key: bytes, method: str, headers: Headers, entry: Entry, asked: Asked | None,
          now: float, said: bytes | None = None) -> Verdict:
    """The verdict that answers from an entry: whole, in part, or with 304 or 416, as the request's conditions say."""
    status, slices = entry.status, None
    if not_modified(entry, combined(headers, b"if-none-match"), first(headers, b"if-modified-since"), now):
        status = 304
    elif method == "GET" and status == 200 and entry.length is not None:
        wanted = first(headers, b"range")
        if wanted is not None and range_applies(entry, first(headers, b"if-range"), now):
            slices = parse_range(combined(headers, b"range") or b"", entry.length, policy.max_ranges)
            if slices is not None:
                status = 206 if slices else 416
    return Verdict(action, entry, entry.age(now), key, method, headers, status, slices, asked=asked, said=said)


def _too_old(asked: Asked, entry: Entry, age: int, fresh: bool) -> bool:
    """Whether the client wants something newer than this (RFC 9111 sections 5.2.1.1 and 5.2.1.3).

    A reload (max-age=0) does not make anyone ask again for what is immutable while it is fresh (RFC 8246 section 2).
    """
    if asked.max_age is not None and (age > asked.max_age or asked.max_age == 0) and not (entry.immutable and fresh):
        return True
    return asked.min_fresh is not None and entry.fresh - age < asked.min_fresh


def _has_body(headers: Headers) -> bool:
    """Whether a GET or HEAD brings a body, which no key covers."""
    return any(name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" \t0"))
               for name, value in headers)


_OWN = frozenset({b"if-none-match", b"if-modified-since", b"range", b"if-range"})


def _is_one_of_a_kind(policy: Policy, headers: Headers) -> bool:
    """Whether the answer is likely to be of no use to anybody else."""
    return any(name in _OWN or (policy.shared and name == b"authorization") for name, _ in headers)
