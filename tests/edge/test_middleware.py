"""The middleware in front of applications written by hand: what it passes through, what it keeps, what it says."""

import asyncio

import pytest

from apps import Got, answers, get, scope_of
from samovar import Cache, Freshness, ManualClock
from samovar.edge import HTTPCacheMiddleware, Policy
from support import run_async
from world import running, settle, until


@running
async def test_hit_does_not_reach_the_application():
    calls = []
    edge = HTTPCacheMiddleware(answers(b"tea", calls=calls))
    first, second = await get(edge), await get(edge)
    assert (first.body, second.body, len(calls)) == (b"tea", b"tea", 1)
    assert second.headers["content-length"] == "3" and second.said.startswith("samovar;hit;ttl=")
    assert [message["type"] for message in second.messages] == ["http.response.start", "http.response.body"]


@running
async def test_fields_of_a_hit_are_a_list_of_its_own():
    edge = HTTPCacheMiddleware(answers())
    await get(edge)
    first = await get(edge)
    first.messages[0]["headers"].append((b"x-own", b"1"))  # as outer middlewares do
    assert "x-own" not in (await get(edge)).headers


@running
async def test_age_of_a_hit_grows():
    clock = ManualClock(1e9)
    edge = HTTPCacheMiddleware(answers(), Cache(clock=clock), wall=clock)
    await get(edge)
    ages = []
    for _ in range(3):
        clock.advance(5)
        ages.append((await get(edge)).headers["age"])
    assert ages == ["5", "10", "15"]


@running
async def test_other_scopes_are_the_applications_as_they_are():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    edge = HTTPCacheMiddleware(app)
    scope, receive, send = {"type": "websocket", "path": "/"}, object(), object()
    await edge(scope, receive, send)
    assert seen == [(scope, receive, send)]
    await edge({"type": "lifespan"}, receive, send)
    assert seen[1][:2] == ({"type": "lifespan"}, receive)


@running
async def test_shutdown_ends_the_work_in_the_background():
    stuck = asyncio.Event()

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/stuck":
            await stuck.wait()

    edge = HTTPCacheMiddleware(app)
    task = asyncio.ensure_future(get(edge, "/stuck"))
    await until(lambda: edge.exchange._fetcher.tasks)
    told = []

    async def send(message):
        told.append((message["type"], bool(edge.exchange._fetcher.tasks)))

    await edge({"type": "lifespan"}, None, send)
    assert told == [("lifespan.shutdown.complete", False)] and (await task).status == 503


@running
async def test_application_that_raises_raises_here_and_the_next_request_asks_anew():
    calls = []

    async def app(scope, receive, send):
        calls.append(scope)
        if len(calls) == 1:
            raise ZeroDivisionError("of its own")
        await answers()(scope, receive, send)

    edge = HTTPCacheMiddleware(app)
    with pytest.raises(ZeroDivisionError, match="of its own"):
        await get(edge)
    assert (await get(edge)).status == 200


@running
async def test_waiters_do_not_get_the_leaders_exception():
    calls = []

    async def app(scope, receive, send):
        calls.append(scope)
        await asyncio.sleep(0)
        if len(calls) <= 2:
            raise ZeroDivisionError
        await answers()(scope, receive, send)

    edge = HTTPCacheMiddleware(app)
    got = await asyncio.gather(*(get(edge) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(one, ZeroDivisionError) for one in got) == 2 and len(calls) == 3


@running
async def test_application_that_raises_is_stood_in_for_by_what_is_stale():
    clock, calls = ManualClock(1e9), []

    async def app(scope, receive, send):
        calls.append(scope)
        if len(calls) > 1:
            raise ZeroDivisionError
        await answers(headers={"cache-control": "max-age=1, stale-if-error=99"})(scope, receive, send)

    edge = HTTPCacheMiddleware(app, Cache(clock=clock), wall=clock)
    await get(edge)
    clock.advance(9)
    assert (await get(edge)).body == b"body" and len(calls) == 2


@pytest.mark.parametrize("length", [True, False])
def test_application_that_breaks_off_is_seen_by_the_server_and_not_kept(length):
    async def test():
        async def app(scope, receive, send):
            headers = [(b"cache-control", b"max-age=60")] + ([(b"content-length", b"9")] if length else [])
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ZeroDivisionError

        sent = []
        edge = HTTPCacheMiddleware(app)
        with pytest.raises(ZeroDivisionError):
            await get(edge, sent=sent)
        assert Got(sent).body == b"half" and not Got(sent).whole and len(edge.exchange.vault.cache) == 0

    run_async(test())


async def silent(scope, receive, send):
    pass


async def headless(scope, receive, send):
    await send({"type": "http.response.body", "body": b"x"})


async def twice(scope, receive, send):
    await answers()(scope, receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def split(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"a\r\nset-cookie: b=c")]})


