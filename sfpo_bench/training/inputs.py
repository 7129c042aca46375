"""Content hashes of the files, models and source code that a run's settings name.

They are part of the run's identity: resuming with another problems file, other initial weights or an edited class would
mix two runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sfpo_bench.core.content import file_sha256, model_folder_sha256
from sfpo_bench.core.own_sources import own_sources

_CLASSES = ("factory", "grader")  # last parts of keys whose values are `module:name`
_DIGITS = 16


def with_inputs(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings with absolute file paths, plus a content hash for each input they name.

    The keys are `KEY (content)` for a file, model or module, and `KEY (content of MODULE)` for a module that it
    imports.
    """
    found: dict[str, object] = {}
    for key, value in settings.items():
        found[key] = value
        if not isinstance(value, str) or not value:
            continue
        last = key.rpartition(".")[2]
        if last in _CLASSES and ":" in value:
            folder = settings.get(f"{key.rpartition('.')[0]}.path")
            found.update(_sources(key, value, folder if isinstance(folder, str) else ""))
        elif last.endswith("path") and (file := Path(value).expanduser()).exists():
            found[key] = str(file.resolve())
            digest = file_sha256(file) if file.is_file() else model_folder_sha256(file)
            found[f"{key} (content)"] = digest[:_DIGITS]
    return found


def contents(settings: Mapping[str, object]) -> dict[str, object]:
    """The content hashes among settings that `with_inputs` returned."""
    return {key: value for key, value in settings.items() if key.endswith(")") and " (content" in key}


def _sources(key: str, name: str, folder: str) -> Iterator[tuple[str, str]]:
    files = own_sources(name, Path(folder).expanduser() if folder else None)
    for module, file in files.items():
        of = "" if module == name.partition(":")[0] else f" of {module}"
        yield f"{key} (content{of})", file_sha256(file)[:_DIGITS]
