"""The workers of a proxy, joined: a purge reaches whoever can be found, and whoever serves can be found."""

import asyncio
import socket
import sys

import pytest
from raw import every_loop, run  # noqa: F401

from samovar.edge.proxy.joined import Joined, PurgeIncomplete

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")


def worker(folder, number, told):
    """One of several, all in this process."""
    async def purge(**words):
        told.append(number)
        return 1

    made = Joined(str(folder), purge, 5.0)
    made._place = folder / f"{number}.sock"
    return made


def test_purge_reaches_every_worker_but_those_that_are_gone(tmp_path):
    async def test():
        told = []
        one, two, gone = (worker(tmp_path, number, told) for number in range(3))
        for each in (one, two, gone):
            await each.start()
        gone._server.close()
        await asyncio.sleep(0)
        (tmp_path / "4.sock").touch()  # whose worker was killed
        assert await one.purge(everything=True) == 2 == await two.purge(everything=True)
        assert sorted(told) == [0, 0, 1, 1]
        for each in (one, two):
            await each.stop()
        assert not list(tmp_path.glob("*"))

    run(test())


def test_worker_that_cannot_answer_makes_a_purge_fail(tmp_path):
    async def test():
        one = worker(tmp_path, 1, [])
        await one.start()
        async with await asyncio.start_unix_server(lambda reader, writer: writer.close(), tmp_path / "2.sock"):
            with pytest.raises(PurgeIncomplete, match="2"):
                await one.purge(everything=True)
        await one.stop()

    run(test())


def test_worker_is_not_found_before_it_listens(tmp_path, monkeypatch):
    """1. it has bound its socket. 2. another one purges, is refused, and takes it for a dead one's. 3. it listens."""
    found, real = [], socket.socket.listen

    def listen(end, *words):
        found.append([place.name for place in tmp_path.glob("*.sock")])
        real(end, *words)

    async def test():
        monkeypatch.setattr(socket.socket, "listen", listen)
        one, two = worker(tmp_path, 1, told), worker(tmp_path, 2, told)
        await one.start()
        await two.start()
        assert found == [[], ["1.sock"]]
        assert await one.purge(everything=True) == 2
        for each in (one, two):
            await each.stop()

    told = []
    asyncio.run(test())  # uvloop listens in C
