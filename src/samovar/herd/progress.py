"""How far a warming is, for a person who watches: rich's bar where rich is installed, else one line that is rewritten."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from types import TracebackType
from typing import Any, TextIO

from .._base.clock import stopwatch
from ..app.warming import Progress

_EVERY_S = 0.1  # as often as a person can read


def chosen(who: str, progress: Any) -> AbstractContextManager[Progress | None]:
    """What to tell of progress: the caller's function; for None and True a bar if stderr is a terminal, else nothing;
    for False nothing."""
    if progress is None or progress is True:
        return bar(sys.stderr) if _is_watched(sys.stderr) else _Told(None)
    if progress is False:
        return _Told(None)
    if not callable(progress):
        raise TypeError(f"{who}: progress must be callable, True, False or None, not {progress!r}; it is given (done, total "
                        f"or None)")
    return _Told(progress)


def _is_watched(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def bar(stream: TextIO) -> AbstractContextManager[Progress | None]:
    """A bar on this stream."""
    try:
        return _Rich(import_module("rich.progress"), import_module("rich.console").Console(file=stream))
    except ImportError:
        return Line(stream)


class _Told:
    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress

    def __enter__(self) -> Progress | None:
        return self.progress

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        pass


class Line:
    """`warming 1,234 of 10,000 (12 %), 345 a second, 25 s left`, rewritten in place a few times a second."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = stopwatch) -> None:
        self.stream, self.now = stream, now
        self.begun = self.shown = now()
        self.width = 0
        self.text = ""

    def __enter__(self) -> "Line":
        return self

    def __call__(self, done: int, total: int | None) -> None:
        now = self.now()
        self.text = said(done, total, now - self.begun)
        if done == 1 or now - self.shown >= _EVERY_S:
            self.shown = now
            self.show()

    def show(self) -> None:
        self.stream.write("\r" + self.text.ljust(self.width))
        self.stream.flush()
        self.width = len(self.text)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if self.text:
            self.show()
            self.stream.write("\n")
            self.stream.flush()


def said(done: int, total: int | None, passed_s: float) -> str:
    """How far it is, in words.

    >>> from samovar.herd.progress import said
    >>> said(250, 1000, 5.0)
    'warming 250 of 1,000 (25 %), 50 a second, 15 s left'
    """
    rate = done / passed_s if passed_s > 0 else 0.0
    speed = f", {rate:,.0f} a second" if rate >= 1 else f", one in {1 / rate:,.0f} s" if rate > 0 else ""
    if total is None:
        return f"warming {done:,}{speed}"
    left = f", {(total - done) / rate:,.0f} s left" if rate > 0 and done < total else ""
    return f"warming {done:,} of {total:,} ({100 * done // max(1, total)} %){speed}{left}"


class _Rich:
    def __init__(self, parts: Any, console: Any) -> None:
        columns = [*parts.Progress.get_default_columns(), parts.MofNCompleteColumn()]
        self.bars = parts.Progress(*columns, console=console)

    def __enter__(self) -> Progress:
        self.bars.start()
        self.task = self.bars.add_task("warming", total=None)
        return self.tell

    def tell(self, done: int, total: int | None) -> None:
        self.bars.update(self.task, completed=done, total=total)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.bars.stop()
