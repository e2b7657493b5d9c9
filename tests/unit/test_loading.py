"""get_or_set and its kin over a cache core: the two drivers, with threads and tasks from one barrier."""

import asyncio
import contextvars
import functools
import threading

import pytest

from samovar._base.errors import LoadTimeout
from samovar._base.flight import ENDED
from samovar._base.freshness import Freshness
from samovar._base.missing import MISSING
from samovar.app import loading
from samovar.app.background import TASKS, Threads
from samovar.app.context import LoadContext
from samovar._base import early
from samovar._base.early import gap
from samovar.app.factory import Single, required
from samovar.app.protocol import AGAIN, Ask, _end, join
from support import LIMIT, Crew, collect, run_async, together, until, wait_for

from cache_twin import (  # noqa: F401 - fixtures among them
    SIE, SWR, AsyncGate, Gate, clock, come_true, core, entered, locked, native, put,
)


# ------------------------------------------------------------------ one load

def test_herd_of_threads_makes_one_load(core):
    gate = Gate()
    crew = Crew(*[lambda: loading.get_or_set(core, "a", gate)] * 30)
    wait_for(gate.entered)
    until(lambda: core._counts()["coalesced"] == 29)
    gate.go.set()
    assert crew.join() == ["value"] * 30
    assert gate.calls == core._counts()["loads"] == 1
    assert core.peek("a") == "value"


def test_herd_of_tasks_loops_and_threads_makes_one_load(core):
    gate = AsyncGate()

    def loop():
        async def main():
            return await asyncio.gather(*(loading.aget_or_set(core, "a", gate) for _ in range(100)))

        return run_async(main())

    leader = Crew(loop)
    wait_for(gate.entered)
    crew = Crew(loop, loop, *[lambda: loading.get_or_set(core, "a", lambda: "another")] * 5)
    until(lambda: core._counts()["coalesced"] == 304)
    gate.go.set()
    assert leader.join() + crew.join() == [["value"] * 100] * 3 + ["value"] * 5
    assert gate.calls == 1


def test_storm_of_distinct_keys_ends(core):
    def run(seed):
        return [loading.get_or_set(core, (seed * number) % 101, lambda: number) for number in range(200)]

    together(*[lambda seed=seed: run(seed) for seed in range(1, 9)])
    assert core._counts()["loads"] == 101


def test_failure_reaches_all_and_the_next_tries_anew(core):
    error = ValueError("no")
    gate = Gate(error)
    crew = Crew(*[lambda: loading.get_or_set(core, "a", gate)] * 5)
    until(lambda: core._counts()["coalesced"] == 4)
    gate.go.set()
    assert crew.join(errors_too=True) == [error] * 5
    assert loading.get_or_set(core, "a", lambda: 1) == 1
    assert core._counts()["failures"] == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_interrupt_of_the_leader_is_not_the_others_failure(core, kind):
    gate = Gate(kind())
    leader = Crew(lambda: loading.get_or_set(core, "a", gate))
    wait_for(gate.entered)
    crew = Crew(*[lambda: loading.get_or_set(core, "a", lambda: "anew")] * 4)
    until(lambda: core._counts()["coalesced"] == 4)
    gate.go.set()
    assert [type(error) for error in leader.join(errors_too=True)] == [kind]
    assert crew.join() == ["anew"] * 4
    assert core._counts()["failures"] == 0


def test_factory_may_raise_stop_iteration(core):
    with pytest.raises(StopIteration):
        loading.get_or_set(core, "a", lambda: next(iter(())))


def test_load_that_asks_for_its_own_key_computes(core):
    def outer():
        return ["outer", loading.get_or_set(core, "a", lambda: "inner")]

    assert loading.get_or_set(core, "a", outer) == ["outer", "inner"]
    assert core.peek("a") == ["outer", "inner"]


def test_task_that_asks_for_its_own_key_computes(core):
    async def outer():
        return ["outer", await asyncio.create_task(loading.aget_or_set(core, "a", inner))]

    async def inner():
        return "inner"

    assert run_async(loading.aget_or_set(core, "a", outer)) == ["outer", "inner"]


