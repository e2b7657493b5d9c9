"""The bus: what one process changed, the near caches of all others are told, over the pub/sub of one node.

A change is told after the shared tier was changed, and by the one who changed it, before its verb returns; what could not
be told is told later, by a thread (`_speak`), until it is. Another thread listens (`_listen`), if this process has a near
cache: it says heartbeats, hears them, and lets the near cache fall when it does not (cluster/hearing.py decides).
Threads serve blocking and asyncio clusters alike: an event loop that is busy, or ends, silences nobody.

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
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

from .._base.clock import stopwatch
from . import drive, notices
from .hearing import FIRST_REST_S, LAST_REST_S, Hearing
from .near import Near
from .node import UNAVAILABLE, Fault, Node
from .requests import NODE, Steps

BUS = "|bus"  # what a node that is nothing but the bus is known by: no name of a node on the ring
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


class Bus:
    """node: one that can push. name: what the driver of the protocols knows it by. channel: the namespace's.
    near: the near cache to keep honest; None: this process only tells."""

    def __init__(self, node: Node, name: str, channel: str, near: Near | None) -> None:
        self.node, self.name, self.channel, self.near = node, name, channel, near
        self._over = False
        self.untold = 0  # how often a notice had to be told later
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self.sender = os.urandom(notices.SENDER)
        self._lock = threading.Lock()
        self._bell = threading.Event()  # something is to be said
        self._end = threading.Event()
        if self._over:
            self._end.set()
        self._owed: deque[bytes] = deque()
        self._beat: bytes | None = None
        self._threads: dict[str, threading.Thread] = {}
        self._heard: Any = None

    # ---------------------------------------------------------------- telling

    def tell(self, is_up: bool, **what: Any) -> Steps:
        """Tell what was changed: `keys`, `tags` or `epochs`. is_up: whether the node may be asked."""
        with self._lock:  # what no thread can tell, for want of a blocking client
            late = [] if self.node.blocks else list(self._owed)
            if late:
                self._owed.clear()
        for payload in [*late, *notices.written(self.sender, **what)]:
            if not is_up:
                self._owe(payload)
                continue
            answer = yield NODE, (self.name, "publish", (self.channel, payload))
            if answer[0] is UNAVAILABLE:
                is_up = False
                self._owe(payload)

    def _owe(self, payload: bytes) -> None:
        with self._lock:
            self.untold += 1
            if len(self._owed) >= MOST_OWED:
                self._owed.clear()
                payload = next(notices.written(self.sender, epochs={}))
            self._owed.append(payload)
        if self.node.blocks:
            self._start("speak", self._speak)
            self._bell.set()

    def _speak(self) -> None:
        """Say what is owed, and heartbeats."""
        rest = FIRST_REST_S
        while not self._over:
            self._bell.wait()
            self._bell.clear()
            beat, self._beat = self._beat, None
            if beat is not None:
                self._say(self._own, beat)
            while self._owed and not self._over:
                payload = self._owed[0]
                if not self._say(self.channel, payload):
                    self._end.wait(rest)
                    rest = min(2 * rest, LAST_REST_S)
                    self._bell.set()
                    break
                rest = FIRST_REST_S
                with self._lock:
                    if self._owed and self._owed[0] is payload:
                        self._owed.popleft()

    def _say(self, channel: str, payload: bytes) -> bool:
        status, told = drive.run(self.node.publish(channel, payload))
        if status is UNAVAILABLE:
            self._meet(told)
        return status is not UNAVAILABLE

    def _meet(self, fault: Fault) -> bool:
        """Take a new run of an engine that is nothing but the bus: it holds nothing that could be wrong. Where it is a node
        of the ring, too, cluster/admission.py sees to it."""
        is_new = fault.reason == "restarted" and self.name == BUS
        if is_new:
            drive.run(self.node.epoch("bus", True))
        return is_new

    # ---------------------------------------------------------------- listening

    @property
    def _own(self) -> str:
        return f"{self.channel}.{self.sender.hex()}"

    def wake(self) -> None:
        """Begin to listen, if that has not begun."""
        if "listen" not in self._threads and self.near is not None and not self._over:
            self._heard = self.node.subscribe([self.channel, self._own])
            self._start("speak", self._speak)
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
            self._heard.close()
        except BaseException:
            self.near.fall()
            raise

    def _perform(self, request: int, about: Any) -> Any:
        if request == GET:
            told = self._heard.get(about)
            return told if told is None or type(told) is Fault else told.payload
        if request == SAY:
            self._beat = notices.beat(self.sender, about)
            self._bell.set()
            return None
        if request == REST:
            self._end.wait(about)
            return None
        if request == CLOSE:
            return self._heard.close()
        fault = self._heard.open()
        return self._heard.open() if fault is not None and self._meet(fault) else fault

    def stop(self) -> None:
        """End the threads, soon; the near cache keeps nothing from now on."""
        self._over = True
        self._end.set()
        self._bell.set()
        if self.near is not None:
            self.near.fall()


def wired(who: str, nodes: Mapping[str, Node], bus: Any, near: Any, channel: str) -> tuple[Bus | None, Near | None]:
    """The bus of a cluster, and its near cache, as its arguments want them. bus: a node; None: the first one that can
    push, by name, so that all processes agree; False: none."""
    name = ""
    if isinstance(bus, Node):
        if not bus.capabilities.push:
            raise ValueError(f"{who}: bus must be a node that can push, such as a RedisNode, not {bus!r}")
        name = next((name for name, node in nodes.items() if node is bus), BUS)
    elif bus is None:
        name = min((name for name, node in nodes.items() if node.capabilities.push), default="")
        bus = nodes.get(name)
    elif bus is False:
        bus = None
    else:
        raise TypeError(f"{who}: bus must be a node that can push, False or None, not {bus!r}")
    if bus is None and near is not None and (near.fresh is None or near.fresh.ttl is None):
        raise ValueError(f"{who}: near must have a ttl, as in Cache(10_000, ttl=1), where no node can push: nothing else "
                         f"bounds how old its values are; or give bus=RedisNode(...)")
    if bus is not None and near is not None and not bus.blocks:
        raise ValueError(f"{who}: near needs a bus that can be heard by a thread: give {name!r} a blocking client too")
    keeper = None if near is None else Near(near, stands=bus is None)
    return None if bus is None else Bus(bus, name, channel, keeper), keeper
