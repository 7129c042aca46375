"""The benchmark of many runs: a short form of it, and that each command saw every run."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

from benchmarks.many_runs import COMMANDS, main

pytestmark = pytest.mark.slow


def test_every_run_of_a_multiplied_comparison_is_listed_reported_and_delivered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(tmp_path, (4, 8))
    said = capsys.readouterr().out
    assert all(f"{name}: CPU seconds ~ runs^" in said for name in COMMANDS) and "\n| 8 | " in said
    for size in (4, 8):
        folder = tmp_path / f"runs-{size}"
        line = [sys.executable, "-m", "sfpo_bench", *COMMANDS["list"]]
        listed = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=True).stdout
        assert sum(map(int, re.findall(r"(\d+) finished", listed))) == size
        with closing(connect(folder / "results" / "mlflow.db")) as connection:
            [(ended,)] = connection.execute("SELECT COUNT(*) FROM runs WHERE status = 'FINISHED'").fetchall()
        assert ended == size + 1, "the runs and their comparison"
        assert (folder / "results" / "arithmetic" / "figure.png").exists()
