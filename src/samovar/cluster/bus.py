"""The bus: what one process changed, the near caches of all others are told, over the pub/sub of some nodes.

The nodes that carry it are the same for all processes, in the same order: two, unless the user names others. Everything
is told on each of them, and a process listens on one: so it may move to the next whenever the one it hears falls silent,
without asking anybody, and nobody has to agree on who is alive. Where they all are gone, nobody is heard, and near caches
keep nothing.

A change is told after the shared tier was changed, and by the one who changed it, before its verb returns; what could not
be told is told later, by a thread for each node (`_catch_up`), until it is. Another listens (`_listen`), if this process
has a near cache: it hears the heartbeats that a third one says (`_pulse`), and lets the near cache fall when it does not
(cluster/hearing.py decides). Threads serve blocking and asyncio clusters alike: an event loop that is busy, or ends,
silences nobody.

Two channels: the namespace's, which all hear, and this process's own, for its heartbeats; heartbeats of many processes
would be heard many times otherwise. Both come over one connection, in order.

The one rule: the thread that listens never asks the engine for anything: an engine that hangs must not keep it from
noticing.
"""

import os
import random
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeAlias

from .._base.clock import stopwatch
from . import drive, notices
from .hearing import FIRST_REST_S, LAST_REST_S, Hearing
from .near import Near
from .node import UNAVAILABLE, Fault, Node
from .push import Subscription
from .requests import ALL, Steps

BUS = "|bus"  # what a node that is nothing but the bus is known by: no name of a node on the ring
CARRIERS = 2  # nodes of the ring that carry the bus: it survives one of them
OPEN, GET, SAY, REST, CLOSE = range(5)  # what `listen` asks of its driver
Asked: TypeAlias = tuple[int, Any]
MOST_OWED = 1000  # payloads; beyond, one that says "everything" takes their place

_all: "weakref.WeakSet[Bus]" = weakref.WeakSet()


def _forked() -> None:
    """The threads stayed in the parent, and so did what they hear."""
    for bus in list(_all):
        bus._reset()
        if bus.near is not None:
            bus.near.fall()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def listen(hearing: Hearing, near: Near, sender: bytes, now: Callable[[], float],
           is_over: Callable[[], bool]) -> Generator[Asked, Any, None]:
    """Keep a near cache honest, until is_over() says so. It asks, and is told:

        OPEN    subscribe                          None, or a Fault
        GET     seconds to wait for a message      its payload, None when none came, or a Fault
        SAY     the number of a heartbeat          nothing: it is only handed over
        REST    seconds                            nothing
        CLOSE   end the subscription               nothing
    """
    while not is_over():
        told = yield OPEN, None
        if type(told) is not Fault:
            hearing.opened(now())
            yield from _hear(hearing, near, sender, now, is_over)
            near.fall()
            yield CLOSE, None
        yield REST, hearing.fell()


def _hear(hearing: Hearing, near: Near, sender: bytes, now: Callable[[], float],
          is_over: Callable[[], bool]) -> Generator[Asked, Any, None]:
    while not is_over():
        number = hearing.beat(now())
        if number is not None:
            yield SAY, number
        told = yield GET, hearing.wait_s(now())
        if type(told) is Fault or hearing.is_silent(now()):
            return
        if told is None:
            continue
        notice = notices.read(told)
        if notice is None or notice.sender != sender:
            near.take(notice)
        elif notice.kind == notices.BEAT and hearing.heard(notice.names):
            near.stand()


class Carrier:
    """One node of the bus. name: what the driver of the protocols knows it by. ring: whether keys lie on it, too."""

    def __init__(self, node: Node, name: str, *, ring: bool) -> None:
        self.node, self.name, self.ring = node, name, ring
        self.threaded = node.for_threads()  # None: threads cannot ask it
        self.owed: deque[bytes] = deque()  # what it was not told yet
        self.bell = threading.Event()  # something is owed
        self.heard: Subscription | None = None


