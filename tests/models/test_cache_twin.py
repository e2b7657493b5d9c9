"""The twin of the cache core, looked at once by hand: what is compared with it must be able to trust it."""

import pytest

from samovar._base.freshness import Freshness
from samovar._base.missing import MISSING
from twins.cache import FOLLOW, HIT, LEAD, REENTER, CacheCore


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def core(clock, maxsize=None, fresh=None, on_remove=None, maxweight=None):
    return CacheCore(maxsize, maxweight, None, "lru", fresh, clock, on_remove, False)


def test_twin_evicts_the_least_recently_used(clock):
    gone = []
    c = core(clock, 2, on_remove=lambda *one: gone.append(one))
    c["a"], c["b"] = 1, 2
    assert c["a"] == 1
    c["c"] = 3
    assert c._snapshot() == [("c", 3), ("a", 1)]
    assert gone == [("b", 2, "evicted")]
    assert c._popitem() == ("a", 1)


def test_twin_is_fresh_up_to_its_deadline_and_stale_up_to_the_window(clock):
    c = core(clock, fresh=Freshness(ttl=10, stale_while_revalidate=5))
    c["a"] = 1
    clock.now += 9.75
    assert c["a"] == 1
    clock.now += 0.25
    assert "a" not in c
    role, number, _, value, age, _ = c._join("a", object(), 7, None, 0.0)
    assert (role, value, age) == (LEAD, 1, 0.0)
    assert c._join("a", object(), 7, None, 0.0)[0] == REENTER
    assert c._join("a", object(), 8, None, 0.0)[0] == FOLLOW
    assert c._settle(number, None, 1, None, (), None, 0.5)
    assert c._join("a", object(), 8, None, 0.0)[0] == HIT
    clock.now += 15
    assert c._join("a", object(), 8, None, 0.0)[3] is MISSING
    assert c._counts()["expired"] == 1


@pytest.mark.parametrize("act", ["delete", "clear", "put", "expire", "tags", "soft", "abandon", "refresh"])
def test_twin_fences_a_load_off(clock, act):
    c = core(clock)
    number, flight = c._join("a", object(), 1, None, 0.0)[1:3]
    {"delete": lambda: c.delete("a"), "clear": c.clear, "put": lambda: c._put("a", "new", None, None, None, False),
     "expire": lambda: c.expire("a"), "tags": lambda: c._invalidate_tags(("t",), False),
     "soft": lambda: c._invalidate_tags(("t",), True), "abandon": lambda: c._abandon(number, flight),
     "refresh": lambda: c._refresh_begin("a", object(), 2)}[act]()
    assert not c._settle(number, flight, "old", None, ("t",), None, 0.0)
    assert c.peek("a") == ("new" if act == "put" else None)


def test_twin_invalidates_by_tag_what_was_read_before(clock):
    c = core(clock)
    c._put("a", 1, None, ("t", "u"), None, False)
    c._put("b", 2, None, ("v",), None, False)
    c._invalidate_tags(("u",), False)
    assert c.get_many(["a", "b"]) == {"b": 2}
    c._put("a", 1, None, ("t", "u"), None, False)
    assert c["a"] == 1
    assert c._recheck(("u",), 0, 1)
    assert not c._recheck(("u",), 1, 1)
    assert not c._recheck(("v",), 0, 1)


def test_twin_is_due_early_by_the_cost_of_its_load(clock):
    c = core(clock, fresh=Freshness(ttl=10, early=1.0))
    number = c._join("a", object(), 1, None, 0.0)[1]
    c._settle(number, None, 1, None, (), None, 2.0)
    clock.now += 5
    assert c._join("a", object(), 1, None, 2.0)[0] == HIT
    assert c._join("a", object(), 1, None, 2.5)[0] == LEAD
    assert c._join("a", object(), 2, None, 2.5)[0] == HIT
