"""What a proxy adds to the requests that it forwards, and those that it answers itself (RFC 9110 section 7.6, RFC 8586).

A request that has been here before goes round in a circle: its `Via` or `CDN-Loop` has this hop's own name in it, and it
is answered with 508. The name is one instance's own, so that edges may stand behind each other (an origin shield).
"""

from typing import NamedTuple

from ..contracts import Request
from ..rules import Fields
from ..rules.fields import TOKEN, first, members, values

MOST_HOPS = 32  # members of Via, after which a request is taken to go round in a circle with somebody
_PRIVATE = frozenset({b"authorization", b"cookie", b"proxy-authorization"})


class Own(NamedTuple):
    """An answer that no origin is asked for."""

    status: int
    reason: bytes
    headers: Fields
    body: bytes = b""
    detail: str = ""


class Hop:
    """One proxy in the chain.

    name: its pseudonym, a token, the same for all workers of one instance, and no other's.
    Raises ValueError for one that is no token.
    """

    def __init__(self, name: str) -> None:
        self._name = name.encode("utf-8", "replace")
        if TOKEN.fullmatch(self._name) is None:
            raise ValueError(f"name must be a token, such as 'samovar-1', not {name!r}")

    def refuse(self, request: Request) -> Own | None:
        """What is answered here: requests that go round in a circle, TRACE and OPTIONS that may go no further."""
        vias = [member for line in values(request.headers, b"via") for member in members(line)]
        if len(vias) > MOST_HOPS or any(self._is_own(member.split()[1:2]) for member in vias) or any(
                self._is_own([member.partition(b";")[0].strip(b" \t")])
                for line in values(request.headers, b"cdn-loop") for member in members(line)):
            return Own(508, b"Loop Detected", (), detail="loop")
        if request.method in ("OPTIONS", "TRACE") and _hops_left(request) == 0:
            return _traced(request) if request.method == "TRACE" else Own(
                200, b"OK", ((b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"),), detail="max-forwards")
        return None

    def _is_own(self, names: list[bytes]) -> bool:
        return any(name.lower() == self._name.lower() for name in names)

    def headers(self, request: Request, fields: Fields) -> Fields:
        """The fields to forward, with those of this hop."""
        ours: list[tuple[bytes, bytes]] = [(b"via", request.version + b" " + self._name), (b"cdn-loop", self._name)]
        if request.client is not None:
            before = b", ".join(values(fields, b"x-forwarded-for"))
            fields = tuple(one for one in fields if one[0] != b"x-forwarded-for")
            ours.append((b"x-forwarded-for", before + b", " + request.client if before else request.client))
        if request.method in ("OPTIONS", "TRACE") and (left := _hops_left(request)) is not None:
            fields = tuple(one for one in fields if one[0] != b"max-forwards")
            ours.append((b"max-forwards", b"%d" % max(left - 1, 0)))
        return (*fields, *ours)


def _hops_left(request: Request) -> int | None:
    """What Max-Forwards says; None where it is absent, or no number, which then does not count."""
    line = first(request.headers, b"max-forwards")
    value = b"" if line is None else line.strip(b" \t")
    return int(value[:9]) if value.isdigit() else None


def _traced(request: Request) -> Own:
    """TRACE at its end: the request as it came, without what is secret (RFC 9110 section 9.3.8)."""
    lines = [b"TRACE " + request.target + b" HTTP/" + request.version]
    lines += [name + b": " + value for name, value in request.headers if name not in _PRIVATE]
    return Own(200, b"OK", ((b"content-type", b"message/http"),), b"\r\n".join(lines) + b"\r\n\r\n", detail="max-forwards")
