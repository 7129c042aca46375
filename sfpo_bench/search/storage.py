"""Storage of a study: a journal file in the sweep's folder, or a database given by its URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileOpenLock
from sqlalchemy.exc import DBAPIError

from sfpo_bench.core.errors import ConfigError, StudyStoreError
from sfpo_bench.core.file_lock import take_lock
from sfpo_bench.search.address import check_url

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

STUDY_FILE = "study.log"
# Raised by a database that does not respond, wrapped by Optuna or not.
STORE_ERRORS = (StorageInternalError, DBAPIError)


class FileLock(JournalFileOpenLock):
    """File lock for Optuna's journal, which the kernel releases when its process ends.

    A process killed while writing leaves an incomplete line, after which Optuna could not read any further. The next
    holder of the lock truncates it.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._file = file
        self._handle: IO[bytes] | None = None

    def acquire(self) -> bool:
        handle = open(self._file.with_name(f"{self._file.name}.lock"), "ab")  # noqa: SIM115 - closed by release()
        take_lock(handle)
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
    """Return the storage at `url`, or the journal file in `folder` if `url` is empty.

    Raises `ConfigError` for an invalid URL and `StudyStoreError` if the database does not respond.
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
        # Detect lost connections before they are used.
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"sweep.storage: {error}; expected postgresql+psycopg://user@host/database") from error
    except OperationalError as error:
        raise StudyStoreError(
            f"sweep.storage does not answer: {str(error.orig).splitlines()[0]}; start it, or leave sweep.storage empty "
            "to keep the study in a file"
        ) from error
