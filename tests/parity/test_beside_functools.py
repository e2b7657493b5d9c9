"""samovar.lru_cache and functools.lru_cache, asked the same things side by side: same answers, same counts, same
errors, same attributes."""

import functools
import inspect
import itertools
import pickle
import random
import re

import pytest
from hypothesis import given, settings, strategies as st

import samovar
from samovar import cache, lru_cache

BOTH = pytest.mark.parametrize("library", [functools, samovar], ids=["functools", "samovar"])


class Word(str):
    pass


class Number(int):
    pass


class Same:
    """Equal to everything of its hash."""

    def __init__(self, hash):
        self.hash = hash

    def __hash__(self):
        return self.hash

    def __eq__(self, other):
        return True


def outcome(act, *args, **kwargs):
    try:
        return act(*args, **kwargs)
    except Exception as error:
        return type(error), clean(str(error))


def clean(text):
    return re.sub(r"samovar\._core\.|samovar\.|functools\.|_?lru_cache_wrapper|Memo|0x[0-9a-f]+", "", text)


# ------------------------------------------------------------------ keys and counts

VALUES = [0, 1, 1.0, True, -1, -2, -1.0, "a", Word("a"), Number(1), b"a", None, (), (1,), (True,), 1 + 0j, 2**61,
          1 % (2**61 - 1), "", Word(""), Number(-1), 2**64, frozenset()]


@pytest.mark.parametrize("typed", [False, True])
def test_two_single_arguments_are_alike_exactly_when_functools_says_so(typed):
    for first, second in itertools.product(VALUES, VALUES):
        pair = [library.lru_cache(typed=typed)(lambda *args: None) for library in (functools, samovar)]
        for memo in pair:
            memo(first)
            memo(second)
        assert pair[0].cache_info() == pair[1].cache_info(), (first, second)


@pytest.mark.parametrize("typed", [False, True])
def test_two_calls_are_alike_exactly_when_functools_says_so(typed):
    calls = [((a, b), {}) for a in (1, 1.0, "a") for b in (1, True)]
    calls += [((a,), {"b": b}) for a in (1, 1.0) for b in (1, True, Number(1))]
    calls += [((), kwargs) for kwargs in ({}, {"a": 1}, {"a": 1.0}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"b": 1})]
    calls += [((), {}), ((1, "b", 2), {}), ((1, 2), {}), (("a", 1), {}), ((("a", 1),), {}), (((),), {}), (((1, 2),), {})]
    for first, second in itertools.product(calls, calls):
        pair = [library.lru_cache(typed=typed)(lambda *args, **kwargs: None) for library in (functools, samovar)]
        for memo in pair:
            memo(*first[0], **first[1])
            memo(*second[0], **second[1])
        assert pair[0].cache_info() == pair[1].cache_info(), (first, second)


@given(maxsize=st.none() | st.integers(-1, 6), typed=st.booleans(),
       calls=st.lists(st.tuples(st.lists(st.sampled_from([*VALUES, []]), max_size=2),
                                st.dictionaries(st.sampled_from("abc"), st.sampled_from(VALUES), max_size=2)),
                      max_size=60))
@settings(deadline=None, max_examples=150)
def test_any_calls_give_the_answers_and_counts_of_functools(maxsize, typed, calls):
    answers = {}
    pair = [library.lru_cache(maxsize, typed)(lambda *args, **kwargs: answers.setdefault(len(answers), [args, kwargs]))
            for library in (functools, samovar)]
    for args, kwargs in calls:
        results = []
        for memo in pair:
            results.append(outcome(memo, *args, **kwargs))
        assert repr(results[0]) == repr(results[1])
        assert pair[0].cache_info() == pair[1].cache_info()


def test_eviction_order_is_that_of_functools():
    chance = random.Random(1914)
    for maxsize in (1, 2, 3, 7, 12, 50):
        logs = [], []
        pair = [library.lru_cache(maxsize)(log.append) for library, log in zip((functools, samovar), logs)]
        for _ in range(3000):
            number = int(chance.expovariate(1 / maxsize))
            for memo in pair:
                memo(number)
        assert logs[0] == logs[1]
        assert pair[0].cache_info() == pair[1].cache_info()


