"""Names that a user gives to output: of a file that may be replaced, or of what is written into where it stands."""

from __future__ import annotations

from pathlib import Path

_OPEN_FILES = "/proc"  # below it, names of files that a process holds open: /dev/stdout is a link to one


def is_written_through(path: Path) -> bool:
    """True for what a new file must not take the place of: a device, a pipe, and a file that is open.

    `/dev/stdout` is one whatever the shell sent it to: behind `> FILE` it leads to a regular file, and to replace it
    would take the name `/dev/stdout` from every process of the machine. Such a file is appended to: the shell may have
    written into it before.
    """
    if not path.exists():
        return False
    if not path.is_file():
        return True
    while path.is_symlink():
        if path.parent.resolve().is_relative_to(_OPEN_FILES):
            return True
        path = path.parent / path.readlink()
    return False


def write_through(path: Path, content: str) -> None:
    """Write `content` behind what is in `path`, for which `is_written_through` is true."""
    with open(path, "a", encoding="utf-8") as out:
        out.write(content)
