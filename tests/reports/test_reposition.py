"""The study of reposition: its cells, its controls, and the numbers of its tables against others made by hand."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from sfpo_bench.core.yaml_files import read_yaml
from sfpo_bench.experiments.study import reposition
from sfpo_bench.experiments.study.reposition import RepositionStudy, cells_of
from sfpo_bench.reports.reposition.cells import StudyCell, StudyMethod
from sfpo_bench.reports.reposition.design import cell_seconds
from sfpo_bench.reports.reposition.table import best_rates, choosing_seeds, compared
from sfpo_bench.settings.comparison import ArmSettings
from sfpo_bench.settings.config import RunConfig
from sfpo_bench.settings.reposition import ConditionSettings, Control, RepositionSettings
from sfpo_bench.statistics import holm_adjusted
from sfpo_bench.statistics.paired import pairs_needed

SFPO = StudyCell("base", StudyMethod.sfpo, 3, 0.8, 2.0)


def settings(*, scale: float = 1.0) -> RepositionSettings:
    base = ConditionSettings(fast_passes=[3, 15], alphas=[0.3, 0.8], rate_factors=[1.0, 2.0], controls=list(Control))
    other = ConditionSettings(
        overrides=["rollout.prompts=8"], sfpo_overrides=["algorithm.update_rule.moments=restore"], rate_scale=scale,
        fast_passes=[3], alphas=[0.5], rate_factors=[2.0],
    )  # fmt: skip
    return RepositionSettings(conditions={"base": base, "small": other}, step_seconds=0.1, pass_seconds=0.05)


def test_every_cell_is_there_once_with_both_of_its_controls() -> None:
    cells = cells_of(settings())
    assert len(cells) == len({cell.key for cell in cells}) == 1 + 2 * (2 * (1 + 1 + 2 * 2) + 2) + 3
    for cell in cells:
        if cell.method is StudyMethod.sfpo:
            assert {cell.at_equal_rate, cell.at_equal_displacement} <= set(cells)


def test_rates_are_multiples_of_the_tuned_ones_and_those_of_equal_displacement_shorter() -> None:
    config = RunConfig()
    config.study.reposition = settings(scale=10.0)
    tuned = {key: ArmSettings(overrides=["learner.learning_rate=1e-3"]) for key in ("repeat-k3", "repeat-k15", "gxpo")}
    tuned |= {
        "grpo": ArmSettings(overrides=["algorithm=grpo", "learner.learning_rate=2e-3"]),
        "lookahead": ArmSettings(),
    }
    arms = RepositionStudy().compared(config, tuned)
    rate = {key: float(arm.overrides[-1].removeprefix("learner.learning_rate=")) for key, arm in arms.items()}
    assert rate[SFPO.key] == rate[SFPO.at_equal_rate.key] == pytest.approx(2e-3)
    assert rate[SFPO.at_equal_displacement.key] == pytest.approx(2e-3 * (0.8 * 3 + 1) / 4)
    assert rate["base-k15-shortened-a30-x100"] == pytest.approx(1e-3 * (0.3 * 15 + 1) / 16)
    assert rate["grpo"] == 2e-3 and rate["base-lookahead-x200"] == pytest.approx(2 * config.learner.learning_rate)
    assert rate["small-k3-sfpo-a50-x200"] == pytest.approx(2e-2)
    assert "algorithm.update_rule.moments=restore" in arms["small-k3-sfpo-a50-x200"].overrides
    assert "algorithm.update_rule.moments=restore" not in arms["small-k3-repeat-x200"].overrides
    assert "rollout.prompts=8" in arms["small-k3-repeat-x200"].overrides


def test_differences_are_paired_by_seed_and_holms_family_is_all_of_them() -> None:
    own, rate, short = {0: 0.5, 1: 0.4, 2: 0.45}, {0: 0.4, 1: 0.35, 2: 0.41, 3: 0.9}, {0: 0.5, 1: 0.41, 2: 0.44}
    rows = compared({SFPO: own, SFPO.at_equal_rate: rate, SFPO.at_equal_displacement: short})
    for row, control in zip(rows, (rate, short), strict=True):
        assert row.difference.point == pytest.approx(fmean(own[seed] - control[seed] for seed in own))
        assert row.difference.pairs == 3 and row.control_area == pytest.approx(fmean(control[seed] for seed in own))
    p = [row.difference.p_value or 0.0 for row in rows]
    assert tuple(row.p_holm for row in rows) == holm_adjusted(p)


def test_a_best_rate_is_reported_on_seeds_that_did_not_choose_it() -> None:
    """On seeds 0 and 1 the rate 2 is best, on 2 to 4 the rate 1."""
    low, high = StudyCell("base", StudyMethod.sfpo, 3, 0.8, 1.0), StudyCell("base", StudyMethod.sfpo, 3, 0.8, 2.0)
    repeat = low.at_equal_rate
    areas = {
        low: {0: 0.1, 1: 0.1, 2: 0.9, 3: 0.9, 4: 0.9},
        high: {0: 0.2, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.5},
        repeat: dict.fromkeys(range(5), 0.35),
    }
    assert choosing_seeds(range(5)) == [0, 1]
    found = {one.cell.method: one for one in best_rates(areas)}
    best = found[StudyMethod.sfpo]
    assert best.cell == high and best.area.point == pytest.approx(0.4) and best.area.pairs == 3 and best.at_end
    assert best.difference is not None and best.difference.point == pytest.approx(0.05)
    assert found[StudyMethod.repeat].difference is None and not found[StudyMethod.repeat].at_end


def test_a_run_takes_as_long_as_its_passes_and_prompts() -> None:
    assert cell_seconds(settings(), SFPO, 60, 32) == pytest.approx(60 * (0.1 + 4 * 0.05))
    assert cell_seconds(settings(), SFPO, 60, 8) == pytest.approx(60 * (0.1 + 4 * 0.05) / 4)
    assert cell_seconds(settings(), StudyCell("", StudyMethod.grpo), 60, 32) == pytest.approx(60 * 0.15)


@pytest.mark.parametrize("name", ["reduced", "full", "long"])
def test_the_seeds_of_a_packaged_design_are_those_that_its_spread_takes(name: str) -> None:
    design = read_yaml(Path(reposition.__file__).parents[2] / "conf" / "reposition" / f"{name}.yaml")
    assert design.comparison.seeds == pairs_needed(design.study.reposition.spread, 0.015)
