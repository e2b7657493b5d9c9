"""An access log that does not take its lines costs nothing but these."""

import asyncio
import os

import pytest
from raw import every_loop, get, proxied  # noqa: F401

from samovar.edge.proxy.limits import FrontLimits


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_access_log_on_a_full_disk_costs_its_lines_and_nothing_else(caplog):
    async def test(proxy):
        await proxy.ask(get("/"))
        while not proxy.edge.log.lost or "lost 1 lines" not in caplog.text:
            await asyncio.sleep(0.0009)
        assert (await proxy.ask(get("/")))[0] == 200
        slow = await proxy.connect()
        await slow.send(b"GET / HT")
        assert (await slow.response())[0] == 408

    proxied(test, access_log="/dev/full", limits=FrontLimits(body=10, head_s=0.25))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_access_log_that_nobody_reads_does_not_hold_up_answers(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    target = "/" + "x" * 1_000

    async def test(proxy):
        client = await proxy.connect()
        for _ in range(200):  # more than a pipe takes
            assert (await client.ask(get(target)))[0] == 200
            proxy.edge.log.flush()
        assert proxy.edge.log.lost
        os.close(end)

    proxied(test, access_log=str(path))


def test_access_log_has_a_line_for_what_is_refused(tmp_path):
    path = tmp_path / "log"

    async def test(proxy):
        client = await proxy.connect()
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.response())[0] == 400

    proxied(test, access_log=str(path))
    (line,) = path.read_text().splitlines()
    assert line.startswith("127.0.0.1 [") and '"-" 400 0 ' in line and line.endswith('"not exactly one Host"')
