"""Update rules: the passes over one batch of rollouts. SFPO is implemented here.

OnePass             theta <- one pass                                               (GRPO as published)
Repeat(n)           theta <- n passes over the same batch                           (equal-compute control)
Lookahead(k, alpha) one pass per batch; reposition towards the slow weights every k batches
SlowFast(K, alpha)  K fast passes, reposition towards the start, one slow pass      (SFPO)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import Batch, Learner, Moments, RuleNeeds, RuleState, UpdateRule
from sfpo_bench.algorithms.recorded import Elementwise
from sfpo_bench.algorithms.triggers import Signal, Trigger
from sfpo_bench.core.options import option
from sfpo_bench.core.types import StageStats


class Unit(StrEnum):
    """The unit of one fast step: `batch_pass`, a pass over all mini-batches (released code), or `optimizer_step`.

    With `optimizer_step` each mini-batch in turn is the formula's batch.
    """

    batch_pass = "batch_pass"
    optimizer_step = "optimizer_step"


class EntropySource(StrEnum):
    """The entropy that the trigger watches.

    `start` is at the step's initial weights (the paper's text), `slow_pass` is the mean during the slow pass (released
    code).
    """

    start = "start"
    slow_pass = "slow_pass"


@dataclass
class OnePass(Facts, UpdateRule):
    """One pass over the batch, as in GRPO."""

    kind: str = option("one_pass", "name of the update rule")

    paper = "2402.03300"
    changes = "one pass over each batch"

    def update(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        return (learner.optimize(batch, "pass_1"),)

    def metrics(self, stages: Sequence[StageStats]) -> Mapping[str, float]:
        return seconds_of(fast=(), slow=stages)


@dataclass
class Repeat(OnePass):
    """`passes` passes over the same batch: the compute of SFPO with K = passes - 1, without its reposition.

    With `kl_limit` > 0 the passes end after one with mean(r - 1 - log r), the k3 estimate of the KL from the start,
    above kl_limit. That pass is kept, as in PPO implementations with early stopping.
    """

    kind: str = option("repeat", "name of the update rule")
    passes: int = option(4, "number of passes over each batch; the maximum if kl_limit is set", low=1)
    kl_limit: float = option(0.0, "approximate KL to the start, nats per token, that ends the passes; 0: off", low=0.0)

    paper = "1707.06347"
    changes = "several passes over each batch, the equal-compute control for SFPO"

    @property
    def needs(self) -> RuleNeeds:
        return RuleNeeds(passes=self.passes)

    def update(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        stages: list[StageStats] = []
        while len(stages) < self.passes and not (stages and self._drifted(stages[-1])):
            stages.append(learner.optimize(batch, f"pass_{len(stages) + 1}"))
        return tuple(stages)

    def _drifted(self, stage: StageStats) -> bool:
        return 0 < self.kl_limit < stage.kl_to_start


@dataclass
class Lookahead(OnePass):
    """One pass per batch, with reposition to the slow weights every `sync_every` batches (arXiv:1907.08610, Alg. 1).

    With phi the slow weights and theta the weights after k more batches:

        phi <- phi + alpha * (theta - phi),  theta <- phi

    This is the interpolation of SFPO's reposition, but the k steps use k different batches, and no pass is repeated.
    alpha = 1 is `OnePass`, bit for bit. The slow weights are the learner's anchor, which a checkpoint carries while a
    reposition is pending. Between synchronisations rollouts and evaluations use the fast weights.
    """

    kind: str = option("lookahead", "name of the update rule")
    sync_every: int = option(5, "k, training steps between synchronisations", low=1)
    alpha: float = option(
        0.5, "interpolation of the slow weights towards the fast ones: 0 none, 1 all", low=0.0, high=1.0
    )
    moments: Moments = option(Moments.carry, "optimizer moments at synchronisation: carry, restore or interpolate")

    paper = "1907.08610"
    changes = "reposition towards earlier weights every few batches"

    def __post_init__(self) -> None:
        self._steps_ahead = 0

    @property
    def needs(self) -> RuleNeeds:
        return RuleNeeds(copies=1, copies_in_checkpoint=1, state_copies=self.moments is not Moments.carry)

    def update(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        if self._steps_ahead == 0:
            learner.snapshot(self.moments)
        stages = super().update(learner, batch)
        self._steps_ahead = (self._steps_ahead + 1) % self.sync_every
        if self._steps_ahead == 0:
            learner.reposition(self.alpha, self.moments)
        return stages

    def state(self) -> RuleState:
        return {"steps_ahead": self._steps_ahead}

    def restore(self, state: RuleState) -> None:
        steps_ahead = state["steps_ahead"]
        assert isinstance(steps_ahead, int)
        self._steps_ahead = steps_ahead


@dataclass
class SlowFast(Facts, UpdateRule):
    """Take `fast_passes` passes over one batch, pull back towards the start, then correct (SFPO).

    With theta_0 the weights before the batch and theta_K after K passes:

        reposition   theta = theta_0 + alpha * (theta_K - theta_0)
        correct      theta <- one more pass, taken from theta

    K = 0 or alpha = 0 is `OnePass`, bit for bit, since the fast stage is then skipped. alpha = 1 with carried moments
    is K + 1 passes, bit for bit (arXiv:2510.04072, Algorithm 1). After the trigger fires, all later steps skip the fast
    stage.
    """

    kind: str = option("slow_fast", "name of the update rule")
    fast_passes: int = option(3, "K, the number of fast passes", low=0)
    alpha: float = option(0.8, "share of the fast update that is kept: 0 none, 1 all", low=0.0, high=1.0)
    moments: Moments = option(Moments.carry, "optimizer moments at reposition: carry, restore or interpolate")
    unit: Unit = option(Unit.batch_pass, "unit of one fast step: batch_pass or optimizer_step")
    trigger: Trigger = option(Trigger(), "trigger that switches the fast stage off permanently")
    trigger_entropy: EntropySource = option(
        EntropySource.start, "entropy the trigger watches: start, or slow_pass (a quirk of the released code)"
    )

    paper = "2510.04072"
    changes = "fast passes over each batch, reposition towards the start, one slow pass (SFPO)"

    def __post_init__(self) -> None:
        # Not fields, since every field is a setting.
        self._alpha_in_force = 0.0
        self._slow_entropy = self._slow_gradient_norm = math.nan
        self._cosines: list[float] = []

    @property
    def needs(self) -> RuleNeeds:
        return RuleNeeds(self.fast_passes + 1, copies=1, state_copies=self.moments is not Moments.carry)

    @property
    def reach(self) -> float:
        """alpha K + 1: the length of a step in units of one pass, for constant gradients."""
        return self.alpha * self.fast_passes + 1

    def check(self, key: str) -> None:
        self.trigger.check(f"{key}.trigger")

    @property
    def fast_stage_is_on(self) -> bool:
        return self.fast_passes > 0 and self.alpha > 0 and not self.trigger.fired

    def update(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        self._alpha_in_force = self.alpha if self.fast_stage_is_on else 0.0
        self._cosines = []
        stages = self._stages(learner, batch)
        self._slow_entropy, self._slow_gradient_norm = stages[-1].entropy, stages[-1].gradient_norm
        return stages

    def _stages(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        if not self.fast_stage_is_on:
            return (learner.optimize(batch, "slow"),)
        if self.unit is Unit.batch_pass:
            return self._slow_fast(learner, batch)
        return merge_stages([self._slow_fast(learner, mini_batch) for mini_batch in learner.mini_batches(batch)])

    def _slow_fast(self, learner: Learner[Batch], batch: Batch) -> tuple[StageStats, ...]:
        learner.snapshot(self.moments)
        start = learner.probe.read()
        fast = self._fast(learner, batch)
        fast_moved = learner.probe.read() - start
        learner.reposition(self._kept(), self.moments)
        repositioned = learner.probe.read()
        slow = learner.optimize(batch, "slow")
        cosine = learner.probe.cosine(fast_moved, learner.probe.read() - repositioned)
        self._cosines += [] if cosine is None else [cosine]
        return (*fast, slow)

    def _fast(self, learner: Learner[Batch], batch: Batch) -> Sequence[StageStats]:
        """Make the fast passes, starting from the anchor."""
        return [learner.optimize(batch, f"fast_{number}") for number in range(1, self.fast_passes + 1)]

    def _kept(self) -> float | Elementwise:
        """The share of the fast update that reposition keeps."""
        return self.alpha

    def observe(self, step: int, entropy: float) -> bool:
        if self.trigger.watches is Signal.slow_gradient_norm:
            return self.trigger.observe(step, self._slow_gradient_norm)
        watched = self._slow_entropy if self.trigger_entropy is EntropySource.slow_pass else entropy
        return self.trigger.observe(step, watched)

    def metrics(self, stages: Sequence[StageStats]) -> Mapping[str, float]:
        *fast, slow = stages
        cosines = self._cosines
        angle = {"fast_slow_cosine": sum(cosines) / len(cosines)} if cosines else {}
        return {"alpha": self._alpha_in_force, **seconds_of(fast, [slow]), **angle, **self.trigger.metrics()}

    def state(self) -> RuleState:
        return self.trigger.state()

    def restore(self, state: RuleState) -> None:
        self.trigger.restore(state)


def seconds_of(fast: Sequence[StageStats], slow: Sequence[StageStats]) -> dict[str, float]:
    """The seconds of fast and slow passes, by journal key."""
    return {
        "fast_seconds": sum(stage.seconds for stage in fast),
        "slow_seconds": sum(stage.seconds for stage in slow),
    }


def merge_stages(parts: Sequence[Sequence[StageStats]]) -> tuple[StageStats, ...]:
    """Merge the records of mini-batches into one per stage.

    Steps and seconds are summed, the maximum ratio is the largest, and everything else is the mean.
    """
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
