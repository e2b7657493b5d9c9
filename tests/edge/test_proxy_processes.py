"""The proxy as it is run: a process of its own, or several, on sockets, ended by signals."""

import contextlib
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from engines import free_port
from support import LIMIT, TESTS, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals and Unix sockets")]

CHILD = """
import json, os, sys
from samovar.edge.proxy.limits import FrontLimits
from samovar.edge.proxy.proxy import serve
from samovar.edge.proxy.settings import Settings
from samovar.edge.rules import Policy

async def admin(edge, request, sender):
    words = json.loads(request.target.partition(b"?")[2].replace(b"%22", b'"') or b"{}")
    try:
        said = {"purged": await edge.purge(**words)} if words else {}
    except Exception as error:
        said = {"error": type(error).__name__}
    text = json.dumps({**said, "pid": os.getpid()}).encode()
    await sender.start(200, b"OK", ((b"content-length", b"%d" % len(text)),))
    await sender.write(text)
    await sender.end()
    return True

if __name__ == "__main__":
    limits = FrontLimits(keep_alive_s=600)
    settings = Settings(**json.loads(sys.argv[1]), limits=limits, admin=admin, admin_path="/-/")
    serve(settings, ready=lambda place: print(place[1], flush=True))
"""


class Numbered(http.server.BaseHTTPRequestHandler):
    """An origin that numbers its answers; /slow waits until it is told to go on."""

    protocol_version = "HTTP/1.1"
    count, go, asked = 0, threading.Event(), threading.Event()

    def do_GET(self):
        type(self).count += 1
        body = str(self.count).encode()
        if self.path == "/slow":
            self.asked.set()
            self.go.wait(LIMIT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def origin():
    kind = type("Origin", (Numbered,), {"count": 0, "go": threading.Event(), "asked": threading.Event()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield kind, server.server_address[1]
    kind.go.set()
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def served(tmp_path, port, ready=None, **words):
    """A proxy in a process of its own: (its process, its port)."""
    script = tmp_path / "proxy.py"
    script.write_text(CHILD)
    settings = {"origin": f"http://127.0.0.1:{port}", "listen": "127.0.0.1:0", **words}
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen([sys.executable, str(script), json.dumps(settings)], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": path})
    try:
        port = int(process.stdout.readline())
        until(lambda: (ready or can_connect)(port))
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(LIMIT)
        finally:
            process.kill()
            process.stdout.close()


def can_connect(port):
    try:
        return ask(port, "/-/")[0] == 200
    except OSError:
        return False


def ask(port, target, connection=None):
    """Status, fields and body of one answer."""
    connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    connection.request("GET", target)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def workers_of(port, least, but=()):
    """Connections to so many different workers, by process id."""
    found = {}

    def enough():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        try:
            pid = json.loads(ask(port, "/-/", connection)[2])["pid"]
        except OSError:
            return False
        if pid in found or pid in but:
            connection.close()
        else:
            found[pid] = connection
        return len(found) >= least

    until(enough)
    return found


def test_purge_reaches_every_worker_before_it_is_answered_and_a_dead_one_is_replaced(tmp_path, origin):
    kind, at = origin
    with served(tmp_path, at, workers=2, purge_s=LIMIT) as (process, port):
        workers = workers_of(port, 2)
        assert {ask(port, "/page", one)[2] for one in workers.values()} == {b"1", b"2"}
        assert {ask(port, "/page", one)[2] for one in workers.values()} == {b"1", b"2"}
        purge = "/-/?{%22urls%22:[%22http://127.0.0.1:" + str(port) + "/page%22]}"
        assert json.loads(ask(port, purge)[2])["purged"] == 2
        assert {ask(port, "/page", one)[2] for one in workers.values()} == {b"3", b"4"}

        victim = next(iter(workers))
        os.kill(victim, signal.SIGKILL)
        again = workers_of(port, 2, but=[victim])
        assert len({*again, victim}) == 3
        assert ask(port, "/page", again[next(pid for pid in again if pid not in workers)])[2] == b"5"
        assert json.loads(ask(port, "/-/?{%22everything%22:true}")[2])["purged"] >= 2
        assert {ask(port, "/page", one)[2] for one in again.values()} == {b"6", b"7"}

        process.terminate()
        process.wait(LIMIT)


def test_worker_that_does_not_answer_makes_a_purge_fail(tmp_path, origin):
    with served(tmp_path, origin[1], workers=2, purge_s=0.2) as (process, port):
        workers = workers_of(port, 2)
        stopped, other = workers
        os.kill(stopped, signal.SIGSTOP)
        try:
            said = json.loads(ask(port, "/-/?{%22everything%22:true}", workers[other])[2])
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert said["error"] == "PurgeIncomplete"


def test_worker_that_cannot_start_is_an_error_of_the_proxy(tmp_path):
    script = tmp_path / "proxy.py"
    script.write_text(CHILD.replace("**json", "vault=no_vault, **json").replace("async def admin", """def no_vault(settings):
    raise ValueError("no vault today")

async def admin"""))
    words = json.dumps({"origin": "http://127.0.0.1:9", "listen": "127.0.0.1:0", "workers": 2})
    done = subprocess.run([sys.executable, str(script), words], capture_output=True, text=True, timeout=2 * LIMIT)
    assert done.returncode == 1 and "no vault today" in done.stderr and "RuntimeError" in done.stderr


def test_sigterm_lets_an_answer_end_and_takes_no_new_ones(tmp_path, origin):
    kind, at = origin
    with served(tmp_path, at) as (process, port):
        answers = []
        thread = threading.Thread(target=lambda: answers.append(ask(port, "/slow")))
        thread.start()
        assert kind.asked.wait(LIMIT)
        process.terminate()
        until(lambda: not can_connect(port))
        kind.go.set()
        thread.join(LIMIT)
        assert answers[0][0] == 200 and answers[0][1]["connection"] == "close"
        process.wait(LIMIT)


def test_shutdown_does_not_wait_for_longer_than_it_may(tmp_path, origin):
    kind, at = origin
    with served(tmp_path, at, drain_s=0.3) as (process, port):
        end = socket.create_connection(("127.0.0.1", port))
        end.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        assert kind.asked.wait(LIMIT)
        began = time.monotonic()
        process.terminate()
        process.wait(LIMIT)
        assert time.monotonic() - began < 10
        end.close()


def test_admin_has_a_listener_of_its_own_and_clients_are_served_over_tls(tmp_path, origin):
    import ssl

    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-keyout", "key", "-out", "cert", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost"], cwd=tmp_path, check=True, capture_output=True)
    admin = free_port()
    script = CHILD.replace('admin_path="/-/"', f'admin_listen="127.0.0.1:{admin}"')
    place = tmp_path / "proxy.py"
    place.write_text(script)
    words = {"origin": f"http://127.0.0.1:{origin[1]}", "listen": "127.0.0.1:0", "certificate": str(tmp_path / "cert"),
             "private_key": str(tmp_path / "key")}
    process = subprocess.Popen([sys.executable, str(place), json.dumps(words)], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        context = ssl.create_default_context(cafile=tmp_path / "cert")

        def over_tls(at, target):
            connection = http.client.HTTPSConnection("localhost", at, timeout=LIMIT, context=context)
            try:
                return ask(at, target, connection)[2]
            except OSError:
                return None

        until(lambda: over_tls(port, "/page") is not None)
        assert over_tls(port, "/page") == b"1" and over_tls(port, "/-/") == b"2"
        assert json.loads(over_tls(admin, "/anything"))["pid"] == process.pid
    finally:
        process.terminate()
        process.wait(LIMIT)
        process.stdout.close()
