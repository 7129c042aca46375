"""Locks of open files, which the kernel releases when their process ends or closes the file."""

from __future__ import annotations

from typing import IO, Any

from sfpo_bench.core.errors import ConfigError


class NoFileLocks(ConfigError):
    """The file system has no file locks."""


def take_lock(file: IO[Any]) -> None:
    """Wait for the exclusive lock of an open file; raises `NoFileLocks` where its file system has none."""
    _flock(file, exclusive=True, wait=True)


def try_lock(file: IO[Any], *, exclusive: bool = True) -> bool:
    """Take the lock of an open file without waiting, and return whether it could be taken.

    A shared lock (`exclusive=False`) can be taken beside other shared ones. Raises `NoFileLocks` where the file system
    has none: two processes could work in one folder there without knowing of each other.
    """
    try:
        _flock(file, exclusive=exclusive, wait=False)
    except BlockingIOError:
        return False
    return True


def _flock(file: IO[Any], *, exclusive: bool, wait: bool) -> None:
    import fcntl  # absent on Windows, where runs can be read

    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError as error:
        raise NoFileLocks(
            f"{file.name} cannot be locked ({error.strerror}); expected a file system with file locks, which keep two "
            "processes from working in one folder: put output_root on a local disk, or on a share that has them"
        ) from error
