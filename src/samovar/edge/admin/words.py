"""How the settings of an edge are read: each reader takes a word's value as people write it, and returns it checked.

A value comes from a command line (text), from a TOML file (text, numbers, booleans, lists) or from Python (what a reader
once returned, which it returns unchanged). What is wrong raises SettingError, which knows the word and never shows a
secret.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..._base.errors import SamovarError
from ..._base.freshness import seconds
from ..rules.fields import is_token

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([KMGT]?I?B|)", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")
_SECRET = re.compile(r"[!-~]+")
LARGEST = 2**62  # of numbers: what native code takes
LEAST_TOKEN = 16

Reader = Callable[[str, Any], Any]  # (word, value) -> the checked value


class SettingError(SamovarError, ValueError):
    """A setting is wrong. word: which, as it is written in Python and TOML; why: what it must be, and was."""

    def __init__(self, word: str, why: str) -> None:
        super().__init__(f"{word} {why}")
        self.word, self.why = word, why

    def __reduce__(self) -> tuple[object, ...]:
        return SettingError, (self.word, self.why)


class Place(NamedTuple):
    """Where to listen: a host without brackets and a port; 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Upstream(NamedTuple):
    """A server to ask: whether by TLS, its host without brackets, its port."""

    tls: bool
    host: str
    port: int

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def authority(self) -> str:
        """As in a Host field: without the port where that goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def optional(read: Reader) -> Reader:
    """The same reader, for a word that may be left away: None stays None."""
    return lambda word, value: None if value is None else read(word, value)


def size(word: str, value: object) -> int:
    """A number of bytes, 1 or more: an int, or text such as "64MB" or "1GiB".

    >>> from samovar.edge.admin.words import size
    >>> size("maxweight", "1.5GB"), size("maxweight", "64KiB")
    (1500000000, 65536)
    """
    wanted = 'must be a number of bytes such as 1000000, "64MB", "1GB" or "512KiB"'
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        if found is None:
            raise SettingError(word, f"{wanted}, not {value!r}")
        number = int(Fraction(found.group(1)) * _UNITS[found.group(2).upper()])
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise SettingError(word, f"{wanted}, not {value!r}")
    if not 1 <= number <= LARGEST:
        raise SettingError(word, f"must be from 1 byte to {LARGEST}, not {value!r}")
    return number


def count(least: int, most: int = LARGEST) -> Reader:
    """A reader of whole numbers from `least` to `most`."""

    def read(word: str, value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise SettingError(word, f"must be a whole number, not {value!r}")
        if not least <= value <= most:
            bounds = f"{least} or more" if most == LARGEST else f"from {least} to {most}"
            raise SettingError(word, f"must be {bounds}, not {value!r}")
        return value

    return read


def share(word: str, value: object) -> float:
    """A number from 0 to 1."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise SettingError(word, f"must be a number from 0 to 1, not {value!r}")
    return number


def span(*, positive: bool = False) -> Reader:
    """A reader of durations, in seconds: a number, or text such as "90" or "1h30m"."""

    def read(word: str, value: Any) -> float:
        try:
            number = seconds(value, "", positive=positive)
        except (TypeError, ValueError) as error:
            raise SettingError(word, str(error).lstrip()) from None
        if number == float("inf"):
            raise SettingError(word, f"must be finite, not {value!r}")
        return number

    return read


def whole_seconds(word: str, value: object) -> int:
    """A duration of whole seconds."""
    number = span()(word, value)
    if number != int(number):
        raise SettingError(word, f"must be whole seconds, not {value!r}")
    return int(number)


def flag(word: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise SettingError(word, f"must be true or false, not {value!r}")
    return value


def one_of(*names: str) -> Reader:
    """A reader of one of these texts."""

    def read(word: str, value: object) -> str:
        if value not in names:
            raise SettingError(word, f"must be one of {', '.join(names)}, not {value!r}")
        return str(value)

    return read


def place(word: str, value: object) -> Place:
    """HOST:PORT, [IPV6]:PORT, or :PORT for every address of this machine."""
    wanted = "must be HOST:PORT such as 127.0.0.1:8080, [::1]:8080 or :8080"
    text = str(value) if isinstance(value, str | Place) else ""
    host, colon, port = text.strip().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    good = _IPV6.fullmatch(bare) if bare != host else not host or _HOST.fullmatch(host)
    if not colon or not good or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        raise SettingError(word, f"{wanted}, not {value!r}")
    return Place(bare or "0.0.0.0", int(port))


def upstream(word: str, value: object) -> Upstream:
    """The URL of a server: scheme, host, port; nothing after them, nobody's password."""
    if isinstance(value, Upstream):
        return value
    wanted = "must be a URL such as http://127.0.0.1:9000 or https://origin.example"
    text = value.strip() if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SettingError(word, f"{wanted}; this one's host or port cannot be read") from None
    if parts.username is not None or parts.password is not None:
        raise SettingError(word, "must be a URL without a user or a password")  # which are not to be shown
    if parts.scheme not in ("http", "https") or not host or port == 0 or not text.isprintable():
        raise SettingError(word, f"{wanted}, not {value!r}")
    if not (_IPV6 if ":" in host else _HOST).fullmatch(host):
        raise SettingError(word, f"{wanted}, not {value!r}")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "?" in text or "#" in text:
        raise SettingError(word, f"must end with the host or the port, not {value!r}: targets are sent on as they came")
    return Upstream(parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80))


def authority(word: str, value: object) -> str:
    """What a Host field may say."""
    text = value if isinstance(value, str) else ""
    host, _, port = text.partition(":")
    if not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{0,5}", port):
        raise SettingError(word, f"must be a host name such as www.example.com, or with a port, not {value!r}")
    return text.lower()


def name(word: str, value: object) -> str:
    """A token that begins with a letter."""
    text = value if isinstance(value, str) else ""
    if not is_token(text.encode("utf-8", "replace")) or not text[0].isalpha():
        raise SettingError(word, f"must be a token that begins with a letter, such as samovar, not {value!r}")
    return text


def file_path(word: str, value: object) -> Path:
    """The path of a file or folder."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise SettingError(word, f"must be a path, not {value!r}")
    return Path(value)


def token(word: str, value: object) -> str:
    """A secret: visible ASCII, so that it can stand in a header, and long enough not to be guessed."""
    text = value.strip() if isinstance(value, str) else ""
    if len(text) < LEAST_TOKEN or not _SECRET.fullmatch(text):
        raise SettingError(word, f"must be {LEAST_TOKEN} or more visible ASCII characters (it is not shown here)")
    return text


def prefix(word: str, value: object) -> str:
    """The beginning of the paths that are the edge's own: "/.samovar/"; "" reserves none."""
    text = value if isinstance(value, str) else "?"
    if text and not re.fullmatch(r"/(?:[A-Za-z0-9._~-]+/)+", text) or {".", ".."} & set(text.split("/")):
        raise SettingError(word, f"must be a path such as /.samovar/, or empty for none, not {value!r}")
    return text


def listed(read: Reader) -> Reader:
    """A reader of several values: a list, or one text with commas."""

    def read_all(word: str, value: object) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            raise SettingError(word, f"must be a list, not {value!r}")
        return tuple(dict.fromkeys(read(word, one) for one in value))

    return read_all


def field_name(word: str, value: object) -> str:
    """The name of a header field, in lower case."""
    if not isinstance(value, str) or not is_token(value.encode("utf-8", "replace")):
        raise SettingError(word, f"must be names of header fields, not {value!r}")
    return value.lower()
