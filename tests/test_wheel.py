"""The wheel stands alone: installed away from the checkout it holds everything and runs a comparison."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from sfpo_bench.core.errors import MissingDataError
from sfpo_bench.core.resources import CARRIED, carried
from sfpo_bench.results.code_version import code_version
from tests.conftest import TINY

ROOT = Path(__file__).parents[1]

# Nothing of a checkout may be imported: not through the working folder, PYTHONPATH, or an editable install's finder.
ALONE = f"""
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
sys.path[:] = [place for place in sys.path if place not in ("", {str(ROOT)!r})]
"""
LEAKS = """
import sfpo_bench
own = [m for name, m in list(sys.modules.items()) if name.split(".")[0] == "sfpo_bench" and getattr(m, "__file__", "")]
print([m.__file__ for m in own if not m.__file__.startswith(sys.argv[1])], len(own) > 30)
"""


def test_folders_beside_the_package_are_found_in_a_checkout_and_in_an_install(tmp_path: Path) -> None:
    assert carried("sweeps") == ROOT / "sweeps"
    (tmp_path / "sfpo_bench" / "sweeps").mkdir(parents=True)
    (tmp_path / "sweeps").mkdir()
    assert carried("sweeps", tmp_path / "sfpo_bench") == tmp_path / "sfpo_bench" / "sweeps"
    with pytest.raises(MissingDataError, match="install sfpo_bench from its wheel"):
        carried("docs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy of what git knows or would add."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    names = listed.stdout.splitlines()
    for name in (name for name in names if (ROOT / name).is_file()):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(source)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Package would be ignored" not in done.stderr
    [built] = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel was installed; what it depends on comes from the present environment."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(folder), str(wheel)], check=True)
    return folder


def run(site: Path, folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in an empty folder that sees the installed wheel and nothing of the checkout; its children too."""
    (folder / "sitecustomize.py").write_text(ALONE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(folder)])}
    command = [sys.executable, "-c", f"{ALONE}\n{code}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
def test_the_wheel_carries_everything_that_is_no_python(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    data = [path for path in (ROOT / "sfpo_bench").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in data} <= inside
    for name in CARRIED:
        beside = [path for path in (ROOT / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert {f"sfpo_bench/{path.relative_to(ROOT).as_posix()}" for path in beside} <= inside
    assert {name.split("/")[0].split("-")[0] for name in inside} == {"sfpo_bench", "hydra_plugins"}, "and no tests"


@pytest.mark.slow
def test_an_installed_wheel_runs_the_smallest_comparison_away_from_the_checkout(site: Path, tmp_path: Path) -> None:
    arms = ("~comparison.arms.repeat", "~comparison.arms.grpo_sfpo_rate", "comparison.targets=[0.05]")
    small = (*TINY, *arms, "comparison.seeds=2", "comparison.slots=1", "tracking=none")
    done = run(site, tmp_path, "from sfpo_bench.cli import main\nmain()", "compare", *small)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"report.md", "figure.png", "summary.json"} <= {p.name for p in (tmp_path / "results/arithmetic").iterdir()}
    [first, *_] = sorted((tmp_path / "results").rglob("provenance.json"))
    provenance = json.loads(first.read_text())
    assert provenance["git"] is None and provenance["code_version"] == code_version()
    assert str(ROOT) not in (tmp_path / "results/arithmetic/summary.json").read_text()


@pytest.mark.slow
def test_nothing_is_imported_from_the_checkout(site: Path, tmp_path: Path) -> None:
    modules = "import sfpo_bench.workers.worker, sfpo_bench.cli.compare, sfpo_bench.training.build"
    done = run(site, tmp_path, f"{modules}\n{LEAKS}", str(site))
    assert done.stdout.strip() == "[] True", done.stdout + done.stderr
    swept = run(site, tmp_path, "from sfpo_bench.core.resources import carried\nprint(carried('sweeps'))")
    assert swept.stdout.strip() == str(site / "sfpo_bench" / "sweeps"), swept.stderr


@pytest.mark.slow
def test_the_doctor_of_an_installed_wheel_knows_the_tested_versions(site: Path, tmp_path: Path) -> None:
    code = "import os\nos.environ['HF_HUB_OFFLINE'] = '1'\nfrom sfpo_bench.cli import main\nmain()"
    done = run(site, tmp_path, code, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(line.startswith(("green  versions", "yellow versions")) for line in done.stdout.splitlines())
    assert "without being installed" not in done.stdout


def test_every_supported_python_is_declared_in_one_way() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = {c.rsplit(" ", 1)[1] for c in project["project"]["classifiers"] if "Python :: 3." in c}
    assert named == {"3.11", "3.12", "3.13"} and project["project"]["requires-python"] == ">=3.11,<3.14"
    assert project["tool"]["ruff"]["target-version"] == "py311" and project["tool"]["mypy"]["python_version"] == "3.11"


def test_the_newest_released_section_of_the_changelog_is_of_the_version_of_the_package() -> None:
    released = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
