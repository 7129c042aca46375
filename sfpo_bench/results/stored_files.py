"""Atomic writes, and reads that raise one error for every kind of damage."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from sfpo_bench.core.errors import BenchError, DamagedFile, MissingDataError

MAKE_AGAIN = "restore it, or remove its folder and run the command that made it"
# Errors that Python, JSON, YAML and Arrow raise for unexpected content; AssertionError: an `assert` on a type.
_UNREADABLE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError),
    yaml.YAMLError,
)


@contextmanager
def reading(path: Path, remedy: str = MAKE_AGAIN) -> Iterator[None]:
    """Wrap reading and parsing of `path`; any error inside becomes `DamagedFile`.

    The file may be missing, empty, truncated, corrupted, JSON of another structure, or a folder. `remedy` ends the
    message.
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
    """Return the JSON object in `path`; raises `MissingDataError` or `DamagedFile`."""
    with reading(path, remedy):
        content: object = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"found a JSON {type(content).__name__}, expected an object with named values")
        return content


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` atomically: a reader, or a kill at any time, sees the old file or the new one.

    When it returns, the new file outlasts a loss of power.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as handle:
            handle.write(content.encode("utf-8") if isinstance(content, str) else content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:  # also remove the temporary file on KeyboardInterrupt
        temporary.unlink(missing_ok=True)
        raise


def write_once(path: Path, content: str) -> None:
    """Create `path` with this content unless it exists; of several processes or threads, exactly one creates it.

    A complete temporary file is hard-linked to `path`, which fails if `path` exists. File systems without hard links
    use an exclusive open instead; a kill in that moment leaves an empty file, which readers report as damaged. When it
    returns, the file outlasts a loss of power.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        with suppress(FileExistsError):
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise
            except OSError:
                with open(path, "x", encoding="utf-8") as handle:
                    handle.write(content)
                    handle.flush()
                    os.fsync(handle.fileno())
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Make a file that a library wrote, and its name, outlast a loss of power."""
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` outlast a loss of power: those of new files, and the results of renames.

    Some network file systems cannot do this for a folder, and refuse; their servers decide.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
