"""memoize on plain functions: every option and every verb."""

import copy
import datetime
import functools
import inspect
import operator
import pickle
import weakref

import pytest

from samovar import Stats, lru_cache, memoize
from support import Alike, check, collect, sum_of


class Calls(list):
    """A callable that notes what it was asked, and answers with a new object each time."""

    __name__ = "calls"

    def __call__(self, /, *args, **kwargs):
        self.append((args, kwargs))
        return [args, kwargs]


# ------------------------------------------------------------------ forms of decoration

def test_memoize_decorates_bare():
    @memoize
    def double(x):
        """Twice x."""
        return 2 * x

    assert double(2) == double(2) == 4
    assert double.cache_info() == (1, 1, 128, 1)
    assert double.__doc__ == "Twice x."


@pytest.mark.parametrize("decorate", [
    memoize(maxsize=3), memoize(maxsize=3, typed=False), lambda fn: memoize(fn, 3), lambda fn: memoize(fn, maxsize=3),
    memoize(None, maxsize=3), memoize(None, 3),
])
def test_memoize_decorates_with_options(decorate):
    memo = decorate(sum_of)
    assert memo(1) == ((1,), ())
    assert memo.cache_parameters() == {"maxsize": 3, "typed": False}
    assert memo.cache_info() == (0, 1, 3, 1)


def test_memoize_remembers_with_default_options():
    assert memoize(sum_of).cache_parameters() == memoize()(sum_of).cache_parameters() == {"maxsize": 128,
                                                                                        "typed": False}


def test_memoize_wraps_any_callable():
    class Doubler:
        def __call__(self, x):
            return 2 * x

        def method(self, x):
            return 3 * x

    assert memoize(functools.partial(pow, 2))(3) == 8
    assert memoize(Doubler())(3) == 6
    assert memoize(Doubler().method)(3) == 9
    assert memoize(len)("abc") == 3
    assert memoize(int)("12") == 12
    assert memoize(operator.itemgetter(1))("ab") == "b"
    assert memoize(memoize(len))("abc") == 3
    assert memoize(lru_cache(len))("abc") == 3


def test_memoize_works_as_a_method_shared_by_all_instances():
    class Shop:
        factor = 2

        @memoize
        def price(self, x):
            return self.factor * x

        @staticmethod
        @memoize
        def static(x):
            return -x

        @classmethod
        @memoize
        def klass(cls, x):
            return cls.__name__, x

    a, b = Shop(), Shop()
    assert a.price(2) == b.price(2) == a.price(2) == 4
    assert Shop.price.cache_info() == a.price.cache_info() == (1, 2, 128, 2)
    assert Shop.static(1) == a.static(1) == -1
    assert Shop.static.cache_info().hits == 1
    assert Shop.klass(1) == a.klass(1) == ("Shop", 1)
    assert Shop.price(a, 2) == 4
    assert a.price.__self__ is a
    assert a.price.__func__ is Shop.price


# ------------------------------------------------------------------ keys

def test_memoize_finds_equal_numbers_alike():
    memo = memoize(Calls())
    first = memo(1)
    assert memo(1.0) is memo(True) is memo(1 + 0j) is first
    assert memo.cache_info().currsize == 1
    assert memo(0) is memo(False) is memo(-0.0)


def test_memoize_tells_types_apart_when_typed():
    memo = memoize(Calls(), typed=True)
    assert len({id(memo(x)) for x in (1, 1.0, True)}) == 3
    assert len({id(memo(a=x)) for x in (1, 1.0, True)}) == 3
    assert memo(1) is memo(1)
    assert memo((1,)) is memo((1.0,))  # types of arguments, not of what is in them
    assert memo.cache_info() == (3, 7, 128, 7)


def test_memoize_tells_keyword_order_apart():
    memo = memoize(Calls())
    assert memo(a=1, b=2) is not memo(b=2, a=1)
    assert memo(a=1, b=2) is memo(a=1, b=2)


