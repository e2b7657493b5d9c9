"""One run: engines, proxies, the processes of the crowd, a fault in the middle, and what everybody saw.

    warm | calm ............ | fault ................ | after ........ |
         begin               fault_s                  until_s          end_s

The victim is the first of three nodes. It is reached over a proxy where a row needs one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.faults.crowd import Plan, Record, live, now
from bench.faults.proxy import Proxy
from samovar._lab.workloads import arrivals, zipf

from bench.servers import MemcachedServer, RedisServer

SPAWN = multiprocessing.get_context("spawn")
KEYS, SKEW, RATE, PROCESSES = 600, 0.8, 800.0, 2
NODES = ("node-1", "node-2", "node-3")
VICTIM = NODES[0]
ENGINES: dict[str, Callable[..., Any]] = {"redis": RedisServer, "memcached": MemcachedServer}
PATIENCE_S = 60.0
_TICK_S = 0.005


@dataclass
class Run:
    """What one run gave. Moments are seconds of `now`."""

    engine: str
    begin_s: float
    calm_s: float  # from when on reads count as calm
    fault_s: float
    until_s: float
    end_s: float
    healed_s: float
    records: list[Record]
    ticks: list[tuple[float, float]]  # the machine: when a sleeper was to wake, and how late it did
    owners: dict[int, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


class Stage:
    """The engines of one run, and what rows do to them."""

    def __init__(self, engine: str, *, proxied: bool = False, bus: bool = False) -> None:
        self.engine = engine
        self.servers = [ENGINES[engine]() for _ in NODES]
        self.proxy = Proxy(self.servers[0].port) if proxied else None
        self.bus = RedisServer() if bus else None
        self.until_s = 0.0
        self.extra: dict[str, Any] = {}

    @property
    def victim(self) -> Any:
        return self.servers[0]

    def place(self, at: int, *, direct: bool = False) -> str:
        port = self.proxy.port if self.proxy is not None and at == 0 and not direct else self.servers[at].port
        return f"redis://127.0.0.1:{port}/0" if self.engine == "redis" else f"127.0.0.1:{port}"

    def places(self, *, direct: bool = False) -> tuple[tuple[str, str], ...]:
        return tuple((name, self.place(at, direct=direct)) for at, name in enumerate(NODES))

    def tell(self, words: str) -> None:
        """Tell the proxy."""
        assert self.proxy is not None
        self.proxy.tell(words)

    def hang(self, on: bool = True) -> None:
        self.victim.process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def end(self) -> None:
        if self.proxy is not None:
            self.proxy.end()
        if self.bus is not None:
            self.bus.end()
        for server in self.servers:
            server.end()


class Metronome(threading.Thread):
    """How late a sleeper wakes on this machine, whoever else is busy."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ticks: list[tuple[float, float]] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            due = now() + _TICK_S
            time.sleep(_TICK_S)
            self.ticks.append((due, now() - due))


def lengths(seconds: float) -> tuple[float, float, float]:
    """Seconds of calm that do not count, of calm, and after the fault."""
    return min(0.5, seconds / 4), 0.6 * seconds, max(1.0, 0.75 * seconds)


def plans(stage: Stage, row: Any, seconds: float, *, tasks: bool, seed: int) -> list[Plan]:
    """One for each process: the same arrivals in every run of a row."""
    early_s, calm_s, after_s = lengths(seconds)
    fault_s, whole_s = early_s + calm_s, early_s + calm_s + seconds + max(after_s, row.after_s)
    made = []
    for number in range(PROCESSES):
        chance = random.Random(f"{seed} {row.name} {number}")
        due = arrivals(RATE / PROCESSES, whole_s, chance)
        keys = zipf(len(due), KEYS, SKEW, chance)
        reads = [(at, KEYS + key if row.new_keys and at >= fault_s and chance.random() < 0.5 else key)
                 for at, key in zip(due, keys, strict=True)]
        writes: list[tuple[float, int]] = []
        if row.writes and number == 0:
            each = 1 / row.writes
            writes = [(turn * each, turn % KEYS) for turn in range(int(whole_s / each))]
        made.append(Plan(nodes=stage.places(direct=row.one_sided and number > 0), reads=tuple(reads), writes=tuple(writes),
                         warm=tuple(range(KEYS)), seconds=whole_s, tasks=tasks, near=row.near,
                         bus="" if stage.bus is None else stage.bus.url))
    return made


class Cast:
    """The processes of a run: made, and ready."""

    def __init__(self, plans: list[Plan]) -> None:
        self.crew: list[Any] = []
        self.pipes: list[Any] = []
        shared = (SPAWN.RawArray("Q", 2 * KEYS), SPAWN.RawArray("Q", 2 * KEYS), SPAWN.RawArray("d", 2 * KEYS), SPAWN.Lock())
        try:
            for plan in plans:
                here, there = SPAWN.Pipe()
                process = SPAWN.Process(target=live, args=(plan, shared, there), daemon=True)
                process.start()
                there.close()
                self.pipes.append(here)
                self.crew.append(process)
            for here in self.pipes:
                received(here)
        except BaseException:
            self.end()
            raise

    def begin(self) -> float:
        """Let them begin, and say when that is."""
        begin_s = now() + 0.05
        for here in self.pipes:
            here.send(begin_s)
        return begin_s

    def end(self) -> None:
        for process in self.crew:
            if process.is_alive():
                process.kill()
            process.join()


def play(row: Any, engine: str, seconds: float, *, tasks: bool = False, seed: int = 1) -> Run:
    """Run one row on one kind of engine."""
    stage = Stage(engine, proxied=row.proxied, bus=bool(row.near))
    cast, metronome = None, Metronome()
    try:
        early_s, calm_s, _ = lengths(seconds)
        todo = plans(stage, row, seconds, tasks=tasks, seed=seed)
        cast = Cast(todo)
        if row.before is not None:
            row.before(stage)
        metronome.start()
        begin_s = cast.begin()
        stage.until_s = begin_s + early_s + calm_s + seconds
        sleep_until(stage.until_s - seconds)
        fault_s = now()
        row.fault(stage)
        healed_s = now()
        sleep_until(stage.until_s)
        if row.heal is not None:
            row.heal(stage)
            healed_s = now()
        if row.watch is not None:
            row.watch(stage, healed_s)
        records = [received(here) for here in cast.pipes]
        owners = {key: name for record in records for key, name in record.owners.items()}
        return Run(engine, begin_s, begin_s + early_s, fault_s, stage.until_s, begin_s + todo[0].seconds, healed_s, records,
                   metronome.ticks, owners, stage.extra)
    finally:
        metronome.over.set()
        if cast is not None:
            cast.end()
        stage.end()


def received(pipe: Any) -> Any:
    """What a process sends, within a limit. RuntimeError when it broke."""
    if not pipe.poll(PATIENCE_S):
        raise TimeoutError("a process of the crowd did not come back")
    with contextlib.suppress(EOFError):
        return pipe.recv()
    raise RuntimeError("a process of the crowd broke; what it said is above")


def sleep_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - now()))
