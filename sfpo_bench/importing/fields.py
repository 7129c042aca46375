"""Meaning of the names in a log, and presets for known trainers.

TRL 1.16, GRPOTrainer: `step` counts optimizer steps. `step_time` (seconds of training steps including rollouts, without
evaluation and checkpoints) and `completions/mean_length` are means since the previous row. Evaluations are separate
rows with names that begin with `eval_`. Neither the number of responses nor that of an evaluation is logged.

verl, ray_trainer: a step is a training step. `timing_s/step` contains rollouts, updates and the checkpoint, if one is
written (`timing_s/save_checkpoint`), which is subtracted. Validation (`timing_s/testing`) is outside of it in the
versions of 2026 and inside in those of 2025 (preset `verl_2025`). Validation accuracy is
`val-core/<data source>/acc/mean@<samples>`; MLflow holds `_at_` for `@`. The number of responses is not logged.

prime-rl, the orchestrator's metrics: accuracy is `eval/<environment>/avg@<samples>`; totals of responses and prompts
are `progress/total_samples` and `progress/total_problems`. Its `progress/total_tokens` hold prompts too, so generated
tokens follow from `decode_len/all/mean`. `time/step` holds `time/save_ckpt`; evaluation runs beside it.

MLPerf's logs: `eval_accuracy`, and `samples_count` of its metadata, which for GRPO are responses.

Trackers store the metrics of a Hugging Face trainer under `train/` and `eval/`; presets find their names there too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sfpo_bench.core.costs import CostAxis
from sfpo_bench.core.errors import ConfigError


class Preset(StrEnum):
    """Naming convention of a log: custom names, or those of a known trainer."""

    own = "own"
    trl = "trl"
    verl = "verl"
    verl_2025 = "verl_2025"
    prime_rl = "prime_rl"
    mllog = "mllog"


# Costs that a log may contain, by the setting that names each; seconds are those of training.
LOGGED_COSTS: Mapping[str, CostAxis] = {
    "seconds" if axis is CostAxis.train_seconds else axis.value: axis
    for axis in CostAxis
    if axis is not CostAxis.total_seconds
}
OWN_NAMES = ("accuracy", *LOGGED_COSTS, "n")
_TRAINING = "train/"  # the prefix of Hugging Face's training metrics in a tracker


@dataclass(frozen=True, slots=True)
class Fields:
    """Names in the log; empty if absent. `costs` are totals since the start of the run.

    `accuracy_pattern` finds the accuracy if no name is given. `step_seconds` and `response_tokens` are means over the
    steps since the previous row, per step and per response; `not_training` are names to subtract from the former.
    `step_is_optimizer_step`: the step counts optimizer steps. `metrics` maps names to metric keys of this package.
    """

    accuracy: str = ""
    accuracy_pattern: str = ""
    n: str = ""
    costs: Mapping[CostAxis, str] = field(default_factory=dict)
    step_seconds: str = ""
    not_training: tuple[str, ...] = ()
    response_tokens: str = ""
    step_is_optimizer_step: bool = False
    metrics: Mapping[str, str] = field(default_factory=dict)

    def with_names(self, names: Mapping[str, str]) -> Fields:
        """Return a copy with the nonempty names in `names`, by the keys in `OWN_NAMES`."""
        costs = {axis: names[key] for key, axis in LOGGED_COSTS.items() if names.get(key)}
        return replace(
            self,
            accuracy=names.get("accuracy") or self.accuracy,
            n=names.get("n") or self.n,
            costs={**self.costs, **costs},
        )


_TRL = Fields(
    accuracy_pattern=r"eval[_/]rewards/.+/mean",
    step_seconds="step_time",
    response_tokens="completions/mean_length",
    step_is_optimizer_step=True,
    metrics={
        "reward": "reward_mean",
        "reward_std": "reward_std",
        "frac_reward_zero_std": "groups_without_signal_share",
        "completions/mean_length": "response_tokens_mean",
        "completions/clipped_ratio": "truncated_share",
        "entropy": "entropy",
        "clip_ratio/region_mean": "clip_fraction",
        "grad_norm": "gradient_norm",
        "learning_rate": "learning_rate",
    },
)
_VERL = Fields(
    accuracy_pattern=r"val-core/.+/acc/mean(@|_at_)\d+",
    step_seconds="timing_s/step",
    not_training=("timing_s/save_checkpoint",),
    response_tokens="response_length/mean",
    metrics={
        "critic/score/mean": "reward_mean",
        "response_length/mean": "response_tokens_mean",
        "response_length/clip_ratio": "truncated_share",
        "actor/entropy": "entropy",
        "actor/pg_clipfrac": "clip_fraction",
        "actor/grad_norm": "gradient_norm",
        "actor/lr": "learning_rate",
        "timing_s/gen": "rollout_seconds",
        "timing_s/old_log_prob": "old_log_prob_seconds",
        "timing_s/update_actor": "update_seconds",
        "timing_s/step": "step_seconds",
    },
)
_PRIME_RL = Fields(
    accuracy_pattern=r"eval/.+/avg@\d+",
    costs={CostAxis.responses: "progress/total_samples", CostAxis.prompts: "progress/total_problems"},
    step_seconds="time/step",
    not_training=("time/save_ckpt",),
    response_tokens="decode_len/all/mean",
    metrics={
        "reward/all/mean": "reward_mean",
        "decode_len/all/mean": "response_tokens_mean",
        "is_truncated/all/mean": "truncated_share",
        "time/step": "step_seconds",
    },
)
_MLLOG = Fields(
    accuracy="eval_accuracy",
    n="eval_samples",
    costs={
        CostAxis.responses: "samples_count",
        **{axis: axis.value for axis in CostAxis if axis not in (CostAxis.responses, CostAxis.total_seconds)},
    },
    metrics={"reward": "reward_mean", "entropy": "entropy", "grad_norm": "gradient_norm"},
)
PRESETS: Mapping[Preset, Fields] = {
    Preset.own: Fields().with_names({name: name for name in OWN_NAMES}),
    Preset.trl: _TRL,
    Preset.verl: _VERL,
    Preset.verl_2025: replace(_VERL, not_training=(*_VERL.not_training, "timing_s/testing")),
    Preset.prime_rl: _PRIME_RL,
    Preset.mllog: _MLLOG,
}  # fmt: skip


def as_logged(fields: Fields, found: Iterable[str]) -> Fields:
    """Return the fields with the prefix `train/` for names that occur in `found` only with it."""
    known = set(found)

    def there(name: str) -> str:
        return _TRAINING + name if name not in known and _TRAINING + name in known else name

    return replace(
        fields,
        costs={axis: there(name) for axis, name in fields.costs.items()},
        step_seconds=there(fields.step_seconds),
        not_training=tuple(there(name) for name in fields.not_training),
        response_tokens=there(fields.response_tokens),
        metrics={there(name): key for name, key in fields.metrics.items()},
    )


def settle_accuracy(fields: Fields, found: Iterable[str]) -> Fields:
    """Return the fields with the name of the accuracy, found with `accuracy_pattern` in `found` if none is given.

    Raises `ConfigError` if it is not in the log, or if several names match.
    """
    known = sorted(set(found))
    if fields.accuracy:
        if fields.accuracy not in known:
            raise ConfigError(
                f"found no {fields.accuracy!r} in the log; expected one of {_listed(known)}: accuracy=NAME"
            )
        return fields
    fitting = [name for name in known if re.fullmatch(fields.accuracy_pattern, name)]
    if len(fitting) != 1:
        what = f"{len(fitting)} names that may be the accuracy, {', '.join(fitting)}" if fitting else "no accuracy"
        raise ConfigError(
            f"found {what}; expected one: say which with accuracy=NAME, one of {_listed(fitting or known)}"
        )
    return replace(fields, accuracy=fitting[0])


def _listed(names: list[str]) -> str:
    return ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
