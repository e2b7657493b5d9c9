"""Hot keys: one article that everybody reads makes one node of the cluster work for all of them.

Three ways with the same readers: the ring alone; the hot article copied to three nodes; and to all of them. Another
process, as it were, changes the article now and then, and nobody may be shown what was before.
"""

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .._base.clock import stopwatch
from ..cluster import Cluster, HotKeys
from ..cluster.node import Node
from .engines import own_codec, some_servers
from .findings import Bar, Bars, Column, Demonstration, Panel, Series, Timelines, Tone, Way, said
from .timeline import percentile
from .workloads import zipf

NAME = "hot"
TITLE = "Do not let one node carry what everybody reads"
NODES, SLICES, CHANGES = 6, 40, 20
HOT_SHARE, ARTICLES = 0.3, 2000


@dataclass(frozen=True, slots=True)
class Approach:
    """replicas: on how many nodes a hot article is read; None: on its owner."""

    label: str
    says: str
    tone: Tone
    replicas: int | None


APPROACHES = (
    Approach("the ring alone", "a key has one node", "bad", None),
    Approach("three copies", "of what is found to be hot", "fair", 3),
    Approach("a copy on each node", "of what is found to be hot", "good", NODES),
)
COLUMNS = (
    Column("largest", "largest node / mean", "times"), Column("found_after", "reads until found", "count"),
    Column("reads_per_s", "reads a second", "count"), Column("p99_s", "P99", "s"), Column("stale", "stale answers", "count"),
)


@dataclass(slots=True)
class Measured:
    """What an approach did: reads of each node in each slice of the readers, latencies, and what was wrong."""

    slices: list[list[int]]
    took_s: list[float]
    found_after: int
    stale: int

    def skew(self, at: int) -> float:
        """The largest node's reads against the mean, in a slice."""
        reads = self.slices[at]
        return max(reads) * len(reads) / sum(reads) if sum(reads) else 0.0

    def settled(self) -> list[int]:
        """The reads of each node in the second half, when what is hot is known."""
        return [sum(column) for column in zip(*self.slices[SLICES // 2:], strict=True)]


class Counter:
    """Counts the reads that a node is asked for, while it stands in for the node's own verb."""

    def __init__(self, node: Node) -> None:
        self.node, self.reads, self._read = node, 0, node.read
        node.read = self.read  # type: ignore[method-assign]
        node.asks = lambda key: None  # type: ignore[method-assign]  # so that it is asked by this verb alone

    def read(self, keys: Sequence[str]) -> Generator[tuple[Node, Any], Any, Any]:
        self.reads += len(keys)
        return self._read(keys)

    def end(self) -> None:
        del self.node.read, self.node.asks


def measure(approach: Approach, nodes: Sequence[Node], names: Sequence[str], seed: int) -> Measured:
    """All readers, one after another; a second cluster changes the hot article now and then."""
    how = None if approach.replicas is None else HotKeys(replicas=approach.replicas)
    words: dict[str, Any] = {"hot": how, "bus": False, "seed": seed, "codec": own_codec(),
                             "namespace": approach.label.replace(" ", "-")}
    version, stale, found_after, took_s, slices = 0, 0, 0, list[float](), []
    reader, writer = Cluster(nodes, **words), Cluster(nodes, **words)
    counters = [Counter(node) for node in nodes]
    step = len(names) // SLICES
    try:
        for slice_number in range(SLICES):
            before = [counter.reads for counter in counters]
            for number in range(slice_number * step, (slice_number + 1) * step):
                if number % max(1, len(names) // CHANGES) == 0:
                    version += 1
                    writer.delete("hot")
                asked_s = stopwatch()
                value = reader.get_or_set(names[number], partial(int, version))
                took_s.append(stopwatch() - asked_s)
                stale += names[number] == "hot" and value < version
                if how is not None and not found_after and reader.stats().hot:
                    found_after = number + 1
            slices.append([counter.reads - had for counter, had in zip(counters, before, strict=True)])
    finally:
        for counter in counters:
            counter.end()
        for cluster in (reader, writer):
            cluster._end()  # the nodes are used again
    return Measured(slices, took_s, found_after, stale)


def run(seed: int, seconds: float = 3.0) -> Demonstration:
    """Read through the ring alone, with three copies of what is hot, and with a copy on each node.

    seconds: about how long all of it may take: it says how many readers come.
    """
    begun_s = stopwatch()
    chance = random.Random(seed)
    count = max(4_000, int(3_000 * seconds)) // SLICES * SLICES
    ranks = zipf(count, ARTICLES, 0.8, chance)
    names = ["hot" if chance.random() < HOT_SHARE else f"article-{rank}" for rank in ranks]
    with some_servers(NODES) as servers:
        nodes, kind = [server.node for server in servers], servers[0].kind
        runs = [measure(approach, nodes, names, seed) for approach in APPROACHES]
    ways = []
    for approach, measured in zip(APPROACHES, runs, strict=True):
        settled = measured.settled()
        figures: dict[str, float] = {
            "largest": max(settled) * NODES / sum(settled), "reads_per_s": count / sum(measured.took_s),
            "p99_s": percentile(measured.took_s, 99), "stale": measured.stale,
        }
        if measured.found_after:
            figures["found_after"] = measured.found_after
        ways.append(Way(approach.label, approach.says, approach.tone, figures,
                        [measured.skew(at) for at in range(SLICES)]))
    alone, three, each = (way.figures["largest"] for way in ways)
    at = [count * place / SLICES for place in range(SLICES)]
    return Demonstration(
        name=NAME,
        title=TITLE,
        question="Three in ten readers want the same article. What does the node do that has it?",
        setting=(
            f"{count:,} reads of {ARTICLES:,} articles on {NODES} {kind}, one after another; {HOT_SHARE:.0%} of them want "
            f"one article. It is changed {CHANGES} times meanwhile, by another client. A key is hot when it is at least "
            f"{HotKeys().share:.0%} of the reads."
        ),
        finding=(
            f"With the ring alone the largest node answers {said(alone, 'times')} the mean. Once the article is found to be "
            f"hot and read from three nodes, {said(three, 'times')}; from all of them, {said(each, 'times')}. "
            f"{sum(way.figures['stale'] for way in ways):,.0f} stale answers."
        ),
        columns=COLUMNS,
        ways=ways,
        pictures=(
            Timelines(
                f"The largest node falls from {said(alone, 'times')} to {said(each, 'times')} the mean",
                "Reads of the node that has the most, against the mean of all, while readers come. The dashed line is "
                "what it would be if all nodes had the same.",
                tuple(
                    Panel(f"{way.label}: {way.says}", (Series("", at, way.shape, way.tone, "area"),), limit=(1.0, "even"))
                    for way in ways
                ),
                "readers so far", "largest node / mean", "times",
            ),
            Bars(
                "What each node answers, the ring alone and with a copy on each node",
                "Reads of each node in the second half of the readers.",
                tuple(
                    Bar(f"{way.label}, {node.name}", reads, way.tone)
                    for way, measured in ((ways[0], runs[0]), (ways[2], runs[2]))
                    for node, reads in zip(nodes, measured.settled(), strict=True)
                ),
                "reads", "count",
            ),
        ),
        shape_says="largest node against the mean, as readers come",
        seed=seed,
        took_s=stopwatch() - begun_s,
    )
