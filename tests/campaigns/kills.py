"""Kill commands at random moments, resume them, and compare what they leave with uninterrupted ones.

    python tests/campaigns/kills.py FOLDER [--kills 1000] [--seed 0] [--fault kill] [--only TEXT ...]

A round starts a command in an empty folder and sends SIGKILL at a uniform moment of its time, to the process itself or
to a process below it (worker, evaluator, rank, delivery); the same command then resumes it, and is killed again, one to
twelve times in all. At its end weights, journals, samples, trials, tables and the rows of the MLflow store must equal
those of a command that was not killed. With another fault of `tests/campaigns/faults.py` that comes in the place of the
kill; a command that ends because of it must say so without a traceback. FOLDER/rounds-SEED.jsonl has a line a round;
the same call goes on where it was, and another seed, fault or selection has a file of its own. Ends with 1 where a
round differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

if __name__ == "__main__":  # the package of the tests lies above this folder
    sys.path.insert(0, str(Path(__file__).parents[2]))

from sfpo_bench.tracking.mlflow_store import create_sqlite
from tests.campaigns.faults import FAULTS, Fault
from tests.campaigns.left_behind import Content, differences, left_behind
from tests.comparison.test_compare import COMPARE
from tests.conftest import TINY, command
from tests.evaluation.test_evaluate import EVALUATE
from tests.study.tiny_study import TINY_STUDY, TINY_SWEEP, TWO_ARMS
from tests.sweep.tiny import TINY_SWEEP as SWEEP

ROOT = Path(__file__).parents[2]
_MOST_KILLS, _STARTS, _LONGEST_S = 12, 30, 900.0
# How long a command whose parent was killed may find its own orphans at work.
_IN_USE = "another process"


@dataclass(frozen=True, slots=True)
class Case:
    """A command, and the files that it needs beside it. `ranks` above 1 start it under torchrun."""

    arguments: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()
    ranks: int = 1

    def line(self) -> list[str]:
        if self.ranks == 1:
            return command(self.arguments)
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.ranks}"]
        return [*torchrun, "-m", "sfpo_bench", *self.arguments]

    def prepare(self, folder: Path, database: Path) -> None:
        (folder / "results").mkdir(parents=True)
        shutil.copy(database, folder / "results" / "mlflow.db")
        for name, content in self.files:
            (folder / name).write_text(content)


@dataclass(frozen=True, slots=True)
class Whole:
    """An uninterrupted command: how long it took, and what it left."""

    seconds: float
    content: Content


@dataclass(frozen=True, slots=True)
class Round:
    """One command that was killed and resumed. `back_s`: from each restart to the first new result."""

    number: int
    case: str
    kills: tuple[str, ...]
    back_s: tuple[float, ...]
    wrong: tuple[str, ...]


def cases() -> Mapping[str, Case]:
    """Training by every packaged algorithm and on two ranks; compare, sweeps, study, evaluate."""
    names = sorted(path.stem for path in (ROOT / "sfpo_bench" / "conf" / "algorithm").glob("*.yaml"))
    found = {f"train {name}": Case(("train", f"algorithm={name}", *TINY)) for name in names}
    found["train two ranks"] = Case(("train", "algorithm=sfpo", *TINY), ranks=2)
    found["compare"] = Case((*COMPARE, "comparison.slots=2"))
    for sampler in ("tpe", "random", "grid"):
        text = SWEEP.replace("high: 1e-2}", "high: 1e-2, points: 2}").replace("  trials: 5", "  trials: 4")
        text = text.replace("tracking: {store: none}\n", "") + f"  sampler: {sampler}\n"
        found[f"sweep {sampler}"] = Case(("sweep", "tiny.yaml"), (("tiny.yaml", text),))
    study = (("tiny.yaml", TINY_STUDY), ("tiny_sweep.yaml", TINY_SWEEP))
    found["study"] = Case(("study", "tiny.yaml", *TWO_ARMS), study)
    found["evaluate"] = Case(EVALUATE)
    return found


def whole(folder: Path, name: str, case: Case, database: Path) -> Whole | str:
    """The uninterrupted command, from the record of an earlier call where there is one; why it cannot run here."""
    record = folder / "whole" / f"{name.replace(' ', '-')}.json"
    if record.exists():
        known = json.loads(record.read_text())
        return known if isinstance(known, str) else Whole(**known)
    place = folder / "whole" / name.replace(" ", "-")
    shutil.rmtree(place, ignore_errors=True)
    case.prepare(place, database)
    begun = time.monotonic()
    done = subprocess.run(case.line(), cwd=place, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    seconds = time.monotonic() - begun
    found: Whole | str = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode == 0:
        found = Whole(seconds, left_behind(place / "results"))
    record.write_text(json.dumps(found if isinstance(found, str) else asdict(found)))
    shutil.rmtree(place)
    return found


def kill_and_resume(
    folder: Path, number: int, name: str, case: Case, expected: Whole, seed: int, fault: Fault
) -> tuple[Round, Path]:
    """One round in a folder of its own, and where that folder is in the end."""
    draw = random.Random(f"{seed} {number}")
    wanted, kills, back = draw.randint(1, _MOST_KILLS), list[str](), list[float]()

    def round_of(*wrong: str) -> tuple[Round, Path]:
        return Round(number, name, tuple(kills), tuple(back), wrong), folder

    for _ in range(_STARTS):
        at = draw.uniform(0, expected.seconds) if len(kills) < wanted else None
        ended = _start(case, folder, at, draw, fault)
        back += ended.back_s if kills else ()
        kills += ended.struck
        if ended.struck:
            folder = fault.after(folder, draw)
        # The launcher of ranks answers the end of a rank with a traceback of its own.
        if "Traceback" in ended.errors and not fault.kills and case.ranks == 1:
            return round_of(f"ended with a traceback: {ended.errors[-1000:]}")
        if ended.code == 0 and ended.struck and not fault.kills and "warning: " in ended.errors:
            continue  # it warned of what it could not deliver; the next one delivers it
        if ended.code == 0:
            return round_of(*differences(expected.content, left_behind(folder / "results")))
        if not ended.struck and _IN_USE in ended.errors:
            time.sleep(1.0)
        elif not ended.struck:
            return round_of(f"ended with {ended.code}: {ended.errors[-400:]}")
    return round_of(f"was not done after {_STARTS} starts")


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    errors: str
    struck: tuple[str, ...]
    back_s: tuple[float, ...]


def _start(case: Case, folder: Path, at: float | None, draw: random.Random, fault: Fault) -> _Ended:
    """Start the command; the fault strikes after `at` seconds."""
    before, begun, back, struck = _progress(folder), time.monotonic(), list[float](), list[str]()
    environment = {**os.environ, **fault.environment(folder)}
    with (folder / "errors.txt").open("w+") as errors:
        process = subprocess.Popen(case.line(), cwd=folder, stdout=subprocess.DEVNULL, stderr=errors, env=environment)
        while process.poll() is None and time.monotonic() < begun + _LONGEST_S:
            time.sleep(0.02)
            passed = time.monotonic() - begun
            if not back and _progress(folder) != before:
                back.append(round(passed, 2))
            if at is not None and not struck and passed >= at:
                struck += fault.strike(process.pid, folder, draw)
        if process.poll() is None:
            process.kill()
            errors.write(f"did not end within {_LONGEST_S:g} s")
        code = process.wait()
        errors.seek(0)
        return _Ended(code, errors.read(), tuple(struck), tuple(back))


def _progress(folder: Path) -> tuple[int, int]:
    """Bytes of journals and parts of samples: they change when a result arrives."""
    sizes = [path.stat().st_size for path in folder.rglob("journal.jsonl")]
    return sum(sizes), sum(1 for _ in folder.rglob("parts/*.parquet"))


def record_of(folder: Path, seed: int, only: Sequence[str], fault: str = "kill") -> Path:
    """The file with the rounds of a seed, a fault and a selection of commands."""
    about = ["rounds", str(seed), *([fault] if fault != "kill" else []), *(text.replace(" ", "_") for text in only)]
    return folder / ("-".join(about) + ".jsonl")


def campaign(folder: Path, kills: int, seed: int, only: Sequence[str], fault: str = "kill") -> list[Round]:
    """Rounds until so many kills or other faults were tried; those that are done are read from the record."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "whole").mkdir(exist_ok=True)
    database, record = folder / "empty.db", record_of(folder, seed, only, fault)
    if not database.exists():
        create_sqlite(database)
    rounds = _read(record)
    chosen = {name: case for name, case in cases().items() if not only or any(text in name for text in only)}
    left_out = set[str]()
    while sum(len(one.kills) for one in rounds) < kills and len(left_out) < len(chosen):
        number = len(rounds)
        order = sorted(chosen)
        random.Random(f"{seed} order {number // len(order)}").shuffle(order)
        name = order[number % len(order)]
        expected = whole(folder, name, chosen[name], database)
        if isinstance(expected, str):
            left_out.add(name)
            found = Round(number, name, (), (), ())
        else:
            place = folder / f"{record.stem}-{number:05d}"
            for old in folder.glob(f"{place.name}*/"):
                shutil.rmtree(old)
            chosen[name].prepare(place, database)
            found, place = kill_and_resume(place, number, name, chosen[name], expected, seed, FAULTS[fault])
            if not found.wrong:
                shutil.rmtree(place)
        with record.open("a") as lines:
            lines.write(json.dumps(asdict(found)) + "\n")
        rounds.append(found)
        print("; ".join([f"{number}: {name}: {', '.join(found.kills) or 'none'}", *found.wrong]), flush=True)
    return rounds


