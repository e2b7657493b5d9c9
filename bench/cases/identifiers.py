"""What does a program gain on real input that every machine has?

Every identifier in the standard library's own top-level modules, in the order in which it stands in the source, goes
through a memoized pure-Python function that splits a name into its words ("HTTPServerError" -> "http server error").
Each turn begins with an empty cache. Hits and misses are counted and must be the same for functools and samovar (the
run fails otherwise). As the function itself takes time on a miss, the ratio is far smaller than that of hits: this is
the gain of a whole program, not of a call. "cache alone" has a C function that takes no time in its place.
"""

from __future__ import annotations

import keyword
import sysconfig
import tokenize
from pathlib import Path
from typing import Any, Callable

from bench import peers
from bench.cases.contest import Case, contestants
from bench.loops import one_each
from bench.rounds import Effort, Lane, Result, take_turns

NO_CACHE = "no cache"


def identifiers(quick: bool = False) -> list[str]:
    """NAME tokens that are no keywords, of the files of the standard library's top folder in alphabetical order."""
    found: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[: 30 if quick else None]:
        with path.open("rb") as source:
            names = [token.string for token in tokenize.tokenize(source.readline) if token.type == tokenize.NAME]
        found.extend(name for name in names if not keyword.iskeyword(name))
    return found


def words(name: str) -> str:
    """The words of an identifier, lower case, by its underscores and its capitals."""
    found: list[str] = []
    word = ""
    for at, letter in enumerate(name):
        if letter == "_":
            if word:
                found.append(word)
            word = ""
            continue
        begins = letter.isupper() and word and (not word[-1].isupper() or name[at + 1 : at + 2].islower())
        if begins:
            found.append(word)
            word = ""
        word += letter
    if word:
        found.append(word)
    return " ".join(found).lower()


def through(fn: Callable[..., Any], maxsize: int | None, effort: Effort) -> Result:
    effort.rounds, effort.turn_ns = min(effort.rounds, 6), 0
    names = identifiers(effort.quick)
    latest: dict[str, Any] = {}
    lanes = []
    for name, make in contestants(fn, maxsize).items():

        def fresh(name: str = name, make: Callable[[], Any] = make) -> Any:
            latest[name] = make()
            return latest[name]

        lanes.append(Lane(name, one_each, None, [names], len(names), fresh))
    lanes.append(Lane(NO_CACHE, one_each, fn, [names], len(names)))
    result = take_turns(lanes, effort, peers.FUNCTOOLS)
    counts = {name: memoized.cache_info() for name, memoized in latest.items()}
    if len(set(counts.values())) != 1:
        raise AssertionError(f"hits and misses differ: {counts}")
    info = counts[peers.FUNCTOOLS]
    result.notes.append(
        f"{len(names):,} identifiers, {info.hits:,} hits and {info.misses:,} misses, the same for functools and "
        f"samovar; without any cache {result.ns.pop(NO_CACHE):.0f} ns each"
    )
    return result


def real(maxsize: int | None) -> Callable[[Effort], Result]:
    return lambda effort: through(words, maxsize, effort)


def alone(effort: Effort) -> Result:
    return through(len, 1024, effort)


CASES = (
    Case("identifiers-128", "stdlib identifiers, maxsize 128", real(128), processes=1),
    Case("identifiers-1024", "stdlib identifiers, maxsize 1024", real(1024), processes=1),
    Case("identifiers-unbounded", "stdlib identifiers, unbounded", real(None), processes=1),
    Case("identifiers-alone", "stdlib identifiers, cache alone, 1024", alone, processes=1),
)
