"""Run other people's programs with samovar's lru_cache and cache in the place of functools', from the start.

    python with_ours.py ours|theirs unittest test.test_typing ...
    python with_ours.py ours|theirs run program.py argument ...

The last line on stdout is JSON: for unittest how many ran and what failed, for both how many memos were ours and how
much they were asked. Modules that were imported before the swap and hold a memo of functools are imported anew, so
that every memo is ours.
"""

import functools
import gc
import importlib
import json
import runpy
import sys
import unittest

import samovar
from samovar import _core

THEIRS = type(functools.lru_cache(len))


def holders():
    return {memo.__module__ for memo in gc.get_objects() if isinstance(memo, THEIRS) and memo.__module__ is not None}


def swap():
    """The names in functools, then every module of the standard library that used them already."""
    import fnmatch  # noqa: F401 - so that the scan below always has something to prove itself on

    functools.lru_cache, functools.cache = samovar.lru_cache, samovar.cache
    again = [name for name in holders() if name in sys.modules and not name.startswith("samovar")]
    old = [sys.modules.pop(name) for name in again]
    for name in again:
        fresh = importlib.import_module(name)
        if "." in name:
            parent, _, last = name.rpartition(".")
            setattr(sys.modules[parent], last, fresh)
    for name, module in list(sys.modules.items()):  # modules that hold the old module under a name
        for key, value in list(vars(module).items()) if hasattr(module, "__dict__") else ():
            if any(value is gone for gone in old):
                setattr(module, key, sys.modules[value.__name__])
    assert type(sys.modules["fnmatch"]._compile_pattern) is type(samovar.lru_cache(len))


def memos():
    ours = type(samovar.lru_cache(len))
    return [memo for memo in gc.get_objects() if type(memo) is ours]


def run_tests(names):
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)
    return {"ran": result.testsRun, "skipped": len(result.skipped),
            "bad": sorted(str(case) for case, _ in result.failures + result.errors)}


def run_program(path):
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        return {"exit": end.code}
    return {"exit": 0}


def main():
    whose, how, *sys.argv[1:] = sys.argv[1:]
    if whose == "ours":
        swap()
    report = run_tests(sys.argv[1:]) if how == "unittest" else run_program(*sys.argv[1:2])
    made = memos() if whose == "ours" else []
    for memo in made:
        assert _core.check(memo)
    asked = [memo.cache_info() for memo in made]
    print(json.dumps(report | {"memos": len(made), "hits": sum(info.hits for info in asked),
                               "misses": sum(info.misses for info in asked)}))


if __name__ == "__main__":
    main()