def test_memoize_tells_positional_from_keyword():
    memo = memoize(Calls())
    assert len({id(memo(1, 2)), id(memo(1, b=2)), id(memo(a=1, b=2)), id(memo((1, 2)))}) == 4


def test_memoize_keeps_arguments_that_share_names_with_its_own():
    names = ("fn", "self", "maxsize", "typed", "key", "coalesce", "copy", "value", "args", "kwargs", "cache_exceptions")
    memo = memoize(Calls())
    for name in names:
        assert memo(**{name: 1}) is memo(**{name: 1})
        assert memo.cache_contains(**{name: 1})
        memo.cache_set("set", **{name: 1})
        assert memo(**{name: 1}) == "set"
        assert memo.cache_invalidate(**{name: 1})
        assert memo.cache_refresh(**{name: 1}) == [(), {name: 1}]
        assert memo.cache_key(**{name: 1}) == memo.cache_key(**{name: 1})


def test_key_function_decides_what_is_alike():
    memo = memoize(Calls(), key=lambda *args, **kwargs: len(args))
    assert memo([]) is memo({})
    assert memo([]) is not memo([], [])
    assert memo.cache_contains("anything")
    assert memo.cache_invalidate("whatever")
    assert memo.cache_info() == (2, 2, 128, 1)


def test_key_function_receives_the_arguments_of_the_call():
    seen = Calls()
    memo = memoize(lambda *a, **k: 1, key=lambda *a, **k: len(seen(*a, **k)) and repr((a, k)))
    memo(1, [2], c={})
    assert seen == [((1, [2]), {"c": {}})]


def test_key_function_error_reaches_the_caller_and_changes_nothing():
    memo = memoize(Calls(), key=lambda x: x["id"])
    first = memo({"id": 1})
    for act in (memo, memo.cache_contains, memo.cache_invalidate, memo.cache_refresh, memo.cache_key,
                functools.partial(memo.cache_set, 5)):
        with pytest.raises(KeyError):
            act({})
    assert memo({"id": 1}) is first
    assert memo.cache_info().currsize == 1


def test_key_function_must_return_something_hashable():
    memo = memoize(Calls(), key=lambda x: [x])
    with pytest.raises(TypeError, match=r"(?s)key"):
        memo(1)
    assert memo.cache_info().currsize == 0


def test_unhashable_argument_raises_an_error_that_names_it_and_the_remedy():
    @memoize
    def area(width, height=1, *, unit=None):
        return width

    for call, name in ((lambda: area([1]), "width"), (lambda: area(1, {}), "height"),
                       (lambda: area(1, height=set()), "height"), (lambda: area(1, unit=[1]), "unit")):
        with pytest.raises(TypeError, match=r"key=") as caught:
            call()
        assert name in str(caught.value)
        assert "area" in str(caught.value)
    assert area.cache_info().currsize == 0


def test_unhashable_argument_is_named_by_type_when_the_function_has_no_signature():
    memo = memoize(Calls())
    with pytest.raises(TypeError, match=r"(?s)list.*key=|key=.*list"):
        memo(1, [])


@pytest.mark.parametrize("verb", ["cache_contains", "cache_invalidate", "cache_refresh", "cache_key"])
def test_unhashable_argument_is_refused_by_every_verb(verb):
    memo = memoize(Calls())
    with pytest.raises(TypeError, match="key="):
        getattr(memo, verb)([])
    with pytest.raises(TypeError, match="key="):
        memo.cache_set(1, [])
    assert memo.__wrapped__ == []


def test_cache_key_is_hashable_and_equal_for_like_calls():
    memo = memoize(sum_of)
    assert memo.cache_key(1, b=2) == memo.cache_key(1.0, b=2)
    assert hash(memo.cache_key(1, b=2)) == hash(memo.cache_key(1.0, b=2))
    assert memo.cache_key(1) != memo.cache_key(2)
    assert memo.cache_key(a=1, b=2) != memo.cache_key(b=2, a=1)
    assert memo.cache_key((1, 2)) != memo.cache_key(1, 2)
    assert memo.cache_key() == memo.cache_key()
    typed = memoize(sum_of, typed=True)
    assert typed.cache_key(1) != typed.cache_key(1.0)
    assert memo.cache_info() == (0, 0, 128, 0)


