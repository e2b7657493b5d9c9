"""Keys that lie, raise, change, call back, clear, die or let other threads in, while they are hashed or compared."""

import gc
import sys
import threading
import weakref

import pytest

from samovar import cache, cached_method, lru_cache, memoize
from support import Alike, check, fresh_python, sum_of, together

KINDS = {
    "lru_cache": lambda fn, maxsize=128: lru_cache(maxsize)(fn),
    "lru_cache-typed": lambda fn, maxsize=128: lru_cache(maxsize, typed=True)(fn),
    "memoize": lambda fn, maxsize=128: memoize(fn, maxsize),
    "memoize-typed": lambda fn, maxsize=128: memoize(fn, maxsize, typed=True),
    "memoize-alone": lambda fn, maxsize=128: memoize(fn, maxsize, coalesce=False),
}
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
sizes = pytest.mark.parametrize("maxsize", [1, 2, 128, None])


class Key:
    """A key whose hash and equality do what the test says."""

    def __init__(self, name=0, hash=7, on_hash=None, on_eq=None):
        self.name, self.hash, self.on_hash, self.on_eq = name, hash, on_hash, on_eq

    def __hash__(self):
        if self.on_hash is not None:
            self.on_hash()
        return self.hash

    def __eq__(self, other):
        for key in (self, other):
            if getattr(key, "on_eq", None) is not None:
                key.on_eq()
        return isinstance(other, Key) and self.name == other.name


def error(kind=ZeroDivisionError):
    raise kind("from a key")


# ------------------------------------------------------------------ keys that raise

@kinds
def test_key_whose_hash_raises_changes_nothing(make):
    memo = make(sum_of)
    memo(1)
    before = memo.cache_info()
    for call in ((Key(on_hash=error),), (1, Key(on_hash=error)), (Key(on_hash=error), 1)):
        with pytest.raises(ZeroDivisionError):
            memo(*call)
    with pytest.raises(ZeroDivisionError):
        memo(1, a=Key(on_hash=error))
    assert memo.cache_info().currsize == before.currsize
    assert memo(1) == ((1,), ())
    assert check(memo)


@kinds
@sizes
def test_key_whose_equality_raises_changes_nothing(make, maxsize):
    memo = make(sum_of, maxsize)
    first = Key("a")
    value = memo(first)
    with pytest.raises(ZeroDivisionError):
        memo(Key("b", on_eq=error))
    with pytest.raises(ZeroDivisionError):
        memo(Key("a", on_eq=error))
    assert memo.cache_info().currsize == 1
    assert memo(first) is value
    assert check(memo)


@pytest.mark.parametrize("verb", ["cache_contains", "cache_invalidate", "cache_refresh"])
def test_key_whose_equality_raises_leaves_the_verbs_harmless(verb):
    memo = memoize(sum_of)
    memo(Key("a"))
    with pytest.raises(ZeroDivisionError):
        getattr(memo, verb)(Key("b", on_eq=error))
    with pytest.raises(ZeroDivisionError):
        memo.cache_set(1, Key("b", on_eq=error))
    assert memo.cache_info().currsize == 1


@kinds
def test_key_that_raises_only_after_the_function_ran_leaves_the_memo_sound(make):
    """The key is looked up, the function changes the memo, and the second look raises."""
    angry = []

    def raise_when_angry():
        if angry:
            error()

    @make
    def f(key):
        memo = f
        if key.name == "a":
            angry.append(1)
            try:
                memo(Key("b"))
            except ZeroDivisionError:
                pass
        return key.name

    f(Key("c"))
    try:
        f(Key("a", on_eq=raise_when_angry))
    except ZeroDivisionError:
        pass
    angry.clear()
    assert f(Key("b")) == "b"
    assert check(f)


