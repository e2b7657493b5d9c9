"""What the owner of a cache has decided: the words that the rules take from outside, checked once.

The protocol leaves room in many places (how long a heuristic may hold, what to do with cookies, how much to keep);
each of these is a word here, with a default that is safe for a shared cache that knows nothing of the origin.
"""

from dataclasses import dataclass, field

from ..._base.freshness import Freshness
from .fields import REWRITING, is_token

SET_COOKIE = ("bypass", "rfc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The decisions of a cache's owner. Immutable; share one between threads and fronts.

    shared: many users are behind this cache (RFC 9111's shared cache); False is a private cache, for one user.
    name: what the cache calls itself in Cache-Status; a token.
    fresh: for what the origin does not say itself. `ttl`: the lifetime of an answer that names none and could have a
        heuristic one; `negative_ttl`: the same for 404 and 410; `stale_while_revalidate` and
        `stale_if_error`: grace, where the origin neither gives nor forbids it.
    set_cookie: "bypass": an answer with Set-Cookie is never stored. "rfc": it is, with explicit freshness.
    obey_client: a request's no-cache, max-age and the like count. False: they are ignored, as RFC 9111 section 5.2.1
        permits, so that clients cannot wear the origin down; only-if-cached and no-store still count.
    keyed: request fields that are part of the key, lower case; what is in fields.REWRITING and not here does not
        reach the origin.
    targets: targeted cache-control fields that count here, the first most (RFC 9213); none in a private cache.
    tag_fields: response fields that list tags.
    heuristic_share, heuristic_cap: the share of the age at storing that an answer without lifetime is fresh for, and
        the most seconds of it.
    disconnected: seconds past its lifetime in which a stale answer is served when the origin cannot be reached, or
        answers 500, 502, 503 or 504, and nobody forbids it (RFC 9111 section 4.2.4).
    max_variants: stored answers per key; the one stored longest ago leaves.
    max_tags: an answer with more tags is not stored, because it could not be invalidated by all of them.
    max_ranges: ranges that one request may ask for.
    hit_for_miss: seconds in which requests for a key are not made to wait for each other, after an answer that could
        not be stored.

    Raises TypeError or ValueError for what is out of bounds.
    """

    shared: bool = True
    name: str = "samovar"
    fresh: Freshness = field(default_factory=Freshness)
    set_cookie: str = "bypass"
    obey_client: bool = True
    keyed: tuple[bytes, ...] = ()
    targets: tuple[bytes, ...] = (b"samovar-cache-control", b"cdn-cache-control")
    tag_fields: tuple[bytes, ...] = (b"surrogate-key", b"cache-tag")
    heuristic_share: float = 0.1
    heuristic_cap: int = 86_400
    disconnected: int = 86_400
    max_variants: int = 32
    max_tags: int = 256
    max_ranges: int = 16
    hit_for_miss: int = 120
    token: bytes = field(init=False, repr=False)  # the name, as it is sent
    stripped: frozenset[bytes] = field(init=False, repr=False)  # request fields that do not reach the origin

    def __post_init__(self) -> None:
        if self.set_cookie not in SET_COOKIE:
            raise ValueError(f"set_cookie must be one of {', '.join(SET_COOKIE)}, not {self.set_cookie!r}")
        if not is_token(str(self.name).encode("utf-8", "replace")) or not str(self.name)[0].isalpha():
            raise ValueError(f"name must be a token that begins with a letter, such as 'samovar', not {self.name!r}")
        if not isinstance(self.fresh, Freshness):
            raise TypeError(f"fresh must be a Freshness, not {self.fresh!r}")
        for word in ("keyed", "targets", "tag_fields"):
            names = getattr(self, word)
            if not isinstance(names, tuple) or not all(isinstance(name, bytes) and is_token(name) and name == name.lower()
                                                       for name in names):
                raise ValueError(f"{word} must be a tuple of field names, bytes in lower case, not {names!r}")
        for word in ("heuristic_cap", "disconnected", "max_variants", "max_tags", "max_ranges", "hit_for_miss"):
            number = getattr(self, word)
            least = 1 if word in ("max_variants", "max_ranges") else 0
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"{word} must be an int, not {number!r}")
            if number < least:
                raise ValueError(f"{word} must be {least} or more, not {number!r}")
        if not 0 <= self.heuristic_share <= 1:
            raise ValueError(f"heuristic_share must be a number from 0 to 1, not {self.heuristic_share!r}")
        object.__setattr__(self, "token", self.name.encode())
        object.__setattr__(self, "stripped", REWRITING.difference(self.keyed))