def test_load_that_asks_for_its_own_stale_key_is_served_stale(core, clock):
    put(core, "a", "old", SWR)
    clock.now += 12
    seen = []
    assert loading.get_or_set(core, "a", lambda: seen.append(loading.get_or_set(core, "a", len, fresh=SWR)) or "new",
                              fresh=SWR) == "old"
    until(lambda: core.peek("a") == "new")
    assert seen == ["old"]


def test_circle_of_threads_computes(core):
    barrier = threading.Barrier(3)
    entered = threading.local()

    def load(number):
        if not hasattr(entered, "now"):
            entered.now = True
            barrier.wait(LIMIT)
            return [number, *loading.get_or_set(core, (number + 1) % 3, lambda: load((number + 1) % 3))]
        return [number]

    answers = together(*[lambda n=n: loading.get_or_set(core, n, lambda: load(n)) for n in range(3)])
    assert [answer[0] for answer in answers] == [0, 1, 2]


def test_circle_of_a_thread_and_a_task_computes(core):
    barrier = threading.Barrier(2)

    def blocking():
        barrier.wait(LIMIT)
        return ["thread", loading.get_or_set(core, "task", lambda: "short")]

    async def awaiting():
        barrier.wait(LIMIT)
        return ["task", await loading.aget_or_set(core, "thread", lambda: "short")]

    answers = together(lambda: loading.get_or_set(core, "thread", blocking),
                       lambda: run_async(loading.aget_or_set(core, "task", awaiting)))
    assert [answer[0] for answer in answers] == ["thread", "task"]


def test_blocking_call_in_a_coroutine_computes_what_its_own_loop_loads(core):
    async def main():
        gate = AsyncGate()
        task = asyncio.create_task(loading.aget_or_set(core, "a", gate))
        await entered(gate)
        assert loading.get_or_set(core, "a", lambda: "computed") == "computed"
        gate.go.set()
        assert await task == "value"

    run_async(main())


# ------------------------------------------------------------------ invalidation

@pytest.mark.parametrize("act", [lambda core: core.delete("a"), lambda core: core.clear(),
                                 lambda core: core._invalidate_tags(("t",), False)], ids=["delete", "clear", "tags"])
def test_those_who_joined_before_an_invalidation_get_the_value_and_later_ones_load_anew(core, act):
    old, new = Gate("old"), Gate("new")
    new.go.set()
    early = Crew(lambda: loading.get_or_set(core, "a", old, tags=("t",)))
    wait_for(old.entered)
    follower = Crew(lambda: loading.get_or_set(core, "a", old, tags=("t",)))
    until(lambda: core._counts()["coalesced"] == 1)
    act(core)
    late = Crew(lambda: loading.get_or_set(core, "a", new, tags=("t",)))
    until(lambda: core._counts()["misses"] >= 3)
    old.go.set()
    assert early.join() + follower.join() + late.join() == ["old", "old", "new"]
    assert core.peek("a") == "new"


def test_tags_from_the_result_fence_too(core):
    gate = Gate("old")

    def tagging(context):
        context.tags = ["user:1"]
        return gate()

    leader = Crew(lambda: loading.get_or_set(core, "a", tagging))
    wait_for(gate.entered)
    core._invalidate_tags(("user:1",), False)
    late = Crew(lambda: loading.get_or_set(core, "a", lambda: "new"))
    until(lambda: core._counts()["coalesced"] == 1)
    gate.go.set()
    assert leader.join() + late.join() == ["old", "new"]


def test_who_joined_after_an_invalidation_asks_again_though_its_tag_was_forgotten_meanwhile(core):
    gate = Gate("old")

    def load(context):
        context.tags = "x"
        return gate()

    leader = Crew(lambda: loading.get_or_set(core, "a", load))
    wait_for(gate.entered)
    core._invalidate_tags(("x",), False)
    follower = join(Ask(core), "a")
    gate.go.set()
    leader.join()
    for number in range(200):  # the load is over: what nobody carries is forgotten
        core._put(number, 1, None, (f"tag {number}",), None, False)
        core.delete(number)
    core._put("b", 1, None, ("x",), None, False)
    assert loading.drive(_end(Ask(core), follower), lambda request, about: ENDED) == (AGAIN, None)


