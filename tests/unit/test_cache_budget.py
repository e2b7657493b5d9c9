"""Caches and memoized functions within an origin's budget: what is served, what waits, what is refused, what is counted."""

import asyncio
import contextvars
import logging
import threading

import pytest

from samovar import Cache, Freshness, LoadTimeout, ManualClock, OriginBudget, OriginBusy, cached, memoize
from support import Crew, run_async, together, until, wait_for

WINDOWS = pytest.mark.parametrize("fresh", [
    Freshness(ttl=10, stale_while_revalidate=5), Freshness(ttl=10, stale_if_error=5),
    Freshness(ttl=10, stale_while_revalidate=1, stale_if_error=5),
], ids=["while_revalidate", "if_error", "both"])


class Holder:
    """Somebody who has all places, until he lets go."""

    def __init__(self, budget, count=1):
        self.budget = budget
        self.places = together(*[budget.enter] * count)

    def let_go(self):
        for place in self.places:
            place.leave()


def whole(budget):
    stats = budget.stats()
    return (stats.running, stats.queued) == (0, 0)


def queued(budget, count):
    until(lambda: budget.stats().queued == count)


async def every_turn(promise):
    while not promise():
        await asyncio.sleep(0)


class Failure(Exception):
    pass


@pytest.mark.parametrize("make", [Cache, memoize], ids=["Cache", "memoize"])
def test_what_is_no_budget_is_refused(make):
    for wrong in (8, OriginBudget, object()):
        with pytest.raises(TypeError, match="budget must be an OriginBudget, or what has its verbs, not"):
            make(budget=wrong)


def test_memoize_with_a_budget_coalesces_and_keeps_something():
    with pytest.raises(ValueError, match="coalesce must be True with a budget"):
        memoize(budget=OriginBudget(1), coalesce=False)
    with pytest.raises(ValueError, match="maxsize must be 1 or more"):
        memoize(budget=OriginBudget(1), maxsize=0)


# ------------------------------------------------------------------ every verb goes through it

def verbs(cache, key, seen):
    """All ways to load a key, blocking and awaited."""
    def load(*_):
        seen.append(cache._gate.stats().running)
        return "value"

    async def aload(*_):
        return load()

    many = lambda keys: dict.fromkeys(keys, load())  # noqa: E731
    return {
        "get_or_set": lambda: cache.get_or_set(key, load),
        "get_or_set with a limit": lambda: cache.get_or_set(key, load, hard_timeout=20),
        "refresh": lambda: cache.refresh(key, load),
        "get_or_set_many": lambda: cache.get_or_set_many([key, (key, 2)], many),
        "warm": lambda: cache.warm([key], load),
        "aget_or_set": lambda: run_async(cache.aget_or_set(key, aload)),
        "aget_or_set of a plain function": lambda: run_async(cache.aget_or_set(key, load)),
        "arefresh": lambda: run_async(cache.arefresh(key, aload)),
        "aget_or_set_many": lambda: run_async(cache.aget_or_set_many([key, (key, 2)], many)),
        "awarm": lambda: run_async(cache.awarm([key], aload)),
    }


@pytest.mark.parametrize("verb", verbs(None, None, None))
def test_every_verb_loads_in_a_place_and_gives_it_back(verb):
    budget, seen = OriginBudget(1), []
    cache = Cache(budget=budget)
    verbs(cache, "tea", seen)[verb]()
    stats = budget.stats()
    assert seen == [1] and (stats.running, stats.entered) == (0, 1)
    assert cache["tea"] == "value"


@pytest.mark.parametrize("verb", [verb for verb in verbs(None, None, None) if "warm" not in verb])
def test_every_verb_says_that_the_origin_is_busy(verb):
    budget, seen = OriginBudget(1, max_queue=0), []
    cache = Cache(budget=budget)
    holder = Holder(budget)
    with pytest.raises(OriginBusy):
        verbs(cache, "tea", seen)[verb]()
    stats = cache.stats()
    assert seen == [] and stats.failures == 0 and stats.refused == (2 if "many" in verb else 1)
    holder.let_go()
    assert whole(budget) and "tea" not in cache


def test_hit_needs_no_place():
    budget = OriginBudget(1, max_queue=0)
    cache = Cache(budget=budget)
    memo = memoize(lambda x: [x], budget=budget)
    cache["tea"], answer = "hot", memo(1)
    Holder(budget)
    assert cache.get_or_set("tea", pytest.fail) == "hot" and memo(1) is answer


