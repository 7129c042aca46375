"""`sfpo-bench doctor`: what it finds, what it advises, and that it asks nothing for long."""

from __future__ import annotations

import importlib
import os
import pty
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from sfpo_bench.core.errors import TrackingError
from sfpo_bench.doctor import hub, versions
from sfpo_bench.doctor.devices import check_devices, check_engines
from sfpo_bench.doctor.findings import Finding, Level, green, in_background
from sfpo_bench.doctor.storage import _room, check_cache, check_disk
from sfpo_bench.doctor.store import _fix_of, check_sqlite, check_store
from sfpo_bench.doctor.versions import DeclaredRequirements, check_versions, declared, installed_version
from sfpo_bench.tracking import mounts
from sfpo_bench.tracking.mlflow_store import MlflowStore
from tests.cli.test_messages import NO_TORCH
from tests.conftest import Cli, command
from tests.tracking.test_delivery_to_a_server import free_port

ROOT = Path(__file__).parents[2]
NEEDS = DeclaredRequirements(
    python=">=3.11,<3.14",
    requirements=(
        "torch<2.14,>=2.13",
        "math-verify[antlr4_9_3]==0.9.0",
        "unheard-of>=1,<2",
        'pytest<10,>=9; extra == "dev"',
    ),
    extras=("dev",),
)
TESTED = {"torch": "2.13.0", "math-verify": "0.9.0", "pytest": "9.2.0"}


def checked(**installed: str) -> dict[str, Finding]:
    """Findings on versions, by what they begin with."""
    found = {name.replace("_", "-"): version for name, version in installed.items()}
    return {finding.text.split(" ")[0]: finding for finding in check_versions(NEEDS, TESTED, found.get)}


# --- versions ---------------------------------------------------------------------------------------------------------


def test_the_tested_versions_in_the_package_are_those_of_the_constraints() -> None:
    constraints = (ROOT / "constraints.txt").read_text()
    assert (ROOT / "sfpo_bench" / "doctor" / "tested_versions.txt").read_text() == constraints
    pins = [line.split("==") for line in constraints.splitlines() if not line.startswith("#")]
    assert {name.lower().replace("_", "-").replace(".", "-"): pin for name, pin in pins} == versions.tested_versions()


def test_every_direct_requirement_has_a_tested_version() -> None:
    needs = declared()
    assert needs is not None and needs.python == "<3.14,>=3.11"
    levels = {finding.level for finding in check_versions(needs, versions.tested_versions())}
    assert levels <= {Level.green, Level.yellow}
    nothing = check_versions(needs, versions.tested_versions(), lambda name: None)
    missing = [finding for finding in nothing if finding.level is Level.red]
    assert len(missing) >= 15 and all("is not installed" in finding.text for finding in missing)
    assert all("==" in finding.fix for finding in missing), "every fix names the tested version"


def test_a_build_of_the_tested_version_is_that_version() -> None:
    found = checked(torch="2.13.0+cpu", math_verify="0.9.0", unheard_of="1.5", pytest="9.0")
    assert {finding.level for finding in found.values()} == {Level.green}
    assert found["3"].text.startswith("3 packages as tested: torch 2.13.0+cpu, ")
    assert found["dev"].text == "dev is installed"


def test_a_version_out_of_range_or_missing_is_red_and_one_never_tested_yellow() -> None:
    found = checked(torch="2.12.1", unheard_of="1.5")
    assert found["torch"] == Finding(
        Level.red, "versions", "torch 2.12.1 is outside <2.14,>=2.13", "pip install torch==2.13.0"
    )
    assert found["math-verify"].level is Level.red
    assert found["math-verify"].fix == "pip install 'math-verify[antlr4_9_3]==0.9.0'"
    assert checked(torch="2.13.1", math_verify="0.9.0")["torch"].level is Level.yellow
    assert checked(torch="2.13.1", math_verify="0.9.0")["unheard-of"].fix == "pip install 'unheard-of<2,>=1'"


def test_a_missing_extra_is_no_fault_and_names_its_install_line() -> None:
    extra = checked(torch="2.13.0", math_verify="0.9.0", unheard_of="1.5")["dev"]
    assert extra.level is Level.green
    assert extra.text == "dev is not installed; to have it: pip install pytest==9.2.0"


def test_python_out_of_range_is_red() -> None:
    old = DeclaredRequirements("<3.5", (), ())
    assert next(iter(check_versions(old, TESTED))).level is Level.red


