"""What a demonstration found, as plain facts: figures, pictures as numbers, and a sentence. Nothing here prints or draws.

Tones say what a way of doing it is: "bad" is what the demonstration warns of, "fair" helps, "good" is what to use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Tone = Literal["bad", "fair", "good"]
Kind = Literal["line", "area", "steps"]
Unit = Literal["count", "s", "share", "bytes", "times"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures: its key in `Way.figures`, its heading, the unit of its numbers."""

    key: str
    heading: str
    unit: Unit


@dataclass(frozen=True, slots=True)
class Way:
    """One way of doing it, as measured. `shape`: how it went over time, for a sparkline; the scale is the reader's."""

    label: str
    says: str
    tone: Tone
    figures: Mapping[str, float]
    shape: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a panel."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    tone: Tone
    kind: Kind = "line"


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes. `marks`: moments shown as thin uprights. `limit`: a level shown as a dashed line, and its name."""

    heading: str
    series: Sequence[Series]
    marks: Sequence[float] = ()
    limit: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class Timelines:
    """A picture of panels under each other, or side by side, that share their axes. `log`: y is logarithmic."""

    title: str
    caption: str
    panels: Sequence[Panel]
    x_label: str
    y_label: str
    y_unit: Unit
    log: bool = False
    side_by_side: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: from 0 to `value`, or from `start` where that is given, which then is a figure of its own."""

    label: str
    value: float
    tone: Tone
    start: float | None = None


@dataclass(frozen=True, slots=True)
class Bars:
    """A picture of bars that lie under each other. `log`: the numbers are logarithmic."""

    title: str
    caption: str
    bars: Sequence[Bar]
    x_label: str
    x_unit: Unit
    log: bool = False


Picture = Timelines | Bars


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One demonstration: what is asked, what was found, by which ways, with figures and pictures.

    name: as on the command line. setting: what was done, in plain words, with this run's numbers. finding: the answer
    in one sentence. shape_says: what the ways' shapes are. warning: why the figures are not to be trusted; empty when
    they are. took_s: how long the whole took.
    """

    name: str
    title: str
    question: str
    setting: str
    finding: str
    columns: Sequence[Column]
    ways: Sequence[Way]
    pictures: Sequence[Picture]
    shape_says: str
    seed: int
    warning: str = ""
    took_s: float = field(default=0.0, compare=False)

    def way(self, label: str) -> Way:
        """The way of that label; KeyError when there is none."""
        for way in self.ways:
            if way.label == label:
                return way
        raise KeyError(label)

    def scale(self, way: Way) -> tuple[float, float]:
        """The least and the most in the shapes of all ways that this one is to be compared with: those that have the
        same figures."""
        alike = [other for other in self.ways if other.figures.keys() == way.figures.keys()]
        values = [value for other in alike for value in other.shape if value > 0]
        return min(values, default=1.0), max(values, default=1.0)

    def plain(self) -> dict[str, Any]:
        """All of it as dicts, lists, texts and numbers, for JSON."""
        return asdict(self)


def said(number: float, unit: Unit) -> str:
    """A number as people write it.

    >>> from samovar._lab.findings import said
    >>> said(1234567, "count"), said(0.00042, "s"), said(0.0123, "s"), said(2.5, "s"), said(0.123, "share")
    ('1,234,567', '0.42 ms', '12.3 ms', '2.5 s', '12.3 %')
    >>> said(0, "s"), said(3_400_000, "bytes"), said(2_130_000_000, "bytes"), said(12.34, "times"), said(0.0000031, "s")
    ('0', '3.4 MB', '2.13 GB', '12.3 ×', '3.1 µs')
    """
    if unit == "share":
        return f"{number * 100:.3g} %" if number else "0"
    if unit == "bytes":
        scale, name = next(((scale, name) for scale, name in ((1e9, "GB"), (1e6, "MB")) if number >= scale), (1e3, "kB"))
        return f"{number / scale:.3g} {name}" if number < 999.5 * scale else f"{number / scale:,.0f} {name}"
    if unit == "times":
        return f"{number:,.0f} ×" if number >= 100 else f"{number:.3g} ×"
    if unit == "s" and number:
        for scale, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
            if number * scale >= 0.1 or name == "µs":
                digits = 2 if number * scale < 1 else 3
                return f"{number * scale:,.0f} {name}" if number * scale >= 100 else f"{number * scale:.{digits}g} {name}"
    return f"{number:.2g}" if number < 10 and number != int(number) else f"{number:,.0f}"
