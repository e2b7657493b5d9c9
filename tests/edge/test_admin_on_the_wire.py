"""The edge's own answers through the real front, exchange and pool of connections: what never reaches the origin, what is
purged while it is fetched, and what a hostile client may write into it."""

import asyncio
import json

import pytest

pytest.importorskip("uvicorn")

from raw import Running, answer, get, within

from samovar.edge.admin.order import MAX_BODY
from samovar.edge.admin.running import TalkingEdge, proxy_settings
from samovar.edge.admin.told import EdgeSettings
from support import run_async

SECRET = "a-secret-of-enough-letters"
BEARER = f"Authorization: Bearer {SECRET}"
PAGE = answer(b"page", "Cache-Control: max-age=60", "Surrogate-Key: news front", 'ETag: "a"')


def edge(origin, **words):
    """A running edge in front of an origin, with a token."""
    words = {"token": SECRET, **words}

    def made(settings):
        told = EdgeSettings(origin=settings.origin, **words)
        return TalkingEdge(told, proxy_settings(told))

    return Running(origin, edge=made)


def post(body, *lines, target="/.samovar/purge"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return get(target, f"Content-Length: {len(body)}", "Content-Type: application/json", *lines, method="POST") + body


def story(origin=PAGE, **words):
    """A decorator: the test is an async function of a running edge."""
    def wrap(test):
        def run():
            async def inside():
                async with edge(origin, **words) as running:
                    await test(running)

            run_async(inside())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return wrap


@story()
async def test_reserved_paths_and_purges_never_reach_the_origin(running):
    for target in ("/.samovar/", "/.samovar/health", "/.samovar/none", "http://h/.samovar/stats", "/.samovar/%2e%2e/x"):
        for method in ("GET", "POST", "DELETE", "OPTIONS", "PROPFIND"):
            await running.ask(get(target, method=method), method)
    for lines in ((), (BEARER,), ("Authorization: Bearer wrong",)):
        await running.ask(get("/x", *lines, method="PURGE"))
    assert running.origin.heads == []


@story()
async def test_paths_that_only_look_reserved_reach_the_origin_as_they_are(running):
    targets = ["/.samovar", "/.Samovar/", "/%2esamovar/", "//.samovar/", "/x/../.samovar/", "/x?/.samovar/", "/.samovar%2F"]
    for target in targets:
        status, _, body = await running.ask(get(target))
        assert (status, body) == (200, b"page"), target
    assert [target.decode() for target in running.origin.targets()] == targets


@story(admin="127.0.0.1:1")
async def test_nothing_is_reserved_when_admin_is_elsewhere(running):
    status, _, body = await running.ask(get("/.samovar/health"))
    assert (status, body) == (200, b"page")


@story(token=None)
async def test_without_a_token_nothing_is_purged_or_told(running):
    await running.ask(get("/news"))
    for asked in (get("/news", method="PURGE"), get("/news", BEARER, method="PURGE"), post({"all": True}, BEARER),
                  get("/.samovar/"), get("/.samovar/stats", BEARER)):
        status, _, body = await running.ask(asked)
        assert status == 403 and b"no token is configured" in body
    assert (await running.ask(get("/.samovar/health")))[0] == 200
    _, fields, _ = await running.ask(get("/news"))
    assert "hit" in fields["cache-status"] and len(running.origin.heads) == 1


@pytest.mark.parametrize("ask, soft", [
    (lambda: get("/news", BEARER, method="PURGE"), False),
    (lambda: get("/news", BEARER, "Soft-Purge: 1", method="PURGE"), True),
    (lambda: post({"urls": ["https://h/news"]}, BEARER), False),
    (lambda: post({"tags": ["front"]}, BEARER), False),
    (lambda: post({"tags": ["news", "other"], "soft": True}, BEARER), True),
    (lambda: post({"all": True}, BEARER), False),
], ids=["PURGE", "PURGE soft", "url", "tag", "tag soft", "all"])
def test_purge_takes_out_what_it_names_and_says_how_many(ask, soft):
    async def inside():
        async with edge(PAGE, grace="1h") as running:
            await running.ask(get("/news"))
            status, fields, body = await running.ask(ask())
            assert status == 200 and json.loads(body)["purged"] == 1 and json.loads(body)["soft"] is soft
            assert fields["cache-control"] == "no-store" and "cache-status" not in fields
            _, fields, _ = await running.ask(get("/news"))
            if soft:
                assert "hit" in fields["cache-status"]  # stale, and renewed
                while len(running.origin.heads) < 2:
                    running.origin.changed.clear()
                    await within(running.origin.changed.wait())
            else:
                assert "fwd=uri-miss" in fields["cache-status"]
            assert len(running.origin.heads) == 2
            assert json.loads((await running.ask(post({"urls": ["http://h/never"]}, BEARER)))[2])["purged"] == 0

    run_async(inside())


def test_purge_of_what_is_being_fetched_wins_over_the_fetch():
    async def inside():
        may_go = asyncio.Event()

        async def origin(reader, writer, number, head):
            if number == 0:
                writer.write(PAGE[:-2])
                await writer.drain()
                await may_go.wait()
                writer.write(PAGE[-2:])
            else:
                writer.write(PAGE.replace(b"page", b"new!"))

        async with edge(origin) as running:
            client = await running.connect()
            await client.send(get("/news"))
            await client.head()
            assert (await running.ask(post({"tags": ["news"]}, BEARER)))[0] == 200
            may_go.set()
            await within(client.reader.readexactly(4))
            assert (await running.ask(get("/news")))[2] == b"new!"

    run_async(inside())


@story()
async def test_purge_that_is_refused_does_not_need_its_body(running):
    """A client that is not allowed sends a large body: it is answered, and what it sends is no request."""
    client = await running.connect()
    smuggled = get("/smuggled")
    await client.send(get("/.samovar/purge", f"Content-Length: {len(smuggled)}", method="POST"))
    await client.send(smuggled)
    assert (await client.response())[0] == 401
    await client.closed()
    assert running.origin.heads == []


@story()
async def test_purge_that_is_too_large_is_refused(running):
    asked = get("/.samovar/purge", f"Content-Length: {MAX_BODY + 1}", "Content-Type: application/json", BEARER, method="POST")
    assert (await running.ask(asked))[0] == 413
    chunked = get("/.samovar/purge", "Transfer-Encoding: chunked", "Content-Type: application/json", BEARER, method="POST")
    piece = b" " * 65_536
    client = await running.connect()
    await client.send(chunked)
    for _ in range(MAX_BODY // len(piece) + 2):
        client.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    assert (await client.response())[0] == 413


@pytest.mark.parametrize("line", ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Origin: null"])
def test_purge_from_another_sites_page_is_refused(line):
    async def inside():
        async with edge(PAGE) as running:
            await running.ask(get("/news"))
            assert (await running.ask(post({"all": True}, BEARER, line)))[0] == 403
            assert "hit" in (await running.ask(get("/news")))[1]["cache-status"]
            # what a form or an image of another site can send by itself has no Bearer
            assert (await running.ask(post({"all": True}, "Cookie: a=b")))[0] == 401

    run_async(inside())


@story()
async def test_page_shows_what_strangers_asked_for_as_text(running):
    for target in ("/<script>alert(1)</script>", "/\"onload=x", "/news"):
        for _ in range(40):
            await running.ask(get(target))
    status, fields, body = await running.ask(get("/.samovar/", BEARER))
    assert status == 200 and fields["content-type"] == "text/html; charset=utf-8"
    assert b"&lt;script&gt;alert(1)" in body and b"<script" not in body
    stats = json.loads((await running.ask(get("/.samovar/stats", BEARER)))[2])["workers"][0]
    assert stats["stats"]["requests"] == 120 and stats["entries"] == 3 and stats["weight"] > 0
    assert stats["stats"]["tags"]["news"] == 3


@story(metrics=True)
async def test_metrics_count_what_happened(running):
    for _ in range(3):
        await running.ask(get("/news"))
    _, fields, body = await running.ask(get("/.samovar/metrics", BEARER))
    found = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
    counts = {name.partition("{")[0]: float(value) for name, value in found.items()}
    assert (counts["samovar_edge_requests_total"], counts["samovar_edge_hits_total"]) == (3, 2)
    assert (counts["samovar_edge_stored_total"], counts["samovar_edge_entries"]) == (1, 1)
    assert fields["content-type"].startswith("text/plain")


@story(scheme="https")
async def test_purge_finds_pages_whose_tls_ended_in_front(running):
    await running.ask(get("/news"))
    for body in ({"urls": ["https://h/news"]}, {"urls": ["http://h/news"]}):
        await running.ask(get("/news"))
        assert json.loads((await running.ask(post(body, BEARER)))[2])["purged"] == 1


@story(budget=1)
async def test_budget_is_one_for_the_whole_worker(running):
    for name in range(3):
        assert (await running.ask(get(f"/{name}")))[0] == 200
    assert running.edge.settings.exchange["budget"].stats().entered == 3


@story(reserved="/edge/own/")
async def test_another_path_can_be_reserved(running):
    assert (await running.ask(get("/edge/own/health")))[2] == b'{"status": "ok"}\n'
    assert (await running.ask(get("/.samovar/health")))[2] == b"page"


def test_purge_is_passed_on_to_the_shield_before_it_is_done_here():
    async def inside():
        async with edge(PAGE, name="shield") as shield:
            place = f"http://127.0.0.1:{shield.port}"

            def made(settings):
                told = EdgeSettings(origin=settings.origin, shield=place, purge_also=place, token=SECRET, name="outer")
                return TalkingEdge(told, proxy_settings(told))

            async with Running(PAGE, edge=made) as outer:
                _, fields, _ = await outer.ask(get("/news"))
                assert "shield" in fields["cache-status"] and "outer" in fields["cache-status"]
                said = json.loads((await outer.ask(post({"tags": ["news"]}, BEARER)))[2])
                assert (said["purged"], said["passed_on"]) == (1, [place])
                await outer.ask(get("/news"))
                assert len(shield.origin.heads) == 2 and outer.origin.heads == []
                shield.edge._admin._digest = b"another"  # its token changes
                status, _, body = await outer.ask(post({"tags": ["news"]}, BEARER))
                assert status == 502 and json.loads(body)["failed"] == [place] and json.loads(body)["purged"] == 1

    run_async(inside())
