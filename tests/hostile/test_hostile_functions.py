"""Functions that raise, recurse, and change the memo that is calling them."""

import copy
import functools
import gc
import sys
import types

import pytest

from samovar import cache, cached_method, lru_cache, memoize
from support import check, fresh_python, sum_of

KINDS = {
    "lru_cache": lru_cache(4),
    "cache": cache,
    "memoize": memoize(maxsize=4),
    "memoize-alone": memoize(maxsize=4, coalesce=False),
    "memoize-typed": memoize(maxsize=4, typed=True),
    "memoize-copy": memoize(maxsize=4, copy=lambda value: value),
    "memoize-key": memoize(maxsize=4, key=lambda *args, **kwargs: (args, tuple(kwargs.items()))),
}
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
memoizes = pytest.mark.parametrize("make", [v for k, v in KINDS.items() if k.startswith("memoize")],
                                   ids=[k for k in KINDS if k.startswith("memoize")])


# ------------------------------------------------------------------ functions that raise

@kinds
@pytest.mark.parametrize("kind", [ValueError, TypeError, KeyError, KeyboardInterrupt, SystemExit, GeneratorExit,
                                  StopIteration, MemoryError, RecursionError, BaseException])
def test_function_that_raises_leaves_nothing_behind(make, kind):
    @make
    def f(x):
        if x:
            raise kind("from the function")
        return []

    value = f(0)
    for _ in range(3):
        with pytest.raises(kind, match="from the function") as caught:
            f(1)
        assert caught.value.__context__ is None and caught.value.__cause__ is None
    assert f.cache_info().currsize == 1
    assert f(0) is value


@kinds
def test_function_that_raises_once_is_asked_again(make):
    answers = [ValueError("first"), "second"]

    @make
    def f(x):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError):
        f(1)
    assert f(1) == f(1) == "second"
    assert f.cache_info()[:2] == (1, 2)


@kinds
def test_unhashable_values_are_stored_as_any(make):
    memo = make(lambda x: {x: []})
    assert memo(1) is memo(1)


@kinds
def test_generator_functions_give_the_same_generator_as_functools(make):
    @make
    def numbers(n):
        yield from range(n)

    assert isinstance(numbers(3), types.GeneratorType)
    assert list(numbers(2)) == [0, 1]
    assert list(numbers(2)) == []


@kinds
def test_exception_traceback_shows_the_function(make):
    @make
    def f(x):
        raise ValueError

    with pytest.raises(ValueError) as caught:
        f(1)
    assert [entry.name for entry in caught.traceback][-1] == "f"


# ------------------------------------------------------------------ functions that change their memo

@kinds
def test_function_that_clears_its_memo_is_served(make):
    @make
    def f(x):
        f.cache_clear()
        return [x]

    for x in range(10):
        assert f(x) == [x]
        assert check(f)


@kinds
def test_function_that_fills_its_memo_is_served(make):
    @make
    def f(x):
        if x < 100:
            for n in range(100, 110):
                f(n)
        return [x]

    for x in range(10):
        assert f(x) == [x]
        assert check(f)


@kinds
def test_function_that_calls_itself_with_its_own_key_ends(make):
    depth = []

    @make
    def f(x):
        depth.append(x)
        return [f(x)] if len(depth) < 5 else [x]

    assert f(1) == [[[[[1]]]]]
    assert check(f)
    assert f.cache_info().currsize == 1


@kinds
def test_function_that_calls_itself_and_fails_inside_is_served(make):
    depth = []

    @make
    def f(x):
        depth.append(x)
        if len(depth) == 1:
            with pytest.raises(ValueError):
                f(x)
            return ["outer"]
        raise ValueError

    assert f(1) == ["outer"]
    assert check(f)


@memoizes
@pytest.mark.parametrize("act", ["invalidate", "clear", "set", "refresh"])
def test_change_of_its_own_key_while_it_runs_wins_over_the_load(make, act):
    busy = []

    @make
    def f(x):
        if busy:
            return ["inner"]
        busy.append(1)
        match act:
            case "invalidate":
                f.cache_invalidate(x)
            case "clear":
                f.cache_clear()
            case "set":
                f.cache_set(["set"], x)
            case "refresh":
                assert f.cache_refresh(x) == ["inner"]
        return ["outer"]

    assert f(1) == ["outer"]  # the caller gets what was computed
    assert f.cache_contains(1) is (act in ("set", "refresh"))
    assert check(f)
    if act in ("set", "refresh"):
        assert f(1) == {"set": ["set"], "refresh": ["inner"]}[act]


