"""What may happen to a command and its machine: a kill, a loss of power, a disk that fails, a clock that is set."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tests.processes import descendants

PATCHES = Path(__file__).parent / "fault_patches"
_DAY_S = 86_400.0
# The database's own library syncs it, which no patch sees: it is taken to be right. Locks and logs may be anything.
_LEFT_AS_THEY_ARE = (".db", ".db-journal", ".db-wal", ".db-shm", ".lock")


class Fault(Protocol):
    """A fault; `strike` happens once in a start of the command, at a random moment."""

    kills: bool  # whether a process may be ended from outside, so that others report it with a traceback

    def environment(self, folder: Path) -> Mapping[str, str]:
        """Variables of the command's environment."""
        ...

    def strike(self, command: int, folder: Path, draw: random.Random) -> list[str]:
        """Do it to the command with this process id; return what was done, empty if the command was over."""
        ...

    def after(self, folder: Path, draw: random.Random) -> Path:
        """Bring the folder into the state in which the next start finds it; return where it now is."""
        ...


class Kill:
    """SIGKILL to the command or, as likely as each other, to one of the processes below it."""

    kills = True

    def environment(self, folder: Path) -> Mapping[str, str]:
        return {}

    def strike(self, command: int, folder: Path, draw: random.Random) -> list[str]:
        victim = draw.choice([command, *descendants(command)])
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            return ["the command" if victim == command else "a process below it"]
        return []

    def after(self, folder: Path, draw: random.Random) -> Path:
        return folder


class PowerLoss(Kill):
    """All processes end at once, and of what was not synced anything may be lost.

    A file keeps what it held at its last fsync and any part of what came after. A file that was never synced is whole,
    cut, empty or missing. A rename may not have happened until its folder was synced. Each is drawn on its own: real
    file systems lose less.
    """

    def environment(self, folder: Path) -> Mapping[str, str]:
        _note_all(folder)
        return _patched("FAULT_SYNCED", folder / "synced")

    def strike(self, command: int, folder: Path, draw: random.Random) -> list[str]:
        return _end_all(command, "power loss")

    def after(self, folder: Path, draw: random.Random) -> Path:
        lose_unsynced(folder / "results", folder / "synced", draw)
        return folder


class MovedFolder(Kill):
    """All processes end at once, and the folder of the results is moved before they are started again."""

    def strike(self, command: int, folder: Path, draw: random.Random) -> list[str]:
        return _end_all(command, "move of the folder")

    def after(self, folder: Path, draw: random.Random) -> Path:
        moved = folder.with_name(f"{folder.name.partition('-moved')[0]}-moved-{draw.randrange(10**6)}")
        folder.rename(moved)
        return moved


class FailingDisk(Kill):
    """Every write of Python code below `results` fails, with the same error, until the command has ended."""

    kills = False

    def __init__(self, number: int) -> None:
        self._number = number

    def environment(self, folder: Path) -> Mapping[str, str]:
        return _patched("FAULT_DISK", folder / "disk")

    def strike(self, command: int, folder: Path, draw: random.Random) -> list[str]:
        (folder / "disk").write_text(str(self._number))
        return [errno.errorcode[self._number]]

    def after(self, folder: Path, draw: random.Random) -> Path:
        (folder / "disk").unlink(missing_ok=True)
        return folder


class SetClock(Kill):
    """The clock is set a day back or forward, or right again; every second time the command is killed after that."""

    def environment(self, folder: Path) -> Mapping[str, str]:
        return _patched("FAULT_CLOCK", folder / "clock")

    def strike(self, command: int, folder: Path, draw: random.Random) -> list[str]:
        seconds = draw.choice([-_DAY_S, 0.0, _DAY_S])
        partial = folder / "clock.partial"
        partial.write_text(str(seconds))
        partial.rename(folder / "clock")
        if draw.random() < 0.5:
            super().strike(command, folder, draw)
        return [f"clock at {seconds:+g} s"]


FAULTS: Mapping[str, Fault] = {
    "kill": Kill(),
    "power_loss": PowerLoss(),
    "full_disk": FailingDisk(errno.ENOSPC),
    "read_only_disk": FailingDisk(errno.EROFS),
    "set_clock": SetClock(),
    "moved_folder": MovedFolder(),
}


def lose_unsynced(results: Path, synced: Path, draw: random.Random) -> None:
    """Rewrite the folder as a loss of power may leave it."""
    for record in sorted(synced.glob("renamed-*.json")):
        if draw.random() < 0.5:
            _undo(record, synced)
    for path in sorted(path for path in results.rglob("*") if path.is_file()):
        if path.name.endswith(_LEFT_AS_THEY_ARE):
            continue
        found, known = path.read_bytes(), synced / str(path.stat().st_ino)
        kept = known.read_bytes() if known.is_file() else None
        if kept is not None and found.startswith(kept):
            left = found[: draw.choice([len(kept), draw.randint(len(kept), len(found)), len(found)])]
        elif kept is not None and kept.startswith(found):
            left = draw.choice([kept, found])  # cut, and not yet synced
        elif draw.random() < 0.25:
            path.unlink()
            continue
        else:
            left = found[: draw.choice([0, draw.randint(0, len(found)), len(found)])]
        if left != found:
            path.write_bytes(left)


def _undo(record: Path, synced: Path) -> None:
    about = json.loads(record.read_text())
    source, target = Path(about["source"]), Path(about["target"])
    if not target.exists() or source.exists() or not source.parent.is_dir():
        return
    target.rename(source)
    if about["replaced"]:
        shutil.copyfile(synced / record.stem.replace("renamed-", "replaced-", 1), target)
        _note(target, synced)


def _note_all(folder: Path) -> None:
    """What a command finds when it starts has been on the disk for long."""
    synced = folder / "synced"
    shutil.rmtree(synced, ignore_errors=True)
    synced.mkdir()
    for path in (folder / "results").rglob("*"):
        if path.is_file() and not path.name.endswith(_LEFT_AS_THEY_ARE):
            _note(path, synced)


def _note(path: Path, synced: Path) -> None:
    shutil.copyfile(path, synced / str(path.stat().st_ino))


def _patched(variable: str, place: Path) -> Mapping[str, str]:
    paths = [str(PATCHES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), variable: str(place)}


def _end_all(command: int, done: str) -> list[str]:
    """SIGKILL to the command and all processes below it, stopped first so that none reacts to another's end."""
    victims = [command, *descendants(command)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, number)
    return [done]
