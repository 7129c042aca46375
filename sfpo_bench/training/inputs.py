"""Content hashes of the files, models and source code that a run's settings name.

They are part of the run's identity: resuming with another problems file, other initial weights or an edited class would
mix two runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
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
        last = key.rpartition(".")[2]
        if isinstance(value, str) and last in _CLASSES and ":" in value:
            folder = settings.get(f"{key.rpartition('.')[0]}.path")
            found.update(_sources(key, value, folder if isinstance(folder, str) else ""))
        elif last == "dir" and settings.get(f"{key.rpartition('.')[0]}.unverified") is True:
            # Of a verified set the card knows the content.
            found.update(_files(key, value, _problems_sha256))
        elif last.endswith(("path", "paths")):
            found.update(_files(key, value, lambda at: file_sha256(at) if at.is_file() else model_folder_sha256(at)))
        elif ".options." in key:
            # Options of a user's class have names of the user's: what is a file counts as one.
            found.update(_files(key, value, lambda at: file_sha256(at) if at.is_file() else ""))
    return found


def _files(key: str, value: object, digest: Callable[[Path], str]) -> Iterator[tuple[str, object]]:
    """The value, or the values of a list, with absolute paths, and a hash for each that `digest` has one of."""
    values = value if isinstance(value, (list, tuple)) else [value]
    absolute: list[object] = []
    for one in values:
        file = Path(one).expanduser() if isinstance(one, str) and one else None
        found = digest(file)[:_DIGITS] if file is not None and _is_there(file) else ""
        absolute.append(str(file.resolve()) if file is not None and found else one)
        if found:
            yield f"{key} (content{'' if values is not value else f' of {one}'})", found
    yield key, absolute if values is value else absolute[0]


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a text that is no name of a file, such as one of 300 characters
        return False


def _problems_sha256(folder: Path) -> str:
    """The sha256 of the problem sets in a folder, as `problems.load` looks for them."""
    files = sorted({file for part in ("", "eval", "train") for file in (folder / part).glob("*.jsonl")})
    lines = [f"{file.relative_to(folder)} {file_sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def contents(settings: Mapping[str, object]) -> dict[str, object]:
    """The content hashes among settings that `with_inputs` returned."""
    return {key: value for key, value in settings.items() if key.endswith(")") and " (content" in key}


def _sources(key: str, name: str, folder: str) -> Iterator[tuple[str, str]]:
    files = own_sources(name, Path(folder).expanduser() if folder else None)
    for module, file in files.items():
        of = "" if module == name.partition(":")[0] else f" of {module}"
        yield f"{key} (content{of})", file_sha256(file)[:_DIGITS]
