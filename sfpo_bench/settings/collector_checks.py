"""Checks of a collector against the other parts of a run."""

from __future__ import annotations

from collections.abc import Sequence

from sfpo_bench.algorithms.collectors.protocol import Collector
from sfpo_bench.algorithms.protocols import StepMethod
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.rollout import RolloutSettings, VllmRollout
from sfpo_bench.settings.training import LearnerSettings


def check_collector(
    collector: Collector, methods: Sequence[StepMethod], rollout: RolloutSettings, learner: LearnerSettings
) -> None:
    """Raise `ConfigError` for an invalid collector, or one that does not fit the engine or the methods."""
    name = getattr(collector, "kind", type(collector).__name__)
    collector.check("algorithm.collector", rollout.group)
    if collector.follower is not None and isinstance(rollout, VllmRollout):
        raise ConfigError(
            f"algorithm.collector = {name} also samples from weights that follow the policy's, a second model, which "
            "rollout=vllm does not hold; use rollout=transformers, or a collector that samples from the policy alone"
        )
    for method in methods:
        if collector.uses_solutions:
            _check_one_update(name, method, learner)
        if collector.leaves_out:
            _check_leaves_out(name, method)
        if method.objective.compares_rows and not collector.whole_responses:
            raise ConfigError(
                f"algorithm.collector = {name} returns parts of responses, or some of earlier steps, and "
                f"{method.place}.objective compares the responses of a group with each other, whole; use "
                "algorithm/collector=group, or another objective"
            )


def _check_one_update(name: str, method: StepMethod, learner: LearnerSettings) -> None:
    """Raise `ConfigError` when a batch is used for more than one optimizer step."""
    why = (
        "which trains on reference solutions: no policy sampled them, so that they have a ratio, which is 1, only "
        "while the policy is that of the step's start, for one optimizer step on a batch"
    )
    if method.rule.needs.passes > 1:
        raise ConfigError(
            f"{method.place}.update_rule takes {method.rule.needs.passes} passes over a batch with "
            f"algorithm.collector = {name}, {why}; use algorithm/update_rule=one_pass, or algorithm/collector=group"
        )
    if learner.mini_batch_prompts or learner.mini_batches > 1:
        raise ConfigError(
            f"learner.mini_batch_prompts = {learner.mini_batch_prompts} and learner.mini_batches = "
            f"{learner.mini_batches} with algorithm.collector = {name}, {why}; set learner.mini_batch_prompts=0 and "
            "learner.mini_batches=1, or algorithm/collector=group"
        )


def _check_leaves_out(name: str, method: StepMethod) -> None:
    """Raise `ConfigError` for an advantage or objective that does not support left-out responses."""
    if not method.advantage.applies_kept:
        raise ConfigError(
            f"algorithm.collector = {name} leaves responses out of their group, with {method.place}.advantage, which "
            "does not support Rewarded.kept_PG; use algorithm/advantage=group, or switch the "
            "collector's filter off"
        )
    if method.objective.compares_rows:
        raise ConfigError(
            f"algorithm.collector = {name} leaves responses out of their group, and {method.place}.objective compares "
            "those of a group with each other: a pair of which one is left out has no loss; use another objective, or "
            "switch the collector's filter off"
        )
    if not method.objective.applies_weights:
        raise ConfigError(
            f"algorithm.collector = {name} leaves responses out of the loss, with {method.place}.objective, which does "
            "not say that it applies LossInputs.row_weights_B; multiply each response's loss by its weight and set "
            "applies_weights = True in its class, or switch the collector's filter off"
        )
