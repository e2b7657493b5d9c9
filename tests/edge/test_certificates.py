"""Certificates that are changed while clients are served: who comes then sees the new one, nobody is cut off, and what cannot
be used changes nothing.
"""

import asyncio
import logging
import os
import shutil
import signal
import ssl
import subprocess
import sys

import pytest
import raw
from raw import Client, Running, answer, get, run, within

from support import LIMIT, until

KINDS = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["-newkey", "rsa:2048"]}
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGHUP")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders, each with the files `cert` and `key`: two of one kind, one of another, and one that is no use."""
    folders = {}
    for name, kind in (("first", "ec"), ("second", "ec"), ("other", "rsa")):
        folders[name] = folder = tmp_path_factory.mktemp(name)
        subprocess.run(["openssl", "req", "-x509", *KINDS[kind], "-nodes", "-days", "2", "-keyout", "key", "-out", "cert",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], cwd=folder, check=True,
                       capture_output=True)
    folders["locked"] = folder = tmp_path_factory.mktemp("locked")
    shutil.copy(folders["second"] / "cert", folder)
    subprocess.run(["openssl", "pkey", "-in", folders["second"] / "key", "-aes128", "-passout", "pass:secret", "-out", "key"],
                   cwd=folder, check=True, capture_output=True)
    for name, (chain, key) in {"strange": ("second", "first"), "empty": (None, None)}.items():
        folders[name] = folder = tmp_path_factory.mktemp(name)
        for file, source in (("cert", chain), ("key", key)):
            (folder / file).write_bytes((folders[source] / file).read_bytes() if source else b"")
    return folders


@pytest.fixture
def place(made, tmp_path):
    """Where a proxy has its files, with the first certificate, and a function that puts another there."""
    def put(name):
        for file in ("cert", "key"):
            shutil.copy(made[name] / file, tmp_path / f"{file}.new")
            os.replace(tmp_path / f"{file}.new", tmp_path / file)

    put("first")
    return tmp_path, put


def shown(made, name):
    """A certificate as a client sees it."""
    return ssl.PEM_cert_to_DER_cert((made[name] / "cert").read_text())


class OverTls(Running):
    """A Running that speaks TLS."""

    async def __aenter__(self):
        await super().__aenter__()
        self.plain = self.server
        self.server = await asyncio.get_running_loop().create_server(
            lambda: self.config.http_protocol_class(self.config, self.state, {}), "127.0.0.1", 0, ssl=self.config.ssl)
        self.plain.close()
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def connect(self, name="localhost"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = Client(*await within(asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name)))
        client.shown = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.clients.append(client)
        return client


def over_tls(test, folder):
    async def running():
        words = {"certificate": str(folder / "cert"), "private_key": str(folder / "key")}
        async with OverTls(answer(b"body", "Cache-Control: max-age=60"), **words) as proxy:
            await test(proxy)

    run(running())


@pytest.mark.parametrize("loop", raw.LOOPS)
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"], ids=["with a name", "without"])  # an address is not sent
def test_certificate_is_read_again_at_sighup_and_nobody_is_cut_off(monkeypatch, made, place, loop, name):
    folder, put = place

    async def test(proxy):
        early = await proxy.connect(name)
        assert (await early.ask(get("/")))[2] == b"body" and early.shown == shown(made, "first")
        for other in ("second", "other", "first"):
            put(other)
            os.kill(os.getpid(), signal.SIGHUP)
            while (late := await proxy.connect(name)).shown != shown(made, other):
                late.close()
            assert (await late.ask(get("/")))[2] == b"body"
        assert (await early.ask(get("/")))[2] == b"body" and len(proxy.origin.heads) == 1

    monkeypatch.setattr(raw, "LOOP", loop)
    over_tls(test, folder)


@pytest.mark.parametrize("name", ["strange", "empty", "gone", "locked"])
def test_certificate_that_cannot_be_used_is_told_and_the_old_one_stays(caplog, made, place, name):
    folder, put = place

    async def test(proxy):
        if name == "gone":
            (folder / "cert").unlink()
        else:
            put(name)
        os.kill(os.getpid(), signal.SIGHUP)
        while not caplog.records:
            await asyncio.sleep(0.0005)
        (record,) = caplog.records
        assert record.levelno == logging.ERROR and "old one stays" in record.getMessage()
        client = await proxy.connect()
        assert client.shown == shown(made, "first") and (await client.ask(get("/")))[2] == b"body"
        put("second")
        os.kill(os.getpid(), signal.SIGHUP)
        while (client := await proxy.connect()).shown != shown(made, "second"):
            client.close()

    caplog.set_level(logging.WARNING, "samovar.edge")
    over_tls(test, folder)


@pytest.mark.slow
def test_every_worker_reads_the_certificate_again_and_keeps_what_it_has(made, place):
    import http.client
    import threading
    from http.server import ThreadingHTTPServer
    from json import loads

    from test_proxy_processes import Numbered, served

    folder, put = place
    origin = ThreadingHTTPServer(("127.0.0.1", 0), type("Origin", (Numbered,), {}))
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def look(port, target="/-/"):
        """Who answered, with which certificate, and what."""
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
        try:
            connection.connect()
            seen = connection.sock.getpeercert(binary_form=True)
            connection.request("GET", target)
            said = connection.getresponse().read()
            return seen, loads(said)["pid"] if target == "/-/" else said
        except OSError:
            return None, None
        finally:
            connection.close()

    words = {"workers": 2, "certificate": str(folder / "cert"), "private_key": str(folder / "key")}
    try:
        with served(folder, origin.server_address[1], lambda port: look(port)[0] is not None, **words) as (process, port):
            found = set()
            until(lambda: found.add(look(port)[1]) or len(found - {None}) == 2)
            put("second")
            process.send_signal(signal.SIGHUP)
            renewed = set()
            until(lambda: (seen := look(port))[0] == shown(made, "second") and (renewed.add(seen[1]) or len(renewed) == 2))
            assert renewed == found - {None}  # the same processes
    finally:
        origin.shutdown()
        origin.server_close()


def test_key_with_a_password_is_not_asked_for_at_the_terminal(made):
    script = ("import ssl\nfrom samovar.edge.proxy.certificates import Certificates\n"
              "print(Certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), 'cert', 'key').reload())")
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    done = subprocess.run([sys.executable, "-c", script], cwd=made["locked"], env={**os.environ, "PYTHONPATH": path},
                          input="secret\n", capture_output=True, text=True, start_new_session=True, timeout=LIMIT)
    assert done.stdout == "False\n" and "old one stays" in done.stderr
