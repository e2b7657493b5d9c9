"""`samovar edge`: run a caching reverse proxy. Its options are the words of EdgeSettings, one for one."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from .._base.errors import MissingExtra
from ..edge.admin.told import EdgeSettings, settings
from ..edge.admin.words import SettingError

_LISTED = {word for word, kind in get_type_hints(EdgeSettings).items() if getattr(kind, "__origin__", None) is tuple}
_METAVARS = {"origin": "URL", "shield": "URL", "purge_also": "URL", "listen": "HOST:PORT", "admin": "HOST:PORT",
             "keyed": "FIELD", "targets": "FIELD", "tag_fields": "FIELD", "admin_hosts": "NAME", "origin_host": "NAME",
             "name": "NAME", "reserved": "PATH", "access_log": "FILE", "spill_dir": "FOLDER", "token": "SECRET",
             "set_cookie": "bypass|rfc", "scheme": "http|https", "heuristic_share": "SHARE"}
_KINDS = {Path: "FILE", int: "NUMBER", float: "TIME"}
_SIZES = ("maxweight", "max_body", "spill", "max_upload", "max_head", "fetch_memory", "max_unsent")
_TIMES = ("disconnected", "heuristic_cap", "hit_for_miss")


def option(word: str) -> str:
    """A word as it is written on the command line."""
    return "--" + word.replace("_", "-")


def _metavar(word: str, kind: Any) -> str:
    if word in _METAVARS:
        return _METAVARS[word]
    if word in _SIZES or word in _TIMES:
        return "SIZE" if word in _SIZES else "TIME"
    kinds = [one for one in (get_args(kind) or (kind,)) if one is not type(None)]
    return _KINDS.get(kinds[0], "TEXT")


def row(field: "dataclasses.Field[Any]") -> str:
    """A word's row of the table in docs/edge.md."""
    kind = get_type_hints(EdgeSettings)[field.name]
    value = "" if kind is bool else f" {_metavar(field.name, kind)}".replace("|", "\\|")
    default = field.metadata["shown"] or _shown(field.default)
    return f"| `{field.name.replace('_', '-')}{value}` | {default} | {field.metadata['says']} |"


def _shown(default: object) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)


def _parameters() -> list[inspect.Parameter]:
    """One optional parameter for each word: None says that it was not given."""
    hints, found = get_type_hints(EdgeSettings), []
    for field in dataclasses.fields(EdgeSettings):
        word, about = field.name, field.metadata
        names, kind, words = [option(word)], hints[word], {"help": about["says"], "rich_help_panel": about["group"]}
        if about["shown"]:
            words["help"] += f" [default: {about['shown']}]"
        if kind is bool:
            taken: Any = bool | None
            names = [f"{option(word)}/--no-{word.replace('_', '-')}"]
        else:
            taken = list[str] | None if word in _LISTED else str | None
            words["metavar"] = _metavar(word, kind)
        found.append(inspect.Parameter(word, inspect.Parameter.KEYWORD_ONLY, default=None,
                                       annotation=Annotated[taken, typer.Option(*names, **words)]))
    return found


def _with_words(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the words of EdgeSettings as its options, where it has `**given`."""
    own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.kind is not one.VAR_KEYWORD]
    signature = inspect.Signature([*own, *_parameters()])
    command.__signature__ = signature  # type: ignore[attr-defined]  # what inspect.signature asks for first
    command.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    return command


@_with_words
def edge(
    *,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TOML file with the same words; options here win over it.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show it: an origin, a shield and an edge on this machine, with an ocean between.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --demo: print what was found as JSON instead.")] = False,
    **given: Any,
) -> None:
    """Run a caching reverse proxy in front of an origin, by the rules of HTTP (RFC 9111).

    Sizes are bytes or "64MB", "1GiB"; times are seconds or "250ms", "5m", "1h30m"; lists are repeated, or have commas.
    It ends by SIGTERM or Ctrl-C, when what is under way has ended.
    """
    said = {word: ",".join(value) if word in _LISTED else value for word, value in given.items()
            if value is not None and not (word in _LISTED and not value)}
    if demo:
        if said or config is not None:
            raise typer.BadParameter("goes alone, or with --json", param_hint="--demo")
    elif as_json:
        raise typer.BadParameter("goes with --demo", param_hint="--json")
    try:
        if demo:
            _demonstrate(as_json)
        else:
            _run(settings(said, config))
    except SettingError as error:
        raise typer.BadParameter(error.why, param_hint=option(error.word)) from None
    except MissingExtra as error:
        typer.echo(f"samovar: {error}", err=True)
        raise typer.Exit(2) from None
    except (OSError, RuntimeError) as error:
        typer.echo(f"samovar: {error}", err=True)
        raise typer.Exit(1) from None


def _demonstrate(as_json: bool) -> None:
    from .edge_demo import demonstrate  # its parts are not needed to run an edge

    if not demonstrate(as_json=as_json):
        raise typer.Exit(1)


def _run(told: EdgeSettings) -> None:
    from ..edge.admin.running import run  # uvicorn, an extra, is needed from here on

    run(told, lambda line: typer.echo(line, err=True))