def test_keys_equal_to_everything_of_their_hash_hit_as_in_functools():
    pair = [library.lru_cache()(lambda *args: args) for library in (functools, samovar)]
    infos = []
    for memo in pair:
        for call in ((Same(1),), (1,), (1.0,), ("x", Same(1)), ("x", 1), (Same(1), 2)):
            memo(*call)
        infos.append(memo.cache_info())
    assert infos[0] == infos[1]


# ------------------------------------------------------------------ the decorator's arguments

ODD = [None, 0, 1, -1, -10, 128, True, False, 1.0, 2.5, "12", b"1", [], (), {}, len, 2**31, 2**62, 2**64,
       -(2**70), Number(3), float("nan")]


@pytest.mark.parametrize("maxsize", ODD, ids=repr)
def test_decorator_answers_any_maxsize_as_functools(maxsize):
    def answer(library):
        def act():
            memo = library.lru_cache(maxsize)
            if not hasattr(memo, "cache_info"):
                memo = memo(lambda *args: args)
            memo()
            return repr(memo.cache_info()), repr(memo.cache_parameters())
        return outcome(act)

    assert answer(samovar) == answer(functools)


@pytest.mark.parametrize("typed", [0, 1, "yes", "", None, [], 2.0], ids=repr)
def test_decorator_answers_any_typed_as_functools(typed):
    infos = []
    for library in (functools, samovar):
        memo = library.lru_cache(maxsize=4, typed=typed)(lambda x: x)
        memo(1), memo(1.0), memo(True)
        infos.append((memo.cache_info(), memo.cache_parameters()))
    assert infos[0] == infos[1]


@pytest.mark.parametrize("args, kwargs", [
    ((1, False, 3), {}), ((), {"size": 3}), ((len, 1, 2), {}), ((1,), {"maxsize": 2}), ((), {"user_function": len}),
], ids=repr)
def test_decorator_refuses_odd_calls_with_the_error_of_functools(args, kwargs):
    ours, theirs = outcome(lru_cache, *args, **kwargs), outcome(functools.lru_cache, *args, **kwargs)
    assert ours[0] is theirs[0] is TypeError
    assert ours[1] == theirs[1]


@pytest.mark.parametrize("fn", [1, None, "f", [], object()], ids=lambda fn: type(fn).__name__)
def test_decorator_refuses_what_is_not_callable_as_functools(fn):
    assert outcome(lru_cache(4), fn) == outcome(functools.lru_cache(4), fn)
    assert outcome(cache, fn) == outcome(functools.cache, fn)


@pytest.mark.parametrize("args, kwargs", [(([],), {}), ((1, {}), {}), ((), {"a": []}), ((1, 2, set()), {"b": 1})],
                         ids=repr)
@pytest.mark.parametrize("maxsize", [None, 2])
def test_unhashable_argument_raises_the_error_of_functools(maxsize, args, kwargs):
    pair = [library.lru_cache(maxsize)(lambda *args, **kwargs: 1) for library in (functools, samovar)]
    assert outcome(pair[1], *args, **kwargs) == outcome(pair[0], *args, **kwargs)
    assert pair[0].cache_info() == pair[1].cache_info()


def test_unhashable_argument_is_passed_through_when_nothing_is_stored():
    assert lru_cache(0)(len)([1, 2]) == functools.lru_cache(0)(len)([1, 2]) == 2


@pytest.mark.parametrize("name", ["cache_info", "cache_clear", "cache_parameters"])
def test_verbs_refuse_arguments_as_functools(name):
    for args, kwargs in [((1,), {}), ((), {"x": 1})]:
        with pytest.raises(TypeError):
            getattr(lru_cache(len), name)(*args, **kwargs)


# ------------------------------------------------------------------ what a memo shows of itself

