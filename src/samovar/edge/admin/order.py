"""What a purge asks for, read from what anybody may have sent: a JSON body, or a PURGE request on a URL itself.

Reading is strict: what is unknown, doubled or of another type is an error and nothing is purged, because half a purge
that looks like a whole one leaves wrong pages in the world. Pure: no I/O, and nothing here decides who may purge.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..contracts import Request
from ..rules import cache_key, host_of
from ..rules.fields import first
from ..rules.tags import MAX_LENGTH

MAX_BODY = 1_048_576  # bytes of a purge's JSON
MAX_NAMES = 10_000  # URLs and tags in one purge
_WORDS = ("urls", "tags", "soft", "all", "here")
_SOFT = (b"soft-purge", b"fastly-soft-purge")  # what other caches' users are used to


class BadOrder(ValueError):
    """This asks for nothing that could be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Order:
    """One purge. keys: of URLs, whose other scheme an exchange purges too. tags: as they are stored. soft: make stale
    instead of taking out. here: do not pass it on to others, because another edge already does.
    """

    keys: tuple[bytes, ...] = ()
    tags: tuple[str, ...] = ()
    everything: bool = False
    soft: bool = False
    here: bool = False


def read_order(body: bytes) -> Order:
    """The purge that a JSON object asks for: {"urls": [...], "tags": [...], "soft": true, "all": true, "here": true}.

    Raises BadOrder.

    >>> from samovar.edge.admin.order import read_order
    >>> read_order(b'{"urls": ["http://a/x"], "tags": ["news"], "soft": true}')
    Order(keys=(b'http://a/x',), tags=('news',), everything=False, soft=True, here=False)
    """
    try:
        said = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, BadOrder) else "the body is not JSON in UTF-8"
        raise BadOrder(why) from None
    if not isinstance(said, dict):
        raise BadOrder("the body must be a JSON object")
    unknown = [word for word in said if word not in _WORDS]
    if unknown:
        raise BadOrder(f"there is no word {unknown[0]!a:.60}; there are {', '.join(_WORDS)}")
    urls, tags = _texts(said, "urls"), _texts(said, "tags")
    everything, soft, here = (_flag(said, word) for word in ("all", "soft", "here"))
    if everything == bool(urls or tags):
        raise BadOrder("say urls, tags, or both; or all, alone")
    if len(urls) + len(tags) > MAX_NAMES:
        raise BadOrder(f"at most {MAX_NAMES} urls and tags at once")
    keys = dict.fromkeys(_key(url) for url in urls)
    return Order(tuple(keys), tuple(dict.fromkeys(form for tag in tags for form in _forms(tag))), everything, soft, here)


def order_of(request: Request, scheme: bytes) -> Order:
    """What a PURGE request asks for: its own URL, softly with Soft-Purge: 1. scheme: what clients speak. Raises
    BadOrder."""
    host = host_of(request.headers)
    key = None if host is None else cache_key(scheme, host, request.target)
    if key is None:
        raise BadOrder("this URL cannot have been stored")
    soft = any(first(request.headers, name) == b"1" for name in _SOFT)
    return Order(keys=(key,), soft=soft)


def _key(url: str) -> bytes:
    """The key of an absolute URL."""
    try:
        target = url.encode("latin-1")  # some clients send bytes above 127 as they are
    except UnicodeEncodeError:
        target = b""
    key = cache_key(b"http", b"", target) if target[:8].lower().startswith((b"http://", b"https://")) else None
    if key is None:
        raise BadOrder(f"not an absolute http(s) URL as it travels: {url[:200]!a}")
    return key


def _forms(tag: str) -> Iterable[str]:
    """A tag as stored: the bytes of its field read as Latin-1, which may have been Latin-1 or UTF-8."""
    forms = []
    for coding in ("utf-8", "latin-1"):
        try:
            forms.append(tag.encode(coding).decode("latin-1"))
        except UnicodeEncodeError:
            continue
    forms = [form for form in forms if len(form) <= MAX_LENGTH]
    unseen = any(ord(letter) < 32 or letter == "\x7f" for letter in tag)
    if unseen or not tag.strip(" ") or not forms:
        raise BadOrder(f"no answer can carry this tag: {tag[:60]!a}")
    return forms


def _texts(said: dict[str, Any], word: str) -> list[str]:
    value = said.get(word, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadOrder(f"{word} must be a list of texts")
    return value


def _flag(said: dict[str, Any], word: str) -> bool:
    value = said.get(word, False)
    if not isinstance(value, bool):
        raise BadOrder(f"{word} must be true or false")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadOrder("a word is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise BadOrder(f"{constant} is not JSON")
