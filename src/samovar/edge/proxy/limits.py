"""Bounds of the proxy, one word each, checked when they are set: what a client may send, and how long anybody may take."""

from dataclasses import dataclass, field
from typing import Any

from .wire import Limits


def _check(what: Any, counts: dict[str, int], times: tuple[str, ...]) -> None:
    """counts: the names of whole numbers, with the least of each; times: those of seconds, above 0."""
    for word, least in counts.items():
        number = getattr(what, word)
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise ValueError(f"{word} must be an int of {least} or more, not {number!r}")
    for word in times:
        number = getattr(what, word)
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1e9:
            raise ValueError(f"{word} must be a number of seconds above 0, not {number!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamLimits:
    """Bounds towards the origin, times in seconds.

    connections: at once. queue, queue_s: requests that may wait for one, and for how long.
    connect_s: until a connection stands, all addresses and TLS together. first_byte_s: until the head of an answer is
    there. between_s: between two pieces of its body, and until the origin reads on. total_s: waiting in sum for one
    answer; the time that its reader takes is not counted. idle_s: a free connection is kept.
    """

    connections: int = 64
    queue: int = 1_024
    queue_s: float = 10.0
    connect_s: float = 5.0
    first_byte_s: float = 30.0
    between_s: float = 30.0
    total_s: float = 300.0
    idle_s: float = 30.0

    def __post_init__(self) -> None:
        _check(self, {"connections": 1, "queue": 0},
               ("queue_s", "connect_s", "first_byte_s", "between_s", "total_s", "idle_s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """Bounds towards clients, times in seconds.

    heads: of the head of a request; see wire.Limits. body: bytes of a request's body. connections: at once, in one
    process; over it a connection is answered with 503. head_s: from the first byte of a head to its last, and for the
    first request of a connection. body_s: from the end of a head to the end of its body, and a second more for every
    `body_rate` bytes of it. write_s: until a client that does not read has read on. keep_alive_s: a connection is kept
    between two requests. unsent: bytes of answers that the connections of one process may have waiting to be sent, all
    together; over it those are cut off whose clients took too little for `lag_s`, the longest stuck first.
    """

    heads: Limits = field(default_factory=Limits)
    body: int = 104_857_600
    connections: int = 10_000
    head_s: float = 10.0
    body_s: float = 20.0
    body_rate: int = 500
    write_s: float = 30.0
    keep_alive_s: float = 60.0
    unsent: int = 536_870_912
    lag_s: float = 5.0

    def __post_init__(self) -> None:
        _check(self, {"body": 0, "connections": 1, "body_rate": 1, "unsent": 0},
               ("head_s", "body_s", "write_s", "keep_alive_s", "lag_s"))
        _check(self.heads, {"head": 64, "target": 1, "fields": 1}, ())
