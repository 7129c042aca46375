from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sfpo_bench.results.provenance import (
    DIFF_LIMIT_BYTES,
    GitState,
    Provenance,
    collect_provenance,
    git_state,
)

PLANTED = "planted-environment-token"


def collected(**changes: object) -> Provenance:
    settings: dict[str, object] = {"device": "cpu", "threads": 2, "started_unix_s": 5.0, "environ": {}, **changes}
    return collect_provenance(**settings)  # type: ignore[arg-type]  # its own arguments


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with a package `pkg` of one committed file."""
    package = tmp_path / "checkout" / "pkg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("a = 1\n")
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first")
    return package


def git(folder: Path, *arguments: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(["git", *arguments], cwd=folder, env=clean, check=True, capture_output=True, text=True).stdout


def test_the_record_is_json_with_versions_device_and_command() -> None:
    found = json.loads(collected(argv=["/usr/bin/sfpo-bench", "train", "steps=3"]).to_json())
    assert found["command"] == "sfpo-bench train steps=3"
    assert found["python"] == platform.python_version()
    assert found["device"] == "cpu" and found["threads"] == 2 and found["started_unix_s"] == 5.0
    assert found["versions"]["mlflow"] and found["versions"]["torch"]
    assert found["cpu_count"] >= 1 and found["cpu_model"]


def test_the_name_of_the_host_is_not_recorded() -> None:
    assert platform.node() not in collected().to_json() or len(platform.node()) < 4


def test_planted_secrets_are_in_neither_command_nor_tracking_uri() -> None:
    text = collected(
        argv=["sfpo-bench", "train", "model.hf_token=S3CRETVALUE", "--api-key", "S3CRETVALUE", PLANTED],
        tracking_uri="https://ann:S3CRETVALUE@tracking.example",
        environ={"MLFLOW_TRACKING_TOKEN": PLANTED, "PATH": os.environ["PATH"]},
    ).to_json()
    assert "S3CRET" not in text and PLANTED not in text
    assert "tracking.example" in text


def test_collecting_imports_none_of_the_packages_it_names() -> None:
    code = (
        "import sys\n"
        "from sfpo_bench.results.provenance import collect_provenance\n"
        "collect_provenance(device='cpu', threads=1, started_unix_s=0.0)\n"
        "print(sorted({'torch', 'mlflow', 'transformers', 'pandas', 'numpy', 'hydra'} & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_clean_checkout_has_a_commit_and_no_diff(checkout: Path) -> None:
    assert git_state(checkout, os.environ) == GitState(git(checkout, "rev-parse", "HEAD").strip(), False, "")


def test_an_edit_makes_it_dirty_and_is_recorded_without_its_secret(checkout: Path) -> None:
    secret = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
    (checkout / "__init__.py").write_text(f"a = 2\nb = load('{secret}')\nc = '{PLANTED}'\n")
    state = git_state(checkout, {**os.environ, "A_TOKEN": PLANTED})
    assert state is not None and state.dirty
    assert "+a = 2" in state.diff
    assert secret not in state.diff and PLANTED not in state.diff


def test_a_file_git_does_not_know_makes_the_checkout_dirty(checkout: Path) -> None:
    (checkout / "new.py").write_text("")
    state = git_state(checkout, os.environ)
    assert state is not None and state.dirty and state.diff == ""


def test_a_long_diff_is_cut_between_lines_and_says_so(checkout: Path) -> None:
    (checkout / "__init__.py").write_text("".join(f"ä = {n}\n" for n in range(30_000)))
    state = git_state(checkout, os.environ)
    assert state is not None
    assert len(state.diff.encode()) <= DIFF_LIMIT_BYTES
    kept, note = state.diff.rstrip("\n").rsplit("\n", 1)
    assert note.startswith("[cut: ")
    assert kept.rsplit("\n", 1)[1].startswith("+ä = ")


def test_an_installed_package_has_no_git_state_even_inside_another_projects_checkout(checkout: Path) -> None:
    installed = checkout.parent / ".venv" / "pkg"
    shutil.copytree(checkout, installed)
    assert git_state(installed, os.environ) is None


def test_without_git_or_before_the_first_commit_there_is_no_git_state(checkout: Path, tmp_path: Path) -> None:
    assert git_state(checkout, {"PATH": str(tmp_path)}) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "__init__.py").touch()
    git(empty, "init", "-q")
    git(empty, "add", ".")
    assert git_state(empty, os.environ) is None


def test_a_git_directory_in_the_environment_does_not_mislead(checkout: Path, tmp_path: Path) -> None:
    state = git_state(checkout, {**os.environ, "GIT_DIR": str(tmp_path / "elsewhere")})
    assert state is not None and not state.dirty
