"""Is it still the same? Conditional requests, and answers renewed by 304 and by HEAD.

Sources: RFC 9110 sections 8.8 (validators), 13 (conditional requests), 15.4.5 (304); RFC 9111 sections 4.3.1 (asking),
4.3.2 (being asked), 4.3.3 and 4.3.4 (freshening), 4.3.5 (HEAD), 3.2 (updating fields).
"""

import re

from .dates import parse_date
from .entry import Entry, declared_length
from .fields import Fields, Headers, end_to_end, first

_TAG = re.compile(rb'[ \t,]*+((?:W/)?+"[^"\x00-\x20\x7f]*+")[ \t]*+(?=,|$)')

# A 304, or a HEAD, says nothing about the body that we hold: what frames and codes it stays as it was stored.
BOUND_TO_BODY = frozenset({b"content-length", b"content-encoding", b"content-range", b"transfer-encoding",
                           b"content-md5", b"content-digest"})


def entity_tags(value: bytes) -> list[bytes]:
    """The entity-tags of a list, up to the first thing that is none."""
    out: list[bytes] = []
    at = 0
    while (found := _TAG.match(value, at)) is not None:
        out.append(found.group(1))
        at = found.end()
    return out


def weak_match(one: bytes, other: bytes) -> bool:
    """Weak comparison: equal when W/ is left aside (RFC 9110 section 8.8.3.2)."""
    return one.removeprefix(b"W/") == other.removeprefix(b"W/")


def strong_match(one: bytes, other: bytes) -> bool:
    """Strong comparison: equal, and neither is weak."""
    return one == other and not one.startswith(b"W/") and one[:1] == b'"'


def none_match(value: bytes, etag: bytes | None) -> bool:
    """Whether If-None-Match holds: no tag in it is that of the stored answer, by weak comparison."""
    if value.strip(b" \t") == b"*":
        return False
    if etag is None:
        return True
    if value == etag:  # also what is no entity-tag, when the origin's own is none either
        return False
    return not any(weak_match(etag, tag) for tag in entity_tags(value))


def modified_since(value: bytes, entry: Entry, now: float) -> bool:
    """Whether If-Modified-Since holds: the answer is newer than it says; where it is no date it does not count.

    Without Last-Modified the answer is as new as its Date (RFC 9111 section 4.3.2).
    """
    since = parse_date(value, now)
    if since is None:
        return True
    changed = parse_date(entry.modified, now) if entry.modified is not None else None
    return (entry.date if changed is None else changed) > since


def not_modified(entry: Entry, if_none_match: bytes | None, if_modified_since: bytes | None, now: float) -> bool:
    """Whether a conditional request for this entry is answered with 304 (RFC 9110 section 13.2.2, steps 3 and 4)."""
    if not 200 <= entry.status < 300:
        return False  # preconditions count where the answer would be a success (section 13.2.1)
    if if_none_match is not None:
        return not none_match(if_none_match, entry.etag)
    return if_modified_since is not None and not modified_since(if_modified_since, entry, now)


def range_applies(entry: Entry, if_range: bytes | None, now: float) -> bool:
    """Whether If-Range lets a Range count: the same by strong comparison (RFC 9110 section 13.1.5)."""
    if if_range is None:
        return True
    value = if_range.strip(b" \t")
    if value[:1] == b'"':
        return entry.etag is not None and strong_match(value, entry.etag)
    said = parse_date(value, now)
    if said is None or entry.modified is None or value != entry.modified:
        return False
    return entry.date - said >= 1  # only then a strong validator (section 8.8.2.2)


def validators(entry: Entry) -> Fields:
    """The fields that ask the origin whether this entry is still good (RFC 9111 section 4.3.1)."""
    out: list[tuple[bytes, bytes]] = []
    if entry.etag is not None:
        out.append((b"if-none-match", entry.etag))
    if entry.modified is not None:
        out.append((b"if-modified-since", entry.modified))
    return tuple(out)


def confirms(entry: Entry, headers: Headers) -> bool:
    """Whether a 304 is about this entry (RFC 9111 section 4.3.4): its validators, if it has any, are the entry's."""
    etag = first(headers, b"etag")
    if etag is not None:
        return entry.etag is None or weak_match(etag, entry.etag)
    changed = first(headers, b"last-modified")
    return changed is None or entry.modified is None or changed == entry.modified or entry.etag is not None


def head_confirms(entry: Entry, headers: Headers) -> bool:
    """Whether a 200 to HEAD describes this entry (RFC 9111 section 4.3.5): no validator and no length that differs."""
    etag, changed = first(headers, b"etag"), first(headers, b"last-modified")
    if etag is not None and etag != entry.etag:
        return False
    if changed is not None and changed != entry.modified:
        return False
    if first(headers, b"content-length") is None or entry.length is None:
        return True
    return declared_length(headers) == entry.length


def updated_fields(stored: Fields, headers: Headers) -> Fields:
    """Stored fields with those of a 304 in their place (RFC 9111 section 3.2), in the stored order, new ones last.

    What is bound to the body, hop-by-hop and Connection-listed fields, and Age are left out of it; and Set-Cookie, where
    none is stored.
    """
    has_cookies = first(stored, b"set-cookie") is not None
    new = list(end_to_end(headers, BOUND_TO_BODY | ({b"age"} if has_cookies else {b"age", b"set-cookie"})))
    names = {name for name, _ in new}
    out: list[tuple[bytes, bytes]] = []
    placed: set[bytes] = set()
    for name, value in stored:
        if name not in names:
            out.append((name, value))
        elif name not in placed:
            placed.add(name)
            out.extend(field for field in new if field[0] == name)
    return (*out, *(field for field in new if field[0] not in placed))
