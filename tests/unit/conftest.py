"""The API, one promise at a time. Every memo made in a test is validated after it."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from samovar.cluster import hearing  # noqa: E402
from support import LIMIT, every_memo_is_sound_afterwards  # noqa: E402,F401 - a fixture


@pytest.fixture
def patient_bus(monkeypatch):
    """A machine that stands still for a second silences no bus, so that what is near stays there."""
    monkeypatch.setattr(hearing, "SILENT_S", LIMIT)
