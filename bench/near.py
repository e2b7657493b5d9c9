"""A near hit of a cluster beside the same hit of a `Cache`, and of a dict, in one run.

    python -m bench.near [--rounds N]

`Cluster([LocalNode()], near=Cache(...))` with 1,024 keys near; each verb is called as users call it, for all keys in turn,
in rounds in which every row gets its turn. The verbs of `AsyncCluster` are awaited in a coroutine that is stepped by
hand, beside `Cache.aget_or_set` in another. Time is the thread's own processor time, with the loop; the median of the
rounds' ratios to the `Cache` row above counts. The bar of a near hit is 1.5.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import threading
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

from bench.machine import described
from samovar import Cache
from samovar.cluster import AsyncCluster, Cluster, LocalNode

KEYS = [f"user:{number}" for number in range(1_024)]
LAPS = 20


def by_get(subject: Any) -> None:
    get = subject.get
    for _ in range(LAPS):
        for key in KEYS:
            get(key)


def by_method(subject: Any) -> None:
    for _ in range(LAPS):
        for key in KEYS:
            subject.get(key)


def by_item(subject: Any) -> None:
    for _ in range(LAPS):
        for key in KEYS:
            subject[key]


def nothing() -> None:
    raise AssertionError("a hit calls no factory")


def by_load(subject: Any) -> None:
    for _ in range(LAPS):
        for key in KEYS:
            subject.get_or_set(key, nothing)


async def loads_awaited(subject: Any) -> None:
    for _ in range(LAPS):
        for key in KEYS:
            await subject.aget_or_set(key, nothing)


async def loads_of_face(subject: Any) -> None:
    for _ in range(LAPS):
        for key in KEYS:
            await subject.get_or_set(key, nothing)


async def gets_of_face(subject: Any) -> None:
    for _ in range(LAPS):
        for key in KEYS:
            await subject.get(key)


def stepped(lap: Callable[[Any], Any]) -> Callable[[Any], None]:
    """A coroutine that never has to wait, run to its end."""

    def run(subject: Any) -> None:
        try:
            lap(subject).send(None)
        except StopIteration:
            return
        raise AssertionError("a near hit had to wait")

    return run


def own(loop: Any) -> Any:
    """A copy of a loop's code: the interpreter specializes code in place."""
    return types.FunctionType(loop.__code__.replace(), loop.__globals__, loop.__name__, None, loop.__closure__)


def filled() -> tuple[dict[str, int], Cache[str, int], Cluster, AsyncCluster]:
    plain, cache = dict.fromkeys(KEYS, 1), Cache[str, int](10_000)
    cache.update(plain)
    near: Cache[str, int] = Cache(10_000)
    cluster = Cluster([LocalNode()], near=near)
    cluster.set_many(plain)
    pause = threading.Event()
    while not cluster.stats().hears:
        pause.wait(0.001)
    for key in KEYS:
        cluster.get(key)
    assert len(near) == len(KEYS)
    awaited_near: Cache[str, int] = Cache(10_000)
    awaited = AsyncCluster([LocalNode()], near=awaited_near, bus=LocalNode("bus"))
    awaited_near.update(plain)
    return plain, cache, cluster, awaited


def took(act: Callable[[Any], None], subject: Any) -> float:
    begun = time.thread_time()
    act(subject)
    return time.thread_time() - begun


def compare(groups: Sequence[Sequence[tuple[str, Callable[[Any], None], Any]]], rounds: int) -> None:
    """Print what each row's laps take, and its ratio to the first row of its group: the median over rounds in which every
    row gets its turn."""
    times: dict[str, list[float]] = {name: [] for group in groups for name, _, _ in group}
    gc.disable()
    for round_number in range(rounds + 2):
        for group in groups:
            for name, act, subject in group if round_number % 2 else reversed(group):
                spent = took(act, subject)
                if round_number >= 2:
                    times[name].append(spent)
    gc.enable()
    print(described())
    for group in groups:
        base = times[group[0][0]]
        for name, _, _ in group:
            ratio = statistics.median(mine / other for mine, other in zip(times[name], base, strict=True))
            print(f"{name:<26}{min(times[name]) / LAPS / len(KEYS) * 1e9:>7.1f} ns {ratio:>6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.near", description="a near hit beside a Cache's")
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    plain, cache, cluster, awaited = filled()
    groups: list[list[tuple[str, Callable[[Any], None], Any]]] = [
        [("Cache.get", own(by_get), cache), ("Cluster.get", own(by_get), cluster), ("dict.get", own(by_get), plain)],
        [("cache.get(key)", own(by_method), cache), ("cluster.get(key)", own(by_method), cluster)],
        [("cache[key]", own(by_item), cache), ("cluster[key]", own(by_item), cluster), ("dict[key]", own(by_item), plain)],
        [("cache.get_or_set", own(by_load), cache), ("cluster.get_or_set", own(by_load), cluster)],
        [("await cache.aget_or_set", stepped(own(loads_awaited)), cache),
         ("await cluster.get_or_set", stepped(own(loads_of_face)), awaited),
         ("await cluster.get", stepped(own(gets_of_face)), awaited)],
    ]
    compare(groups, rounds)
    cluster.close()


if __name__ == "__main__":
    main()