@running
async def test_application_that_sends_nothing_is_an_error():
    assert (await get(HTTPCacheMiddleware(silent))).status == 502


@pytest.mark.parametrize("app, error", [(headless, RuntimeError), (split, ValueError)])
def test_application_that_breaks_the_protocol_gets_an_exception(app, error):
    async def test():
        with pytest.raises(error):
            await get(HTTPCacheMiddleware(app))

    run_async(test())


@running
async def test_what_an_application_raises_after_its_answer_does_not_harm_it():
    edge = HTTPCacheMiddleware(twice)
    assert (await get(edge)).body == b"body" and (await get(edge)).said.startswith("samovar;hit")


@running
async def test_work_after_the_answer_is_left_in_peace():
    held, done = asyncio.Event(), []

    async def app(scope, receive, send):
        await answers()(scope, receive, send)
        await held.wait()
        done.append((await receive())["type"])

    edge = HTTPCacheMiddleware(app)
    assert (await get(edge)).whole and not done
    held.set()
    await until(lambda: done)


@pytest.mark.parametrize("control", ["max-age=60", "no-store"])
def test_streaming_body_comes_as_it_is_sent(control):
    async def test():
        gate = asyncio.Event()

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", control.encode())]})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await gate.wait()
            await send({"type": "http.response.body", "body": b"b"})

        sent = []
        task = asyncio.ensure_future(get(HTTPCacheMiddleware(app), sent=sent))
        await until(lambda: Got(sent).body == b"a")
        gate.set()
        assert (await task).body == b"ab"

    run_async(test())


@running
async def test_client_that_leaves_a_stream_is_told_to_the_application():
    told, leaves = [], asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"no-store")]})
        await send({"type": "http.response.body", "body": b"event", "more_body": True})
        while True:
            message = await receive()
            told.append(message["type"])
            if message["type"] == "http.disconnect":
                return

    edge, sent = HTTPCacheMiddleware(app), []
    task = asyncio.ensure_future(get(edge, leaves=leaves, sent=sent))
    await until(lambda: Got(sent).body == b"event")
    leaves.set()
    await task
    await until(lambda: told[-1:] == ["http.disconnect"])


@running
async def test_client_that_leaves_before_the_first_event_is_told_to_the_application():
    told, leaves = [], asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        while "http.disconnect" not in told:
            told.append((await receive())["type"])

    sent = []
    task = asyncio.ensure_future(get(HTTPCacheMiddleware(app), leaves=leaves, sent=sent))
    await until(lambda: Got(sent).status == 200)
    leaves.set()
    await task
    await until(lambda: told[-1:] == ["http.disconnect"])


@running
async def test_renewal_after_a_head_asks_the_application_for_the_whole():
    clock, calls = ManualClock(1_600_000_000.0), []
    edge = HTTPCacheMiddleware(answers(headers={"cache-control": "max-age=5, stale-while-revalidate=60"}, calls=calls),
                               cache=Cache(maxweight=1 << 20, clock=clock), wall=clock)
    await get(edge)
    clock.advance(9)
    assert (await get(edge, method="HEAD")).body == b""
    await until(lambda: len(calls) == 2)
    assert calls[1]["method"] == "GET"
    await edge.exchange.close()


@running
async def test_cancelled_request_is_cancelled():
    edge = HTTPCacheMiddleware(silent_for_ever)
    task = asyncio.ensure_future(get(edge))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await edge.exchange.close()


async def silent_for_ever(scope, receive, send):
    await asyncio.Event().wait()


@running
async def test_application_does_not_run_ahead_of_its_client():
    sent_by_app, gate = [], asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"no-store")]})
        for _ in range(50):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            sent_by_app.append(1)
        await send({"type": "http.response.body"})

    messages = []

    async def send(message):
        messages.append(message)
        await gate.wait()

    async def receive():
        await asyncio.Event().wait()

    task = asyncio.ensure_future(HTTPCacheMiddleware(app)(scope_of(), receive, send))
    await settle(200)
    assert len(sent_by_app) <= 5
    gate.set()
    await task
    assert len(Got(messages).body) == 5_000_000


