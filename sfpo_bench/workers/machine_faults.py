"""Which errors are the machine's and say nothing of the settings that were tried when they came."""

from __future__ import annotations

import errno

from sfpo_bench.core.errors import DiskFullError

# Memory is not among them: how much is requested follows from the settings, and the same ones would request it again.
_OF_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}


def is_of_machine(error: BaseException) -> bool:
    """True for a disk that is full, broken or read-only and for files that cannot be opened any more, also where that
    led to the error."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, DiskFullError) or (isinstance(link, OSError) and link.errno in _OF_MACHINE):
            return True
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return False