class Bus:
    """carriers: in the order that all processes agree on. channel: the namespace's. near: the near cache to keep honest;
    None: this process only tells."""

    def __init__(self, carriers: Sequence[tuple[Node, str, bool]], channel: str, near: Near | None) -> None:
        self._given, self.channel, self.near = tuple(carriers), channel, near
        self._over = False
        self.untold = 0  # how often a notice had to be told later
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self.sender = os.urandom(notices.SENDER)
        self._lock = threading.Lock()
        self._bell = threading.Event()  # a heartbeat is to be said
        self._end = threading.Event()
        if self._over:
            self._end.set()
        self.carriers = [Carrier(node, name, ring=ring) for node, name, ring in self._given]
        self._first = 0  # where to listen next
        self._on: Carrier | None = None  # where it listens
        self._beat: bytes | None = None
        self._threads: dict[str, threading.Thread] = {}

    @property
    def nodes(self) -> dict[str, Node]:
        """{name: node}, as the driver shall know them."""
        return {carrier.name: carrier.node for carrier in self.carriers}

    @property
    def is_heard(self) -> bool:
        """Whether a thread can listen to one of them."""
        return any(carrier.threaded is not None for carrier in self.carriers)

    # ---------------------------------------------------------------- telling

    def tell(self, is_up: Callable[[str], bool], **what: Any) -> Steps:
        """Tell what was changed: `keys`, `tags` or `epochs`, on every node. is_up: whether a node may be asked."""
        for payload in (*self._late(), *notices.written(self.sender, **what)):
            asked = []
            for carrier in self.carriers:
                if is_up(carrier.name) and not carrier.owed:
                    asked.append(carrier)
                else:  # behind what it does not know yet, so that nobody waits for a node that is away
                    self._owe(carrier, payload)
            answers = yield ALL, [(carrier.name, "publish", (self.channel, payload)) for carrier in asked]
            for carrier, answer in zip(asked, answers, strict=True):
                if answer[0] is UNAVAILABLE:
                    self._owe(carrier, payload)

    def _late(self) -> list[bytes]:
        """What is owed and no thread can tell, for want of a blocking client: it is told everybody once more."""
        with self._lock:
            late = [payload for carrier in self.carriers if carrier.threaded is None for payload in carrier.owed]
            for carrier in self.carriers:
                if carrier.threaded is None:
                    carrier.owed.clear()
        return late

    def _owe(self, carrier: Carrier, payload: bytes) -> None:
        with self._lock:
            self.untold += 1
            if len(carrier.owed) >= MOST_OWED:
                carrier.owed.clear()
                payload = next(notices.written(self.sender, epochs={}))
            carrier.owed.append(payload)
        if carrier.threaded is not None:
            self._start(f"tell {carrier.name}", lambda: self._catch_up(carrier))
            carrier.bell.set()

    def _owed_first(self, carrier: Carrier) -> bytes | None:
        with self._lock:  # `_owe` may be clearing them away
            return carrier.owed[0] if carrier.owed else None

    def _catch_up(self, carrier: Carrier) -> None:
        """Say what is owed to one node, as often as it takes."""
        rest = FIRST_REST_S
        while not self._over:
            carrier.bell.wait()
            carrier.bell.clear()
            while (payload := self._owed_first(carrier)) is not None and not self._over:
                if not self._say(carrier, self.channel, payload):
                    self._end.wait(rest)
                    rest = min(2 * rest, LAST_REST_S)
                    continue
                rest = FIRST_REST_S
                with self._lock:
                    if carrier.owed and carrier.owed[0] is payload:
                        carrier.owed.popleft()

    def _pulse(self) -> None:
        """Say heartbeats where this process listens."""
        while not self._over:
            self._bell.wait()
            self._bell.clear()
            beat, self._beat, on = self._beat, None, self._on
            if beat is not None and on is not None:
                self._say(on, self._own, beat)

    def _say(self, carrier: Carrier, channel: str, payload: bytes) -> bool:
        assert carrier.threaded is not None
        status, told = drive.run(carrier.threaded.publish(channel, payload))
        if status is UNAVAILABLE:
            self._meet(carrier, told)
        return status is not UNAVAILABLE

    def _meet(self, carrier: Carrier, fault: Fault) -> bool:
        """Take a new run of an engine that is nothing but the bus: it holds nothing that could be wrong. Where it is a node
        of the ring, too, cluster/admission.py sees to it."""
        is_new = fault.reason == "restarted" and (not carrier.ring or carrier.threaded is not carrier.node)
        if is_new:
            assert carrier.threaded is not None
            drive.run(carrier.threaded.epoch("bus", True))
        return is_new

    # ---------------------------------------------------------------- listening

    @property
    def _own(self) -> str:
        return f"{self.channel}.{self.sender.hex()}"

    def wake(self) -> None:
        """Begin to listen, if that has not begun."""
        if "listen" not in self._threads and self.near is not None and not self._over:
            self._start("pulse", self._pulse)
            self._start("listen", self._listen)

    def _start(self, what: str, job: Callable[[], None]) -> None:
        with self._lock:
            if what not in self._threads and not self._over:
                self._threads[what] = thread = threading.Thread(target=job, name=f"samovar-{what}", daemon=True)
                thread.start()

    def _listen(self) -> None:
        assert self.near is not None
        steps = listen(Hearing(random.random), self.near, self.sender, stopwatch, lambda: self._over)
        told: Any = None
        try:
            while True:
                told = self._perform(*steps.send(told))
        except StopIteration:
            self._close()
        except BaseException:
            self.near.fall()
            raise

    def _perform(self, request: int, about: Any) -> Any:
        if request == OPEN:
            return self._open()
        if request == GET:
            assert self._on is not None and self._on.heard is not None
            told: Any = self._on.heard.get(about)
            return told if told is None or type(told) is Fault else told.payload
        if request == SAY:
            self._beat = notices.beat(self.sender, about)
            self._bell.set()
        elif request == REST:
            self._end.wait(about)
        else:
            self._close()
        return None

    def _open(self) -> Fault | None:
        """Listen on the next node that lets us, in their order."""
        fault: Fault | None = Fault("closed", "no node can be heard by a thread")
        for step in range(len(self.carriers)):
            at = (self._first + step) % len(self.carriers)
            carrier = self.carriers[at]
            if carrier.threaded is None:
                continue
            if carrier.heard is None:
                carrier.heard = carrier.threaded.subscribe([self.channel, self._own])
            fault = carrier.heard.open()
            if fault is not None and self._meet(carrier, fault):
                fault = carrier.heard.open()
            if fault is None:
                self._first, self._on = at + 1, carrier  # when this one falls silent, the next
                return None
        return fault

    def _close(self) -> None:
        on, self._on = self._on, None
        if on is not None and on.heard is not None:
            on.heard.close()

    def stop(self) -> None:
        """End the threads, soon; the near cache keeps nothing from now on."""
        self._over = True
        self._end.set()
        for carrier in self.carriers:
            carrier.bell.set()
        self._bell.set()
        if self.near is not None:
            self.near.fall()

    def close(self) -> None:
        """Give up what was made for the threads alone."""
        for carrier in self.carriers:
            if carrier.threaded is not None and carrier.threaded is not carrier.node:
                carrier.threaded.close()