def test_a_source_tree_on_the_path_is_yellow() -> None:
    [finding] = check_versions(None, TESTED)
    assert finding.level is Level.yellow and finding.fix == "pip install -e . -c constraints.txt"


# --- devices, engines -------------------------------------------------------------------------------------------------


def test_threads_and_the_lack_of_cuda_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = [finding.text for finding in check_devices(TESTED)]
    assert f"cpu: {torch.get_num_threads()} threads by default" in found[0]
    assert found[2].startswith("mps: available but untested")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    driver = list(check_devices(TESTED))[1]
    assert driver.level is Level.yellow and "NVIDIA driver" in driver.text


def test_a_cuda_device_is_tried_and_one_that_does_not_calculate_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: out of memory\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    finding = list(check_devices(TESTED))[1]
    assert finding.level is Level.red and finding.fix and finding.text.endswith("CUDA error: out of memory")


def test_vllm_is_not_missed() -> None:
    assert {finding.level for finding in check_engines(TESTED)} == {Level.green}
    assert installed_version("no-such-distribution") is None


# --- store ------------------------------------------------------------------------------------------------------------


def test_a_store_that_can_be_written_or_made_is_green_and_left_as_it_was(
    tmp_path: Path, migrated_database: Path
) -> None:
    assert check_store("", tmp_path / "results", {}).level is Level.green
    assert list(tmp_path.iterdir()) == []
    shutil.copy(migrated_database, tmp_path / "mlflow.db")
    assert "can be written" in check_store("", tmp_path, {}).text
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
    assert (tmp_path / "mlflow.db").read_bytes() == migrated_database.read_bytes()


