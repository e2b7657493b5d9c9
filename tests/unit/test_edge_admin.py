"""What an edge answers for itself: whose paths they are, who may read, who may purge, and what is said to everybody else."""

import asyncio
import base64
import json
import sys

import pytest
from hypothesis import given, strategies as st

from samovar import SamovarError
from samovar.edge.admin.admin import Admin
from samovar.edge.contracts import OriginFailed, Request
from samovar.edge.admin.fleet import FleetBroken, Look
from samovar.edge.exchange.numbers import EdgeStats
from samovar.edge.admin.order import MAX_BODY, MAX_NAMES, BadOrder, Order, read_order
from samovar.edge.admin.told import EdgeSettings
from support import run_async

SECRET = "a-secret-of-enough-letters"
BEARER = (b"authorization", f"Bearer {SECRET}".encode())
BASIC = (b"authorization", b"Basic " + base64.b64encode(f"me:{SECRET}".encode()))
JSON = (b"content-type", b"application/json")


class Workers:
    """A fleet that notes what it is told."""

    def __init__(self, broken=False):
        self.orders, self.broken = [], broken

    async def purge(self, order):
        if self.broken:
            raise FleetBroken("worker 1 did not answer within 5 s: purge again")
        self.orders.append(order)
        return len(order.keys) + len(order.tags)

    async def look(self, most):
        return [Look(42, EdgeStats(requests=10, hits=7, hot={"http://a/\xff": 7}, tags={"t": 1}), 1, 100)]


async def chunks_of(body, size=65_536):
    for at in range(0, len(body), size):
        yield body[at:at + size]


def request(method="GET", target=b"/.samovar/", *headers, host=b"www.example.com", body=None):
    body, length = (None, None) if body is None else (chunks_of(body), len(body))
    return Request(method, b"http", target, [(b"host", host), *headers], body, length)


def edge(fleet=None, **words):
    words = {"token": SECRET, **words}
    return Admin(EdgeSettings(origin="http://origin:9", **words), fleet or Workers())


def ask(admin, *args, own=False, **kwargs):
    return run_async(admin.answer(request(*args, **kwargs), own=own))


def status(*args, admin=None, **kwargs):
    found = ask(admin or edge(), *args, **kwargs)
    return None if found is None else found[0]


