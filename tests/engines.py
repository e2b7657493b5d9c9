"""Real redis-server and memcached for tests: started on free loopback ports, one of each for a test process, emptied
before each test, and ended with it. Where REQUIRE_SERVERS is set, a missing one fails; elsewhere its tests are skipped.

And a TCP proxy between a node and its engine, which can stop passing things on, reset, or refuse.
"""

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

import pytest

from support import LIMIT, until

REQUIRED = os.environ.get("REQUIRE_SERVERS") == "1"


def program(name):
    """The path of an engine's program."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if REQUIRED else pytest.skip)(f"{name} is not installed (Debian: apt-get install {name})")
    return path


_ports = []


def free_port(most=65_535):
    """A port on which nobody listens, and that is nobody else's as long as this process lives: it stays bound here, and
    an engine, which allows others its address, may listen on it again and again."""
    while True:
        taken = socket.socket()
        if sys.platform == "linux":  # elsewhere two may not have an address, listening or not
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _ports.append(taken)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        if sys.platform != "linux":
            taken.close()
        if port <= most:
            return port


class Engine:
    """A running program that listens on `port`."""

    highest = 65_535

    def __init__(self, command):
        self.command = command
        self.folder = tempfile.mkdtemp(prefix="samovar-")
        self.process = None
        self.start()

    def start(self, port=None):
        """Start it, on the port that it had, or on a free one."""
        for _ in range(5):
            self.port = port or free_port(self.highest)
            self.process = subprocess.Popen(self.command(self), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                            cwd=self.folder)
            until(lambda: self.answers() or self.process.poll() is not None)
            if self.process.poll() is None:
                return
        pytest.fail(f"{self.command(self)[0]} does not start")

    def answers(self):
        try:
            with self.plug() as plug:
                plug.settimeout(1)
                plug.sendall(self.hello[0])
                return plug.recv(64).startswith(self.hello[1])
        except OSError:
            return False

    def plug(self, port=None):
        return socket.create_connection(("127.0.0.1", port or self.port), LIMIT)

    def say(self, payload, ends, *, port=None):
        """Send raw bytes; what comes until it ends so."""
        with self.plug(port) as plug:
            plug.settimeout(LIMIT)
            plug.sendall(payload)
            got = b""
            while not got.endswith(ends):
                chunk = plug.recv(1 << 16)
                assert chunk, got
                got += chunk
            return got

    def stop(self, how=signal.SIGKILL):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.send_signal(how)
            self.process.wait(LIMIT)

    def end(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def hanging(self):
        """Stopped by SIGSTOP: it accepts connections, and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class RedisServer(Engine):
    hello = b"PING\r\n", (b"+PONG", b"-NOAUTH")

    program = "redis-server"

    def __init__(self, *options):
        path = program(self.program)
        if "--cluster-enabled" in options:
            self.highest = 55_535  # the nodes of a cluster talk to each other on the port that is 10,000 above
        super().__init__(lambda self: [
            path, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--unixsocket", f"{self.folder}/redis.sock", "--dir", self.folder, *options])

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def do(self, *words):
        """One command whose reply is one line, or a bulk string."""
        payload = b"*%d\r\n" % len(words)
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            payload += b"$%d\r\n%s\r\n" % (len(word), word)
        return self.say(payload, b"\r\n")

    def calls(self):
        """How often each command was called."""
        text = self.do("INFO", "commandstats").decode()
        return {line.split(":")[0].removeprefix("cmdstat_"): int(line.split("calls=")[1].split(",")[0])
                for line in text.splitlines() if line.startswith("cmdstat_")}

    def empty(self):
        self.do("FLUSHALL")
        self.do("CONFIG", "RESETSTAT")


class MemcachedServer(Engine):
    hello = b"version\r\n", b"VERSION"

    def __init__(self, *options):
        path = program("memcached")
        super().__init__(lambda self: [path, "-p", str(self.port), "-l", "127.0.0.1", "-U", "0", "-u", "nobody", *options])

    def stats(self):
        text = self.say(b"stats\r\n", b"END\r\n").decode()
        return dict(line.split()[1:3] for line in text.splitlines() if line.startswith("STAT") and len(line.split()) > 2)

    def empty(self):
        assert self.say(b"flush_all\r\n", b"\r\n") == b"OK\r\n"


@pytest.fixture(scope="session")
def redis_process():
    server = RedisServer()
    yield server
    server.end()


@pytest.fixture
def redis_server(redis_process):
    """A Redis, empty."""
    redis_process.empty()
    return redis_process


@pytest.fixture(scope="session")
def memcached_process():
    server = MemcachedServer("-m", "64")
    yield server
    server.end()


@pytest.fixture
def memcached_server(memcached_process):
    """A Memcached, empty."""
    memcached_process.empty()
    return memcached_process


class Proxy:
    """Passes bytes between those who connect to `port` and an engine, until told otherwise."""

    def __init__(self, target):
        self.target, self.plugs, self.deaf = target, [], threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # the engine is away: so is what stands before it, until it is back
                here.close()
                continue
            self.plugs += [here, there]
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one, other):
        with contextlib.suppress(OSError):
            while chunk := one.recv(1 << 16):
                if not self.deaf.is_set():
                    other.sendall(chunk)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def reset(self):
        """Break every connection with an RST."""
        for plug in self.plugs:
            with contextlib.suppress(OSError):
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                plug.shutdown(socket.SHUT_RD)
            plug.close()
        self.plugs.clear()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.reset()


@pytest.fixture
def proxied():
    """A maker of proxies in front of an engine's port."""
    made = []

    def make(port):
        made.append(Proxy(port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()