@memoizes
def test_change_of_another_key_while_it_runs_does_not_disturb_the_load(make):
    @make
    def f(x):
        if x == 1:
            f.cache_set("set", 2)
        return x

    assert f(1) == 1
    assert f(2) == "set"
    assert check(f)


@memoizes
@pytest.mark.parametrize("act", ["invalidate", "clear", "set"])
def test_change_during_a_refresh_wins_over_the_refresh(make, act):
    answers = iter([["first"], ["second"]])

    @make
    def f(x):
        answer = next(answers)
        if answer == ["second"]:
            match act:
                case "invalidate":
                    assert f.cache_invalidate(x) is True
                case "clear":
                    f.cache_clear()
                case "set":
                    f.cache_set(["set"], x)
        return answer

    f(1)
    assert f.cache_refresh(1) == ["second"]
    assert f.cache_contains(1) is (act == "set")
    assert check(f)


@memoizes
def test_refresh_shows_the_old_value_until_it_ends(make):
    seen = []

    @make
    def f(x):
        if len(seen) == 1:
            seen.append(f(x))
        else:
            seen.append(None)
        return [len(seen)]

    old = f(1)
    new = f.cache_refresh(1)
    assert seen[1] is old or seen[1] == old
    assert f(1) == new != old


@memoizes
def test_refresh_of_an_entry_that_is_evicted_meanwhile_is_served(make):
    @make
    def f(x):
        if busy and x == 1:
            for n in range(10, 20):
                f(n)
        return [x]

    busy = []
    f(1)
    busy.append(1)
    assert f.cache_refresh(1) == [1]
    assert check(f)
    assert f.cache_info().currsize == 4


def test_function_that_drops_the_last_reference_to_its_memo_is_served():
    for make in KINDS.values():
        holder = {}

        def f(x):
            holder.clear()
            gc.collect()
            return [x]

        holder["memo"] = make(f)
        assert holder["memo"](1) == [1]
        holder["memo"] = make(f)
        args = (2,)
        assert holder["memo"](*args, **{}) == [2]


def test_copy_that_calls_back_into_the_memo_is_served():
    def copier(value):
        f.cache_clear()
        f.cache_set("other", 5)
        return list(value)

    @memoize(copy=copier)
    def f(x):
        return [x]

    assert f(1) == [1]
    assert f(1) == [1]
    assert check(f)


def test_key_function_that_calls_back_into_the_memo_is_served():
    depth = []

    def key(x):
        if not depth:
            depth.append(1)
            f(x + 1)
            f.cache_clear()
            depth.pop()
        return x

    @memoize(key=key, maxsize=2)
    def f(x):
        return [x]

    for x in range(5):
        assert f(x) == [x]
        assert check(f)


def test_memo_of_itself_through_another_name_is_served():
    memo = memoize(lambda g, x: g(g, x - 1) + 1 if x else 0)
    assert memo(memo, 50) == 50


# ------------------------------------------------------------------ recursion

DEEP = """
import sys, threading
import samovar
sys.setrecursionlimit(200_000)
threading.stack_size(512 * 1024 * 1024)
make = eval(sys.argv[1], vars(samovar))

@make
def total(n):
    return n + total(n - 1) if n else 0

def main():
    assert total(5000) == 5000 * 5001 // 2
    assert total.cache_info().misses == 5001
    assert samovar._core.check(total)

thread = threading.Thread(target=main)
thread.start()
thread.join()
print("done" if total.cache_info().misses == 5001 else "failed")
"""

