"""Messages on damaged or truncated files of records with lengths and checksums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.tracking.framed_records import FramedRecords


def whole_records(
    path: Path, read: Callable[[bytes], FramedRecords], cut_last_line: bool, notes: list[str]
) -> Sequence[bytes]:
    """Return the records of the file; a truncated last one is dropped with a note if requested."""
    content = path.read_bytes()
    found = read(content)
    if found.damaged_at is not None:
        raise damaged(path, found.damaged_at)
    if found.whole_to < len(content):
        notes.append(note_of_cut_end(path, len(content), cut_last_line))
    return found.contents


def damaged(path: Path, at: int) -> ConfigError:
    """Return the error for a record at byte `at` whose checksum does not match."""
    return ConfigError(f"{path} is damaged at byte {at}: its checksum differs; expected the file as it was written")


def note_of_cut_end(path: Path, size: int, cut_last_line: bool) -> str:
    """Return the note on a dropped last record; raises `ConfigError` unless dropping it was requested."""
    if not cut_last_line:
        raise ConfigError(
            f"{path} ends within a record, at byte {size}; one that was cut off is left out with cut_last_line=true"
        )
    return f"{path}: the last record was cut off and is left out"
