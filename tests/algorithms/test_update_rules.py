"""Records of passes that were taken one mini-batch at a time, added up by hand, and what a rule says of its step."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from sfpo_bench.algorithms.protocols import Moments
from sfpo_bench.algorithms.recorded import Elementwise
from sfpo_bench.algorithms.triggers import FixedStep
from sfpo_bench.algorithms.update_rules import OnePass, Repeat, SlowFast, Unit, merge_stages
from sfpo_bench.core.types import StageStats
from sfpo_bench.training.master_weights import MasterWeights
from tests.training.test_master_weights import QuadraticLearner, problem

FAST = StageStats("fast_1", 1.0, 0.1, 1.1, 2.0, 0.2, 3.0, 0.5, 1, 0, 0.25)
SLOW = StageStats("slow", 2.0, 0.2, 1.2, 3.0, 0.4, 5.0, 0.6, 1, 1, 0.5)


def test_merged_stages_add_steps_and_seconds_take_the_largest_ratio_and_average_the_rest() -> None:
    other = StageStats("fast_1", 4.0, 0.3, 0.9, 1.5, 0.6, 1.0, 0.7, 2, 1, 0.75)
    fast, slow = merge_stages([[FAST, SLOW], [other, SLOW]])
    assert (fast.stage, fast.optimizer_steps, fast.skipped_optimizer_steps, fast.seconds) == ("fast_1", 3, 1, 1.0)
    assert fast.ratio_max == 2.0
    means = (fast.loss, fast.clip_fraction, fast.ratio_mean, fast.kl_to_start, fast.gradient_norm, fast.entropy)
    assert means == pytest.approx((2.5, 0.2, 1.0, 0.4, 2.0, 0.6))
    assert (slow.loss, slow.ratio_max, slow.optimizer_steps, slow.skipped_optimizer_steps) == (2.0, 3.0, 2, 2)
    assert merge_stages([[FAST, SLOW]]) == (FAST, SLOW)


class TwoMiniBatches(QuadraticLearner):
    """Remembers where the weights were after each verb that moves them."""

    def __init__(self) -> None:
        module = problem()[0]
        super().__init__(module, MasterWeights(module, lambda weights: torch.optim.SGD(weights, lr=0.3)))
        self.places = [module.w.detach().clone()]

    def mini_batches(self, batch: None) -> Sequence[None]:
        return [batch, batch]

    def optimize(self, batch: None, stage: str) -> StageStats:
        found = super().optimize(batch, stage)
        self.places.append(self.module.w.detach().clone())
        return found

    def reposition(self, alpha: float | Elementwise, moments: Moments) -> None:
        super().reposition(alpha, moments)
        self.places.append(self.module.w.detach().clone())


def test_the_cosine_of_a_step_is_the_mean_over_its_mini_batches() -> None:
    learner, rule = TwoMiniBatches(), SlowFast(fast_passes=1, alpha=0.5, unit=Unit.optimizer_step)
    metrics = rule.metrics(rule.update(learner, None))
    start, *moved = learner.places
    cosines = []
    for fast, pulled_back, slow in (moved[:3], moved[3:]):
        cosines.append(float(torch.nn.functional.cosine_similarity(fast - start, slow - pulled_back, dim=0)))
        start = slow
    assert len(moved) == 6 and abs(cosines[0] - cosines[1]) > 1e-3
    assert metrics["fast_slow_cosine"] == pytest.approx(sum(cosines) / 2, rel=1e-9)


def test_the_alpha_of_a_step_is_0_where_it_had_no_fast_stage() -> None:
    fired = SlowFast(alpha=0.6, trigger=FixedStep(last_step=1))
    found = []
    for step in (1, 2):
        found.append(fired.metrics(fired.update(TwoMiniBatches(), None))["alpha"])
        fired.observe(step, 0.0)
    never = SlowFast(fast_passes=0, alpha=0.6)
    assert [*found, never.metrics(never.update(TwoMiniBatches(), None))["alpha"]] == [0.6, 0.0, 0.0]


def test_the_seconds_of_a_step_are_those_of_its_fast_passes_and_of_the_others() -> None:
    assert SlowFast().metrics([FAST, FAST, SLOW]).items() >= {"fast_seconds": 0.5, "slow_seconds": 0.5}.items()
    assert SlowFast().metrics([FAST, SLOW]).items() >= {"fast_seconds": 0.25, "slow_seconds": 0.5}.items()
    for rule in (OnePass(), Repeat(passes=2)):  # passes that nothing corrects
        assert rule.metrics([FAST, SLOW]) == {"fast_seconds": 0, "slow_seconds": 0.75}
