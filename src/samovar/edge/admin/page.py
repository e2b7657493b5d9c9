"""The status page of an edge: HTML made here and now, without a script, that renews itself by a meta refresh.

What it shows was chosen by strangers: URLs and tags are theirs. They are written in visible ASCII, everything else
escaped, never as a link, never in an attribute; the page's policy lets no script run and nothing be fetched, whatever
stood in them.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape

from ..._base.clock import wall
from ..._version import __version__
from ..exchange.numbers import EdgeStats
from .fleet import Look, added
from .told import EdgeSettings

REFRESH_S = 5
_LONGEST = 160  # characters of a URL or tag that are shown
_SHOWN = 15

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #ffffff; --ink: #22201c; --faint: #6d675c; --grid: #e4dfd4;
  --bad: #c8442d; --fair: #c68a12; --good: #1d7f78; --glow: #b5542a; --track: #efebe2;
  --half: #7fbab4; --mild: #7487b8; }
@media (prefers-color-scheme: dark) { :root { --paper: #171614; --card: #211f1c; --ink: #efebe3; --faint: #a8a093;
  --grid: #3a3630; --bad: #f0735b; --fair: #e6b450; --good: #56c2b8; --glow: #e9966b; --track: #302c27;
  --half: #2f7f78; --mild: #93a6d8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .3rem 1rem; }
h1 { font-size: clamp(1.5rem, 4vw, 2.1rem); margin: 0; letter-spacing: -.02em; }
h2 { font-size: 1.05rem; margin: 0 0 .7rem; }
.faint, small { color: var(--faint); }
.pill { border: 1px solid var(--grid); border-radius: 99px; padding: .1rem .7rem; background: var(--card); font-size: .9rem; }
.tiles { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .9rem; margin: 1.5rem 0 .9rem; }
@media (max-width: 42rem) { .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
.card { background: var(--card); border: 1px solid var(--grid); border-radius: 14px; padding: 1rem 1.1rem; min-width: 0; }
.tile b { display: block; font-size: 1.9rem; line-height: 1.15; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.bad { color: var(--bad); } .fair { color: var(--fair); } .good { color: var(--good); } .glow { color: var(--glow); }
.half { color: var(--half); } .mild { color: var(--mild); }
.pair { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: .9rem; margin-top: .9rem; }
@media (max-width: 52rem) { .pair { grid-template-columns: minmax(0, 1fr); } }
.wide { margin-top: .9rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: right; padding: .35rem .5rem; border-top: 1px solid var(--grid); white-space: nowrap; }
thead th { border: 0; color: var(--faint); font-weight: 500; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td:last-child, th:last-child { padding-right: 0; }
.named { table-layout: fixed; } .named th:last-child, .named td:last-child { width: 6rem; }
code { font: .86rem/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: normal;
  overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: 5px; margin-top: .25rem; border-radius: 3px; background: var(--track); }
svg.split { height: 14px; border-radius: 7px; margin: .2rem 0 .7rem; }
.ink { fill: var(--glow); } .g { fill: var(--good); } .f { fill: var(--fair); } .b { fill: var(--bad); }
.n { fill: var(--faint); } .h { fill: var(--half); } .m { fill: var(--mild); }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .92rem; }
.dot { display: inline-block; width: .65em; height: .65em; border-radius: 50%; margin-right: .45em;
  background: currentColor; }
footer { margin-top: 2rem; font-size: .88rem; color: var(--faint); }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CSP = (f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


def page(settings: EdgeSettings, looks: Sequence[Look], now: float | None = None) -> str:
    """The whole page. now: wall time in seconds."""
    total = added([look.stats for look in looks], _SHOWN)
    began = min((look.began for look in looks), default=0.0)
    up_s = max(0.0, (wall() if now is None else now) - began)
    behind = " → ".join(map(str, settings.upstreams))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_S}"><meta name="robots" content="noindex">'
        f"<title>{visible(settings.name)}: {_share(total)} from the cache</title><style>{_STYLE}</style></head>\n<body>"
        f"<main>\n<header><h1>{visible(settings.name)}</h1>"
        f"<span class=pill>in front of {visible(behind, ascii_only=False)}</span>"
        f'<span class="faint">for {_span(up_s)}</span></header>\n'
        f"{_tiles(total, looks, settings)}\n{_outcomes(total)}\n"
        f'<div class="pair">{_named("Asked for most", "URL", total.hot, "Nobody has asked for anything yet.")}'
        f'{_named("Tags", "tag", total.tags, "Nothing that was stored carries a tag.")}</div>\n'
        f"{_workers(looks)}\n"
        f"<footer>samovar {escape(__version__)}. This page renews itself every {REFRESH_S} seconds, without scripts."
        "</footer>\n</main></body></html>\n"
    )


def visible(text: str, *, ascii_only: bool = True) -> str:
    """A stranger's text as HTML: visible ASCII, the rest as backslash escapes, cut when it is long.

    >>> from samovar.edge.admin.page import visible
    >>> print(visible("http://a/<script>" + chr(10) + chr(0x202e)))
    http://a/&lt;script&gt;\\x0a\\u202e
    """
    shown = "".join(
        letter if " " <= letter <= "~" or not ascii_only and letter.isprintable() else
        f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{ord(letter):04x}"
        for letter in text[:_LONGEST]
    )
    return escape(shown) + ("…" if len(text) > _LONGEST else "")


def _tiles(total: EdgeStats, looks: Sequence[Look], settings: EdgeSettings) -> str:
    latency, ratio = total.origin_latency, total.hit_ratio
    tone = "" if not total.requests else "good" if ratio >= 0.8 else "fair" if ratio >= 0.4 else "bad"
    keys, weight = sum(look.entries for look in looks), sum(look.weight for look in looks)
    return '<div class="tiles">' + "".join((
        _tile(_share(total), f"of {_count(total.requests)} requests needed no answer of the origin’s own", tone),
        _tile(_count(total.stale_hits), "answered with something stale", "fair" if total.stale_hits else ""),
        _tile(_count(latency.count), f"answers of the origin; it failed {_many(total.failures, 'time')}",
              "bad" if total.failures else ""),
        _tile(_duration(latency.p50),
              f"the origin’s median; P90 {_duration(latency.p90)}, P99 {_duration(latency.p99)}", ""),
        _tile(_bytes(weight), f"stored under {_many(keys, 'key')}, of {_bytes(settings.maxweight)}", ""),
        _tile(_bytes(total.sent), f"sent; {_bytes(total.fetched)} came from the origin", ""),
    )) + "</div>"


def _tile(figure: str, says: str, tone: str) -> str:
    return f'<div class="card tile"><b class="{tone}">{figure}</b><small>{says}</small></div>'


def _outcomes(total: EdgeStats) -> str:
    """One bar of all requests by what became of them."""
    known = (("hit", total.hits, "g", "good"), ("another’s answer", total.collapsed, "h", "half"),
             ("stale", total.stale_hits, "f", "fair"), ("confirmed", total.revalidated, "m", "mild"),
             ("missed", total.misses, "ink", "glow"), ("passed", total.passes, "n", "faint"))
    parts = (*known, ("refused", max(0, total.requests - sum(count for _, count, _, _ in known)), "b", "bad"))
    whole, at, bars = max(1, sum(count for _, count, _, _ in parts)), 0.0, []
    for _, count, fill, _ in parts:
        width = 1000 * count / whole
        bars.append(f'<rect class="{fill}" x="{at:.1f}" y="0" width="{width:.1f}" height="10"/>')
        at += width
    words = "".join(f'<span><span class="dot {tone}"></span>{_count(count)} {word}</span>'
                    for word, count, _, tone in parts)
    more = (f'<span class="faint">{_count(total.stored)} answers stored · {_count(total.renewals)} renewed in the background '
            f"· {_many(total.errors, 'error')} · {_many(total.aborted, 'client')} left · {_many(total.purges, 'purge')}"
            "</span>")
    return (f'<section class="card"><h2>What became of requests</h2><svg class="split" viewBox="0 0 1000 10" '
            f'preserveAspectRatio="none" aria-hidden="true">{"".join(bars)}</svg><div class="key">{words}{more}</div>'
            "</section>")


def _named(title: str, what: str, counts: Mapping[str, int], empty: str) -> str:
    rows, most = [], max(counts.values(), default=1) or 1
    for text, count in counts.items():
        bar = (f'<svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true"><rect class="ink" x="0" y="0" '
               f'width="{1000 * count / most:.0f}" height="10"/></svg>')
        rows.append(f"<tr><td><code>{visible(text)}</code>{bar}</td><td>{_count(count)}</td></tr>")
    table = (f'<table class="named"><thead><tr><th>{what}</th><th>about</th></tr></thead><tbody>{"".join(rows)}'
             "</tbody></table>")
    return f'<section class="card"><h2>{title}</h2>{table if rows else f"<p class=faint>{empty}</p>"}</section>'


def _workers(looks: Sequence[Look]) -> str:
    rows = "".join(
        f"<tr><td>{look.pid}</td><td>{_count(look.stats.requests)}</td><td>{_share(look.stats)}</td>"
        f"<td>{_count(look.entries)}</td><td>{_bytes(look.weight)}</td><td>{_count(look.stats.origin_latency.count)}</td>"
        f"<td>{_duration(look.stats.origin_latency.p99)}</td><td>{_count(look.stats.errors)}</td></tr>" for look in looks)
    heads = "".join(f"<th>{head}</th>" for head in ("worker", "requests", "from the cache", "keys", "stored",
                                                    "origin’s answers", "P99", "errors"))
    return (f'<section class="card wide"><h2>Workers</h2><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
            "</section>")


# ------------------------------------------------------------------ numbers as people write them

def _share(stats: EdgeStats) -> str:
    return f"{100 * stats.hit_ratio:.1f} %" if stats.requests else "–"


def _count(number: int) -> str:
    return f"{number:,}"


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _bytes(number: int) -> str:
    for size, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"


def _duration(number: float) -> str:
    if not number:
        return "–"
    return f"{number:.2f} s" if number >= 1 else f"{number * 1e3:.3g} ms" if number >= 1e-3 else f"{number * 1e6:.0f} µs"


def _span(number: float) -> str:
    whole = int(number)
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} seconds"