def test_key_with_exceptions_that_are_not_errors_lets_them_through():
    memo = memoize(sum_of)
    for kind in (KeyboardInterrupt, SystemExit, GeneratorExit, BaseException, RecursionError, MemoryError):
        with pytest.raises(kind):
            memo(Key(on_hash=lambda: error(kind)))
        memo(Key("there"))
        with pytest.raises(kind):
            memo(Key("other", on_eq=lambda: error(kind)))
    assert memo.cache_info().currsize == 1


def test_key_whose_own_type_error_is_not_hidden():
    memo = memoize(sum_of)
    with pytest.raises(TypeError) as caught:
        memo(Key(on_hash=lambda: error(TypeError)))
    chain = f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert "from a key" in chain


@pytest.mark.parametrize("answer", [None, "x", 1.5, [], object()], ids=lambda x: type(x).__name__)
def test_key_whose_hash_is_no_number_is_refused(answer):
    class Liar:
        def __hash__(self):
            return answer

    for memo in (lru_cache(sum_of), memoize(sum_of), memoize(sum_of, typed=True)):
        with pytest.raises(TypeError):
            memo(Liar())


def test_key_whose_equality_answers_odd_things_is_judged_by_truth():
    class Odd(Key):
        answer = None

        def __hash__(self):
            return 7

        def __eq__(self, other):
            return self.answer

    for answer, alike in ((1, True), ([0], True), ([], False), (None, False), (NotImplemented, False), ("x", True)):
        memo = memoize(lambda key: object())
        stored, asked = Odd(), Odd()
        stored.answer = asked.answer = answer
        assert (memo(stored) is memo(asked)) is alike

    class NoTruth:
        def __bool__(self):
            error()

    memo = memoize(sum_of)
    memo(Odd())
    asked = Odd()
    Odd.answer = NoTruth()
    with pytest.raises(ZeroDivisionError):
        memo(asked)


# ------------------------------------------------------------------ keys that change

@kinds
def test_key_that_changes_its_hash_is_lost_but_harms_nothing(make):
    memo = make(lambda key: key.name, 4)
    keys = [Key(n, hash=n) for n in range(8)]
    for key in keys:
        memo(key)
        key.hash += 1000
    assert check(memo)
    for key in keys:
        memo(key)
    for n in range(20):
        memo(n_key := Key(n, n))
        n_key.hash = hash("other")
    assert memo.cache_info().currsize == 4
    assert check(memo)


@kinds
def test_key_that_changes_its_equality_harms_nothing(make):
    memo = make(lambda key: key.name)
    keys = [Key(n) for n in range(10)]
    for key in keys:
        memo(key)
    for key in keys:
        key.name = "same"
    assert memo(keys[3]) in range(10) or memo(keys[3]) == "same"
    assert check(memo)


@kinds
def test_key_that_changes_its_type_harms_nothing(make):
    class Other(Key):
        pass

    memo = make(lambda *keys: len(keys))
    key = Key("a")
    memo(key), memo(key, key)
    key.__class__ = Other
    assert (memo(key), memo(key, key)) == (1, 2)
    del key
    gc.collect()
    assert check(memo)


# ------------------------------------------------------------------ keys that call back

@kinds
@sizes
def test_key_whose_equality_clears_the_memo_is_served(make, maxsize):
    memo = make(lambda *args: [a.name for a in args], maxsize)
    for n in range(5):
        memo(Key(n)), memo(Key(n), Key(n))
    for n in range(5):
        assert memo(Key(n, on_eq=memo.cache_clear)) == [n]
        assert memo(Key(n, on_eq=memo.cache_clear), Key(n)) == [n, n]
        assert check(memo)


@kinds
@sizes
def test_key_whose_hash_clears_the_memo_is_served(make, maxsize):
    memo = make(lambda *args: [a.name for a in args], maxsize)
    for n in range(5):
        memo(Key(n))
        assert memo(Key(n, on_hash=memo.cache_clear)) == [n]
        assert memo(Key(n), Key(n, on_hash=memo.cache_clear)) == [n, n]
    assert check(memo)


