"""Byte ranges (RFC 9110 section 14), served from complete answers only.

One range is sent as it is, several as multipart/byteranges. Many ranges, or ranges that lie over each other, are how
a small request is made to cost a lot: they are refused with 416, never multiplied (section 17.15).
"""

import re
from hashlib import blake2b

_UNIT = re.compile(rb"[ \t]*+bytes=", re.IGNORECASE)
_SPEC = re.compile(rb"(?:([0-9]{1,19})-([0-9]{1,19})?+|-([0-9]{1,19}))")
_LONGEST = 4_096

Slices = tuple[tuple[int, int], ...]


def parse_range(value: bytes, length: int, most: int) -> Slices | None:
    """The slices (start, stop) of a body of `length` bytes that a Range field asks for.

    None: the field does not count (another unit, or not well formed), so the whole is sent. Empty: it cannot be
    satisfied, asks for more than `most` ranges, or more than two of them overlap: 416. Two that overlap or touch are
    sent as one (section 15.3.7.2).

    >>> from samovar.edge.rules.ranges import parse_range
    >>> parse_range(b"bytes=0-4", 10, 8), parse_range(b"bytes=-3", 10, 8), parse_range(b"bytes=10-", 10, 8)
    (((0, 5),), ((7, 10),), ())
    """
    found = _UNIT.match(value)
    if found is None:
        return None
    if len(value) > _LONGEST or value.count(b",") >= 2 * most:
        return ()
    slices: list[tuple[int, int]] = []
    specs = 0
    for part in value[found.end():].split(b","):
        part = part.strip(b" \t")
        if not part:
            continue
        spec = _SPEC.fullmatch(part)
        if spec is None:
            return None
        specs += 1
        start, last, suffix = spec.groups()
        if suffix is not None:
            span = (max(length - int(suffix), 0), length)
        else:
            if last is not None and int(last) < int(start):
                return None
            span = (int(start), length if last is None else min(int(last) + 1, length))
        if span[0] < span[1]:
            slices.append(span)
    if not specs:
        return None
    return _merged(slices) if specs <= most else ()


def _merged(slices: list[tuple[int, int]]) -> Slices:
    """In the order asked for, those that overlap or touch made one; none where three share a byte's neighbourhood."""
    if len(slices) < 2:
        return tuple(slices)
    place = {span: at for at, span in reversed(list(enumerate(slices)))}
    out: list[tuple[int, int, int, int]] = []  # start, stop, how many, where it was asked for
    for start, stop in sorted(slices):
        if out and start <= out[-1][1]:
            before = out[-1]
            out[-1] = (before[0], max(before[1], stop), before[2] + 1, min(before[3], place[start, stop]))
        else:
            out.append((start, stop, 1, place[start, stop]))
    if any(many > 2 for _, _, many, _ in out):
        return ()
    return tuple((start, stop) for start, stop, _, _ in sorted(out, key=lambda span: span[3]))


def content_range(span: tuple[int, int] | None, length: int) -> bytes:
    """The value of Content-Range for a slice, or for a 416 where there is none."""
    return b"bytes */%d" % length if span is None else b"bytes %d-%d/%d" % (span[0], span[1] - 1, length)


def multipart(slices: Slices, length: int, content_type: bytes | None, seed: bytes) -> tuple[bytes, list[bytes], int]:
    """How several slices are sent: (Content-Type, what stands before each slice and after the last, length of all).

    seed: makes the boundary; what a client cannot know beforehand.
    """
    boundary = blake2b(seed + repr(slices).encode(), digest_size=16).hexdigest().encode()
    about = b"" if content_type is None else b"Content-Type: " + content_type + b"\r\n"
    between = [b"%b--%b\r\n%bContent-Range: %b\r\n\r\n" % (b"\r\n" if at else b"", boundary, about,
                                                           content_range(span, length))
               for at, span in enumerate(slices)]
    between.append(b"\r\n--" + boundary + b"--\r\n")
    total = sum(map(len, between)) + sum(stop - start for start, stop in slices)
    return b"multipart/byteranges; boundary=" + boundary, between, total
