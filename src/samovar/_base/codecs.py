"""Values as bytes, and back, safely: plain data only, and no byte of input ever names code to run.

A value is one tag byte and what the tag says follows. `size` is a length in groups of 7 bits, lowest first, the high
bit saying that more follow (LEB128); numbers are little-endian.

    00 None   01 False   02 True
    03 int         size, two's complement        0b dict       size, then key, value, key, value ...
    04 float       8 bytes                       0c set        size, then the members
    05 str         size, UTF-8 (lone surrogates  0d frozenset  size, then the members
                   pass)                         0e date       4 bytes: the proleptic ordinal
    06 bytes       size, the bytes               0f time       8 bytes: microseconds * 2 + fold, then zone
    07 bytearray   size, the bytes               10 datetime   12 bytes: ordinal, microseconds * 2 + fold, then zone
    08 Decimal     size, ASCII                   11 timedelta  int value of microseconds
    09 tuple       size, then the members        12 UUID       16 bytes
    0a list        size, then the members        80..bf int 0 to 63       c0..ff str of 0 to 63 bytes

A zone is None, or the tuple of arguments of a datetime.timezone. Exact types only: a subclass (an enum, a named tuple)
would come back as something else, so it is refused. The same object twice comes back as two equal ones.

The one rule: a length that was read is believed only as far as bytes are left, so that what decoding allocates is in
proportion to the input, whatever the input claims.
"""

import datetime
import decimal
import struct
import uuid
from collections.abc import Callable, Sized
from typing import Any

MAX_DEPTH = 100  # containers in containers; also what ends a value that contains itself

_DAY_US = 86_400_000_000
_FLOAT = struct.Struct("<d")
_DATE = struct.Struct("<I")
_TIME = struct.Struct("<Q")
_DATETIME = struct.Struct("<IQ")
_MALFORMED = decimal.Context(traps=[decimal.InvalidOperation])  # the caller's own context may turn damage into NaN
_DAMAGE = (ValueError, TypeError, IndexError, OverflowError, ArithmeticError, struct.error)


class Unsupported(TypeError):
    """A value has a type that is not plain data, or lies deeper than MAX_DEPTH containers."""


# ------------------------------------------------------------------ to bytes

def encode(value: object) -> bytes:
    """The bytes of a plain value. Raises Unsupported, naming the type, for any other.

    >>> from samovar._base.codecs import decode, encode
    >>> decode(encode({"id": 7, "seen": (1.5, None)}))
    {'id': 7, 'seen': (1.5, None)}
    """
    out = bytearray()
    encode_into(out, value)
    return bytes(out)


def encode_into(out: bytearray, value: object, depth: int = MAX_DEPTH) -> None:
    """Append the bytes of a value. When this raises, `out` may end in a part of them: the caller cuts it off."""
    write = _WRITERS.get(type(value))
    if write is None:
        kind = type(value)
        raise Unsupported(f"{kind.__module__}.{kind.__qualname__} is not plain data")
    write(out, value, depth)


def _write_size(out: bytearray, size: int) -> None:
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)