def purge(body, *headers, admin=None, method="POST", fleet=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = ask(admin or edge(fleet), method, b"/.samovar/purge", *(headers or (BEARER, JSON)), body=body)
    return answer[0], json.loads(answer[2])


# ------------------------------------------------------------------ whose path it is

@pytest.mark.parametrize("target", [
    b"/", b"/.samovar", b"/.samovarx", b"/.Samovar/", b"/%2esamovar/", b"//.samovar/", b"/x/../.samovar/", b"/./.samovar/",
    b"/.samovar%2f", b"http://h?/.samovar/purge", b"http://h#/.samovar/", b"*", b"h:443", b"", b"/x?/.samovar/",
])
def test_path_that_is_not_the_reserved_one_is_the_origins(target):
    assert status("GET", target, BEARER) is None and status("POST", target, BEARER) is None


@pytest.mark.parametrize("target", [
    b"/.samovar/", b"/.samovar/?x=1", b"http://www.example.com/.samovar/", b"HTTPS://other/.samovar/?a#b",
])
def test_reserved_path_is_the_edges_in_every_form_of_target(target):
    assert status("GET", target, BEARER) == 200


@pytest.mark.parametrize("target", [
    b"/.samovar/nothing", b"/.samovar//", b"/.samovar/purge/", b"/.samovar/../x", b"/.samovar/%70urge",
])
def test_reserved_path_with_nothing_there_never_reaches_the_origin(target):
    assert status("GET", target, BEARER) == 404 and status("POST", target, BEARER) == 404


def test_nothing_is_reserved_where_admin_has_a_listener_of_its_own_or_the_word_is_empty():
    for admin in (edge(admin="127.0.0.1:9001"), edge(reserved="")):
        assert status("GET", b"/.samovar/", BEARER, admin=admin) is None
    assert status("GET", b"/edge/status/health", admin=edge(reserved="/edge/status/")) == 200


def test_own_listener_answers_every_path_itself():
    admin = edge(admin="127.0.0.1:9001")
    for target in (b"/", b"/health", b"/stats", b"/.samovar/", b"/.samovar/health"):
        assert status("GET", target, BEARER, admin=admin, own=True, host=b"127.0.0.1:9001") == 200, target
    assert status("GET", b"/index.html", BEARER, admin=admin, own=True, host=b"127.0.0.1:9001") == 404


@pytest.mark.parametrize("host, found", [
    (b"127.0.0.1:9001", 200), (b"localhost", 200), (b"LOCALHOST:1", 200), (b"[::1]:9001", 200), (b"10.1.2.3", 200),
    (b"ops.example", 200), (b"ops.example:99", 200), (b"evil.example", 421), (b"127.0.0.1.evil.example", 421), (b"", 421),
    (b"localhost.evil.example:9001", 421), (b"[::1", 200), (b"2130706433", 421),
])
def test_own_listener_answers_under_its_own_names_only(host, found):
    admin = edge(admin="127.0.0.1:9001", admin_hosts="ops.example")
    assert status("GET", b"/", BEARER, admin=admin, own=True, host=host) == found


# ------------------------------------------------------------------ who may read

@pytest.mark.parametrize("target", [b"/.samovar/", b"/.samovar/stats", b"/.samovar/metrics"])
def test_reading_needs_the_token_in_one_of_its_forms(target):
    admin = edge(metrics=True)
    for shown in (BEARER, BASIC, (b"authorization", b"bearer  " + SECRET.encode())):
        assert status("GET", target, shown, admin=admin) == 200
    wrong = [(), (BEARER, BEARER), ((b"authorization", b"Bearer " + SECRET.encode() + b"x"),),
             ((b"authorization", b"Bearer"),), ((b"authorization", SECRET.encode()),), ((b"authorization", b"Basic !!!"),),
             ((b"authorization", b"Digest x"),), ((b"authorization", b"Basic " + base64.b64encode(SECRET.encode())),),
             ((b"x-token", SECRET.encode()),)]
    for shown in wrong:
        code, headers, body = ask(admin, "GET", target, *shown)
        assert code == 401 and {name for name, _ in headers} >= {b"www-authenticate"} and SECRET.encode() not in body


def test_without_a_token_only_this_machine_may_read_and_nobody_purge():
    public = edge(token=None)
    assert status("GET", b"/.samovar/", admin=public) == 403 and status("GET", b"/.samovar/health", admin=public) == 200
    local = edge(token=None, admin="127.0.0.1:9001")
    assert status("GET", b"/", admin=local, own=True, host=b"localhost") == 200
    assert status("GET", b"/", admin=edge(token=None, admin=":9001"), own=True, host=b"localhost") == 403
    for admin in (public, local):
        assert status("PURGE", b"/x", BEARER, admin=admin) == 403
    assert status("POST", b"/purge", BEARER, JSON, admin=local, own=True, host=b"localhost", body=b'{"all": true}') == 403


def test_health_is_open_to_all():
    assert ask(edge(), "GET", b"/.samovar/health")[2] == b'{"status": "ok"}\n'
    assert status("GET", b"/.samovar/health", admin=edge(token=None)) == 200


def test_what_only_reads_refuses_to_be_written():
    for target in (b"/.samovar/", b"/.samovar/stats", b"/.samovar/health"):
        code, headers, _ = ask(edge(), "POST", target, BEARER, body=b"x")
        assert code == 405 and (b"allow", b"GET, HEAD") in headers
    assert status("GET", b"/.samovar/purge", BEARER) == 405


def test_head_has_the_fields_of_get_and_no_body():
    got, head = ask(edge(), "GET", b"/.samovar/", BEARER), ask(edge(), "HEAD", b"/.samovar/", BEARER)
    names = lambda answer: [name for name, _ in answer[1]]
    assert head[0] == 200 and head[2] == b"" and names(got) == names(head)


def test_answers_are_never_stored_nor_read_by_other_sites():
    for answer in (ask(edge(), "GET", b"/.samovar/", BEARER), ask(edge()), ask(edge(), "GET", b"/.samovar/health")):
        headers = dict(answer[1])
        assert headers[b"cache-control"] == b"no-store" and headers[b"x-content-type-options"] == b"nosniff"
        assert int(headers[b"content-length"]) == len(answer[2])
        assert headers[b"cross-origin-resource-policy"] == b"same-origin"
        assert not any(name.startswith(b"access-control") for name in headers)


def test_page_forbids_scripts_and_frames():
    headers = dict(ask(edge(), "GET", b"/.samovar/", BEARER)[1])
    assert b"default-src 'none'" in headers[b"content-security-policy"] and headers[b"x-frame-options"] == b"DENY"
    assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]


