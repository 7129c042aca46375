"""Many runs in one worker process: whether its memory, file descriptors and threads stay what they were.

    python -m tests.campaigns.long_worker FOLDER [--runs 200]

Trains a comparison of two arms in one slot, so that one worker process runs all of it, and reads /proc after each run.
Compared are the first and the last fifth of the runs after the first ten, in which libraries load and caches fill. Ends
with 1 where the memory of the last fifth is more than 5 % above that of the first, or descriptors or threads differ.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.comparison.test_compare import ARMS
from tests.conftest import TINY, command
from tests.processes import descendants

_WARM_RUNS, _GROWTH = 10, 0.05


@dataclass(frozen=True, slots=True)
class Reading:
    """The worker when so many runs were finished."""

    runs: int
    process: int
    memory_mb: float
    descriptors: int
    threads: int


def readings(folder: Path, runs: int) -> list[Reading]:
    """Train, and read the worker once for each number of finished runs."""
    folder.mkdir(parents=True)
    more = (f"comparison.seeds={runs // 2}", "comparison.slots=1", "tracking=none")
    process = subprocess.Popen(
        command(("compare", *TINY, *ARMS, *more)),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    found: dict[int, Reading] = {}
    while process.poll() is None:
        time.sleep(0.05)
        done = sum('"finished"' in path.read_text() for path in folder.rglob("seed-*/status.json"))
        # The last reading of each count, after what follows the end of a run.
        for child in descendants(process.pid):
            with suppress(OSError):
                if b"sfpo_bench.workers.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found[done] = _reading(done, child)
    if process.wait():
        assert process.stderr is not None
        raise SystemExit(process.stderr.read()[-2000:])
    return list(found.values())


def _reading(runs: int, process: int) -> Reading:
    place = Path(f"/proc/{process}")
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    memory_mb = int(status["VmRSS"].split()[0]) * 1024 / 1e6
    return Reading(runs, process, memory_mb, sum(1 for _ in (place / "fd").iterdir()), int(status["Threads"]))


def verdict(found: Sequence[Reading]) -> tuple[str, bool]:
    """What was seen, and whether it is flat."""
    counted = [one for one in found if one.runs >= _WARM_RUNS]
    fifth = max(1, len(counted) // 5)
    first, last = counted[:fifth], counted[-fifth:]
    lines, flat = [f"{found[-1].runs} runs finished, {len({one.process for one in found})} worker process"], True
    for name, most in (("memory_mb", _GROWTH), ("descriptors", 0.0), ("threads", 0.0)):
        before, after = (median(getattr(one, name) for one in part) for part in (first, last))
        lines.append(f"{name}: {before:.4g} in the first fifth, {after:.4g} in the last (medians)")
        flat &= after <= before * (1 + most)
    return "\n".join(lines), flat and len({one.process for one in found}) == 1


def main() -> None:
    """Run the campaign of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    asked = parser.parse_args()
    said, flat = verdict(readings(asked.folder, asked.runs))
    print(said)
    sys.exit(not flat)


if __name__ == "__main__":
    main()