def _read(record: Path) -> list[Round]:
    """The rounds of earlier calls; a last line that a kill cut off is dropped."""
    rounds = list[Round]()
    for line in record.read_text().splitlines() if record.exists() else ():
        with suppress(json.JSONDecodeError, KeyError):
            one = json.loads(line)
            kills, back, wrong = (tuple(one[name]) for name in ("kills", "back_s", "wrong"))
            rounds.append(Round(one["number"], one["case"], kills, back, wrong))
    if record.exists():
        record.write_text("".join(json.dumps(asdict(one)) + "\n" for one in rounds))
    return rounds


def said(rounds: Sequence[Round]) -> str:
    """How much was tried, what failed, and how long work took to go on."""
    kills = [kill for one in rounds for kill in one.kills]
    back = sorted(seconds for one in rounds for seconds in one.back_s)
    wrong = [one for one in rounds if one.wrong]
    each = ", ".join(f"{kills.count(kind)} x {kind}" for kind in sorted(set(kills)))
    lines = [
        f"{len(kills)} kills or other faults ({each}) in "
        f"{sum(bool(one.kills) for one in rounds)} rounds of {len({one.case for one in rounds if one.kills})} commands",
        f"{len(wrong)} rounds differ from uninterrupted ones"
        + "".join(f"\n  round {one.number}, {one.case}: {'; '.join(one.wrong)}" for one in wrong),
    ]
    without = sorted({one.case for one in rounds if not one.kills and not one.back_s and not one.wrong})
    if without:
        lines.append(f"without a kill: {', '.join(without)}")
    if back:
        lines.append(
            f"seconds from a restart to the first new result: median {median(back):.1f}, largest {back[-1]:.1f} "
            f"(n = {len(back)})"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the campaign of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", choices=sorted(FAULTS), default="kill")
    parser.add_argument("--only", nargs="*", default=[], help="commands whose name contains one of these")
    asked = parser.parse_args()
    rounds = campaign(asked.folder, asked.kills, asked.seed, asked.only, asked.fault)
    print(said(rounds))
    sys.exit(any(one.wrong for one in rounds))


if __name__ == "__main__":
    main()
