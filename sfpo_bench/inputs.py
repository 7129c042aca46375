"""What a run reads beside its settings, by content: the user's files and the source of the user's classes.

A setting names them, and what they hold is part of what the run is: a run that goes on with another problems file or an
edited class would be two runs in one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from sfpo_bench.plugins import source_of

_CLASSES = ("factory", "grader")  # last parts of keys whose values are `module:name`


def with_inputs(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings with files by their absolute paths, and `KEY (content)` for each file or module that one names."""
    found: dict[str, object] = {}
    for key, value in settings.items():
        found[key] = value
        if not isinstance(value, str) or not value:
            continue
        last = key.rpartition(".")[2]
        if last in _CLASSES and ":" in value:
            folder = settings.get(f"{key.rpartition('.')[0]}.path")
            source = source_of(value, Path(folder).expanduser() if isinstance(folder, str) and folder else None)
            if source is not None:
                found[f"{key} (content)"] = _digest(source)
        elif last.endswith("path") and (file := Path(value).expanduser()).exists():
            found[key] = str(file.resolve())
            if file.is_file():
                found[f"{key} (content)"] = _digest(file)
    return found


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]
