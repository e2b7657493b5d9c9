"""Keys from what was asked before: traces and access logs, the most asked keys first.

    keys    text, one key a line; after a tab, how often it was asked
    log     an access log in the common log format (or the combined one): the path of each URL that was answered
    u64     unsigned 64-bit keys, little-endian, one for each request
    npz     NumPy arrays, of which `key` holds the keys, one for each request

Names that end in .gz or .zst are compressed, whatever is inside. Counting needs memory for the distinct keys only.
"""

import gzip
import io
import re
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import closing
from importlib import import_module
from typing import IO, Any
from urllib.parse import urlsplit

from .._base.errors import MissingExtra
from ..app import options
from ..app.snapshot import Path, path_of

FORMS = ("keys", "log", "u64", "npz")
_CHUNK = 1 << 20
_LOG = re.compile(r'\S+ \S+ .*?\[[^\]]*\] "(?:\\.|[^"\\])*" \d{3}(?: |$)')
_ASKED = re.compile(r'\] "(?P<verb>[A-Z]+) (?P<url>(?:\\.|[^"\\ ])+)(?: [^"]*)?" (?P<status>\d{3})(?: |$)')


def trace_keys(path: Path, limit: int | None = None, *, form: str | None = None) -> list[Any]:
    """The keys of a trace, the most asked first; of those asked equally often, the first asked first.

    path: a text with one key a line (after a tab, how often it was asked); an access log in the common log format, whose
        keys are the paths of the URLs that GET and HEAD were answered for; `NAME.u64`: unsigned 64-bit integers,
        little-endian; `NAME.npz`: NumPy arrays, of which `key` is read. With .gz or .zst behind it: compressed.
    limit: how many keys at most; None: all.
    form: "keys", "log", "u64" or "npz"; left out, the name says it, or the first line.

    Keys of a text are str, those of numbers int. Raises ValueError for a file that is not what it should be, naming line
    or byte; MissingExtra for .zst without zstandard (samovar[trace]) and .npz without NumPy.
    """
    name = path_of("trace_keys", path)
    most = None if limit is None else options.whole("trace_keys", "limit", limit, least=1, none=True)
    _check_form(form)
    return [key for key, _ in _counted(name, form or _form_of(name)).most_common(most)]


def _check_form(form: object) -> None:
    if form is not None and form not in FORMS:
        names = ", ".join(map(repr, FORMS))
        kind = ValueError if isinstance(form, str) else TypeError
        raise kind(f"trace_keys: form must be one of {names}, or None to let the file say it, not {form!r}")


def _counted(name: str, form: str) -> Counter[Hashable]:
    if form == "npz":
        return _arrays(name)
    with closing(_opened(name)) as file:
        return _numbers(name, file) if form == "u64" else _lines(name, file, form)


def _form_of(name: str) -> str:
    """What the name says, or "" for a text of either kind."""
    bare = re.sub(r"\.(gz|zst)$", "", name)
    return next((form for form in ("u64", "npz") if bare.endswith("." + form)), "")


# ------------------------------------------------------------------ opening

def _opened(name: str) -> IO[bytes]:
    if name.endswith(".gz"):
        return gzip.open(name, "rb")  # type: ignore[return-value]
    if name.endswith(".zst"):
        return _zstd(name)
    return open(name, "rb")


