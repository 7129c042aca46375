"""The rows of a study: against means taken by hand, and in the limits."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.errors import BenchError
from sfpo_bench.experiments.study.checkpoints import CheckpointChoice, ChosenCheckpoint
from sfpo_bench.experiments.study.frame import Evaluated, score_rows
from sfpo_bench.reports.papers.score import (
    AVERAGE,
    PAPER_COLUMNS,
    PaperCheckpoint,
    PaperScore,
    read_paper_scores,
    write_paper_scores,
)
from sfpo_bench.statistics import holm_adjusted
from tests.evaluation.test_scores import evaluation

CHANCES = {"math500": 0.5, "aime24": 0.2}
LAST, EQUAL = PaperCheckpoint.last, PaperCheckpoint.equal_budget


def evaluated(arm: str, seed: int, why: PaperCheckpoint, chances: dict[str, float], draw: int) -> Evaluated:
    chosen = ChosenCheckpoint(arm, seed, why, 60, 60.0 + seed)
    return Evaluated(chosen, evaluation(arm, chances, seed=seed, draw=draw))


def rows(found: list[Evaluated]) -> list[PaperScore]:
    choice = CheckpointChoice(CostAxis.optimizer_steps, 60.0, tuple(one.chosen for one in found), ())
    start = evaluation("start", CHANCES, draw=99)
    return score_rows(start, found, choice, {"grpo": "GRPO", "sfpo": "SFPO"}, "grpo", "a model")


@pytest.fixture
def two_arms() -> list[Evaluated]:
    better = {name: chance + 0.2 for name, chance in CHANCES.items()}
    ours = [evaluated("sfpo", seed, LAST, better, seed) for seed in range(3)]
    return [*(evaluated("grpo", seed, LAST, CHANCES, 10 + seed) for seed in range(3)), *ours]


def test_every_arm_and_benchmark_has_a_row_and_their_average_too(two_arms: list[Evaluated]) -> None:
    found = rows(two_arms)
    assert [(one.arm, one.benchmark) for one in found] == [
        (arm, name) for arm in ("before training", "GRPO", "SFPO") for name in ("math500", "aime24", AVERAGE)
    ]
    assert {one.model for one in found} == {"a model"}
    trained = [one for one in found if one.checkpoint is LAST]
    assert {(one.seeds, one.steps, one.budget, one.axis) for one in trained} == {(3, 60, 61, "optimizer_steps")}


def test_scores_and_differences_are_those_of_the_answers(two_arms: list[Evaluated]) -> None:
    def mean(arm: str, name: str) -> float:
        sheets = [one.evaluation.graded[name] for one in two_arms if one.chosen.arm == arm]
        return float(np.mean([[sum(c == 0 for c in a.classes) / 4 for a in graded.problems] for graded in sheets]))

    found = {(one.arm, one.benchmark): one for one in rows(two_arms)}
    for name in CHANCES:
        ours, theirs = found["SFPO", name], found["GRPO", name]
        assert ours.avg_at_k == pytest.approx(mean("sfpo", name))
        assert ours.difference == pytest.approx(mean("sfpo", name) - mean("grpo", name))
        assert ours.baseline == "GRPO" and theirs.difference is None and theirs.baseline == ""
        assert ours.low is not None and ours.high is not None and ours.low < ours.avg_at_k < ours.high
    gains = [found["SFPO", name].difference or 0.0 for name in CHANCES]
    assert found["SFPO", AVERAGE].difference == pytest.approx(sum(gains) / 2)
    p = [found["SFPO", name].p_value or 0.0 for name in CHANCES]
    assert tuple(found["SFPO", name].p_holm for name in CHANCES) == holm_adjusted(p)
    assert found["SFPO", AVERAGE].p_holm is None


def test_an_arm_that_is_the_baseline_in_all_but_name_differs_by_nothing() -> None:
    twins = [evaluated(arm, seed, LAST, CHANCES, seed) for arm in ("grpo", "sfpo") for seed in range(3)]
    for one in rows(twins):
        if one.arm == "SFPO":
            assert one.difference == 0 and one.p_value == 1


def test_differences_are_taken_at_the_same_checkpoint_and_only_where_both_have_it(two_arms: list[Evaluated]) -> None:
    lonely = [*two_arms, *(evaluated("sfpo", seed, EQUAL, CHANCES, seed) for seed in range(3))]
    found = [one for one in rows(lonely) if one.checkpoint is EQUAL]
    assert {one.arm for one in found} == {"SFPO"} and all(one.difference is None for one in found)


def test_rows_come_back_from_the_file_as_they_were(two_arms: list[Evaluated], tmp_path: Path) -> None:
    found = rows(two_arms)
    write_paper_scores(tmp_path / "scores.csv", found)
    assert read_paper_scores(tmp_path / "scores.csv") == found


WRONG_CELLS = {
    "a decimal comma": (("avg_at_k", "0,5"), "found 28 cells, expected 27; a decimal comma"),
    "percent": (("avg_at_k", "55"), "column avg_at_k: found '55', expected a share in [0, 1], not percent"),
    "no number": (("low", "abc"), "column low: found 'abc', expected a number"),
    "nan": (("high", "nan"), "column high: found 'nan', expected a finite number"),
    "no score": (("avg_at_k", ""), "column avg_at_k: found '', expected a number"),
    "half a problem": (("problems", "2.5"), "column problems: found '2.5', expected a number"),
    "another checkpoint": (("checkpoint", "best"), "column checkpoint: found 'best', expected one of last"),
}


@pytest.mark.parametrize("name", WRONG_CELLS)
def test_a_wrong_cell_is_refused_by_line_and_column(name: str, two_arms: list[Evaluated], tmp_path: Path) -> None:
    (column, text), message = WRONG_CELLS[name]
    file = tmp_path / "scores.csv"
    write_paper_scores(file, rows(two_arms))
    lines = file.read_text().splitlines()
    cells = next(csv.reader([lines[2]]))
    cells[PAPER_COLUMNS.index(column)] = text
    lines[2] = ",".join(cells)
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(BenchError, match=re.escape(message)) as caught:
        read_paper_scores(file)
    assert "scores.csv line 3" in str(caught.value)


def test_a_cut_row_is_refused(two_arms: list[Evaluated], tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    write_paper_scores(file, rows(two_arms))
    file.write_text(file.read_text().rstrip()[:-30].rpartition(",")[0])
    with pytest.raises(BenchError, match=r"found \d+ cells, expected 27"):
        read_paper_scores(file)
