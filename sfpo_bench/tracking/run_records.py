"""What a store of files knows of its runs beside their points: a JSON file for each run, found by the run's uid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sfpo_bench.core.errors import TrackingError
from sfpo_bench.results.codec import read_record, to_json
from sfpo_bench.results.stored_files import write_atomically
from sfpo_bench.tracking.store import StoredRun


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run of the store. `place` is where the store has its points: a folder or an id."""

    uid: str
    place: str
    name: str
    status: str
    start_ms: int
    end_ms: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    group: str = ""

    def stored(self, records: int) -> StoredRun:
        """Return the run with the number of records that its points complete."""
        return StoredRun(self.uid, self.name, self.status, records, self.tags, self.params)


class RunRecords:
    """The records in a folder that neither TensorBoard nor W&B reads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, uid: str) -> RunRecord | None:
        file = self._file(uid)
        return read_record(RunRecord, file) if file.is_file() else None

    def known(self, uid: str) -> RunRecord:
        """Return the record of a run that was created before."""
        found = self.find(uid)
        if found is None:
            raise TrackingError(f"{self._file(uid)} is gone; expected the record of run {uid}: run `sfpo-bench sync`")
        return found

    def save(self, record: RunRecord) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file(record.uid), to_json(record))

    def _file(self, uid: str) -> Path:
        return self._folder / f"{hashlib.sha256(uid.encode()).hexdigest()[:32]}.json"