MAKERS = ["lru_cache(None)", "lru_cache(100)", "cache", "memoize(maxsize=None)", "memoize(coalesce=False)",
          "memoize(maxsize=None, typed=True)", "memoize(maxsize=None, key=lambda n: n)"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on the interpreter itself stops below 5,000: see below")
@pytest.mark.parametrize("make", MAKERS)
def test_recursion_five_thousand_deep_computes(make):
    assert fresh_python("import samovar._core\n" + DEEP, make).strip() == "done"


AS_DEEP = """
import functools, sys, threading
import samovar
sys.setrecursionlimit(200_000)
threading.stack_size(512 * 1024 * 1024)

def deepest(make):
    @make
    def total(n):
        return n + total(n - 1) if n else 0
    low, high = 1, 6000  # low computes, high does not
    while high - low > 1:
        middle = (low + high) // 2
        total.cache_clear()
        try:
            total(middle)
            low = middle
        except RecursionError:
            high = middle
    return low

def main():
    ours, theirs = deepest(eval(sys.argv[1], vars(samovar))), deepest(functools.lru_cache(None))
    print("done" if ours >= theirs else f"only {ours} deep, functools {theirs}")

thread = threading.Thread(target=main)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("make", MAKERS)
def test_recursion_goes_as_deep_as_in_functools(make):
    assert fresh_python("import samovar._core\n" + AS_DEEP, make).strip() == "done"


ENDLESS = """
import sys
import functools, samovar
sys.setrecursionlimit(10 ** 6)
make = eval(sys.argv[1], vars(samovar))

@make
def f(n):
    return f(n + 1)

try:
    f(0)
except RecursionError:
    print("RecursionError")
assert samovar._core.check(f)
assert f.cache_info().currsize == 0
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 has no limit of its own for the C stack: functools crashes")
@pytest.mark.parametrize("make", MAKERS)
def test_endless_recursion_is_an_error_and_not_a_crash(make):
    assert fresh_python("import samovar._core\n" + ENDLESS, make).strip() == "RecursionError"


@pytest.mark.parametrize("make", MAKERS)
def test_endless_recursion_is_an_error_at_the_usual_limit(make):
    code = "import samovar._core\n" + ENDLESS.replace("sys.setrecursionlimit(10 ** 6)", "")
    assert fresh_python(code, make).strip() == "RecursionError"


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("special", ["__abs__", "__repr__", "__hash__"])
def test_endless_recursion_through_a_c_function_is_an_error(make, special):
    """The memo of a builtin is the very method that the builtin calls: no Python function on the way counts the depth,
    and with `__hash__` the recursion is in hashing the argument, before anything is called."""
    code = """
import sys, functools, samovar, samovar._core
make = eval(sys.argv[1], {"functools": functools, **vars(samovar)})
special = sys.argv[2]
builtin = {"__abs__": abs, "__repr__": repr, "__hash__": hash}[special]

class Thing:
    pass

setattr(Thing, special, make(builtin))
try:
    builtin(Thing())
except RecursionError:
    print("RecursionError")
"""
    assert fresh_python(code, make, special).strip() == "RecursionError"


def deepest(make):
    """The deepest recursion of a memoized function at the interpreter's usual limit."""
    return int(fresh_python("""
import sys, functools, samovar, samovar._core
make = eval(sys.argv[1], {"functools": functools, **vars(samovar)})
reached = []

@make
def f(n):
    reached.append(n)
    return f(n + 1)

try:
    f(0)
except RecursionError:
    print(len(reached))
""", make))


@pytest.mark.parametrize("make", ["lru_cache", "memoize"])
def test_recursion_goes_as_deep_as_with_functools(make):
    assert deepest(make) >= deepest("functools.lru_cache") * 0.95


PURE_C_LOOP = """
import functools, sys
import samovar, samovar._core
make = eval(sys.argv[1], vars(samovar))
partial = functools.partial(len)
memo = make(partial)
partial.__setstate__((memo, (), {}, {}))  # the partial calls the memo calls the partial ...: no Python frame anywhere
try:
    memo(1)
except RecursionError:
    print("RecursionError")
assert samovar._core.check(memo)
"""


@pytest.mark.parametrize("make", ["lru_cache", "cache", "lru_cache(0)", "memoize", "memoize(coalesce=False)",
                                  "memoize(maxsize=0)", "memoize(typed=True)"])
def test_endless_recursion_through_c_functions_alone_is_an_error_and_not_a_crash(make):
    assert fresh_python(PURE_C_LOOP, make).strip() == "RecursionError"


NEST_OF_MEMOS = """
import sys
import samovar, samovar._core
make = eval(sys.argv[1], vars(samovar))
memo = len
for _ in range(100_000):
    memo = make(memo)
try:
    memo("abc")
except RecursionError:
    print("RecursionError")
del memo
print("let go")
"""


@pytest.mark.parametrize("make", ["lru_cache", "memoize"])
def test_memos_nested_deep_raise_and_are_let_go_without_a_crash(make):
    assert fresh_python(NEST_OF_MEMOS, make).split() == ["RecursionError", "let", "go"]


CHAIN_OF_VALUES = """
import sys
import samovar, samovar._core
make = eval(sys.argv[1], vars(samovar))
value = None
for _ in range(100_000):
    memo = make(lambda x, value=value: value)
    memo(1)
    memo.__wrapped__ = None
    value = memo
del memo, value
print("let go")
"""

CHAIN_OF_VALUES_ONLY = """
import sys
import samovar, samovar._core
value = None
for _ in range(100_000):
    memo = samovar.memoize(len)
    memo.cache_set(value, 1, 2) if sys.argv[1] == "two" else memo.cache_set(value, 1)
    value = memo
if sys.argv[1] == "key":
    value = None
    for _ in range(100_000):
        memo = samovar.memoize(len)
        memo.cache_set(1, value)
        value = memo
del memo, value
print("let go")
"""


@pytest.mark.parametrize("make", ["lru_cache", "memoize"])
def test_memos_that_hold_each_other_as_values_are_let_go_without_a_crash(make):
    assert fresh_python(CHAIN_OF_VALUES, make).split() == ["let", "go"]


@pytest.mark.parametrize("how", ["one", "two", "key"])
def test_memos_in_a_long_chain_of_entries_are_let_go_without_a_crash(how):
    assert fresh_python(CHAIN_OF_VALUES_ONLY, how).split() == ["let", "go"]


ALREADY_CLEARED = """
# The collector empties the memo; while it drops the entries, one of them asks the memo again. `Last` is tracked by no
# collector (no dict, no slots), so it dies in the middle of the collection; it finds the memo through its class.
import gc, samovar, samovar._core
seen = []

def make_garbage(make):
    class Last:
        __slots__ = ()

        def __del__(self):
            memo = type(self).memo
            for act in (lambda: memo(1), lambda: memo(1, 2), lambda: memo.cache_clear(), lambda: memo.cache_info(),
                        lambda: memo.cache_refresh(3), lambda: memo.cache_set(4, 5), lambda: memo.cache_contains(5),
                        lambda: memo.cache_invalidate(5), lambda: memo.cache_key(5), lambda: memo.cache_stats(),
                        lambda: memo.cache_parameters(), lambda: repr(memo), lambda: memo.__wrapped__,
                        lambda: samovar._core.check(memo)):
                try:
                    seen.append(act())
                except Exception as error:
                    seen.append(error)

    Last.memo = make(lambda *args: Last())
    Last.memo(1), Last.memo(2), Last.memo(1, 2)

for make in (samovar.lru_cache(4), samovar.cache, samovar.memoize(maxsize=4), samovar.memoize(maxsize=None),
             samovar.memoize(coalesce=False), samovar.memoize(typed=True, key=lambda *args: args, copy=lambda x: x),
             samovar.memoize(cache_exceptions=KeyError), samovar.memoize(maxsize=0)):
    for _ in range(3):
        make_garbage(make)
        gc.collect()
print("survived", len(seen) > 100)
"""


def test_memo_that_the_collector_emptied_refuses_without_a_crash():
    assert fresh_python(ALREADY_CLEARED).split() == ["survived", "True"]


# ------------------------------------------------------------------ odd callables

def test_callable_object_that_changes_its_class_is_served():
    class A:
        def __call__(self, x):
            return ["A"]

    class B:
        def __call__(self, x):
            return ["B"]

    thing = A()
    for make in KINDS.values():
        thing.__class__ = A
        memo = make(thing)
        assert memo(1) == ["A"]
        thing.__class__ = B
        assert memo(2) == ["B"]
        assert memo(1) == ["A"]


def test_subclass_of_partial_is_served():
    class Sub(functools.partial):
        pass

    for make in KINDS.values():
        assert make(Sub(sum_of, 1))(2, a=3) == ((1, 2), (("a", 3),))


def test_builtin_types_and_methods_are_served():
    for make in KINDS.values():
        assert make(int)("12") == 12
        assert make(str.upper)("a") == "A"
        assert make(dict)(a=1) == {"a": 1}
        assert make("a-b".split)("-") == ["a", "b"]
        assert make(type)(1) is int
        assert make(print)(end="") is None


def test_function_whose_attributes_are_hostile_is_served():
    class Bad:
        def __call__(self, x):
            return x

        @property
        def __name__(self):
            raise ValueError("no name")

    for make in KINDS.values():
        with pytest.raises(ValueError, match="no name"):
            make(Bad())


def test_deepcopy_inside_a_structure_keeps_the_memo_itself():
    memo = memoize(sum_of)
    structure = {"a": [memo, {"b": memo}], memo: 1}
    copied = copy.deepcopy(structure)
    assert copied["a"][0] is memo and memo in copied


@pytest.mark.parametrize("make", [memoize, cached_method, lru_cache, cache], ids=lambda make: make.__name__)
def test_decorating_the_same_function_twice_makes_two_memos(make):
    def f(*args):
        return [args]

    assert make(f) is not make(f)