def test_failing_load_gives_its_place_back_and_is_counted_as_failed():
    budget = OriginBudget(1, breaker=2)
    cache = Cache(budget=budget)

    def fail():
        raise Failure

    for _ in range(2):
        with pytest.raises(Failure):
            cache.get_or_set("tea", fail)
    assert whole(budget) and cache.stats().failures == 2 and budget.stats().breaker == "open"
    with pytest.raises(OriginBusy):
        cache.get_or_set("tea", fail)
    assert cache.stats().failures == 2 and cache.stats().refused == 1


def test_caches_memos_and_cached_functions_share_one_bound():
    budget, running, most, lock = OriginBudget(3, queue_timeout=60), [], [], threading.Lock()
    cache, other = Cache(budget=budget), Cache(budget=budget)

    def origin(x):
        with lock:
            running.append(x)
            most.append(len(running))
        with lock:
            running.remove(x)
        return x

    memo = memoize(origin, budget=budget)
    function = cached(other)(origin)
    jobs = [job for x in range(30) for job in (lambda x=x: memo(x), lambda x=x: function(x),
                                               lambda x=x: cache.get_or_set(x, lambda: origin(x)))]
    together(*jobs)
    assert max(most) <= 3 and budget.stats().entered == 90 and budget.stats().most <= 3 and whole(budget)


# ------------------------------------------------------------------ over the budget

@WINDOWS
@pytest.mark.parametrize("how", ["Cache", "Cache awaited", "memoize"])
def test_stale_is_served_at_once(fresh, how, caplog):
    budget, clock = OriginBudget(1, queue_timeout=60), ManualClock()
    cache = Cache(fresh=fresh, clock=clock, budget=budget)
    memo = memoize(lambda x: ["new"], fresh=fresh, clock=clock, budget=budget)
    cache["tea"] = old = ["old"]
    memo.cache_set(old, "tea")
    holder = Holder(budget)
    clock.advance(12)
    with caplog.at_level(logging.WARNING, "samovar"):
        if how == "Cache":
            assert cache.get_or_set("tea", pytest.fail) is old
        elif how == "memoize":
            assert memo("tea") is old
        else:
            async def main():
                assert await cache.aget_or_set("tea", pytest.fail) is old
                await every_turn(lambda: cache.stats().refused)
            run_async(main())
        stats = memo.cache_stats if how == "memoize" else cache.stats
        until(lambda: stats().refused == 1)
    assert stats().failures == 0 and budget.stats().refused_busy == 1 and not caplog.records
    holder.let_go()
    assert whole(budget)


def test_stale_beyond_its_window_waits_in_the_queue():
    budget, clock = OriginBudget(1, queue_timeout=60), ManualClock()
    cache = Cache(fresh=Freshness(ttl=10, stale_while_revalidate=5), clock=clock, budget=budget)
    cache["tea"] = "old"
    holder = Holder(budget)
    clock.advance(15)
    crew = Crew(lambda: cache.get_or_set("tea", lambda: "new"))
    queued(budget, 1)
    holder.let_go()
    assert crew.join() == ["new"] and (cache.stats().queued, cache.stats().refused) == (1, 0)


def test_refresh_waits_though_there_is_something_fresh():
    budget = OriginBudget(1, queue_timeout=60)
    cache = Cache(fresh=Freshness(ttl="1h", early=1.0, stale_if_error="1h"), budget=budget)
    memo = memoize(lambda x: "new", fresh=Freshness(ttl="1h", early=1.0, stale_if_error="1h"), budget=budget)
    cache["tea"] = "old"
    memo.cache_set("old", "tea")
    holder = Holder(budget)
    crew = Crew(lambda: cache.refresh("tea", lambda: "new"), lambda: memo.cache_refresh("tea"))
    queued(budget, 2)
    holder.let_go()
    assert crew.join() == ["new", "new"] and budget.stats().refused == 0


def test_early_renewal_gives_way(monkeypatch):
    """Nobody needs it yet, and it shall not hold a thread in the queue."""
    budget, clock = OriginBudget(1, queue_timeout=60), ManualClock()
    cache = Cache(fresh=Freshness(ttl=100, early=1.0), clock=clock, budget=budget)
    monkeypatch.setattr("samovar.app.working.stopwatch", clock)
    cache.get_or_set("tea", lambda: clock.advance(50) and "old")
    monkeypatch.undo()
    holder = Holder(budget)
    clock.advance(99)
    monkeypatch.setattr("samovar.app.loading.gap_of", lambda fresh: 5.0)
    assert cache.get_or_set("tea", pytest.fail) == "old"
    until(lambda: cache.stats().refused == 1)
    assert cache.stats().early == 1 and budget.stats().queued == 0
    holder.let_go()
    assert cache.get_or_set("tea", lambda: "new") == "old"
    until(lambda: cache.peek("tea") == "new")
    assert cache.stats().early == 2


