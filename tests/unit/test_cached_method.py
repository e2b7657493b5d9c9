"""cached_method: entries of one instance, which never keep the instance alive."""

import abc
import asyncio
import copy
import dataclasses
import functools
import gc
import inspect
import pickle
import weakref

import pytest

from samovar import cached_method
from support import check, classes_can_go, collect, run_async


class Shop:
    def __init__(self, factor=2):
        self.factor = factor
        self.calls = []

    @cached_method
    def price(self, x, *, tax=0):
        """What x costs."""
        self.calls.append(x)
        return [self.factor * x + tax]

    @cached_method(maxsize=2)
    def small(self, x):
        self.calls.append(x)
        return [x]

    @property
    @cached_method
    def total(self):
        self.calls.append("total")
        return [sum(c for c in self.calls if isinstance(c, int))]

    @cached_method
    async def later(self, x):
        self.calls.append(x)
        await asyncio.sleep(0)
        return [self.factor * x]


# ------------------------------------------------------------------ entries per instance

def test_method_remembers_per_instance():
    a, b = Shop(2), Shop(3)
    assert a.price(5) is a.price(5)
    assert b.price(5) == [15]
    assert a.price(5) == [10]
    assert (a.calls, b.calls) == ([5], [5])
    assert a.price(5, tax=1) == [11]


def test_method_counts_per_instance():
    a, b = Shop(), Shop()
    a.price(1), a.price(1), b.price(2)
    assert a.price.cache_info() == (1, 1, 128, 1)
    assert b.price.cache_info() == (0, 1, 128, 1)
    stats = a.price.cache_stats()
    assert (stats.hits, stats.misses, stats.loads, stats.currsize) == (1, 1, 1, 1)


def test_method_maxsize_is_per_instance():
    shops = [Shop() for _ in range(5)]
    for shop in shops:
        for x in (1, 2, 3):
            shop.small(x)
    for shop in shops:
        assert shop.small.cache_info() == (0, 3, 2, 2)
        assert [shop.small.cache_contains(x) for x in (1, 2, 3)] == [False, True, True]


def test_method_clears_one_instance_or_all():
    a, b = Shop(), Shop()
    a.price(1), b.price(1)
    a.price.cache_clear()
    assert not a.price.cache_contains(1)
    assert b.price.cache_contains(1)
    a.price(1)
    Shop.price.cache_clear()
    assert not a.price.cache_contains(1) and not b.price.cache_contains(1)
    assert a.price(1) == [2]


def test_method_verbs_act_on_one_instance():
    a, b = Shop(), Shop()
    a.price(1), b.price(1)
    assert a.price.cache_invalidate(1) is True
    assert a.price.cache_invalidate(1) is False
    assert b.price.cache_contains(1) is True
    assert a.price.cache_set(["set"], 1, tax=2) is None
    assert a.price(1, tax=2) == ["set"]
    assert b.price.cache_refresh(1) == [2]
    assert len(b.calls) == 2
    assert a.price.cache_parameters() == {"maxsize": 128, "typed": False}
    assert a.price.cache_key(1) == a.price.cache_key(1)
    assert a.price.cache_key(1) != a.price.cache_key(2)


def test_method_called_through_the_class_is_the_same():
    a = Shop()
    assert Shop.price(a, 1) is a.price(1)
    assert a.calls == [1]


def test_method_kept_in_a_variable_keeps_working():
    a = Shop()
    price = a.price
    assert price(1) is a.price(1) is price(1)
    assert price.__self__ is a


def test_method_named_differently_elsewhere_is_another_cache():
    class Other(Shop):
        cost = cached_method(lambda self, x: [x])
        also = cost

    o = Other()
    assert o.cost(1) is o.cost(1)
    assert o.cost(1) is not o.price(1)
    assert o.also(1) == [1]


def test_method_of_typed_kind_tells_types_apart():
    class C:
        @cached_method(typed=True)
        def f(self, x):
            return [x]

    c = C()
    assert c.f(1) is not c.f(1.0)
    assert c.f.cache_info().currsize == 2


# ------------------------------------------------------------------ odd instances

class WithSlots:
    __slots__ = ("x", "__weakref__")

    def __init__(self, x):
        self.x = x

    @cached_method
    def double(self):
        return [2 * self.x]


class WithoutWeakref:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x

    @cached_method
    def double(self):
        return [2 * self.x]


def test_method_works_with_slots():
    a, b = WithSlots(1), WithSlots(2)
    assert a.double() is a.double() == [2]
    assert b.double() == [4]
    ref = weakref.ref(a)
    del a
    collect()
    assert ref() is None


