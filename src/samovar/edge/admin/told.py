"""What an edge is told: one frozen object of checked words, the same on the command line, in a TOML file and in Python.

`max_body` in Python is `max-body` in TOML (or max_body) and `--max-body` on the command line. Every word is read once, by
its reader in `words`, and a wrong one is a SettingError that names it. Each field's metadata says what it is for: the
command line's help and the table in docs/edge.md are made of it.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from ..._base.freshness import Freshness
from ..rules import Policy
from . import words as read
from .words import Place, Reader, SettingError, Upstream

TOKEN_VARIABLE = "SAMOVAR_EDGE_TOKEN"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _word(group: str, default: Any, read: Reader, says: str, *, shown: str = "", secret: bool = False) -> Any:
    """A field: how it is read, its help, its default as people write it, and the group that help puts it in."""
    return field(default=default, repr=not secret, metadata={"read": read, "says": says, "shown": shown, "group": group})


_where, _kept, _bounds, _timeouts, _watching = (
    partial(_word, group) for group in ("Where", "What is kept", "Bounds", "Timeouts", "Watching"))


@dataclass(frozen=True, kw_only=True)
class EdgeSettings:
    """The settings of a caching reverse proxy. Immutable; sizes are bytes, durations seconds.

    Values may be given as people write them ("64MB", "5m", "127.0.0.1:8080"); they are kept as the types below say.
    Raises SettingError for what is missing, out of bounds, or contradicts another word.

    >>> from samovar.edge.admin.told import EdgeSettings
    >>> edge = EdgeSettings(origin="http://127.0.0.1:9000", maxweight="1GB", grace="1h", workers=2)
    >>> edge.worker_weight, edge.policy().fresh.stale_if_error, str(edge.listen)
    (500000000, 3600.0, '127.0.0.1:8080')
    """

    origin: Upstream = _where(None, read.upstream, "The server whose answers are cached, as a URL.")
    listen: Place = _where(Place("127.0.0.1", 8080), read.place, "Where clients come: HOST:PORT.", shown="127.0.0.1:8080")
    shield: Upstream | None = _where(
        None, read.optional(read.upstream),
        "Another samovar edge in front of the origin, asked instead of it; the origin itself is asked when it "
        "cannot be reached.",
    )
    workers: int = _where(1, read.count(1, 256), "Processes that share the port.")
    tls_cert: Path | None = _where(None, read.optional(read.file_path), "Serve TLS with this certificate chain (PEM).")
    tls_key: Path | None = _where(None, read.optional(read.file_path), "Its private key (PEM).")
    scheme: str | None = _where(
        None, read.optional(read.one_of("http", "https")),
        "What clients speak when something in front of the edge ends their TLS; otherwise it is known.",
    )
    origin_host: str | None = _where(
        None, read.optional(read.authority),
        "The Host that the origin is told; otherwise the client's.",
    )
    origin_ca: Path | None = _where(
        None, read.optional(read.file_path),
        "Certificates (PEM) to trust for the origin and the shield, instead of the system's.",
    )

    maxweight: int = _kept(256_000_000, read.size, "Memory for stored answers, of all workers together.", shown="256MB")
    max_body: int = _kept(
        8_000_000, read.size,
        "The largest body that is stored in memory; a larger one goes to spill-dir, or passes through.", shown="8MB",
    )
    spill_dir: Path | None = _kept(None, read.optional(read.file_path), "A folder for larger bodies.")
    spill: int = _kept(1_000_000_000, read.size, "Bytes that they may take there, for each worker.", shown="1GB")
    ttl: float | None = _kept(
        None, read.optional(read.span(positive=True)),
        "How long an answer is fresh that does not say it itself.",
    )
    negative_ttl: float | None = _kept(None, read.optional(read.span(positive=True)), "The same for 404 and 410.")
    grace: float = _kept(
        0.0, read.span(),
        "For how long past its lifetime an answer is served while it is renewed or the origin fails, where "
        "the origin says nothing of it.", shown="0",
    )
    stale_if_error: float | None = _kept(
        None, read.optional(read.span()),
        "The same only for when the origin fails; otherwise grace.",
    )
    disconnected: int = _kept(
        86_400, read.whole_seconds,
        "For how long stale answers are served when the origin is away and nobody forbids it.", shown="1d",
    )
    heuristic_share: float = _kept(
        0.1, read.share,
        "The share of an answer's age that it is fresh for, when nobody says how long.",
    )
    heuristic_cap: int = _kept(86_400, read.whole_seconds, "The most of that.", shown="1d")
    set_cookie: str = _kept(
        "bypass", read.one_of("bypass", "rfc"),
        "Answers with Set-Cookie: never stored (bypass), or stored when they say how long (rfc).",
    )
    obey_client: bool = _kept(True, read.flag, "Whether a request's no-cache and max-age count.")
    keyed: tuple[str, ...] = _kept((), read.listed(read.field_name), "Request fields that are part of the key.")
    targets: tuple[str, ...] = _kept(
        ("samovar-cache-control", "cdn-cache-control"), read.listed(read.field_name),
        "Response fields that overrule Cache-Control here, the first most.",
    )
    tag_fields: tuple[str, ...] = _kept(
        ("surrogate-key", "cache-tag"), read.listed(read.field_name),
        "Response fields that list tags.",
    )
    max_variants: int = _kept(32, read.count(1), "Stored answers for one URL.")
    max_tags: int = _kept(256, read.count(0), "Tags of one answer; with more it is not stored.")
    name: str = _kept("samovar", read.name, "What this edge calls itself in Cache-Status; when it is given, in Via too, "
                      "and then no other edge may have it.")

    max_upload: int = _bounds(100_000_000, read.size, "The largest body of a request; above it: 413.", shown="100MB")
    max_head: int = _bounds(32_768, read.size, "The largest head of a request.", shown="32KiB")
    max_ranges: int = _bounds(16, read.count(1), "Ranges that one request may ask for.")
    max_clients: int = _bounds(20_000, read.count(1), "Connections of clients for each worker; above it: 503.")
    max_waiters: int = _bounds(20_000, read.count(0), "Requests that may wait for others' answers, for each worker.")
    wait: float = _bounds(
        30.0, read.span(positive=True), "How long they wait, before they get what is stale, or 504.", shown="30s",
    )
    hit_for_miss: int = _bounds(
        120, read.whole_seconds,
        "For how long nobody waits for an answer like one that could not be stored.", shown="2m",
    )
    origin_connections: int = _bounds(256, read.count(1), "Connections to the origin, for each worker.")
    budget: int | None = _bounds(
        None, read.optional(read.count(1)),
        "Requests that the origin answers at once, for each worker; above it stale answers are served, else "
        "requests wait.",
    )
    fetch_memory: int = _bounds(
        64_000_000, read.size, "Memory for bodies that are on their way in, for each worker; as much again for those that "
        "slow clients read and that are no longer stored.", shown="64MB",
    )
    max_unsent: int = _bounds(
        512_000_000, read.size, "What clients may leave unsent, all together, for each worker; above it those that take "
        "nothing for 5s are cut off, the longest stuck first.", shown="512MB",
    )

    connect_timeout: float = _timeouts(5.0, read.span(positive=True), "For a connection to the origin.", shown="5s")
    first_byte_timeout: float = _timeouts(60.0, read.span(positive=True), "For the head of its answer.", shown="60s")
    between_bytes_timeout: float = _timeouts(
        30.0, read.span(positive=True),
        "For each next part of the body.", shown="30s",
    )
    head_timeout: float = _timeouts(10.0, read.span(positive=True), "For a client to send a head.", shown="10s")
    client_timeout: float = _timeouts(
        30.0, read.span(positive=True), "For a client to read the next part of a body.", shown="30s",
    )
    keep_alive: float = _timeouts(
        60.0, read.span(positive=True),
        "How long a client's idle connection stays open.", shown="60s",
    )
    drain: float = _timeouts(30.0, read.span(positive=True), "How long a stopping edge lets requests end.", shown="30s")

    admin: Place | None = _watching(
        None, read.optional(read.place),
        "A listener of its own for status, metrics and purging; otherwise they are under the reserved path.",
    )
    admin_hosts: tuple[str, ...] = _watching(
        (), read.listed(read.authority),
        "Host names under which the admin listener answers, beside its own address and this machine's.",
    )
    reserved: str = _watching(
        "/.samovar/", read.prefix,
        "The paths that are the edge's own when there is no admin listener; empty: none.",
    )
    token: str | None = _watching(
        None, read.optional(read.token),
        f"The secret that allows purging; better in {TOKEN_VARIABLE} or a file: a command line can be read by "
        "others.", secret=True,
    )
    token_file: Path | None = _watching(None, read.optional(read.file_path), "A file with that secret.")
    purge_also: tuple[Upstream, ...] = _watching(
        (), read.listed(read.upstream),
        "Other edges that a purge is passed on to before it is done here, the nearest to the origin first. They take the "
        "same token.",
    )
    metrics: bool = _watching(False, read.flag, "Answer under metrics in Prometheus's format.")
    access_log: str | None = _watching(
        None, read.optional(lambda word, value: str(read.file_path(word, value))),
        "Write a line for each request to this file; - is standard output.",
    )

    def __post_init__(self) -> None:
        if self.origin is None:
            raise SettingError("origin", "must be given: the URL of the server whose answers are to be cached")
        for one in fields(self):
            object.__setattr__(self, one.name, one.metadata["read"](one.name, getattr(self, one.name)))
        if self.shield == self.origin:
            raise SettingError("shield", "must be another server than the origin")
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_cert"
            raise SettingError(missing, "must be given too: a certificate and its key go together")
        if self.token is not None and self.token_file is not None:
            raise SettingError("token_file", "must not be given together with token")
        if self.token_file is not None:
            object.__setattr__(self, "token", _secret_in(self.token_file))
            object.__setattr__(self, "token_file", None)
        if self.purge_also and self.token is None:
            raise SettingError("purge_also", "must not be given without a token, which those edges ask for")
        if self.admin is not None and self.admin == self.listen and self.admin.port:
            raise SettingError("admin", "must be another place than listen; without the word it is under the reserved path")
        if self.worker_weight < 1:
            raise SettingError("maxweight", f"must leave something for each of {self.workers} workers")

    @property
    def worker_weight(self) -> int:
        """Memory for stored answers in one worker, in bytes."""
        return self.maxweight // self.workers

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """Who is asked, the first first: the shield, if there is one, and the origin."""
        return (self.origin,) if self.shield is None else (self.shield, self.origin)

    @property
    def client_scheme(self) -> str:
        """What clients speak: part of every key."""
        return self.scheme or ("https" if self.tls_cert else "http")

    @property
    def open_admin(self) -> bool:
        """Whether what only reads may be read without a token: there is none, and only this machine can ask."""
        return self.token is None and self.admin is not None and self.admin.host in _LOOPBACK

    def policy(self) -> Policy:
        """What of it the rules are told."""
        stale_if_error = self.grace if self.stale_if_error is None else self.stale_if_error
        fresh = Freshness(ttl=self.ttl, negative_ttl=self.negative_ttl, stale_while_revalidate=self.grace,
                          stale_if_error=stale_if_error)
        return Policy(
            name=self.name, fresh=fresh, set_cookie=self.set_cookie, obey_client=self.obey_client,
            keyed=_raw(self.keyed), targets=_raw(self.targets), tag_fields=_raw(self.tag_fields),
            heuristic_share=self.heuristic_share, heuristic_cap=self.heuristic_cap, disconnected=self.disconnected,
            max_variants=self.max_variants, max_tags=self.max_tags, max_ranges=self.max_ranges,
            hit_for_miss=self.hit_for_miss,
        )


def _raw(names: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(one.encode() for one in names)


def _secret_in(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise SettingError("token_file", f"cannot be read: {error.strerror}: {str(path)!r}") from None
    except ValueError:
        text = ""
    return str(read.token("token_file", text))


def read_config(path: Path) -> dict[str, Any]:
    """The words of a TOML file, as EdgeSettings takes them. Raises SettingError for what cannot be read, and for words
    that there are not."""
    try:
        with path.open("rb") as file:
            said = tomllib.load(file)
    except OSError as error:
        raise SettingError("config", f"cannot be read: {error.strerror}: {str(path)!r}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError("config", f"is no TOML: {error}: {str(path)!r}") from None
    known, found = [one.name for one in fields(EdgeSettings)], dict[str, Any]()
    for written, value in said.items():
        word = written.replace("-", "_")
        if word not in known:
            close = difflib.get_close_matches(word, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise SettingError("config", f"has a word that there is not: {written!r}{hint}")
        if word in found:
            raise SettingError("config", f"has {written!r} twice, with - and with _")
        found[word] = value
    return found


def settings(given: Mapping[str, Any], config: Path | None = None,
             environment: Mapping[str, str] = os.environ) -> EdgeSettings:
    """The settings of words that were given, over those of a file, over the environment's token.

    given: by word; only what was really said. Raises SettingError.
    """
    words = {**({} if config is None else read_config(config)), **given}
    if "token" in given:
        words.pop("token_file", None) if "token_file" not in given else None
    elif "token_file" in given:
        words.pop("token", None)
    elif "token" not in words and "token_file" not in words and environment.get(TOKEN_VARIABLE):
        words["token"] = environment[TOKEN_VARIABLE]
    return EdgeSettings(**words)
