"""Distinguishes errors of the machine, such as a full disk, from errors that depend on the settings of a job."""

from __future__ import annotations

import errno

from sfpo_bench.core.errors import DiskFullError

# Out-of-memory is not included: memory use depends on the settings, and the same settings would fail again.
_OF_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}


def is_of_machine(error: BaseException) -> bool:
    """Return True if the disk is full, broken or read-only or no file can be opened, here or in the error's causes."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, DiskFullError) or (isinstance(link, OSError) and link.errno in _OF_MACHINE):
            return True
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return False
