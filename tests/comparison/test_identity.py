"""When two calls are the same comparison: what may be added, what is refused, and with which words."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sfpo_bench.core.errors import ComparisonChanged
from sfpo_bench.experiments.comparison.identity import FILE, settle

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


def changed(**values: Any) -> dict[str, Any]:
    return {**copy.deepcopy(CONTENT), **values}


def arm(rate: float) -> dict[str, Any]:
    return {"label": "", "note": "", "overrides": [], "settings": {"learner.learning_rate": rate}}


def saved(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / FILE).read_text())
    return content


def test_the_same_call_continues_the_same_folder(tmp_path: Path) -> None:
    assert settle(tmp_path / "x", CONTENT, new_on_change=False) == tmp_path / "x"
    assert settle(tmp_path / "x", CONTENT, new_on_change=False) == tmp_path / "x"
    assert saved(tmp_path / "x") == CONTENT


def test_seeds_arms_and_steps_may_be_added_and_are_never_taken_away(tmp_path: Path) -> None:
    settle(tmp_path / "x", CONTENT, new_on_change=False)
    more = changed(seeds=[1, 2], steps=80, arms={"sfpo": arm(2e-4)}, baseline="sfpo")
    settle(tmp_path / "x", more, new_on_change=False)
    assert saved(tmp_path / "x")["seeds"] == [0, 1, 2]
    assert set(saved(tmp_path / "x")["arms"]) == {"grpo", "sfpo"}
    assert saved(tmp_path / "x")["steps"] == 80


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
    settle(tmp_path / "x", CONTENT, new_on_change=False)
    with pytest.raises(ComparisonChanged, match=words):
        settle(tmp_path / "x", changed(**change), new_on_change=False)
    assert saved(tmp_path / "x") == CONTENT, "a refusal leaves everything as it was"
    assert settle(tmp_path / "x", changed(**change), new_on_change=True) == tmp_path / "x-2"
    assert settle(tmp_path / "x", changed(**change), new_on_change=True) == tmp_path / "x-2", "and is found again"
    assert settle(tmp_path / "x", CONTENT, new_on_change=True) == tmp_path / "x"
