"""What runs under valgrind: `python -S -m bench.repeat CONTESTANT SHAPE…` calls each shape and has its calls counted.

Imports next to nothing, as every import is run under valgrind, too. PYTHONPATH holds samovar's folder and the no-op's.
"""

import functools
import gc
import sys
import types

from bench.loops import keyword_each, method_each, none_each, one_each, two_each

MYPY = False
if MYPY:
    from typing import Any

ROUND = 512  # calls in one round; four times the maxsize of the miss shapes, so that all their calls miss
WARMING, ROUNDS = 4, 16


def body(*args: object, key: object = None) -> int:
    return 1


def same(key: object) -> object:
    return key


def first(a: object, b: object) -> object:
    return a


def bound(memoized: object) -> object:
    return type("Thing", (), {"method": memoized})()


INTS = [100_000 + number * 7 % ROUND for number in range(ROUND)]
STRS = [f"user:{number}" for number in INTS]
PAIRS = [(number, number % 37) for number in INTS]
SHAPES: "dict[str, tuple[Any, list[Any], Any, int | None]]" = {  # loop, arguments of one round, function, maxsize
    "int hit": (one_each, INTS, same, 1024),
    "str hit": (one_each, STRS, same, 1024),
    "int hit, unbounded": (one_each, INTS, same, None),
    "two-argument hit": (two_each, PAIRS, first, 1024),
    "keyword hit": (keyword_each, INTS, body, 1024),
    "no-argument hit": (none_each, INTS, body, 1024),
    "method hit": (method_each, INTS, first, 1024),
    "miss + evict, C body": (one_each, INTS, abs, ROUND // 4),
    "miss + evict, Python body": (one_each, INTS, same, ROUND // 4),
    "miss + evict, two arguments": (two_each, PAIRS, first, ROUND // 4),
}


def memoized(contestant: str, fn: "Any", maxsize: "int | None") -> "Any":
    if contestant == "no-op call":
        from _noop import Noop

        return Noop(1)
    if contestant == "functools":
        return functools.lru_cache(maxsize)(fn)
    import samovar

    return samovar.lru_cache(maxsize)(fn) if contestant == "samovar.lru_cache" else samovar.memoize(fn, maxsize=maxsize)


def main(contestant: str, names: list[str]) -> None:
    from _noop import count

    for name in names:
        loop, keys, fn, maxsize = SHAPES[name]
        call = memoized(contestant, fn, maxsize)
        subject = bound(call) if loop is method_each else call
        loop = types.FunctionType(loop.__code__.replace(), globals())  # specialized for this callable only
        gc.disable()
        for _ in range(WARMING):
            loop(subject, keys)
        count(True)
        for _ in range(ROUNDS):
            loop(subject, keys)
        count(False, name)
        gc.enable()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
