"""Cache-Status (RFC 9211): one member on every answer, saying what this cache did with the request."""

# Why a request went to the origin (section 2.2).
REASONS = frozenset({"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"})


def hit(name: bytes, ttl: int) -> bytes:
    """For an answer from the store. ttl: seconds that it is still fresh, negative when it is stale."""
    return b"%b;hit;ttl=%d" % (name, ttl)


def forwarded(name: bytes, reason: str, status: int | None = None, *, stored: bool = False, collapsed: bool = False,
              ttl: int | None = None, detail: str | None = None) -> bytes:
    """For an answer that the origin was asked for.

    reason: one of REASONS. status: what the origin answered, where that is not what the client gets too. stored: it is
    kept. collapsed: the request waited for that of another client. detail: a token for people.
    """
    out = b"%b;fwd=%b" % (name, reason.encode())
    if status is not None:
        out += b";fwd-status=%d" % status
    if ttl is not None:
        out += b";ttl=%d" % ttl
    if stored:
        out += b";stored"
    if collapsed:
        out += b";collapsed"
    return out if detail is None else out + b";detail=" + detail.encode()
