"""The demonstrations that there are, in the order in which they are told. A new one is one line here."""

from collections.abc import Callable
from typing import NamedTuple

from . import cold, feed, herd, hot, memo, node, stale
from .findings import Demonstration


class Entry(NamedTuple):
    """A demonstration: its name on the command line, its title, `run(seed, seconds)`, and its usual seconds."""

    name: str
    title: str
    run: Callable[[int, float], Demonstration]
    seconds: float


DEMONSTRATIONS = (  # all together take less than a minute, as the front page says
    Entry(memo.NAME, memo.TITLE, memo.run, 3.0),
    Entry(stale.NAME, stale.TITLE, stale.run, 2.0),
    Entry(herd.NAME, herd.TITLE, herd.run, 2.4),
    Entry(cold.NAME, cold.TITLE, cold.run, 2.4),
    Entry(hot.NAME, hot.TITLE, hot.run, 2.0),
    Entry(node.NAME, node.TITLE, node.run, 2.4),
    Entry(feed.NAME, feed.TITLE, feed.run, 3.0),
)


def named(name: str) -> Entry:
    """The demonstration of that name; ValueError that says which there are."""
    for entry in DEMONSTRATIONS:
        if entry.name == name:
            return entry
    raise ValueError(f"no demonstration is called {name!r}; there are {', '.join(entry.name for entry in DEMONSTRATIONS)}")
