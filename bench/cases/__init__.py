"""The cases, in the order of the table: one question per module, and each module says what its numbers mean."""

from __future__ import annotations

from bench.cases import (
    awaited,
    budget,
    evictions,
    fill,
    hits,
    identifiers,
    large,
    mapping,
    memory,
    methods,
    shapes,
    single,
    zipf,
)
from bench.cases.contest import Case

CASES: tuple[Case, ...] = (
    *hits.CASES,
    *shapes.CASES,
    *methods.CASES,
    *large.CASES,
    *evictions.CASES,
    *fill.CASES,
    *zipf.CASES,
    *awaited.CASES,
    *memory.CASES,
    *identifiers.CASES,
    *mapping.CASES,
    *single.CASES,
    *budget.CASES,
)
