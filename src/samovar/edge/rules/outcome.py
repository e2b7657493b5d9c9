"""What to do with an origin's answer, or its silence (RFC 9111 sections 3, 3.2, 4.2.4, 4.3.3 to 4.4; RFC 5861)."""

from dataclasses import dataclass
from enum import Enum

from .dates import format_date
from .directives import Directives, response_directives
from .entry import Entry, declared_length, make_entry
from .fields import Fields, Headers, combined, end_to_end, first, is_disguised
from .freshness import Arrival, lifetime
from .invalidation import SAFE, invalidated, reference_key
from .policy import Policy
from .selection import secondary
from .statusfield import forwarded
from .storable import refuse, vary_names
from .tags import read_tags
from .targeted import targeted_directives
from .validation import confirms, head_confirms, not_modified, updated_fields, validators
from .verdict import Action, Verdict, serve

_FAILURES = frozenset({500, 502, 503, 504})  # what RFC 5861 section 4 counts as an error
_GONE = frozenset({404, 410})


class Result(Enum):
    """What a front does with an origin's answer."""

    PASS = "pass"  # send it on
    STORE = "store"  # send it on, and keep the entry when the body has come whole
    SERVE = "serve"  # leave the answer aside and answer by `verdict`, from an entry
    RETRY = "retry"  # leave the answer aside and ask again by `verdict`, once
    FAIL = "fail"  # answer with an error of our own: `status`


@dataclass(slots=True)
class Outcome:
    """A decision about an origin's answer.

    result: what to do. verdict: for SERVE and RETRY.
    status, headers: what to send on, for PASS and STORE; status is 304 where the client's own condition says so, and
        then no body is sent; for FAIL the status.
    entry: to put under its key: for STORE when its body is complete, for SERVE (renewed) at once; else None.
    replaces: the entry that is no longer good, to take out unless `entry` takes its place; else None.
    invalidate: keys of which everything is to be taken out.
    mark: seconds for which requests for the key are not to wait for each other; 0: no change.
    why: why it is not stored; None where it is.
    once: Set-Cookie of a 304, to send with this one answer and to keep nowhere: none had been stored that it replaces.
    """

    result: Result
    status: int = 0
    headers: Fields = ()
    verdict: Verdict | None = None
    entry: Entry | None = None
    replaces: Entry | None = None
    invalidate: tuple[bytes, ...] = ()
    mark: int = 0
    why: str | None = None
    once: Fields = ()


def origin_headers(policy: Policy, verdict: Verdict) -> Fields:
    """The fields to ask the origin with: end-to-end ones, without those that could rewrite the URI unkeyed; for a
    revalidation the entry's validators in place of the client's conditions; Accept-Encoding as it is compared."""
    without = policy.stripped
    ours: Fields = ()
    if verdict.entry is not None and verdict.action in (Action.REVALIDATE, Action.SERVE_AND_REVALIDATE):
        without |= {b"if-none-match", b"if-modified-since", b"range", b"if-range"}
        ours = validators(verdict.entry)
    fields = tuple(one for one in end_to_end(verdict.headers, without)
                   if not is_disguised(one[0]) or one[0] in policy.keyed)
    encodings = [value for name, value in fields if name == b"accept-encoding"]
    if encodings:
        (normal,) = secondary((b"accept-encoding",), fields)
        fields = (*(one for one in fields if one[0] != b"accept-encoding"), (b"accept-encoding", normal or b""))
    return fields + ours


def on_response(policy: Policy, verdict: Verdict, status: int, reason: bytes, headers: Headers, *, asked_at: float,
                received: float, clock: float | None = None) -> Outcome:
    """Decide about an answer, once its fields are there and before its body is sent on.

    status, reason, headers: of the final answer, names in lower case. asked_at, received: when the request was sent
    and the fields came, in seconds since 1970. clock: what the clock says then, by which origins write dates, where it is
    not `received`: because it was set back, and `received` never runs back.
    """
    came = Arrival(asked_at, received, received if clock is None else clock)
    if verdict.method not in ("GET", "HEAD"):
        return _changed(policy, verdict, status, reason, headers, came)
    if status == 304:
        return _confirmed(policy, verdict, headers, came)
    entry = verdict.entry
    if status in _FAILURES and entry is not None and _may_stand_in(entry, verdict, received):
        return _stand_in(policy, verdict, received, status)
    if verdict.method == "HEAD":
        return _headed(policy, verdict, status, headers, came)
    return _received(policy, verdict, status, reason, headers, came)