def test_cache_key_is_what_the_key_function_chose():
    memo = memoize(sum_of, key=lambda x: x.upper())
    assert memo.cache_key("a") == memo.cache_key("A") != memo.cache_key("b")


# ------------------------------------------------------------------ size

def test_memo_forgets_the_least_recently_used():
    calls = Calls()
    memo = memoize(calls, maxsize=2)
    memo(1), memo(2), memo(1), memo(3)
    assert memo.cache_contains(1) and memo.cache_contains(3) and not memo.cache_contains(2)
    assert memo.cache_stats().evictions == 1


def test_memo_stores_nothing_when_maxsize_is_zero():
    calls = Calls()
    memo = memoize(calls, maxsize=0)
    assert memo(1) is not memo(1)
    memo.cache_set(5, 1)
    assert not memo.cache_contains(1)
    assert not memo.cache_invalidate(1)
    assert memo.cache_refresh(1) == [(1,), {}]
    assert memo.cache_info() == (0, 2, 0, 0)
    assert len(calls) == 3


def test_memo_grows_without_bound_when_maxsize_is_none():
    memo = memoize(lambda x: -x, maxsize=None)
    assert [memo(x) for x in range(5000)] == [-x for x in range(5000)]
    assert memo.cache_info() == (0, 5000, None, 5000)
    assert memo.cache_stats().evictions == 0
    assert memo.cache_stats().maxsize is None


# ------------------------------------------------------------------ verbs

def test_contains_neither_counts_nor_refreshes_nor_computes():
    calls = Calls()
    memo = memoize(calls, maxsize=2)
    memo(1), memo(2)
    before = memo.cache_info()
    assert memo.cache_contains(1) is True
    assert memo.cache_contains(3) is False
    assert memo.cache_info() == before
    memo(3)
    assert not memo.cache_contains(1)  # asking did not make it young
    assert len(calls) == 3


def test_invalidate_says_whether_it_was_there():
    memo = memoize(Calls())
    first = memo(1)
    assert memo.cache_invalidate(1) is True
    assert memo.cache_invalidate(1) is False
    assert memo(1) is not first
    assert memo.cache_info() == (0, 2, 128, 1)
    assert memo.cache_stats().evictions == 0


def test_set_stores_a_value_without_computing():
    calls = Calls()
    memo = memoize(calls)
    assert memo.cache_set("value", 1, b=2) is None
    assert memo(1, b=2) == "value"
    assert calls == []
    memo.cache_set(None, 1, b=2)
    assert memo(1, b=2) is None
    assert memo.cache_info() == (2, 0, 128, 1)


def test_set_makes_the_entry_young_and_evicts_the_oldest():
    memo = memoize(Calls(), maxsize=2)
    memo(1), memo(2)
    memo.cache_set("new", 1)
    memo.cache_set("other", 3)
    assert memo.cache_contains(1) and memo.cache_contains(3) and not memo.cache_contains(2)


def test_refresh_computes_and_stores():
    calls = Calls()
    memo = memoize(calls)
    first = memo(1)
    second = memo.cache_refresh(1)
    assert second is not first
    assert memo(1) is second
    assert memo.cache_refresh(2) is memo(2)
    assert len(calls) == 3
    assert memo.cache_stats().loads == 3


def test_refresh_that_fails_keeps_the_old_value():
    answers = iter([[1], ValueError("no"), [3]])

    @memoize
    def f(x):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    first = f(1)
    with pytest.raises(ValueError, match="no"):
        f.cache_refresh(1)
    assert f(1) is first
    assert f.cache_refresh(1) == [3]


