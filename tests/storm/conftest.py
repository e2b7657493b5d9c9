"""Threads, tasks, loops and processes from one barrier. Every memo made in a test is validated after it."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from support import every_memo_is_sound_afterwards  # noqa: E402,F401 - a fixture
