"""Nodes for the demonstrations, that can be killed and started again: real redis-servers on this machine where there are
any, nodes in this process otherwise."""

import contextlib
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from typing import Any

from .._base.clock import pause, stopwatch
from .._base.errors import MissingExtra
from ..cluster.codec import SignedPickle
from ..cluster.local import LocalNode
from ..cluster.node import UNAVAILABLE, Fault, Node
from ..cluster.redis import RedisNode

_STARTS_S = 5.0
_VERBS = ("read", "lease_many", "fill_many", "claim", "release", "put_many", "delete", "touch", "begin_write", "end_write",
          "versions", "_bump", "epoch", "probe", "note", "noted", "publish")


def own_codec() -> SignedPickle:
    """A codec that needs nothing installed: what lies on these nodes was written by this process, and is signed by it."""
    return SignedPickle(keys={"lab": secrets.token_bytes(32)}, current="lab")


class Server:
    """A redis-server of its own, on a socket in a folder of its own."""

    kind = "redis-servers on this machine"

    def __init__(self, program: str, name: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="samovar-lab-")
        self._place = f"{self._folder.name}/redis.sock"
        self._command = [program, "--port", "0", "--unixsocket", self._place, "--save", "", "--appendonly", "no",
                         "--dir", self._folder.name]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.node: Node = RedisNode(f"unix://{self._place}", name=name, timeout="2s")  # it dies; it does not hang
            self.start()
        except BaseException:
            self.end()
            raise

    def start(self) -> None:
        """Start it, empty, and wait until it listens. OSError when it does not."""
        process = self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun_s = stopwatch()
        while process.poll() is None and stopwatch() - begun_s < _STARTS_S:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plug:
                plug.connect(self._place)
                return
            pause(0.01)
        raise OSError("redis-server does not start")

    def kill(self) -> None:
        """End it as the system does, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        self.kill()
        self._folder.cleanup()


class _Mortal(LocalNode):
    """A node in this process that answers nothing while it is dead."""

    is_dead = False

    def __getattribute__(self, name: str) -> Any:
        verb = super().__getattribute__(name)
        if name in _VERBS and super().__getattribute__("is_dead"):
            return _unanswered
        return verb


def _unanswered(*args: Any) -> Generator[Any, Any, Any]:
    return UNAVAILABLE, Fault("refused", "it was killed")
    yield  # never reached: it makes this a generator


class Inside:
    """A node in this process in a server's place."""

    kind = "nodes within this process"

    def __init__(self, name: str) -> None:
        self.node: Node = _Mortal(name)

    def start(self) -> None:
        """It is there again, and empty."""
        fresh = _Mortal(self.node.name)
        self.node.__dict__.update(fresh.__dict__)
        self.node.is_dead = False  # type: ignore[attr-defined]

    def kill(self) -> None:
        self.node.is_dead = True  # type: ignore[attr-defined]

    def end(self) -> None:
        """There is nothing to end."""


@contextlib.contextmanager
def some_servers(count: int) -> Iterator[list[Server] | list[Inside]]:
    """So many, for a while."""
    names = [f"node-{number}" for number in range(1, count + 1)]
    with contextlib.ExitStack() as ends:
        program = shutil.which("redis-server")
        servers: list[Server] = []
        try:
            for name in names if program is not None else ():
                servers.append(Server(str(program), name))
                ends.callback(servers[-1].end)
        except (MissingExtra, OSError):
            servers.clear()
        yield servers or [Inside(name) for name in names]
