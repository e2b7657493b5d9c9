"""What is sent for a verdict that answers from an entry (RFC 9111 section 4, RFC 9110 sections 14.4 and 15.4.5)."""

from typing import NamedTuple, TypeAlias

from .fields import Fields, first
from .policy import Policy
from .ranges import content_range, multipart
from .statusfield import forwarded, hit
from .verdict import Action, Hit, Verdict

Part: TypeAlias = bytes | tuple[int, int]  # bytes to send as they are, or a slice (start, stop) of the stored body


class Answer(NamedTuple):
    """What to send. parts: the body in order; empty for HEAD, 204, 304 and errors."""

    status: int
    reason: bytes
    headers: Fields
    parts: tuple[Part, ...]


_REASONS = {206: b"Partial Content", 304: b"Not Modified", 416: b"Range Not Satisfiable", 502: b"Bad Gateway",
            504: b"Gateway Timeout"}


def answer(policy: Policy, verdict: Verdict, *, collapsed: bool = False) -> Answer:
    """What to send for a verdict of SERVE, SERVE_AND_REVALIDATE or FAIL.

    collapsed: the entry came by the request of another, for which this one waited.
    """
    entry = verdict.entry
    if verdict.action is Action.FAIL or entry is None:
        said = forwarded(policy.token, verdict.reason or "miss", detail="only-if-cached")
        return Answer(verdict.status, _REASONS.get(verdict.status, b""),
                      ((b"content-length", b"0"), (b"cache-control", b"no-store"), (b"cache-status", said)), ())
    ours = _ours(policy, verdict, collapsed)
    status, length = verdict.status, entry.length or 0
    if status == 304:
        return Answer(304, _REASONS[304], (*entry.brief(), *ours), ())
    if status == 416:
        fields = ((b"content-range", content_range(None, length)), (b"content-length", b"0"))
        return Answer(416, _REASONS[416], (*fields, *ours), ())
    if status == 206 and verdict.slices:
        return _partial(verdict, ours)
    silent = verdict.method == "HEAD" or not length
    return Answer(entry.status, entry.reason, (*entry.fields, *ours), () if silent else ((0, length),))


def hit_head(policy: Policy, verdict: Verdict | Hit) -> bytes:
    """The head of the HTTP/1.1 message for a verdict that serves its entry whole, up to the empty line and with it.

    The caller guarantees that verdict.status is the entry's own status.
    """
    entry = verdict.entry
    assert entry is not None
    age = verdict.age
    said = verdict.said
    if said is not None:
        return b"%bage: %d\r\ncache-status: %b\r\n\r\n" % (entry.head(), age, said)
    return b"%bage: %d\r\ncache-status: %b;hit;ttl=%d\r\n\r\n" % (entry.head(), age, policy.token, entry.fresh - age)


def _ours(policy: Policy, verdict: Verdict, collapsed: bool) -> Fields:
    entry = verdict.entry
    assert entry is not None
    ttl = entry.fresh - verdict.age
    if verdict.said is not None:
        said = verdict.said
    elif collapsed:
        said = forwarded(policy.token, verdict.reason or "miss", ttl=ttl, collapsed=True)
    else:
        said = hit(policy.token, ttl)
    return ((b"age", b"%d" % verdict.age), (b"cache-status", said))


def _partial(verdict: Verdict, ours: Fields) -> Answer:
    entry, slices = verdict.entry, verdict.slices
    assert entry is not None and slices and entry.length is not None
    fields = entry.brief() if first(verdict.headers, b"if-range") is not None else entry.fields
    dropped = {b"content-length", b"content-range"} | ({b"content-type"} if len(slices) > 1 else set())
    kept = tuple(one for one in fields if one[0] not in dropped)
    if len(slices) == 1:
        ((start, stop),) = slices
        told = ((b"content-range", content_range(slices[0], entry.length)), (b"content-length", b"%d" % (stop - start)))
        return Answer(206, _REASONS[206], (*kept, *told, *ours), slices)
    seed = repr((entry.born, entry.received, entry.etag)).encode()
    kind, between, total = multipart(slices, entry.length, first(entry.fields, b"content-type"), seed)
    parts: list[Part] = []
    for text, span in zip(between, slices, strict=False):
        parts += [text, span]
    told = ((b"content-type", kind), (b"content-length", b"%d" % total))
    return Answer(206, _REASONS[206], (*kept, *told, *ours), (*parts, between[-1]))
