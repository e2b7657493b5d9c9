"""`samovar edge`: its options are the words of the settings, and what is wrong is named as it was typed."""

import dataclasses
import socket
import sys

import pytest
from typer.testing import CliRunner

from samovar._cli import edge as command
from samovar._cli.command import app
from samovar._lab import edge_world
from samovar.edge.admin import running
from samovar.edge.admin.told import TOKEN_VARIABLE, EdgeSettings

ORIGIN = ("--origin", "http://127.0.0.1:9000")
SECRET = "a-secret-of-enough-letters"


@pytest.fixture
def told(monkeypatch):
    """What the command would have run, in order."""
    seen = []
    monkeypatch.setattr(command, "_run", seen.append)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    return seen


def invoke(*words, **env):
    return CliRunner(env={"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb", **env}).invoke(app, ["edge", *map(str, words)])


def test_every_word_of_the_settings_is_an_option():
    text = invoke("--help").output
    for field in dataclasses.fields(EdgeSettings):
        assert command.option(field.name) in text, field.name
        assert field.metadata["says"].split(". ")[0][:40] in " ".join(text.split()), field.name


def test_options_become_settings(told):
    done = invoke(*ORIGIN, "--listen", ":81", "--maxweight", "1GB", "--workers", "2", "--ttl", "5m", "--keyed", "a,b",
                  "--keyed", "c", "--no-obey-client", "--metrics", "--token", SECRET, "--set-cookie", "rfc")
    assert done.exit_code == 0, done.output
    edge, = told
    assert (str(edge.listen), edge.maxweight, edge.workers, edge.ttl) == ("0.0.0.0:81", 10**9, 2, 300.0)
    assert edge.keyed == ("a", "b", "c") and not edge.obey_client and edge.metrics and edge.token == SECRET


def test_what_is_not_said_is_the_default(told):
    assert invoke(*ORIGIN).exit_code == 0
    assert told == [EdgeSettings(origin=ORIGIN[1])]


def test_token_comes_from_the_environment(told):
    assert invoke(*ORIGIN, **{TOKEN_VARIABLE: SECRET}).exit_code == 0 and told[0].token == SECRET


