"""What `import samovar` promises."""

import re

import samovar


def test_package_names_what_it_offers():
    for name in ("lru_cache", "cache", "memoize", "cached_method", "Stats", "__version__"):
        assert hasattr(samovar, name)
    assert {"lru_cache", "cache", "memoize", "cached_method", "Stats"} <= set(samovar.__all__)
    assert all(hasattr(samovar, name) for name in samovar.__all__)


def test_package_version_is_a_version():
    assert re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[\w.]+)?", samovar.__version__)


def test_public_names_say_what_they_are_for():
    for name in ("lru_cache", "cache", "memoize", "cached_method", "Stats"):
        assert len(getattr(samovar, name).__doc__) > 40