@running
async def test_body_of_a_request_reaches_the_application():
    async def app(scope, receive, send):
        message = await receive()
        await answers(message["body"].upper(), headers={})(scope, receive, send)

    edge = HTTPCacheMiddleware(app)
    assert (await get(edge, method="POST", body=b"tea")).body == b"TEA"
    assert (await get(edge, body=b"tea")).body == b"TEA"  # a GET that brings one is nobody else's
    assert len(edge.exchange.vault.cache) == 0


@running
async def test_extensions_that_send_what_is_no_body_are_not_offered():
    calls = []
    edge = HTTPCacheMiddleware(answers(calls=calls))
    extensions = {"http.response.pathsend": {}, "http.response.trailers": {}, "http.response.early_hint": {}, "tls": {}}
    await get(edge, scope={"extensions": extensions})
    assert set(calls[0]["extensions"]) == {"http.response.early_hint", "tls"}


@running
async def test_early_hints_reach_a_server_that_has_them():
    async def app(scope, receive, send):
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await answers()(scope, receive, send)

    edge = HTTPCacheMiddleware(app)
    with_it = await get(edge, scope={"extensions": {"http.response.early_hint": {}}})
    without = await get(edge, "/other")
    assert [message for message in with_it.messages if "links" in message]
    assert with_it.status == 200 and not [message for message in without.messages if "links" in message]


@running
async def test_names_of_fields_are_read_in_any_case():
    edge = HTTPCacheMiddleware(answers(headers={"Cache-Control": "no-store", "X-Tea": "Green"}))
    assert (await get(edge)).headers["x-tea"] == "Green" and (await get(edge)).said.endswith("no-store")


@running
async def test_date_is_left_to_the_server():
    edge = HTTPCacheMiddleware(answers(headers={"cache-control": "max-age=60", "date": "Mon, 01 Jan 2024 00:00:00 GMT"}))
    assert "date" not in (await get(edge)).headers and "date" not in (await get(edge)).headers


@running
async def test_server_without_raw_paths_is_served_too():
    edge = HTTPCacheMiddleware(answers())
    await get(edge, "/a", scope={"raw_path": None, "path": "/ä b"})
    assert (await get(edge, "/a", scope={"raw_path": None, "path": "/ä b"})).said.startswith("samovar;hit")
    assert (await get(edge, "/%C3%A4%20b")).said.startswith("samovar;hit")


@running
async def test_query_is_part_of_the_key():
    calls = []
    edge = HTTPCacheMiddleware(answers(calls=calls))
    for query in (b"a=1", b"a=2", b"a=1", b""):
        await get(edge, query=query)
    assert len(calls) == 3


# ------------------------------------------------------------------ words

@running
async def test_key_adds_to_the_key_and_none_goes_past_the_cache():
    calls = []

    def site(scope):
        name = dict(scope["headers"]).get(b"x-site")
        return None if name == b"none" else name or ""

    edge = HTTPCacheMiddleware(answers(calls=calls), key=site)
    for name in ("a", "b", "a", "none", "none"):
        got = await get(edge, x_site=name)
    assert len(calls) == 4 and got.said is None
    assert await edge.purge(urls="http://h/") >= 0
    await get(edge, x_site="a")
    assert len(calls) == 5  # the URL took all of its keys with it


@running
async def test_keyed_fields_reach_the_application_and_are_part_of_the_key():
    calls = []
    edge = HTTPCacheMiddleware(answers(calls=calls), keyed="X-Forwarded-Proto")
    for name in ("http", "https", "http"):
        await get(edge, x_forwarded_proto=name, x_forwarded_host="evil")
    assert len(calls) == 2 and (b"x-forwarded-proto", b"https") in calls[1]["headers"]
    assert b"x-forwarded-host" not in dict(calls[1]["headers"])


@running
async def test_unkeyed_fields_that_rewrite_the_url_reach_nobody():
    calls = []
    edge = HTTPCacheMiddleware(answers(calls=calls))
    await get(edge, x_forwarded_host="evil", x_original_url="/admin", x_forwarded_for="1.2.3.4")
    assert {name for name, _ in calls[0]["headers"]} == {b"host", b"x-forwarded-for"}


