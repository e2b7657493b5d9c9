"""Tags that an origin gives its answers, to invalidate them together: Surrogate-Key (by spaces), Cache-Tag (by commas)."""

from collections.abc import Sequence

from .fields import Headers

MAX_LENGTH = 256  # of one tag, in bytes


def read_tags(headers: Headers, names: Sequence[bytes], most: int) -> tuple[str, ...] | None:
    """The tags of a response, each once, in order; None where there are more than `most`, or one is too long.

    Bytes are read as Latin-1, so that every tag survives. Surrogate-Key is split at whitespace, every other field at
    commas.

    >>> from samovar.edge.rules.tags import read_tags
    >>> read_tags([(b"surrogate-key", b"a b"), (b"cache-tag", b"c, a")], (b"surrogate-key", b"cache-tag"), most=8)
    ('a', 'b', 'c')
    """
    found: dict[str, None] = {}
    for key, value in headers:
        if key in names:
            parts = value.split() if key == b"surrogate-key" else value.split(b",")
            for part in parts:
                tag = part.strip(b" \t").decode("latin-1")
                if tag:
                    found[tag] = None
            if len(found) > most:
                return None
    return tuple(found) if all(len(tag) <= MAX_LENGTH for tag in found) else None
