"""The status page of an edge: whole, well formed, and deaf to what strangers wrote into their URLs."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from samovar._base.counters import Latency
from samovar.edge.admin.fleet import Look, added
from samovar.edge.exchange.numbers import EdgeStats
from samovar.edge.admin.page import CSP, page, visible
from samovar.edge.admin.told import EdgeSettings

SETTINGS = EdgeSettings(origin="http://10.0.0.5:9000", shield="https://shield.example", maxweight="1GB",
                        token="a-secret-of-enough-letters")
HOSTILE = (
    "<script>alert(1)</script>", "\" onload=\"alert(1)", "' onload='x", "</code></td></table><img src=x onerror=alert(1)>",
    "javascript:alert(1)", "\u202egnp.exe", "\r\nSet-Cookie: a=b", "\x00\x1b[31m", "&lt;script&gt;", "x" * 5_000,
    "{{7*7}}${7*7}", "\ud800", "<!--", "]]>", "<base href=//evil>",
)


class Reader(HTMLParser):
    """The elements, their attributes and whether they close in order; and the text that one sees."""

    VOID = {"meta", "br", "link", "img", "base"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.wrong, self.seen = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, text):
        self.seen.append(text)


def stats(**words):
    return EdgeStats(**{"requests": 1_000, "hits": 700, "stale_hits": 60, "collapsed": 40, "misses": 100, "revalidated": 50,
                        "passes": 30, "stored": 90, "sent": 5_000_000, "origin_latency": Latency(150, 0.1, 0.08, 0.2, 1.5),
                        **words})


def look(pid=7, began=1_000.0, **words):
    return Look(pid, stats(**words), 123, 4_560_000, began)


def test_page_says_what_the_numbers_say():
    text = page(SETTINGS, [look(), look(8)], now=1_000 + 7_300)
    seen = " ".join(Reader(text).seen)
    assert "84.2 %" in seen and "2,000 requests" in seen and "2 hours" in seen and "9.12 MB" in seen and "246 keys" in seen
    assert "80 ms" in seen and "1.50 s" in seen and "https://shield.example → http://10.0.0.5:9000" in seen
    assert "a-secret-of-enough-letters" not in text


def test_page_is_whole_without_scripts_and_fetches_nothing():
    text = page(SETTINGS, [look(hot={"http://a/": 3}, tags={"news": 2})], now=2_000)
    reader = Reader(text)
    assert not reader.open and not reader.wrong and "script" not in reader.tags and "link" not in reader.tags
    assert not {name for name, _ in reader.attributes} & {"src", "href", "style", "action", "onload"}
    assert "url(" not in text and "@import" not in text and ("http-equiv", "refresh") in reader.attributes
    assert "prefers-color-scheme: dark" in text


def test_policy_allows_exactly_the_style_of_the_page():
    style = re.search("<style>(.*?)</style>", page(SETTINGS, [], now=0), flags=re.S).group(1)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in CSP


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12].encode("unicode_escape").decode())
def test_what_strangers_wrote_is_only_ever_text(text):
    plain = Reader(page(SETTINGS, [look(hot={"x": 3}, tags={"x": 2})], now=0))
    hostile = Reader(page(SETTINGS, [look(hot={text: 3}, tags={text: 2})], now=0))
    assert hostile.tags == plain.tags and hostile.attributes == plain.attributes and not hostile.wrong
    assert re.fullmatch(r"[ -~]*…?", visible(text)) and len(visible(text)) <= 161 * 6


def test_page_without_requests_or_workers_says_so():
    for looks in ([], [Look(1, EdgeStats())]):
        seen = " ".join(Reader(page(SETTINGS, looks, now=5)).seen)
        assert "–" in seen and "Nobody has asked for anything yet." in seen and "NaN" not in seen


def test_numbers_of_workers_add_up_and_the_slowest_is_shown():
    one, two = stats(hot={"a": 3, "b": 1}), stats(hot={"b": 9}, origin_latency=Latency(50, 0.5, 0.4, 0.5, 0.9))
    both = added([one, two], 1)
    assert (both.requests, both.hits, both.hot) == (2_000, 1_400, {"b": 10}) and both.hit_ratio == one.hit_ratio
    assert both.origin_latency == Latency(200, pytest.approx(0.2), 0.4, 0.5, 1.5)
    assert added([], 5) == EdgeStats()
