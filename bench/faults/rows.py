"""The faults: what is done to one of three nodes, what ends it, and the bars that the row must keep."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.faults.crowd import now
from bench.faults.figures import Bars, Outcome, judge
from bench.faults.holder import Holder
from bench.faults.stage import KEYS, NODES, Stage, play, sleep_until

DOWN, TAKES_NOTHING = ("down",), ("full", "down")
COPIES_S = 10.0


@dataclass(frozen=True)
class Row:
    """fault, heal: what is done; a fault without a heal is over at once. before: done before the crowd begins. watch:
    done after the heal. goes: the states in which the node is known to be in trouble. writes: keys changed in a second,
    and deleted, by one process. new_keys: half of what is asked during the fault was never asked before. one_sided: only
    the process that changes keys is cut off. all_nodes: every node is meant. near: entries of a near cache, whose bus is
    an engine of its own."""

    name: str
    title: str
    fault: Callable[[Stage], None]
    heal: Callable[[Stage], None] | None = None
    bars: Bars = Bars()
    engines: tuple[str, ...] = ("redis", "memcached")
    proxied: bool = False
    before: Callable[[Stage], None] | None = None
    watch: Callable[[Stage, float], None] | None = None
    goes: tuple[str, ...] | None = None
    writes: float = 0.0
    new_keys: bool = False
    one_sided: bool = False
    all_nodes: bool = False
    after_s: float = 0.0
    first_new: int = KEYS
    near: int = 0

    def play(self, engine: str, seconds: float, *, tasks: bool, seed: int) -> Outcome:
        """Run it, and judge it."""
        return judge(self, play(self, engine, seconds, tasks=tasks, seed=seed))


# ------------------------------------------------------------------ what is done

def kill(stage: Stage) -> None:
    stage.victim.stop(signal.SIGKILL)


def start(stage: Stage) -> None:
    stage.victim.start(stage.victim.port)


def restart(stage: Stage) -> None:
    kill(stage)
    start(stage)


def kill_all(stage: Stage) -> None:
    for server in stage.servers:
        server.stop(signal.SIGKILL)


def start_all(stage: Stage) -> None:
    for server in stage.servers:
        server.start(server.port)


def hang(stage: Stage) -> None:
    stage.hang()


def wake(stage: Stage) -> None:
    stage.hang(False)


def hang_bus(stage: Stage) -> None:
    stage.bus.process.send_signal(signal.SIGSTOP)


def wake_bus(stage: Stage) -> None:
    stage.bus.process.send_signal(signal.SIGCONT)


def kill_bus(stage: Stage) -> None:
    stage.bus.stop(signal.SIGKILL)


def start_bus(stage: Stage) -> None:
    stage.bus.start(stage.bus.port)


def proxy(words: str) -> Callable[[Stage], None]:
    return lambda stage: stage.tell(words)


def empty(stage: Stage) -> None:
    stage.victim.say(b"FLUSHALL\r\n" if stage.engine == "redis" else b"flush_all\r\n", b"\r\n")


def fill(stage: Stage) -> None:
    stage.victim.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
    stage.victim.do("CONFIG", "SET", "maxmemory", "1")


def unfill(stage: Stage) -> None:
    stage.victim.do("CONFIG", "SET", "maxmemory", "0")


def follow(stage: Stage) -> None:
    """Make a read-only replica of it: its master is nobody."""
    stage.victim.do("CONFIG", "SET", "replica-serve-stale-data", "yes")
    stage.victim.do("REPLICAOF", "127.0.0.1", "1")


def lead(stage: Stage) -> None:
    stage.victim.do("REPLICAOF", "NO", "ONE")


def save(stage: Stage) -> None:
    assert stage.victim.do("SAVE").startswith(b"+OK")
    stage.extra["epoch"] = epoch(stage)


def epoch(stage: Stage) -> bytes:
    got: bytes = stage.victim.do("GET", "samovar:1|epoch")
    return got


def epoch_moved(stage: Stage, healed_s: float) -> None:
    """Whether the epoch of the snapshot was left behind."""
    sleep_until(healed_s + 1.0)
    stage.extra["checks"] = [("epochs kept", float(epoch(stage) == stage.extra["epoch"]), 0, "count")]


def flap(stage: Stage) -> None:
    """Away for 300 ms, there for 300 ms, and so on."""
    while now() + 0.6 < stage.until_s:
        stage.hang()
        time.sleep(0.3)
        stage.hang(False)
        time.sleep(0.3)


def copies_go(stage: Stage, healed_s: float) -> None:
    """For how long after the last fault something lies on a node that does not own it."""
    from samovar.cluster import Cluster
    from samovar.cluster.codec import KeyMaker

    with Cluster([_named(stage, at) for at in range(len(NODES))], bus=False) as cluster:
        wire = KeyMaker("samovar", 1)
        foreign = [(stage.servers[at], wire(key)) for key in range(KEYS) for at, name in enumerate(NODES)
                   if cluster.node_of(key) != name]
        had, last_s = 0, 0.0
        while now() < healed_s + COPIES_S + 2:
            there = sum(_has(stage, server, keys) for server, keys in _by_server(foreign).items())
            had = max(had, there)
            if there:
                last_s = now() - healed_s
            elif now() > healed_s + 1:
                break
            time.sleep(0.05)
    stage.extra["checks"] = [("copies made", float(had), None, "count"), ("copies gone", last_s, COPIES_S, "s")]


def _named(stage: Stage, at: int) -> Any:
    from bench.faults.crowd import node_of

    return node_of(NODES[at], stage.place(at, direct=True), 1.0)


def _by_server(foreign: list[tuple[Any, str]]) -> dict[Any, list[str]]:
    found: dict[Any, list[str]] = {}
    for server, key in foreign:
        found.setdefault(server, []).append(key)
    return found


def _has(stage: Stage, server: Any, keys: list[str]) -> int:
    """How many of these keys lie there."""
    if stage.engine == "redis":
        return int(server.do("EXISTS", *keys).strip(b":\r\n"))
    answers = server.say(b"".join(f"mg {key}\r\n".encode() for key in keys) + b"mn\r\n", b"MN\r\n")
    return int(answers.count(b"HD\r\n"))


# ------------------------------------------------------------------ the table

DEAD = Bars(recovery_s=1.0, noticed_s=0.15)
REFUSING = Bars(p99_s=0.050, most_s=None, recovery_s=2.0)
EMPTY = Bars(calls=1.1, again=0.99, most_s=None)
UNTIMED = {"p99_s": None, "most_s": None, "calls": None}

ROWS: tuple[Any, ...] = (
    Row("sigkill", "killed (SIGKILL), started again empty", kill, start, DEAD, goes=DOWN),
    Row("refused", "connection refused", proxy("refuse"), proxy("pass"), DEAD, proxied=True, goes=DOWN),
    Row("reset", "connections reset", proxy("reset"), proxy("pass"), DEAD, proxied=True, goes=DOWN),
    Row("sigstop", "hangs (SIGSTOP)", hang, wake, DEAD, goes=DOWN),
    Row("black-hole", "black hole", proxy("deaf"), proxy("pass"), DEAD, proxied=True, goes=DOWN),
    Row("latency", "100 ms slower", proxy("slow 0.1"), proxy("pass"), Bars(0.130, 0.130, recovery_s=1.0, noticed_s=0.15),
        proxied=True, goes=DOWN),
    Row("full", "out of memory (noeviction)", fill, unfill, REFUSING, ("redis",), goes=TAKES_NOTHING, new_keys=True),
    Row("read-only", "read-only replica", follow, lead, REFUSING, ("redis",), goes=TAKES_NOTHING, new_keys=True),
    Row("restart", "restarted empty", restart, None, EMPTY),
    Row("flushall", "FLUSHALL", empty, None, EMPTY),
    Row("snapshot", "restarted with an old snapshot", restart, None, Bars(**UNTIMED, stale=True), ("redis",), before=save,
        watch=epoch_moved, writes=60),
    Row("missed", "hangs while keys are changed", hang, wake, Bars(**UNTIMED, stale=True, recovery_s=2.0), goes=DOWN,
        writes=60),
    Row("one-sided", "out of the writer's reach alone", proxy("deaf"), proxy("pass"),
        Bars(**UNTIMED, stale=True, recovery_s=2.0), proxied=True, goes=DOWN, writes=60, one_sided=True),
    Row("flapping", "away and back every 0.3 s, while keys are changed", flap, wake, Bars(**UNTIMED, stale=True),
        watch=copies_go, writes=20),
    Row("bus-killed", "the bus of near caches is killed, while keys are changed", kill_bus, start_bus, Bars(**UNTIMED),
        ("redis",), writes=20, near=KEYS),
    Row("bus-hangs", "the bus of near caches hangs, while keys are changed", hang_bus, wake_bus, Bars(**UNTIMED), ("redis",),
        writes=20, near=KEYS),
    Row("all-down", "every node killed", kill_all, start_all,
        Bars(None, None, None, recovery_s=2.0, busy=True), all_nodes=True),
    Holder(),
)
