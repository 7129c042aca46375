"""Output paths: files that are replaced atomically, and devices, pipes or open files that are written to."""

from __future__ import annotations

from pathlib import Path

_OPEN_FILES = "/proc"  # contains links to open files; /dev/stdout is a link to one


def is_written_through(path: Path) -> bool:
    """True for a device, a pipe or an open file, which must be written to and not replaced.

    `/dev/stdout` is such a path even when the shell redirects it to a regular file: replacing it would remove
    `/dev/stdout` for every process of the machine. Such a file is appended to, since the shell may have written to it
    before.
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
    """Append `content` to `path`, for which `is_written_through` is true."""
    with open(path, "a", encoding="utf-8") as out:
        out.write(content)