def test_time_in_the_queue_is_no_cost_of_the_load(monkeypatch):
    budget, clock = OriginBudget(1, queue_timeout=60), ManualClock()
    cache = Cache(budget=budget)
    holder = Holder(budget)
    monkeypatch.setattr("samovar.app.working.stopwatch", clock)
    crew = Crew(lambda: cache.get_or_set("tea", lambda: clock.advance(2)))
    queued(budget, 1)
    clock.advance(1000)
    holder.let_go()
    crew.join()
    assert cache.stats().load_latency.mean == pytest.approx(2.0, rel=0.05)


def test_limits_of_the_caller_hold_in_the_queue():
    budget, clock = OriginBudget(1, queue_timeout=60), ManualClock()
    cache = Cache(fresh=Freshness(ttl=10), clock=clock, budget=budget)
    holder = Holder(budget)
    with pytest.raises(LoadTimeout):
        cache.get_or_set("tea", lambda: "hot", hard_timeout=0.01)
    with pytest.raises(LoadTimeout):
        run_async(cache.aget_or_set("coffee", lambda: "black", hard_timeout=0.01))
    queued(budget, 1)  # the thread's goes on in the background; the task's loop is closed, and with it its load
    holder.let_go()
    until(lambda: "tea" in cache and whole(budget))


def test_crowd_of_one_key_takes_one_place():
    budget = OriginBudget(1, queue_timeout=60)
    cache = Cache(budget=budget)
    holder = Holder(budget)
    crew = Crew(*[lambda: cache.get_or_set("tea", object)] * 20)
    until(lambda: cache.stats().coalesced == 19)
    assert budget.stats().queued == 1
    holder.let_go()
    assert len(set(map(id, crew.join()))) == 1 and budget.stats().entered == 2


def test_refusal_is_shared_by_those_who_waited_for_the_load():
    budget = OriginBudget(1, queue_timeout=0.2)
    cache = Cache(budget=budget)
    holder = Holder(budget)
    errors = together(*[lambda: cache.get_or_set("tea", object)] * 5, errors_too=True)
    assert all(isinstance(error, OriginBusy) for error in errors) and cache.stats().failures == 0
    holder.let_go()


def test_refusal_within_a_factory_is_shared_too_and_asked_once():
    """What a factory's own slot refuses is the load's outcome: those who waited do not each ask again."""
    inner, cache, calls, go = OriginBudget(1), Cache(budget=OriginBudget(4)), [], threading.Event()
    holder = Holder(inner)

    def load():
        calls.append(1)
        wait_for(go)
        with inner.slot(waits=False):
            pass

    crew = Crew(*[lambda: cache.get_or_set("tea", load)] * 8)
    until(lambda: cache.stats().coalesced == 7)
    go.set()
    errors = crew.join(errors_too=True)
    assert all(isinstance(error, OriginBusy) for error in errors) and len(calls) == 1
    holder.let_go()


# ------------------------------------------------------------------ loads within loads

@pytest.mark.parametrize("awaited", [False, True], ids=["threads", "tasks"])
def test_load_that_asks_for_another_goes_on_in_its_place(awaited):
    budget = OriginBudget(1, max_queue=0)
    outer, inner = Cache(budget=budget), Cache(budget=budget)
    if awaited:
        async def load():
            return await inner.aget_or_set("leaf", lambda: "leaf") + "y"
        assert run_async(outer.aget_or_set("tree", load)) == "leafy"
    else:
        assert outer.get_or_set("tree", lambda: inner.get_or_set("leaf", lambda: "leaf") + "y") == "leafy"
    assert whole(budget) and budget.stats().entered == 1


def test_load_does_not_wait_for_one_that_waits_for_its_place():
    """first holds the place and asks for b, which second leads and queues for."""
    budget, second_queues = OriginBudget(1, queue_timeout=60), threading.Event()
    cache = Cache(budget=budget)

    def first():
        wait_for(second_queues)
        return cache.get_or_set("b", lambda: "of first")

    crew = Crew(lambda: cache.get_or_set("a", first))
    until(lambda: budget.stats().running == 1)
    other = Crew(lambda: cache.get_or_set("b", lambda: "of second"))
    queued(budget, 1)
    second_queues.set()
    assert crew.join() == ["of first"] and other.join() == ["of second"] and whole(budget)


