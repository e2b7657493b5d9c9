"""The loops that are timed: each makes one call per element of its batch, and nothing else.

Imports nothing at run time, so that it starts fast under valgrind.
"""

MYPY = False
if MYPY:
    from collections.abc import Iterable
    from typing import Any


def one_each(call: "Any", batch: "Iterable[Any]") -> None:
    for key in batch:
        call(key)


def two_each(call: "Any", batch: "Iterable[Any]") -> None:
    for a, b in batch:
        call(a, b)


def keyword_each(call: "Any", batch: "Iterable[Any]") -> None:
    for key in batch:
        call(key=key)


def none_each(call: "Any", batch: "Iterable[Any]") -> None:
    for _ in batch:
        call()


def method_each(thing: "Any", batch: "Iterable[Any]") -> None:
    for key in batch:
        thing.method(key)


def subscript_each(entries: "Any", batch: "Iterable[Any]") -> None:
    for key in batch:
        entries[key]


def subscript_two_each(entries: "Any", batch: "Iterable[Any]") -> None:
    for a, b in batch:
        entries[a, b]


def store_each(entries: "Any", batch: "Iterable[Any]") -> None:
    for key in batch:
        entries[key] = key


def get_each(entries: "Any", batch: "Iterable[Any]") -> None:
    for key in batch:
        entries.get(key)


def get_or_set_each(entries: "Any", batch: "Iterable[Any]") -> None:
    for key in batch:
        entries.get_or_set(key, int)


def do_each(flights: "Any", batch: "Iterable[Any]") -> None:
    for key in batch:
        flights.do(key, nothing)


def call_each(flights: "Any", batch: "Iterable[Any]") -> None:
    for _ in batch:
        nothing()


def nothing() -> None:
    pass
