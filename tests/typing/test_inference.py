"""Arguments and results survive decoration, for both families of checkers, and the stubs say what the code does.

`cases/accepted.py` holds claims (`assert_type`), `cases/rejected.py` mistakes with the complaint that each must earn; a
complaint that is not earned is an error too. The samovar that is checked is the one that the tests import.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "cases"


def run(module, *args):
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        pytest.fail(f"{module} is not installed: `make test` installs it (the group `check` of pyproject.toml)")
    command = [sys.executable, "-m", module, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, cwd=CASES, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("version", ["3.11", "3.14"])
def test_mypy_strict_agrees_with_every_case(version, tmp_path):
    run("mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", f"--python-version={version}",
        "accepted.py", "rejected.py")


def test_pyright_strict_agrees_with_every_case():
    run("basedpyright", "--level", "error", "--project", CASES, "--pythonpath", sys.executable)


def test_stubs_say_what_the_code_does(tmp_path):
    allowed = ("--allowlist", CASES.parent / "stubtest.allow", "--ignore-unused-allowlist")
    settings = ("--mypy-config-file", CASES.parents[2] / "pyproject.toml")
    run("mypy.stubtest", "--concise", *settings, *allowed, "samovar")  # and every module in it, samovar._core too


def test_source_passes_mypy_strict(tmp_path):
    root = CASES.parents[2]
    run("mypy", "--config-file", root / "pyproject.toml", f"--cache-dir={tmp_path}", root / "src")
