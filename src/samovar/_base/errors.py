"""What goes wrong in words of samovar's own, each also the built-in error that a caller would expect.

A bad argument is a plain TypeError or ValueError. These are for what no argument could have prevented.
"""


class SamovarError(Exception):
    """The root of samovar's own errors: catch it to catch them all."""


class LoadTimeout(SamovarError, TimeoutError):
    """A load took longer than its caller would wait; it goes on in the background, and its value will be stored."""


class OriginBusy(SamovarError, RuntimeError):
    """The origin has all the work that it may have, or fails: the load was not begun, and nothing is stored.

    retry_after: seconds after which another try may succeed, as far as can be told.
    waited: False for a load that would not wait for a place, because something stale could be served instead.
    """

    def __init__(self, message: str, retry_after: float = 0.0, *, waited: bool = True) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.waited = waited

    def __reduce__(self) -> tuple[object, ...]:
        return _busy, (self.args[0], self.retry_after, self.waited)


def _busy(message: str, retry_after: float, waited: bool) -> OriginBusy:
    return OriginBusy(message, retry_after, waited=waited)


class NotBuilt(SamovarError, RuntimeError):
    """A precomputed result cannot be served: building it failed (`__cause__` says how), and there is no last good one, or it
    is too old.

    failures: builds that failed in a row. retry_after: seconds after which it is tried again; 0: now.
    """

    def __init__(self, message: str, failures: int = 1, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.failures, self.retry_after = failures, retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return NotBuilt, (self.args[0], self.failures, self.retry_after)


class SnapshotError(SamovarError, ValueError):
    """A snapshot cannot be written, or a file is damaged or is not a snapshot; the cache is as it was before."""


class MissingExtra(SamovarError, ImportError):
    """What was asked for needs a package that is not installed; the message names the extra to install."""
