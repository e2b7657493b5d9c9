"""The rules of the house, by text search: a page of advice is forgotten, a red test is not.

Imports go down the floors, five rooms have plain names, the pure core knows only the C standard library, one place
reads a clock, nothing sleeps in tests, and files stay small enough for a mind.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "samovar"
FLOORS = ["_version", "_core", "_base", "memo", "app", "cluster", "herd", "edge", "_watch", "_lab", "_cli"]
LEVELS = {"memo", "app", "cluster", "herd", "edge"}
C_STANDARD = {"assert", "errno", "float", "inttypes", "limits", "math", "stdalign", "stdarg", "stdatomic", "stdbool",
              "stddef", "stdint", "stdio", "stdlib", "string"}
INTRINSICS = {"arm_neon", "emmintrin", "intrin", "nmmintrin", "sys/mman", "unistd"}  # each behind an #if of its own
EMPTY_WORDS = {"manager", "helper", "helpers", "util", "utils", "misc", "common", "handler", "data", "info"}
EDGE = [{"rules", "wish"}, {"contracts"}, {"exchange"}, {"middleware", "proxy"}, {"admin"}]  # the rooms of HTTP, from below
THIS = Path(__file__)


def python_files(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def c_files(*folders, kinds="ch"):
    return sorted(path for folder in folders for kind in kinds for path in (ROOT / folder).rglob(f"*.{kind}")
                  if "build" not in path.relative_to(ROOT).parts)


SOURCES = python_files("src")
OUR_C = c_files("csrc", "tests/c")
TESTS = python_files("tests")


def tell(path, line=None):
    return str(path.relative_to(ROOT)) + (f":{line}" if line else "")


def without_comments(text):
    """C text with comments and string literals blanked, line numbers kept."""
    blank = lambda match: re.sub(r"[^\n]", " ", match.group())
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def found(pattern, paths, read=Path.read_text):
    """Where `pattern` occurs, as path:line."""
    return [tell(path, read(path)[:match.start()].count("\n") + 1)
            for path in paths for match in re.finditer(pattern, read(path), flags=re.M)]


def code_only(path):
    return without_comments(path.read_text())


def floor_of(path):
    """The room a module of the package lies in; the front page, __init__, lies above them all."""
    first = path.relative_to(PACKAGE).with_suffix("").parts[0]
    return len(FLOORS) if first == "__init__" else FLOORS.index(first)


def only_for_types(tree):
    """What stands under `if TYPE_CHECKING:`, which never runs."""
    return {inside for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for part in node.body for inside in ast.walk(part)}


def imports_of(path):
    """(line, dotted name) of each import that may run in a module, relative ones made absolute."""
    here = ["samovar", *path.relative_to(PACKAGE).with_suffix("").parts]
    tree = ast.parse(path.read_text())
    for node in set(ast.walk(tree)) - only_for_types(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = [*here[:-node.level], *(node.module or "").split(".")] if node.level else node.module.split(".")
            base = [part for part in base if part]
            if base == ["samovar"]:
                yield from ((node.lineno, f"samovar.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, ".".join(base)


# ------------------------------------------------------------------ floors and rooms

def test_rooms_are_those_of_the_house():
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()
             if path.is_dir() and path.name != "__pycache__" or path.suffix == ".py"}
    assert rooms - {"__init__"} <= set(FLOORS)
    assert {room for room in rooms if not room.startswith("_")} <= LEVELS


@pytest.mark.parametrize("path", SOURCES, ids=tell)
def test_imports_go_down_the_floors(path):
    for line, name in imports_of(path):
        package, _, rest = name.partition(".")
        if package == "samovar":
            room = rest.partition(".")[0]
            assert room in FLOORS, f"{tell(path, line)} imports {name}: import from the room where it lives"
            assert FLOORS.index(room) <= floor_of(path), f"{tell(path, line)} imports {name}, a floor above its own"


def test_rooms_of_the_edge_import_down_or_at_home():
    level = {room: number for number, rooms in enumerate(EDGE) for room in rooms}
    for path in (PACKAGE / "edge").rglob("*.py"):
        own = path.relative_to(PACKAGE / "edge").with_suffix("").parts[0]
        for line, name in imports_of(path):
            room = (name.split(".") + ["", ""])[2] if name.startswith("samovar.edge.") else own
            is_below = own == "__init__" or level.get(room, 99) < level.get(own, -1)
            assert room == own or is_below, f"{tell(path, line)} imports {name}, a room beside or above its own"


EXTRAS = {"_cli": {"typer", "rich"}, "_lab": {"matplotlib"}}  # rooms that an extra opens; nothing else imports them


def test_imports_need_nothing_that_pip_must_install():
    for path in SOURCES:
        allowed = {"samovar", *sys.stdlib_module_names, *EXTRAS.get(path.relative_to(PACKAGE).parts[0], ())}
        for line, name in imports_of(path):
            assert name.partition(".")[0] in allowed, f"{tell(path, line)} imports {name}"


def test_importing_samovar_opens_no_room_of_an_extra():
    code = "import sys, samovar; print([name for name in sys.modules if name.split('.')[:2] in ROOMS or name in PARTS])"
    rooms, parts = [["samovar", room] for room in EXTRAS], set().union(*EXTRAS.values())
    done = subprocess.run([sys.executable, "-c", f"ROOMS, PARTS = {rooms}, {parts}; {code}"], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_pure_floor_includes_the_c_standard_library_only():
    for path in c_files("csrc/pure"):
        for header in re.findall(r"^\s*#\s*include\s*([<\"].*?[>\"])", path.read_text(), flags=re.M):
            name = header[1:-1].removesuffix(".h")
            beside = (path.parent / Path(header[1:-1]).name).exists()
            assert name in C_STANDARD | INTRINSICS if header[0] == "<" else beside, f"{tell(path)} includes {header}"


def test_pure_floor_reads_no_clock_and_no_chance_and_does_not_speak():
    words = "clock|time|clock_gettime|gettimeofday|rand|srand|random|getenv|f?printf|puts|abort|exit|Py_?[A-Z]\\w*"
    assert not found(rf"\b({words})\s*\(", c_files("csrc/pure"), code_only)


def test_object_floor_includes_only_below_itself():
    for path in c_files("csrc/object"):
        for header in re.findall(r"^\s*#\s*include\s*([<\"].*?[>\"])", path.read_text(), flags=re.M):
            if header[0] == '"':
                inside = [ROOT / "csrc" / header[1:-1], path.parent / header[1:-1]]
                assert any(target.exists() for target in inside), f"{tell(path)} includes {header}"


def test_only_compat_asks_which_python_this_is():
    others = [path for path in c_files("csrc") if path.name != "compat.h"]
    assert not found(r"\bPY_(VERSION_HEX|MINOR_VERSION|MAJOR_VERSION)\b", others, code_only)


# ------------------------------------------------------------------ time and chance

def test_only_the_clock_reads_the_clock():
    others = [path for path in SOURCES if path != PACKAGE / "_base" / "clock.py"]
    clock = (r"^\s*(import time\b|from time import)|\b(monotonic|perf_counter|process_time|thread_time)(_ns)?\(|"
             r"\btime\.time(_ns)?\(|\bdatetime\.(now|utcnow|today)\(|\.time\(\)")
    assert not found(clock, others)
    others = [path for path in c_files("csrc") if path != ROOT / "csrc" / "object" / "clock.h"]
    assert not found(r"\b(clock_gettime|gettimeofday|PyTime_\w+|_PyTime_\w+)\s*\(", others, code_only)


def test_tests_do_not_sleep():
    """A load in a storm may take some of the loop's turns, and one that only a cancellation ends may take LIMIT."""
    sleeps = r"\btime\.sleep\b|from time import .*\bsleep\b|\basyncio\.sleep\((?!0\)|0\.000\d|LIMIT\))"
    assert not found(sleeps, [path for path in TESTS if path != THIS])


