"""CPython's own tests of lru_cache and cache, run against ours in their place.

Two ways. The classes: TestLRU and TestCache of the running interpreter's test.test_functools, subclassed as CPython
subclasses them for its own two implementations. In place: the whole file, in a fresh interpreter, with two names of
its C functools replaced by ours and nothing else changed. No test is excluded.
"""

import json
import types
import unittest

import pytest

import samovar
from support import fresh_python

theirs = pytest.importorskip("test.test_functools", reason="this Python was installed without its own tests")

module = types.ModuleType("functools_with_ours")
module.__dict__.update(vars(theirs.c_functools), lru_cache=samovar.lru_cache, cache=samovar.cache)


@samovar.lru_cache()
def cached_function(x, y):
    return 3 * x + y


class TestLRUCacheOfCPython(theirs.TestLRU, unittest.TestCase):
    module = module
    cached_func = cached_function,

    @samovar.lru_cache()
    def cached_meth(self, x, y):
        return 3 * x + y

    @staticmethod
    @samovar.lru_cache()
    def cached_staticmeth(x, y):
        return 3 * x + y


class TestCacheOfCPython(theirs.TestCache, unittest.TestCase):
    module = module


@pytest.fixture(autouse=True)
def is_the_c_version(monkeypatch):
    """Some of CPython's tests ask more of the C version: `if self.module == c_functools`."""
    monkeypatch.setattr(theirs, "c_functools", module)


IN_PLACE = r"""
import ast, importlib.util, json, sys, types, unittest
import samovar

found = importlib.util.find_spec("test.test_functools")
tree = ast.parse(open(found.origin, encoding="utf-8").read(), found.origin)
if sys.argv[1] == "ours":  # right after `c_functools = ...`
    place = next(n for n, node in enumerate(tree.body) if isinstance(node, ast.Assign)
                 and getattr(node.targets[0], "id", "") == "c_functools")
    patch = "import samovar; c_functools.lru_cache = samovar.lru_cache; c_functools.cache = samovar.cache"
    tree.body[place + 1:place + 1] = ast.parse(patch).body
module = types.ModuleType("test.test_functools")
module.__file__, module.__spec__ = found.origin, found
sys.modules["test.test_functools"] = module
exec(compile(tree, found.origin, "exec"), vars(module))
assert (type(module.c_cached_func) is type(samovar.lru_cache(len))) == (sys.argv[1] == "ours")

suite = unittest.defaultTestLoader.loadTestsFromModule(module)
result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)
print(json.dumps({"ran": result.testsRun, "skipped": len(result.skipped),
                  "bad": sorted(str(case) for case, _ in result.failures + result.errors)}))
"""


def test_functools_test_file_passes_in_place():
    ours = json.loads(fresh_python(IN_PLACE, "ours").splitlines()[-1])
    assert ours["bad"] == []
    assert ours == json.loads(fresh_python(IN_PLACE, "theirs").splitlines()[-1])
    assert ours["ran"] > 200
