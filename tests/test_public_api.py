"""What a user may import: these names and no others, documented, and light to import where they are promised to be."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "public_api.md"

# A name that goes away here breaks a program of someone else: say so in CHANGELOG.md.
NAMES = {
    "sfpo_bench": """
        BenchError Completion ConfigError FinishReason Grade GradeStatus Message Problem Prompt SlowFastOptimizer Split
        StageStats Task option split_of
    """,
    "sfpo_bench.algorithms": """
        Advantage AdvantageScale BatchCounts Candidates Clipped Collected Collector Correction Critic
        EntropySource EntropyZScore FixedStep GeneralizedAdvantage GroupAdvantage Learner Lookahead Loss
        LossInputs Mismatch Modules Moments Normalization Objective OnePass Phases Reference Repeat Rewarded
        RolloutSource RuleState Selection SlowFast StepMethod Trigger Unit UpdateRule
        clipped_surrogate group_advantages k3 loss_weights mismatch response_weights
    """,
    "sfpo_bench.reports": """
        CURVE_COLUMNS METRIC_COLUMNS Column Comparison FigureStyle ReportFiles Summary TableStyle answer compare
        curves_frame figure learning_rate_figure load_comparison load_from_mlflow load_sweep metrics_frame own_figure
        own_table paper_tables save_figure show sweep_figure table trials_table write_report write_sweep_report
    """,
    "sfpo_bench.statistics": """
        CONFIDENCE FEWEST_SEEDS POWER SEEDS_AT_MOST SMALL_FACTOR Claim Design DifferenceError Estimate Interval Outcome
        RatioEstimate ScoreError SeedCost ShiftEstimate Side Statement Verdict cost_ratio cost_to_target count_reached
        detectable_ratio detectable_shift difference_error difference_of_means geometric_mean_interval holm_adjusted
        largest_factor mean_interval ratio_of_geometric_means reached_costs score_error seeds_for_shift seeds_needed
        typical_cost unseen_share verdict wilson_interval
    """,
}
HEAVY = ("torch", "transformers", "mlflow", "vllm", "ray")
# Not even these, so that the package imports at once.
NOT_FOR_METHODS = (*HEAVY, "numpy", "scipy", "pandas", "hydra", "omegaconf")


@pytest.mark.parametrize("package", NAMES)
def test_the_public_names_are_these_and_each_says_what_it_is(package: str) -> None:
    module = import_module(package)
    assert sorted(module.__all__) == sorted(NAMES[package].split())
    for name in module.__all__:
        found = getattr(module, name)
        assert found.__doc__ or not (isinstance(found, type) or callable(found)), name


@pytest.mark.parametrize("package", NAMES)
def test_the_page_names_what_is_public_and_nothing_else(package: str) -> None:
    section = re.search(rf"^## `{package}`\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert section
    listed = re.findall(r"`(\w+)`", section[1])
    assert sorted(listed) == sorted(NAMES[package].split())


@pytest.mark.parametrize(
    ("package", "unwanted"),
    [
        ("sfpo_bench", NOT_FOR_METHODS),
        ("sfpo_bench.algorithms", NOT_FOR_METHODS),
        ("sfpo_bench.statistics", HEAVY),
        ("sfpo_bench.reports", (*HEAVY, "hydra", "omegaconf")),
    ],
)
def test_importing_it_loads_nothing_heavy(package: str, unwanted: tuple[str, ...]) -> None:
    code = f"import sys, {package}; print(*set({unwanted!r}) & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'SlowerOptimizer'"):
        import_module("sfpo_bench").SlowerOptimizer  # noqa: B018  # the access is the test