def on_failure(policy: Policy, verdict: Verdict, now: float, *, timed_out: bool = False) -> Outcome:
    """Decide when the origin could not be reached, or broke off before the fields of its answer were there."""
    entry = verdict.entry
    if entry is not None and _may_stand_in(entry, verdict, now):
        return _stand_in(policy, verdict, now, None)
    strict = entry is not None and entry.strict  # RFC 9111 section 5.2.2.2 asks for 504
    return Outcome(Result.FAIL, 504 if timed_out or strict else 502)


def directives_of(policy: Policy, headers: Headers) -> Directives:
    """The directives that count for this cache: a targeted field's, or Cache-Control's."""
    targeted = targeted_directives(headers, policy.targets) if policy.shared else None
    return response_directives(headers) if targeted is None else targeted


# ------------------------------------------------------------------ one kind of answer each

def _received(policy: Policy, verdict: Verdict, status: int, reason: bytes, headers: Headers, came: Arrival,
              own_location: bool = False) -> Outcome:
    entry, why = _entry_of(policy, verdict, status, reason, headers, came, own_location)
    headers = _with_date(headers, came.clock)
    old = verdict.entry
    if entry is None:
        outdated = old if old is not None and (200 <= status < 400 or status in _GONE) and status != 206 else None
        mark = policy.hit_for_miss if verdict.collapse else 0
        said = forwarded(policy.token, verdict.reason, detail=why)
        return Outcome(Result.PASS, status, (*end_to_end(headers), (b"cache-status", said)), replaces=outdated,
                       mark=mark, why=why)
    send, fields = status, tuple(end_to_end(headers))
    if verdict.action is Action.REVALIDATE and not_modified(
            entry, combined(verdict.headers, b"if-none-match"), first(verdict.headers, b"if-modified-since"), came.clock):
        send, fields = 304, entry.brief()
    said = forwarded(policy.token, verdict.reason, status if send != status else None, stored=True,
                     ttl=entry.fresh - entry.age(came.received))
    return Outcome(Result.STORE, send, (*fields, (b"cache-status", said)), entry=entry, replaces=old)


def _entry_of(policy: Policy, verdict: Verdict, status: int, reason: bytes, headers: Headers, came: Arrival,
              own_location: bool) -> tuple[Entry | None, str | None]:
    """What to keep of an answer, or None and why not."""
    if not verdict.may_store:
        return None, "request"
    said = directives_of(policy, headers)
    life = lifetime(policy, status, headers, said, came.clock)
    authorized = first(verdict.headers, b"authorization") is not None
    why = refuse(policy, verdict.method, authorized, status, headers, said, life, own_location)
    if why is None and first(headers, b"content-length") is not None and declared_length(headers) is None:
        why = "framing"
    vary = vary_names(headers)
    tags = read_tags(headers, policy.tag_fields, policy.max_tags)
    if why is None and tags is None:
        why = "tags"
    if why is not None or vary is None or tags is None:
        return None, why or "vary"
    return make_entry(verdict.key, status, reason, headers, said, life, vary, secondary(vary, verdict.headers), tags,
                      policy.shared, came), None


def _changed(policy: Policy, verdict: Verdict, status: int, reason: bytes, headers: Headers, came: Arrival) -> Outcome:
    """An answer to another method than GET and HEAD: it may invalidate; that to a POST may be stored for later GETs."""
    if verdict.key and verdict.method not in SAFE:
        keys = invalidated(verdict.key, verdict.method, status, headers)
        where = first(headers, b"content-location")
        plain = verdict.key.partition(b"\n")[0]
        own = verdict.method == "POST" and where is not None and reference_key(plain, where) == plain
        outcome = _received(policy, verdict, status, reason, headers, came, own)
        outcome.invalidate = keys
        return outcome
    said = forwarded(policy.token, verdict.reason)
    return Outcome(Result.PASS, status, (*end_to_end(_with_date(headers, came.clock)), (b"cache-status", said)), why="method")


