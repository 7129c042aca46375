"""Reading files that this package wrote, with one error for whatever a damaged one makes of the reading."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from sfpo_bench.core.errors import BenchError, DamagedFile, MissingDataError

# What Python, JSON, YAML and Arrow say of content that is another than expected; AssertionError: an `assert` on a type.
_UNREADABLE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError),
    yaml.YAMLError,
)


@contextmanager
def reading(
    path: Path, remedy: str = "restore it, or remove its folder and run the command that made it"
) -> Iterator[None]:
    """Around reading `path` and making of its content what it stands for: any error there is `DamagedFile`.

    A file may be gone, empty, cut, other bytes, JSON of another shape, or a folder. `remedy` says what to do.
    """
    try:
        yield
    except BenchError:
        raise
    except FileNotFoundError as error:
        raise MissingDataError(f"{path} is not there; {remedy}") from error
    except _UNREADABLE as error:
        found = str(error).splitlines()[0] if str(error) else ""
        raise DamagedFile(
            f"{path} is damaged: {type(error).__name__}{f' ({found[:200]})' if found else ''}; {remedy}"
        ) from error


def read_object(path: Path) -> dict[str, object]:
    """The JSON object in `path`; raises `MissingDataError` or `DamagedFile`."""
    with reading(path):
        content: object = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"found a JSON {type(content).__name__}, expected an object with named values")
        return content
