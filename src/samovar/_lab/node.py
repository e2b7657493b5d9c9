"""A node dies: one of three is killed while the crowd is there, and comes back empty.

Three ways with the same crowd: a client that passes the node's error on to its caller; one that asks the origin instead,
each caller for himself; and a cluster, which asks the next node of the ring, loads each answer once, and no more at once
than the origin can bear.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .._base.clock import stopwatch
from ..cluster.cluster_async import AsyncCluster
from ..cluster.codec import KeyMaker
from ..cluster.drive import arun
from ..cluster.node import HIT, UNAVAILABLE, Node
from ..cluster.ring import HashRing
from ..herd.budget import OriginBudget
from .engines import own_codec, some_servers
from .findings import Bar, Bars, Column, Demonstration, Panel, Series, Timelines, Tone, Way, said
from .reach import Origin
from .serving import SLICES, Ask, Fetch, Measured, busy, serve
from .timeline import concurrency
from .workloads import arrivals, zipf

NAME = "node"
TITLE = "Lose a node and keep answering"
NODES, PLACES = 3, 4
DIES, RETURNS = 0.3, 0.65  # shares of the time


class NodeFailed(ConnectionError):
    """A caller is told what a node did not do."""


@dataclass(frozen=True, slots=True)
class Approach:
    """A way through three nodes: `make(nodes)` returns it, and what ends it."""

    label: str
    says: str
    tone: Tone
    make: Callable[[Sequence[Node]], tuple[Ask, Callable[[], object]]]


def plain(nodes: Sequence[Node], *, raises: bool) -> tuple[Ask, Callable[[], object]]:
    """The client that everybody writes first: read, else load and set. raises: a node's failure is the caller's; else he
    asks the origin."""
    ring, named = HashRing([node.name for node in nodes]), {node.name: node for node in nodes}
    keys = KeyMaker(f"plain-{raises}")

    async def ask(name: str, fetch: Fetch) -> Any:
        wire = keys(name)
        node = named[ring.get_node(wire)]
        status, found = await arun(node.read([wire]))
        if status is UNAVAILABLE and found.reason == "restarted":  # it is back, and empty: that is all right here
            await arun(node.epoch("plain", True))
            status, found = await arun(node.read([wire]))
        if status is UNAVAILABLE and raises:
            raise NodeFailed(found.reason)
        if status is not UNAVAILABLE and found[0].kind is HIT:
            return json.loads(found[0].body)
        value = await fetch(name)
        await arun(node.put(wire, json.dumps(value).encode(), 3_600_000))
        return value

    return ask, lambda: None


def through_cluster(nodes: Sequence[Node]) -> tuple[Ask, Callable[[], object]]:
    """`AsyncCluster`, with a budget for the origin."""
    cluster = AsyncCluster(nodes, ttl="1h", budget=OriginBudget(PLACES), bus=False, codec=own_codec(), namespace="cluster")

    async def ask(name: str, fetch: Fetch) -> Any:
        return await cluster.get_or_set(name, partial(fetch, name))

    return ask, cluster._end


APPROACHES = (
    Approach("errors passed on", "a caller gets what the node did", "bad", partial(plain, raises=True)),
    Approach("ask the origin", "each caller for himself, while the node is away", "fair", partial(plain, raises=False)),
    Approach("a cluster", "the next node of the ring, and a budget for the origin", "good", through_cluster),
)
COLUMNS = (
    Column("errors", "errors", "count"), Column("origin_calls", "origin calls", "count"),
    Column("origin_peak", "at once", "count"), Column("p50_s", "P50", "s"), Column("p99_s", "P99", "s"),
    Column("worst_s", "longest", "s"),
)


def run(seed: int, seconds: float = 3.0, *, query_s: float = 0.008, rate: float = 300.0) -> Demonstration:
    """Kill a node under load in each of the three ways, with the same crowd.

    seconds: how long each way is measured. query_s: how long the origin's query takes. rate: callers per second.
    """
    begun_s = stopwatch()
    articles, chance = max(30, int(60 * seconds)), random.Random(seed)
    due = arrivals(rate, seconds, chance)
    names = [f"article-{number}" for number in zipf(len(due), articles, 0.8, chance)]
    runs: list[Measured] = []

    async def measure(origin: Origin, servers: Sequence[Any]) -> None:
        for approach in APPROACHES:
            ask, end = approach.make([server.node for server in servers])

            async def warm(ask: Ask = ask) -> None:
                for name in dict.fromkeys(names):
                    await ask(name, origin.takings)

            async def kill(_: float) -> None:
                await asyncio.sleep(DIES * seconds)
                await asyncio.to_thread(servers[0].kill)
                await asyncio.sleep((RETURNS - DIES) * seconds)
                await asyncio.to_thread(servers[0].start)

            try:
                runs.append(await serve(origin, ask, due, names, seconds, before=warm, counted=False, beside=kill))
            finally:
                end()

    with Origin(seed=seed, query_s=query_s, line=200) as origin, some_servers(NODES) as servers:
        asyncio.run(measure(origin, servers))
        query_s, kind = origin.query_s, servers[0].kind
    ways = [Way(approach.label, approach.says, approach.tone, measured.figures(), measured.timeline.worst(SLICES, seconds))
            for approach, measured in zip(APPROACHES, runs, strict=True)]
    passed, asked, cluster = (way.figures for way in ways)
    slices = int(seconds * 20) or 1
    at, marks = [seconds * place / slices for place in range(slices)], (DIES * seconds, RETURNS * seconds)

    def panels(of: Callable[[Measured], Sequence[float]]) -> tuple[Panel, ...]:
        return tuple(Panel(f"{way.label}: {way.says}", (Series("", at, of(measured), way.tone, "area"),), marks)
                     for way, measured in zip(ways, runs, strict=True))

    return Demonstration(
        name=NAME,
        title=TITLE,
        question="One of three nodes is killed while the crowd is there. What do callers notice, what the origin?",
        setting=(
            f"{rate:,.0f} callers a second ask for {articles} articles, kept on {NODES} {kind}, all there at first. One is "
            f"killed after {said(marks[0], 's')}, and started again, empty, after {said(marks[1], 's')}. The origin's query "
            f"takes {said(query_s, 's')} when asked alone. The cluster's budget is {PLACES} loads at once."
        ),
        finding=(
            f"Errors passed on: {passed['errors']:,.0f} callers get one. Asking the origin instead costs "
            f"{asked['origin_calls']:,.0f} calls there. The cluster gives {cluster['errors']:,.0f} errors for "
            f"{cluster['origin_calls']:,.0f} calls, never more than {cluster['origin_peak']:,.0f} at once."
        ),
        columns=COLUMNS,
        ways=ways,
        pictures=(
            Timelines(
                f"{passed['errors']:,.0f} errors when they are passed on, {cluster['errors']:,.0f} with a cluster",
                "Callers who got an error, by when they came. The uprights are the node's death and its return.",
                panels(lambda measured: measured.timeline.errors(slices, seconds)),
                "seconds", "errors", "count",
            ),
            Timelines(
                f"{asked['origin_calls']:,.0f} calls at the origin without a cluster, {cluster['origin_calls']:,.0f} with it",
                "Calls that are with the origin at the same moment.",
                panels(lambda measured: concurrency(measured.counts.since(measured.opened_s), slices, seconds)),
                "seconds", "calls at the origin", "count",
            ),
            Bars("How long the unlucky wait", "P99: 1 caller in 100 waited longer for his page, or his error.",
                 tuple(Bar(way.label, way.figures["p99_s"], way.tone) for way in ways), "P99", "s"),
        ),
        shape_says="longest waits over time",
        seed=seed,
        warning=busy(runs),
        took_s=stopwatch() - begun_s,
    )
