"""What the stores of files share: their limits, changes of a run's record, and how failures are reported."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from sfpo_bench.core.errors import ConfigError, TrackingError
from sfpo_bench.tracking.run_records import RunRecord, RunRecords


class FileStore(ABC):
    """The part of a `Store` that is the same for every store of files: changes of a run's record, and failures."""

    points_per_request = 1_000_000
    parent_tag = "parent"
    keeps_files = False
    prefix: ClassVar[str]  # of the address in a run's `delivery.json`
    files: ClassVar[str]  # the files in words, for errors

    def __init__(self, folder: Path, records: Path) -> None:
        self.address = f"{self.prefix}{folder.resolve()}"
        self._folder = folder.resolve()
        self._about = RunRecords(records)
        self._give_up_at = float("inf")

    @staticmethod
    @abstractmethod
    def require() -> None:
        """Raise `ConfigError` unless the package that the store needs is installed."""

    @abstractmethod
    def _keep(self, about: RunRecord) -> None:
        """Save the record of a run, and show it where the store shows such things."""

    @abstractmethod
    def _forget(self) -> None:
        """Drop what this process has open; the next call reads what the files hold."""

    def _failures(self) -> tuple[type[Exception], ...]:
        """Return the exceptions of a failing store."""
        return OSError, ConfigError

    def give_up_in(self, seconds: float) -> None:
        self._give_up_at = time.monotonic() + seconds

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        with self._writing():
            about = self._about.known(run_id)
            self._keep(replace(about, tags={**about.tags, **tags}))

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        with self._writing():
            about = self._about.known(run_id)
            self._keep(replace(about, params={**about.params, **params}))

    def upload(self, run_id: str, path: Path, folder: str | None) -> None:
        raise TrackingError(f"{self.files} hold no files such as {path.name}; expected none to be uploaded")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Convert the failures of the store, of the file system and of a missing package to `TrackingError`."""
        if time.monotonic() > self._give_up_at:
            raise TrackingError(f"{self.files} below {self._folder} are too slow to take everything in time")
        try:
            self.require()
            yield
        except self._failures() as error:
            self._forget()
            raise TrackingError(
                f"writing {self.files} below {self._folder} failed: {error}; expected a folder with room that can be "
                "written: mend that, then run `sfpo-bench sync`. The journals on disk hold everything"
            ) from error
