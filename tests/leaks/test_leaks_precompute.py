"""What was built ahead and is over is gone: the function, its results, those replaced, keys that left."""

import weakref

import pytest

from ahead import Work, ahead
from samovar import ManualClock
from support import collect


class Thing:
    """What can be weakly referred to."""


class Things(Work):
    """Builds things, and remembers them weakly."""

    def __init__(self):
        super().__init__()
        self.made = []

    def end(self, key, number):
        super().end(key, number)
        thing = Thing()
        self.made.append(weakref.ref(thing))
        return thing


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_results_that_were_replaced_and_keys_that_left_are_gone(kind):
    work, clock, keys = Things(), ManualClock(), ["tea", "film"]
    with ahead(kind, work, keys=lambda: keys, every="1m", tags=lambda key: key, clock=clock) as page:
        for _ in range(5):
            page.rest()
            clock.advance("1m")
        page.rest()
        del keys[0]
        clock.advance("1m")
        page.rest()
        clock.advance("1h")  # what a key left behind goes in its time
        page.rest()
        page.store.get("tea")
        collect()
        assert sum(one() is not None for one in work.made) == 1
        assert set(page.page._jobs) == {"film"} and set(page.page._schedule._tagged) == {"film"}


def test_function_that_was_stopped_is_gone_with_its_results():
    work = Things()
    with ahead("threads", work, keys=["tea"]) as page:
        page.rest()
    seen = weakref.ref(page.page), weakref.ref(work)
    made = work.made
    del page, work
    collect()
    assert [one() for one in (*seen, *made)] == [None] * 3