def _write_int(out: bytearray, value: int, depth: int) -> None:
    if 0 <= value < 64:
        out.append(0x80 | value)
        return
    out.append(0x03)
    _write_bytes(out, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _write_bytes(out: bytearray, text: bytes) -> None:
    _write_size(out, len(text))
    out += text


def _write_float(out: bytearray, value: float, depth: int) -> None:
    out.append(0x04)
    out += _FLOAT.pack(value)


def _write_str(out: bytearray, value: str, depth: int) -> None:
    text = value.encode("utf-8", "surrogatepass")
    if len(text) < 64:
        out.append(0xC0 | len(text))
        out += text
    else:
        out.append(0x05)
        _write_bytes(out, text)


def _constant(tag: int) -> Callable[[bytearray, Any, int], None]:
    return lambda out, value, depth: out.append(tag)


def _text(tag: int, text_of: Callable[[Any], bytes]) -> Callable[[bytearray, Any, int], None]:
    def write(out: bytearray, value: Any, depth: int) -> None:
        out.append(tag)
        _write_bytes(out, text_of(value))

    return write


def _members(tag: int) -> Callable[[bytearray, Any, int], None]:
    def write(out: bytearray, value: Any, depth: int) -> None:
        members = tuple(value)  # another thread may add to it meanwhile: the size must be that of what follows
        out.append(tag)
        _write_size(out, len(members))
        below = _deeper(depth)
        for member in members:
            encode_into(out, member, below)

    return write


def _write_dict(out: bytearray, value: dict[object, object], depth: int) -> None:
    items = list(value.items())
    out.append(0x0B)
    _write_size(out, len(items))
    below = _deeper(depth)
    for key, member in items:
        encode_into(out, key, below)
        encode_into(out, member, below)


def _deeper(depth: int) -> int:
    if depth <= 0:
        raise Unsupported(f"a value nested deeper than {MAX_DEPTH} containers, or that contains itself, is not plain data")
    return depth - 1


def _write_date(out: bytearray, value: datetime.date, depth: int) -> None:
    out.append(0x0E)
    out += _DATE.pack(value.toordinal())


def _write_time(out: bytearray, value: datetime.time, depth: int) -> None:
    out.append(0x0F)
    out += _TIME.pack(_microseconds(value) * 2 + value.fold)
    _write_zone(out, value.tzinfo)


def _write_datetime(out: bytearray, value: datetime.datetime, depth: int) -> None:
    out.append(0x10)
    out += _DATETIME.pack(value.toordinal(), _microseconds(value) * 2 + value.fold)
    _write_zone(out, value.tzinfo)


def _microseconds(value: datetime.time | datetime.datetime) -> int:
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond


def _write_zone(out: bytearray, zone: datetime.tzinfo | None) -> None:
    if zone is None:
        out.append(0x00)
    elif type(zone) is datetime.timezone:
        arguments: tuple[Any, ...] = zone.__getinitargs__()  # type: ignore[attr-defined]  # (offset,) or (offset, name)
        encode_into(out, arguments)
    else:
        kind = type(zone)
        raise Unsupported(f"a time in a {kind.__module__}.{kind.__qualname__} is not plain data (in UTC it would be)")


def _write_timedelta(out: bytearray, value: datetime.timedelta, depth: int) -> None:
    out.append(0x11)
    _write_int(out, (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds, depth)


def _write_uuid(out: bytearray, value: uuid.UUID, depth: int) -> None:
    out.append(0x12)
    out += value.bytes


def _write_bool(out: bytearray, value: bool, depth: int) -> None:
    out.append(0x02 if value else 0x01)


_WRITERS: dict[type, Callable[[bytearray, Any, int], None]] = {
    type(None): _constant(0x00),
    bool: _write_bool,
    int: _write_int,
    float: _write_float,
    str: _write_str,
    bytes: _text(0x06, bytes),
    bytearray: _text(0x07, bytes),
    decimal.Decimal: _text(0x08, lambda value: str(value).encode("ascii")),
    tuple: _members(0x09),
    list: _members(0x0A),
    dict: _write_dict,
    set: _members(0x0C),
    frozenset: _members(0x0D),
    datetime.date: _write_date,
    datetime.time: _write_time,
    datetime.datetime: _write_datetime,
    datetime.timedelta: _write_timedelta,
    uuid.UUID: _write_uuid,
}


# ------------------------------------------------------------------ from bytes

def decode(payload: bytes) -> object:
    """The value whose bytes these are. Raises ValueError for all other bytes, those of `encode` and more included."""
    reader = Reader(payload)
    value = reader.value()
    if reader.at != len(payload):
        raise ValueError(f"damaged: the value ends at byte {reader.at} of {len(payload)}")
    return value


class Reader:
    """Reads values one after the other. `at` is the place of the next byte; after an error it means nothing."""

    __slots__ = ("at", "payload")

    def __init__(self, payload: bytes, at: int = 0) -> None:
        self.payload = payload
        self.at = at

    def value(self) -> object:
        """The next value; ValueError when the bytes are damaged or end too early."""
        start = self.at
        try:
            return self._value(MAX_DEPTH)
        except _DAMAGE as error:
            raise ValueError(f"damaged: no value can be read at byte {start} ({error})") from None

    def _value(self, depth: int) -> Any:
        tag = self.payload[self.at]
        self.at += 1
        if tag >= 0xC0:
            return str(self._take(tag & 0x3F), "utf-8", "surrogatepass")
        if tag >= 0x80:
            return tag & 0x3F
        return _READERS[tag](self, depth)

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.payload):
            raise ValueError("more bytes are promised than follow")
        taken = self.payload[self.at:end]
        self.at = end
        return taken

    def _size(self) -> int:
        """A length; one that is not followed by at least as many bytes is refused before anything is made of it."""
        size = shift = 0
        while True:
            byte = self.payload[self.at]
            self.at += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise ValueError("a length of more than 63 bits")
        if size > len(self.payload) - self.at:
            raise ValueError("more is promised than follows")
        return size

    def _text(self) -> bytes:
        return self._take(self._size())

    def _members(self, depth: int) -> list[Any]:
        if depth <= 0:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        return [self._value(depth - 1) for _ in range(self._size())]

    def _int(self, depth: int) -> int:
        return int.from_bytes(self._text(), "little", signed=True)

    def _float(self, depth: int) -> float:
        number: float
        (number,) = _FLOAT.unpack(self._take(8))
        return number

    def _dict(self, depth: int) -> dict[Any, Any]:
        if depth <= 0:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        size = self._size()
        found: dict[Any, Any] = {}
        for _ in range(size):
            key = self._value(depth - 1)
            found[key] = self._value(depth - 1)
        _check_all_different(found, size)
        return found

    def _set(self, depth: int) -> set[Any]:
        members = self._members(depth)
        found = set(members)
        _check_all_different(found, len(members))
        return found

    def _frozenset(self, depth: int) -> frozenset[Any]:
        members = self._members(depth)
        found = frozenset(members)
        _check_all_different(found, len(members))
        return found

    def _date(self, depth: int) -> datetime.date:
        return datetime.date.fromordinal(*_DATE.unpack(self._take(4)))

    def _time(self, depth: int) -> datetime.time:
        (moment,) = _TIME.unpack(self._take(8))
        return _time_of_day(moment, self._zone())

    def _datetime(self, depth: int) -> datetime.datetime:
        ordinal, moment = _DATETIME.unpack(self._take(12))
        return datetime.datetime.combine(datetime.date.fromordinal(ordinal), _time_of_day(moment, self._zone()))

    def _zone(self) -> datetime.timezone | None:
        arguments = self._value(2)
        return None if arguments is None else datetime.timezone(*arguments)

    def _timedelta(self, depth: int) -> datetime.timedelta:
        number = self._value(0)
        if type(number) is not int:
            raise ValueError("a timedelta is a number of microseconds")
        return datetime.timedelta(microseconds=number)


def _check_all_different(found: Sized, size: int) -> None:
    if len(found) != size:
        raise ValueError("a key or member is there twice")


def _time_of_day(moment: int, zone: datetime.timezone | None) -> datetime.time:
    count, fold = divmod(moment, 2)
    if count >= _DAY_US:
        raise ValueError("a time past midnight")
    rest, microsecond = divmod(count, 1_000_000)
    rest, second = divmod(rest, 60)
    hour, minute = divmod(rest, 60)
    return datetime.time(hour, minute, second, microsecond, zone, fold=fold)


_READERS: list[Callable[[Reader, int], Any]] = [
    lambda reader, depth: None,
    lambda reader, depth: False,
    lambda reader, depth: True,
    Reader._int,
    Reader._float,
    lambda reader, depth: str(reader._text(), "utf-8", "surrogatepass"),
    lambda reader, depth: reader._text(),
    lambda reader, depth: bytearray(reader._text()),
    lambda reader, depth: decimal.Decimal(str(reader._text(), "ascii"), _MALFORMED),
    lambda reader, depth: tuple(reader._members(depth)),
    Reader._members,
    Reader._dict,
    Reader._set,
    Reader._frozenset,
    Reader._date,
    Reader._time,
    Reader._datetime,
    Reader._timedelta,
    lambda reader, depth: uuid.UUID(bytes=reader._take(16)),
]
