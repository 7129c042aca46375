"""Update rules: what is done with one batch of rollouts. SFPO lives here and nowhere else.

OnePass            theta <- one pass                                                (GRPO as published)
Repeat(n)          theta <- n passes over the same batch                            (equal-compute control)
SlowFast(K, alpha) K fast passes, reposition towards the start, one slow pass       (SFPO)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from sfpo_bench.algorithms.protocols import Batch, Learner, Moments, RuleState
from sfpo_bench.algorithms.triggers import Trigger
from sfpo_bench.options import option
from sfpo_bench.types import StageStats


class Unit(StrEnum):
    """What one step of the formula is: `batch_pass`, a pass over all mini-batches (released code), or
    `optimizer_step`, one optimizer step, where each mini-batch in turn is the formula's batch."""

    batch_pass = "batch_pass"
    optimizer_step = "optimizer_step"


@dataclass
class OnePass:
    """One pass over the batch, as in GRPO."""

    kind: str = option("one_pass", "name of the update rule")

    def update(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        return (learner.optimize(batch, "pass_1"),)

    def observe(self, step: int, entropy: float) -> bool:
        return False

    def metrics(self) -> Mapping[str, float]:
        return {}

    def state(self) -> RuleState:
        return {}

    def restore(self, state: RuleState) -> None:
        """Nothing to take up."""


@dataclass
class Repeat(OnePass):
    """`passes` passes over the same batch: the compute of SFPO with K = passes - 1, without its reposition."""

    kind: str = option("repeat", "name of the update rule")
    passes: int = option(4, "passes over each batch", low=1)

    def update(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        return tuple(learner.optimize(batch, f"pass_{number}") for number in range(1, self.passes + 1))


@dataclass
class SlowFast:
    """Take `fast_passes` passes over one batch, pull back towards the start, then correct (SFPO).

    With theta_0 the weights before the batch and theta_K after K passes:

        reposition   theta = theta_0 + alpha * (theta_K - theta_0)
        correct      theta <- one more pass, taken from theta

    K = 0 or alpha = 0 is `OnePass`, bit for bit: the fast stage is skipped, not computed and thrown away. alpha = 1
    with carried moments is K + 1 passes, bit for bit (arXiv:2510.04072, Algorithm 1). Once the trigger has fired the
    fast stage is skipped from the next step on, for good.
    """

    kind: str = option("slow_fast", "name of the update rule")
    fast_passes: int = option(3, "K, the number of fast passes", low=0)
    alpha: float = option(
        0.8, "how far to keep the fast displacement: 0 back to the start, 1 all of it", low=0.0, high=1.0
    )
    moments: Moments = option(Moments.carry, "optimizer moments at reposition: carry, restore or interpolate")
    unit: Unit = option(Unit.batch_pass, "what one fast step is: batch_pass or optimizer_step")
    trigger: Trigger = option(Trigger(), "when the fast stage is switched off for good")

    def __post_init__(self) -> None:
        # Set here and not as a field: every field of this class is a setting.
        self._alpha_in_force = 0.0

    @property
    def fast_stage_is_on(self) -> bool:
        return self.fast_passes > 0 and self.alpha > 0 and not self.trigger.fired

    def update(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        self._alpha_in_force = self.alpha if self.fast_stage_is_on else 0.0
        if not self.fast_stage_is_on:
            return (learner.optimize(batch, "slow"),)
        if self.unit is Unit.batch_pass:
            return self._slow_fast(learner, batch)
        return merge_stages([self._slow_fast(learner, mini_batch) for mini_batch in learner.mini_batches(batch)])

    def _slow_fast(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        learner.snapshot(self.moments)
        fast = [learner.optimize(batch, f"fast_{number}") for number in range(1, self.fast_passes + 1)]
        learner.reposition(self.alpha, self.moments)
        return (*fast, learner.optimize(batch, "slow"))

    def observe(self, step: int, entropy: float) -> bool:
        return self.trigger.observe(step, entropy)

    def metrics(self) -> Mapping[str, float]:
        return {"alpha": self._alpha_in_force, **self.trigger.metrics()}

    def state(self) -> RuleState:
        return self.trigger.state()

    def restore(self, state: RuleState) -> None:
        self.trigger.restore(state)


def merge_stages(parts: Sequence[Sequence[StageStats]]) -> tuple[StageStats, ...]:
    """One record per stage from one record per stage and mini-batch: steps and seconds add, the ratio's maximum is the
    largest, everything else is the mean over mini-batches."""
    return tuple(_merge(stages) for stages in zip(*parts, strict=True))


def _merge(stages: Sequence[StageStats]) -> StageStats:
    totals = {
        entry.name: sum(getattr(stage, entry.name) for stage in stages)
        for entry in fields(StageStats)
        if entry.name != "stage"
    }
    means = {
        name: totals[name] / len(stages)
        for name in ("loss", "clip_fraction", "ratio_mean", "kl_to_start", "gradient_norm", "entropy")
    }
    return replace(stages[0], **{**totals, **means, "ratio_max": max(stage.ratio_max for stage in stages)})