def wired(who: str, nodes: Mapping[str, Node], bus: Any, near: Any, channel: str) -> tuple[Bus | None, Near | None]:
    """The bus of a cluster, and its near cache, as its arguments want them. bus: a node, or several; None: the first two
    that can push, by name, so that all processes agree; False: none."""
    carriers: list[tuple[Node, str, bool]] = []
    if bus is None:
        names = sorted(name for name, node in nodes.items() if node.capabilities.push)[:CARRIERS]
        carriers = [(nodes[name], name, True) for name in names]
    elif bus is not False:
        given = [bus] if isinstance(bus, Node) else list(bus) if isinstance(bus, list | tuple) else []
        if not given or not all(isinstance(node, Node) for node in given):
            raise TypeError(f"{who}: bus must be a node that can push, several of them, False or None, not {bus!r}")
        for node in given:
            if not node.capabilities.push:
                raise ValueError(f"{who}: bus must be a node that can push, such as a RedisNode, not {node!r}")
            name = next((name for name, one in nodes.items() if one is node), "")
            carriers.append((node, name or f"{BUS} {len(carriers)}", bool(name)))
    if not carriers and near is not None and (near.fresh is None or near.fresh.ttl is None):
        raise ValueError(f"{who}: near must have a ttl, as in Cache(10_000, ttl=1), where no node can push: nothing else "
                         f"bounds how old its values are; or give bus=RedisNode(...)")
    keeper = None if near is None else Near(near, stands=not carriers)
    made = Bus(carriers, channel, keeper) if carriers else None
    if near is not None and made is not None and not made.is_heard:
        raise ValueError(f"{who}: near needs a bus that can be heard by a thread: give {carriers[0][1]!r} a blocking client "
                         f"too")
    return made, keeper
