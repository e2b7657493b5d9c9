"""The files around the code are sound: workflows, the wheel builder's configuration, what the package says it is."""

import importlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TOOLS = Path(sys.executable).parent


def run(tool, *args):
    program = TOOLS / tool
    if not program.exists():
        pytest.fail(f"{tool} is not installed: `make test` installs it (the group `check` of pyproject.toml)")
    done = subprocess.run([program, *args], capture_output=True, text=True, timeout=120, cwd=ROOT,
                          env={**os.environ, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{tool} {' '.join(map(str, args))}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_workflows_pass_zizmor_when_nothing_is_fetched():
    assert WORKFLOWS
    run("zizmor", "--offline", "--no-progress", "--persona=pedantic", *WORKFLOWS)


def test_workflows_fit_their_schema():
    run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


@pytest.mark.parametrize("platform, archs, tags", [
    ("linux", "x86_64", ["manylinux_x86_64", "musllinux_x86_64"]),
    ("linux", "aarch64", ["manylinux_aarch64", "musllinux_aarch64"]),
    ("macos", "arm64", ["macosx_arm64"]),
    ("windows", "AMD64", ["win_amd64"]),
])
def test_cibuildwheel_builds_every_python_on_each_platform(platform, archs, tags):
    found = run("cibuildwheel", "--platform", platform, "--archs", archs, "--print-build-identifiers", ".").split()
    pythons = ("cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t")
    assert {f"{python}-{tag}" for python in pythons for tag in tags} <= set(found)


def test_package_needs_nothing_at_run_time():
    assert all("extra ==" in needed for needed in importlib.metadata.requires("samovar") or ())


def test_package_is_typed_and_licensed():
    about = importlib.metadata.metadata("samovar")
    assert about["License-Expression"] == "Apache-2.0"
    assert "Typing :: Typed" in about.get_all("Classifier")
    assert about["Version"] == importlib.import_module("samovar").__version__
