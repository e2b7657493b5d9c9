"""A report into README.md, between the markers of its Python, so that the page always says where a figure is from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import table

README = Path(__file__).with_name("README.md")


def section(report: dict[str, Any], chart: Path | None) -> str:
    """The Markdown of one report: machine, command, table, peers, notes, picture."""
    machine, rows = report["machine"], report["rows"]
    names = table.peers_in(rows)
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    parts = [
        f"### {machine['python']}, {machine['build']}",
        f"{report['when']}; {machine['processor']}; {machine['system']}; {machine['compiler']}. Versions: {versions}. "
        f"Reproduce with `{report['command']}` (this took {report['took_s']:.0f} s).",
        f"![bars: time per call and memory per entry]({chart.relative_to(README.parent)})" if chart else "",
        table.markdown(table.HEAD, [table.cells(row) for row in table.of_level(rows, 1)]),
    ]
    if table.of_level(rows, 2):
        parts.append(table.markdown(table.WIDE_HEAD, [table.wide_cells(row) for row in table.of_level(rows, 2)]))
    if names:
        compared = [row for row in rows if any(name in row["figures"] for name in names)]
        head = ("beside the peers (ns)", "functools", "lru_cache", "memoize", *names)
        parts.append(table.markdown(head, [table.peer_cells(row, names) for row in compared]))
    parts.append("\n".join(f"- {row['title']}: {note}" for row in rows for note in row["notes"]))
    return "\n\n".join(part for part in parts if part)


def publish(report: dict[str, Any], key: str, chart: Path | None) -> None:
    """Replace what stands between `<!-- report KEY -->` and `<!-- end KEY -->`; a new key is put at the end."""
    begin, end = f"<!-- report {key} -->", f"<!-- end {key} -->"
    page = README.read_text()
    fresh = f"{begin}\n{section(report, chart)}\n{end}"
    if begin in page and end in page:
        before, after = page.split(begin, 1)[0], page.split(end, 1)[1]
        README.write_text(before + fresh + after)
    else:
        README.write_text(f"{page.rstrip()}\n\n{fresh}\n")
