"""What goes wrong in words of samovar's own, each also the built-in error that a caller would expect.

A bad argument is a plain TypeError or ValueError. These are for what no argument could have prevented.
"""


class SamovarError(Exception):
    """The root of samovar's own errors: catch it to catch them all."""


class LoadTimeout(SamovarError, TimeoutError):
    """A load took longer than its caller would wait; it goes on in the background, and its value will be stored."""


class SnapshotError(SamovarError, ValueError):
    """A snapshot cannot be written, or a file is damaged or is not a snapshot; the cache is as it was before."""


class MissingExtra(SamovarError, ImportError):
    """What was asked for needs a package that is not installed; the message names the extra to install."""
