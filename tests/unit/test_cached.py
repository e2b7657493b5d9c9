"""`cached`: functions that share a cache, and never each other's answers."""

import asyncio
import functools
import inspect

import pytest

from samovar import Cache, ManualClock, cached
from samovar._base.freshness import Freshness
from support import fresh_python, run_async, together

SHOP = Cache()


@cached(SHOP)
def price(article, currency="EUR"):
    """What it costs."""
    return [article, currency]


@cached(SHOP)
def stock(article, currency="EUR"):
    return [article]


class Counter:
    """Called, it counts, and answers what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, /, *args, **kwargs):
        self.calls.append((args, kwargs))
        return args, kwargs


@pytest.fixture(autouse=True)
def an_empty_shop():
    SHOP.clear()


# ------------------------------------------------------------------ answers

def test_cached_function_answers_from_the_cache():
    assert price("tea") is price("tea") and price("tea") == ["tea", "EUR"]
    assert price("tea", currency="USD") is price("tea", currency="USD") is not price("tea")
    assert price("tea", "EUR") is not price("tea")  # positional, keyword and default are told apart
    assert len(SHOP) == 3


def test_cached_function_is_still_itself():
    assert price.__name__ == "price" and price.__doc__ == "What it costs." and price.__module__ == __name__
    assert price.__wrapped__("tea") == ["tea", "EUR"]
    assert str(inspect.signature(price)) == "(article, currency='EUR')"
    assert not inspect.iscoroutinefunction(price)


def test_cached_function_keeps_none_and_not_what_is_raised():
    calls = []

    @cached(Cache())
    def find(key):
        calls.append(key)
        if key == "bad":
            raise LookupError(key)

    assert find("none") is find("none") is None and calls == ["none"]
    for _ in range(2):
        with pytest.raises(LookupError, match="bad"):
            find("bad")
    assert calls == ["none", "bad", "bad"]


def test_cached_function_passes_arguments_as_they_came():
    counter = Counter()
    ask = cached(Cache())(counter)
    assert ask(1, 2, c=3) == ((1, 2), {"c": 3}) and ask() == ((), {}) and ask(key=1, cache=2, args=3, self=4)
    assert ask(1, 2, c=3) and len(counter.calls) == 3


def test_cached_function_loads_once_for_a_crowd():
    counter = Counter()
    ask = cached(Cache())(counter)
    assert together(*[lambda: ask("tea")] * 8) == [(("tea",), {})] * 8
    assert len(counter.calls) == 1


# ------------------------------------------------------------------ no collisions

def test_cached_functions_of_different_names_do_not_meet():
    assert price("tea") == ["tea", "EUR"] and stock("tea") == ["tea"]
    assert len(SHOP) == 2


def test_cached_closures_of_one_name_do_not_meet():
    cache = Cache()

    def times(factor):
        @cached(cache)
        def multiply(number):
            return factor * number

        return multiply

    double, triple = times(2), times(3)
    assert (double(7), triple(7), double(7)) == (14, 21, 14) and len(cache) == 2


def test_cached_lambdas_partials_methods_and_objects_do_not_meet():
    class Pot:
        def __init__(self, litres):
            self.litres = litres

        def cups(self, size):
            return self.litres // size

        __call__ = cups

    cache, small, large = Cache(), Pot(10), Pot(100)
    functions = [lambda x: 1 * x, lambda x: 2 * x, functools.partial(pow, 3), functools.partial(pow, 4), small.cups,
                 large.cups, small, large, len, abs]
    wrapped = [cached(cache)(function) for function in functions]
    arguments = [5, 5, 5, 5, 5, 5, 5, 5, "12345678", 5]
    for _ in range(2):
        assert [ask(argument) for ask, argument in zip(wrapped, arguments)] == [5, 10, 243, 1024, 2, 20, 2, 20, 8, 5]
    assert len(cache) == len(functions)


def test_cached_functions_that_come_second_with_a_name_do_not_meet_the_first():
    cache = Cache()
    names = {"cached": cached, "cache": cache, "__name__": "shop"}
    exec("@cached(cache)\ndef f(x): return 1\ng = f\n@cached(cache)\ndef f(x): return 2", names)
    assert (names["g"](0), names["f"](0)) == (1, 2)
    assert names["g"].cache_key(0)[0] == "shop.f" != names["f"].cache_key(0)[0]


def test_cached_functions_with_different_keys_do_not_meet():
    cache = Cache()
    plain = cached(cache)(price.__wrapped__)
    keyed = cached(cache, key=lambda article: ("tea",))(price.__wrapped__)
    assert plain("tea") == ["tea", "EUR"] and keyed("coffee") == ["coffee", "EUR"]


def test_cached_function_decorated_again_shares_its_answers():
    again = cached(SHOP)(price.__wrapped__)
    assert again("tea") is price("tea")


def test_cached_functions_do_not_meet_what_is_set_by_hand():
    SHOP["tea"] = "by hand"
    SHOP["price", ("tea",)] = "by hand"
    assert price("tea") == ["tea", "EUR"]


# ------------------------------------------------------------------ options

def test_cached_key_decides_what_is_the_same_call():
    counter = Counter()
    ask = cached(Cache(), key=lambda query, tags: (query, frozenset(tags)))(counter)
    assert ask("tea", ["a", "b"]) is ask("tea", ["b", "a"]) and len(counter.calls) == 1


def test_cached_ttl_beats_that_of_the_cache():
    clock = ManualClock()
    cache = Cache(ttl=100, clock=clock)
    for options, lasts in [({}, 100), ({"ttl": "5s"}, 5), ({"fresh": Freshness(ttl=7)}, 7)]:
        counter = Counter()
        ask = cached(cache, **options)(counter)
        ask()
        clock.advance(lasts - 0.5)
        ask()
        assert len(counter.calls) == 1
        clock.advance(0.5)
        ask()
        assert len(counter.calls) == 2, options


@pytest.mark.parametrize("tags", ["tea", ("green", "tea"), lambda article: article, lambda article: [article, "drink"]])
def test_cached_tags_invalidate_answers(tags):
    cache, counter = Cache(), Counter()
    ask = cached(cache, tags=tags)(counter)
    assert ask("tea") is ask("tea")
    cache.invalidate_tags("tea")
    ask("tea")
    assert len(counter.calls) == 2
    ask.cache_set("set", "tea")
    assert ask("tea") == "set"
    cache.invalidate_tags("tea")
    assert not ask.cache_contains("tea")


@pytest.mark.parametrize("arguments, options, error, said", [
    (({},), {}, TypeError, "cached: cache must be a samovar.Cache, not {}"),
    ((len,), {}, TypeError, r"cached: cache must be a samovar.Cache, not <built-in function len>; write @cached\(cache\)"),
    ((SHOP, 3), {}, TypeError, "cached: key must be callable or None, not 3"),
    ((SHOP,), {"ttl": 0}, ValueError, "cached: ttl must be more than 0"),
    ((SHOP,), {"fresh": 5}, TypeError, "cached: fresh must be a Freshness or None, not 5"),
    ((SHOP,), {"tags": 5}, TypeError, "cached: tags must be a text"),
])
def test_cached_refuses_a_bad_argument_by_name(arguments, options, error, said):
    with pytest.raises(error, match=said):
        cached(*arguments, **options)


def test_cached_refuses_what_is_no_function():
    with pytest.raises(TypeError, match="cached: fn must be callable, not 3"):
        cached(SHOP)(3)
    with pytest.raises(TypeError, match="put @property above @cached"):
        cached(SHOP)(property(len))


def test_cached_names_the_argument_without_a_hash():
    with pytest.raises(TypeError, match=r"price\(\): argument 'article' is an unhashable list"):
        price([1])
    with pytest.raises(TypeError, match=r"price\(\): argument 'currency' is an unhashable dict"):
        price("tea", currency={})
    with pytest.raises(TypeError, match="key= returned an unhashable list"):
        cached(SHOP, key=lambda x: [x])(len)("abc")


def test_cached_leaves_a_type_error_of_the_function_alone():
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        price()


# ------------------------------------------------------------------ verbs

def test_cached_function_has_verbs_for_its_own_entries():
    assert not price.cache_contains("tea") and price.cache_invalidate("tea") is False
    first = price("tea")
    assert price.cache_contains("tea") and SHOP[price.cache_key("tea")] is first
    assert price.cache_refresh("tea") is price("tea") is not first
    assert price.cache_invalidate("tea") is True and not price.cache_contains("tea")
    assert price.cache_set("set", "tea") is None and price("tea") == "set"
    assert price.cache_key("tea") == price.cache_key("tea") != price.cache_key(article="tea")


def test_cached_verbs_count_no_question():
    price("tea")
    before = SHOP.stats()
    price.cache_contains("tea"), price.cache_contains("coffee"), price.cache_key("tea")
    assert SHOP.stats() == before


# ------------------------------------------------------------------ methods

class Pot:
    def __init__(self, litres):
        self.litres = litres
        self.calls = 0

    @cached(SHOP)
    def cups(self, size):
        self.calls += 1
        return self.litres // size

    @classmethod
    @cached(SHOP)
    def named(cls, name):
        return [cls.__name__, name]

    @staticmethod
    @cached(SHOP)
    def brew(tea):
        return [tea]


class Samovar(Pot):
    pass


def test_cached_methods_tell_instances_apart():
    small, large = Pot(10), Pot(100)
    assert (small.cups(5), large.cups(5), small.cups(5), Pot.cups(large, 5)) == (2, 20, 2, 20)
    assert (small.calls, large.calls) == (1, 1)
    assert Pot.cups.cache_invalidate(small, 5) and not small.cups.cache_contains(small, 5)


def test_cached_methods_of_classes_tell_them_apart():
    assert Pot.named("x") == ["Pot", "x"] and Samovar.named("x") == ["Samovar", "x"]
    assert Pot.brew("x") is Samovar.brew("x") is Pot(1).brew("x")


# ------------------------------------------------------------------ async

@cached(SHOP, tags="weather")
async def weather(city):
    await asyncio.sleep(0)
    return [city]


def test_cached_coroutine_function_answers_from_the_cache():
    async def ask():
        first = await weather("Tula")
        assert await weather("Tula") is first
        assert await weather.cache_refresh("Tula") is not first
        weather.cache_set("rain", "Tula")
        assert await weather("Tula") == "rain" and weather.cache_contains("Tula")
        SHOP.invalidate_tags("weather")
        assert not weather.cache_contains("Tula")
        return await asyncio.gather(*(asyncio.create_task(weather("Omsk")) for _ in range(20)))

    assert inspect.iscoroutinefunction(weather)
    answers = run_async(ask())
    assert all(answer is answers[0] for answer in answers) and SHOP.stats().hits >= 2


def test_cached_coroutine_function_keeps_no_error_and_names_arguments():
    @cached(Cache(), tags=lambda city: [city])
    async def fail(city):
        raise LookupError(city)

    with pytest.raises(LookupError, match="Tula"):
        run_async(fail("Tula"))
    with pytest.raises(TypeError, match="argument 'city' is an unhashable list"):
        run_async(fail(["Tula"]))


# ------------------------------------------------------------------ restarts

PROGRAM = """
import sys
from samovar import Cache, cached
shop = Cache()
calls = []

@cached(shop)
def price(article, currency="EUR"):
    calls.append(article)
    return article + currency

def times(factor):
    return cached(shop)(lambda number: factor * number)

class Tea:
    @staticmethod
    @cached(shop)
    def steep(minutes):
        calls.append(minutes)
        return minutes

path, what, factor = sys.argv[1:]
if what == "load":
    assert shop.load(path) == 4
answers = price("tea"), price("tea", currency="USD"), Tea.steep(4), times(int(factor))(7)
if what == "save":
    shop.save(path)
print(answers, calls)
"""


def test_cached_answers_of_named_functions_survive_a_restart(tmp_path):
    first = fresh_python(PROGRAM, tmp_path / "shop", "save", 2, env={"PYTHONHASHSEED": "1"})
    second = fresh_python(PROGRAM, tmp_path / "shop", "load", 3, env={"PYTHONHASHSEED": "2"})
    assert first.strip() == "('teaEUR', 'teaUSD', 4, 14) ['tea', 'tea', 4]"
    assert second.strip() == "('teaEUR', 'teaUSD', 4, 21) []"