def test_circle_through_a_cache_without_the_budget_ends_with_the_queue_timeout():
    """The holder of the place waits for a load of a cache without a budget, which asks for what queues for the place: the
    one circle that is not seen. It ends, and who was refused says so."""
    budget, plain = OriginBudget(1, queue_timeout=0.5), Cache()
    cache, held, queues = Cache(budget=budget), threading.Event(), threading.Event()

    def middle():
        wait_for(queues)
        return cache.get_or_set("b", lambda: "of middle")

    def holder():
        held.set()
        return plain.get_or_set("m", pytest.fail)

    leads = Crew(lambda: plain.get_or_set("m", middle))
    until(lambda: plain.stats().loads == 1)
    holds = Crew(lambda: cache.get_or_set("a", holder))
    wait_for(held)
    until(lambda: plain.stats().coalesced == 1)
    last = Crew(lambda: cache.get_or_set("b", lambda: "of last"))
    queued(budget, 1)
    queues.set()
    for crew in (leads, holds, last):
        assert isinstance(crew.join(errors_too=True)[0], OriginBusy)
    assert whole(budget)
    assert plain.get_or_set("m", middle) == "of middle"


def test_crowd_of_loads_without_a_place_still_shares_one_that_queues():
    """Being in some body is no reason to load for oneself what queues for a place: only holding one is."""
    budget, plain, calls = OriginBudget(1, queue_timeout=60), Cache(), []
    cache, holder = Cache(budget=budget), Holder(budget)
    shared = lambda: cache.get_or_set("shared", lambda: calls.append(1) or "one")  # noqa: E731
    crew = Crew(*[lambda x=x: plain.get_or_set(x, shared) for x in range(10)])
    until(lambda: cache.stats().coalesced == 9)
    holder.let_go()
    assert crew.join() == ["one"] * 10 and calls == [1] and whole(budget)


# ------------------------------------------------------------------ cancellation

def test_plain_factory_keeps_its_place_while_its_thread_runs_though_its_task_is_cancelled():
    budget, go, entered = OriginBudget(1, queue_timeout=60), threading.Event(), threading.Event()
    cache = Cache(budget=budget)

    def load():
        entered.set()
        wait_for(go)

    async def main():
        task = asyncio.ensure_future(cache.aget_or_set("tea", load))
        await every_turn(entered.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(10):
            await asyncio.sleep(0)
        assert budget.stats().running == 1  # the origin is still at it
        go.set()
        await every_turn(lambda: whole(budget))

    run_async(main())


def test_cancelled_in_the_queue_frees_the_key_and_the_queue():
    budget = OriginBudget(1, queue_timeout=60)
    cache = Cache(budget=budget)
    holder = Holder(budget)

    async def main():
        task = asyncio.ensure_future(cache.aget_or_set("tea", lambda: "hot"))
        await every_turn(lambda: budget.stats().queued)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await every_turn(lambda: not budget.stats().queued)
        holder.let_go()
        assert await cache.aget_or_set("tea", lambda: "hot") == "hot"

    run_async(main())
    assert whole(budget)


def test_coroutine_driven_by_hand_takes_a_place_or_is_refused():
    budget = OriginBudget(1)
    cache = Cache(budget=budget)

    def by_hand(key):
        steps = cache.aget_or_set(key, lambda: "hot")
        try:
            steps.send(None)
        except StopIteration as stop:
            return stop.value

    assert by_hand("tea") == "hot" and whole(budget)
    holder = Holder(budget)
    with pytest.raises(OriginBusy):
        contextvars.Context().run(by_hand, "coffee")
    holder.let_go()


# ------------------------------------------------------------------ what is remembered

@pytest.mark.parametrize("options", [{}, {"tags": "t"}, {"ttl": 60}, {"coalesce": False}, {"typed": True}],
                         ids=lambda options: "-".join(options) or "plain")
@pytest.mark.parametrize("awaited", [False, True], ids=["def", "async def"])
def test_no_memo_remembers_that_the_origin_was_busy(options, awaited):
    calls = []

    def plain():
        calls.append(1)
        raise OriginBusy("busy") if len(calls) % 2 else Failure

    async def fetch():
        plain()

    memo = memoize(fetch if awaited else plain, cache_exceptions=Exception, **options)
    ask = (lambda: run_async(fetched(memo))) if awaited else memo
    for error in (OriginBusy, Failure, Failure):
        with pytest.raises(error):
            ask()
    assert len(calls) == 2


async def fetched(memo):
    return await memo()


def test_report_speaks_of_the_budget():
    budget = OriginBudget(1, max_queue=0)
    cache = Cache(budget=budget)
    assert "budget" not in cache.report()
    holder = Holder(budget)
    with pytest.raises(OriginBusy):
        cache.get_or_set("tea", object)
    holder.let_go()
    cache._tally("queued", 3)
    cache._tally("early", 2)
    said = cache.report()
    assert "3 loads waited for a place in the origin's budget" in said and "1 got none" in said
    assert "2 loads were begun early" in said