def make(library):
    @library.lru_cache(maxsize=5, typed=True)
    def area(width: int, /, height: "int" = 2, *, unit=None) -> float:
        """Width times height."""
        return width * height
    return area


def test_memo_has_every_attribute_that_functools_gives():
    ours, theirs = make(samovar), make(functools)
    missing = set(dir(theirs)) - set(dir(ours))
    assert missing == set()
    for name in functools.WRAPPER_ASSIGNMENTS:
        if name != "__wrapped__" and hasattr(theirs, name):
            assert getattr(ours, name) == getattr(theirs, name), name


@BOTH
def test_memo_shows_the_function_signature(library):
    assert str(inspect.signature(make(library))) == "(width: int, /, height: 'int' = 2, *, unit=None) -> float"
    assert inspect.unwrap(make(library)).__name__ == "area"
    assert inspect.getdoc(make(library)) == "Width times height."


@BOTH
def test_memo_says_what_inspect_expects_of_it(library):
    memo = make(library)
    assert callable(memo)
    assert not inspect.isfunction(memo)
    assert not inspect.isclass(memo)
    assert inspect.isroutine(memo) is inspect.isroutine(make(functools))
    assert inspect.ismethoddescriptor(memo) is inspect.ismethoddescriptor(make(functools))
    assert not inspect.iscoroutinefunction(memo)


@BOTH
def test_cache_parameters_is_a_fresh_dict_each_time(library):
    memo = make(library)
    memo.cache_parameters()["maxsize"] = 99
    assert memo.cache_parameters() == {"maxsize": 5, "typed": True}


def test_cache_info_is_the_named_tuple_of_functools():
    assert type(lru_cache(len).cache_info()) is type(functools.lru_cache(len).cache_info())
    assert type(cache(len).cache_info()) is functools._CacheInfo


@BOTH
def test_memo_takes_attributes_and_gives_them_up(library):
    memo = make(library)
    memo.colour = "red"
    assert memo.colour == vars(memo)["colour"] == "red"
    del memo.colour
    assert not hasattr(memo, "colour")
    memo.__doc__ = "new"
    assert memo.__doc__ == "new"
    memo.__wrapped__ = None
    assert memo(2, 3) == 6  # the memo calls what it was made for


@BOTH
def test_memo_passes_attributes_of_its_function_on(library):
    def f():
        pass

    f.colour = "red"
    assert library.lru_cache(f).colour == "red"


@BOTH
def test_memo_is_compared_and_hashed_by_identity(library):
    a, b = make(library), make(library)
    assert a != b
    assert len({a, b, a}) == 2


@BOTH
def test_memo_of_a_callable_without_a_name_works(library):
    class Doubler:
        def __call__(self, x):
            return 2 * x

    for fn in (functools.partial(pow, 2), Doubler(), len, int, "abc".count):
        memo = library.lru_cache(fn)
        assert memo.__wrapped__ is fn
        assert memo("3") == fn("3") if fn in (len, int, "abc".count) else memo(3) == fn(3)


@BOTH
def test_memo_in_a_memo_counts_for_itself(library):
    inner = library.lru_cache(2)(lambda x: [x])
    outer = library.lru_cache(1)(inner)
    assert outer(1) is inner(1) is outer(1)
    outer(2)
    assert outer(1) is inner(1)
    assert outer.__wrapped__ is inner


@BOTH
def test_memo_pickles_by_its_qualified_name(library):
    class Fake:
        pass

    memo = make(library)
    assert memo.__reduce__() == memo.__qualname__ == "make.<locals>.area"
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(memo)


@BOTH
def test_memo_decorates_with_and_without_parentheses(library):
    for decorate in (library.lru_cache, library.lru_cache(), library.lru_cache(128), library.lru_cache(maxsize=128),
                     library.lru_cache(128, False), library.lru_cache(128, typed=False)):
        memo = decorate(len)
        assert memo.cache_parameters() == {"maxsize": 128, "typed": False}
    assert library.cache(len).cache_parameters() == {"maxsize": None, "typed": False}
