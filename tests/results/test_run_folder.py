from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sfpo_bench.core.errors import MissingDataError, RunLocked
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.results.stored_files import write_atomically

HOLD = """
import sys, time
from pathlib import Path
from sfpo_bench.results.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_nobody_wrote_to_is_pending(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / "absent").status() == RunStatus(RunState.pending, 0, 0)


def test_a_status_reads_back_as_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    status = RunStatus(RunState.failed, 3, 10, "loss is not finite: “nan”")
    folder.write_status(status)
    assert folder.status() == status


def test_a_folder_without_configuration_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"config\.yaml"):
        RunFolder.existing(tmp_path)
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    assert RunFolder.existing(tmp_path).path == tmp_path


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(RunLocked, match="in use"), folder.locked():
            pass
        holder.kill()
        holder.wait()
    with folder.locked():
        pass


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
