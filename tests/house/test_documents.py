"""What the reader is told is true: every example runs, every public name is documented, typed and in the README."""

import ast
import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import re
from pathlib import Path

import pytest

import samovar

ROOT = Path(__file__).parents[2]
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]]
PUBLIC = sorted(name for name in samovar.__all__ if name != "__version__")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.FAIL_FAST


def blocks_of(page):
    """(line, language, code) of each fenced block."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", page.read_text(), flags=re.M | re.S):
        yield page.read_text()[:match.start()].count("\n") + 2, match.group(1), match.group(2)


def run_examples(text, name, names, line=0):
    test = doctest.DocTestParser().get_doctest(text, names, name, name, line)
    said = io.StringIO()
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.write, clear_globs=False)
    assert not result.failed, said.getvalue()
    names.update(test.globs)
    return result.attempted


def documented():
    """(name, docstring) of every module, class, function and method of the package that has an example in it."""
    modules = [samovar, *(importlib.import_module(found.name)
                          for found in pkgutil.walk_packages(samovar.__path__, "samovar."))]
    seen = set()
    for module in modules:
        for name, thing in [(module.__name__, module), *vars(module).items()]:
            owner = getattr(thing, "__module__", None)
            if thing is not module and (not isinstance(owner, str) or not owner.startswith("samovar")):
                continue
            parts = [(name, thing), *((f"{name}.{part}", value) for part, value in vars(thing).items())] \
                if inspect.isclass(thing) else [(name, thing)]
            for label, part in parts:
                text = getattr(part, "__doc__", None)
                if isinstance(text, str) and ">>>" in text and text not in seen:
                    seen.add(text)
                    yield f"{module.__name__}: {label}", text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_examples_run_from_top_to_bottom(page):
    names = {"__name__": "__main__"}
    for line, language, code in blocks_of(page):
        if language == "pycon":
            run_examples(code, page.name, names, line)
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)


def test_docstring_examples_run():
    ran = sum(run_examples(inspect.cleandoc(text), name, {**vars(samovar), "samovar": samovar, "__name__": "__main__"})
              for name, text in documented())
    assert ran > 0


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_explained(name):
    text = inspect.getdoc(getattr(samovar, name))
    assert text and len(text.split("\n")[0].split()) > 3, f"help(samovar.{name}) says nothing"
    assert any(re.search(rf"\b{name}\b", page.read_text()) for page in PAGES), f"{name} is on no page"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_on_the_front_page(name):
    assert re.search(rf"\b{name}\b", (ROOT / "README.md").read_text())


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_typed(name):
    """Either a hand-written stub or annotated Python says what it takes and returns."""
    sources = (ROOT / "src" / "samovar").rglob("*.py*")
    texts = [path.read_text() for path in sources  # where there is a stub, it speaks for its module
             if path.suffix == ".pyi" or path.suffix == ".py" and not path.with_suffix(".pyi").exists()]
    definitions = [node for text in texts for node in ast.walk(ast.parse(text))
                   if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name]
    assert definitions
    for node in definitions:
        if not isinstance(node, ast.ClassDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert node.returns is not None and all(arg.annotation is not None or arg.arg == "self" for arg in given)


def test_pages_link_to_what_exists():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def names_something(dotted):
    """Whether this is a module of the package, or what one has."""
    words = dotted.split(".")
    thing, found = samovar, ["samovar"]
    for word in words[1:]:
        found.append(word)
        with contextlib.suppress(ImportError):
            importlib.import_module(".".join(found))
        if not hasattr(thing, word):
            return False
        thing = getattr(thing, word)
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_only_what_is_there(page):
    assert names_something("samovar.Cache.get") and not names_something("samovar.edge.nowhere")
    for dotted in set(re.findall(r"\bsamovar(?:\.[A-Za-z_]\w*)+", page.read_text())):
        assert names_something(dotted), f"{page.name} speaks of {dotted}"