def _extra(package: str, name: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise MissingExtra(f"trace_keys: reading {name!r} needs {package}: pip install 'samovar[trace]'") from None


def _zstd(name: str) -> IO[bytes]:
    try:
        opened: IO[bytes] = import_module("compression.zstd").open(name, "rb")  # from Python 3.14 on, if built with it
        return opened
    except ImportError:
        zstandard = _extra("zstandard", name)
    return io.BufferedReader(_Frames(open(name, "rb"), zstandard.ZstdDecompressor()), _CHUNK)


class _Frames(io.RawIOBase):
    """What zstd frames, one after the other, hold. EOFError when the last one is cut off: zstandard's own reader would
    say nothing."""

    def __init__(self, raw: IO[bytes], decompressor: Any) -> None:
        self.raw, self.decompressor = raw, decompressor
        self.frame: Any = None
        self.unread = self.ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        while not self.ready:
            self.unread = self.unread or self.raw.read(_CHUNK // 8)
            if not self.unread:
                if self.frame is not None:
                    raise EOFError("the last frame ends too early")
                return 0
            self.frame = self.frame or self.decompressor.decompressobj()
            self.ready, self.unread = self.frame.decompress(self.unread), b""
            if self.frame.eof:
                self.unread, self.frame = self.frame.unused_data, None
        size = min(len(into), len(self.ready))
        into[:size], self.ready = self.ready[:size], self.ready[size:]
        return size

    def close(self) -> None:
        self.raw.close()
        super().close()


def _is_damage(error: Exception) -> bool:
    """Whether a decompressor says that the file is wrong."""
    return isinstance(error, EOFError | gzip.BadGzipFile) or type(error).__name__ in ("ZstdError", "error")


def _read(name: str, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except Exception as error:
        if _is_damage(error):
            raise ValueError(f"trace_keys: {name!r} is damaged or cut off: {error}") from None
        raise


# ------------------------------------------------------------------ counting

def _numbers(name: str, file: IO[bytes]) -> Counter[Hashable]:
    counts: Counter[Hashable] = Counter()
    rest = b""
    while text := _read(name, lambda: file.read(_CHUNK)):
        text = rest + text
        whole = len(text) - len(text) % 8
        keys = array("Q", text[:whole])
        if sys.byteorder == "big":
            keys.byteswap()
        counts.update(keys)
        rest = text[whole:]
    if rest:
        raise ValueError(f"trace_keys: {name!r} must be whole 64-bit integers; {len(rest)} bytes are left over at its end")
    return counts


def _arrays(name: str) -> Counter[Hashable]:
    numpy = _extra("numpy", name)
    try:
        with numpy.load(name, allow_pickle=False) as arrays:
            keys = arrays["key"]
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile's, zlib's, NumPy's own
        raise ValueError(f"trace_keys: {name!r} must hold an array `key`: {error}") from None
    if keys.ndim != 1 or keys.dtype.kind not in "iu":
        raise ValueError(f"trace_keys: {name!r}: `key` must be one row of integers, not {keys.ndim} of {keys.dtype}")
    return Counter(keys.tolist())


def _rows(name: str, file: IO[bytes]) -> Iterator[tuple[int, str]]:
    number = 0
    while line := _read(name, file.readline):
        number += 1
        text = line.rstrip(b"\r\n")
        if text:
            try:
                yield number, text.decode("utf-8")
            except UnicodeDecodeError:
                raise ValueError(f"trace_keys: {name!r}, line {number} is not UTF-8") from None


def _lines(name: str, file: IO[bytes], form: str) -> Counter[Hashable]:
    counts: Counter[Hashable] = Counter()
    for number, row in _rows(name, file):
        form = form or ("log" if _LOG.match(row) else "keys")
        if form == "keys":
            key, tab, count = row.partition("\t")
            counts[key] += _count(name, number, count) if tab else 1
        elif (asked := _path_of(row)) is not None:
            counts[asked] += 1
    return counts


def _count(name: str, number: int, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"trace_keys: {name!r}, line {number}: after the tab must stand how often the key was asked, "
                         f"not {text!r}")
    return int(text)


def _path_of(row: str) -> str | None:
    """The path that a line of a log asks for; None where nothing was answered, and for lines that are no requests."""
    found = _ASKED.search(row)
    if found is None or found["verb"] not in ("GET", "HEAD") or not 200 <= int(found["status"]) < 400:
        return None
    try:
        path = urlsplit(found["url"]).path
    except ValueError:  # a port or an address that cannot be
        return None
    return path or None
