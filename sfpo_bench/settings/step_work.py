"""What a training step goes through its batch for: passes with a gradient and without, and rounds of rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.algorithms.protocols import StepMethod
from sfpo_bench.settings.config import RunConfig


@dataclass(frozen=True, slots=True)
class StepWork:
    """The most that a step takes. `passes` over the batch move the policy, in `steps_per_pass` optimizer steps each;
    `forwards` go through it without a gradient, by what for; `module_passes` move each module beside the policy, by
    name, after one more without a gradient for its scores. `rounds` times a step's responses are sampled."""

    passes: int
    steps_per_pass: int
    forwards: Mapping[str, int] = field(default_factory=dict)
    module_passes: Mapping[str, int] = field(default_factory=dict)
    rounds: float = 1.0


def step_work(config: RunConfig) -> StepWork:
    """Of a step of this run that takes the most."""
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
    """Passes without a gradient that the learner takes for a method (`LocalLearner.begin_step`, `_gradients`)."""
    objective = method.objective
    return {
        "old log-probs": int(corrected or objective.uses_statistics or steps_per_pass > 1),
        "the reference": int(objective.uses_reference),
        "statistics of the mini-batches": method.rule.needs.passes * objective.uses_statistics,
    }
