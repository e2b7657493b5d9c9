"""The origin: a process of its own that serves the slow query over HTTP on loopback, as a database server would.

It can do `capacity` queries at once. Whoever comes meanwhile waits in line, so that its latency rises with the crowd;
when the line is full, it refuses (503). It counts what it sees: the proof of every demonstration is its word, not that
of the cache. Run as a program by `Origin` (reach.py); it ends when its standard input does, and so with its
parent.

    GET  /takings/NAME   the slow query                POST /change/NAME   change the article
    GET  /counts         what it saw since the reset   POST /reset         forget what it saw
"""

import json
import queue
import signal
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .._base.clock import stopwatch
from .database import Database


class Full(Exception):
    """The line is full."""


class Counter:
    """The origin's desk: who is let in, who waits, and what was seen. Times are seconds since the last reset."""

    def __init__(self, database: Database, capacity: int, line: int) -> None:
        self._most = capacity + line
        self._free: queue.SimpleQueue[Database] = queue.SimpleQueue()
        for _ in range(capacity):
            self._free.put(database.another())
        self._lock = threading.Lock()
        self._empty = threading.Condition(self._lock)
        self._inside = 0
        self.reset()

    def reset(self) -> None:
        """Begin to count anew, when those have gone who are still here: nobody's leftovers count for the next."""
        with self._lock:
            self._empty.wait_for(lambda: not self._inside, timeout=60)
            self._calls = self._refused = 0
            self._peak = self._inside
            self._spans: list[tuple[float, float]] = []
            self._since_s = stopwatch()

    def counts(self) -> dict[str, Any]:
        """calls, those refused included; peak: the most that were inside, waiting or served; spans: (came, went)."""
        with self._lock:
            return {"calls": self._calls, "refused": self._refused, "peak": self._peak, "spans": list(self._spans)}

    def takings(self, name: str) -> dict[str, object]:
        came_s = stopwatch()
        with self._lock:
            self._calls += 1
            if self._inside == self._most:
                self._refused += 1
                raise Full
            self._inside += 1
            self._peak = max(self._peak, self._inside)
        try:
            database = self._free.get()  # in order
            try:
                return database.takings(name)
            finally:
                self._free.put(database)
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._empty.notify_all()
                if came_s >= self._since_s:
                    self._spans.append((came_s - self._since_s, stopwatch() - self._since_s))


def _serve(counter: Counter, database: Database) -> ThreadingHTTPServer:
    writing = threading.Lock()

    class Desk(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass  # nobody reads it

        def do_GET(self) -> None:
            verb, _, name = self.path[1:].partition("/")
            try:
                self._answer(200, counter.takings(name) if verb == "takings" else counter.counts())
            except Full:
                self._answer(503, {"error": "too many connections"})

        def do_POST(self) -> None:
            verb, _, name = self.path[1:].partition("/")
            if verb == "reset":
                counter.reset()
            else:
                with writing:
                    database.change(name)
            self._answer(200, {})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            try:
                self.wfile.write(text)
            except ConnectionError:
                pass  # who asked is gone

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1_024

    return Server(("127.0.0.1", 0), Desk)


def main(options: str) -> None:
    """Serve until standard input ends; options: JSON with seed, query_s, capacity, line. The first line of standard
    output says where it listens and how long its query takes."""
    said = json.loads(options)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair, whose end is the end of standard input
    with tempfile.TemporaryDirectory(prefix="samovar-lab-", ignore_cleanup_errors=True) as folder:
        database = Database.create(Path(folder, "shop.db"), seed=said["seed"], query_s=said["query_s"])
        server = _serve(Counter(database, said["capacity"], said["line"]), database)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        print(json.dumps({"port": server.server_address[1], "query_s": database.measure()}), flush=True)
        sys.stdin.read()
        server.shutdown()
        server.server_close()
        database.close()


if __name__ == "__main__":
    main(sys.argv[1])
