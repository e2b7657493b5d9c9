"""Edges that share a Redis: what one keeps all serve, and a purge by one reaches the near caches of the others."""

import asyncio

import pytest

from engines import redis_process, redis_server  # noqa: F401
from samovar import AsyncCluster, Cache, RedisNode
from samovar.edge import HTTPCacheMiddleware
from support import LIMIT, run_async

TAGS = [(b"cache-control", b"max-age=600, stale-while-revalidate=60"), (b"surrogate-key", b"news")]


class App:
    """Answers with how often it was asked."""

    def __init__(self):
        self.asked = 0
        self.held = None

    async def __call__(self, scope, receive, send):
        self.asked += 1
        body = b"%d" % self.asked
        if self.held is not None:
            await self.held.wait()
        await send({"type": "http.response.start", "status": 200, "headers": TAGS})
        await send({"type": "http.response.body", "body": body})


async def get(edge, path="/"):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        await asyncio.Event().wait()

    await edge({"type": "http", "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(),
                "query_string": b"", "headers": [(b"host", b"h")]}, receive, send)
    return b"".join(message.get("body", b"") for message in sent)


async def edges(server, app, near):
    clusters = [AsyncCluster([RedisNode(f"redis://127.0.0.1:{server.port}", timeout=LIMIT)],
                             near=Cache(100) if near else None) for _ in range(2)]
    return clusters, [HTTPCacheMiddleware(app, cluster) for cluster in clusters]


@pytest.mark.parametrize("near", [False, True], ids=["alone", "near"])
@pytest.mark.parametrize("purge", [{"urls": "http://h/"}, {"tags": "news"}, {"urls": "http://h/", "soft": True},
                                   {"tags": "news", "soft": True}])
def test_purge_by_one_edge_reaches_the_others(redis_server, near, purge):  # noqa: F811
    async def test():
        app = App()
        clusters, (one, two) = await edges(redis_server, app, near)
        try:
            assert await get(one) == await get(two) == b"1"
            while near and clusters[1].near.get(b"http://h/") is None:  # until the near cache may keep it
                await get(two)
                await asyncio.sleep(0.0009)
            await one.purge(**purge)
            while await get(two) == b"1":
                await asyncio.sleep(0.0009)
            assert await get(two) == b"2" and app.asked == 2
        finally:
            for cluster in clusters:
                await cluster.aclose()

    run_async(test())


def test_purge_by_one_edge_wins_over_what_another_fetches(redis_server):  # noqa: F811
    async def test():
        app = App()
        app.held = asyncio.Event()
        clusters, (one, two) = await edges(redis_server, app, False)
        try:
            task = asyncio.ensure_future(get(one, "/late"))
            while not app.asked:
                await asyncio.sleep(0)
            await two.purge(tags="news")
            app.held.set()
            assert await task == b"1"
            assert await get(two, "/late") == b"2" and one.stats().refused == 1
        finally:
            for cluster in clusters:
                await cluster.aclose()

    run_async(test())
