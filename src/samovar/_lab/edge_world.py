"""The world of the edge's demonstration: processes on loopback, and a reader who asks them and looks at the clock.

                                 the ocean, 80 ms there and back
    readers ── London ─────┐            ┆
                           ├────────────┆──── Virginia (shield) ── the site's own server
    readers ── Tula ───────┘            ┆

London, Tula and Virginia are each the command `samovar edge`, as anybody would start it.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .._base.clock import stopwatch
from .._base.extras import needed
from ..edge.admin.told import TOKEN_VARIABLE

HOST = "127.0.0.1"
SITE = "tea.example"
LIMIT_S = 20.0  # for an answer, and for a process to end
_COMMAND = [sys.executable, "-c", "from samovar._cli import main; main()", "edge"]
_LISTENS = re.compile(r"http://127\.0\.0\.1:([0-9]+)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader got, and how long it took in seconds. told: Cache-Status."""

    status: int
    told: str
    body: bytes
    took_s: float

    @property
    def edition(self) -> int:
        """Of the page; 0 when it is none."""
        found = re.search(rb"Edition ([0-9]+)", self.body)
        return int(found.group(1)) if found else 0

    def json(self) -> dict[str, Any]:
        """The body of an answer in JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


async def ask(port: int, path: str, *, method: str = "GET", fields: dict[str, str] | None = None,
              body: bytes = b"") -> Answer:
    """One request over a connection of its own. Raises OSError when there is no whole answer in time."""
    began_s = stopwatch()
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        said = {"Host": SITE, "Connection": "close", "Content-Length": str(len(body)), **(fields or {})}
        if method == "GET":
            del said["Content-Length"]
        head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        async with asyncio.timeout(LIMIT_S):
            whole = await reader.read()
    finally:
        writer.close()
    lines, _, rest = whole.partition(b"\r\n\r\n")
    first, *others = lines.decode("latin-1").split("\r\n")
    if not re.match(r"HTTP/1\.1 [0-9]{3}", first):
        raise ConnectionError(f"no answer: {first[:60]!r}")
    got: dict[str, str] = {}
    for line in others:
        name, _, value = line.partition(":")
        got[name.lower()] = f"{got[name.lower()]}, {value.strip()}" if name.lower() in got else value.strip()
    if "content-length" in got and int(got["content-length"]) != len(rest):
        raise ConnectionError("the answer is not whole")
    return Answer(int(first[9:12]), got.get("cache-status", ""), rest, stopwatch() - began_s)


class Program:
    """A process of the demonstration that says on its first line where it listens."""

    def __init__(self, name: str, command: list[str], *, secret: str = "") -> None:
        around = {**os.environ, TOKEN_VARIABLE: secret}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                         env=around, text=True)
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            found = _LISTENS.search(line) or re.search(r'"port": ([0-9]+)', line)
            if found:
                self.port = int(found.group(1))
                return
        self.kill()
        raise RuntimeError(f"{name} of the demonstration did not start: {''.join(said)[-500:].strip()}")

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._process.kill()
        self._process.communicate()

    def close(self) -> None:
        """End it in good order."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()


class World:
    """All of them, from `start` to `close`, or while a `with` block lasts.

    ocean_s: a round trip over it. query_s: what a page takes to make.
    """

    def __init__(self, *, ocean_s: float, query_s: float, secret: str) -> None:
        self._ocean_s, self._query_s, self.secret = ocean_s, query_s, secret
        self._running: list[Program] = []
        self._places: list[socket.socket] = []

    def __enter__(self) -> "World":
        self.start()
        return self

    def start(self) -> None:
        """Start all processes; none is left when one does not start. Raises RuntimeError, and MissingExtra without what an
        edge needs."""
        for module in ("uvicorn", "http_sf"):
            needed(module, "edge", "samovar edge")
        try:
            self.site = self._start_site(self._place(), 1)
            self.virginia = self._edge("virginia", f"{HOST}:{self._place()}", f"http://{HOST}:{self.site.port}")
            self.ocean = self._program("ocean", {"port": self.virginia.port, "one_way_s": self._ocean_s / 2})
            across = ("--shield", f"http://{HOST}:{self.ocean.port}")
            origin = f"http://{HOST}:{self.site.port}"
            self.tula = self._edge("tula", "127.0.0.1:0", origin, *across)
            self.london = self._edge("london", "127.0.0.1:0", origin, *across, "--purge-also",
                                     f"http://{HOST}:{self.ocean.port},http://{HOST}:{self.tula.port}")
            asyncio.run(self._awake())
        except BaseException:
            self.close()
            raise

    async def _awake(self) -> None:
        """Wait until all answer: their start is no part of what a reader waits for."""
        for edge in (self.virginia, self.tula, self.london):
            await ask(edge.port, "/.samovar/health")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        for program in reversed(self._running):
            program.close()
        self._running.clear()
        for place in self._places:
            place.close()
        self._places.clear()

    def restart_site(self, edition: int) -> None:
        """The site's own server comes back where it was."""
        self.site = self._start_site(self.site.port, edition)

    def restart_virginia(self) -> None:
        """The shield comes back where it was, with nothing stored."""
        self.virginia = self._edge("virginia", f"{HOST}:{self.virginia.port}", f"http://{HOST}:{self.site.port}")

    async def asked(self, name: str) -> int:
        """How often the site's own server was asked for a page."""
        counts = (await ask(self.site.port, "/counts")).json()
        return int(counts.get(name, 0))

    async def publish(self, edition: int) -> None:
        """Change every page at the site's own server."""
        await ask(self.site.port, f"/edition/{edition}", method="POST")

    async def purge(self, **words: object) -> Answer:
        """Purge at London, which passes it on."""
        fields = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        return await ask(self.london.port, "/.samovar/purge", method="POST", fields=fields, body=json.dumps(words).encode())

    def _place(self) -> int:
        """A port for a program that dies and comes back: bound here, it is given to nobody else meanwhile. 0, which is
        any, where a system lets no program listen on what another has bound."""
        if sys.platform != "linux":
            return 0
        place = socket.socket()
        self._places.append(place)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((HOST, 0))
        return int(place.getsockname()[1])

    def _start_site(self, port: int, edition: int) -> Program:
        return self._program("web_origin", {"port": port, "edition": edition, "query_s": self._query_s})

    def _program(self, module: str, options: dict[str, Any]) -> Program:
        return self._keep(Program(module, [sys.executable, "-m", f"samovar._lab.{module}", json.dumps(options)]))

    def _edge(self, name: str, listen: str, origin: str, *more: str) -> Program:
        command = [*_COMMAND, "--name", name, "--listen", listen, "--origin", origin, *more]
        return self._keep(Program(name, command, secret=self.secret))

    def _keep(self, program: Program) -> Program:
        self._running.append(program)
        return program
