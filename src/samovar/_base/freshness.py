"""How long a result is good: one small immutable object, in HTTP's words, that every level accepts unchanged.

    stored             ttl                              ttl + keep
      |---- fresh -----|------ stale: may be served ----|---- gone
                 ^early refresh

The words are those of RFC 9111 section 4.2 (freshness) and RFC 5861 (stale-while-revalidate, stale-if-error); `early`
is the beta of XFetch (Vattani, Chierichetti and Lowenstein, "Optimal probabilistic cache stampede prevention", 2015).
Only words live here: the store keeps the deadlines, the load protocol acts on them.
"""

import math
import re
from dataclasses import dataclass, fields
from datetime import timedelta
from fractions import Fraction
from numbers import Real
from typing import Any, TypeAlias

Duration: TypeAlias = float | timedelta | str  # seconds as int or float, a timedelta, or text such as "1h30m"

_UNITS = {"w": Fraction(604_800), "d": Fraction(86_400), "h": Fraction(3_600), "m": Fraction(60), "s": Fraction(1),
          "ms": Fraction(1, 1_000), "us": Fraction(1, 1_000_000)}
_NUMBER = r"([0-9]{1,18}(?:\.[0-9]{1,18})?)"
_PARTS = re.compile("".join(rf"(?:{_NUMBER}\s*{unit}\s*)?" for unit in _UNITS))  # each unit once, the largest first
_PLAIN = re.compile(_NUMBER)
_FORMS = 'seconds, a timedelta, or text such as "90", "250ms", "5m", "1h30m" or "2d" (w, d, h, m, s, ms, us)'


def seconds(value: Duration, name: str, *, positive: bool = False) -> float:
    """One duration in seconds: 0 or more, math.inf allowed for "for ever".

    value: int or float seconds, a timedelta, or text: a plain number of seconds, or numbers with units, the largest
        first and each once ("1h30m", "1.5h", "250ms").
    name: what the argument is called; messages start with it.
    positive: 0 is refused too.
    Raises TypeError for what is no duration (bool included), ValueError for text that cannot be read, NaN, and what
    is out of bounds. Text is read exactly and rounded once.

    >>> from datetime import timedelta
    >>> from samovar._base.freshness import seconds
    >>> seconds("1h30m", "ttl"), seconds("250ms", "ttl"), seconds(timedelta(days=2), "ttl")
    (5400.0, 0.25, 172800.0)
    """
    if isinstance(value, str):
        number = _read(value, name)
    elif isinstance(value, timedelta):
        number = value.total_seconds()
    else:
        number = _real(value, name, _FORMS)
    if not number >= 0 or (positive and number == 0):  # written so that NaN is refused
        raise ValueError(f"{name} must be {'more than 0' if positive else '0 or more'} seconds, not {value!r}")
    return number + 0.0  # -0.0 becomes 0.0


def _read(text: str, name: str) -> float:
    plain = text.strip()
    if _PLAIN.fullmatch(plain):
        return float(plain)
    parts = _PARTS.fullmatch(plain)
    if not plain or parts is None:
        raise ValueError(f"{name} must be {_FORMS}, the largest unit first, not {text!r}")
    return float(sum(Fraction(count) * unit for count, unit in zip(parts.groups(), _UNITS.values(), strict=True) if count))


