"""The notebooks: no outputs in git, pages that hold their code, and a run from start to end on the bundled runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.extras import needs

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def test_there_are_five() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "1_convergence",
        "2_paper_tables",
        "3_anatomy",
        "4_sweep",
        "5_own_style",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_git_holds_no_outputs_and_parameters_come_first(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert code[0]["metadata"].get("tags") == ["parameters"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_page_holds_every_cell(path: Path) -> None:
    page = (ROOT / "docs" / "notebooks" / f"{path.stem}.md").read_text(encoding="utf-8")
    for cell in cells(path):
        assert "".join(cell["source"]) in page, "make the pages again: python notebooks/run.py"


def test_the_bundled_runs_are_small() -> None:
    data = [path for path in (ROOT / "notebooks" / "data").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in data) < 1_200_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_start_to_end(path: Path) -> None:
    needs("nbclient")
    command = [sys.executable, "notebooks/run.py", path.stem, "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_a_notebook_takes_parameters_and_says_which_cell_failed(tmp_path: Path) -> None:
    needs("nbclient")
    command = [sys.executable, "notebooks/run.py", "1", f"source={tmp_path / 'nothing'}", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "is not a comparison folder" in done.stderr


def run_refused(*words: str) -> str:
    needs("nbclient")
    command = [sys.executable, "notebooks/run.py", *words, "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    return done.stderr


def test_misspelt_parameters_and_notebooks_are_refused_before_anything_runs() -> None:
    assert "1_convergence has no parameter 'sorce'; expected one of source, baseline" in run_refused("1", "sorce=x")
    assert "2_paper_tables has no parameter 'source'" in run_refused("source=x")
    assert "found no notebook '7'" in run_refused("7")
