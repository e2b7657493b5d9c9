"""`samovar edge` as anybody starts it: processes, signals, workers, the status page in a browser, the demonstration."""

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("http_sf")

from commanded import COMMAND, SECRET, browser, origin, running

from support import LIMIT, TESTS, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals and Unix sockets")]
HOSTILE = ("/<script>document.title='owned'</script>", "/\"onmouseover=alert(1)x=\"", "/<img/src=x/onerror=alert(1)>")


def workers(edge):
    """What each worker says of itself."""
    return json.loads(edge.ask("/stats", token=SECRET, port=edge.admin)[2])["workers"]


def test_purge_reaches_every_worker_and_the_numbers_are_of_all():
    with origin() as (pages, port), running(port, "--workers", "2", "--admin", "127.0.0.1:0", "--metrics") as edge:
        until(lambda: len(workers(edge)) == 2)
        seen = set()
        with ThreadPoolExecutor(16) as crowd:
            for _ in range(100):  # until both workers have the page
                seen.update(body for _, _, body in crowd.map(edge.ask, ["/news"] * 32))
                if len(seen) == 2:
                    break
        assert len(seen) == 2 and pages.asked == 2
        status, _, body = edge.purge(tags=["news"])
        assert (status, json.loads(body)["purged"]) == (200, 2)
        assert not any(edge.ask("/news")[2] in seen for _ in range(20))
        looks = workers(edge)
        assert len(looks) == 2 and sum(look["stats"]["purges"] for look in looks) == 2
        metrics = edge.ask("/metrics", token=SECRET, port=edge.admin)[2].decode()
        assert metrics.count("samovar_edge_requests_total{") == 2
        assert edge.ask("/", token=SECRET, port=edge.admin, Host="evil.example")[0] == 421
        assert edge.ask("/", port=edge.admin)[0] == 401 and edge.ask("/.samovar/")[2].startswith(b"page /.samovar/")


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_edge_ends_in_good_order_and_never_shows_its_token(sign, tmp_path):
    log = tmp_path / "log"
    with origin() as (_, port), running(port, "--access-log", str(log)) as edge:
        assert edge.ask("/news", token=SECRET)[0] == 200 and edge.ask("/news", method="PURGE", token=SECRET)[0] == 200
        assert edge.ask("/news", method="PURGE", token="wrong-wrong-wrong")[0] == 401
        command = open(f"/proc/{edge.process.pid}/cmdline").read() if os.path.exists("/proc/self") else ""
        status, said = edge.end(sign)
        assert status in (0, 130) and (status == 0 or sign == signal.SIGINT)
        assert SECRET not in said + log.read_text() + command and "Traceback" not in said
        assert log.read_text().count("PURGE") == 2


def dump(page, *words):
    """What a browser makes of a page: its DOM, after scripts, if there are any, have run."""
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               "--virtual-time-budget=1000", *words, page]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * LIMIT, check=True).stdout


def test_status_page_in_a_browser_shows_hostile_urls_as_text(tmp_path):
    with origin() as (_, port), running(port, "--admin", "127.0.0.1:0") as edge:
        for path in (*HOSTILE, "/news"):
            for _ in range(40):
                edge.ask(path)
        text = edge.ask("/", token=SECRET, port=edge.admin)[2].decode()
        with_basic = f"http://me:{SECRET}@127.0.0.1:{edge.admin}/"
        seen = dump(with_basic, "--dump-dom")
        assert "<title>samovar: 97.5 % from the cache</title>" in seen  # no script has changed it
        assert "<script" not in seen and "<img" not in seen and "onmouseover=alert" in seen and " onmouseover" not in seen
        assert "Asked for most" in seen and "news" in seen and "401" not in seen and "<script" not in text
        picture = tmp_path / "page.png"
        dump(with_basic, "--window-size=1100,1200", f"--screenshot={picture}")
        assert distinct_colours(picture.read_bytes()) > 40


def distinct_colours(png):
    """How many different lines of pixels a picture has: a blank one has one."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, width = 8, b"", 0
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IHDR":
            width, _, depth, colour = struct.unpack(">IIBB", png[at + 8:at + 18])
            stride = 1 + width * {2: 3, 6: 4}[colour] * depth // 8
        if kind == b"IDAT":
            data += png[at + 8:at + 8 + size]
        at += 12 + size
    lines = zlib.decompress(data)
    return len({lines[first:first + stride] for first in range(0, len(lines), stride)})


def test_demonstration_holds_what_it_claims():
    done = subprocess.run([*COMMAND, "--demo", "--json"], capture_output=True, text=True, timeout=4 * LIMIT)
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["held"], [step for step in found["steps"] if not step["held"]]
    figures = {step["name"]: step["figures"] for step in found["steps"]}
    assert figures["next"]["hits"] == 300 and figures["crowd"]["site_asked"] == 1 and figures["shield"]["site_asked"] == 1
    assert figures["purge"]["tula"] == 2 and figures["never seen"]["status"] in (502, 503, 504)


def test_demonstration_that_does_not_hold_fails(monkeypatch):
    from samovar._cli import edge_demo
    from samovar._lab.edge_demo import Step

    async def tell(world):
        yield Step("first", "title", "claim", "found", True)
        yield Step("second", "title", "claim", "found", False)

    class World:
        def start(self):
            pass

        close = start

    monkeypatch.setattr(edge_demo, "tell", tell)
    monkeypatch.setattr(edge_demo, "new_world", World)
    assert edge_demo.demonstrate(as_json=False) is False and edge_demo.demonstrate(as_json=True) is False


def test_soak_of_some_seconds_finds_nothing_wrong():
    done = subprocess.run([sys.executable, str(TESTS.parent / "bench" / "soak.py"), "--minutes", "0.06", "--clients", "24",
                           "--json"], capture_output=True, text=True, timeout=4 * LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == [] and found["requests"] > 100 and found["counts"]["warm"] > 20
