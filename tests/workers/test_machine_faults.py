"""A trial that the machine ended is no failed trial: the sweep stops, says so, and goes on where it was."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from sfpo_bench.core.errors import DiskFullError, PluginError, RunFailed
from sfpo_bench.core.stop import StopRequest
from sfpo_bench.results.run_folder import RunFolder
from sfpo_bench.workers.job import Job, run_job
from sfpo_bench.workers.machine_faults import is_of_machine
from tests.campaigns.left_behind import differences, left_behind
from tests.sweep.tiny import sweep, trials

# Every worker finds the disk full as soon as `full` is there: nothing can be made durable any more.
FULL_DISK = """
import errno, os, sys
if "sfpo_bench.workers.worker" in sys.orig_argv:
    really = os.fsync

    def fsync(descriptor):
        if os.path.exists({flag!r}):
            raise OSError(errno.ENOSPC, "No space left on device")
        really(descriptor)

    os.fsync = fsync
"""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_what_is_of_the_machine() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    of_machine = [full, OSError(errno.EIO, ""), OSError(errno.EROFS, ""), DiskFullError("full")]
    assert all(map(is_of_machine, [*of_machine, caused(PluginError("grade() raised"), full)]))
    # A run that asks for more memory than there is does so because of its settings, and so does one with a wrong path.
    others = [MemoryError(), FileNotFoundError(errno.ENOENT, ""), RunFailed("diverged"), ValueError()]
    assert not any(map(is_of_machine, others))


def fills_the_disk(folder: Path, stop: StopRequest) -> None:
    """Replaced in the test below."""


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), DiskFullError("full")])
def test_a_job_on_a_full_disk_is_halted_though_nothing_can_be_written(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(f"{__name__}.fills_the_disk", full)
    monkeypatch.setattr(RunFolder, "write_status", full)
    reply = run_job(Job(f"{__name__}:fills_the_disk", tmp_path), waits=False)
    assert reply is not None and reply.ending == "halted" and "full" in reply.message


@pytest.mark.slow
def test_a_full_disk_spends_no_trial_and_changes_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calm, rough, patches = tmp_path / "calm", tmp_path / "rough", tmp_path / "patches"
    for folder in (calm, rough, patches):
        folder.mkdir()
    assert sweep(calm).returncode == 0
    flag = tmp_path / "full"
    (patches / "sitecustomize.py").write_text(FULL_DISK.format(flag=str(flag)))
    monkeypatch.setenv("PYTHONPATH", str(patches))
    assert sweep(rough, "sweep.trials=2").returncode == 0
    flag.touch()
    for _ in range(2):
        stopped = sweep(rough)
        assert stopped.returncode == 1 and "No space left on device" in stopped.stderr, stopped.stderr
        assert "no fault of the trial and is not counted" in stopped.stderr
        assert [trial["state"] for trial in trials(rough)[:2]] == [trial["state"] for trial in trials(calm)[:2]]
        assert not any(trial["state"] == "failed" for trial in trials(rough))
    flag.unlink()
    assert sweep(rough).returncode == 0
    assert trials(rough) == trials(calm)
    shutil.rmtree(rough)


# No worker can publish the checkpoint of the last step, behind which the journal already has the last evaluation.
NO_LAST_CHECKPOINT = """
import errno, os, sys
if "sfpo_bench.workers.worker" in sys.orig_argv:
    really = os.replace

    def replace(source, target, **options):
        if os.path.exists({flag!r}) and str(target).endswith("step-{step:06d}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        really(source, target, **options)

    os.replace = replace
"""


@pytest.mark.slow
def test_a_run_that_lost_its_last_checkpoint_is_finished_though_its_budget_seemed_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm, rough, patches = tmp_path / "calm", tmp_path / "rough", tmp_path / "patches"
    for folder in (calm, rough, patches):
        folder.mkdir()
    alone = ("sweep.trials=1", "sweep.sampler=random")
    assert sweep(calm, *alone).returncode == 0
    step = max(int(path.name[-6:]) for path in calm.rglob("checkpoints/step-*"))
    flag = tmp_path / "full"
    flag.touch()
    (patches / "sitecustomize.py").write_text(NO_LAST_CHECKPOINT.format(flag=str(flag), step=step))
    monkeypatch.setenv("PYTHONPATH", str(patches))
    stopped = sweep(rough, *alone)
    assert stopped.returncode == 1 and "No space left on device" in stopped.stderr, stopped.stderr
    flag.unlink()
    assert sweep(rough, *alone).returncode == 0
    assert differences(left_behind(calm / "results"), left_behind(rough / "results")) == []
