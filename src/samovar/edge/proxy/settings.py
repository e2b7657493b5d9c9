"""What a proxy is told: one frozen word for each decision, checked when it is made."""

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..contracts import Request, Sender, Vault
from ..rules import Policy
from .limits import FrontLimits, UpstreamLimits
from .upstream import origin_parts

# Asked before anything else for requests that are meant for the proxy itself: (edge, request, sender) -> whether it
# has answered. `edge` is a proxy.Edge: its `purge`, `exchange` and `settings` are what an admin needs.
Admin = Callable[[Any, Request, Sender], Awaitable[bool]]


def address(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:8080", "[::1]:8080" or ":8080" (all of IPv4). Raises ValueError.

    >>> from samovar.edge.proxy.settings import address
    >>> address("[::1]:8080")
    ('::1', 8080)
    """
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError(f"an address is written host:port, not {text!r}")
    if host[:1] == "[" and host[-1:] == "]":
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets: [{host}]:{port}")
    return host or "0.0.0.0", int(port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a proxy is told. Raises ValueError or TypeError for what cannot be.

    origin: http://host[:port] or https://host[:port].
    listen: host:port; port 0 takes a free one.
    name: of this hop in Via and CDN-Loop: a token, and no other instance's; by default one that chance makes.
    workers: processes; each has a cache of its own, or all share what `vault` makes.
    scheme: "https" where something in front of the proxy ends the clients' TLS.
    shield: another edge, nearer to the origin, that is asked in its place; the origin itself only when no connection to
        it can be had.
    host: what is sent to the origin as Host, instead of what the client asked for.
    origin_ca: a file of authorities to verify the origin's certificate against, instead of the system's.
        origin_verify=False takes any certificate.
    certificate, private_key: files, to speak TLS with clients.
    policy: see rules.Policy. limits, upstream: see limits. exchange: further words for Exchange.
    memory: bytes of answers that each worker keeps. vault: makes the store instead; called in each worker.
    access_log: a file, or "-" for standard output; None: none.
    drain_s: seconds that a shutdown waits for what is under way. purge_s: seconds that a purge waits for a worker.
    admin: see Admin; with several workers a function of a module. admin_path: targets that begin with it are for the
        admin, "" for none. admin_listen: host:port that is for the admin alone.
    """

    origin: str
    listen: str = "127.0.0.1:8080"
    name: str = field(default_factory=lambda: f"samovar-{secrets.token_hex(4)}")
    workers: int = 1
    scheme: str | None = None
    shield: str | None = None
    host: str | None = None
    origin_ca: str | None = None
    origin_verify: bool = True
    certificate: str | None = None
    private_key: str | None = None
    policy: Policy = field(default_factory=Policy)
    limits: FrontLimits = field(default_factory=FrontLimits)
    upstream: UpstreamLimits = field(default_factory=UpstreamLimits)
    exchange: dict[str, Any] = field(default_factory=dict)
    memory: int = 268_435_456
    vault: Callable[["Settings"], Vault] | None = None
    access_log: str | None = None
    drain_s: float = 30.0
    purge_s: float = 5.0
    admin: Admin | None = None
    admin_path: str = ""
    admin_listen: str | None = None

    def __post_init__(self) -> None:
        origin_parts(self.origin)
        if self.shield is not None:
            origin_parts(self.shield)
        address(self.listen)
        if self.admin_listen is not None:
            address(self.admin_listen)
        for word in ("workers", "memory"):
            number = getattr(self, word)
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"{word} must be an int of 1 or more, not {number!r}")
        for word in ("drain_s", "purge_s"):
            number = getattr(self, word)
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1e9:
                raise ValueError(f"{word} must be a number of seconds above 0, not {number!r}")
        for word, kind in (("policy", Policy), ("limits", FrontLimits), ("upstream", UpstreamLimits)):
            if not isinstance(getattr(self, word), kind):
                raise TypeError(f"{word} must be a {kind.__name__}, not {getattr(self, word)!r}")
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("a certificate and its private_key come together")
        if self.host is not None and not (self.host.isascii() and self.host.isprintable() and " " not in self.host):
            raise ValueError(f"not a Host: {self.host!r}")
        if self.admin_path and (self.admin_path[0] != "/" or len(self.admin_path) < 2 or not self.admin_path.isascii()):
            raise ValueError(f"admin_path must begin with / and be more than that, not {self.admin_path!r}")
        if (self.admin_path or self.admin_listen is not None) and self.admin is None:
            raise ValueError("there is a place for an admin, and no admin")