def test_config_file_is_read_and_options_win(told, tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text('origin = "http://a"\nmax-tags = 7\nworkers = 3\n')
    assert invoke("--config", file, "--workers", "2").exit_code == 0
    assert (str(told[0].origin), told[0].max_tags, told[0].workers) == ("http://a", 7, 2)


@pytest.mark.parametrize("words, complaint", [
    ((), "--origin: must be given"),
    (("--origin", "localhost"), "--origin: must be a URL such as"),
    ((*ORIGIN, "--maxweight", "1PB"), "--maxweight: must be a number of bytes"),
    ((*ORIGIN, "--set-cookie", "x"), "--set-cookie: must be one of bypass, rfc"),
    ((*ORIGIN, "--token", "short"), "--token: must be 16 or more visible ASCII characters (it is not shown here)"),
    ((*ORIGIN, "--tls-cert", "a.pem"), "--tls-key: must be given too"),
    ((*ORIGIN, "--config", "/nowhere/edge.toml"), "--config: cannot be read"),
    ((*ORIGIN, "--no-such"), "--no-such"),
    ((*ORIGIN, "--json"), "--json: goes with --demo"),
    ((*ORIGIN, "--demo"), "--demo: goes alone"),
], ids=lambda words: " ".join(words[-2:]) if isinstance(words, tuple) else "")
def test_wrong_words_are_named_as_they_were_typed(told, words, complaint):
    done = invoke(*words)
    assert done.exit_code == 2 and complaint in " ".join(done.output.replace("│", " ").split()) and not told
    assert "short" not in done.output.replace("--token", "")


@pytest.mark.parametrize("words, complaint", [
    (("--tls-cert", "{0}/no.pem", "--tls-key", "{0}/no.pem"), "--tls-cert: cannot be read"),
    (("--origin-ca", "{0}/no.pem"), "--origin-ca: cannot be read"),
    (("--tls-cert", "{0}/bad.pem", "--tls-key", "{0}/bad.pem"), "--tls-cert: cannot be used with its key"),
    (("--origin-ca", "{0}/bad.pem"), "--origin-ca: holds no certificates"),
    (("--spill-dir", "{0}/no"), "--spill-dir: must be a folder"),
    (("--access-log", "{0}/no/log"), "--access-log: cannot be written"),
    (("--token-file", "{0}/no"), "--token-file: cannot be read"),
], ids=lambda words: words[0] if isinstance(words, tuple) else "")
def test_files_that_are_not_there_are_named_before_anybody_is_answered(tmp_path, words, complaint):
    (tmp_path / "bad.pem").write_text("no certificate")
    done = invoke(*ORIGIN, *(word.format(tmp_path) for word in words))
    assert done.exit_code == 2 and complaint in " ".join(done.output.replace("│", " ").split())


def test_missing_extras_are_named_before_anybody_is_answered(monkeypatch):
    for module, extra, words in (("uvicorn", "edge", ()), ("prometheus_client", "metrics", ("--metrics",))):
        with monkeypatch.context() as without:
            for name in [name for name in sys.modules if name.partition(".")[0] == module]:
                without.delitem(sys.modules, name)
            without.setitem(sys.modules, module, None)
            done = invoke(*ORIGIN, "--listen", "127.0.0.1:0", *words)
        assert done.exit_code == 2 and f"needs {module}: pip install 'samovar[{extra}]'" in done.output


@pytest.mark.parametrize("words, named", [
    (("--listen", "{0}"), "--listen"), (("--listen", "127.0.0.1:0", "--admin", "{0}"), "--admin"),
    pytest.param(("--listen", "127.0.0.1:0", "--admin", "{0}", "--workers", "2"), "--admin", marks=pytest.mark.skipif(
        not hasattr(socket, "AF_UNIX"), reason="workers need Unix sockets")),
], ids=lambda words: " ".join(words) if isinstance(words, tuple) else "")
def test_address_that_is_taken_is_named_as_it_was_typed(words, named):
    pytest.importorskip("uvicorn")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = invoke(*ORIGIN, *(word.format(place) for word in words), "--token", SECRET)
    assert done.exit_code == 2 and f"{named}: cannot be listened on" in done.output and repr(place) in done.output
    assert "Traceback" not in done.output


def test_demonstration_without_what_an_edge_needs_says_which_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = invoke("--demo")
    assert done.exit_code == 2 and "pip install 'samovar[edge]'" in done.output


def test_demonstration_that_does_not_start_is_an_error_not_a_traceback(monkeypatch):
    pytest.importorskip("uvicorn")
    monkeypatch.setattr(edge_world, "_COMMAND", [sys.executable, "-c", "print('no edge today')"])
    done = invoke("--demo")
    assert done.exit_code == 1 and "samovar: virginia of the demonstration did not start: no edge today" in done.output


def test_proxy_is_told_what_was_said(tmp_path):
    edge = EdgeSettings(
        origin="https://o:1", shield="http://s", listen="[::1]:0", name="tula", workers=2, maxweight=100, scheme="https",
        origin_host="www.example", max_body=5, max_upload=6, max_head=700, max_clients=8, max_waiters=9, wait=1.5,
        origin_connections=10, fetch_memory=11, max_unsent=13, spill_dir=tmp_path, spill=12, connect_timeout=1,
        first_byte_timeout=2, between_bytes_timeout=3, head_timeout=4, client_timeout=5, keep_alive=6, drain=7,
        access_log="-", admin=":0")
    proxy = running.proxy_settings(edge)
    assert (proxy.origin, proxy.shield, proxy.listen, proxy.name) == ("https://o:1", "http://s", "[::1]:0", "tula")
    assert (proxy.workers, proxy.memory, proxy.scheme, proxy.host) == (2, 50, "https", "www.example")
    limits, upstream, exchange = proxy.limits, proxy.upstream, proxy.exchange
    assert (limits.body, limits.heads.head, limits.connections, limits.unsent) == (6, 700, 8, 13)
    assert (limits.head_s, limits.write_s, limits.keep_alive_s, proxy.drain_s) == (4, 5, 6, 7)
    assert (upstream.connections, upstream.connect_s, upstream.first_byte_s, upstream.between_s) == (10, 1, 2, 3)
    assert (exchange["max_body"], exchange["memory"], exchange["spill_dir"], exchange["spill"]) == (5, 11, str(tmp_path), 12)
    assert (exchange["max_waiters"], exchange["wait"], exchange["patience"]) == (9, 1.5, 5)
    assert (proxy.access_log, proxy.admin_listen) == ("-", "0.0.0.0:0") and proxy.policy == edge.policy()
    unnamed = [running.proxy_settings(EdgeSettings(origin="http://o")).name for _ in range(2)]
    assert unnamed[0] != unnamed[1]  # a loop is only seen where each edge has a name of its own
