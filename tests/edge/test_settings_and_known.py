"""Settings that are checked when they are made, and the memory of requests that came before."""

import itertools
import random
import sys
from dataclasses import FrozenInstanceError

import pytest
import raw
from raw import Origin, answer, get, run

from samovar._base.errors import MissingExtra
from samovar.edge.proxy.known import JOINED, MOST
from samovar.edge.proxy.limits import FrontLimits, UpstreamLimits
from samovar.edge.proxy.proxy import Edge, make_room, serve
from samovar.edge.rules import hit_head
from samovar.edge.proxy.settings import Settings, address


@pytest.mark.parametrize("words", [
    {"origin": "h"}, {"origin": "http://h/path"}, {"listen": "8080"}, {"listen": "h:x"}, {"listen": "::1:80"},
    {"listen": "h:70000"}, {"workers": 0}, {"workers": True}, {"memory": 0}, {"shield": "h"}, {"drain_s": 0},
    {"purge_s": float("nan")}, {"certificate": "x"}, {"private_key": "x"}, {"host": "a b"}, {"host": "a\r\nb"},
    {"admin_path": "/-/"}, {"admin_path": "x", "admin": print}, {"admin_path": "/", "admin": print},
    {"admin_listen": "h:1"}, {"admin_listen": "h", "admin": print}])
def test_settings_that_cannot_be_are_refused(words):
    with pytest.raises(ValueError):
        Settings(**{"origin": "http://h", **words})


@pytest.mark.parametrize("words", [{"policy": None}, {"limits": {}}, {"upstream": 5}])
def test_settings_of_another_kind_are_refused(words):
    with pytest.raises(TypeError):
        Settings(origin="http://h", **words)


@pytest.mark.parametrize("kind, words", [
    (FrontLimits, {"body": -1}), (FrontLimits, {"connections": 0}), (FrontLimits, {"head_s": 0}), (FrontLimits,
        {"write_s": "1"}),
    (UpstreamLimits, {"connections": 0}), (UpstreamLimits, {"queue": -1}), (UpstreamLimits, {"total_s": -1})])
def test_limits_that_cannot_be_are_refused(kind, words):
    with pytest.raises(ValueError):
        kind(**words)


def test_settings_do_not_change_and_each_instance_has_a_name_of_its_own():
    one, other = Settings(origin="http://h"), Settings(origin="http://h")
    assert one.name != other.name
    with pytest.raises(FrozenInstanceError):
        one.origin = "http://g"


def test_addresses_are_read_as_people_write_them():
    assert [address(text) for text in ("h:1", "[::1]:2", ":3")] == [("h", 1), ("::1", 2), ("0.0.0.0", 3)]


@pytest.mark.parametrize("words", [{"certificate": "none", "private_key": "none"}, {"origin_ca": "none"},
                                   {"access_log": "none/log"}, {"certificate": "text", "private_key": "text"}])
@pytest.mark.parametrize("workers", [1, 2])
def test_file_that_cannot_be_used_is_an_error_before_any_worker_starts(tmp_path, words, workers):
    (tmp_path / "text").write_text("no certificate")
    words = {word: str(tmp_path / name) for word, name in words.items()}
    with pytest.raises(OSError):
        serve(Settings(origin="http://h", listen="127.0.0.1:0", workers=workers, **words))


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_as_many_files_may_be_open_as_there_may_be_connections(caplog):
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        make_room(Settings(origin="http://h", limits=FrontLimits(connections=600)))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 600 and not caplog.text
        make_room(Settings(origin="http://h", limits=FrontLimits(connections=before[1] + 1)))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1] and "are allowed" in caplog.text
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_missing_uvicorn_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtra, match=r"samovar\[edge\]"):
        serve(Settings(origin="http://h"))


class Moving(Edge):
    """An Edge whose clock the test moves."""

    now = 1_600_000_000.0

    def make_exchange(self, origin, now):
        return super().make_exchange(origin, lambda: self.now)


def test_remembered_answer_is_what_the_rules_say_at_every_moment_and_after_every_change():
    """A walk of requests, time, new answers and purges; each time beside an exchange asked without memory."""
    chance = random.Random(7)
    bodies = itertools.count()

    async def origin(reader, writer, number, head):
        large = chance.random() < 0.3
        writer.write(answer(b"%d" % next(bodies) + b"x" * (JOINED if large else 0),
                                                           f"Cache-Control: max-age={chance.randrange(4)}",
                            *(["Vary: X-A"] if chance.random() < 0.5 else [])))

    async def walk():
        async with raw.Running(Origin(origin), edge=Moving) as proxy:
            edge = proxy.edge
            edge.knowing._wall = lambda: edge.now
            heads = [get("/a"), get("/a", "X-A: 1"), get("/b"), get("/b", "X-A: 2"), get("/b",
        "Cache-Control: max-stale=1")]
            hits = 0
            for _ in range(1_500):
                act = chance.randrange(10)
                if act == 0:
                    edge.now += chance.choice([0.3, 0.5, 1.0])
                elif act == 1:
                    await proxy.ask(chance.choice(heads))
                elif act == 2 and chance.random() < 0.1:
                    await edge.purge(urls=["http://h/a"], soft=chance.random() < 0.5)
                else:
                    known = edge.knowing.known(chance.choice(heads), b"http")
                    said = edge.knowing.answer(known, b"http")
                    hit = edge.exchange.quick("GET", b"http", known.head.target, known.head.headers)
                    expected = None if hit is None else hit_head(edge.policy, hit) + hit.entry.body
                    assert (said[0] + said[1].body if isinstance(said, tuple) else said) == expected
                    hits += hit is not None
            assert hits > 200

    run(walk())


def test_what_is_no_single_good_head_is_never_remembered_as_one():
    async def test():
        edge = Edge(Settings(origin="http://h"))
        await edge.start()
        known = edge.knowing.known
        for data in (b"", b"\r\n\r\n", get("/") * 2, get("/") + b"\r\n\r\n", b"GET / HTTP/1.1\nHost: h\r\n\r\n",
                                                         get("/")[:-1],
                     get("/").replace(b"Host", b"Host ")):
            assert known(data, b"http").head is None and edge.knowing.answer(known(data, b"http"), b"http") is None
        for data in (get("/", method="HEAD"), get("/", "Content-Length: 0"), get("/", "Transfer-Encoding: chunked")):
            assert known(data, b"http").key is None
        assert known(get("/"), b"http").key != known(get("/"), b"https").key
        for number in range(MOST + 100):
            known(get(f"/{number}"), b"http")
        assert known.cache_info().currsize == MOST
        await edge.stop()

    run(test())


def test_listener_with_the_admins_port_at_another_address_is_not_the_admins():
    words = Settings(origin="http://h", admin=print, admin_path="/-/")
    edge = Edge(words, None, ("127.0.0.1", 80))
    assert edge.is_admin(("127.0.0.1", 80)) and not edge.is_admin(("192.0.2.1", 80)) and not edge.is_admin(("127.0.0.1", 8))
    assert Edge(words, None, ("::", 80, 0, 0)).is_admin(("::1", 80, 0, 0)) and not Edge(words).is_admin(("::1", 80, 0, 0))
