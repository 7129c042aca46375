"""What is our reading of a formula is said by its class, its preset, the help, and every table of its runs."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from sfpo_bench.algorithms.facts import first_line, mark, unmarked, unverified
from sfpo_bench.algorithms.kinds import METHODS
from sfpo_bench.algorithms.phases import InOrder, PhaseSettings
from sfpo_bench.algorithms.selections.dppo_prune import DppoPrune
from sfpo_bench.algorithms.selections.every import Every
from sfpo_bench.core.hydra_version import VERSION_BASE
from sfpo_bench.experiments.comparison.arms import compose_arms
from sfpo_bench.experiments.comparison.identity import describe
from sfpo_bench.settings.config import from_node
from tests.in_process import sfpo_bench
from tests.methods.members import PRESETS, kinds
from tests.methods.preset_runs import composed

MEMBERS = [(key, kind) for key in METHODS for kind in kinds(key)]


@pytest.mark.parametrize(("key", "kind"), MEMBERS)
def test_a_class_whose_formula_is_partly_our_reading_says_which_part_wherever_it_is_described(
    key: str, kind: str
) -> None:
    cls = METHODS[key][kind]
    reading = getattr(cls, "unverified", "")
    assert (getattr(cls, "trust", "V") == "?") == bool(reading)
    if reading:
        assert "nverified" in (cls.__doc__ or "") and reading in first_line(cls)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_with_such_a_part_says_so_in_its_comment(preset: str) -> None:
    if from_node(composed(f"algorithm={preset}")).unverified:
        text = files("sfpo_bench.conf").joinpath("algorithm", f"{preset}.yaml").read_text()
        assert any("nverified" in line for line in text.splitlines() if line.startswith("#"))


def test_it_is_found_at_every_depth() -> None:
    phases = InOrder(named={"late": PhaseSettings(3, 0, selection=DppoPrune())})
    assert list(unverified(phases)) == list(unverified(DppoPrune())) and list(unverified(DppoPrune()))
    assert not list(unverified(Every())) and unmarked(mark("a label")) == unmarked("a label") == "a label"


ARM = "+comparison.arms.thinned={label: Thinned, note: half of them, overrides: ['algorithm=dppo_prune']}"


def test_an_arm_is_marked_with_the_parts_in_its_note() -> None:
    composed("algorithm=grpo")  # registers the settings
    with initialize_config_module("sfpo_bench.conf", **VERSION_BASE):
        config = from_node(compose("compare", [ARM]))
        arms = describe(config, compose_arms(config, "compare", [ARM]), [0]).arms
    assert arms["thinned"].label == "Thinned (unverified)" and arms["grpo"].label == "GRPO"
    assert arms["thinned"].note == f"half of them; unverified: dppo_prune: {DppoPrune.unverified}"
    assert "unverified" not in arms["grpo"].note


@pytest.mark.slow
def test_every_table_of_a_comparison_and_of_its_scores_carries_the_mark(tmp_path: Path) -> None:
    small: tuple[str, ...] = (
        "training.steps=2",
        "training.evaluate_every=1",
        "rollout.prompts=4",
        "rollout.group=4",
        "tracking=none",
    )
    small += ("comparison.seeds=1", "evaluation.responses=32", "comparison.baseline=grpo", "comparison.targets=[0.02]")
    compared = sfpo_bench(tmp_path, "compare", *small, ARM.removeprefix("+"), "evaluation.greedy_problems=0")
    assert compared.code == 0, compared.err
    folder = tmp_path / "results" / "arithmetic"
    evaluated = sfpo_bench(
        tmp_path, "evaluate", f"run={folder}", "suite=embedded", "sampling.max_new_tokens=12", "first=8"
    )
    assert evaluated.code == 0, evaluated.err
    scored = sfpo_bench(tmp_path, "scores", f"folders=[{folder}]", "baseline=thinned", f"out={tmp_path}/scores")
    assert scored.code == 0, scored.err
    tables = [path for path in (*folder.iterdir(), *(tmp_path / "scores").iterdir()) if path.is_file()]
    shown = [path for path in tables if path.suffix in (".md", ".html", ".tex")]
    assert {path.suffix for path in shown} == {".md", ".html", ".tex"} and len(shown) >= 5
    for path in shown:
        text = " ".join(path.read_text().split())
        # Names by which files and anchors are found are no labels.
        labels = re.findall(r"""(?<![-/"'`=.#])\b[Tt]hinned\b.{0,16}""", text)
        assert labels and all(re.match(r"\w+ \\?\(unverified", label) for label in labels), (path, labels)
