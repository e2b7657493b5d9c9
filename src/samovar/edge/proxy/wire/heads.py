"""Heads of messages: the start line and the fields (RFC 9112 sections 2 to 6), read strictly, whole and at once.

A block is everything up to the first empty line and with it. One regular expression says what it may be made of, before
anything is taken out of it; the rest are checks of what must come once, and of how the body is framed.
"""

import re
from dataclasses import dataclass

from ...rules import Headers, cache_key
from ...rules.fields import is_token, members, values

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_FIELDS = rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([!-~]++) HTTP/([0-9])\.([0-9])\r\n" + _FIELDS)
_RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n" + _FIELDS)
_BAD_BYTES = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]+)([/?][^#]*)?", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,18}")
_CODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"})
_BODILESS = frozenset({204, 304})


class BadHead(ValueError):
    """A head that is refused. status: what a server answers."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a head. head, target: bytes; fields: how many."""

    head: int = 32_768
    target: int = 8_192
    fields: int = 100


@dataclass(slots=True, eq=False)
class RequestHead:
    """What a request says of itself. Shared by all requests with the same bytes: never changed.

    target: in origin form, or `*`. headers: names in lower case; Host is what an absolute target said. length: of the
    body, None where it is chunked or there is none. old: HTTP/1.0. keep: the connection may serve another.
    expects: a 100 (Continue) before it sends its body. plain: nothing but a GET without a body on a connection that stays.
    """

    method: str
    target: bytes
    headers: Headers
    length: int | None
    chunked: bool
    old: bool
    keep: bool
    expects: bool
    plain: bool


@dataclass(slots=True, eq=False)
class ResponseHead:
    """What a response says of itself.

    length: of the body where that is known beforehand, 0 where there is none; None and not chunked: until the connection
    ends. keep: the connection may be used again. tempting: it has no body, but speaks of one that an origin may send all
    the same.
    """

    status: int
    reason: bytes
    headers: Headers
    length: int | None
    chunked: bool
    keep: bool
    tempting: bool = False


def suspicious(data: bytes, at: int = 0) -> bool:
    """Whether bytes from `at` on hold what no head may: a bare CR or LF, or a control byte. For a head that is still
    coming, so that a bad one is refused at once; a CR at the very end may yet be followed by its LF."""
    return _BAD_BYTES.search(data, max(at - 1, 0)) is not None


def read_request(block: bytes, scheme: bytes = b"http", limits: Limits = Limits()) -> RequestHead:
    """The head of a request. Raises BadHead with 400, 414, 431, 501 or 505. Linear in its length.

    scheme: of the connection; an absolute target must have the same.
    """
    found = _REQUEST.fullmatch(block)
    if found is None:
        raise BadHead("not a request")
    name, target, major, minor = found.groups()
    if major != b"1" or minor not in b"01":
        raise BadHead("not a version of HTTP/1", 505)
    if len(target) > limits.target:
        raise BadHead("a target that is too long", 414)
    fields, method, old = _fields(block, limits), name.decode(), minor == b"0"
    hosts = values(fields, b"host")
    if len(hosts) != 1:
        raise BadHead("not exactly one Host")
    if method == "CONNECT":
        raise BadHead("no tunnels here", 501)
    target, fields = _origin_form(method, target, hosts[0], fields, scheme)
    length, chunked = _framing(fields, old)
    connection = _connection(fields)
    keep = (not old or b"keep-alive" in connection) and b"close" not in connection
    expects = _expects(fields, old)
    if method == "TRACE" and (length is not None or chunked):
        raise BadHead("TRACE with a body")  # RFC 9110 section 9.3.8
    plain = method == "GET" and keep and not old and length is None and not chunked and not expects
    return RequestHead(method, target, fields, length, chunked, old, keep, expects, plain)


def read_response(block: bytes, method: str, limits: Limits = Limits()) -> ResponseHead:
    """The head of a response to `method`. Raises BadHead."""
    found = _RESPONSE.fullmatch(block)
    if found is None:
        raise BadHead("not a response", 502)
    minor, digits, reason = found.groups()
    fields, old, status = _fields(block, limits), minor == b"0", int(digits)
    length, chunked = (None, False) if _has_unknown_coding(fields, old) else _framing(fields, old)
    connection = _connection(fields)
    keep, tempting = not old and b"close" not in connection, False
    if method == "HEAD" or status in _BODILESS or status < 200:
        tempting = chunked or bool(length)
        length, chunked = 0, False
    elif length is None and not chunked:
        keep = False
    return ResponseHead(status, reason or b"", fields, length, chunked, keep, tempting)


def _fields(block: bytes, limits: Limits) -> tuple[tuple[bytes, bytes], ...]:
    lines = block.split(b"\r\n")[1:-2]
    if len(lines) > limits.fields:
        raise BadHead("too many fields", 431)
    out = []
    for line in lines:
        name, _, value = line.partition(b":")
        out.append((name.lower(), value.strip(b" \t")))
    return tuple(out)


def _framing(fields: Headers, old: bool) -> tuple[int | None, bool]:
    """How long the body is: (length, chunked). One way to say it, or none."""
    lengths, codings = values(fields, b"content-length"), values(fields, b"transfer-encoding")
    if codings:
        if lengths:
            raise BadHead("both Content-Length and Transfer-Encoding")
        if old:
            raise BadHead("Transfer-Encoding in HTTP/1.0")
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise BadHead("a transfer coding that is not chunked", 501)
        return None, True
    if not lengths:
        return None, False
    if len(lengths) != 1 or _DIGITS.fullmatch(lengths[0]) is None:
        raise BadHead("not exactly one Content-Length of digits")
    return int(lengths[0]), False


def _has_unknown_coding(fields: Headers, old: bool) -> bool:
    """Whether a response has a transfer coding that nobody knows, and nothing else that frames it: then it goes on until
    the connection ends (RFC 9112 section 6.3, rule 4). One that a reader might take for chunked is not such a one, nor
    one that is known and would have to be decoded."""
    codings = values(fields, b"transfer-encoding")
    if len(codings) != 1 or old or values(fields, b"content-length"):
        return False
    coding = codings[0].lower()
    return is_token(coding) and b"chunk" not in coding and coding not in _CODINGS


def _connection(fields: Headers) -> list[bytes]:
    return [member.lower() for value in values(fields, b"connection") for member in members(value)]


def _expects(fields: Headers, old: bool) -> bool:
    expected = values(fields, b"expect")
    if not expected or old:
        return False
    if len(expected) != 1 or expected[0].lower() != b"100-continue":
        raise BadHead("an expectation that nobody here can meet", 417)
    return True


def _origin_form(method: str, target: bytes, host: bytes, fields: tuple[tuple[bytes, bytes], ...],
                 scheme: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """The target as an origin gets it; with an absolute one the Host that came is replaced, whatever it said (RFC 9112
    section 3.2.2): it must not be a second opinion."""
    found = _ABSOLUTE.fullmatch(target)
    if found is not None:
        said, host, path = found.groups()
        if said.lower() != scheme:
            raise BadHead("a target with another scheme", 421)
        target = path or b"/"
        if target[:1] == b"?":
            target = b"/" + target
        fields = tuple((name, host if name == b"host" else value) for name, value in fields)
    star = method == "OPTIONS" and target == b"*"
    if b"," in host or cache_key(scheme, host, b"/" if star else target) is None:  # a comma: two lines joined by a proxy
        raise BadHead("not a clean Host and target")
    return target, fields