def test_stats_are_what_the_workers_say():
    said = json.loads(ask(edge(), "GET", b"/.samovar/stats", BEARER)[2])
    worker, = said["workers"]
    assert (worker["pid"], worker["stats"]["hits"], worker["stats"]["hot"]) == (42, 7, {"http://a/\xff": 7})
    assert Look.read(worker) == run_async(Workers().look(1))[0]


# ------------------------------------------------------------------ metrics

def test_metrics_are_prometheus_text_without_urls():
    parser = __import__("prometheus_client.parser").parser
    code, headers, body = ask(edge(metrics=True), "GET", b"/.samovar/metrics", BEARER)
    assert code == 200 and dict(headers)[b"content-type"].startswith(b"text/plain")
    found = {(sample.name, sample.labels.get("quantile")): (sample.labels["worker"], sample.value)
             for family in parser.text_string_to_metric_families(body.decode()) for sample in family.samples}
    assert found["samovar_edge_requests_total", None] == ("42", 10) and found["samovar_edge_hits_total", None] == ("42", 7)
    assert found["samovar_edge_weight_bytes", None] == ("42", 100)
    assert ("samovar_edge_origin_latency_seconds", "0.99") in found
    assert b"http://a/" not in body and b"created" not in body


def test_metrics_are_off_until_they_are_wanted():
    assert status("GET", b"/.samovar/metrics", BEARER) == 404


