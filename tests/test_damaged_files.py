"""Every file the project writes, damaged, under every verb that reads it: one message that names it, never a traceback.

The files are those that the verbs leave, and who reads which is found by watching the calls; nothing here lists them.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import TINY, command
from tests.in_process import sfpo_bench
from tests.study.tiny_study import study

# Read by libraries that open files without Python's knowing.
UNSEEN = (".parquet", ".safetensors")
# JSON and YAML of another shape than any file has.
OTHER = {".jsonl": b'[1, 2]\n3\n{"kind": 5}\n', ".yaml": b"- 1\n- 2\n"}
ASKED = ("suite=embedded", "sampling.max_new_tokens=12", "problems=10", "tracking=none")

_opened: set[str] = set()
_watching = False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event == "open" and isinstance(arguments[0], str):
        _opened.add(os.path.abspath(arguments[0]))


sys.addaudithook(_watch)


@contextmanager
def watching() -> Iterator[set[str]]:
    """The paths that are opened within."""
    global _watching
    _opened.clear()
    _watching = True
    try:
        yield _opened
    finally:
        _watching = False


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that verbs left below `results`, and the calls that read it."""

    name: str
    calls: Sequence[Sequence[str]]


def damages(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Five ways to damage a file; None: it is gone."""
    content, dice = path.read_bytes(), random.Random(0)
    yield "empty", b""
    yield "cut", content[: len(content) // 2]
    yield "other bytes", dice.randbytes(max(8, len(content)))
    yield "other type", OTHER.get(path.suffix, b"[1, 2]")
    yield "gone", None


def of_each_kind(folder: Path) -> list[Path]:
    """A file of each kind: of those whose places differ in numbers, hashes and arms alone, the first."""
    kinds: dict[str, Path] = {}
    for path in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        kind = re.sub(r"\d+", "N", re.sub(r"[0-9a-f]{8,}", "H", re.sub(r"runs/\w+/", "runs/ARM/", path.as_posix())))
        kinds.setdefault(kind, path)
    return list(kinds.values())


def faults(made: Path, place: Place, scratch: Path) -> tuple[int, list[str]]:
    """How many cases were tried, and what is wrong with how they ended."""
    tried, found = 0, []
    for call in place.calls:
        _restore(made, place, scratch)
        with watching() as opened:
            whole = sfpo_bench(scratch, *call)
        read = {Path(path).relative_to(scratch.resolve()) for path in opened if path.startswith(str(scratch.resolve()))}
        assert whole.code == 0, whole.err
        for file in (Path(place.name) / path for path in of_each_kind(made / place.name)):
            if file not in read and file.suffix not in UNSEEN:
                continue
            for way, content in damages(made / file):
                _restore(made, place, scratch)
                (scratch / file).unlink()
                if content is not None:
                    (scratch / file).write_bytes(content)
                tried += 1
                wrong = _wrong(scratch, call, file, whole.out)
                found += [f"{' '.join(call)}: {file} {way}: {wrong}"] if wrong else []
    return tried, found


def _wrong(folder: Path, call: Sequence[str], file: Path, whole: str) -> str:
    try:
        done = sfpo_bench(folder, *call)
    except Exception as error:
        # Any error that reaches the caller is a finding.
        return f"{type(error).__name__}: {error}"
    if "Traceback" in done.out + done.err or "Error executing job" in done.err:
        return "a traceback"
    if done.code and file.name not in done.err and str(file.parent) not in done.err:
        return f"is not named in: {done.err}"
    if call[0] == "list":
        kept = [line for line in whole.splitlines() if not line.startswith(" ") and str(file).split("/")[1] not in line]
        lost = [line for line in kept if line not in done.out]
        return f"exit code {done.code}, lost {lost}" if done.code or lost else ""
    return ""


def _restore(made: Path, place: Place, scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "results").mkdir(parents=True)
    shutil.copytree(made / place.name, scratch / place.name)


def _run(folder: Path, *arguments: str) -> None:
    done = subprocess.run(command(arguments), cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_an_imported_comparison_may_be_damaged_anywhere(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    rows = [f"{step},{arm},0,{step * 8},{0.1 + step / 100}" for arm in ("grpo", "sfpo") for step in range(0, 40, 10)]
    (made / "log.csv").write_text("\n".join(["step,arm,seed,responses,accuracy", *rows]))
    assert sfpo_bench(made, "import", "log.csv", "name=imported").code == 0
    calls = (["list"], ["show", "results/imported/runs/grpo/seed-0000"])
    tried, found = faults(made, Place("results/imported", calls), tmp_path / "scratch")
    assert tried >= 15 and not found, "\n".join(found)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What train, compare, evaluate and study leave."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "results").mkdir()
    done = study(folder)
    assert done.returncode == 0, done.stderr
    _run(folder, "train", "tracking=none", *TINY)
    _run(folder, "evaluate", f"run={RUN}", *ASKED)
    arms = ("~comparison.arms.repeat", "~comparison.arms.grpo_sfpo_rate")
    _run(
        folder, "compare", *TINY, "tracking=none", "name=pair", "comparison.seeds=1", *arms, "comparison.targets=[0.05]"
    )
    return folder


RUN = "results/runs/arithmetic-grpo-seed0"
SWEEP = "results/studies/tiny/sweeps/comparison-tiny_sweep-sfpo"
PLACES = (
    Place(
        "results/runs",
        (
            ["list"],
            ["show", RUN],
            ["export", RUN, "out=exported"],
            ["evaluate", f"run={RUN}", *ASKED],
            ["scores", f"folders=[{RUN}]"],
            ["train", "tracking=none", *TINY],
        ),
    ),
    Place("results/pair", (["list"], ["show", "results/pair/runs/sfpo/seed-0000"], ["report", "results/pair"])),
    Place("results/studies", (["list"], ["report", SWEEP], ["report", "results/studies/tiny/comparison"])),
)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_every_file_may_be_damaged_under_every_verb_that_reads_it(place: Place, made: Path, tmp_path: Path) -> None:
    tried, found = faults(made, place, tmp_path / "scratch")
    print(f"{place.name}: {tried} damaged files")
    assert tried > 30 and not found, "\n".join(found)
