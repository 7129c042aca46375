"""From a step number to graded responses: which problems, how many samples, what they earned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from torch import Tensor

from sfpo_bench.core.seeding import generator
from sfpo_bench.core.types import Completion, FinishReason, Grade, GradeStatus, SampleRecord
from sfpo_bench.grading.failures import failed
from sfpo_bench.rollout.encoding import EncodedProblem
from sfpo_bench.rollout.protocol import Request


@dataclass(frozen=True, slots=True)
class ProblemSchedule:
    """The problems of each step: every epoch is a permutation drawn from (seed, epoch), cut into runs of
    `prompts`; a step may span two epochs."""

    problems: Sequence[EncodedProblem]
    prompts: int
    seed: int

    def at(self, step: int) -> list[EncodedProblem]:
        """The problems of `step` (from 1), in order; a function of (seed, step) alone."""
        first = (step - 1) * self.prompts
        size = len(self.problems)
        places = range(first, first + self.prompts)
        orders = {epoch: self._order(epoch) for epoch in {place // size for place in places}}
        return [self.problems[orders[place // size][place % size]] for place in places]

    def _order(self, epoch: int) -> list[int]:
        order: list[int] = generator(self.seed, "problems", epoch).permutation(len(self.problems)).tolist()
        return order


def group_requests(problems: Sequence[EncodedProblem], group: int) -> list[Request]:
    """`group` samples of each problem. A problem met twice in one step gets further sample numbers, hence new noise."""
    seen: Counter[str] = Counter()
    requests = []
    for item in problems:
        first = seen[item.problem.id] * group
        requests.append(Request(item.problem.id, item.prompt_ids, tuple(range(first, first + group))))
        seen[item.problem.id] += 1
    return requests


@dataclass(frozen=True, slots=True)
class GradedRollouts:
    """One step's responses: `problems[i // group]` is what `completions[i]` answered and `grades[i]` judged."""

    problems: Sequence[EncodedProblem]
    completions: Sequence[Completion]
    grades: Sequence[Grade]
    group: int

    @property
    def tokens(self) -> int:
        """Generated tokens, end-of-sequence tokens included."""
        return sum(len(completion.response_ids) for completion in self.completions)

    def means(self, advantages_BT: Tensor) -> list[float]:
        """The mean advantage of each response over its tokens; [B, 1] is the advantage itself."""
        if advantages_BT.shape[1] == 1:
            return [float(advantage) for advantage in advantages_BT[:, 0]]
        lengths = [len(completion.response_ids) for completion in self.completions]
        return [float(row[:length].mean()) for row, length in zip(advantages_BT, lengths, strict=True)]

    def metrics(self, advantages: Sequence[float]) -> dict[str, float]:
        """The step's scalars that follow from rewards and lengths alone."""
        rewards = [grade.reward for grade in self.grades]
        groups = [advantages[start : start + self.group] for start in range(0, len(advantages), self.group)]
        count = len(rewards)
        return {
            "reward_mean": fmean(rewards),
            "reward_std": pstdev(rewards),
            "correct_share": sum(grade.status is GradeStatus.correct for grade in self.grades) / count,
            "grading_failed_share": sum(failed(grade.status) for grade in self.grades) / count,
            "groups_without_signal_share": sum(not any(group) for group in groups) / len(groups),
            "response_tokens_mean": self.tokens / count,
            "prompt_tokens_mean": fmean(len(item.prompt_ids) for item in self.problems),
            "response_tokens_max": float(max(len(c.response_ids) for c in self.completions)),
            "truncated_share": sum(c.finish_reason is FinishReason.truncated for c in self.completions) / count,
        }

    def samples(self, step: int, advantages: Sequence[float]) -> list[SampleRecord]:
        """Every response of the step as it is stored."""
        return [
            SampleRecord(
                step=step,
                problem_id=completion.problem_id,
                problem=self.problems[index // self.group].problem.text,
                answer=self.problems[index // self.group].problem.answer,
                sample=completion.sample,
                response=completion.text,
                response_tokens=len(completion.response_ids),
                finish_reason=completion.finish_reason,
                extracted=grade.extracted,
                status=grade.status,
                reward=grade.reward,
                advantage=advantage,
            )
            for index, (completion, grade, advantage) in enumerate(
                zip(self.completions, self.grades, advantages, strict=True)
            )
        ]
