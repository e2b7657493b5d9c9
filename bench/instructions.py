"""How many machine instructions does a call take, above a call that does nothing?

Time on a shared machine wavers; instructions do not. Each contestant runs under valgrind's callgrind, which counts
while the loop runs and not while things are made and warmed; the no-op callable's count in the same loop is taken off.
The counts repeat exactly on one machine and build. They do not see cache misses or mispredicted branches: read them
beside the times, not in their place.

`python -m bench.instructions` prints the table and saves it; `--where` also says in which C functions the instructions
are; `--only PATTERN` chooses. Needs valgrind with its headers, and a C compiler.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import machine, noop, peers, table
from bench.repeat import ROUND, ROUNDS, SHAPES

HERE = Path(__file__).parent
CONTESTANTS = (peers.NOOP, peers.FUNCTOOLS, peers.DROP_IN, peers.MEMOIZE)

Costs = dict[str, float]  # instructions per call, by C function


def counted(contestant: str, shapes: list[str]) -> dict[str, Costs]:
    """The costs of each shape, loop included."""
    import samovar

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        tool = ["valgrind", "--tool=callgrind", "--quiet", "--collect-atstart=no", "--compress-pos=no"]
        program = [sys.executable, "-S", "-m", "bench.repeat", contestant, *shapes]
        command = [*tool, f"--callgrind-out-file={out}", *program]
        folders = os.pathsep.join([str(HERE.parent), str(Path(samovar.__file__).parent.parent), str(noop.BUILT)])
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": folders}
        done = subprocess.run(command, cwd=HERE.parent, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{contestant} failed under valgrind:\n{done.stderr}")
        parts = [out.with_name(f"counts.{number}").read_text(errors="replace") for number in range(1, len(shapes) + 1)]
    calls = ROUND * ROUNDS
    found = [{name: cost / calls for name, cost in own_costs(part).items()} for part in parts]
    return dict(zip(shapes, found, strict=True))


def own_costs(profile: str) -> dict[str, int]:
    """Each function's own instructions from a callgrind profile: cost lines under `fn=`, without those of `calls=`."""
    names: dict[str, str] = {}
    costs: collections.Counter[str] = collections.Counter()
    function, of_a_call = "", False
    for line in profile.splitlines():
        named = re.match(r"(c?fn)=(\(\d+\))(?: (.*))?", line)
        if named:
            kind, number, name = named.groups()
            names.setdefault(number, name or number)
            function = names[number] if kind == "fn" else function
        elif line.startswith("calls="):
            of_a_call = True
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if not of_a_call:
                costs[function] += int(line.split()[-1])
            of_a_call = False
    return dict(costs)


def show_where(shape: str, contestant: str, costs: Costs) -> None:
    print(f"\n{shape}, {contestant}: instructions per call, loop included")
    for function, cost in sorted(costs.items(), key=lambda item: -item[1]):
        if cost >= 0.5:
            print(f"{cost:9.1f}  {function}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description="instructions per call")
    parser.add_argument("--where", action="store_true", help="also list the C functions that they are spent in")
    parser.add_argument("--only", default="", metavar="PATTERN", help="only shapes whose name contains PATTERN; a|b")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to save the counts")
    options = parser.parse_args()
    if shutil.which("valgrind") is None or not hasattr(noop.load(), "count"):
        print("needs valgrind with its headers, and a C compiler with Python's", file=sys.stderr)
        return 2
    shapes = [shape for shape in SHAPES if any(part in shape for part in options.only.split("|"))]
    found = {contestant: counted(contestant, shapes) for contestant in CONTESTANTS}
    counts: dict[str, dict[str, float]] = {}
    lines: list[tuple[str, ...]] = []
    for shape in shapes:
        floor, *own = (sum(found[contestant][shape].values()) for contestant in CONTESTANTS)
        base, *ours = (count - floor for count in own)
        counts[shape] = dict(zip(CONTESTANTS[1:], (base, *ours)))
        cells = [f"{count:.1f}" for count in (base, *ours)] + [f"{base / count:.2f}" for count in ours]
        lines.append((shape, f"{floor:.1f}", *cells))
        if options.where:
            for contestant in CONTESTANTS[1:]:
                show_where(shape, contestant, found[contestant][shape])
    where = machine.described()
    head = ("instructions per call", "no-op", "functools", "lru_cache", "memoize", "× lru_cache", "× memoize")
    print(f"\n{where['python']}, {where['build']}; {where['compiler']}\n\n{table.aligned(head, lines)}")
    print("\nThe no-op column is the loop and the call; the others are what they take above it.")
    version = ".".join(platform.python_version_tuple()[:2])
    part = "-part" if options.only else ""
    path = options.json or HERE / "results" / f"instructions-{version}-{machine.build().replace(' ', '-')}{part}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": where, "versions": peers.versions(), "counts": counts}, indent=1) + "\n")
    print(f"saved {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