def test_method_without_room_for_a_weak_reference_says_what_to_do():
    with pytest.raises(TypeError, match="__weakref__") as caught:
        WithoutWeakref(1).double()
    assert "WithoutWeakref" in str(caught.value)


@pytest.mark.parametrize("base", [int, str, tuple, bytes], ids=lambda base: base.__name__)
def test_method_of_builtin_subclass_works_or_says_why(base):
    class Sub(base):
        @cached_method
        def f(self):
            return [len(repr(self))]

    sub = Sub()
    try:
        assert sub.f() is sub.f()
    except TypeError as error:
        assert "__weakref__" in str(error) or "weak reference" in str(error)
    else:
        assert sub.f.cache_info().hits == 1


def test_method_works_on_unhashable_instances():
    @dataclasses.dataclass
    class Point:
        x: int

        @cached_method
        def double(self):
            return [2 * self.x]

    a, b = Point(1), Point(1)
    assert a == b
    assert a.double() is a.double()
    assert a.double() is not b.double()


def test_method_works_on_containers():
    class Rows(list):
        @cached_method
        def total(self):
            return [sum(self)]

    class Map(dict):
        @cached_method
        def size(self):
            return [len(self)]

    empty, full = Rows(), Rows([1, 2])
    assert empty.total() is empty.total() == [0]
    assert full.total() == [3]
    assert Map().size() == [0]


def test_method_tells_equal_instances_apart_even_when_equality_changes():
    class Chameleon:
        def __init__(self, value):
            self.value = value

        def __eq__(self, other):
            return self.value == other.value

        def __hash__(self):
            return hash(self.value)

        @cached_method
        def f(self):
            return [self.value]

    a, b = Chameleon(1), Chameleon(1)
    assert a.f() is not b.f()
    a.value = 2
    assert a.f() == [1]
    b.value = 5
    assert b.f() is b.f() == [1]


def test_method_never_asks_the_instance_for_hash_or_equality():
    class Silent:
        def __eq__(self, other):
            raise AssertionError("asked for equality")

        def __hash__(self):
            raise AssertionError("asked for a hash")

        def __bool__(self):
            raise AssertionError("asked for truth")

        def __len__(self):
            raise AssertionError("asked for a length")

        @cached_method
        def f(self, x):
            return [x]

    a = Silent()
    assert a.f(1) is a.f(1)
    a.f.cache_clear()
    Silent.f.cache_clear()


def test_method_works_when_getattr_and_setattr_are_hostile():
    class Closed:
        def __setattr__(self, name, value):
            raise AttributeError(f"closed: {name}")

        def __getattr__(self, name):
            raise AttributeError(name)

        @cached_method
        def f(self, x):
            return [x]

    a = Closed()
    assert a.f(1) is a.f(1)


def test_method_works_on_frozen_dataclass_with_slots():
    @dataclasses.dataclass(frozen=True, slots=True, weakref_slot=True)
    class Point:
        x: int

        @cached_method
        def double(self):
            return [2 * self.x]

    a, b = Point(1), Point(1)
    assert a.double() is a.double()
    assert a.double() is not b.double()


# ------------------------------------------------------------------ lifetime

def test_method_keeps_no_instance_alive():
    a = Shop()
    a.price(1), a.small(2), a.total
    ref = weakref.ref(a)
    gc.collect()
    gc.disable()
    try:
        del a
        assert ref() is None  # by counting alone: no cycle was made
    finally:
        gc.enable()


def test_method_entries_die_with_their_instance():
    class Value:
        pass

    class Holder:
        @cached_method
        def f(self, x):
            return Value()

    a = Holder()
    ref = weakref.ref(a.f(1))
    assert ref() is not None
    del a
    collect()
    assert ref() is None


def test_method_whose_value_refers_to_the_instance_is_collected():
    class Node:
        @cached_method
        def me(self):
            return [self]

    a = Node()
    a.me()
    ref = weakref.ref(a)
    del a
    collect()
    if ref() is not None:  # a value that refers to its instance may only live as long as the method
        del Node
        collect()
    assert ref() is None


def test_method_of_a_new_instance_at_the_same_address_starts_empty():
    class Fleeting:
        def __init__(self, n):
            self.n = n

        @cached_method
        def f(self):
            return self.n

    for n in range(300):
        assert Fleeting(n).f() == n


@classes_can_go
def test_method_is_collected_with_its_class():
    class Local:
        @cached_method
        def f(self, x):
            return [self.__class__, x]

    local = Local()
    local.f(1)
    refs = [weakref.ref(Local), weakref.ref(local)]
    del Local, local
    collect()
    assert [ref() for ref in refs] == [None, None]


def test_bound_method_keeps_its_instance_alive_as_any_bound_method():
    price = Shop(7).price
    collect()
    assert price(1) == [7]


