from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from sfpo_bench.core.errors import MissingDataError, RunLocked
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.results.stored_files import write_atomically, write_once

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


@pytest.mark.parametrize("links", [True, False])
def test_all_who_ask_at_the_same_moment_are_given_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    start = Barrier(8)

    def ask(folder: Path) -> str:
        start.wait(timeout=60)
        return RunFolder(folder).uid()

    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            folder = tmp_path / str(number)
            names = set(pool.map(ask, [folder] * 8)) if links else {RunFolder(folder).uid(), RunFolder(folder).uid()}
            assert len(names) == 1 and {file.name for file in folder.iterdir()} == {"uid"}


def test_a_file_that_is_written_once_stays_as_it_is(tmp_path: Path) -> None:
    write_once(tmp_path / "deep" / "file", "first")
    write_once(tmp_path / "deep" / "file", "second")
    assert (tmp_path / "deep" / "file").read_text() == "first"


def _no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "this file system has no links")
