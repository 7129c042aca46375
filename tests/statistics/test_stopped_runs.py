"""Costs of runs that end at their target are those of runs that go on, and cover as these do."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks.calibration import BUDGET
from benchmarks.simulated_curves import SimulatedArm
from benchmarks.stopped_runs import RULES, Population, Rule, simulate, stop_places
from sfpo_bench.core.costs import Costs
from sfpo_bench.core.stop_at import StopAt
from sfpo_bench.core.types import EvaluationRecord, Split
from sfpo_bench.statistics import cost_ratio, cost_to_target, typical_cost

SOUND = [rule for rule in RULES if not rule.name.startswith("refused")]


@pytest.mark.parametrize("rule", SOUND, ids=lambda rule: rule.name)
def test_what_is_said_of_runs_that_end_is_what_is_said_of_runs_that_go_on(rule: Rule) -> None:
    random = np.random.default_rng(0)
    arms = [Population.of(arm, random, seeds=60) for arm in (SimulatedArm(), SimulatedArm(speed=1.5))]
    cut = [arm.seeds(rule) for arm in arms]
    whole = [[cost_to_target(arm.costs_T.tolist(), row, rule.target) for row in arm.curves_PT.tolist()] for arm in arms]
    for own, full in zip(cut, whole, strict=True):
        assert [(seed.outcome, seed.cost) for seed in own] == [(seed.outcome, seed.cost) for seed in full]
        assert [seed.budget for seed in own] == pytest.approx([BUDGET] * len(own)), "it tells late runs, cut or not"
    for n in (3, 10, 60):
        assert typical_cost(cut[0][:n]) == typical_cost(whole[0][:n])
        assert cost_ratio(cut[0][:n], cut[1][:n]) == cost_ratio(whole[0][:n], whole[1][:n])


def test_the_simulated_runs_end_where_real_ones_would() -> None:
    curves = Population.of(SimulatedArm(), np.random.default_rng(1), seeds=100).curves_PT
    for patience in (1, 3):
        stop, ends = StopAt(0.6, patience=patience), stop_places(curves, 0.6, patience)
        for row, end in zip(curves.tolist(), ends.tolist(), strict=True):
            records = [
                EvaluationRecord(step, 0.0, Costs(), Split.select, "sampled", 1.0, accuracy, 768, 768, {}, 0, 0.0)
                for step, accuracy in enumerate(row)
            ]
            found = stop.reached_at(records)
            assert end == (len(row) - 1 if found is None else found)


@pytest.mark.slow
def test_costs_and_ratios_of_runs_that_end_at_their_target_cover() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in simulate(1000, seed=3).splitlines()[2:]]
    checked = 0
    for name, _, _, printed, *cells in rows:
        shares = [float(match[0]) for cell in cells if (match := re.match(r"[\d.]+", cell))]
        if name.startswith("refused"):
            continue
        checked += len(shares)
        # 93 to 97, and two standard errors of a share of 0.95 in 1000; a cost's end allows for slow tails.
        most = 100 if "bound" in printed else 99.4 if printed.startswith("cost") else 98.4
        assert all(91.6 <= share <= most for share in shares), (name, printed, cells)
    assert checked > 25
