"""Values as bytes for the shared tier, and keys as names in it.

`Msgpack` is the codec that is used unless another is named: plain data, and no byte of input ever names code to run.
`SignedPickle` carries any object, and for that reason never opens what was not signed with one of its secrets: who can
write to the tier, and has no secret, can cause misses and nothing else.

The one rule: what decides how bytes are opened, the codec, the algorithm, the limits, is fixed where they are opened. The
bytes have no say in it.
"""

import hashlib
import hmac
import pickle
import threading
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, cast
from urllib.parse import quote

from .._base.codecs import encode as plain_bytes
from .._base.extras import needed, wanted
from .node import is_plain

MAC = 32  # bytes of HMAC-SHA256 (RFC 2104, FIPS 180-4)
_LONGEST_KEY = 200


class Codec(Protocol):
    """What turns values into bytes and back. `number` is written into each envelope, and must be the reader's own."""

    number: int
    secrets: "Secrets | None"

    def encode(self, value: Any) -> bytes:
        """Raises TypeError or ValueError for what it cannot carry."""

    def decode(self, body: bytes) -> Any:
        """Raises whatever it likes for bytes that it did not make; with `secrets`, it is given only what was signed."""


class Secrets:
    """Secrets by name, of which `current` signs and all verify, so that they can be changed without a cold tier: add the
    new one everywhere, make it current, take the old one away.

    keys: name, 1 to 255 bytes of ASCII, -> secret, at least 16 bytes.
    """

    def __init__(self, keys: Mapping[str, bytes], current: str, who: str) -> None:
        if not keys or not hasattr(keys, "items"):
            raise TypeError(f"{who}: keys must map names to secrets, and hold at least one")
        for name, secret in keys.items():
            if type(name) is not str or not name.isascii() or not 0 < len(name) < 256:
                raise ValueError(f"{who}: a key's name must be 1 to 255 ASCII characters, not {name!r}")
            if type(secret) is not bytes:
                raise TypeError(f"{who}: the secret {name!r} must be bytes, not {type(secret).__name__}")
            if len(secret) < 16:
                raise ValueError(f"{who}: the secret {name!r} must be at least 16 bytes, not {len(secret)}")
        if current not in keys:
            raise ValueError(f"{who}: current must be the name of one of keys, not {current!r}")
        self._keys = {name.encode(): secret for name, secret in keys.items()}
        self.current = current.encode()

    def sign(self, *parts: bytes) -> bytes:
        """The signature of these parts, by the current secret."""
        return self._mac(self._keys[self.current], parts)

    def are_signed(self, name: bytes, mac: bytes, *parts: bytes) -> bool:
        """Whether these parts were signed so; in constant time, given the name of a secret."""
        secret = self._keys.get(name)
        return secret is not None and hmac.compare_digest(self._mac(secret, parts), mac)

    @staticmethod
    def _mac(secret: bytes, parts: tuple[bytes, ...]) -> bytes:
        return hmac.digest(secret, b"".join(b"%d:%b" % (len(part), part) for part in parts), "sha256")

    def __repr__(self) -> str:
        return f"Secrets(current={self.current.decode()!r})"


class Msgpack:
    """MessagePack by msgspec: None, bool, int of 64 bits, float, str, bytes, dates, UUIDs, lists, dicts, dataclasses and
    msgspec's Structs. Without `type`, tuples and sets come back as lists, and objects as dicts.

    type: what values are, as an annotation (`list[int]`, a dataclass): decoded as that, and a miss when they are not.
    keys, current: sign envelopes too, as SignedPickle does; then a stranger cannot even place a wrong value.
    Raises MissingExtra when msgspec is not installed.
    """

    number = 1

    def __init__(self, type: Any = Any, *, keys: Mapping[str, bytes] | None = None, current: str = "") -> None:
        packed = needed("msgspec", "redis", "Msgpack").msgpack
        self._encode = packed.Encoder().encode
        self._decode = packed.Decoder(type).decode
        self.secrets = None if keys is None else Secrets(keys, current, "Msgpack")

    def encode(self, value: Any) -> bytes:
        """The bytes of plain data. Raises TypeError for other types, OverflowError for an int beyond 64 bits."""
        body: bytes = self._encode(value)
        return body

    def decode(self, body: bytes) -> Any:
        """The value; raises msgspec's errors for what is damaged or of another type."""
        return self._decode(body)


