"""`samovar ring`: how even a ring of these nodes is, and who moves when one comes or goes."""

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._watch.ring_changes import ChangeError, RingChange, RingReport, ring_report

_NODES = "NODE[=WEIGHT]"


def _weighed(named: list[str] | None, word: str) -> dict[str, float]:
    """"node=weight" or "node" of each, in order. word: where they were typed, for what is wrong with them."""
    found: dict[str, float] = {}
    for text in named or ():
        node, sign, weight = text.rpartition("=")
        try:
            node, number = (node, float(weight)) if sign else (text, 1.0)
        except ValueError:
            why = f"{text!r} must be NODE or NODE=WEIGHT, and {weight!r} is no number"
            raise typer.BadParameter(why, param_hint=word) from None
        if node in found:
            raise typer.BadParameter(f"{node!r} is there twice", param_hint=word)
        found[node] = number
    return found


def ring(
    nodes: Annotated[
        list[str], typer.Argument(metavar=f"{_NODES}...", help="The nodes, such as 10.0.0.1:6379 or big:6379=2.")
    ],
    add: Annotated[
        list[str] | None, typer.Option(metavar=_NODES, help="A node that might come. May be repeated.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="NODE", help="A node that might go. May be repeated.")] = None,
    vnodes: Annotated[int, typer.Option(help="Points of a node of weight 1.")] = 160,
    hash: Annotated[Literal["xxh3", "ketama"], typer.Option(help="How keys and nodes are placed.")] = "xxh3",
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead.")] = False,
) -> None:
    """Say how evenly a ring of these nodes shares the keys, and who moves when a node comes or goes.

    Each change is looked at alone, beside what `hash % N` would move. Without --add and --remove: one node more, and the
    last one less.
    """
    weights = _weighed(nodes, _NODES)
    coming, going = _weighed(add, "--add"), list(remove or ())
    if not coming and not going:
        coming = {"a new node": 1.0}
        going = list(weights)[-1:] if len(weights) > 1 else []
    try:
        report = ring_report(weights, coming, going, vnodes=vnodes, hash=hash)
    except ChangeError as error:
        raise typer.BadParameter(error.why, param_hint=f"--{error.word}") from None
    except ValueError as error:
        hint = "--vnodes" if str(error).startswith("vnodes") else _NODES
        raise typer.BadParameter(str(error), param_hint=hint) from None
    if as_json:
        print(json.dumps(plain(report)))
    else:
        show(report, Console())


def plain(report: RingReport) -> dict[str, object]:
    """The report as JSON can say it."""
    changes = [{**asdict(change), "moves": [{"from": gives, "to": takes, "share": share}
                                            for (gives, takes), share in change.moves.items()]} for change in report.changes]
    return {"vnodes": report.vnodes, "hash": report.hash, "imbalance": report.load.imbalance, "changes": changes,
            "nodes": [{"node": node, "weight": report.load.weights[node], "share": report.load.shares[node]}
                      for node in report.nodes]}


def show(report: RingReport, console: Console) -> None:
    """Print it."""
    whole = sum(report.load.weights.values())
    table = Table("node", box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for heading in ("weight", "share of keys", "fair share", "share / fair"):
        table.add_column(heading, justify="right")
    for node, share in report.load.shares.items():
        fair = report.load.weights[node] / whole
        table.add_row(Text(node), f"{report.load.weights[node]:g}", f"{share:.2%}", f"{fair:.2%}", f"{share / fair:.2f}")
    console.print(table)
    console.print(f"{len(report.nodes)} nodes, {report.vnodes} points for weight 1, {report.hash}: "
                  f"the fullest has {report.load.imbalance:.2f} times its fair share.")
    for change in report.changes:
        _show_change(change, console)


def _show_change(change: RingChange, console: Console) -> None:
    console.print()
    console.print(Text(f"{change.node} {'comes' if change.comes else 'goes'}: {change.moved:.1%} of all keys move; "
                       f"hash % N would move {change.modulo:.1%}.", style="bold"))
    table = Table("from", "to", box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("share of all keys", justify="right")
    for (gives, takes), share in sorted(change.moves.items(), key=lambda move: -move[1]):
        table.add_row(Text(gives), Text(takes), f"{share:.2%}")
    console.print(table)
