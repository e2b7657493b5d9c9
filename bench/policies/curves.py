"""Hit ratio curves as SVG, written by hand: a panel for each trace, a line for each rule, Belady's optimum as dots."""

from __future__ import annotations

import math
from typing import Any

from bench.chart import FAINT, FONT, INK, text

COLOURS = {"adaptive": "#d9480f", "lru": "#57534e", "fifo": "#a8a29e", "sieve": "#0c8599", "s3fifo": "#2f9e44",
           "tinylfu": "#6741d9", "gdsf": "#e599f7"}
ORDER = ("gdsf", "fifo", "lru", "sieve", "tinylfu", "s3fifo", "adaptive")  # the last is drawn on top
COLUMNS, PANEL_W, PANEL_H, LEFT, TOP, GAP_X, GAP_Y = 3, 300, 190, 56, 116, 62, 78


def panel(trace: str, curve: dict[str, Any], x: float, y: float) -> str:
    sizes = curve["sizes"]
    top = max([ratio for ratios in curve["rules"].values() for ratio in ratios] + [ratio for _, ratio in curve["belady"]])
    ceiling = max(0.1, math.ceil(top * 10) / 10)
    low, high = math.log(sizes[0]), math.log(sizes[-1])

    def at(size: float, ratio: float) -> tuple[float, float]:
        return x + PANEL_W * (math.log(size) - low) / (high - low), y + PANEL_H * (1 - ratio / ceiling)

    parts = [text(x, y - 24, trace, 15, weight=650),
             text(x, y - 8, f"{curve['requests']:,} requests, {curve['unique']:,} keys", 11, FAINT)]
    for step in range(5):
        ratio = ceiling * step / 4
        _, level = at(sizes[0], ratio)
        parts.append(f'<path d="M{x} {level:.1f}h{PANEL_W}" stroke="#e7e5e4" stroke-width="1"/>')
        parts.append(text(x - 7, level + 4, f"{100 * ratio:.0f}%", 10, FAINT, anchor="end"))
    for power in range(1, 7):
        if sizes[0] <= 10**power <= sizes[-1]:
            place, _ = at(10**power, 0)
            parts.append(text(place, y + PANEL_H + 15, f"{10**power:,}", 10, FAINT, anchor="middle"))
    for rule in ORDER:
        spots = " ".join(f"{place:.1f},{level:.1f}" for place, level in map(at, sizes, curve["rules"][rule]))
        wide = 2.6 if rule == "adaptive" else 1.5
        parts.append(f'<polyline points="{spots}" fill="none" stroke="{COLOURS[rule]}" stroke-width="{wide}" '
                     'stroke-linejoin="round"/>')
    for size, ratio in curve["belady"]:
        if sizes[0] <= size <= sizes[-1]:
            place, level = at(size, ratio)
            parts.append(f'<circle cx="{place:.1f}" cy="{level:.1f}" r="2.4" fill="{INK}"/>')
    return "\n".join(parts)


def legend(y: float) -> list[str]:
    parts, x = [], float(LEFT)
    for name in reversed(ORDER):
        parts.append(f'<path d="M{x:.0f} {y - 4}h22" stroke="{COLOURS[name]}" stroke-width="3"/>')
        parts.append(text(x + 28, y, name, 12, weight=650 if name == "adaptive" else 400))
        x += 46 + 7.2 * len(name)
    parts.append(f'<circle cx="{x + 8:.0f}" cy="{y - 4}" r="2.6" fill="{INK}"/>')
    parts.append(text(x + 18, y, "Belady: the best there can be, knowing the future", 12))
    return parts


def draw(report: dict[str, Any]) -> str:
    curves = report["curves"]
    panels = []
    for at, (trace, curve) in enumerate(sorted(curves.items())):
        x = LEFT + at % COLUMNS * (PANEL_W + GAP_X)
        y = TOP + GAP_Y / 2 + at // COLUMNS * (PANEL_H + GAP_Y)
        panels.append(panel(trace, curve, x, y))
    rows = -(-len(curves) // COLUMNS)
    width, height = LEFT + COLUMNS * (PANEL_W + GAP_X), TOP + rows * (PANEL_H + GAP_Y) + 20
    head = [text(LEFT - 16, 40, "Hit ratio by cache size: the eviction rules on public traces", 21, weight=700),
            text(LEFT - 16, 62, "entries on a logarithmic scale; higher is better", 13, FAINT), *legend(88)]
    size = f'width="{width}" height="{height:.0f}" viewBox="0 0 {width} {height:.0f}"'
    card = f'<rect width="{width}" height="{height:.0f}" rx="10" fill="#fff"/>'
    title = "<title>Hit ratio by cache size of samovar's eviction rules on public traces</title>"
    body = "\n".join([title, card, *head, *panels])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT} role="img">\n{body}\n</svg>\n'
