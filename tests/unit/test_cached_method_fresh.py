"""cached_method with lifetimes: each instance's answers expire for themselves, whatever keeps them."""

import asyncio
import copy
import pickle

import pytest

from samovar import Freshness, ManualClock, cached_method
from samovar._core import evictions
from support import check, collect, run_async, until


@pytest.fixture
def clock():
    return ManualClock(100)


def shops(clock, **options):
    """Classes that keep their answers in a __dict__ and in the method's table, with the same options."""

    class Plain:
        @cached_method(clock=clock, **options)
        def price(self, *args, **kwargs):
            return [args, kwargs]

    class Slotted:
        __slots__ = ("__weakref__",)

        @cached_method(clock=clock, **options)
        def price(self, *args, **kwargs):
            return [args, kwargs]

    return Plain, Slotted


@pytest.mark.parametrize("options", [
    {}, {"maxsize": None}, {"typed": True}, {"coalesce": False}, {"cache_exceptions": KeyError},
    {"key": lambda self, *args, **kwargs: str((args, kwargs))}, *({"eviction": rule} for rule in evictions()),
], ids="-".join)
def test_method_ttl_is_exact_for_each_instance(options, clock):
    for cls in (*shops(clock, ttl="10s", **options), *shops(clock, fresh=Freshness(ttl=10), **options)):
        a, b = cls(), cls()
        calls = [((1,), {}), ((1, 2), {}), ((), {"x": 1})]
        first = [a.price(*args, **kwargs) for args, kwargs in calls]
        clock.advance(6)
        other = b.price(1)
        clock.advance(3.999)
        assert all(a.price(*args, **kwargs) is answer for (args, kwargs), answer in zip(calls, first, strict=True))
        clock.advance(0.001)
        assert not a.price.cache_contains(1) and a.price(1) is not first[0] and b.price(1) is other
        assert (a.price.cache_stats().expired, a.price.cache_info().currsize) == (3, 1)
        assert check(cls.price)


def test_method_ttl_ends_by_the_machines_clock_too():
    class Shop:
        @cached_method(ttl="20ms")
        def price(self, x):
            return [x]

    shop = Shop()
    first = shop.price(1)
    until(lambda: shop.price(1) is not first)


def test_method_time_to_idle_and_negative_ttl_are_kept(clock):
    class Shop:
        @cached_method(fresh=Freshness(ttl=100, tti=10, negative_ttl=3), clock=clock)
        def price(self, x):
            return x

        @cached_method(fresh=Freshness(negative_ttl=3), clock=clock)
        async def later(self, x):
            await asyncio.sleep(0)
            return x

    async def ask(shop):
        return await shop.later(None), await shop.later(5)

    shop = Shop()
    shop.price(None), shop.price(1), shop.price(2), run_async(ask(shop))
    for _ in range(3):
        clock.advance(4)
        shop.price(1)
    assert [shop.price.cache_contains(x) for x in (None, 1, 2)] == [False, True, False]
    assert [shop.later.cache_contains(x) for x in (None, 5)] == [False, True]


def test_method_verbs_speak_of_what_is_fresh(clock):
    for cls in shops(clock, ttl=10):
        shop = cls()
        shop.price.cache_set("set", 1)
        assert shop.price(1) == "set"
        clock.advance(10)
        assert shop.price.cache_invalidate(1) is False
        kept = shop.price.cache_refresh(1)
        clock.advance(9)
        assert shop.price(1) is kept
        cls.price.cache_clear()
        assert shop.price.cache_info() == (0, 0, 128, 0)
        with pytest.raises(AttributeError):
            shop.price.cache_invalidate_tags("t")


def test_method_with_a_ttl_keeps_no_instance_alive(clock):
    import weakref

    for cls in shops(clock, ttl=10):
        shop = cls()
        shop.price(1)
        gone = weakref.ref(shop)
        del shop
        collect()
        assert gone() is None and check(cls.price)


class Picklable:
    clock = ManualClock()

    @cached_method(ttl=10, clock=clock)
    def price(self, x):
        return [x]


def test_method_with_a_ttl_leaves_its_answers_behind_when_pickled_and_copied():
    shop = Picklable()
    first = shop.price(1)
    for other in (pickle.loads(pickle.dumps(shop)), copy.deepcopy(shop), copy.copy(shop)):
        assert other.price(1) == first and other.price(1) is not first


@pytest.mark.parametrize("words, named", [
    ({"stale_while_revalidate": 5}, "stale_while_revalidate"), ({"stale_if_error": 5}, "stale_if_error"),
    ({"early": 1}, "early"), ({"early": 1, "stale_if_error": 5}, "early and stale_if_error"),
])
def test_method_refuses_words_that_need_somebody_who_renews(words, named):
    for decorate in (lambda fresh: cached_method(fresh=fresh), lambda fresh: cached_method(len, ttl=3, fresh=fresh)):
        with pytest.raises(ValueError, match=f"cached_method: fresh must be without {named}, not .*; use @memoize"):
            decorate(Freshness(ttl=10, **words))


@pytest.mark.parametrize("option, bad, error, said", [
    ("ttl", 0, ValueError, "cached_method: ttl must be more than 0"),
    ("ttl", "soon", ValueError, "cached_method: ttl must be seconds"),
    ("fresh", 60, TypeError, "cached_method: fresh must be a Freshness or None, not 60"),
    ("eviction", "lfu", ValueError, "cached_method: eviction must be one of .* not 'lfu'"),
    ("clock", 5, TypeError, "cached_method: clock must be callable or None, not 5"),
    ("tags", "t", TypeError, "tags"),
])
def test_method_refuses_a_bad_option_by_name(option, bad, error, said):
    with pytest.raises(error, match=said):
        cached_method(len, **{option: bad})
