"""Results are there before anybody asks, and are built again in the background: by threads and by tasks alike."""

import threading

import pytest

from ahead import Work, ahead
from samovar import Cache, Freshness, ManualClock, NotBuilt, OriginBudget
from support import together, until, wait_for

pytestmark = pytest.mark.parametrize("kind", ["threads", "tasks"])


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def work():
    return Work()


def test_result_is_there_before_anybody_asks(kind, work, clock):
    with ahead(kind, work, keys=["tea", "film"], every="1m", clock=clock) as page:
        page.rest()
        assert sorted(work.calls) == ["film", "tea"] and page.built("tea") and page.built("film")
        assert page("tea") == "tea 1" and page("film") == "film 1"
        assert len(work.calls) == 2


def test_result_is_built_again_every_so_often_and_not_before(kind, work, clock):
    with ahead(kind, work, keys=["tea"], every="1m", clock=clock) as page:
        page.rest()
        clock.advance(59)
        page.rest()
        assert page("tea") == "tea 1"
        clock.advance(1)
        page.rest()
        assert page("tea") == "tea 2"
        clock.advance(60)
        page.rest()
        assert page("tea") == "tea 3" and work.calls == ["tea"] * 3


def test_last_good_result_is_served_while_it_is_built_again(kind, work, clock):
    with ahead(kind, work, keys=["tea"], every="1m", fresh=Freshness(ttl="1m", stale_if_error="1m"), clock=clock) as page:
        page.rest()
        entered, go = work.gate("tea")
        clock.advance(90)  # stale, too
        wait_for(entered)
        assert page("tea") == "tea 1" and page.status().keys["tea"].building
        go.set()
        page.rest()
        assert page("tea") == "tea 2" and not page.status().keys["tea"].building


def test_last_good_result_is_served_while_building_fails_until_it_is_too_old(kind, work, clock):
    with ahead(kind, work, keys=["tea"], every="1m", fresh=Freshness(ttl="1m", stale_if_error="4m"), clock=clock) as page:
        page.rest()
        work.errors["tea"] = ConnectionError("the database is away")
        for _ in range(4):
            clock.advance(60)
            page.rest()
            assert page("tea") == "tea 1"
        status = page.status()
        assert (status.failing, status.worst_age, status.unbuilt) == (1, 240.0, 0)
        assert status.keys["tea"].failures == 4 and status.keys["tea"].error is work.errors["tea"]
        clock.advance(60)  # ttl and stale_if_error are over
        page.rest()
        calls = len(work.calls)
        with pytest.raises(NotBuilt, match="'tea'.*failed 5 times in a row") as raised:
            page("tea")
        assert raised.value.__cause__ is work.errors["tea"] and raised.value.failures == 5
        assert 0 < raised.value.retry_after <= 60 and len(work.calls) == calls  # nobody hammers what fails
        work.errors.clear()
        clock.advance(60)
        page.rest()
        assert page("tea") == f"tea {calls + 1}" and page.status().failing == 0


def test_failures_are_tried_again_after_longer_and_longer_up_to_every(kind, work, clock):
    work.errors["tea"] = OSError()
    with ahead(kind, work, keys=["tea"], every=16, clock=clock) as page:
        page.rest()
        moments = [0.0]
        for _ in range(1200):
            clock.advance(0.125)
            page.rest()
            if len(work.calls) > len(moments):
                moments.append(clock())
        gaps = [after - before for before, after in zip(moments, moments[1:])]
        for gap, longest in zip(gaps, [1, 2, 4, 8, 16, 16, 16]):
            assert longest / 2 <= gap <= longest + 0.125


def test_touch_has_a_result_built_soon(kind, work, clock):
    with ahead(kind, work, keys=["tea", "film"], clock=clock) as page:  # only what is touched is built again
        page.rest()
        clock.advance("365d")
        page.rest()
        assert len(work.calls) == 2
        assert page.touch("tea") is True
        page.rest()
        assert page("tea") == "tea 2" and page("film") == "film 1"
        assert page.touch("salt") is False


def test_touches_while_a_result_is_built_have_it_built_once_more(kind, work, clock):
    with ahead(kind, work, keys=["tea"], clock=clock) as page:
        page.rest()
        entered, go = work.gate("tea")
        page.touch("tea")
        wait_for(entered)
        for _ in range(10):
            page.touch("tea")
        assert page("tea") == "tea 1"
        go.set()
        page.rest()
        assert page("tea") == "tea 3" and len(work.calls) == 3


