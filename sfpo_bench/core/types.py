"""The records that travel between modules. No torch here, so that reports and configuration stay light.

Shape suffixes used across the package:

    P  prompts in a batch       G  responses of one prompt (the group)     B  responses, B = P * G
    T  response tokens, padded  N  tokens without padding                  V  vocabulary
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sfpo_bench.core.costs import Costs


class Split(StrEnum):
    """Which problems: `train` for rollouts, `select` for choosing, `report` for the numbers shown."""

    train = "train"
    select = "select"
    report = "report"


class FinishReason(StrEnum):
    """How a response ended: by an end-of-sequence token of the model, or cut at the token limit."""

    stopped = "stopped"
    truncated = "truncated"


class GradeStatus(StrEnum):
    """What the grader found. Only `correct` and `wrong` are verdicts; the others are counted apart."""

    correct = "correct"
    wrong = "wrong"
    no_answer = "no_answer"
    gold_unparsable = "gold_unparsable"
    timeout = "timeout"
    error = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: `Problem("arithmetic/7*8-35", "7*8-35", "21")`. `id` is unique within its task. `solution` is a
    reference solution, a whole response that its task grades as correct, where the data has one."""

    id: str
    text: str
    answer: str
    solution: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat prompt; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is shown for `problem_id`: raw text to continue, or chat turns for the model's template."""

    problem_id: str
    content: str | tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """One response, exactly as the engine produced it, or one that no engine sampled.

    `response_ids` ends with the end-of-sequence token when `finish_reason` is `stopped`; `log_probs` are the
    engine's own, one per response token, at the sampling temperature. `text` leaves special tokens out. Of a response
    that went on from some of its tokens, these are the last ones of `prompt_ids` and the first ones of `text`. One that
    was written by somebody else, such as a reference solution, has no `log_probs`, and -1 for its `sample`.
    """

    problem_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    text: str
    finish_reason: FinishReason

    @property
    def is_sampled(self) -> bool:
        """False for a response that was written by somebody else."""
        return bool(self.log_probs)


@dataclass(frozen=True, slots=True)
class Grade:
    """A grader's answer: verdict, reward for training, what it took as the final answer (None: nothing) and the name of
    the rule that found it (empty where a task has one rule only, or nothing was found)."""

    status: GradeStatus
    reward: float
    extracted: str | None
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One graded response that a training step is taken on, and where it belongs. The second of two responses to the
    step's first problem:

        Trajectory(problem, completion, Grade(GradeStatus.correct, 1.0, "21"), group=0)

    Those of one `group` are compared with each other. `parent` is the place in the step of the earlier trajectory that
    it branched from, and response tokens before `loss_from` are that one's: they bear no loss a second time. One
    that is `left_out` stands in its group so that groups have one size, and nothing more: it has no part in the
    statistics of the group and is not trained on.

    One of an earlier step brings what it was born with: `advantages`, one or one of each response token, in whose place
    none are made, and `old_log_probs`, one of each response token, that its ratio is to.
    """

    problem: Problem
    completion: Completion
    grade: Grade
    group: int
    parent: int | None = None
    loss_from: int = 0
    advantages: tuple[float, ...] | None = None
    old_log_probs: tuple[float, ...] | None = None
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class StageStats:
    """One pass of the update: `stage` is `pass_1`, `fast_1` … `fast_K` or `slow`.

    `loss`, `clip_fraction`, `ratio_mean`, `ratio_max`, `kl_to_start` (the k3 estimate, mean of r - 1 - log r) and
    `entropy` (nats per token) are over the tokens of the whole batch; `gradient_norm` is the mean over the pass's
    optimizer steps, before clipping. Ratios are to the weights at the step's start, those of stale rollouts to the
    weights that sampled them.
    """

    stage: str
    loss: float
    clip_fraction: float
    ratio_mean: float
    ratio_max: float
    kl_to_start: float
    gradient_norm: float
    entropy: float
    optimizer_steps: int
    skipped_optimizer_steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One training step of the journal. `metrics` holds the step's scalars by their metric key."""

    step: int
    time_unix_s: float
    costs: Costs
    metrics: Mapping[str, float]
    stages: tuple[StageStats, ...]


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """One evaluation of the journal: `n` responses to `problems` problems of `split`; `accuracy` = correct / n.

    `mode` is `sampled` (at `temperature`) or `greedy`; `statuses` counts every `GradeStatus` met; `truncated` counts
    responses cut at the token limit, whatever their grade.
    """

    step: int
    time_unix_s: float
    costs: Costs
    split: Split
    mode: str
    temperature: float
    accuracy: float
    n: int
    problems: int
    statuses: Mapping[str, int]
    truncated: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something that happened once at a step, such as `trigger_fired` or `optimizer_step_skipped`."""

    step: int
    time_unix_s: float
    event: str
    detail: Mapping[str, float] = field(default_factory=dict)


JournalRecord = StepRecord | EvaluationRecord | EventRecord


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One stored training response of a step: what `show` prints and what `samples.parquet` holds."""

    step: int
    problem_id: str
    problem: str
    answer: str
    sample: int
    response: str
    response_tokens: int
    finish_reason: FinishReason
    extracted: str | None
    status: GradeStatus
    reward: float
    advantage: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """How responses are drawn: from the full vocabulary at `temperature`; 0 is greedy decoding, only for evaluation.

    `top_p` below 1 or `top_k` above 0 cuts the vocabulary; the transformers engine has no `top_k`.
    """

    temperature: float
    max_new_tokens: int
    top_p: float = 1.0
    top_k: int = 0
