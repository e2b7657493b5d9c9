"""Results built ahead in stores that are handed in, by several builders of which one builds; and what is refused."""

import asyncio
import contextlib
import os

import pytest

import samovar
from ahead import Work, ahead
from samovar import (
    AsyncCluster,
    Cache,
    Cluster,
    FileLease,
    Freshness,
    LocalNode,
    ManualClock,
    NotBuilt,
    OriginBudget,
    precompute,
)
from samovar.edge.precompute.builders import Precomputed
from samovar.edge.precompute.builders_async import AsyncPrecomputed
from samovar.memo.options import is_async
from support import LIMIT, fresh_python, run_async, wait_for

KINDS = pytest.mark.parametrize("kind", ["threads", "tasks"])


@pytest.fixture
def clock():
    return ManualClock()


def cluster(kind, nodes, clock):
    return (Cluster if kind == "threads" else AsyncCluster)(nodes, clock=clock, seed=1)


# ------------------------------------------------------------------ stores

@KINDS
def test_results_lie_in_a_cache_beside_others(kind, clock):
    store, work, other = Cache(clock=clock), Work(), Work()
    store["tea"] = "my own"
    with ahead(kind, work, keys=["tea"], store=store, name="one", clock=clock) as one, \
            ahead(kind, other, keys=["tea"], store=store, name="two", clock=clock) as two:
        one.rest()
        two.rest()
        one.touch("tea")
        one.rest()
        assert (one("tea"), two("tea"), store["tea"], len(store)) == ("tea 2", "tea 1", "my own", 3)


@KINDS
def test_cluster_keeps_results_for_all_and_one_builds(kind, clock):
    nodes, mine, theirs = [LocalNode("one", clock=clock)], Work(), Work()
    how = dict(keys=["tea", "film"], every="1m", name="pages", tags="pages", clock=clock)
    with ahead(kind, mine, store=cluster(kind, nodes, clock), **how) as here, \
            contextlib.ExitStack() as stack:
        here.rest()
        there = stack.enter_context(ahead(kind, theirs, store=cluster(kind, nodes, clock), **how))
        there.rest()
        assert there("tea") == "tea 1" == here("tea") and theirs.calls == []
        for _ in range(20):
            clock.advance(8)
            here.rest()
            there.rest()
        assert here("tea") == there("tea")
        built = len(mine.calls) + len(theirs.calls)
        assert 2 * 2 <= built - 2 <= 2 * 3  # twice or three times in 160 s, whoever it was
        assert there.status().worst_age <= 68
        there.touch("tea")  # what another one built before is not good enough
        there.rest()
        assert theirs.calls[-1] == "tea" and here("tea") == there("tea")


@KINDS
def test_reader_without_a_runner_reads_what_others_built(kind, clock):
    nodes, mine = [LocalNode("one", clock=clock)], Work()
    how = dict(keys=["tea"], every="1m", name="pages", clock=clock)
    with ahead(kind, mine, store=cluster(kind, nodes, clock), **how) as here:
        here.rest()
        reader = Work()
        with ahead(kind, reader, store=cluster(kind, nodes, clock), **how) as there:
            there.rest()
            there.stop()
            clock.advance(66)
            here.rest()
            assert there("tea") == "tea 2" and reader.calls == []


@KINDS
def test_result_that_no_node_keeps_is_a_failure_that_is_seen(kind, clock):
    class Huge(Work):
        def end(self, key, number):
            return os.urandom(2**14)

    with ahead(kind, Huge(), keys=["tea"], every="1m", name="pages", clock=clock,
               store=cluster(kind, [LocalNode("one", clock=clock, maxbytes=2**16)], clock)) as page:
        page.rest()
        status = page.status()
        assert (status.failing, status.unbuilt) == (1, 1) and isinstance(status.keys["tea"].error, NotBuilt)


@KINDS
def test_result_that_cannot_travel_is_a_failure_that_is_seen(kind, clock):
    class Odd(Work):
        def end(self, key, number):
            return object()

    with ahead(kind, Odd(), keys=["tea"], name="pages", clock=clock,
               store=cluster(kind, [LocalNode("one", clock=clock)], clock)) as page:
        page.rest()
        assert isinstance(page.status().keys["tea"].error, TypeError)


