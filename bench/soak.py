"""Does an edge stay well under everything at once, for as long as one likes?

    python bench/soak.py --minutes 10 --seed 1 2 3 [--clients 64] [--workers 2] [--json]

A real `samovar edge` stands before an origin that is slow, drips, resets, breaks off, says nothing, talks garbage, fails,
and is killed now and then; its clients are patient, slow, or leave in the middle; pages are purged meanwhile. What must
hold, and is a failure when it does not:

    whole       every answer that looks whole is, byte for byte: nothing broken was stored, nothing of another page served
    honest      what is never stored fails exactly when the origin failed that request, or was being killed
    warm        pages that are stored and may be served stale never fail, whatever the origin does
    flat        the edge's memory in the last quarter is about what it was in the second; no file, no connection is left
    silent      the edge wrote no traceback and did not die

Exits with 1 when something does not hold. Not a benchmark: the rate that it prints says only how hard the test was.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from soak_origin import SIZES, block_of, fault_of

BENCH = Path(__file__).parent
TOKEN = "soak-soak-soak-soak"
WARM, SHARED, LARGE, HUGE = 50, 2_000, 40, 6  # pages of each kind
BREAKING = {"reset", "short", "silent", "garbage", "error"}
PATIENCE_S = 90.0  # a dripping body of 24 MB takes 20 s by itself
SETTLE_S = 0.5  # before and after a kill, in which the origin may fail a request


class Broken(Exception):
    """No whole answer came: the connection was cut, or its framing said more than came. told: Cache-Status, if it came."""

    def __init__(self, why, told=""):
        super().__init__(f"{why} {told}")
        self.told = told


class Connection:
    """One connection to the edge: requests one after the other."""

    def __init__(self, port):
        self.port, self.reader, self.writer, self.asked = port, None, None, ""

    async def ask(self, path, fields=(), method="GET", body=b"", pace_s=0.0, leave_after=None):
        """(status, fields, size); the body is compared with what the path's must be. Raises Broken."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=65_536)
        self.asked = f"{method} {path}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in (("Host", "soak.example"), *fields))
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{lines}{length}\r\n".encode() + body)
        got = {}
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ")[1])
            got = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            size = await self.read(path if status in (200, 206) and method == "GET" else None, got, pace_s, leave_after)
        except (asyncio.IncompleteReadError, OSError, ValueError, IndexError) as error:
            self.close()
            raise Broken(repr(error), got.get("cache-status", "")) from None
        if leave_after is not None or got.get("connection") == "close":
            self.close()
        return status, got, size

    async def read(self, path, got, pace_s, leave_after):
        at = 0
        if "content-range" in got:
            at = int(got["content-range"].split(" ")[1].split("-")[0])
        begin = at
        async for piece in self.pieces(got):
            if path is not None:
                block = block_of(path)
                first = at % 64
                assert (block * (len(piece) // 64 + 2))[first:first + len(piece)] == piece, f"a wrong body for {path}"
            at += len(piece)
            if leave_after is not None and at - begin >= leave_after:
                return at - begin
            if pace_s:
                await asyncio.sleep(pace_s)
        if path is not None and "content-range" not in got:
            assert at == SIZES[path.split("/")[1]], f"{path} looks whole with {at} bytes"
        return at - begin

    async def pieces(self, got):
        if got.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return
        left = int(got["content-length"])
        while left:
            piece = await self.reader.read(min(left, 65_536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece

    def close(self):
        if self.writer is not None:
            self.writer.transport.abort()
            self.writer = None


class Soak:
    """One run: its processes, its clients, and what they saw."""

    def __init__(self, args):
        self.args, self.counts, self.wrong = args, Counter(), []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # through `finally`
        self.kills = []  # (from, to) in which the origin was away
        self.number, self.origin, self.edge = 0, None, None
        self.place = socket.socket()  # the origin's port stays ours while it is away
        self.place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.place.bind(("127.0.0.1", 0))
        self.folder = tempfile.TemporaryDirectory(prefix="samovar-soak-")
        self.spill, self.log = Path(self.folder.name, "spill"), Path(self.folder.name, "log")
        self.spill.mkdir()

    # ---------------------------------------------------------------- processes

    def start_origin(self):
        port = self.place.getsockname()[1]
        self.origin = subprocess.Popen([sys.executable, str(BENCH / "soak_origin.py"), str(port), str(self.args.seed)],
                                       stdout=subprocess.PIPE, text=True)
        self.origin_port = int(self.origin.stdout.readline())

    def start_edge(self):
        command = [
            sys.executable, "-c", "from samovar._cli import main; main()", "edge", "--origin",
            f"http://127.0.0.1:{self.origin_port}", "--listen", "127.0.0.1:0", "--maxweight", "48MB", "--max-body", "8MB",
            "--workers", str(self.args.workers), "--spill-dir", str(self.spill), "--first-byte-timeout", "10s",
            "--between-bytes-timeout", "10s", "--fetch-memory", "16MB", "--drain", "5s",
        ]
        self.err = self.log.open("w")
        self.edge = subprocess.Popen(command, stderr=self.err, env={**os.environ, "SAMOVAR_EDGE_TOKEN": TOKEN})
        until = time.monotonic() + 60
        while "http://" not in (text := self.log.read_text()):
            assert self.edge.poll() is None and time.monotonic() < until, f"the edge does not start: {text}"
            time.sleep(0.02)
        self.port = int(text.partition("http://127.0.0.1:")[2].partition(",")[0])

    def processes(self):
        """The edge's process, and those of its workers."""
        found, left = [], [self.edge.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                left += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def resident(self):
        """MB of memory of all of them."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError, ValueError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        return total / 1e6

    def open_files(self):
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                total += len(os.listdir(f"/proc/{pid}/fd"))
        return total

    # ---------------------------------------------------------------- what clients do

    def was_away(self, since):
        now = time.monotonic()
        return any(begin - SETTLE_S <= now and since <= end + SETTLE_S for begin, end in self.kills)

    async def client(self, chance, deadline):
        line = Connection(self.port)
        while time.monotonic() < deadline and len(self.wrong) < 20:
            self.number += 1
            number = f"{self.number}"
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self.one(line, chance, number)
            except TimeoutError:
                line.close()
                self.wrong.append(f"request {number} for {line.asked} hung for {PATIENCE_S:g} s")
            except (AssertionError, OSError) as error:
                line.close()
                self.wrong.append(f"request {number}: {error!r}")
        line.close()

    async def one(self, line, chance, number):
        kind = chance.choices(("warm", "own", "shared", "large", "huge", "slow", "leave", "range", "purge"),
                              (30, 20, 30, 4, 0.6, 1, 3, 4, 1))[0]
        self.counts[kind] += 1
        mark = ("X-Number", number)
        if kind == "purge":
            await self.purge(chance)
        elif kind == "warm":
            try:
                status, got, _ = await line.ask(f"/warm/{chance.randrange(WARM)}", [mark])
                told = got.get("cache-status", "")
            except Broken as broken:
                status, told = repr(broken), broken.told
            absent = "fwd=uri-miss" in told or "fwd=miss" in told  # it had left: there was nothing stale to serve
            self.counts["evicted"] += absent
            assert status == 200 or absent, f"a warm page got {status}, {told}"
        elif kind == "own":
            await self.own(line, f"/own/{number}", mark, number)
        else:
            page = f"/shared/{min(int(chance.paretovariate(0.6)), SHARED)}"
            large, huge = f"/large/{chance.randrange(LARGE)}", f"/huge/{chance.randrange(HUGE)}"
            ways = {"shared": {"path": page}, "large": {"path": large}, "huge": {"path": huge},
                    "slow": {"path": large, "pace_s": 0.05}, "leave": {"path": large, "leave_after": 100_000}}
            begin = chance.randrange(1_000)
            ways["range"] = {"path": page, "fields": [("Range", f"bytes={begin}-{begin + 999}")]}
            words = ways[kind]
            try:
                status, *_ = await line.ask(**{**words, "fields": [mark, *words.get("fields", ())]})
            except Broken:
                self.counts["broken"] += 1
            else:
                self.counts[status] += 1
                assert status in (200, 206, 500, 502, 503, 504), f"{words['path']} got {status}"

    async def own(self, line, path, mark, number):
        fault, since = fault_of(self.args.seed, number), time.monotonic()
        try:
            status, *_ = await line.ask(path, [mark])
        except Broken:
            status = "broken"
        self.counts[status] += 1
        if self.was_away(since):
            return
        if fault in BREAKING:
            assert status in ("broken", 500, 502, 504), f"the origin did {fault!r}, the client got {status}"
        else:
            assert status == 200, f"the origin did {fault!r}, the client got {status}"

    async def purge(self, chance):
        tag, url = f"t{chance.randrange(10)}", f"http://soak.example/large/{chance.randrange(LARGE)}"
        body = chance.choice(({"tags": [tag]}, {"urls": [url]}, {"tags": [tag], "soft": True}))
        line = Connection(self.port)
        fields = [("Authorization", f"Bearer {TOKEN}"), ("Content-Type", "application/json")]
        try:
            status, *_ = await line.ask("/.samovar/purge", fields, "POST", json.dumps(body).encode())
            assert status == 200, f"a purge got {status}"
        finally:
            line.close()

    # ---------------------------------------------------------------- what happens to them

    async def warm(self):
        """Every warm page is asked until it is stored."""
        line = Connection(self.port)
        for page in range(WARM):
            for _ in range(100):
                self.number += 1
                try:
                    status, *_ = await line.ask(f"/warm/{page}", [("X-Number", str(self.number))])
                except Broken:
                    continue
                if status == 200:
                    break
            else:
                raise AssertionError(f"/warm/{page} cannot be had")
        line.close()

    async def kill_sometimes(self, chance, deadline):
        period_s = min(20.0, max(2.0, self.args.minutes * 60 / 4))
        while time.monotonic() + period_s < deadline:
            await asyncio.sleep(period_s * chance.uniform(0.5, 1.0))
            begin = time.monotonic()
            self.kills.append((begin, float("inf")))
            self.origin.kill()
            self.origin.wait()
            await asyncio.sleep(chance.uniform(0.2, 1.0))
            self.start_origin()
            self.kills[-1] = (begin, time.monotonic())

    async def measure(self, deadline, samples):
        while time.monotonic() < deadline:
            samples.append(self.resident())
            await asyncio.sleep(max(0.1, self.args.minutes * 60 / 400))

    async def run(self):
        await self.warm()
        files, samples = self.open_files(), []
        begin = time.monotonic()
        deadline = begin + self.args.minutes * 60
        chances = [random.Random(f"{self.args.seed}/client/{number}") for number in range(self.args.clients)]
        await asyncio.gather(self.measure(deadline, samples), self.kill_sometimes(random.Random(self.args.seed), deadline),
                             *(self.client(chance, deadline) for chance in chances))
        took = time.monotonic() - begin
        await asyncio.sleep(1)  # background work ends, connections close
        quarter = max(1, len(samples) // 4)
        early, late = statistics.median(samples[quarter:2 * quarter]), statistics.median(samples[-quarter:])
        left = self.open_files()
        if self.args.minutes >= 2 and late > 1.3 * early + 32:  # bodies on their way go up and down with the clients
            self.wrong.append(f"memory grew from {early:.0f} MB to {late:.0f} MB")
        if left > files + self.args.workers * (8 + 256):  # and idle connections to the origin
            self.wrong.append(f"{files} open files before, {left} after")
        return {"seconds": round(took, 1), "requests": self.number, "rate": round(self.number / took),
                "kills": len(self.kills), "files": {"before": files, "after": left},
                "memory_mb": {"early": round(early), "late": round(late), "most": round(max(samples)), "tenths": [
                    round(statistics.median(samples[at * len(samples) // 10:(at + 1) * len(samples) // 10 or None]))
                    for at in range(10)] if len(samples) >= 10 else []},
                "counts": {str(name): count for name, count in self.counts.items()}}

    def end(self):
        """Stop the edge in good order, and look at what it left."""
        if self.edge is None:
            self.wrong.append("the edge did not start")
        elif self.edge.poll() is not None:
            self.wrong.append(f"the edge died with {self.edge.returncode}")
        else:
            self.edge.send_signal(signal.SIGTERM)
            try:
                self.edge.wait(60)
            except subprocess.TimeoutExpired:
                self.wrong.append("the edge does not stop")
                self.edge.kill()
        self.origin.kill()
        self.place.close()
        self.err.close()
        said = self.log.read_text()
        if "Traceback" in said or "never retrieved" in said:
            self.wrong.append(f"the edge wrote: {said[-3_000:]}")
        if any(self.spill.rglob("*")):
            self.wrong.append(f"files are left: {list(self.spill.rglob('*'))[:5]}")
        self.folder.cleanup()


def soaked(args, seed):
    """One run: what was found."""
    soak = Soak(argparse.Namespace(**{**vars(args), "seed": seed}))
    soak.start_origin()
    try:
        soak.start_edge()
        found = asyncio.run(soak.run())
    finally:
        soak.end()
    return {"seed": seed, **found, "wrong": soak.wrong}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="of each seed")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one run for each")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one line for each seed")
    args = parser.parse_args()
    wrong = False
    for seed in args.seed:
        found = soaked(args, seed)
        print(json.dumps(found, indent=None if args.json else 2), flush=True)
        wrong = wrong or bool(found["wrong"])
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
