"""Cache(lease=) and memoize(lease=): what is handed over between processes, as two caches in one play it, and what is not.

Processes themselves are in tests/storm/test_storm_processes.py.
"""

import asyncio
import threading
from decimal import Decimal

import pytest

from samovar import Cache, FileLease, Freshness, LoadTimeout, ManualClock, cached, memoize
from samovar._base.clock import stopwatch
from samovar._base.contracts import Offer
from support import Crew, run_async, together, until, wait_for


@pytest.fixture
def home(tmp_path):
    return tmp_path / "leases"


@pytest.fixture
def pair(home):
    """Two caches that are one to their leases, as in two processes."""
    return tuple(Cache(name="shop", lease=FileLease(home, shared=True, keep="1h")) for _ in range(2))


def never():
    raise AssertionError("called")


class Point:
    """No plain data."""


# ------------------------------------------------------------------ arguments

def test_cache_with_a_lease_needs_a_name(home):
    for words in ({}, {"name": ""}):
        with pytest.raises(ValueError, match="Cache: lease needs a name, the same in every process"):
            Cache(lease=FileLease(home), **words)


@pytest.mark.parametrize("lease", ["path", 7, FileLease], ids=["text", "number", "class"])
def test_lease_must_have_its_verbs(lease):
    with pytest.raises(TypeError, match="lease must be a FileLease"):
        Cache(name="shop", lease=lease)
    with pytest.raises(TypeError, match="lease must be a FileLease"):
        memoize(lease=lease, name="f")(len)


def test_function_without_a_name_of_its_own_needs_one(home):
    lease = FileLease(home)
    for fn in (lambda: 1, [].append, Point(), test_lease_must_have_its_verbs):
        if callable(fn) and fn is not test_lease_must_have_its_verbs:
            with pytest.raises(ValueError, match=r"memoize: lease needs a name.*memoize\(name="):
                memoize(fn, lease=lease)
            memoize(fn, lease=lease, name="mine")
    assert memoize(test_lease_must_have_its_verbs, lease=lease)._leasing.namespace.endswith(
        "test_cache_lease.test_lease_must_have_its_verbs")


def test_options_that_do_not_go_together_are_refused(home):
    with pytest.raises(ValueError, match="name needs a lease"):
        memoize(len, name="mine")
    with pytest.raises(TypeError, match="name must be text"):
        memoize(len, name=7, lease=FileLease(home))
    with pytest.raises(ValueError, match="coalesce must be True with a lease"):
        memoize(len, name="mine", lease=FileLease(home), coalesce=False)


# ------------------------------------------------------------------ handing over

def test_result_is_handed_over_with_all_that_it_carries(home):
    one, two = (Cache(name="shop", lease=FileLease(home, shared=True, keep="1h"), maxweight=100) for _ in range(2))

    def load(context):
        context.tags = ["herbs", "tea"]
        context.weight = 7
        context.fresh = Freshness(ttl=60, stale_if_error=600)
        return {"price": Decimal("4.20")}

    one.get_or_set("tea", load)
    assert two.get_or_set("tea", never) == {"price": Decimal("4.20")}
    _, _, left, tags, _, weight, keep = two._entry("tea")
    assert set(tags) == {"herbs", "tea"} and weight == 7 and keep == 600 and 0 < left <= 60
    assert two.stats().shared == 1 and one.stats().shared == 0
    two.invalidate_tags("herbs")
    assert "tea" not in two


def test_each_gets_values_of_its_own(pair):
    one, two = pair
    mine = one.get_or_set("key", lambda: [1])
    theirs = two.get_or_set("key", never)
    assert mine == theirs and mine is not theirs


def test_caches_of_other_names_share_nothing(home):
    lease = FileLease(home, shared=True, keep="1h")
    assert [Cache(name=name, lease=lease).get_or_set("key", lambda: name) for name in "abc"] == ["a", "b", "c"]


