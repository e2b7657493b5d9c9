"""The command itself: what `samovar` alone says, and its commands. A new one is one import and one line."""

from typing import Annotated

import typer

from .._version import __version__
from .edge import edge
from .lab import lab
from .ring import ring

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="samovar, a native cache for Python: what to see and do from the command line.",
)
app.command(name="edge")(edge)
app.command(name="lab")(lab)
app.command(name="ring")(ring)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"samovar {__version__}")
        raise typer.Exit


@app.callback()
def samovar(
    version: Annotated[
        bool, typer.Option("--version", help="Say which samovar this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """samovar, a native cache for Python: what to see and do from the command line."""
