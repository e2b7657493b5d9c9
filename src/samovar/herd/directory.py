"""A directory that belongs to this user alone, and files in it that nobody can swap for something else.

Everything is opened relative to the open directory, and never through a symbolic link; what was opened is then looked
at, not its name. So a directory in /tmp is safe once it was found to be ours: who does not own it can put nothing there.
Where the system cannot open relative to a directory (Windows), names are joined.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Any

_HERE = os.supports_dir_fd >= {os.open, os.unlink, os.rename, os.stat} and hasattr(os, "O_DIRECTORY")
_SAFE = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class NotOurs(OSError):
    """It is there, but somebody else could have a hand in it."""


class Directory:
    """A directory, made when it is missing (0700), refused when it belongs to somebody else or everybody may write
    there. It is opened when first used, and anew when it was removed meanwhile."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close it: it is opened again when it is used again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)

    def make(self) -> None:
        """Make it, with what lies above it, or find that it is ours. Raises OSError."""
        with contextlib.suppress(FileExistsError):
            os.makedirs(self.path, 0o700)
        found = os.lstat(self.path)
        if stat.S_ISLNK(found.st_mode):
            raise NotOurs(f"{self.path!r} is a symbolic link; give the directory that it leads to")
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(f"{self.path!r} is no directory")
        _check(found, self.path, "directory")

    def place(self) -> tuple[int, int]:
        """What tells it from all other directories of this host."""
        found = os.fstat(self._opened()) if _HERE else os.stat(self.path)
        return found.st_dev, found.st_ino

    def _opened(self) -> int:
        if self._fd < 0:
            self.make()
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | _SAFE)
            try:
                _check(os.fstat(fd), self.path, "directory")
            except BaseException:
                os.close(fd)
                raise
            self._fd = fd
        return self._fd

    def _at(self, name: str, key: str = "dir_fd") -> tuple[str, dict[str, Any]]:
        """A name and the keyword by which a system call finds it."""
        return (name, {key: self._opened()}) if _HERE else (os.path.join(self.path, name), {})

    def open(self, name: str, flags: int) -> int:
        """A file descriptor of a regular file of ours, made with 0600 where flags say so. Raises OSError."""
        try:
            return self._open(name, flags)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            self.close()  # the directory itself was removed: begin anew
            return self._open(name, flags)

    def _open(self, name: str, flags: int) -> int:
        target, where = self._at(name)
        fd = os.open(target, flags | _SAFE, 0o600, **where)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise NotOurs(f"{name!r} in {self.path!r} is no regular file")
            _check(found, os.path.join(self.path, name), "file")
        except BaseException:
            os.close(fd)
            raise
        return fd

    def stat(self, name: str) -> os.stat_result:
        """What lies under this name, links not followed."""
        target, where = self._at(name)
        return os.stat(target, follow_symlinks=False, **where)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there and can be."""
        with contextlib.suppress(OSError):
            target, where = self._at(name)
            os.unlink(target, **where)

    def rename(self, old: str, new: str) -> None:
        """Put one file in another's place, in one step."""
        source, where = self._at(old, "src_dir_fd")
        target, there = self._at(new, "dst_dir_fd")
        os.replace(source, target, **where, **there)

    def names(self) -> Iterator[str]:
        """What lies in it."""
        return iter(os.listdir(self._opened() if _HERE else self.path))


def _check(found: os.stat_result, path: str, what: str) -> None:
    if hasattr(os, "geteuid"):
        if found.st_uid != os.geteuid():
            raise NotOurs(f"the {what} {path!r} belongs to user {found.st_uid}, not to {os.geteuid()}, who runs this process")
        if found.st_mode & stat.S_IWOTH:
            raise NotOurs(f"the {what} {path!r} can be written by everybody; chmod o-w makes it safe")