# ------------------------------------------------------------------ inheritance

class Base:
    def __init__(self):
        self.calls = []

    @cached_method
    def f(self, x):
        self.calls.append(("Base", x))
        return ["Base", x]

    @cached_method
    def g(self, x):
        return ["g", type(self).__name__, x]


class Derived(Base):
    @cached_method
    def f(self, x):
        self.calls.append(("Derived", x))
        return ["Derived", *super().f(x)]


def test_method_and_super_keep_separate_entries():
    d = Derived()
    assert d.f(1) == ["Derived", "Base", 1]
    assert d.f(1) is d.f(1)
    assert d.calls == [("Derived", 1), ("Base", 1)]
    assert Base.f(d, 1) == ["Base", 1]
    assert super(Derived, d).f(1) is Base.f(d, 1)
    assert d.calls == [("Derived", 1), ("Base", 1)]
    assert d.f.cache_info().currsize == 1
    assert super(Derived, d).f.cache_info().currsize == 1


def test_method_is_inherited():
    d, b = Derived(), Base()
    assert d.g(1) == ["g", "Derived", 1]
    assert b.g(1) == ["g", "Base", 1]
    assert d.g(1) is d.g(1)


def test_method_clear_of_the_base_reaches_instances_of_subclasses():
    d = Derived()
    d.g(1)
    Base.g.cache_clear()
    assert not d.g.cache_contains(1)
    d.g(1)
    Derived.g.cache_clear()
    assert not d.g.cache_contains(1)


def test_method_of_a_diamond_runs_each_body_once():
    class A:
        @cached_method
        def f(self):
            return ["A"]

    class B(A):
        @cached_method
        def f(self):
            return ["B", *super().f()]

    class C(A):
        @cached_method
        def f(self):
            return ["C", *super().f()]

    class D(B, C):
        @cached_method
        def f(self):
            return ["D", *super().f()]

    d = D()
    assert d.f() is d.f() == ["D", "B", "C", "A"]


def test_method_overridden_by_a_plain_one_is_plain():
    class Plain(Base):
        def f(self, x):
            return [x]

    assert Plain().f(1) == [1]


# ------------------------------------------------------------------ stacks of decorators

def test_method_under_property_is_computed_once():
    a = Shop()
    a.price(4)
    assert a.total is a.total == [4]
    assert a.calls.count("total") == 1


def test_method_under_abstractmethod_stays_abstract():
    class Abstract(abc.ABC):
        @abc.abstractmethod
        @cached_method
        def f(self):
            ...

    with pytest.raises(TypeError, match="abstract"):
        Abstract()


def test_method_under_classmethod_remembers_per_class():
    class A:
        @classmethod
        @cached_method
        def f(cls, x):
            return [cls.__name__, x]

    class B(A):
        pass

    assert A.f(1) is A.f(1) == ["A", 1]
    assert B.f(1) is B.f(1) == ["B", 1]
    assert A().f(1) is A.f(1)


def test_method_over_another_decorator_sees_what_it_returns():
    def twice(fn):
        @functools.wraps(fn)
        def wrapper(self, x):
            return fn(self, x) * 2
        return wrapper

    class C:
        @cached_method
        @twice
        def f(self, x):
            """Doc."""
            return [x]

        @twice
        @cached_method
        def g(self, x):
            return [x]

    c = C()
    assert c.f(1) is c.f(1) == [1, 1]
    assert c.g(1) == [1, 1]
    assert C.f.__doc__ == "Doc."


def test_method_put_on_a_class_afterwards_works():
    class C:
        pass

    C.f = cached_method(lambda self, x: [x])
    c = C()
    assert c.f(1) is c.f(1)


# ------------------------------------------------------------------ async

def test_async_method_remembers_per_instance():
    a, b = Shop(2), Shop(3)

    async def main():
        first = await a.later(1)
        assert await a.later(1) is first == [2]
        assert await b.later(1) == [3]
        crowd = await asyncio.gather(*(a.later(9) for _ in range(10)))
        assert all(value is crowd[0] for value in crowd)

    run_async(main())
    assert a.calls == [1, 9]
    assert a.later.cache_info().currsize == 2
    with pytest.raises(StopIteration) as stop:
        a.later(1).send(None)
    assert stop.value.value == [2]
    assert inspect.iscoroutinefunction(Shop.later)
    assert inspect.iscoroutinefunction(a.later)


def test_async_method_keeps_no_instance_alive():
    a = Shop()

    async def main():
        await a.later(1)

    run_async(main())
    ref = weakref.ref(a)
    del a, main
    collect()
    assert ref() is None


