"""A demonstration on the terminal: what was asked, a table, what was found."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .._lab.findings import Demonstration, Tone
from .._lab.pictures import sparkline
from .._lab.report import cell

_COLOURS: dict[Tone, str] = {"bad": "red", "fair": "yellow", "good": "green"}
WIDTH = 30  # of a sparkline


def _narrow(heading: str) -> str:
    """A heading one word above the other: figures are narrow."""
    return heading.replace(" ÷ ", "\n÷\N{NO-BREAK SPACE}").replace(" ", "\n")


def show(one: Demonstration, console: Console) -> None:
    """Print it, in colours where the terminal has them."""
    console.print()
    console.print(Text(one.title, style="bold"))
    console.print(Text(one.setting, style="dim"))
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    longest = max(len(way.label) for way in one.ways)
    table.add_column("", min_width=longest)
    for column in one.columns:
        table.add_column(_narrow(column.heading), justify="right", vertical="bottom")
    lines = Table(box=None, show_header=False, pad_edge=False)
    lines.add_column(min_width=longest)
    lines.add_column(min_width=WIDTH)
    for way in one.ways:
        least, most = one.scale(way)
        table.add_row(Text(way.label, style=_COLOURS[way.tone], no_wrap=True),
                      *(Text(cell(way, column), no_wrap=True) for column in one.columns))
        lines.add_row(Text(way.label, style=_COLOURS[way.tone]),
                      Text(sparkline(way.shape, WIDTH, low=least, high=most), style=_COLOURS[way.tone], no_wrap=True),
                      Text(way.says, style="dim"))
    console.print(Padding(table, (1, 0, 0, 0)))
    console.print(Text(f"{one.shape_says[0].upper()}{one.shape_says[1:]}:", style="dim"))
    console.print(lines)
    console.print(Padding(Text(one.finding), (1, 0, 0, 0)))
    if one.warning:
        console.print(Text(one.warning, style="red"))