def outdated(migrated_database: Path, folder: Path) -> Path:
    """A database as an MLflow left it whose tables had an earlier version."""
    path = folder / "mlflow.db"
    shutil.copy(migrated_database, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'acf3f17fdcc7'")
        connection.commit()
    return path


def test_a_database_that_needs_its_upgrade_is_red_and_the_fix_upgrades_it(
    tmp_path: Path, migrated_database: Path
) -> None:
    path = outdated(migrated_database, tmp_path)
    finding = check_store("", tmp_path, {})
    assert finding.level is Level.red and "tables are of version acf3f17fdcc7" in finding.text
    assert finding.fix == f"cp '{path}' '{path}.backup' && mlflow db upgrade sqlite:///{path}"


@pytest.mark.slow
def test_mlflow_itself_refuses_such_a_database_in_the_words_that_are_looked_for(
    tmp_path: Path, migrated_database: Path
) -> None:
    store = MlflowStore(f"sqlite:///{outdated(migrated_database, tmp_path)}", "sfpo_bench", os.environ)
    with pytest.raises(TrackingError) as refused:
        store.ask()
    assert "mlflow db upgrade" in _fix_of(str(refused.value))
    assert _fix_of("connection refused") == ""


def test_a_file_that_is_no_database_is_red_and_the_fix_is_a_command(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be taken for one" * 20)
    finding = check_store("", tmp_path, {})
    path = tmp_path / "mlflow.db"
    assert (finding.level, finding.fix) == (Level.red, f"mv '{path}' '{path}.damaged' && sfpo-bench sync")


def test_a_database_in_use_is_yellow(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE t (a)")
        other.execute("BEGIN EXCLUSIVE")
        assert check_sqlite(tmp_path / "mlflow.db").level is Level.yellow


def test_a_place_that_cannot_be_written_is_red(tmp_path: Path) -> None:
    """/proc refuses root too."""
    finding = check_sqlite(Path("/proc/self/mlflow.db"))
    assert finding.level is Level.red and "cannot be made" in finding.text and "tracking=none" in finding.fix


def test_sqlite_on_a_network_file_system_is_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_text(f"server:/export {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mounts")
    finding = check_store("", tmp_path, {})
    assert finding.level is Level.red and "(nfs4)" in finding.text and finding.fix.startswith("set MLFLOW_TRACKING_URI")
    assert check_store("", Path("/proc/self"), {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/m.db"}) != finding


def test_a_server_that_is_down_is_red_at_once_and_its_password_stays_inside() -> None:
    importlib.import_module("mlflow")  # not part of the time
    started = time.monotonic()
    finding = check_store(f"http://ann:S3CRETVALUE@127.0.0.1:{free_port()}", Path("results"), {})
    assert finding.level is Level.red and "refused" in finding.text and "S3CRET" not in str(finding)
    assert time.monotonic() - started < 30


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_a_server_that_says_nothing_is_red_after_a_bounded_time(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfpo_bench.doctor.store.SERVER_SECONDS", 1.0)
    finding = check_store(f"http://127.0.0.1:{silent}", Path("results"), {})
    assert finding.level is Level.red and "sfpo-bench sync" in finding.fix


def test_a_question_that_hangs_is_given_up() -> None:
    started = time.monotonic()
    never = Event()

    def hang() -> Finding:
        never.wait(60)
        return green("x", "late")

    assert in_background(hang, green("x", "otherwise"), 0.2)().text == "otherwise"
    assert time.monotonic() - started < 30
    never.set()
    assert in_background(lambda: green("x", "early"), green("x", "otherwise"), 60)().text == "early"


# --- cache, disk, hub -------------------------------------------------------------------------------------------------


def test_an_empty_cache_names_the_command_that_fills_it(tmp_path: Path) -> None:
    writable, model = check_cache(tmp_path / "not" / "yet")
    assert writable.level is Level.green and list(tmp_path.iterdir()) == []
    assert (model.level, model.fix) == (Level.yellow, "sfpo-bench fetch smollm2")


def test_folders_that_cannot_be_written_are_red(tmp_path: Path) -> None:
    assert next(iter(check_cache(Path("/proc/self/cache")))).level is Level.red
    findings = list(check_disk(Path("/proc/self/results"), tmp_path))
    assert findings[0].level is Level.red and findings[0].fix.startswith("output_root=")


def test_room_is_judged_by_what_runs_need() -> None:
    levels = [_room(Path("results"), free, "fix").level for free in (1e8, 2e9, 1e11)]
    assert levels == [Level.red, Level.yellow, Level.green]


def test_a_hub_that_is_off_or_away_is_yellow(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in hub.check_hub().text
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free_port()}")
    away = hub.check_hub()
    assert away.level is Level.yellow and "fetch smollm2" in away.fix


# --- the command ------------------------------------------------------------------------------------------------------

# No network question: what it would find depends on where the test runs.
OFFLINE = "import os\nos.environ['HF_HUB_OFFLINE'] = '1'\nos.environ.pop('MLFLOW_TRACKING_URI', None)"


def test_a_sound_installation_is_exit_code_zero_and_plain_lines(cli: Cli, tmp_path: Path) -> None:
    done = cli("doctor", prelude=OFFLINE)
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines[:-1]} <= {"green", "yellow", "fix:"} and "\x1b" not in done.stdout
    assert {"python", "versions", "devices", "engines", "store", "hub", "cache", "disk"} <= {
        line.split()[1] for line in lines[:-1]
    }
    assert lines[-1].endswith(" 0 red") and done.stderr == ""
    assert not (tmp_path / "results").exists()


def test_something_red_is_exit_code_one_and_says_how_to_mend_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_text("not a database, but long enough to be taken for one" * 20)
    done = cli("doctor", "uri=sqlite:///broken.db", check=False, prelude=OFFLINE)
    assert done.returncode == 1 and done.stderr.splitlines() == [
        "sfpo-bench: red: 1; do what the fix lines say, then run `sfpo-bench doctor` again"
    ]
    [at] = [number for number, line in enumerate(done.stdout.splitlines()) if line.startswith("red")]
    assert "fix: mv" in done.stdout.splitlines()[at + 1]


def test_help_and_wrong_settings_need_no_torch(cli: Cli) -> None:
    assert "output_root = results" in cli("doctor", "--help", prelude=NO_TORCH).stdout
    wrong = cli("doctor", "output_rot=x", check=False, prelude=NO_TORCH)
    assert wrong.returncode == 2 and "did you mean output_root?" in wrong.stderr


def test_on_a_terminal_it_is_coloured(tmp_path: Path) -> None:
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command(("doctor",)), cwd=tmp_path, stdout=child, stderr=child, env=environment) as process:
        os.close(child)
        text = b""
        while True:
            try:
                text += (more := os.read(parent, 4096))
            except OSError:
                break
            if not more:
                break
        process.wait(timeout=300)
    os.close(parent)
    assert "●".encode() in text and b"\x1b[32m" in text
