"""Locks that the kernel releases when their process dies, one for each of 2**62 numbers.

Three ways, the best that the system has:

    open-file-description locks (Linux)   a byte of one of 16 files for each number: locks of many numbers in one file
                                          cost a walk along its list, so that the list is kept short
    flock (macOS, the BSDs)               one of 512 files for each number: numbers that share a file wait for each
                                          other over processes, and do not within one
    msvcrt.locking (Windows)              a byte of one file

A lock belongs to the open file, not to the process as POSIX record locks do: two open files of one process exclude each
other, and closing another descriptor of the same file releases nothing. It is shared with the child of a fork, where it
would outlive the parent: `forget` closes it there, which releases nothing of the parent's. Nothing ever waits in here.
"""

import contextlib
import errno
import os
import struct
import sys
from collections.abc import Callable
from typing import Protocol

from .directory import Directory

_BUSY = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
_UNKNOWN = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}


class LockFile:
    """An open file with locks on it; closed when nobody uses it any more. users: locks held on it, by this process."""

    def __init__(self, directory: Directory, name: str) -> None:
        self.fd = -1
        self.users = 0
        self.fd = directory.open(name, os.O_RDWR | os.O_CREAT)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)

    def is_removed(self) -> bool:
        """Whether its name is gone (somebody tidies /tmp): who comes anew would lock another file."""
        return os.fstat(self.fd).st_nlink == 0


class Kind(Protocol):
    """A kind of lock. files: over how many files the numbers are spread."""

    files: int

    def lock(self, file: LockFile, number: int) -> bool:
        """Whether it is ours from now on. Raises OSError when that cannot be known."""

    def unlock(self, file: LockFile, number: int) -> None: ...

    def older(self) -> "Kind | None":
        """What to use where the system does not know this kind."""


if sys.platform == "win32":
    import msvcrt

    class WindowsBytes:
        """msvcrt.locking, on one byte each, as far as its C type counts. Numbers that share a byte wait for each other."""

        files = 1
        _MOST = 2**31 - 2

        def lock(self, file: LockFile, number: int) -> bool:
            os.lseek(file.fd, number % self._MOST, os.SEEK_SET)
            return _is_free(lambda: msvcrt.locking(file.fd, msvcrt.LK_NBLCK, 1))

        def unlock(self, file: LockFile, number: int) -> None:
            os.lseek(file.fd, number % self._MOST, os.SEEK_SET)
            msvcrt.locking(file.fd, msvcrt.LK_UNLCK, 1)

        def older(self) -> Kind | None:
            return None

    KINDS: list[Callable[[], Kind]] = [WindowsBytes]
else:
    import fcntl

    class Files:
        """flock: a whole file for each lock."""

        files = 512

        def lock(self, file: LockFile, number: int) -> bool:
            if file.users:  # this process has it, for another number
                return True
            return _is_free(lambda: fcntl.flock(file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB))

        def unlock(self, file: LockFile, number: int) -> None:
            if not file.users:
                fcntl.flock(file.fd, fcntl.LOCK_UN)

        def older(self) -> Kind | None:
            return None

    KINDS: list[Callable[[], Kind]] = [Files]

    if hasattr(fcntl, "F_OFD_SETLK"):

        class Bytes:
            """Open-file-description locks, on one byte each."""

            files = 16
            _FLOCK = struct.Struct("hhqqi4x")  # struct flock as C lays it out: type, whence, start, len, pid (0)

            def lock(self, file: LockFile, number: int) -> bool:
                return _is_free(lambda: self._set(file, number, fcntl.F_WRLCK))

            def unlock(self, file: LockFile, number: int) -> None:
                self._set(file, number, fcntl.F_UNLCK)

            def _set(self, file: LockFile, number: int, kind: int) -> None:
                fcntl.fcntl(file.fd, fcntl.F_OFD_SETLK, self._FLOCK.pack(kind, os.SEEK_SET, number, 1, 0))

            def older(self) -> Kind | None:
                return Files()

        KINDS.insert(0, Bytes)


def _is_free(lock: Callable[[], object]) -> bool:
    """Whether a lock could be had at once."""
    try:
        lock()
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


def best() -> Kind:
    """The best kind that this system has."""
    return KINDS[0]()


class FileLocks:
    """The locks of one directory, as one holder: `lock` and `unlock` are called by one thread at a time."""

    def __init__(self, directory: Directory, kind: Kind | None = None) -> None:
        self.directory = directory
        self.kind = best() if kind is None else kind
        self._files: dict[int, LockFile] = {}

    def lock(self, number: int) -> LockFile | None:
        """The file that is locked for this number from now on, None when somebody else has it. Raises OSError when it
        cannot be known."""
        file = self._file(number % self.kind.files)
        try:
            is_locked = self.kind.lock(file, number)
        except OSError as error:
            older = self.kind.older() if error.errno in _UNKNOWN else None
            if older is None:
                raise
            self.kind = older  # of this kernel, or this file system
            self._files.clear()
            return self.lock(number)
        if not is_locked:
            return None
        file.users += 1
        return file

    def unlock(self, file: LockFile, number: int) -> None:
        """Let go of it."""
        file.users -= 1
        if file.fd >= 0:
            with contextlib.suppress(OSError):
                self.kind.unlock(file, number)

    def _file(self, number: int) -> LockFile:
        file = self._files.get(number)
        if file is None or file.is_removed():
            file = self._files[number] = LockFile(self.directory, f"{type(self.kind).__name__.lower()}-{number:03x}.lock")
        return file

    def forget(self, held: list[LockFile]) -> None:
        """In the child of a fork: close what the parent has open, so that the locks die with it. held: files that it
        holds locks on."""
        for file in [*self._files.values(), *held]:
            file.close()
        self._files.clear()
