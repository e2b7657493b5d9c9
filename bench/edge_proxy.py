"""A hit of the proxy beside bare uvicorn and nginx's proxy_cache, in one run.

    python -m bench.edge_proxy [--rounds N] [--seconds S] [--body BYTES]

Each server answers the same body with the same fields: uvicorn (httptools, uvloop) from an ASGI application that does
nothing else, nginx and the proxy from their caches, which one request has filled from a small origin; the proxy once more
with an access log. `wrk` asks over 32 kept connections, as fast as it can; the servers take turns in an order drawn anew
each round. What counts is requests by second of the server's own processor time, user and system
(/proc/PID/task/*/schedstat), so that wrk beside it does not count; the median of the rounds' ratios to bare uvicorn is
shown. One worker process each. The bar: 2.5 times bare uvicorn, and above nginx at 1 KB.

Needs wrk, and nginx for its row; Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import described

ORIGIN = """
import sys, uvicorn
body = b"x" * int(sys.argv[2])
head = [(b"content-length", str(len(body)).encode()), (b"content-type", b"text/plain"), (b"cache-control", b"max-age=3600")]
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})
uvicorn.run(app, port=int(sys.argv[1]), http="httptools", loop="uvloop", access_log=False, log_level="error",
            lifespan="off", proxy_headers=False, server_header=False)
"""
PROXY = """
import sys
from samovar.edge.proxy.proxy import serve
from samovar.edge.proxy.settings import Settings
log = sys.argv[3] if sys.argv[3:] else None
serve(Settings(origin=f"http://127.0.0.1:{sys.argv[2]}", listen=f"127.0.0.1:{sys.argv[1]}", access_log=log))
"""
NGINX = """
{user} worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000; tcp_nodelay on;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    proxy_cache_path {folder}/cache keys_zone=all:10m;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_cache all; }} }}
}}
"""


def free_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        port: int = end.getsockname()[1]
        return port


def processor_s(pid: int) -> float:
    """Seconds of processor time of a process and those that it started, so far, exact (scheduler statistics)."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(") ")[2].split()
                if int(entry.name) == pid or int(words[1]) == pid:
                    total += sum(int((task / "schedstat").read_text().split()[0]) for task in (entry / "task").iterdir())
            except OSError:
                continue
    return total / 1e9


@contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    """A server, from its first answer on; its process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=5).read()
                break
            except OSError:
                time.sleep(0.05)
        else:
            sys.exit(f"did not come up: {command[0]}")
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def measured(port: int, pid: int, seconds: int) -> tuple[float, float]:
    """Requests by second of the server's processor time, and by second of the clock."""
    before = processor_s(pid)
    done = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}s", f"http://127.0.0.1:{port}/page"], capture_output=True,
                          text=True, check=True).stdout
    spent = processor_s(pid) - before
    count = int(re.search(r"(\d+) requests in", done).group(1))  # type: ignore[union-attr]
    if "Non-2xx" in done or "Socket errors" in done:
        sys.exit(done)
    return count / spent, count / seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.edge_proxy", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2, help="of one turn")
    parser.add_argument("--body", type=int, default=1_024, help="bytes")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("needs wrk")
    print(*described().values(), sep=", ")
    python, body = sys.executable, str(given.body)
    bare, origin, ours, logs, nginx = (free_port() for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        commands = {"uvicorn": (bare, [python, "-c", ORIGIN, str(bare), body]),
                    "samovar": (ours, [python, "-c", PROXY, str(ours), str(origin)]),
                    "with log": (logs, [python, "-c", PROXY, str(logs), str(origin), f"{folder}/access.log"])}
        if shutil.which("nginx") is not None:
            Path(folder, "nginx.conf").write_text(NGINX.format(
                folder=folder, port=nginx, origin=origin, user="user root;" if os.geteuid() == 0 else ""))
            commands["nginx"] = (nginx, ["nginx", "-c", f"{folder}/nginx.conf", "-p", folder])
        with running([python, "-c", ORIGIN, str(origin), body], origin):
            compare(commands, given.rounds, given.seconds, given.body)


def compare(commands: dict[str, tuple[int, list[str]]], rounds: int, seconds: int, body: int) -> None:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    chance = random.Random(1)
    for _ in range(rounds):
        for name in chance.sample([*commands], len(commands)):
            port, command = commands[name]
            with running(command, port) as pid:
                measured(port, pid, 1)  # warm
                found[name].append(measured(port, pid, seconds))
    print(f"\na hit of {body} bytes, {rounds} rounds of {seconds} s\n")
    print(f"{'':10}{'requests / processor s':>24}{'x bare':>9}{'(rounds)':>18}{'requests / s':>16}")
    for name, rows in found.items():
        ratios = sorted(row[0] / base[0] for row, base in zip(rows, found["uvicorn"], strict=True))
        span = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"{name:10}{statistics.median(row[0] for row in rows):24,.0f}{statistics.median(ratios):9.2f}{span:>18}"
              f"{statistics.median(row[1] for row in rows):16,.0f}")


if __name__ == "__main__":
    main()