def test_plain_function_over_an_async_cluster_is_awaited(clock):
    async def main():
        @precompute(keys=["tea"], store=AsyncCluster([LocalNode("one", clock=clock)], clock=clock), name="pages", clock=clock)
        def page(key):
            return key.upper()

        assert isinstance(page, AsyncPrecomputed)
        async with page:
            assert await page.wait(LIMIT)
            return await page("tea")

    assert run_async(main()) == "TEA"


@KINDS
def test_lease_has_one_of_several_build_and_the_others_take_it(kind, clock, tmp_path):
    lease = FileLease(tmp_path, shared=True, keep="1h")
    how = dict(keys=["tea", "film"], every="1m", name="pages", clock=clock)
    mine, theirs = Work(), Work()
    with ahead(kind, mine, lease=lease, **how) as here:
        here.rest()
        with ahead(kind, theirs, lease=FileLease(tmp_path, shared=True, keep="1h"), **how) as there:
            there.rest()
            assert theirs.calls == [] and there("tea") == "tea 1"
            for _ in range(3):
                for seconds in (60, 1):  # who finds the other at work looks again within the second
                    clock.advance(seconds)
                    here.rest()
                    there.rest()
                assert here("tea") == there("tea")
            assert len(mine.calls) + len(theirs.calls) == 2 + 3 * 2
            theirs.gate("tea")[1].set()
            there.touch("tea")
            there.rest()
            assert theirs.calls[-1] == "tea"


@KINDS
def test_builder_that_finds_another_at_work_goes_on_with_other_keys(kind, clock, tmp_path):
    how = dict(keys=["tea", "film"], every="1m", name="pages", concurrency=1, clock=clock)
    mine, theirs = Work(), Work()
    with ahead(kind, mine, lease=FileLease(tmp_path, shared=True, keep="1h"), **how) as here, \
            ahead(kind, theirs, lease=FileLease(tmp_path, shared=True, keep="1h"), **how) as there:
        here.rest()
        there.rest()
        mine.calls.clear()
        theirs.calls.clear()
        entered, go = mine.gate("tea")
        here.touch("tea")
        wait_for(entered)
        there.touch("tea")
        there.touch("film")
        there.rest()
        assert theirs.calls == ["film"]  # the other one is asked for again, later
        go.set()
        here.rest()
        clock.advance(1)
        there.rest()
        assert theirs.calls == ["film", "tea"] and there("tea") == "tea 1"


# ------------------------------------------------------------------ loops, forks, leaving

def test_loop_that_ends_without_a_stop_leaves_nothing_under_way(clock):
    calls = []

    @precompute(keys=["tea"], clock=clock)
    async def page(key):
        calls.append(key)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return len(calls)

    async def first():
        await page.start()
        while not calls:
            await asyncio.sleep(0)

    async def second():
        async with page:
            assert await page.wait(LIMIT)
            return await page("tea")

    run_async(first())
    assert not page.running
    assert run_async(second()) == 2


@pytest.mark.parametrize("steps", range(6))
def test_stop_at_any_step_of_the_loop_leaves_nothing_under_way(clock, steps):
    @precompute(keys=lambda: ["tea", "film"], concurrency=1, clock=clock)
    async def page(key):
        await asyncio.sleep(0)
        return key

    async def main():
        for _ in range(3):
            await page.start()
            for _ in range(steps):
                await asyncio.sleep(0)
            await page.stop(drain=False)
            assert not page.running and page.status().keys_error is None
        async with page:
            assert await page.wait(LIMIT) and await page.built("tea") and await page.built("film")

    run_async(main())


def test_stop_in_another_loop_says_so(clock):
    @precompute(keys=["tea"], clock=clock)
    async def page(key):
        return key

    async def main():
        await page.start()
        with pytest.raises(RuntimeError, match="started in another event loop"):
            await asyncio.to_thread(asyncio.run, page.stop())
        await page.stop()

    run_async(main())