def test_touch_of_what_fails_is_not_forgotten_and_hammers_nobody(kind, work, clock):
    with ahead(kind, work, keys=["tea"], clock=clock) as page:
        page.rest()
        work.errors["tea"] = OSError()
        for _ in range(10):
            page.touch("tea")
            page.rest()
        assert len(work.calls) == 2
        work.errors.clear()
        clock.advance(1)
        page.rest()
        assert page("tea") == "tea 3"


def test_touch_before_the_start_is_done_at_the_start(kind, work, clock):
    store = Cache(clock=clock)
    with ahead(kind, work, keys=["tea"], store=store, name="pages", clock=clock) as page:
        page.rest()
        page.stop()
        assert page.touch("tea") and len(work.calls) == 1
        page.start()
        page.rest()
        assert page("tea") == "tea 2"


def test_touch_of_what_another_one_left_in_the_store_has_it_built_anew(kind, work, clock):
    store, before = Cache(clock=clock), Work()
    how = dict(keys=["film", "tea"], store=store, name="pages", concurrency=1, clock=clock)
    with ahead(kind, before, **how) as page:
        page.rest()
        store.delete(("pages", "film"))
    entered, go = work.gate("film")
    with ahead(kind, work, **how) as page:
        wait_for(entered)
        assert page.touch("tea")  # which nobody here has looked at yet
        go.set()
        page.rest()
        assert work.calls == ["film", "tea"] and before.calls == ["film", "tea"]


def test_store_of_its_own_has_room_for_every_key(kind, work, clock):
    keys = ["tea"]
    with ahead(kind, work, keys=lambda: keys, every="1m", clock=clock) as page:
        page.rest()
        room = page.store.maxsize
        keys.extend(range(50))
        clock.advance("1m")
        page.rest()
        assert page.store.maxsize == room + 50 > len(page.store) == 51


def test_tags_of_a_result_have_it_built_again(kind, work, clock):
    with ahead(kind, work, keys=["tea", "film"], tags=lambda key: ["pages", f"page:{key}"], clock=clock) as page:
        page.rest()
        assert page.touch_tags("page:tea") == 1
        page.rest()
        assert page("tea") == "tea 2" and page("film") == "film 1"
        assert page.touch_tags("pages", "page:tea") == 2 and page.touch_tags("nothing") == 0
        page.rest()
        assert page("tea") == "tea 3" and page("film") == "film 2"


def test_tag_that_is_touched_during_the_first_build_is_not_lost(kind, work, clock):
    entered, go = work.gate("tea")
    with ahead(kind, work, keys=["tea"], tags="pages", clock=clock) as page:
        wait_for(entered)
        assert page.touch_tags("pages") == 1
        go.set()
        page.rest()
        assert page("tea") == "tea 2"


def test_tag_that_the_store_invalidates_takes_results_out(kind, work, clock):
    with ahead(kind, work, keys=["tea"], tags="pages", clock=clock) as page:
        page.rest()
        page.store.invalidate_tags("pages")
        assert not page.built("tea")
        assert page("tea") == "tea 2"  # loaded by who asked, and that counts as built
        assert page.status().worst_age == 0 and page("tea") == "tea 2"


def test_result_of_a_build_that_an_invalidation_overtook_is_not_kept(kind, work, clock):
    with ahead(kind, work, keys=["tea"], tags="pages", clock=clock) as page:
        page.rest()
        entered, go = work.gate("tea")
        page.touch("tea")
        wait_for(entered)
        page.store.invalidate_tags("pages")
        go.set()
        page.rest()
        assert page("tea") == "tea 3" and page.status().failing == 0


def test_delete_forgets_a_result_and_has_it_built_again(kind, work, clock):
    with ahead(kind, work, keys=["tea"], clock=clock) as page:
        page.rest()
        entered, go = work.gate("tea")
        page.touch("tea")
        wait_for(entered)
        assert page.delete("tea") is True and not page.built("tea")
        go.set()
        page.rest()
        assert page("tea") == "tea 3" and page.delete("nothing") is False


