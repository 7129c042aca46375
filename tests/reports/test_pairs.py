"""What a run could tell: pairs of arms, the difference each could have shown, and those that it could not separate."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sfpo_bench.reports import load_comparison
from sfpo_bench.reports.markdown import markdown
from sfpo_bench.reports.pair_table import PAIRS_SHOWN, pair_blocks, pairs_frame
from sfpo_bench.reports.summarise import build_summary
from sfpo_bench.reports.summary import PairRow, Summary
from sfpo_bench.results.run_folder import RunState
from sfpo_bench.statistics import (
    cost_ratio,
    detectable_ratio,
    detectable_shift,
    holm_adjusted,
    reached_costs,
    seeds_for_shift,
    seeds_needed,
)
from tests.reports.comparison_folder import Folder, Run


def run(middle: float, last: float) -> Run:
    return Run((0.1, 0.2, middle, 0.55, last))


ARMS = {
    "sfpo": {0: run(0.47, 0.66), 1: run(0.52, 0.65), 2: run(0.54, 0.67)},
    "grpo": {0: run(0.30, 0.58), 1: run(0.33, 0.60), 2: run(0.35, 0.59)},
    "other": {0: run(0.31, 0.57), 1: run(0.34, 0.61), 2: run(0.36, 0.60)},
}


def summary_of(path: Path, arms: dict[str, dict[int, Run]], targets: tuple[float, ...] = (0.4, 0.5)) -> Summary:
    return build_summary(load_comparison(Folder(arms, seeds=[0, 1, 2], targets=targets).write(path)))


def row_of(summary: Summary, first: str, second: str, measure: str, target: float | None = None) -> PairRow:
    return next(
        row
        for row in summary.pairs
        if (row.first, row.second, row.measure, row.target) == (first, second, measure, target)
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summary_of(tmp_path_factory.mktemp("three"), ARMS)


def test_every_pair_has_a_row_for_accuracy_and_each_axis_and_target(three: Summary) -> None:
    pairs, targets = list(combinations(("grpo", "sfpo", "other"), 2)), (0.4, 0.5)
    expected: list[tuple[str, str, str, float | None]] = [(*pair, "accuracy", None) for pair in pairs]
    expected += [(*pair, axis, goal) for axis in ("responses", "train_seconds") for pair in pairs for goal in targets]
    assert [(row.first, row.second, row.measure, row.target) for row in three.pairs] == expected
    assert {row.family for row in three.pairs if row.target is None} == {3}
    assert {row.family for row in three.pairs if row.target is not None} == {6}


def test_power_is_at_the_level_of_the_family(three: Summary) -> None:
    row, base, own = row_of(three, "grpo", "sfpo", "accuracy"), [0.58, 0.60, 0.59], [0.66, 0.65, 0.67]
    assert row.seen == pytest.approx(0.07)
    assert row.detectable == detectable_shift(base, own, 1 - 0.05 / 3)
    assert row.seeds_needed == seeds_for_shift(base, own, 1 - 0.05 / 3)
    alone = detectable_shift(base, own)
    assert row.detectable is not None and alone is not None and row.detectable > alone
    cost = row_of(three, "grpo", "sfpo", "responses", 0.4)
    spent = [reached_costs(three.arm(name).seed_costs(0.4, "responses")) for name in ("grpo", "sfpo")]
    assert cost.seen == pytest.approx(np.exp(np.mean(np.log(spent[0])) - np.mean(np.log(spent[1]))))
    assert cost.detectable == detectable_ratio(spent[0], spent[1], 1 - 0.05 / 6)
    assert cost.seeds_needed == seeds_needed(spent[0], spent[1], 1 - 0.05 / 6)


def test_a_pair_is_separated_where_holm_over_all_pairs_separates_it(three: Summary) -> None:
    rows = [row for row in three.pairs if row.measure == "responses"]
    sides = [
        [three.arm(name).seed_costs(row.target or 0, "responses") for name in (row.first, row.second)] for row in rows
    ]
    costs = [cost_ratio(first, second) for first, second in sides]
    expected = holm_adjusted([1.0 if one.p_value is None else one.p_value for one in costs])
    assert [row.adjusted_p for row in rows] == list(expected)
    assert [row.separated for row in rows] == [p <= 0.05 for p in expected]
    assert three.separated("sfpo", "grpo") and three.separated("grpo", "sfpo")
    assert not three.separated("grpo", "other") and not three.separated("other", "grpo", "responses")


def test_power_is_withheld_where_nothing_can_be_known_and_the_reason_is_said(tmp_path: Path) -> None:
    stopped = Run((0.1, 0.2), state=RunState.interrupted)
    arms = {
        "grpo": ARMS["grpo"],
        "one": {0: run(0.5, 0.6)},
        "stopped": {0: stopped, 1: stopped, 2: stopped},
        "flat": {seed: run(0.5, 0.6) for seed in (0, 1, 2)},
        "level": {seed: run(0.45, 0.6) for seed in (0, 1, 2)},
    }
    summary = summary_of(tmp_path, arms)
    said = {
        ("grpo", "one", "accuracy"): "one seed of an arm has no variance",
        ("grpo", "one", "responses"): "one seed of an arm has no variance",
        ("grpo", "stopped", "accuracy"): "no run that has finished",
        ("grpo", "stopped", "responses"): "a bound alone",
        ("flat", "level", "accuracy"): "no seed differs from another",
    }
    for (first, second, measure), reason in said.items():
        row = row_of(summary, first, second, measure, None if measure == "accuracy" else 0.4)
        assert (row.detectable, row.seeds_needed) == (None, None) and reason in row.reason
    half = row_of(summary, "grpo", "flat", "accuracy")
    assert half.detectable is not None and half.reason == "", "one arm with a spread is enough to know one of a pair"


def test_two_seeds_separate_nothing(tmp_path: Path) -> None:
    arms = {arm: {seed: runs[seed] for seed in (0, 1)} for arm, runs in ARMS.items()}
    arms["sfpo"][0] = arms["sfpo"][1] = run(0.5, 0.99)
    rows = summary_of(tmp_path, arms).pairs
    assert min(row.adjusted_p for row in rows) < 0.05 and not any(row.separated for row in rows)


def test_the_section_has_a_row_for_each_pair_and_is_left_out_with_one_arm(three: Summary, tmp_path: Path) -> None:
    text = markdown(pair_blocks(three))
    assert "0.05/3 for accuracy, 0.05/6 for the ratio" in text
    lines = [line for line in text.splitlines() if line.startswith(("| GRPO and", "| SFPO and"))]
    assert len(lines) == 3 and "+7.0" in lines[0] and lines[1].endswith("| no |")
    assert len(pairs_frame(three)) == len(three.pairs)
    single = summary_of(tmp_path, {"grpo": ARMS["grpo"]})
    assert single.pairs == () and pair_blocks(single) == []


def test_of_many_pairs_those_with_the_baseline_are_shown(tmp_path: Path) -> None:
    arms = {f"arm{number}": {0: run(0.5, 0.6)} for number in range(12)}
    folder = Folder({"grpo": {0: run(0.3, 0.6)}, **arms}, seeds=[0], targets=(0.5,))
    summary = build_summary(load_comparison(folder.write(tmp_path)))
    assert len([row for row in summary.pairs if row.measure == "accuracy"]) == 78 > PAIRS_SHOWN
    text = markdown(pair_blocks(summary))
    assert "Of 78 pairs" in text and text.count("GRPO and ARM") == 12 and "ARM0 and ARM1" not in text


@pytest.mark.slow
@pytest.mark.parametrize(("spreads", "n"), [((0.02, 0.02), (5, 5)), ((0.03, 0.01), (8, 4))])
def test_the_detectable_difference_is_told_apart_at_the_family_level_in_four_of_five_simulations(
    spreads: tuple[float, float], n: tuple[int, int]
) -> None:
    """Level 0.05 / 6, that of the smallest p-value of four arms; the simulated test is scipy's."""
    random, family, draws = np.random.default_rng(n[1]), 6, 4000
    lines = [np.linspace(-1, 1, count) for count in n]
    level = 1 - 0.05 / family
    sides = [(0.5 + s * one / one.std(ddof=1)).tolist() for s, one in zip(spreads, lines, strict=True)]
    shift = detectable_shift(sides[0], sides[1], level)
    assert shift is not None
    first = random.normal(0.5, spreads[0], (draws, n[0]))
    second = random.normal(0.5 + shift, spreads[1], (draws, n[1]))
    p_values = stats.ttest_ind(second, first, axis=1, equal_var=False).pvalue
    assert np.mean(p_values <= 1 - level) == pytest.approx(0.80, abs=0.025)
