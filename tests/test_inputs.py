"""What a run reads beside its settings belongs to it: weights to start from, classes wherever they are defined."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from sfpo_bench.cli.hydra_store import register
from sfpo_bench.core.errors import ComparisonChanged
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.core.own_sources import own_sources
from sfpo_bench.models.arithmetic_character import FOLDER
from sfpo_bench.results.run_folder import RunFolder, RunState, RunStatus
from sfpo_bench.training.inputs import with_inputs
from sfpo_bench.training.run import plain_node, prepare

PACKAGE = {
    "own_package/__init__.py": "from own_package.rules import Mine\n",
    "own_package/rules.py": "from .parts import width\nimport torch.nn\n\n\nclass Mine:\n    width = width\n",
    "own_package/parts.py": "def more():\n    from . import late\n\n\nwidth = 1\n",
    "own_package/late.py": "",
    "own_package/unused.py": "",
    "own_alone.py": "import json\nimport own_helper\n\n\nclass Mine:\n    pass\n",
    "own_helper.py": "",
    "own_stranger.py": "",
    "own_hidden.py": "import importlib\n\nMine = getattr(importlib.import_module('own_stranger'), 'Mine', None)\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def names(name: str) -> set[str]:
    return set(own_sources(name))


def test_a_class_is_made_of_the_module_that_defines_it_and_what_that_imports_of_its_package(folder: Path) -> None:
    package = {"own_package", "own_package.rules", "own_package.parts", "own_package.late"}
    assert names("own_package:Mine") == names("own_package.rules:Mine") == package
    assert names("own_alone:Mine") == {"own_alone", "own_helper"}
    assert names("no_such_module:Mine") == set()
    assert names("json:JSONDecoder") >= {"json"}, "an installed package is its own"
    assert not any(name.startswith("torch") for name in names("own_package:Mine"))


def test_a_class_that_came_by_no_import_statement_is_found_where_it_says_it_was_defined(folder: Path) -> None:
    (folder / "own_stranger.py").write_text("class Mine:\n    pass\n")
    assert names("own_hidden:Mine") == {"own_hidden", "own_stranger"}


@pytest.mark.parametrize("edited", ["rules", "parts", "late"])
def test_an_edit_anywhere_in_the_class_is_another_identity(edited: str, folder: Path) -> None:
    settings = {"algorithm.objective.factory": "own_package:Mine"}
    before = with_inputs(settings)
    (folder / "own_package" / "unused.py").write_text("a = 1\n")
    assert with_inputs(settings) == before
    with open(folder / "own_package" / f"{edited}.py", "a") as handle:
        handle.write("a = 1\n")
    after = with_inputs(settings)
    assert [key for key in after if after[key] != before[key]] == [
        f"algorithm.objective.factory (content of own_package.{edited})"
    ]


def test_a_run_is_not_resumed_from_other_weights(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(FOLDER, model)
    register()
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        node = compose("train", ["model=hf", f"model.path={model}", "tracking=none"])
    node = plain_node(node, {"comparison": {}})
    run = RunFolder(tmp_path / "run")
    prepare(run, node, "cpu")
    (run.checkpoints / "step-000002").mkdir(parents=True)
    (run.checkpoints / "step-000002" / "state.json").write_text("{}")
    run.write_status(RunStatus(RunState.interrupted, 2, 60))
    prepare(run, node, "cpu")
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ComparisonChanged, match=r"model\.path \(content\): \w{16} -> \w{16}"):
        prepare(run, node, "cpu")
    content[-1] ^= 1
    weights.write_bytes(content)
    prepare(run, node, "cpu")


def test_files_in_options_of_a_class_in_lists_and_in_unverified_folders_belong_to_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.txt").write_text("1")
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "mine.jsonl").write_text("{}")
    monkeypatch.chdir(tmp_path)
    settings: dict[str, object] = {
        "task.options.data": "data.txt", "task.options.several": ["data.txt", "no file"], "task.options.number": 3,
        "task.options.text": "x" * 300, "task.data.dir": ".", "task.data.unverified": True,
        "evaluation.data.dir": ".", "evaluation.data.unverified": False,
    }  # fmt: skip
    before = with_inputs(settings)
    assert before["task.options.data"] == str(tmp_path / "data.txt")
    assert before["task.options.several"] == [str(tmp_path / "data.txt"), "no file"]
    assert with_inputs({**settings, "task.options.data": str(tmp_path / "data.txt")}) == before
    (tmp_path / "data.txt").write_text("2")
    changed = {key for key, value in with_inputs(settings).items() if value != before[key]}
    assert changed == {"task.options.data (content)", "task.options.several (content of data.txt)"}
    (tmp_path / "eval" / "mine.jsonl").write_text("{} ")
    changed = {key for key, value in with_inputs(settings).items() if value != before[key]}
    assert "task.data.dir (content)" in changed and not any(key.startswith("evaluation") for key in changed)
