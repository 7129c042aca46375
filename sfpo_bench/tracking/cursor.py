"""`delivery.json`: a run's identity in the tracking store and how far its journal was delivered."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import BenchError, ConfigError
from sfpo_bench.core.types import JournalRecord
from sfpo_bench.results.codec import read_record, to_json
from sfpo_bench.results.journal import read_journal
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.results.stored_files import write_atomically


@dataclass(frozen=True, slots=True)
class RunKey:
    """Identity of a run in the store. `uid` survives resumes and is unique within the experiment.

    `params` may be nested. `parent_uid` is the uid of the parent run, such as a comparison's, which may not exist yet.
    """

    uid: str
    name: str
    parent_uid: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for uid in (self.uid, self.parent_uid or "none"):
            if not re.fullmatch(r"[A-Za-z0-9_./:@+=\- ]{1,250}", uid):
                raise BenchError(
                    f"run uid {uid!r} cannot be searched for in MLflow; expected 1 to 250 of the characters "
                    f"A-Z a-z 0-9 _ . / : @ + = - and blank: choose another"
                )


@dataclass(frozen=True, slots=True)
class Ending:
    """The end that the last `finish` requested, stored so that `sync` can deliver it later. `artifacts` are paths
    relative to the folder."""

    state: RunState
    cause: str = ""
    artifacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Contents of `delivery.json`. `records` were delivered; `sha256` covers the first `size` bytes of the journal.

    `artifacts` maps each uploaded file to the sha256 of the uploaded content. `store` is the tracking URI without
    credentials, `experiment` the experiment that the run was created in. `ended` says that the store has the run's end
    with its files; it is written last, so a kill before leaves it False.
    """

    key: RunKey
    store: str
    run_id: str = ""
    records: int = 0
    size: int = 0
    sha256: str = ""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    ending: Ending | None = None
    experiment: str = ""
    ended: bool = False

    def save(self, folder: RunFolder) -> None:
        write_atomically(folder.delivery, to_json(self))

    @classmethod
    def load(cls, folder: RunFolder) -> Cursor | None:
        """Return the cursor of a run, or None if it is missing or damaged; the store then provides the position."""
        try:
            return read_record(cls, folder.delivery)
        except ConfigError:
            return None


@dataclass(frozen=True, slots=True)
class JournalView:
    """The current bytes of a journal, and the end of each complete line."""

    path: Path
    content: bytes
    ends: tuple[int, ...]

    @classmethod
    def read(cls, path: Path) -> JournalView:
        content = path.read_bytes() if path.is_file() else b""
        ends, position = [], content.find(b"\n") + 1
        while position:
            ends.append(position)
            position = content.find(b"\n", position) + 1
        return cls(path, content, tuple(ends))

    def records_within(self, size: int) -> int:
        """Return the number of complete records in the first `size` bytes."""
        return bisect_right(self.ends, size)

    def records(self, count: int) -> list[JournalRecord]:
        return read_journal(self.path, self.size(count))

    def size(self, count: int) -> int:
        """Return the length of the first `count` records in bytes."""
        return self.ends[count - 1] if count else 0

    def sha256(self, size: int) -> str:
        return hashlib.sha256(self.content[:size]).hexdigest()

    def contradicts(self, cursor: Cursor) -> bool:
        """Return True if the delivered bytes are not a prefix of this journal; False for a shorter journal."""
        return len(self.content) >= cursor.size and cursor.size > 0 and self.sha256(cursor.size) != cursor.sha256
