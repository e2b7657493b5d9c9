"""One HTML file that tells what the demonstrations found, to a person who has read nothing.

It is whole by itself: pictures and style lie in it, nothing is fetched, there is no script.
"""

from collections.abc import Sequence
from html import escape

from .._version import __version__
from .findings import Column, Demonstration, Way, said
from .pictures import draw

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #ffffff; --ink: #22201c; --faint: #6d675c; --grid: #e4dfd4;
  --bad: #c8442d; --fair: #c68a12; --good: #1d7f78; --glow: #b5542a; }
@media (prefers-color-scheme: dark) { :root { --paper: #171614; --card: #211f1c; --ink: #efebe3; --faint: #a8a093;
  --grid: #3a3630; --bad: #f0735b; --fair: #e6b450; --good: #56c2b8; --glow: #e9966b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
header h1 { font-size: clamp(1.8rem, 5vw, 2.7rem); line-height: 1.15; margin: 0 0 .6rem; letter-spacing: -.02em; }
header p, .question, figcaption, .setting, footer { color: var(--faint); }
nav { margin: 1.4rem 0 0; display: flex; flex-wrap: wrap; gap: .5rem; }
nav a { color: var(--ink); text-decoration: none; border: 1px solid var(--grid); border-radius: 99px;
  padding: .25rem .9rem; background: var(--card); }
nav a:hover { border-color: var(--glow); }
section { margin-top: 3.2rem; }
h2 { font-size: clamp(1.35rem, 3.4vw, 1.8rem); line-height: 1.25; margin: 0; letter-spacing: -.01em; }
.question { margin: .3rem 0 1rem; font-size: 1.05rem; }
.finding { border-left: 4px solid var(--glow); padding: .2rem 0 .2rem 1rem; margin: 1rem 0; font-size: 1.12rem; }
.warning { color: var(--bad); }
.setting { font-size: .95rem; }
figure, .table { background: var(--card); border: 1px solid var(--grid); border-radius: 14px; margin: 1.4rem 0;
  padding: 1.1rem 1.2rem; }
figure h3 { margin: 0 0 .6rem; font-size: 1.1rem; line-height: 1.35; }
figcaption { font-size: .93rem; margin-top: .6rem; }
.picture { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 33rem; height: auto; font-family: inherit; }
.table { overflow-x: auto; padding: .4rem 1.2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { text-align: right; padding: .5rem .6rem; white-space: nowrap; border-top: 1px solid var(--grid); }
thead th { border: 0; color: var(--faint); font-weight: 500; white-space: normal; vertical-align: bottom; }
th:first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 600; }
tbody th small { display: block; color: var(--faint); font-weight: 400; white-space: normal; }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .5em; }
.bad { background: var(--bad); } .fair { background: var(--fair); } .good { background: var(--good); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; font-size: .95rem; }
dt { font-weight: 600; } dd { margin: 0; color: var(--faint); }
footer { margin-top: 3.5rem; border-top: 1px solid var(--grid); padding-top: 1rem; font-size: .9rem; }
"""
_HEADING = "What a cache does, and what can go wrong"
_WORDS = (
    ("origin", "what the cache stands in front of: a database, which is slow and can do only so much at once"),
    ("hit", "a caller whose answer was in the cache"),
    ("P50", "half of the callers waited no longer than this: what is usual"),
    ("P99", "1 caller in 100 waited longer than this: what the unlucky meet"),
    ("herd", "the crowd that runs to the origin all at once, because the answer that all of them want just expired"),
    ("node", "one of the servers that keep the answers between them, each a part"),
)


def page(demonstrations: Sequence[Demonstration]) -> str:
    """The whole page. Raises MissingExtra when there is no matplotlib to draw with."""
    links = "".join(f'<a href="#{escape(one.name)}">{escape(one.title)}</a>' for one in demonstrations)
    place, sections = 0, []
    for one in demonstrations:
        sections.append(_section(one, place))
        place += len(one.pictures)
    words = "".join(f"<dt>{word}</dt><dd>{meaning}</dd>" for word, meaning in _WORDS)
    took_s = sum(one.took_s for one in demonstrations)
    seeds = ", ".join(sorted({str(one.seed) for one in demonstrations}))
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_HEADING}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        f"<header><h1>{_HEADING}</h1>"
        "<p>Everything here was measured just now on this machine. Under each heading the same crowd, or the same work, went "
        "through each of the ways that are compared.</p>"
        f"<nav>{links}</nav></header>\n" + "\n".join(sections) +
        f'\n<section><h2>Words</h2><dl>{words}</dl></section>\n'
        f"<footer>samovar {escape(__version__)} lab, seed {seeds}, measured in {took_s:.0f} s.</footer>\n"
        "</main></body></html>\n"
    )


def _section(one: Demonstration, place: int) -> str:
    figures = "\n".join(
        f'<figure><h3>{escape(picture.title)}</h3><div class="picture">{draw(picture, place + number)}</div>'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        for number, picture in enumerate(one.pictures)
    )
    warning = f'<p class="warning">{escape(one.warning)}</p>\n' if one.warning else ""
    return (
        f'<section id="{escape(one.name)}"><h2>{escape(one.title)}</h2><p class="question">{escape(one.question)}</p>\n'
        f'<p class="finding">{escape(one.finding)}</p>\n{warning}{figures}\n{_table(one.columns, one.ways)}\n'
        f'<p class="setting">{escape(one.setting)}</p></section>'
    )


def _table(columns: Sequence[Column], ways: Sequence[Way]) -> str:
    heads = "".join(f"<th scope=col>{escape(column.heading)}</th>" for column in columns)
    rows = "".join(
        f'<tr><th scope=row><span class="dot {way.tone}"></span>{escape(way.label)}<small>{escape(way.says)}</small></th>'
        + "".join(f"<td>{cell(way, column)}</td>" for column in columns) + "</tr>"
        for way in ways
    )
    return f'<div class="table"><table><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def cell(way: Way, column: Column) -> str:
    """A way's figure as people write it; empty where it has none."""
    return said(way.figures[column.key], column.unit) if column.key in way.figures else ""
