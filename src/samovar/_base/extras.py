"""Packages that are not samovar's own: imported when they are first needed, and missing ones say what to install."""

import importlib
from typing import Any

from .errors import MissingExtra


def needed(module: str, extra: str, who: str) -> Any:
    """A module of an optional package. Raises MissingExtra, naming the extra, when it is not installed.

    >>> from samovar._base.extras import needed
    >>> needed("json", "redis", "RedisNode").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtra(f"{who} needs {package}: pip install 'samovar[{extra}]'", name=package) from error


def wanted(module: str) -> Any | None:
    """A module that is used where it is installed, or None."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
