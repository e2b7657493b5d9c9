"""The short way: a fresh hit that is answered whole, from memory, at once.

Every call that is saved here is felt: what would read better in three functions stands in one. It decides nothing that
`rules` does not: whatever is not the common hit is None, and goes the long way.
"""

from collections.abc import Callable
from typing import Any

from ..._base.clock import bare_wall
from ...memo import lru_cache
from ..contracts import Vault
from ..rules import WATCHED, Headers, Hit, Policy, Variants, cache_key, plain_hit
from .numbers import SAMPLED, Numbers
from .vault import CacheVault
from .wall import Wall

_SHORT = 512  # bytes of a host and a target whose key is worth remembering
_key_of = lru_cache(maxsize=8_192)(cache_key)


class Short:
    """What an Exchange does without waiting. wall: seconds since 1970, never running back; None: the machine's."""

    def __init__(self, policy: Policy, vault: Vault, numbers: Numbers, wall: Callable[[], float] | None) -> None:
        self.policy, self.vault, self.numbers = policy, vault, numbers
        self._wall = Wall() if wall is None else wall
        self._now = bare_wall if wall is None else wall  # a Hit is of one second: a clock that was set back is noticed
        self._get: Callable[[Any], Any] = vault.cache.get if isinstance(vault, CacheVault) else vault.peek
        self._keyed, self._short = policy.keyed, 0 if policy.keyed else _SHORT

    def quick(self, method: str, scheme: bytes, target: bytes, headers: Headers, more: bytes = b"") -> Hit | None:
        """A fresh hit that is to be answered whole from memory, with status, fields and body of its entry, or None: then
        `serve` decides. It is counted.

        more: what the front adds to the key.
        """
        if method != "GET":
            return None
        host = None
        for name, value in headers:  # rules.plain_host, in place: every call counts here
            if name in WATCHED:
                if host is not None or name != b"host":
                    return None
                host = value
        if host is None:
            return None
        key = (_key_of(scheme, host, target) if len(host) + len(target) <= self._short else
               cache_key(scheme, host, target, headers, self._keyed))
        if more:
            if key is None:
                return None
            key += more
        stored = self._get(key)
        if stored.__class__ is not Variants:
            return None
        entry = stored.only or stored.select(headers)
        if entry is None:
            return None
        hit, now = stored.hits.get(entry), self._now()
        if hit is None or not hit.since <= now < hit.until:
            hit = plain_hit(headers, stored, self._wall())
            if hit is None:
                return None
        body = entry.body
        if body.__class__ is not bytes:
            return None
        numbers = self.numbers
        numbers.hits = hits = numbers.hits + 1
        numbers.sent += len(body)
        if not hits % SAMPLED:
            numbers.hot.add(key, SAMPLED)
        return hit