def test_ttl_of_a_hand_over_has_run_on(home, monkeypatch):
    one, two = (Cache(name="shop", lease=FileLease(home, shared=True, keep="1h"), ttl=300) for _ in range(2))
    one.get_or_set("key", lambda: 1)
    monkeypatch.setattr(two._leasing.lease._handover, "now", lambda: stopwatch() + 100)
    assert two.get_or_set("key", never) == 1
    assert 100 < two._entry("key")[2] <= 200
    assert one._entry("key")[2] > two._entry("key")[2]


def test_what_is_past_its_ttl_is_loaded_anew(home, monkeypatch):
    one, two = (Cache(name="shop", lease=FileLease(home, shared=True, keep="1h"), ttl=3) for _ in range(2))
    one.get_or_set("key", lambda: 1)
    monkeypatch.setattr(two._leasing.lease._handover, "now", lambda: stopwatch() + 3)
    assert two.get_or_set("key", lambda: 2) == 2


def test_result_is_handed_to_a_process_once(pair):
    one, two = pair
    one.get_or_set("key", lambda: 1)
    assert two.get_or_set("key", never) == 1
    two.resize(1)
    two["other"] = "pushes it out"
    assert "key" not in two
    assert two.get_or_set("key", lambda: 2) == 2


def test_own_result_is_not_taken_back(pair):
    one, _ = pair
    one.get_or_set("key", lambda: 1)
    one.resize(1)
    one["other"] = "pushes it out"
    assert one.get_or_set("key", lambda: 2) == 2


@pytest.mark.parametrize("load", [
    lambda context: Point(), lambda context: (context.do_not_store(), "value")[1], lambda context: None if 0 else never(),
], ids=["not_plain", "not_stored", "raises"])
def test_nothing_is_handed_over_of_what_is_not_for_others(pair, load):
    one, two = pair
    try:
        one.get_or_set("key", load)
    except AssertionError:
        pass
    assert two.get_or_set("key", lambda: "own") == "own"
    assert one._leasing.lease.stats().offered == 0


def test_value_fenced_off_here_is_not_handed_over(pair):
    one, two = pair

    def load():
        one.delete("key")
        return "old"

    assert one.get_or_set("key", load) == "old"
    assert two.get_or_set("key", lambda: "new") == "new"


def test_cached_none_is_handed_over(pair):
    one, two = pair
    one.get_or_set("key", lambda: None)
    assert two.get_or_set("key", never) is None


def test_key_that_is_no_plain_data_is_named(pair):
    with pytest.raises(TypeError, match="a key must be plain data.*Point is not plain data"):
        pair[0].get_or_set(Point(), never)
    assert not pair[0]._leasing.lease._held


def test_batch_leaves_out_what_was_handed_over(pair):
    one, two = pair
    one.get_or_set_many(["a", "b"], lambda keys: dict.fromkeys(keys, 1))
    asked = []

    def load(keys):
        asked.extend(keys)
        return dict.fromkeys(keys, 2)

    assert two.get_or_set_many("abcd", load) == {"a": 1, "b": 1, "c": 2, "d": 2}
    assert asked == ["c", "d"]
    assert one.get_or_set_many("cd", never) == {"c": 2, "d": 2}
    assert run_async(one.aget_or_set_many("abcd", never)) == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_batch_with_a_key_that_has_no_name_loads_nothing(pair):
    with pytest.raises(TypeError, match="a key must be plain data"):
        pair[0].get_or_set_many(["a", Point()], never)
    assert not pair[0]._leasing.lease._held
    assert pair[1].get_or_set("a", lambda: 1) == 1


def test_loads_of_every_verb_are_handed_over(home):
    one, two = (Cache(name="shop", lease=FileLease(home, shared=True, keep="1h"), loader=lambda key: [key]) for _ in range(2))
    one.get_or_load("a")
    run_async(one.aget_or_load("b"))
    one.warm("cd")
    run_async(one.arefresh("e"))
    one.refresh("f")
    assert [two.get_or_set(key, never) for key in "abcdef"] == [[key] for key in "abcdef"]


def test_cached_functions_share_through_their_cache(pair):
    calls = []

    def price(article):
        calls.append(article)
        return f"price of {article}"

    price.__qualname__ = "price"
    for cache in pair:
        assert cached(cache)(price)("tea") == "price of tea"
    assert calls == ["tea"]


# ------------------------------------------------------------------ renewals

