"""The sentinel for "there is no such value": a cached None is a value. The native core's own."""

from typing import Any, Final

from .. import _core


class _Missing:
    """The type of MISSING."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final[Any] = getattr(_core, "MISSING", None) or _Missing()