# ------------------------------------------------------------------ the context

def test_context_sets_what_is_kept(core, clock):
    def load(context):
        assert isinstance(context, LoadContext)
        assert (context.key, context.has_stale, context.stale) == ("a", False, MISSING)
        context.ttl, context.tags, context.weight = "5s", {"x"}, 3
        return 1

    assert loading.get_or_set(core, "a", load, fresh=Freshness(ttl=100)) == 1
    [(key, value, left, tags, _, weight, keep)] = core._entries()
    assert (key, value, left, tags, weight, keep) == ("a", 1, 5.0, ("x",), 3, 0.0)
    assert core._counts()["weight"] == 3


def test_context_renews_what_is_not_modified(core, clock):
    value = ["old"]
    put(core, "a", value, SIE)
    clock.now += 12
    assert loading.get_or_set(core, "a", lambda context: context.not_modified(), fresh=SIE) is value
    assert core.peek("a") is value
    assert core._counts()["replaced"] == 0


@pytest.mark.parametrize("words", [{}, {"tags": ("caller",), "weight": 2}])
def test_context_keeps_tags_and_weight_of_what_is_not_modified(core, clock, words):
    core._put("a", "old", SIE, ("x", "y"), 7, False)
    clock.now += 12
    assert loading.get_or_set(core, "a", lambda context: context.not_modified(), fresh=SIE, **words) == "old"
    assert (core._entry("a")[3], core._entry("a")[5]) == (("x", "y"), 7)
    clock.now += 12

    def load(context):
        context.tags, context.weight = "z", 4
        return context.not_modified()

    assert loading.get_or_set(core, "a", load, fresh=SIE, **words) == "old"
    assert core._entry("a")[3] == ("z",)
    clock.now += 12

    def change(context):
        context.not_modified()
        return "new"

    assert loading.get_or_set(core, "a", change, fresh=SIE, **words) == "new"
    assert core._entry("a")[3] == words.get("tags", ())


def test_tag_of_what_is_not_modified_fences_its_renewal(core, clock):
    core._put("a", "old", SIE, ("x",), None, False)
    clock.now += 12

    def load(context):
        core._invalidate_tags(("x",), False)
        return context.not_modified()

    assert loading.get_or_set(core, "a", load, fresh=SIE) == "old"
    assert "a" not in core and loading.get_or_set(core, "a", lambda: "new", fresh=SIE) == "new"


def test_value_that_left_before_it_was_asked_for_what_it_carried_is_not_stored(core, clock):
    core._put("a", "old", SIE, ("x",), None, False)
    clock.now += 12
    maker = Single("test", lambda context: context.not_modified())
    ask = Ask(core, fresh=SIE)
    load = join(ask, "a")
    core._put("a", "newer", None, None, None, False)
    assert maker.begin([load]) == "old" and not load.said(ask, "old")[0]
    load.drop(ask)
    assert core.peek("a") == "newer"


def test_context_may_refuse_to_store(core):
    def load(context):
        context.do_not_store()
        return 1

    assert loading.get_or_set(core, "a", load) == 1
    assert "a" not in core
    assert core._counts()["failures"] == 0


@pytest.mark.parametrize("name, value, kind", [
    ("ttl", "soon", ValueError), ("ttl", True, TypeError), ("ttl", 0, ValueError), ("fresh", 5, TypeError),
    ("tags", [1], TypeError), ("tags", 5, TypeError), ("weight", "1", TypeError), ("weight", -1, ValueError)])
def test_context_refuses_what_cannot_be(name, value, kind):
    with pytest.raises(kind, match=f"LoadContext: {name}"):
        setattr(LoadContext("a"), name, value)