@kinds
@sizes
def test_key_whose_equality_calls_the_same_memo_is_served(make, maxsize):
    memo = make(lambda key: key.name, maxsize)
    depth = []

    def again():
        if len(depth) < 3:
            depth.append(1)
            memo(Key("inner", hash=11))
            depth.pop()

    for n in range(6):
        memo(Key(n))
    for n in range(6):
        assert memo(Key(n, on_eq=again)) == n
    assert check(memo)


@kinds
def test_key_whose_equality_asks_for_the_same_key_is_served(make):
    memo = make(lambda key: key.name)
    depth = []

    def again():
        if len(depth) < 3:
            depth.append(1)
            assert memo(Key("same", on_eq=again)) == "same"
            depth.pop()

    memo(Key("same"))
    assert memo(Key("same", on_eq=again)) == "same"
    assert check(memo)


STORM_IN_EQUALITY = """
import itertools, sys
import samovar
kind, maxsize = sys.argv[1], eval(sys.argv[2])
fresh = itertools.count(10)

class Key:
    def __init__(self, name):
        self.name = name
    def __hash__(self):
        return 7
    def __eq__(self, other):
        memo(next(fresh))  # every comparison changes the memo
        return isinstance(other, Key) and self.name == other.name

def fn(key):
    return getattr(key, "name", key)

memo = samovar.lru_cache(maxsize)(fn) if kind == "lru_cache" else samovar.memoize(fn, maxsize)
for name in range(4):
    assert memo(Key(name)) == name
for name in range(4):
    assert memo(Key(name)) == name
assert samovar._core.check(memo)
"""


@pytest.mark.parametrize("maxsize", [1, 3, 128, None])
@pytest.mark.parametrize("kind", ["lru_cache", "memoize"])
def test_lookup_ends_when_every_comparison_adds_an_entry(kind, maxsize):
    """functools ends too: a lookup may not start again for ever because the memo moved under it."""
    fresh_python("import samovar._core\n" + STORM_IN_EQUALITY, kind, maxsize, limit=20)


@pytest.mark.parametrize("maxsize", [5, 128, None])
def test_lookup_ends_when_every_comparison_takes_an_entry_out(maxsize):
    fresh_python("""
import samovar, samovar._core, sys

class Key:
    def __init__(self, name):
        self.name = name
    def __hash__(self):
        return 7
    def __eq__(self, other):
        memo.cache_set(1, "other")
        memo.cache_invalidate("other")
        return isinstance(other, Key) and self.name == other.name

memo = samovar.memoize(lambda key: key.name, eval(sys.argv[1]))
for name in (0, 1, 0, 1, 2):
    assert memo(Key(name)) == name
assert samovar._core.check(memo)
""", maxsize, limit=20)


@kinds
@sizes
def test_keys_that_do_something_else_at_every_comparison_leave_the_memo_sound(make, maxsize, seed=7):
    import random

    chance = random.Random(seed)
    memo = make(lambda key: key.name if isinstance(key, Key) else key, maxsize)
    busy = []

    def mischief():
        if busy:
            return
        busy.append(1)
        try:
            match chance.randrange(6):
                case 0:
                    memo.cache_clear()
                case 1:
                    memo(chance.randrange(50))
                case 2:
                    memo(Key(chance.randrange(50)))
                case 3 if hasattr(memo, "cache_invalidate"):
                    memo.cache_invalidate(Key(chance.randrange(50)))
                case 4 if hasattr(memo, "cache_set"):
                    memo.cache_set(5, chance.randrange(50) + 1000)
                case 5:
                    gc.collect(0)
        finally:
            busy.pop()

    for _ in range(400):
        name = chance.randrange(12)
        assert memo(Key(name, on_eq=mischief)) == name
        assert check(memo)


