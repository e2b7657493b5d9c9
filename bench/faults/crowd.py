"""A process of the crowd: an open loop of reads through one cluster, and what became of each.

Open: a read begins when it is due, whether or not those before it were answered, and its time is counted from then, so
that a read which found every thread stuck is as slow as its caller would say. How late sleepers woke is noted apart:
that is the machine, and not the cluster.

The origin lies here too: it takes its time asleep, says which version of the key it returned, and notes from when to
when each call lasted. It is known what was invalidated when a read began; an answer older than that is stale.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from samovar import Cache, OriginBudget, OriginBusy
from samovar.cluster import AsyncCluster, Cluster, MemcachedNode, RedisNode

THREADS = 64
FINE, BUSY, ERROR = range(3)  # how a read ended
LOOK_S = 0.005  # between looks at what the cluster thinks of its nodes
now = time.monotonic  # the same in all processes


@dataclass(frozen=True)
class Plan:
    """What a process is told. Times are seconds; those of reads and writes count from the beginning.

    nodes: (name, place) of each; a place is a redis:// URL, or host:port of a Memcached. reads, writes: (due, key).
    bus: the place of a Redis for the near cache of `near` entries.
    """

    nodes: tuple[tuple[str, str], ...]
    reads: tuple[tuple[float, int], ...] = ()
    writes: tuple[tuple[float, int], ...] = ()
    warm: tuple[int, ...] = ()
    seconds: float = 0.0
    tasks: bool = False
    budget: int = 8
    origin_s: float = 0.01
    timeout_s: float = 0.05
    lease_s: float = 10.0
    near: int = 0
    bus: str = ""


@dataclass
class Record:
    """What a process saw. Times are seconds of `now`."""

    pid: int = field(default_factory=os.getpid)
    owners: dict[int, str] = field(default_factory=dict)
    reads: list[tuple[float, float, int, int, bool]] = field(default_factory=list)  # due, end, key, how it ended, stale
    stale: list[tuple[float, float]] = field(default_factory=list)  # when it began, and for how long that was known
    errors: list[str] = field(default_factory=list)
    loads: list[tuple[float, float, int]] = field(default_factory=list)
    states: list[tuple[float, dict[str, str]]] = field(default_factory=list)  # when they changed
    hears: list[tuple[float, bool]] = field(default_factory=list)
    woke_s: list[tuple[float, float]] = field(default_factory=list)  # (due, how late a sleeper woke)


def node_of(name: str, place: str, timeout_s: float) -> RedisNode | MemcachedNode:
    if place.startswith("redis"):
        return RedisNode(place, name=name, timeout=timeout_s)
    return MemcachedNode(place, name=name, timeout=timeout_s)


class Crowd:
    """committed, known, known_at: of each key, over all processes: the version at the origin, the newest whose
    invalidation has returned, and when that was. lock: around changes of them."""

    def __init__(self, plan: Plan, committed: Any, known: Any, known_at: Any, lock: Any) -> None:
        self.plan, self.record, self.begin_s = plan, Record(), 0.0
        self.committed, self.known, self.known_at, self.lock = committed, known, known_at, lock
        nodes = [node_of(name, place, plan.timeout_s) for name, place in plan.nodes]
        words: dict[str, Any] = {"lease": plan.lease_s, "budget": OriginBudget(plan.budget), "bus": False}
        if plan.near:
            words |= {"near": Cache(plan.near), "bus": node_of("the bus", plan.bus, plan.timeout_s)}
        self.cluster: Any = (AsyncCluster if plan.tasks else Cluster)(nodes, **words)
        self.over = threading.Event()

    # ---------------------------------------------------------------- the origin

    def load(self, key: int) -> Any:
        def factory() -> list[Any]:
            came, version = now(), self.committed[key]
            time.sleep(self.plan.origin_s)
            self.record.loads.append((came, now(), key))
            return [version, "x" * 200]

        async def afactory() -> list[Any]:
            came, version = now(), self.committed[key]
            await asyncio.sleep(self.plan.origin_s)
            self.record.loads.append((came, now(), key))
            return [version, "x" * 200]

        return afactory if self.plan.tasks else factory

    # ---------------------------------------------------------------- one read, one change

    def ended(self, key: int, due: float, began: float, floor: int, answer: Any) -> None:
        stale, how = False, FINE
        if isinstance(answer, OriginBusy):
            how = BUSY
        elif isinstance(answer, BaseException):
            how = ERROR
            self.record.errors.append(repr(answer))
        elif answer[0] < floor:
            stale = True
            self.record.stale.append((began, began - self.known_at[key]))
        self.record.reads.append((due, now(), key, how, stale))

    def ask(self, key: int, due: float) -> None:
        began, floor = now(), self.known[key]
        try:
            answer = self.cluster.get_or_set(key, self.load(key))
        except Exception as error:
            answer = error
        self.ended(key, due, began, floor, answer)

    async def aask(self, key: int, due: float) -> None:
        began, floor = now(), self.known[key]
        try:
            answer = await self.cluster.get_or_set(key, self.load(key))
        except Exception as error:
            answer = error
        self.ended(key, due, began, floor, answer)

    def committing(self, key: int) -> int:
        with self.lock:
            self.committed[key] += 1
            return int(self.committed[key])

    def told(self, key: int, version: int) -> None:
        with self.lock:
            if version > self.known[key]:
                self.known_at[key] = now()
                self.known[key] = version

    def change(self, key: int) -> None:
        version = self.committing(key)
        self.cluster.delete(key)
        self.told(key, version)

    # ---------------------------------------------------------------- all of them

    def slept(self, due: float) -> None:
        """Sleep until then, and note how late that was."""
        left = due - now()
        if left > 0:
            time.sleep(left)
            self.record.woke_s.append((due, now() - due))

    def by_threads(self) -> None:
        reads, turn = self.plan.reads, itertools.count()

        def work() -> None:
            while (at := next(turn)) < len(reads):
                due = self.begin_s + reads[at][0]
                self.slept(due)
                self.ask(reads[at][1], due)

        def write() -> None:
            for due, key in self.plan.writes:
                self.slept(self.begin_s + due)
                self.change(key)

        crew = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
        crew.append(threading.Thread(target=write, daemon=True))
        for one in crew:
            one.start()
        for one in crew:
            one.join()

    async def by_tasks(self) -> None:
        async def write() -> None:
            for due, key in self.plan.writes:
                await asyncio.sleep(max(0.0, self.begin_s + due - now()))
                version = self.committing(key)
                await self.cluster.delete(key)
                self.told(key, version)

        writing, tasks = asyncio.create_task(write()), []
        for offset, key in self.plan.reads:
            due = self.begin_s + offset
            left = due - now()
            if left > 0:
                await asyncio.sleep(left)
                self.record.woke_s.append((due, now() - due))
            tasks.append(asyncio.create_task(self.aask(key, due)))
        await asyncio.gather(writing, *tasks)

    def watch(self) -> None:
        """Note when this process's mind about its nodes changes."""
        while not self.over.wait(LOOK_S):
            stats = self.cluster.stats()
            states = {name: word for name, (word, _, _) in stats.nodes.items()}
            if not self.record.states or self.record.states[-1][1] != states:
                self.record.states.append((now(), states))
            if self.plan.near and (not self.record.hears or self.record.hears[-1][1] != stats.hears):
                self.record.hears.append((now(), stats.hears))

    def stored(self) -> dict[int, list[Any]]:
        """What is stored before anybody asks."""
        return {key: [0, "x" * 200] for key in self.plan.warm}

    def owners(self) -> None:
        keys = {key for _, key in (*self.plan.reads, *self.plan.writes)}
        self.record.owners = {key: self.cluster.node_of(key) for key in keys}


def live(plan: Plan, shared: tuple[Any, ...], pipe: Any) -> None:
    """The process: it says that it is ready, is told when to begin, and sends its record."""
    crowd = Crowd(plan, *shared)
    watching = threading.Thread(target=crowd.watch, daemon=True)

    def ready() -> None:
        crowd.owners()
        pipe.send("ready")
        crowd.begin_s = pipe.recv()

    async def tasks() -> None:
        await crowd.cluster.set_many(crowd.stored())
        await asyncio.to_thread(ready)
        watching.start()
        await crowd.by_tasks()
        await asyncio.sleep(max(0.0, crowd.begin_s + plan.seconds - now()))
        over()
        await crowd.cluster.aclose()

    def over() -> None:
        crowd.over.set()
        watching.join()

    if plan.tasks:
        asyncio.run(tasks())
    else:
        crowd.cluster.set_many(crowd.stored())
        ready()
        watching.start()
        crowd.by_threads()
        time.sleep(max(0.0, crowd.begin_s + plan.seconds - now()))
        over()
        crowd.cluster.close()
    pipe.send(crowd.record)
