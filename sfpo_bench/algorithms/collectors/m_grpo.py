"""M-GRPO: a slowly moving copy of the policy votes with it on the label, and responses of low entropy are left out."""

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
    """What earns a reward of 1: the answer that most of the pool gave, or what the task grades as right."""

    majority = "majority"
    task = "task"


@dataclass
class MGrpo(Facts, Collector):
    """A momentum policy votes with the policy on the label; low entropies are left out (arXiv:2512.13070).

    N = max(1, floor(`momentum_share` G)) of the G responses to a problem are the momentum policy's, whose weights are
    theta_k <- m theta_k + (1 - m) theta after each training step; the other M are trained on. Without the momentum
    responses (`momentum_share` = 0) and the filter it is SRT.

    Of the pool of G, responses whose mean token entropy under the policy is below Q1 - `iqr_factor` (Q3 - Q1) are left
    out: of the vote, of the group's statistics, and of the loss, whose denominators count them. Each answer of the rest
    has a vote; of equals the one that was given first wins, the policy's before the momentum policy's. Answers are the
    same where the grader took the same text for them; a response that was cut off has none. Grades stay the task's, so
    that metrics say what is right: the labels change rewards alone. Unverified: whose entropy it is, how quartiles are
    taken, ties, and which answers are the same.
    """

    kind: str = option("m_grpo", "name of the collector")
    momentum: float = option(0.99, "m: part of itself that the momentum policy keeps in a step", low=0.0, high=1.0)
    momentum_share: float = option(
        0.25, "part of a group that the momentum policy samples; 0: none", low=0.0, below=1.0
    )
    filters: bool = option(True, "leave out responses of low entropy, found by a forward pass over the pool")
    iqr_factor: float = option(0.75, "quartile ranges below the first quartile from which they are left out", low=0.0)
    labels: Labels = option(Labels.majority, "what earns a reward: majority (self-supervised), or task (labelled)")
    least_share: float = option(
        0.0, "part of the pool at or below which a majority is no label; 0.5 in the authors' code", low=0.0, below=1.0
    )

    paper = "2512.13070"
    trust = "?"
    changes = "a momentum policy votes with the policy on the label; responses of low entropy are left out"
    extra_passes = "1 forward over all responses, for the filter"
    extra_memory = "1 x the weights, and 1 x the trained weights in float32 where the model is bfloat16"
    unverified = (
        "that the entropy is the policy's, of momentum responses too, quartiles by linear interpolation, ties for the "
        "first, equal answers by their text, and what is left out in denominators are our reading"
    )

    @property
    def follower(self) -> Reference | None:
        return SoftReference(mixing=1 - self.momentum, every_steps=1) if self.momentum_share else None

    @property
    def leaves_out(self) -> bool:
        return self.filters

    def momentum_samples(self, group: int) -> int:
        """N of G."""
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
    """Which values are below Q1 - `factor` (Q3 - Q1), quartiles by linear interpolation; of equal values none."""
    ordered = sorted(values)
    first, third = _quantile(ordered, 0.25), _quantile(ordered, 0.75)
    return [value < first - factor * (third - first) for value in values]


def _quantile(ordered: Sequence[float], part: float) -> float:
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    # Between equal neighbours exactly their value: a mean of equal numbers may be above them by a rounding error.
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def answer_of(one: Trajectory) -> str | None:
    """What the grader took for the answer of a response that ended by itself."""
    return one.grade.extracted if one.completion.finish_reason is FinishReason.stopped else None


def majority(answers: Sequence[str | None]) -> tuple[str | None, float]:
    """The most frequent answer, of equals the first, and its part of all, those without an answer included."""
    counted = Counter(answer for answer in answers if answer is not None)
    if not counted:
        return None, 0.0
    label, votes = counted.most_common(1)[0]  # in the order of first appearance where votes are equal
    return label, votes / len(answers)


def _labelled(one: Trajectory, label: str | None) -> Trajectory:
    right = label is not None and answer_of(one) == label
    return replace(one, grade=Grade(one.grade.status, float(right), one.grade.extracted, one.grade.rule))