@kinds
def test_key_that_is_the_memo_itself_is_a_key_as_any(make):
    memo = make(lambda x: [x])
    assert memo(memo) is memo(memo)
    assert memo(memo, ) == [memo]
    memo.cache_clear()


@pytest.mark.parametrize("verb", ["cache_contains", "cache_invalidate", "cache_set", "cache_refresh"])
def test_verbs_stand_keys_that_clear_while_compared(verb):
    memo = memoize(lambda key: key.name)
    for n in range(5):
        memo(Key(n))
        act = getattr(memo, verb)
        key = Key(n, on_eq=memo.cache_clear)
        act("set", key) if verb == "cache_set" else act(key)
        assert check(memo)


@kinds
def test_stored_key_thrown_out_while_it_is_compared_stays_alive(make):
    memo = make(lambda *key: 1, 1)

    def evict():
        memo("another", 1)
        gc.collect()

    for _ in range(10):
        memo(Key("stored", on_eq=evict), Key("x"))
        memo(Key("asked", on_eq=evict), Key("y"))
        memo(Key("stored", on_eq=evict))
        memo(Key("asked", on_eq=evict))
    assert check(memo)


# ------------------------------------------------------------------ keys that let other threads in

def test_keys_that_release_the_gil_while_compared_leave_the_memo_sound():
    pause = threading.Event()

    def breathe():
        pause.wait(0.0001)

    @memoize(maxsize=6)
    def f(key):
        return key.name

    def ask():
        for n in range(40):
            assert f(Key(n % 9, on_eq=breathe)) == n % 9
            if n % 13 == 0:
                f.cache_clear()
            if n % 7 == 0:
                f.cache_invalidate(Key(n % 9, on_eq=breathe))

    together(*[ask] * 4)
    assert check(f)


def test_keys_that_release_the_gil_while_hashed_leave_the_drop_in_sound():
    pause = threading.Event()
    f = lru_cache(6)(lambda key: key.name)

    def ask():
        for n in range(60):
            key = Key(n % 9, on_hash=lambda: pause.wait(0.0001), on_eq=lambda: pause.wait(0.0001))
            assert f(key) == n % 9
            if n % 13 == 0:
                f.cache_clear()

    together(*[ask] * 4)
    assert check(f)


# ------------------------------------------------------------------ keys and values that die at odd moments

class Dying:
    """Acts when it dies."""

    def __init__(self, act, name=0):
        self.act, self.name = act, name

    def __hash__(self):
        return 7

    def __eq__(self, other):
        return isinstance(other, Dying) and self.name == other.name

    def __del__(self):
        self.act()


@kinds
@pytest.mark.parametrize("maxsize", [1, 2, 5, None])
@pytest.mark.parametrize("what", ["call", "clear", "hit", "many", "collect"])
def test_keys_and_values_that_reenter_when_they_die_are_safe(make, maxsize, what):
    memo = make(lambda *args: Dying(act, args and args[0]), maxsize)
    depth = []

    def act():
        if len(depth) > 2:
            return
        depth.append(1)
        try:
            match what:
                case "call":
                    memo(-1 - len(depth))
                case "clear":
                    memo.cache_clear()
                case "hit":
                    memo(1)
                case "many":
                    for n in range(100, 108):
                        memo(n)
                case "collect":
                    gc.collect()
        finally:
            depth.pop()

    for n in range(12):
        memo(n)
        memo(Dying(act, n))
        memo(Dying(act, n), n)
        assert check(memo)
    memo.cache_clear()
    assert check(memo)
    if hasattr(memo, "cache_set"):
        for n in range(6):
            memo.cache_set(Dying(act), n)
            memo.cache_set(Dying(act), n)
            memo.cache_invalidate(n)
            memo.cache_refresh(n)
            assert check(memo)
    depth.extend([1] * 5)  # quiet from here on
    memo.cache_clear()


