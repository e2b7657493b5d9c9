"""How long an answer is good, and how old it is (RFC 9111 section 4.2).

Ages and lifetimes are counted from `born`, the moment at which the answer's age was 0 by the most careful reckoning; an
age is then one subtraction. All numbers are bounded by MAX_DELTA, so that 10**30 seconds and 2**31 are the same.
"""

from dataclasses import dataclass
from typing import NamedTuple

from .dates import parse_date
from .directives import MAX_DELTA, Directives, parse_delta
from .fields import Headers, first, members, values
from .policy import Policy

# Heuristically cacheable by default (RFC 9110 section 15.1), without 206, which is never stored here.
HEURISTIC = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
NEGATIVE = frozenset({404, 410})


@dataclass(slots=True, frozen=True)
class Lifetime:
    """Seconds of age up to which an answer may be served in each manner; `explicit`: the origin named a lifetime.

    fresh: it is fresh below this age.
    revalidate: it may be served while it is revalidated (RFC 5861 section 3).
    error: it may be served in place of an error (RFC 5861 section 4), or to a client while the origin is out of reach.
    strict: nothing stale may be served, whatever a client accepts.
    """

    fresh: int
    revalidate: int
    error: int
    explicit: bool
    strict: bool


def age_value(headers: Headers) -> int:
    """What Age says: the first member of the first line, digits only, or 0 (RFC 9111 section 5.1).

    >>> from samovar.edge.rules.freshness import age_value
    >>> age_value([(b"age", b"7, 9")]), age_value([(b"age", b"7.0")])
    (7, 0)
    """
    line = first(headers, b"age")
    if line is None:
        return 0
    found = members(line[:64])
    return (parse_delta(found[0]) or 0) if found else 0


def date_value(headers: Headers, received: float) -> int:
    """The moment of origination: what Date says, or the moment of receipt where that is no date."""
    line = first(headers, b"date")
    said = parse_date(line, received) if line is not None else None
    return int(received) if said is None else said


class Arrival(NamedTuple):
    """When an answer came: asked_at and received by a clock that never runs back; clock: what the machine's said at
    received, which is what a Date is compared with."""

    asked_at: float
    received: float
    clock: float


def born_at(headers: Headers, came: Arrival) -> float:
    """The moment at which the age of an answer was 0 (corrected_initial_age, RFC 9111 section 4.2.3)."""
    apparent = max(0.0, came.clock - date_value(headers, came.clock))
    corrected = age_value(headers) + max(0.0, came.received - came.asked_at)
    return came.received - min(max(apparent, corrected), float(MAX_DELTA))


def has_explicit(headers: Headers, said: Directives, shared: bool) -> bool:
    """Whether the origin named a lifetime (RFC 9111 section 3, fifth condition, without its heuristics)."""
    if said.max_age is not None or (shared and said.s_maxage is not None):
        return True
    return not said.targeted and first(headers, b"expires") is not None


def _explicit(headers: Headers, said: Directives, received: float, shared: bool) -> int | None:
    if shared and said.s_maxage is not None:
        return said.s_maxage
    if said.max_age is not None:
        return said.max_age
    if said.targeted:
        return None
    lines = values(headers, b"expires")
    if not lines:
        return None
    until = parse_date(lines[0], received) if len(set(lines)) == 1 else None
    return 0 if until is None else min(max(until - date_value(headers, received), 0), MAX_DELTA)


def _heuristic(policy: Policy, status: int, headers: Headers, said: Directives, received: float) -> int:
    if status not in HEURISTIC and not said.public:
        return 0
    if not said.said and b"no-cache" in map(bytes.lower, members(first(headers, b"pragma") or b"")):
        return 0  # HTTP/1.0's way to ask for none of this
    fresh = policy.fresh
    own = fresh.negative_ttl if status in NEGATIVE and fresh.negative_ttl is not None else fresh.ttl
    if own is not None:
        return int(min(own, MAX_DELTA))
    lines = values(headers, b"last-modified")
    changed = parse_date(lines[0], received) if lines else None
    if changed is None:
        return 0
    return min(int(max(0, date_value(headers, received) - changed) * policy.heuristic_share), policy.heuristic_cap)


def lifetime(policy: Policy, status: int, headers: Headers, said: Directives, received: float) -> Lifetime:
    """Up to which age an answer may be served, and how (RFC 9111 sections 4.2.1, 4.2.2 and 4.2.4; RFC 5861)."""
    explicit = _explicit(headers, said, received, policy.shared)
    fresh = explicit if explicit is not None else _heuristic(policy, status, headers, said, received)
    strict = said.must_revalidate or said.no_cache or (
        policy.shared and (said.proxy_revalidate or said.s_maxage is not None))
    if said.no_cache:
        fresh = 0
    if strict:
        return Lifetime(fresh, fresh, fresh, explicit is not None, True)
    own = policy.fresh
    grace = said.stale_while_revalidate
    mend = said.stale_if_error
    revalidate = fresh + int(min(own.stale_while_revalidate, MAX_DELTA) if grace is None else grace)
    error = fresh + int(max(min(own.stale_if_error, MAX_DELTA), policy.disconnected) if mend is None else mend)
    return Lifetime(fresh, min(revalidate, MAX_DELTA), min(max(error, revalidate), MAX_DELTA), explicit is not None, False)