def _confirmed(policy: Policy, verdict: Verdict, headers: Headers, came: Arrival) -> Outcome:
    """A 304: for us, for the client, or for nobody."""
    entry = verdict.entry
    if entry is None or verdict.action not in (Action.REVALIDATE, Action.SERVE_AND_REVALIDATE):
        if any(name in (b"if-none-match", b"if-modified-since") for name, _ in verdict.headers):
            said = forwarded(policy.token, verdict.reason)
            fields = tuple(end_to_end(_with_date(headers, came.clock)))
            return Outcome(Result.PASS, 304, (*fields, (b"cache-status", said)), why="status")
        return Outcome(Result.FAIL, 502, why="status")  # nobody asked: there is nothing that it could be about
    if not confirms(entry, headers):
        again = Verdict(Action.FORWARD, None, 0, verdict.key, verdict.method, _unconditional(verdict.headers),
                        reason=verdict.reason, may_store=verdict.may_store, asked=verdict.asked)
        return Outcome(Result.RETRY, verdict=again, replaces=entry)
    renewed, kept = _renewed(policy, verdict, entry, headers, came)
    said = forwarded(policy.token, verdict.reason, 304, stored=kept, ttl=renewed.fresh - renewed.age(came.received))
    reply = serve(policy, Action.SERVE, verdict.key, verdict.method, verdict.headers, renewed, verdict.asked,
                  came.received, said)
    once = tuple(one for one in end_to_end(headers) if one[0] == b"set-cookie" and one not in renewed.fields)
    return Outcome(Result.SERVE, verdict=reply, entry=renewed if kept else None, replaces=entry, once=once)


def _renewed(policy: Policy, verdict: Verdict, entry: Entry, headers: Headers, came: Arrival) -> tuple[Entry, bool]:
    """An entry with the fields of a 304 (or of a 200 to HEAD), and whether it may be kept."""
    fields = updated_fields(entry.fields, _with_date(headers, came.clock))
    ages = tuple(one for one in headers if one[0] == b"age")
    whole = (*fields, *ages)
    said = directives_of(policy, whole)
    life = lifetime(policy, entry.status, whole, said, came.clock)
    vary, tags = vary_names(whole), read_tags(whole, policy.tag_fields, policy.max_tags)
    authorized = first(verdict.headers, b"authorization") is not None
    kept = (verdict.may_store and vary is not None and tags is not None
            and refuse(policy, "GET", authorized, entry.status, whole, said, life) is None)
    same = vary == entry.vary or vary is None
    renewed = make_entry(entry.key, entry.status, entry.reason, whole, said, life,
                         entry.vary if same or vary is None else vary,
                         entry.varied if same or vary is None else secondary(vary, verdict.headers),
                         tags or (), policy.shared, came)
    renewed.body, renewed.length, renewed.declared = entry.body, entry.length, entry.declared
    return renewed, kept


def _headed(policy: Policy, verdict: Verdict, status: int, headers: Headers, came: Arrival) -> Outcome:
    """An answer to HEAD: never stored; a 200 renews the stored answer that it describes, or tells that it is old."""
    said = forwarded(policy.token, verdict.reason)
    fields: Fields = (*end_to_end(_with_date(headers, came.clock)), (b"cache-status", said))
    entry = verdict.entry
    if entry is None or not verdict.may_store:
        return Outcome(Result.PASS, status, fields, why="method")
    if status == entry.status == 200 and head_confirms(entry, headers):
        renewed, kept = _renewed(policy, verdict, entry, headers, came)
        return Outcome(Result.PASS, status, fields, entry=renewed if kept else None, replaces=entry, why="method")
    outdated = entry if 200 <= status < 400 or status in _GONE else None
    return Outcome(Result.PASS, status, fields, replaces=outdated, why="method")


# ------------------------------------------------------------------ in place of an error

def _may_stand_in(entry: Entry, verdict: Verdict, now: float) -> bool:
    """Whether a stored answer may be served in place of an error (RFC 9111 section 4.2.4, RFC 5861 section 4)."""
    age = entry.age(now)
    if age < entry.fresh:
        return True  # it was fresh; only this client wanted a newer one
    if entry.strict:
        return False
    asked = verdict.asked.stale_if_error if verdict.asked is not None else None
    return age < entry.error or (asked is not None and age - entry.fresh <= asked)


def _stand_in(policy: Policy, verdict: Verdict, now: float, status: int | None) -> Outcome:
    entry = verdict.entry
    assert entry is not None
    said = forwarded(policy.token, verdict.reason or "stale", status, ttl=entry.fresh - entry.age(now),
                     detail="origin-error" if status else "origin-unreachable")
    reply = serve(policy, Action.SERVE, verdict.key, verdict.method, verdict.headers, entry, verdict.asked, now, said)
    return Outcome(Result.SERVE, verdict=reply)


def _with_date(headers: Headers, received: float) -> Headers:
    """The fields with a Date: one that comes without gets the moment of its receipt (RFC 9110 section 6.6.1)."""
    if first(headers, b"date") is not None:
        return headers
    return (*headers, (b"date", format_date(received)))


def _unconditional(headers: Headers) -> Fields:
    return tuple(one for one in headers if one[0] not in (b"if-none-match", b"if-modified-since"))

