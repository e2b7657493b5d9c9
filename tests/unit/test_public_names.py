"""What `import samovar` promises."""

import re

import samovar

NAMES = ["lru_cache", "cache", "memoize", "cached_method", "Cache", "cached", "Freshness", "LoadContext", "ManualClock",
         "Stats", "LoadTimeout", "SamovarError", "SnapshotError", "SingleFlight", "FlightCounts", "FileLease",
         "OriginBudget", "OriginBusy", "BudgetStats", "warm", "awarm", "hot_set",
         "save_hot_set", "load_hot_set", "trace_keys", "Warmed", "HashRing", "RingDiff", "RingLoad"]


def test_package_names_what_it_offers():
    assert {*NAMES, "__version__"} <= set(samovar.__all__)
    assert all(hasattr(samovar, name) for name in samovar.__all__)


def test_package_version_is_a_version():
    assert re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[\w.]+)?", samovar.__version__)


def test_public_names_say_what_they_are_for():
    for name in NAMES:
        assert len(getattr(samovar, name).__doc__) > 40
