"""A report as a picture: six panels of bars, written as SVG by hand, so that drawing needs nothing installed.

Each panel asks one question and sorts the answers, shortest bar first; shorter is always better. Samovar is in colour,
functools.lru_cache and dict are dark, the others pale. A bar that would leave the panel is cut, with its figure beside.
"""

from __future__ import annotations

from html import escape
from typing import Any

from bench.peers import DICT, DROP_IN, FUNCTOOLS, MEMOIZE, METHOD

PANELS = (  # slug, the question, unit
    ("hit-int", "A hit: f(42)", "ns per call"),
    ("hit-two", "A hit with two arguments: f(4, 2)", "ns per call"),
    ("hit-keyword", "A hit with a keyword: f(key=42)", "ns per call"),
    ("miss-c", "A miss that evicts", "ns per call"),
    ("zipf", "A web-like workload: Zipf, 100k of 1M", "ns per call"),
    ("bytes", "Memory per entry, beyond key and value", "bytes"),
)
WIDTH, PANEL_W, GAP, TOP = 1080, 500, 40, 104
BAR_H, PITCH, HEAD_H, LABEL_W, FIGURE_W = 17, 23, 44, 132, 62
CUT = 3.2  # bars end at this multiple of functools' figure
FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif\""
INK, FAINT, SAMOVAR, DARK, PALE = "#1c1917", "#78716c", "#d9480f", "#57534e", "#d6d3d1"


def text(
    x: float, y: float, words: str, size: int = 13, fill: str = INK, weight: int = 400, anchor: str = "start"
) -> str:
    style = f'font-size="{size}" fill="{fill}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def bars(row: dict[str, Any]) -> list[tuple[str, float]]:
    found = {name: value for name, value in row["figures"].items() if name != "no-op call" and name != METHOD}
    return sorted(found.items(), key=lambda item: item[1])


def panel(row: dict[str, Any], question: str, unit: str, x: float, y: float) -> str:
    shown = bars(row)
    limit = min(max(value for _, value in shown), CUT * row["figures"][FUNCTOOLS])
    room = PANEL_W - LABEL_W - FIGURE_W
    parts = [text(x, y + 14, question, 15, weight=650), text(x, y + 31, f"{unit}, shorter is better", 11, FAINT)]
    for at, (name, value) in enumerate(shown):
        top = y + HEAD_H + at * PITCH
        ours = name in (DROP_IN, MEMOIZE)
        fill = SAMOVAR if ours else DARK if name in (FUNCTOOLS, DICT) else PALE
        long = room * min(value, limit) / limit
        label = {FUNCTOOLS: "functools.lru_cache"}.get(name, name)
        parts.append(text(x + LABEL_W - 8, top + 13, label, 12, SAMOVAR if ours else INK, 650 if ours else 400, "end"))
        parts.append(f'<rect x="{x + LABEL_W}" y="{top}" width="{long:.1f}" height="{BAR_H}" rx="2.5" fill="{fill}"/>')
        if value > limit:
            cut = x + LABEL_W + long - 16
            parts.append(f'<path d="M{cut:.1f} {top - 1}l6 {BAR_H + 2}h5l-6 -{BAR_H + 2}z" fill="#fff"/>')
        figure = f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}"
        ink, weight = (SAMOVAR, 650) if ours else (FAINT, 400)
        parts.append(text(x + LABEL_W + long + 6, top + 13, figure, 12, ink, weight))
    return "\n".join(parts)


def draw(report: dict[str, Any]) -> str | None:
    """The SVG text of a report; None when none of the chart's cases were measured."""
    rows = {row["slug"]: row for row in report["rows"] if row["figures"].get(FUNCTOOLS)}
    panels = [(rows[slug], question, unit) for slug, question, unit in PANELS if slug in rows]
    if not panels:
        return None
    parts: list[str] = []
    y = float(TOP)
    for at in range(0, len(panels), 2):
        pair = panels[at : at + 2]
        parts.extend(panel(*one, GAP + side * (PANEL_W + GAP / 2), y) for side, one in enumerate(pair))
        y += HEAD_H + max(len(bars(one[0])) for one in pair) * PITCH + 34
    machine = report["machine"]
    where = f"{machine['python']}, {machine['build']}; {machine['processor']}; {report['when']}"
    head = [
        text(GAP, 46, "samovar beside dict, functools.lru_cache and the other caches for Python", 21, weight=700),
        text(GAP, 70, "CPU time of one thread, the loop that calls included; all take turns in one process", 13, FAINT),
    ]
    foot = text(GAP, y + 4, where, 11, FAINT)
    height = y + 26
    size = f'width="{WIDTH + GAP}" height="{height:.0f}" viewBox="0 0 {WIDTH + GAP} {height:.0f}"'
    card = f'<rect width="{WIDTH + GAP}" height="{height:.0f}" rx="10" fill="#fff"/>'
    title = "<title>samovar beside dict, functools.lru_cache and other caches: time and memory</title>"
    body = "\n".join([title, card, *head, *parts, foot])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT} role="img">\n{body}\n</svg>\n'
