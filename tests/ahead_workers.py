"""Processes that build ahead, led through pipes: real ones, to be killed.

What they build says which version of the original it was made of, a number in a file that the test counts up. Each call
of their function is noted in a file that all append to, when it begins and when it ends, so that calls of a process that
was killed count too.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import threading

from support import LIMIT


def serve(pipe, home, options):
    """What a process does until it is told to end."""
    import samovar
    from samovar._base.clock import stopwatch
    from samovar.cluster import Cluster, RedisNode

    options = dict(options)
    url = options.pop("url", None)
    if url is None:
        options["lease"] = samovar.FileLease(os.path.join(home, "leases"), shared=True, keep="1h")
    else:
        options["store"] = Cluster([RedisNode(url, timeout=LIMIT)], lease=2.0)
    log = os.open(os.path.join(home, "calls"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    go = threading.Event()
    go.set()

    def note(what, key):
        os.write(log, f"{json.dumps([what, key, os.getpid(), stopwatch()])}\n".encode())

    @samovar.precompute(name="pages", **options)
    def page(key):
        with open(os.path.join(home, "version"), encoding="utf-8") as file:
            version = int(file.read())
        note("begin", key)
        assert go.wait(3 * LIMIT)
        note("end", key)
        return version

    verbs = {
        "start": page.start,
        "rest": lambda: page.wait(LIMIT),
        "read": page,
        "read_all": lambda: [page(key) for key in options["keys"]],
        "touch": page.touch,
        "delete": page.delete,
        "hold": go.clear,
        "go": go.set,
        "stop": page.stop,
        "failing": lambda: page.status().failing,
    }
    with contextlib.suppress(EOFError):
        while True:
            verb, *args = pipe.recv()
            pipe.send(verbs[verb](*args))


class Builder:
    """A process that serves."""

    def __init__(self, home, **options):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, str(home), options),
                                                                    daemon=True)
        self.process.start()
        self.pid = self.process.pid
        theirs.close()

    def __call__(self, *words):
        self.pipe.send(words)
        assert self.pipe.poll(2 * LIMIT), f"process {self.pid} does not answer"
        return self.pipe.recv()

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.process.join(LIMIT)


@contextlib.contextmanager
def builders(home, count, **options):
    """So many processes, and their originals at version 1; ended afterwards whatever happens."""
    change(home, 1)
    made = [Builder(home, **options) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
            one.process.join(LIMIT)
            one.pipe.close()


def change(home, version):
    """The original is at this version from now on."""
    with open(os.path.join(home, "next"), "w", encoding="utf-8") as file:
        file.write(str(version))
    os.replace(os.path.join(home, "next"), os.path.join(home, "version"))


def calls(home, what="begin"):
    """(key, pid, moment) of each call that began, or ended."""
    path = os.path.join(home, "calls")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        noted = [json.loads(line) for line in file]
    return [tuple(rest) for happened, *rest in noted if happened == what]
