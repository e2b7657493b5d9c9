"""The way to the origin: start it, ask it from a coroutine, read what it counted."""

import asyncio
import http.client
import json
import subprocess
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any

HOST = "127.0.0.1"


class Refused(ConnectionError):
    """The origin had no place for this call."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the origin saw since it was reset.

    calls: how often it was asked, refusals included. refused: how often it had no place. peak: the most calls that were
    with it at once. spans: for each call that was let in, when it came and when it went, in seconds since the reset.
    """

    calls: int
    refused: int
    peak: int
    spans: tuple[tuple[float, float], ...]

    def since(self, moment_s: float) -> "Counts":
        """The same with times from another moment on; calls that had gone by then are left out of the spans."""
        later = tuple((came - moment_s, went - moment_s) for came, went in self.spans if went >= moment_s)
        return Counts(self.calls, self.refused, self.peak, later)


class Origin:
    """The origin's process, while the `with` block lasts.

    seed: of what its tables hold. query_s: how long its query shall take when it is asked alone, in seconds; the
    attribute `query_s` says how long it does. capacity: queries that it can do at once. line: callers that may wait.
    """

    def __init__(self, *, seed: int, query_s: float = 0.015, capacity: int = 2, line: int = 40) -> None:
        self.capacity, self.line = capacity, line
        options = json.dumps({"seed": seed, "query_s": query_s, "capacity": capacity, "line": line})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "samovar._lab.origin", options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        try:
            said = json.loads(self._process.stdout.readline())
        except ValueError:
            self.close()
            raise RuntimeError("the origin of the demonstration did not start; what it said is above") from None
        self._port: int = said["port"]
        self.query_s: float = said["query_s"]

    def __enter__(self) -> "Origin":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process; calls that are under way break."""
        try:
            self._process.communicate(timeout=5)  # the end of its standard input is its sign
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    async def takings(self, name: str) -> dict[str, Any]:
        """What was taken for an article; Refused when the origin's line is full."""
        return await self._ask("GET", f"/takings/{name}")

    async def change(self, name: str) -> None:
        """Change the article at the origin."""
        await self._ask("POST", f"/change/{name}")

    async def _ask(self, verb: str, path: str) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            writer.write(f"{verb} {path} HTTP/1.0\r\nContent-Length: 0\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split(None, 2)[1:2]
        if status == [b"503"]:
            raise Refused("503: too many connections")
        if status != [b"200"]:
            raise ConnectionError(f"the origin answered {head[:80]!r}")
        found: dict[str, Any] = json.loads(body)
        return found

    def reset(self) -> None:
        """Let the origin forget what it counted, once nobody is with it any more."""
        self._control("POST", "/reset")

    def counts(self) -> Counts:
        """What the origin saw since the reset."""
        said = self._control("GET", "/counts")
        return Counts(said["calls"], said["refused"], said["peak"], tuple((came, went) for came, went in said["spans"]))

    def _control(self, verb: str, path: str) -> dict[str, Any]:
        line = http.client.HTTPConnection(HOST, self._port, timeout=90)
        try:
            line.request(verb, path, headers={"Content-Length": "0"})
            found: dict[str, Any] = json.loads(line.getresponse().read())
            return found
        finally:
            line.close()
