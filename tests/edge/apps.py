"""ASGI by hand: an application that is a function, and a client that notes what it is sent."""

import asyncio

from support import LIMIT


class Got:
    """What came back: status, headers as a dict of text (`lines` keeps them all), body; `messages` as they were sent."""

    def __init__(self, messages):
        self.messages = messages
        starts = [message for message in messages if message["type"] == "http.response.start"]
        self.status = starts[0]["status"] if starts else None
        self.lines = [(k.decode(), v.decode("latin-1")) for k, v in starts[0]["headers"]] if starts else []
        self.headers = dict(self.lines)
        bodies = [message for message in messages if message["type"] == "http.response.body"]
        self.body = b"".join(bytes(message.get("body", b"")) for message in bodies)
        self.whole = bool(bodies) and not bodies[-1].get("more_body", False)

    @property
    def said(self):
        return self.headers.get("cache-status")


def scope_of(path="/", method="GET", headers=(), query=b"", **words):
    return {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query, "root_path": "", "client": ("10.0.0.1", 5),
            "headers": [(b"host", b"h"), *headers], **words}


async def get(app, path="/", method="GET", *, body=b"", leaves=None, sent=None, query=b"", scope=None, **headers):
    """One request. leaves: an event after which the client is gone. sent: a list to note messages in."""
    messages = [] if sent is None else sent
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if body:
        given.append((b"content-length", b"%d" % len(body)))
    asked = False

    async def receive():
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}
        await (leaves or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message):
        messages.append(message)

    asked_for = {**scope_of(path, method, given, query), **(scope or {})}
    await asyncio.wait_for(app(asked_for, receive, send), LIMIT)
    return Got(messages)


def answers(body=b"body", status=200, headers=None, calls=None, more=()):
    """An application with one answer; `calls` notes every scope."""
    lines = [(b"cache-control", b"max-age=60")] if headers is None else [(k.encode(), v.encode()) for k, v in headers.items()]

    async def app(scope, receive, send):
        if calls is not None:
            calls.append(scope)
        await send({"type": "http.response.start", "status": status, "headers": lines})
        for part in more:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": body})

    return app
