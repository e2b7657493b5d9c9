"""Keys and functions that do their worst to a SingleFlight; it is validated after every step."""

import gc
import sys

import pytest

from samovar import SingleFlight
from samovar._core import check
from support import Alike, together
from test_hostile_cache import Dying, Enemy


@pytest.fixture
def once():
    made = SingleFlight()
    yield made
    gc.collect()
    assert check(made) and len(made) == 0


def angry():
    raise ZeroDivisionError


def test_a_key_whose_hash_raises_begins_nothing(once):
    key = Enemy("a", on_hash=angry)
    for ask in (lambda: once.do(key, lambda: 1), lambda: once.forget(key)):
        with pytest.raises(ZeroDivisionError):
            ask()
    assert once.stats().flights == 0


def test_a_key_whose_comparison_raises_begins_nothing_and_ends_what_it_began(once):
    key = Enemy("a")

    def body():
        key.on_eq = angry
        for ask in (lambda: once.do(Enemy("b"), lambda: 1), lambda: once.forget(Enemy("b"))):
            with pytest.raises(ZeroDivisionError):
                ask()
        return "body"

    assert once.do(key, body) == "body"  # its end compares nothing
    assert once.stats().flights == 1 and once.stats().failures == 0


STRIKES = {
    "do the same": lambda once, key: once.do(key, lambda: 1),
    "do another": lambda once, key: once.do(Enemy("z"), lambda: 1),
    "do many": lambda once, key: [once.do(Alike(str(number)), lambda: 1) for number in range(50)],
    "forget": lambda once, key: once.forget(key),
    "forget all": lambda once, key: [once.forget(Enemy(name)) for name in "abc"],
    "count": lambda once, key: (len(once), once.stats(), repr(once), check(once)),
    "collect": lambda once, key: gc.collect(),
}


@pytest.mark.parametrize("when", ["on_eq", "on_hash"])
@pytest.mark.parametrize("strike", STRIKES)
def test_a_key_that_calls_back_finds_a_sound_structure(once, strike, when):
    key, struck = Enemy("a"), []

    def act():
        STRIKES[strike](once, key)
        check(once)
        struck.append(strike)

    def nested():
        setattr(key, when, act)
        answers = [once.do(Enemy(name), lambda: name) for name in "abc"]
        answers.append(once.do(key, lambda: "again"))
        return answers

    assert once.do(key, nested)[1:3] == ["b", "c"]
    assert once.do(key, lambda: 5) == 5
    assert struck


def test_a_function_that_forgets_its_key_many_times_leaves_nothing(once):
    def body(depth):
        once.forget("k")
        return depth and once.do("k", lambda: body(depth - 1))

    assert once.do("k", lambda: body(50)) == 0
    assert once.stats().flights == 51


def test_keys_and_results_that_call_back_when_they_die_find_a_sound_structure(once):
    died = []

    def act():
        once.do("other", lambda: 1)
        once.forget("k")
        check(once)
        died.append(1)

    class Key(Dying):
        pass

    for _ in range(10):
        once.do(Key(act), lambda: Dying(act))
    gc.collect()
    assert len(died) == 20


def test_an_endless_recursion_ends_with_an_error_and_leaves_nothing(once):
    def body(number):
        return once.do(number, lambda: body(number + 1))

    with pytest.raises(RecursionError):
        body(0)
    assert once.do("k", lambda: 1) == 1


def test_exceptions_of_every_kind_end_the_flight(once):
    for kind in (KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, MemoryError, Exception):
        def body(kind=kind):
            raise kind

        with pytest.raises(kind):
            once.do("k", body)
        assert len(once) == 0
    assert once.stats().failures == 3


def test_an_error_whose_traceback_cannot_be_set_still_ends_the_flight(once):
    class Odd(Exception):
        def with_traceback(self, traceback):
            raise ZeroDivisionError

    def body():
        raise Odd

    with pytest.raises(Odd):
        once.do("k", body)


def test_threads_leave_the_count_of_references_as_it_was(once):
    key, value = object(), object()
    before = sys.getrefcount(key), sys.getrefcount(value)

    def ask():
        for _ in range(200):
            assert once.do(key, lambda: value) is value

    together(*[ask] * 4)
    gc.collect()
    assert (sys.getrefcount(key), sys.getrefcount(value)) == before
