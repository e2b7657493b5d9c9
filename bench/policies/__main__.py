"""`python -m bench.policies`: hit ratios, estimates and replay speed of the eviction rules, printed, drawn and saved.

Ends with 0 whatever the figures are: a benchmark informs, it does not judge (tests/traces does). Ends with 2 when there
are no traces to replay.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import sys
import time
from pathlib import Path
from typing import Any

from bench import machine
from bench.policies import curves, measures, speed, tables, traces

HERE = Path(__file__).parents[1]
RESULTS = HERE / "results"
README = HERE / "README.md"
BEGIN, END = "<!-- report policies -->", "<!-- end policies -->"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.policies", description="the eviction rules on real traces")
    parser.add_argument("--no-speed", action="store_true", help="only hit ratios: every figure repeats to the last digit")
    parser.add_argument("--publish", action="store_true", help="rewrite the rules' part of bench/README.md")
    parser.add_argument("--json", metavar="PATH", type=Path, default=RESULTS / "policies.json", help="the report's file")
    return parser.parse_args()


def cell_rows(reached: dict[str, dict[traces.Cell, float]]) -> list[dict[str, Any]]:
    rows = []
    for (trace, size), policies in traces.anchors().items():
        best = max(measures.SIX, key=lambda name: policies[name])
        rows.append({"trace": trace, "size": size, "best": policies[best], "best_name": best,
                     "belady": policies["Belady"],
                     "rules": {rule: reached[rule][trace, size] for rule in measures.RULES}})
    return rows


def version_of(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def measured(with_speed: bool) -> dict[str, Any]:
    begun = time.monotonic()
    reached = measures.hit_ratios()
    cells = cell_rows(reached)
    others = {f"{name} (anchor)": measures.summary(measures.of_others(name)) for name in measures.OTHERS}
    report = {
        "command": " ".join(["python -m bench.policies", *sys.argv[1:]]),
        "when": datetime.date.today().isoformat(),
        "machine": machine.described(),
        "versions": {name: version_of(name) for name in ("samovar", "libcachesim")},
        "cells": cells,
        "cells_count": len(cells),
        "summary": {rule: measures.summary(reached[rule]) for rule in measures.RULES} | others,
        "distances": measures.distances(reached),
        "estimates": measures.estimates(),
        "living": measures.living(),
        "weights": measures.by_weight(),
        "speed": speed.measured() if with_speed else [],
        "curves": measures.curves(),
    }
    report["took_s"] = round(time.monotonic() - begun, 1)
    return report


def publish(report: dict[str, Any], picture: Path) -> None:
    """Replace what stands between the markers of bench/README.md."""
    where = report["machine"]
    about = (f"{report['when']}; {where['processor']}; {where['python']}; libcachesim {report['versions']['libcachesim']}. "
             f"Reproduce with `make bench-policies ARGS=--publish` (this took {report['took_s']:.0f} s).")
    parts = [about, f"![hit ratio curves of the rules]({picture.relative_to(HERE)})"]
    parts += [tables.markdown(table(report)) for table in (*tables.ALL[1:], tables.ALL[0])]
    page = README.read_text()
    before, after = page.split(BEGIN, 1)[0], page.split(END, 1)[1]
    README.write_text("".join([before, BEGIN, "\n", "\n\n".join(parts), "\n", END, after]))


def main() -> int:
    options = arguments()
    if not (traces.FOLDER / "anchors.csv").exists():
        print(f"no traces in {traces.FOLDER}: put them there, or set SAMOVAR_TRACES to their folder", file=sys.stderr)
        return 2
    if not options.no_speed and (absent := speed.libcachesim_absent()):
        print(absent)
    report = measured(not options.no_speed)
    print("\n\n".join(tables.text(table(report)) for table in tables.ALL))
    for row in report["speed"]:
        for rule in row["hit_ratios_differ"]:
            print(f"\n{row['trace']}, {row['size']}: {rule} and libcachesim's reach different hit ratios")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n")
    picture = options.json.with_suffix(".svg")
    picture.write_text(curves.draw(report))
    print(f"\nsaved {options.json} and {picture.name}; {report['took_s']:.0f} s")
    if options.publish and report["speed"] and picture.parent == RESULTS:
        publish(report, picture)
        print(f"published in {README}")
    elif options.publish:
        print("not published: only a full run into bench/results is")
    return 0


if __name__ == "__main__":
    sys.exit(main())