def test_reader_who_comes_first_loads_once_for_all(kind, work, clock):
    entered, go = work.gate("tea")
    with ahead(kind, work, keys=["tea"], every="1m", clock=clock) as page:
        wait_for(entered)  # the runner is at it
        go.set()
        assert together(*[lambda: page("tea")] * 6) == ["tea 1"] * 6
        page.rest()
        assert work.calls == ["tea"]


def test_reading_works_without_a_runner(kind, work, clock):
    with ahead(kind, work, keys=["tea"], every="1m", clock=clock) as page:
        page.rest()
        page.stop()
        clock.advance("5m")
        assert page("tea") == "tea 1"  # as old as may be
        clock.advance("30m")
        assert page("tea") == "tea 2" == page("tea") and page.status().worst_age == 0


def test_none_is_a_result_and_lives_as_long_as_is_said(kind, clock):
    calls = []

    class Nothing(Work):
        def end(self, key, number):
            calls.append(key)

    with ahead(kind, Nothing(), keys=["tea"], fresh=Freshness(ttl="1h", negative_ttl="5s"), clock=clock) as page:
        page.rest()
        assert page("tea") is None and calls == ["tea"]
        clock.advance(5)
        assert page("tea") is None and calls == ["tea", "tea"]


def test_keys_are_asked_for_again_each_round(kind, work, clock):
    keys = ["tea"]
    with ahead(kind, work, keys=lambda: keys, every="1m", clock=clock) as page:
        page.rest()
        keys[:] = ["film"]
        clock.advance(60)
        page.rest()
        assert page("film") == "film 1" and set(page.status().keys) == {"film"}
        keys.append("salt")
        assert page.touch("salt") is False  # not known, so the keys are asked for
        page.rest()
        assert page.built("salt")


def test_keys_that_cannot_be_asked_for_leave_those_that_are_known(kind, work, clock):
    fails = []

    def keys():
        if fails:
            raise ConnectionError("no list")
        return ["tea"]

    with ahead(kind, work, keys=keys, every="1m", clock=clock) as page:
        page.rest()
        fails.append(True)
        clock.advance(60)
        page.rest()
        assert page("tea") == "tea 2" and isinstance(page.status().keys_error, ConnectionError)
        fails.clear()
        clock.advance(60)
        page.rest()
        assert page.status().keys_error is None


def test_key_that_leaves_while_a_reader_loads_it_is_built_no_more(kind, work, clock):
    keys = ["a", "b"]
    a_entered, a_go = work.gate("a")
    b_entered, b_go = work.gate("b")
    with ahead(kind, work, keys=lambda: keys, every="1m", concurrency=1, clock=clock) as page:
        wait_for(a_entered)

        def leave():
            wait_for(b_entered)
            keys.remove("b")
            clock.advance("1m")  # keys are asked for again: by the one thread, when it is free
            if kind == "threads":
                a_go.set()
            until(lambda: len(page.status().keys) == 1)
            a_go.set()
            b_go.set()

        assert together(lambda: page("b"), leave)[0] == "b 1"
        page.rest()
        for _ in range(3):
            clock.advance("1m")
            page.rest()
        assert work.calls.count("b") == 1 and work.calls.count("a") >= 4


def test_key_that_nobody_named_is_loaded_for_who_asks_and_not_kept(kind, work, clock):
    with ahead(kind, work, keys=["tea"], every="1m", clock=clock) as page:
        page.rest()
        assert page("salt") == "salt 1" and page("salt") == "salt 2"
        assert set(page.status().keys) == {"tea"} and len(page.store) == 1


def test_no_more_are_built_at_once_than_is_said(kind, work, clock):
    entered, go = work.gate("a")
    work.gates.update(dict.fromkeys("bcdef", (entered, go)))
    with ahead(kind, work, keys="abcdef".split() + list("bcdef") + ["a"], concurrency=3, clock=clock) as page:
        wait_for(entered)
        go.set()
        page.rest()
        assert 1 <= work.most <= 3


def test_budget_bounds_what_is_built_at_once(kind, work, clock):
    budget = OriginBudget(1)
    with ahead(kind, work, keys=list("abcdef"), concurrency=4, budget=budget, clock=clock) as page:
        page.rest()
        assert work.most == 1 and budget.stats().entered == 6 and page.status().unbuilt == 0


