"""Something obviously right walks beside the fast thing. Every memo made in a test is validated after it."""

import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from support import every_memo_is_sound_afterwards  # noqa: E402,F401 - a fixture