def _real(value: object, name: str, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {what}, not {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must fit a float; {type(value).__name__} is too large; math.inf means for ever") from None


def _lifetime(value: Duration | None, name: str) -> float | None:
    return None if value is None else seconds(value, f"Freshness: {name}", positive=True)


def _share(value: float, name: str, top: float, bounds: str) -> float:
    number = _real(value, f"Freshness: {name}", f"a number {bounds}")
    if not 0 <= number <= top or math.isinf(number):
        raise ValueError(f"Freshness: {name} must be a number {bounds}, not {value!r}")
    return number + 0.0


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Freshness:
    """How long a result is fresh, when it is renewed, and for how long it may still be served after that.

    Durations are seconds (int or float), a timedelta, or text ("5m", "1h30m", "250ms"); they are kept as float
    seconds. Immutable, hashable, equal when all words are equal; safe to share between caches, threads and processes.

    ttl: time to live: fresh for so long after it was stored. None: no word about it (a cache given no other never
        lets it expire); math.inf: for ever, said aloud.
    tti: time to idle: no longer fresh when nobody asked for it for so long. None: no such limit.
    jitter: the share of ttl, 0 to 1, of which a random part is taken off each time, so that what was stored together
        does not expire together: ttl * (1 - jitter * u).
    early: XFetch's beta, 0 or more: how eagerly one caller renews an entry shortly before it expires; 1.0 is the
        paper's optimum, 0.0 never.
    stale_while_revalidate: seconds past ttl in which the stale value is served at once and renewed in the background.
    stale_if_error: seconds past ttl in which the stale value is served when the load raises.
    negative_ttl: the ttl for a result of None, "there is nothing"; None: the same as any other.

    Raises TypeError for what is no number or duration (a bool is none), ValueError for NaN, what is negative or out of
    bounds, and text that cannot be read. ttl, tti and negative_ttl must be more than 0.

    >>> from samovar._base.freshness import Freshness
    >>> fresh = Freshness(ttl="5m", jitter=0.1, stale_if_error="1h")
    >>> fresh
    Freshness(ttl=300.0, jitter=0.1, stale_if_error=3600.0)
    >>> fresh.replace(ttl=60).ttl, fresh.keep
    (60.0, 3600.0)
    """

    ttl: float | None
    tti: float | None
    jitter: float
    early: float
    stale_while_revalidate: float
    stale_if_error: float
    negative_ttl: float | None

    def __init__(
        self,
        *,
        ttl: Duration | None = None,
        tti: Duration | None = None,
        jitter: float = 0.0,
        early: float = 0.0,
        stale_while_revalidate: Duration = 0,
        stale_if_error: Duration = 0,
        negative_ttl: Duration | None = None,
    ) -> None:
        put = object.__setattr__  # frozen for all others
        put(self, "ttl", _lifetime(ttl, "ttl"))
        put(self, "tti", _lifetime(tti, "tti"))
        put(self, "jitter", _share(jitter, "jitter", 1.0, "from 0 to 1, a share of ttl"))
        put(self, "early", _share(early, "early", math.inf, "of 0 or more, finite"))
        put(self, "stale_while_revalidate", seconds(stale_while_revalidate, "Freshness: stale_while_revalidate"))
        put(self, "stale_if_error", seconds(stale_if_error, "Freshness: stale_if_error"))
        put(self, "negative_ttl", _lifetime(negative_ttl, "negative_ttl"))

    @classmethod
    def of(cls, ttl: Duration | None, fresh: "Freshness | None", *, who: str = "") -> "Freshness | None":
        """What a call's `ttl=` and `fresh=` say together: ttl wins over fresh.ttl; None when neither says a word.

        who: the name of what was called; messages start with it.
        """
        said = f"{who}: " if who else ""
        if fresh is not None and not isinstance(fresh, Freshness):
            raise TypeError(f"{said}fresh must be a Freshness or None, not {fresh!r}; for a plain time to live give ttl=")
        if ttl is None:
            return fresh
        number = seconds(ttl, f"{said}ttl", positive=True)
        return cls(ttl=number) if fresh is None else fresh.replace(ttl=number)

    @property
    def keep(self) -> float:
        """Seconds that an entry is kept past its ttl, because it may still be served stale."""
        return max(self.stale_while_revalidate, self.stale_if_error)

    def replace(self, **changes: Any) -> "Freshness":
        """The same with some words changed; None takes a ttl, tti or negative_ttl away. Checked as ever."""
        return Freshness(**{field.name: getattr(self, field.name) for field in fields(self)} | changes)

    def __repr__(self) -> str:
        said = ((field.name, getattr(self, field.name)) for field in fields(self))
        return f"Freshness({', '.join(f'{name}={value!r}' for name, value in said if value not in (None, 0.0))})"
