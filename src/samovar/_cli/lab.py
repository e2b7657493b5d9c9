"""`samovar lab`: run the demonstrations, show what they found, write the report."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from .._base.errors import MissingExtra
from .._base.extras import needed
from .._lab import report
from .._lab.findings import Demonstration
from .._lab.registry import DEMONSTRATIONS, Entry, named
from .show import show

REPORT = Path("samovar-lab.html")
_NAMES = ", ".join(entry.name for entry in DEMONSTRATIONS)


def _entries(names: list[str] | None) -> list[str]:
    for name in names or ():
        try:
            named(name)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return names or []


def lab(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DEMO]...", help=f"Which: {_NAMES}. All, when none is named.", callback=_entries),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help=f"Write the report there. When all are run: {REPORT}.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead.")] = False,
    seed: Annotated[int, typer.Option(help="What chance begins with: the same seed sends the same crowd.")] = 1,
    scale: Annotated[
        float, typer.Option(min=0.05, max=20, help="How long to measure, as a multiple of the usual time.")
    ] = 1.0,
) -> None:
    """Show on this machine what a cache does to a slow origin, and what can go wrong.

    Each demonstration sends the same crowd through a cache, or a cluster, before and after the remedy. All of them take
    less than a minute, and write one HTML page with pictures.
    """
    target = html or (REPORT if not names and not as_json else None)
    if target is not None:
        _check(target)
    entries = [named(name) for name in dict.fromkeys(names)] if names else list(DEMONSTRATIONS)
    console, news = Console(), Console(stderr=True)
    found = []
    for entry in entries:
        one = _run(entry, seed, scale, news)
        found.append(one)
        if not as_json:
            show(one, console)
    if as_json:
        print(json.dumps({"seed": seed, "demonstrations": [one.plain() for one in found]}))
    if target is not None:
        _write(target, found, news)


def _run(entry: Entry, seed: int, scale: float, news: Console) -> Demonstration:
    with news.status(f"{entry.name}: {entry.title}"):
        return entry.run(seed, entry.seconds * scale)


def _check(target: Path) -> None:
    """Say what is missing for the report before anything is measured, which takes its time."""
    if not os.access(target if os.path.exists(target) else target.parent, os.W_OK):
        raise typer.BadParameter(f"the report cannot be written there: {str(target)!r}", param_hint="--html")
    try:
        needed("matplotlib", "cli", "the report with pictures")
    except MissingExtra as error:
        typer.echo(f"samovar: {error}", err=True)
        raise typer.Exit(2) from None


def _write(target: Path, found: list[Demonstration], news: Console) -> None:
    try:
        target.write_text(report.page(found), encoding="utf-8")
    except OSError as error:
        typer.echo(f"samovar: the report cannot be written: {error}", err=True)
        raise typer.Exit(1) from None
    news.print(Text.assemble("The report with pictures: ", (str(target), "bold")))
