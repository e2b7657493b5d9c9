"""What a ring is given, checked: an error names the argument, what it was and what it must be."""

import math
from collections.abc import Iterable, Mapping
from operator import index
from typing import SupportsFloat, SupportsIndex

MOST_POINTS = 2**28


def checked_name(node: str) -> str:
    if not isinstance(node, str):
        raise TypeError(f"node must be a name, a str, not {type(node).__name__}")
    if not node:
        raise ValueError("node must be a name that is not empty")
    try:
        node.encode()
    except UnicodeEncodeError:
        raise ValueError(f"node must be a name that UTF-8 can say, not {node!r}") from None
    return str(node)


def checked_names(nodes: Iterable[str]) -> tuple[str, ...]:
    if isinstance(nodes, str | bytes | Mapping):
        hint = "; weights= says what they weigh" if isinstance(nodes, Mapping) else ""
        raise TypeError(f"nodes must be several names, not one {type(nodes).__name__}{hint}")
    seen: dict[str, None] = {}
    for node in nodes:
        if checked_name(node) in seen:
            raise ValueError(f"nodes must differ, {node!r} is there twice")
        seen[checked_name(node)] = None
    return tuple(seen)


def checked_weight(node: object, weight: SupportsFloat) -> float:
    try:
        number = math.nan if isinstance(weight, str | bytes) else float(weight)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"weight of {node!r} must be a number above 0, not {weight!r}")
    return number


def checked_weights(weights: Mapping[str, float] | None, names: tuple[str, ...]) -> tuple[float, ...]:
    given = {} if weights is None else weights
    if not isinstance(given, Mapping):
        raise TypeError(f"weights must be a mapping of node names to numbers, not {type(weights).__name__}")
    for node in given:
        if node not in names:
            raise ValueError(f"weights must be of nodes of the ring, {node!r} is none")
    return tuple(checked_weight(name, given.get(name, 1.0)) for name in names)


def checked_vnodes(vnodes: SupportsIndex, multiple: int) -> int:
    try:
        number = index(vnodes)
    except TypeError:
        raise TypeError(f"vnodes must be a whole number, not {vnodes!r}") from None
    if not 1 <= number <= MOST_POINTS or number % multiple:
        raise ValueError(f"vnodes must be from 1 to 2**28{' and a multiple of 4' if multiple > 1 else ''}, not {number}")
    return number


def checked_load_factor(load_factor: object) -> float:
    if isinstance(load_factor, bool) or not isinstance(load_factor, int | float) or not 1 < load_factor < math.inf:
        raise ValueError(f"load_factor must be a number above 1, not {load_factor!r}")
    return float(load_factor)
