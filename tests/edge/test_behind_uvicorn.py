"""The middleware in a real uvicorn, asked over real sockets, with both of its HTTP parsers and both event loops."""

import http.client
import socket
import threading

import pytest
import uvicorn

from samovar.edge import HTTPCacheMiddleware
from support import LIMIT, until


class Site:
    """An application: what it answers depends on the path. `asked` counts; `gone` notes streams whose client left."""

    def __init__(self):
        self.asked, self.gone, self.stopped = [], threading.Event(), threading.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            self.stopped.set()
            await send({"type": "lifespan.shutdown.complete"})
            return
        path = scope["path"]
        self.asked.append((scope["method"], path))
        fresh = (b"cache-control", b"max-age=60")
        if path == "/events":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            self.gone.set()
        elif path == "/broken":
            await send({"type": "http.response.start", "status": 200, "headers": [fresh, (b"content-length", b"10")]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ValueError("broken")
        elif path == "/raises":
            raise ValueError("raises")
        elif path == "/echo":
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})
        else:
            size = 5_000_000 if path == "/big" else 5
            headers = [fresh, (b"etag", b'"a"'), (b"set-cookie", b"a=b")] if path == "/cookie" else [fresh, (b"etag", b'"a"')]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for at in range(0, size, 1_000_000):
                await send({"type": "http.response.body", "body": b"x" * min(1_000_000, size - at), "more_body": True})
            await send({"type": "http.response.body"})


class Server:
    def __init__(self, **words):
        self.site = Site()
        self.edge = HTTPCacheMiddleware(self.site)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(self.edge, log_level="critical", lifespan="on", **words))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        until(lambda: self.server.started)

    def ask(self, path="/", method="GET", body=None, **headers):
        """(status, headers, body); the connection is the request's own."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        try:
            line.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = line.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            line.close()

    def end(self):
        self.server.should_exit = True
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module", params=[("httptools", "uvloop"), ("h11", "asyncio")], ids="-".join)
def server(request):
    http_, loop = request.param
    made = Server(http=http_, loop=loop)
    yield made
    made.end()
    assert made.site.stopped.is_set()


def test_hit_is_a_whole_answer_with_one_date(server):
    server.ask("/hit")
    status, headers, body = server.ask("/hit")
    assert (status, body, headers["content-length"], headers["etag"]) == (200, b"xxxxx", "5", '"a"')
    assert headers["cache-status"].startswith("samovar;hit;ttl=") and int(headers["age"]) >= 0
    assert len(headers.get_all("date")) == 1 and server.site.asked.count(("GET", "/hit")) == 1


def test_head_condition_and_range_are_answered_from_a_hit(server):
    server.ask("/conditional")
    assert server.ask("/conditional", "HEAD")[2] == b""
    assert server.ask("/conditional", if_none_match='"a"')[0] == 304
    assert server.ask("/conditional", range="bytes=1-2")[::2] == (206, b"xx")
    assert len([1 for asked in server.site.asked if asked[1] == "/conditional"]) == 1


def test_large_body_is_streamed_and_kept(server):
    assert len(server.ask("/big")[2]) == 5_000_000
    status, headers, body = server.ask("/big")
    assert len(body) == 5_000_000 and "hit" in headers["cache-status"]


def test_body_of_a_post_reaches_the_application(server):
    body = b"tea" * 100_000
    assert server.ask("/echo", "POST", body)[2] == body


def test_cookies_are_not_kept(server):
    server.ask("/cookie")
    assert "detail=set-cookie" in server.ask("/cookie")[1]["cache-status"]


def test_answer_that_breaks_off_ends_the_connection(server):
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        server.ask("/broken")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        server.ask("/broken")
    assert server.site.asked.count(("GET", "/broken")) == 2


def test_application_that_raises_is_the_servers_500(server):
    assert server.ask("/raises")[0] == 500


def test_client_that_leaves_a_stream_is_told_to_the_application(server):
    server.site.gone.clear()
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as line:
        line.sendall(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n")
        got = b""
        while b"data: 1" not in got:
            got += line.recv(4096)
    assert server.site.gone.wait(LIMIT)


def test_crowd_over_sockets_asks_once(server):
    lines = [socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) for _ in range(100)]
    for line in lines:
        line.sendall(b"GET /crowd HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    for line in lines:
        got = b""
        while part := line.recv(4096):
            got += part
        assert got.startswith(b"HTTP/1.1 200") and b"xxxxx" in got
        line.close()
    assert server.site.asked.count(("GET", "/crowd")) == 1