@running
async def test_fresh_gives_a_lifetime_to_what_names_none():
    calls = []
    edge = HTTPCacheMiddleware(answers(headers={}, calls=calls), fresh=Freshness(ttl="1m"))
    await get(edge)
    assert (await get(edge)).said.startswith("samovar;hit;ttl=") and len(calls) == 1


@pytest.mark.parametrize("word, kept", [("bypass", False), ("rfc", True)])
def test_answers_that_set_cookies_are_kept_when_asked_for(word, kept):
    async def test():
        edge = HTTPCacheMiddleware(answers(headers={"cache-control": "max-age=60", "set-cookie": "a=b"}), set_cookie=word)
        await get(edge)
        assert (await get(edge)).said.startswith("samovar;hit") is kept

    run_async(test())


@pytest.mark.parametrize("shared", [True, False])
def test_private_answers_are_kept_in_private_caches(shared):
    async def test():
        edge = HTTPCacheMiddleware(answers(headers={"cache-control": "private, max-age=60"}), shared=shared)
        await get(edge)
        assert (await get(edge)).said.startswith("samovar;hit") is not shared

    run_async(test())


@running
async def test_tags_are_read_where_they_are_said_to_be_and_the_owners_cache_knows_them():
    cache, calls = Cache(), []
    edge = HTTPCacheMiddleware(answers(headers={"cache-control": "max-age=60", "x-tags": "a, b"}, calls=calls), cache,
                               tags="X-Tags")
    await get(edge)
    assert await edge.purge(tags="c") == 0 and await edge.purge(tags=["b", "c"]) == 1
    await get(edge)
    cache.invalidate_tags("a")
    await get(edge)
    assert len(calls) == 3 and edge.stats().tags == {"a": 3, "b": 3}


@running
async def test_owners_soft_invalidation_is_a_soft_purge():
    cache = Cache()
    headers = {"cache-control": "max-age=60, stale-while-revalidate=60", "surrogate-key": "a"}
    edge = HTTPCacheMiddleware(answers(headers=headers), cache)
    await get(edge)
    cache.invalidate_tags("a", soft=True)
    assert (await get(edge)).said in ("samovar;hit;ttl=0", "samovar;hit;ttl=-1") and edge.stats().renewals == 1


@running
async def test_cache_of_the_middleware_is_bounded_in_bytes():
    edge = HTTPCacheMiddleware(answers(b"x" * 1_000_000))
    for number in range(80):
        await get(edge, f"/{number}")
    stats = edge.exchange.vault.cache.stats()
    assert stats.maxweight == 64 << 20 and 60 <= stats.currsize <= 67 and stats.weight <= stats.maxweight


@running
async def test_marks_of_what_is_not_kept_weigh_their_urls():
    edge = HTTPCacheMiddleware(answers(headers={"cache-control": "no-store"}), cache=Cache(maxweight=100_000))
    for number in range(50):
        await get(edge, "/" + "x" * 10_000 + str(number))
    assert 1 <= len(edge.exchange.vault.cache) < 10


@running
async def test_policy_says_everything_at_once():
    edge = HTTPCacheMiddleware(answers(), policy=Policy(name="tea"))
    assert (await get(edge)).said.startswith("tea;fwd=uri-miss")


@pytest.mark.parametrize("words, error, named", [
    ({"cache": {}}, TypeError, "cache"), ({"key": "x"}, TypeError, "key"), ({"policy": 5}, TypeError, "policy"),
    ({"shared": 1}, TypeError, "shared"), ({"tags": 5}, TypeError, "tags"), ({"keyed": ["ä"]}, TypeError, "keyed"),
    ({"set_cookie": "no"}, ValueError, "set_cookie"), ({"fresh": 5}, TypeError, "fresh"),
    ({"max_body": -1}, ValueError, "max_body"),
    ({"wait": "soon"}, ValueError, "wait"), ({"head": 0}, ValueError, "head"), ({"budget": 5}, TypeError, "budget"),
    ({"max_waiters": 1.5}, TypeError, "max_waiters"),
])
def test_argument_that_is_none_is_named(words, error, named):
    with pytest.raises(error, match=named):
        HTTPCacheMiddleware(answers(), **words)
