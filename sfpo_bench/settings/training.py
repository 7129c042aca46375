"""Settings of the learner and of a training run, without torch, so that configuration errors appear fast."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.core.options import option
from sfpo_bench.core.stop_at import StopAt
from sfpo_bench.problems.data_settings import DataSettings


class OptimizerKind(StrEnum):
    """The optimizer: AdamW with decoupled weight decay, or plain SGD for exact checks."""

    adamw = "adamw"
    sgd = "sgd"


class NonFinite(StrEnum):
    """The reaction to a non-finite loss or gradient: stop the run, or skip that optimizer step."""

    stop = "stop"
    skip = "skip"


class Which(StrEnum):
    """The checkpoint of a run: the last, or the one with the highest sampled accuracy on select problems."""

    last = "last"
    best = "best"


class Precision(StrEnum):
    """The number format of the model; for bfloat16 master weights and optimizer state are fp32, else the same."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float64 = "float64"


@dataclass
class LearnerSettings:
    """Optimizer, batching and precision."""

    optimizer: OptimizerKind = option(OptimizerKind.adamw, "adamw or sgd")
    learning_rate: float = option(1e-6, "learning rate after warm-up, which advances once per training step", above=0.0)
    learning_rate_factor: float = option(
        1.0, "factor on learning_rate, for controls defined relative to another method's rate", above=0.0
    )
    warmup_steps: int = option(0, "training steps of linear learning rate warm-up from zero", low=0)
    beta1: float = option(0.9, "AdamW: decay of the first moment", low=0.0, below=1.0)
    beta2: float = option(0.999, "AdamW: decay of the second moment", low=0.0, below=1.0)
    eps: float = option(1e-8, "AdamW: added to the root of the second moment", above=0.0)
    weight_decay: float = option(0.0, "AdamW: decoupled weight decay", low=0.0)
    gradient_clip_norm: float = option(1.0, "gradient norm to which gradients are clipped; 0: no clipping", low=0.0)
    mini_batch_prompts: int = option(
        0, "prompts per optimizer step, a divisor of rollout.prompts; 0: the whole batch", low=0
    )
    mini_batches: int = option(
        1, "optimizer steps per pass, a divisor of rollout.prompts, if mini_batch_prompts is 0", low=1
    )
    block_responses: int = option(
        32, "responses per block of normalization=block_token_mean: the released code's micro-batch", low=1
    )
    micro_batch_tokens: int = option(
        16384, "tokens per forward and backward pass, each prompt counted once; never changes the result", low=1
    )
    packing_window: int = option(
        1, "pending responses considered for filling a micro-batch, first fit; 1: only the next one", low=1
    )
    lora_rank: int = option(0, "rank of LoRA adapters, which are trained instead of the weights; 0: no LoRA", low=0)
    recompute_layers: bool = option(
        False,
        "gradient checkpointing: keep only each layer's input and recompute the rest in the backward pass; less "
        "memory, about a third more time; never changes the result",
    )
    anchor_on_host: bool = option(False, "CPU offload of the anchor of reposition; never changes the result")
    precision: Precision = option(Precision.float32, "number format of the model: float32, bfloat16 or float64")
    non_finite: NonFinite = option(NonFinite.stop, "a non-finite loss or gradient: stop, or skip the optimizer step")
    engine_correction: Correction = option(
        Correction.none,
        "importance weights for the engine mismatch: none, truncate (tokens), sequence_mask or reject (responses)",
    )
    engine_correction_cap: float = option(
        0.0, "cap of the correction's ratios; 0: the published caps, 2, 3 and 2 in that order", low=0.0
    )


@dataclass
class TrainingSettings:
    """The length of training, and its evaluations and checkpoints."""

    steps: int = option(100, "training steps, one batch of rollouts each", low=1)
    evaluate_every: int = option(
        5, "steps between evaluations; the step of first_evaluation and training.steps are always evaluated", low=1
    )
    first_evaluation: int = option(0, "step of the first evaluation; 0: before training", low=0)
    stop_at: StopAt = option(StopAt(), "accuracy at which a run ends before `steps`")
    checkpoint_every: int = option(10, "steps between checkpoints; the last step of a run always gets one", low=1)
    keep_last: int = option(2, "number of newest checkpoints to keep; the best one is kept too", low=1)
    keep_every: int = option(
        0,
        "steps between checkpoints whose weights are kept permanently for later evaluation; 0: none",
        low=0,
    )
    samples_every: int = option(
        10, "steps between stored samples; the first step and training.steps are always stored", low=1
    )
    peak_tflops: float = option(
        0.0,
        "peak TFLOP/s of one device, for update_flops_utilization; 0: from a table of GPUs, or measured on a CPU",
        low=0.0,
    )
    rank_timeout_seconds: float = option(1800.0, "timeout of collective calls in a run of several processes", above=0.0)
    wrong_answer_reward: float = option(
        0.0,
        "training reward added for a complete response with a wrong answer; 0.1 in the released code, a quirk (there: "
        "wrong but in a box)",
        low=-1.0,
        high=1.0,
    )
    reward_flip_probability: float = option(
        0.0, "probability of flipping a training reward r to 1 - r (label noise)", low=0.0, high=1.0
    )

    def evaluates_after(self, step: int) -> bool:
        """True for the steps after which the run is evaluated; step 0 is before training."""
        if step == self.steps:
            return True
        return step == self.first_evaluation or (step > self.first_evaluation and step % self.evaluate_every == 0)

    def kept_bytes(self, weights: int, checkpoint: int) -> int:
        """Disk usage of a finished run, given the bytes of weights and of a complete checkpoint.

        The newest checkpoints are kept complete, the best and every `keep_every`-th as weights only.
        """
        kept = self.steps // self.keep_every if self.keep_every else 0
        return checkpoint * self.keep_last + weights * (1 + kept)


@dataclass
class EvaluationSettings:
    """Evaluations during training; the curve is sampled accuracy, and their time is not training time."""

    responses: int = option(
        768, "responses per evaluation of the report split, spread evenly over its problems; 0: none", low=0
    )
    select_responses: int = option(
        256, "responses per evaluation of the select split, for the best checkpoint; 0: none", low=0
    )
    select_suite: str = option(
        "", "suite of evaluations/ whose problems are the select split; empty: the select problems of the task"
    )
    allow_report: str = option("", "name of a report suite that select_suite may use; tables of a sweep then say so")
    data: DataSettings = option(DataSettings(), "source of the problems of select_suite")
    greedy_problems: int = option(256, "problems of the additional greedy evaluation; 0: none", low=0)
    temperature: float = option(1.0, "softmax temperature of sampled evaluations", above=0.0)
