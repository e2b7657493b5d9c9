"""The exchange beside the smallest front that keeps the contract of the rules: one request after the other, whatever the
origin answers, both send the same and know the same afterwards."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from front import START, Front, Reply
from samovar import Cache, Freshness
from samovar.edge.contracts import OriginFailed, Request
from samovar.edge.exchange.exchange import Exchange
from samovar.edge.rules import Policy, format_date
from samovar.edge.exchange.vault import CacheVault, until


class Answered:
    """A Reply of the front as one of the exchange."""

    def __init__(self, reply):
        self.status, self.reason, self.headers, self.body = reply.status, reply.reason, reply.headers, reply.body

    async def __aiter__(self):
        half = len(self.body) // 2
        for part in (self.body[:half], self.body[half:]):
            if part:
                yield part

    async def close(self):
        pass


class Noted:
    """A client."""

    def __init__(self):
        self.status, self.headers, self.parts = None, [], []

    def inform(self, status, headers):
        pass

    async def start(self, status, reason, headers):
        self.status, self.headers = status, list(headers)

    async def write(self, chunk):
        self.parts.append(bytes(chunk))

    async def end(self):
        pass

    def abort(self):
        self.status = None


class Beside:
    """An exchange that is asked as a Front is."""

    def __init__(self, origin, **policy):
        self.now, self.origin, self.seen = START, origin, []
        self.cache = Cache(clock=lambda: self.now)
        self.exchange = Exchange(Policy(**policy), CacheVault(self.cache, lambda: self.now), self, wall=lambda: self.now)

    async def ask(self, request, inform=None):
        headers = {k.decode(): v.decode("latin-1") for k, v in request.headers}
        self.seen.append((request.method, request.target.decode(), headers))
        try:
            return Answered(self.origin(request.method, request.target.decode(), headers))
        except ConnectionError as error:
            raise OriginFailed("refused") from error

    async def request(self, target, method, headers):
        fields = [(b"host", b"h"), *headers]
        hit = self.exchange.quick(method, b"http", target, fields)
        client = Noted()
        await self.exchange.serve(Request(method, b"http", target, fields), client)
        body = b"".join(client.parts)
        if hit is not None:
            assert (hit.status, hit.entry.body) == (client.status, body)
        for _ in range(1_000):  # turns of the event loop: it waits for nothing that takes time
            if not self.exchange._fetcher.tasks:
                break
            await asyncio.sleep(0)
        assert not self.exchange._fetcher.tasks
        return client.status, sorted(client.headers), body


def lines(names):
    """Some of these fields, each with one of its values."""
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in names.items()}).map(
        lambda found: [(name.encode(), value.encode()) for name, value in found.items()])


ANSWERS = st.builds(
    lambda status, headers, body: Reply(status, b"" if status in (204, 304) else body, headers),
    st.sampled_from([200, 200, 200, 200, 204, 301, 304, 404, 410, 500, 503]),
    lines({"cache-control": ["max-age=10", "max-age=0", "no-store", "no-cache", "private, max-age=5", "public, s-maxage=20",
                             "max-age=5, stale-while-revalidate=10", "max-age=5, stale-if-error=10",
                             "max-age=5, must-revalidate"],
           "etag": ['"a"', '"b"', 'W/"a"'], "last-modified": [format_date(START - ago).decode() for ago in (1000, 5)],
           "vary": ["accept-language", "*", "accept-encoding"], "age": ["3", "x"], "set-cookie": ["a=b"],
           "location": ["/b", "http://h/a"], "content-location": ["/a", "/b"], "surrogate-key": ["t"]}),
    st.sampled_from([b"tea", b"coffee", b""]))
ASKS = st.tuples(
    st.sampled_from([b"/a", b"/a", b"/b"]),
    st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS"]),
    lines({"cache-control": ["no-cache", "max-age=0", "max-stale", "no-store", "only-if-cached", "stale-if-error=99"],
           "if-none-match": ['"a"', '"b"', "*"], "range": ["bytes=0-1", "bytes=9-", "bytes=-1"],
           "accept-language": ["de", "en"], "accept-encoding": ["gzip, br", "br,gzip"], "authorization": ["me"],
           "if-match": ['"a"']}))
STEPS = st.lists(st.tuples(ASKS, ANSWERS | st.just(ConnectionError("refused")), st.sampled_from([0, 0, 1, 4, 7, 12, 100])),
                 min_size=2, max_size=9)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([{}, {"shared": False}, {"set_cookie": "rfc"}, {"obey_client": False},
                               {"fresh": Freshness(ttl=8, negative_ttl=3, stale_while_revalidate=5)}]))
def test_exchange_answers_as_the_smallest_front_does(steps, policy):
    now_answering = None

    def origin(method, target, headers):
        if isinstance(now_answering, Exception):
            raise now_answering
        return now_answering

    async def both():
        nonlocal now_answering
        front, beside = Front(origin, **policy), Beside(origin, **policy)
        for (target, method, headers), answer, passes in steps:
            now_answering = answer
            told = front.ask(target.decode(), method, headers)
            front.revalidate_in_background()
            got = await beside.request(target, method, headers)
            if told.status in (502, 504) and not told.headers:  # an error of the front's own: it has no fields there
                assert got[0] == told.status and got[2] == b""
            else:
                body = b"" if method == "HEAD" else told.body
                assert got == (told.status, sorted(told.headers), body)
            assert beside.seen == front.seen
            front.pass_time(passes)
            beside.now += passes
            for key in [key for key, stored in front.store.items() if until(stored, front.now) <= 0]:
                del front.store[key]  # a store forgets what nobody can use any more

    asyncio.run(both())
