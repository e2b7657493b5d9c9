"""`python -m bench`: measure every case, each in processes of its own, and show the result.

A case that dies with the peers in it is measured again without them, and the report says so. Below its bar or not, the
command ends with 0: a benchmark informs, it does not judge. Ends with 2 when samovar cannot be imported.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import chart, machine, peers, publish, table
from bench.cases import CASES
from bench.cases.contest import Case
from bench.rounds import Effort, Result, merge

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LIMIT_S = 240


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="samovar measured; see bench/README.md")
    parser.add_argument("--quick", action="store_true", help="half a minute: fewer rounds, large cases at a tenth")
    parser.add_argument("--only", metavar="PATTERN", help="only cases with PATTERN in name or title; a|b for either")
    parser.add_argument("--no-peers", action="store_true", help="only dict, functools and samovar")
    parser.add_argument("--json", metavar="PATH", type=Path, help="where to save the report")
    parser.add_argument("--publish", action="store_true", help="rewrite this Python's part of bench/README.md")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    return parser.parse_args()


def chosen(pattern: str | None) -> list[Case]:
    wanted = (pattern or "").lower().split("|")
    return [case for case in CASES if any(part in f"{case.slug} {case.title}".lower() for part in wanted)]


def run(case: Case, effort: Effort, seed: int) -> Result:
    """Measure the case in one new process."""
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-m", "bench.cases", case.slug, json.dumps(dataclasses.asdict(effort))]
    done = subprocess.run(command, cwd=HERE.parent, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"ended with {done.returncode}: {last}")
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def measure(case: Case, effort: Effort, processes: int) -> Result:
    """The case's result; on failure again without the peers; on failure again, a row with nothing but the reason."""
    alone = dataclasses.replace(effort, peers=())
    try:
        return merge([run(case, effort, seed) for seed in range(processes)])
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        why = f"measured without peers, as the run with them {error}"
    try:
        if effort.peers and case.baseline == peers.FUNCTOOLS:
            result = merge([run(case, alone, seed) for seed in range(processes)])
            result.notes.append(why)
            return result
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        why = f"not measured, the run {error}"
    return Result({}, {}, {}, [why], case.baseline)


def save(report: dict[str, Any], path: Path) -> Path | None:
    """Write the report and, beside it, its chart; the chart's path, or None when there was nothing to draw."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    picture = chart.draw(report)
    if picture is None:
        return None
    path.with_suffix(".svg").write_text(picture)
    return path.with_suffix(".svg")


def main() -> int:
    options = arguments()
    cases = chosen(options.only)
    if options.list:
        print("\n".join(f"{case.slug:24}{case.title}" for case in cases))
        return 0
    try:
        import samovar  # noqa: F401
    except ImportError as error:
        print(f"samovar cannot be imported ({error}); build it first: pip install -e .", file=sys.stderr)
        return 2
    absent = [] if options.no_peers else [why for why in map(peers.why_missing, peers.PEERS) if why]
    effort = Effort(peers=() if options.no_peers else tuple(peers.installed()))
    if options.quick:
        effort = dataclasses.replace(effort, rounds=6, turn_ns=1_500_000, peers_every=3, large=100_000)
    print("\n".join(absent), end="\n" if absent else "", flush=True)
    begun, rows = time.monotonic(), []
    for number, case in enumerate(cases, 1):
        if sys.stderr.isatty():
            print(f"\r\033[K{number}/{len(cases)} {case.title} …", end="", file=sys.stderr, flush=True)
        started = time.monotonic()
        result = measure(case, dataclasses.replace(effort), 1 if options.quick else case.processes)
        rows.append(table.row(case, result, options.quick) | {"took_s": round(time.monotonic() - started, 2)})
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    where = machine.described()
    report = {
        "command": " ".join(["python -m bench", *(word for word in sys.argv[1:])]),
        "when": datetime.date.today().isoformat(),
        "took_s": round(time.monotonic() - begun, 1),
        "quick": options.quick,
        "machine": where,
        "versions": peers.versions(),
        "absent": absent,
        "rows": rows,
    }
    key = f"{'.'.join(platform.python_version_tuple()[:2])}-{machine.build().replace(' ', '-')}"
    kind = "-part" if len(cases) < len(CASES) else "-quick" if options.quick else "-alone" if options.no_peers else ""
    path = options.json or RESULTS / f"{where['python'].split()[0].lower()}-{key}{kind}.json"
    picture = save(report, path)
    version = report["versions"].get("samovar", "?")
    print(f"samovar {version} on {where['python']}, {where['build']}; {where['processor']}\n")
    print(table.terminal(rows))
    print(f"\nsaved {path}" + (f" and {picture.name}" if picture else "") + f"; {report['took_s']:.0f} s")
    if options.publish and kind:
        print("not published: only a full run is (no --only, --quick, --no-peers)")
    elif options.publish:
        publish.publish(report, key, picture)
        print(f"published in {publish.README}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
