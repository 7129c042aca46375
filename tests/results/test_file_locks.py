"""File locks: whose they are, and what every command says on a file system without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sfpo_bench.core.errors import RunLocked
from sfpo_bench.core.file_lock import NoFileLocks, take_lock, try_lock
from sfpo_bench.results.run_folder import RunFolder
from tests.comparison.test_compare import COMPARE
from tests.conftest import TINY, command
from tests.evaluation.test_evaluate import EVALUATE
from tests.sweep.tiny import TINY_SWEEP

# As NFS without its lock service, and some file systems of user space, answer.
WITHOUT_LOCKS = """
import errno, fcntl
def refuse(file, operation):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = refuse
"""


def test_a_lock_is_of_one_process_until_it_ends(tmp_path: Path) -> None:
    folder, holder = RunFolder(tmp_path / "run"), "import sys; from pathlib import Path\n"
    holder += "from sfpo_bench.results.run_folder import RunFolder\n"
    holder += "with RunFolder(Path(sys.argv[1])).locked():\n    print('held', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    assert folder.is_held()
    with pytest.raises(RunLocked, match="in use by another process"), folder.locked():
        pass
    process.kill()
    process.communicate()
    assert not folder.is_held()
    with folder.locked():
        assert folder.is_held()


def test_shared_locks_go_together_and_exclude_an_exclusive_one(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (
        open(tmp_path / "lock", "rb") as first,
        open(tmp_path / "lock", "rb") as second,
        open(tmp_path / "lock", "ab") as third,
    ):
        assert try_lock(first, exclusive=False) and try_lock(second, exclusive=False) and not try_lock(third)
        first.close()
        second.close()
        take_lock(third)


def test_without_locks_nobody_holds_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    folder = RunFolder(tmp_path)
    folder.lock_file.touch()
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not folder.is_held()
    with pytest.raises(NoFileLocks, match=r"lock cannot be locked \(Operation not supported\); expected a file system"):
        folder.wait_until_free(60.0)


@pytest.mark.parametrize(
    "arguments",
    [("train", *TINY), COMPARE, ("sweep", "tiny.yaml"), EVALUATE],
    ids=lambda arguments: arguments[0],
)
def test_on_a_file_system_without_locks_a_command_says_so_in_one_line(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SWEEP)
    done = subprocess.run(command(arguments, WITHOUT_LOCKS), cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    [said] = [line for line in done.stderr.splitlines() if not line.startswith("warning")]
    assert "cannot be locked (No locks available); expected a file system with file locks" in said
    assert not list(tmp_path.rglob("journal.jsonl")), "nothing was trained"
