"""Reads a JSONL file as objects, or as rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.json_text import json_object


def jsonl_objects(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The position (`FILE line 3`) and object of each line; blank lines are skipped.

    Raises `ConfigError` with the line number for a line that is not a JSON object.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: found bytes that are not UTF-8 at {error.start}, expected UTF-8 text") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{file} line {number}"
            yield where, json_object(line, where)


def jsonl_rows(file: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The object of each line with its values as text.

    Raises `ConfigError` with the line number as `jsonl_objects` does, and for a line that lacks one of the `needed`
    fields.
    """
    return [_row(row, where, needed) for where, row in jsonl_objects(file)]


def _row(row: Mapping[str, Any], where: str, needed: Sequence[str]) -> dict[str, str]:
    missing = [name for name in needed if not str(row.get(name, "")).strip()]
    if missing:
        raise ConfigError(
            f"{where}: found the fields {', '.join(sorted(row)) or '(none)'}; {', '.join(missing)} is absent or empty"
        )
    return {str(name): str(value) for name, value in row.items()}
