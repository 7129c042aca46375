"""The records that modules exchange, without torch, so that reports and configuration stay light.

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
    """The splits of problems: `train` for rollouts, `select` for model selection, `report` for reported results."""

    train = "train"
    select = "select"
    report = "report"


class FinishReason(StrEnum):
    """The end of a response: `stopped` by an end-of-sequence token, or `truncated` at the token limit."""

    stopped = "stopped"
    truncated = "truncated"


class GradeStatus(StrEnum):
    """The result of grading. Only `correct` and `wrong` are verdicts; the others are counted separately."""

    correct = "correct"
    wrong = "wrong"
    no_answer = "no_answer"
    gold_unparsable = "gold_unparsable"
    timeout = "timeout"
    error = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: `Problem("arithmetic/7*8-35", "7*8-35", "21")`.

    `id` is unique within its task. `solution` is a reference solution, a whole response that the task grades as
    correct, or None.
    """

    id: str
    text: str
    answer: str
    solution: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat prompt; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt for `problem_id`: raw text to continue, or chat messages for the model's template."""

    problem_id: str
    content: str | tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """One response as the engine produced it, or one that no engine sampled.

    `response_ids` ends with the end-of-sequence token when `finish_reason` is `stopped`. `log_probs` are the engine's,
    one per response token, at the sampling temperature. `text` omits special tokens. For a continued response, its
    first tokens are the last ones of `prompt_ids`, and `text` includes them. A response that was not sampled, such as a
    reference solution, has no `log_probs` and `sample` -1.
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
        """False for a response that no engine sampled, such as a reference solution."""
        return bool(self.log_probs)


@dataclass(frozen=True, slots=True)
class Grade:
    """The result of grading one response.

    `status` is the verdict and `reward` the training reward. `extracted` is the final answer, or None. `rule` is the
    name of the rule that extracted it, empty where a task has only one or nothing was found.
    """

    status: GradeStatus
    reward: float
    extracted: str | None
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One graded response of a training step, with its group. For example, a response to the step's first problem:

        Trajectory(problem, completion, Grade(GradeStatus.correct, 1.0, "21"), group=0)

    Responses of one `group` are compared with each other. `parent` is the index in the step of the trajectory from
    which it branched; tokens before `loss_from` are shared with the parent and have their loss there. A `left_out`
    trajectory only fills its group: it is in no statistics and is not trained on.

    A replayed trajectory has stored `advantages`, one or one per response token, which replace computed ones, and
    `old_log_probs`, one per response token, to which its ratio is taken.
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
    """One training step in the journal, with its `metrics` by key."""

    step: int
    time_unix_s: float
    costs: Costs
    metrics: Mapping[str, float]
    stages: tuple[StageStats, ...]


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """One evaluation in the journal: `n` responses to `problems` problems of `split`; `accuracy` = correct / n.

    `mode` is `sampled` (at `temperature`) or `greedy`. `statuses` counts each `GradeStatus`; `truncated` counts
    responses cut at the token limit, with any grade.
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
    """An event at a step, such as `trigger_fired` or `optimizer_step_skipped`."""

    step: int
    time_unix_s: float
    event: str
    detail: Mapping[str, float] = field(default_factory=dict)


JournalRecord = StepRecord | EvaluationRecord | EventRecord


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One stored training response, as in `samples.parquet` and printed by `show`."""

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
    """Sampling parameters; temperature 0 is greedy decoding, for evaluation only.

    `top_p` below 1 or `top_k` above 0 truncates the distribution; the transformers engine does not support `top_k`.
    """

    temperature: float
    max_new_tokens: int
    top_p: float = 1.0
    top_k: int = 0
