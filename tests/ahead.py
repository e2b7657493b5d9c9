"""Both runners of `precompute` behind one face, so that one suite holds them to the same promises: threads as they are,
tasks in an event loop that has a thread of its own. And a function whose calls the test leads."""

import asyncio
import contextlib
import threading

import samovar
from support import LIMIT, wait_for


class Work:
    """What is built: counts its calls, and does what the test says: waits at a gate, raises, returns."""

    def __init__(self):
        self.calls, self.lock = [], threading.Lock()
        self.errors = {}  # key -> what it raises
        self.gates = {}  # key -> (entered, go)
        self.running = self.most = 0

    def gate(self, key):
        """From now on calls for this key wait: (somebody is in, let them out)."""
        self.gates[key] = threading.Event(), threading.Event()
        return self.gates[key]

    def begin(self, key):
        with self.lock:
            self.calls.append(key)
            self.running += 1
            self.most = max(self.most, self.running)
            number = self.calls.count(key)
        if key in self.gates:
            self.gates[key][0].set()
        return number

    def end(self, key, number):
        with self.lock:
            self.running -= 1
        if key in self.errors:
            raise self.errors[key]
        return f"{key} {number}"

    def call(self, key):
        number = self.begin(key)
        if key in self.gates:
            wait_for(self.gates[key][1])
        return self.end(key, number)

    async def acall(self, key):
        number = self.begin(key)
        if key in self.gates:
            await asyncio.to_thread(wait_for, self.gates[key][1])
        return self.end(key, number)


class Threads:
    """A function of threads."""

    kind = "threads"

    def __init__(self, work, **how):
        self.work = work
        self.page = samovar.precompute(**how)(work.call)
        self.touch, self.touch_tags, self.status = self.page.touch, self.page.touch_tags, self.page.status
        self.store = self.page.store

    def __call__(self, key):
        return self.page(key)

    def do(self, told):
        """What a verb of the store returned, awaited where that is to be."""
        return told

    def start(self):
        self.page.start()

    def stop(self, **how):
        return self.page.stop(**how)

    def rest(self):
        assert self.page.wait(LIMIT), self.page.status()

    def built(self, key):
        return self.page.built(key)

    def delete(self, key):
        return self.page.delete(key)

    def close(self):
        for _, go in self.work.gates.values():
            go.set()
        self.page.stop(drain=False, timeout=LIMIT)


class Tasks(Threads):
    """The same of tasks."""

    kind = "tasks"

    def __init__(self, work, **how):
        self.work = work
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.page = samovar.precompute(**how)(work.acall)
        self.touch, self.touch_tags, self.status = self.page.touch, self.page.touch_tags, self.page.status
        self.store = self.page.store

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(2 * LIMIT)

    def __call__(self, key):
        return self.run(self.page(key))

    def do(self, told):
        return self.run(told) if asyncio.iscoroutine(told) else told

    def start(self):
        self.run(self.page.start())

    def stop(self, **how):
        return self.run(self.page.stop(**how))

    def rest(self):
        assert self.run(self.page.wait(LIMIT)), self.page.status()

    def built(self, key):
        return self.run(self.page.built(key))

    def delete(self, key):
        return self.run(self.page.delete(key))

    def close(self):
        for _, go in self.work.gates.values():
            go.set()
        self.stop(drain=False)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(LIMIT)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


KINDS = {"threads": Threads, "tasks": Tasks}


@contextlib.contextmanager
def ahead(kind, work, **how):
    """A function whose results are built ahead, started, and ended whatever happens."""
    page = KINDS[kind](work, **how)
    try:
        page.start()
        yield page
    finally:
        page.close()
