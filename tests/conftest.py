"""What holds for every kind of proof: chance is seeded, and how to repeat a run is printed.

pytest-randomly shuffles the tests, seeds `random` and prints the seed, which `--randomly-seed` takes. Hypothesis prints
the line that repeats a failure.
"""

import gc
from itertools import count

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("proof", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("proof")


def pytest_report_header():
    try:
        import samovar
        from samovar import _core
    except ImportError as error:
        raise pytest.UsageError(f"samovar is not built here ({error}); `make test` builds it and runs everything")
    return f"samovar {samovar.__version__}: {_core.__file__}"


def pytest_collection_finish():
    """Tests collect garbage all the time: what was there before the first of them need not be looked at again."""
    gc.collect()
    gc.freeze()


_ran = count(1)


def pytest_runtest_setup():
    """Nor what the tests before left behind: reports, modules, examples."""
    if next(_ran) % 200 == 0:
        gc.collect()
        gc.freeze()
