"""The small rooms of the edge, each alone: numbers, purging, forwarding, time."""

import random

import pytest

from samovar.edge.exchange import wall as wall_module
from samovar.edge.contracts import Request
from samovar.edge.exchange.forwarding import Hop
from samovar.edge.exchange.numbers import Numbers, Times, Top
from samovar.edge.exchange.purging import keys_of
from samovar.edge.exchange.wall import Wall
from world import Says, World, running

# ------------------------------------------------------------------ numbers


def test_most_named_keys_are_found_in_a_table_of_fixed_size():
    chance, top = random.Random(5), Top(50)
    for _ in range(20_000):
        top.add(int(chance.paretovariate(1.0)))
    assert len(top) <= 50
    names = [key for key, _ in top.most(5)]
    assert names == [1, 2, 3, 4, 5] and 9_300 <= top.most(1)[0][1] <= 10_200


def test_times_are_within_a_bucket():
    times = Times()
    for number in range(1, 1001):
        times.add(number / 1000)
    latency = times.latency()
    assert latency.count == 1000 and abs(latency.mean - 0.5005) < 1e-9
    for said, right in ((latency.p50, 0.5), (latency.p90, 0.9), (latency.p99, 0.99)):
        assert abs(said - right) / right < 0.1
    assert Times().latency().count == 0


@running
async def test_every_request_is_counted_once():
    world = World(Says(), Says(headers={"cache-control": "no-store"}), Says())
    await world.ask("/a")
    await world.ask("/b")
    for _ in range(40):
        await world.ask("/a")
    await world.ask("/a", method="POST")
    await world.ask("/c", cache_control="only-if-cached")
    stats = world.stats
    assert (stats.requests, stats.hits, stats.misses, stats.passes) == (44, 40, 2, 1)
    assert stats.hit_ratio == 40 / 42 and stats.hot["http://h/a"] == 32


def test_new_numbers_are_zero():
    stats = Numbers().stats()
    assert stats.requests == stats.hits == 0 and stats.hit_ratio == 0.0 and stats.hot == {}


# ------------------------------------------------------------------ purging

@pytest.mark.parametrize("urls, keys", [
    ("http://h/a", [b"http://h/a", b"https://h/a"]), ("https://H:443/a?b#c", [b"https://h/a?b", b"http://h/a?b"]),
    (b"http://h", [b"http://h/", b"https://h/"]), (["http://h:8080/"], [b"http://h:8080/", b"https://h:8080/"]),
    (["http://h/a", "https://h/a"], [b"http://h/a", b"https://h/a"]), ((), []),
])
def test_url_is_the_key_of_both_schemes(urls, keys):
    assert keys_of(urls, ()) == (keys, ())


@pytest.mark.parametrize("urls, tags, error", [
    ("/path", (), ValueError), ("h/a", (), ValueError), (5, (), TypeError), ([5], (), TypeError),
    ("ftp://h/", (), ValueError), ("http://h/a b", (), ValueError), ("", (), ValueError),
    ((), [5], TypeError), ((), b"x", TypeError), ((), [""], ValueError),
])
def test_what_is_no_url_and_no_tag_is_refused(urls, tags, error):
    with pytest.raises(error, match="purge: (urls|tags)"):
        keys_of(urls, tags)


# ------------------------------------------------------------------ forwarding

def asked(method="GET", client=b"10.0.0.9", **headers):
    fields = [(b"host", b"h"), *((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())]
    return Request(method, b"http", b"/x?y", fields, client=client)


def test_hop_adds_its_own_and_keeps_what_was_there():
    hop = Hop("edge-1")
    request = asked(via="1.1 other", x_forwarded_for="1.2.3.4")
    fields = hop.headers(request, tuple(request.headers))
    assert [value for name, value in fields if name == b"via"] == [b"1.1 other", b"1.1 edge-1"]
    assert dict(fields)[b"cdn-loop"] == b"edge-1" and dict(fields)[b"x-forwarded-for"] == b"1.2.3.4, 10.0.0.9"


@pytest.mark.parametrize("headers", [
    {"via": "1.1 edge-1"}, {"via": "1.0 a, 1.1 Edge-1 (comment)"}, {"cdn_loop": "a, edge-1; x=y"},
    {"via": ", ".join(["1.1 a"] * 40)},
])
def test_request_that_was_here_before_goes_no_further(headers):
    assert Hop("edge-1").refuse(asked(**headers)).status == 508
    assert Hop("edge-2").refuse(asked(via="1.1 edge-1", cdn_loop="edge-1")) is None


def test_requests_with_no_hop_left_are_answered_here():
    hop = Hop("edge-1")
    traced = hop.refuse(asked("TRACE", max_forwards="0", cookie="secret", x_tea="green"))
    assert traced.body.startswith(b"TRACE /x?y HTTP/1.1\r\n") and b"green" in traced.body and b"secret" not in traced.body
    assert hop.refuse(asked("OPTIONS", max_forwards="0")).status == 200
    for request in (asked("OPTIONS", max_forwards="3"), asked("TRACE", max_forwards="x"), asked("GET", max_forwards="0")):
        assert hop.refuse(request) is None
    request = asked("OPTIONS", max_forwards="3")
    assert dict(hop.headers(request, tuple(request.headers)))[b"max-forwards"] == b"2"


def test_name_of_a_hop_is_a_token():
    with pytest.raises(ValueError, match="name"):
        Hop("a b")


@running
async def test_loop_is_broken_by_the_exchange():
    world = World(name="edge-1")
    client = await world.ask(cdn_loop="edge-1")
    assert (client.status, len(world.origin), world.stats.loops) == (508, 0, 1) and "detail=loop" in client.said
    await world.ask()
    assert world.origin.asked[0][2]["via"] == "1.1 edge-1"
    assert (await world.ask(method="TRACE", max_forwards="0")).body.startswith(b"TRACE / HTTP/1.1")


@running
async def test_application_in_this_process_gets_no_fields_of_a_proxy():
    world = World()
    await world.ask(via="1.1 samovar")
    assert set(world.origin.asked[0][2]) == {"host", "via"}


# ------------------------------------------------------------------ time

def test_time_never_runs_back_when_the_clock_is_set(monkeypatch):
    now, watch = [1000.0], [50.0]
    monkeypatch.setattr(wall_module, "wall", lambda: now[0])
    monkeypatch.setattr(wall_module, "stopwatch", lambda: watch[0])
    wall = Wall()
    said, behind = [], []
    for clock, passed in ((1001, 1), (1002, 1), (500, 1), (501, 1), (400, 10), (5000, 1), (5001, 1)):
        now[0], watch[0] = float(clock), watch[0] + passed
        said.append(wall())
        behind.append(wall.behind)
    assert said == sorted(said) and said[-1] == 5001.0
    assert said[2:5] == [1002.0, 1003.0, 1013.0]  # by the stopwatch, while the clock is behind
    assert behind == [0.0, 0.0, 502.0, 502.0, 613.0, 0.0, 0.0]
