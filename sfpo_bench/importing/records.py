"""What is said of a file of records, with lengths and checksums, that is damaged or cut off."""

from __future__ import annotations

from pathlib import Path

from sfpo_bench.core.errors import ConfigError


def damaged(path: Path, at: int) -> ConfigError:
    """The error of a record at byte `at` that does not fit its checksum."""
    return ConfigError(f"{path} is damaged at byte {at}: its checksum differs; expected the file as it was written")


def note_of_cut_end(path: Path, size: int, cut_last_line: bool) -> str:
    """What is said of a last record that is left out; raises `ConfigError` where nobody asked for that."""
    if not cut_last_line:
        raise ConfigError(
            f"{path} ends within a record, at byte {size}; one that was cut off is left out with cut_last_line=true"
        )
    return f"{path}: the last record was cut off and is left out"