def test_metrics_without_their_extra_fail_at_the_start(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(SamovarError, match=r"--metrics needs prometheus_client: pip install 'samovar\[metrics\]'"):
        edge(metrics=True)
    edge()


# ------------------------------------------------------------------ who may purge

def test_purge_needs_the_token_as_bearer():
    fleet = Workers()
    for shown in ((JSON,), (JSON, BASIC), (JSON, BEARER, BEARER), (JSON, (b"authorization", b"Bearer wrong"))):
        assert purge({"all": True}, *shown, fleet=fleet)[0] == 401
        assert status("PURGE", b"/x", *shown[1:], admin=edge(fleet)) == 401
    assert fleet.orders == []


@pytest.mark.parametrize("sign", [
    (b"sec-fetch-site", b"cross-site"), (b"sec-fetch-site", b"same-site"), (b"origin", b"https://evil.example"),
    (b"origin", b"null"), (b"origin", b"http://www.example.com.evil.example"),
])
def test_purge_that_another_site_sent_is_refused(sign):
    fleet = Workers()
    assert purge({"all": True}, BEARER, JSON, sign, fleet=fleet)[0] == 403
    assert status("PURGE", b"/x", BEARER, sign, admin=edge(fleet)) == 403 and fleet.orders == []


def test_purge_from_the_same_site_is_carried_out():
    for sign in ((b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"none"), (b"origin", b"https://WWW.example.com")):
        assert purge({"all": True}, BEARER, JSON, sign)[0] == 200


def test_request_without_exactly_one_host_is_refused():
    for hosts in ([], [(b"host", b"a"), (b"host", b"b")]):
        found = run_async(edge().answer(Request("PURGE", b"http", b"/x", [*hosts, BEARER])))
        assert found[0] == 400


def test_body_is_not_read_before_it_is_known_who_sends_it():
    async def trap():
        raise AssertionError("read")
        yield b""

    for headers in ([JSON], [JSON, BASIC], [BEARER]):
        asked = Request("POST", b"http", b"/.samovar/purge", [(b"host", b"a"), *headers], trap(), 10)
        assert run_async(edge().answer(asked))[0] in (401, 415)
    asked = Request("POST", b"http", b"/.samovar/purge", [(b"host", b"a"), BEARER, JSON], trap(), MAX_BODY + 1)
    assert run_async(edge().answer(asked))[0] == 413


# ------------------------------------------------------------------ what a purge says

def test_purge_of_urls_and_tags_reaches_the_workers_once():
    fleet = Workers()
    code, said = purge({"urls": ["http://A.example:80/x?y", "http://a.example/x?y"], "tags": ["n", "n"], "soft": True},
                       fleet=fleet)
    assert (code, said) == (200, {"purged": 2, "soft": True, "workers": 1, "passed_on": []})
    assert fleet.orders == [Order((b"http://a.example/x?y",), ("n",), soft=True)]


def test_purge_of_all_stands_alone():
    fleet = Workers()
    assert purge({"all": True}, fleet=fleet)[0] == 200 and fleet.orders == [Order(everything=True)]
    assert purge({"all": True, "tags": ["x"]}, fleet=fleet)[0] == 400 and len(fleet.orders) == 1


def test_purge_method_takes_its_own_url():
    fleet = Workers()
    for target, host, soft in ((b"/a%2F?b", b"X.example", False), (b"http://y/c", b"ignored", False), (b"/d", b"z:81", True)):
        sign = [(b"soft-purge", b"1")] if soft else []
        code, _, body = ask(edge(fleet), "PURGE", target, BEARER, *sign, host=host)
        assert code == 200 and json.loads(body)["purged"] == 1
    assert [order.keys for order in fleet.orders] == [(b"http://x.example/a%2F?b",), (b"http://y/c",), (b"http://z:81/d",)]
    assert [order.soft for order in fleet.orders] == [False, False, True]


def test_purge_method_works_on_the_own_listener_for_the_sites_host():
    fleet = Workers()
    admin = edge(fleet, admin="127.0.0.1:9001", scheme="https")
    assert status("PURGE", b"/x", BEARER, admin=admin, own=True, host=b"www.example.com") == 200
    assert fleet.orders[0].keys == (b"https://www.example.com/x",)


def test_purge_of_a_url_keeps_its_bytes():
    assert read_order(b'{"urls": ["HTTPS://A:443/%2F/../x?y=\xc3\xbf"]}').keys == (b"https://a/%2F/../x?y=\xff",)


def test_purge_finds_a_tag_in_the_bytes_of_either_coding():
    assert read_order('{"tags": ["чай"]}'.encode()).tags == ("чай".encode().decode("latin-1"),)
    assert set(read_order('{"tags": ["thé"]}'.encode()).tags) == {"thé", "thÃ©"}


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b"7", b'"x"', b"\xff", b"{}", b'{"urls": []}', b'{"all": false}', b'{"all": 1}',
    b'{"soft": true}',
    b'{"urls": "http://a/"}', b'{"urls": [7]}', b'{"tags": {"a": 1}}', b'{"tags": [""]}', b'{"tags": [" "]}',
    b'{"url": ["http://a/"]}', b'{"all": true, "all": false}', b'{"all": true, "x": 1}', b'{"tags": ["a\\nb"]}',
    b'{"tags": ["\\ud800"]}', b'{"all": NaN}',
    b'{"urls": ["/x"]}', b'{"urls": ["//a/x"]}', b'{"urls": ["http://a/x y"]}', b'{"urls": ["http://a/\\r\\nHost: b"]}',
    b'{"urls": ["http:///x"]}', b'{"urls": ["http://me@a/x"]}', b'{"urls": ["ftp://a/x"]}', b'{"urls": ["http://a/#x"]}',
    b'{"urls": ["javascript:alert(1)"]}', b'{"urls": ["http://a/\\ud800"]}', b'{"urls": ["http://a/\\u4f60"]}',
    b'{"urls": [null]}',
    b"[" * 100_000, b'{"urls": ' + b"[" * 100_000, b'{"tags": ["' + b"x" * 257 + b'"]}', b'{"tags": "all"}',
], ids=lambda body: body[:30].decode("latin-1"))
def test_purge_that_says_nothing_sensible_purges_nothing(body):
    fleet = Workers()
    code, said = purge(body, fleet=fleet)
    assert code == 400 and set(said) == {"error"} and fleet.orders == []
    assert "\r" not in said["error"] and "\n" not in said["error"]


def test_purge_that_is_too_large_is_refused_before_it_is_understood():
    assert purge(b'{"tags": ["' + b"x" * MAX_BODY + b'"]}')[0] == 413
    many = json.dumps({"tags": [str(number) for number in range(MAX_NAMES + 1)]}).encode()
    with pytest.raises(BadOrder, match="at most"):
        read_order(many)

    async def endless():
        while True:
            yield b" " * 65_536

    asked = Request("POST", b"http", b"/.samovar/purge", [(b"host", b"a"), BEARER, JSON], endless())
    assert run_async(edge().answer(asked))[0] == 413