def test_stale_value_is_renewed_by_one_for_both(home):
    clock, calls = ManualClock(), []
    fresh = Freshness(ttl=60, stale_while_revalidate=600)
    one, two = (Cache(name="shop", lease=FileLease(home, shared=True, keep="1h"), fresh=fresh, clock=clock) for _ in range(2))

    def load():
        calls.append(1)
        return len(calls)

    assert one.get_or_set("key", load) == two.get_or_set("key", load) == 1
    clock.advance(61)
    assert one.get_or_set("key", load) == 1
    until(lambda: one.peek("key") == 2)
    assert two.get_or_set("key", load) == 1
    until(lambda: two.peek("key") == 2)
    assert len(calls) == 2
    assert two.stats().shared == 2


def test_early_renewal_takes_nothing_that_it_had(home):
    clock = ManualClock()
    one, two = (Cache(name="shop", lease=FileLease(home, shared=True, keep="1h"), ttl=60, clock=clock) for _ in range(2))
    one.get_or_set("key", lambda: 1)
    two.get_or_set("key", never)
    assert two.refresh("key", lambda: 2) == 2
    assert one.refresh("key", lambda: 3) == 3


def test_stale_if_error_serves_on(home):
    clock = ManualClock()
    lease, fresh = FileLease(home, shared=True, keep="1h"), Freshness(ttl=1, stale_if_error=60)
    one = Cache(name="shop", lease=lease, clock=clock, fresh=fresh)
    one.get_or_set("key", lambda: 1)
    clock.advance(2)
    assert one.get_or_set("key", never) == 1


# ------------------------------------------------------------------ fences

def offered(cache, key, value="old", tags=None, begun=None):
    """Another process hands a value over whose load began at `begun`."""
    other = FileLease(cache._leasing.lease._locks.directory.path, shared=True)
    name = other.name_of(cache._leasing.namespace, key)
    other._offer(name, Offer(value, stopwatch() if begun is None else begun, 0.0, None, tags))


VERBS = {
    "set": lambda cache: cache.set("key", 1) or cache.resize(1) or cache.set("other", 1),
    "setitem": lambda cache: cache.__setitem__("key", 1) or cache.resize(1) or cache.set("other", 1),
    "set_many": lambda cache: cache.set_many({"key": 1}, tags="t") or cache.resize(1) or cache.set("other", 1),
    "add": lambda cache: cache.add("key", 1) and cache.resize(1) or cache.set("other", 1),
    "delete": lambda cache: cache.delete("key"),
    "delete_many": lambda cache: cache.delete_many(["key"]),
    "pop": lambda cache: cache.pop("key", None),
    "popitem": lambda cache: cache.set("key", 1) or cache.popitem(),
    "expire": lambda cache: cache.expire("key"),
    "tags": lambda cache: cache.invalidate_tags("tag"),
    "soft": lambda cache: cache.invalidate_tags("another", "tag", soft=True),
    "clear": lambda cache: cache.clear(),
}


@pytest.mark.parametrize("verb", VERBS)
def test_value_from_before_an_invalidation_is_not_taken(pair, verb):
    cache, _ = pair
    begun = stopwatch()
    VERBS[verb](cache)
    offered(cache, "key", tags=("tag",), begun=begun)
    assert cache.get_or_set("key", lambda: "new") == "new"
    assert cache.stats().shared == 0


@pytest.mark.parametrize("verb", VERBS)
def test_value_from_after_an_invalidation_is_taken(pair, verb):
    cache, _ = pair
    VERBS[verb](cache)
    offered(cache, "key", tags=("tag",))
    assert cache.get_or_set("key", never) == "old"
    assert cache.stats().shared == 1


def test_invalidations_of_others_are_no_fence(pair):
    cache, _ = pair
    begun = stopwatch()
    keys = [number for number in range(10) if hash(number) % 256 != hash("key") % 256]
    for number in keys[:5]:
        cache[number] = number
        cache.delete(number)
    offered(cache, "key", tags=("tag",), begun=begun)
    cache.invalidate_tags(*[name for name in ("u", "v", "w") if hash(name) % 256 != hash("tag") % 256])
    assert cache.get_or_set("key", never) == "old"


