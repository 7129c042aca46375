"""Writing files whole or not at all; reading them, with one error for whatever a damaged one makes of the reading."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from sfpo_bench.core.errors import BenchError, DamagedFile, MissingDataError

MAKE_AGAIN = "restore it, or remove its folder and run the command that made it"
# What Python, JSON, YAML and Arrow say of content that is another than expected; AssertionError: an `assert` on a type.
_UNREADABLE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError),
    yaml.YAMLError,
)


@contextmanager
def reading(path: Path, remedy: str = MAKE_AGAIN) -> Iterator[None]:
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


def read_object(path: Path, remedy: str = MAKE_AGAIN) -> dict[str, object]:
    """The JSON object in `path`; raises `MissingDataError` or `DamagedFile`."""
    with reading(path, remedy):
        content: object = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"found a JSON {type(content).__name__}, expected an object with named values")
        return content


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` so that a reader, or a kill at any moment, sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as handle:
            handle.write(content.encode("utf-8") if isinstance(content, str) else content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException:  # An interrupt too must leave no half-written file.
        temporary.unlink(missing_ok=True)
        raise


def write_once(path: Path, content: str) -> None:
    """Give `path` this content unless it is there: of several processes and threads, one alone writes it.

    The file is linked to its name when it is whole, and a link to a name that is taken fails. A file system without
    links gets it by an exclusive open: a kill in that moment leaves an empty file, which reading refuses by name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(content, encoding="utf-8")
        with suppress(FileExistsError):
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise
            except OSError:
                with open(path, "x", encoding="utf-8") as handle:
                    handle.write(content)
    finally:
        temporary.unlink(missing_ok=True)
