"""Names of leases: the same for equal keys in every process, and never the same for two.

A name is the BLAKE2b hash of the key's bytes as `_base.codecs` writes them, with the namespace before it. What codecs
writes is the same in every process but for the members of a frozenset, which have no order of their own: they are
sorted here by their bytes.
"""

from collections.abc import Callable, Hashable
from hashlib import blake2b
from typing import Any

from .._base.codecs import MAX_DEPTH, Unsupported, encode_into

_SIZE = 20  # bytes of a name


def name_of(namespace: str, key: Hashable, stand_in: Callable[[Any], Any] | None = None) -> bytes:
    """The name of a key. stand_in: called with the key, returns what is named instead. TypeError for what is not plain
    data.

    >>> from samovar.herd.naming import name_of
    >>> name_of("shop", ("tea", 7)) == name_of("shop", ("tea", 7)) != name_of("bar", ("tea", 7))
    True
    """
    out = bytearray()
    encode_into(out, namespace)
    named = key if stand_in is None else stand_in(key)
    try:
        _write(out, named, MAX_DEPTH)
    except Unsupported as error:
        said = "a key" if stand_in is None else "what key= returns for a key"
        raise TypeError(
            f"FileLease: {said} must be plain data, the same in every process; {error}: {named!r}; give "
            f"FileLease(key=...) a function that says by what to name such a key"
        ) from None
    return blake2b(out, digest_size=_SIZE).digest()


def number_of(name: bytes) -> int:
    """A name as a number of 62 bits: what can be locked."""
    return int.from_bytes(name[:8], "little") >> 2


def _write(out: bytearray, key: object, depth: int) -> None:
    """An empty tuple, then how many members, then each: no other value begins so."""
    kind = type(key)
    if kind is not tuple and kind is not frozenset:
        encode_into(out, key)
        return
    if depth <= 0:
        raise Unsupported(f"a key nested deeper than {MAX_DEPTH} containers is not")
    members = []
    for member in key:  # type: ignore[attr-defined]  # asked above
        part = bytearray()
        _write(part, member, depth - 1)
        members.append(part)
    encode_into(out, kind())
    encode_into(out, len(members))
    for part in members if kind is tuple else sorted(members):
        out += part
