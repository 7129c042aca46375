"""Loaded first by every Python process of a disturbed command; `tests/campaigns/faults.py` sets what it does.

FAULT_SYNCED=FOLDER    notes there what would be left after a loss of power: the content of a file at its last fsync,
                       and what a rename replaced until its folder is synced
FAULT_DISK=FILE        while FILE is there, every write below `results` raises the OSError whose number it holds
FAULT_CLOCK=FILE       moves `time.time` by the seconds in FILE
"""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import os
import shutil
import stat
import time
from typing import Any

Path = Any  # what the functions of `os` take: str, bytes, a path or a descriptor


def note_syncs(folder: str) -> None:
    sync, replace = os.fsync, os.replace

    def written(name: str, source: str) -> None:
        partial = os.path.join(folder, f".{name}.{os.getpid()}")
        shutil.copyfile(source, partial)
        replace(partial, os.path.join(folder, name))

    def fsync(descriptor: Any) -> None:
        sync(descriptor)
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        found = os.fstat(number)
        if stat.S_ISREG(found.st_mode):
            written(str(found.st_ino), f"/proc/self/fd/{number}")
        elif stat.S_ISDIR(found.st_mode):
            for name in os.listdir(folder):
                if name.startswith(f"renamed-{found.st_ino}-"):
                    os.unlink(os.path.join(folder, name))

    def renamed(source: Path, target: Path, **options: Any) -> None:
        path = os.path.abspath(os.fsdecode(target))
        about = f"{os.stat(os.path.dirname(path)).st_ino}-{hashlib.sha256(path.encode()).hexdigest()[:16]}"
        there = os.path.isfile(path)
        if there and not os.path.exists(os.path.join(folder, f"renamed-{about}.json")):
            written(f"replaced-{about}", path)
        replace(source, target, **options)
        record = {"source": os.path.abspath(os.fsdecode(source)), "target": path, "replaced": there}
        if not os.path.exists(os.path.join(folder, f"renamed-{about}.json")):
            with open(os.path.join(folder, f".json.{os.getpid()}"), "w") as out:
                json.dump(record, out)
            replace(out.name, os.path.join(folder, f"renamed-{about}.json"))

    for name, patched in (("fsync", fsync), ("replace", renamed), ("rename", renamed)):
        setattr(os, name, patched)


def fail_writes(flag: str) -> None:
    def failing(function: Any, writes: Any = lambda *arguments, **options: True) -> Any:
        def checked(*arguments: Any, **options: Any) -> Any:
            if os.path.exists(flag) and writes(*arguments, **options) and below_results(*arguments):
                with opened(flag) as file:
                    number = int(file.read())
                raise OSError(number, os.strerror(number), str(arguments[0]))
            return function(*arguments, **options)

        return checked

    def below_results(*arguments: Any) -> bool:
        first = arguments[0]
        if isinstance(first, int):
            first = os.readlink(f"/proc/self/fd/{first}")
        return isinstance(first, str | bytes | os.PathLike) and "/results/" in os.path.abspath(os.fsdecode(first))

    def to_write(file: Any, mode: str = "r", *_: Any, **options: Any) -> bool:
        return any(letter in options.get("mode", mode) for letter in "wax+")

    opened = builtins.open
    builtins.open = io.open = failing(opened, to_write)
    os.open = failing(os.open, lambda path, flags, *_, **__: flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    for name in ("fsync", "replace", "rename", "link", "mkdir", "unlink", "remove", "rmdir", "write", "truncate"):
        setattr(os, name, failing(getattr(os, name)))


def move_clock(file: str) -> None:
    really, really_ns = time.time, time.time_ns

    def moved() -> float:
        try:
            with open(file) as content:
                return float(content.read() or 0)
        except FileNotFoundError:
            return 0.0

    time.time = lambda: really() + moved()
    time.time_ns = lambda: really_ns() + round(moved() * 1e9)


for variable, act in (("FAULT_SYNCED", note_syncs), ("FAULT_DISK", fail_writes), ("FAULT_CLOCK", move_clock)):
    if variable in os.environ:
        act(os.environ[variable])
