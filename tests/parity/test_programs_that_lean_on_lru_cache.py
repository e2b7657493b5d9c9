"""Other people's programs that lean on functools.lru_cache, with ours in its place: nothing changes.

The standard library's modules that use it answer for themselves, through their own tests. Programs from PyPI, where
the environment has them, must print the same with ours and with functools'.
"""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import pytest

from support import LIMIT

DRIVER = pathlib.Path(__file__).with_name("with_ours.py")


def run(whose, how, *arguments):
    """What the program printed, temporary names masked, and the driver's report."""
    done = subprocess.run([sys.executable, "-X", "faulthandler", str(DRIVER), whose, how, *arguments],
                          capture_output=True, text=True, timeout=6 * LIMIT)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    *printed, report = re.sub(r"/tmp[a-z0-9_/]*/\w+", "/tmp", done.stdout).splitlines()
    return printed, json.loads(report) | {"err": done.stderr}


# ------------------------------------------------------------------ the standard library's own tests

def there(name):
    """`name` without its class, if this Python has that test module."""
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


USERS = {  # who uses lru_cache -> its tests; TestRoundtrip of tokenize reads the whole library and is left out for time
    "fnmatch": ["test.test_fnmatch"],
    "fractions": ["test.test_fractions"],
    "glob": ["test.test_glob"],
    "importlib.metadata": ["test.test_importlib.test_metadata_api", "test.test_importlib.test_main",
                           "test.test_importlib.metadata.test_api", "test.test_importlib.metadata.test_main"],
    "inspect": ["test.test_inspect", "test.test_inspect.test_inspect"],
    "ipaddress": ["test.test_ipaddress"],
    "linecache": ["test.test_linecache"],
    "pathlib": ["test.test_pathlib.PurePosixPathTest", "test.test_pathlib.PosixPathTest",
                "test.test_pathlib.test_pathlib"],
    "re": ["test.test_re"],
    "tokenize": [f"test.test_tokenize.{name}" for name in ("TokenizeTest", "TestDetectEncoding", "TestTokenize",
                                                           "UntokenizeTest", "TestMisc")],
    "tomllib": ["test.test_tomllib"],
    "traceback": ["test.test_traceback"],
    "typing": ["test.test_typing"],
    "urllib.parse": ["test.test_urlparse"],
    "zoneinfo": ["test.test_zoneinfo"],
}


@pytest.mark.parametrize("user", USERS)
def test_standard_library_passes_its_own_tests_with_ours(user):
    names = []
    for name in USERS[user]:
        module, _, last = name.rpartition(".")
        if there(name) or (last[:1].isupper() and there(module)):
            names.append(name)
    if not names:
        pytest.skip("this Python was installed without its own tests")
    _, ours = run("ours", "unittest", *names)
    assert ours["memos"] > 0
    assert ours["ran"] > 0
    if ours["bad"]:  # whatever fails must fail with functools' own too
        _, theirs = run("theirs", "unittest", *names)
        assert ours["bad"] == theirs["bad"], ours["err"][-8000:]


def test_memos_of_the_standard_library_are_really_asked():
    _, ours = run("ours", "unittest", "test.test_fnmatch", "test.test_typing", "test.test_ipaddress")
    assert ours["bad"] == []
    assert ours["hits"] > 1000


# ------------------------------------------------------------------ programs from PyPI

PROGRAMS = {
    "packaging": """
        from packaging.markers import Marker, default_environment
        from packaging.specifiers import SpecifierSet
        from packaging.tags import sys_tags
        from packaging.version import Version
        for tag in sys_tags(): print(tag)
        marker = Marker("python_version >= '3.11' and (os_name == 'posix' or extra == 'x')")
        print(marker, [marker.evaluate({"extra": extra}) for extra in ("", "x", "X") * 3])
        versions = [f"{a}.{b}{c}" for a in range(4) for b in range(4) for c in ("", "a1", "rc2", ".post1", ".dev3")]
        for text in (">=1.2,<3", "~=2.1", "!=1.*", "==2.*"):
            print(text, *SpecifierSet(text).filter(sorted(versions, key=Version)))
        """,
    "pygments": """
        import sys, fnmatch
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import get_lexer_for_filename
        text = open(fnmatch.__file__).read()
        for name in ("a.py", "a.c", "a.md", "a.rst"):
            print(highlight(text, get_lexer_for_filename(name), HtmlFormatter(linenos=True, full=True)))
        """,
    "hypothesis": """
        import os, tempfile
        os.chdir(tempfile.mkdtemp())
        from hypothesis import given, settings, strategies as st
        seen = []
        @settings(max_examples=60, derandomize=True, database=None, deadline=None)
        @given(st.lists(st.text(max_size=4) | st.integers() | st.datetimes() | st.emails()),
               st.from_regex(r"[a-z]+[0-9]*"))
        def look(things, word):
            seen.append((things, word))
        look()
        for things, word in seen: print(ascii(things), ascii(word))
        """,
    "Cython": """
        import os, pathlib, tempfile
        os.chdir(tempfile.mkdtemp())
        pathlib.Path("small.pyx").write_text('''
        cdef class Point:
            cdef public double x, y
            def __init__(self, double x, double y): self.x, self.y = x, y
            def __add__(self, Point other): return Point(self.x + other.x, self.y + other.y)
        def total(points, *, scale=1.0):
            return sum((p.x * scale for p in points), start=0.0)
        '''.replace("\\n        ", "\\n"))
        from Cython.Compiler.Main import compile
        compile("small.pyx", language_level=3)
        print(pathlib.Path("small.c").read_text())
        """,
    "setuptools": """
        import os, pathlib, tempfile
        os.chdir(tempfile.mkdtemp())
        pathlib.Path("thing").mkdir()
        pathlib.Path("thing/__init__.py").write_text("x = 1")
        pathlib.Path("pyproject.toml").write_text('[project]\\nname = "thing"\\nversion = "1.0"\\n'
            'requires-python = ">=3.9"\\ndependencies = ["a>=1; python_version<\\\\"3.12\\\\"", "b[c]~=2.0"]\\n')
        import setuptools.build_meta as build
        wheel = build.prepare_metadata_for_build_wheel(".")
        print(sorted(build.get_requires_for_build_wheel()), wheel)
        print((pathlib.Path(wheel) / "METADATA").read_text())
        """,
    "pytest": """
        import os, pathlib, tempfile
        os.chdir(tempfile.mkdtemp())
        pathlib.Path("test_some.py").write_text('''
        import pytest
        @pytest.mark.parametrize("n", range(5))
        def test_n(n): assert n != 3, f"{n} is three"
        @pytest.fixture
        def thing(tmp_path): return tmp_path / "x"
        @pytest.mark.skipif(True, reason="why not")
        def test_skipped(): pass
        def test_thing(thing): assert not thing.exists()
        '''.replace("\\n        ", "\\n"))
        import pytest, sys, re, io, contextlib
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = pytest.main(["-vv", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "-p",
                                "no:hypothesispytest", "test_some.py"])
        print(code, re.sub(r"in [0-9.]+s|rootdir: .*", "", out.getvalue()))
        """,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_prints_the_same_with_ours(program, tmp_path):
    pytest.importorskip(program)
    import textwrap

    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAMS[program]))
    printed, report = run("ours", "run", str(path))
    assert (printed, report["exit"]) == (run("theirs", "run", str(path))[0], 0), report["err"]
    assert len(printed) > 1
    assert report["memos"] > 0
    assert report["hits"] + report["misses"] > 0
