"""Findings drawn by matplotlib as SVG that lives in a page: its text is the page's text, its colours are the page's.

matplotlib draws with stand-in colours, which are then replaced by the page's CSS variables, so that one picture serves
light and dark alike.
"""

import io
import math
import re
from collections.abc import Sequence
from typing import Any

from .._base.errors import MissingExtra
from .findings import Bars, Picture, Series, Timelines, Tone, Unit, said

INK, FAINT, GRID = "#010101", "#020202", "#030303"
TONES: dict[Tone, str] = {"bad": "#0b0101", "fair": "#0b0202", "good": "#0b0303"}
_VARIABLES = {INK: "--ink", FAINT: "--faint", GRID: "--grid",
              TONES["bad"]: "--bad", TONES["fair"]: "--fair", TONES["good"]: "--good"}
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "samovar", "font.family": ["DejaVu Sans"], "font.size": 11,
    "axes.edgecolor": GRID, "axes.labelcolor": FAINT, "axes.spines.top": False, "axes.spines.right": False,
    "axes.spines.left": False, "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.7,
    "axes.titlelocation": "left", "axes.titlesize": 11, "axes.titlecolor": INK, "text.color": INK,
    "xtick.color": GRID, "ytick.color": GRID, "xtick.labelcolor": FAINT, "ytick.labelcolor": FAINT,
    "xtick.major.size": 0, "ytick.major.size": 0, "xtick.minor.size": 0, "ytick.minor.size": 0,
    "legend.frameon": False, "figure.facecolor": "none", "axes.facecolor": "none", "path.simplify": True,
}
WIDTH = 8.6  # inches; the page scales it


def draw(picture: Picture, place: int) -> str:
    """The picture as an <svg> element. place: its number in the page, so that no two elements share an id."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("pictures need matplotlib: pip install 'samovar[cli]'") from None
    with rc_context(_STYLE):
        figure = Figure(layout="constrained")
        FigureCanvasSVG(figure)
        if isinstance(picture, Bars):
            _bars(figure, picture)
        else:
            _timelines(figure, picture)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _for_a_page(written.getvalue(), place, picture.title)


def _timelines(figure: Any, picture: Timelines) -> None:
    count = len(picture.panels)
    across, down = (count, 1) if picture.side_by_side else (1, count)
    figure.set_size_inches(WIDTH, 3.4 if down == 1 else 0.5 + 1.35 * down)
    axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
    for axis, panel in zip(axes, picture.panels, strict=True):
        for series in panel.series:
            _line(axis, series, picture.log)
        for mark in panel.marks:
            axis.axvline(mark, color=FAINT, linewidth=0.9, alpha=0.55)
        if panel.limit is not None:
            level, name = panel.limit
            axis.axhline(level, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axis.annotate(name, (1, level), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points",
                          ha="right", va="bottom", color=INK, fontsize=9.5)
        axis.set_title(panel.heading, pad=4)
        if any(series.label for series in panel.series):
            axis.legend(loc="upper left", labelcolor="linecolor", handlelength=1.2)
        axis.grid(axis="x", visible=False)
    if picture.log:
        axes[0].set_yscale("log")
    else:
        axes[0].set_ylim(bottom=0)
    axes[0].margins(x=0.01)
    _ticks(axes[0].yaxis, picture.y_unit, picture.log)
    _whole(axes[0].xaxis)
    axes[-1].set_xlabel(picture.x_label)
    figure.supylabel(picture.y_label, color=FAINT, fontsize=11)


def _line(axis: Any, series: Series, log: bool) -> None:
    colour = TONES[series.tone]
    if series.kind == "area":
        known = [value for value in series.y if value == value]
        floor = min((value for value in known if value > 0), default=1.0) * 0.7 if log else 0.0
        axis.fill_between(series.x, series.y, floor, color=colour, alpha=0.22, linewidth=0)
    step = {"drawstyle": "steps-post"} if series.kind == "steps" else {}
    axis.plot(series.x, series.y, color=colour, linewidth=1.7, label=series.label or None, solid_joinstyle="round", **step)


def _bars(figure: Any, picture: Bars) -> None:
    figure.set_size_inches(WIDTH, 0.75 + 0.46 * len(picture.bars))
    axis = figure.subplots()
    values = [bar.value for bar in picture.bars] + [bar.start for bar in picture.bars if bar.start]
    if picture.log:
        axis.set_xscale("log")
        low, high = min(values), max(values)
        axis.set_xlim(low / 9, high * 9)
    else:
        axis.set_xlim(0, max(max(values), 1e-9) * 1.16)
    for row, bar in enumerate(picture.bars):
        start = bar.start or 0.0
        axis.barh(row, bar.value - start, left=start, height=0.42 if bar.start is None else 0.16, color=TONES[bar.tone])
        words = said(bar.value, picture.x_unit)
        if bar.start is not None:
            axis.plot([bar.start], [row], "o", color=TONES[bar.tone], markersize=8)
            axis.annotate(said(bar.start, picture.x_unit), (bar.start, row), xytext=(-9, 0), textcoords="offset points",
                          ha="right", va="center", color=FAINT, fontsize=10)
            axis.plot([bar.value], [row], "o", color=TONES[bar.tone], markersize=8)
        axis.annotate(words, (bar.value, row), xytext=(9, 0), textcoords="offset points", ha="left", va="center",
                      color=INK, fontsize=11)
    axis.set_yticks(range(len(picture.bars)), [bar.label for bar in picture.bars])
    axis.tick_params(axis="y", labelcolor=INK)
    axis.set_ylim(len(picture.bars) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    _ticks(axis.xaxis, picture.x_unit, picture.log)
    axis.set_xlabel(picture.x_label)


def _ticks(axis: Any, unit: Unit, log: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if log:
        axis.set_major_locator(LogLocator(10, numticks=7))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(4, integer=unit == "count"))
    axis.set_major_formatter(FuncFormatter(lambda value, _: said(value, unit) if value > 0 else "0"))


def _whole(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def _for_a_page(svg: str, place: int, title: str) -> str:
    """What stands between <svg> and </svg>, without what a file of its own needs, in the page's colours."""
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'\s(?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", svg[:svg.index(">")]) + svg[svg.index(">"):]
    svg = re.sub(r'\bid="', f'id="p{place}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#p{place}-", svg)
    svg = re.sub("|".join(_VARIABLES), lambda match: f"var({_VARIABLES[match.group()]})", svg)
    svg = re.sub(r"'DejaVu Sans'(?:, [^;\"]*)?", "inherit", svg)
    svg = re.sub(r"font: ([\d.]+px) inherit", r"font-size: \1", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{_escaped(title)}"', 1).strip()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(shape: Sequence[float], width: int = 30, *, low: float, high: float) -> str:
    """The shape in blocks, at most `width` of them, each as high as the most of its part on a logarithmic scale from
    low to high; a blank where there was nothing.

    >>> from samovar._lab.pictures import sparkline
    >>> sparkline([0, 1, 10, 100, 1000], low=1, high=1000)
    ' ▁▃▆█'
    """
    per = max(1, math.ceil(len(shape) / width))
    parts = [max(shape[first:first + per]) for first in range(0, len(shape), per)]
    span = math.log(high / low) if high > low > 0 else 1.0
    return "".join(
        _BLOCKS[round(min(1.0, max(0.0, math.log(part / low) / span)) * (len(_BLOCKS) - 1))] if part > 0 else " "
        for part in parts
    )
