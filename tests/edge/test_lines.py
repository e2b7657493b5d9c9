"""Lines before the origin: whose client leaves gives his place up at once, and nobody is asked for him; who may have left
steps behind; the others keep theirs. Against a running proxy over raw sockets, on each event loop.
"""

import asyncio

import pytest
from raw import FRESH, Running, answer, every_loop, get, reset, run, within  # noqa: F401

from samovar import OriginBudget
from samovar.edge.contracts import OriginFailed
from samovar.edge.proxy.connection import Patience
from samovar.edge.proxy.limits import UpstreamLimits
from samovar.edge.proxy.pool import Pool
from samovar.edge.wish import Wish, Withdrawn
from support import run_async

LINES = ["connections", "budget"]


class Narrow:
    """A proxy with one place at its origin, which somebody holds until `let_go`. line: what is narrow."""

    def __init__(self, line, **words):
        self.go = asyncio.Event()
        self.budget = OriginBudget(1) if line == "budget" else None
        words = {"exchange": {"budget": self.budget}} if self.budget else {
            "upstream": UpstreamLimits(connections=1, **words)}
        self.proxy = Running(self._answer, **words)

    async def _answer(self, reader, writer, number, head):
        if b"/first" in head:
            await self.go.wait()
        writer.write(answer(b"%d" % number, FRESH))

    async def __aenter__(self):
        await self.proxy.__aenter__()
        self.holder = await self.ask("/first")
        await self.until(lambda: self.proxy.origin.heads)
        return self

    async def __aexit__(self, *exc):
        await self.proxy.__aexit__(*exc)

    def in_line(self):
        return self.budget.stats().queued if self.budget else len(self.proxy.edge._upstreams[0].pool._waiters)

    def behind(self):
        return len(self.proxy.edge._upstreams[0].pool._behind)

    async def until(self, true):
        while not true():
            await asyncio.sleep(0.0005)

    async def ask(self, target, **words):
        """A client that has asked, and waits."""
        client = await self.proxy.connect()
        await client.send(get(target, **words))
        return client

    async def let_go(self):
        self.go.set()
        assert (await self.holder.response())[2] == b"0"
        await self.proxy.quiet()


def leave(client, how):
    if how == "resets":
        reset(client.writer)
    else:
        client.close()


@pytest.mark.parametrize("line,how", [("connections", "resets"), ("budget", "resets"), ("budget", "closes")])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_client_that_leaves_gives_up_its_place_and_the_origin_is_not_asked_for_it(line, how, method):
    async def test():
        async with Narrow(line) as narrow:
            client = await narrow.ask("/left", method=method)
            await narrow.until(narrow.in_line)
            leave(client, how)
            await narrow.until(lambda: not narrow.in_line() and len(narrow.proxy.state.tasks) == 1)
            assert not narrow.go.is_set()
            await narrow.let_go()
            assert narrow.proxy.origin.targets() == [b"/first"]
            numbers = narrow.proxy.edge.exchange.numbers
            assert numbers.aborted + numbers.errors == 1 and numbers.failures == 0

    run(test())


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_client_that_closes_gives_up_its_place_to_those_who_came_later(method):
    async def test():
        async with Narrow("connections") as narrow:
            client = await narrow.ask("/left", method=method)
            await narrow.until(narrow.in_line)
            leave(client, "closes")
            await narrow.until(narrow.behind)
            assert not narrow.in_line()
            late = await narrow.ask("/late")
            await narrow.until(narrow.in_line)
            await narrow.let_go()
            assert (await late.response())[2] == b"1"
            assert narrow.proxy.origin.targets() == [b"/first", b"/late", b"/left"]

    run(test())


