"""When two calls are the same comparison: what may be added, what is refused, and with which words."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sfpo_bench.core.errors import ComparisonChanged, ConfigError
from sfpo_bench.experiments.comparison.identity import settle
from sfpo_bench.results.comparison import ComparisonFolder, ComparisonPlan

CONTENT: dict[str, Any] = {
    "schema_version": 1,
    "name": "x",
    "experiment": "",
    "baseline": "grpo",
    "axes_note": "",
    "targets": [0.5],
    "split": "report",
    "mode": "sampled",
    "temperature": 1.0,
    "seeds": [0, 1],
    "steps": 60,
    "code_version": "abc",
    "arms": {"grpo": {"label": "GRPO", "note": "", "overrides": [], "settings": {"learner.learning_rate": 1e-4}}},
}


def changed(**values: Any) -> ComparisonPlan:
    return ComparisonPlan.from_plain({**copy.deepcopy(CONTENT), **values}, "the test's plan")


PLAN = changed()


def arm(rate: float) -> dict[str, Any]:
    return {"label": "", "note": "", "overrides": [], "settings": {"learner.learning_rate": rate}}


def saved(folder: Path) -> ComparisonPlan:
    return ComparisonFolder(folder).plan()


def test_the_same_call_continues_the_same_folder(tmp_path: Path) -> None:
    assert settle(tmp_path / "x", PLAN, new_on_change=False) == tmp_path / "x"
    assert settle(tmp_path / "x", PLAN, new_on_change=False) == tmp_path / "x"
    assert saved(tmp_path / "x") == PLAN


def test_seeds_arms_and_steps_may_be_added_and_are_never_taken_away(tmp_path: Path) -> None:
    settle(tmp_path / "x", PLAN, new_on_change=False)
    more = changed(seeds=[1, 2], steps=80, arms={"sfpo": arm(2e-4)}, baseline="sfpo")
    settle(tmp_path / "x", more, new_on_change=False)
    assert saved(tmp_path / "x").seeds == (0, 1, 2)
    assert set(saved(tmp_path / "x").arms) == {"grpo", "sfpo"}
    assert saved(tmp_path / "x").steps == 80


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arms": {"grpo": arm(2e-4)}}, "grpo: learner.learning_rate: 0.0001 -> 0.0002"),
        ({"code_version": "def"}, "code_version: abc -> def"),
        ({"targets": [0.5, 0.6]}, r"targets: \[0.5\] -> \[0.5, 0.6\]"),
        ({"steps": 40}, r"training.steps: 60 -> 40 \(steps can only be added\)"),
        ({"split": "select"}, "split: report -> select"),
    ],
)
def test_a_change_is_refused_with_the_difference_or_makes_a_folder_of_its_own(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    settle(tmp_path / "x", PLAN, new_on_change=False)
    with pytest.raises(ComparisonChanged, match=words):
        settle(tmp_path / "x", changed(**change), new_on_change=False)
    assert saved(tmp_path / "x") == PLAN, "a refusal leaves everything as it was"
    assert settle(tmp_path / "x", changed(**change), new_on_change=True) == tmp_path / "x-2"
    assert settle(tmp_path / "x", changed(**change), new_on_change=True) == tmp_path / "x-2", "and is found again"
    assert settle(tmp_path / "x", PLAN, new_on_change=True) == tmp_path / "x"


def test_a_damaged_plan_is_named_and_a_plan_of_another_version_says_what_to_do(tmp_path: Path) -> None:
    settle(tmp_path / "x", PLAN, new_on_change=False)
    file = ComparisonFolder(tmp_path / "x").plan_file
    for content, words in (
        ("[1, 2]", "is damaged"),
        ("{}", "has schema version None; this version of sfpo_bench reads 1: read it with the version that wrote it"),
        (json.dumps({**CONTENT, "arms": []}), "arms is .* expected an object with named values"),
        (json.dumps({**CONTENT, "schema_version": 2}), "has schema version 2"),
    ):
        file.write_text(content)
        with pytest.raises(ConfigError, match=words) as found:
            settle(tmp_path / "x", PLAN, new_on_change=True)
        assert str(file) in str(found.value)
        assert file.read_text() == content, "a refusal leaves everything as it was"
