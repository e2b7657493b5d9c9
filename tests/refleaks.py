"""A pytest plugin for debug Pythons: each test runs several times, and fails when the references grow every time.

`make refleaks` uses it (`-p refleaks`). `sys.gettotalrefcount` counts every reference in the process, so the first
rounds, in which caches fill, do not count. Tests of hypothesis are run once: it keeps what it has learned.
"""

import gc
import sys

import pytest
from _pytest.runner import runtestprotocol

WARM, COUNTED = 2, 3


def pytest_configure(config):
    if not hasattr(sys, "gettotalrefcount"):
        raise pytest.UsageError("references can only be counted on a debug Python (Debian: python3-dbg)")


def count():
    gc.collect()
    gc.collect()
    return sys.gettotalrefcount()


def keeps_what_it_learns(item):
    return getattr(getattr(item, "obj", None), "is_hypothesis_test", False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    rounds = 1 if keeps_what_it_learns(item) else WARM + COUNTED + 1
    first, counts = None, [0] * rounds  # whole from the start: what is counted does not grow by the counting
    for number in range(rounds):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        first = first or reports
        if not all(report.passed for report in reports):
            break  # in the first round it failed; in a later one it is merely a test that cannot be repeated
        counts[number] = count()
    growth = [after - before for before, after in zip(counts[WARM:], counts[WARM + 1:])]
    if growth and min(growth) > 0:
        [call] = [report for report in first if report.when == "call"]
        call.outcome = "failed"
        call.longrepr = f"{item.nodeid} leaks references: {growth} in its last {COUNTED} rounds"
    for report in first:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