def test_async_method_in_flight_keeps_its_instance_until_it_ends():
    async def main():
        task = asyncio.ensure_future(Shop(5).later(1))
        await asyncio.sleep(0)
        collect()
        assert await task == [5]

    run_async(main())


# ------------------------------------------------------------------ options and bad arguments

def test_method_key_receives_the_instance_too():
    seen = []

    class C:
        @cached_method(key=lambda self, x: seen.append((self, x)) or len(x))
        def f(self, x):
            return [x]

    c = C()
    assert c.f([1]) is c.f([2])
    assert seen == [(c, [1]), (c, [2])]


def test_method_remembers_named_exceptions():
    class C:
        calls = 0

        @cached_method(cache_exceptions=KeyError)
        def f(self, x):
            self.calls += 1
            raise KeyError(x)

    c = C()
    for _ in range(3):
        with pytest.raises(KeyError):
            c.f(1)
    assert c.calls == 1


def test_method_copies_for_every_caller():
    class C:
        @cached_method(copy=copy.deepcopy)
        def f(self):
            return [[]]

    c = C()
    c.f()[0].append(1)
    assert c.f() == [[]]


def test_method_names_the_unhashable_argument():
    with pytest.raises(TypeError, match="key=") as caught:
        Shop().price([])
    assert "x" in str(caught.value)


@pytest.mark.parametrize("maxsize, error", [(-1, ValueError), (1.5, TypeError), ("3", TypeError), (True, TypeError)])
def test_method_refuses_bad_maxsize(maxsize, error):
    with pytest.raises(error, match="maxsize"):
        cached_method(maxsize=maxsize)(len)
    with pytest.raises(error, match="maxsize"):
        cached_method(len, maxsize)


@pytest.mark.parametrize("fn", [1, "f", [], object()], ids=lambda fn: type(fn).__name__)
def test_method_refuses_what_is_not_callable(fn):
    with pytest.raises(TypeError):
        cached_method(fn)
    with pytest.raises(TypeError):
        cached_method()(fn)


@pytest.mark.parametrize("option", ["key", "copy", "cache_exceptions"])
def test_method_refuses_bad_options_by_name(option):
    with pytest.raises(TypeError, match=option):
        cached_method(**{option: 1})(lambda self: None)


def test_method_of_size_zero_stores_nothing():
    class C:
        @cached_method(maxsize=0)
        def f(self):
            return []

    c = C()
    assert c.f() is not c.f()
    assert c.f.cache_info() == (0, 2, 0, 0)


# ------------------------------------------------------------------ what it shows, and what it leaves alone

def test_method_shows_its_function():
    assert Shop.price.__name__ == "price"
    assert Shop.price.__qualname__ == "Shop.price"
    assert Shop.price.__doc__ == "What x costs."
    assert Shop.price.__module__ == __name__
    assert inspect.isfunction(Shop.price.__wrapped__)
    assert str(inspect.signature(Shop.price)) == "(self, x, *, tax=0)"
    assert str(inspect.signature(Shop().price)) == "(x, *, tax=0)"
    assert Shop().price.__name__ == "price"
    assert "price" in repr(Shop().price)


def test_method_leaves_copies_and_pickles_of_instances_alone():
    a = Shop(2)
    a.price(1)
    for b in (copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        assert {name for name in vars(b) if name.isidentifier()} == {"factor", "calls"}
        b.factor = 5
        assert b.price(1) == [5]
    assert a.price(1) == [2]


def test_method_adds_no_name_to_the_instance_that_source_code_can_write():
    a = Shop()
    before = set(vars(a))
    a.price(1), a.total, a.small(1)
    assert not any(name.isidentifier() for name in set(vars(a)) - before)


def test_method_pickles_by_name():
    assert pickle.loads(pickle.dumps(Shop.price)) is Shop.price
    assert copy.copy(Shop.price) is copy.deepcopy(Shop.price) is Shop.price


def test_method_can_be_checked_at_any_time():
    a = Shop()
    assert check(Shop.price)
    a.price(1)
    assert check(Shop.price)


def test_method_recursion_computes_each_once():
    class Fib:
        @cached_method(maxsize=None)
        def f(self, n):
            return n if n < 2 else self.f(n - 1) + self.f(n - 2)

    fib = Fib()
    assert fib.f(80) == 23416728348467685
    assert fib.f.cache_info().misses == 81


def test_method_that_fails_leaves_nothing_behind():
    class C:
        @cached_method
        def f(self, x):
            return 1 // x

    c = C()
    with pytest.raises(ZeroDivisionError):
        c.f(0)
    assert not c.f.cache_contains(0)
    assert c.f(1) == 1


def test_method_asked_through_the_class_without_an_instance_is_refused():
    with pytest.raises(TypeError):
        Shop.price()