def test_fence_is_found_under_an_equal_key(pair):
    cache, _ = pair
    begun = stopwatch()
    cache.delete(1.0)
    offered(cache, 1, begun=begun)
    assert cache.get_or_set(1, lambda: "new") == "new"


def test_invalidation_while_waiting_for_the_lease_counts(pair):
    one, two = pair
    entered, go = threading.Event(), threading.Event()

    def load():
        entered.set()
        wait_for(go)
        return "old"

    crew = Crew(lambda: one.get_or_set("key", load))
    wait_for(entered)
    waiter = Crew(lambda: two.get_or_set("key", lambda: "new"))
    until(lambda: two._leasing.lease.stats().waited == 1)
    two.delete("key")
    go.set()
    assert crew.join() == ["old"]
    assert waiter.join() == ["new"]
    assert two.get_or_set("key", lambda: "newer") in ("newer", "new")


def test_counts_are_told_by_name(pair):
    cache, _ = pair
    for number, name in enumerate(("early", "queued", "refused", "shared", "rescued"), 1):
        cache._tally(name, number)
    stats = cache.stats()
    assert (stats.early, stats.queued, stats.refused, stats.shared, stats.rescued) == (1, 2, 3, 4, 5)
    for wrong in ("hits", 7, None):
        with pytest.raises(ValueError, match="early, queued, refused, shared and rescued"):
            cache._tally(wrong, 1)
    with pytest.raises(TypeError):
        cache._tally("early", "many")


def test_report_tells_what_another_process_handed_over(pair):
    one, two = pair
    one.get_or_set("key", lambda: 1)
    two.get_or_set("key", never)
    assert "asked 1 times" in one.report() and "handed over" not in one.report()
    assert "asked 0 times. Another process handed over what 1 more loads" in two.report()


# ------------------------------------------------------------------ waiting

def test_two_caches_of_one_process_make_one_load(pair):
    calls, crowd = [], 20

    def load():
        calls.append(1)
        return "value"

    together(*[lambda cache=cache: cache.get_or_set("key", load) for cache in pair * crowd])
    assert calls == [1]


def test_tasks_and_threads_of_two_caches_make_one_load(pair):
    calls = []

    async def load():
        calls.append(1)
        await asyncio.sleep(0)
        return "value"

    async def main(cache):
        return await asyncio.gather(*(cache.aget_or_set("key", load) for _ in range(50)))

    assert together(*[lambda cache=cache: run_async(main(cache)) for cache in pair]) == [["value"] * 50] * 2
    assert calls == [1]


def test_timeouts_hold_while_another_process_loads(pair):
    one, two = pair
    entered, go = threading.Event(), threading.Event()

    def load():
        entered.set()
        wait_for(go)
        return "value"

    crew = Crew(lambda: one.get_or_set("key", load))
    wait_for(entered)
    with pytest.raises(LoadTimeout):
        two.get_or_set("key", never, hard_timeout=0.01)
    with pytest.raises(LoadTimeout):
        run_async(two.aget_or_set("key", never, hard_timeout=0.01))
    go.set()
    assert crew.join() == ["value"]
    until(lambda: two.peek("key") == "value")


def test_cancelled_tasks_wait_for_no_lease(pair):
    one, two = pair
    lease = two._leasing.lease
    held = together(lambda: one._leasing.lease.take([lease.name_of("Cache shop", "key")]))[0]

    async def main():
        tasks = [asyncio.create_task(two.aget_or_set("key", lambda: 1)) for _ in range(5)]
        while lease.stats().waited == 0:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 5

    run_async(main())
    assert not lease._held
    held.end()
    assert two.get_or_set("key", lambda: 2) == 2


def test_load_within_a_load_of_the_same_name_does_not_wait_for_itself(pair):
    one, two = pair

    def outer():
        return one.refresh("key", lambda: two.get_or_set("key", lambda: "inner")) + " outer"

    assert one.get_or_set("key", outer) == "inner outer"
    assert one._leasing.lease.stats().given_up == 0


