"""The floor: a callable that does nothing, built when first asked for.

A loop that calls it costs what the loop and the call cost; what a cache takes beyond that is the cache's own. It needs
a C compiler and Python's headers; without them `load_noop` answers None and the floor is left out of the tables.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Callable

SOURCE = Path(__file__).with_name("noop.c")
BUILT = Path(__file__).with_name("results") / ".built"


def load_noop() -> Callable[[Any], Callable[..., Any]] | None:
    """`Noop(answer)` makes a callable that always returns `answer`; None where it cannot be built."""
    module = load()
    return None if module is None else module.Noop


def load() -> Any:
    """The extension `_noop`, or None."""
    target = BUILT / f"_noop{sysconfig.get_config_var('EXT_SUFFIX')}"
    try:
        if not target.exists() or target.stat().st_mtime < SOURCE.stat().st_mtime:
            build(target)
        if str(BUILT) not in sys.path:
            sys.path.append(str(BUILT))
        return importlib.import_module("_noop")
    except (OSError, subprocess.CalledProcessError, ImportError):
        return None


def build(target: Path) -> None:
    """Compile into a file of this process's own, then rename: two runs at once cannot read half a library."""
    compiler = shutil.which((os.environ.get("CC") or "cc").split()[0])
    if compiler is None or os.name == "nt":
        raise OSError("no C compiler found")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}")
    flags = ["-shared", "-fPIC", "-O3"] + (["-undefined", "dynamic_lookup"] if os.uname().sysname == "Darwin" else [])
    include = f"-I{sysconfig.get_paths()['include']}"
    command = [compiler, *flags, include, str(SOURCE), "-o", str(draft)]
    subprocess.run(command, check=True, capture_output=True)
    os.replace(draft, target)