@kinds
def test_weakref_callbacks_that_reenter_are_safe(make):
    class Value:
        pass

    refs = []
    memo = make(lambda n: Value(), 2)

    def gone(ref):
        memo(len(refs))
        memo.cache_clear()

    for n in range(30):
        refs.append(weakref.ref(memo(n), gone))
        assert check(memo)
    refs.clear()


def test_value_that_drops_the_memo_when_it_dies_is_safe():
    for make in KINDS.values():
        holder = {}

        class Last:
            def __del__(self):
                holder.clear()

        holder["memo"] = make(lambda n: Last())
        holder["memo"](1)
        holder["memo"].cache_clear()
        assert holder == {}


def test_value_that_revives_itself_is_kept():
    alive = []

    class Lazarus:
        def __del__(self):
            alive.append(self)

    memo = memoize(lambda n: Lazarus(), maxsize=1)
    for n in range(5):
        memo(n)
    memo.cache_clear()
    assert len(alive) == 5
    assert check(memo)


def test_method_whose_instance_dies_while_called_is_safe():
    class C:
        @cached_method
        def f(self, key):
            return key

    for _ in range(10):
        def forget():
            holder.clear()
            gc.collect()

        holder = [C()]
        assert holder[0].f(Key("a")).name == "a"
        assert holder[0].f(Key("b", on_eq=forget)).name == "b"
        assert holder == []
    assert check(C.f)


# ------------------------------------------------------------------ special values

@kinds
def test_minus_one_and_minus_two_are_different_keys(make):
    memo = make(lambda *args: list(args))
    assert memo(-1) == [-1] and memo(-2) == [-2]
    assert memo(-1, -2) == [-1, -2] and memo(-2, -1) == [-2, -1]
    assert memo(-1.0) in ([-1.0], [-1]) and memo(-2.0) in ([-2.0], [-2])
    assert memo(-1) == [-1] and memo(-2) == [-2]
    minus = Alike("minus", -1)
    assert memo(minus) is memo(minus)


@kinds
def test_nan_is_found_by_identity(make):
    memo = make(lambda *args: list(args))
    nan, other = float("nan"), float("nan")
    assert memo(nan) is memo(nan)
    assert memo(nan) is not memo(other)
    assert memo(1, nan) is memo(1, nan)
    assert memo((nan,)) is memo((nan,))


@kinds
def test_numbers_of_every_size_are_told_apart(make):
    memo = make(lambda n: [n], None)
    modulus = sys.hash_info.modulus
    numbers = {sign * (base + d) for sign in (1, -1) for d in (-1, 0, 1)
               for base in (0, 2**30, 2**31, 2**32, 2**60, 2**63, 2**64, modulus, 2 * modulus, 2**1000)}
    for number in numbers:
        assert memo(number) == [number]
    for number in numbers:
        assert memo(number) == [number]
        assert memo(int(str(number))) is memo(number)
    assert memo.cache_info().currsize == len(numbers)


@kinds
def test_strings_of_every_kind_are_told_apart(make):
    memo = make(lambda s: [s], None)
    strings = ["", "a", "é", "\u0100", "\U0001F600", "a\0b", "a\0", "a" * 10_000, "\ud800", "A", "ａ"]
    for string in strings:
        assert memo(string) == [string]
    for string in strings:
        again = "".join(list(string))
        assert memo(again) is memo(string)
    assert memo.cache_info().currsize == len(strings)


def test_strings_and_bytes_are_told_apart_with_and_without_warnings():
    fresh_python("""
from samovar import lru_cache, memoize
for make in (lru_cache(None), memoize(maxsize=None), memoize(maxsize=None, typed=True)):
    memo = make(lambda x: [x])
    for x in ("a", b"a", "", b"", 0, False, 97):
        memo(x)
    assert memo("a") == ["a"] and memo(b"a") == [b"a"]
""", flags=["-b"])