# ------------------------------------------------------------------ files and names

@pytest.mark.parametrize("paths, limit", [
    (c_files("csrc", "tests/c", "bench"), 700),
    (python_files("src", "bench"), 400),
    (TESTS, 700),  # many small claims, read one at a time
], ids=["C", "Python", "tests"])
def test_files_fit_a_mind(paths, limit):
    long = {tell(path): lines for path in paths if (lines := path.read_text().count("\n")) > 1.1 * limit}
    assert not long, f"over about {limit} lines"


def test_lines_of_c_fit_a_screen():
    """About 120 characters, as ruff asks of Python."""
    assert not found(r"^.{127,}$", OUR_C)


def test_headers_are_guarded_and_say_what_they_are_for():
    for path in c_files("csrc", "tests/c", kinds="h"):
        text = path.read_text()
        assert text.startswith("/*"), f"{tell(path)} opens without a word about itself"
        guard = re.search(r"^#ifndef (\w+_H)\n#define \1$", text, flags=re.M)
        assert guard or "#pragma once" in text, f"{tell(path)} has no include guard"
    guards = found(r"^#ifndef SV_\w+_H$", c_files("csrc", kinds="h"), code_only)
    assert len(guards) == len(c_files("csrc", kinds="h"))


def test_c_sources_are_explained_by_themselves_or_by_their_header():
    silent = [tell(path) for path in c_files("csrc", kinds="c")
              if not path.read_text().startswith("/*") and not path.with_suffix(".h").exists()]
    assert not silent


