"""Settings of the learner and of a training run. No torch here: a config error must answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sfpo_bench.algorithms.correction import Correction
from sfpo_bench.core.options import option
from sfpo_bench.core.stop_at import StopAt
from sfpo_bench.problems.sets import DataSettings


class OptimizerKind(StrEnum):
    """adamw: AdamW with decoupled weight decay; sgd: plain gradient descent, for exact checks."""

    adamw = "adamw"
    sgd = "sgd"


class NonFinite(StrEnum):
    """What a non-finite loss or gradient does: stop the run at its last checkpoint, or skip that optimizer step."""

    stop = "stop"
    skip = "skip"


class Which(StrEnum):
    """A checkpoint of a run: the newest, or the one with the highest sampled accuracy on select problems."""

    last = "last"
    best = "best"


class Precision(StrEnum):
    """Number format the model computes in; masters and optimizer are fp32 for bfloat16, else the same."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float64 = "float64"


@dataclass
class LearnerSettings:
    """How gradients become weights."""

    optimizer: OptimizerKind = option(OptimizerKind.adamw, "adamw or sgd")
    learning_rate: float = option(
        1e-6, "learning rate after warm-up; the schedule ticks once a training step", above=0.0
    )
    learning_rate_factor: float = option(
        1.0, "factor on learning_rate, for controls defined relative to another method's rate", above=0.0
    )
    warmup_steps: int = option(0, "training steps over which the learning rate rises linearly from zero", low=0)
    beta1: float = option(0.9, "AdamW: decay of the first moment", low=0.0, below=1.0)
    beta2: float = option(0.999, "AdamW: decay of the second moment", low=0.0, below=1.0)
    eps: float = option(1e-8, "AdamW: added to the root of the second moment", above=0.0)
    weight_decay: float = option(0.0, "AdamW: decoupled weight decay", low=0.0)
    gradient_clip_norm: float = option(
        1.0, "largest gradient norm of an optimizer step; 0 switches clipping off", low=0.0
    )
    mini_batch_prompts: int = option(
        0, "prompts per optimizer step, a divisor of rollout.prompts; 0: the whole batch", low=0
    )
    mini_batches: int = option(
        1, "optimizer steps of one pass, a divisor of rollout.prompts, where mini_batch_prompts is 0", low=1
    )
    block_responses: int = option(
        32, "responses of a block of normalization=block_token_mean: the released code's micro-batch", low=1
    )
    micro_batch_tokens: int = option(
        16384, "tokens of one forward and backward, each prompt counted once; never changes the result", low=1
    )
    packing_window: int = option(
        1, "pending responses of which the first that fits goes into a micro-batch; 1: the next or none", low=1
    )
    lora_rank: int = option(0, "train low-rank adapters of this rank instead of the weights; 0: the weights", low=0)
    recompute_layers: bool = option(
        False,
        "keep only each layer's input and compute the rest again in the backward pass (gradient checkpointing): less "
        "memory, about a third more time; never changes the result",
    )
    anchor_on_host: bool = option(
        False, "keep the copy for reposition in the host's memory instead of the GPU's; never changes the result"
    )
    precision: Precision = option(
        Precision.float32, "number format the model computes in: float32, bfloat16 or float64"
    )
    non_finite: NonFinite = option(NonFinite.stop, "a non-finite loss or gradient: stop, or skip the optimizer step")
    engine_correction: Correction = option(
        Correction.none,
        "weights for the mismatch of engine and trainer: none, truncate (tokens), sequence_mask or reject (responses)",
    )
    engine_correction_cap: float = option(
        0.0, "largest ratio the correction accepts; 0: the published one, 2, 3 and 2 in that order", low=0.0
    )


@dataclass
class TrainingSettings:
    """How long to train and what to do on the way."""

    steps: int = option(100, "training steps, one batch of rollouts each", low=1)
    evaluate_every: int = option(
        5, "steps between evaluations; the step of first_evaluation and training.steps are always evaluated", low=1
    )
    first_evaluation: int = option(
        0, "step of the first evaluation; 0: before training, a later one saves those of a model that is far off", low=0
    )
    stop_at: StopAt = option(StopAt(), "accuracy at which a run ends before `steps`")
    checkpoint_every: int = option(10, "steps between checkpoints; the last step of a run always gets one", low=1)
    keep_last: int = option(2, "checkpoints kept, the newest ones; the best one is kept besides", low=1)
    keep_every: int = option(
        0,
        "steps between checkpoints whose weights are kept for good, so that they can be evaluated later; 0: none",
        low=0,
    )
    samples_every: int = option(
        10, "steps between stored samples; the first step and training.steps are always stored", low=1
    )
    rank_timeout_seconds: float = option(
        1800.0, "of a run in several processes: longest silence of one before the others give up", above=0.0
    )
    wrong_answer_reward: float = option(
        0.0,
        "added in training to the reward of a finished response whose answer is wrong; 0.1 in the released code, a "
        "quirk (there: wrong but in a box)",
        low=-1.0,
        high=1.0,
    )
    reward_flip_probability: float = option(
        0.0, "probability that the reward r of a response is 1 - r in training, a wrong label", low=0.0, high=1.0
    )

    def evaluates_after(self, step: int) -> bool:
        """True for the steps after which a run is evaluated; step 0 is before training."""
        if step == self.steps:
            return True
        return step == self.first_evaluation or (step > self.first_evaluation and step % self.evaluate_every == 0)

    def kept_bytes(self, weights: int, checkpoint: int) -> int:
        """Disk that a run keeps in the end, of bytes of weights alone and of a whole checkpoint: the newest ones whole,
        of the best one and of every `keep_every`-th step the weights."""
        kept = self.steps // self.keep_every if self.keep_every else 0
        return checkpoint * self.keep_last + weights * (1 + kept)


@dataclass
class EvaluationSettings:
    """What an evaluation measures. The curve is sampled accuracy; the time evaluations take is not training time."""

    responses: int = option(
        768, "responses per evaluation of the report split, spread evenly over its problems; 0: none", low=0
    )
    select_responses: int = option(
        256, "responses per evaluation of the select split, for the best checkpoint; 0: none", low=0
    )
    select_suite: str = option(
        "", "suite of evaluations/ whose problems are the select split; empty: the select problems of the task"
    )
    allow_report: str = option(
        "", "a suite for reporting that select_suite may be all the same, by name; tables of a sweep then say so"
    )
    data: DataSettings = option(DataSettings(), "where the problems of select_suite come from")
    greedy_problems: int = option(256, "problems decoded greedily beside the sampled ones; 0: none", low=0)
    temperature: float = option(1.0, "softmax temperature of sampled evaluations", above=0.0)
