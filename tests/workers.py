"""Worker processes for tests: real ones, of every way to begin one, led through pipes.

A worker has one cache with a lease and does what it is told: a crowd of callers asks for one key; what their factory
does, and when it is done, the test says. Loads are counted in a file that all append to, so that a load by a process
that was killed counts too.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection

from support import LIMIT, TESTS

WAYS = ["spawn", "fork", "subprocess"]


def serve(pipe, home, options):
    """What a worker does until it is told to end."""
    import samovar

    options = dict(options)
    shared, patience = options.pop("shared", True), options.pop("patience", 60)
    lease = samovar.FileLease(os.path.join(home, "leases"), shared=shared, patience=patience, keep="1h")
    cache = samovar.Cache(name="shop", lease=lease, **options)
    log = os.open(os.path.join(home, "loads"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    go = threading.Event()
    crowds = []

    def load(key):
        os.write(log, f"{json.dumps(key)}\n".encode())
        assert go.wait(LIMIT)
        return {"key": key, "by": os.getpid()}

    async def aload(key):
        return await asyncio.to_thread(load, key)

    def threads(key, count):
        barrier = threading.Barrier(count)
        answers = [None] * count

        def ask(number):
            barrier.wait(LIMIT)
            answers[number] = cache.get_or_set(key, lambda: load(key))

        crew = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(count)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join(LIMIT)
        return answers

    async def tasks(key, count):
        return await asyncio.gather(*(cache.aget_or_set(key, lambda: aload(key)) for _ in range(count)))

    def many(keys):
        def load_all(wanted):
            for key in wanted:
                os.write(log, f"{json.dumps(key)}\n".encode())
            assert go.wait(LIMIT)
            return {key: {"key": key, "by": os.getpid()} for key in wanted}

        return list(cache.get_or_set_many(keys, load_all).values())

    def begin(job):
        answers = []
        thread = threading.Thread(target=lambda: answers.extend(job()), daemon=True)
        thread.start()
        crowds.append((thread, answers))

    def join():
        thread, answers = crowds.pop()
        thread.join(LIMIT)
        return answers

    verbs = {
        "threads": lambda key, count: begin(lambda: threads(key, count)),
        "tasks": lambda key, count: begin(lambda: asyncio.run(tasks(key, count))),
        "many": lambda keys: begin(lambda: many(keys)),
        "refresh": lambda key: begin(lambda: [cache.refresh(key, lambda: load(key))]),
        "go": go.set,
        "stop": go.clear,
        "join": join,
        "delete": lambda key: cache.delete(key),
        "waited": lambda: lease.stats().waited,
        "lease": lambda: str(lease.stats()),
        "counts": cache._counts,
        "sound": lambda: samovar._core.check(cache),
    }
    with contextlib.suppress(EOFError):
        while True:
            verb, *args = pipe.recv()
            pipe.send(verbs[verb](*args))


class Worker:
    """A process that serves. way: how it was begun."""

    def __init__(self, way, home, **options):
        self.pipe, theirs = multiprocessing.Pipe()
        if way == "subprocess":
            self.process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno()), str(home), json.dumps(options)],
                                            pass_fds=[theirs.fileno()], cwd=TESTS)
        else:
            self.process = multiprocessing.get_context(way).Process(target=serve, args=(theirs, str(home), options))
            self.process.start()
        theirs.close()
        self.pid = self.process.pid

    def tell(self, *words):
        self.pipe.send(words)

    def told(self):
        assert self.pipe.poll(2 * LIMIT), f"worker {self.pid} does not answer"
        return self.pipe.recv()

    def __call__(self, *words):
        self.tell(*words)
        return self.told()

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.end()

    def end(self):
        self.pipe.close()  # it reads the end, and leaves
        if isinstance(self.process, subprocess.Popen):
            self.process.wait(LIMIT)
        else:
            self.process.join(LIMIT)


@contextlib.contextmanager
def working(way, home, count=4, **options):
    """So many workers, ended afterwards whatever happens."""
    workers = [Worker(way, home, **options) for _ in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
            worker.end()


def loads(home):
    """The keys that were loaded, in order."""
    path = os.path.join(home, "loads")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), sys.argv[2], json.loads(sys.argv[3]))