def test_no_c_source_includes_another():
    assert not found(r"^\s*#\s*include\s*[<\"][^>\"]*\.c[>\"]", OUR_C)


def test_no_generated_source_lies_in_the_tree():
    assert not [tell(path) for path in (ROOT / "src").rglob("*.c")]
    assert not found(r"Generated by Cython", c_files("csrc"))


def test_python_modules_say_what_they_are_for():
    silent = [tell(path) for path in python_files("src", "bench", "tests")
              if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def test_names_promise_something():
    stems = {path.stem.strip("_") for path in [*SOURCES, *TESTS, *OUR_C]}
    assert not stems & EMPTY_WORDS
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", node.name).lower()))
                given = node.name in ("cache_info", "data_received")  # functools' and asyncio's
                assert given or not words & EMPTY_WORDS, f"{tell(path, node.lineno)}: {node.name}"


def test_test_names_are_claims():
    short = [f"{tell(path, node.lineno)}: {node.name}" for path in TESTS if path.name.startswith("test_")
             for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
             and node.name.startswith("test_") and node.name.count("_") < 3]
    assert not short, "a test is called test_<thing>_<promise>"


def test_version_is_said_in_one_place():
    version = re.search(r'__version__ = "(.+)"', (PACKAGE / "_version.py").read_text()).group(1)
    places = [ROOT / "setup.py", ROOT / "pyproject.toml", *SOURCES, *PACKAGE.glob("*.pyx"), *c_files("csrc")]
    assert found(re.escape(f'"{version}"'), places) == [tell(PACKAGE / "_version.py", 3)]
    assert re.search(rf"^## \[({re.escape(version)}|Unreleased)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)


def test_nothing_names_a_place_outside_the_repository():
    texts = [*SOURCES, *TESTS, *OUR_C, *python_files("bench"), *PACKAGE.glob("**/*.py[xi]"), ROOT / "Makefile",
             ROOT / "setup.py", ROOT / "pyproject.toml",
             *(path for page in ("*.md", "docs/*.md", "bench/*.md", ".ci/*", ".github/**/*.yml") for path in ROOT.glob(page))]
    assert not found(r"/work/|/root/|/home/\w|\.library\b", [path for path in texts if path != THIS])


def test_free_threading_is_claimed_only_beside_its_proof():
    claim = found(r"freethreading_compatible\s*=\s*True", PACKAGE.glob("*.pyx"))
    assert not claim or list((ROOT / "tests" / "storm").glob("test_*.py"))
