"""Checks of the learner's settings against those of rollouts."""

from __future__ import annotations

from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.settings.rollout import OpenAiRollout, Placement, RolloutSettings, VllmRollout
from sfpo_bench.settings.training import LearnerSettings, OptimizerKind, Precision


def check_optimizer(learner: LearnerSettings) -> None:
    """Raise `ConfigError` for a setting of AdamW that the optimizer does not have."""
    own, plain = ("beta1", "beta2", "eps", "weight_decay"), LearnerSettings()
    if learner.optimizer is OptimizerKind.sgd:
        for name in own:
            value = getattr(learner, name)
            if value != getattr(plain, name):
                raise ConfigError(
                    f"learner.{name} = {value:g} has no effect with learner.optimizer=sgd: it is AdamW's; leave it at "
                    f"{getattr(plain, name):g}, or use learner=adamw"
                )


def check_batch(rollout: RolloutSettings, learner: LearnerSettings) -> None:
    """Raise `ConfigError` for a batch that does not divide into its mini-batches."""
    if learner.mini_batch_prompts and rollout.prompts % learner.mini_batch_prompts:
        raise ConfigError(
            f"rollout.prompts = {rollout.prompts} does not divide into mini-batches of learner.mini_batch_prompts = "
            f"{learner.mini_batch_prompts} prompts; choose a divisor of {rollout.prompts}, or 0 for the whole batch"
        )
    if learner.mini_batches > 1 and (learner.mini_batch_prompts or rollout.prompts % learner.mini_batches):
        raise ConfigError(
            f"learner.mini_batches = {learner.mini_batches} with rollout.prompts = {rollout.prompts} and "
            f"learner.mini_batch_prompts = {learner.mini_batch_prompts}; expected a divisor of rollout.prompts, and "
            "learner.mini_batch_prompts=0, which says the same thing in prompts"
        )


def check_engine(rollout: RolloutSettings, learner: LearnerSettings) -> None:
    """Raise `ConfigError` for an engine that does not fit the learner."""
    if isinstance(rollout, OpenAiRollout):
        raise ConfigError(
            "rollout=openai in training, whose new weights a server of this API cannot take; expected "
            "rollout=transformers or rollout=vllm. Only sfpo-bench evaluate samples from such a server"
        )
    corrected = learner.engine_correction is not Correction.none
    if 0 < learner.engine_correction_cap < 1:
        raise ConfigError(
            f"learner.engine_correction_cap = {learner.engine_correction_cap:g} would cut off a perfect match; "
            "expected at least 1, or 0 for the published cap"
        )
    if rollout.cut_vocabulary and not corrected:
        raise ConfigError(
            "rollout.top_p below 1 or rollout.top_k above 0 draws responses from another distribution than the one the "
            "trainer takes gradients of: log-probs are then over the kept tokens only, and the ratio to the trainer's "
            "is not 1. Leave both off, or set learner.engine_correction=truncate (sequence_mask, reject)"
        )
    if rollout.stale_steps and corrected:
        raise ConfigError(
            f"rollout.stale_steps = {rollout.stale_steps} with learner.engine_correction = "
            f"{learner.engine_correction.value}: ratios are to the log-probs that stale responses were sampled with, "
            "and leave no mismatch to correct; use learner.engine_correction=none, or rollout.stale_steps=0"
        )
    if isinstance(rollout, VllmRollout):
        _check_vllm(rollout, learner)


def _check_vllm(rollout: VllmRollout, learner: LearnerSettings) -> None:
    if rollout.stale_steps:
        raise ConfigError(
            f"rollout.stale_steps = {rollout.stale_steps} with rollout=vllm, whose engine has only the current weights "
            "and is compared with them; use rollout=transformers, or rollout.stale_steps=0"
        )
    if learner.precision is Precision.float64:
        raise ConfigError("learner.precision = float64 with rollout=vllm, which has no such format; use float32")
    if (rollout.placement is Placement.server) != bool(rollout.server_url):
        raise ConfigError(
            f"rollout.placement = {rollout.placement.value} with rollout.server_url = {rollout.server_url!r}; expected "
            "an address with placement=server, and none otherwise"
        )
    if rollout.restarts and rollout.placement is Placement.in_process:
        raise ConfigError(
            f"rollout.restarts = {rollout.restarts} with rollout.placement = in_process: what kills the engine there "
            "kills the trainer; use rollout.placement=child_process, or rollout.restarts=0"
        )