def test_coroutine_driven_by_hand_waits_for_nobody(pair):
    one, two = pair

    async def load():
        return "value"

    held = together(lambda: two._leasing.lease.take([two._leasing.lease.name_of("Cache shop", "key")]))[0]
    coroutine = one.aget_or_set("key", load)
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == "value"
    held.end()


def test_lease_is_let_go_on_every_way_out(pair):
    one, _ = pair
    lease = one._leasing.lease
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error):
            one.get_or_set("key", lambda: (_ for _ in ()).throw(error()))
        assert not lease._held
    heavy = Cache(name="shop", lease=lease, maxweight=10, weigher=lambda key, value: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        heavy.get_or_set("key", lambda: 1)
    assert not lease._held


# ------------------------------------------------------------------ memoize

def memos(home, fn, **options):
    return [memoize(fn, lease=FileLease(home, shared=True, keep="1h"), name="square", **options) for _ in range(2)]


def square(x, *, times=1):
    return [x * x] * times


async def asquare(x, *, times=1):
    return [x * x] * times


def test_answers_of_functions_are_handed_over(home):
    calls = []
    one, two = memos(home, lambda *args, **kwargs: calls.append(1) or square(*args, **kwargs))
    assert one(3) == two(3) == [9]
    assert one(3, times=2) == two(3, times=2) == [9, 9]
    assert len(calls) == 2
    assert two.cache_stats().shared == 2
    assert two(3) == [9] and two.cache_info().hits == 1


def test_answers_of_coroutines_are_handed_over(home):
    calls = []

    async def fn(x, **words):
        calls.append(1)
        return await asquare(x, **words)

    one, two = memos(home, fn)

    async def main():
        return await asyncio.gather(*(memo(3, times=2) for memo in [one, two] * 20))

    assert run_async(main()) == [[9, 9]] * 40
    assert len(calls) == 1 and two.cache_stats().shared + one.cache_stats().shared == 1
    assert run_async(two(3, times=2)) == [9, 9]


def test_typed_answers_are_told_apart(home):
    one, two = memos(home, lambda x: type(x).__name__, typed=True)
    assert one(1) == "int" and two(1.0) == "float" and two(1) == "int"
    assert two.cache_stats().shared == 1


def test_key_of_a_function_names_its_lease(home):
    one, two = memos(home, lambda point: "value", key=lambda point: "a point")
    assert one(Point()) == two(Point()) == "value"
    assert two.cache_stats().shared == 1
    one, two = memos(home, lambda point: "value")
    with pytest.raises(TypeError, match="a key must be plain data.*Point is not plain data"):
        one(Point())


def test_exception_that_is_remembered_stays_at_home(home):
    calls = []
    one, two = memos(home, lambda x: calls.append(1) or 1 // x, cache_exceptions=ZeroDivisionError)
    for memo in (one, one, two, two):
        with pytest.raises(ZeroDivisionError):
            memo(0)
    assert len(calls) == 2


@pytest.mark.parametrize("verb", [
    lambda memo: memo.cache_invalidate(3), lambda memo: memo.cache_clear(), lambda memo: memo.cache_invalidate_tags("t"),
    lambda memo: memo.cache_set(7, 3) or memo.cache_invalidate_tags("t"),
], ids=["invalidate", "clear", "tags", "set"])
def test_answer_from_before_an_invalidation_is_not_taken(home, verb):
    one, two = memos(home, lambda x: "new", tags="t")
    begun = stopwatch()
    verb(two)
    lease = one._leasing.lease
    name = lease.name_of(one._leasing.namespace, one.cache_key(3)[:3])
    lease._offer(name, Offer("old", begun, 0.0, None, ("t",)))
    assert two(3) == "new"
    lease._offer(name, Offer("newer", stopwatch(), 0.0, None, ("t",)))
    two.cache_clear()
    lease._offer(name, Offer("newest", stopwatch(), 0.0, None, ("t",)))
    assert two(3) == "newest"


def test_memo_around_a_memo_has_its_own_lease(home):
    inner = memoize(square, lease=FileLease(home, shared=True, keep="1h"), name="inner")
    outer = memoize(inner, tags="t")
    assert outer._leasing is None
    assert outer(3) == [9]
    assert inner.cache_stats().loads == 1
