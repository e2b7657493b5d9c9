"""What the tests of the exchange share: an origin that does what it is told, clients that note what they get, and time
that stands still.

An answer of the origin is a `Says`; one with `held=True` keeps its fields, or the parts of its body, until the test lets
them go.
"""

import asyncio

from samovar import Cache, ManualClock
from samovar.edge.contracts import OriginFailed, Request
from samovar.edge.exchange.exchange import Exchange
from samovar.edge.rules import Policy
from samovar.edge.exchange.vault import CacheVault
from support import LIMIT, run_async

START = 1_600_000_000.0
FRESH = {"cache-control": "max-age=60"}


def lines(headers):
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


class Says:
    """One answer. body: parts, joined by the client. fails: broken off after them. head, gate: events that the fields, and
    each part after the first, wait for."""

    def __init__(self, status=200, body=(b"body",), headers=FRESH, *, fails=None, head=None, gate=None, informs=()):
        self.status, self.reason, self.headers = status, b"OK", lines(headers)
        self.parts = (body,) if isinstance(body, bytes) else tuple(body)
        self.fails, self.head, self.gate, self.informs = fails, head, gate, informs
        self.closed = 0
        self.taken = 0

    async def __aiter__(self):
        for number, part in enumerate(self.parts):
            if number and self.gate is not None:
                await self.gate.wait()
            self.taken += 1
            yield part
        if self.gate is not None:
            await self.gate.wait()
        if self.fails is not None:
            raise self.fails

    async def close(self):
        self.closed += 1


class Origin:
    """Answers in turn, the last again and again; an exception is raised. `asked`: every request, as (method, target,
    fields)."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers) or [Says()], []
        self.now = self.most = 0

    def __len__(self):
        return len(self.asked)

    async def ask(self, request, inform=None):
        self.asked.append((request.method, request.target.decode(), {k.decode(): v.decode() for k, v in request.headers}))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if callable(answer):
                answer = answer(request)
            if isinstance(answer, Exception):
                await asyncio.sleep(0)
                raise answer
            for status, headers in answer.informs:
                inform(status, headers)
            if answer.head is not None:
                await answer.head.wait()
            else:
                await asyncio.sleep(0)
            return answer
        finally:
            self.now -= 1


class Client:
    """A Sender that notes what it is sent. slow: an event that each part waits for. leaves: after so many parts."""

    def __init__(self, *, slow=None, leaves=None):
        self.status, self.headers, self.parts = None, {}, []
        self.ended = self.aborted = False
        self.informed = []
        self.slow, self.leaves = slow, leaves
        self.wrote = asyncio.Event()

    @property
    def body(self):
        return b"".join(self.parts)

    @property
    def said(self):
        return self.headers.get("cache-status")

    def inform(self, status, headers):
        self.informed.append((status, headers))

    async def start(self, status, reason, headers):
        assert self.status is None
        self.status, self.headers = status, {k.decode(): v.decode("latin-1") for k, v in headers}

    async def write(self, chunk):
        assert self.status is not None and not self.ended
        if self.leaves is not None and len(self.parts) >= self.leaves:
            raise ConnectionResetError("the client left")
        self.parts.append(bytes(chunk))
        self.wrote.set()
        if self.slow is not None:
            await self.slow.wait()

    async def end(self):
        assert not self.ended
        self.ended = True

    def abort(self):
        self.aborted = True


class World:
    """An exchange over a Cache, with a clock that stands."""

    def __init__(self, *answers, policy=None, cache=None, vault=None, **words):
        self.clock = ManualClock(START)
        self.origin = Origin(*answers)
        self.cache = Cache(maxweight=1 << 24, clock=self.clock) if cache is None else cache
        policy = Policy() if policy is None else policy
        self.vault = CacheVault(self.cache, self.clock, keyed=bool(policy.keyed)) if vault is None else vault
        self.exchange = Exchange(policy, self.vault, self.origin, wall=self.clock, **words)

    async def ask(self, target="/", method="GET", client=None, **headers):
        """One request, and what its client got."""
        client = Client() if client is None else client
        fields = [(b"host", b"h"), *lines({name.replace("_", "-"): value for name, value in headers.items()})]
        await asyncio.wait_for(self.exchange.serve(Request(method, b"http", target.encode(), fields), client), LIMIT)
        return client

    def start(self, *args, **kwargs):
        """The same, in a task."""
        return asyncio.get_running_loop().create_task(self.ask(*args, **kwargs))

    async def crowd(self, count, target="/", **headers):
        """So many at once."""
        return await asyncio.gather(*(self.ask(target, **headers) for _ in range(count)))

    @property
    def stats(self):
        return self.exchange.stats()


async def until(promise):
    """Give the loop away until the promise holds."""
    async with asyncio.timeout(LIMIT):
        while not promise():
            await asyncio.sleep(0)


async def settle(turns=50):
    """Let everything that can run, run."""
    for _ in range(turns):
        await asyncio.sleep(0)


def failed(why="refused", **words):
    return OriginFailed(why, **words)


def running(test):
    """An async test, with the limit."""
    def runs():
        return run_async(test())

    runs.__name__, runs.__doc__ = test.__name__, test.__doc__
    return runs
