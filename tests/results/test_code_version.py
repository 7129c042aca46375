"""Which code belongs to a run: what determines a number, all of it, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sfpo_bench.results import code_version as module
from sfpo_bench.results.code_version import NUMBER_FREE, Work, determining_files, imported, version_of
from tests.conftest import TINY

PACKAGE = Path(module.__file__).parents[1]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(PACKAGE, tmp_path_factory.mktemp("copy") / "sfpo_bench", ignore=_NOT_CODE)


_NOT_CODE = shutil.ignore_patterns("__pycache__")


def versions_after(copy: Path, name: str, work: Work = Work.run) -> tuple[str, str]:
    """The version before and after a comment is added to a file, which is then as it was."""
    file = copy / name
    before, content = version_of(copy, work), file.read_bytes() if file.is_file() else None
    file.write_bytes((content or b"") + b"\n# edited\n")
    try:
        return before, version_of(copy, work)
    finally:
        file.unlink() if content is None else file.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        "training/learner.py",
        "training/trainer.py",
        "algorithms/update_rules.py",
        "algorithms/objectives/clipped.py",
        "algorithms/objectives/of_tomorrow.py",
        "attention/grouped.py",
        "rollout/transformers_engine.py",
        "models/load.py",
        "models/arithmetic_character_start/model.safetensors",
        "grading/equality.py",
        "results/journal.py",
    ],
)
def test_an_edit_of_what_determines_a_number_makes_another_version(copy: Path, name: str) -> None:
    before, after = versions_after(copy, name)
    assert after != before


@pytest.mark.parametrize(
    "name",
    [
        "__init__.py",
        "reports/html.py",
        "reports/of_tomorrow.py",
        "reports/published/sfpo_2510_04072.yaml",
        "cli/train.py",
        "conf/train.yaml",
        "tracking/delivery.py",
        "results/redaction.py",
        "integrations/trl.py",
        "search/samplers.py",
        "evaluation/scores.py",
        "models/README.md",
    ],
)
def test_an_edit_of_anything_else_leaves_a_run_what_it_was(copy: Path, name: str) -> None:
    before, after = versions_after(copy, name)
    assert after == before


def test_a_sweep_also_has_the_version_of_its_search_and_a_study_that_of_its_scores(copy: Path) -> None:
    for name, of in (
        ("training/learner.py", {Work.run, Work.sweep, Work.study}),
        ("search/samplers.py", {Work.sweep, Work.study}),
        ("statistics/crossed.py", {Work.study}),
        ("evaluation/scores.py", {Work.study}),
        ("evaluation/tables.py", set[Work]()),
        ("reports/html.py", set[Work]()),
    ):
        changed = {work for work in Work for before, after in [versions_after(copy, name, work)] if before != after}
        assert changed == of, name


def test_it_is_the_same_in_a_checkout_and_in_an_install(copy: Path, tmp_path: Path) -> None:
    installed = shutil.copytree(copy, tmp_path / "site-packages" / "sfpo_bench")
    (installed / "training" / "__pycache__").mkdir()
    (installed / "training" / "__pycache__" / "learner.pyc").write_bytes(b"compiled")
    for carried in ("sweeps", "evaluations"):  # which only an install has inside the package
        (installed / carried).mkdir()
        (installed / carried / "b.yaml").write_text("b: 1\n")
        (installed / carried / "b.py").write_text("b = 1\n")
    assert version_of(installed) == version_of(copy)


def test_a_file_that_moves_makes_another_version(copy: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(copy, tmp_path / "sfpo_bench")
    (moved / "training" / "learner.py").rename(moved / "training" / "the_learner.py")
    assert version_of(moved) != version_of(copy)


def test_all_that_a_run_loads_is_in_it_or_said_to_be_free_of_numbers(tmp_path: Path) -> None:
    """Modules that are imported late or by a setting's name too: what counts is what was loaded in the end."""
    code = (
        "import sys\n"
        "from sfpo_bench.cli import main\n"
        "try:\n"
        f"    main(['train', 'algorithm=sfpo', 'tracking=none', *{TINY!r}, 'training.steps=1'])\n"
        "finally:\n"
        "    print('loaded', *sorted(name for name in sys.modules if name.startswith('sfpo_bench.')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=True
    )
    loaded = done.stdout.rpartition("loaded")[2].split()
    assert "sfpo_bench.training.learner" in loaded and len(loaded) > 100
    counted = set(determining_files(Work.run))
    free = [name for name in loaded if any(f"{name}.".startswith(f"{listed}.") for listed in NUMBER_FREE)]
    missing = [name for name in loaded if not _files(name) & counted and name not in free]
    assert not missing


def _files(name: str) -> set[str]:
    inside = name.removeprefix("sfpo_bench.").replace(".", "/")
    return {f"{inside}.py", f"{inside}/__init__.py"}


def test_every_listed_name_is_a_module() -> None:
    listed = {*NUMBER_FREE, *(root for roots in module._ROOTS.values() for root in roots)}
    assert not [name for name in listed if not any((PACKAGE / file).is_file() for file in _files(name))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import torch\nimport sfpo_bench.core.types\n", {"sfpo_bench.core.types"}),
        ("    from sfpo_bench.a import b as c, D\n", {"sfpo_bench.a", "sfpo_bench.a.b", "sfpo_bench.a.D"}),
        ("from sfpo_bench import a  # why\n", {"sfpo_bench", "sfpo_bench.a"}),
        (
            "from sfpo_bench.a import (\n    b,  # one\n    c,\n)\n",
            {"sfpo_bench.a", "sfpo_bench.a.b", "sfpo_bench.a.c"},
        ),
    ],
)
def test_imports_are_found_in_each_form_that_the_package_uses(text: str, found: set[str]) -> None:
    assert set(imported(text)) == found