def test_clear_forgets_everything_and_counts_from_zero():
    memo = memoize(Calls())
    memo(1), memo(1), memo(2)
    assert memo.cache_clear() is None
    assert memo.cache_info() == (0, 0, 128, 0)
    assert memo.cache_stats() == Stats(hits=0, misses=0, coalesced=0, loads=0, failures=0, evictions=0, currsize=0,
                                       maxsize=128)


def test_cached_none_is_a_value():
    calls = []
    memo = memoize(calls.append)
    assert memo(1) is memo(1) is None
    assert calls == [1]
    assert memo.cache_contains(1)


# ------------------------------------------------------------------ exceptions

def test_failing_function_leaves_nothing_behind():
    memo = memoize(lambda x: 1 // x)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            memo(0)
    assert memo.cache_info() == (0, 2, 128, 0)
    stats = memo.cache_stats()
    assert (stats.loads, stats.failures) == (2, 2)
    assert not memo.cache_contains(0)


@pytest.mark.parametrize("named", [KeyError, (KeyError,), (OSError, LookupError), LookupError, BaseException])
def test_named_exceptions_are_remembered_and_raised_again(named):
    calls = []

    @memoize(cache_exceptions=named)
    def find(x):
        calls.append(x)
        raise KeyError(x)

    errors = []
    for _ in range(3):
        with pytest.raises(KeyError) as caught:
            find("a")
        errors.append(caught.value)
    assert calls == ["a"]
    assert [error.args for error in errors] == [("a",)] * 3
    assert find.cache_contains("a")
    assert find.cache_info() == (2, 1, 128, 1)
    find.cache_set("found", "a")
    assert find("a") == "found"


def test_other_exceptions_are_not_remembered():
    calls = []

    @memoize(cache_exceptions=KeyError)
    def find(x):
        calls.append(x)
        raise IndexError(x)

    for _ in range(2):
        with pytest.raises(IndexError):
            find(1)
    assert calls == [1, 1]
    assert not find.cache_contains(1)


def test_remembered_exception_does_not_grow_a_traceback_with_each_hit():
    @memoize(cache_exceptions=KeyError)
    def find(x):
        raise KeyError(x)

    def depth():
        try:
            find(1)
        except KeyError as error:
            count, traceback = 0, error.__traceback__
            while traceback is not None:
                count, traceback = count + 1, traceback.tb_next
            return count

    first = [depth() for _ in range(3)][-1]
    for _ in range(20):
        last = depth()
    assert last <= first + 1


def test_remembered_exception_keeps_at_most_the_frames_of_its_last_caller():
    @memoize(cache_exceptions=KeyError)
    def find(x):
        raise KeyError(x)

    class Heavy:
        pass

    def caller():
        heavy = Heavy()
        try:
            find(1)
        except KeyError:
            pass
        return weakref.ref(heavy)

    refs = [caller() for _ in range(5)]
    collect()
    assert [ref() for ref in refs[:-1]] == [None] * 4


def test_exception_that_is_a_value_is_not_raised():
    memo = memoize(lambda x: KeyError(x), cache_exceptions=KeyError)
    assert isinstance(memo(1), KeyError)
    assert memo(1) is memo(1)


# ------------------------------------------------------------------ copies

def test_copy_gives_every_caller_its_own():
    memo = memoize(lambda: {"a": [1]}, copy=copy.deepcopy)
    first, second = memo(), memo()
    first["a"].append(2)
    assert second == memo() == {"a": [1]}


def test_copy_protects_from_the_caller_that_loaded():
    memo = memoize(lambda: [1], copy=list)
    memo().append(2)
    assert memo() == [1]


def test_copy_that_fails_reaches_the_caller_and_keeps_the_value():
    broken = [True]

    def copier(value):
        if broken[0]:
            raise ValueError("cannot copy")
        return list(value)

    calls = []
    memo = memoize(lambda x: calls.append(x) or [x], copy=copier)
    with pytest.raises(ValueError, match="cannot copy"):
        memo(1)
    broken[0] = False
    assert memo(1) == [1]
    assert len(calls) <= 2


def test_values_are_shared_without_copy():
    memo = memoize(lambda: [])
    assert memo() is memo()


# ------------------------------------------------------------------ bad arguments

@pytest.mark.parametrize("maxsize, error", [
    (-1, ValueError), (-(2**70), ValueError), (1.0, TypeError), ("12", TypeError), ([], TypeError), (True, TypeError),
    (False, TypeError), (float("nan"), TypeError), (b"1", TypeError), (object, TypeError), (len, TypeError),
], ids=repr)
def test_bad_maxsize_is_refused_by_name_value_and_remedy(maxsize, error):
    for decorate in (lambda: memoize(maxsize=maxsize), lambda: memoize(sum_of, maxsize), lambda: memoize(None, maxsize)):
        with pytest.raises(error, match="maxsize") as caught:
            decorate()(sum_of)
        text = str(caught.value)
        assert repr(maxsize) in text or type(maxsize).__name__ in text
        assert "None" in text  # the remedy: what it may be


@pytest.mark.parametrize("maxsize", [2**31, 2**32 - 1, 2**32, 2**40, 2**62], ids=str)
def test_maxsize_beyond_any_memory_is_accepted(maxsize):
    memo = memoize(sum_of, maxsize)
    memo(1), memo(2), memo(1)
    assert memo.cache_info() == (1, 2, maxsize, 2)


def test_maxsize_may_be_anything_with_index():
    class Three:
        def __index__(self):
            return 3

    class Size(int):
        pass

    assert memoize(sum_of, maxsize=Size(3)).cache_info().maxsize == 3
    try:
        memo = memoize(sum_of, maxsize=Three())
    except TypeError as error:
        assert "maxsize" in str(error)
    else:
        assert memo.cache_info().maxsize == 3


@pytest.mark.parametrize("fn", [1, "f", [], object(), 3.5], ids=lambda fn: type(fn).__name__)
def test_what_is_not_callable_is_refused(fn):
    for decorate in (lambda: memoize(fn), lambda: memoize()(fn), lambda: memoize(maxsize=3)(fn)):
        with pytest.raises(TypeError) as caught:
            decorate()
        assert repr(fn) in str(caught.value) or type(fn).__name__ in str(caught.value)


@pytest.mark.parametrize("option, bad", [
    ("key", 1), ("key", "name"), ("copy", 1), ("copy", True), ("cache_exceptions", 1), ("cache_exceptions", "KeyError"),
    ("cache_exceptions", [KeyError]), ("cache_exceptions", (KeyError, int)), ("cache_exceptions", KeyError("a")),
    ("cache_exceptions", object),
], ids=lambda x: str(x))
def test_bad_option_is_refused_by_name(option, bad):
    with pytest.raises(TypeError, match=option):
        memoize(**{option: bad})(sum_of)
    with pytest.raises(TypeError, match=option):
        memoize(sum_of, **{option: bad})


def test_unknown_option_is_refused():
    with pytest.raises(TypeError):
        memoize(sum_of, size=3)
    with pytest.raises(TypeError):
        memoize(sum_of, 3, False, None)
    with pytest.raises(TypeError):
        memoize(fn=sum_of)


# ------------------------------------------------------------------ what a memo shows of itself

@memoize(maxsize=7, typed=True)
def area(width: int, /, height: "int" = 2, *, unit=None) -> float:
    """Width times height."""
    return width * height


class Shape:
    @memoize
    def method(self, x):
        return x

    @staticmethod
    @memoize
    def static(x):
        return x


def test_memo_has_the_attributes_of_its_function():
    assert (area.__name__, area.__qualname__, area.__module__) == ("area", "area", __name__)
    assert area.__doc__ == "Width times height."
    assert area.__wrapped__(2, 3) == 6
    assert area.__wrapped__.__annotations__ == area.__annotations__
    assert str(inspect.signature(area)) == "(width: int, /, height: 'int' = 2, *, unit=None) -> float"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("memo", [area, Shape.method, Shape.static], ids=["function", "method", "static"])
def test_memo_pickles_by_name(memo, protocol):
    assert pickle.loads(pickle.dumps(memo, protocol)) is memo


def test_memo_copies_are_the_memo_itself():
    for memo in (area, Shape.method, memoize(len)):
        assert copy.copy(memo) is copy.deepcopy(memo) is memo
        assert copy.deepcopy([memo])[0] is memo


def test_memo_can_be_referenced_weakly():
    memo = memoize(sum_of)
    ref = weakref.ref(memo)
    assert ref() is memo
    assert weakref.WeakSet([memo])


def test_memo_has_a_repr_whatever_it_wraps():
    assert repr(area).startswith("<")
    assert repr(memoize(functools.partial(len)))


def test_memo_takes_any_attribute():
    memo = memoize(sum_of)
    memo.colour = "red"
    assert memo.colour == "red" == vars(memo)["colour"]
    del memo.colour
    with pytest.raises(AttributeError):
        memo.colour


def test_memo_verbs_can_be_kept_and_passed_on():
    memo = memoize(Calls())
    info, clear, invalidate = memo.cache_info, memo.cache_clear, memo.cache_invalidate
    memo(1)
    assert info().currsize == 1
    assert invalidate(1)
    clear()
    assert info() == (0, 0, 128, 0)


def test_memo_outlives_its_name_through_a_verb():
    verb = memoize(Calls()).cache_refresh
    assert verb(1) == [(1,), {}]


def test_memo_raises_what_a_wrong_call_raises():
    with pytest.raises(TypeError, match="area"):
        area()
    with pytest.raises(TypeError, match="unexpected keyword"):
        area(1, depth=2)
    assert not area.cache_contains()


# ------------------------------------------------------------------ statistics

def test_stats_count_everything():
    memo = memoize(lambda x: 1 // x, maxsize=2)
    for x in (1, 1, 2, 3, 1):
        memo(x)
    with pytest.raises(ZeroDivisionError):
        memo(0)
    stats = memo.cache_stats()
    assert stats == Stats(hits=1, misses=5, coalesced=0, loads=5, failures=1, evictions=2, currsize=2, maxsize=2)
    assert stats.hit_ratio == pytest.approx(1 / 6)


def test_stats_hit_ratio_is_zero_when_nothing_was_asked():
    assert memoize(len).cache_stats().hit_ratio == 0.0


def test_stats_are_frozen_and_comparable():
    stats = memoize(len).cache_stats()
    with pytest.raises(AttributeError):
        stats.hits = 3
    assert stats == memoize(len).cache_stats()
    assert hash(stats) == hash(memoize(len).cache_stats())
    assert pickle.loads(pickle.dumps(stats)) == stats
    assert "hits=0" in repr(stats)


# ------------------------------------------------------------------ coalescing changes nothing for one thread

@pytest.mark.parametrize("coalesce", [True, False])
def test_recursion_computes_with_and_without_coalescing(coalesce):
    @memoize(maxsize=None, coalesce=coalesce)
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(90) == 2880067194370816120
    assert fib.cache_info() == (88, 91, None, 91)


@pytest.mark.parametrize("coalesce", [True, False])
def test_call_that_asks_for_its_own_key_computes(coalesce):
    depth = []

    @memoize(coalesce=coalesce)
    def f(x):
        depth.append(x)
        return f(x) + [x] if len(depth) < 3 else [x]

    assert f(1) == [1, 1, 1]
    assert f.cache_contains(1)
    assert f(1) in ([1], [1, 1], [1, 1, 1])
    assert len(depth) == 3


def test_keys_of_many_kinds_live_side_by_side():
    keys = [1, "1", b"1", 1.5, None, (1,), frozenset({1}), datetime.date(2020, 1, 1), len, int, Ellipsis, Alike("x")]
    memo = memoize(Calls(), typed=True)
    answers = [memo(key) for key in keys]
    assert all(memo(key) is answer for key, answer in zip(keys, answers))
    assert check(memo)