def test_purge_must_be_json_and_a_post():
    assert purge({"all": True}, BEARER)[0] == 415
    assert purge({"all": True}, BEARER, (b"content-type", b"text/plain"))[0] == 415
    assert purge({"all": True}, BEARER, (b"content-type", b"Application/JSON; charset=utf-8"))[0] == 200
    assert purge({"all": True}, method="DELETE")[0] == 405


@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=4) |
    st.dictionaries(st.sampled_from(["urls", "tags", "soft", "all", "here", "x"]), inner, max_size=5),
    max_leaves=12).map(lambda said: json.dumps(said).encode())))
def test_purge_of_any_bytes_is_an_order_or_a_bad_order(body):
    try:
        order = read_order(body)
    except BadOrder as error:
        assert str(error).isascii() and str(error).isprintable()
    else:
        assert order.everything != bool(order.keys or order.tags)
        assert all(key.startswith((b"http://", b"https://")) and b"\n" not in key for key in order.keys)


@pytest.mark.parametrize("target, host", [(b"*", b"a"), (b"a:443", b"a"), (b"/x#y", b"a"), (b"/x y", b"a"), (b"/x", b"a b")])
def test_purge_method_on_what_cannot_be_stored_is_a_bad_request(target, host):
    fleet = Workers()
    assert status("PURGE", target, BEARER, admin=edge(fleet), host=host) == 400 and fleet.orders == []


def test_purge_that_did_not_reach_every_worker_says_so():
    code, said = purge({"all": True}, fleet=Workers(broken=True))
    assert code == 503 and "purge again" in said["error"]


# ------------------------------------------------------------------ other edges

class Reply:
    """What another edge answers."""

    reason, headers = b"", []

    def __init__(self, status):
        self.status, self.closed = status, False

    async def __aiter__(self):
        yield b"{}"

    async def close(self):
        self.closed = True


class Nearer:
    """Another edge, nearer to the origin, that notes what it is asked."""

    def __init__(self, status=200):
        self.status, self.asked = status, []

    async def ask(self, request, inform=None):
        body = b"".join([chunk async for chunk in request.body])
        self.asked.append((request.method, request.target, body, request.headers))
        if self.status is None:
            raise OriginFailed("refused", reached=False)
        return Reply(self.status)


def passing(fleet, *nearer):
    named = [(f"edge-{number}", one) for number, one in enumerate(nearer)]
    return Admin(EdgeSettings(origin="http://origin:9", token=SECRET), fleet, nearer=named)


def test_purge_is_passed_on_nearest_to_the_origin_first_and_only_once():
    fleet, first = Workers(), Nearer()
    order = []
    ask_first, purge_here = first.ask, fleet.purge

    async def noted(*args):
        order.append("shield")
        return await ask_first(*args)

    async def noted_here(asked):
        order.append("here")
        return await purge_here(asked)

    first.ask, fleet.purge = noted, noted_here
    code, said = purge({"urls": ["http://a/x"], "tags": ["thé"]}, admin=passing(fleet, first))
    assert (code, said["passed_on"], order) == (200, ["edge-0"], ["shield", "here"])
    method, target, body, headers = first.asked[0]
    assert (method, target) == ("POST", b"/.samovar/purge") and BEARER in headers
    assert set(fleet.orders[0].tags) <= set(read_order(body).tags) and read_order(body).here
    assert purge(body, admin=passing(fleet, first))[1]["passed_on"] == [] and len(first.asked) == 1


def test_purge_does_not_wait_for_ever_for_another_edge():
    class Silent(Nearer):
        async def ask(self, request, inform=None):
            await asyncio.get_running_loop().create_future()

    told = EdgeSettings(origin="http://origin:9", token=SECRET)
    admin = Admin(told, Workers(), nearer=[("silent", Silent())], limit_s=0.01)
    code, said = purge({"all": True}, admin=admin)
    assert (code, said["failed"]) == (502, ["silent"])


@pytest.mark.parametrize("answer", [None, 401, 503])
def test_purge_that_another_edge_did_not_do_is_done_here_and_says_so(answer):
    fleet = Workers()
    code, said = purge({"all": True}, admin=passing(fleet, Nearer(), Nearer(answer)))
    assert (code, said["passed_on"], said["failed"], len(fleet.orders)) == (502, ["edge-0"], ["edge-1"], 1)
