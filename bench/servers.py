"""The engines of the tests, for a bench that needs real ones. What is missing for them is said in a line, and ends it."""

from __future__ import annotations

import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))
try:
    import engines
except ModuleNotFoundError as error:
    sys.exit(f"this bench starts engines as the tests do, which needs {error.name}: pip install --group test")


def _wanted(program: str) -> None:
    if shutil.which(program) is None:
        sys.exit(f"this bench needs {program} (Debian: apt-get install {program})")


class RedisServer(engines.RedisServer):
    """A redis-server of its own; see tests/engines.py."""

    def __init__(self, *options: str) -> None:
        _wanted(self.program)
        super().__init__(*options)


class MemcachedServer(engines.MemcachedServer):
    """A memcached of its own."""

    def __init__(self, *options: str) -> None:
        _wanted("memcached")
        super().__init__(*options)
