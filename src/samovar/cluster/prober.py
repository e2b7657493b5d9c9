"""Who looks after the nodes (cluster/admission.py), from the first question until the cluster is gone.

A thread, also for `AsyncCluster`: nodes are asked blocking there, and no event loop has to live for it. Only where a node
can be asked in asyncio alone (a client of redis.asyncio's) it is a task of the loop that asked last.

The one rule: it holds no reference to the cluster, so that a cluster nobody uses any more can go, and its prober with it.
"""

import asyncio
import logging
import os
import threading
import weakref
from typing import Any

from . import admission
from .driving import Awaiting, Blocking
from .requests import PAUSE
from .tier import Tier

_log = logging.getLogger("samovar")
_AGAIN_S = 0.5  # until the watch goes on that a mistake of a client library's ended
_probers: "weakref.WeakSet[Prober]" = weakref.WeakSet()


def _forked() -> None:
    for prober in list(_probers):
        prober.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _mind(error: Exception) -> None:
    _log.error("looking after the nodes of a cluster failed: %r", error, exc_info=error)


class Prober:
    """The prober of one cluster. `is_cold`: it must be started before anything is asked: at first, and in the child of a
    fork, where threads do not live on."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self._over = False
        self.forget()
        tier.alarm = self.wake
        _probers.add(self)

    def forget(self) -> None:
        """Begin without a thread: new, or in the child of a fork."""
        self.tier.forked()
        self.is_cold = True
        self._starting = threading.RLock()
        self._bell = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung: asyncio.Event | None = None

    # ---------------------------------------------------------------- starting

    def start(self, driver: Blocking) -> None:
        """Take in the nodes, once for however many threads ask, and look after them from now on."""
        with self._starting:
            if self.is_cold:
                if self.tier.unknown:
                    driver.run(admission.start(self.tier))
                self._begin(Blocking(self.tier.nodes, None))
                self.is_cold = False

    async def astart(self, driver: Awaiting, *, blocks: bool) -> None:
        """The same for tasks: several may do it at once, to the same effect. blocks: whether a thread can ask the nodes."""
        if self.tier.unknown:
            await driver.run(admission.start(self.tier))
        if blocks:
            with self._starting:
                if self._thread is None:
                    self._begin(Blocking(self.tier.nodes, None))
                self.is_cold = False
        elif self._loop is None or self._loop is not asyncio.get_running_loop():
            self._loop, self._rung = asyncio.get_running_loop(), asyncio.Event()
            self._task = self._loop.create_task(self._alive(driver, self._rung))

    def _begin(self, driver: Blocking) -> None:
        self._thread = threading.Thread(target=self._live, args=(driver,), name="samovar-prober", daemon=True)
        self._thread.start()

    # ---------------------------------------------------------------- living

    def _live(self, driver: Blocking) -> None:
        bell = self._bell
        while True:
            try:
                return self._watch(driver, bell)
            except Exception as error:  # of a node that must answer and raised: without a watch it would be down for ever
                _mind(error)
            bell.wait(_AGAIN_S)

    def _watch(self, driver: Blocking, bell: threading.Event) -> None:
        steps = admission.keep_watch(self.tier, lambda: self._over)
        told: Any = None
        try:
            while True:
                request, about = steps.send(told)
                if request == PAUSE:
                    bell.wait(about)
                    bell.clear()
                    told = None
                else:
                    told = driver.perform(request, about)
        except StopIteration:
            pass

    async def _alive(self, driver: Awaiting, rung: asyncio.Event) -> None:
        while True:
            try:
                return await self._awatch(driver, rung)
            except Exception as error:
                _mind(error)
            await asyncio.sleep(_AGAIN_S)

    async def _awatch(self, driver: Awaiting, rung: asyncio.Event) -> None:
        steps = admission.keep_watch(self.tier, lambda: self._over or self._rung is not rung)
        told: Any = None
        try:
            while True:
                request, about = steps.send(told)
                if request == PAUSE:
                    try:
                        async with asyncio.timeout(about):
                            await rung.wait()
                    except TimeoutError:
                        pass
                    rung.clear()
                    told = None
                else:
                    told = await driver.perform(request, about)
        except StopIteration:
            pass

    def wake(self) -> None:
        """Something happened to a node: look at once."""
        self._bell.set()
        loop, rung = self._loop, self._rung
        if loop is not None and rung is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(rung.set)
            except RuntimeError:  # closed meanwhile
                pass

    def stop(self) -> None:
        """It is over."""
        self._over = True
        self.wake()