@pytest.mark.parametrize("line", LINES)
def test_place_that_others_wait_for_is_kept_until_the_last_of_them_leaves(line):
    async def test():
        async with Narrow(line) as narrow:
            numbers = narrow.proxy.edge.exchange.numbers
            clients = []
            for count in range(3):  # the first leads
                clients.append(await narrow.ask("/wanted"))
                await narrow.until(lambda: numbers.waiting == count and narrow.in_line())
            leave(clients[0], "resets")
            leave(clients[1], "resets")
            await narrow.until(lambda: numbers.waiting == 1)
            assert narrow.in_line() == 1
            await narrow.let_go()
            assert (await clients[2].response())[2] == b"1"
            assert narrow.proxy.origin.targets() == [b"/first", b"/wanted"]

    run(test())


@pytest.mark.parametrize("line", LINES)
def test_last_of_a_crowd_that_leaves_gives_up_its_place_and_the_next_to_ask_takes_another(line):
    async def test():
        async with Narrow(line) as narrow:
            numbers = narrow.proxy.edge.exchange.numbers
            clients = [await narrow.ask("/wanted")]
            await narrow.until(narrow.in_line)
            clients.append(await narrow.ask("/wanted"))
            await narrow.until(lambda: numbers.waiting)
            for client in clients:
                leave(client, "resets")
            await narrow.until(lambda: not narrow.in_line() and not numbers.waiting)
            late = await narrow.ask("/wanted")
            await narrow.until(narrow.in_line)
            await narrow.let_go()
            assert (await late.response())[2] == b"1"

    run(test())


def test_who_waits_for_an_answer_that_others_asked_for_leaves_at_once():
    async def test():
        async with Narrow("connections") as narrow:
            numbers = narrow.proxy.edge.exchange.numbers
            client = await narrow.ask("/first")
            await narrow.until(lambda: numbers.waiting)
            leave(client, "resets")
            await narrow.until(lambda: not numbers.waiting and len(narrow.proxy.state.tasks) == 1)
            await narrow.let_go()

    run(test())


def test_who_asks_first_may_leave_while_the_origin_works_and_the_answer_is_stored():
    async def test():
        async with Narrow("connections") as narrow:
            leave(narrow.holder, "resets")
            await narrow.until(lambda: not narrow.proxy.state.connections)
            narrow.go.set()
            await narrow.proxy.quiet()
            assert "hit" in (await narrow.proxy.ask(get("/first")))[1]["cache-status"]

    run(test())


def test_client_that_closed_its_side_hears_that_it_has_no_place_in_the_line_of_a_budget():
    async def test():
        async with Narrow("budget") as narrow:
            client = await narrow.ask("/half")
            await narrow.until(narrow.in_line)
            client.writer.write_eof()
            status, fields, _ = await client.response()
            assert status == 503 and "retry-after" in fields and not narrow.in_line()
            early = await half(narrow, "/half")
            assert (await early.response())[0] == 503
            crowd = await narrow.ask("/first")  # but what others asked for it still gets
            crowd.writer.write_eof()
            await narrow.until(lambda: narrow.proxy.edge.exchange.numbers.waiting)
            narrow.go.set()
            assert (await crowd.response())[2] == b"0"

    run(test())


async def half(narrow, target, **words):
    """A client that closes its side behind its request, as `printf ... | nc -N` does."""
    client = await narrow.proxy.connect()
    client.writer.write(get(target, **words))
    client.writer.write_eof()
    return client


