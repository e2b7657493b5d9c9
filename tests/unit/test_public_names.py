"""What `import samovar` promises."""

import re

import pytest

import samovar
from support import fresh_python

NAMES = ["lru_cache", "cache", "memoize", "cached_method", "Cache", "cached", "Freshness", "LoadContext", "ManualClock",
         "Stats", "LoadTimeout", "SamovarError", "SnapshotError", "SingleFlight", "FlightCounts", "FileLease",
         "OriginBudget", "OriginBusy", "BudgetStats", "warm", "awarm", "hot_set",
         "save_hot_set", "load_hot_set", "trace_keys", "Warmed", "HashRing", "RingDiff", "RingLoad",
         "Cluster", "AsyncCluster", "ClusterStats", "HotKeys", "RedisNode", "MemcachedNode", "LocalNode",
         "precompute", "PrecomputeStatus", "KeyStatus", "NotBuilt", "Feed"]


def test_package_names_what_it_offers():
    assert {*NAMES, "__version__"} <= set(samovar.__all__)
    assert all(hasattr(samovar, name) for name in samovar.__all__)


def test_package_version_is_a_version():
    assert re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[\w.]+)?", samovar.__version__)


def test_public_names_say_what_they_are_for():
    for name in NAMES:
        assert len(getattr(samovar, name).__doc__) > 40


def test_import_brings_in_no_client_of_a_server():
    out = fresh_python("import sys, samovar; print(sorted({'redis', 'hiredis', 'msgspec', 'samovar.cluster.cluster', "
                       "'samovar.cluster.sockets'} & set(sys.modules)))")
    assert out.strip() == "[]"


def test_name_that_is_not_there_is_an_attribute_error():
    for module in (samovar, samovar.cluster):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            module.nothing
