"""The work of a training step: passes with and without gradient, and rounds of rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.algorithms.protocols import StepMethod
from sfpo_bench.settings.config import RunConfig


@dataclass(frozen=True, slots=True)
class StepWork:
    """The maximum work of a step.

    `passes` over the batch train the policy, with `steps_per_pass` optimizer steps each. `forwards` are passes without
    gradient, by purpose. `module_passes` train each module, by name, after one forward pass for its scores. `rounds` is
    how often a step's responses are sampled.
    """

    passes: int
    steps_per_pass: int
    forwards: Mapping[str, int] = field(default_factory=dict)
    module_passes: Mapping[str, int] = field(default_factory=dict)
    rounds: float = 1.0


def step_work(config: RunConfig) -> StepWork:
    """The maximum work over the run's steps."""
    rollout, learner = config.rollouts, config.learner
    steps = rollout.prompts // learner.mini_batch_prompts if learner.mini_batch_prompts else learner.mini_batches
    each = [
        _forwards(method, steps, corrected=learner.engine_correction is not Correction.none)
        for method in config.methods.used
    ]
    forwards = {name: max(one[name] for one in each) for name in each[0]}
    return StepWork(
        passes=config.methods.needs.passes,
        steps_per_pass=steps,
        forwards={name: count for name, count in forwards.items() if count},
        module_passes={name: config.modules.passes_of(name) for name in config.modules.names},
        rounds=config.collector.most_rounds * rollout.group / config.collector.trained(rollout.group),
    )


def _forwards(method: StepMethod, steps_per_pass: int, *, corrected: bool) -> dict[str, int]:
    """Forward-only passes of the learner for a method (`LocalLearner.begin_step`, `_gradients`), by purpose."""
    objective = method.objective
    return {
        "old log-probs": int(corrected or objective.uses_statistics or steps_per_pass > 1),
        "the reference": int(objective.uses_reference),
        "statistics of the mini-batches": method.rule.needs.passes * objective.uses_statistics,
    }
