"""Where a study is kept: a journal file in the sweep's folder, or a database by its address."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileOpenLock
from sqlalchemy.exc import DBAPIError

from sfpo_bench.core.errors import ConfigError, StudyStoreError
from sfpo_bench.search.address import check_url

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

STUDY_FILE = "study.log"
# What a database that does not answer raises, through Optuna or past it.
STORE_ERRORS = (StorageInternalError, DBAPIError)


class FileLock(JournalFileOpenLock):
    """The lock of Optuna's journal file, held by the kernel, which releases it when its process ends.

    A process that was killed while it wrote leaves half a line, behind which Optuna could read nothing more; the next
    holder cuts it off.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._file = file
        self._handle: IO[bytes] | None = None

    def acquire(self) -> bool:
        handle = open(self._file.with_name(f"{self._file.name}.lock"), "ab")  # noqa: SIM115 - closed by release()
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._handle = handle
        _cut_torn_line(self._file)
        return True

    def release(self) -> None:
        assert self._handle is not None
        self._handle.close()
        self._handle = None


def _cut_torn_line(file: Path) -> None:
    if not file.exists() or not file.stat().st_size:
        return
    with open(file, "r+b") as handle:
        handle.seek(-1, os.SEEK_END)
        if handle.read(1) != b"\n":
            handle.seek(0)
            handle.truncate(handle.read().rfind(b"\n") + 1)


def open_storage(url: str, folder: Path) -> BaseStorage:
    """The storage at `url`, or the journal file of `folder` when it is empty.

    Raises `ConfigError` for an address that cannot be used, `StudyStoreError` when nothing answers there.
    """
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

    if not url:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / STUDY_FILE
        return JournalStorage(JournalFileBackend(str(file), lock_obj=FileLock(file)))
    check_url(url)
    try:
        # A connection that was lost is noticed before it is used.
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"sweep.storage: {error}; expected postgresql+psycopg://user@host/database") from error
    except OperationalError as error:
        raise StudyStoreError(
            f"sweep.storage does not answer: {str(error.orig).splitlines()[0]}; start it, or leave sweep.storage empty "
            "to keep the study in a file"
        ) from error