class SignedPickle:
    """Any object that pickles, signed with HMAC-SHA256 over namespace, key, envelope and body.

    keys: names and secrets, all of which are accepted; current: the name of the one that signs.
    A reader imports and calls what the pickle names: whoever has a secret can run code in every reader.
    """

    number = 2

    def __init__(self, *, keys: Mapping[str, bytes], current: str) -> None:
        self.secrets: Secrets | None = Secrets(keys, current, "SignedPickle")

    def encode(self, value: Any) -> bytes:
        """The pickle of a value; raises what pickling raises."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def decode(self, body: bytes) -> Any:
        """The object. Only for what was signed."""
        return pickle.loads(body)


# ------------------------------------------------------------------ compression

class Zstd:
    """zstd (RFC 8878) at level 1, by the zstandard package or by CPython 3.14's own; `is_there` when one of them is."""

    def __init__(self) -> None:
        self._package = wanted("zstandard")
        self._own = None if self._package is not None else wanted("compression.zstd")
        self.is_there = self._package is not None or self._own is not None
        self._threads = threading.local()  # a context is one thread's at a time

    def compress(self, body: bytes) -> bytes:
        """The frame, which names its size."""
        if self._package is None:
            assert self._own is not None
            small: bytes = self._own.compress(body, level=1)
            return small
        packer = getattr(self._threads, "packer", None)
        if packer is None:
            packer = self._threads.packer = self._package.ZstdCompressor(level=1)
        small = packer.compress(body)
        return small

    def expand(self, frame: bytes, size: int) -> bytes:
        """The `size` bytes of a frame. Raises for any other size, before room is made for it; the caller bounds it."""
        if self._package is not None:
            if self._package.frame_content_size(frame) != size:
                raise ValueError("the frame is of another size than was said")
            body: bytes = self._package.ZstdDecompressor().decompress(frame, max_output_size=size)
        else:
            assert self._own is not None
            if self._own.get_frame_info(frame).decompressed_size != size:
                raise ValueError("the frame is of another size than was said")
            body = self._own.ZstdDecompressor().decompress(frame, max_length=size)
        if len(body) != size:
            raise ValueError("the frame holds less than was said")
        return body


# ------------------------------------------------------------------ keys

class KeyMaker:
    """Names for keys in the shared tier, `namespace:schema:key`, that no other namespace, schema or key has.

    Text that is short and printable stays readable, `shop:1:stea`; so do whole numbers, `shop:1:i7`; what else is plain
    data, and what is long, is hashed (BLAKE2b of its typed bytes, 160 bits): `shop:1:h9f86d081...`. So 1, "1", b"1", 1.0
    and True are five keys.

    namespace: text, whatever it holds: it is escaped. schema: changed when values change their form, so that old and new
    programs do not read each other's.

    >>> from samovar.cluster.codec import KeyMaker
    >>> name = KeyMaker("shop", 1)
    >>> name("tea"), name(7), name.tag("teas")
    ('shop:1:stea', 'shop:1:i7', 'shop:1:tteas')
    """

    def __init__(self, namespace: str, schema: int | str = 1) -> None:
        if type(namespace) is not str or not namespace:
            raise TypeError(f"namespace must be a str that is not empty, not {namespace!r}")
        if type(schema) not in (int, str) or schema == "":
            raise TypeError(f"schema must be an int or a str that is not empty, not {schema!r}")
        self.namespace = quote(namespace, safe="", errors="surrogatepass")
        self.prefix = f"{self.namespace}:{quote(str(schema), safe='', errors='surrogatepass')}:"
        if len(self.prefix) > 100:
            raise ValueError(f"namespace and schema must fit 100 characters once escaped, not {len(self.prefix)}")

    def __call__(self, key: Hashable) -> str:
        """The name of a key. Raises TypeError for what is no plain data."""
        kind = type(key)
        if kind is str:
            return self._named("s", key)  # type: ignore[arg-type]
        if kind is int:
            return self._named("i", str(key) if -(1 << 63) <= key < 1 << 64 else f"0x{key:x}")  # type: ignore[operator]
        return self._hashed("h", key)

    def many(self, keys: Sequence[Hashable]) -> list[str]:
        """The names of many keys, in their order. Where all are text that stays readable, they are looked at together."""
        if set(map(type, keys)) == {str}:
            texts = cast("Sequence[str]", keys)
            if is_plain("".join(texts)) and len(max(texts, key=len)) < _LONGEST_KEY - len(self.prefix):
                head = f"{self.prefix}s"
                return [head + text for text in texts]
        return [self(key) for key in keys]

    def tag(self, tag: str) -> str:
        """The name of a tag's counter; of no key."""
        if type(tag) is not str:
            raise TypeError(f"a tag must be a str, not {tag!r}")
        return self._named("t", tag)

    def own(self, what: str) -> str:
        """The name of what the cluster itself keeps in the tier; of no key and no tag."""
        return self._named("m", what)

    def _named(self, kind: str, text: str) -> str:
        name = f"{self.prefix}{kind}{text}"
        if len(name) <= _LONGEST_KEY and is_plain(text):
            return name
        return self._hashed(kind.upper(), text)

    def _hashed(self, kind: str, key: object) -> str:
        return f"{self.prefix}{kind}{hashlib.blake2b(plain_bytes(key), digest_size=20).hexdigest()}"
