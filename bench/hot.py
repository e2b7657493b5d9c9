"""How much of the reads does the largest node of a cluster answer when one key is hot, by how many copies of it there are?

    python -m bench.hot [--reads 4000] [--placements 5]

The readers of `samovar lab hot`: 30 % want one key, the others 2,000 by Zipf (0.8); it is deleted now and then. Nodes lie
in this process: reads are counted, not timed, so figures hardly depend on the machine. Where the hot key lies is the ring's
luck, so each figure is the mean over some placements, of the largest node's reads in the second half of a run against the
mean node's. 1.0 is even; without copies it is about 0.3 N + 0.7 with N nodes.
"""

from __future__ import annotations

import argparse
import random
import statistics

from samovar import LocalNode
from samovar._lab.hot import ARTICLES, HOT_SHARE, SLICES, Approach, measure
from samovar._lab.workloads import zipf

NODES = (3, 6, 10)


def largest(nodes: int, replicas: int | None, reads: int, placement: int) -> float:
    chance = random.Random(placement)
    ranks = zipf(reads, ARTICLES, 0.8, chance)
    names = ["hot" if chance.random() < HOT_SHARE else f"article-{rank}" for rank in ranks]
    approach = Approach(f"placement {placement}", "", "fair", replicas)
    settled = measure(approach, [LocalNode(f"node-{number}") for number in range(nodes)], names, placement).settled()
    return max(settled) * nodes / sum(settled)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hot", description="the largest node's reads when a key is hot")
    parser.add_argument("--reads", type=int, default=4_000, help="of one run")
    parser.add_argument("--placements", type=int, default=5, help="of the hot key")
    asked = parser.parse_args()
    reads = max(1, asked.reads // SLICES) * SLICES
    print(f"| | {' | '.join(f'{nodes} nodes' for nodes in NODES)} |\n|---|{'---|' * len(NODES)}")
    for name, copies in (("without", None), ("`replicas=2`", 2), ("`replicas=3`", 3), ("as many as nodes", 0)):
        figures = [statistics.mean(largest(nodes, nodes if copies == 0 else copies, reads, placement)
                                   for placement in range(1, asked.placements + 1)) for nodes in NODES]
        print(f"| {name} | {' | '.join(f'{figure:.2f}' for figure in figures)} |", flush=True)


if __name__ == "__main__":
    main()
