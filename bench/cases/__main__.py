"""One case in a process of its own: `python -m bench.cases SLUG '{"rounds": 30, ...}'` prints its result as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys

from bench.cases import CASES
from bench.rounds import Effort


def main() -> None:
    slug, effort = sys.argv[1], Effort(**json.loads(sys.argv[2]))
    effort.peers = tuple(effort.peers)
    case = next(case for case in CASES if case.slug == slug)
    result = case.measure(effort)
    print(json.dumps(dataclasses.asdict(result)))


main()