def test_context_without_an_old_value_says_so():
    with pytest.raises(LookupError, match="has_stale"):
        LoadContext("a").not_modified()


def test_factories_that_require_one_argument_get_the_context():
    class Methods:
        def none(self): ...
        def one(self, context): ...
        def __call__(self, context): ...

    def key_only(key): ...
    def with_context(key, context): ...

    assert [required(fn) for fn in (lambda: 1, lambda c: 1, lambda c=1: 1, lambda *c: 1, Methods().none, Methods().one,
                                    Methods(), functools.partial(key_only, 1), functools.partial(with_context, 1),
                                    functools.partial(with_context, key=1), dict, object())
            if callable(fn)] == [0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0]


def test_factory_that_requires_more_is_refused(core):
    with pytest.raises(TypeError, match="get_or_set: factory must take no argument, or one"):
        loading.get_or_set(core, "a", lambda x, y: 1)
    with pytest.raises(TypeError, match="factory must be callable"):
        loading.get_or_set(core, "a", 5)


def test_blocking_call_refuses_what_is_async(core):
    async def load():
        return 1

    for factory in (load, lambda: load()):
        with pytest.raises(TypeError, match="use aget_or_set"):
            loading.get_or_set(core, "a", factory)
    assert "a" not in core


@pytest.mark.parametrize("make", [locked, native])
def test_weigher_that_raises_fails_the_call_and_leaves_nothing(clock, make):
    core = make(clock, weigher=lambda key, value: 1 // value)
    with pytest.raises(ZeroDivisionError):
        loading.get_or_set(core, "a", lambda: 0)
    assert core._counts()["failures"] == 1
    assert loading.get_or_set(core, "a", lambda: 1) == 1


# ------------------------------------------------------------------ stale service

def test_stale_is_served_at_once_and_renewed_by_a_thread(core, clock):
    put(core, "a", "old", SWR)
    clock.now += 12
    gate = Gate("new")
    assert [loading.get_or_set(core, "a", gate, fresh=SWR) for _ in range(3)] == ["old"] * 3
    wait_for(gate.entered)
    gate.go.set()
    until(lambda: core.peek("a") == "new")
    assert (gate.calls, core._counts()["stale_hits"], core._counts()["misses"]) == (1, 3, 0)


def test_stale_is_served_at_once_and_renewed_by_a_task(core, clock):
    put(core, "a", "old", SWR)
    clock.now += 12
    who = contextvars.ContextVar("who")

    async def main():
        who.set("me")
        gate = AsyncGate("new")

        async def load():
            return await gate() + who.get()

        assert [await loading.aget_or_set(core, "a", load, fresh=SWR) for _ in range(3)] == ["old"] * 3
        gate.go.set()
        await come_true(lambda: core.peek("a") == "newme")
        assert gate.calls == 1

    run_async(main())
    assert len(TASKS) == 0


def test_stale_is_not_served_past_its_window(core, clock):
    put(core, "a", "old", Freshness(ttl=10, stale_while_revalidate=100))
    clock.now += 16
    assert loading.get_or_set(core, "a", lambda: "new", fresh=SWR) == "new"


def test_renewal_in_the_background_that_fails_is_said_and_counted(core, clock, caplog):
    put(core, "a", "old", SWR)
    clock.now += 12
    assert loading.get_or_set(core, "a", lambda: 1 // 0, fresh=SWR) == "old"
    until(lambda: core._counts()["failures"] == 1)
    until(lambda: "ZeroDivisionError" in caplog.text)
    assert [entry[:2] for entry in core._entries()] == [("a", "old")]


def test_renewal_is_dropped_when_the_bench_is_full(core, clock, monkeypatch):
    bench = Threads(1)
    monkeypatch.setattr(loading, "THREADS", bench)
    for key in "ab":
        put(core, key, "old", SWR)
    clock.now += 12
    gate = Gate("new")
    assert loading.get_or_set(core, "a", gate, fresh=SWR) == "old"
    wait_for(gate.entered)
    assert loading.get_or_set(core, "b", gate, fresh=SWR) == "old"
    gate.go.set()
    until(lambda: core.peek("a") == "new")
    assert (gate.calls, core._counts()["failures"], len(bench)) == (1, 0, 1)


def test_error_is_hidden_by_what_is_stale_within_its_window(core, clock):
    put(core, "a", "old", SIE)
    clock.now += 12
    assert loading.get_or_set(core, "a", lambda: 1 // 0, fresh=SIE) == "old"
    clock.now += 3
    with pytest.raises(ZeroDivisionError):
        loading.get_or_set(core, "a", lambda: 1 // 0, fresh=SIE)


def test_early_renewal_serves_what_is_fresh(core, clock, monkeypatch):
    fresh = Freshness(ttl=10, early=1.0)
    number, flight = core._join("a", object(), 1, fresh, 0.0)[1:3]
    core._settle(number, flight, "old", fresh, None, None, 2.0)
    monkeypatch.setattr(early.chance, "random", lambda: 1 - 2.718281828459045 ** -3)  # due 6 s before
    assert loading.get_or_set(core, "a", lambda: "new", fresh=fresh) == "old"
    assert core._counts()["loads"] == 1
    clock.now += 5
    assert loading.get_or_set(core, "a", lambda: "new", fresh=fresh) == "old"
    until(lambda: core.peek("a") == "new")
    assert core._counts()["hits"] == 2


def test_gap_is_beta_times_an_exponential_chance():
    assert gap(1.0, 1.0) == gap(0.0, 0.1) == 0.0
    assert gap(2.0, 0.5) == pytest.approx(1.3862943611198906)


# ------------------------------------------------------------------ time limits

@pytest.mark.parametrize("asks", ["blocking", "awaiting", "awaiting_plain"])
def test_hard_limit_ends_the_call_and_not_the_load(core, asks):
    gate = AsyncGate() if asks == "awaiting" else Gate()

    def ask(limit):
        if asks == "blocking":
            return loading.get_or_set(core, "a", gate, hard_timeout=limit)
        return loading.aget_or_set(core, "a", gate, hard_timeout=limit)

    async def main():
        with pytest.raises(LoadTimeout, match="'a' took longer than 0.02 s"):
            await ask("20ms")
        gate.go.set()
        assert await ask(LIMIT) == "value"
        await come_true(lambda: core.peek("a") == "value")

    if asks == "blocking":
        with pytest.raises(LoadTimeout, match="'a' took longer than 0.02 s"):
            ask("20ms")
        gate.go.set()
        assert ask(LIMIT) == "value"
        until(lambda: core.peek("a") == "value")
    else:
        run_async(main())
    assert gate.calls == 1


def test_soft_limit_serves_the_old_value_and_the_load_goes_on(core, clock):
    put(core, "a", "old", SIE)
    clock.now += 12
    gate = Gate("new")
    assert loading.get_or_set(core, "a", gate, fresh=SIE, soft_timeout="1ms") == "old"
    wait_for(gate.entered)
    gate.go.set()
    until(lambda: core.peek("a") == "new")


def test_soft_limit_without_an_old_value_waits(core):
    me = []
    assert loading.get_or_set(core, "a", lambda: me.append(threading.get_ident()) or 1, soft_timeout=0) == 1
    assert me == [threading.get_ident()]


def test_soft_limit_of_a_task_serves_the_old_value(core, clock):
    put(core, "a", "old", SIE)
    clock.now += 12

    async def main():
        gate = AsyncGate("new")
        assert await loading.aget_or_set(core, "a", gate, fresh=SIE, soft_timeout=0.001) == "old"
        gate.go.set()
        await come_true(lambda: core.peek("a") == "new")
        assert gate.cancelled == 0

    run_async(main())


def test_follower_gives_up_alone(core):
    gate = Gate()
    leader = Crew(lambda: loading.get_or_set(core, "a", gate))
    wait_for(gate.entered)
    with pytest.raises(LoadTimeout):
        loading.get_or_set(core, "a", gate, hard_timeout=0.01)
    gate.go.set()
    assert leader.join() == ["value"]


@pytest.mark.parametrize("name", ["soft_timeout", "hard_timeout"])
def test_time_limits_are_checked(core, name):
    with pytest.raises(ValueError, match=f"get_or_set: {name}"):
        loading.get_or_set(core, "a", lambda: 1, **{name: "later"})
    assert loading.get_or_set(core, "a", lambda: 1, **{name: float("inf")}) == 1


# ------------------------------------------------------------------ tasks

def test_cancelled_leader_and_waiters_harm_nobody(core):
    async def main():
        gate = AsyncGate()
        crowd = [asyncio.create_task(loading.aget_or_set(core, "a", gate)) for _ in range(5)]
        await entered(gate)
        crowd[0].cancel()
        crowd[3].cancel()
        await asyncio.wait([crowd[0], crowd[3]])
        gate.go.set()
        done = await asyncio.gather(*crowd, return_exceptions=True)
        assert [value == "value" for value in done] == [False, True, True, False, True]
        assert (gate.calls, gate.cancelled) == (1, 0)

    run_async(main())


def test_last_cancelled_waiter_cancels_the_work_and_the_next_leads_anew(core):
    async def main():
        gate = AsyncGate()
        crowd = [asyncio.create_task(loading.aget_or_set(core, "a", gate)) for _ in range(3)]
        await entered(gate)
        for task in crowd:
            task.cancel()
        late = asyncio.create_task(loading.aget_or_set(core, "a", gate))
        await come_true(lambda: gate.cancelled == 1)
        gate.go.set()
        assert await late == "value"
        assert gate.calls == 2

    run_async(main())
    assert core._counts()["failures"] == 0


def test_loop_that_closes_in_mid_flight_leaves_the_others_served(core):
    gate, stop = AsyncGate(), threading.Event()

    def lead():
        async def main():
            task = asyncio.create_task(loading.aget_or_set(core, "a", gate))
            while not stop.is_set():
                await asyncio.sleep(0.0005)
            return task

        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        collect()

    leader = Crew(lead)
    wait_for(gate.entered)
    crew = Crew(lambda: loading.get_or_set(core, "a", lambda: "anew"),
                lambda: run_async(loading.aget_or_set(core, "a", lambda: "anew")))
    until(lambda: core._counts()["coalesced"] == 2)
    stop.set()
    leader.join()
    assert crew.join() == ["anew"] * 2


def test_plain_factory_of_a_coroutine_runs_in_a_thread_with_its_context(core):
    who = contextvars.ContextVar("who")

    async def main():
        who.set("me")
        me = threading.get_ident()
        answer = await loading.aget_or_set(core, "a", lambda: (who.get(), threading.get_ident() != me))
        assert answer == ("me", True)

        async def load():
            return "awaited"

        assert await loading.aget_or_set(core, "b", lambda: load()) == "awaited"

    run_async(main())


def test_plain_factories_that_wait_for_each_other_never_starve(core, monkeypatch):
    """Every thread of the bench is taken by a body that asks for a key whose factory has no thread yet."""
    monkeypatch.setattr(loading, "THREADS", Threads(2))

    def outer(number):
        return loading.get_or_set(core, ("inner", number % 3), lambda: number % 3)

    async def main():
        jobs = [loading.aget_or_set(core, ("outer", n), functools.partial(outer, n)) for n in range(20)]
        jobs += [loading.aget_or_set(core, ("inner", n), lambda n=n: n) for n in range(3)]
        return await asyncio.gather(*jobs)

    assert run_async(main()) == [*(n % 3 for n in range(20)), 0, 1, 2]


def test_coroutine_driven_by_hand_loads(core):
    async def load():
        return 1

    call = loading.aget_or_set(core, "a", load)
    with pytest.raises(StopIteration) as stop:
        call.send(None)
    assert stop.value.value == core.peek("a") == 1