@pytest.mark.parametrize("when", ["at once", "in line"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_client_that_closed_its_side_gets_its_answer_behind_all_others(when, method):
    async def test():
        async with Narrow("connections") as narrow:
            if when == "at once":
                client = await half(narrow, "/half", method=method)
            else:
                client = await narrow.ask("/half", method=method)
                await narrow.until(narrow.in_line)
                client.writer.write_eof()
            await narrow.until(narrow.behind)
            late = await narrow.ask("/late")
            await narrow.until(narrow.in_line)
            await narrow.let_go()
            assert [(await one.response())[:3:2] for one in (late, client)] == [(200, b"1"), (200, b"2")]

    run(test())


@pytest.mark.parametrize("when", ["at once", "in line"])
def test_client_that_closed_its_side_gets_what_is_stale_where_it_has_no_place(when):
    async def test():
        async with Narrow("budget") as narrow:
            await narrow.let_go()
            assert (await narrow.proxy.ask(get("/half")))[2] == b"1"
            await narrow.proxy.edge.exchange.purge(urls="http://h/half", soft=True)
            narrow.go.clear()
            holder = await narrow.ask("/first?again")
            await narrow.until(lambda: narrow.budget.stats().running == 1)
            if when == "at once":
                client = await half(narrow, "/half")
            else:
                client = await narrow.ask("/half")
                await narrow.until(narrow.in_line)
                client.writer.write_eof()
            status, fields, body = await client.response()
            assert (status, body) == (200, b"1") and "fwd=stale" in fields["cache-status"] and not narrow.in_line()
            narrow.go.set()
            assert (await holder.response())[0] == 200

    run(test())


def test_client_that_closed_its_side_gets_its_answer_where_nobody_waits():
    async def test():
        async with Narrow("connections") as narrow:
            await narrow.let_go()
            assert (await (await half(narrow, "/half")).response())[2] == b"1"
            assert (await (await half(narrow, "/half")).response())[2] == b"1"

    run(test())


def test_answer_that_somebody_else_wants_too_steps_back_into_the_line():
    async def test():
        async with Narrow("connections") as narrow:
            numbers = narrow.proxy.edge.exchange.numbers
            client = await half(narrow, "/wanted")
            await narrow.until(narrow.behind)
            other = await narrow.ask("/wanted")
            await narrow.until(lambda: numbers.waiting and narrow.in_line() and not narrow.behind())
            leave(other, "resets")
            await narrow.until(lambda: narrow.behind() and not narrow.in_line())
            await narrow.let_go()
            assert (await client.response())[2] == b"1"

    run(test())


def test_line_that_is_full_has_room_for_who_is_there_in_place_of_who_may_have_left():
    async def test():
        async with Narrow("connections", queue=1) as narrow:
            client = await half(narrow, "/half")
            await narrow.until(narrow.behind)
            refused = await half(narrow, "/another")
            assert (await refused.response())[0] == 504
            late = await narrow.ask("/late")
            await narrow.until(narrow.in_line)
            assert (await client.response())[0] == 504 and not narrow.behind()
            assert (await narrow.proxy.ask(get("/later")))[0] == 504
            await narrow.let_go()
            assert (await late.response())[2] == b"1"

    run(test())


@pytest.mark.parametrize("first", ["place", "leave"])
def test_place_that_comes_in_the_moment_of_leaving_is_not_lost(first):
    class Connection:
        reusable = True

        def is_silent(self):
            return True

        def rest(self):
            return True

        def abort(self):
            pass

    async def connect(patience):
        return Connection()

    async def test():
        pool = Pool(connect, size=1, queue=1, queue_s=5.0, idle_s=5.0)
        held = await pool.take(Patience(5.0), Wish())
        wish = Wish()
        waiter = asyncio.create_task(pool.take(Patience(5.0), wish))
        while not pool._waiters:
            await asyncio.sleep(0)
        moves = [lambda: pool.give(held), wish.withdraw]
        for move in moves if first == "place" else reversed(moves):
            move()
        with pytest.raises(Withdrawn):
            await waiter
        assert not waiter.cancelled()
        assert await within(pool.take(Patience(5.0), Wish())) is held
        with pytest.raises(Withdrawn):  # one that left before does not begin to wait
            await pool.take(Patience(5.0), wish)
        pool.close()

    run_async(test())


def test_wait_that_is_over_in_time_and_withdrawn_at_once_says_so_and_leaves_the_task_uncancelled():
    async def test():
        wish, loop = Wish(), asyncio.get_running_loop()

        async def waits():
            with pytest.raises((Withdrawn, OriginFailed)), wish.in_line():
                await Patience(5.0).wait(loop.create_future(), 0.001, "too long")
            assert not asyncio.current_task().cancelling()
            await asyncio.sleep(0)

        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        loop.call_later(0.001, wish.withdraw)
        await within(task)

    run_async(test())
