"""M-GRPO: majority-vote labels from the policy and a momentum copy of it, with an entropy filter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sfpo_bench.algorithms.collectors.protocol import Collected, Collector, RolloutSource
from sfpo_bench.algorithms.facts import Facts
from sfpo_bench.algorithms.protocols import Reference
from sfpo_bench.algorithms.references import SoftReference
from sfpo_bench.core.errors import ConfigError
from sfpo_bench.core.options import option
from sfpo_bench.core.types import FinishReason, Grade, Trajectory


class Labels(StrEnum):
    """The answer with reward 1: the majority answer of the pool, or the task's correct answer."""

    majority = "majority"
    task = "task"


@dataclass
class MGrpo(Facts, Collector):
    """Majority-vote labels from the policy and a momentum policy, with an entropy filter (arXiv:2512.13070).

    N = max(1, floor(`momentum_share` G)) of the G responses to a problem are sampled from the momentum policy, whose
    weights are theta_k <- m theta_k + (1 - m) theta after each training step. The other M are trained on. Without
    momentum responses (`momentum_share` = 0) and without the filter this is SRT.

    Responses of the pool of G whose mean token entropy under the policy is below Q1 - `iqr_factor` (Q3 - Q1) are left
    out of the vote, of the group's statistics and of the loss, but count in the loss's denominators. Every other answer
    has one vote; a tie goes to the answer given first, with the policy's responses first. Answers are equal where the
    grader extracted the same text; a truncated response has no answer. Grades remain the task's, so metrics report
    correctness; labels change rewards only. Unverified: whose entropy is used, the definition of quartiles, ties, and
    equality of answers.
    """

    kind: str = option("m_grpo", "name of the collector")
    momentum: float = option(0.99, "m: decay of the momentum policy per training step", low=0.0, high=1.0)
    momentum_share: float = option(
        0.25, "share of a group sampled from the momentum policy; 0: none", low=0.0, below=1.0
    )
    filters: bool = option(True, "leave out responses of low entropy; costs a forward pass over the pool")
    iqr_factor: float = option(0.75, "responses this many interquartile ranges below Q1 are left out", low=0.0)
    labels: Labels = option(
        Labels.majority, "answer that earns a reward: majority (self-supervised), or task (labelled)"
    )
    least_share: float = option(
        0.0, "vote share up to which a group gets no label; 0.5 in the authors' code", low=0.0, below=1.0
    )

    paper = "2512.13070"
    trust = "?"
    changes = "labels are majority votes of the policy and a momentum policy; responses of low entropy are left out"
    extra_passes = "1 forward over all responses, for the filter"
    extra_memory = "1 x the weights, and 1 x the trained weights in float32 where the model is bfloat16"
    unverified = (
        "using the policy's entropy also for momentum responses, quartiles by linear interpolation, ties for the "
        "first, equal answers by text, and counting left-out responses in denominators are our reading"
    )

    @property
    def follower(self) -> Reference | None:
        return SoftReference(mixing=1 - self.momentum, every_steps=1) if self.momentum_share else None

    @property
    def leaves_out(self) -> bool:
        return self.filters

    def momentum_samples(self, group: int) -> int:
        """N, the number of momentum responses in a group of G."""
        return max(1, int(group * self.momentum_share)) if self.momentum_share else 0

    def trained(self, group: int) -> int:
        return group - self.momentum_samples(group)

    def check(self, key: str, group: int) -> None:
        if self.trained(group) < 2:
            raise ConfigError(
                f"rollout.group = {group} with {key}.momentum_share = {self.momentum_share:g} leaves "
                f"{self.trained(group)} responses of the policy to a problem; expected at least 2, which are compared "
                "with each other: raise rollout.group, or lower the share"
            )

    def collect(self, source: RolloutSource) -> Collected:
        problems, own = source.problems, self.trained(source.group)
        beside = source.group - own
        sampled = source.respond(problems, samples=own)
        followed = source.respond(problems, samples=beside, follower=True) if beside else []
        pool = [
            one
            for place in range(len(problems))
            for one in (*sampled[place * own : (place + 1) * own], *followed[place * beside : (place + 1) * beside])
        ]
        grades = source.grade([problem for problem in problems for _ in range(source.group)], pool)
        entropies = source.entropies(pool) if self.filters else []
        found: list[Trajectory] = []
        shares: list[float] = []
        for number, problem in enumerate(problems):
            rows = slice(number * source.group, (number + 1) * source.group)
            every = [
                Trajectory(problem, one, grade, number) for one, grade in zip(pool[rows], grades[rows], strict=True)
            ]
            if self.filters:
                low = outliers(entropies[rows], self.iqr_factor)
                every = [replace(one, left_out=out) for one, out in zip(every, low, strict=True)]
            label, share = majority([answer_of(one) for one in every if not one.left_out])
            shares.append(share)
            label = label if share > self.least_share else None
            found += [one if self.labels is Labels.task else _labelled(one, label) for one in every[:own]]
        return Collected(found, self._metrics(found, shares))

    def _metrics(self, found: Sequence[Trajectory], shares: Sequence[float]) -> dict[str, float]:
        return {
            "majority_share_mean": sum(shares) / len(shares),
            "unlabelled_groups_share": sum(share <= self.least_share for share in shares) / len(shares),
            "left_out_share": sum(one.left_out for one in found) / len(found),
        }


def outliers(values: Sequence[float], factor: float) -> list[bool]:
    """True for values below Q1 - `factor` (Q3 - Q1), with linearly interpolated quartiles; False when all are equal."""
    ordered = sorted(values)
    first, third = _quantile(ordered, 0.25), _quantile(ordered, 0.75)
    return [value < first - factor * (third - first) for value in values]


def _quantile(ordered: Sequence[float], part: float) -> float:
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    # Exact between equal neighbours; a weighted mean of equal numbers could exceed them by a rounding error.
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def answer_of(one: Trajectory) -> str | None:
    """The answer that the grader extracted, or None for a truncated response."""
    return one.grade.extracted if one.completion.finish_reason is FinishReason.stopped else None


def majority(answers: Sequence[str | None]) -> tuple[str | None, float]:
    """The most frequent answer (the first one in a tie), and its share of all responses."""
    counted = Counter(answer for answer in answers if answer is not None)
    if not counted:
        return None, 0.0
    label, votes = counted.most_common(1)[0]  # ties keep the order of first appearance
    return label, votes / len(answers)


def _labelled(one: Trajectory, label: str | None) -> Trajectory:
    right = label is not None and answer_of(one) == label
    return replace(one, grade=Grade(one.grade.status, float(right), one.grade.extracted, one.grade.rule))
