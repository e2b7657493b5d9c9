"""The command line of the fault table: see the package."""

from __future__ import annotations

import argparse
import json
import sys

from bench.faults import __doc__ as about, table
from bench.faults.figures import Outcome
from bench.faults.rows import ROWS
from bench.faults.stage import ENGINES


def main(words: list[str] | None = None) -> int:
    """Run rows and print them; 1 when a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=about,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", action="append", help="a row by its name; may be given several times")
    parser.add_argument("--engine", choices=[*ENGINES], help="on this kind of engine alone")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long the fault lasts")
    parser.add_argument("--tasks", action="store_true", help="AsyncCluster and tasks, instead of Cluster and threads")
    parser.add_argument("--seed", type=int, default=1, help="of who asks for what, and when")
    parser.add_argument("--tries", type=int, default=3, help="how often a row is run whose times the machine spoilt")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--markdown", action="store_true", help="keep the figures in bench/results/faults.json, and write "
                        "the table of all that are kept there into docs/cluster.md: a row alone may be measured again")
    parser.add_argument("--list", action="store_true", help="name the rows")
    asked = parser.parse_args(words)
    if asked.markdown and (asked.tasks or asked.seconds != 4.0):
        parser.error("--markdown is for the table of the docs: threads, and faults of four seconds")
    rows = {row.name: row for row in ROWS}
    if asked.list:
        for row in rows.values():
            print(f"{row.name:12} {', '.join(row.engines):18} {row.title}")
        return 0
    unknown = [name for name in asked.row or () if name not in rows]
    if unknown:
        parser.error(f"there is no row {unknown[0]!r}; --list names them")
    outcomes: list[Outcome] = []
    for name in asked.row or rows:
        row = rows[name]
        for engine in row.engines:
            if asked.engine not in (None, engine):
                continue
            tried: list[Outcome] = []
            while len(tried) < max(1, asked.tries) and (not tried or tried[-1].is_spoilt):
                tried.append(row.play(engine, asked.seconds, tasks=asked.tasks, seed=asked.seed))
            outcome = min(tried, key=lambda one: (one.is_spoilt, one.late_p99_s))  # the machine chooses, not the result
            outcomes.append(outcome)
            if asked.markdown:
                table.remembered([outcome], list(rows))
            print(table.report(outcome), file=sys.stderr if asked.json or asked.markdown else sys.stdout, flush=True)
    if asked.json:
        print(json.dumps([table.plain(outcome) for outcome in outcomes], indent=1))
    if asked.markdown:
        text = table.markdown(table.remembered([], list(rows)))
        print(text)
        if not table.publish(text):
            print(f"{table.PAGE} has no {table.BEGIN}", file=sys.stderr)
    return 1 if any(outcome.verdict == "MISS" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
