"""`samovar edge` as a process, before an origin in this one: for tests of what only real processes show."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support import LIMIT

SECRET = "a-secret-of-enough-letters"
COMMAND = [sys.executable, "-c", "from samovar._cli import main; main()", "edge"]
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")


class Pages(BaseHTTPRequestHandler):
    """An origin: every path is a page of its own, good for ten minutes, with a tag; it counts."""

    protocol_version = "HTTP/1.1"
    asked, lock = 0, threading.Lock()

    def do_GET(self):
        with self.lock:
            type(self).asked += 1
            body = f"page {self.path} number {self.asked}".encode()
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Surrogate-Key", "news")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def origin():
    """(its class, which counts, and its port)."""
    kind = type("Origin", (Pages,), {"asked": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kind, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Edge:
    """A running `samovar edge`: its process, its port, that of its admin listener, and what it has said."""

    def __init__(self, words, env):
        self.process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                        env=env)
        self.ended = None
        self.said = line = self.process.stderr.readline()
        while line and "in front of" not in line:  # a warning comes before it
            self.said += (line := self.process.stderr.readline())
        ports = re.findall(r"https?://[^ ]+:([0-9]+)", self.said.partition("in front of")[0])
        assert ports, self.said
        self.port, self.admin = int(ports[0]), int(ports[-1])

    def ask(self, path, *, method="GET", token=None, port=None, body=None, **fields):
        """(status, fields, body) over a connection of its own: with several workers, of any."""
        line = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=LIMIT)
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            line.request(method, path, body=body, headers=headers)
            got = line.getresponse()
            return got.status, {name.lower(): value for name, value in got.getheaders()}, got.read()
        finally:
            line.close()

    def purge(self, **words):
        return self.ask("/.samovar/purge", method="POST", token=SECRET, port=self.admin, body=json.dumps(words),
                        Content_Type="application/json")

    def end(self, sign=signal.SIGTERM):
        """Stop it in good order; its exit status, and all that it said."""
        if self.ended is None:
            self.process.send_signal(sign)
            try:
                more = self.process.communicate(timeout=LIMIT)[1]
            finally:
                self.process.kill()
            self.ended = self.process.returncode, self.said + more
        return self.ended


@contextlib.contextmanager
def running(port, *words):
    """`samovar edge` in front of this port."""
    env = {**os.environ, "SAMOVAR_EDGE_TOKEN": SECRET}
    edge = Edge(["--origin", f"http://127.0.0.1:{port}", "--listen", "127.0.0.1:0", *words], env)
    try:
        yield edge
    finally:
        edge.end()


def browser():
    """The path of a headless Chromium; without one the test is skipped, or fails where it is required."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path is not None:
            return path
    required = os.environ.get("REQUIRE_SERVERS") == "1"
    return (pytest.fail if required else pytest.skip)(f"no {BROWSERS[0]} (Debian: apt-get install {BROWSERS[0]})")
