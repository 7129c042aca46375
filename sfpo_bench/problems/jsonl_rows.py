"""Reads a JSONL file as rows of text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sfpo_bench.core.errors import ConfigError


def jsonl_rows(file: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The object of each line with its values as text; blank lines are skipped.

    Raises `ConfigError` with the line number for a line that is not a JSON object or lacks one of the `needed` fields.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: found bytes that are not UTF-8 at {error.start}, expected UTF-8 text") from error
    return [_row(line, f"{file} line {number}", needed) for number, line in enumerate(lines, 1) if line.strip()]


def _row(line: str, where: str, needed: Sequence[str]) -> dict[str, str]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where}: found no JSON ({error}), expected one object per line") from error
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: found a JSON {type(row).__name__}, expected an object such as {{...}}")
    missing = [name for name in needed if not str(row.get(name, "")).strip()]
    if missing:
        raise ConfigError(
            f"{where}: found the fields {', '.join(sorted(row)) or '(none)'}; {', '.join(missing)} is absent or empty"
        )
    return {str(name): str(value) for name, value in row.items()}
