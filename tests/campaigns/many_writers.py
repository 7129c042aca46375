"""Many processes that deliver runs to one store at once, killed and started again: what is in the store in the end.

    python -m tests.campaigns.many_writers FOLDER [--writers 8] [--seconds 3600] [--kill-every 120] [--seed 0]

Trains one run, then starts the writers. Each writes the same journal again, a record at a time, as runs of its own
below FOLDER/results, and delivers each record to the sqlite store that all of them share, with a pause of up to two
seconds between. Every KILL-EVERY seconds one of them, drawn by SEED, gets SIGKILL and is started again; it goes on with
its run. A call that fails is counted and made again, as `sfpo-bench sync` would. In the end every run must be in the
store once, ended, with the rows and files of a run that was delivered alone. Ends with 1 where one is not.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from sqlite3 import connect

from sfpo_bench.core.errors import BenchError
from sfpo_bench.results.run_folder import RunFolder, RunState
from sfpo_bench.tracking.delivery import Delivery
from sfpo_bench.tracking.feed import key_of
from tests.conftest import TINY, command

_PAUSE_S, _ATTEMPTS = 2.0, 100
_COPIED = ("config.yaml", "provenance.json", "curves.parquet", "samples.parquet")
ALONE = "alone"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a delivery; `failure` is the message of one that has to be made again."""

    what: str
    seconds: float
    failure: str = ""


def campaign(folder: Path, writers: int, seconds: float, kill_every: float, seed: int) -> str:
    """Let the writers write, and return what was tried."""
    folder.mkdir(parents=True)
    subprocess.run(command(("train", *TINY, f"run_name={ALONE}")), cwd=folder, check=True, stdout=subprocess.DEVNULL)
    draw, until, kills = random.Random(seed), time.monotonic() + seconds, 0

    def start(number: int) -> subprocess.Popen[bytes]:
        left = str(max(0.0, until - time.monotonic()))
        return subprocess.Popen([sys.executable, "-m", __spec__.name, str(folder), "--writer", str(number), left])

    started = {number: start(number) for number in range(writers)}
    while time.monotonic() + kill_every < until:
        time.sleep(kill_every)
        number = draw.choice(sorted(started))
        started[number].kill()
        kills += started[number].wait() < 0
        started[number] = start(number)
    codes = [process.wait() for process in started.values()]
    assert not any(codes), f"writers ended with {codes}"
    return f"{writers} writers for {seconds:g} s, {kills} of them killed and started again"


def write(folder: Path, number: int, seconds: float) -> None:
    """One writer: run after run, each as its journal grows. A run that an earlier process began is gone on with."""
    until, draw = time.monotonic() + seconds, random.Random(f"{number} {time.time()}")
    alone, delivery = RunFolder(folder / "results" / "runs" / ALONE), Delivery("sfpo_bench", folder / "results")
    lines = alone.journal.read_bytes().splitlines(keepends=True)
    with (folder / f"writer-{number}.jsonl").open("a") as calls:

        def call(what: str, act: Callable[[], object]) -> None:
            for _ in range(_ATTEMPTS):
                begun, failure = time.monotonic(), ""
                try:
                    act()
                except BenchError as error:
                    failure = str(error)
                calls.write(json.dumps([what, time.monotonic() - begun, failure]) + "\n")
                calls.flush()
                if not failure:
                    return
            raise SystemExit(f"{what}: {_ATTEMPTS} attempts failed, the last with: {failure}")

        for place in count():
            run = RunFolder(folder / "results" / "runs" / f"writer-{number}-{place:05d}")
            if run.status_file.exists():
                continue
            if time.monotonic() > until:
                return
            _write_run(run, alone, lines, delivery, call, draw)


def _write_run(
    run: RunFolder,
    alone: RunFolder,
    lines: list[bytes],
    delivery: Delivery,
    call: Callable[[str, Callable[[], object]], None],
    draw: random.Random,
) -> None:
    run.path.mkdir(exist_ok=True)
    for name in _COPIED:
        shutil.copy(alone.path / name, run.path)
    key = key_of(run)
    assert key is not None
    call("open", lambda: delivery.open_run(run, key))
    written = len(run.journal.read_bytes().splitlines()) if run.journal.exists() else 0
    for line in [b"", *lines[written:]]:  # first what an earlier process wrote and did not deliver
        with run.journal.open("ab") as journal:
            journal.write(line)
        time.sleep(draw.uniform(0, _PAUSE_S))
        call("deliver", lambda: delivery.deliver(run, run.journal.stat().st_size))
    call("finish", lambda: delivery.finish(run, RunState.finished))
    run.write_status(alone.status())


def wrong(folder: Path) -> tuple[int, list[str]]:
    """How many runs were written, and what is wrong with them in the store."""
    names = [path.name for path in (folder / "results" / "runs").iterdir()]
    found = dict(_stored(folder / "results"))
    counted = Counter(name for name, _ in _stored(folder / "results"))
    return len(names) - 1, [
        *(f"{name} is in the store {counted[name]} times" for name in names if counted[name] != 1),
        *(f"{name} differs from the run delivered alone" for name in names if found.get(name) != found[ALONE]),
    ]


def _stored(results: Path) -> Iterator[tuple[str, str]]:
    """The name of each run in the store, and a digest of its status, rows and files."""
    with closing(connect(results / "mlflow.db")) as connection:
        runs = connection.execute(
            "SELECT name, run_uuid, status, artifact_uri FROM runs WHERE lifecycle_stage = 'active'"
        ).fetchall()
        for name, uid, status, artifacts in runs:
            rows = connection.execute(
                "SELECT key, value, step FROM metrics WHERE run_uuid = ? AND key NOT LIKE 'journal_records%' "
                "ORDER BY key, step, value, timestamp",
                (uid,),
            ).fetchall()
            place = Path(artifacts.removeprefix("file://"))
            files = sorted((path.name, path.read_bytes()) for path in place.glob("*"))
            yield name, sha256(repr((status, rows, files)).encode()).hexdigest()


def calls_of(folder: Path) -> list[Call]:
    """The calls of all writers; a line that a kill cut off is left out."""
    lines = [line for path in folder.glob("writer-*.jsonl") for line in path.read_text().splitlines()]
    return [Call(*json.loads(line)) for line in lines if line.startswith("[") and line.endswith("]")]


def said(folder: Path) -> str:
    """How many calls of each kind, how long they took, and what failed."""
    calls, lines = calls_of(folder), list[str]()
    for what in ("open", "deliver", "finish"):
        times = sorted(call.seconds for call in calls if call.what == what and not call.failure)
        p50, p99 = (times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
        lines.append(f"{what}: n = {len(times)}, p50 {p50:.3f} s, p99 {p99:.3f} s, largest {times[-1]:.3f} s")
    failures = Counter(call.failure[:200] for call in calls if call.failure)
    lines.append(f"{failures.total()} calls failed and were made again")
    return "\n".join([*lines, *(f"  {number} x {failure}" for failure, number in failures.most_common(5))])


def main() -> None:
    """Run the campaign of the command line, or one of its writers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--kill-every", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--writer", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    if asked.writer:
        write(folder, int(asked.writer[0]), float(asked.writer[1]))
        return
    print(campaign(folder, asked.writers, asked.seconds, asked.kill_every, asked.seed))
    runs, faults = wrong(folder)
    print(said(folder), f"{runs} runs written, {len(faults)} faults", *faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