def test_origin_that_is_busy_is_no_failure(kind, work, clock):
    budget = OriginBudget(1, max_queue=0)
    place = budget.enter()
    with ahead(kind, work, keys=["tea"], budget=budget, clock=clock) as page:
        page.rest()
        assert (page.status().failing, page.status().unbuilt, work.calls) == (0, 1, [])
        place.leave()
        clock.advance(60)
        page.rest()
        assert page.built("tea") and work.calls == ["tea"]


def test_most_read_is_built_first(kind, work, clock):
    with ahead(kind, work, keys=["a", "b", "c", "d"], every="1m", concurrency=1, clock=clock) as page:
        page.rest()
        for key, times in (("b", 3), ("c", 9), ("d", 1)):
            for _ in range(times):
                page(key)
        work.calls.clear()
        clock.advance(60)
        page.rest()
        assert work.calls == ["c", "b", "d", "a"]


def test_stop_builds_what_is_due_before_it_ends(kind, work, clock):
    with ahead(kind, work, keys=["a", "b", "c"], concurrency=1, clock=clock) as page:
        page.rest()
        entered, go = work.gate("a")
        page.touch("a")
        wait_for(entered)
        page.touch("b")
        page.touch("c")
        stopping = together(lambda: page.stop(), lambda: go.set())
        assert stopping[0] is True and work.calls[3:] == ["a", "b", "c"]
        assert page.status().running is False
        page.touch("a")
        assert len(work.calls) == 6


def test_stop_that_comes_while_the_keys_are_asked_for_builds_them(kind, work, clock):
    asked, go = threading.Event(), threading.Event()

    def keys():
        asked.set()
        wait_for(go)
        return ["a", "b"]

    with ahead(kind, work, keys=keys, clock=clock) as page:
        wait_for(asked)

        def later():
            until(lambda: "ending" in repr(page.page))
            go.set()

        assert together(lambda: page.stop(), later)[0] is True
        assert sorted(work.calls) == ["a", "b"] and page.status().unbuilt == 0


def test_stop_that_comes_at_once_builds_what_was_due_at_the_start(kind, work, clock):
    with ahead(kind, work, keys=["a", "b"], clock=clock) as page:
        assert page.stop() and sorted(work.calls) == ["a", "b"]
        page.start()
        assert page.stop(drain=False) and len(work.calls) == 2


def test_nothing_becomes_due_any_more_while_it_is_stopped(kind, work, clock):
    with ahead(kind, work, keys=["a", "b", "c"], every="1m", concurrency=1, clock=clock) as page:
        page.rest()
        entered, go = work.gate("a")
        page.touch("a")
        wait_for(entered)

        def later():
            until(lambda: "ending" in repr(page.page))
            clock.advance("1m")
            go.set()

        assert together(lambda: page.stop(), later)[0] is True
        assert work.calls[3:] == ["a"]


def test_stop_without_drain_begins_nothing(kind, work, clock):
    with ahead(kind, work, keys=["a", "b"], concurrency=1, clock=clock) as page:
        page.rest()
        entered, go = work.gate("a")
        page.touch("a")
        wait_for(entered)
        page.touch("b")
        page.stop(drain=False, timeout=0.01)  # a thread goes on to its end, a task is cancelled
        go.set()
        assert work.calls[2:] == ["a"] and page.status().queued >= 1
        page.start()
        page.rest()
        assert page("b") == "b 2" and page("a") in ("a 2", "a 3")


def test_stop_waits_no_longer_than_it_is_told(kind, work, clock):
    entered, go = work.gate("tea")
    with ahead(kind, work, keys=["tea"], clock=clock) as page:
        wait_for(entered)
        assert page.stop(timeout=0.01) is False
        assert page.status().running is False and not page.built("tea")
        go.set()
        assert page.stop() is True
        page.start()
        page.rest()
        assert page.built("tea")


def test_start_and_stop_may_come_twice(kind, work, clock):
    with ahead(kind, work, keys=["tea"], clock=clock) as page:
        page.start()
        page.rest()
        assert page.stop() and page.stop() and work.calls == ["tea"]


def test_shown_as_what_it_is(kind, work, clock):
    with ahead(kind, work, keys=["tea"], clock=clock) as page:
        page.rest()
        assert "1 keys, 0 due, 0 being built, running" in repr(page.page)
        assert page.page.__name__ in ("call", "acall")