def test_builder_does_not_run_in_the_child_of_a_fork_until_it_is_started():
    out = fresh_python("""
import os, sys, threading
from samovar import ManualClock, precompute
clock, entered, go = ManualClock(), threading.Event(), threading.Event()

@precompute(keys=["tea", "film"], every=60, concurrency=1, clock=clock)
def page(key):
    if key == "tea" and not go.is_set():
        entered.set()
        assert go.wait(60)
    return f"{key} by {os.getpid()}"

page.start()
assert entered.wait(60)
child = os.fork()
if child == 0:
    go.set()
    assert not page.running and page.status().building == 0
    clock.advance(1)
    page.start()
    assert page.wait(60) and page("tea") == f"tea by {os.getpid()}", page.status()
    assert page.stop()
    os._exit(0)
go.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert page.wait(60) and page("film") == f"film by {os.getpid()}" and page.stop()
print("done")
""")
    assert out.strip() == "done"


# ------------------------------------------------------------------ arguments

@pytest.mark.parametrize("how, error, says", [
    (dict(keys=None), TypeError, "keys must be hashable keys in a list"),
    (dict(keys="tea"), TypeError, "keys must be hashable keys in a list"),
    (dict(keys=[[]]), TypeError, "keys must be hashable keys in a list"),
    (dict(every=0), ValueError, "every must be more than 0"),
    (dict(every="soon"), ValueError, "every must be"),
    (dict(concurrency=0), ValueError, "concurrency must be an integer of 1 or more"),
    (dict(fresh="5m"), TypeError, "fresh must be a Freshness"),
    (dict(fresh=Freshness(tti=5)), ValueError, "fresh must be without tti"),
    (dict(every=60, fresh=Freshness(ttl=30)), ValueError, "fresh must have a ttl of `every`, 60 s, or more, not 30 s"),
    (dict(store={}), TypeError, "store must be a Cache, Cluster or AsyncCluster"),
    (dict(store=Cache(), budget=OriginBudget(1)), ValueError, r"budget is for the store of its own.*Cache\(budget=...\)"),
    (dict(budget=5), TypeError, "budget must be an OriginBudget"),
    (dict(lease=5, name="a"), TypeError, "lease must be a FileLease"),
    (dict(tags=5), TypeError, "tags must be"),
    (dict(name=5), TypeError, "name must be text"),
    (dict(clock=5), TypeError, "clock must be callable"),
    (dict(store=Cache()), ValueError, r"needs a name, the same in every process: precompute\(name=...\)"),
])
def test_bad_argument_is_named(how, error, says):
    with pytest.raises(error, match=says):
        precompute(**{"keys": ["tea"], **how})(lambda key: key)


def test_function_that_cannot_be_used_is_refused():
    with pytest.raises(TypeError, match="fn must be callable"):
        precompute(keys=["tea"])(5)

    async def page(key):
        return key

    async def keys():
        return ["tea"]

    with pytest.raises(TypeError, match="a Cluster blocks; give it an AsyncCluster"):
        precompute(keys=["tea"], store=Cluster([LocalNode("one")]), name="p")(page)
    with pytest.raises(TypeError, match="keys must be a plain function"):
        precompute(keys=keys)(lambda key: key)


@precompute(keys=["tea"], every="1m")
def of_this_module(key):
    return key


def test_function_is_pickled_and_copied_by_name():
    import copy
    import pickle

    assert pickle.loads(pickle.dumps(of_this_module)) is of_this_module is copy.deepcopy(of_this_module)


def test_async_results_are_known_to_be_awaited():
    @precompute(keys=["tea"])
    async def page(key):
        return key

    cache = Cache()
    assert run_async(cache.aget_or_set("tea", lambda: page("tea"))) == "tea"
    assert is_async(page)


def test_functions_of_a_module_need_no_name():
    assert precompute(keys=["tea"], store=Cache())(run_async)._plan.name == "support.run_async"
    assert isinstance(precompute(keys=["tea"])(len), Precomputed)


def test_async_keys_are_awaited(clock):
    async def keys():
        return ["tea"]

    @precompute(keys=keys, clock=clock)
    async def page(key):
        return key.upper()

    async def main():
        async with page:
            assert await page.wait(LIMIT)
            return dict(page.status().keys)

    assert set(run_async(main())) == {"tea"}


def test_not_built_survives_pickling():
    import pickle

    error = pickle.loads(pickle.dumps(NotBuilt("no tea", 3, 1.5)))
    assert (str(error), error.failures, error.retry_after) == ("no tea", 3, 1.5)
    assert isinstance(error, samovar.SamovarError)
