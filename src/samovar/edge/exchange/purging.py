"""What a purge is of, as its caller says it: URLs and tags, read once, for every vault."""

from collections.abc import Iterable
from typing import Any

from ..rules import cache_key


def keys_of(urls: Any, tags: Any) -> tuple[list[bytes], tuple[str, ...]]:
    """The keys of absolute URLs, of both schemes each, and the tags, each once.

    >>> from samovar.edge.exchange.purging import keys_of
    >>> keys_of("https://Example.com/a?b", "news")
    ([b'https://example.com/a?b', b'http://example.com/a?b'], ('news',))

    Raises TypeError or ValueError that names the argument.
    """
    keys: dict[bytes, None] = {}
    for url in _listed(urls, "urls", (str, bytes)):
        for key in _keys(url):
            keys[key] = None
    names = _listed(tags, "tags", (str,))
    if not all(names):
        raise ValueError("purge: tags must not be empty")
    return list(keys), tuple(dict.fromkeys(names))


def _listed(given: Any, word: str, kinds: tuple[type, ...]) -> list[Any]:
    if isinstance(given, kinds):
        return [given]
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"purge: {word} must be text, or several, not {given!r}")
    out = list(given)
    for one in out:
        if not isinstance(one, kinds):
            raise TypeError(f"purge: {word} must be text, not {one!r}")
    return out


def _keys(url: str | bytes) -> list[bytes]:
    raw = url if isinstance(url, bytes) else url.encode("utf-8", "surrogateescape")
    raw = raw.partition(b"#")[0]
    own = cache_key(b"http", b"", raw)
    if own is None or b"://" not in raw[:8]:
        raise ValueError(f"purge: urls must be absolute, such as 'https://example.com/news', not {url!r}")
    scheme, _, rest = own.partition(b"://")
    other = cache_key(b"http" if scheme == b"https" else b"https", *_split(rest))
    return [own] if other is None else [own, other]


def _split(rest: bytes) -> tuple[bytes, bytes]:
    host, slash, target = rest.partition(b"/")
    return host, slash + target