def test_subclasses_with_their_own_equality_are_asked():
    class Shouting(str):
        def __eq__(self, other):
            return str.upper(self) == str.upper(other)

        def __hash__(self):
            return hash(str.upper(self))

    class Mod(int):
        def __eq__(self, other):
            return int(self) % 10 == int(other) % 10

        def __hash__(self):
            return int(self) % 10

    memo = memoize(lambda x: [x])
    assert memo(Shouting("a")) is memo(Shouting("A"))
    assert memo(Mod(3)) is memo(Mod(13)) is memo(3)
    assert memo(13) is not memo(3)
    plain = lru_cache()(lambda x: [x])
    assert plain(Mod(3)) is plain(Mod(13))
    assert plain(3) is not plain(Mod(3))
    assert check(memo) and check(plain)


# ------------------------------------------------------------------ many of a kind

@pytest.mark.parametrize("make", [cache, memoize(maxsize=None), lru_cache(10_000), memoize(maxsize=5000)],
                         ids=["cache", "memoize", "lru_cache", "memoize-evicting"])
def test_ten_thousand_keys_of_one_hash_are_all_found(make):
    modulus = sys.hash_info.modulus
    memo = make(lambda n: n // modulus)
    keys = [n * modulus for n in range(10_000)]  # their hash is 0
    assert [memo(key) for key in keys] == list(range(10_000))
    recent = keys[-100:]
    assert [memo(key) for key in recent] == list(range(9_900, 10_000))
    assert memo.cache_info().hits == 100
    assert check(memo)
    memo.cache_clear()
    assert check(memo)


def test_keys_of_one_hash_leave_no_slow_neighbourhood_behind():
    """Once the colliding keys are gone, other keys are as fast as ever: counted in comparisons, not in time."""
    memo = memoize(lambda key: None, maxsize=3000)
    for n in range(3000):
        memo(Alike(n))
    for n in range(6000):
        memo(n)
    assert check(memo)
    asked = []

    class Counting(Alike):
        __hash__ = Alike.__hash__

        def __eq__(self, other):
            asked.append(other)
            return super().__eq__(other)

    for n in range(50):
        memo(Counting(n, hash=n * 1_000_003))
    assert len(asked) <= 50


@kinds
def test_crafted_integers_do_not_slow_the_memo_down(make):
    """Keys that share their low or their high bits: nothing is quadratic."""
    memo = make(lambda n: n, None)
    for shift in (3, 8, 16, 24, 32, 40, 48, 56):
        for n in range(3000):
            memo((n << shift) % (2**61 - 1))
    for n in range(3000):
        memo(pow(5, n, 2**61 - 1))
    assert check(memo)


@kinds
def test_huge_keyword_sets_are_keys(make):
    memo = make(lambda **kwargs: len(kwargs))
    names = {f"name_{n}": n for n in range(3000)}
    assert memo(**names) == memo(**names) == 3000
    assert memo.cache_info() == (1, 1, 128, 1)
    backwards = dict(reversed(names.items()))
    assert memo(**backwards) == 3000
    assert memo.cache_info().misses == 2
    assert memo(**{**names, "name_1": -1}) == 3000
    assert memo.cache_info().misses == 3


@kinds
def test_huge_positional_sets_are_keys(make):
    memo = make(lambda *args: len(args))
    args = list(range(100_000))
    assert memo(*args) == memo(*args) == 100_000
    assert memo(*args[:-1], -5) == 100_000
    assert memo.cache_info() == (1, 2, 128, 2)


@kinds
def test_keyword_names_that_are_odd_strings_are_keys(make):
    class Name(str):
        def __hash__(self):
            return 1

        def __eq__(self, other):
            return str.__eq__(self, other)

    memo = make(lambda **kwargs: list(kwargs))
    for name in ("", " ", "a b", "\N{SNOWMAN}", "\ud800", "class", Name("x")):
        assert memo(**{name: 1}) == [name]
        assert memo(**{name: 1}) == [name]
    with pytest.raises(TypeError):
        memo(**{1: 1})
    assert check(memo)
